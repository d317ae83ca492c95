"""What is compared between our deformable convolution and torchvision's, in one place for both.

`tests/oracle/make_deform_conv.py` stores what torchvision computes, `tests/architectures/
test_deform_conv.py` computes the same with ours. Neither operator is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["CASES", "STORE", "Case", "results"]

STORE = Path(__file__).parent / "oracle" / "deform_conv.npz"


@dataclass(frozen=True)
class Case:
    """A call of the operator, whose arrays follow from its name.

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W) of the input.
    filters, kernel, groups, offset_groups : int or pair of int
        Of weight and offset.
    stride, padding, dilation : pair of int
    modulated, bias : bool
        Whether there is a mask, and a bias.
    points : str
        Where the samples are taken: "around" the grid, at "integer" positions, on the "border",
        or "far" away.
    dtype : str
    """

    name: str
    shape: tuple[int, int, int, int] = (1, 2, 5, 6)
    filters: int = 3
    kernel: tuple[int, int] = (3, 3)
    groups: int = 1
    offset_groups: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    modulated: bool = False
    bias: bool = True
    points: str = "around"
    dtype: str = "float64"

    @property
    def places(self) -> tuple[int, int]:
        """Height and width of the output."""
        sizes = zip(
            self.shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return height, width

    def tensors(self) -> dict[str, Tensor]:
        """Input, offset, weight, and bias and mask where there are any."""
        rng = np.random.default_rng(crc32(self.name.encode()))
        (n, channels), taps = self.shape[:2], self.kernel[0] * self.kernel[1]
        weight = (self.filters, channels // self.groups, *self.kernel)
        arrays = {"input": rng.normal(size=self.shape), "weight": rng.normal(size=weight)}
        arrays["offset"] = self._offset(rng, n, taps)
        if self.bias:
            arrays["bias"] = rng.normal(size=self.filters)
        if self.modulated:
            arrays["mask"] = rng.normal(size=(n, self.offset_groups * taps, *self.places))
        return {k: torch.from_numpy(v.astype(self.dtype)) for k, v in sorted(arrays.items())}

    def _offset(self, rng: np.random.Generator, n: int, taps: int) -> NDArray[np.float64]:
        height, width = self.places
        shape = (n, self.offset_groups, taps, 2, height, width)
        if self.points == "around":
            offset = 2 * rng.normal(size=shape)
        elif self.points == "integer":
            offset = rng.integers(-3, 4, size=shape).astype(float)
        elif self.points == "far":
            offset = rng.choice([-1e12, -40.0, 0.0, 40.0, 1e12], size=shape)
        else:
            offset = self._to_the_border(rng, shape)
        return offset.reshape(n, -1, height, width)

    def _to_the_border(
        self, rng: np.random.Generator, shape: tuple[int, ...]
    ) -> NDArray[np.float64]:
        offset = np.empty(shape)
        for axis in (0, 1):
            size = self.shape[2 + axis]
            goals = [-1.5, -1, -0.5, 0, size - 1, size - 0.5, size, size + 0.5]
            for index in np.ndindex(shape[:3] + shape[4:]):
                n, g, tap, *place = index
                step = (tap // self.kernel[1], tap % self.kernel[1])[axis]
                at = place[axis] * self.stride[axis] - self.padding[axis]
                at += step * self.dilation[axis]
                offset[n, g, tap, axis, place[0], place[1]] = rng.choice(goals) - at
        return offset


CASES = [
    Case("plain"),
    Case("modulated", modulated=True),
    Case("three images", shape=(3, 2, 4, 3), modulated=True),
    Case("no bias", bias=False),
    Case("groups of weights", shape=(1, 4, 4, 5), filters=4, groups=2),
    Case("groups of offsets", shape=(2, 4, 4, 3), offset_groups=2, modulated=True),
    Case("both groups", (2, 4, 3, 4), 6, groups=2, offset_groups=4, kernel=(2, 2), modulated=True),
    Case("depthwise", (2, 4, 3, 4), filters=8, groups=4, offset_groups=2, kernel=(2, 3)),
    Case(
        "all sides differ",
        shape=(2, 2, 9, 6),
        kernel=(2, 3),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(3, 2),
        modulated=True,
    ),
    Case("stride", shape=(1, 2, 9, 7), stride=(2, 2)),
    Case("dilation", shape=(1, 2, 7, 9), dilation=(2, 3), padding=(2, 3)),
    Case("one tap", kernel=(1, 1), padding=(0, 0), modulated=True),
    Case("even kernel", shape=(1, 1, 6, 6), kernel=(4, 4), padding=(0, 0)),
    Case("wide padding", shape=(1, 1, 2, 3), kernel=(2, 2), padding=(4, 3), modulated=True),
    Case("one pixel", shape=(3, 2, 1, 1), modulated=True),
    Case("integer", points="integer", modulated=True),
    Case("border", points="border", modulated=True),
    Case("border, all sides differ", (1, 2, 7, 5), 2, (2, 3), stride=(2, 1), points="border"),
    Case("far", points="far", modulated=True),
    Case("plain, short", dtype="float32"),
    Case("both groups, short", (2, 4, 3, 4), 6, (2, 2), 2, 4, modulated=True, dtype="float32"),
    Case("integer, short", points="integer", modulated=True, dtype="float32"),
    Case("border, short", points="border", modulated=True, dtype="float32"),
]


def results(operator: Callable[..., Tensor], case: Case) -> dict[str, NDArray[np.floating]]:
    """Run an operator forward and backward.

    Returns
    -------
    dict of str to array
        "output", and the gradients of its inner product with random numbers, by argument.
    """
    tensors = {name: t.requires_grad_() for name, t in case.tensors().items()}
    output = operator(**tensors, stride=case.stride, padding=case.padding, dilation=case.dilation)
    rng = np.random.default_rng(crc32(case.name.encode()) + 1)
    upstream = torch.from_numpy(rng.normal(size=tuple(output.shape)).astype(case.dtype))
    gradients = torch.autograd.grad((output * upstream).sum(), list(tensors.values()))
    named = dict(zip(tensors, gradients, strict=True))
    return {"output": output.detach().numpy(), **{k: v.numpy() for k, v in named.items()}}
