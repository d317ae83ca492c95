r"""Pixels around an image: which pixel each of them copies, and where its gradient goes.

One array of indices for each axis describes a padding: at each place of the padded axis it names
the pixel that stands there. Forward, pixels are read with these indices; backward, the gradient
of each copy is added to the pixel that it was copied from.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.arguments import Array, check_array
from coursepkg.validation import choice, integer

__all__ = ["LIMITS", "SOURCES", "PaddingMode", "Sides", "pad", "pad_backward"]

Sides = int | tuple[int, int, int, int]
PaddingMode = Literal["constant", "reflect", "replicate", "circular"]
Indices = NDArray[np.intp]

#: By mode: which of n pixels stands at place i, counted from the first pixel; n is no pixel.
SOURCES: dict[str, Callable[[Indices, int], Indices]] = {
    "constant": lambda i, n: np.where((i >= 0) & (i < n), i, n),
    "reflect": lambda i, n: n - 1 - np.abs(n - 1 - np.abs(i)),
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
}
#: By mode: how many pixels can be added at one end of n; to the other modes, any number.
LIMITS: dict[str, Callable[[int], int]] = {"reflect": lambda n: n - 1, "circular": lambda n: n}


def pad(
    input: Array, padding: Sides, mode: PaddingMode = "constant", value: float | None = 0.0
) -> Array:
    r"""Add pixels around a batch of images.

    ========= ======================= ===========================
    mode      what is added           7 8 9, padded by 2
    ========= ======================= ===========================
    constant  `value`                 0 0 **7 8 9** 0 0
    reflect   the image in a mirror   9 8 **7 8 9** 8 7
    replicate the nearest pixel       7 7 **7 8 9** 9 9
    circular  what is at the far end  8 9 **7 8 9** 7 8
    ========= ======================= ===========================

    Parameters
    ----------
    input : (N, C, H, W) array
        float32, float64 or int64; N may be 0.
    padding : int or (left, right, top, bottom)
        Pixels to add; one integer serves all sides. The width comes first, as in PyTorch.
    mode : str
        "constant", "reflect", "replicate" or "circular".
    value : float, optional
        What "constant" adds; the other modes take none. None is 0.

    Returns
    -------
    (N, C, top+H+bottom, left+W+right) array
        A new array of the input's dtype.

    Raises
    ------
    ValueError
        If an argument is of another kind, if `value` does not fit the dtype or the mode, or if a
        side is too long: at most n - 1 pixels reflect, and at most n go round.

    References
    ----------
    `torch.nn.functional.pad`. Unlike there, one integer serves all sides, as in
    `torch.nn.ZeroPad2d`, and negative numbers, which crop, are refused.

    Examples
    --------
    >>> x = np.array([[[[7, 8, 9]]]])
    >>> pad(x, (2, 1, 0, 0), mode="reflect")
    array([[[[9, 8, 7, 8, 9, 8]]]])
    >>> pad(x, 1, value=5)[0, 0]
    array([[5, 5, 5, 5, 5],
           [5, 7, 8, 9, 5],
           [5, 5, 5, 5, 5]])
    """
    check_array("input", input, "(N, C, H, W)")
    value = 0 if value is None else value
    _check_value(value, mode, input.dtype)
    left, right, top, bottom = _sides(padding)
    rows = _sources(input.shape[2], top, bottom, mode)
    columns = _sources(input.shape[3], left, right, mode)
    further = ((0, 0), (0, 0), (0, 1), (0, 1))  # row H and column W, for places without a pixel
    x = np.pad(input, further, constant_values=value)  # (N, C, H+1, W+1)
    return x[:, :, rows[:, None], columns]


def pad_backward(grad: Array, padding: Sides, mode: PaddingMode = "constant") -> Array:
    r"""Add the gradient of each copy to the pixel that it was copied from.

    This is the transpose of `pad` (with value 0): :math:`\langle \mathrm{pad}(x), y \rangle =
    \langle x, \mathrm{pad\_backward}(y) \rangle`.

    Parameters
    ----------
    grad : (N, C, top+H+bottom, left+W+right) array
        Gradient of the loss with respect to the padded images.
    padding, mode
        What `pad` was called with.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        If `grad` is not what such a padding gives, or as `pad`.

    Examples
    --------
    >>> grad = np.array([[[[100, 20, 1, 2, 3]]]])
    >>> pad_backward(grad, (2, 0, 0, 0), mode="reflect")
    array([[[[  1,  22, 103]]]])
    """
    check_array("grad", grad, "(N, C, top+H+bottom, left+W+right)")
    left, right, top, bottom = _sides(padding)
    height, width = grad.shape[2] - top - bottom, grad.shape[3] - left - right
    if height < 1 or width < 1:
        raise ValueError(
            f"grad has shape {grad.shape} but padding={padding!r} alone adds {top + bottom} rows "
            f"and {left + right} columns; pass the gradient of the padded images"
        )
    rows, columns = _sources(height, top, bottom, mode), _sources(width, left, right, mode)
    x = np.zeros((*grad.shape[:2], height + 1, width + 1), grad.dtype)  # as x in `pad`
    copies: Any = np.s_[:, :, rows[:, None], columns]
    np.add.at(x, copies, grad)
    return x[:, :, :height, :width].copy()


def _sources(size: int, before: int, after: int, mode: str) -> Indices:
    r"""Return which pixel stands at each place of the padded axis: (before + size + after,)."""
    choice("mode", mode, SOURCES)
    if size < 1:
        raise ValueError("input has no pixels; give it a height and a width of at least 1")
    if mode in LIMITS and max(before, after) > LIMITS[mode](size):
        raise ValueError(
            f"padding={max(before, after)} is too much for mode={mode!r} on an axis of {size}; "
            f"use at most {LIMITS[mode](size)}, or mode='replicate'"
        )
    return SOURCES[mode](np.arange(-before, size + after), size)


def _sides(padding: Sides) -> tuple[int, int, int, int]:
    sides = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * 4
    if len(sides) != 4:
        raise ValueError(
            f"padding={padding!r} has {len(sides)} entries; use an integer or "
            "(left, right, top, bottom)"
        )
    left, right, top, bottom = (integer("padding", side, 0) for side in sides)
    return left, right, top, bottom


def _check_value(value: Any, mode: str, dtype: np.dtype[Any]) -> None:
    if not isinstance(value, Real):
        raise ValueError(f"value={value!r} is no number; use a number such as 0 or -np.inf")
    if mode != "constant" and value != 0:
        raise ValueError(f"value={value!r} is of no use in mode={mode!r}; use mode='constant'")
    number: Any = value  # as Real it has no operators for the type checker
    problem = f"value={value!r} does not fit into {dtype}"
    if dtype.kind == "i":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        if not low <= number <= high or number != int(number):
            raise ValueError(f"{problem}; use a whole number from {low} to {high}")
    elif float(np.finfo(dtype).max) < abs(float(number)) < np.inf:
        raise ValueError(f"{problem}; use a smaller number")
