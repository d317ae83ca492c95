r"""Convolution as one explicit matrix: what the sliding window does, written out.

Convolution is linear in its input, so there is a matrix that computes it from the unrolled image.
Most of its entries are zero, and the same weights return in every row, moved on. Its transpose
is the transposed convolution, which is also the backward pass.

References
----------
Goodfellow, Bengio & Courville, *Deep Learning* (2016), section 9.1 (the doubly block circulant
matrix; without wrap-around it is doubly block Toeplitz). Dumoulin & Visin (2016), section 4.1.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from coursepkg.convolution.arguments import Array, IntPair, Padding, check_array, conv2d_arguments
from coursepkg.convolution.arithmetic import output_size
from coursepkg.convolution.fast import im2col
from coursepkg.validation import integer, pair

__all__ = ["conv1d_matrix", "conv2d_matrix"]


def conv1d_matrix(kernel: Array, size: int, stride: int = 1) -> Array:
    r"""Return the matrix that slides a kernel along a signal, without padding.

    .. math:: A_{i,\, s i + a} = w_a, \qquad \text{all others } 0

    Each row is the kernel, moved on by the stride. At stride 1 all diagonals are constant: a
    Toeplitz matrix.

    Parameters
    ----------
    kernel : (k,) array
        float32, float64 or int64.
    size : int
        Length of the signal.
    stride : int
        Step of the window.

    Returns
    -------
    (places, size) array
        Dense, in the kernel's dtype; its product with a signal is the convolution, without a
        flip.

    Raises
    ------
    ValueError
        If `kernel` is no such array or longer than the signal, or `stride` is below 1.

    Examples
    --------
    >>> conv1d_matrix(np.array([1, 2, 3]), size=5)
    array([[1, 2, 3, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 1, 2, 3]])
    """
    check_array("kernel", kernel, "(k)")
    (k,) = kernel.shape
    places = output_size(size, k, stride)
    matrix = np.zeros((places, size), kernel.dtype)
    for i in range(places):
        matrix[i, i * stride : i * stride + k] = kernel
    return matrix


def conv2d_matrix(
    weight: Array,
    size: IntPair,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> csr_array:
    r"""Return the sparse matrix of a 2-D convolution over one image.

    `im2col` of an image whose pixels are their own numbers says which pixel each weight meets at
    each place; there it goes into the matrix.

    Parameters
    ----------
    weight : (C_out, C_in/groups, kh, kw) array
        float32, float64 or int64.
    size : int or pair of int
        H and W of the image.
    stride, padding, dilation, groups
        As in `coursepkg.convolution.reference.conv2d`.

    Returns
    -------
    (C_out·H'·W', C_in·H·W) sparse array
        `(matrix @ x.ravel()).reshape(C_out, H', W')` is the convolution of the image x, of shape
        (C_in, H, W). Dense by `.toarray()`. A weight that meets only padding has no entry.

    Raises
    ------
    ValueError
        If `weight` is no such array, or the settings do not fit together.

    Examples
    --------
    >>> conv2d_matrix(np.array([[[[1, 2], [3, 4]]]]), size=(2, 3)).toarray()
    array([[1, 2, 0, 3, 4, 0],
           [0, 1, 2, 0, 3, 4]])
    """
    check_array("weight", weight, "(C_out, C_in/groups, kh, kw)")
    height, width = pair("size", size, 1)
    groups = integer("groups", groups, 1)
    channels = weight.shape[1] * groups
    pixels = np.arange(1, channels * height * width + 1).reshape(1, channels, height, width)
    settings = conv2d_arguments(
        pixels.astype(weight.dtype), weight, None, stride, padding, dilation, groups
    )
    met = im2col(settings.pad(pixels), settings.kernel, settings.stride, settings.dilation)
    met = met.reshape(groups, 1, -1, met.shape[2])  # (G, 1, K, P); 0 is padding
    weights = weight.reshape(groups, len(weight) // groups, -1, 1)  # (G, C_out/G, K, 1)
    outputs = np.arange(len(weight) * met.shape[3])
    rows = outputs.reshape(groups, len(weight) // groups, 1, -1)  # (G, C_out/G, 1, P)
    inside = np.broadcast_to(met > 0, (*weights.shape[:3], met.shape[3]))
    values, i, j = (a[inside] for a in np.broadcast_arrays(weights, rows, met - 1))
    return csr_array((values, (i, j)), shape=(len(outputs), pixels.size))
