r"""Convolution in two dimensions, by hand

Write `conv2d` as deep learning uses it: a batch of images, many filters, and the options that
every framework has. NumPy is all you need; arrays, slices and loops are welcome, and nobody
measures the time.

Take one step after the other. Each has cases and points of its own, `together` mixes them, and
`check` tells them apart, so an answer that knows only the first steps counts for those:

1. **One channel.** Put the kernel on the image, multiply what lies on top of each other, add
   up, move on by one pixel. Write down the shape of the output before you fill it.
2. **Channels and a batch.** A filter has one kernel for each channel of the image; what they
   give is added up. There is one output channel for each filter, and every image of the batch
   is treated alike.
3. **Bias**: one number for each filter, added to all of its output.
4. **Stride, padding, dilation**: where the window stands, what lies around the image, and which
   pixels the taps touch.
5. **Groups**: the channels fall into `groups` equal parts, in order, and so do the filters. A
   filter sees only the channels of its own part; hence `weight` has `C_in / groups` channels.
6. **Pairs and names**: an option may be a pair (height, width), and `padding` may be `"valid"`
   (none) or `"same"` (with stride 1): as much as keeps the size, and where that is an odd number
   of pixels, the extra one goes to the bottom or right.
7. **The dtype** of the result is that of the input, and the arguments are left as they are.
8. **Errors**: raise a `ValueError` if the kernel does not fit, the channels do not match, or
   the stride is 0.

Like everyone in the field, we do not flip the kernel: this is, strictly, a cross-correlation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from coursepkg.convolution.reference import conv2d
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {
    "one channel": 2,
    "channels": 2,
    "bias": 1,
    "stride": 1,
    "padding": 1,
    "dilation": 1,
    "groups": 2,
    "pairs and names": 1,
    "dtypes": 1,
    "errors": 1,
    "together": 2,
}
environment = "numpy"
seconds = 5.0
reference = conv2d
FORBID = ("torch", "tensorflow", "jax", "scipy", "skimage", "sklearn", "cv2")


def oracle(
    input: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> NDArray[Any]:
    r"""Take all windows at once and contract them with the filters in one Einstein sum."""
    (sh, sw), (dh, dw) = np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2)
    reach = _reach(weight, dilation)
    padded = np.pad(input, ((0, 0), (0, 0), *_pads(padding, reach)))
    windows = sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
    n, c, height, width, kh, kw = windows.shape
    windows = windows.reshape(n, groups, c // groups, height, width, kh, kw)
    filters = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    if c // groups != weight.shape[1]:
        raise ValueError(f"{c} channels in {groups} groups, but weight has {weight.shape}")
    output = np.einsum("ngchwij,gocij->ngohw", windows, filters)
    output = output.reshape(n, len(weight), height, width)
    return output if bias is None else output + bias[:, None, None]


def _reach(weight: NDArray[Any], dilation: Any) -> tuple[int, int]:
    dh, dw = np.broadcast_to(dilation, 2)
    return int(dh) * (weight.shape[2] - 1) + 1, int(dw) * (weight.shape[3] - 1) + 1


def _pads(padding: Any, reach: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    if padding == "same":
        top, left = ((r - 1) // 2 for r in reach)
        return (top, reach[0] - 1 - top), (left, reach[1] - 1 - left)
    ph, pw = np.broadcast_to(0 if padding == "valid" else padding, 2)
    return (int(ph), int(ph)), (int(pw), int(pw))


SQUARE = np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
TALL = np.array([[[[1.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 1.0]]]])
KERNEL = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
STEP = np.array([[[[-1.0, 1.0]]]])
TWO_FILTERS = np.array([[[[1.0]], [[10.0]]], [[[0.0]], [[-1.0]]]])  # (2, 2, 1, 1)
TWO_IMAGES = np.array([[[[1.0, 2.0]], [[3.0, 4.0]]], [[[5.0, 6.0]], [[7.0, 8.0]]]])  # (2, 2, 1, 2)

PUBLIC = (
    Case(
        "one channel",
        {"input": np.array([[[[1.0, 1.0, 5.0, 5.0]]]]), "weight": STEP},
        np.array([[[[0.0, 4.0, 0.0]]]]),
    ),
    Case(
        "one channel",
        {"input": SQUARE, "weight": KERNEL},
        np.array([[[[37.0, 47.0], [67.0, 77.0]]]]),
    ),
    Case(
        "one channel", {"input": TALL, "weight": STEP}, np.array([[[[-1.0], [-1.0], [3.0], [0.0]]]])
    ),
    Case(
        "channels",
        {"input": TWO_IMAGES, "weight": TWO_FILTERS},
        np.array([[[[31.0, 42.0]], [[-3.0, -4.0]]], [[[75.0, 86.0]], [[-7.0, -8.0]]]]),
    ),
    Case(
        "bias",
        {"input": TWO_IMAGES[:1], "weight": TWO_FILTERS, "bias": np.array([100.0, 0.5])},
        np.array([[[[131.0, 142.0]], [[-2.5, -3.5]]]]),
    ),
    Case(
        "stride",
        {"input": np.array([[[[1.0, 2.0, 5.0, 1.0, 9.0]]]]), "weight": STEP, "stride": 2},
        np.array([[[[1.0, -4.0]]]]),
    ),
    Case(
        "stride",
        {"input": TALL, "weight": np.array([[[[1.0, 10.0]]]]), "stride": 3},
        np.array([[[[1.0], [11.0]]]]),
    ),
    Case(
        "padding",
        {"input": np.array([[[[2.0]]]]), "weight": KERNEL, "padding": 1},
        np.array([[[[8.0, 6.0], [4.0, 2.0]]]]),
    ),
    Case(
        "dilation",
        {"input": SQUARE, "weight": KERNEL, "dilation": 2},
        np.array([[[[64.0]]]]),
    ),
    Case(
        "groups",
        {
            "input": TWO_IMAGES[:1],
            "weight": np.array([[[[1.0]]], [[[2.0]]], [[[10.0]]], [[[20.0]]]]),
            "groups": 2,
        },
        np.array([[[[1.0, 2.0]], [[2.0, 4.0]], [[30.0, 40.0]], [[60.0, 80.0]]]]),
    ),
    Case(
        "pairs and names",
        {"input": SQUARE, "weight": np.array([[[[1.0]]]]), "stride": (2, 1)},
        np.array([[[[1.0, 2.0, 3.0], [7.0, 8.0, 9.0]]]]),
    ),
    Case(
        "pairs and names",
        {"input": np.array([[[[1.0, 1.0, 5.0]]]]), "weight": STEP, "padding": "same"},
        np.array([[[[0.0, 4.0, -5.0]]]]),
    ),
    Case(
        "dtypes",
        {"input": SQUARE.astype(np.float32), "weight": KERNEL.astype(np.float32)},
        np.array([[[[37.0, 47.0], [67.0, 77.0]]]], dtype=np.float32),
    ),
    Case(
        "dtypes",
        {"input": SQUARE.astype(np.int64), "weight": KERNEL.astype(np.int64)},
        np.array([[[[37, 47], [67, 77]]]]),
    ),
    Case("errors", {"input": np.ones((1, 1, 1, 3)), "weight": KERNEL}, ValueError),
    Case("errors", {"input": np.ones((1, 1, 3, 3)), "weight": np.ones((1, 3, 2, 2))}, ValueError),
    Case("errors", {"input": SQUARE, "weight": KERNEL, "stride": 0}, ValueError),
    Case(
        "together",
        {
            "input": SQUARE,
            "weight": KERNEL,
            "bias": np.array([0.5]),
            "stride": 2,
            "padding": 1,
            "dilation": 2,
        },
        np.array([[[[20.5, 15.5], [10.5, 5.5]]]]),
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield small images of odd shapes with integer values, so that every sum is exact."""
    for group in points:
        for _ in range(12 if group == "together" else 4):
            inputs = _inputs(rng, group)
            yield Case(group, inputs, ValueError if group == "errors" else oracle(**inputs))
    empty = _inputs(rng, "channels")
    empty["input"] = empty["input"][:0]
    yield Case("channels", empty, oracle(**empty))


def _inputs(rng: np.random.Generator, group: str) -> dict[str, Any]:
    def among(*groups: str) -> bool:
        return group in (*groups, "together")

    def drawn(option: str, low: int, high: int) -> dict[str, Any]:
        if among("pairs and names"):
            return {option: tuple(int(v) for v in rng.integers(low - 1, high, 2))}
        return {option: int(rng.integers(low, high))} if group == option else {}

    options = drawn("stride", 2, 4) | drawn("padding", 1, 3) | drawn("dilation", 2, 4)
    if group == "pairs and names" and rng.random() < 0.5:
        options |= {"stride": 1, "padding": "same"}
    groups = int(rng.integers(2, 4)) if among("groups") else 1
    n, per_group, filters = rng.integers(1, 4, 3) if among("channels") else (1, 1, 1)
    if among("groups", "bias", "channels"):
        filters, per_group = filters + 1, per_group + (group == "channels")
    dtype = rng.choice(["float32", "int64"]) if group == "dtypes" else "float64"

    def values(*shape: int) -> NDArray[Any]:
        return rng.integers(-5, 6, shape).astype(dtype)

    weight = values(groups * filters, per_group, *rng.integers(1, 4, 2))
    reach = _reach(weight, options.get("dilation", 1))
    size = np.add(reach, rng.integers(1, 6, 2)) if group != "errors" else np.subtract(reach, (0, 1))
    if group == "errors" and 0 in size:
        weight = values(1, 3, *weight.shape[2:])
        size = np.add(reach, 1)
    inputs = {"input": values(n, groups * per_group, *size), "weight": weight}
    inputs |= {"bias": values(groups * filters)} if among("bias") else {}
    return inputs | options | ({"groups": groups} if groups > 1 else {})


def kernel_flipped(input, weight, bias=None, **options):
    """Your kernel is turned by 180 degrees. That is what mathematics calls a convolution; deep
    learning does not flip: the first tap lies on the first pixel of the window.
    """
    return conv2d(input, weight[:, :, ::-1, ::-1], bias, **options)


def kernel_transposed(input, weight, bias=None, **options):
    """Rows and columns of your kernel are exchanged: `weight[o, c, a, b]` belongs to the pixel
    a rows down and b columns to the right.
    """
    return conv2d(input, weight.swapaxes(2, 3), bias, **options)


def output_transposed(input, weight, bias=None, **options):
    """Your output is (N, C_out, W', H'): its last two axes are exchanged. Rows come first."""
    return conv2d(input, weight, bias, **options).swapaxes(2, 3)


def last_row_and_column_dropped(input, weight, bias=None, **options):
    """Your output lacks its last row and column. A window of k taps has n - k + 1 places in n
    pixels; the `+ 1` is for the place where it starts.
    """
    return conv2d(input, weight, bias, **options)[:, :, :-1, :-1]


def channels_averaged(input, weight, bias=None, **options):
    """You take the mean over the channels of a filter. They are added up, like all products
    under the window.
    """
    output = conv2d(input, weight, None, **options) / weight.shape[1]
    return _with_bias(output.astype(input.dtype), bias)


def first_channel_only(input, weight, bias=None, **options):
    """Your output sees only the first of the filter's channels. Add up over all of them."""
    first = np.arange(weight.shape[1]) == 0
    return conv2d(input, weight * first[:, None, None].astype(weight.dtype), bias, **options)


def one_kernel_for_all_channels(input, weight, bias=None, **options):
    """You use the kernel of the first channel for every channel; each has its own,
    `weight[o, c]`.
    """
    return conv2d(input, np.repeat(weight[:, :1], weight.shape[1], axis=1), bias, **options)


def first_filter_only(input, weight, bias=None, **options):
    """All your output channels are alike: you use `weight[0]` for each. Channel o is the work
    of filter `weight[o]`.
    """
    output = conv2d(input, weight, None, **options)
    return _with_bias(np.repeat(output[:, :1], len(weight), axis=1), bias)


def first_image_only(input, weight, bias=None, **options):
    """You treat only the first image of the batch. The output has as many images as the
    input.
    """
    return conv2d(input[:1], weight, bias, **options)


def first_image_repeated(input, weight, bias=None, **options):
    """The shape is right, but every image of your output is made from the first one. Use
    `input[n]` for image n.
    """
    return conv2d(input, weight, bias, **options)[np.zeros(len(input), int)]


def bias_forgotten(input, weight, bias=None, **options):
    """Your answer does not depend on `bias`. Add `bias[o]` to all of output channel o."""
    return conv2d(input, weight, None, **options)


def bias_for_every_channel(input, weight, bias=None, **options):
    """You add the bias once for each input channel. It belongs outside that sum: once for each
    output.
    """
    return _with_bias(
        conv2d(input, weight, None, **options), None if bias is None else bias * weight.shape[1]
    )


def bias_of_first_filter(input, weight, bias=None, **options):
    """You add the same bias everywhere. Each filter has its own: `bias[o]`."""
    same = None if bias is None else np.full_like(bias, bias[0])
    return conv2d(input, weight, same, **options)


def bias_along_the_columns(input, weight, bias=None, **options):
    """You add `bias` as it is, and NumPy lines it up with the *last* axis, the columns. It
    belongs to the channels: `bias[:, None, None]`.
    """
    output = conv2d(input, weight, None, **options)
    return output if bias is None else output + bias


def bias_used_as_sum(input, weight, bias=None, **options):
    """You add up in the array `bias` itself: `total = bias[o:o+1]` is a view, and `total +=`
    writes through it into the caller's array. Start from a copy or from 0.
    """
    output = conv2d(input, weight, None, **options)
    for n, o, i, j in np.ndindex(output.shape) if bias is not None else ():
        bias[o] += output[n, o, i, j]
        output[n, o, i, j] = bias[o]
    return output


def stride_ignored(input, weight, bias=None, **options):
    """Your answer does not depend on `stride`: output row i looks at the image from row
    i * stride on.
    """
    return conv2d(input, weight, bias, **options | {"stride": 1})


def stride_in_the_size_only(input, weight, bias=None, **options):
    """The shape is right, but your window moves by one pixel. Output (i, j) looks at the window
    that begins at row i * stride and column j * stride.
    """
    height, width = conv2d(input, weight, bias, **options).shape[2:]
    return conv2d(input, weight, bias, **options | {"stride": 1})[:, :, :height, :width]


def stride_for_rows_only(input, weight, bias=None, **options):
    """Your stride works on the rows but not on the columns."""
    sh, _ = np.broadcast_to(options.get("stride", 1), 2)
    return conv2d(input, weight, bias, **options | {"stride": (int(sh), 1)})


def padding_ignored(input, weight, bias=None, **options):
    """Your answer does not depend on `padding`: put that many rows and columns of zeros around
    the image first (`np.pad`).
    """
    return conv2d(input, weight, bias, **options | {"padding": 0})


def padding_at_one_end(input, weight, bias=None, **options):
    """You pad the top and the left, but not the bottom and the right. `padding` counts the
    zeros at *each* end.
    """
    return _padded(input, weight, bias, options, lambda before, after: (before, 0))


def padding_all_before(input, weight, bias=None, **options):
    """The shape is right, but all your padding lies at the top and the left. Half of it belongs
    to the bottom and the right.
    """
    return _padded(input, weight, bias, options, lambda before, after: (before + after, 0))


def padding_repeats_the_edge(input, weight, bias=None, **options):
    """You pad by repeating the border pixels. Padding means zeros here."""
    return _padded(input, weight, bias, options, lambda *ends: ends, mode="edge")


def same_extra_before(input, weight, bias=None, **options):
    """With `padding="same"` and an even kernel one pixel is left over. It goes to the bottom or
    the right, as in PyTorch; yours goes to the top or the left.
    """
    return _padded(input, weight, bias, options, lambda before, after: (after, before))


def dilation_ignored(input, weight, bias=None, **options):
    """Your answer does not depend on `dilation`: neighbouring taps touch pixels that are
    `dilation` apart. A slice with a step does it: `x[i : i + reach : dilation]`.
    """
    return conv2d(input, weight, bias, **options | {"dilation": 1})


def dilation_as_gap(input, weight, bias=None, **options):
    """Your taps lie one pixel too far apart. `dilation` is their distance, not the number of
    pixels between them: 1 means neighbours.
    """
    further = np.broadcast_to(options.get("dilation", 1), 2) + 1
    return conv2d(input, weight, bias, **options | {"dilation": tuple(further)})


def dilation_times_kernel(input, weight, bias=None, **options):
    """Your dilated output is too small. The kernel reaches across dilation * (k - 1) + 1 pixels,
    not dilation * k: there are only k - 1 gaps between k taps.
    """
    output = conv2d(input, weight, bias, **options)
    pads = _pads(options.get("padding", 0), _reach(weight, options.get("dilation", 1)))
    padded = np.add(input.shape[2:], np.sum(pads, axis=1))
    room = padded - np.multiply(options.get("dilation", 1), weight.shape[2:])
    height, width = np.maximum(room // options.get("stride", 1) + 1, 0)
    return output[:, :, :height, :width]


def groups_ignored(input, weight, bias=None, **options):
    """All your filters look at the first channels of the image. Filter o belongs to group
    o // (C_out / groups) and sees the channels of that group.
    """
    return conv2d(input[:, : weight.shape[1]], weight, bias, **options | {"groups": 1})


def filters_dealt_out(input, weight, bias=None, **options):
    """You deal the filters out to the groups like cards, by o % groups. They are cut into
    consecutive blocks: o // (C_out / groups).
    """
    deal = np.argsort(np.arange(len(weight)) % options.get("groups", 1), kind="stable")
    output = np.empty_like(conv2d(input, weight, bias, **options))
    output[:, deal] = conv2d(input, weight[deal], None, **options)
    return _with_bias(output, bias)


def channels_dealt_out(input, weight, bias=None, **options):
    """You deal the channels out to the groups like cards, by c % groups. Group g has the
    consecutive channels from g * C_in / groups on.
    """
    deal = np.argsort(np.arange(input.shape[1]) % options.get("groups", 1), kind="stable")
    return conv2d(input[:, deal], weight, bias, **options)


def pairs_swapped(input, weight, bias=None, **options):
    """You read a pair as (width, height). It is (height, width), in the order of the axes."""
    swapped = {
        name: value[::-1] if isinstance(value, tuple) else value for name, value in options.items()
    }
    return conv2d(input, weight, bias, **swapped)


def pairs_not_understood(input, weight, bias=None, **options):
    """Your options are integers only. Turn each into a pair first, `(s, s)` unless it is one
    already, and `padding="same"` into numbers of pixels; the rest of the code then sees pairs
    alone.
    """
    if any(isinstance(value, tuple | str) for value in options.values()):
        raise TypeError("unsupported operand")
    return conv2d(input, weight, bias, **options)


def float64_returned(input, weight, bias=None, **options):
    """The numbers are right, but the dtype is float64, which `np.zeros` gives unless told
    otherwise. Make the output with `dtype=input.dtype`.
    """
    return conv2d(input, weight, bias, **options).astype(np.float64)


def channels_not_checked(input, weight, bias=None, **options):
    """You do not compare the channels. An image of 1 channel and a filter of 3 multiply without
    complaint, because NumPy repeats the one: raise a `ValueError` yourself.
    """
    if input.shape[1] < weight.shape[1]:
        return conv2d(np.repeat(input, weight.shape[1], axis=1), weight, bias, **options)
    return conv2d(input, weight, bias, **options)


def nothing_checked(input, weight, bias=None, **options):
    """You check none of the arguments. A result that is empty, or wrong because NumPy has
    repeated a channel, hides the caller's mistake: raise a `ValueError` with a helpful text.
    """
    try:
        return conv2d(input, weight, bias, **options)
    except ValueError:
        return np.zeros((len(input), len(weight), 0, 0))


def _with_bias(output, bias):
    return output if bias is None else output + bias[:, None, None]


def _padded(input, weight, bias, options, ends, **how):
    r"""Convolve after a padding whose (before, after) `ends` has changed."""
    pads = _pads(options.get("padding", 0), _reach(weight, options.get("dilation", 1)))
    image = np.pad(input, ((0, 0), (0, 0), *(ends(*p) for p in pads)), **how)
    return conv2d(image, weight, bias, **options | {"padding": 0})


WRONG = (
    kernel_flipped,
    kernel_transposed,
    output_transposed,
    last_row_and_column_dropped,
    channels_averaged,
    first_channel_only,
    one_kernel_for_all_channels,
    first_filter_only,
    first_image_only,
    first_image_repeated,
    bias_forgotten,
    bias_for_every_channel,
    bias_of_first_filter,
    bias_along_the_columns,
    bias_used_as_sum,
    stride_ignored,
    stride_in_the_size_only,
    stride_for_rows_only,
    padding_ignored,
    padding_at_one_end,
    padding_all_before,
    padding_repeats_the_edge,
    same_extra_before,
    dilation_ignored,
    dilation_as_gap,
    dilation_times_kernel,
    groups_ignored,
    filters_dealt_out,
    channels_dealt_out,
    pairs_swapped,
    pairs_not_understood,
    float64_returned,
    channels_not_checked,
    nothing_checked,
)
