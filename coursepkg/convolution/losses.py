r"""Softmax and cross-entropy, computed so that no logit is too large.

Subtracting the same number from all logits leaves the softmax as it is. With the largest one
subtracted, every power lies in (0, 1].
"""

from __future__ import annotations

import numpy as np

from coursepkg.convolution.arguments import Array, check_floats, check_shape

__all__ = [
    "cross_entropy",
    "cross_entropy_backward",
    "log_softmax",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
]


def softmax(input: Array, dim: int = 1) -> Array:
    r"""Turn logits into probabilities: :math:`p_i = e^{z_i} / \sum_j e^{z_j}`.

    Parameters
    ----------
    input : float32 or float64 array
        Finite logits, such as (N, K): N images, K classes.
    dim : int
        The axis of the classes, along which the result sums to 1.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        If `input` is no array of these dtypes, or has no such axis, or nothing along it.

    Examples
    --------
    >>> softmax(np.array([[0.0, np.log(3.0)], [10000.0, -10000.0]]))
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    powers = np.exp(_shifted(input, dim))
    output: Array = powers / powers.sum(dim, keepdims=True)
    return output


def softmax_backward(grad: Array, output: Array, dim: int = 1) -> Array:
    r"""Send a gradient back through `softmax`.

    .. math:: \frac{\partial \ell}{\partial z_i} = p_i \Bigl(g_i - \sum_j g_j p_j\Bigr)

    Parameters
    ----------
    grad, output : arrays of one shape and dtype
        Gradient g of the loss with respect to the output, and the output p of `softmax`.
    dim : int
        As in `softmax`.

    Returns
    -------
    array of the same shape and dtype
        Gradient of the loss with respect to the logits z.

    Raises
    ------
    ValueError
        If `grad` does not have the shape and dtype of `output`, or there is no such axis.

    Examples
    --------
    >>> softmax_backward(np.array([[1.0, 0.0]]), output=np.array([[0.25, 0.75]]))
    array([[ 0.1875, -0.1875]])
    """
    _check_logits("output", output, dim)
    remedy = "pass the gradient with respect to this output"
    check_shape("grad", grad, output.shape, output.dtype, remedy)
    grad_input: Array = output * (grad - np.sum(grad * output, dim, keepdims=True))
    return grad_input


def log_softmax(input: Array, dim: int = 1) -> Array:
    r"""Return the logarithm of `softmax`: :math:`z_i - \log \sum_j e^{z_j}`.

    Finite even where the softmax itself is rounded to 0.

    Parameters
    ----------
    input, dim
        As in `softmax`.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        As `softmax`.

    Examples
    --------
    >>> log_softmax(np.array([[10000.0, -10000.0]]))
    array([[     0., -20000.]])
    """
    shifted = _shifted(input, dim)
    output: Array = shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))
    return output


def cross_entropy(input: Array, target: Array) -> float:
    r"""Return how surprised the softmax is by the right answers, in the mean.

    .. math:: \ell = -\frac{1}{N} \sum_n \log p_{n, t_n}

    Parameters
    ----------
    input : (N, K) float32 or float64 array
        Logits: N images, K classes. No softmax before.
    target : (N,) int64 array
        The right class of each image, from 0 to K - 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, a class does not exist, or there is no image: PyTorch
        returns NaN for the mean of nothing.

    Examples
    --------
    >>> cross_entropy(np.array([[5.0, 5.0], [-10000.0, 10000.0]]), np.array([0, 1])) * 2
    0.6931471805599453
    """
    _check_target(input, target)
    if len(input) == 0:
        raise ValueError(f"input has shape {input.shape}; a mean needs at least one image")
    return float(-log_softmax(input)[np.arange(len(input)), target].mean())


def cross_entropy_backward(input: Array, target: Array) -> Array:
    r"""Return the gradient of `cross_entropy`: probabilities, less 1 at the right class, over N.

    .. math:: \frac{\partial \ell}{\partial z_{n,i}} = \frac{p_{n,i} - [i = t_n]}{N}

    Parameters
    ----------
    input, target
        As in `cross_entropy`; here N may be 0.

    Returns
    -------
    (N, K) array in the dtype of `input`

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a class does not exist.

    Examples
    --------
    >>> cross_entropy_backward(np.array([[0.0, np.log(3.0)]]), np.array([0]))
    array([[-0.75,  0.75]])
    """
    _check_target(input, target)
    grad = softmax(input)  # (N, K)
    grad[np.arange(len(input)), target] -= 1
    return np.divide(grad, len(input))


def softmax_cross_entropy(input: Array, target: Array) -> tuple[float, Array]:
    r"""Return the loss and its gradient, which a step of training needs together.

    Parameters
    ----------
    input : (N, K) float32 or float64 array
        Logits: N images, K classes.
    target : (N,) int64 array
        The right class of each image, from 0 to K - 1.

    Returns
    -------
    loss : float
        The mean over the images of minus the logarithm of the right class's probability.
    grad : (N, K) array in the dtype of `input`
        Its gradient with respect to the logits.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, a class does not exist, or there is no image.

    Examples
    --------
    >>> loss, grad = softmax_cross_entropy(np.array([[0.0, np.log(3.0)]]), np.array([0]))
    >>> round(loss, 4), grad
    (1.3863, array([[-0.75,  0.75]]))
    """
    return cross_entropy(input, target), cross_entropy_backward(input, target)


def _shifted(input: Array, dim: int) -> Array:
    _check_logits("input", input, dim)
    shifted: Array = input - input.max(dim, keepdims=True)
    return shifted


def _check_logits(name: str, array: Array, dim: int) -> None:
    check_floats(name, array)
    if not -array.ndim <= dim < array.ndim:
        raise ValueError(f"dim={dim} is none of {name}, which has shape {array.shape}; name one")
    if array.shape[dim] == 0:
        raise ValueError(f"{name} has shape {array.shape}; dim={dim} needs at least one class")


def _check_target(input: Array, target: Array) -> None:
    check_floats("input", input)
    if input.ndim != 2:
        raise ValueError(f"input has shape {input.shape}; pass logits with the axes (N, K)")
    remedy = "pass the number of the right class for each row of input"
    check_shape("target", target, input.shape[:1], np.dtype(np.int64), remedy)
    classes = input.shape[1]
    wrong = target[(target < 0) | (target >= classes)]
    if wrong.size:
        raise ValueError(f"target={wrong[0]} is no class of {classes}; use 0 to {classes - 1}")
