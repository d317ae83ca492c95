r"""The arguments of layers, checked and normalised once, at the boundary.

`reference` and `fast` hand their arguments to `conv2d_arguments` and from there on see
only pairs of integers that are known to fit together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.arithmetic import output_size, same_padding
from coursepkg.validation import integer, pair

__all__ = [
    "Array",
    "Conv2dArguments",
    "IntPair",
    "Padding",
    "Padding1d",
    "Single",
    "check_array",
    "check_floats",
    "check_grad",
    "check_is_array",
    "check_rng",
    "check_shape",
    "conv1d_arguments",
    "conv2d_arguments",
    "number",
    "one_row",
]

Array = NDArray[Any]
IntPair = int | tuple[int, int]
Padding = IntPair | Literal["same", "valid"]
Single = int | tuple[int]
Padding1d = Single | Literal["same", "valid"]

#: What the NumPy convolutions take.
DTYPES = ("float32", "float64", "int64")


@dataclass(frozen=True)
class Conv2dArguments:
    r"""Normalised settings of one 2-D convolution; every pair is (height, width).

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
        As pairs.
    pads : tuple of tuple of int
        ((top, bottom), (left, right)), in pixels.
    groups : int
        Number of groups that the channels fall into.
    output_shape : tuple of int
        (N, C_out, H', W').
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    groups: int
    output_shape: tuple[int, int, int, int]

    def pad(self, input: Array) -> Array:
        r"""Return `input` (N, C, H, W) with zeros around it: (N, C, top+H+bottom, left+W+right)."""
        return np.pad(input, ((0, 0), (0, 0), *self.pads)) if any(map(any, self.pads)) else input

    def crop(self, padded: Array) -> Array:
        r"""Undo `pad`: return the view without the padding."""
        (top, bottom), (left, right) = self.pads
        height, width = padded.shape[2:]
        return padded[:, :, top : height - bottom, left : width - right]


def conv2d_arguments(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: IntPair,
    padding: Padding,
    dilation: IntPair,
    groups: int,
) -> Conv2dArguments:
    r"""Check the arguments of a 2-D convolution and normalise them.

    Parameters
    ----------
    input : (N, C_in, H, W) array
        N may be 0.
    weight : (C_out, C_in/groups, kh, kw) array
    bias : (C_out,) array, optional
    stride, dilation, groups
        As in `torch.nn.functional.conv2d`.
    padding : int, pair of int, "same" or "valid"
        Zeros at each end. "same" needs stride 1, as in PyTorch.

    Raises
    ------
    ValueError
        If shapes, dtypes or settings do not fit together; the message says what to change.
    """
    check_array("input", input, "(N, C, H, W)")
    check_array("weight", weight, "(C_out, C_in/groups, kh, kw)")
    _check_same_dtype("weight", weight, input)
    groups = integer("groups", groups, 1)
    _check_channels(input, weight, bias, groups)
    if 0 in input.shape[2:]:
        raise ValueError(
            f"input has shape {input.shape}; give it a height and a width of at least 1"
        )
    kh, kw = weight.shape[2:]
    sh, sw = pair("stride", stride, 1)
    dh, dw = pair("dilation", dilation, 1)
    pads = _pads(padding, input.shape[2:], (kh, kw), (sh, sw), (dh, dw))
    height, width = (n + sum(p) for n, p in zip(input.shape[2:], pads, strict=True))
    out_height, out_width = output_size(height, kh, sh, 0, dh), output_size(width, kw, sw, 0, dw)
    output_shape = (len(input), len(weight), out_height, out_width)
    return Conv2dArguments((kh, kw), (sh, sw), (dh, dw), pads, groups, output_shape)


def conv1d_arguments(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Single,
    padding: Padding1d,
    dilation: Single,
    groups: int,
) -> tuple[IntPair, Padding, IntPair, int]:
    r"""Check the arrays of a 1-D convolution; return its settings for images of one row.

    What has no shape in its message is left to `conv2d_arguments`.

    Parameters
    ----------
    input : (N, C_in, L) array
        N may be 0.
    weight : (C_out, C_in/groups, k) array
    bias : (C_out,) array, optional
    stride, padding, dilation, groups
        As in `torch.nn.functional.conv1d`.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    check_array("input", input, "(N, C, L)")
    check_array("weight", weight, "(C_out, C_in/groups, k)")
    _check_channels(input, weight, bias, integer("groups", groups, 1))
    if input.shape[2] == 0:
        raise ValueError(f"input has shape {input.shape}; give it a length of at least 1")
    return one_row(stride, padding, dilation, groups)


def one_row(
    stride: Single, padding: Padding1d, dilation: Single, groups: int
) -> tuple[IntPair, Padding, IntPair, int]:
    r"""Turn the settings of a 1-D convolution into those of a 2-D one over images of one row.

    Parameters
    ----------
    stride, padding, dilation, groups
        As in `torch.nn.functional.conv1d`: integers, or tuples of one.

    Examples
    --------
    >>> one_row(2, 1, (3,), 4)
    ((1, 2), (0, 1), (1, 3), 4)
    """
    rows: Padding = padding if isinstance(padding, str) else (0, _only(padding))
    return (1, _only(stride)), rows, (1, _only(dilation)), groups


def check_array(name: str, array: Array, axes: str) -> None:
    r"""Check that an array has as many axes as `axes` names, and a dtype that sums hold.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    array : array
    axes : str
        The names of its axes, such as "(H, W)".

    Raises
    ------
    ValueError
        If it is no array, of another rank, or not of float32, float64 or int64.
    """
    check_is_array(name, array)
    if array.ndim != len(axes.split(",")):
        raise ValueError(f"{name} has shape {array.shape}; pass an array with the axes {axes}")
    if array.dtype.name not in DTYPES:
        raise ValueError(
            f"{name} has dtype {array.dtype}, in which sums overflow or round badly; "
            f"convert it with .astype to one of {', '.join(DTYPES)}"
        )


def check_floats(name: str, array: Array, axes: int = 0) -> None:
    r"""Check for an array of real numbers.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    array : array
    axes : int
        How many axes it has at least.

    Raises
    ------
    ValueError
        If it is no array, not of float32 or float64, or has fewer axes.

    Examples
    --------
    >>> check_floats("input", np.array([1, 2]))
    Traceback (most recent call last):
    ValueError: input has dtype int64; convert it, e.g. input.astype(np.float32)
    """
    check_is_array(name, array)
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{name} has dtype {array.dtype}; convert it, e.g. {name}.astype(np.float32)"
        )
    if array.ndim < axes:
        raise ValueError(f"{name} has shape {array.shape}; pass at least {axes} axes, (N, C, ...)")


def check_shape(
    name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any], remedy: str
) -> None:
    r"""Check that an array has exactly this shape and this dtype.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    array : array
    shape, dtype
        What it has to have.
    remedy : str
        What to pass instead; it closes the message.

    Raises
    ------
    ValueError
        If it is no array, or has another shape or dtype.

    Examples
    --------
    >>> check_shape("bias", np.zeros(3), (2,), np.dtype("float64"), "pass one number per filter")
    Traceback (most recent call last):
    ValueError: bias has shape (3,) where (2,) is needed; pass one number per filter
    """
    check_is_array(name, array)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} where {shape} is needed; {remedy}")
    if array.dtype != dtype:
        raise ValueError(
            f"{name} is {array.dtype} where {dtype} is needed; "
            f"convert it, e.g. {name}.astype(np.{dtype})"
        )


def check_grad(grad: Array, input: Array, arguments: Conv2dArguments) -> None:
    r"""Check the gradient that arrives at the output of a convolution.

    Raises
    ------
    ValueError
        If `grad` does not have the output's shape or the input's dtype.
    """
    check_array("grad", grad, "(N, C_out, H', W')")
    if grad.shape != arguments.output_shape:
        raise ValueError(
            f"grad has shape {grad.shape} but the output of this convolution has shape "
            f"{arguments.output_shape}; pass the gradient with respect to that output"
        )
    _check_same_dtype("grad", grad, input)


def check_rng(rng: np.random.Generator) -> None:
    r"""Check for a source of random numbers.

    Raises
    ------
    ValueError
        If it is something else, such as a seed.
    """
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng={rng!r} is no generator; pass np.random.default_rng(seed)")


def number(name: str, value: object, allowed: Callable[[float], bool], remedy: str) -> float:
    r"""Return `value` as a `float`, which leaves the dtype of arrays alone.

    NumPy's own numbers do not: a float32 array times a `np.float64` is float64.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    value : object
        Any real number, but no `bool`.
    allowed : callable
        Says of a finite number whether it will do.
    remedy : str
        What to pass instead; it closes the message.

    Raises
    ------
    ValueError
        If `value` is no number, not finite or not allowed.

    Examples
    --------
    >>> number("p", np.float64(0.5), lambda p: 0 <= p < 1, "use 0 <= p < 1")
    0.5
    >>> number("p", 2, lambda p: 0 <= p < 1, "use 0 <= p < 1")
    Traceback (most recent call last):
    ValueError: p=2 is out of range; use 0 <= p < 1
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}={value!r} is no number; {remedy}")
    if not (isfinite(value) and allowed(float(value))):
        raise ValueError(f"{name}={value!r} is out of range; {remedy}")
    return float(value)


def check_is_array(name: str, array: Array) -> None:
    r"""Check for a NumPy array, of any shape and dtype.

    Raises
    ------
    ValueError
        If it is something else, such as a list.
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(array).__name__}; pass a NumPy array (np.asarray)")


def _only(value: Single) -> int:
    r"""Take an integer out of a tuple of one; what is wrong otherwise is found later."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return value[0]
    return value


def _check_same_dtype(name: str, array: Array, input: Array) -> None:
    if array.dtype != input.dtype:
        raise ValueError(
            f"{name} is {array.dtype} but input is {input.dtype}; "
            f"convert one of them, e.g. {name}.astype(input.dtype)"
        )


def _check_channels(input: Array, weight: Array, bias: Array | None, groups: int) -> None:
    c_in, c_out, per_group = input.shape[1], len(weight), weight.shape[1]
    if c_out == 0 or per_group == 0:
        raise ValueError(f"weight has shape {weight.shape}; it needs at least one channel")
    if c_in != per_group * groups:
        raise ValueError(
            f"input has {c_in} channels but weight {weight.shape} with groups={groups} expects "
            f"{per_group * groups}; change the input's channels, the weight or groups"
        )
    if c_out % groups:
        raise ValueError(
            f"groups={groups} does not divide the {c_out} output channels of weight; "
            f"use a divisor of {c_out}"
        )
    if bias is not None:
        check_array("bias", bias, "(C_out)")
        if bias.shape != (c_out,):
            raise ValueError(
                f"bias has shape {bias.shape} but weight has {c_out} filters; "
                f"pass shape ({c_out},), one number per filter"
            )
        _check_same_dtype("bias", bias, input)


def _pads(
    padding: Padding,
    size: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    if not isinstance(padding, str):
        ph, pw = pair("padding", padding, 0)
        return (ph, ph), (pw, pw)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding='same' needs stride=1 but stride={stride}; pad explicitly")
        rows, columns = map(same_padding, size, kernel, stride, dilation)
        return rows, columns
    if padding == "valid":
        return (0, 0), (0, 0)
    raise ValueError(f"padding={padding!r} is unknown; use 'same', 'valid', an int or a pair")
