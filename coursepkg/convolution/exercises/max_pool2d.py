r"""The largest of each window

Write `max_pool2d`: a window slides over each channel by itself, and the largest number under it is
kept. There are no weights and no sums, so this is easier than a convolution. The settings need
care. Begin with one channel and `kernel_size` alone, and do the first case on paper.

- `input` has the axes `(N, C, H, W)`. Channels and images are never mixed: the output is
  `(N, C, H', W')`.
- `kernel_size` is the size of the window. `stride` is its step; if it is None, it is the
  `kernel_size`, so that windows lie side by side.
- `padding` is added at each end, and it must never win, even where all pixels are negative.
- `dilation` is the distance between two neighbouring taps of the window.
- The number of places is rounded down. With `ceil_mode` it is rounded up: the last window may
  hang over the end. But a window that would begin behind the input, in the padding or beyond, is
  left out.

Each setting may be an integer or a pair (height, width), has cases of its own, and may come last.
The dtype stays as it is, and arguments are not changed. If the window does not fit, or if
`padding` is more than half of the window, raise a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.pooling import avg_pool2d, max_pool2d
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"windows": 2, "channels": 1, "batch": 1, "stride": 1, "padding": 2, "dilation": 1}
points |= {"ceil_mode": 1, "pairs": 1, "dtypes": 1, "errors": 1}
environment = "numpy"
seconds = 3.0
reference = max_pool2d


def oracle(
    input: NDArray[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    r"""List the pixels of each window along each axis, without any padding; take their maximum."""
    stride = kernel_size if stride is None else stride
    settings = (_pair(value) for value in (kernel_size, stride, padding, dilation))
    rows, columns = (
        _windows(n, *setting, ceil_mode)
        for n, *setting in zip(input.shape[2:], *settings, strict=True)
    )
    if not rows or not columns:
        raise ValueError("the window does not fit")
    largest = [[input[:, :, i][..., j].max(axis=(2, 3)) for j in columns] for i in rows]
    return np.moveaxis(np.array(largest), (0, 1), (2, 3))  # (H', W', N, C) -> (N, C, H', W')


def _pair(value: Any) -> list[int]:
    return [int(v) for v in np.broadcast_to(value, 2)]


def _windows(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> list[list[int]]:
    r"""Return for each place the pixels that its window meets; none of them is padding."""
    if 2 * padding > kernel:
        raise ValueError("more padding than half of the window")
    windows = []
    start, reach = -padding, dilation * (kernel - 1) + 1
    while start + reach <= size + padding or (
        ceil_mode and start < size and start - stride + reach < size + padding
    ):
        taps = range(start, start + reach, dilation)
        windows.append([tap for tap in taps if 0 <= tap < size])
        start += stride
    return windows


def _image(*rows: list[float]) -> NDArray[Any]:
    return np.array([[rows]], dtype=np.float64)


SQUARE = _image([1, 5, 2, 0], [3, 4, 8, 7], [9, 0, 1, 1], [2, 6, 3, 4])
ODD = _image([3, 1, 4], [1, 5, 9], [2, 6, 0])
NEGATIVE = _image([-3, -1], [-4, -2])

PUBLIC = (
    Case("windows", {"input": SQUARE, "kernel_size": 2}, _image([5, 8], [9, 4])),
    Case("windows", {"input": NEGATIVE, "kernel_size": 2}, _image([-1])),
    Case(
        "channels",
        {"input": np.concatenate([NEGATIVE, -NEGATIVE], axis=1), "kernel_size": 2},
        np.array([[[[-1.0]], [[4.0]]]]),
    ),
    Case(
        "batch",
        {"input": np.concatenate([NEGATIVE, -NEGATIVE]), "kernel_size": 2},
        np.array([[[[-1.0]]], [[[4.0]]]]),
    ),
    Case("stride", {"input": ODD, "kernel_size": 2, "stride": 1}, _image([5, 9], [6, 9])),
    Case("padding", {"input": NEGATIVE, "kernel_size": 2, "padding": 1}, NEGATIVE),
    Case(
        "dilation",
        {"input": SQUARE, "kernel_size": 2, "stride": 1, "dilation": 2},
        _image([9, 5], [8, 7]),
    ),
    Case(
        "ceil_mode",
        {"input": ODD, "kernel_size": 2, "ceil_mode": True},
        _image([5, 9], [6, 0]),
    ),
    Case(
        "pairs",
        {"input": SQUARE, "kernel_size": (2, 1), "stride": (1, 2)},
        _image([3, 8], [9, 8], [9, 3]),
    ),
    Case(
        "dtypes",
        {"input": np.array([[[[1, 3], [2, -5]]]], np.int64), "kernel_size": 2},
        np.array([[[[3]]]], np.int64),
    ),
    Case("errors", {"input": ODD, "kernel_size": 4}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield images of odd shapes, often all negative, with each setting and all together."""
    kinds: dict[str, list[dict[str, Any]]] = {
        "windows": [{"kernel_size": 2}, {"kernel_size": 3}],
        "channels": [{"kernel_size": 2}],
        "batch": [{"kernel_size": 2}],
        "stride": [{"kernel_size": 3, "stride": 2}, {"kernel_size": 2, "stride": 3}],
        "padding": [
            {"kernel_size": 2, "padding": 1},
            {"kernel_size": 3, "stride": 2, "padding": 1},
        ],
        "dilation": [{"kernel_size": 2, "stride": 1, "dilation": 2}],
        "ceil_mode": [
            {"kernel_size": 3, "stride": 2, "ceil_mode": True},
            {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
            {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True},
        ],
        "pairs": [{"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}],
        "dtypes": [{"kernel_size": 2}, {"kernel_size": 3, "stride": 1, "padding": 1}],
    }
    for group, table in kinds.items():
        for options in table:
            for height, width in rng.permuted([[7, 8], [9, 6], [8, 5]], axis=1).tolist():
                shape = (3 if group == "batch" else 1, 3 if group == "channels" else 1)
                numbers = rng.permutation(np.arange(-400, -400 + shape[0] * shape[1] * 9 * 8))
                image = numbers[: shape[0] * shape[1] * height * width]
                dtype = "float32" if group == "dtypes" else "float64"
                inputs = {"input": image.reshape(*shape, height, width).astype(dtype), **options}
                yield Case(group, inputs, oracle(**inputs))
    yield Case("errors", {"input": SQUARE, "kernel_size": 2, "padding": 2}, ValueError)
    yield Case("errors", {"input": SQUARE, "kernel_size": 3, "dilation": 2}, ValueError)


def _padded(input, padding, value, sides=(1, 1)):
    ph, pw = _pair(padding)
    pads = [(p * sides[0], p * sides[1]) for p in (ph, pw)]
    return np.pad(input, ((0, 0), (0, 0), *pads), constant_values=value)


def _pooled_without_padding(padded, options, ceil_mode):
    stride = options["kernel_size"] if options["stride"] is None else options["stride"]
    return max_pool2d(padded, options["kernel_size"], stride, 0, options["dilation"], ceil_mode)


def zeros_around(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You pad with zeros, and where all pixels are negative a zero is the largest. Pad with
    `-np.inf`, for integers with `np.iinfo(input.dtype).min`: they never win.
    """
    options = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled_without_padding(_padded(input, padding, 0), options, ceil_mode)


def padding_at_one_end(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You pad at the bottom and on the right only. Padding is added at each end, so the first
    window begins `padding` pixels above and left of the image.
    """
    options = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    padded = _padded(input, padding, -np.inf, (0, 2)) if np.any(padding) else input
    return _pooled_without_padding(padded, options, ceil_mode)


def padding_ignored(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You do not use `padding`. It makes the image larger at each end before the window slides,
    with numbers that never win.
    """
    max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool2d(input, kernel_size, stride, 0, dilation, ceil_mode)


def size_without_padding(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Your image is padded, but the number of places is that of the image without padding, so the
    last ones are missing. Put n + 2 * padding into the formula.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    height, width = max_pool2d(input, kernel_size, stride, 0, dilation, ceil_mode).shape[2:]
    return output[:, :, :height, :width]


def mean_instead(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You take the mean of each window, which is average pooling. Here the largest number counts,
    and the others do not matter.
    """
    max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    means = avg_pool2d(input.astype(float), kernel_size, stride, padding, ceil_mode)
    return means.astype(input.dtype)


def largest_magnitude(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You take the number that is furthest from zero. The largest is the one furthest up: of -7
    and -5 it is -5.
    """
    largest = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    smallest = -max_pool2d(-input, kernel_size, stride, padding, dilation, ceil_mode)
    return np.where(-smallest > largest, smallest, largest)


def stride_one(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Without a `stride` your window moves by 1, as in a convolution. In pooling the step is then
    the `kernel_size`.
    """
    stride = 1 if stride is None else stride
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)


def stride_ignored(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Your window always moves by its own size. That is so only if `stride` is None: otherwise
    place `(i, j)` begins at pixel `(i * stride, j * stride)` of the padded image.
    """
    return max_pool2d(input, kernel_size, None, padding, dilation, ceil_mode)


def channels_mixed(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You take the largest of all channels. Pooling treats each channel by itself, so there are as
    many after it as before.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return output.max(axis=1, keepdims=True)


def first_channel_only(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You pool only the first channel. Do the same for each of them: axis 1 of the output is as
    long as axis 1 of the input.
    """
    return max_pool2d(input[:, :1], kernel_size, stride, padding, dilation, ceil_mode)


def first_image_only(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You pool only the first image of the batch. Axis 0 of the output is as long as axis 0 of the
    input.
    """
    return max_pool2d(input[:1], kernel_size, stride, padding, dilation, ceil_mode)


def images_mixed(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You take the largest over all images of the batch. They have nothing to do with each other:
    take the maximum over the two axes of the window alone.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return output.max(axis=0, keepdims=True)


def last_place_dropped(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The last place of each row and column is missing. There are
    (n + 2 * padding - window) // stride + 1 places: do not forget the + 1.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return output[:, :, :-1, :-1]


def always_rounded_up(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Your last window hangs over the end though `ceil_mode` is False. Round the number of places
    down: only windows that fit whole count.
    """
    max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool2d(input, kernel_size, stride, padding, dilation, True)


def ceil_mode_ignored(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You always round the number of places down. With `ceil_mode` a last window that begins inside
    the input counts too, with the pixels that it has.
    """
    return max_pool2d(input, kernel_size, stride, padding, dilation)


def window_behind_the_input(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """With `ceil_mode` your last window may begin behind the input, where it sees only padding.
    Leave it out: its first pixel has to lie in the input or before.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    if not ceil_mode:
        return output
    stride = kernel_size if stride is None else stride
    sizes = zip(input.shape[2:], *map(_pair, (kernel_size, stride, padding, dilation)), strict=True)
    places = [-(-(n + 2 * p - d * (k - 1) - 1) // s) + 1 for n, k, s, p, d in sizes]
    missing = [(0, m - have) for m, have in zip(places, output.shape[2:], strict=True)]
    return np.pad(output, ((0, 0), (0, 0), *missing), constant_values=-np.inf)


def dilation_ignored(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Your window takes neighbouring pixels whatever `dilation` is. Tap `(a, b)` lies
    `(a * dilation, b * dilation)` from the corner of the window.
    """
    max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool2d(input, kernel_size, stride, padding, 1, ceil_mode)


def pairs_not_understood(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You use only the first number of a pair. Height and width may have settings of their own:
    turn an integer into a pair first, `(k, k)`, then unpack `kh, kw = kernel_size`.
    """
    stride = kernel_size if stride is None else stride
    settings = (_pair(v)[0] for v in (kernel_size, stride, padding, dilation))
    return max_pool2d(input, *settings, ceil_mode)


def float64_returned(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The numbers are right, but the dtype is float64, which `np.zeros` and `np.full` give unless
    told otherwise. Pass them `dtype=input.dtype`.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return output.astype(np.float64)


def nothing_checked(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """A window that does not fit, or one with more padding than half of it, goes through without
    a word. Raise a `ValueError` in both cases.
    """
    try:
        return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    except ValueError:
        return np.zeros((*input.shape[:2], 0, 0))


WRONG = (
    zeros_around,
    padding_at_one_end,
    padding_ignored,
    size_without_padding,
    mean_instead,
    largest_magnitude,
    stride_one,
    stride_ignored,
    channels_mixed,
    first_channel_only,
    first_image_only,
    images_mixed,
    last_place_dropped,
    always_rounded_up,
    ceil_mode_ignored,
    window_behind_the_input,
    dilation_ignored,
    pairs_not_understood,
    float64_returned,
    nothing_checked,
)
