r"""Which share is right?

Write `accuracy`: how many of the examples does a network get right, as a share from 0 to 1?

- `predict` is a function. It takes some rows of `input` and returns their logits, one row of
  numbers for each example, one number for each class. The answer of the network is the class with
  the *largest* logit.
- Do not hand it everything at once: a large test set would not fit into memory. Hand it
  `batch_size` examples at a time, in order. The last batch may be smaller, and it counts like all
  others.
- Return a Python `float`: examples answered correctly, divided by all examples.

The cases pass a simple prediction, which multiplies with a matrix, and note the size of each batch:

```python
sizes = []

def predict(rows):
    sizes.append(len(rows))
    return rows @ weight

share = accuracy(predict, input, target, batch_size)
```
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.learning import accuracy
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"share": 2, "sizes": 1, "last batch": 2}
environment = "numpy"
seconds = 3.0
reference = accuracy


def driver(Answer, input, target, weight, batch_size):
    sizes = []

    def predict(rows):
        sizes.append(len(rows))
        return rows @ weight

    yield "share", Answer(predict, input, target, batch_size)
    yield "sizes", tuple(sizes)


def oracle(
    input: NDArray[Any], target: NDArray[Any], weight: NDArray[Any], batch_size: int
) -> dict[str, Any]:
    r"""Look at each example by itself, and count in plain Python."""
    answers = [max(range(weight.shape[1]), key=(row @ weight).__getitem__) for row in input]
    right = [answer == wanted for answer, wanted in zip(answers, target.tolist(), strict=True)]
    full, rest = divmod(len(input), batch_size)
    return {
        "share": right.count(True) / len(right),
        "sizes": (batch_size,) * full + (rest,) * (rest > 0),
    }


LOGITS = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [5.0, 0.0, 4.0], [0.0, 1.0, 2.0]])
FOUR = {"input": LOGITS, "target": np.array([0, 1, 2, 2]), "weight": np.eye(3)}
FIVE = {
    "input": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    "target": np.array([0, 1, 1, 0, 1]),
    "weight": np.eye(2),
}

PUBLIC = (
    Case("", FOUR | {"batch_size": 2}, {"share": 0.75, "sizes": (2, 2)}),
    Case("", FOUR | {"batch_size": 4}, {"share": 0.75, "sizes": (4,)}),
    Case("last batch", FIVE | {"batch_size": 2}, {"share": 0.8, "sizes": (2, 2, 1)}),
    Case("last batch", FOUR | {"batch_size": 100}, {"share": 0.75, "sizes": (4,)}),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield predictions of which some are right, in batches that come out even or do not."""
    for n, batch_size in ((12, 4), (12, 3), (8, 4), (10, 4), (9, 5), (6, 100)):
        inputs = _examples(rng, n, batch_size)
        yield Case("last batch" if n % batch_size else "", inputs, oracle(**inputs))


def _examples(rng: np.random.Generator, n: int, batch_size: int) -> dict[str, Any]:
    r"""Return examples of which about two in three are right, and the last two are."""
    weight = np.roll(np.eye(5), 1, axis=1)
    answers = rng.integers(0, 5, n)
    target = np.where(rng.random(n) < 0.6, answers, (answers + 1) % 5)
    target[[0, 1]] = answers[[0, 1]] + np.array([1, 2])  # two are wrong
    target %= 5
    target[-2:] = answers[-2:]
    input = 2 * np.eye(5)[answers - 1] + rng.random((n, 5))
    return {"input": input, "target": target, "weight": weight, "batch_size": batch_size}


def _batches(n, batch_size):
    return [slice(i, i + batch_size) for i in range(0, n, batch_size)]


def last_batch_dropped(predict, input, target, batch_size=100):
    """You leave out the last batch when it is not full, yet divide by all examples: those left
    over count as wrong. Let the loop run over `range(0, len(input), batch_size)`.
    """
    full = len(input) // batch_size
    parts = [slice(i * batch_size, (i + 1) * batch_size) for i in range(full)]
    right = sum(int((predict(input[p]).argmax(axis=1) == target[p]).sum()) for p in parts)
    return right / len(input)


def only_full_batches_counted(predict, input, target, batch_size=100):
    """You judge only the full batches and leave the rest of the examples out. Every example counts:
    the last batch is the one that holds what is left.
    """
    full = len(input) // batch_size * batch_size
    if full == 0:
        return float("nan")
    return accuracy(predict, input[:full], target[:full], batch_size)


def batches_averaged(predict, input, target, batch_size=100):
    """You average the shares of the batches. An example of a small last batch then weighs more than
    others; add up the right answers and divide once, by the number of examples.
    """
    parts = _batches(len(input), batch_size)
    shares = [(predict(input[p]).argmax(axis=1) == target[p]).mean() for p in parts]
    return float(np.mean(shares))


def divided_by_full_batches(predict, input, target, batch_size=100):
    """You divide by the number of batches times `batch_size`, as if the last batch were full.
    Divide by the number of examples, `len(input)`.
    """
    right = accuracy(predict, input, target, batch_size) * len(input)
    return right / (len(_batches(len(input), batch_size)) * batch_size)


def everything_at_once(predict, input, target, batch_size=100):
    """The share is right, but you hand all examples to `predict` in one go. Give it `batch_size` of
    them at a time.
    """
    return float((predict(input).argmax(axis=1) == target).mean())


def batch_size_taken_for_their_number(predict, input, target, batch_size=100):
    """You cut the examples into `batch_size` batches. It is the size of one batch, not how many
    there are.
    """
    pieces = np.array_split(np.arange(len(input)), batch_size)
    right = sum(int((predict(input[p]).argmax(axis=1) == target[p]).sum()) for p in pieces)
    return right / len(input)


def best_example_of_each_class(predict, input, target, batch_size=100):
    """Your `argmax` runs down the batch instead of across the classes. Logits are (examples,
    classes), so the class is found along axis 1.
    """
    right = 0
    for p in _batches(len(input), batch_size):
        answers = predict(input[p]).argmax(axis=0)
        m = min(len(answers), len(target[p]))
        right += int((answers[:m] == target[p][:m]).sum())
    return right / len(input)


def first_targets_every_time(predict, input, target, batch_size=100):
    """You compare every batch with the first targets. Cut `target` at the same places as
    `input`.
    """
    parts = _batches(len(input), batch_size)
    right = 0
    for p in parts:
        answers = predict(input[p]).argmax(axis=1)
        right += int((answers == target[: len(answers)]).sum())
    return right / len(input)


def smallest_logit(predict, input, target, batch_size=100):
    """You take the class with the smallest logit. The network answers with the largest one:
    `argmax`.
    """
    return accuracy(lambda rows: -predict(rows), input, target, batch_size)


def number_of_right_answers(predict, input, target, batch_size=100):
    """You return how many are right, a whole number. Divide it by the number of examples."""
    return round(accuracy(predict, input, target, batch_size) * len(input))


def percentage(predict, input, target, batch_size=100):
    """You return a percentage. A share lies between 0 and 1: leave out the factor of 100."""
    return 100 * accuracy(predict, input, target, batch_size)


def share_of_errors(predict, input, target, batch_size=100):
    """You return the share of wrong answers. The accuracy is the share of right ones, 1 less
    that.
    """
    return 1 - accuracy(predict, input, target, batch_size)


def whole_division(predict, input, target, batch_size=100):
    """Your division rounds down: `//` gives 0 unless everything is right. Use `/`."""
    return float(accuracy(predict, input, target, batch_size) // 1)


def numpy_number(predict, input, target, batch_size=100):
    """The number is right, but it is a NumPy scalar. Turn it into a plain number with
    `float(...)`.
    """
    return np.float64(accuracy(predict, input, target, batch_size))


WRONG = (
    last_batch_dropped,
    only_full_batches_counted,
    batches_averaged,
    divided_by_full_batches,
    everything_at_once,
    batch_size_taken_for_their_number,
    best_example_of_each_class,
    first_targets_every_time,
    smallest_logit,
    number_of_right_answers,
    percentage,
    share_of_errors,
    whole_division,
    numpy_number,
)
