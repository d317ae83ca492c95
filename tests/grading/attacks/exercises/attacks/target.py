r"""Running sum of squares.

Return an array that holds, at each place, the sum of the squares up to there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"values": 2}
environment = "numpy"
seconds = 0.25
FORBID = ("scipy",)


def target(x):
    r"""Return the running sum of squares of a float64 array of shape (n,)."""
    return np.cumsum(x**2)


reference = target


def oracle(x):
    r"""Add up one by one."""
    return np.array([sum(v * v for v in x[: i + 1]) for i in range(len(x))])


PUBLIC = (Case("values", {"x": np.array([1.0, 2.0, 3.0])}, np.array([1.0, 5.0, 14.0])),)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield arrays of three lengths."""
    for size in (5, 7, 11):
        x = rng.normal(size=size)
        yield Case("values", {"x": x}, oracle(x))


def not_squared(x):
    r"""You add up the values themselves: square them first, with `x**2`."""
    return np.cumsum(x)


WRONG = (not_squared,)
