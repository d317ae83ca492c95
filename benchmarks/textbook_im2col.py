r"""The baseline of the benchmark: im2col as textbooks write it, forward and backward.

A loop over kernel positions fills an array of zeros for the whole batch, the array is
transposed and reshaped into one matrix with a row per place of the window, and a single
product does the rest. The forward pass keeps the matrix for the backward pass, as the
layer classes of textbooks do.

The textbooks' `np.zeros(shape)` makes float64 of everything that follows, whatever the input
is. `dtype` tells the two cases apart: float64 is the code as printed, float32 the code with
that slip mended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["conv2d", "conv2d_backward"]

Array = NDArray[np.floating]


def im2col(input: Array, kernel: int, stride: int, padding: int, dtype: DTypeLike = float) -> Array:
    r"""Copy (N, C, H, W) into one row per place: (N*H'*W', C*k*k)."""
    n, c, h, w = input.shape
    oh = (h + 2 * padding - kernel) // stride + 1
    ow = (w + 2 * padding - kernel) // stride + 1
    x = np.pad(input, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols = np.zeros((n, c, kernel, kernel, oh, ow), dtype)
    for a in range(kernel):
        for b in range(kernel):
            cols[:, :, a, b] = x[:, :, a : a + stride * oh : stride, b : b + stride * ow : stride]
    return cols.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1)


def col2im(cols: Array, shape: tuple[int, ...], kernel: int, stride: int, padding: int) -> Array:
    r"""Add one row per place (N*H'*W', C*k*k) to the pixels it came from: (N, C, H, W)."""
    n, c, h, w = shape
    oh = (h + 2 * padding - kernel) // stride + 1
    ow = (w + 2 * padding - kernel) // stride + 1
    cols = cols.reshape(n, oh, ow, c, kernel, kernel).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros((n, c, h + 2 * padding, w + 2 * padding), cols.dtype)
    for a in range(kernel):
        for b in range(kernel):
            x[:, :, a : a + stride * oh : stride, b : b + stride * ow : stride] += cols[:, :, a, b]
    return x[:, :, padding : padding + h, padding : padding + w]


def conv2d(
    input: Array, weight: Array, bias: Array, stride: int, padding: int, dtype: DTypeLike = float
) -> tuple[Array, Array]:
    r"""Return the output (N, O, H', W') and the columns, which `conv2d_backward` needs."""
    n, _, h, _ = input.shape
    o, _, k, _ = weight.shape
    cols = im2col(input, k, stride, padding, dtype)
    output = cols @ weight.reshape(o, -1).T + bias  # (N*H'*W', O)
    oh = (h + 2 * padding - k) // stride + 1
    return output.reshape(n, oh, -1, o).transpose(0, 3, 1, 2), cols


def conv2d_backward(
    grad: Array,
    cols: Array,
    shape: tuple[int, ...],
    weight: Array,
    stride: int,
    padding: int,
) -> tuple[Array, Array, Array]:
    r"""Return the gradients with respect to input (of `shape`), weight and bias."""
    o, _, k, _ = weight.shape
    grad = grad.transpose(0, 2, 3, 1).reshape(-1, o)  # (N*H'*W', O)
    grad_weight = (cols.T @ grad).T.reshape(weight.shape)
    grad_cols = grad @ weight.reshape(o, -1)  # (N*H'*W', C*k*k)
    return col2im(grad_cols, shape, k, stride, padding), grad_weight, grad.sum(axis=0)
