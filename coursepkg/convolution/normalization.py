r"""Normalisation: over the images of a batch, and over neighbouring channels."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from coursepkg.convolution.arguments import Array, check_floats, check_shape, number
from coursepkg.validation import integer

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
]


def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array | None, Array | None]:
    r"""Normalise each channel, then scale and shift it.

    .. math:: y = w \, \hat x + b, \qquad \hat x = \frac{x - \mu}{\sqrt{v + \varepsilon}}

    While training, mean and variance of a channel are those of the batch, over images and
    places; afterwards they are the running ones.

    Parameters
    ----------
    input : (N, C) or (N, C, H, W) array, float32 or float64
        More axes of places work as well.
    running_mean, running_var : (C,) array
        Statistics of the batches so far. While training both may be None: nothing is kept.
    weight, bias : (C,) array, optional
        1 and 0 if left out.
    training : bool
        Use the statistics of the batch, and learn from them.
    momentum : float
        From 0 to 1: share of this batch in the new running statistics. (Optimisers give the word
        the other meaning, the share of the old.)
    eps : float
        At least 0; keeps the root away from 0.

    Returns
    -------
    output : array of the shape and dtype of `input`
    running_mean, running_var : (C,) array or None
        The new ones while training, otherwise those given.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit; if `training` with fewer than two values per channel,
        whose variance says nothing; if not `training` without running statistics, or with one
        of them alone; if `momentum` or `eps` is no such number.

    Notes
    -----
    As `torch.nn.functional.batch_norm`, which however changes the running statistics in place
    and returns the output alone. As there, the batch is normalised with the variance over m
    values divided by m, and the running variance learns from the one divided by m - 1. Mean,
    variance and the difference from the mean are taken in float64, so that a float32 channel far
    from 0 keeps its digits.

    References
    ----------
    Ioffe & Szegedy, *Batch normalization* (2015), algorithms 1 and 2. They take the running
    statistics after training; the moving average is what libraries do.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> y, mean, var = batch_norm(x, np.zeros(1), np.ones(1), training=True, eps=0)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([0.2]), array([1.1]))
    """
    _check(input, running_mean, running_var, weight=weight, bias=bias)
    momentum = number("momentum", momentum, _is_share, "use a number from 0 to 1, such as 0.1")
    mean, var = _statistics(input, running_mean, running_var, training)
    output = _normalised(input, mean, var, _eps(eps))
    if weight is not None:
        output = output * _spread(weight, input)
    if bias is not None:
        output = output + _spread(bias, input)
    if training and running_mean is not None and running_var is not None:
        m = _count(input)
        running_mean = _mixed(running_mean, mean, momentum)
        running_var = _mixed(running_var, var * (m / (m - 1)), momentum)
    return output, running_mean, running_var


def batch_norm_backward(
    grad: Array,
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    training: bool = False,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    r"""Return the gradients with respect to the input, the weight and the bias of `batch_norm`.

    With the sums over the m values of a channel,

    .. math::
        \frac{\partial \ell}{\partial b} = \sum g, \qquad
        \frac{\partial \ell}{\partial w} = \sum g \hat x, \qquad
        \frac{\partial \ell}{\partial x} = \frac{w}{\sqrt{v + \varepsilon}} \Bigl(
            g - \frac1m \frac{\partial \ell}{\partial b}
            - \frac{\hat x}m \frac{\partial \ell}{\partial w} \Bigr) .

    The last two terms are the share of mean and variance, which the input moves while training.
    With running statistics they are absent.

    Parameters
    ----------
    grad : array of the shape and dtype of `input`
        The gradient g of the loss with respect to the output.
    input, running_mean, running_var, weight, training, eps
        As `batch_norm` was given them: the running statistics from before the call.

    Returns
    -------
    grad_input : array of the shape and dtype of `input`
    grad_weight, grad_bias : (C,) array

    Raises
    ------
    ValueError
        As `batch_norm`, or if `grad` does not fit.

    References
    ----------
    Ioffe & Szegedy (2015), section 3.

    Examples
    --------
    >>> x, g = np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])
    >>> batch_norm_backward(g, x, None, None, training=True, eps=0)
    (array([[0.],
           [0.]]), array([1.]), array([3.]))
    """
    _check(input, running_mean, running_var, weight=weight)
    eps = _eps(eps)
    mean, var = _statistics(input, running_mean, running_var, training)
    remedy = "pass the gradient with respect to the output"
    check_shape("grad", grad, input.shape, input.dtype, remedy)
    normalised = _normalised(input, mean, var, eps)
    grad_bias = grad.sum(_places(input))
    grad_weight = (grad * normalised).sum(_places(input))
    if training:
        m = _count(input)
        grad = grad - _spread(grad_bias / m, input) - normalised * _spread(grad_weight / m, input)
    scale = (1 if weight is None else weight) / np.sqrt(var + eps)
    return grad * _spread(scale.astype(input.dtype), input), grad_weight, grad_bias


def local_response_norm(
    input: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    r"""Divide each element by a power of the mean square of its neighbours in channel.

    .. math:: y_c = x_c \Bigl(k + \frac{\alpha}{n} \sum_{j} x_j^2 \Bigr)^{-\beta}

    at each place, with j from :math:`c - \lfloor n/2 \rfloor` over `size` = n channels; those
    that do not exist count as 0.

    Parameters
    ----------
    input : (N, C) or (N, C, H, W) array, float32 or float64
        More axes of places work as well.
    size : int
        How many neighbouring channels count, itself among them. Of an even number, one more
        lies before than after.
    alpha, beta, k : float
        As in the formula.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        If `input` is no array of these dtypes and axes, `size` is no positive integer, or
        a constant no finite number.

    Notes
    -----
    As `torch.nn.functional.local_response_norm`. The paper does not divide by n: its constants
    n = 5, alpha = 1e-4, beta = 0.75, k = 2 are ``size=5, alpha=5e-4, beta=0.75, k=2`` here.

    References
    ----------
    Krizhevsky, Sutskever & Hinton, *ImageNet classification with deep convolutional neural
    networks* (2012), section 3.3.

    Examples
    --------
    >>> x = np.array([[1.0, 1.0, 2.0]])
    >>> local_response_norm(x, size=3, alpha=3, beta=1, k=0)
    array([[0.5       , 0.16666667, 0.4       ]])
    """
    beta = _constant("beta", beta)
    return input * _denominator(input, size, alpha, k) ** -beta


def local_response_norm_backward(
    grad: Array,
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Array:
    r"""Send a gradient back through `local_response_norm`.

    An element acts through its own numerator and through the denominators :math:`d_c` of all
    the channels c whose windows it lies in:

    .. math::
        \frac{\partial \ell}{\partial x_j} = g_j \, d_j^{-\beta}
        - \frac{2 \alpha \beta}{n} \, x_j \sum_{c} g_c \, x_c \, d_c^{-\beta - 1}

    Parameters
    ----------
    grad : array of the shape and dtype of `input`
        The gradient g of the loss with respect to the output.
    input, size, alpha, beta, k
        As in `local_response_norm`.

    Returns
    -------
    array of the shape and dtype of `input`
        Gradient of the loss with respect to the input.

    Raises
    ------
    ValueError
        As `local_response_norm`, or if `grad` does not fit.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0]])
    >>> local_response_norm_backward(np.array([[1.0, 0.0]]), x, size=1, alpha=1, beta=1, k=0)
    array([[-1.,  0.]])
    """
    alpha, beta = _constant("alpha", alpha), _constant("beta", beta)
    denominator = _denominator(input, size, alpha, k)
    remedy = "pass the gradient with respect to the output"
    check_shape("grad", grad, input.shape, input.dtype, remedy)
    shares = grad * input * denominator ** (-beta - 1)
    through_others = _window_sum(shares, before=(size - 1) // 2, after=size // 2)
    return grad * denominator**-beta - 2 * alpha * beta / size * input * through_others


def _statistics(
    input: Array, running_mean: Array | None, running_var: Array | None, training: bool
) -> tuple[Array, Array]:
    r"""Return mean and variance of each channel, (C,): of the batch, in float64, or the running."""
    if training:
        if _count(input) < 2:
            raise ValueError(
                f"input has shape {input.shape}; to take a variance while training, "
                "give it at least two values per channel"
            )
        axes = _places(input)
        return input.mean(axes, dtype=np.float64), input.var(axes, dtype=np.float64)
    if running_mean is None or running_var is None:
        raise ValueError("running_mean and running_var are needed; pass them, or training=True")
    return running_mean, running_var


def _places(input: Array) -> tuple[int, ...]:
    r"""Return all axes but that of the channels."""
    return (0, *range(2, input.ndim))


def _spread(values: Array, input: Array) -> Array:
    r"""Give the (C,) values axes of length 1, so that they meet the channels of `input`."""
    return values.reshape(-1, *(1,) * (input.ndim - 2))


def _normalised(input: Array, mean: Array, var: Array, eps: float) -> Array:
    normalised: Array = (input - _spread(mean, input)) / _spread(np.sqrt(var + eps), input)
    return normalised.astype(input.dtype, copy=False)


def _mixed(old: Array, new: Array, share: float) -> Array:
    return ((1 - share) * old + share * new).astype(old.dtype)


def _count(input: Array) -> int:
    r"""Return how many values there are per channel."""
    return len(input) * math.prod(input.shape[2:])


def _eps(value: float) -> float:
    return number("eps", value, lambda v: v >= 0, "use a number of at least 0, such as 1e-5")


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


def _check(
    input: Array, running_mean: Array | None, running_var: Array | None, **weights: Array | None
) -> None:
    check_floats("input", input, axes=2)
    running = {"running_mean": running_mean, "running_var": running_var}
    for name, values in (running | weights).items():
        if values is not None:
            check_shape(name, values, input.shape[1:2], input.dtype, "pass one number per channel")
    if (running_mean is None) != (running_var is None):
        missing, given = sorted(running, key=lambda name: running[name] is not None)
        raise ValueError(f"{missing} is None but {given} is not; pass both or neither")


def _constant(name: str, value: float) -> float:
    return number(name, value, lambda v: True, "use a finite number")


def _denominator(input: Array, size: int, alpha: float, k: float) -> Array:
    check_floats("input", input, axes=2)
    size = integer("size", size, 1)
    alpha, k = _constant("alpha", alpha), _constant("k", k)
    squares = _window_sum(input**2, before=size // 2, after=(size - 1) // 2)
    denominator: Array = k + alpha / size * squares
    return denominator


def _window_sum(x: Array, before: int, after: int) -> Array:
    r"""Sum over the channels c - before ... c + after; beyond the first and last there is 0."""
    edges = [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2)
    windows = sliding_window_view(np.pad(x, edges), before + after + 1, axis=1)
    return np.asarray(windows.sum(-1))
