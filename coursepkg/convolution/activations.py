r"""Activation functions: each bends every element by itself.

Their derivatives are written in terms of the *output*, which all three allow: a layer needs to
remember nothing else.
"""

from __future__ import annotations

import numpy as np

from coursepkg.convolution.arguments import Array, check_floats, check_shape

__all__ = ["relu", "relu_backward", "sigmoid", "sigmoid_backward", "tanh", "tanh_backward"]


def relu(input: Array) -> Array:
    r"""Return `input` where it is positive and 0 elsewhere: :math:`\max(x, 0)`.

    Parameters
    ----------
    input : float32 or float64 array of any shape

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        If `input` is no array of these dtypes.

    References
    ----------
    Nair & Hinton, *Rectified linear units improve restricted Boltzmann machines* (2010).

    Examples
    --------
    >>> relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    check_floats("input", input)
    return np.asarray(np.maximum(input, 0))


def relu_backward(grad: Array, output: Array) -> Array:
    r"""Let the gradient pass where the output is positive, and nowhere else.

    At 0, where ReLU has a corner, the derivative is taken to be 0, as PyTorch does.

    Parameters
    ----------
    grad, output : arrays of one shape and dtype
        Gradient of the loss with respect to the output, and the output of `relu`.

    Returns
    -------
    array of the same shape and dtype
        Gradient of the loss with respect to the input.

    Raises
    ------
    ValueError
        If `grad` does not have the shape and dtype of `output`.

    Examples
    --------
    >>> relu_backward(np.array([5.0, 6.0, 7.0]), output=np.array([0.0, 0.0, 3.0]))
    array([0., 0., 7.])
    """
    _check(grad, output)
    return np.where(output > 0, grad, 0)


def sigmoid(input: Array) -> Array:
    r"""Squeeze every number into (0, 1): :math:`\sigma(x) = 1 / (1 + e^{-x})`.

    Only :math:`e^{-|x|}`, which is at most 1, is computed. So nothing overflows, however large
    `input` is, and :math:`\sigma(x)` of a very negative number keeps its digits. Rounding turns
    results close to 1 into 1, beyond about 17 in float32 and 37 in float64.

    Parameters
    ----------
    input : float32 or float64 array of any shape

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        If `input` is no array of these dtypes.

    Examples
    --------
    >>> sigmoid(np.array([-10000.0, 0.0, 10000.0]))
    array([0. , 0.5, 1. ])
    """
    check_floats("input", input)
    power = np.exp(-np.abs(input))
    return np.asarray(np.where(input >= 0, 1, power) / (1 + power))


def sigmoid_backward(grad: Array, output: Array) -> Array:
    r"""Multiply the gradient by the slope of the sigmoid, :math:`y (1 - y)`, at most 1/4.

    Parameters
    ----------
    grad, output : arrays of one shape and dtype
        Gradient of the loss with respect to the output, and the output of `sigmoid`.

    Returns
    -------
    array of the same shape and dtype
        Gradient of the loss with respect to the input.

    Raises
    ------
    ValueError
        If `grad` does not have the shape and dtype of `output`.

    Examples
    --------
    >>> sigmoid_backward(np.array([1.0, 1.0]), output=np.array([0.5, 1.0]))
    array([0.25, 0.  ])
    """
    _check(grad, output)
    grad_input: Array = grad * output * (1 - output)
    return np.asarray(grad_input)


def tanh(input: Array) -> Array:
    r"""Squeeze every number into (-1, 1): :math:`\tanh x = 2 \sigma(2x) - 1`.

    Parameters
    ----------
    input : float32 or float64 array of any shape

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ValueError
        If `input` is no array of these dtypes.

    Examples
    --------
    >>> tanh(np.array([-10000.0, 0.0, 10000.0]))
    array([-1.,  0.,  1.])
    """
    check_floats("input", input)
    return np.asarray(np.tanh(input))


def tanh_backward(grad: Array, output: Array) -> Array:
    r"""Multiply the gradient by the slope of tanh, :math:`1 - y^2`, at most 1.

    Parameters
    ----------
    grad, output : arrays of one shape and dtype
        Gradient of the loss with respect to the output, and the output of `tanh`.

    Returns
    -------
    array of the same shape and dtype
        Gradient of the loss with respect to the input.

    Raises
    ------
    ValueError
        If `grad` does not have the shape and dtype of `output`.

    Examples
    --------
    >>> tanh_backward(np.array([2.0, 2.0]), output=np.array([0.0, 0.5]))
    array([2. , 1.5])
    """
    _check(grad, output)
    grad_input: Array = grad * (1 - output**2)
    return np.asarray(grad_input)


def _check(grad: Array, output: Array) -> None:
    check_floats("output", output)
    remedy = "pass the gradient with respect to this output"
    check_shape("grad", grad, output.shape, output.dtype, remedy)
