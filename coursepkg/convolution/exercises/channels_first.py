r"""Channels first

Image files, matplotlib and TensorFlow keep the channels last: a batch of photographs is an array
`(N, H, W, C)`, in which the numbers of one pixel (red, green, blue) stand side by side. PyTorch
wants `(N, C, H, W)`: all reds of an image, then all greens, then all blues.

Write `nhwc_to_nchw`, which turns the first into the second. Entry `[n, c, h, w]` of the result is
entry `[n, h, w, c]` of the input; no number changes, and neither does the dtype. It works for any
number of channels, and one line is enough.

A `reshape` to the right shape does *not* do it, although it raises no error. It keeps the numbers
in their order in memory and only counts them off anew: red, green and blue of the first pixels
become the first row of the "red" channel. Try it on a photograph once you have passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.layout import _checked, nhwc_to_nchw
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"one image": 1, "square": 1, "batch": 1, "channels": 1, "dtypes": 1}
environment = "numpy"
seconds = 2.0
reference = nhwc_to_nchw
shown = (_checked,)
FORBID = ("torch", "tensorflow", "jax", "skimage", "cv2", "einops")


def oracle(input: NDArray[Any]) -> NDArray[Any]:
    r"""Move every number to its new place."""
    n, height, width, channels = input.shape
    result = np.empty((n, channels, height, width), input.dtype)
    for i, h, w, c in np.ndindex(input.shape):
        result[i, c, h, w] = input[i, h, w, c]
    return result


PUBLIC = (
    Case(
        "one image",  # a row of three pixels, two channels
        {"input": np.array([[[[1, 10], [2, 20], [3, 30]]]])},
        np.array([[[[1, 2, 3]], [[10, 20, 30]]]]),
    ),
    Case(
        "square",
        {"input": np.array([[[[1, 10], [2, 20]], [[3, 30], [4, 40]]]])},
        np.array([[[[1, 2], [3, 4]], [[10, 20], [30, 40]]]]),
    ),
    Case(
        "batch",
        {"input": np.array([[[[1, 10], [2, 20]]], [[[5, 50], [6, 60]]]])},
        np.array([[[[1, 2]], [[10, 20]]], [[[5, 6]], [[50, 60]]]]),
    ),
    Case("channels", {"input": np.array([[[[1], [2]]]])}, np.array([[[[1, 2]]]])),
    Case(
        "channels",
        {"input": np.array([[[[1, 2, 3, 4]]]])},
        np.array([[[[1]], [[2]], [[3]], [[4]]]]),
    ),
    Case(
        "dtypes",
        {"input": np.array([[[[0, 128, 255]]]], np.uint8)},
        np.array([[[[0]], [[128]], [[255]]]], np.uint8),
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield images of distinct numbers; only those of "square" are as high as wide."""
    shapes = {
        "one image": (1, 5, 4, 3),
        "square": (2, 3, 3, 3),
        "batch": (3, 4, 5, 3),
        "channels": (2, 4, 3, 5),
        "dtypes": (2, 3, 4, 3),
    }
    for group, shape in shapes.items():
        for dtype in ("uint8", "float32") if group == "dtypes" else ("float64",):
            image = rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtype)
            yield Case(group, {"input": image}, oracle(image))


def reshaped(input):
    """You use `reshape`, which keeps the numbers in their order in memory and cuts them into rows
    anew. Axes change places with `transpose`.
    """
    n, height, width, channels = input.shape
    return input.reshape(n, channels, height, width)


def width_before_height(input):
    """Height and width are swapped, so your images lie on their side. The new order of the old axes
    is 0, 3, 1, 2.
    """
    return input.transpose(0, 3, 2, 1)


def last_two_swapped(input):
    """You swap width and channels, and the channels come to stand in the middle, after the height.
    They must pass both: the new order of the old axes is 0, 3, 1, 2.
    """
    return input.transpose(0, 1, 3, 2)


def other_direction(input):
    """You convert the other way, from channels first to channels last. Here the channels are the
    last axis of the input and become axis 1.
    """
    return input.transpose(0, 2, 3, 1)


def all_reversed(input):
    """`.T` turns round the order of *all* axes: the batch ends up last, the width before the
    height. Say which order you want: `transpose(0, 3, 1, 2)`.
    """
    return input.T


def batch_moved(input):
    """You count the axes of one image, without the batch: 2, 0, 1. The batch is axis 0 and stays;
    height, width and channels are axes 1, 2 and 3.
    """
    return input.transpose(2, 0, 1, 3)


def first_image_only(input):
    """Only the first image of the batch comes back, and without its batch axis. Keep axis 0 and
    turn all images at once.
    """
    return input[0].transpose(2, 0, 1)


def three_channels_assumed(input):
    """You take channels 0, 1 and 2 by name. Grey images have one channel, satellite images a
    dozen: let `transpose` take them all.
    """
    return np.stack([input[..., 0], input[..., 1], input[..., 2]], axis=1)


def channels_reversed(input):
    """The axes are right, but the channels come out in reverse order: blue, green, red. That is
    OpenCV's habit; keep their order here.
    """
    return input[..., ::-1].transpose(0, 3, 1, 2)


def scaled(input):
    """You also divide by 255, as `torchvision`'s `ToTensor` does. Here no number changes: only the
    axes change places.
    """
    return input.transpose(0, 3, 1, 2) / 255


def float_returned(input):
    """The numbers are right but have become float64. `np.zeros` makes floats unless it is told the
    `dtype`; a `transpose` keeps it by itself.
    """
    return input.transpose(0, 3, 1, 2).astype(np.float64)


def length_one_squeezed(input):
    """Axes of length 1 are gone, which `squeeze` does. A batch of one grey image still has four
    axes.
    """
    return np.squeeze(input.transpose(0, 3, 1, 2))


def unchanged(input):
    """What comes back is the input as it was: `input.transpose(...)` changes nothing in place. It
    returns a new view; return that.
    """
    input.transpose(0, 3, 1, 2)
    return input


WRONG = (
    reshaped,
    width_before_height,
    last_two_swapped,
    other_direction,
    all_reversed,
    batch_moved,
    first_image_only,
    three_channels_assumed,
    channels_reversed,
    scaled,
    float_returned,
    length_one_squeezed,
    unchanged,
)
