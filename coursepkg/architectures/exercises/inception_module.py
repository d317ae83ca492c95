r"""An inception module

Write `Inception`, the module of GoogLeNet with reductions. Four branches look at the same maps,
and what they put out is stacked along the channels, in this order:

1. `width1` filters of 1 × 1;
2. `width3[0]` filters of 1 × 1, then `width3[1]` filters of 3 × 3;
3. `width5[0]` filters of 1 × 1, then `width5[1]` filters of `size5` × `size5`;
4. max pooling over 3 × 3 places, then `pool` filters of 1 × 1.

Every convolution has a bias and is followed by a ReLU, also those of 1 × 1. All four branches must
leave height and width as they are, or their maps could not be stacked: choose padding and stride
for that. `size5` is an odd number, 5 in the paper. Leave `conv` alone: it lets our class be built
of other convolutions.

PyTorch lists the parameters in the order in which you make the layers, so make them in the order of
the list above.

The cases do just this with your class:

```python
module = Inception(**settings)
shapes = [tuple(p.shape) for p in module.parameters()]
torch.nn.utils.vector_to_parameters(weights, module.parameters())
output = module(input)
(output * grad).sum().backward()
gradients = torch.cat([p.grad.flatten() for p in module.parameters()])
```

where `weights` holds all numbers of all parameters in one row. Then they look at `shapes`,
`output` and `gradients`. The group `size5` tries other sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from coursepkg.architectures.googlenet import Inception
from coursepkg.convolution.exercises.nested_cnn import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"shapes": 2, "output": 4, "gradients": 2, "size5": 2}
environment = "torch"
seconds = 10.0
reference = Inception


def driver(Answer, weights, input, grad, **settings):
    module = Answer(**settings)
    parameters = list(module.parameters())
    yield "shapes", [tuple(p.shape) for p in parameters]
    if sum(p.numel() for p in parameters) != len(weights):
        raise ValueError("the parameters are not as many as the weights of this case")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), parameters)
    output = module(torch.from_numpy(input))
    yield "output", output.detach().numpy()
    (output * torch.from_numpy(grad)).sum().backward()
    yield "gradients", torch.cat([p.grad.flatten() for p in parameters]).numpy()


def _shapes(in_channels, width1, width3, width5, pool, size5=5):
    r"""Return the shape of each parameter."""
    convs = [(width1, in_channels, 1), (width3[0], in_channels, 1), (width3[1], width3[0], 3)]
    convs += [(width5[0], in_channels, 1), (width5[1], width5[0], size5), (pool, in_channels, 1)]
    return [shape for out, into, k in convs for shape in ((out, into, k, k), (out,))]


def oracle(
    weights: NDArray[Any], input: NDArray[Any], grad: NDArray[Any], **settings: Any
) -> dict[str, Any]:
    r"""Compute the module as a function of one long vector, in float64."""
    shapes = _shapes(**settings)
    vector = torch.from_numpy(weights).double().requires_grad_()
    parts = [p.reshape(s) for p, s in zip(vector.split([*map(prod, shapes)]), shapes, strict=True)]
    one, reduce3, three, reduce5, five, project = zip(parts[::2], parts[1::2], strict=True)
    x = torch.from_numpy(input).double()
    padded = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
    largest = padded.unfold(2, 3, 1).unfold(3, 3, 1).amax((-2, -1))
    branches = [
        _conv(x, *one),
        _conv(_conv(x, *reduce3), *three),
        _conv(_conv(x, *reduce5), *five),
        _conv(largest, *project),
    ]
    output = torch.cat(branches, 1)
    (output * torch.from_numpy(grad)).sum().backward()
    found = {"output": output.detach(), "gradients": vector.grad}
    return {"shapes": shapes, **{name: v.float().numpy() for name, v in found.items()}}


def _conv(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2).clamp(min=0)


def _row(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


ONE_EACH = {"in_channels": 1, "width1": 1, "width3": (1, 1), "width5": (1, 1), "pool": 1}
SHAPES = [(1, 1, 1, 1), (1,), (1, 1, 1, 1), (1,), (1, 1, 3, 3), (1,), (1, 1, 1, 1), (1,)]
SHAPES += [(1, 1, 5, 5), (1,), (1, 1, 1, 1), (1,)]
#: Branch 1 is 2 x - 1, branch 2 the pixel to the left + 1/2, branch 3 three times the pixel - 1/2,
#: - 1, branch 4 the largest pixel + 1; no sum is exactly 0, where ReLU has no derivative.
LEFT, MIDDLE3, MIDDLE5 = (
    [float(i == at) for i in range(n)] for n, at in ((9, 3), (9, 4), (25, 12))
)


def _by_hand(size5: int, middle: list[float]) -> dict[str, Any]:
    large = [3 * m for m in middle]
    return ONE_EACH | {
        "size5": size5,
        "weights": _row(2, -1, 1, 0, *LEFT, 0.5, 1, -0.5, *large, -1, 1, 1),
        "input": np.array([[[[1, 3, -2]]]], np.float32),
        "grad": np.ones((1, 4, 1, 3), np.float32),
    }


OUTPUT = np.array([[[[1, 5, 0]], [[0.5, 1.5, 3.5]], [[0.5, 6.5, 0]], [[4, 4, 4]]]], np.float32)
SMALL = [(1, 1, 3, 3) if shape == (1, 1, 5, 5) else shape for shape in SHAPES]
THREE = [0, 0, 0, 4, 4, 3, 0, 0, 0]

PUBLIC = (
    Case(
        "",
        _by_hand(5, MIDDLE5),
        {
            "shapes": SHAPES,
            "output": OUTPUT,
            "gradients": _row(
                *(4, 2, 4, 2, *THREE, 3, 12, 6),
                *(*[0] * 10, 0, 0.5, 3, 2.5, 0, *[0] * 10, 2, 9, 3),
            ),
        },
    ),
    Case(
        "size5",
        _by_hand(3, MIDDLE3),
        {
            "shapes": SMALL,
            "output": OUTPUT,
            "gradients": _row(
                *(4, 2, 4, 2, *THREE, 3, 12, 6), *(0, 0, 0, 0.5, 3, 2.5, 0, 0, 0, 2, 9, 3)
            ),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield small modules with random weights."""
    plain = {"in_channels": 3, "width1": 2, "width3": (3, 4), "width5": (2, 5), "pool": 3}
    others = {"in_channels": 4, "width1": 3, "width3": (2, 1), "width5": (1, 2), "pool": 1}
    kinds: dict[str, list[dict[str, Any]]] = {
        "": [plain, others],
        "size5": [plain | {"size5": 3}, others | {"size5": 7}],
    }
    for group, cases in kinds.items():
        for n, settings in enumerate(cases, 1):
            yield _case(rng, group, n, settings)


def _case(rng: np.random.Generator, group: str, n: int, settings: dict[str, Any]) -> Case:
    height, width = 5 + n, 8
    out = settings["width1"] + settings["width3"][1] + settings["width5"][1] + settings["pool"]
    numbers = {
        "weights": rng.normal(size=sum(map(prod, _shapes(**settings)))) / 2,
        "input": rng.normal(size=(n, settings["in_channels"], height, width)) - 0.5,
        "grad": rng.normal(size=(n, out, height, width)),
    }
    inputs = settings | {name: value.astype(np.float32) for name, value in numbers.items()}
    return Case(group, inputs, oracle(**inputs))


def _layers(into, out, size, bias=True, relu=True, padding=None):
    conv = nn.Conv2d(into, out, size, padding=size // 2 if padding is None else padding, bias=bias)
    return nn.Sequential(conv, nn.ReLU()) if relu else nn.Sequential(conv)


def _chain(sizes, kernels, **options):
    pairs = zip(pairwise(sizes), kernels, strict=True)
    return nn.Sequential(*(_layers(*pair, size, **options) for pair, size in pairs))


class no_relu_behind_the_reductions(Inception):
    """You have no ReLU behind the reductions of 1 x 1. Without it, reduction and convolution are
    one linear map: put `nn.ReLU()` behind every convolution.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        for name, widths, size in (("branch2", width3, 3), ("branch3", width5, size5)):
            first = _layers(in_channels, widths[0], 1, relu=False)
            setattr(self, name, nn.Sequential(first, _layers(*widths, size)))


class no_relu_behind_the_branches(Inception):
    """Your branches put out negative numbers: there is no ReLU behind their last convolutions.
    Put one behind every convolution.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch1 = _layers(in_channels, width1, 1, relu=False)
        for name, widths, size in (("branch2", width3, 3), ("branch3", width5, size5)):
            first = _layers(in_channels, widths[0], 1)
            setattr(self, name, nn.Sequential(first, _layers(*widths, size, relu=False)))
        project = _layers(in_channels, pool, 1, relu=False)
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), project)


class no_relu_behind_the_pooling(Inception):
    """The 1 x 1 convolution behind your pooling has no ReLU. It is a convolution like the others:
    put `nn.ReLU()` behind it.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        project = _layers(in_channels, pool, 1, relu=False)
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), project)


class no_bias(Inception):
    """Your convolutions have no bias: there is one tensor too few for each. There is no batch
    norm here that would replace it, so leave `bias` at its default.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch1 = _layers(in_channels, width1, 1, bias=False)
        self.branch2 = _chain((in_channels, *width3), (1, 3), bias=False)
        self.branch3 = _chain((in_channels, *width5), (1, size5), bias=False)
        project = _layers(in_channels, pool, 1, bias=False)
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), project)


class no_reductions(Inception):
    """Your larger convolutions see all the maps that come in: this is the naive module. Put a
    convolution of 1 x 1 with `width3[0]`, or `width5[0]`, filters before each.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch2 = _layers(in_channels, width3[1], 3)
        self.branch3 = _layers(in_channels, width5[1], size5)


class reductions_behind(Inception):
    """You reduce behind the larger convolution, where nothing is saved any more. The convolution
    of 1 x 1 comes first, with `width3[0]` or `width5[0]` filters.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch2 = _chain((in_channels, *width3), (3, 1))
        self.branch3 = _chain((in_channels, *width5), (size5, 1))


class widths_swapped(Inception):
    """You take the two numbers of `width3` and `width5` in the wrong order. The first is the
    number of filters of the reduction, the second that of the convolution behind it.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3[::-1], width5[::-1], pool, size5)


class large_branch_first(Inception):
    """You stack the branch of `size5` before that of 3 x 3. The order is 1 x 1, 3 x 3, `size5`,
    pooled: the layer behind knows its inputs by their place.
    """

    def forward(self, input):
        branches = self.branch1, self.branch3, self.branch2, self.branch4
        return torch.cat([branch(input) for branch in branches], dim=1)


class pooled_branch_first(Inception):
    """You stack the pooled branch first. It comes last: 1 x 1, 3 x 3, `size5`, pooled."""

    def forward(self, input):
        branches = self.branch4, self.branch1, self.branch2, self.branch3
        return torch.cat([branch(input) for branch in branches], dim=1)


class one_after_another(Inception):
    """Your branches stand one after another: each sees what the one before puts out. All four see
    the input of the module, so apply each to `input`.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch2 = _chain((width1, *width3), (1, 3))
        self.branch3 = _chain((width3[1], *width5), (1, size5))
        self.branch4[1] = _layers(width5[1], pool, 1)

    def forward(self, input):
        outputs = []
        for branch in (self.branch1, self.branch2, self.branch3, self.branch4):
            input = branch(input)
            outputs.append(input)
        return torch.cat(outputs, dim=1)


class maps_of_several_sizes(Inception):
    """Your branches put out maps of several sizes, which cannot be stacked. Give each convolution
    half of its kernel's size as padding, and the pooling `stride=1` and `padding=1`: its stride is
    its window, 3, unless told otherwise.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        for name, widths, size in (("branch2", width3, 3), ("branch3", width5, size5)):
            first = _layers(in_channels, widths[0], 1)
            setattr(self, name, nn.Sequential(first, _layers(*widths, size, padding=0)))


class padding_of_the_reductions(Inception):
    """Your reductions are padded and the convolutions behind them are not. The sizes come out
    right, but at the border the bias of the reduction is seen where zeros should stand: pad the
    larger convolutions instead.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        for name, widths, size in (("branch2", width3, 3), ("branch3", width5, size5)):
            first = _layers(in_channels, widths[0], 1, padding=size // 2)
            setattr(self, name, nn.Sequential(first, _layers(*widths, size, padding=0)))


class padding_always_one(Inception):
    """`padding=1` keeps the size of the maps only with kernels of 3 x 3. The branch of `size5`
    needs `size5 // 2`, or `padding="same"`.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        second = _layers(*width5, size5, padding=1)
        self.branch3 = nn.Sequential(_layers(in_channels, width5[0], 1), second)


class padding_always_two(Inception):
    """`padding=2` keeps the size of the maps only with kernels of 5 x 5. `size5` may be another
    number: use `size5 // 2`, or `padding="same"`.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        second = _layers(*width5, size5, padding=2)
        self.branch3 = nn.Sequential(_layers(in_channels, width5[0], 1), second)


class kernel_always_five(Inception):
    """Your large kernel is 5 x 5 whatever `size5` says. Hand it to the convolution."""

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, 5)


class pooling_with_zeros(Inception):
    """You pad the maps with zeros before you pool. Where all numbers near the border are
    negative, a zero then wins. `nn.MaxPool2d(3, stride=1, padding=1)` lets only real places
    compete.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4[0] = nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 1))


class average_pooling(Inception):
    """You take averages. The fourth branch keeps the largest number of each window: use
    `nn.MaxPool2d`.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4[0] = nn.AvgPool2d(3, 1, 1)


class pooling_behind(Inception):
    """You pool behind the 1 x 1 convolution of the fourth branch. Pooling comes first; the two
    orders give different maps.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4 = nn.Sequential(_layers(in_channels, pool, 1), nn.MaxPool2d(3, 1, 1))


class pooling_forgotten(Inception):
    """Your fourth branch does not pool: it is a second branch of 1 x 1. Put `nn.MaxPool2d(3,
    stride=1, padding=1)` before its convolution.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4[0] = nn.Identity()


class pooled_maps_as_they_are(Inception):
    """Your fourth branch hands on all the pooled maps. Behind the pooling there is a convolution
    of 1 x 1 with `pool` filters, or the maps would grow from module to module.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4 = nn.MaxPool2d(3, 1, 1)


class no_relu_at_all(Inception):
    """You have no ReLU at all. Put `nn.ReLU()` behind every convolution, also behind those of
    1 x 1.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch1 = _layers(in_channels, width1, 1, relu=False)
        self.branch2 = _chain((in_channels, *width3), (1, 3), relu=False)
        self.branch3 = _chain((in_channels, *width5), (1, size5), relu=False)
        self.branch4[1] = _layers(in_channels, pool, 1, relu=False)


class branches_added(Inception):
    """You add what the branches put out. It is stacked along the channels: use `torch.cat` with
    `dim=1`.
    """

    def forward(self, input):
        first, *others = self.branch1, self.branch2, self.branch3, self.branch4
        output = first(input)
        for branch in others:
            output = output + branch(input)
        return output


class larger_kernels_made_last(Inception):
    """You make all convolutions of 1 x 1 first. Make the layers branch by branch, in the order of
    the list: the weights are handed out in the order in which you make them.
    """

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        second, third, fourth = self.branch2, self.branch3, self.branch4
        del self.branch2, self.branch3, self.branch4
        self.reductions = nn.ModuleList((second[0], third[0]))
        self.branch4, self.branch2, self.branch3 = fourth, second, third


class joined_as_images(Inception):
    """You join the maps along axis 0, as `torch.cat` does unless told otherwise: that makes more
    images. The channels are axis 1: `dim=1`.
    """

    def forward(self, input):
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(input) for branch in branches])


class pooling_in_leaps(Inception):
    """One of your branches puts out maps of another size. The message says which, counted from 0:
    if it is number 3, the pooled one, say `stride=1`, as `nn.MaxPool2d` moves on by its window
    otherwise.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4[0] = nn.MaxPool2d(3, padding=1)


class pooling_without_padding(Inception):
    """Your pooling loses a row and a column on every side. `nn.MaxPool2d(3, stride=1, padding=1)`
    keeps the size of the maps.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4[0] = nn.MaxPool2d(3, stride=1)


class pooling_by_default(Inception):
    """`nn.MaxPool2d(3)` makes the maps three times as small, since its stride is its window unless
    told otherwise. `stride=1` and `padding=1` keep their size.
    """

    def __init__(self, in_channels, width1, width3, width5, pool, size5=5):
        super().__init__(in_channels, width1, width3, width5, pool, size5)
        self.branch4[0] = nn.MaxPool2d(3)


WRONG = (
    no_relu_behind_the_reductions,
    no_relu_behind_the_branches,
    no_relu_behind_the_pooling,
    no_relu_at_all,
    no_bias,
    no_reductions,
    reductions_behind,
    widths_swapped,
    large_branch_first,
    pooled_branch_first,
    branches_added,
    larger_kernels_made_last,
    one_after_another,
    maps_of_several_sizes,
    padding_of_the_reductions,
    padding_always_one,
    padding_always_two,
    kernel_always_five,
    pooling_with_zeros,
    average_pooling,
    pooling_behind,
    pooling_forgotten,
    pooled_maps_as_they_are,
    joined_as_images,
    pooling_in_leaps,
    pooling_without_padding,
    pooling_by_default,
)
