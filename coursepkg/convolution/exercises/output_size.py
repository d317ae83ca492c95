r"""How many outputs does a window make?

A window slides along a row of `size` pixels, `stride` pixels at a time. It reads `kernel` of
them, one for each element of the kernel; these elements are its *taps*. The row has `padding`
extra pixels at *each* end, and the taps lie `dilation` pixels apart. Write the function
`output_size` that says at how many places the window stops.

Do the first cases on squared paper:

- 7 pixels, 3 taps: the window can start at pixels 0, 1, 2, 3 and 4, so there are 5 places.
- With `stride=2` it starts at 0, 2 and 4: 3 places.
- With `stride=3` it starts at 0 and 3; a start at 6 would hang over the end. 2 places, and
  the last pixel is never seen.
- With `dilation=3` its three taps reach across 7 pixels: 1 place.

The answer is an `int`. A window that does not fit even once, or an argument that makes no sense
(a stride of 0, a negative padding, half a tap), is a mistake of the caller: raise a `ValueError`
with a message that would help you to mend it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from coursepkg.convolution.arithmetic import output_size
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"kernel": 1, "stride": 1, "padding": 1, "dilation": 1, "together": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = output_size
FORBID = ("torch", "tensorflow", "jax")


def oracle(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    r"""Try every start and count those where the last tap is still inside."""
    options = (size, kernel, stride, padding, dilation)
    if not all(isinstance(option, int) for option in options) or padding < 0 or dilation < 1:
        raise ValueError(f"{options} are no options of a window")
    last = size + 2 * padding - 1
    starts = [i for i in range(0, last + 1, stride) if i + dilation * (kernel - 1) <= last]
    if not starts or kernel < 1:
        raise ValueError(f"{options} leave no place for the window")
    return len(starts)


PUBLIC = (
    Case("kernel", {"size": 7, "kernel": 3}, 5),
    Case("kernel", {"size": 5, "kernel": 5}, 1),
    Case("kernel", {"size": 4, "kernel": 1}, 4),
    Case("stride", {"size": 7, "kernel": 3, "stride": 2}, 3),
    Case("stride", {"size": 7, "kernel": 3, "stride": 3}, 2),
    Case("stride", {"size": 8, "kernel": 3, "stride": 2}, 3),
    Case("padding", {"size": 5, "kernel": 3, "padding": 1}, 5),
    Case("padding", {"size": 2, "kernel": 4, "padding": 1}, 1),
    Case("dilation", {"size": 7, "kernel": 3, "dilation": 2}, 3),
    Case("dilation", {"size": 7, "kernel": 3, "dilation": 3}, 1),
    Case("together", {"size": 8, "kernel": 3, "stride": 2, "padding": 2, "dilation": 2}, 4),
    Case("errors", {"size": 3, "kernel": 5}, ValueError),
    Case("errors", {"size": 7, "kernel": 3, "stride": 0}, ValueError),
    Case("errors", {"size": 7, "kernel": 3, "padding": -1}, ValueError),
    Case("errors", {"size": 7, "kernel": 2.5}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield rows of up to 60 pixels: each option alone, all at once, and windows too wide."""
    for group in ("kernel", "stride", "padding", "dilation", "together"):
        for _ in range(8):
            inputs = _options(rng, group)
            yield Case(group, inputs, oracle(**inputs))
    for _ in range(4):
        inputs = _options(rng, "together")
        reach = inputs["dilation"] * (inputs["kernel"] - 1) + 1
        size = reach - 2 * inputs["padding"] - 1  # one pixel short
        yield Case("errors", inputs | {"size": size}, ValueError)


def _options(rng: np.random.Generator, group: str) -> dict[str, Any]:
    def drawn(option: str, low: int, high: int) -> dict[str, int]:
        return {option: int(rng.integers(low, high))} if group in (option, "together") else {}

    kernel = int(rng.integers(2, 8))
    options = drawn("stride", 2, 6) | drawn("padding", 1, 4) | drawn("dilation", 2, 5)
    reach = options.get("dilation", 1) * (kernel - 1) + 1
    return {"size": int(rng.integers(reach, 60)), "kernel": kernel, **options}


def _room(size, kernel, stride, padding, dilation):
    r"""Return how far the window can move, after all checks."""
    output_size(size, kernel, stride, padding, dilation)
    return size + 2 * padding - dilation * (kernel - 1) - 1


def one_forgotten(size, kernel, stride=1, padding=0, dilation=1):
    """One place is missing: the division counts the *steps* of the window, and a window that
    takes n steps has stood at n + 1 places.
    """
    return _room(size, kernel, stride, padding, dilation) // stride


def one_inside(size, kernel, stride=1, padding=0, dilation=1):
    """The `+ 1` stands inside the division. Count the steps first, rounded down, and add the
    starting place afterwards.
    """
    return (_room(size, kernel, stride, padding, dilation) + 1) // stride


def rounded_up(size, kernel, stride=1, padding=0, dilation=1):
    """You round up, which counts a window that hangs over the end. It has to fit whole: round
    down.
    """
    return math.ceil(_room(size, kernel, stride, padding, dilation) / stride) + 1


def rounded_to_nearest(size, kernel, stride=1, padding=0, dilation=1):
    """You round to the nearest integer, but a step that is only half taken does not count.
    Round down with `//`.
    """
    return round(_room(size, kernel, stride, padding, dilation) / stride) + 1


def not_rounded(size, kernel, stride=1, padding=0, dilation=1):
    """`/` gives a float, and with it fractions of a place. Use `//`: it rounds down and keeps
    integers.
    """
    return _room(size, kernel, stride, padding, dilation) / stride + 1


def float_returned(size, kernel, stride=1, padding=0, dilation=1):
    """The number is right, but it is a float, and a float is no length: `np.zeros(3.0)` fails.
    Use `//` on integers.
    """
    return _room(size, kernel, stride, padding, dilation) // stride + 1.0


def numpy_float_returned(size, kernel, stride=1, padding=0, dilation=1):
    """`np.floor` rounds down but returns a NumPy float. Use `//` on integers."""
    return np.floor(_room(size, kernel, stride, padding, dilation) / stride) + 1


def divided_too_early(size, kernel, stride=1, padding=0, dilation=1):
    """You divide twice and subtract afterwards; each division drops a remainder of its own.
    Subtract first, divide once.
    """
    moved = _room(size, kernel, stride, padding, dilation) - size
    return size // stride + moved // stride + 1


def stride_ignored(size, kernel, stride=1, padding=0, dilation=1):
    """Your answer does not depend on `stride`. The window moves `stride` pixels at a time:
    divide the room that it has by it.
    """
    return _room(size, kernel, stride, padding, dilation) + 1


def padding_once(size, kernel, stride=1, padding=0, dilation=1):
    """You count the padding once, but there is as much of it at the other end: 2 * padding."""
    return (_room(size, kernel, stride, padding, dilation) - padding) // stride + 1


def padding_ignored(size, kernel, stride=1, padding=0, dilation=1):
    """Your answer does not depend on `padding`. The window slides over size + 2 * padding
    pixels.
    """
    return (_room(size, kernel, stride, padding, dilation) - 2 * padding) // stride + 1


def padding_subtracted(size, kernel, stride=1, padding=0, dilation=1):
    """Padding makes the row longer; in your answer it makes it shorter."""
    return (_room(size, kernel, stride, padding, dilation) - 4 * padding) // stride + 1


def dilation_ignored(size, kernel, stride=1, padding=0, dilation=1):
    """Your answer does not depend on `dilation`. Taps that lie `dilation` pixels apart reach
    across more than `kernel` pixels.
    """
    _room(size, kernel, stride, padding, dilation)
    return (size + 2 * padding - kernel) // stride + 1


def dilation_times_kernel(size, kernel, stride=1, padding=0, dilation=1):
    """A dilated window does not reach across dilation * kernel pixels: `kernel` taps have only
    kernel - 1 gaps between them. Draw it for 3 taps and dilation 2.
    """
    _room(size, kernel, stride, padding, dilation)
    return (size + 2 * padding - dilation * kernel) // stride + 1


def dilation_as_gap(size, kernel, stride=1, padding=0, dilation=1):
    """You take `dilation` for the number of pixels left out between two taps. It is the
    distance between them: with dilation 1 they are neighbours, and none is left out.
    """
    _room(size, kernel, stride, padding, dilation)
    return (size + 2 * padding - kernel - dilation * (kernel - 1)) // stride + 1


def dilation_once(size, kernel, stride=1, padding=0, dilation=1):
    """Dilation widens every gap between two taps, and there are kernel - 1 gaps; you widen
    only one.
    """
    _room(size, kernel, stride, padding, dilation)
    return (size + 2 * padding - kernel - (dilation - 1)) // stride + 1


def exact_fit_refused(size, kernel, stride=1, padding=0, dilation=1):
    """A window exactly as wide as the padded row fits once. Refuse it only if it is wider."""
    if _room(size, kernel, stride, padding, dilation) == 0:
        raise ValueError("the window does not fit")
    return output_size(size, kernel, stride, padding, dilation)


def fit_not_checked(size, kernel, stride=1, padding=0, dilation=1):
    """You check the arguments one by one, but not together: where the window does not fit,
    the formula gives zero or less. Raise a `ValueError` there.
    """
    enough = dilation * kernel  # for the checks of the single arguments
    output_size(size + enough, kernel, stride, padding, dilation)
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def arguments_not_checked(size, kernel, stride=1, padding=0, dilation=1):
    """You check that the window fits, but not that the arguments make sense. Raise a
    `ValueError` for a stride below 1, a negative padding, and a number that is no integer.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError("the window does not fit")
    return room // stride + 1


def nothing_checked(size, kernel, stride=1, padding=0, dilation=1):
    """You return something, or let Python stumble, whatever the arguments are. Raise a
    `ValueError` where no answer is right: the window does not fit, or an argument makes no
    sense.
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


WRONG = (
    one_forgotten,
    one_inside,
    rounded_up,
    rounded_to_nearest,
    not_rounded,
    float_returned,
    numpy_float_returned,
    divided_too_early,
    stride_ignored,
    padding_once,
    padding_ignored,
    padding_subtracted,
    dilation_ignored,
    dilation_times_kernel,
    dilation_as_gap,
    dilation_once,
    exact_fit_refused,
    fit_not_checked,
    arguments_not_checked,
    nothing_checked,
)
