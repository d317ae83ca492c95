r"""Two linear layers in a row are one.

Without an activation function between them, fully connected layers make one matrix product. Depth
adds nothing that a single layer could not compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["merge_linear"]


def merge_linear(
    weight1: NDArray[np.floating[Any]],
    bias1: NDArray[np.floating[Any]],
    weight2: NDArray[np.floating[Any]],
    bias2: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    r"""Return the one layer that does what two linear layers do one after the other.

    .. math:: W_2 (W_1 x + b_1) + b_2 = (W_2 W_1) \, x + (W_2 b_1 + b_2)

    Parameters
    ----------
    weight1, bias1 : (H, D) and (H,) array
        Of the first layer, with D inputs and H outputs, as `torch.nn.Linear` keeps them.
    weight2, bias2 : (K, H) and (K,) array
        Of the second layer.

    Returns
    -------
    weight, bias : (K, D) and (K,) array
        Of the one layer.

    Raises
    ------
    ValueError
        If the second layer does not take what the first one gives.

    Examples
    --------
    >>> weight, bias = merge_linear(
    ...     np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([1.0, -1.0]),
    ...     np.array([[3.0, 1.0]]), np.array([0.5]),
    ... )
    >>> weight, bias
    (array([[3., 7.]]), array([2.5]))
    """
    if weight2.shape[1] != weight1.shape[0]:
        raise ValueError(
            f"weight2 takes {weight2.shape[1]} numbers but weight1 gives {weight1.shape[0]}; "
            "pass the layers in the order in which they are used"
        )
    return weight2 @ weight1, weight2 @ bias1 + bias2
