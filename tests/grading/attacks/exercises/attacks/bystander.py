r"""Three times as much.

Return three times the argument.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"values": 1}
environment = "numpy"
seconds = 0.5
FORBID = ("scipy",)


def bystander(x):
    r"""Return three times a float64 array of any shape."""
    return 3 * x


reference = bystander


def oracle(x):
    r"""Add it up."""
    return x + x + x


PUBLIC = (Case("values", {"x": np.array([0.5, 2.0])}, np.array([1.5, 6.0])),)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield two matrices of small whole numbers, which are tripled without rounding."""
    for size in ((2, 3), (4, 1)):
        x = rng.integers(-9, 9, size).astype(np.float64)
        yield Case("values", {"x": x}, oracle(x))


def doubled(x):
    r"""You return twice the argument: three times is wanted, so multiply by 3."""
    return 2 * x


WRONG = (doubled,)
