r"""Back to the winner

Max pooling keeps the largest number of each window. So a small change of the largest changes the
output by as much, and a small change of any other changes nothing. Write `max_pool2d_backward`,
which turns the gradient of the loss with respect to the output into the one with respect to the
input:

1. The result is zero everywhere, with the shape of `input`, and then collects.
2. For each window, find out where its largest number is, and add the window's gradient *there*.
3. If several numbers are equally large, the first one gets it all, reading the window row by row.
4. With a stride smaller than the window, windows overlap, and a number may win several times: it
   adds up all that it is sent.
5. Channels and images are treated each by itself.

`kernel_size`, `stride`, `padding`, `dilation` and `ceil_mode` are what `max_pool2d` was called
with. `padding` never wins, and the result is that of the image without padding. Pairs (height,
width), `dilation` and `ceil_mode` come in the group `settings` only; elsewhere all are integers.

The result has the input's dtype. Neither `grad` nor `input` is changed. Loops are welcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.exercises.max_pool2d import _pair, _windows
from coursepkg.convolution.exercises.max_pool2d import oracle as pooled
from coursepkg.convolution.pooling import avg_pool2d_backward, max_pool2d, max_pool2d_backward
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"windows": 2, "ties": 1, "overlap": 2, "channels": 1, "batch": 1, "padding": 1}
points |= {"settings": 1, "dtypes": 1}
environment = "numpy"
seconds = 3.0
reference = max_pool2d_backward


def oracle(
    grad: NDArray[Any],
    input: NDArray[Any],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> NDArray[Any]:
    r"""Go through all windows; in each, read the pixels one by one and remember the largest."""
    stride = kernel_size if stride is None else stride
    settings = (_pair(value) for value in (kernel_size, stride, padding, dilation))
    rows, columns = (
        _windows(n, *setting, ceil_mode)
        for n, *setting in zip(input.shape[2:], *settings, strict=True)
    )
    result = np.zeros_like(input)
    for (n, c, i, j), share in np.ndenumerate(grad):
        window = list(product(rows[i], columns[j]))
        largest = max(input[n, c][place] for place in window)
        first = next(place for place in window if input[n, c][place] == largest)
        result[n, c][first] += share
    return result


def _image(*rows: list[float]) -> NDArray[Any]:
    return np.array([[rows]], dtype=np.float64)


SQUARE = _image([1, 5, 2, 0], [3, 4, 8, 7], [9, 0, 1, 1], [2, 6, 3, 4])
SMALL = _image([1, 2], [4, 3])
PEAK = _image([1, 2, 3], [4, 9, 5], [6, 7, 8])

PUBLIC = (
    Case(
        "windows",
        {"grad": _image([10, -20], [30, 40]), "input": SQUARE, "kernel_size": 2},
        _image([0, 10, 0, 0], [0, 0, -20, 0], [30, 0, 0, 0], [0, 0, 0, 40]),
    ),
    Case(
        "windows",
        {"grad": _image([7]), "input": -SMALL, "kernel_size": 2},
        _image([7, 0], [0, 0]),
    ),
    Case(
        "ties",
        {"grad": _image([8]), "input": _image([2, 2], [2, 2]), "kernel_size": 2},
        _image([8, 0], [0, 0]),
    ),
    Case(
        "ties",
        {"grad": _image([8]), "input": _image([0, 3], [3, 1]), "kernel_size": 2},
        _image([0, 8], [0, 0]),
    ),
    Case(
        "overlap",
        {"grad": _image([10, 20], [30, 40]), "input": PEAK, "kernel_size": 2, "stride": 1},
        _image([0, 0, 0], [0, 100, 0], [0, 0, 0]),
    ),
    Case(
        "channels",
        {
            "grad": np.array([[[[5.0]], [[7.0]]]]),
            "input": np.concatenate([SMALL, -SMALL], axis=1),
            "kernel_size": 2,
        },
        np.array([[[[0.0, 0.0], [5.0, 0.0]], [[7.0, 0.0], [0.0, 0.0]]]]),
    ),
    Case(
        "batch",
        {
            "grad": np.array([[[[5.0]]], [[[7.0]]]]),
            "input": np.concatenate([SMALL, -SMALL]),
            "kernel_size": 2,
        },
        np.array([[[[0.0, 0.0], [5.0, 0.0]]], [[[7.0, 0.0], [0.0, 0.0]]]]),
    ),
    Case(
        "padding",
        {
            "grad": _image([1, 2], [3, 4]),
            "input": _image([-5, -6], [-7, -8]),
            "kernel_size": 2,
            "padding": 1,
        },
        _image([1, 2], [3, 4]),
    ),
    Case(
        "settings",
        {
            "grad": _image([5, 6, 7]),
            "input": _image([4, 1, 3, 9, 2]),
            "kernel_size": (1, 2),
            "stride": (1, 2),
            "padding": (0, 1),
            "dilation": (1, 2),
        },
        _image([0, 5, 0, 13, 0]),
    ),
    Case(
        "dtypes",
        {
            "grad": _image([5]).astype(np.float32),
            "input": SMALL.astype(np.float32),
            "kernel_size": 2,
        },
        _image([0, 0], [5, 0]).astype(np.float32),
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield images of odd shapes and gradients of both signs; ties only in their own group."""
    kinds: dict[str, list[dict[str, Any]]] = {
        "windows": [{"kernel_size": 2}, {"kernel_size": 3}],
        "ties": [{"kernel_size": 2}, {"kernel_size": 3}],
        "overlap": [{"kernel_size": 3, "stride": 2}, {"kernel_size": 2, "stride": 1}],
        "channels": [{"kernel_size": 2}],
        "batch": [{"kernel_size": 2}],
        "padding": [
            {"kernel_size": 2, "padding": 1},
            {"kernel_size": 3, "stride": 2, "padding": 1},
        ],
        "settings": [
            {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)},
            {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        ],
        "dtypes": [{"kernel_size": 2}],
    }
    for group, table in kinds.items():
        for options in table:
            for height, width in rng.permuted([[7, 8], [9, 6], [8, 5]], axis=1).tolist():
                inputs = {**_arrays(rng, group, height, width, options), **options}
                yield Case(group, inputs, oracle(**inputs))


def _arrays(
    rng: np.random.Generator, group: str, height: int, width: int, options: dict[str, Any]
) -> dict[str, Any]:
    shape = (3 if group == "batch" else 1, 3 if group == "channels" else 1, height, width)
    dtype = "float32" if group == "dtypes" else "float64"
    image = rng.permutation(np.prod(shape)).reshape(shape) - np.prod(shape)
    if group == "ties":
        image = image % 3
    output = pooled(image, **options)
    grad = rng.permutation(np.arange(1, output.size + 1)) * rng.choice([-1, 1], output.size)
    return {"grad": grad.reshape(output.shape).astype(dtype), "input": image.astype(dtype)}


def equal_shares(grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You divide each gradient among all pixels of the window, which is average pooling. Only the
    largest has changed the output, so it gets the whole.
    """
    max_pool2d_backward(grad, input, kernel_size, stride, padding, dilation, ceil_mode)
    if dilation != 1:
        return np.zeros_like(input)
    return avg_pool2d_backward(grad, input, kernel_size, stride, padding, ceil_mode)


def everyone_gets_all(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """You give each gradient to every pixel of the window. A pixel that is not the largest has no
    influence: its gradient is 0.
    """
    area = int(np.prod(_pair(kernel_size)))
    return equal_shares(area * grad, input, kernel_size, stride, padding, dilation, ceil_mode)


def maxima_instead_of_gradients(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """You put the largest *numbers* back into their places. What has to go there is the gradient of
    the window, `grad[n, c, i, j]`.
    """
    output = max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool2d_backward(output, input, kernel_size, stride, padding, dilation, ceil_mode)


def negative_gradients_dropped(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """Negative gradients get lost in your answer. The largest pixel gets the gradient whatever its
    sign is; maxima are taken of the input, never of `grad`.
    """
    positive = np.maximum(grad, 0)
    return max_pool2d_backward(positive, input, kernel_size, stride, padding, dilation, ceil_mode)


def all_ties_get_all(grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Where several pixels are equally large, each of them gets the whole gradient, so it arrives
    more than once. Give it to the first one only: `np.argmax` finds it.
    """
    return _tied(grad, input, (kernel_size, stride, padding, dilation, ceil_mode), lambda n: 1)


def ties_share(grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Where several pixels are equally large, you divide the gradient among them. That would be
    fair, but here, as in PyTorch, the first one gets it all.
    """
    return _tied(grad, input, (kernel_size, stride, padding, dilation, ceil_mode), lambda n: 1 / n)


def last_tie_wins(grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Where several pixels are equally large, the last one gets the gradient in your answer. It
    belongs to the first: replace the best so far only by one that is larger (`>`, not `>=`).
    """
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    return _tied(grad, input, settings, lambda n: 1, last=True)


def _tied(grad, input, settings, share, last=False):
    r"""Find all winners of a window: perturb the image so that another one of them comes first."""
    result = np.zeros_like(input)
    for place, value in np.ndenumerate(grad):
        one, rest, winners = np.zeros_like(grad), input.astype(float), []
        one[place] = 1
        largest = max_pool2d(input, *settings)[place]
        while max_pool2d(rest, *settings)[place] == largest:
            winner = np.argwhere(max_pool2d_backward(one, rest.astype(grad.dtype), *settings))[0]
            winners.append(tuple(winner))
            rest[tuple(winner)] = -np.inf
        for winner in winners[-1:] if last else winners:
            result[winner] += value * share(len(winners))
    return result


def overlaps_overwritten(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """A pixel that wins in several windows keeps only what the last one sends. Add up: use `+=`,
    not `=`.
    """
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    result = np.zeros_like(input)
    for place, value in np.ndenumerate(grad):
        one = np.zeros_like(grad)
        one[place] = 1
        result[max_pool2d_backward(one, input, *settings) > 0] = value
    return result


def winner_of_the_first_channel(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """You look for the largest pixel in the first channel and use its place in all of them. Each
    channel has a winner of its own.
    """
    first = np.broadcast_to(input[:, :1], input.shape)
    return max_pool2d_backward(grad, first, kernel_size, stride, padding, dilation, ceil_mode)


def winner_of_the_first_image(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """You look for the largest pixel in the first image and use its place in the whole batch. Each
    image has a winner of its own.
    """
    first = np.broadcast_to(input[:1], input.shape)
    return max_pool2d_backward(grad, first, kernel_size, stride, padding, dilation, ceil_mode)


def zeros_around(grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """You pad with zeros, so that the padding wins where all pixels are negative, and takes the
    gradient away. Pad with `-np.inf`.
    """
    ph, pw = _pair(padding)
    padded = np.pad(input, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    stride = kernel_size if stride is None else stride
    result = max_pool2d_backward(grad, padded, kernel_size, stride, 0, dilation, ceil_mode)
    return result[:, :, ph : ph + input.shape[2], pw : pw + input.shape[3]]


def padding_not_cropped(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """Your result has the shape of the padded image. Cut the padding off: the result is as large as
    `input`.
    """
    ph, pw = _pair(padding)
    result = max_pool2d_backward(grad, input, kernel_size, stride, padding, dilation, ceil_mode)
    return np.pad(result, ((0, 0), (0, 0), (ph, ph), (pw, pw)))


def shape_of_the_output(
    grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """Your result has the shape of `grad`. It is the gradient with respect to the *input* and has
    one number for each of its pixels.
    """
    return grad.copy()


def float64_returned(grad, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The numbers are right, but the dtype is float64, which `np.zeros` gives unless told
    otherwise. `np.zeros_like(input)` keeps shape and dtype.
    """
    result = max_pool2d_backward(grad, input, kernel_size, stride, padding, dilation, ceil_mode)
    return result.astype(np.float64)


WRONG = (
    equal_shares,
    everyone_gets_all,
    maxima_instead_of_gradients,
    negative_gradients_dropped,
    all_ties_get_all,
    ties_share,
    last_tie_wins,
    overlaps_overwritten,
    winner_of_the_first_channel,
    winner_of_the_first_image,
    zeros_around,
    padding_not_cropped,
    shape_of_the_output,
    float64_returned,
)
