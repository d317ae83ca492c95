r"""The order of the axes: PyTorch puts channels first, TensorFlow and image files put them last.

The letters stand for the axes: N images of the batch, H rows, W columns, C channels; for weights
O output channels and I input channels. Each function here only renames positions: entry
(n, h, w, c) becomes entry (n, c, h, w). That is a transpose. A reshape would keep the order in
which the numbers lie in memory and so mix the channels with the pixels.
"""

from __future__ import annotations

import numpy as np

from coursepkg.convolution.arguments import Array

__all__ = ["hwio_to_oihw", "nchw_to_nhwc", "nhwc_to_nchw", "oihw_to_hwio"]


def nhwc_to_nchw(input: Array) -> Array:
    r"""Put the channels of a batch of images first, as PyTorch wants them.

    Parameters
    ----------
    input : (N, H, W, C) array
        Of any dtype.

    Returns
    -------
    (N, C, H, W) array
        A view of `input`: nothing is copied.

    Raises
    ------
    ValueError
        If `input` is no array of four axes.

    Examples
    --------
    >>> x = np.array([[[[1, 10], [2, 20], [3, 30]]]])  # a row of three pixels, two channels
    >>> nhwc_to_nchw(x)
    array([[[[ 1,  2,  3]],
    <BLANKLINE>
            [[10, 20, 30]]]])
    """
    return _checked("input", input, "(N, H, W, C)").transpose(0, 3, 1, 2)


def nchw_to_nhwc(input: Array) -> Array:
    r"""Put the channels of a batch of images last, as TensorFlow and image files have them.

    Parameters
    ----------
    input : (N, C, H, W) array
        Of any dtype.

    Returns
    -------
    (N, H, W, C) array
        A view of `input`: nothing is copied.

    Raises
    ------
    ValueError
        If `input` is no array of four axes.

    Examples
    --------
    >>> nchw_to_nhwc(np.zeros((10, 3, 28, 32))).shape
    (10, 28, 32, 3)
    """
    return _checked("input", input, "(N, C, H, W)").transpose(0, 2, 3, 1)


def hwio_to_oihw(weight: Array) -> Array:
    r"""Turn the weights of a layer of TensorFlow into those of PyTorch.

    Parameters
    ----------
    weight : (kh, kw, C_in/groups, C_out) array
        Of any dtype.

    Returns
    -------
    (C_out, C_in/groups, kh, kw) array
        A view of `weight`: nothing is copied.

    Raises
    ------
    ValueError
        If `weight` is no array of four axes.

    Examples
    --------
    >>> hwio_to_oihw(np.zeros((5, 7, 3, 6))).shape
    (6, 3, 5, 7)
    """
    return _checked("weight", weight, "(kh, kw, C_in/groups, C_out)").transpose(3, 2, 0, 1)


def oihw_to_hwio(weight: Array) -> Array:
    r"""Turn the weights of a layer of PyTorch into those of TensorFlow.

    Parameters
    ----------
    weight : (C_out, C_in/groups, kh, kw) array
        Of any dtype.

    Returns
    -------
    (kh, kw, C_in/groups, C_out) array
        A view of `weight`: nothing is copied.

    Raises
    ------
    ValueError
        If `weight` is no array of four axes.

    Examples
    --------
    >>> oihw_to_hwio(np.zeros((6, 3, 5, 7))).shape
    (5, 7, 3, 6)
    """
    return _checked("weight", weight, "(C_out, C_in/groups, kh, kw)").transpose(2, 3, 1, 0)


def _checked(name: str, array: Array, axes: str) -> Array:
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(array).__name__}; pass a NumPy array (np.asarray)")
    if array.ndim != 4:
        raise ValueError(f"{name} has shape {array.shape}; pass an array with the axes {axes}")
    return array
