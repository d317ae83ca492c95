r"""Mend the batch norm

Somebody wrote this batch norm for a residual network:

```python
def batch_norm(input, running_mean, running_var, weight, bias,
               training=False, momentum=0.1, eps=1e-5):
    channels, places = input.shape[1], input.ndim - 2
    mean = input.mean(axis=0).reshape(channels, -1).mean(axis=1)
    var = input.var(axis=0).reshape(channels, -1).mean(axis=1)
    running_mean = momentum * running_mean + (1 - momentum) * mean
    running_var = momentum * running_var + (1 - momentum) * var
    mean, var, weight, bias = (
        v.reshape(-1, *[1] * places) for v in (mean, var, weight, bias)
    )
    normalised = (input - mean) / (np.sqrt(var) + eps)
    return weight * normalised + bias, running_mean, running_var
```

It runs, and the network even learns. But:

- When the network is used, its answer to a picture depends on the other pictures of the batch, and
  the running statistics go on changing.
- The running statistics jump about. After each batch they are nearly those of this batch alone.
- A channel that is bright on the left and dark on the right of every picture comes out with a
  spread far above 1.
- With batches of four numbers in a channel, the running variance settles a quarter below that of
  the data.
- A channel that is constant but for rounding errors turns into loud noise.

Mend it. `input` is of the shape $(N, C)$ or $(N, C, H, W)$, and the other arrays are of the shape
$(C)$. While training, a channel is normalised with the mean and the variance of its $m$ values,
over images and places; that variance is the sum of squares divided by $m$. The running variance,
however, learns from the one divided by $m - 1$. `momentum` is the share of the new batch, and
`eps` stands under the root. When `training` is false, the running statistics are used and
returned as they are.

The groups are `output`, `running_mean` and `running_var` while training on $(N, C)$; `places`,
inputs of four axes; `evaluation`; `eps`, channels that hardly vary; and `float32`, whose results
are float32. The cases always give all arrays, and all of them are left as they are. You need not
check the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.normalization import batch_norm
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"output": 2, "running_mean": 1, "running_var": 2}
points |= {"places": 2, "evaluation": 2, "eps": 1, "float32": 1}
environment = "numpy"
seconds = 2.0
reference = batch_norm


def driver(Answer, input, running_mean, running_var, weight, bias, training, momentum, eps):
    results = Answer(input, running_mean, running_var, weight, bias, training, momentum, eps)
    output, new_mean, new_var = results
    yield "output", output
    yield "running_mean", new_mean
    yield "running_var", new_var


def oracle(
    input: NDArray[Any],
    running_mean: NDArray[Any],
    running_var: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any],
    training: bool,
    momentum: float,
    eps: float,
) -> dict[str, Any]:
    r"""Go through the channels one by one, with the sums of Python."""
    output = np.empty(input.shape)
    new_mean, new_var = running_mean.astype(float), running_var.astype(float)
    share = Fraction(momentum)
    for c in range(input.shape[1]):
        values = [Fraction(float(v)) for v in input[:, c].ravel()]
        mean, var = Fraction(float(running_mean[c])), Fraction(float(running_var[c]))
        if training:
            m = len(values)
            old_mean, old_var = mean, var
            mean = sum(values, Fraction()) / m
            squares = sum(((v - mean) ** 2 for v in values), Fraction())
            var = squares / m
            new_mean[c] = float((1 - share) * old_mean + share * mean)
            new_var[c] = float((1 - share) * old_var + share * squares / (m - 1))
        root = float(var + Fraction(eps)) ** 0.5
        for index in np.ndindex(input[:, c].shape):
            place = (index[0], c, *index[1:])
            centred = float(Fraction(float(input[place])) - mean)
            output[place] = float(weight[c]) * centred / root + float(bias[c])
    found = {"output": output, "running_mean": new_mean, "running_var": new_var}
    return {name: array.astype(input.dtype) for name, array in found.items()}


def _column(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)[:, None]


FOUR = {
    "input": _column(1, 3, 5, 7),
    "running_mean": np.array([2.0]),
    "running_var": np.array([4.0]),
    "weight": np.array([3.0]),
    "bias": np.array([1.0]),
    "training": True,
    "momentum": 0.25,
    "eps": 4.0,
}
FOUR_RESULTS = {
    "output": _column(-2, 0, 2, 4),  # mean 4, variance 5, root 3
    "running_mean": np.array([2.5]),
    "running_var": np.array([14 / 3]),  # 3/4 of 4 and a quarter of 20/3
}
SQUARE = {"input": FOUR["input"].reshape(1, 1, 2, 2)}
FLAT = {"input": _column(5, 5, 5, 5), "eps": 0.25}

PUBLIC = (
    Case("", FOUR, FOUR_RESULTS),
    Case(
        "places",
        FOUR | SQUARE,
        FOUR_RESULTS | {"output": FOUR_RESULTS["output"].reshape(1, 1, 2, 2)},
    ),
    Case(
        "evaluation",
        FOUR | {"training": False, "running_var": np.array([5.0])},
        {
            "output": _column(0, 2, 4, 6),
            "running_mean": np.array([2.0]),
            "running_var": np.array([5.0]),
        },
    ),
    Case(
        "eps",
        FOUR | FLAT,
        {
            "output": _column(1, 1, 1, 1),
            "running_mean": np.array([2.75]),
            "running_var": np.array([3.0]),
        },
    ),
    Case(
        "float32",
        {n: v.astype(np.float32) if isinstance(v, np.ndarray) else v for n, v in FOUR.items()},
        {name: v.astype(np.float32) for name, v in FOUR_RESULTS.items()},
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield a few channels of different spread, brighter at some places than at others."""
    shapes = {"": (5, 3), "places": (2, 3, 2, 3), "evaluation": (4, 3), "eps": (4, 2)}
    for group, shape in (shapes | {"float32": (3, 2, 2, 2)}).items():
        for _ in range(3):
            inputs = _inputs(rng, shape, "float32" if group == "float32" else "float64")
            inputs["training"] = group != "evaluation"
            if group == "eps":
                inputs["input"] *= 1e-3
            yield Case(group, inputs, oracle(**inputs))


def _inputs(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    c = shape[1]
    input = rng.uniform(1, 3) * rng.standard_normal(shape) + 2 * rng.standard_normal(shape[1:])
    arrays = {
        "input": input,
        "running_mean": rng.standard_normal(c),
        "running_var": rng.uniform(0.5, 2, c),
        "weight": rng.uniform(1.5, 3, c),
        "bias": rng.standard_normal(c),
    }
    numbers = {"momentum": float(rng.choice([0.125, 0.25, 0.375])), "eps": 0.0625}
    return {name: a.astype(dtype) for name, a in arrays.items()} | numbers


def _spread(values, input):
    return values.reshape(-1, *[1] * (input.ndim - 2))


def _axes(input):
    return (0, *range(2, input.ndim))


def as_it_was(input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """In at least one group your code still does what the broken one does. Take the complaints one
    at a time: each of them has one line, or one missing `if training`, to blame.
    """
    channels = input.shape[1]
    new_mean = input.mean(0).reshape(channels, -1).mean(1)
    new_var = input.var(0).reshape(channels, -1).mean(1)
    root = np.sqrt(new_var) + eps
    with np.errstate(all="ignore"):
        output = _spread(weight / root, input) * (input - _spread(new_mean, input))
    mean = momentum * mean + (1 - momentum) * new_mean
    var = momentum * var + (1 - momentum) * new_var
    return output + _spread(bias, input), mean, var


def _mended(
    input,
    mean,
    var,
    weight,
    bias,
    training,
    momentum,
    eps,
    *,
    used=lambda x: x.var(_axes(x)),
    kept=lambda x: x.var(_axes(x)),
    m=lambda x: x.size // x.shape[1],
    root=lambda var, eps: np.sqrt(var + eps),
):
    """All is right but what the caller changes: the variance used and kept, m, the root."""
    if not training:
        scale = weight / root(var, eps)
        return (
            _spread(scale, input) * (input - _spread(mean, input)) + _spread(bias, input),
            mean,
            var,
        )
    new_mean = input.mean(_axes(input))
    scale = weight / root(used(input), eps)
    output = _spread(scale, input) * (input - _spread(new_mean, input)) + _spread(bias, input)
    learned = kept(input) * (m(input) / (m(input) - 1))
    new_mean = (1 - momentum) * mean + momentum * new_mean
    return output, new_mean, (1 - momentum) * var + momentum * learned


def each_place_by_itself(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """With four axes you take the variance of each place over the images, and then the mean of
    those. What a place differs from another is lost: take one variance over axes 0, 2 and 3.
    """

    def inside(x):
        return x.var(0).reshape(x.shape[1], -1).mean(1)

    return _mended(
        input, mean, var, weight, bias, training, momentum, eps, used=inside, kept=inside
    )


def each_image_by_itself(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """With four axes you take the variance inside each image. The images of a batch share one
    variance in each channel: take it over axes 0, 2 and 3.
    """
    if input.ndim == 2:
        return batch_norm(input, mean, var, weight, bias, training, momentum, eps)

    def inside(x):
        return x.var((2, 3)).mean(0)

    return _mended(
        input, mean, var, weight, bias, training, momentum, eps, used=inside, kept=inside
    )


def momentum_swapped(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Your running statistics keep the share `momentum` of the old ones. Here `momentum` is the
    share of the new batch, and 1 - momentum is kept.
    """
    return _mended(input, mean, var, weight, bias, training, 1 - momentum, eps)


def running_variance_divided_by_m(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Your running variance learns from the sum of squares divided by m. It stands for data that
    the batch is a sample of: divide by m - 1 there.
    """
    return _mended(
        input, mean, var, weight, bias, training, momentum, eps, m=lambda x: float("1e300")
    )


def images_alone_counted(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """For the running variance you take m to be the number of images. With four axes a channel has
    m = N * H * W values.
    """
    return _mended(
        input, mean, var, weight, bias, training, momentum, eps, m=lambda x: max(len(x), 1.5)
    )


def batch_divided_by_m_minus_one(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """You normalise the batch with the sum of squares divided by m - 1. That one is for the running
    variance; the batch itself is divided by m, so that its spread becomes 1.
    """
    return _mended(
        input,
        mean,
        var,
        weight,
        bias,
        training,
        momentum,
        eps,
        used=lambda x: x.var(_axes(x), ddof=1),
    )


def spread_kept_instead_of_variance(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Your running variance learns from the standard deviation. Leave out the root there."""
    return _mended(
        input, mean, var, weight, bias, training, momentum, eps, kept=lambda x: x.std(_axes(x))
    )


def running_statistics_never_learn(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """You return the running statistics unchanged even while training. They have to move towards
    those of the batch, by the share `momentum`.
    """
    right = batch_norm(input, mean, var, weight, bias, training, momentum, eps)
    return right[0], mean, var


def running_statistics_used_in_training(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """While training you normalise with the running statistics. They are for later: a batch is
    normalised with its own mean and variance.
    """
    _, new_mean, new_var = batch_norm(input, mean, var, weight, bias, training, momentum, eps)
    output = batch_norm(input, mean, var, weight, bias, False, momentum, eps)[0]
    return output, new_mean, new_var


def batch_used_in_evaluation(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """When `training` is false you still normalise with the batch, so that the answer to a picture
    depends on the others. Use `running_mean` and `running_var` then.
    """
    right = batch_norm(input, mean, var, weight, bias, True, momentum, eps)
    return right if training else (right[0], mean, var)


def learning_in_evaluation(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """When `training` is false your running statistics go on changing. Return those that were
    given.
    """
    output = batch_norm(input, mean, var, weight, bias, training, momentum, eps)[0]
    return output, *batch_norm(input, mean, var, weight, bias, True, momentum, eps)[1:]


def eps_outside_the_root(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """You add `eps` to the root. There it hardly counts against noise: it belongs under the root,
    next to the variance.
    """
    return _mended(
        input,
        mean,
        var,
        weight,
        bias,
        training,
        momentum,
        eps,
        root=lambda var, eps: np.sqrt(var) + eps,
    )


def eps_forgotten(input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """You leave `eps` out. Where a channel does not vary at all you divide by 0."""
    with np.errstate(all="ignore"):
        return _mended(
            input,
            mean,
            var,
            weight,
            bias,
            training,
            momentum,
            eps,
            root=lambda var, eps: np.sqrt(var),
        )


def eps_in_the_running_variance(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Your running variance learns from the variance plus `eps`. It stands under the root only, and
    is added there again when the network is used.
    """
    output, new_mean, new_var = batch_norm(input, mean, var, weight, bias, training, momentum, eps)
    return output, new_mean, new_var + momentum * eps if training else new_var


def mean_and_variance_exchanged(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """You return the running variance before the running mean. The order is output, mean,
    variance.
    """
    right = batch_norm(input, mean, var, weight, bias, training, momentum, eps)
    return right[0], right[2], right[1]


def changed_in_place(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Your results are right, but you write into the arrays that you were given: `*=` and `+=` do
    that. Make new ones.
    """
    output, new_mean, new_var = batch_norm(input, mean, var, weight, bias, training, momentum, eps)
    mean[:] = new_mean
    var[:] = new_var
    return output, mean, var


def float64_results(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Your results are float64 where the input is float32. Turn them into `input.dtype` at the
    end.
    """
    wide = (a.astype(np.float64) for a in (input, mean, var, weight, bias))
    return batch_norm(*wide, training, momentum, eps)


def updated_statistics_used_in_training(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """While training you normalise with the running statistics that you have just updated. They are
    for later: a batch is normalised with its own mean and variance.
    """
    _, new_mean, new_var = batch_norm(input, mean, var, weight, bias, training, momentum, eps)
    output = batch_norm(input, new_mean, new_var, weight, bias, False, momentum, eps)[0]
    return output, new_mean, new_var


def four_axes_expected(
    input, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """You expect four axes, but an input of shape (N, C) has two. The channels are axis 1; take the
    mean over all the others, however many there are.
    """
    if training:
        input.mean((0, 2, 3))
    return batch_norm(input, mean, var, weight, bias, training, momentum, eps)


WRONG = (
    as_it_was,
    each_place_by_itself,
    each_image_by_itself,
    momentum_swapped,
    running_variance_divided_by_m,
    images_alone_counted,
    batch_divided_by_m_minus_one,
    spread_kept_instead_of_variance,
    running_statistics_never_learn,
    running_statistics_used_in_training,
    updated_statistics_used_in_training,
    batch_used_in_evaluation,
    learning_in_evaluation,
    eps_outside_the_root,
    eps_forgotten,
    eps_in_the_running_variance,
    mean_and_variance_exchanged,
    changed_in_place,
    float64_results,
    four_axes_expected,
)
