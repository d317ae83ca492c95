r"""Networks: layers one after the other, and the names of their parameters.

A layer is anything with `forward(input)` and `backward(grad)`. If it learns, its parameters are
its attributes `weight` and `bias`, and their gradients are `grad_weight` and `grad_bias`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from coursepkg.convolution.arguments import Array, IntPair
from coursepkg.convolution.arithmetic import output_size
from coursepkg.convolution.init import kaiming_normal, normal, xavier_normal
from coursepkg.convolution.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from coursepkg.convolution.learning import accuracy
from coursepkg.convolution.losses import cross_entropy, cross_entropy_backward
from coursepkg.testing import numerical_gradient
from coursepkg.validation import integer, pair

__all__ = ["Layer", "Sequential", "SimpleConvNet"]

#: How the first weights are drawn, by name.
INITIALISATIONS: dict[str, Callable[..., Array]] = {"he": kaiming_normal, "xavier": xavier_normal}


class Layer(Protocol):
    r"""What a network needs of a layer."""

    def forward(self, input: Array) -> Array:
        r"""Return the output, and remember what `backward` needs."""

    def backward(self, grad: Array) -> Array:
        r"""Turn the gradient of the output of the latest `forward` into that of its input."""


class Sequential:
    r"""Layers one after the other; itself a layer.

    When a layer refuses the input, those before it have already moved on: they remember the new
    input, and batch normalisation in training mode has counted it.

    Parameters
    ----------
    *layers : Layer, or one dict of str to Layer
        In the order of the forward pass. Without names they are called "0", "1" and so on, as
        `torch.nn.Sequential` does.

    Attributes
    ----------
    layers : dict of str to Layer

    Raises
    ------
    ValueError
        If something is no layer, stands there twice (it remembers only its latest input), or
        a name is empty or has a dot.

    Examples
    --------
    >>> network = Sequential({"double": Linear(np.array([[2.0]])), "relu": ReLU()})
    >>> network.forward(np.array([[3.0], [-1.0]]))
    array([[6.],
           [0.]])
    >>> network.backward(np.array([[1.0], [1.0]]))
    array([[2.],
           [0.]])
    >>> network.parameters(), network.gradients()
    ({'double.weight': array([[2.]])}, {'double.weight': array([[3.]])})
    """

    def __init__(self, *layers: Any) -> None:
        r"""Give each layer its name."""
        named = len(layers) == 1 and isinstance(layers[0], Mapping)
        self.layers: dict[str, Layer] = dict(
            layers[0] if named else {str(i): layer for i, layer in enumerate(layers)}
        )
        for name, layer in self.layers.items():
            _check_layer(name, layer)
        inner = [id(layer) for _, layer in self._walk()]
        if len(set(inner)) < len(inner):
            raise ValueError("a layer stands in layers twice; give each place a layer of its own")

    def forward(self, input: Array) -> Array:
        r"""Send `input` through all layers.

        Parameters
        ----------
        input : array
            What the first layer takes.

        Returns
        -------
        array
            What the last layer returns.
        """
        for layer in self.layers.values():
            input = layer.forward(input)
        return input

    def backward(self, grad: Array) -> Array:
        r"""Send a gradient back through all layers, the last one first.

        Parameters
        ----------
        grad : array
            Gradient of the loss with respect to what `forward` returned.

        Returns
        -------
        array
            Gradient of the loss with respect to the input.
        """
        for layer in reversed(self.layers.values()):
            grad = layer.backward(grad)
        return grad

    def parameters(self) -> dict[str, Array]:
        r"""Return the weights and biases themselves, no copies, named as "conv1.weight"."""
        return self._collect(("weight", "bias"))

    def gradients(self) -> dict[str, Array]:
        r"""Return the gradients of the latest `backward` under the names of `parameters`.

        Raises
        ------
        RuntimeError
            If there was no `backward`.
        """
        found = self._collect(("weight", "bias"), prefix="grad_")
        if found.keys() != self.parameters().keys():
            raise RuntimeError("gradients before backward; call forward, then backward first")
        return found

    def state(self) -> dict[str, Array]:
        r"""Return all that was learned: `parameters` and running statistics, no copies."""
        return self._collect(("weight", "bias", "running_mean", "running_var"))

    def loss(self, input: Array, target: Array) -> float:
        r"""Return the mean cross-entropy of N examples and their (N,) int64 classes.

        This method and the three below take what `forward` returns for logits, (N, K).
        """
        return cross_entropy(self.forward(input), target)

    def accuracy(self, input: Array, target: Array, batch_size: int = 100) -> float:
        r"""Return the share of examples named rightly; see `coursepkg.convolution.learning`."""
        return accuracy(self.forward, input, target, batch_size)

    def gradient(self, input: Array, target: Array) -> dict[str, Array]:
        r"""Differentiate `loss` by back-propagation.

        Parameters
        ----------
        input : (N, ...) array
        target : (N,) int64 array

        Returns
        -------
        dict of str to array
            The gradient with respect to each parameter.
        """
        self.backward(cross_entropy_backward(self.forward(input), target))
        return self.gradients()

    def numerical_gradient(self, input: Array, target: Array) -> dict[str, Array]:
        r"""Differentiate `loss` by central differences: two forward passes for each number.

        It needs a loss that repeats: no dropout in training mode. Batch normalisation in
        training mode moves its running statistics at each pass.

        Parameters
        ----------
        input : (N, ...) float64 array
        target : (N,) int64 array

        Returns
        -------
        dict of str to array
            The gradient with respect to each parameter; the parameters are as before.

        Raises
        ------
        ValueError
            If the network is not float64: in float32, rounding swamps the differences.
        """

        def loss_with(parameter: Array) -> Callable[[Array], float]:
            def loss(value: Array) -> float:
                before = parameter.copy()
                parameter[...] = value
                try:
                    return self.loss(input, target)
                finally:
                    parameter[...] = before

            return loss

        parameters = self.parameters().items()
        return {name: numerical_gradient(loss_with(array), array) for name, array in parameters}

    def train(self, mode: bool = True) -> None:
        r"""Tell every layer that behaves differently in training whether this is training."""
        for _, layer in self._walk():
            if hasattr(layer, "training"):
                layer.training = mode

    def eval(self) -> None:
        r"""Tell every layer that training is over."""
        self.train(False)

    def _walk(self) -> Iterator[tuple[str, Layer]]:
        r"""Yield (name, layer), with the layers of inner networks in their place."""
        for name, layer in self.layers.items():
            if isinstance(layer, Sequential):
                yield from ((f"{name}.{inner}", leaf) for inner, leaf in layer._walk())
            else:
                yield name, layer

    def _collect(self, attributes: tuple[str, ...], prefix: str = "") -> dict[str, Array]:
        r"""Return what the layers keep as `prefix` + attribute, named by layer and attribute."""
        return {
            f"{name}.{attribute}": value
            for name, layer in self._walk()
            for attribute in attributes
            if (value := getattr(layer, prefix + attribute, None)) is not None
        }


class SimpleConvNet(Sequential):
    r"""Convolution, ReLU, max pooling, affine, ReLU, affine: the smallest complete CNN.

    The layers are called conv1, relu1, pool1, flatten, linear1, relu2 and linear2. The output
    is logits: the softmax belongs to the loss.

    Parameters
    ----------
    input_shape : tuple of int
        (C, H, W) of one image.
    filters, kernel_size, stride, padding
        Of the convolution; the pooling is 2 x 2 with stride 2.
    hidden : int
        Outputs of the first affine layer.
    classes : int
        Outputs of the second.
    weight_init : "he", "xavier" or float
        How the weights are drawn; a number is a fixed standard deviation. Biases start at 0.
    seed : int
        Equal seeds give equal weights.
    dtype : dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If the kernel or the pooling does not fit, or a setting is unknown or out of range.

    Examples
    --------
    >>> network = SimpleConvNet(input_shape=(1, 28, 28))
    >>> {name: array.shape for name, array in network.parameters().items() if "weight" in name}
    {'conv1.weight': (30, 1, 5, 5), 'linear1.weight': (100, 4320), 'linear2.weight': (10, 100)}
    >>> network.predict(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int] = (1, 28, 28),
        filters: int = 30,
        kernel_size: IntPair = 5,
        stride: IntPair = 1,
        padding: IntPair = 0,
        hidden: int = 100,
        classes: int = 10,
        weight_init: str | float = "he",
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        r"""Draw the weights."""
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
            raise ValueError(f"input_shape={input_shape} has not three entries; use (C, H, W)")
        channels, *size = (integer("input_shape", n, 1) for n in input_shape)
        counts = {"filters": filters, "hidden": hidden, "classes": classes}
        filters, hidden, classes = (integer(name, n, 1) for name, n in counts.items())
        kernel = pair("kernel_size", kernel_size, 1)
        strides, pads = pair("stride", stride, 1), pair("padding", padding, 0)
        height, width = (
            output_size(output_size(n, k, s, p), kernel=2, stride=2)
            for n, k, s, p in zip(size, kernel, strides, pads, strict=True)
        )
        rng, draw = np.random.default_rng(seed), _initialisation(weight_init)

        def first(*shape: int) -> tuple[Array, Array]:
            return draw(shape, rng=rng, dtype=dtype), np.zeros(shape[0], dtype)

        super().__init__(
            {
                "conv1": Conv2d(*first(filters, channels, *kernel), stride, padding),
                "relu1": ReLU(),
                "pool1": MaxPool2d(2),
                "flatten": Flatten(),
                "linear1": Linear(*first(hidden, filters * height * width)),
                "relu2": ReLU(),
                "linear2": Linear(*first(classes, hidden)),
            }
        )

    def predict(self, input: Array) -> Array:
        r"""Return logits: (N, C, H, W) images -> (N, classes)."""
        return self.forward(input)


def _check_layer(name: str, layer: object) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"{name!r} names no layer; use a word without dots")
    if isinstance(layer, type) or not (hasattr(layer, "forward") and hasattr(layer, "backward")):
        raise ValueError(f"layer {name!r} is {layer!r:.60}, which has no forward and backward")


def _initialisation(weight_init: str | float) -> Callable[..., Array]:
    if not isinstance(weight_init, str):
        return lambda shape, rng, dtype: normal(shape, weight_init, rng, dtype)
    if weight_init not in INITIALISATIONS:
        known = ", ".join(map(repr, INITIALISATIONS))
        raise ValueError(f"weight_init={weight_init!r} is unknown; use {known} or a number")
    return INITIALISATIONS[weight_init]
