r"""The loss of a network with auxiliary heads

Write `auxiliary_loss`, the loss that GoogLeNet minimises in training:

$$
L = L_{\text{main}} + w \sum_a L_a
$$

Each $L$ is a cross-entropy, the mean over the batch, of the scores of one head.

1. `output` is a tuple or list of scores, each `(N, K)`. Those of the main head come first.
2. There may be any number of auxiliary heads. The loss of each is multiplied by `weight` and added.
3. In evaluation the network returns no tuple but a single tensor, the scores of the main head. Then
   the loss is that of the main head.

The cases do just this with your function:

```python
heads = [torch.from_numpy(s).requires_grad_() for s in scores]
loss = auxiliary_loss(heads[0] if alone else heads, torch.from_numpy(target), **settings)
loss.backward()
gradients = [head.grad.numpy() for head in heads]  # zeros where there is none
```

and look at `loss` and `gradients`. The groups `heads`, `weight` and `alone` try other numbers of
heads, other weights, and a single tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from coursepkg.architectures.deeper import auxiliary_loss
from coursepkg.convolution.exercises.nested_cnn import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"loss": 2, "gradients": 2, "heads": 1, "weight": 1, "alone": 2}
environment = "torch"
seconds = 5.0
reference = auxiliary_loss


def driver(answer, scores, target, alone=False, **settings):
    heads = [torch.from_numpy(s).requires_grad_() for s in scores]
    loss = answer(heads[0] if alone else heads, torch.from_numpy(target), **settings)
    if not isinstance(loss, torch.Tensor):
        raise ValueError(f"the loss is no tensor but a {type(loss).__name__}: nothing to derive")
    yield "loss", loss.item()
    loss.backward()
    zeros = [torch.zeros_like(head) if head.grad is None else head.grad for head in heads]
    yield "gradients", [z.numpy() for z in zeros]


def oracle(
    scores: list[NDArray[Any]], target: NDArray[Any], alone: bool = False, weight: float = 0.3
) -> dict[str, Any]:
    r"""Compute loss and gradients in NumPy: softmax minus one-hot, over N."""
    losses, gradients = [], []
    for s in scores:
        p = np.exp(s) / np.exp(s).sum(1, keepdims=True)  # (N, K)
        losses.append(-np.log(p[range(len(target)), target]).mean())
        gradients.append((p - np.eye(s.shape[1])[target]) / len(target))
    weights = [1.0, *[0.0 if alone else weight] * (len(scores) - 1)]
    total = sum(w * loss for w, loss in zip(weights, losses, strict=True))
    scaled = [w * g for w, g in zip(weights, gradients, strict=True)]
    return {"loss": float(total), "gradients": scaled}


ODDS = float(np.log(3))
BY_HAND = {
    "scores": [np.array([[0.0, 0.0]]), np.array([[ODDS, 0.0]]), np.array([[0.0, ODDS]])],
    "target": np.array([0]),
}
ALONE = {"scores": BY_HAND["scores"][:1], "target": BY_HAND["target"], "alone": True}
ONE = {"scores": BY_HAND["scores"][:2], "target": BY_HAND["target"]}
LN2, LN43, LN4 = (float(np.log(x)) for x in (2, 4 / 3, 4))
MAIN = np.array([[-0.5, 0.5]])

PUBLIC = (
    Case(
        "",
        BY_HAND,
        {
            "loss": LN2 + 0.3 * (LN43 + LN4),
            "gradients": [MAIN, np.array([[-0.075, 0.075]]), np.array([[-0.225, 0.225]])],
        },
    ),
    Case(
        "heads",
        ONE,
        {"loss": LN2 + 0.3 * LN43, "gradients": [MAIN, np.array([[-0.075, 0.075]])]},
    ),
    Case(
        "weight",
        ONE | {"weight": 2.0},
        {"loss": LN2 + 2 * LN43, "gradients": [MAIN, np.array([[-0.5, 0.5]])]},
    ),
    Case("alone", ALONE, {"loss": LN2, "gradients": [MAIN]}),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield random scores of one to four heads."""
    kinds: dict[str, list[tuple[int, dict[str, Any]]]] = {
        "": [(3, {}), (3, {})],
        "heads": [(2, {}), (4, {})],
        "weight": [(3, {"weight": 0.0}), (3, {"weight": 1.5})],
        "alone": [(1, {"alone": True}), (1, {"alone": True, "weight": 0.5})],
    }
    for group, cases in kinds.items():
        for heads, settings in cases:
            n, k = rng.integers(3, 6), rng.integers(3, 7)
            inputs = {
                "scores": [2 * rng.normal(size=(n, k)) for _ in range(heads)],
                "target": rng.integers(0, k, n),
                **settings,
            }
            yield Case(group, inputs, oracle(**inputs))


def _heads(output):
    return (output,) if isinstance(output, torch.Tensor) else output


def weight_forgotten(output, target, weight=0.3):
    """You add the losses of the heads as they are. They are to help, not to rule: multiply each by
    `weight`.
    """
    return sum(F.cross_entropy(scores, target) for scores in _heads(output))


def main_head_weighted_too(output, target, weight=0.3):
    """You multiply the main head's loss by `weight`, too. It counts in full; only the losses of the
    auxiliary heads are made smaller.
    """
    return weight * sum(F.cross_entropy(scores, target) for scores in _heads(output))


def shares_of_one(output, target, weight=0.3):
    """You give the main head 1 - `weight` of the loss. It counts in full, and the weighted losses
    of the others are added to it.
    """
    main, *others = _heads(output)
    rest = sum(F.cross_entropy(scores, target) for scores in others)
    return (1 - weight) * F.cross_entropy(main, target) + weight * rest


def one_head_only(output, target, weight=0.3):
    """You use a single auxiliary head. There may be several: add the weighted loss of each."""
    main, *others = _heads(output)
    rest = sum(F.cross_entropy(scores, target) for scores in others[:1])
    return F.cross_entropy(main, target) + weight * rest


def two_heads_expected(output, target, weight=0.3):
    """You expect exactly three sets of scores. `output` may hold any number: take the first, and
    go through the rest in a loop.
    """
    if isinstance(output, torch.Tensor):
        return F.cross_entropy(output, target)
    main, second, first = output
    rest = F.cross_entropy(second, target) + F.cross_entropy(first, target)
    return F.cross_entropy(main, target) + weight * rest


def mean_over_the_heads(output, target, weight=0.3):
    """You take the mean over the auxiliary heads. Their weighted losses are added up, however many
    there are.
    """
    main, *others = _heads(output)
    loss = F.cross_entropy(main, target)
    if others:
        rest = sum(F.cross_entropy(scores, target) for scores in others)
        loss = loss + weight * rest / len(others)
    return loss


def weight_always_the_same(output, target, weight=0.3):
    """Your weight is 0.3 whatever `weight` says. Use the argument."""
    return auxiliary_loss(output, target, 0.3)


def main_head_last(output, target, weight=0.3):
    """You take the last scores for those of the main head. They come first in `output`."""
    *others, main = _heads(output)
    rest = sum(F.cross_entropy(scores, target) for scores in others)
    return F.cross_entropy(main, target) + weight * rest


def softmax_first(output, target, weight=0.3):
    """You turn scores into probabilities before `F.cross_entropy`, which does that itself. Hand it
    the scores.
    """
    main, *others = (scores.softmax(1) for scores in _heads(output))
    rest = sum(F.cross_entropy(scores, target) for scores in others)
    return F.cross_entropy(main, target) + weight * rest


def sum_over_the_batch(output, target, weight=0.3):
    """You add up the loss over the batch. Each cross-entropy is a mean over the batch, which is
    what `F.cross_entropy` returns unless told otherwise.
    """
    return auxiliary_loss(output, target, weight) * len(target)


def scores_mixed(output, target, weight=0.3):
    """You mix the scores of the heads and take one cross-entropy of the mixture. Each head has a
    loss of its own; it is the losses that are added.
    """
    main, *others = _heads(output)
    return F.cross_entropy(main + weight * sum(others), target)


def heads_cut_off(output, target, weight=0.3):
    """Your loss is right but sends no gradient into the auxiliary heads, for which they were made.
    Leave out `detach`, `item` and `torch.no_grad`.
    """
    main, *others = _heads(output)
    rest = sum(F.cross_entropy(scores.detach(), target) for scores in others)
    return F.cross_entropy(main, target) + weight * rest


def heads_in_evaluation(output, target, weight=0.3):
    """You take a single tensor apart, as if its rows were heads. In evaluation `output` is no tuple
    but a tensor, the scores of the main head alone: ask for its type first.
    """
    main, *others = output
    rest = sum(F.cross_entropy(scores, target) for scores in others)
    return F.cross_entropy(main, target) + weight * rest


def scores_taken_for_logarithms(output, target, weight=0.3):
    """You use `F.nll_loss`, which expects logarithms of probabilities, for scores. Use
    `F.cross_entropy`, which turns one into the other.
    """
    main, *others = _heads(output)
    rest = sum(F.nll_loss(scores, target) for scores in others)
    return F.nll_loss(main, target) + weight * rest


def number_returned(output, target, weight=0.3):
    """You return a number of Python, as `item()` gives. Nothing can be derived from it: return the
    tensor.
    """
    return auxiliary_loss(output, target, weight).item()


def only_tuples_taken_apart(output, target, weight=0.3):
    """You take only a tuple for several heads. `output` may be a list as well: ask whether it is a
    tensor, with `isinstance(output, torch.Tensor)`.
    """
    if not isinstance(output, tuple):
        return F.cross_entropy(output, target)
    return auxiliary_loss(output, target, weight)


def one_auxiliary_expected(output, target, weight=0.3):
    """You expect exactly two sets of scores. There may be any number of auxiliary heads: go through
    all that come behind the first.
    """
    if isinstance(output, torch.Tensor):
        return F.cross_entropy(output, target)
    main, other = output
    return F.cross_entropy(main, target) + weight * F.cross_entropy(other, target)


def logarithm_forgotten(output, target, weight=0.3):
    """You hand `F.nll_loss` probabilities, but it expects their logarithms. `F.cross_entropy` takes
    the scores themselves and does both.
    """
    main, *others = _heads(output)
    rest = sum(F.nll_loss(scores.softmax(1), target) for scores in others)
    return F.nll_loss(main.softmax(1), target) + weight * rest


WRONG = (
    weight_forgotten,
    main_head_weighted_too,
    shares_of_one,
    one_head_only,
    two_heads_expected,
    mean_over_the_heads,
    weight_always_the_same,
    main_head_last,
    softmax_first,
    scores_taken_for_logarithms,
    sum_over_the_batch,
    scores_mixed,
    heads_cut_off,
    number_returned,
    only_tuples_taken_apart,
    heads_in_evaluation,
    one_auxiliary_expected,
    logarithm_forgotten,
)
