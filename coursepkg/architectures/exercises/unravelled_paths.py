r"""Unravelled paths

A signal passes a residual block in two ways at once: through its branch and through its shortcut.
A chain of n blocks therefore offers $2^n$ paths from its input to its output. They differ in
length, which is the number of layers that they go through.

Write `path_lengths`. `layers` tells how many layers the branch of each block holds; a shortcut
holds none. The result is a tuple of counts: at index k the number of paths that go through exactly
k layers, from the shortest path to the longest. With `layers=[2, 3]` there are four paths, of the
lengths 0, 2, 3 and 5, and the result is `(1, 0, 1, 1, 0, 1)`.

Do not walk the paths one by one: ResNet-152 has more than $10^{15}$ of them. Begin with no block
at all, and think about what one more block does to the counts that you have. It is a convolution
that you know, with a kernel of few elements.

1. In `blocks` all branches hold one layer.
2. In `layers` they differ.
3. In `many` there are so many paths that floating-point numbers and the integers of NumPy cannot
   hold the counts. Those of Python can, so return these: `type(counts[0])` is `int`.
4. In `none` there is no block.

You need not check the arguments. A list is as good as a tuple.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import comb

import numpy as np

from coursepkg.architectures.resnet import path_lengths
from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"blocks": 2, "layers": 3, "many": 2, "none": 1}
environment = "numpy"
seconds = 2.0
reference = path_lengths


def driver(Answer, layers):
    counts = Answer(layers)
    yield "counts", dict(counts) if isinstance(counts, dict) else list(counts)


def oracle(layers: list[int]) -> dict[str, list[int]]:
    r"""Multiply out (1 + t^l) at a t so large that the digits of the result are the counts."""
    t = 2 ** (len(layers) + 1)
    value, counts = 1, []
    for length in layers:
        value *= 1 + t**length
    for _ in range(sum(layers) + 1):
        value, count = divmod(value, t)
        counts.append(count)
    return {"counts": counts}


PUBLIC = (
    Case("blocks", {"layers": [1, 1, 1]}, {"counts": [1, 3, 3, 1]}),
    Case("layers", {"layers": [2, 3]}, {"counts": [1, 0, 1, 1, 0, 1]}),
    Case("layers", {"layers": [3, 1, 2]}, {"counts": [1, 1, 1, 2, 1, 1, 1]}),
    Case("many", {"layers": [1] * 70}, {"counts": [comb(70, k) for k in range(71)]}),
    Case("none", {"layers": []}, {"counts": [1]}),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield chains of 2 to 90 blocks, and some with branches of unlike length."""
    chains = {
        "blocks": [[1] * int(n) for n in rng.integers(4, 30, 3)],
        "layers": [_unlike(rng, int(n)) for n in rng.integers(2, 9, 4)],
        "many": [[1] * int(rng.integers(72, 90)), _unlike(rng, int(rng.integers(75, 90)))],
        "none": [[]],
    }
    for group, several in chains.items():
        for layers in several:
            yield Case(group, {"layers": layers}, oracle(layers))


def _unlike(rng: np.random.Generator, n: int) -> list[int]:
    return [4, *(int(length) for length in rng.integers(1, 4, n))]


def every_block_counts_one(layers):
    """You count the blocks that a path goes through. Its length is the number of *layers*: a branch
    of three layers makes a path longer by three.
    """
    return path_lengths([1] * len(layers))


def every_layer_is_a_block(layers):
    """You give every layer a shortcut of its own. The shortcut spans the whole branch: its layers
    are taken together or not at all.
    """
    return path_lengths([1] * sum(layers))


def all_branches_like_the_first(layers):
    """You take all branches to be as long as the first. Each block has its own number in
    `layers`.
    """
    return path_lengths(layers[:1] * len(layers))


def one_branch_at_most(layers):
    """You count the paths that go through one branch, and the one that goes through none. A signal
    decides anew at every block: the ways multiply, they do not add up.
    """
    counts = [0] * (sum(layers) + 1)
    for length in [0, *layers]:
        counts[length] += 1
    return counts


def first_branch_always(layers):
    """All of your paths go through the first branch. Before the first block there is one path, of
    length 0, and then this block doubles the paths too.
    """
    counts = path_lengths(layers[1:])
    return (0,) * layers[0] + counts if layers else counts


def shortest_path_left_out(layers):
    """You leave out the path that takes every shortcut. Its length is 0, and it counts too."""
    return (0, *path_lengths(layers)[1:])


def empty_lengths_dropped(layers):
    """You leave out the lengths that no path has. Their count is 0, and it keeps the others at
    their index.
    """
    return [count for count in path_lengths(layers) if count]


def one_place_too_many(layers):
    """Your result is too long. The longest path goes through all layers, so the last index is the
    sum of `layers`.
    """
    return (*path_lengths(layers), 0)


def paths_up_to_a_length(layers):
    """You count the paths of at most k layers. Asked is how many have exactly k."""
    counts = path_lengths(layers)
    return [sum(counts[: k + 1]) for k in range(len(counts))]


def shares_of_all_paths(layers):
    """You return shares, which add up to 1. Asked are the counts themselves."""
    counts = path_lengths(layers)
    return [count / sum(counts) for count in counts]


def all_paths_in_one(layers):
    """You return how many paths there are altogether. Sort them by their length."""
    return [2 ** len(layers)]


def every_path_listed(layers):
    """You return the length of every single path. Asked is, for each length, how many have it."""
    if len(layers) > 10:
        return []
    taken = product((0, 1), repeat=len(layers))
    return sorted(sum(n * t for n, t in zip(layers, path, strict=True)) for path in taken)


def floats(layers):
    """Your counts are floating-point numbers. They hold about 16 digits, and the rest is lost:
    count with the integers of Python.
    """
    return [float(count) for count in path_lengths(layers)]


def rounded_on_the_way(layers):
    """Your large counts are wrong in their last digits: somewhere on the way there is a
    floating-point number, as from `/`, `np.zeros` or `np.poly`. Count with the integers of Python.
    """
    counts = np.ones(1)
    for length in layers:
        counts = np.convolve(counts, [1.0, *[0.0] * (length - 1), 1.0])
    return [int(count) for count in counts]


def integers_of_numpy(layers):
    """Your counts are integers of NumPy, which hold numbers below 2 to the power of 63 and say
    nothing when that is exceeded. Count with the integers of Python.
    """
    return list(np.array([count % 2**63 for count in path_lengths(layers)]))


def overflowed(layers):
    """Your large counts have overflowed: somewhere on the way they are integers of NumPy, which end
    at 2 to the power of 63. Count with a list of the integers of Python.
    """
    counts = np.ones(1, np.int64)
    for length in layers:
        counts = np.convolve(counts, [1, *[0] * (length - 1), 1])
    return counts.tolist()


def nothing_without_blocks(layers):
    """Without any block you return nothing. There is still one path, the signal itself, of length
    0.
    """
    return path_lengths(layers) if layers else ()


def counts_changed_while_read(layers):
    """You change the counts while you read them, so that a path can go through one branch several
    times. Read from the counts before the block, or go from the longest path to the shortest.
    """
    counts = [1] + [0] * sum(layers)
    for length in layers:
        for k in range(len(counts) - length):
            counts[k + length] += counts[k]
    return counts


def counts_by_their_length(layers):
    """You return a dictionary. Asked is a tuple, in which the index says how long the paths are;
    where no path has a length, it holds 0.
    """
    return {k: count for k, count in enumerate(path_lengths(layers)) if count}


def floats_of_numpy(layers):
    """Your counts are floating-point numbers of NumPy, as `np.zeros` and `np.ones` make them. Count
    with a list of the integers of Python.
    """
    counts = np.ones(1)
    for length in layers:
        counts = np.convolve(counts, [1.0, *[0.0] * (length - 1), 1.0])
    return tuple(counts)


def every_branch_taken(layers):
    """You count the one path that takes every branch. At each block a path may also take the
    shortcut, which leaves its length as it is: add both ways up.
    """
    counts = [1]
    for length in layers:
        counts = [0] * length + counts
    return counts


def first_block_expected(layers):
    """You begin with the first block, and there may be none. Begin with one path of length 0, and
    go through all blocks in the same way.
    """
    return path_lengths([layers[0], *layers[1:]])


WRONG = (
    every_block_counts_one,
    every_layer_is_a_block,
    all_branches_like_the_first,
    one_branch_at_most,
    first_branch_always,
    shortest_path_left_out,
    empty_lengths_dropped,
    one_place_too_many,
    paths_up_to_a_length,
    shares_of_all_paths,
    all_paths_in_one,
    counts_changed_while_read,
    counts_by_their_length,
    every_path_listed,
    floats,
    rounded_on_the_way,
    integers_of_numpy,
    overflowed,
    nothing_without_blocks,
    floats_of_numpy,
    every_branch_taken,
    first_block_expected,
)
