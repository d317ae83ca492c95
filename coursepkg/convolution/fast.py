r"""Convolution as a matrix product: the sums of `reference`, in an order that computers like.

`im2col` copies the pixels under each place of the window into one column of a matrix; a single
matrix product then applies every filter at every place. The way back is the same way,
reversed: two products with transposed matrices, then `col2im`, which adds each entry of the
matrix to the pixel that it was copied from.

The batch goes through in blocks, so that the columns of a block fit into the processor's cache.

References
----------
Chellapilla, Puri & Simard, *High performance convolutional neural networks for document
processing* (2006), "unrolling convolution". The blocks, and copying the two axes one
after the other, are additions.
"""

from __future__ import annotations

import numpy as np

from coursepkg.convolution.arguments import (
    Array,
    Conv2dArguments,
    IntPair,
    Padding,
    Padding1d,
    Single,
    check_array,
    check_grad,
    check_shape,
    conv1d_arguments,
    conv2d_arguments,
)
from coursepkg.convolution.arithmetic import output_size
from coursepkg.validation import pair

__all__ = [
    "BLOCK",
    "col2im",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "im2col",
]

#: Bytes of columns in one block of the batch, about the size of a core's second-level cache.
#: An image with more columns than that is a block of its own.
BLOCK = 2**20


def im2col(input: Array, kernel: IntPair, stride: IntPair = 1, dilation: IntPair = 1) -> Array:
    r"""Copy the pixels under each place of the window into a column of a matrix.

    The window slides along the width first and along the height second. So the second, larger
    copy moves whole runs of pixels that the first one has put next to each other.

    Parameters
    ----------
    input : (N, C, H, W) array
        Images, already padded.
    kernel : int or pair of int
        Height and width of the window.
    stride, dilation : int or pair of int
        As in `conv2d`.

    Returns
    -------
    (N, C·kh·kw, H'·W') array
        Row (c, a, b) holds what tap (a, b) of the kernel meets in channel c; column (i, j)
        holds what the window covers at place (i, j).

    Raises
    ------
    ValueError
        If `input` is no float32, float64 or int64 array of four axes, or the kernel does not
        fit into it.

    References
    ----------
    `torch.nn.functional.unfold`, whose result this is.

    Examples
    --------
    >>> x = np.arange(9).reshape(1, 1, 3, 3)
    >>> im2col(x, kernel=2)[0]
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    check_array("input", input, "(N, C, H, W)")
    (oh, down), (ow, across) = _slides(input.shape[2:], kernel, stride, dilation)
    rows = np.stack([input[:, :, :, pixels] for pixels in across], axis=2)  # (N, C, kw, H, W')
    cols = np.stack([rows[:, :, :, pixels] for pixels in down], axis=2)  # (N, C, kh, kw, H', W')
    n, c, kh, kw = cols.shape[:4]
    return cols.reshape(n, c * kh * kw, oh * ow)


def col2im(
    cols: Array,
    size: tuple[int, int],
    kernel: IntPair,
    stride: IntPair = 1,
    dilation: IntPair = 1,
) -> Array:
    r"""Add each entry of a matrix of columns to the pixel that `im2col` copies there.

    This is the transpose of `im2col`: :math:`\langle \mathrm{im2col}(x), y \rangle =
    \langle x, \mathrm{col2im}(y) \rangle`. It undoes the two copies in reverse order, and
    where a pixel was copied several times, its copies are summed.

    Parameters
    ----------
    cols : (N, C·kh·kw, H'·W') array
    size : pair of int
        H and W of the images, padding included.
    kernel, stride, dilation : int or pair of int
        As in `im2col`.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        If `cols` is no float32, float64 or int64 array, or its shape is not what `im2col` makes
        of such images.

    References
    ----------
    `torch.nn.functional.fold`, whose result this is.

    Examples
    --------
    >>> x = np.ones((1, 1, 3, 3))
    >>> col2im(im2col(x, kernel=2), size=(3, 3), kernel=2)[0, 0]  # how often each pixel is seen
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    check_array("cols", cols, "(N, C*kh*kw, H'*W')")
    h, w = pair("size", size, 1)
    (oh, down), (ow, across) = _slides((h, w), kernel, stride, dilation)
    kh, kw = len(down), len(across)
    if cols.shape[1] % (kh * kw) or cols.shape[2] != oh * ow:
        raise ValueError(
            f"cols has shape {cols.shape} but a {kh} by {kw} kernel has {oh * ow} places in "
            f"size={(h, w)}; pass shape (N, C*{kh * kw}, {oh * ow})"
        )
    n, c = len(cols), cols.shape[1] // (kh * kw)
    cols = cols.reshape(n, c, kh, kw, oh, ow)
    rows = np.zeros((n, c, kw, h, ow), cols.dtype)
    for a, pixels in enumerate(down):
        rows[:, :, :, pixels] += cols[:, :, a]
    images = np.zeros((n, c, h, w), cols.dtype)
    for b, pixels in enumerate(across):
        images[:, :, :, pixels] += rows[:, :, b]
    return images


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Array:
    r"""Apply a bank of 2-D filters to a batch of images, as a matrix product.

    .. math:: Y_n = W \, \mathrm{im2col}(x_n) + b

    where row o of W is filter o, written out as one vector. With groups, there is one such
    product for each group.

    Parameters
    ----------
    input : (N, C_in, H, W) array
        Images; float32, float64 or int64, and N may be 0.
    weight : (C_out, C_in/groups, kh, kw) array
        One filter per output channel, of the input's dtype.
    bias : (C_out,) array, optional
        One number per filter.
    stride : int or pair of int
        Step of the window, in pixels.
    padding : int, pair of int, "same" or "valid"
        Zeros added at each end; "same" keeps the size and needs stride 1.
    dilation : int or pair of int
        Distance between two taps of the kernel.
    groups : int
        Channels fall into so many groups, and a filter sees only those of its own group.

    Returns
    -------
    (N, C_out, H', W') array
        H' and W' by `coursepkg.convolution.arithmetic.output_size`, in the input's dtype.

    Raises
    ------
    ValueError
        If shapes, dtypes or settings do not fit together.

    References
    ----------
    `torch.nn.functional.conv2d`, whose arguments and results these are.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 2, 2)))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    settings = conv2d_arguments(input, weight, bias, stride, padding, dilation, groups)
    x = settings.pad(input)
    filters = _filters(weight, settings)  # (G, O/G, K)
    n, _, oh, ow = settings.output_shape
    output = np.empty((n, *filters.shape[:2], oh * ow), x.dtype)  # (N, G, O/G, P)
    for block in _blocks(weight, settings):
        np.matmul(filters, _columns(x[block], settings), out=output[block])
    output = output.reshape(settings.output_shape)  # (N, O, H', W')
    if bias is not None:
        output += bias[:, None, None]
    return output


def conv2d_backward(
    grad: Array,
    input: Array,
    weight: Array,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    r"""Send the gradient of a loss back through `conv2d`, as two matrix products.

    With :math:`X_n = \mathrm{im2col}(x_n)` and :math:`G_n` the gradient at the output:

    .. math::
        \nabla W = \sum_n G_n X_n^\top, \qquad
        \nabla x_n = \mathrm{col2im}(W^\top G_n), \qquad
        \nabla b = \sum_n G_n \mathbf{1}

    Parameters
    ----------
    grad : (N, C_out, H', W') array
        Gradient of the loss with respect to the output.
    input, weight, stride, padding, dilation, groups
        What `conv2d` was called with.

    Returns
    -------
    grad_input : (N, C_in, H, W) array
    grad_weight : (C_out, C_in/groups, kh, kw) array
    grad_bias : (C_out,) array
        The gradient with respect to the bias, whether there was one or not.

    Raises
    ------
    ValueError
        As `conv2d`, and if `grad` does not have the shape of the output.

    Examples
    --------
    >>> x, w = np.arange(3.0).reshape(1, 1, 1, 3), np.ones((1, 1, 1, 2))
    >>> grad_input, grad_weight, grad_bias = conv2d_backward(np.ones((1, 1, 1, 2)), x, w)
    >>> grad_input[0, 0], grad_weight[0, 0], grad_bias
    (array([[1., 2., 1.]]), array([[1., 3.]]), array([2.]))
    """
    settings = conv2d_arguments(input, weight, None, stride, padding, dilation, groups)
    check_grad(grad, input, settings)
    x = settings.pad(input)
    filters = _filters(weight, settings)  # (G, O/G, K)
    n, _, oh, ow = settings.output_shape
    grad_output = grad.reshape(n, *filters.shape[:2], oh * ow)  # (N, G, O/G, P)
    grad_filters = np.zeros_like(filters.mT, order="C")  # (G, K, O/G)
    grad_input = np.empty(input.shape, input.dtype)
    for block in _blocks(weight, settings):
        g = grad_output[block]
        grad_filters += (_columns(x[block], settings) @ g.mT).sum(axis=0)
        grad_cols = (filters.mT @ g).reshape(len(g), -1, oh * ow)  # (n, C*kh*kw, P)
        grad_x = col2im(grad_cols, x.shape[2:], settings.kernel, settings.stride, settings.dilation)
        grad_input[block] = settings.crop(grad_x)
    grad_weight = grad_filters.mT.reshape(weight.shape)
    return grad_input, grad_weight, grad.sum(axis=(0, 2, 3))


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Single = 1,
    padding: Padding1d = 0,
    dilation: Single = 1,
    groups: int = 1,
) -> Array:
    r"""Apply a bank of 1-D filters: a 2-D convolution over images of one row.

    Parameters
    ----------
    input : (N, C_in, L) array
    weight : (C_out, C_in/groups, k) array
    bias : (C_out,) array, optional
    stride, padding, dilation, groups
        As in `conv2d`, with one number, or a tuple of one, for the one axis.

    Returns
    -------
    (N, C_out, L') array

    Raises
    ------
    ValueError
        As `conv2d`, and if `input` or `weight` does not have three axes.

    Examples
    --------
    >>> x = np.array([[[1.0, 1.0, 5.0, 5.0]]])  # (1, 1, 4)
    >>> conv1d(x, np.array([[[-1.0, 1.0]]]))
    array([[[0., 4., 0.]]])
    """
    settings = conv1d_arguments(input, weight, bias, stride, padding, dilation, groups)
    image, filters = input[:, :, None, :], weight[:, :, None, :]  # H = kh = 1
    return conv2d(image, filters, bias, *settings)[:, :, 0, :]


def conv1d_backward(
    grad: Array,
    input: Array,
    weight: Array,
    stride: Single = 1,
    padding: Padding1d = 0,
    dilation: Single = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    r"""Send the gradient of a loss back through `conv1d`.

    Parameters
    ----------
    grad : (N, C_out, L') array
        Gradient of the loss with respect to the output.
    input, weight, stride, padding, dilation, groups
        What `conv1d` was called with.

    Returns
    -------
    grad_input : (N, C_in, L) array
    grad_weight : (C_out, C_in/groups, k) array
    grad_bias : (C_out,) array
        The gradient with respect to the bias, whether there was one or not.

    Raises
    ------
    ValueError
        As `conv1d`, and if `grad` does not have the shape of the output.

    Examples
    --------
    >>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 1.0]]])
    >>> conv1d_backward(np.array([[[1.0, 1.0]]]), x, w)
    (array([[[10., 11.,  1.]]]), array([[[3., 5.]]]), array([2.]))
    """
    check_array("grad", grad, "(N, C_out, L')")
    settings = conv1d_arguments(input, weight, None, stride, padding, dilation, groups)
    image, filters = input[:, :, None, :], weight[:, :, None, :]  # H = kh = 1
    n, c_out, _, length = conv2d_arguments(image, filters, None, *settings).output_shape
    remedy = "pass the gradient of the output"
    check_shape("grad", grad, (n, c_out, length), input.dtype, remedy)
    rows = grad[:, :, None, :]
    grad_input, grad_weight, grad_bias = conv2d_backward(rows, image, filters, *settings)
    return grad_input[:, :, 0, :], grad_weight[:, :, 0, :], grad_bias


def _filters(weight: Array, settings: Conv2dArguments) -> Array:
    r"""Write each filter as a row: (O, C/G, kh, kw) -> (G, O/G, K) with K = C/G*kh*kw."""
    return weight.reshape(settings.groups, len(weight) // settings.groups, -1)


def _columns(x: Array, settings: Conv2dArguments) -> Array:
    r"""Return the columns of padded images by group: (n, C, H, W) -> (n, G, K, P), P = H'*W'."""
    cols = im2col(x, settings.kernel, settings.stride, settings.dilation)  # (n, G*K, P)
    return cols.reshape(len(x), settings.groups, -1, cols.shape[2])


def _blocks(weight: Array, settings: Conv2dArguments) -> list[slice]:
    r"""Divide the batch into blocks whose columns take up about `BLOCK` bytes."""
    n, _, oh, ow = settings.output_shape
    image = settings.groups * weight[0].nbytes * oh * ow  # bytes of its columns
    step = max(1, BLOCK // image)
    return [slice(start, start + step) for start in range(0, n, step)]


def _slides(
    size: tuple[int, ...], kernel: IntPair, stride: IntPair, dilation: IntPair
) -> list[tuple[int, list[slice]]]:
    r"""Return for each axis the number of places, and per tap the pixels it meets in them."""
    kernels, strides = pair("kernel", kernel, 1), pair("stride", stride, 1)
    axes = zip(size, kernels, strides, pair("dilation", dilation, 1), strict=True)
    return [_slide(*axis) for axis in axes]


def _slide(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, list[slice]]:
    places = output_size(size, kernel, stride, 0, dilation)
    starts = range(0, kernel * dilation, dilation)
    return places, [slice(a, a + places * stride, stride) for a in starts]
