r"""Pooling: one number for each window of each channel, forward and backward.

Maximum and sum can be taken along one axis first and along the other second, so every function
here is made of steps along the last axis; `x.mT` swaps height and width. A step goes through the
taps of the window, not through its places: one slice of the input for each tap.

There are no weights here, and so nothing that is learned.

References
----------
`torch.nn.functional`, "Pooling functions", whose names, arguments and results these are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from coursepkg.convolution.arguments import Array, IntPair, check_array, check_floats, check_shape
from coursepkg.convolution.arithmetic import pool_output_size, span
from coursepkg.convolution.fast import _slide
from coursepkg.validation import pair

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


def max_pool2d(
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""Return the largest value of each window.

    .. math:: y_{ij} = \max_{a, b} \; x_{s i + d a - p,\; s j + d b - p}

    Padding is :math:`-\infty` (for integers the lowest one), so it never wins over a pixel. A
    dilated window can lie in padding alone, and then gives this value.

    Parameters
    ----------
    input : (N, C, H, W) array
        float32, float64 or int64; N may be 0.
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int or pair of int, optional
        Step of the window; `kernel_size` if not given.
    padding : int or pair of int
        At each end; at most half of the kernel.
    dilation : int or pair of int
        Distance between two taps of the window.
    ceil_mode : bool
        Let a last window hang over the end; see
        `coursepkg.convolution.arithmetic.pool_output_size`.

    Returns
    -------
    (N, C, H', W') array
        In the input's dtype. A window with a NaN gives NaN.

    Raises
    ------
    ValueError
        If the input is no such array, or the settings do not fit.

    Examples
    --------
    >>> x = np.arange(16).reshape(1, 1, 4, 4)
    >>> max_pool2d(x, 2)[0, 0]
    array([[ 5,  7],
           [13, 15]])
    >>> max_pool2d(x, kernel_size=3, stride=2, padding=1)[0, 0]
    array([[ 5,  7],
           [13, 15]])
    """
    down, across = _axes(input, kernel_size, stride, padding, dilation, ceil_mode)
    x = _pad(input, down, across, _lowest(input))
    columns = _reduce(np.maximum, x.mT, down.taps).mT  # (N, C, H', W), padded along W
    return _reduce(np.maximum, columns, across.taps)


def max_pool2d_backward(
    grad: Array,
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""Send each gradient back to the pixel that was the largest of its window.

    Of several equal ones the first gets it, row by row from the upper left. A pixel that won in
    several windows adds up what they send.

    Parameters
    ----------
    grad : (N, C, H', W') array
        Gradient of the loss with respect to the output.
    input, kernel_size, stride, padding, dilation, ceil_mode
        What `max_pool2d` was called with.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        As `max_pool2d`, and if `grad` does not have the shape and dtype of the output.

    Notes
    -----
    In a window with several NaN the first one gets the gradient, in PyTorch the last one. A
    window with nothing but :math:`-\infty` may give its gradient to the padding, where it is lost.

    Examples
    --------
    >>> x = np.array([[[[1.0, 3.0, 2.0, 3.0]]]])
    >>> max_pool2d_backward(np.array([[[[5.0, 7.0]]]]), x, kernel_size=(1, 2))
    array([[[[0., 5., 0., 7.]]]])
    """
    down, across = _axes(input, kernel_size, stride, padding, dilation, ceil_mode)
    _check_grad(grad, input, down.places, across.places)
    x = _pad(input, down, across, _lowest(input))
    rows = _reduce(np.maximum, x, across.taps)  # (N, C, H, W'), padded along H
    output = _reduce(np.maximum, rows.mT, down.taps).mT  # (N, C, H', W')
    grad_rows = _to_first_maximum(grad.mT, rows.mT, output.mT, down.taps).mT
    return _crop(_to_first_maximum(grad_rows, x, rows, across.taps), down, across)


def avg_pool2d(
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    r"""Return the mean of each window.

    Parameters
    ----------
    input : (N, C, H, W) array
        float32 or float64; N may be 0.
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`, but padding is 0 and counts in the sum as that.
    count_include_pad : bool
        Divide by the number of pixels and padding in the window. If False, by the number
        of pixels. What hangs over the padding in `ceil_mode` is never counted.

    Returns
    -------
    (N, C, H', W') array
        In the input's dtype.

    Raises
    ------
    ValueError
        If the input is no such array, or the settings do not fit.

    Examples
    --------
    >>> x = np.ones((1, 1, 2, 2))
    >>> avg_pool2d(x, 2, padding=1)[0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    >>> avg_pool2d(x, 2, padding=1, count_include_pad=False)[0, 0]
    array([[1., 1.],
           [1., 1.]])
    """
    down, across = _axes(input, kernel_size, stride, padding, 1, ceil_mode)
    check_floats("input", input)
    x = _pad(input, down, across, 0)
    columns = _reduce(np.add, x.mT, down.taps).mT  # (N, C, H', W), padded along W
    sums = _reduce(np.add, columns, across.taps)  # (N, C, H', W')
    return sums / _divisor(input, down, across, count_include_pad)


def avg_pool2d_backward(
    grad: Array,
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    r"""Send each gradient back to all pixels of its window, in equal shares.

    Parameters
    ----------
    grad : (N, C, H', W') array
        Gradient of the loss with respect to the output.
    input, kernel_size, stride, padding, ceil_mode, count_include_pad
        What `avg_pool2d` was called with. Of the input only shape and dtype matter.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        As `avg_pool2d`, and if `grad` does not have the shape and dtype of the output.

    Examples
    --------
    >>> x = np.zeros((1, 1, 1, 4))
    >>> avg_pool2d_backward(np.array([[[[5.0, 7.0]]]]), x, kernel_size=(1, 2))
    array([[[[2.5, 2.5, 3.5, 3.5]]]])
    """
    down, across = _axes(input, kernel_size, stride, padding, 1, ceil_mode)
    check_floats("input", input)
    _check_grad(grad, input, down.places, across.places)
    shares = grad / _divisor(input, down, across, count_include_pad)
    rows = np.zeros((*grad.shape[:3], across.length), grad.dtype)  # (N, C, H', W)
    for pixels in across.taps:
        rows[..., pixels] += shares
    x = np.zeros((*grad.shape[:2], down.length, across.length), grad.dtype)  # (N, C, H, W)
    for pixels in down.taps:
        x[:, :, pixels] += rows
    return _crop(x, down, across)


def adaptive_max_pool2d(input: Array, output_size: IntPair) -> Array:
    r"""Return the largest value of each of `output_size` windows that cover the input.

    Along each axis window i of m begins at :math:`\lfloor i n / m \rfloor` and ends before
    :math:`\lceil (i + 1) n / m \rceil`. Where m does not divide n, neighbours share pixels.

    Parameters
    ----------
    input : (N, C, H, W) array
        float32, float64 or int64; N may be 0.
    output_size : int or pair of int
        H' and W'. With 1 the whole map is one window: global pooling.

    Returns
    -------
    (N, C, H', W') array

    Raises
    ------
    ValueError
        If the input is no such array, or `output_size` is below 1.

    Notes
    -----
    PyTorch also takes None, "as the input", for an entry of `output_size`.

    Examples
    --------
    >>> x = np.arange(5).reshape(1, 1, 1, 5)
    >>> adaptive_max_pool2d(x, (1, 2)), adaptive_max_pool2d(x, 1)
    (array([[[[2, 4]]]]), array([[[[4]]]]))
    """
    down, across = _bins(input, output_size)
    return _of_each(np.max, _of_each(np.max, input, across).mT, down).mT


def adaptive_max_pool2d_backward(grad: Array, input: Array, output_size: IntPair) -> Array:
    r"""Send each gradient back to the pixel that was the largest of its window.

    Parameters
    ----------
    grad : (N, C, H', W') array
        Gradient of the loss with respect to the output.
    input, output_size
        What `adaptive_max_pool2d` was called with.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        As `adaptive_max_pool2d`, and if `grad` does not have the shape and dtype of the output.

    Examples
    --------
    >>> adaptive_max_pool2d_backward(np.array([[[[9.0]]]]), np.array([[[[1.0, 3.0]]]]), 1)
    array([[[[0., 9.]]]])
    """
    down, across = _bins(input, output_size)
    _check_grad(grad, input, len(down), len(across))
    rows = _of_each(np.max, input, across)  # (N, C, H, W')
    grad_rows = _to_maximum_of_each(grad.mT, rows.mT, down).mT
    return _to_maximum_of_each(grad_rows, input, across)


def adaptive_avg_pool2d(input: Array, output_size: IntPair) -> Array:
    r"""Return the mean of each of `output_size` windows that cover the input.

    Parameters
    ----------
    input : (N, C, H, W) array
        float32 or float64; N may be 0.
    output_size : int or pair of int
        As in `adaptive_max_pool2d`; 1 is global average pooling.

    Returns
    -------
    (N, C, H', W') array

    Raises
    ------
    ValueError
        If the input is no such array, or `output_size` is below 1.

    Examples
    --------
    >>> x = np.arange(5.0).reshape(1, 1, 1, 5)
    >>> adaptive_avg_pool2d(x, (1, 2)), adaptive_avg_pool2d(x, 1)
    (array([[[[1., 3.]]]]), array([[[[2.]]]]))
    """
    down, across = _bins(input, output_size)
    check_floats("input", input)
    return _of_each(np.mean, _of_each(np.mean, input, across).mT, down).mT


def adaptive_avg_pool2d_backward(grad: Array, input: Array, output_size: IntPair) -> Array:
    r"""Send each gradient back to all pixels of its window, in equal shares.

    Parameters
    ----------
    grad : (N, C, H', W') array
        Gradient of the loss with respect to the output.
    input, output_size
        What `adaptive_avg_pool2d` was called with. Of the input only shape and dtype matter.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        As `adaptive_avg_pool2d`, and if `grad` does not have the shape and dtype of the output.

    Examples
    --------
    >>> adaptive_avg_pool2d_backward(np.array([[[[8.0]]]]), np.zeros((1, 1, 2, 2)), 1)[0, 0]
    array([[2., 2.],
           [2., 2.]])
    """
    down, across = _bins(input, output_size)
    check_floats("input", input)
    _check_grad(grad, input, len(down), len(across))
    rows = np.zeros((*input.shape[:3], len(across)), grad.dtype)  # (N, C, H, W')
    for i, pixels in enumerate(down):
        rows[:, :, pixels] += grad[:, :, i, None] / (pixels.stop - pixels.start)
    grad_input = np.zeros_like(input)
    for j, pixels in enumerate(across):
        grad_input[..., pixels] += rows[..., j, None] / (pixels.stop - pixels.start)
    return grad_input


class _Axis(NamedTuple):
    r"""Where a pooling window goes along one axis: what is padded, and what each tap meets."""

    size: int
    padding: int  # asked for, at each end
    after: int  # needed at the far end, so that the last window is whole
    places: int
    taps: list[slice]

    @property
    def length(self) -> int:
        return self.padding + self.size + self.after

    def counts(self, include_pad: bool) -> Array:
        r"""Return for each place how many of the window's pixels count."""
        counted = np.zeros(self.length, int)
        if include_pad:
            counted[: self.size + 2 * self.padding] = 1
        else:
            counted[self.padding : self.padding + self.size] = 1
        return _reduce(np.add, counted, self.taps)


def _axes(
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None,
    padding: IntPair,
    dilation: IntPair,
    ceil_mode: bool,
) -> list[_Axis]:
    r"""Check the arguments; return the height and the width of a pooling."""
    check_array("input", input, "(N, C, H, W)")
    kernels = pair("kernel_size", kernel_size, 1)
    strides = kernels if stride is None else pair("stride", stride, 1)
    paddings, dilations = pair("padding", padding, 0), pair("dilation", dilation, 1)
    axes = zip(input.shape[2:], kernels, strides, paddings, dilations, strict=True)
    return [_axis(*axis, ceil_mode) for axis in axes]


def _axis(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> _Axis:
    places = pool_output_size(size, kernel, stride, padding, dilation, ceil_mode)
    end = (places - 1) * stride + span(kernel, dilation)
    after = max(end - padding - size, 0)
    _, taps = _slide(padding + size + after, kernel, stride, dilation)
    return _Axis(size, padding, after, places, taps)


def _pad(input: Array, down: _Axis, across: _Axis, value: float) -> Array:
    pads = ((0, 0), (0, 0), *((axis.padding, axis.after) for axis in (down, across)))
    return np.pad(input, pads, constant_values=value) if any(map(any, pads)) else input


def _crop(x: Array, down: _Axis, across: _Axis) -> Array:
    rows, columns = (slice(a.padding, a.padding + a.size) for a in (down, across))
    return x[:, :, rows, columns]


def _lowest(input: Array) -> float:
    r"""Return what never wins: -inf, or the lowest integer."""
    return np.iinfo(input.dtype).min if np.issubdtype(input.dtype, np.integer) else -np.inf


def _reduce(operation: np.ufunc, x: Array, taps: list[slice]) -> Array:
    r"""Combine, along the last axis, what the taps meet: (..., W) -> (..., W')."""
    first, *others = taps
    result = x[..., first].copy(order="K")
    for pixels in others:
        operation(result, x[..., pixels], out=result)
    return result


def _to_first_maximum(grad: Array, x: Array, maxima: Array, taps: list[slice]) -> Array:
    r"""Give each gradient to the first tap that met the maximum: (..., W') -> (..., W)."""
    grad_x, waiting = np.zeros_like(x), np.ones(maxima.shape, bool)
    for pixels in taps:
        met = x[..., pixels]
        won = waiting & ((met == maxima) | np.isnan(met))
        grad_x[..., pixels] += np.where(won, grad, 0)
        waiting &= ~won
    return grad_x


def _divisor(input: Array, down: _Axis, across: _Axis, include_pad: bool) -> Array:
    r"""Return the number of pixels that count in each window: (H', W')."""
    counts = np.outer(down.counts(include_pad), across.counts(include_pad))
    return counts.astype(input.dtype)


def _bins(input: Array, output_size: IntPair) -> list[list[slice]]:
    r"""Check the arguments; return for each axis the windows of an adaptive pooling."""
    check_array("input", input, "(N, C, H, W)")
    if 0 in input.shape[2:]:
        raise ValueError(
            f"input has shape {input.shape}; give it a height and a width of at least 1"
        )
    axes = zip(input.shape[2:], pair("output_size", output_size, 1), strict=True)
    return [[slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in axes]


def _of_each(operation: Any, x: Array, bins: list[slice]) -> Array:
    r"""Apply `np.max` or `np.mean` to each window of the last axis: (..., W) -> (..., W')."""
    return np.stack([operation(x[..., pixels], axis=-1) for pixels in bins], axis=-1)


def _to_maximum_of_each(grad: Array, x: Array, bins: list[slice]) -> Array:
    r"""Give each gradient to the first maximum of its window: (..., W') -> (..., W)."""
    grad_x = np.zeros_like(x)
    for i, pixels in enumerate(bins):
        window = x[..., pixels]
        first = window.argmax(axis=-1, keepdims=True)
        won = np.arange(window.shape[-1]) == first
        grad_x[..., pixels] += np.where(won, grad[..., i, None], 0)
    return grad_x


def _check_grad(grad: Array, input: Array, height: int, width: int) -> None:
    shape = (*input.shape[:2], height, width)
    check_shape("grad", grad, shape, input.dtype, "pass the gradient of the output")
