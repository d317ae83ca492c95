r"""The loss at the end, and the gradient at the beginning

Every classifier ends like this, and every backward pass starts here. Write
`softmax_cross_entropy`, which takes logits $z$, one row of $K$ scores for each of $N$ images, and
the right classes $t$, and returns a pair:

1. the loss, the mean over the images of $-\log p_t$, where $p_i = e^{z_i} / \sum_j e^{z_j}$ are
   the probabilities of an image. A plain number;
2. its gradient with respect to the logits, an array like `input`. All that the chain rule brings
   cancels: it is the probabilities, less 1 at the right class, divided by $N$.

Both give points by themselves. So do logits as large as $\pm 10^4$, where $e^z$ overflows: no
infinity and no NaN may come out. Subtract the largest logit of each row first; the probabilities
do not change. And do not take the logarithm of a probability that has been rounded to 0: use
$\log p_t = z_t - \log \sum_j e^{z_j}$.

The gradient has the dtype of `input`, and the arguments are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.losses import softmax_cross_entropy
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"loss": 2, "grad": 2, "large logits": 2, "dtypes": 1}
environment = "numpy"
seconds = 2.0
reference = softmax_cross_entropy


def driver(Answer, input, target):
    loss, grad = Answer(input, target)
    yield "loss", np.asarray(loss, np.float64)
    yield "grad", grad


def oracle(input: NDArray[Any], target: NDArray[np.int64]) -> dict[str, Any]:
    r"""Add up powers in their logarithms, image by image."""
    n, grad, losses = len(input), np.zeros_like(input), []
    for i, (row, t) in enumerate(zip(input.astype(np.float64), target, strict=True)):
        total = np.logaddexp.reduce(row)
        losses.append(total - row[t])
        grad[i] = np.exp(row - total) / n
        grad[i, t] = np.expm1(row[t] - total) / n
    results = {"loss": np.array(sum(losses) / n), "grad": grad}
    return results if input.dtype == np.float64 else {"grad": grad}


def _case(group: str, input: Any, target: list[int], dtype: str = "float64") -> Case:
    inputs = {"input": np.array(input, dtype), "target": np.array(target)}
    return Case(group, inputs, oracle(**inputs))


THREE = float(np.log(3))  # so that the probabilities are 1/4 and 3/4

PUBLIC = (
    Case(
        "",
        {"input": np.array([[0.0, THREE]]), "target": np.array([0])},
        {"loss": np.array(np.log(4)), "grad": np.array([[-0.75, 0.75]])},
    ),
    Case(
        "",
        {"input": np.array([[0.0, THREE], [7.0, 7.0]]), "target": np.array([1, 0])},
        {
            "loss": np.array((np.log(4 / 3) + np.log(2)) / 2),
            "grad": np.array([[0.125, -0.125], [-0.25, 0.25]]),
        },
    ),
    Case(
        "large logits",
        {"input": np.array([[1e4, -1e4], [-1e4, -1e4]]), "target": np.array([1, 0])},
        {
            "loss": np.array((2e4 + np.log(2)) / 2),
            "grad": np.array([[0.5, -0.5], [-0.25, 0.25]]),
        },
    ),
    Case(
        "dtypes",
        {"input": np.array([[2, 2]], np.float32), "target": np.array([0])},
        {"grad": np.array([[-0.5, 0.5]], np.float32)},
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield batches of several sizes; then logits far apart, and far from each other's rows."""
    for group, scale, dtype in [
        ("", 2, "float64"),
        ("large logits", 1, "float64"),
        ("dtypes", 2, "float32"),
    ]:
        for _ in range(4):
            n, k = (int(v) for v in rng.choice(np.arange(2, 8), 2, replace=False))
            z = scale * rng.standard_normal((n, k))
            target = rng.integers(k, size=n)
            if group == "large logits":
                z += np.linspace(-1e4, 1e4, n)[:, None]
                z[0, target[0]] -= 5000
            yield _case(group, z, target.tolist(), dtype)


def loss_summed(input, target):
    """You add the losses up. The loss of a batch is their mean: divide by the number of images."""
    loss, grad = softmax_cross_entropy(input, target)
    return loss * len(input), grad


def loss_of_each_image(input, target):
    """You return a loss for each image. Training wants one number: take the mean."""
    z = input - input.max(axis=1, keepdims=True)
    logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(z)), target], softmax_cross_entropy(input, target)[1]


def loss_over_all_classes(input, target):
    """You divide the loss by the classes as well, as `np.mean` over a one-hot table does. Divide by
    the number of images only.
    """
    loss, grad = softmax_cross_entropy(input, target)
    return loss / input.shape[1], grad


def loss_negative(input, target):
    """Your loss is negative. A logarithm of a probability is below 0; the loss is *minus* it."""
    loss, grad = softmax_cross_entropy(input, target)
    return -loss, grad


def gradient_not_divided(input, target):
    """Your gradient is too large by a factor of N. The loss is a mean over the images, so each of
    them has only its N-th share in it.
    """
    loss, grad = softmax_cross_entropy(input, target)
    return loss, grad * len(input)


def gradient_uphill(input, target):
    """Your gradient has the wrong sign. It is probabilities minus 1 at the right class, not the
    other way round: raising the right logit lowers the loss.
    """
    loss, grad = softmax_cross_entropy(input, target)
    return loss, -grad


def nothing_subtracted(input, target):
    """Your gradient is that of the logarithm of the sum alone, all of it positive. Subtract 1 at
    the right class of each image.
    """
    loss, grad = softmax_cross_entropy(input, target)
    grad[np.arange(len(grad)), target] += grad.dtype.type(1 / len(grad))
    return loss, grad


def gradient_of_the_probabilities(input, target):
    """Your gradient stops half-way, at the probabilities: -1/p at the right class. Go on through
    the softmax, to the logits.
    """
    loss, grad = softmax_cross_entropy(input, target)
    p = grad * len(grad)
    rows = np.arange(len(p))
    p[rows, target] += 1
    stopped = np.zeros_like(p)
    with np.errstate(divide="ignore"):
        stopped[rows, target] = -1 / p[rows, target] / len(p)
    return loss, stopped


def softmax_over_the_images(input, target):
    """You take the softmax down the batch. The probabilities of *one image* sum to 1: add up along
    axis 1, with `keepdims=True`.
    """
    powers = np.exp(input - input.max(axis=0))
    return _from_probabilities(powers / powers.sum(axis=0), target)


def softmax_over_everything(input, target):
    """You divide by the sum over all images. Each row has a sum of its own:
    `.sum(axis=1, keepdims=True)`.
    """
    powers = np.exp(input - input.max())
    return _from_probabilities(powers / powers.sum(), target)


def powers_overflow(input, target):
    """With large logits `np.exp` overflows, and infinity over infinity is NaN. Subtract the largest
    logit of each row before you take powers.
    """
    powers = np.exp(input)
    return _from_probabilities(powers / powers.sum(axis=1, keepdims=True), target)


def one_maximum_for_all(input, target):
    """You subtract the largest logit of the whole batch. In a row far below it all powers become 0,
    and 0/0 is NaN: subtract the largest of each row, `input.max(axis=1, keepdims=True)`.
    """
    powers = np.exp(input - input.max())
    return _from_probabilities(powers / powers.sum(axis=1, keepdims=True), target)


def one_maximum_for_all_rows(input, target):
    """You subtract the largest logit of the whole batch. In a row far below it all powers become 0,
    and the logarithm of their sum is minus infinity: subtract the largest of each row.
    """
    z = input - input.max()
    powers = np.exp(z)
    sums = powers.sum(axis=1, keepdims=True)
    loss = -(z - np.log(sums))[np.arange(len(z)), target].mean()
    return float(loss), _from_probabilities(powers / sums, target)[1]


def logarithm_of_zero(input, target):
    """Your probabilities are right, but a small one is rounded to 0, and its logarithm is infinite.
    Take the logarithm of the formula first: the logit, less the logarithm of the sum.
    """
    powers = np.exp(input - input.max(axis=1, keepdims=True))
    return _from_probabilities(powers / powers.sum(axis=1, keepdims=True), target)


def something_added_to_p(input, target):
    """You add a small number to the probability before its logarithm. That hides the infinity, but
    bends the loss everywhere and caps it. Take z - log(sum) instead: nothing has to be hidden.
    """
    _, grad = softmax_cross_entropy(input, target)
    z = input - input.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return float(-np.log(p[np.arange(len(p)), target] + 1e-7).mean()), grad


def input_shifted_in_place(input, target):
    """Your values are right, but `input -= ...` writes into the logits of the caller. Write
    `z = input - ...`, which makes a new array.
    """
    input -= input.max(axis=1, keepdims=True)
    return softmax_cross_entropy(input, target)


def float64_gradient(input, target):
    """Your gradient is float64 where the logits are float32; a table of `np.eye` does that.
    Subtract 1 in place from a copy of the probabilities, or convert.
    """
    loss, grad = softmax_cross_entropy(input, target)
    return loss, grad.astype(np.float64)


def _from_probabilities(p, target):
    n = len(p)
    loss = -np.log(p[np.arange(n), target]).mean()
    grad = p.copy()
    grad[np.arange(n), target] -= 1
    return loss, grad / n


WRONG = (
    loss_summed,
    loss_of_each_image,
    loss_over_all_classes,
    loss_negative,
    gradient_not_divided,
    gradient_uphill,
    nothing_subtracted,
    gradient_of_the_probabilities,
    softmax_over_the_images,
    softmax_over_everything,
    powers_overflow,
    one_maximum_for_all,
    one_maximum_for_all_rows,
    logarithm_of_zero,
    something_added_to_p,
    input_shifted_in_place,
    float64_gradient,
)
