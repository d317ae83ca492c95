r"""Windows become columns

Write `im2col`, which copies what lies under the window into a column of a matrix, place after
place. All the rest of a convolution is then one matrix product.

The result has three axes, `(N, C·kh·kw, H'·W')`: for each image of the batch a matrix.

- Column $i \cdot W' + j$ belongs to place $(i, j)$ of the window: the places of the first row from
  left to right, then those of the second row, and so on.
- Its entries go through the window in the order of a weight, `(C, kh, kw)`: first all of channel 0,
  row by row, then channel 1.

Start with one image, one channel and no options, and do the first case on paper. `kernel` is only
the size of the window, no weights; `stride` and `dilation` are as in `conv2d`; the input is already
padded. An option may be an integer or a pair (height, width). The dtype stays as it is. If the
window does not fit, raise a `ValueError`.

Nothing is calculated here, only copied. Slices, `reshape` and one or two loops are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from coursepkg.convolution.fast import _slide, _slides, im2col
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"windows": 2, "channels": 1, "batch": 1, "stride": 1, "dilation": 1, "pairs": 1}
points |= {"dtypes": 1, "errors": 1}
environment = "numpy"
seconds = 3.0
reference = im2col
shown = (_slides, _slide)
FORBID = ("torch", "tensorflow", "jax", "scipy", "skimage", "sklearn", "cv2")


def oracle(input: NDArray[Any], kernel: Any, stride: Any = 1, dilation: Any = 1) -> NDArray[Any]:
    r"""Take all windows as a view and put the axes of the window before those of the places."""
    (kh, kw), (sh, sw) = np.broadcast_to(kernel, 2), np.broadcast_to(stride, 2)
    dh, dw = np.broadcast_to(dilation, 2)
    reach = int(dh) * (int(kh) - 1) + 1, int(dw) * (int(kw) - 1) + 1
    views = sliding_window_view(input, reach, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
    columns = np.moveaxis(views, (2, 3), (4, 5))  # (N, C, kh, kw, H', W')
    n, c, _, _, height, width = columns.shape
    return columns.reshape(n, c * int(kh) * int(kw), height * width)


SQUARE = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
WIDE = np.array([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]])
TWO_CHANNELS = np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # (1, 2, 1, 2)
TWO_IMAGES = np.array([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])  # (2, 1, 1, 2)
TALL = np.array([[[[1.0], [2.0], [3.0], [4.0]]]])

PUBLIC = (
    Case(
        "windows",
        {"input": SQUARE, "kernel": 2},
        np.array(
            [
                [
                    [1.0, 2.0, 4.0, 5.0],
                    [2.0, 3.0, 5.0, 6.0],
                    [4.0, 5.0, 7.0, 8.0],
                    [5.0, 6.0, 8.0, 9.0],
                ]
            ]
        ),
    ),
    Case("windows", {"input": SQUARE, "kernel": 3}, SQUARE.reshape(1, 9, 1)),
    Case(
        "channels",
        {"input": TWO_CHANNELS, "kernel": (1, 2)},
        np.array([[[1.0], [2.0], [3.0], [4.0]]]),
    ),
    Case("batch", {"input": TWO_IMAGES, "kernel": 1}, np.array([[[1.0, 2.0]], [[3.0, 4.0]]])),
    Case(
        "stride",
        {"input": WIDE, "kernel": (1, 2), "stride": 2},
        np.array([[[1.0, 3.0], [2.0, 4.0]]]),
    ),
    Case(
        "dilation",
        {"input": WIDE, "kernel": (1, 2), "dilation": 3},
        np.array([[[1.0, 2.0], [4.0, 5.0]]]),
    ),
    Case(
        "pairs",
        {"input": TALL, "kernel": (2, 1), "stride": (2, 1)},
        np.array([[[1.0, 3.0], [2.0, 4.0]]]),
    ),
    Case(
        "dtypes",
        {"input": np.array([[[[1, 2, 3]]]], np.int64), "kernel": (1, 2)},
        np.array([[[1, 2], [2, 3]]], np.int64),
    ),
    Case("errors", {"input": TALL, "kernel": 2}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield odd and non-square images of distinct numbers, each option alone and all together."""
    kinds: dict[str, dict[str, Any]] = {
        "windows": {"shape": (1, 1), "kernel": 3},
        "channels": {"shape": (1, 3), "kernel": 2},
        "batch": {"shape": (3, 2), "kernel": 2},
        "stride": {"shape": (1, 1), "kernel": 2, "stride": 3},
        "dilation": {"shape": (1, 1), "kernel": 2, "dilation": 2},
        "pairs": {"shape": (2, 2), "kernel": (2, 3), "stride": (3, 2), "dilation": (2, 1)},
        "dtypes": {"shape": (2, 2), "kernel": 2},
    }
    for group, options in kinds.items():
        for _ in range(3):
            height, width = (int(n) for n in rng.choice(np.arange(5, 10), 2, replace=False))
            dtype = "float32" if group == "dtypes" else "float64"
            inputs = dict(options) | {
                "input": _image(rng, (*options["shape"], height, width), dtype)
            }
            del inputs["shape"]
            yield Case(group, inputs, oracle(**inputs))
    yield Case("errors", {"input": _image(rng, (1, 2, 5, 4)), "kernel": (2, 5)}, ValueError)


def _image(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float64"
) -> NDArray[Any]:
    return rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtype)


def _windows(input, kernel, stride=1, dilation=1):
    r"""Return the columns with each axis apart: (N, C, kh, kw, H', W')."""
    kh, kw = (int(k) for k in np.broadcast_to(kernel, 2))
    columns = im2col(input, (kh, kw), stride, dilation)
    height = im2col(input[:, :, :, :1], (kh, 1), stride, dilation).shape[2]
    return columns.reshape(len(input), -1, kh, kw, height, columns.shape[2] // height)


def _matrix(axes, order):
    r"""Put the axes (N, C, kh, kw, H', W') into another order, then into one matrix per image."""
    n, c, kh, kw = axes.shape[:4]
    return axes.transpose(order).reshape(n, c * kh * kw, -1)


def rows_and_columns_swapped(input, kernel, stride=1, dilation=1):
    """Your windows are rows. Here each window is a *column*: swap the last two axes."""
    return im2col(input, kernel, stride, dilation).swapaxes(1, 2)


def places_column_by_column(input, kernel, stride=1, dilation=1):
    """The columns are right, but in another order: you let the window slide down first. Go through
    the places row by row, from left to right.
    """
    return _matrix(_windows(input, kernel, stride, dilation), (0, 1, 2, 3, 5, 4))


def window_column_by_column(input, kernel, stride=1, dilation=1):
    """You read the window from top to bottom, column by column. Read it row by row, as a weight is
    stored: the last axis moves fastest.
    """
    return _matrix(_windows(input, kernel, stride, dilation), (0, 1, 3, 2, 4, 5))


def window_turned(input, kernel, stride=1, dilation=1):
    """You read the window backwards, which is a kernel turned by 180 degrees. Deep learning does
    not flip: start at the upper left.
    """
    axes = _windows(input, kernel, stride, dilation)[:, :, ::-1, ::-1]
    return _matrix(axes, (0, 1, 2, 3, 4, 5))


def channels_fastest(input, kernel, stride=1, dilation=1):
    """You take all channels of the first pixel, then all of the second. A weight is stored as
    `(C, kh, kw)`: all pixels of channel 0 come first.
    """
    return _matrix(_windows(input, kernel, stride, dilation), (0, 2, 3, 1, 4, 5))


def first_channel_only(input, kernel, stride=1, dilation=1):
    """You copy one channel only. A window reaches through all of them, so a column has
    `C * kh * kw` entries.
    """
    return im2col(input[:, :1], kernel, stride, dilation)


def batch_side_by_side(input, kernel, stride=1, dilation=1):
    """You put the columns of all images into one wide matrix. Each image keeps a matrix of its own:
    the batch is the first axis.
    """
    return np.concatenate(list(im2col(input, kernel, stride, dilation)), axis=1)


def first_image_only(input, kernel, stride=1, dilation=1):
    """You treat only the first image of the batch. The result has as many matrices as there are
    images.
    """
    return im2col(input[:1], kernel, stride, dilation)


def stride_ignored(input, kernel, stride=1, dilation=1):
    """Your window moves by one pixel whatever `stride` is. Place `(i, j)` starts at pixel
    `(i * stride, j * stride)`.
    """
    return im2col(input, kernel, 1, dilation)


def dilation_ignored(input, kernel, stride=1, dilation=1):
    """Your window takes neighbouring pixels whatever `dilation` is. Tap `(a, b)` lies
    `(a * dilation, b * dilation)` from the corner of the window.
    """
    return im2col(input, kernel, stride, 1)


def last_place_dropped(input, kernel, stride=1, dilation=1):
    """The last place of each row and column is missing. `range(n - k)` has one place too few: there
    are n - k + 1, or with a stride (n - k) // stride + 1.
    """
    axes = _windows(input, kernel, stride, dilation)[..., :-1, :-1]
    return _matrix(axes, (0, 1, 2, 3, 4, 5))


def pairs_not_understood(input, kernel, stride=1, dilation=1):
    """You use only the first number of a pair. Height and width may have settings of their own:
    turn an integer into a pair first, `(k, k)`, then unpack `kh, kw = kernel`.
    """
    return im2col(input, *(int(np.broadcast_to(o, 2)[0]) for o in (kernel, stride, dilation)))


def float64_returned(input, kernel, stride=1, dilation=1):
    """The numbers are right, but the dtype is float64, which `np.zeros` gives unless told
    otherwise. Pass it `dtype=input.dtype`.
    """
    return im2col(input, kernel, stride, dilation).astype(np.float64)


def nothing_checked(input, kernel, stride=1, dilation=1):
    """A window that does not fit goes through without a word. Raise a `ValueError` if it is larger
    than the image.
    """
    try:
        return im2col(input, kernel, stride, dilation)
    except ValueError:
        return np.zeros((len(input), input.shape[1] * int(np.prod(np.broadcast_to(kernel, 2))), 0))


WRONG = (
    rows_and_columns_swapped,
    places_column_by_column,
    window_column_by_column,
    window_turned,
    channels_fastest,
    first_channel_only,
    batch_side_by_side,
    first_image_only,
    stride_ignored,
    dilation_ignored,
    last_place_dropped,
    pairs_not_understood,
    float64_returned,
    nothing_checked,
)
