r"""Half of a tensor.

Return half of a float32 tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"values": 2}
environment = "torch"
seconds = 0.5
FORBID = ("scipy",)


def half(x):
    r"""Return half of a float32 tensor of shape (n,)."""
    return x / 2


reference = half


def driver(Answer, x):
    r"""Hand the array over as a tensor, and bring the result back as it is."""
    import torch

    yield "values", Answer(torch.tensor(x, dtype=torch.float32))


def oracle(x):
    r"""Halve the array."""
    return {"values": torch.tensor(x * 0.5, dtype=torch.float32)}


PUBLIC = (Case("values", {"x": np.array([1.0, 3.0])}, oracle(np.array([1.0, 3.0]))),)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield two arrays of small whole numbers, which are halved without rounding."""
    for size in (3, 6):
        x = rng.integers(-9, 9, size).astype(np.float64)
        yield Case("values", {"x": x}, oracle(x))


def doubled(x):
    r"""You double the tensor: half of it is wanted, so divide by 2."""
    return x * 2


WRONG = (doubled,)
