r"""The padding that TensorFlow calls "same"

In TensorFlow, `padding="same"` promises that an axis of n pixels gives ⌈n / stride⌉ outputs (n
divided by the stride, rounded up), whatever the kernel is. It adds as few pixels as keep this
promise; so what it adds depends on the size of the image. Where it has to add an odd number, the
extra pixel goes *after* the last one.

Write `same_padding`, which returns how many pixels it adds before the first and after the last
pixel of one axis, as a tuple `(before, after)` of two integers.

Do these on squared paper first:

- 5 pixels, 3 taps, stride 1: five outputs. The windows start at pixels −1, 0, 1, 2 and 3; the
  last one ends at 5, one past the end. So `(1, 1)`.
- 6 pixels, 3 taps, stride 2: three outputs. Windows that start at 0, 2 and 4 end at 6: one pixel
  is missing, and it goes after. So `(0, 1)`.
- 6 pixels, 1 tap, stride 2: three outputs at pixels 0, 2 and 4. Nothing to add: `(0, 0)`.

With `dilation` the taps lie so many pixels apart. An argument that is not an `int` of at least 1
(5.0 is none) is a mistake of the caller: raise a `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from coursepkg.convolution.arithmetic import same_padding, span
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"stride 1": 1, "even kernel": 1, "stride": 2, "nothing to add": 1, "dilation": 1}
points |= {"errors": 1}
environment = "numpy"
seconds = 2.0
reference = same_padding
FORBID = ("torch", "tensorflow", "jax")


def oracle(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    r"""Add one pixel after, one before, one after, ... until as many windows fit as promised."""
    options = size, kernel, stride, dilation
    if not all(isinstance(option, int) and option >= 1 for option in options):
        raise ValueError(f"{options} are no options of a window")
    promised = len(range(0, size, stride))
    before = after = 0
    while len(_starts(size + before + after, kernel, stride, dilation)) < promised:
        before, after = (before, after + 1) if before == after else (before + 1, after)
    return before, after


def _starts(size: int, kernel: int, stride: int, dilation: int) -> list[int]:
    return [i for i in range(0, size, stride) if i + dilation * (kernel - 1) < size]


PUBLIC = (
    Case("stride 1", {"size": 5, "kernel": 3}, (1, 1)),
    Case("stride 1", {"size": 28, "kernel": 5}, (2, 2)),
    Case("even kernel", {"size": 5, "kernel": 2}, (0, 1)),
    Case("even kernel", {"size": 9, "kernel": 4}, (1, 2)),
    Case("stride", {"size": 6, "kernel": 3, "stride": 2}, (0, 1)),
    Case("stride", {"size": 7, "kernel": 3, "stride": 2}, (1, 1)),
    Case("stride", {"size": 28, "kernel": 3, "stride": 3}, (1, 1)),
    Case("stride", {"size": 224, "kernel": 7, "stride": 2}, (2, 3)),
    Case("nothing to add", {"size": 6, "kernel": 1, "stride": 2}, (0, 0)),
    Case("nothing to add", {"size": 6, "kernel": 2, "stride": 3}, (0, 0)),
    Case("dilation", {"size": 10, "kernel": 3, "dilation": 2}, (2, 2)),
    Case("dilation", {"size": 9, "kernel": 2, "stride": 2, "dilation": 4}, (2, 2)),
    Case("errors", {"size": 5, "kernel": 3, "stride": 0}, ValueError),
    Case("errors", {"size": 5, "kernel": 0}, ValueError),
    Case("errors", {"size": 5.0, "kernel": 3}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield axes of up to 60 pixels: odd and even kernels, each option alone and together."""

    def drawn(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    for _ in range(6):
        size, kernel, stride = drawn(20, 60), drawn(2, 8), drawn(2, 6)
        dilated = {"kernel": drawn(2, 5), "stride": drawn(1, 3), "dilation": drawn(2, 5)}
        axes: dict[str, dict[str, Any]] = {
            "stride 1": {"kernel": 2 * drawn(1, 4) + 1},
            "even kernel": {"kernel": 2 * drawn(1, 5)},
            "stride": {"kernel": kernel + stride, "stride": stride},
            "nothing to add": {"kernel": drawn(1, stride), "stride": stride},
            "dilation": dilated,
        }
        for group, options in axes.items():
            inputs = {"size": size} | options
            yield Case(group, inputs, oracle(**inputs))
    for bad in ("size", "kernel", "stride", "dilation"):
        good = {"size": drawn(9, 20), "kernel": 3, "stride": 2, "dilation": 1}
        yield Case("errors", good | {bad: drawn(-3, 1)}, ValueError)
        yield Case("errors", good | {bad: good[bad] + 0.5}, ValueError)


def _missing(size, kernel, stride=1, dilation=1, places=math.ceil, reach=span):
    r"""Return how many pixels are missing, negative if there are too many, after all checks."""
    same_padding(size, kernel, stride, dilation)
    return stride * (places(size / stride) - 1) + reach(kernel, dilation) - size


def _halves(missing):
    return missing // 2, missing - missing // 2


def symmetric(size, kernel, stride=1, dilation=1):
    """You add (k - 1) / 2 at each end, which is right for stride 1 and odd kernels. An even kernel
    needs one more, a larger stride often fewer: count what is missing under the last window.
    """
    same_padding(size, kernel, stride, dilation)
    return ((span(kernel, dilation) - 1) // 2,) * 2


def stride_ignored(size, kernel, stride=1, dilation=1):
    """Your answer does not depend on `stride`. Fewer windows reach less far: the last one starts
    stride * (places - 1) pixels after the first.
    """
    same_padding(size, kernel, stride, dilation)
    return _halves(span(kernel, dilation) - 1)


def size_kept(size, kernel, stride=1, dilation=1):
    """You pad so much that the output is as large as the input, in spite of the stride. What is
    promised is the size divided by the stride, rounded up.
    """
    same_padding(size, kernel, stride, dilation)
    return _halves(stride * (size - 1) + span(kernel, dilation) - size)


def rounded_down(size, kernel, stride=1, dilation=1):
    """You round size / stride down. "same" rounds up, so that no pixel is left over:
    `-(-size // stride)` or `math.ceil`.
    """
    return _halves(max(_missing(size, kernel, stride, dilation, places=math.floor), 0))


def negative_padding(size, kernel, stride=1, dilation=1):
    """You add a negative number of pixels. Where the windows leave gaps, there are more pixels than
    they need; then nothing is added: `max(..., 0)`.
    """
    return _halves(_missing(size, kernel, stride, dilation))


def one_step_too_far(size, kernel, stride=1, dilation=1):
    """Your last window starts one stride too late: m windows take only m - 1 steps."""
    return _halves(max(_missing(size, kernel, stride, dilation) + stride, 0))


def extra_pixel_before(size, kernel, stride=1, dilation=1):
    """You put the extra pixel before the first one. TensorFlow puts it after the last."""
    return same_padding(size, kernel, stride, dilation)[::-1]


def half_rounded_up(size, kernel, stride=1, dilation=1):
    """Where the number of missing pixels is odd you add one too many: half of it, rounded up, at
    both ends. Round down before, and give the rest to the end.
    """
    before, after = same_padding(size, kernel, stride, dilation)
    return max(before, after), max(before, after)


def half_rounded_down(size, kernel, stride=1, dilation=1):
    """Where the number of missing pixels is odd you add one too few: half of it, rounded down, at
    both ends. Give the rest, `total - total // 2`, to the end.
    """
    before, after = same_padding(size, kernel, stride, dilation)
    return min(before, after), min(before, after)


def all_after(size, kernel, stride=1, dilation=1):
    """You add everything after the last pixel. Share it out between both ends; only an odd pixel
    goes after.
    """
    return 0, sum(same_padding(size, kernel, stride, dilation))


def total_at_both_ends(size, kernel, stride=1, dilation=1):
    """You add all missing pixels at each end, twice as many as are missing. Divide them by 2."""
    return (sum(same_padding(size, kernel, stride, dilation)),) * 2


def total_returned(size, kernel, stride=1, dilation=1):
    """You return one number. Say how many pixels go before and how many after: a tuple of two."""
    return sum(same_padding(size, kernel, stride, dilation))


def list_returned(size, kernel, stride=1, dilation=1):
    """The numbers are right, but in a list. Return a tuple: `return before, after`."""
    return list(same_padding(size, kernel, stride, dilation))


def floats_returned(size, kernel, stride=1, dilation=1):
    """The numbers are right but are floats, which `/` makes. Nobody can add 1.0 pixels: divide with
    `//`.
    """
    return tuple(map(float, same_padding(size, kernel, stride, dilation)))


def halves_not_rounded(size, kernel, stride=1, dilation=1):
    """You add half pixels. Where the number of missing pixels is odd, before gets the smaller half
    and after the larger one: divide with `//`.
    """
    return (sum(same_padding(size, kernel, stride, dilation)) / 2,) * 2


def dilation_ignored(size, kernel, stride=1, dilation=1):
    """Your answer does not depend on `dilation`. Taps that lie apart reach further:
    dilation * (kernel - 1) + 1 pixels.
    """
    same_padding(size, kernel, stride, dilation)
    return same_padding(size, kernel, stride)


def dilation_times_kernel(size, kernel, stride=1, dilation=1):
    """A dilated window does not reach across dilation * kernel pixels: between its taps are only
    kernel - 1 gaps.
    """
    return _halves(max(_missing(size, kernel, stride, dilation, reach=lambda k, d: k * d), 0))


def dilation_as_gap(size, kernel, stride=1, dilation=1):
    """You take `dilation` for the number of pixels left out between two taps. It is their distance:
    with 1 they are neighbours.
    """
    same_padding(size, kernel, stride, dilation)
    return same_padding(size, kernel, stride, dilation + 1)


def nothing_checked(size, kernel, stride=1, dilation=1):
    """You return something, or let Python stumble, whatever the arguments are. Raise a `ValueError`
    for a number that is no integer, or is below 1.
    """
    total = stride * (-(-size // stride) - 1) + dilation * (kernel - 1) + 1 - size
    return max(total, 0) // 2, max(total, 0) - max(total, 0) // 2


def fractions_not_checked(size, kernel, stride=1, dilation=1):
    """You refuse numbers below 1, but not those that are no integers, such as half a tap. Check
    with `isinstance(value, int)`.
    """
    if min(size, kernel, stride, dilation) < 1:
        raise ValueError("too small")
    return nothing_checked(size, kernel, stride, dilation)


def stride_alone_checked(size, kernel, stride=1, dilation=1):
    """You check the stride, but the other arguments must be integers of at least 1 as well."""
    same_padding(1, 1, stride)
    return nothing_checked(size, kernel, stride, dilation)


WRONG = (
    symmetric,
    stride_ignored,
    size_kept,
    rounded_down,
    negative_padding,
    one_step_too_far,
    extra_pixel_before,
    half_rounded_up,
    half_rounded_down,
    all_after,
    total_at_both_ends,
    total_returned,
    list_returned,
    floats_returned,
    halves_not_rounded,
    dilation_ignored,
    dilation_times_kernel,
    dilation_as_gap,
    nothing_checked,
    fractions_not_checked,
    stride_alone_checked,
)
