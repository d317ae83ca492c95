r"""An inverted residual block

Write `InvertedResidual`, the block of MobileNetV2. With `hidden = in_channels * expand_ratio` it
does this:

1. *expand*: a 1 × 1 convolution from `in_channels` to `hidden`, batch norm, ReLU6;
2. *filter*: a 3 × 3 depthwise convolution with padding 1 and the given `stride`, batch norm, ReLU6;
3. *project*: a 1 × 1 convolution from `hidden` to `out_channels`, batch norm. No activation.

ReLU6 cuts off on both sides: $\min(\max(z, 0), 6)$. With `expand_ratio=1` the first step is left
out. No convolution has a bias.

If the result has as many maps of the same size as the input, that is, for `stride=1` and
`in_channels == out_channels`, the input is added to it. Nothing comes after the sum.

PyTorch lists the parameters in the order in which you make the layers, so make them in the order
in which they are used. You need not check the arguments.

The cases do just this with your class, while it trains:

```python
block = InvertedResidual(**settings).double()
shapes = [tuple(p.shape) for p in block.parameters()]
torch.nn.utils.vector_to_parameters(weights, block.parameters())
output = block(input)
(output * grad).sum().backward()
gradients = torch.cat([p.grad.flatten() for p in block.parameters()])
```

where `weights` holds all numbers of all parameters in one row. Then they look at `shapes`,
`output` and `gradients`. Further groups: `stride` has a stride of 2, `channels` other numbers of
channels behind than before, `no_expansion` an `expand_ratio` of 1.
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

from coursepkg.architectures.mobilenetv2 import InvertedResidual
from coursepkg.convolution.exercises.nested_cnn import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"shapes": 2, "output": 3, "gradients": 1, "stride": 1, "channels": 1, "no_expansion": 1}
environment = "torch"
seconds = 10.0
reference = InvertedResidual


def driver(Answer, weights, input, grad, **settings):
    block = Answer(**settings).double()
    parameters = list(block.parameters())
    yield "shapes", [tuple(p.shape) for p in parameters]
    if sum(p.numel() for p in parameters) != len(weights):
        raise ValueError("the parameters are not as many as the weights of this case")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), parameters)
    output = block(torch.from_numpy(input))
    yield "output", output.detach().numpy()
    (output * torch.from_numpy(grad)).sum().backward()
    yield "gradients", torch.cat([p.grad.flatten() for p in parameters]).numpy()


def _shapes(in_channels, out_channels, stride, expand_ratio):
    r"""Return the shape of each parameter."""
    hidden = in_channels * expand_ratio
    kernels = [(hidden, in_channels, 1, 1)] * (expand_ratio > 1)
    kernels += [(hidden, 1, 3, 3), (out_channels, hidden, 1, 1)]
    return [shape for kernel in kernels for shape in (kernel, kernel[:1], kernel[:1])]


def oracle(
    weights: NDArray[Any], input: NDArray[Any], grad: NDArray[Any], **settings: Any
) -> dict[str, Any]:
    r"""Compute the block as a function of one long vector."""
    shapes = _shapes(**settings)
    vector = torch.from_numpy(weights).requires_grad_()
    parts = [p.reshape(s) for p, s in zip(vector.split([*map(prod, shapes)]), shapes, strict=True)]
    x = maps = torch.from_numpy(input)
    *expand, _, _, _, _, _, _ = parts
    if expand:
        maps = _normed(torch.einsum("nchw,dc->ndhw", maps, expand[0][:, :, 0, 0]), *expand[1:])
        maps = maps.clamp(0, 6)
    kernels, *scale = parts[-6:-3]
    maps = torch.stack(
        [
            F.conv2d(maps[:, c : c + 1], kernels[c : c + 1], None, settings["stride"], 1)[:, 0]
            for c in range(len(kernels))
        ],
        dim=1,
    )
    maps = _normed(maps, *scale).clamp(0, 6)
    output = _normed(torch.einsum("nchw,dc->ndhw", maps, parts[-3][:, :, 0, 0]), *parts[-2:])
    if output.shape == x.shape:
        output = output + x
    (output * torch.from_numpy(grad)).sum().backward()
    return {
        "shapes": shapes,
        "output": output.detach().numpy(),
        "gradients": vector.grad.numpy(),
    }


def _normed(maps, weight, bias):
    centred = maps - maps.mean((0, 2, 3), keepdim=True)
    spread = (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    return weight[:, None, None] * centred / spread + bias[:, None, None]


def _row(*numbers: float) -> NDArray[np.float64]:
    return np.array(numbers, float)


def _middle(number: float) -> list[float]:
    r"""Return a kernel of 3 × 3 with one number in its middle."""
    return [0.0] * 4 + [number] + [0.0] * 4


TWO = _row(100, -300).reshape(2, 1, 1, 1)
WIDE = (1e6, -1e6, 2, 10, 1, 0, *_middle(1e8), *_middle(5e7), 1, 3, 2, 4.5)  # expand and filter
BY_HAND = {
    "in_channels": 1,
    "out_channels": 1,
    "stride": 1,
    "expand_ratio": 2,
    "weights": _row(*WIDE, 1e8, 2e7, -3, 0.5),
    "input": TWO,
    "grad": _row(1, 10).reshape(2, 1, 1, 1),
}
SHAPES = [(2, 1, 1, 1), (2,), (2,), (2, 1, 3, 3), (2,), (2,), (1, 2, 1, 1), (1,), (1,)]

PUBLIC = (
    Case(
        "",
        BY_HAND,
        {
            "shapes": SHAPES,
            "output": _row(97.5, -296.5).reshape(2, 1, 1, 1),
            "gradients": _row(*[0] * 30, -9, 11),
        },
    ),
    Case(
        "stride",
        BY_HAND | {"stride": 2, "input": np.tile(TWO, (1, 1, 2, 2))},
        {
            "shapes": SHAPES,
            "output": _row(-2.5, 3.5).reshape(2, 1, 1, 1),
            "gradients": _row(*[0] * 30, -9, 11),
        },
    ),
    Case(
        "channels",
        BY_HAND
        | {"out_channels": 2, "weights": _row(*WIDE, 1e8, 2e7, 5e7, -1e7, -3, 2, 0.5, -1)}
        | {"grad": _row(1, 2, 10, 0).reshape(2, 2, 1, 1)},
        {
            "shapes": [*SHAPES[:6], (2, 2, 1, 1), (2,), (2,)],
            "output": _row(-2.5, 1, 3.5, -3).reshape(2, 2, 1, 1),
            "gradients": _row(*[0] * 32, -9, 2, 11, 2),
        },
    ),
    Case(
        "no_expansion",
        BY_HAND | {"expand_ratio": 1, "weights": _row(*_middle(1e7), 2, 1, 1e8, -3, 0.5)},
        {
            "shapes": [(1, 1, 3, 3), (1,), (1,), (1, 1, 1, 1), (1,), (1,)],
            "output": _row(97.5, -296.5).reshape(2, 1, 1, 1),
            "gradients": _row(*[0] * 12, -9, 11),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield blocks with random weights: plain ones, then each setting by itself."""
    same: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "stride": 1, "expand_ratio": 2}
    kinds: dict[str, dict[str, Any]] = {
        "": same,
        "stride": same | {"stride": 2},
        "channels": same | {"out_channels": 5},
        "no_expansion": same | {"expand_ratio": 1},
    }
    for group, settings in kinds.items():
        for size in ((5, 6), (4, 7)):
            yield _case(rng, group, size, settings)


def _case(
    rng: np.random.Generator, group: str, size: tuple[int, int], settings: dict[str, Any]
) -> Case:
    maps = tuple(-(-n // settings["stride"]) for n in size)
    shapes = _shapes(**settings)
    weights = [rng.normal(size=shape) for shape in shapes]
    weights[1::3] = [rng.choice([-1.5, 1.0, 2.0], size=len(w)) for w in weights[1::3]]
    weights[2::3] = [3 * w for w in weights[2::3]]
    arrays = {
        "weights": np.concatenate([w.ravel() for w in weights]),
        "input": rng.normal(size=(3, settings["in_channels"], *size)),
        "grad": rng.normal(size=(3, settings["out_channels"], *maps)),
    }
    inputs = settings | arrays
    return Case(group, inputs, oracle(**inputs))


class _Block(InvertedResidual):
    r"""The block with other steps; `steps(before, hidden, after, stride)` makes them."""

    act = nn.ReLU6

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, expand_ratio)
        wide = in_channels * expand_ratio
        layers = self.expand(in_channels, wide) if expand_ratio > 1 else []
        layers += [*self.filter(wide, stride), *self.project(wide, out_channels)]
        self.conv = nn.Sequential(*layers)

    def expand(self, before, wide):
        return [nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), self.act()]

    def filter(self, wide, stride):
        conv = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        return [conv, nn.BatchNorm2d(wide), self.act()]

    def project(self, wide, after):
        return [nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after)]


class relu_without_six(_Block):
    """Your activations are ordinary ReLUs. In this block they cut off above 6 too: `nn.ReLU6()`."""

    act = nn.ReLU


class no_activation(_Block):
    """Your block has no activation. ReLU6 follows the first and the second batch norm."""

    act = nn.Identity


class activation_at_the_end(_Block):
    """You apply ReLU6 to the narrow result as well. The projection is linear: its batch norm is the
    last thing before the sum.
    """

    def project(self, wide, after):
        return [*super().project(wide, after), nn.ReLU6()]


class activation_behind_the_sum(_Block):
    """You apply ReLU6 to the sum. Nothing comes after it here, unlike in ResNet."""

    def forward(self, input):
        return F.relu6(super().forward(input))


class no_activation_behind_expand(_Block):
    """There is no ReLU6 behind your expansion. It follows the first batch norm and the second."""

    def expand(self, before, wide):
        return super().expand(before, wide)[:2]


class no_activation_behind_filter(_Block):
    """There is no ReLU6 behind your depthwise convolution. It follows the first batch norm and the
    second.
    """

    def filter(self, wide, stride):
        return super().filter(wide, stride)[:2]


class activation_before_norm(_Block):
    """Your ReLU6 comes before the batch norm. The order is convolution, batch norm, ReLU6."""

    def expand(self, before, wide):
        conv, norm, act = super().expand(before, wide)
        return [conv, act, norm]

    def filter(self, wide, stride):
        conv, norm, act = super().filter(wide, stride)
        return [conv, act, norm]


class ordinary_in_the_middle(_Block):
    """Your 3 x 3 convolution mixes the channels. It is depthwise: `groups=hidden` gives each
    channel one kernel of its own.
    """

    def filter(self, wide, stride):
        _, *rest = super().filter(wide, stride)
        return [nn.Conv2d(wide, wide, 3, stride, 1, bias=False), *rest]


class no_padding(_Block):
    """Your depthwise convolution shrinks the maps. For 3 x 3 kernels `padding=1` keeps the size."""

    def filter(self, wide, stride):
        _, *rest = super().filter(wide, stride)
        return [nn.Conv2d(wide, wide, 3, stride, groups=wide, bias=False), *rest]


class stride_ignored(_Block):
    """Your maps keep their size whatever `stride` says. Hand it to the depthwise convolution."""

    def filter(self, wide, stride):
        return super().filter(wide, 1)


class stride_at_the_end(_Block):
    """Your last convolution has the stride. The depthwise one has it: its kernels see what a 1 x 1
    convolution with a stride would skip, and the normalisation sees fewer places.
    """

    def filter(self, wide, stride):
        self.step = stride
        return super().filter(wide, 1)

    def project(self, wide, after):
        conv, norm = super().project(wide, after)
        conv.stride = (self.step, self.step)
        return [conv, norm]


class always_expanded(_Block):
    """You expand even with `expand_ratio=1`. The first step is left out then: the block begins with
    the depthwise convolution.
    """

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, expand_ratio)
        if expand_ratio == 1:
            self.conv = nn.Sequential(*self.expand(in_channels, in_channels), *self.conv)


class expanded_from_the_output(InvertedResidual):
    """Your middle is `expand_ratio` times as wide as the output. It is that much wider than the
    input.
    """

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, expand_ratio)
        wide = _Block(out_channels, out_channels, stride, expand_ratio).conv
        if expand_ratio > 1:
            wide[0] = nn.Conv2d(in_channels, out_channels * expand_ratio, 1, bias=False)
            self.conv = wide


class expanded_twofold(InvertedResidual):
    """Your block takes no notice of `expand_ratio` but for 1. The middle has `in_channels *
    expand_ratio` channels.
    """

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, 6 if expand_ratio > 1 else 1)


class bias_in_the_convolutions(_Block):
    """Your convolutions have a bias. A batch norm follows each and subtracts the mean, so a bias
    would do nothing: `bias=False`.
    """

    def __init__(self, **settings):
        super().__init__(**settings)
        for conv in [layer for layer in self.conv if isinstance(layer, nn.Conv2d)]:
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))


class no_norm_behind_project(_Block):
    """There is no batch norm behind your projection. Only the activation is missing there."""

    def project(self, wide, after):
        return super().project(wide, after)[:1]


class shortcut_forgotten(_Block):
    """You do not add the input where the shapes agree. Do so for `stride=1` and as many channels
    behind as before.
    """

    def forward(self, input):
        return self.conv(input)


class shortcut_for_any_channels(_Block):
    """You add the input to an output with other channels. Where `in_channels` and `out_channels`
    differ there is no shortcut.
    """

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, expand_ratio)
        self.has_shortcut = stride == 1


class shortcut_for_any_stride(_Block):
    """You add the input where the stride is 2, though the maps are smaller behind. There is no
    shortcut then.
    """

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, expand_ratio)
        self.has_shortcut = in_channels == out_channels


class shortcut_between_the_wide_ends(_Block):
    """Your shortcut joins the wide maps, as that of an ordinary bottleneck does. Here it joins the
    narrow ends: add the input of the block to its result.
    """

    def forward(self, input):
        if not self.has_shortcut:
            return self.conv(input)
        layers = list(self.conv)
        wide = nn.Sequential(*layers[:-5])(input)
        return nn.Sequential(*layers[-2:])(wide + nn.Sequential(*layers[-5:-2])(wide))


class shortcut_always(_Block):
    """You add the input whatever its shape is. It is added only where the result has as many maps
    of the same size: for `stride=1` and `in_channels == out_channels`.
    """

    def forward(self, input):
        return input + self.conv(input)


class groups_of_the_input(_Block):
    """Your 3 x 3 convolution has `in_channels` groups, so each kernel sees `expand_ratio` maps.
    Depthwise it is with as many groups as it has maps: `groups=hidden`.
    """

    def filter(self, wide, stride):
        _, *rest = super().filter(wide, stride)
        return [nn.Conv2d(wide, wide, 3, stride, 1, groups=self.before, bias=False), *rest]

    def expand(self, before, wide):
        self.before = before
        return super().expand(before, wide)

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        nn.Module.__init__(self)
        self.before = in_channels
        super().__init__(in_channels, out_channels, stride, expand_ratio)


class input_overwritten(_Block):
    """Your values are right, but you write into the input, as `+=` does. The caller may still need
    it: return a new tensor.
    """

    def forward(self, input):
        if not self.has_shortcut:
            return self.conv(input)
        input += self.conv(input)
        return input


class stride_at_the_beginning(_Block):
    """Your first convolution has the stride. The depthwise one has it: its kernels see what a 1 x 1
    convolution with a stride would skip.
    """

    def __init__(self, in_channels, out_channels, stride, expand_ratio):
        super().__init__(in_channels, out_channels, stride, expand_ratio)
        first, *rest = (layer for layer in self.conv if isinstance(layer, nn.Conv2d))
        if expand_ratio > 1:
            first.stride, rest[0].stride = rest[0].stride, first.stride


WRONG = (
    relu_without_six,
    no_activation,
    activation_at_the_end,
    activation_behind_the_sum,
    no_activation_behind_expand,
    no_activation_behind_filter,
    activation_before_norm,
    ordinary_in_the_middle,
    no_padding,
    stride_ignored,
    stride_at_the_end,
    always_expanded,
    expanded_from_the_output,
    expanded_twofold,
    bias_in_the_convolutions,
    no_norm_behind_project,
    shortcut_forgotten,
    shortcut_for_any_channels,
    shortcut_for_any_stride,
    shortcut_between_the_wide_ends,
    shortcut_always,
    groups_of_the_input,
    input_overwritten,
    stride_at_the_beginning,
)
