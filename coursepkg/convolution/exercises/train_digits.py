r"""Train until it reads

Write `train`, the loop that makes a network out of random numbers. It is given the network and an
optimiser, and goes through the examples as often as there are `orders`. Each order is an array of
the numbers of all examples, shuffled; one passage through it is an epoch.

For each batch of `batch_size` examples, taken from the order one after the other (the last one may
be smaller):

1. `logits = network.forward(...)`: a row for each example of the batch, a number for each class.
2. The loss. With the softmax $p_i = e^{z_i} / \sum_j e^{z_j}$ of a row of logits, it is $-\log p_t$
   at the right class $t$, averaged over the batch. Logits may be as large as 10,000: subtract the
   largest of each row first.
3. The gradient of that loss with respect to the logits: the probabilities, less 1 at the right
   class, divided by the size of the batch. Hand it to `network.backward(...)`.
4. `optimizer.step(network.gradients())`.

Return the losses, one for each batch, in an array.

A network and an optimiser are written for you: `ConvNet` (convolution, ReLU, affine) and plain
gradient descent, `Descent`, both in the box below. The cases do with your function just this:

```python
network = ConvNet(filters, weight)
optimizer = Descent(network, lr)
losses = train(network, optimizer, input, target, orders, batch_size)
answers = network.forward(unseen).argmax(axis=1)
```

and look at the losses, at the trained `filters` and `weight`, and, in the group "digits", only at
whether 95% of the `answers` are right. The digits there are real: 8 x 8 pixels, from the
collection that ships with scikit-learn (Alpaydin and Kaynak, 1998).

```python
class ConvNet:
    def __init__(self, filters, weight):  # (F, k, k), (classes, places * F)
        self.filters, self.weight = filters, weight

    def forward(self, input):  # (N, H, W)
        k = self.filters.shape[1]
        windows = sliding_window_view(input, (k, k), axis=(1, 2))  # (N, H', W', k, k)
        self.rows = windows.reshape(len(input), -1, k * k)  # (N, places, k*k)
        self.hidden = np.maximum(self.rows @ self.filters.reshape(-1, k * k).T, 0)
        return self.hidden.reshape(len(input), -1) @ self.weight.T  # (N, classes)

    def backward(self, grad):
        n = len(grad)
        grad_hidden = (grad @ self.weight).reshape(self.hidden.shape) * (self.hidden > 0)
        grad_filters = np.tensordot(grad_hidden, self.rows, ([0, 1], [0, 1]))
        self.grad_filters = grad_filters.reshape(self.filters.shape)
        self.grad_weight = grad.T @ self.hidden.reshape(n, -1)

    def gradients(self):
        return {"filters": self.grad_filters, "weight": self.grad_weight}


class Descent:
    def __init__(self, network, lr):
        self.network, self.lr = network, lr

    def step(self, gradients):
        self.network.filters -= self.lr * gradients["filters"]
        self.network.weight -= self.lr * gradients["weight"]
```
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.learning import train
from coursepkg.convolution.losses import cross_entropy, cross_entropy_backward, softmax
from coursepkg.grading import Case
from coursepkg.testing import AtLeast

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"one batch": 1, "one epoch": 2, "epochs": 1, "large logits": 1, "digits": 3}
environment = "numpy"
seconds = 30.0
data = (
    "8 × 8 images of handwritten digits by E. Alpaydin and C. Kaynak, 1998 "
    "(https://doi.org/10.24432/C50P49), CC BY 4.0; they ship in scikit-learn, and your function is "
    "given them."
)
reference = train
shown = (cross_entropy, cross_entropy_backward)


def driver(Answer, input, target, orders, batch_size, lr, filters, weight, unseen=None):
    from numpy.lib.stride_tricks import sliding_window_view

    class ConvNet:
        def __init__(self, filters, weight):
            self.filters, self.weight = filters, weight

        def forward(self, input):
            k = self.filters.shape[1]
            windows = sliding_window_view(input, (k, k), axis=(1, 2))
            self.rows = windows.reshape(len(input), -1, k * k)
            self.hidden = np.maximum(self.rows @ self.filters.reshape(-1, k * k).T, 0)
            return self.hidden.reshape(len(input), -1) @ self.weight.T

        def backward(self, grad):
            n = len(grad)
            grad_hidden = (grad @ self.weight).reshape(self.hidden.shape) * (self.hidden > 0)
            grad_filters = np.tensordot(grad_hidden, self.rows, ([0, 1], [0, 1]))
            self.grad_filters = grad_filters.reshape(self.filters.shape)
            self.grad_weight = grad.T @ self.hidden.reshape(n, -1)

        def gradients(self):
            return {"filters": self.grad_filters, "weight": self.grad_weight}

    class Descent:
        def __init__(self, network, lr):
            self.network, self.lr = network, lr

        def step(self, gradients):
            self.network.filters -= self.lr * gradients["filters"]
            self.network.weight -= self.lr * gradients["weight"]

    network = ConvNet(filters.copy(), weight.copy())
    losses = Answer(network, Descent(network, lr), input, target, orders, batch_size)
    if unseen is None:
        yield "losses", losses
        yield "filters", network.filters
        yield "weight", network.weight
    else:
        yield "answers", network.forward(unseen).argmax(axis=1)


def oracle(
    input: NDArray[Any],
    target: NDArray[Any],
    orders: tuple[NDArray[np.int64], ...],
    batch_size: int,
    lr: float,
    filters: NDArray[Any],
    weight: NDArray[Any],
    unseen: NDArray[Any] | None = None,
) -> dict[str, Any]:
    r"""Descend without back-propagation: derivatives are imaginary parts, f(x + ih) / h.

    Unseen digits are read by looking for the most similar one among the examples.
    """
    if unseen is not None:
        gaps = [np.square(input - image).sum(axis=(1, 2)) for image in unseen]
        return {"answers": np.array([target[gap.argmin()] for gap in gaps])}
    x = np.concatenate([filters.ravel(), weight.ravel()])
    losses = []
    for order in orders:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            nudged = x + 1e-30j * np.eye(x.size)  # (parameters, parameters)
            values = [_loss(y, input[batch], target[batch], filters, weight) for y in nudged]
            losses.append(values[0].real)
            x = x - lr * np.imag(values) / 1e-30
    after_filters, after_weight = np.split(x, [filters.size])
    return {
        "losses": np.array(losses),
        "filters": after_filters.reshape(filters.shape),
        "weight": after_weight.reshape(weight.shape),
    }


def _loss(
    y: NDArray[Any],
    input: NDArray[Any],
    target: NDArray[Any],
    filters: NDArray[Any],
    weight: NDArray[Any],
) -> complex:
    r"""Return the loss of a batch for the flat parameters `y`, place by place."""
    f, w = y[: filters.size].reshape(filters.shape), y[filters.size :].reshape(weight.shape)
    k, (n, height, width) = filters.shape[1], input.shape
    hidden = [
        np.tensordot(input[:, i : i + k, j : j + k], f, ([1, 2], [1, 2]))
        for i in range(height - k + 1)
        for j in range(width - k + 1)
    ]
    flat = np.concatenate(hidden, axis=1)  # (N, places*F)
    logits = np.where(flat.real > 0, flat, 0) @ w.T
    logits = logits - logits.real.max(axis=1, keepdims=True)
    logs = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(n), target]
    return complex(logs.mean())


@cache
def _digits() -> tuple[NDArray[Any], ...]:
    r"""Return images and labels to learn from, and those of every fourth digit, kept apart."""
    found = load_digits()
    images, labels = found.images / 16, found.target
    kept = np.arange(len(images)) % 4 == 3
    return images[~kept], labels[~kept], images[kept], labels[kept]


def _digits_case(rng: np.random.Generator) -> Case:
    r"""Return the task to learn to read, with first weights and orders of its own."""
    input, target, unseen, labels = _digits()
    inputs = {
        "input": input,
        "target": target,
        "orders": tuple(rng.permutation(len(input)) for _ in range(12)),
        "batch_size": 20,
        "lr": 0.2,
        "filters": rng.normal(0, np.sqrt(2 / 16), (16, 4, 4)),  # He
        "weight": rng.normal(0, np.sqrt(2 / 400), (10, 25 * 16)),
        "unseen": unseen,
    }
    return Case("digits", inputs, {"answers": AtLeast(0.95, labels)})


def _small_case(
    rng: np.random.Generator, group: str, n: int, batch_size: int, epochs: int, scale: float = 1.0
) -> Case:
    r"""Return a task of a few tiny images and three classes."""
    inputs = {
        "input": rng.integers(-2, 3, (n, 3, 4)).astype(np.float64),
        "target": rng.permutation(np.arange(n) % 3),
        "orders": tuple(np.roll(rng.permutation(n), 1) for _ in range(epochs)),
        "batch_size": batch_size,
        "lr": 0.125 / scale**2,
        "filters": scale * rng.normal(size=(2, 2, 2)),
        "weight": rng.normal(size=(3, 6 * 2)),
    }
    return Case(group, inputs, oracle(**inputs))


BY_HAND = {
    "input": np.array([[[2.0]], [[1.0]]]),
    "target": np.array([0, 1]),
    "orders": (np.array([1, 0]),),
    "batch_size": 2,
    "lr": 0.5,
    "filters": np.array([[[1.0]]]),
    "weight": np.zeros((2, 1)),
}
HALF = {"losses": np.array([np.log(2)]), "filters": np.array([[[1.0]]])}

PUBLIC = (
    Case("one batch", BY_HAND, HALF | {"weight": np.array([[0.125], [-0.125]])}),
    Case(
        "large logits",
        BY_HAND | {"weight": np.array([[8000.0], [0.0]]), "lr": 2**-12},
        {
            "losses": np.array([4000.0]),
            "filters": np.array([[[1 - 4000 / 4096]]]),
            "weight": np.array([[8000 - 0.5 / 4096], [0.5 / 4096]]),
        },
    ),
    _small_case(np.random.default_rng(1), "one epoch", 7, 3, 1),
    _small_case(np.random.default_rng(2), "epochs", 6, 3, 3),
    _digits_case(np.random.default_rng(3)),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield tiny tasks, in which every number counts, and one with real digits."""
    yield _small_case(rng, "one batch", 4, 4, 1)
    yield _small_case(rng, "one batch", 5, 9, 1)
    yield _small_case(rng, "one epoch", 8, 3, 1)
    yield _small_case(rng, "one epoch", 6, 2, 1)
    yield _small_case(rng, "epochs", 7, 3, 3)
    yield _small_case(rng, "large logits", 4, 4, 1, scale=3000.0)
    yield _digits_case(rng)


def _gradient(logits, target, size=None):
    grad = softmax(logits)
    grad[np.arange(len(target)), target] -= 1
    return grad / (len(target) if size is None else size)


def _trained(
    network,
    optimizer,
    input,
    target,
    orders,
    batch_size,
    loss=cross_entropy,
    gradient=_gradient,
    step=True,
    starts=lambda n, size: range(0, n, size),
):
    losses = []
    for order in orders:
        for start in starts(len(order), batch_size):
            batch = order[start : start + batch_size]
            logits = network.forward(input[batch])
            losses.append(loss(logits, target[batch]))
            network.backward(gradient(logits, target[batch]))
            if step:
                optimizer.step(network.gradients())
    return np.array(losses)


def labels_not_shuffled(network, optimizer, input, target, orders, batch_size=100):
    """You take the images in the shuffled order, but the labels as they lie, so each image is given
    the label of another. Use the same numbers for both: `input[batch]` and `target[batch]`.
    """
    losses = []
    for order in orders:
        for start in range(0, len(order), batch_size):
            wanted = target[start : start + batch_size]
            logits = network.forward(input[order[start : start + batch_size]])
            losses.append(cross_entropy(logits, wanted))
            network.backward(_gradient(logits, wanted))
            optimizer.step(network.gradients())
    return np.array(losses)


def orders_ignored(network, optimizer, input, target, orders, batch_size=100):
    """You show the examples as they lie, the same batches in every epoch. Take the numbers of the
    examples from the order of the epoch.
    """
    orders = tuple(np.arange(len(input)) for _ in orders)
    return train(network, optimizer, input, target, orders, batch_size)


def first_order_every_time(network, optimizer, input, target, orders, batch_size=100):
    """You use the first order in every epoch. Each epoch has an order of its own: loop over
    `orders`.
    """
    return train(network, optimizer, input, target, [orders[0]] * len(orders), batch_size)


def one_epoch_only(network, optimizer, input, target, orders, batch_size=100):
    """You go through the examples once. There are as many epochs as `orders`; look at where your
    `return` stands.
    """
    return train(network, optimizer, input, target, orders[:1], batch_size)


def first_batch_every_time(network, optimizer, input, target, orders, batch_size=100):
    """You show the first batch of the order over and over. The next batch begins where the last one
    ended: `order[start : start + batch_size]`.
    """
    step = min(batch_size, len(input))
    orders = tuple(
        np.concatenate([o[: min(step, len(o) - s)] for s in range(0, len(o), step)]) for o in orders
    )
    return train(network, optimizer, input, target, orders, batch_size)


def last_batch_dropped(network, optimizer, input, target, orders, batch_size=100):
    """You leave out the last batch when it is not full. Loop over
    `range(0, len(order), batch_size)`: a slice past the end is just shorter.
    """
    return _trained(
        network,
        optimizer,
        input,
        target,
        orders,
        batch_size,
        starts=lambda n, size: range(0, n - size + 1, size),
    )


def gradient_not_averaged(network, optimizer, input, target, orders, batch_size=100):
    """The loss is a mean over the batch, but your gradient is that of the sum: it grows with the
    size of the batch. Divide it by the number of examples.
    """

    def gradient(logits, wanted):
        return _gradient(logits, wanted, size=1)

    return _trained(network, optimizer, input, target, orders, batch_size, gradient=gradient)


def last_batch_divided_by_full_size(network, optimizer, input, target, orders, batch_size=100):
    """You divide by `batch_size` also where the batch is smaller. Divide by the number of examples
    that are in it, `len(batch)`.
    """

    def gradient(logits, wanted):
        return _gradient(logits, wanted, size=batch_size)

    return _trained(network, optimizer, input, target, orders, batch_size, gradient=gradient)


def loss_not_averaged(network, optimizer, input, target, orders, batch_size=100):
    """The network learns, but the losses that you return are sums over the batch. Return the mean,
    so that batches of different sizes can be compared.
    """

    def loss(logits, wanted):
        return len(wanted) * cross_entropy(logits, wanted)

    return _trained(network, optimizer, input, target, orders, batch_size, loss=loss)


def uphill(network, optimizer, input, target, orders, batch_size=100):
    """Your loss grows from step to step: the sign of the gradient is wrong. It is the probabilities
    *minus* 1 at the right class; the optimiser subtracts it.
    """

    def gradient(logits, wanted):
        return -_gradient(logits, wanted)

    return _trained(network, optimizer, input, target, orders, batch_size, gradient=gradient)


def right_class_forgotten(network, optimizer, input, target, orders, batch_size=100):
    """Your gradient is the probabilities themselves, so every class is pushed down, the right one
    too. Subtract 1 at the right class of each example.
    """

    def gradient(logits, wanted):
        return softmax(logits) / len(wanted)

    return _trained(network, optimizer, input, target, orders, batch_size, gradient=gradient)


def never_a_step(network, optimizer, input, target, orders, batch_size=100):
    """You compute gradients and throw them away, so the weights stay as they were. Call
    `optimizer.step(network.gradients())` after each `backward`.
    """
    return _trained(network, optimizer, input, target, orders, batch_size, step=False)


def one_step_each_epoch(network, optimizer, input, target, orders, batch_size=100):
    """You take one step at the end of each epoch, with the gradients of the last batch alone. The
    step belongs into the inner loop, after each batch.
    """
    losses = []
    for order in orders:
        losses += _trained(
            network, optimizer, input, target, [order], batch_size, step=False
        ).tolist()
        optimizer.step(network.gradients())
    return np.array(losses)


def loss_after_the_step(network, optimizer, input, target, orders, batch_size=100):
    """You measure the loss of a batch after the step on it. Return the loss that led to the step:
    it comes from the same `forward` as the gradient.
    """
    losses = []
    for order in orders:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            network.backward(_gradient(network.forward(input[batch]), target[batch]))
            optimizer.step(network.gradients())
            losses.append(cross_entropy(network.forward(input[batch]), target[batch]))
    return np.array(losses)


def one_loss_each_epoch(network, optimizer, input, target, orders, batch_size=100):
    """You return one loss for each epoch. Return one for each batch, in the order of the steps."""
    epochs = [train(network, optimizer, input, target, [o], batch_size) for o in orders]
    return np.array([losses.mean() for losses in epochs])


def large_powers(network, optimizer, input, target, orders, batch_size=100):
    """Large logits make your powers overflow, and the loss is `nan`. Subtract the largest logit of
    each row before `np.exp`, and the shares stay the same.
    """

    def shares(logits):
        powers = np.exp(logits)
        return powers / powers.sum(axis=1, keepdims=True)

    def loss(logits, wanted):
        return -np.log(shares(logits)[np.arange(len(wanted)), wanted]).mean()

    def gradient(logits, wanted):
        return (shares(logits) - np.eye(logits.shape[1])[wanted]) / len(wanted)

    return _trained(network, optimizer, input, target, orders, batch_size, loss, gradient)


def logarithm_of_zero(network, optimizer, input, target, orders, batch_size=100):
    """You take the logarithm of a probability that has been rounded to 0. Write it out: the
    logarithm of the sum of `np.exp(logits)`, less the right logit, after subtracting the largest.
    """

    def loss(logits, wanted):
        return -np.log(softmax(logits)[np.arange(len(wanted)), wanted]).mean()

    return _trained(network, optimizer, input, target, orders, batch_size, loss)


def losses_in_a_list(network, optimizer, input, target, orders, batch_size=100):
    """The losses are right, but they stand in a list. Turn it into an array with
    `np.array(losses)`.
    """
    return train(network, optimizer, input, target, orders, batch_size).tolist()


WRONG = (
    labels_not_shuffled,
    orders_ignored,
    first_order_every_time,
    one_epoch_only,
    first_batch_every_time,
    last_batch_dropped,
    gradient_not_averaged,
    last_batch_divided_by_full_size,
    loss_not_averaged,
    uphill,
    right_class_forgotten,
    never_a_step,
    one_step_each_epoch,
    loss_after_the_step,
    one_loss_each_epoch,
    large_powers,
    logarithm_of_zero,
    losses_in_a_list,
)
