r"""The affine layer: every output is a weighted sum of all inputs, plus a bias."""

from __future__ import annotations

from coursepkg.convolution.arguments import Array, check_array, check_shape

__all__ = ["linear", "linear_backward"]


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""Return :math:`y = x W^\top + b`.

    Parameters
    ----------
    input : (N, in_features) array
        float32, float64 or int64; N may be 0.
    weight : (out_features, in_features) array
        One row for each output; the dtype of `input`.
    bias : (out_features,) array, optional

    Returns
    -------
    (N, out_features) array
        In the dtype of `input`.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit together.

    Notes
    -----
    `torch.nn.functional.linear` also takes inputs with more axes; flatten them first.

    Examples
    --------
    >>> import numpy as np
    >>> linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [0.0, 1.0]]), np.array([0.5, 0.0]))
    array([[11.5,  2. ]])
    """
    _check(input, weight)
    product = input @ weight.T  # (N, in)(in, out)
    if bias is None:
        return product
    check_shape("bias", bias, weight.shape[:1], input.dtype, "pass one number per row of weight")
    return product + bias


def linear_backward(grad: Array, input: Array, weight: Array) -> tuple[Array, Array, Array]:
    r"""Return the gradients with respect to the input, the weight and the bias of `linear`.

    .. math::
        \frac{\partial \ell}{\partial x} = G W, \qquad
        \frac{\partial \ell}{\partial W} = G^\top x, \qquad
        \frac{\partial \ell}{\partial b} = G^\top \mathbf{1}

    Parameters
    ----------
    grad : (N, out_features) array
        The gradient G of the loss with respect to the output.
    input, weight
        As in `linear`.

    Returns
    -------
    grad_input : (N, in_features) array
    grad_weight : (out_features, in_features) array
    grad_bias : (out_features,) array

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    >>> linear_backward(np.array([[10.0]]), x, w)
    (array([[30., 40.]]), array([[10., 20.]]), array([10.]))
    """
    _check(input, weight)
    remedy = "pass the gradient with respect to the output"
    check_shape("grad", grad, (len(input), len(weight)), input.dtype, remedy)
    return grad @ weight, grad.T @ input, grad.sum(axis=0)


def _check(input: Array, weight: Array) -> None:
    check_array("input", input, "(N, in_features)")
    check_array("weight", weight, "(out_features, in_features)")
    remedy = "pass a row of in_features numbers, in the dtype of input, for each output"
    check_shape("weight", weight, (len(weight), input.shape[1]), input.dtype, remedy)
