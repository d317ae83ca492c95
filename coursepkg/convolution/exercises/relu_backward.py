r"""What ReLU lets through

ReLU computes $y = \max(x, 0)$ for each number by itself. Write `relu_backward`, which takes the
gradient of the loss with respect to the *output* and returns the one with respect to the *input*:

- where the output is positive, the input went through unchanged, and so does its gradient;
- where the output is 0, a small change of the input changes nothing, so its gradient is 0. This
  also holds for an input of exactly 0, where ReLU has its corner: like PyTorch, we call the slope
  0 there.

`grad` and `output` have the same shape, whatever it is. Shape and dtype of the result are theirs,
and neither of them is changed. One line is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.activations import relu_backward
from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"numbers": 1, "images": 1, "dtypes": 1}
environment = "numpy"
seconds = 2.0
reference = relu_backward


def oracle(grad: NDArray[Any], output: NDArray[Any]) -> NDArray[Any]:
    r"""Decide for one number after the other."""
    pairs = zip(grad.ravel().tolist(), output.ravel().tolist(), strict=True)
    passed = [g if y > 0 else 0 for g, y in pairs]
    return np.array(passed, grad.dtype).reshape(grad.shape)


PUBLIC = (
    Case(
        "numbers",
        {"grad": np.array([5.0, 6.0, -7.0, -8.0]), "output": np.array([0.0, 3.0, 0.5, 0.0])},
        np.array([0.0, 6.0, -7.0, 0.0]),
    ),
    Case("numbers", {"grad": np.array([4.0]), "output": np.array([0.0])}, np.array([0.0])),
    Case(
        "images",
        {
            "grad": np.array([[[[1.0, -2.0], [3.0, 4.0]]]]),
            "output": np.array([[[[0.0, 0.5], [6.0, 0.0]]]]),
        },
        np.array([[[[0.0, -2.0], [3.0, 0.0]]]]),
    ),
    Case(
        "dtypes",
        {"grad": np.array([5, -7], np.float32), "output": np.array([0, 2], np.float32)},
        np.array([0, -7], np.float32),
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield gradients of both signs, at outputs of which about half are 0."""
    for group, axes, dtype in [
        ("numbers", 1, "float64"),
        ("images", 4, "float64"),
        ("dtypes", 2, "float32"),
    ]:
        for _ in range(3):
            shape = (6, *rng.integers(2, 5, axes - 1))
            output = np.maximum(rng.standard_normal(shape), 0).astype(dtype)
            inputs = {"grad": rng.standard_normal(shape).astype(dtype), "output": output}
            yield Case(group, inputs, oracle(**inputs))


def everything_passes(grad, output):
    """You let every number through. An output of ReLU is never negative, so `output >= 0` is always
    true: ask for `output > 0`.
    """
    return np.where(output >= 0, grad, 0)


def nothing_but_zeros_pass(grad, output):
    """You have it the wrong way round: the gradient passes where the output is positive, and is
    stopped where it is 0.
    """
    return np.where(output > 0, 0, grad)


def sign_of_the_gradient(grad, output):
    """You apply ReLU to the gradient. A negative gradient passes as well as a positive one: what
    decides is the sign of the output.
    """
    return np.maximum(grad, 0)


def multiplied_by_output(grad, output):
    """You multiply by the output itself. The factor is the *slope* of ReLU: 1 where the output is
    positive, 0 elsewhere.
    """
    return grad * output


def slope_alone(grad, output):
    """You return the slope of ReLU and leave `grad` out. By the chain rule the slope is multiplied
    with the gradient that arrives.
    """
    return (output > 0).astype(grad.dtype)


def forward_again(grad, output):
    """You return the output, which is the forward pass. Going back, it is `grad` that passes or is
    stopped.
    """
    return np.maximum(output, 0)


def leaking(grad, output):
    """A little of the gradient gets through where the output is 0. That is leaky ReLU; here the
    slope there is exactly 0.
    """
    return np.where(output > 0, grad, grad.dtype.type(0.01) * grad)


def only_the_open_ones(grad, output):
    """`grad[output > 0]` throws the others away and forgets the shape. Keep all places, and put 0
    where nothing passes; `np.where` does that.
    """
    return grad[output > 0]


def grad_changed_in_place(grad, output):
    """Your result is right, but you write the zeros into `grad` itself, which the caller may still
    need. Make a new array.
    """
    grad[output <= 0] = 0
    return grad


def float64_result(grad, output):
    """Your result is float64 where `grad` is float32. A mask of integers does that when it is
    multiplied; use the mask of booleans, or `np.where`.
    """
    return grad * (output > 0).astype(int)


WRONG = (
    everything_passes,
    nothing_but_zeros_pass,
    sign_of_the_gradient,
    multiplied_by_output,
    slope_alone,
    forward_again,
    leaking,
    only_the_open_ones,
    grad_changed_in_place,
    float64_result,
)
