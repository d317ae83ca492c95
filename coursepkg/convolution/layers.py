r"""Layers: functions that remember, between forward and backward, what the gradients need.

A layer is anything with `forward(input)` and `backward(grad)`: `backward` takes the gradient of
the loss with respect to what the latest `forward` returned, and returns the one with respect to
what it was given. Arrays that training changes are the attributes `weight` and `bias`; `backward`
puts their gradients into `grad_weight` and `grad_bias`, replacing those of the call before.
(PyTorch adds to them instead, and needs `zero_grad`.) They are None before the first `backward`,
and `grad_bias` also in a layer without bias. A layer that behaves differently while training has
a switch `training`, on at first.

Shapes, dtypes and settings are refused by the functions that the layers call, and a refused
input leaves the layer as it was. `backward` without a `forward` before it raises a
`RuntimeError`. Layers keep references, not copies: do not change an input or a weight between
`forward` and `backward`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from coursepkg.convolution.activations import (
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from coursepkg.convolution.arguments import (
    Array,
    IntPair,
    Padding,
    Padding1d,
    Single,
    check_floats,
    check_shape,
)
from coursepkg.convolution.dropout import check_dropout, dropout, dropout_backward
from coursepkg.convolution.fast import conv1d, conv1d_backward, conv2d, conv2d_backward
from coursepkg.convolution.linear import linear, linear_backward
from coursepkg.convolution.losses import softmax, softmax_backward
from coursepkg.convolution.normalization import (
    batch_norm,
    batch_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from coursepkg.convolution.padding import PaddingMode, Sides, pad, pad_backward
from coursepkg.convolution.pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from coursepkg.convolution.transposed import conv_transpose2d, conv_transpose2d_backward

__all__ = [
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Linear",
    "MaxPool2d",
    "AvgPool2d",
    "AdaptiveMaxPool2d",
    "AdaptiveAvgPool2d",
    "Pad2d",
    "Flatten",
    "ReLU",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "Dropout",
    "BatchNorm2d",
    "LocalResponseNorm",
]


#: Of an array and settings; the way back takes the gradient first.
Function = Callable[..., Array]


def _kept(value: Array | None) -> Array:
    r"""Return what `forward` has kept for `backward`, or say that there was no `forward`."""
    if value is None:
        raise RuntimeError("backward before forward; call forward(input) first")
    return value


class _FromInput:
    r"""A layer without weights whose way back needs the input."""

    def __init__(self, function: Function, backward: Function, *settings: Any) -> None:
        r"""Keep the two functions and what they are called with beside the array."""
        self._function, self._backward, self.settings = function, backward, settings
        self.input: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Return the output, and remember the input."""
        output = self._function(input, *self.settings)
        self.input = input
        return output

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input."""
        return self._backward(grad, _kept(self.input), *self.settings)


class _FromOutput:
    r"""A layer without weights whose way back needs the output."""

    def __init__(self, function: Function, backward: Function, *settings: Any) -> None:
        r"""Keep the two functions and what they are called with beside the array."""
        self._function, self._backward, self.settings = function, backward, settings
        self.output: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Return the output, and remember it."""
        self.output = self._function(input, *self.settings)
        return self.output

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input."""
        return self._backward(grad, _kept(self.output), *self.settings)


class Conv2d:
    r"""A convolution with its weights, which learns by `forward`, then `backward`.

    Parameters
    ----------
    weight : (C_out, C_in/groups, kh, kw) array
        One filter per output channel.
    bias : (C_out,) array, optional
        One number per filter.
    stride, padding, dilation, groups
        As in `coursepkg.convolution.reference.conv2d`.

    Attributes
    ----------
    weight, bias : array, array or None
        As given, neither copied nor changed; whoever trains the layer updates them.
    grad_weight, grad_bias : array or None
        Gradients of the loss from the latest `backward`, with the shapes of `weight` and
        `bias`. None before it, and `grad_bias` also for a layer without bias.

    Notes
    -----
    `backward` replaces the gradients of the call before. PyTorch adds to them instead, and
    needs `zero_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2d(np.ones((1, 1, 1, 2)), bias=np.zeros(1))
    >>> layer.forward(np.array([[[[1.0, 2.0, 3.0]]]]))
    array([[[[3., 5.]]]])
    >>> layer.backward(np.array([[[[1.0, 1.0]]]]))
    array([[[[1., 2., 1.]]]])
    >>> layer.grad_weight, layer.grad_bias
    (array([[[[3., 5.]]]]), array([2.]))
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: IntPair = 1,
        padding: Padding = 0,
        dilation: IntPair = 1,
        groups: int = 1,
    ) -> None:
        r"""Keep the weights and the settings."""
        self.weight, self.bias = weight, bias
        self.settings = (stride, padding, dilation, groups)
        self.input: Array | None = None
        self.grad_weight: Array | None = None
        self.grad_bias: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Convolve, and remember the input.

        Parameters
        ----------
        input : (N, C_in, H, W) array

        Returns
        -------
        (N, C_out, H', W') array

        Raises
        ------
        ValueError
            As `coursepkg.convolution.reference.conv2d`.
        """
        output = conv2d(input, self.weight, self.bias, *self.settings)
        self.input = input  # after the checks: an input that is refused leaves the one before
        return output

    def backward(self, grad: Array) -> Array:
        r"""Send a gradient back through the latest `forward`; keep those of the weights.

        Parameters
        ----------
        grad : (N, C_out, H', W') array
            Gradient of the loss with respect to what `forward` returned.

        Returns
        -------
        (N, C_in, H, W) array
            Gradient of the loss with respect to the input.

        Raises
        ------
        RuntimeError
            If there was no `forward`.
        ValueError
            If `grad` does not have the output's shape and dtype.
        """
        grad_input, self.grad_weight, grad_bias = conv2d_backward(
            grad, _kept(self.input), self.weight, *self.settings
        )
        self.grad_bias = None if self.bias is None else grad_bias
        return grad_input


class Conv1d:
    r"""A convolution along one axis with its weights.

    Parameters
    ----------
    weight : (C_out, C_in/groups, k) array
        One filter per output channel.
    bias : (C_out,) array, optional
    stride, padding, dilation, groups
        As in `coursepkg.convolution.fast.conv1d`.

    Examples
    --------
    >>> layer = Conv1d(np.array([[[-1.0, 1.0]]]))
    >>> layer.forward(np.array([[[1.0, 1.0, 5.0]]]))
    array([[[0., 4.]]])
    >>> layer.backward(np.array([[[0.0, 1.0]]]))
    array([[[ 0., -1.,  1.]]])
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: Single = 1,
        padding: Padding1d = 0,
        dilation: Single = 1,
        groups: int = 1,
    ) -> None:
        r"""Keep the weights and the settings."""
        self.weight, self.bias = weight, bias
        self.settings = (stride, padding, dilation, groups)
        self.input: Array | None = None
        self.grad_weight: Array | None = None
        self.grad_bias: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Convolve: (N, C_in, L) -> (N, C_out, L')."""
        output = conv1d(input, self.weight, self.bias, *self.settings)
        self.input = input
        return output

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input; keep those of the weights."""
        grad_input, self.grad_weight, grad_bias = conv1d_backward(
            grad, _kept(self.input), self.weight, *self.settings
        )
        self.grad_bias = None if self.bias is None else grad_bias
        return grad_input


class ConvTranspose2d:
    r"""A transposed convolution with its weights.

    Parameters
    ----------
    weight : (C_in, C_out/groups, kh, kw) array
        One kernel for each pair of input and output channel.
    bias : (C_out,) array, optional
    stride, padding, output_padding, groups, dilation
        As in `coursepkg.convolution.transposed.conv_transpose2d`.

    Examples
    --------
    >>> layer = ConvTranspose2d(np.ones((1, 1, 1, 2)))
    >>> layer.forward(np.array([[[[1.0, 2.0]]]]))
    array([[[[1., 3., 2.]]]])
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: IntPair = 1,
        padding: IntPair = 0,
        output_padding: IntPair = 0,
        groups: int = 1,
        dilation: IntPair = 1,
    ) -> None:
        r"""Keep the weights and the settings."""
        self.weight, self.bias = weight, bias
        self.settings = (stride, padding, output_padding, groups, dilation)
        self.input: Array | None = None
        self.grad_weight: Array | None = None
        self.grad_bias: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Spread every pixel, times the kernel: (N, C_in, H, W) -> (N, C_out, H', W')."""
        output = conv_transpose2d(input, self.weight, self.bias, *self.settings)
        self.input = input
        return output

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input; keep those of the weights."""
        grad_input, self.grad_weight, grad_bias = conv_transpose2d_backward(
            grad, _kept(self.input), self.weight, *self.settings
        )
        self.grad_bias = None if self.bias is None else grad_bias
        return grad_input


class Linear:
    r"""An affine layer: every output is a weighted sum of all inputs, plus a bias.

    Parameters
    ----------
    weight : (out_features, in_features) array
    bias : (out_features,) array, optional

    Examples
    --------
    >>> layer = Linear(np.array([[3.0, 4.0]]), bias=np.array([0.5]))
    >>> layer.forward(np.array([[1.0, 2.0]]))
    array([[11.5]])
    >>> layer.backward(np.array([[10.0]]))
    array([[30., 40.]])
    >>> layer.grad_weight, layer.grad_bias
    (array([[10., 20.]]), array([10.]))
    """

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        r"""Keep the weights."""
        self.weight, self.bias = weight, bias
        self.input: Array | None = None
        self.grad_weight: Array | None = None
        self.grad_bias: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Multiply and add: (N, in_features) -> (N, out_features)."""
        output = linear(input, self.weight, self.bias)
        self.input = input
        return output

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input; keep those of the weights."""
        grad_input, self.grad_weight, grad_bias = linear_backward(
            grad, _kept(self.input), self.weight
        )
        self.grad_bias = None if self.bias is None else grad_bias
        return grad_input


class MaxPool2d(_FromInput):
    r"""The largest pixel of each window.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode
        As in `coursepkg.convolution.pooling.max_pool2d`.

    Examples
    --------
    >>> MaxPool2d((1, 2)).forward(np.array([[[[1.0, 5.0, 2.0, 3.0]]]]))
    array([[[[5., 3.]]]])
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        ceil_mode: bool = False,
    ) -> None:
        r"""Keep the settings."""
        settings = (kernel_size, stride, padding, dilation, ceil_mode)
        super().__init__(max_pool2d, max_pool2d_backward, *settings)


class AvgPool2d(_FromInput):
    r"""The mean of each window.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in `coursepkg.convolution.pooling.avg_pool2d`.

    Examples
    --------
    >>> AvgPool2d((1, 2)).forward(np.array([[[[1.0, 5.0, 2.0, 3.0]]]]))
    array([[[[3. , 2.5]]]])
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        r"""Keep the settings."""
        settings = (kernel_size, stride, padding, ceil_mode, count_include_pad)
        super().__init__(avg_pool2d, avg_pool2d_backward, *settings)


class AdaptiveMaxPool2d(_FromInput):
    r"""The largest pixel of each part, where the size of the output is given.

    Parameters
    ----------
    output_size : int or pair of int
        Height and width of the output; 1 is global pooling.

    Examples
    --------
    >>> AdaptiveMaxPool2d(1).forward(np.array([[[[1.0, 5.0, 2.0, 4.0]]]]))
    array([[[[5.]]]])
    """

    def __init__(self, output_size: IntPair) -> None:
        r"""Keep the setting."""
        super().__init__(adaptive_max_pool2d, adaptive_max_pool2d_backward, output_size)


class AdaptiveAvgPool2d(_FromInput):
    r"""The mean of each part, where the size of the output is given.

    Parameters
    ----------
    output_size : int or pair of int
        Height and width of the output; 1 is global pooling.

    Examples
    --------
    >>> AdaptiveAvgPool2d(1).forward(np.array([[[[1.0, 5.0, 2.0, 4.0]]]]))
    array([[[[3.]]]])
    """

    def __init__(self, output_size: IntPair) -> None:
        r"""Keep the setting."""
        super().__init__(adaptive_avg_pool2d, adaptive_avg_pool2d_backward, output_size)


class Pad2d:
    r"""Pixels around an image, as a layer of its own.

    It keeps nothing, so `backward` asks for no `forward` before it.

    Parameters
    ----------
    padding, mode, value
        As in `coursepkg.convolution.padding.pad`.

    Examples
    --------
    >>> Pad2d((1, 0, 0, 0), mode="replicate").forward(np.array([[[[7.0, 8.0]]]]))
    array([[[[7., 7., 8.]]]])
    """

    def __init__(
        self, padding: Sides, mode: PaddingMode = "constant", value: float | None = 0.0
    ) -> None:
        r"""Keep the settings."""
        self.padding, self.mode, self.value = padding, mode, value

    def forward(self, input: Array) -> Array:
        r"""Pad: (N, C, H, W) -> (N, C, H', W')."""
        return pad(input, self.padding, self.mode, self.value)

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input."""
        return pad_backward(grad, self.padding, self.mode)


class Flatten:
    r"""All numbers of an image in one row.

    Examples
    --------
    >>> layer = Flatten()
    >>> layer.forward(np.zeros((2, 3, 4, 5))).shape
    (2, 60)
    >>> layer.backward(np.zeros((2, 60))).shape
    (2, 3, 4, 5)
    """

    def __init__(self) -> None:
        r"""Keep nothing yet."""
        self.input: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Reshape: (N, C, H, W) -> (N, C*H*W)."""
        check_floats("input", input, axes=1)
        self.input = input
        return input.reshape(len(input), math.prod(input.shape[1:]))

    def backward(self, grad: Array) -> Array:
        r"""Give the gradient the shape of the input."""
        input = _kept(self.input)
        shape = (len(input), math.prod(input.shape[1:]))
        check_shape("grad", grad, shape, input.dtype, "pass the gradient of the output")
        return grad.reshape(input.shape)


class ReLU(_FromOutput):
    r"""The activation `coursepkg.convolution.activations.relu`.

    Examples
    --------
    >>> layer = ReLU()
    >>> layer.forward(np.array([-2.0, 3.0])), layer.backward(np.array([5.0, 7.0]))
    (array([0., 3.]), array([0., 7.]))
    """

    def __init__(self) -> None:
        r"""Keep nothing yet."""
        super().__init__(relu, relu_backward)


class Sigmoid(_FromOutput):
    r"""The activation `coursepkg.convolution.activations.sigmoid`.

    Examples
    --------
    >>> layer = Sigmoid()
    >>> layer.forward(np.array([0.0])), layer.backward(np.array([1.0]))
    (array([0.5]), array([0.25]))
    """

    def __init__(self) -> None:
        r"""Keep nothing yet."""
        super().__init__(sigmoid, sigmoid_backward)


class Tanh(_FromOutput):
    r"""The activation `coursepkg.convolution.activations.tanh`.

    Examples
    --------
    >>> layer = Tanh()
    >>> layer.forward(np.array([0.0])), layer.backward(np.array([1.0]))
    (array([0.]), array([1.]))
    """

    def __init__(self) -> None:
        r"""Keep nothing yet."""
        super().__init__(tanh, tanh_backward)


class Softmax(_FromOutput):
    r"""Logits become probabilities.

    Parameters
    ----------
    dim : int
        The axis of the classes, as in `coursepkg.convolution.losses.softmax`.

    Examples
    --------
    >>> Softmax().forward(np.array([[0.0, np.log(3.0)]]))
    array([[0.25, 0.75]])
    """

    def __init__(self, dim: int = 1) -> None:
        r"""Keep the setting."""
        super().__init__(softmax, softmax_backward, dim)


class Dropout:
    r"""While training, numbers are left out at random; otherwise nothing happens.

    Parameters
    ----------
    p : float
        Probability of being dropped, 0 <= p < 1.
    seed : int, optional
        Of the layer's own random numbers, which go on from one `forward` to the next. Without
        it they differ from layer to layer and from run to run. Give each layer of a network
        another seed, or they drop the same places.

    Examples
    --------
    >>> layer = Dropout(0.5, seed=0)
    >>> layer.forward(np.ones(5))
    array([2., 0., 0., 0., 2.])
    >>> layer.training = False
    >>> layer.forward(np.ones(5))
    array([1., 1., 1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, seed: int | None = None) -> None:
        r"""Keep the settings."""
        self.p, self.rng = p, np.random.default_rng(seed)
        self.training = True
        self.mask: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Drop elements, if training."""
        if self.training:
            output, self.mask = dropout(input, self.p, self.rng)
            return output
        check_dropout(input, self.p)
        self.mask = np.ones_like(input)
        return input

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input."""
        return dropout_backward(grad, _kept(self.mask))


class BatchNorm2d:
    r"""Every channel is normalised, then scaled and shifted.

    While training with the statistics of the batch, otherwise with the running ones.

    Parameters
    ----------
    weight, bias : (C,) array
        Scale and shift; ones and zeros are the usual start.
    eps, momentum : float
        As in `coursepkg.convolution.normalization.batch_norm`.

    Attributes
    ----------
    running_mean, running_var : (C,) array
        Zeros and ones at first; `forward` changes them in place while training.

    Notes
    -----
    Unlike PyTorch's layer of this name, it takes any number of places, also none: (N, C).

    Examples
    --------
    >>> layer = BatchNorm2d(np.ones(1), np.zeros(1), eps=0)
    >>> layer.forward(np.array([[1.0], [3.0]])).ravel()
    array([-1.,  1.])
    >>> layer.running_mean, layer.running_var
    (array([0.2]), array([1.1]))
    """

    def __init__(
        self, weight: Array, bias: Array, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        r"""Keep the weights and the settings."""
        check_floats("weight", weight)
        check_floats("bias", bias)
        self.weight, self.bias, self.eps, self.momentum = weight, bias, eps, momentum
        self.running_mean, self.running_var = np.zeros_like(weight), np.ones_like(weight)
        self.training = True
        self.input: Array | None = None
        self.by_batch = True
        self.grad_weight: Array | None = None
        self.grad_bias: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Normalise, scale and shift; learn the statistics, if training."""
        output, mean, var = batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )
        self.running_mean[...], self.running_var[...] = mean, var
        self.input, self.by_batch = input, self.training
        return output

    def backward(self, grad: Array) -> Array:
        r"""Return the gradient of the input; keep those of the weights."""
        grad_input, self.grad_weight, self.grad_bias = batch_norm_backward(
            grad,
            _kept(self.input),
            self.running_mean,
            self.running_var,
            self.weight,
            self.by_batch,
            self.eps,
        )
        return grad_input


class LocalResponseNorm(_FromInput):
    r"""Every element is divided by a power of the mean square of its neighbours in channel.

    Parameters
    ----------
    size, alpha, beta, k
        As in `coursepkg.convolution.normalization.local_response_norm`.

    Examples
    --------
    >>> LocalResponseNorm(size=1, alpha=1, beta=0.5, k=0).forward(np.array([[3.0, -4.0]]))
    array([[ 1., -1.]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        r"""Keep the settings."""
        settings = (size, alpha, beta, k)
        super().__init__(local_response_norm, local_response_norm_backward, *settings)
