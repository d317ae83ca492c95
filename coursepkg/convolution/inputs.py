r"""What images look like when they enter a network: centred, and of one scale.

References
----------
LeCun et al., *Efficient BackProp* (2nd edition, 2012), section 4.3.
"""

from __future__ import annotations

import numpy as np

from coursepkg.convolution.arguments import Array, check_floats, check_shape

__all__ = ["channel_statistics", "standardize"]


def channel_statistics(images: Array) -> tuple[Array, Array]:
    r"""Return mean and standard deviation of each channel, over all images and places.

    Parameters
    ----------
    images : (N, C, H, W) float32 or float64 array
        Training images: what a network is tested on must not take part.

    Returns
    -------
    mean, std : (C,) arrays
        In the dtype of `images`; summed in float64.

    Raises
    ------
    ValueError
        If `images` is of another dtype or rank, or has nothing to average.

    Examples
    --------
    >>> channel_statistics(np.array([[[[0.0, 2.0]], [[5.0, 5.0]]]]))
    (array([1., 5.]), array([1., 0.]))
    """
    _check_images(images)
    if images.size == 0:
        raise ValueError(f"images has shape {images.shape}; a mean needs at least one pixel")
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64)  # (C,)
    std = images.std(axis=(0, 2, 3), dtype=np.float64)  # (C,)
    return mean.astype(images.dtype), std.astype(images.dtype)


def standardize(images: Array, mean: Array, std: Array) -> Array:
    r"""Subtract a mean from each channel, and divide by a standard deviation.

    .. math:: x'_{n,c,i,j} = (x_{n,c,i,j} - \mu_c) / \sigma_c

    Parameters
    ----------
    images : (N, C, H, W) float32 or float64 array
        N may be 0.
    mean, std : (C,) arrays
        Those of the *training* images, for test images too. With ones as `std` this is mean
        subtraction alone.

    Returns
    -------
    (N, C, H, W) array
        In the dtype of `images`.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a standard deviation is not positive.

    Examples
    --------
    >>> images = np.array([[[[0.0, 2.0]], [[5.0, 9.0]]]])
    >>> standardize(images, *channel_statistics(images))
    array([[[[-1.,  1.]],
    <BLANKLINE>
            [[-1.,  1.]]]])
    """
    _check_images(images)
    for name, value in (("mean", mean), ("std", std)):
        check_shape(name, value, images.shape[1:2], images.dtype, "pass one number per channel")
    if not (std > 0).all():
        raise ValueError(f"std={std} must be positive; a channel without contrast needs std=1")
    return (images - mean[:, None, None]) / std[:, None, None]


def _check_images(images: Array) -> None:
    check_floats("images", images)
    if images.ndim != 4:
        raise ValueError(f"images has shape {images.shape}; pass the axes (N, C, H, W)")
