r"""Batch norm, backward

Batch norm takes each channel apart, subtracts the mean $\mu$ of its $m$ values, divides by their
spread and multiplies by a learned weight $w$:

$$
y = w \, \hat x + b, \quad \hat x = \frac{x - \mu}{s} .
$$

The spread is $s = \sqrt{v + \varepsilon}$, and the variance $v$ is the sum of the squares
$(x - \mu)^2$, divided by $m$. Write `batch_norm_backward`. `grad` is the gradient $g$ of the loss
with respect to $y$, an array like `input`. The result is a tuple of three: the gradients with
respect to the input, the weight and the bias.

Begin with `training=True` and an input of the shape $(N, C)$, where the $m = N$ values of a
channel are a column. The running statistics are not needed there.

1. The bias is added to every value of its channel, so its gradient is the sum of $g$.
2. The weight multiplies $\hat x$. Its gradient is a sum as well.
3. The input acts in three ways: directly, through $\mu$ and through $v$. Altogether

$$
\begin{aligned}
\frac{\partial \ell}{\partial x} = \frac{w}{s} \Bigl( & g - \frac1m \sum g \\
& - \frac{\hat x}m \sum g \hat x \Bigr) .
\end{aligned}
$$

Each of the three gives points by itself. Then come `places`, inputs of the shape $(N, C, H, W)$,
where a channel has $m = N H W$ values; `inference`, where `training` is false, $\mu$ and $v$ are
the running statistics, and the input no longer moves them; and float32.

`weight`, `running_mean` and `running_var` have the shape $(C)$; the cases always give all of them.
They are left as they are, and so is `grad`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.normalization import batch_norm_backward
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"grad_input": 3, "grad_weight": 1, "grad_bias": 1}
points |= {"places": 2, "inference": 1, "float32": 1}
environment = "numpy"
seconds = 2.0
reference = batch_norm_backward


def driver(Answer, grad, input, running_mean, running_var, weight, training, eps):
    results = Answer(grad, input, running_mean, running_var, weight, training, eps)
    grad_input, grad_weight, grad_bias = results
    yield "grad_input", grad_input
    yield "grad_weight", grad_weight
    yield "grad_bias", grad_bias


def oracle(
    grad: NDArray[Any],
    input: NDArray[Any],
    running_mean: NDArray[Any],
    running_var: NDArray[Any],
    weight: NDArray[Any],
    training: bool,
    eps: float,
) -> dict[str, Any]:
    r"""Differentiate the forward pass number by number, by a step into the complex plane.

    Where f is a formula without corners, the imaginary part of f(x + ih) is h times its
    derivative, and no difference is taken that could lose digits.
    """

    def loss(x: Any, w: Any, b: Any) -> Any:
        x = np.moveaxis(x, 1, -1)  # (N, ..., C)
        over = tuple(range(x.ndim - 1))
        mean = x.mean(over) if training else running_mean.astype(float)
        var = np.mean((x - mean) ** 2, over) if training else running_var.astype(float)
        y = w * (x - mean) / np.sqrt(var + eps) + b
        return np.sum(np.moveaxis(grad.astype(float), 1, -1) * y)

    given = [input, weight, np.zeros_like(weight)]
    results = []
    for k, array in enumerate(given):
        slopes = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            moved = [a.astype(complex) for a in given]
            moved[k][index] += 1e-30j
            slopes[index] = loss(*moved).imag / 1e-30
        results.append(slopes.astype(input.dtype))
    return dict(zip(("grad_input", "grad_weight", "grad_bias"), results, strict=True))


def _column(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)[:, None]


FOUR = {
    "grad": _column(1, 2, 3, 6),
    "input": _column(3, 3, 7, 7),
    "running_mean": np.array([4.0]),
    "running_var": np.array([16.0]),
    "weight": np.array([2.0]),
    "training": True,
    "eps": 0.0,
}
FOUR_RESULTS = {
    "grad_input": _column(-0.5, 0.5, -1.5, 1.5),
    "grad_weight": np.array([6.0]),
    "grad_bias": np.array([12.0]),
}
#: A variance of 0, so that nothing but eps = 4 keeps the root away from 0.
FLAT = FOUR | {"input": _column(5, 5, 5, 5), "eps": 4.0}
FLAT_RESULTS = {
    "grad_input": _column(-2, -1, 0, 3),
    "grad_weight": np.array([0.0]),
    "grad_bias": np.array([12.0]),
}
SQUARE = {"grad": FOUR["grad"].reshape(1, 1, 2, 2), "input": FOUR["input"].reshape(1, 1, 2, 2)}

PUBLIC = (
    Case("", FOUR, FOUR_RESULTS),
    Case("", FLAT, FLAT_RESULTS),
    Case(
        "places",
        FOUR | SQUARE,
        FOUR_RESULTS | {"grad_input": FOUR_RESULTS["grad_input"].reshape(1, 1, 2, 2)},
    ),
    Case(
        "inference",
        FOUR | {"training": False},
        {
            "grad_input": _column(0.5, 1, 1.5, 3),
            "grad_weight": np.array([6.0]),
            "grad_bias": np.array([12.0]),
        },
    ),
    Case(
        "float32",
        {
            name: v.astype(np.float32) if isinstance(v, np.ndarray) else v
            for name, v in FOUR.items()
        },
        {name: v.astype(np.float32) for name, v in FOUR_RESULTS.items()},
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield a few channels of different spread, with an eps that can be seen."""
    shapes = {"": (5, 3), "places": (2, 3, 2, 3), "inference": (4, 3), "float32": (5, 2)}
    for group, shape in shapes.items():
        for _ in range(3):
            inputs = _inputs(rng, shape, "float32" if group == "float32" else "float64")
            inputs |= {"training": group != "inference", "eps": 0.25}
            yield Case(group, inputs, oracle(**inputs))


def _inputs(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    c = shape[1]
    arrays = {
        "grad": rng.standard_normal(shape) + 1,
        "input": rng.uniform(1, 3) * rng.standard_normal(shape) + rng.uniform(1, 3),
        "running_mean": rng.standard_normal(c),
        "running_var": rng.uniform(0.5, 2, c),
        "weight": rng.uniform(1.5, 3, c),
    }
    return {name: a.astype(dtype) for name, a in arrays.items()}


def _parts(grad, input, mean, var, training, eps, ddof=0, axes=None):
    """Return g, x-hat, the root, the axes of a channel, and m."""
    axes = (0, *range(2, input.ndim)) if axes is None else axes
    if training:
        mean, var = input.mean(axes, keepdims=True), input.var(axes, keepdims=True, ddof=ddof)
    else:
        mean, var = (_spread(v, input) for v in (mean, var))
    root = np.sqrt(var + eps)
    with np.errstate(all="ignore"):
        normalised = (input - mean) / root
    return normalised, root, axes, grad.size // grad.shape[1]


def _spread(values, input):
    return values.reshape(-1, *(1,) * (input.ndim - 2))


def mean_and_variance_as_constants(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """You divide by the spread and stop there. While training, moving one value also moves the mean
    and the variance, and with them all values of the channel: two more terms.
    """
    x, root, axes, _ = _parts(grad, input, mean, var, training, eps)
    return _spread(weight, input) / root * grad, (grad * x).sum(axes), grad.sum(axes)


def share_of_the_variance_forgotten(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your gradient of the input lacks the term with x-hat. A value moves the variance too, and so
    stretches its whole channel.
    """
    x, root, axes, m = _parts(grad, input, mean, var, training, eps)
    share = grad.sum(axes, keepdims=True) / m if training else 0
    return _spread(weight, input) / root * (grad - share), (grad * x).sum(axes), grad.sum(axes)


def share_of_the_mean_forgotten(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your gradient of the input lacks the mean of `grad`. A value moves the mean of its channel,
    and so shifts all the others.
    """
    x, root, axes, m = _parts(grad, input, mean, var, training, eps)
    share = x * (grad * x).sum(axes, keepdims=True) / m if training else 0
    return _spread(weight, input) / root * (grad - share), (grad * x).sum(axes), grad.sum(axes)


def weight_forgotten(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your gradient of the input lacks the weight. It multiplies x-hat on the way forward, so it
    multiplies the gradient on the way back.
    """
    return batch_norm_backward(grad, input, mean, var, None, training, eps)


def sums_instead_of_means(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Inside the brackets you subtract sums. The mean is a sum *divided by m*, and so is the
    variance: divide both terms by m.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    if not training:
        return right
    x, root, axes, _ = _parts(grad, input, mean, var, training, eps)
    shares = grad.sum(axes, keepdims=True) + x * (grad * x).sum(axes, keepdims=True)
    return _spread(weight, input) / root * (grad - shares), *right[1:]


def weight_gradient_from_the_input(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """For the gradient of the weight you multiply `grad` by the input. The weight never meets the
    input itself: multiply by x-hat.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    axes = (0, *range(2, input.ndim))
    return right[0], (grad * input).sum(axes), right[2]


def weight_gradient_not_scaled(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """For the gradient of the weight you multiply `grad` by x minus its mean. Divide by the root as
    well: the weight multiplies x-hat.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    x, root, axes, _ = _parts(grad, input, mean, var, training, eps)
    return right[0], (grad * x * root).sum(axes), right[2]


def unbiased_variance(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """You divide the variance by m - 1. The batch is normalised with the one divided by m, which is
    what `np.var` gives by itself.
    """
    x, root, axes, m = _parts(grad, input, mean, var, training, eps, ddof=1)
    grad_weight, grad_bias = (grad * x).sum(axes), grad.sum(axes)
    inner = grad
    if training:
        inner = grad - _spread(grad_bias, input) / m - x * _spread(grad_weight, input) / m
    return _spread(weight, input) / root * inner, grad_weight, grad_bias


def eps_forgotten(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """You leave `eps` out. It stands under the root, and where all values of a channel are equal it
    is all that stands there.
    """
    with np.errstate(all="ignore"):
        return batch_norm_backward(grad, input, mean, var, weight, training, 0.0)


def eps_outside_the_root(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """You add `eps` to the root. It belongs under it: the root of the variance plus eps."""
    flat, m = (0, *range(2, input.ndim)), grad.size // grad.shape[1]
    mean, var = (input.mean(flat), input.var(flat)) if training else (mean, var)
    root = _spread(np.sqrt(var) + eps, input)
    x = (input - _spread(mean, input)) / root
    grad_weight, grad_bias = (grad * x).sum(flat), grad.sum(flat)
    inner = grad
    if training:
        inner = grad - _spread(grad_bias, input) / m - x * _spread(grad_weight, input) / m
    return _spread(weight, input) / root * inner, grad_weight, grad_bias


def batch_alone_counted(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """With four axes you divide by the number of images. A channel has a value at every place of
    every image: m = N * H * W.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    if not training:
        return right
    x, root, axes, _ = _parts(grad, input, mean, var, training, eps)
    shares = grad.sum(axes, keepdims=True) + x * (grad * x).sum(axes, keepdims=True)
    return _spread(weight, input) / root * (grad - shares / len(grad)), *right[1:]


def each_place_by_itself(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """With four axes you normalise every place for itself. A channel is one: take means and sums
    over the images, the rows and the columns, axes 0, 2 and 3.
    """
    if not training:
        return batch_norm_backward(grad, input, mean, var, weight, training, eps)
    x, root, _, m = _parts(grad, input, mean, var, training, eps, axes=(0,))
    m = len(grad)
    grad_weight, grad_bias = (grad * x).sum(0), grad.sum(0)
    inner = grad - grad_bias / m - x * grad_weight / m
    return _spread(weight, input) / root * inner, grad_weight, grad_bias


def weight_gradient_averaged(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your gradient of the weight is a mean. The weight acts on all m values, and their shares are
    added up.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    return right[0], right[1] / (grad.size // grad.shape[1]), right[2]


def bias_gradient_averaged(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your gradient of the bias is a mean. The bias is added to all m values, and their gradients
    are added up.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    return right[0], right[1], right[2] / (grad.size // grad.shape[1])


def training_ignored(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """You use the statistics of the batch even when `training` is false. Take `running_mean` and
    `running_var` then.
    """
    return batch_norm_backward(grad, input, mean, var, weight, True, eps)


def running_statistics_moved(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """When `training` is false you still subtract the shares of mean and variance. The running
    statistics do not depend on this input: what remains is grad times weight over root.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    if training:
        return right
    x, root, axes, m = _parts(grad, input, mean, var, training, eps)
    shares = grad.sum(axes, keepdims=True) + x * (grad * x).sum(axes, keepdims=True)
    return _spread(weight, input) / root * (grad - shares / m), *right[1:]


def weight_and_bias_swapped(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """You return the gradient of the bias before that of the weight. The order is input, weight,
    bias.
    """
    grad_input, grad_weight, grad_bias = batch_norm_backward(
        grad, input, mean, var, weight, training, eps
    )
    return grad_input, grad_bias, grad_weight


def grad_changed_in_place(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your values are right, but you write into `grad`, which the caller may still need: `*=` and
    `-=` do that. Make a new array.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    grad *= _spread(weight, input)
    return right


def float64_gradients(grad, input, mean, var, weight=None, training=False, eps=1e-5):
    """Your gradients are float64 where the input is float32. `np.zeros` makes float64 unless told
    otherwise, and float64 spreads: `np.zeros_like` keeps the dtype.
    """
    right = batch_norm_backward(grad, input, mean, var, weight, training, eps)
    return tuple(g.astype(np.float64) for g in right)


WRONG = (
    mean_and_variance_as_constants,
    share_of_the_variance_forgotten,
    share_of_the_mean_forgotten,
    weight_forgotten,
    sums_instead_of_means,
    weight_gradient_from_the_input,
    weight_gradient_not_scaled,
    unbiased_variance,
    eps_forgotten,
    eps_outside_the_root,
    batch_alone_counted,
    each_place_by_itself,
    weight_gradient_averaged,
    bias_gradient_averaged,
    training_ignored,
    running_statistics_moved,
    weight_and_bias_swapped,
    grad_changed_in_place,
    float64_gradients,
)
