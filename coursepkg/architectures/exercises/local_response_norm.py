r"""Local response normalisation

Write AlexNet's normalisation, `local_response_norm`, in NumPy. It is given maps x of shape
(N, C, H, W), and every value is divided by a power of the energy that its neighbours *along the
channels* have at the same place:

$$
y_c = \frac{x_c}{\bigl(k + \frac{\alpha}{n} \sum_{j} x_j^2\bigr)^{\beta}} .
$$

Here n is `size`, an odd number, and h is half of it, rounded down. The sum runs over the channels j
from $\max(0, c - h)$ to $\min(C - 1, c + h)$, both included: equally far up and down, and the
channel itself is among them. Before the first channel and after the last there is nothing, so the
sum has fewer terms there; it is divided by n all the same. That is PyTorch's form. AlexNet's paper
has no n under the alpha.

By hand: three channels hold 3, 0 and 4 at some place, and `size=3`, `alpha=3`, `beta=0.5`, `k=0`.
The sums are 9, 25 and 16, and the results 3/3 = 1, 0/5 = 0 and 4/4 = 1.

The result has the dtype of the input, and the input stays as it is. You need not check the
arguments. A loop over the channels is fine, one over images or places would be slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.normalization import local_response_norm
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"one place": 2, "window": 2, "constants": 2, "maps": 2, "float32": 1, "input": 1}
environment = "numpy"
seconds = 3.0
reference = local_response_norm
FORBID = ("torch", "scipy", "tensorflow", "jax")


def oracle(
    input: NDArray[Any], size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> NDArray[Any]:
    r"""Multiply the squares by a band matrix along the channels."""
    channels = np.arange(input.shape[1])
    band = (np.abs(channels[:, None] - channels) <= size // 2).astype(float)  # (C, C)
    x = input.astype(float)
    base = k + alpha / size * np.einsum("cd,ndij->ncij", band, x * x)
    result: NDArray[Any] = (x * base**-beta).astype(input.dtype)
    return result


def _maps(*channels: float) -> NDArray[np.float64]:
    return np.array(channels, float).reshape(1, -1, 1, 1)


def _case(group: str, input: NDArray[Any], **settings: Any) -> Case:
    inputs = {"input": input, **settings}
    return Case(group, inputs, oracle(**inputs))


ROOT = {"alpha": 3.0, "beta": 0.5, "k": 0.0}
ROW = _maps(1, 2, 3, 4, 5, 6)
GRID = np.arange(1.0, 25).reshape(2, 3, 2, 2)

PUBLIC = (
    Case("one place", {"input": _maps(3, 0, 4), "size": 3, **ROOT}, _maps(1, 0, 1)),
    _case("window", ROW, size=1, **ROOT),
    _case("window", ROW, size=5, **ROOT),
    Case(
        "constants",
        {"input": _maps(2, 0), "size": 1, "alpha": 2.0, "beta": 1.0, "k": 2.0},
        _maps(0.2, 0),
    ),
    _case("constants", _maps(50, -100, 30), size=5),
    _case("maps", GRID, size=3, **ROOT),
    _case("float32", GRID.astype(np.float32), size=3, alpha=1.0, beta=0.75, k=1.0),
    _case("input", _maps(1, -2, 3), size=3, **ROOT),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield maps with few and with many channels, and other constants."""

    def drawn(*shape: int) -> NDArray[Any]:
        return rng.normal(size=shape) * 3

    one = {"alpha": 2.5, "beta": 0.75, "k": 1.0}
    for size in (3, 5):
        yield _case("one place", drawn(1, 8, 1, 1), size=size, **one)
        yield _case("maps", drawn(2, 8, 3, 4), size=size, **one)
        yield _case("float32", drawn(2, 5, 2, 3).astype(np.float32), size=size, **one)
        yield _case("input", drawn(2, 5, 2, 2), size=size, **one)
    for channels, size in ((2, 5), (9, 7), (1, 3)):
        yield _case("window", drawn(1, channels, 1, 1), size=size, **one)
    for _ in range(3):
        alpha, beta, k = (float(x) for x in rng.uniform(0.2, 2, 3))
        yield _case("constants", drawn(1, 6, 1, 1), size=3, alpha=3 * alpha, beta=beta, k=k)


def _sums(squares, size, below=None, above=None):
    r"""Add up a window of channels around each."""
    below, above = size // 2 if below is None else below, size // 2 if above is None else above
    count = squares.shape[1]
    padded = np.pad(squares, [(0, 0), (below, above), (0, 0), (0, 0)])
    return sum(padded[:, i : i + count] for i in range(below + above + 1))


def _divided(input, sums, alpha, beta, k):
    with np.errstate(all="ignore"):
        return (input / (k + alpha * sums) ** beta).astype(input.dtype)


def alpha_not_divided(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You multiply the sum by alpha as it is. That is the paper's form; here alpha is divided by
    `size` first, as in PyTorch.
    """
    return _divided(input, _sums(input**2, size), alpha, beta, k)


def mean_of_those_that_exist(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """At the first and last channels you divide by the number of channels in the window. Divide by
    `size` everywhere: channels that do not exist count as 0.
    """
    mean = _sums(input**2, size) / _sums(np.ones_like(input), size)
    return _divided(input, mean, alpha, beta, k)


def window_over_places(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your window lies in the image, in each channel by itself. It runs over the channels, axis 1,
    at one and the same place.
    """
    return _divided(
        input, _sums((input**2).swapaxes(1, 2), size).swapaxes(1, 2), alpha / size, beta, k
    )


def channels_in_a_ring(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """The last channel counts as the neighbour of the first in your window. `np.roll` and negative
    indices do that; here the window is cut off.
    """
    half = size // 2
    sums = sum(np.roll(input**2, i, axis=1) for i in range(-half, half + 1))
    return _divided(input, sums, alpha / size, beta, k)


def all_channels(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You add up the squares of all channels. Only those at most half of `size` away count, and the
    channel itself.
    """
    return _divided(input, (input**2).sum(1, keepdims=True), alpha / size, beta, k)


def own_channel_left_out(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You leave the channel itself out of its window. It counts, too: a strong value damps
    itself.
    """
    return _divided(input, _sums(input**2, size) - input**2, alpha / size, beta, k)


def size_as_radius(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your window reaches `size` channels to either side. `size` is its whole length: reach half of
    it, rounded down.
    """
    return _divided(input, _sums(input**2, 2 * size + 1), alpha / size, beta, k)


def only_what_comes_before(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your window ends at the channel itself. It reaches equally far up and down."""
    return _divided(input, _sums(input**2, size, size - 1, 0), alpha / size, beta, k)


def one_too_few(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your window lacks its last channel. In a slice `first:last` the last does not count, so go to
    `last + 1`.
    """
    squares, half = input**2, size // 2
    sums = np.zeros_like(squares)
    for c in range(input.shape[1]):
        sums[:, c] = squares[:, max(0, c - half) : c + half].sum(1)
    return _divided(input, sums, alpha / size, beta, k)


def not_squared(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You add up magnitudes. The sum is one of squares, so that a value twice as large counts four
    times.
    """
    return _divided(input, _sums(np.abs(input), size), alpha / size, beta, k)


def square_of_the_sum(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You add up first and square then, so that neighbours of opposite sign cancel. Square every
    value, then add up.
    """
    return _divided(input, _sums(input, size) ** 2, alpha / size, beta, k)


def always_a_square_root(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You divide by the square root. The exponent is `beta`, 0.75 unless told otherwise."""
    return _divided(input, _sums(input**2, size), alpha / size, 0.5, k)


def k_outside_the_power(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You add k after raising to the power. It stands inside: k plus alpha / n times the sum, all
    of it to the power beta.
    """
    power = (alpha / size * _sums(input**2, size)) ** beta
    with np.errstate(all="ignore"):
        return (input / (k + power)).astype(input.dtype)


def k_forgotten(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You leave out k, which keeps the divisor away from zero where all neighbours are silent."""
    return _divided(input, _sums(input**2, size), alpha / size, beta, 0.0)


def alpha_forgotten(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You divide the sum by n but do not multiply it by alpha, which says how much the neighbours
    count.
    """
    return _divided(input, _sums(input**2, size), 1 / size, beta, k)


def only_the_divisor(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You return the divisor. The result is the input divided by it."""
    return ((k + alpha / size * _sums(input**2, size)) ** beta).astype(input.dtype)


def float64_result(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your result is float64 where the input is float32. `np.zeros` makes float64 unless told
    otherwise: `np.zeros_like` keeps the dtype.
    """
    output, half = np.zeros(input.shape), size // 2
    for c in range(input.shape[1]):
        window = input[:, max(0, c - half) : c + half + 1]
        output[:, c] = _divided(input[:, c], (window**2).sum(1), alpha / size, beta, k)
    return output


def input_changed(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your values are right, but you write into `input`, which the caller may still need: `/=` and
    `**=` do that. Make a new array.
    """
    input[...] = local_response_norm(input, size, alpha, beta, k)
    return input


def first_channels_silent(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """For the first channels `c - half` is negative, and a slice then begins at the other end: it
    is mostly empty. Begin with `max(0, c - half)`.
    """
    squares, half = input**2, size // 2
    sums = np.zeros_like(squares)
    for c in range(input.shape[1]):
        sums[:, c] = squares[:, c - half : c + half + 1].sum(1)
    return _divided(input, sums, alpha / size, beta, k)


def neighbours_already_divided(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your sums hold channels that you have divided already. All of them are sums of squares of the
    input: read from `input` and write into another array.
    """
    output, half = input.copy(), size // 2
    for c in range(input.shape[1]):
        window = output[:, max(0, c - half) : c + half + 1]
        output[:, c] = _divided(input[:, c], (window**2).sum(1), alpha / size, beta, k)
    return output


def places_added_up(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You add up the squares of all images and places of the window. Every place has a sum of its
    own: add along the channels alone, with `.sum(axis=1)`.
    """
    squares, half = input**2, size // 2
    sums = np.zeros_like(squares)
    for c in range(input.shape[1]):
        sums[:, c] = squares[:, max(0, c - half) : c + half + 1].sum()
    return _divided(input, sums, alpha / size, beta, k)


def last_index_left_out(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your window ends before the last index of the formula, which a slice leaves out. Where j goes
    up to `last`, the slice goes up to `last + 1`.
    """
    squares, half = input**2, size // 2
    sums = np.zeros_like(squares)
    for c in range(input.shape[1]):
        last = min(input.shape[1] - 1, c + half)
        sums[:, c] = squares[:, max(0, c - half) : last].sum(1)
    return _divided(input, sums, alpha / size, beta, k)


def window_over_images(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Your window runs over the images of the batch. The channels are axis 1: `input[:, c]`, not
    `input[c]`.
    """
    sums = _sums((input**2).swapaxes(0, 1), size).swapaxes(0, 1)
    return _divided(input, sums, alpha / size, beta, k)


def divided_in_place(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You write your results into `input`. The caller may still need it, and so do you: the sums of
    the next channels read from it. Write into another array.
    """
    half = size // 2
    for c in range(input.shape[1]):
        window = input[:, max(0, c - half) : c + half + 1]
        input[:, c] = _divided(input[:, c], (window**2).sum(1), alpha / size, beta, k)
    return input


def computed_in_float64(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """You compute in float64, which is more exact, but return it as well. Turn the result into the
    dtype of the input at the end: `.astype(input.dtype)`.
    """
    return local_response_norm(input.astype(np.float64), size, alpha, beta, k)


WRONG = (
    alpha_not_divided,
    mean_of_those_that_exist,
    window_over_places,
    channels_in_a_ring,
    first_channels_silent,
    neighbours_already_divided,
    places_added_up,
    all_channels,
    own_channel_left_out,
    size_as_radius,
    only_what_comes_before,
    one_too_few,
    not_squared,
    square_of_the_sum,
    always_a_square_root,
    k_outside_the_power,
    k_forgotten,
    alpha_forgotten,
    only_the_divisor,
    float64_result,
    input_changed,
    last_index_left_out,
    window_over_images,
    divided_in_place,
    computed_in_float64,
)
