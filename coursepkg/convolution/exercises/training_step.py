r"""One training step

All of training is this, again and again: let the model answer, say what the answer costs, send the
gradient back, and let the optimizer change the weights. Write it as a function,
`training_step(model, optimizer, input, target, loss)`.

1. Return two things: the scores that the model gave for this batch *before* the step, as a tensor,
   and their loss as a Python float.
2. The loss is whatever the function `loss(output, target)` says: here a mean over the batch.
3. Each step uses the gradient of its own batch alone.
4. How far to move is the optimizer's business. It may have momentum.

The checks for losses that are not finite, which the starter's description mentions, are not
needed. The cases make a linear model, call your function once for each batch, and look at the
scores of the last one, at all losses, and at the weights in the end:

```python
for input, target in batches:
    output, number = training_step(model, optimizer, input, target, **options)
    losses.append(number)
```
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from coursepkg.grading import Case
from coursepkg.training import training_step

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"output": 1, "losses": 2, "weights": 2, "steps": 2, "momentum": 1, "other_loss": 1}
environment = "torch"
seconds = 10.0
reference = training_step
FORBID = ("torchvision", "lightning", "ignite", "fastai", "tensorflow", "keras", "jax")


def driver(Answer, weight, bias, input, target, lr, batch_size=100, momentum=0.0, mse=False):
    model = torch.nn.Linear(weight.shape[1], weight.shape[0])
    model.weight = torch.nn.Parameter(torch.tensor(weight))
    model.bias = torch.nn.Parameter(torch.tensor(bias))
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=momentum)
    options = {"loss": torch.nn.functional.mse_loss} if mse else {}
    losses = []
    for start in range(0, len(input), batch_size):
        x, t = (torch.from_numpy(a[start : start + batch_size]) for a in (input, target))
        output, number = Answer(model, optimizer, x, t, **options)
        losses.append(number)
    yield "output", output.detach().numpy()
    yield "losses", losses
    yield "weights", torch.cat([model.weight, model.bias[:, None]], dim=1).detach().numpy()


def oracle(
    weight: NDArray[Any],
    bias: NDArray[Any],
    input: NDArray[Any],
    target: NDArray[Any],
    lr: float,
    batch_size: int = 100,
    momentum: float = 0.0,
    mse: bool = False,
) -> dict[str, Any]:
    r"""Descend by the formulas for a linear model in NumPy; the bias is a weight of the input 1."""
    weights = np.column_stack([weight, bias])
    velocity, losses = np.zeros_like(weights), []
    for start in range(0, len(input), batch_size):
        x = np.pad(input[start : start + batch_size], ((0, 0), (0, 1)), constant_values=1)
        t, output = target[start : start + batch_size], x @ weights.T
        if mse:
            loss, grad = np.mean((output - t) ** 2), 2 * (output - t) / output.size
        else:
            p = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
            loss, grad = -np.log(p[range(len(t)), t]).mean(), (p - np.eye(len(bias))[t]) / len(t)
        losses.append(float(loss))
        velocity = momentum * velocity + grad.T @ x
        weights = weights - lr * velocity
    return {"output": output, "losses": losses, "weights": weights}


ZERO = {"weight": np.zeros((2, 1)), "bias": np.zeros(2), "lr": 1.0}
ONE = ZERO | {"input": np.array([[2.0]]), "target": np.array([0])}
TWICE = ONE | {
    "input": np.array([[2.0], [-2.0]]),
    "target": np.array([0, 1]),
    "batch_size": 1,
    "lr": 0.5,
}

PUBLIC = (
    Case(
        "",
        ONE,
        {
            "output": np.zeros((1, 2)),
            "losses": [float(np.log(2))],
            "weights": np.array([[1, 0.5], [-1, -0.5]]),
        },
    ),
    Case("steps", TWICE, oracle(**TWICE)),
    Case("momentum", TWICE | {"momentum": 0.5}, oracle(**TWICE, momentum=0.5)),
    Case(
        "other_loss",
        ZERO
        | {"input": np.array([[1.0]]), "target": np.array([[1.0, -2.0]]), "mse": True, "lr": 0.5},
        {
            "output": np.zeros((1, 2)),
            "losses": [2.5],
            "weights": np.array([[0.5, 0.5], [-1.0, -1.0]]),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield random data; the last batch is smaller where there are several."""
    kinds: dict[str, dict[str, Any]] = {
        "": {},
        "steps": {"batch_size": 3},
        "momentum": {"batch_size": 3, "momentum": 0.9},
        "other_loss": {"mse": True},
    }
    for group, settings in kinds.items():
        for n in (5, 8):
            classes, features = (int(v) for v in rng.choice([2, 3, 4], 2, replace=False))
            target: NDArray[Any] = rng.integers(0, classes, n)
            inputs = settings | {
                "weight": rng.normal(size=(classes, features)),
                "bias": rng.normal(size=classes),
                "input": rng.normal(size=(n, features)),
                "target": rng.normal(size=(n, classes)) if group == "other_loss" else target,
                "lr": float(rng.uniform(0.3, 0.7)),
            }
            yield Case(group, inputs, oracle(**inputs))


def _forward(model, input, target, loss):
    output = model(input)
    return output, loss(output, target)


def _learn(optimizer, value):
    optimizer.zero_grad()
    value.backward()
    optimizer.step()


def zero_grad_forgotten(model, optimizer, input, target, loss=F.cross_entropy):
    """Your second step still uses the gradient of the first: `backward` adds to what is there. Call
    `optimizer.zero_grad()` before it.
    """
    output, value = _forward(model, input, target, loss)
    value.backward()
    optimizer.step()
    return output, value.item()


def zero_grad_too_late(model, optimizer, input, target, loss=F.cross_entropy):
    """The weights stay where they are: you clear the gradients between `backward` and `step`, or
    leave one of the two out. The order is `zero_grad`, `backward`, `step`.
    """
    output, value = _forward(model, input, target, loss)
    value.backward()
    optimizer.zero_grad()
    optimizer.step()
    return output, value.item()


def step_before_backward(model, optimizer, input, target, loss=F.cross_entropy):
    """You let the optimizer step before the gradient is there, so it uses that of the batch before.
    First `backward`, then `step`.
    """
    output, value = _forward(model, input, target, loss)
    optimizer.step()
    optimizer.zero_grad()
    value.backward()
    return output, value.item()


def stepped_twice(model, optimizer, input, target, loss=F.cross_entropy):
    """You call `optimizer.step()` twice for one batch, so the weights move too far. Once is
    enough.
    """
    output, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    optimizer.step()
    return output, value.item()


def momentum_lost(model, optimizer, input, target, loss=F.cross_entropy):
    """The momentum is lost. Either you change the weights yourself, by the learning rate
    times the gradient, or you make a new optimizer for every batch: use the one that you are given,
    and leave the step to it.
    """
    output, value = _forward(model, input, target, loss)
    optimizer.zero_grad()
    value.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= optimizer.param_groups[0]["lr"] * parameter.grad
    return output, value.item()


def softmax_before_the_loss(model, optimizer, input, target, loss=F.cross_entropy):
    """You put the scores through a softmax before the loss. `F.cross_entropy` has one inside: give
    it the scores as they are.
    """
    output = model(input).softmax(dim=1)
    value = loss(output, target)
    _learn(optimizer, value)
    return output, value.item()


def softmax_in_the_loss_only(model, optimizer, input, target, loss=F.cross_entropy):
    """The scores are right, but you hand their softmax to the loss. `F.cross_entropy` has one
    inside: `loss(output, target)` takes the scores as they are.
    """
    output = model(input)
    value = loss(output.softmax(dim=1), target)
    _learn(optimizer, value)
    return output, value.item()


def loss_as_a_tensor(model, optimizer, input, target, loss=F.cross_entropy):
    """You return the loss as a tensor, which keeps the whole computation in memory. Return the
    number in it: `value.item()`.
    """
    output, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    return output, value


def summed_over_the_batch(model, optimizer, input, target, loss=F.cross_entropy):
    """Your loss is a sum over the batch, so larger batches make longer steps. `loss(output,
    target)` is a mean already: use it as it is.
    """
    output, value = _forward(model, input, target, loss)
    value = value * len(input)
    _learn(optimizer, value)
    return output, value.item()


def loss_reported_as_a_sum(model, optimizer, input, target, loss=F.cross_entropy):
    """The step is right, but the loss that you return is multiplied by the size of the batch.
    Return the mean, `value.item()`, as `loss` gives it.
    """
    output, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    return output, value.item() * len(input)


def averaged_twice(model, optimizer, input, target, loss=F.cross_entropy):
    """You divide the loss by the size of the batch, but it is a mean already, so your steps are too
    short. Use `loss(output, target)` as it is.
    """
    output, value = _forward(model, input, target, loss)
    value = value / len(input)
    _learn(optimizer, value)
    return output, value.item()


def measured_after_the_step(model, optimizer, input, target, loss=F.cross_entropy):
    """You return scores and loss of the changed model. Return those from before the step; you have
    them already, without another forward pass.
    """
    _, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    output, value = _forward(model, input, target, loss)
    return output, value.item()


def loss_ignored(model, optimizer, input, target, loss=F.cross_entropy):
    """You always use the cross-entropy, whatever the argument `loss` says. Call `loss(output,
    target)`.
    """
    output = model(input)
    wanted = target if target.ndim == 1 else target.softmax(dim=1)
    value = F.cross_entropy(output, wanted)
    _learn(optimizer, value)
    return output, value.item()


def target_first(model, optimizer, input, target, loss=F.cross_entropy):
    """You hand the target to the loss before the scores. The order is `loss(output, target)`."""
    output = model(input)
    value = loss(target, output)
    _learn(optimizer, value)
    return output, value.item()


def answers_returned(model, optimizer, input, target, loss=F.cross_entropy):
    """You return the most probable classes. Return the scores themselves; `argmax` is for those who
    count right answers.
    """
    output, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    return output.argmax(dim=1), value.item()


def only_the_loss_returned(model, optimizer, input, target, loss=F.cross_entropy):
    """You return one thing, but two are wanted: `return output, value.item()`."""
    _, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    return value.item()


def returned_the_wrong_way_round(model, optimizer, input, target, loss=F.cross_entropy):
    """You return the loss first. The order is scores, then loss: `return output, value.item()`."""
    output, value = _forward(model, input, target, loss)
    _learn(optimizer, value)
    return value.item(), output


def cut_off_from_the_weights(model, optimizer, input, target, loss=F.cross_entropy):
    """No gradient can be computed: the forward pass ran under `torch.no_grad()`, or the scores were
    detached or turned into NumPy before the loss. Do that afterwards.
    """
    with torch.no_grad():
        output = model(input)
    value = loss(output, target)
    _learn(optimizer, value)
    return output, value.item()


WRONG = (
    zero_grad_forgotten,
    zero_grad_too_late,
    step_before_backward,
    stepped_twice,
    momentum_lost,
    softmax_before_the_loss,
    softmax_in_the_loss_only,
    loss_as_a_tensor,
    summed_over_the_batch,
    loss_reported_as_a_sum,
    averaged_twice,
    measured_after_the_step,
    loss_ignored,
    target_first,
    answers_returned,
    only_the_loss_returned,
    returned_the_wrong_way_round,
    cut_off_from_the_weights,
)
