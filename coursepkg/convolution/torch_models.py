r"""One convolutional network written in PyTorch four ways, and a table of what any module does.

The network has two blocks of convolution, ReLU and pooling, with 8 and 32 filters of 5 x 5, and
two fully connected layers of 64 and 10 units. For digits of 28 x 28 pixels that makes

.. math:: 208 + 6432 + 100416 + 650 = 107706

parameters. The four ways compute the same function; they differ in where the weights live and in
how much of the bookkeeping is left to PyTorch.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.convolution.arithmetic import activation_bytes, conv2d_macs, pool_output_size
from coursepkg.training import mode
from coursepkg.validation import integer, pair

__all__ = [
    "SHAPES",
    "ConvBlock",
    "LayerSummary",
    "NestedCNN",
    "SubclassCNN",
    "Summary",
    "fully_convolutional",
    "functional_cnn",
    "linear_as_conv2d",
    "load_in_order",
    "new_weights",
    "sequential_cnn",
    "summary",
    "table",
]

#: Names and shapes of the weights of the network, in the order in which they are used.
SHAPES = {
    "conv1.weight": (8, 1, 5, 5),
    "conv1.bias": (8,),
    "conv2.weight": (32, 8, 5, 5),
    "conv2.bias": (32,),
    "linear1.weight": (64, 32 * 7 * 7),
    "linear1.bias": (64,),
    "linear2.weight": (10, 64),
    "linear2.bias": (10,),
}


def new_weights(seed: int = 0) -> dict[str, Tensor]:
    r"""Return fresh weights of the network, named and shaped as in `SHAPES`.

    Every weight and bias of a layer is uniform in :math:`\pm 1/\sqrt{n}`, where n numbers enter
    each of its sums. That is how `torch.nn.Conv2d` and `torch.nn.Linear` begin.

    Parameters
    ----------
    seed : int
        Equal seeds, equal weights.

    Returns
    -------
    dict of str to float32 tensor
        `sequential_cnn` and `SubclassCNN` load it as their `state_dict`.

    Raises
    ------
    ValueError
        If `seed` is no integer of at least 0.

    Examples
    --------
    >>> sum(weight.numel() for weight in new_weights().values())
    107706
    """
    generator = torch.Generator().manual_seed(integer("seed", seed, 0))
    weights = {}
    for name, shape in SHAPES.items():
        if len(shape) > 1:  # a weight; the bias after it has the same bound
            bound = prod(shape[1:]) ** -0.5
        weights[name] = bound * (2 * torch.rand(shape, generator=generator) - 1)
    return weights


def functional_cnn(input: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    r"""Compute the network as a plain function of its input and its weights.

    Parameters
    ----------
    input : (N, 1, 28, 28) tensor
    weights : mapping of str to tensor
        As from `new_weights`.

    Returns
    -------
    (N, 10) tensor
        The scores (logits) of the ten classes, before the softmax.

    Raises
    ------
    KeyError
        If a weight is missing.
    RuntimeError
        If shapes or dtypes do not fit together, in PyTorch's words.
    """
    w = weights
    x = F.relu(F.conv2d(input, w["conv1.weight"], w["conv1.bias"], padding="same"))
    x = F.max_pool2d(x, 2)  # (N, 8, 14, 14)
    x = F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding="same"))
    x = F.max_pool2d(x, 2)  # (N, 32, 7, 7)
    x = x.flatten(1)  # (N, 32*7*7)
    x = F.relu(F.linear(x, w["linear1.weight"], w["linear1.bias"]))  # (N, 64)
    return F.linear(x, w["linear2.weight"], w["linear2.bias"])  # (N, 10)


def sequential_cnn() -> nn.Sequential:
    r"""Return the network as a chain of layers.

    Examples
    --------
    >>> sequential_cnn()(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 5, padding="same"),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 32, 5, padding="same"),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear1=nn.Linear(32 * 7 * 7, 64),
            relu3=nn.ReLU(),
            linear2=nn.Linear(64, 10),
        )
    )


class SubclassCNN(nn.Module):
    r"""The network as a class: layers with weights in `__init__`, their order in `forward`.

    Examples
    --------
    >>> model = SubclassCNN()
    >>> list(model.state_dict()) == list(SHAPES)
    True
    """

    def __init__(self) -> None:
        r"""Make the layers that have weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, padding="same")
        self.conv2 = nn.Conv2d(8, 32, 5, padding="same")
        self.linear1 = nn.Linear(32 * 7 * 7, 64)
        self.linear2 = nn.Linear(64, 10)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 1, 28, 28) -> (N, 10) scores."""
        x = F.max_pool2d(F.relu(self.conv1(input)), 2)  # (N, 8, 14, 14)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, 32, 7, 7)
        x = F.relu(self.linear1(x.flatten(1)))  # (N, 64)
        return self.linear2(x)  # type: ignore[no-any-return]


class ConvBlock(nn.Sequential):
    r"""Convolution, ReLU, pooling: maps of half the size, with other channels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        The convolution pads with zeros so that only the pooling shrinks the maps.

    Raises
    ------
    ValueError
        If an argument is no integer of at least 1.

    Examples
    --------
    >>> ConvBlock(3, 8, kernel_size=3)(torch.zeros(5, 3, 50, 50)).shape
    torch.Size([5, 8, 25, 25])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        r"""Make the three layers."""
        super().__init__()
        self.conv = nn.Conv2d(
            integer("in_channels", in_channels, 1),
            integer("out_channels", out_channels, 1),
            integer("kernel_size", kernel_size, 1),
            padding="same",
        )
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)


class NestedCNN(nn.Module):
    r"""The network as two parts: a feature extractor made of blocks, and a classifier.

    Parameters
    ----------
    channels : sequence of int
        Output channels of the blocks, one for each.
    kernel_size : int
        Of all convolutions.
    in_channels : int
        Of the images.
    size : int or pair of int
        Height and width of the images. Each block halves them, rounding down.
    hidden, classes : int
        Units of the two fully connected layers.

    Attributes
    ----------
    features, classifier : Sequential
        The two parts.
    map_shape : tuple of int
        (C, H, W) of what the classifier is given, before it flattens it.

    Raises
    ------
    ValueError
        If there is no block, an argument is no integer or too small, or there are more halvings
        than `size` allows.

    Examples
    --------
    >>> model = NestedCNN(channels=(8, 16, 32), kernel_size=3)
    >>> model.map_shape, sum(p.numel() for p in model.parameters())
    ((32, 3, 3), 25034)
    """

    def __init__(
        self,
        channels: Sequence[int] = (8, 32),
        kernel_size: int = 5,
        in_channels: int = 1,
        size: int | tuple[int, int] = 28,
        hidden: int = 64,
        classes: int = 10,
    ) -> None:
        r"""Make both parts."""
        super().__init__()
        if not isinstance(channels, Sequence) or not channels:
            raise ValueError(
                f"channels={channels!r} makes no block; give a list with a number for each"
            )
        height, width = pair("size", size, 1)
        for _ in channels:
            height, width = pool_output_size(height, 2), pool_output_size(width, 2)
        self.map_shape = (channels[-1], height, width)
        self.features = nn.Sequential(
            *(
                ConvBlock(before, after, kernel_size)
                for before, after in zip((in_channels, *channels), channels, strict=False)
            )
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(self.map_shape), integer("hidden", hidden, 1)),
            nn.ReLU(),
            nn.Linear(hidden, integer("classes", classes, 1)),
        )

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, classes) scores."""
        return self.classifier(self.features(input))  # type: ignore[no-any-return]


def load_in_order(model: nn.Module, weights: Iterable[Tensor]) -> None:
    r"""Copy weights into a model whose parameters have other names but the same order.

    Parameters
    ----------
    model : Module
        Changed in place.
    weights : iterable of tensor
        As many as the model has parameters, of the same shapes.

    Raises
    ------
    ValueError
        If number or shapes differ; the model is then left as it was.

    Examples
    --------
    >>> model = NestedCNN()
    >>> load_in_order(model, new_weights().values())
    """
    weights, parameters = list(weights), dict(model.named_parameters())
    if len(weights) != len(parameters):
        raise ValueError(
            f"weights has {len(weights)} tensors but model has {len(parameters)} parameters; "
            "pass one for each"
        )
    for weight, (name, parameter) in zip(weights, parameters.items(), strict=True):
        if weight.shape != parameter.shape:
            raise ValueError(
                f"weights has shape {tuple(weight.shape)} where {name} has "
                f"{tuple(parameter.shape)}; keep the order of model.parameters()"
            )
    with torch.no_grad():
        for weight, parameter in zip(weights, parameters.values(), strict=True):
            parameter.copy_(weight)


def linear_as_conv2d(linear: nn.Linear, map_shape: tuple[int, int, int]) -> nn.Conv2d:
    r"""Return the convolution that does on (C, H, W) maps what `linear` does on them flattened.

    Its kernel is as large as the maps. On larger maps it slides.

    Parameters
    ----------
    linear : Linear
        Its weights are copied.
    map_shape : tuple of int
        (C, H, W), with as many entries as `linear` has inputs.

    Returns
    -------
    Conv2d

    Raises
    ------
    ValueError
        If `map_shape` is not (C, H, W), or the maps do not have as many entries.

    References
    ----------
    Long, Shelhamer & Darrell (2015), section 3.1.

    Examples
    --------
    >>> linear_as_conv2d(nn.Linear(18, 4), (2, 3, 3))
    Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1))
    """
    if not isinstance(map_shape, (tuple, list)) or len(map_shape) != 3:
        raise ValueError(f"map_shape={map_shape} has not three entries; use (C, H, W)")
    channels, height, width = (integer("map_shape", n, 1) for n in map_shape)
    if prod(map_shape) != linear.in_features:
        raise ValueError(
            f"map_shape={map_shape} has {prod(map_shape)} entries but linear takes "
            f"{linear.in_features}; pass the shape of the maps that were flattened"
        )
    bias = linear.bias is not None
    conv = nn.Conv2d(channels, linear.out_features, (height, width), bias=bias).to(linear.weight)
    weight = linear.weight.detach().reshape(conv.weight.shape)
    load_in_order(conv, [weight, linear.bias.detach()] if bias else [weight])
    return conv


def fully_convolutional(model: NestedCNN) -> nn.Sequential:
    r"""Return a copy of the network that takes larger images and answers at every place.

    Flattening fixes the size of the image. Without it, and with the fully connected layers
    written as convolutions, the network slides over an image as one large filter.

    Parameters
    ----------
    model : NestedCNN

    Returns
    -------
    Sequential
        (N, C, H, W) -> (N, classes, H', W'): one place for an image of the size that `model` was
        made for. One more place for every further :math:`2^B` pixels, where B is the number of
        blocks.

    Raises
    ------
    ValueError
        If `model` is no `NestedCNN`.

    References
    ----------
    Long, Shelhamer & Darrell (2015), section 3.1.

    Examples
    --------
    >>> fully_convolutional(NestedCNN())(torch.zeros(1, 1, 28, 60)).shape
    torch.Size([1, 10, 1, 9])
    """
    if not isinstance(model, NestedCNN):
        raise ValueError(f"model is a {type(model).__name__}; pass a NestedCNN")
    layers: Any = model.classifier
    _, linear1, relu, linear2 = layers
    return nn.Sequential(
        *copy.deepcopy(model.features),
        linear_as_conv2d(linear1, model.map_shape),
        copy.deepcopy(relu),
        linear_as_conv2d(linear2, (linear1.out_features, 1, 1)),
    )


class LayerSummary(NamedTuple):
    r"""One row of a `Summary`; shape, multiply-adds and memory are for one input.

    Attributes
    ----------
    name, kind : str
        As the model calls the layer, and its class.
    shape : tuple of int
        Of the output, without the batch.
    parameters : int
        Numbers that the layer learns. A layer or a weight used again counts once.
    macs : int
        Multiply-adds of a convolution, transposed convolution or linear layer; others have 0.
    memory : int
        Bytes of the output, also where it shares the memory of the input, as in `Flatten`.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    memory: int


@dataclass(frozen=True)
class Summary:
    r"""What each layer of a model does with one input; printed, it is a table.

    Attributes
    ----------
    layers : tuple of LayerSummary
        In the order in which they ran.
    """

    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        r"""Parameters of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        r"""Multiply-adds for one input."""
        return sum(layer.macs for layer in self.layers)

    @property
    def memory(self) -> int:
        r"""Bytes of all outputs for one input."""
        return sum(layer.memory for layer in self.layers)

    def __str__(self) -> str:
        """Lay the rows out, with a line of sums below."""
        return table(
            [
                ("layer", "", "output", "parameters", "multiply-adds", "bytes"),
                *((x.name, x.kind, str(x.shape), *map("{:,}".format, x[3:])) for x in self.layers),
                ("sum", "", "", *map("{:,}".format, (self.parameters, self.macs, self.memory))),
            ]
        )


def table(rows: Sequence[Sequence[str]], left: int = 3) -> str:
    r"""Lay out rows of text as a table, with rules below the first row and above the last.

    Parameters
    ----------
    rows : sequence of sequence of str
        Of equal length: the headings, the rows, the sums.
    left : int
        How many columns are flush left; the others are flush right.

    Returns
    -------
    str

    Examples
    --------
    >>> print(table([("layer", "bytes"), ("conv", "7"), ("sum", "7")], left=1))
    layer  bytes
    ------------
    conv       7
    ------------
    sum        7
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _conv2d_macs(layer: Any, places: Tensor) -> int:
    size = places.shape[2], places.shape[3]
    return conv2d_macs(layer.in_channels, layer.out_channels, layer.kernel_size, size, layer.groups)


#: Which layers multiply and add, and how often: functions of (layer, input, output). A transposed
#: convolution uses every weight once at each place of its input.
MACS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], int]] = {
    nn.Conv2d: lambda layer, input, output: _conv2d_macs(layer, output),
    nn.ConvTranspose2d: lambda layer, input, output: _conv2d_macs(layer, input),
    nn.Linear: lambda layer, input, output: layer.in_features * output.numel(),
}


def summary(model: nn.Module, input_shape: Sequence[int]) -> Summary:
    r"""Run a model on one input of zeros and note what each layer makes of it.

    Layers are the modules without modules inside, and those with weights of their own. Functions
    called in a `forward`, such as `F.relu`, are no modules and have no row.

    Parameters
    ----------
    model : Module
        Run in evaluation mode and without gradients; left as it was.
    input_shape : sequence of int
        Without the batch: (C, H, W) for images.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        If `input_shape` has an entry that is no integer of at least 1.
    RuntimeError
        If the model cannot take such an input, in PyTorch's words.

    Examples
    --------
    >>> print(summary(nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU()), (1, 28, 28)))
    layer          output       parameters  multiply-adds   bytes
    -------------------------------------------------------------
    0      Conv2d  (8, 24, 24)         208        115,200  18,432
    1      ReLU    (8, 24, 24)           0              0  18,432
    -------------------------------------------------------------
    sum                                208        115,200  36,864
    """
    shape = [integer("input_shape", n, 1) for n in input_shape]
    like = next(model.parameters(), torch.empty(0))
    layers: list[LayerSummary] = []
    counted: set[int] = set()

    def note(name: str, layer: nn.Module, input: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            kind = type(output).__name__
            raise ValueError(
                f"layer {name!r} returns a {kind}; summary needs layers that return one tensor"
            )
        own = {id(p): p.numel() for p in layer.parameters(recurse=False) if id(p) not in counted}
        counted.update(own)
        count = MACS.get(type(layer))
        macs = count(layer, input, output) if count else 0
        size = tuple(output.shape[1:])
        memory = activation_bytes(size, output.dtype.itemsize)
        row = (name, type(layer).__name__, size, sum(own.values()), macs, memory)
        layers.append(LayerSummary(*row))

    with _hooks(model, note), mode(model, training=False), torch.no_grad():
        model(torch.zeros(1, *shape, dtype=like.dtype, device=like.device))
    return Summary(tuple(layers))


@contextmanager
def _hooks(model: nn.Module, note: Callable[[str, nn.Module, Any, Any], None]) -> Iterator[None]:
    r"""Call `note(name, layer, input, output)` after each layer that runs."""
    handles = [
        layer.register_forward_hook(
            lambda layer, inputs, output, name=name: note(name, layer, inputs[0], output)
        )
        for name, layer in model.named_modules()
        if not list(layer.children()) or list(layer.parameters(recurse=False))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
