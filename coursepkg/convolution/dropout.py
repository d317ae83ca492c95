r"""Dropout: while training, numbers are left out at random."""

from __future__ import annotations

import numpy as np

from coursepkg.convolution.arguments import (
    Array,
    check_floats,
    check_rng,
    check_shape,
    number,
)

__all__ = ["check_dropout", "dropout", "dropout_backward"]


def dropout(
    input: Array, p: float = 0.5, rng: np.random.Generator | None = None
) -> tuple[Array, Array]:
    r"""Set each element to 0 with probability `p`, and divide the others by 1 - p.

    Thanks to the division the output equals the input in the mean, so nothing has to be done
    after training: there the layer is left out.

    Parameters
    ----------
    input : float32 or float64 array of any shape
    p : float
        Probability of being dropped, 0 <= p < 1.
    rng : Generator, optional
        Where the random numbers come from; a new one, different each time, if not given.

    Returns
    -------
    output : array of the shape and dtype of `input`
        `input * mask`.
    mask : array of the same
        0 where an element was dropped, 1 / (1 - p) elsewhere.

    Raises
    ------
    ValueError
        If `input` is no array of these dtypes, `p` is no probability below 1, or `rng` is no
        generator.

    Notes
    -----
    The paper scales after training instead, by 1 - p; dividing while training is "inverted
    dropout", as in PyTorch. PyTorch also takes p = 1, which leaves nothing to divide.

    References
    ----------
    Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting*
    (2014), section 4, and section 10 on the division.

    Examples
    --------
    >>> dropout(np.ones(5), 0.5, np.random.default_rng(0))[0]
    array([2., 0., 0., 0., 2.])
    """
    check_dropout(input, p)
    rng = np.random.default_rng() if rng is None else rng
    check_rng(rng)
    kept = rng.random(input.shape) >= p
    mask = (kept / (1 - p)).astype(input.dtype)
    return input * mask, mask


def dropout_backward(grad: Array, mask: Array) -> Array:
    r"""Multiply the gradient by the mask: what did not pass forward does not pass back.

    Parameters
    ----------
    grad, mask : arrays of one shape and dtype
        Gradient of the loss with respect to the output, and the mask from `dropout`.

    Returns
    -------
    array of the same shape and dtype
        Gradient of the loss with respect to the input.

    Raises
    ------
    ValueError
        If `grad` does not have the shape and dtype of `mask`.

    Examples
    --------
    >>> dropout_backward(np.array([5.0, 6.0]), mask=np.array([2.0, 0.0]))
    array([10.,  0.])
    """
    check_floats("mask", mask)
    remedy = "pass the gradient with respect to the output"
    check_shape("grad", grad, mask.shape, mask.dtype, remedy)
    return grad * mask


def check_dropout(input: Array, p: float) -> None:
    r"""Check the arguments of `dropout`.

    Raises
    ------
    ValueError
        If `input` is no array of float32 or float64, or `p` is no probability below 1.
    """
    check_floats("input", input)
    number("p", p, lambda share: 0 <= share < 1, "use 0 <= p < 1")
