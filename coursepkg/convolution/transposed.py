r"""Transposed convolution: the backward pass of a convolution, used as a forward pass.

A convolution multiplies the unrolled image by a matrix (`coursepkg.convolution.matrix`), and its
backward pass multiplies a gradient by the transposed matrix. A layer that begins with the
transposed matrix makes small images large. Its own backward pass is the convolution.

References
----------
Dumoulin & Visin, *A guide to convolution arithmetic for deep learning* (2016), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coursepkg.convolution.arguments import Array, IntPair, check_array, check_shape
from coursepkg.convolution.arithmetic import transposed_output_size
from coursepkg.convolution.fast import col2im, conv2d, conv2d_backward
from coursepkg.validation import integer, pair

__all__ = ["conv_transpose2d", "conv_transpose2d_backward"]


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
) -> Array:
    r"""Let each input pixel add its filter, times its value, to the output.

    With W the weight, one row per input channel, and the columns of `coursepkg.convolution.fast`:

    .. math:: y_n = \mathrm{col2im}(W^\top x_n) + b

    Parameters
    ----------
    input : (N, C_in, H, W) array
        float32, float64 or int64; N may be 0.
    weight : (C_in, C_out/groups, kh, kw) array
        That of the convolution which leads back, from C_out channels to C_in.
    bias : (C_out,) array, optional
    stride : int or pair of int
        Distance in the output between what neighbouring input pixels add.
    padding : int or pair of int
        Pixels *removed* from each end of the output.
    output_padding : int or pair of int
        Pixels added at the bottom and on the right; less than `stride` or `dilation`.
    groups : int
        Channels fall into so many groups that do not meet.
    dilation : int or pair of int
        Distance between two taps of the kernel.

    Returns
    -------
    (N, C_out, H', W') array
        H' and W' by `coursepkg.convolution.arithmetic.transposed_output_size`.

    Raises
    ------
    ValueError
        If shapes, dtypes or settings do not fit together.

    References
    ----------
    `torch.nn.functional.conv_transpose2d`, whose arguments and results these are.

    Examples
    --------
    >>> x, w = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0, 3.0]]]])
    >>> conv_transpose2d(x, w, stride=2)  # 1 2 3 0 0, and ten times 0 0 1 2 3
    array([[[[ 1.,  2., 13., 20., 30.]]]])
    """
    _check(input, weight, bias, groups)
    canvas = _canvas(input, weight, stride, padding, output_padding, dilation)
    n, c, h, w = input.shape
    filters = weight.reshape(groups, c // groups, -1)  # (G, C_in/G, K) with K = C_out/G*kh*kw
    x = input.reshape(n, groups, c // groups, h * w)
    cols = (filters.mT @ x).reshape(n, groups * weight[0].size, h * w)  # (N, C_out*kh*kw, H*W)
    output = canvas.crop(col2im(cols, canvas.size, weight.shape[2:], stride, dilation))
    return output if bias is None else output + bias[:, None, None]


def conv_transpose2d_backward(
    grad: Array,
    input: Array,
    weight: Array,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
) -> tuple[Array, Array, Array]:
    r"""Send the gradient of a loss back through `conv_transpose2d`: by a convolution.

    Parameters
    ----------
    grad : (N, C_out, H', W') array
        Gradient of the loss with respect to the output.
    input, weight, stride, padding, output_padding, groups, dilation
        What `conv_transpose2d` was called with.

    Returns
    -------
    grad_input : (N, C_in, H, W) array
    grad_weight : (C_in, C_out/groups, kh, kw) array
    grad_bias : (C_out,) array
        The gradient with respect to the bias, whether there was one or not.

    Raises
    ------
    ValueError
        As `conv_transpose2d`, and if `grad` does not have the shape and dtype of the output.

    Examples
    --------
    >>> x, w = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0]]]])
    >>> grad_input, grad_weight, grad_bias = conv_transpose2d_backward(np.ones((1, 1, 1, 3)), x, w)
    >>> grad_input, grad_weight, grad_bias
    (array([[[[3., 3.]]]]), array([[[[11., 11.]]]]), array([3.]))
    """
    _check(input, weight, None, groups)
    canvas = _canvas(input, weight, stride, padding, output_padding, dilation)
    shape = (len(input), weight.shape[1] * groups, *canvas.output_size)
    check_shape("grad", grad, shape, input.dtype, "pass the gradient of the output")
    g = canvas.uncrop(grad)
    grad_input = conv2d(g, weight, None, stride, 0, dilation, groups)
    _, grad_weight, _ = conv2d_backward(input, g, weight, stride, 0, dilation, groups)
    return grad_input, grad_weight, grad.sum(axis=(0, 2, 3))


@dataclass(frozen=True)
class _Canvas:
    r"""What the filters are added to, and the part of it that is the output."""

    size: tuple[int, int]
    padding: tuple[int, int]
    output_size: tuple[int, int]

    def crop(self, x: Array) -> Array:
        r"""Cut the output out of the canvas; what reaches beyond the canvas is 0."""
        (ph, pw), (h, w) = self.padding, self.output_size
        below, right = (
            max(p + n - m, 0)
            for m, p, n in zip(self.size, self.padding, self.output_size, strict=True)
        )
        x = np.pad(x, ((0, 0), (0, 0), (0, below), (0, right)))
        return x[:, :, ph : ph + h, pw : pw + w]

    def uncrop(self, output: Array) -> Array:
        r"""Return the transpose of `crop`: the output back in its place, 0 elsewhere."""
        (ph, pw), (h, w) = self.padding, self.size
        x = np.pad(output, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        return x[:, :, :h, :w]


def _canvas(
    input: Array,
    weight: Array,
    stride: IntPair,
    padding: IntPair,
    output_padding: IntPair,
    dilation: IntPair,
) -> _Canvas:
    strides, dilations = pair("stride", stride, 1), pair("dilation", dilation, 1)
    paddings, extras = pair("padding", padding, 0), pair("output_padding", output_padding, 0)
    shapes = list(zip(input.shape[2:], weight.shape[2:], strides, dilations, strict=True))
    height, width = (transposed_output_size(n, k, s, 0, d) for n, k, s, d in shapes)
    out_height, out_width = (
        transposed_output_size(n, k, s, p, d, extra)
        for (n, k, s, d), p, extra in zip(shapes, paddings, extras, strict=True)
    )
    return _Canvas((height, width), paddings, (out_height, out_width))


def _check(input: Array, weight: Array, bias: Array | None, groups: int) -> None:
    check_array("input", input, "(N, C, H, W)")
    check_array("weight", weight, "(C_in, C_out/groups, kh, kw)")
    if len(weight) != input.shape[1] or 0 in weight.shape:
        raise ValueError(
            f"weight has shape {weight.shape} but input has {input.shape[1]} channels; "
            "pass shape (C_in, C_out/groups, kh, kw), one row per channel of the input"
        )
    if input.shape[1] % integer("groups", groups, 1):
        raise ValueError(
            f"groups={groups} does not divide the {input.shape[1]} channels of the input; "
            f"use a divisor of {input.shape[1]}"
        )
    check_shape("weight", weight, weight.shape, input.dtype, "convert one of them")
    if bias is not None:
        channels = weight.shape[1] * groups
        check_shape("bias", bias, (channels,), input.dtype, "pass one number per output channel")
