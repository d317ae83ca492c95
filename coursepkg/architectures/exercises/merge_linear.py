r"""Two linear layers in a row

A linear layer with weight W and bias b gives $W x + b$. Follow it by another one, with nothing
between them, and the two are one linear layer. Write `merge_linear`, which finds it.

`weight1` has shape (H, D) and `bias1` shape (H,): the first layer takes D numbers and gives H.
`weight2` has shape (K, H) and `bias2` shape (K,). Return the tuple `(weight, bias)`, with
shapes (K, D) and (K,), such that for every x

$$
W x + b = W_2 (W_1 x + b_1) + b_2 .
$$

Multiply the right side out, and you can read off both. With one number everywhere, $W_1 = 2$,
$b_1 = 3$, $W_2 = 5$ and $b_2 = 7$: the weight is 10 and the bias 5 · 3 + 7 = 22.

Leave the arguments as they are and keep their dtype. If the second layer does not take as many
numbers as the first one gives, raise a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.architectures.merging import merge_linear
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"one number": 1, "square": 2, "shapes": 2, "float32": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = merge_linear
FORBID = ("torch", "tensorflow", "jax")


def oracle(
    weight1: NDArray[Any], bias1: NDArray[Any], weight2: NDArray[Any], bias2: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    r"""Send zero and the unit vectors through both layers: they show what the one layer is."""
    if weight2.shape[1] != weight1.shape[0]:
        raise ValueError("the layers do not fit together")

    def both(x: NDArray[Any]) -> NDArray[Any]:
        first = (weight1.astype(float) * x).sum(1) + bias1
        return (weight2.astype(float) * first).sum(1) + bias2

    size = weight1.shape[1]
    bias = both(np.zeros(size))
    columns = [both(unit) - bias for unit in np.eye(size)]
    return np.stack(columns, axis=1).astype(weight1.dtype), bias.astype(bias1.dtype)


def _layers(*arrays: Any) -> dict[str, NDArray[Any]]:
    names = ("weight1", "bias1", "weight2", "bias2")
    return {name: np.array(a, float) for name, a in zip(names, arrays, strict=True)}


WIDE = _layers([[1, 2, 0], [0, 1, -1]], [1, -1], [[3, 1]], [0.5])

PUBLIC = (
    Case("one number", _layers([[2]], [3], [[5]], [7]), (np.array([[10.0]]), np.array([22.0]))),
    Case(
        "square",
        _layers([[1, 2], [0, 1]], [1, -1], [[0, 1], [3, 1]], [0.5, 0]),
        (np.array([[0.0, 1.0], [3.0, 7.0]]), np.array([-0.5, 2.0])),
    ),
    Case("shapes", WIDE, (np.array([[3.0, 7.0, -1.0]]), np.array([2.5]))),
    Case(
        "float32",
        {name: a.astype(np.float32) for name, a in WIDE.items()},
        (np.array([[3, 7, -1]], np.float32), np.array([2.5], np.float32)),
    ),
    Case("errors", _layers([[1, 2]], [0], [[1, 1]], [0]), ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield layers of random shapes, all of different sizes or all of one."""

    def drawn(d: int, h: int, k: int, into: int | None = None) -> dict[str, NDArray[Any]]:
        shapes = ((h, d), (h,), (k, into or h), (k,))
        return _layers(*(rng.normal(size=shape) for shape in shapes))

    for _ in range(2):
        d, h, k = (int(n) for n in rng.choice(np.arange(2, 9), 3, replace=False))
        for group, inputs in (
            ("one number", drawn(1, 1, 1)),
            ("square", drawn(3, 3, 3)),
            ("shapes", drawn(d, h, k)),
            ("float32", {n: a.astype(np.float32) for n, a in drawn(d, h, k).items()}),
        ):
            yield Case(group, inputs, oracle(**inputs))
        yield Case("errors", drawn(d, h, k, into=h + 1), ValueError)


def _checked(weight1, weight2):
    if weight2.shape[1] != weight1.shape[0]:
        raise ValueError("the layers do not fit together")


def order_reversed(weight1, bias1, weight2, bias2):
    """You multiply the first weight by the second. The layer that comes later stands on the left:
    `weight2 @ weight1`.
    """
    _checked(weight1, weight2)
    return weight1 @ weight2, weight2 @ bias1 + bias2


def biases_added(weight1, bias1, weight2, bias2):
    """You add the two biases. The first one goes through the second layer as well and is multiplied
    by its weight.
    """
    _checked(weight1, weight2)
    return weight2 @ weight1, bias2 + (bias1 if len(bias1) == len(bias2) else bias1.sum())


def first_bias_forgotten(weight1, bias1, weight2, bias2):
    """You leave out the first bias. It goes through the second layer: `weight2 @ bias1`."""
    _checked(weight1, weight2)
    return weight2 @ weight1, bias2.copy()


def second_bias_forgotten(weight1, bias1, weight2, bias2):
    """You leave out the second bias. It is added last, as it is."""
    _checked(weight1, weight2)
    return weight2 @ weight1, weight2 @ bias1


def elementwise(weight1, bias1, weight2, bias2):
    """You multiply the weights element by element. Two layers in a row make a matrix product, `@`
    and not `*`.
    """
    _checked(weight1, weight2)
    return weight2 * weight1, weight2 @ bias1 + bias2


def transposed(weight1, bias1, weight2, bias2):
    """Your weight lies on its side: it has shape (D, K). A linear layer keeps one row for each
    output, as the two that you are given do.
    """
    _checked(weight1, weight2)
    return (weight2 @ weight1).T, weight2 @ bias1 + bias2


def transposed_second(weight1, bias1, weight2, bias2):
    """You transpose the second weight. Both have one row for each output, so they fit as they
    are.
    """
    _checked(weight1, weight2)
    square = weight2.shape[0] == weight2.shape[1]
    weight = weight2.T if square else weight2[::-1]
    return weight @ weight1, weight @ bias1 + bias2


def bias_through_both(weight1, bias1, weight2, bias2):
    """You send both biases through the second weight. The second one is added after it."""
    _checked(weight1, weight2)
    return weight2 @ weight1, weight2 @ bias1 + (weight2 @ weight2.T) @ bias2


def bias_as_a_column(weight1, bias1, weight2, bias2):
    """Your bias has two axes. Return it with one, shape (K,)."""
    _checked(weight1, weight2)
    return weight2 @ weight1, (weight2 @ bias1 + bias2)[:, None]


def float64_result(weight1, bias1, weight2, bias2):
    """Your result is float64 where the arguments are float32. `np.zeros` and `np.eye` make float64
    unless told otherwise.
    """
    _checked(weight1, weight2)
    merged = merge_linear(weight1, bias1, weight2, bias2)
    return tuple(a.astype(np.float64) for a in merged)


def written_into_the_argument(weight1, bias1, weight2, bias2):
    """Your values are right, but you write into `bias2`, which the caller may still need: `+=` does
    that. Make a new array.
    """
    _checked(weight1, weight2)
    bias2 += weight2 @ bias1
    return weight2 @ weight1, bias2


def no_error(weight1, bias1, weight2, bias2):
    """You give a result for layers that do not fit together. Compare `weight2.shape[1]` with
    `weight1.shape[0]`, and raise a `ValueError` if they differ.
    """
    common = min(weight1.shape[0], weight2.shape[1])
    second = weight2[:, :common]
    return second @ weight1[:common], second @ bias1[:common] + bias2


def bias_from_the_left(weight1, bias1, weight2, bias2):
    """You multiply the first bias from the left: `bias1 @ weight2` adds up along the columns of the
    weight. What a layer gets stands to the right of its weight, `weight2 @ bias1`.
    """
    _checked(weight1, weight2)
    return weight2 @ weight1, bias1 @ weight2 + bias2


WRONG = (
    order_reversed,
    bias_from_the_left,
    biases_added,
    first_bias_forgotten,
    second_bias_forgotten,
    elementwise,
    transposed,
    transposed_second,
    bias_through_both,
    bias_as_a_column,
    float64_result,
    written_into_the_argument,
    no_error,
)
