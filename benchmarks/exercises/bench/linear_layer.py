r"""A linear layer as a module

Write the class `Linear(weight, bias)`, a `torch.nn.Module` with the parameters `weight` and `bias`,
that maps `input` to `input @ weight.T + bias`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coursepkg.grading import Case


class Linear(torch.nn.Module):
    r"""Map `input` to `input @ weight.T + bias`."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(bias)

    def forward(self, input):
        r"""Return the output."""
        return input @ self.weight.T + self.bias


points = {"output": 1, "grad_weight": 1, "grad_bias": 1}
environment = "torch"
seconds = 10.0
reference = Linear
FORBID = ()


def driver(Answer, weight, bias, input):
    layer = Answer(torch.tensor(weight), torch.tensor(bias))
    output = layer(torch.tensor(input))
    yield "output", output.detach().numpy()
    output.square().sum().backward()
    yield "grad_weight", layer.weight.grad.numpy()
    yield "grad_bias", layer.bias.grad.numpy()


def oracle(weight: NDArray[Any], bias: NDArray[Any], input: NDArray[Any]) -> dict[str, Any]:
    output = input @ weight.T + bias
    return {
        "output": output,
        "grad_weight": 2 * output.T @ input,
        "grad_bias": 2 * output.sum(axis=0),
    }


def _case(rng: np.random.Generator, n: int) -> Case:
    inputs = {
        "weight": rng.normal(size=(5, 4)),
        "bias": rng.normal(size=5),
        "input": rng.normal(size=(n, 4)),
    }
    return Case("", inputs, oracle(**inputs))


PUBLIC = tuple(_case(np.random.default_rng(n), n) for n in (1, 2, 3))


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    for n in (1, 10, 100):
        yield _case(rng, n)


WRONG = ()
