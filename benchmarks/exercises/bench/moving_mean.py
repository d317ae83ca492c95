r"""A moving mean

Write the function `moving_mean(x, width)`: the means of all windows of `width` neighbours in the
one-dimensional array `x`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.grading import Case


def moving_mean(x, width):
    r"""Return the mean of each window."""
    return np.array([x[i : i + width].mean() for i in range(len(x) - width + 1)])


points = {"values": 2, "one": 1}
environment = "numpy"
seconds = 3.0
reference = moving_mean
FORBID = ()


def oracle(x: NDArray[Any], width: int) -> NDArray[Any]:
    return np.convolve(x, np.full(width, 1 / width), mode="valid")


STEPS = np.arange(6.0)
PUBLIC = (
    Case("values", {"x": STEPS, "width": 2}, STEPS[:-1] + 0.5),
    Case("values", {"x": STEPS, "width": 6}, np.array([2.5])),
    Case("one", {"x": STEPS, "width": 1}, STEPS),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    for group, width in (("values", 3), ("values", 10), ("one", 1)):
        x = rng.normal(size=100)
        yield Case(group, {"x": x, "width": width}, oracle(x, width))


def summed(x, width):
    """You add up and do not divide."""
    return width * moving_mean(x, width)


WRONG = (summed,)
