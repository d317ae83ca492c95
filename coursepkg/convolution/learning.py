r"""Learning from examples, batch by batch, and measuring what was learned.

Both functions take anything that behaves like a network, an optimiser or a prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.arguments import Array, check_array, check_is_array
from coursepkg.convolution.losses import cross_entropy, cross_entropy_backward
from coursepkg.validation import integer

__all__ = ["Network", "Optimizer", "accuracy", "batches", "train"]


class Network(Protocol):
    r"""What `train` needs of a network, such as `coursepkg.convolution.network.Sequential`."""

    def forward(self, input: Array) -> Array:
        r"""Return the logits, (N, K)."""

    def backward(self, grad: Array) -> Array:
        r"""Send the gradient of the loss back through the latest `forward`."""

    def gradients(self) -> Mapping[str, Array]:
        r"""Return the gradients of the latest `backward`, by name."""


class Optimizer(Protocol):
    r"""What `train` needs of an optimiser, such as `coursepkg.convolution.optim.SGD`."""

    def step(self, gradients: Mapping[str, Array]) -> None:
        r"""Change the parameters of the network once."""


def batches(order: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    r"""Cut an order into batches; the last one holds what is left.

    Parameters
    ----------
    order : (N,) int64 array
        Numbers of examples.
    batch_size : int
        At least 1.

    Yields
    ------
    int64 array
        `batch_size` numbers, or fewer at the end.

    Raises
    ------
    ValueError
        If `batch_size` is too small.

    Examples
    --------
    >>> [batch.tolist() for batch in batches(np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    step = integer("batch_size", batch_size, 1)
    for start in range(0, len(order), step):
        yield order[start : start + step]


def accuracy(
    predict: Callable[[Array], Array], input: Array, target: Array, batch_size: int = 100
) -> float:
    r"""Return the share of examples whose largest logit stands at the right class.

    Parameters
    ----------
    predict : callable
        Takes (n, ...) examples and returns (n, K) logits. It is called batch by batch, which
        keeps the memory small; every example counts, those of a smaller last batch too.
    input : (N, ...) array
    target : (N,) int64 array
        The right classes.
    batch_size : int

    Returns
    -------
    float
        From 0 to 1. Of equal logits the first counts as the largest.

    Raises
    ------
    ValueError
        If there is no example, not one target for each, `batch_size` is too small, or `predict`
        returns anything but one row of logits for each example.

    Examples
    --------
    >>> scores = np.array([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0]])
    >>> accuracy(lambda rows: rows, scores, np.array([0, 1, 1]), batch_size=2) == 2 / 3
    True
    """
    _check_examples(input, target)
    right = 0
    for batch in batches(np.arange(len(input)), batch_size):
        logits = predict(input[batch])  # (n, K)
        _check_logits(logits, len(batch))
        right += int((logits.argmax(axis=1) == target[batch]).sum())
    return right / len(input)


def train(
    network: Network,
    optimizer: Optimizer,
    input: Array,
    target: Array,
    orders: Iterable[NDArray[np.int64]],
    batch_size: int = 100,
) -> NDArray[np.float64]:
    r"""Train a network, and return the loss of each batch as it was before the step on it.

    Parameters
    ----------
    network : Network
        With logits as output. Its parameters are changed.
    optimizer : Optimizer
        Made for the parameters of that network.
    input : (N, ...) array
    target : (N,) int64 array
        The right classes.
    orders : iterable of int64 arrays
        One for each epoch: numbers of examples, in the order in which they are shown.
    batch_size : int
        The last batch of an epoch may be smaller.

    Returns
    -------
    (steps,) float64 array

    Raises
    ------
    ValueError
        If there is no example, not one target for each, or `batch_size` is too small.
    """
    _check_examples(input, target)
    losses = []
    for order in orders:
        for batch in batches(order, batch_size):
            logits = network.forward(input[batch])  # (n, K)
            losses.append(cross_entropy(logits, target[batch]))
            network.backward(cross_entropy_backward(logits, target[batch]))
            optimizer.step(network.gradients())
    return np.array(losses)


def _check_logits(logits: Array, examples: int) -> None:
    check_array("predict(input)", logits, "(n, K)")
    if len(logits) != examples or logits.shape[1] == 0:
        raise ValueError(
            f"predict(input) has shape {logits.shape} for {examples} examples; "
            f"return ({examples}, K), one row of logits for each"
        )


def _check_examples(input: Array, target: Array) -> None:
    check_is_array("input", input)
    check_is_array("target", target)
    if len(input) == 0:
        raise ValueError(f"input has shape {input.shape}; pass at least one example")
    if target.shape != (len(input),):
        raise ValueError(
            f"target has shape {target.shape} but input has {len(input)} examples; "
            f"pass the number of the right class for each"
        )
