r"""Train and evaluate PyTorch modules: one plain loop for the whole course.

A pass over the data is the same thing in training and in evaluation, but for the step of the
optimizer. Batches come from any iterable of (input, target), such as a `DataLoader` or the light
`Batches` of this module.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from coursepkg.plotting import COLOURS, FONT
from coursepkg.validation import integer

__all__ = [
    "Batches",
    "History",
    "Metrics",
    "accuracy",
    "evaluate",
    "fit",
    "mode",
    "seed_everything",
    "training_step",
]

#: Functions of (output, target) that return a mean over the batch, by name.
Metrics = Mapping[str, Callable[[Any, Any], Tensor | float]]


def accuracy(output: Tensor, target: Tensor) -> float:
    r"""Return the share of answers that are right.

    Parameters
    ----------
    output : (N, K, ...) tensor
        A score for each of K classes; the highest is the answer.
    target : (N, ...) integer tensor
        The right classes.

    Raises
    ------
    ValueError
        If there are no scores, or the shapes do not belong together: broadcasting would compare
        all with all.

    Examples
    --------
    >>> accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    0.75
    """
    if output.ndim < 2 or output.numel() == 0:
        raise ValueError(
            f"output has shape {tuple(output.shape)}; pass scores of at least one example, (N, K)"
        )
    answer = output.argmax(dim=1)  # (N, ...)
    if answer.shape != target.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)} but output {tuple(output.shape)} answers in "
            f"shape {tuple(answer.shape)}; pass one class for each answer"
        )
    return (answer == target).sum().item() / answer.numel()


#: What `fit` and `evaluate` report beside the loss, unless told otherwise.
METRICS: Metrics = {"accuracy": accuracy}


class Batches:
    r"""Arrays cut into batches, in an order that depends on seed and epoch alone.

    Parameters
    ----------
    input, target : array or tensor
        Of equal length. Tensors, and arrays that lie in memory in one piece and can be changed,
        are shared; other arrays are copied.
    batch_size : int
        The last batch is smaller where it does not divide the length.
    seed : int or None
        Of the shuffling: epoch e has the order
        ``np.random.default_rng((seed, e)).permutation(N)``. None keeps the order of the arrays.

    Raises
    ------
    ValueError
        If the lengths differ or are 0, or a number is no integer or too small.

    Examples
    --------
    >>> batches = Batches(np.arange(5.0), np.arange(5), batch_size=2, seed=None)
    >>> [target.tolist() for _, target in batches]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        input: NDArray[Any] | Tensor,
        target: NDArray[Any] | Tensor,
        batch_size: int = 100,
        seed: int | None = 0,
    ) -> None:
        r"""Keep the arrays as tensors, which share their memory if possible."""
        if len(input) != len(target) or len(input) == 0:
            raise ValueError(
                f"input has {len(input)} examples and target has {len(target)}; "
                "pass as many of each, and at least one"
            )
        self.input, self.target = _tensor(input), _tensor(target)
        self.batch_size = integer("batch_size", batch_size, 1)
        self.seed = None if seed is None else integer("seed", seed, 0)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        r"""Choose the order of this epoch, counted from 0. `fit` calls it before every epoch."""
        self.epoch = integer("epoch", epoch, 0)

    def __len__(self) -> int:
        """Number of batches."""
        return math.ceil(len(self.input) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (input, target), batch by batch."""
        order = np.arange(len(self.input))
        if self.seed is not None:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        for start in range(0, len(order), self.batch_size):
            rows = torch.from_numpy(order[start : start + self.batch_size])
            yield self.input[rows], self.target[rows]


@dataclass
class History:
    r"""What `fit` measured, epoch by epoch.

    Attributes
    ----------
    train, valid : dict of str to list of float
        ``history.valid["loss"][3]`` is the loss on the validation data after the fourth epoch.
        `train` holds means over the epoch's batches, each measured as the model stood then, in
        training mode, before the step.
    interrupted : bool
        Whether the keyboard ended the latest training.

    Examples
    --------
    >>> history = History({"loss": [2.0, 1.0]}, {"loss": [2.1, 1.5]})
    >>> len(history), history.train["loss"][-1]
    (2, 1.0)
    """

    train: dict[str, list[float]] = field(default_factory=dict)
    valid: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False

    def __len__(self) -> int:
        """Number of finished epochs."""
        return len(self.train.get("loss", ()))

    def append(self, train: Mapping[str, float], valid: Mapping[str, float]) -> None:
        r"""Add the figures of one epoch."""
        for figures, kept in ((train, self.train), (valid, self.valid)):
            for name, figure in figures.items():
                kept.setdefault(name, []).append(figure)

    def plot(self, ax: Axes, name: str = "loss") -> Axes:
        r"""Draw one figure over the epochs, for the training and the validation data.

        Parameters
        ----------
        ax : Axes
        name : str
            "loss" or the name of a metric.

        Returns
        -------
        Axes
            The same `ax`.

        Raises
        ------
        ValueError
            If nothing of this name was measured.
        """
        if name not in self.train:
            raise ValueError(f"name={name!r} was not measured; use one of {list(self.train)}")
        lines = (("training", self.train, "blue"), ("validation", self.valid, "orange"))
        for label, kept, colour in lines:
            if name in kept:
                epochs = range(1, len(kept[name]) + 1)
                ax.plot(epochs, kept[name], "o-", ms=4, color=COLOURS[colour], label=label)
        ax.set_xlabel("epoch", fontsize=FONT)
        ax.set_ylabel(name, fontsize=FONT)
        ax.legend(fontsize=FONT, frameon=False)
        return ax


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    train: Iterable[Any],
    valid: Iterable[Any] | None = None,
    *,
    epochs: int,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    metrics: Metrics = METRICS,
    scheduler: LRScheduler | None = None,
    history: History | None = None,
) -> History:
    r"""Train a model: for each batch forward, loss, backward, step.

    Batches are moved to the device of the model. A progress bar is drawn where stderr is a
    terminal. The keyboard's interrupt ends the training; the model keeps what it has learned,
    and the history holds the finished epochs.

    Parameters
    ----------
    model : Module
        Trained in place. Each of its modules is left in the mode, training or evaluation, in
        which it was.
    optimizer : Optimizer
        Made of the model's parameters.
    train, valid : iterable of (input, target)
        Batches, gone through once in every epoch; `train.set_epoch(epoch)` is called before, if
        there is such a method.
    epochs : int
        Times through `train`.
    loss : callable
        Takes (output, target) and returns a tensor with one number, a mean over the batch.
    metrics : mapping of str to callable
        What else to measure; means over the batch as well. Empty where accuracy has no meaning.
        No metric may be called "loss".
    scheduler : LRScheduler, optional
        Its `step()` is called after every epoch. It may not be a `ReduceLROnPlateau`, whose
        `step` takes a figure.
    history : History, optional
        Of an earlier training that is to go on, with the same figures; those of the new epochs
        are appended, and the epochs counted on.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If the optimizer is not the model's, the scheduler, a metric or the history is of the
        wrong kind, a batch is no pair, there is no batch, or the loss is not one number.
    FloatingPointError
        If a loss is infinite or not a number. No step is made with it.

    Examples
    --------
    >>> model = nn.Linear(1, 2)
    >>> batches = Batches(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
    >>> history = fit(model, torch.optim.SGD(model.parameters(), 1.0), batches, epochs=20)
    >>> history.train["accuracy"][-1]
    1.0
    """
    _check_optimizer(optimizer, model)
    epochs = integer("epochs", epochs, 1)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(
            "scheduler is a ReduceLROnPlateau, whose step needs a figure; call fit with epochs=1 "
            "and history=history, and scheduler.step(history.valid['loss'][-1]) after each"
        )
    history = History() if history is None else history
    _check_figures(history, metrics, valid is not None)
    history.interrupted = False
    length = _length(train)
    total = None if length is None else epochs * length

    def step(input: Any, target: Any) -> tuple[Any, float]:
        bar.update()
        return training_step(model, optimizer, input, target, loss)

    try:
        with tqdm(total=total, unit="batch", disable=None) as bar:
            for epoch in range(len(history), len(history) + epochs):
                if hasattr(train, "set_epoch"):
                    train.set_epoch(epoch)
                with mode(model, training=True), torch.enable_grad():
                    device = _device(model)
                    learned = _means(f"train, epoch {epoch}", train, step, metrics, device)
                held = {}
                if valid is not None:
                    held = _evaluate(f"valid, epoch {epoch}", model, valid, loss, metrics)
                history.append(learned, held)
                bar.set_postfix(held or learned)
                if scheduler is not None:
                    scheduler.step()
    except KeyboardInterrupt:
        history.interrupted = True
    return history


def training_step(
    model: nn.Module,
    optimizer: Optimizer,
    input: Any,
    target: Any,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
) -> tuple[Any, float]:
    r"""Learn from one batch: forward, loss, gradients, step.

    Parameters
    ----------
    model : Module
        Changed in place; its mode is the caller's business.
    optimizer : Optimizer
        Made of the model's parameters.
    input, target : tensor
        One batch.
    loss : callable
        Takes (output, target) and returns a tensor with one number.

    Returns
    -------
    output : tensor
        What the model said before the step.
    loss : float
        What that cost.

    Raises
    ------
    ValueError
        If the loss is not one number.
    FloatingPointError
        If the loss is infinite or not a number; the step is not made.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 3.0)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    >>> output, loss = training_step(
    ...     model, optimizer, torch.ones(1, 1), torch.ones(1, 1), F.mse_loss
    ... )
    >>> output.item(), loss, model.weight.item()
    (3.0, 4.0, 2.0)
    """
    output = model(input)
    value = loss(output, target)
    number = _number(value)
    optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return output, number


def evaluate(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    metrics: Metrics = METRICS,
) -> dict[str, float]:
    r"""Measure a model on a whole data set, in evaluation mode and without gradients.

    Parameters
    ----------
    model : Module
        Each of its modules is left in the mode in which it was.
    batches : iterable of (input, target)
        Every example counts the same: the means of batches are weighted by `len(target)`.
    loss, metrics
        As in `fit`.

    Returns
    -------
    dict of str to float
        "loss", and each metric by its name.

    Raises
    ------
    ValueError, FloatingPointError
        As `fit`.

    Examples
    --------
    >>> figures = evaluate(nn.Identity(), [(10 * torch.eye(4), torch.tensor([0, 1, 2, 0]))])
    >>> figures["accuracy"]
    0.75
    """
    return _evaluate("batches", model, batches, loss, metrics)


def _evaluate(
    name: str,
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[Any, Any], Tensor],
    metrics: Metrics,
) -> dict[str, float]:
    def step(input: Any, target: Any) -> tuple[Any, float]:
        output = model(input)
        return output, _number(loss(output, target))

    with mode(model, training=False), torch.no_grad():
        return _means(name, batches, step, metrics, _device(model))


def seed_everything(seed: int) -> None:
    r"""Seed the random numbers of Python, NumPy and PyTorch.

    Results then repeat on the same machine with the same versions and number of threads.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1, NumPy's limit.

    Raises
    ------
    ValueError
        If it is no such integer.
    """
    if integer("seed", seed, 0) >= 2**32:
        raise ValueError(f"seed={seed} is too large; use an integer below 2**32")
    random.seed(int(seed))
    np.random.seed(seed)  # noqa: NPY002  # the global generator, which libraries may draw from
    torch.manual_seed(seed)


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    r"""Put a model into training or evaluation mode, and each module back afterwards.

    Parameters
    ----------
    model : Module
    training : bool

    Examples
    --------
    >>> model = nn.Dropout()
    >>> with mode(model, training=False):
    ...     model.training
    False
    >>> model.training
    True
    """
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def _means(
    name: str,
    batches: Iterable[Any],
    step: Callable[[Any, Any], tuple[Any, float]],
    metrics: Metrics,
    device: torch.device,
) -> dict[str, float]:
    r"""Take a step with each batch, which gives output and loss; return means over examples."""
    if "loss" in metrics:
        raise ValueError("a metric is called 'loss'; give it another name, that one is taken")
    sums, count = dict.fromkeys(("loss", *metrics), 0.0), 0
    for number, (input, target) in enumerate(_pairs(name, batches, device)):
        try:
            output, loss = step(input, target)
        except (ValueError, FloatingPointError) as error:
            error.add_note(f"That was {name}, batch {number}.")
            raise
        with torch.no_grad():
            figures = {metric: measure(output, target) for metric, measure in metrics.items()}
        for key, figure in {"loss": loss, **figures}.items():
            sums[key] += len(target) * float(figure)
        count += len(target)
    if count == 0:
        raise ValueError(f"{name} has no batches; pass a list or a DataLoader, no spent generator")
    return {key: total / count for key, total in sums.items()}


def _pairs(name: str, batches: Iterable[Any], device: torch.device) -> Iterator[tuple[Any, Any]]:
    for number, batch in enumerate(batches):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ValueError(
                f"{name}, batch {number} is a {type(batch).__name__}, not a pair; "
                "yield (input, target)"
            )
        input, target = (
            _tensor(part).to(device) if isinstance(part, Tensor | np.ndarray) else part
            for part in batch
        )
        yield input, target


def _tensor(array: NDArray[Any] | Tensor) -> Tensor:
    r"""Return an array as a tensor; a copy where PyTorch cannot share its memory."""
    if isinstance(array, np.ndarray):
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    return torch.as_tensor(array)


def _length(batches: Iterable[Any]) -> int | None:
    r"""Return how many batches there are, if they know. A loader of a stream does not."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return None


def _number(loss: Tensor) -> float:
    r"""Return a loss as a float, if it is one finite number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError(f"the loss is {loss!r:.60}; return a tensor with one number")
    if not math.isfinite(loss.item()):
        raise FloatingPointError(
            f"the loss is {loss.item()}; lower the learning rate, or look for inputs and targets "
            "that are not finite"
        )
    return loss.item()


def _check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    if not isinstance(optimizer, Optimizer):
        raise ValueError(
            f"optimizer is a {type(optimizer).__name__}; pass one of torch.optim, made with "
            "model.parameters()"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(map(id, model.parameters())):
        raise ValueError(
            "optimizer holds no parameter of model; make it with model.parameters() of this model"
        )


def _check_figures(history: History, metrics: Metrics, validated: bool) -> None:
    r"""Refuse to go on with a history whose lists would differ in length."""
    names = {"loss", *metrics}
    wanted = names, names if validated else set()
    if len(history) and (set(history.train), set(history.valid)) != wanted:
        raise ValueError(
            f"history holds {sorted(history.train)} of training and {sorted(history.valid)} of "
            "validation; pass the same valid and metrics, or begin a new one"
        )


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters(), torch.empty(0)).device
