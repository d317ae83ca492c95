r"""Bilinear interpolation of one image at any points, in NumPy and as the formula says it.

`coursepkg.architectures.deform_conv.bilinear_sample` does the same for batches of maps, with
gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bilinear_points"]


def bilinear_points(image: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    r"""Read an image at points that may lie between its pixels; outside of it all is zero.

    .. math:: x(p) = \sum_q \max(0, 1 - |q_y - p_y|) \, \max(0, 1 - |q_x - p_x|) \; x(q)

    where q runs over all pixels. Only the four around the point have a share.

    Parameters
    ----------
    image : (H, W) array
    points : (..., 2) array
        Row and column of each point; (0, 0) is the centre of the first pixel.

    Returns
    -------
    (...) float64 array

    Raises
    ------
    ValueError
        If the image has not two axes, or the points have not two coordinates.

    References
    ----------
    Dai et al. (2017), equations 3 and 4.

    Examples
    --------
    >>> image = np.array([[0.0, 10.0], [20.0, 30.0]])
    >>> bilinear_points(image, np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 1.5], [1.0, 2.0]]))
    array([10., 15., 15.,  0.])
    """
    if image.ndim != 2 or points.shape[-1:] != (2,):
        raise ValueError(
            f"image of shape {image.shape} and points of shape {points.shape} do not fit; "
            "use (H, W) and (..., 2)"
        )
    height, width = image.shape
    y, x = points[..., 0], points[..., 1]
    top, left = np.floor(y), np.floor(x)
    values = np.zeros(y.shape)
    for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - abs(y - i)) * (1 - abs(x - j))
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        row, column = np.where(inside, [i, j], 0).astype(int)
        values += np.where(inside, share * image[row, column], 0)
    return values
