r"""Convolution in plain loops, meant to be read.

Each function says one thing: put the kernel somewhere, multiply what lies on top of each
other, add up, move on. `fast` computes the same with a matrix product, and PyTorch computes
it in compiled code; one table of tests holds the three against each other.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    conv1d_arguments,
    conv2d_arguments,
)
from coursepkg.convolution.arithmetic import output_size

__all__ = [
    "conv1d",
    "conv2d",
    "conv2d_backward",
    "convolve2d",
    "cross_correlate1d",
    "cross_correlate2d",
]


def cross_correlate1d(input: Array, kernel: Array) -> Array:
    r"""Slide a kernel along a signal: multiply, add up, move on.

    .. math:: y_i = \sum_a x_{i+a} \, w_a

    Parameters
    ----------
    input : (L,) array
    kernel : (k,) array

    Returns
    -------
    (L - k + 1,) array
        The response at every place where the kernel fits ("valid").

    Raises
    ------
    ValueError
        If an argument is no float32, float64 or int64 array of one axis, or the kernel is
        longer than the input.

    Examples
    --------
    >>> cross_correlate1d(np.array([1, 1, 5, 5]), np.array([-1, 1]))
    array([0, 4, 0])
    """
    check_array("input", input, "(L)")
    check_array("kernel", kernel, "(k)")
    (k,) = kernel.shape
    output = np.zeros(output_size(len(input), k), np.result_type(input, kernel))
    for i in range(len(output)):
        output[i] = np.sum(input[i : i + k] * kernel)
    return output


def cross_correlate2d(input: Array, kernel: Array) -> Array:
    r"""Slide a kernel over an image: multiply, add up, move on.

    .. math:: y_{ij} = \sum_{a,b} x_{i+a,\,j+b} \, w_{ab}

    This is what deep learning calls convolution.

    Parameters
    ----------
    input : (H, W) array
    kernel : (kh, kw) array

    Returns
    -------
    (H - kh + 1, W - kw + 1) array
        The response at every place where the kernel fits ("valid").

    Raises
    ------
    ValueError
        If an argument is no float32, float64 or int64 array of two axes, or the kernel is
        larger than the input.

    References
    ----------
    Goodfellow, Bengio & Courville, *Deep Learning* (2016), equation 9.6.

    Examples
    --------
    >>> cross_correlate2d(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0], [0, 1]]))
    array([[6, 8]])
    """
    check_array("input", input, "(H, W)")
    check_array("kernel", kernel, "(kh, kw)")
    (height, width), (kh, kw) = input.shape, kernel.shape
    shape = output_size(height, kh), output_size(width, kw)
    output = np.zeros(shape, np.result_type(input, kernel))
    for i, j in np.ndindex(shape):
        output[i, j] = np.sum(input[i : i + kh, j : j + kw] * kernel)
    return output


def convolve2d(input: Array, kernel: Array) -> Array:
    r"""Convolve as mathematicians do: turn the kernel by 180 degrees, then cross-correlate.

    .. math:: y_{ij} = \sum_{a,b} x_{i-a,\,j-b} \, w_{ab}

    with indices counted so that only whole overlaps are kept ("valid").

    Parameters
    ----------
    input : (H, W) array
    kernel : (kh, kw) array

    Returns
    -------
    (H - kh + 1, W - kw + 1) array

    Raises
    ------
    ValueError
        As `cross_correlate2d`.

    References
    ----------
    Goodfellow, Bengio & Courville, *Deep Learning* (2016), equation 9.5.

    Examples
    --------
    >>> convolve2d(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0], [0, 0]]))
    array([[5, 6]])
    """
    check_array("kernel", kernel, "(kh, kw)")
    return cross_correlate2d(input, kernel[::-1, ::-1])


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
    >>> conv1d(x, np.array([[[-1.0, 1.0]]]), padding=1)
    array([[[ 1.,  0.,  4.,  0., -5.]]])
    """
    settings = conv1d_arguments(input, weight, bias, stride, padding, dilation, groups)
    image, filters = input[:, :, None, :], weight[:, :, None, :]  # H = kh = 1
    return conv2d(image, filters, bias, *settings)[:, :, 0, :]


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Array:
    r"""Apply a bank of 2-D filters to a batch of images.

    .. math:: y_{noij} = b_o + \sum_{c,a,b} x_{n,\,c,\,s i + d a,\,s j + d b} \; w_{ocab}

    where x has been padded with zeros.

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
    output = np.zeros(settings.output_shape, input.dtype)
    for place, window in _windows(settings, weight):
        output[place] = np.sum(x[window] * weight[place[1]])
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
    r"""Send the gradient of a loss back through `conv2d`.

    Each output is a sum of products, so each product hands the output's gradient to both of
    its factors: to the weight, multiplied by the pixel, and to the pixel, multiplied by the
    weight. A pixel or a weight that was used several times adds up all that it is handed.

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
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for place, window in _windows(settings, weight):
        grad_weight[place[1]] += grad[place] * x[window]
        grad_x[window] += grad[place] * weight[place[1]]
    return settings.crop(grad_x), grad_weight, grad.sum(axis=(0, 2, 3))


Place = tuple[int, int, int, int]
Window = tuple[int, slice, slice, slice]


def _windows(settings: Conv2dArguments, weight: Array) -> Iterator[tuple[Place, Window]]:
    r"""Yield each place (n, o, i, j) of the output with the window of the padded input under it."""
    (kh, kw), (sh, sw), (dh, dw) = settings.kernel, settings.stride, settings.dilation
    filters_per_group, channels = len(weight) // settings.groups, weight.shape[1]
    for n, o, i, j in np.ndindex(settings.output_shape):
        first = o // filters_per_group * channels  # first input channel of this filter's group
        rows = slice(i * sh, i * sh + dh * kh, dh)  # kh of them
        columns = slice(j * sw, j * sw + dw * kw, dw)  # kw of them
        yield (n, o, i, j), (n, slice(first, first + channels), rows, columns)
