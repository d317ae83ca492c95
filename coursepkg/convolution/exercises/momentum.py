r"""Descent with momentum

Write `SGD`, stochastic gradient descent with momentum. It is given the arrays of a network and
changes them at each step, *in place*: the layers hold these very arrays and must see the change.

Each parameter $p$ has a velocity $v$ of its own, an array like $p$, which begins at zero. With the
gradient $g$, the momentum $\mu$ and the learning rate $\eta$, one step is

$$
v \leftarrow \mu v + g, \qquad p \leftarrow p - \eta v .
$$

Two options, as in PyTorch:

- `weight_decay` $= \lambda$ pulls each parameter towards 0. Put $g + \lambda p$ in the place of
  $g$, before anything else.
- `nesterov=True` goes on from where the velocity leads: after the update of $v$, the step is
  $p \leftarrow p - \eta \, (g + \mu v)$.

`parameters` and `gradients` are dicts from names to arrays. The gradients still belong to the
caller: leave them as they are. You need not check arguments. The cases do with your class just
this:

```python
parameters = {"weight": weight, "bias": bias}
optimizer = SGD(parameters, **options)
for t in range(steps):
    optimizer.step({"weight": weight_gradients[t], "bias": bias_gradients[t]})
```

and look at `weight` and `bias`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.optim import SGD
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"one step": 1, "momentum": 3, "weight decay": 1, "nesterov": 1}
environment = "numpy"
seconds = 3.0
reference = SGD


def driver(Answer, weight, bias, weight_gradients, bias_gradients, **options):
    weight, bias = weight.copy(), bias.copy()
    optimizer = Answer({"weight": weight, "bias": bias}, **options)
    for t in range(len(weight_gradients)):
        optimizer.step({"weight": weight_gradients[t], "bias": bias_gradients[t]})
    yield "weight", weight
    yield "bias", bias


def oracle(
    weight: NDArray[Any],
    bias: NDArray[Any],
    weight_gradients: NDArray[Any],
    bias_gradients: NDArray[Any],
    **options: Any,
) -> dict[str, Any]:
    r"""Follow each number by itself, in exact fractions."""
    return {
        "weight": _followed(weight, weight_gradients, **options),
        "bias": _followed(bias, bias_gradients, **options),
    }


def _followed(
    array: NDArray[Any],
    gradients: NDArray[Any],
    lr: float = 1e-3,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> NDArray[Any]:
    rate, mu, decay = map(Fraction, (lr, momentum, weight_decay))
    result = np.empty_like(array)
    for place in np.ndindex(array.shape):
        p, history = Fraction(float(array[place])), []
        for g in gradients[(slice(None), *place)]:
            history.append(Fraction(float(g)) + decay * p)
            v = sum(mu**age * past for age, past in enumerate(reversed(history)))
            p -= rate * (history[-1] + mu * v if nesterov else v)
        result[place] = float(p)
    return result


def _case(group: str, weight: Any, bias: Any, gradients: Any, after: Any, **options: Any) -> Case:
    inputs = {
        "weight": np.array(weight),
        "bias": np.array(bias),
        "weight_gradients": np.array(gradients[0]),
        "bias_gradients": np.array(gradients[1]),
    }
    return Case(group, inputs | options, {"weight": np.array(after[0]), "bias": np.array(after[1])})


ONE = ([1.0, 2.0], [0.0, 0.0], ([[2.0, 4.0]], [[8.0, -8.0]]))
TWO = ([1.0, 2.0], [0.0, 0.0], ([[2.0, 4.0], [0.0, 2.0]], [[8.0, -8.0], [4.0, 0.0]]))

PUBLIC = (
    _case("one step", *ONE, ([0.5, 1.0], [-2.0, 2.0]), lr=0.25),
    _case("momentum", *ONE, ([0.5, 1.0], [-2.0, 2.0]), lr=0.25, momentum=0.5),
    _case("momentum", *TWO, ([0.25, 0.0], [-4.0, 3.0]), lr=0.25, momentum=0.5),
    _case("weight decay", *ONE, ([0.375, 0.75], [-2.0, 2.0]), lr=0.25, weight_decay=0.5),
    _case("nesterov", *ONE, ([0.25, 0.5], [-3.0, 3.0]), lr=0.25, momentum=0.5, nesterov=True),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield runs of several steps, each option alone and all together."""
    halves = {"lr": 0.25, "momentum": 0.5}
    for group, steps, options in (
        ("one step", 1, {"lr": 0.5}),
        ("one step", 1, {}),
        ("momentum", 4, halves),
        ("momentum", 6, {"lr": 0.125, "momentum": 0.75}),
        ("momentum", 3, {"lr": 0.5}),
        ("weight decay", 3, {"lr": 0.25, "weight_decay": 0.5}),
        ("weight decay", 4, halves | {"weight_decay": 0.25}),
        ("nesterov", 4, halves | {"nesterov": True}),
        ("nesterov", 4, halves | {"nesterov": True, "weight_decay": 0.25}),
    ):
        weight, bias = rng.integers(1, 9, (2, 3)).astype(np.float64)
        gradients = rng.integers(1, 9, (2, steps, 3)) * rng.choice([-1.0, 1.0], (2, steps, 3))
        inputs = {"weight": weight, "bias": bias}
        inputs |= {"weight_gradients": gradients[0], "bias_gradients": gradients[1]}
        yield Case(group, inputs | options, oracle(**inputs, **options))


class uphill(SGD):
    """You go uphill: the gradient points to where the loss grows. Subtract it, `p -= lr * v`."""

    def step(self, gradients):
        _step(self, gradients, lr=-self.lr)


class learning_rate_ignored(SGD):
    """Your steps are as long as the velocity. Multiply it by the learning rate `lr` first."""

    def step(self, gradients):
        _step(self, gradients, lr=1.0)


class layers_do_not_see_it(SGD):
    """You put the new parameters into new arrays, and the layers still hold the old ones. Write
    into the array: `p -= ...` or `p[...] = ...`, not `p = p - ...`.
    """

    def step(self, gradients):
        self.parameters = {name: p.copy() for name, p in self.parameters.items()}
        super().step(gradients)


class no_momentum(SGD):
    """Your step is plain gradient descent: the steps before have no influence. Keep the velocity
    from step to step, and begin each by `v *= momentum`.
    """

    def step(self, gradients):
        self.velocities = {name: np.zeros_like(p) for name, p in self.parameters.items()}
        super().step(gradients)


class velocity_does_not_fade(SGD):
    """Your velocity adds up all gradients at full strength. Multiply it by `momentum` before the
    new gradient comes on top.
    """

    def step(self, gradients):
        mu, self.momentum = self.momentum, 1.0
        _step(self, gradients, mu)


class running_mean(SGD):
    """You weight the new gradient with `1 - momentum`, as Adam does. Here it counts in full:
    `v = momentum * v + g`.
    """

    def step(self, gradients):
        share = 1 - self.momentum
        wanted = {n: g + self.weight_decay * self.parameters[n] for n, g in gradients.items()}
        for name, p in self.parameters.items():
            v = self.velocities[name] = self.momentum * self.velocities[name] + share * wanted[name]
            p -= self.lr * (wanted[name] * share + self.momentum * v if self.nesterov else v)


class old_velocity_used(SGD):
    """You move before you update the velocity, so each gradient takes effect one step late. First
    `v = momentum * v + g`, then move by the new `v`.
    """

    def step(self, gradients):
        late = {name: v.copy() for name, v in self.velocities.items()}
        before = {name: p.copy() for name, p in self.parameters.items()}
        super().step(gradients)
        for name, p in self.parameters.items():
            p[...] = before[name] - self.lr * late[name]


class one_velocity_for_all(SGD):
    """Your parameters share one velocity, so that the gradient of the weight also moves the bias.
    Keep a velocity for each name, for instance in a dict.
    """

    def step(self, gradients):
        shared = next(iter(self.velocities.values()))
        self.velocities = dict.fromkeys(self.velocities, shared)
        super().step(gradients)


class first_parameter_only(SGD):
    """Only the first parameter moves. Loop over all names, and look where your `return` stands."""

    def step(self, gradients):
        rest = {name: p.copy() for name, p in list(self.parameters.items())[1:]}
        super().step(gradients)
        for name, before in rest.items():
            self.parameters[name][...] = before


class gradient_becomes_the_velocity(SGD):
    """Your velocity *is* the first gradient, the same array, and the next step writes into it. The
    gradients belong to the caller: begin with zeros, or take a copy.
    """

    def step(self, gradients):
        begun, self.begun = getattr(self, "begun", False), True
        for name, p in self.parameters.items():
            gradient = gradients[name]
            if self.weight_decay:
                gradient = gradient + self.weight_decay * p
            if begun:
                self.velocities[name] *= self.momentum
                self.velocities[name] += gradient
            else:
                self.velocities[name] = gradient
            v = self.velocities[name]
            p -= self.lr * (gradient + self.momentum * v if self.nesterov else v)


class decay_ignored(SGD):
    """You leave out `weight_decay`. Add `weight_decay * p` to the gradient of `p`."""

    def step(self, gradients):
        self.weight_decay = 0.0
        super().step(gradients)


class decay_subtracted(SGD):
    """Your weight decay pushes the parameters away from 0. Its sign is that of the gradient: add
    `weight_decay * p`.
    """

    def step(self, gradients):
        self.weight_decay = -abs(self.weight_decay)
        super().step(gradients)


class decay_without_learning_rate(SGD):
    """You shrink the parameter by the whole of `weight_decay`, past the learning rate and the
    velocity. Add `weight_decay * p` to the gradient, before anything else.
    """

    def step(self, gradients):
        before = {name: p.copy() for name, p in self.parameters.items()}
        decay, self.weight_decay = self.weight_decay, 0.0
        super().step(gradients)
        self.weight_decay = decay
        for name, p in self.parameters.items():
            p -= decay * before[name]


class nesterov_ignored(SGD):
    """With `nesterov` your steps are still those of plain momentum. Move by `g + momentum * v` with
    the *new* `v`; the old one would give just the plain step.
    """

    def step(self, gradients):
        self.nesterov = False
        super().step(gradients)


class nesterov_without_gradient(SGD):
    """Your Nesterov step leaves out the gradient itself: move by `g + momentum * v`, not by
    `momentum * v` alone.
    """

    def step(self, gradients):
        before = {name: p.copy() for name, p in self.parameters.items()}
        super().step(gradients)
        if self.nesterov:
            for name, p in self.parameters.items():
                p += self.lr * (gradients[name] + self.weight_decay * before[name])


class look_ahead_kept_as_velocity(SGD):
    """You keep `g + momentum * v` as the new velocity. It is only the direction of this one step;
    the velocity stays `v`.
    """

    def step(self, gradients):
        before = {name: p.copy() for name, p in self.parameters.items()}
        super().step(gradients)
        if self.nesterov:
            for name, p in self.parameters.items():
                self.velocities[name] = (before[name] - p) / self.lr


def _step(self, gradients, mu=None, lr=None):
    mu = self.momentum if mu is None else mu
    lr = self.lr if lr is None else lr
    for name, p in self.parameters.items():
        gradient = gradients[name] + self.weight_decay * p
        v = self.velocities[name] = self.momentum * self.velocities[name] + gradient
        p -= lr * (gradient + mu * v if self.nesterov else v)
    self.momentum = mu


WRONG = (
    uphill,
    learning_rate_ignored,
    layers_do_not_see_it,
    no_momentum,
    velocity_does_not_fade,
    running_mean,
    old_velocity_used,
    one_velocity_for_all,
    first_parameter_only,
    gradient_becomes_the_velocity,
    decay_ignored,
    decay_subtracted,
    decay_without_learning_rate,
    nesterov_ignored,
    nesterov_without_gradient,
    look_ahead_kept_as_velocity,
)
