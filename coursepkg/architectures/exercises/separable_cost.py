r"""What a depthwise separable convolution costs

A depthwise separable convolution has two parts. The depthwise part filters each of the
`in_channels` maps by itself, with one kernel each. The pointwise part is a 1 × 1 convolution to
`out_channels` maps. Neither has a bias.

Write `separable_cost`, which returns two integers in a tuple:

1. the number of *weights* of both parts together;
2. the number of *multiply-adds* of both parts together for one image. A multiplication with the
   addition that follows it counts as one.

`output_size` is the size of the maps that come out, and both parts work at this size.
`kernel_size` and `output_size` are integers, or pairs (height, width): the group `kernel` tries
pairs for the first, `maps` for the second. In the group `narrow` there is only one map on one
side.

A case by hand: 2 maps in, 4 maps out, kernels of 3 × 3, maps of 5 × 5. The depthwise part has
2 · 9 weights, the pointwise part 2 · 4, together 26. Each weight is used once at each of the 25
places: 650 multiply-adds. The answer is `(26, 650)`.

You need not check the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from coursepkg.architectures.separable import separable_cost
from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"weights": 2, "multiply-adds": 2, "kernel": 1, "maps": 1, "narrow": 1}
environment = "numpy"
seconds = 2.0
reference = separable_cost


def driver(Answer, in_channels, out_channels, kernel_size, output_size):
    weights, macs = Answer(in_channels, out_channels, kernel_size, output_size)
    yield "weights", weights
    yield "multiply-adds", macs


def oracle(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    output_size: int | tuple[int, int],
) -> dict[str, int]:
    r"""Lay out the weights of both parts as arrays, and count them; then place by place."""
    taps, places = (np.ones(np.broadcast_to(n, 2)) for n in (kernel_size, output_size))
    depthwise = np.ones((in_channels, 1, *taps.shape))
    pointwise = np.ones((out_channels, in_channels, 1, 1))
    weights = depthwise.size + pointwise.size
    macs = sum(weights for _ in places.flat)
    return {"weights": weights, "multiply-adds": macs}


def _case(group: str, m: int, n: int, kernel, maps, weights: int, macs: int) -> Case:
    inputs = {"in_channels": m, "out_channels": n, "kernel_size": kernel, "output_size": maps}
    return Case(group, inputs, {"weights": weights, "multiply-adds": macs})


PUBLIC = (
    _case("", 2, 4, 3, 5, 26, 650),
    _case("", 3, 2, 5, 4, 81, 1296),
    _case("", 512, 512, 3, 14, 266752, 52283392),
    _case("kernel", 2, 4, (3, 1), 5, 14, 350),
    _case("kernel", 3, 2, (2, 5), 4, 36, 576),
    _case("maps", 2, 4, 3, (5, 2), 26, 260),
    _case("maps", 3, 2, 5, (4, 7), 81, 2268),
    _case("narrow", 1, 4, 3, 5, 13, 325),
    _case("narrow", 4, 1, 3, 5, 40, 1000),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield random layers: plain ones, then pairs, then a single map on one side."""
    for group in ("", "kernel", "maps", "narrow"):
        for number in range(6):
            m, n, kernel, height, width = (int(k) for k in rng.choice(range(2, 40), 5, False))
            kernel = kernel % 6 + 2
            inputs = {
                "in_channels": 1 if group == "narrow" and number % 2 else m,
                "out_channels": 1 if group == "narrow" and not number % 2 else n,
                "kernel_size": (kernel, kernel + 1 + number) if group == "kernel" else kernel,
                "output_size": (height, width) if group == "maps" else height,
            }
            yield Case(group, inputs, oracle(**inputs))


def _sides(in_channels, out_channels, kernel_size, output_size):
    taps, places = (np.broadcast_to(n, 2).tolist() for n in (kernel_size, output_size))
    return in_channels, out_channels, taps[0] * taps[1], places[0] * places[1]


def maps_among_the_weights(in_channels, out_channels, kernel_size, output_size):
    """Your number of weights depends on the size of the maps. A convolution uses the same weights
    at every place: the size of the maps belongs in the multiply-adds alone.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m * f + m * n * f, k * m * f + m * n * f


def ordinary_convolution(in_channels, out_channels, kernel_size, output_size):
    """You count an ordinary convolution, in which each filter has a kernel for every map. Here each
    map has one kernel, and a 1 x 1 convolution mixes the maps afterwards.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m * n, k * m * n * f


def pointwise_forgotten(in_channels, out_channels, kernel_size, output_size):
    """You count the depthwise part alone. The pointwise part has a weight for each pair of an input
    map and an output map.
    """
    m, _, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m, k * m * f


def depthwise_forgotten(in_channels, out_channels, kernel_size, output_size):
    """You count the pointwise part alone. The depthwise part has a kernel for each input map."""
    m, n, _, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return m * n, m * n * f


def parts_multiplied(in_channels, out_channels, kernel_size, output_size):
    """You multiply the two parts. They run one after the other, so their costs are added."""
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m * m * n, k * m * f * m * n * f


def depthwise_mixes(in_channels, out_channels, kernel_size, output_size):
    """In your depthwise part every filter sees all maps. Depthwise means that each filter sees one:
    it has a single kernel.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m * m + m * n, (k * m * m + m * n) * f


def depthwise_after_pointwise(in_channels, out_channels, kernel_size, output_size):
    """You have a depthwise kernel for each output map. The depthwise part comes first, so it works
    on the input maps.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * n + m * n, (k * n + m * n) * f


def pointwise_with_kernels(in_channels, out_channels, kernel_size, output_size):
    """Your pointwise part has kernels of full size. It looks at one place at a time: 1 x 1."""
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m + k * m * n, (k * m + k * m * n) * f


def kernel_not_squared(in_channels, out_channels, kernel_size, output_size):
    """You take the kernel's side for its number of weights. A kernel has height times width of
    them.
    """
    m, n, _, f = _sides(in_channels, out_channels, kernel_size, output_size)
    k = int(np.broadcast_to(kernel_size, 2)[0])
    return k * m + m * n, (k * m + m * n) * f


def kernel_taken_for_a_square(in_channels, out_channels, kernel_size, output_size):
    """You square the kernel's first side. A kernel of (height, width) has height times width
    weights.
    """
    m, n, _, f = _sides(in_channels, out_channels, kernel_size, output_size)
    k = int(np.broadcast_to(kernel_size, 2)[0]) ** 2
    return k * m + m * n, (k * m + m * n) * f


def maps_not_squared(in_channels, out_channels, kernel_size, output_size):
    """You take the side of the maps for their number of places. There are height times width
    places.
    """
    m, n, k, _ = _sides(in_channels, out_channels, kernel_size, output_size)
    f = int(np.broadcast_to(output_size, 2)[0])
    return k * m + m * n, (k * m + m * n) * f


def maps_taken_for_squares(in_channels, out_channels, kernel_size, output_size):
    """You square the first side of the maps. Maps of (height, width) have height times width
    places.
    """
    m, n, k, _ = _sides(in_channels, out_channels, kernel_size, output_size)
    f = int(np.broadcast_to(output_size, 2)[0]) ** 2
    return k * m + m * n, (k * m + m * n) * f


def biases_counted(in_channels, out_channels, kernel_size, output_size):
    """You count a bias for every map. Here neither part has one, as a normalisation follows it."""
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m + m + m * n + n, (k * m + m * n) * f


def operations_counted_twice(in_channels, out_channels, kernel_size, output_size):
    """Your multiply-adds are twice too many: a multiplication with its addition counts as one."""
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m + m * n, 2 * (k * m + m * n) * f


def pointwise_at_one_place(in_channels, out_channels, kernel_size, output_size):
    """In your multiply-adds the pointwise part runs only once. It mixes the maps at every place, so
    its weights count as often as there are places.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m + m * n, k * m * f + m * n


def depthwise_at_one_place(in_channels, out_channels, kernel_size, output_size):
    """In your multiply-adds the depthwise part runs only once. Its kernels stop at every place."""
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m + m * n, k * m + m * n * f


def swapped(in_channels, out_channels, kernel_size, output_size):
    """You return the multiply-adds first. The order is: weights, multiply-adds."""
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return (k * m + m * n) * f, k * m + m * n


def from_the_share(in_channels, out_channels, kernel_size, output_size):
    """You take the share 1/N + 1/K of an ordinary convolution, and get floats. Counts are integers:
    add up the two parts instead.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    share = 1 / n + 1 / k
    return share * k * m * n, share * k * m * n * f


def pairs_not_expected(in_channels, out_channels, kernel_size, output_size):
    """You compute with a pair as if it were a number. Where a size is a pair (height, width), take
    the product of the two.
    """
    weights = in_channels * kernel_size**2 + in_channels * out_channels
    return weights, weights * output_size**2


def integers_of_numpy(in_channels, out_channels, kernel_size, output_size):
    """You return integers of NumPy, as `np.prod` makes them. They overflow without a word: use
    `math.prod`, or turn them into `int`.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return np.int64(k * m + m * n), np.int64((k * m + m * n) * f)


def pointwise_with_one_map(in_channels, out_channels, kernel_size, output_size):
    """Each filter of your pointwise part has one weight. It looks at one place, but at all of the
    `in_channels` maps, and has a weight for each.
    """
    m, n, k, f = _sides(in_channels, out_channels, kernel_size, output_size)
    return k * m + n, (k * m + n) * f


WRONG = (
    maps_among_the_weights,
    ordinary_convolution,
    pointwise_forgotten,
    depthwise_forgotten,
    parts_multiplied,
    depthwise_mixes,
    depthwise_after_pointwise,
    pointwise_with_kernels,
    kernel_not_squared,
    kernel_taken_for_a_square,
    maps_not_squared,
    maps_taken_for_squares,
    biases_counted,
    operations_counted_twice,
    pointwise_at_one_place,
    depthwise_at_one_place,
    swapped,
    from_the_share,
    pairs_not_expected,
    integers_of_numpy,
    pointwise_with_one_map,
)
