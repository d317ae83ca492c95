r"""A dense block

Write a class `DenseBlock`: a row of layers, each of which reads the input of the block *and* what
all layers before it have put out. It is made by `DenseBlock(layers, in_channels, growth_rate,
bn_size)`.

1. A layer is six steps: batch normalisation, ReLU, a 1 × 1 convolution that makes
   `bn_size * growth_rate` maps, batch normalisation, ReLU, a 3 × 3 convolution that makes
   `growth_rate` maps and keeps their size. The convolutions have no bias.
2. What goes into a layer is the input of the block, then the maps of the first layer, then those
   of the second, and so on, joined along the axis of the channels in this order. So how many
   channels does layer number i read?
3. What leaves the block is the same row: its input, and the maps of all layers.

PyTorch lists the parameters in the order in which you make the layers, so make them in the order in
which they are used. You need not name the layers as we do, and the class may derive from
`nn.Module`.

The cases do just this with your class:

```python
model = DenseBlock(layers, in_channels, growth_rate, bn_size).eval()
shapes = [tuple(p.shape) for p in model.parameters()]
torch.nn.utils.vector_to_parameters(weights, model.parameters())
output = model(input)
(output * grad).sum().backward()
gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
```

where `weights` holds all numbers of all parameters in one row. In evaluation mode a fresh batch
normalisation only multiplies and adds (and divides by a number very close to 1). Then they look at
`shapes`, `output`, `gradients` and `input.grad`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from coursepkg.architectures.densenet import DenseBlock, DenseLayer
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"shapes": 2, "output": 3, "gradients": 1, "input gradient": 1}
points |= {"layers": 2, "channels": 1, "width": 1}
environment = "torch"
seconds = 10.0
reference = DenseBlock
FORBID = ("torchvision", "timm", "tensorflow", "keras", "jax")


def driver(Answer, weights, input, grad, layers, in_channels, growth_rate, bn_size):
    model = Answer(layers, in_channels, growth_rate, bn_size).eval()
    parameters = list(model.parameters())
    yield "shapes", [tuple(p.shape) for p in parameters]
    if sum(p.numel() for p in parameters) != len(weights):
        raise ValueError("the parameters are not as many as the weights of this case")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), parameters)
    input = torch.from_numpy(input).requires_grad_()
    output = model(input)
    yield "output", output.detach().numpy()
    (output * torch.from_numpy(grad)).sum().backward()
    yield "gradients", torch.cat([p.grad.flatten() for p in parameters]).numpy()
    yield "input gradient", input.grad.numpy()


def _shapes(layers, in_channels, growth_rate, bn_size):
    r"""Return the shape of each parameter."""
    width, shapes = bn_size * growth_rate, []
    for i in range(layers):
        c = in_channels + i * growth_rate
        shapes += [(c,), (c,), (width, c, 1, 1), (width,), (width,), (growth_rate, width, 3, 3)]
    return shapes


def oracle(
    weights: NDArray[Any], input: NDArray[Any], grad: NDArray[Any], **settings: int
) -> dict[str, Any]:
    r"""Write into one array, from which every layer reads what stands to its left."""
    shapes = _shapes(**settings)
    vector = torch.from_numpy(weights).requires_grad_()
    parts = [p.reshape(s) for p, s in zip(vector.split([*map(prod, shapes)]), shapes, strict=True)]
    x = torch.from_numpy(input).requires_grad_()
    store = x
    for i in range(settings["layers"]):
        a, b, conv1, c, d, conv2 = parts[6 * i : 6 * i + 6]
        maps = _scaled(store, a, b).clamp(min=0)
        maps = torch.einsum("nchw,kc->nkhw", maps, conv1[:, :, 0, 0])
        maps = F.conv2d(_scaled(maps, c, d).clamp(min=0), conv2, padding=1)
        store = torch.cat((store, maps), dim=1)
    (store * torch.from_numpy(grad)).sum().backward()
    return {
        "shapes": shapes,
        "output": store.detach().numpy(),
        "gradients": vector.grad.numpy(),
        "input gradient": x.grad.numpy(),
    }


def _scaled(maps, weight, bias):
    r"""Normalise with mean 0 and variance 1, as a fresh batch normalisation does."""
    return maps / (1 + 1e-5) ** 0.5 * weight[:, None, None] + bias[:, None, None]


def _row(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _pixel(*channels: float) -> NDArray[np.float32]:
    r"""Return one image of a single pixel."""
    return np.array([[[[value]] for value in channels]], np.float32)


def _middle(value: float) -> tuple[float, ...]:
    r"""Return a kernel of 3 x 3 that only has a middle."""
    return (0, 0, 0, 0, value, 0, 0, 0, 0)


N = (1 + 1e-5) ** 0.5  # as the weight of a fresh batch normalisation: it changes nothing
ONE = {"layers": 1, "in_channels": 1, "growth_rate": 1, "bn_size": 1}
SHAPES = [(1,), (1,), (1, 1, 1, 1), (1,), (1,), (1, 1, 3, 3)]

PUBLIC = (
    Case(
        "",
        ONE
        | {
            "weights": _row(N, -1, 3, N, -1, *_middle(5)),
            "input": _pixel(2),
            "grad": _pixel(1, 10),
        },
        {
            "shapes": SHAPES,
            "output": _pixel(2, 10),
            "gradients": _row(300 / N, 150, 50, 150 / N, 50, *_middle(20)),
            "input gradient": _pixel(151),
        },
    ),
    Case(
        "layers",
        ONE
        | {
            "layers": 2,
            "weights": _row(
                *(N, -1, 3, N, -1, *_middle(5)),
                *(N, N, 0, -5, 2, 1, N, 1, *_middle(-1)),
            ),
            "input": _pixel(2),
            "grad": _pixel(0, 0, 1),
        },
        {
            "shapes": [*SHAPES, (2,), (2,), (1, 2, 1, 1), *SHAPES[3:]],
            "output": _pixel(2, 10, -10),
            "gradients": _row(
                *(-30 / N, -15, -5, -15 / N, -5, *_middle(-2)),
                *(-4 / N, -10 / N, -2, -1, -2, -5, -9 / N, -1, *_middle(10)),
            ),
            "input gradient": _pixel(-17),
        },
    ),
    Case(
        "channels",
        ONE
        | {
            "in_channels": 2,
            "weights": _row(N, N, -1, 1, 3, 7, N, -1, *_middle(5)),
            "input": _pixel(2, -3),
            "grad": _pixel(0, 0, 1),
        },
        {
            "shapes": [(2,), (2,), (1, 2, 1, 1), *SHAPES[3:]],
            "output": _pixel(2, -3, 10),
            "gradients": _row(30 / N, 0, 15, 0, 5, 0, 15 / N, 5, *_middle(2)),
            "input gradient": _pixel(15, 0),
        },
    ),
    Case(
        "width",
        ONE
        | {
            "bn_size": 2,
            "weights": _row(N, -1, 3, 4, N, N, -1, 0, *_middle(5), *_middle(-2)),
            "input": _pixel(2),
            "grad": _pixel(0, 1),
        },
        {
            "shapes": [(1,), (1,), (2, 1, 1, 1), (2,), (2,), (1, 2, 3, 3)],
            "output": _pixel(2, 2),
            "gradients": _row(*(14 / N, 7, 5, -2, 15 / N, -8 / N, 5, -2, *_middle(2), *_middle(4))),
            "input gradient": _pixel(7),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield blocks with random weights: small ones, then more layers, channels, maps inside."""
    plain = {"layers": 2, "in_channels": 3, "growth_rate": 2, "bn_size": 2}
    kinds: dict[str, dict[str, int]] = {
        "": {},
        "layers": {"layers": 4},
        "channels": {"in_channels": 5, "growth_rate": 3},
        "width": {"bn_size": 3, "growth_rate": 1},
    }
    for group, settings in kinds.items():
        for n in (1, 3):
            yield _case(rng, group, n, plain | settings)


def _case(rng: np.random.Generator, group: str, n: int, settings: dict[str, int]) -> Case:
    height, width = (int(k) for k in rng.integers(3, 6, 2))
    after = settings["in_channels"] + settings["layers"] * settings["growth_rate"]
    inputs = settings | {
        "weights": rng.normal(size=sum(map(prod, _shapes(**settings)))).astype(np.float32),
        "input": rng.normal(size=(n, settings["in_channels"], height, width)).astype(np.float32),
        "grad": rng.normal(size=(n, after, height, width)).astype(np.float32),
    }
    return Case(group, inputs, oracle(**inputs))


class _Block(DenseBlock):
    r"""A block of other layers: `layer(channels, width, growth_rate)` makes one."""

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        nn.ModuleDict.__init__(self)
        for i in range(layers):
            channels = in_channels + i * growth_rate
            self[f"layer{i}"] = self.layer(channels, bn_size * growth_rate, growth_rate)

    def layer(self, channels, width, growth_rate):
        return nn.Sequential(*self.first(channels, width), *self.second(width, growth_rate))

    def first(self, channels, width):
        norm, conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, width, 1, bias=False)
        return norm, nn.ReLU(), conv

    def second(self, width, growth_rate):
        conv = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)
        return nn.BatchNorm2d(width), nn.ReLU(), conv


class no_relu_before_the_first(_Block):
    """There is no ReLU before your 1 × 1 convolutions. It stands behind each of the two
    normalisations.
    """

    def first(self, channels, width):
        return nn.BatchNorm2d(channels), nn.Conv2d(channels, width, 1, bias=False)


class no_relu_before_the_second(_Block):
    """There is no ReLU before your 3 × 3 convolutions. It stands behind each of the two
    normalisations.
    """

    def second(self, width, growth_rate):
        conv = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)
        return nn.BatchNorm2d(width), conv


class relu_at_the_end(_Block):
    """Your layers end with a ReLU. They end with the 3 × 3 convolution: a normalisation and a ReLU
    come first in whatever reads the maps.
    """

    def second(self, width, growth_rate):
        return *super().second(width, growth_rate), nn.ReLU()


class convolution_first(_Block):
    """Each of your convolutions comes before its normalisation and ReLU, as in older networks. Here
    it comes after them.
    """

    def layer(self, channels, width, growth_rate):
        _, relu, conv = self.first(channels, width)
        _, last_relu, last = self.second(width, growth_rate)
        return nn.Sequential(
            *(conv, nn.BatchNorm2d(width), relu),
            *(last, nn.BatchNorm2d(growth_rate), last_relu),
        )


class no_first_convolution(_Block):
    """Your layers have no 1 × 1 convolution. It comes first and makes `bn_size * growth_rate` maps,
    so that the 3 × 3 has fewer to read.
    """

    def layer(self, channels, width, growth_rate):
        return nn.Sequential(*self.second(channels, growth_rate))


class convolutions_exchanged(_Block):
    """Your layers begin with the 3 × 3 convolution and end with the 1 × 1. The cheap one comes
    first, to leave fewer maps to the dear one.
    """

    def layer(self, channels, width, growth_rate):
        first, last = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, growth_rate, 1)
        first.bias = last.bias = None
        norms = nn.BatchNorm2d(channels), nn.BatchNorm2d(width)
        return nn.Sequential(norms[0], nn.ReLU(), first, norms[1], nn.ReLU(), last)


class padding_forgotten(_Block):
    """Your 3 × 3 convolutions shrink the maps, so they cannot be joined to the others. Give them
    `padding=1`.
    """

    def second(self, width, growth_rate):
        conv = nn.Conv2d(width, growth_rate, 3, bias=False)
        return nn.BatchNorm2d(width), nn.ReLU(), conv


class biases_left_on(_Block):
    """Your convolutions have biases: there are two tensors too many in every layer. Say
    `bias=False`.
    """

    def layer(self, channels, width, growth_rate):
        layers = super().layer(channels, width, growth_rate)
        for i in (2, 5):
            layers[i].bias = nn.Parameter(torch.zeros(layers[i].out_channels))
        return layers


class width_always_four(_Block):
    """Your 1 × 1 convolutions make four times as many maps as the growth rate, whatever `bn_size`
    says. Multiply by it.
    """

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        super().__init__(layers, in_channels, growth_rate, 4)


class width_from_the_input(_Block):
    """Your 1 × 1 convolutions make `bn_size` times as many maps as they read. It is `bn_size` times
    the growth rate.
    """

    def layer(self, channels, width, growth_rate):
        return super().layer(channels, width // growth_rate * channels, growth_rate)


class channels_do_not_grow(_Block):
    """All your layers expect the channels of the block's input. Each one before has added
    `growth_rate` of them: layer i, counted from 0, reads `in_channels + i * growth_rate`.
    """

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        nn.ModuleDict.__init__(self)
        for i in range(layers):
            self[f"layer{i}"] = self.layer(in_channels, bn_size * growth_rate, growth_rate)


class counted_from_one(_Block):
    """Your first layer expects `growth_rate` channels too many. Nothing has been added when it
    reads: count the layers from 0.
    """

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        super().__init__(layers, in_channels + growth_rate, growth_rate, bn_size)


class one_layer_too_few(_Block):
    """There is one layer too few. The input of the block does not count as one."""

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        super().__init__(layers - 1, in_channels, growth_rate, bn_size)


class only_the_layer_before(_Block):
    """Your layers read what the layer before them puts out, and nothing else. A layer reads the
    input of the block and the maps of *all* layers before it.
    """

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        nn.ModuleDict.__init__(self)
        for i in range(layers):
            channels = growth_rate if i else in_channels
            self[f"layer{i}"] = self.layer(channels, bn_size * growth_rate, growth_rate)

    def forward(self, input):
        maps = [input]
        for layer in self.values():
            maps.append(layer(maps[-1]))
        return torch.cat(maps, dim=1)


class input_read_once(_Block):
    """Your later layers read the maps of the layers before them, but not the input of the block. It
    is the first part of what every layer reads.
    """

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        nn.ModuleDict.__init__(self)
        for i in range(layers):
            channels = i * growth_rate or in_channels
            self[f"layer{i}"] = self.layer(channels, bn_size * growth_rate, growth_rate)

    def forward(self, input):
        maps = []
        for layer in self.values():
            maps.append(layer(torch.cat(maps or [input], dim=1)))
        return torch.cat([input, *maps], dim=1)


class newest_first(_Block):
    """You put the newest maps in front of the others. The order is: input of the block, first
    layer, second layer, and so on.
    """

    def forward(self, input):
        for layer in self.values():
            input = torch.cat([layer(input), input], dim=1)
        return input


class input_left_out(_Block):
    """The maps of all layers leave your block, but its input does not. It is the first part of what
    leaves.
    """

    def forward(self, input):
        return super().forward(input)[:, input.shape[1] :]


class last_layer_only(_Block):
    """Only the maps of the last layer leave your block. Its input and the maps of all layers leave
    it, joined along the channels.
    """

    def forward(self, input):
        layer = list(self.values())[-1]
        return layer(super().forward(input)[:, : layer[0].num_features])


class added_up(_Block):
    """You add a layer's maps to what it has read, as ResNet does. A dense block sets them side by
    side: `torch.cat(..., dim=1)`.
    """

    def forward(self, input):
        for layer in self.values():
            input = input + layer(input)
        return input


class joined_along_the_rows(_Block):
    """You join the maps along an axis that is not that of the channels. Images are (N, C, H, W):
    `dim=1`.
    """

    def forward(self, input):
        maps = [input]
        for layer in self.values():
            maps.append(layer(torch.cat(maps, dim=1)))
        return torch.cat(maps, dim=2)


class cut_off_from_its_history(_Block):
    """The output is right, but the way back is cut: what a layer reads has lost its history through
    `detach`, `.data` or `torch.no_grad()`. Leave them out.
    """

    def forward(self, input):
        maps = [input]
        for layer in self.values():
            maps.append(layer(torch.cat(maps, dim=1).detach()))
        return torch.cat(maps, dim=1)


class layers_in_a_list(_Block):
    """Your layers lie in a plain Python list, where PyTorch does not look: their parameters would
    never be trained. Use `nn.ModuleList`, `nn.ModuleDict` or `nn.Sequential`.
    """

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        super().__init__(layers, in_channels, growth_rate, bn_size)
        kept = list(self.values())
        self.clear()
        self.kept = kept

    def values(self):
        return getattr(self, "kept", None) or super().values()


class parent_not_initialised(DenseBlock):
    """PyTorch has nowhere to keep your layers yet. Begin `__init__` with `super().__init__()`."""

    def __init__(self, layers, in_channels, growth_rate, bn_size=4):
        self.layer = DenseLayer(in_channels, growth_rate, bn_size)


class nothing_returned(DenseBlock):
    """Your `forward` returns nothing. End it with `return` and the joined maps."""

    def forward(self, input):
        super().forward(input)


class one_after_another(_Block):
    """Your layers stand in a row, each reads the maps of the one before, and only the last maps
    leave. Join what a layer puts out to what it has read: `torch.cat([maps, layer(maps)], dim=1)`.
    """

    def forward(self, input):
        for layer in self.values():
            input = layer(input)
        return input


class last_layer_left_out(_Block):
    """The maps of the last layer do not leave your block: it returns what that layer has read. Join
    all the maps once more at the end.
    """

    def forward(self, input):
        maps = [input]
        for layer in self.values():
            joined = torch.cat(maps, dim=1)
            maps.append(layer(joined))
        return joined


class width_without_growth_rate(_Block):
    """Your 1 × 1 convolutions make `bn_size` maps. They make `bn_size * growth_rate` of them."""

    def layer(self, channels, width, growth_rate):
        return super().layer(channels, width // growth_rate, growth_rate)


class every_layer_reads_the_input(_Block):
    """All your layers read the input of the block alone. Each one reads the maps of the layers
    before it as well: join them first.
    """

    def forward(self, input):
        return torch.cat([input, *(layer(input) for layer in self.values())], dim=1)


WRONG = (
    no_relu_before_the_first,
    no_relu_before_the_second,
    relu_at_the_end,
    convolution_first,
    no_first_convolution,
    convolutions_exchanged,
    padding_forgotten,
    biases_left_on,
    width_always_four,
    width_from_the_input,
    channels_do_not_grow,
    counted_from_one,
    one_layer_too_few,
    only_the_layer_before,
    input_read_once,
    newest_first,
    input_left_out,
    last_layer_only,
    added_up,
    joined_along_the_rows,
    cut_off_from_its_history,
    layers_in_a_list,
    parent_not_initialised,
    nothing_returned,
    one_after_another,
    last_layer_left_out,
    width_without_growth_rate,
    every_layer_reads_the_input,
)
