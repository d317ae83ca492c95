r"""A residual block

Write `DeepBlock`, two convolutions with a shortcut around them:

$$
y = \operatorname{ReLU}\bigl(F(x) + S(x)\bigr).
$$

1. The branch F is convolution, batch norm, ReLU, convolution, batch norm. Both convolutions have
   kernels of 3 × 3 and padding 1. The first takes `in_channels` to `out_channels` with the
   given `stride`, the second keeps number and size of the maps.
2. The shortcut S has no weights. It takes every `stride`-th row and column, beginning with the
   first, and fills up with channels of zeros, behind the others, until there are `out_channels`.
   Where nothing changes, S(x) = x.
3. With `residual=False` there is no shortcut: a plain block, ReLU of F(x).
4. Convolutions followed by a batch norm have no bias, as its shift replaces it. With
   `batch_norm=False` there is no batch norm, and both convolutions have a bias.

PyTorch lists the parameters in the order in which you make the layers, so make them in the order
in which they are used. You need not check the arguments, and you need no method `shortcut`: it
is ours.

The cases do just this with your class, while it trains:

```python
block = DeepBlock(**settings)
shapes = [tuple(p.shape) for p in block.parameters()]
torch.nn.utils.vector_to_parameters(weights, block.parameters())
output = block(input)
(output * grad).sum().backward()
gradients = torch.cat([p.grad.flatten() for p in block.parameters()])
```

where `weights` holds all numbers of all parameters in one row. Then they look at `shapes`,
`output` and `gradients`. Further groups try one setting each: `plain`, `stride`, `channels` and
`no_norm`.
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

from coursepkg.architectures.deeper import DeepBlock
from coursepkg.convolution.exercises.nested_cnn import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"shapes": 1, "output": 3, "gradients": 2}
points |= {"plain": 1, "stride": 2, "channels": 2, "no_norm": 1}
environment = "torch"
seconds = 10.0
reference = DeepBlock


def driver(Answer, weights, input, grad, **settings):
    block = Answer(**settings)
    parameters = list(block.parameters())
    yield "shapes", [tuple(p.shape) for p in parameters]
    if sum(p.numel() for p in parameters) != len(weights):
        raise ValueError("the parameters are not as many as the weights of this case")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), parameters)
    output = block(torch.from_numpy(input))
    yield "output", output.detach().numpy()
    (output * torch.from_numpy(grad)).sum().backward()
    yield "gradients", torch.cat([p.grad.flatten() for p in parameters]).numpy()


def _shapes(in_channels, out_channels, stride=1, residual=True, batch_norm=True):
    r"""Return the shape of each parameter."""
    rest = [(out_channels,)] * (2 if batch_norm else 1)
    return [
        (out_channels, in_channels, 3, 3),
        *rest,
        (out_channels, out_channels, 3, 3),
        *rest,
    ]


def oracle(
    weights: NDArray[Any], input: NDArray[Any], grad: NDArray[Any], **settings: Any
) -> dict[str, Any]:
    r"""Compute the block as a function of one long vector, in float64."""
    shapes = _shapes(**settings)
    vector = torch.from_numpy(weights).double().requires_grad_()
    parts = [p.reshape(s) for p, s in zip(vector.split([*map(prod, shapes)]), shapes, strict=True)]
    x = torch.from_numpy(input).double()
    half, stride = len(parts) // 2, settings.get("stride", 1)
    out = _layer(x, parts[:half], stride).clamp(min=0)
    out = _layer(out, parts[half:], 1)
    if settings.get("residual", True):
        rows, columns = (range(0, n, stride) for n in x.shape[2:])
        for channel in range(x.shape[1]):
            out[:, channel] = out[:, channel] + x[:, channel, list(rows)][:, :, list(columns)]
    output = out.clamp(min=0)
    (output * torch.from_numpy(grad)).sum().backward()
    found = {"output": output.detach(), "gradients": vector.grad}
    return {"shapes": shapes, **{name: v.float().numpy() for name, v in found.items()}}


def _layer(x, parts, stride):
    """Convolve, then normalise if there are a weight and a bias for it."""
    if len(parts) == 2:
        return F.conv2d(x, *parts, stride=stride, padding=1)
    out = F.conv2d(x, parts[0], stride=stride, padding=1)
    centred = out - out.mean((0, 2, 3), keepdim=True)
    spread = (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    return parts[1][:, None, None] * centred / spread + parts[2][:, None, None]


def _row(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _middle(number: float) -> list[float]:
    r"""Return a kernel of 3 × 3 with one number in its middle."""
    return [0.0] * 4 + [number] + [0.0] * 4


ZEROS = [0.0] * 9
TWO = _row(100, -300).reshape(2, 1, 1, 1)
BY_HAND = {
    "in_channels": 1,
    "out_channels": 1,
    "weights": _row(*_middle(1), 2, 1, *_middle(100), -3, 0.5),
    "input": TWO,
    "grad": _row(1, 10).reshape(2, 1, 1, 1),
}
SHAPES = [(1, 1, 3, 3), (1,), (1,)] * 2
NO_NORM = {"batch_norm": False, "weights": _row(*_middle(2), 1, *_middle(-1), 3.5)}
GRID = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)

PUBLIC = (
    Case(
        "",
        BY_HAND,
        {
            "shapes": SHAPES,
            "output": _row(97.5, 0).reshape(2, 1, 1, 1),
            "gradients": _row(*ZEROS, 0, 0, *ZEROS, 1, 1),
        },
    ),
    Case(
        "plain",
        BY_HAND | {"residual": False},
        {
            "shapes": SHAPES,
            "output": _row(0, 3.5).reshape(2, 1, 1, 1),
            "gradients": _row(*ZEROS, 0, 0, *ZEROS, -10, 10),
        },
    ),
    Case(
        "no_norm",
        BY_HAND | NO_NORM | {"input": TWO / 100},
        {
            "shapes": [(1, 1, 3, 3), (1,)] * 2,
            "output": _row(1.5, 0.5).reshape(2, 1, 1, 1),
            "gradients": _row(*_middle(-1), -1, *_middle(3), 11),
        },
    ),
    Case(
        "stride",
        BY_HAND
        | {"stride": 2, "batch_norm": False, "weights": _row(*_middle(1), 0, *_middle(2), -2)}
        | {"input": GRID, "grad": _row(1, 0, 0, 1).reshape(1, 1, 2, 2)},
        {
            "shapes": [(1, 1, 3, 3), (1,)] * 2,
            "output": _row(1, 7, 19, 25).reshape(1, 1, 2, 2),
            "gradients": _row(
                *(10, 12, 0, 16, 20, 4, 0, 8, 10, 4),
                *(1, 3, 0, 7, 10, 3, 0, 7, 9, 2),
            ),
        },
    ),
    Case(
        "channels",
        BY_HAND
        | {"out_channels": 2, "batch_norm": False, "grad": _row(1, 1).reshape(1, 2, 1, 1)}
        | {
            "weights": _row(
                *(*_middle(1), *_middle(2), 0, -5),
                *(*_middle(1), *ZEROS, *ZEROS, *_middle(3), 0.25, 0.5),
            ),
            "input": _row(3).reshape(1, 1, 1, 1),
        },
        {
            "shapes": [(2, 1, 3, 3), (2,), (2, 2, 3, 3), (2,)],
            "output": _row(6.25, 3.5).reshape(1, 2, 1, 1),
            "gradients": _row(
                *(*_middle(3), *_middle(9), 1, 3),
                *(*_middle(3), *_middle(1), *_middle(3), *_middle(1), 1, 1),
            ),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield blocks with random weights: plain ones, then each setting by itself."""
    same: dict[str, Any] = {"in_channels": 2, "out_channels": 2}
    kinds: dict[str, dict[str, Any]] = {
        "": same,
        "plain": same | {"residual": False},
        "stride": same | {"stride": 2},
        "channels": {"in_channels": 2, "out_channels": 5},
        "no_norm": same | {"batch_norm": False},
    }
    for group, settings in kinds.items():
        for size in ((5, 6), (4, 7)):
            yield _case(rng, group, size, settings)


def _case(
    rng: np.random.Generator, group: str, size: tuple[int, int], settings: dict[str, Any]
) -> Case:
    stride = settings.get("stride", 1)
    maps = tuple(-(-n // stride) for n in size)
    numbers = sum(map(prod, _shapes(**settings)))
    arrays = {
        "weights": rng.normal(size=numbers),
        "input": rng.normal(size=(3, settings["in_channels"], *size)),
        "grad": rng.normal(size=(3, settings["out_channels"], *maps)),
    }
    inputs = settings | {name: a.astype(np.float32) for name, a in arrays.items()}
    return Case(group, inputs, oracle(**inputs))


class no_relu_at_the_end(DeepBlock):
    """Your block ends with the sum. A ReLU comes after it."""

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input)).relu()))
        return out + self.shortcut(input) if self.residual else out


class relu_before_the_sum(DeepBlock):
    """You cut the branch off at 0 before you add it, so that it can only raise its input. Add
    first; the ReLU comes last.
    """

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input)).relu())).relu()
        return out + self.shortcut(input) if self.residual else out


class no_relu_between(DeepBlock):
    """There is no ReLU between your two convolutions. Without it they are only one convolution
    with a larger kernel.
    """

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input))))
        return (out + self.shortcut(input) if self.residual else out).relu()


class shortcut_forgotten(DeepBlock):
    """You add no shortcut, not even with `residual=True`. That is a plain block."""

    def forward(self, input):
        return self.norm2(self.conv2(self.norm1(self.conv1(input)).relu())).relu()


class shortcut_always(DeepBlock):
    """You add the shortcut even with `residual=False`. Then the block is plain: ReLU of F(x)."""

    def __init__(self, *args, residual=True, **named):
        super().__init__(*args, residual=True, **named)


class shortcut_from_the_middle(DeepBlock):
    """Your shortcut begins behind the first convolution. It leads around both: add the input of
    the block.
    """

    def forward(self, input):
        x = self.norm1(self.conv1(input)).relu()
        out = self.norm2(self.conv2(x))
        return (out + x if self.residual else out).relu()


class shortcut_inside_and_outside(DeepBlock):
    """You add the input behind the first convolution too. There is one sum in the block, behind
    the second batch norm.
    """

    def forward(self, input):
        out = self.norm1(self.conv1(input))
        out = (out + self.shortcut(input) if self.residual else out).relu()
        out = self.norm2(self.conv2(out))
        return (out + self.shortcut(input) if self.residual else out).relu()


class norm_behind_the_relu(DeepBlock):
    """You apply the ReLU before the batch norm. The order is convolution, batch norm, ReLU."""

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input).relu())))
        return (out + self.shortcut(input) if self.residual else out).relu()


class norm_behind_the_sum(DeepBlock):
    """Your second batch norm comes after the sum, where it changes the shortcut as well. It
    belongs to the branch.
    """

    def forward(self, input):
        out = self.conv2(self.norm1(self.conv1(input)).relu())
        return self.norm2(out + self.shortcut(input) if self.residual else out).relu()


class shortcut_added_behind_the_relu(DeepBlock):
    """You add the shortcut twice, before the last ReLU and behind it. Once is enough, before it."""

    def forward(self, input):
        out = super().forward(input)
        return out + self.shortcut(input) if self.residual else out


class shortcut_cut_off(DeepBlock):
    """You apply a ReLU to the shortcut. It hands its input on as it is, negative numbers too."""

    def shortcut(self, input):
        return super().shortcut(input.relu())


class normalised_first(DeepBlock):
    """You normalise before you convolve. That is an order of a later paper; here each batch norm
    comes behind its convolution.
    """

    def __init__(self, in_channels, out_channels, stride=1, *, batch_norm=True, **named):
        super().__init__(in_channels, out_channels, stride, batch_norm=batch_norm, **named)
        if batch_norm:
            del self.conv1, self.norm1, self.conv2, self.norm2
            self.norm1 = nn.BatchNorm2d(in_channels)
            self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(out_channels)
            self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
            self.first = True

    def forward(self, input):
        if not hasattr(self, "first"):
            return super().forward(input)
        out = self.conv2(self.norm2(self.conv1(self.norm1(input).relu())).relu())
        return out + self.shortcut(input) if self.residual else out


class stride_in_the_second(DeepBlock):
    """Your second convolution has the stride. It belongs to the first, so that the second works
    on the smaller maps.
    """

    def __init__(self, in_channels, out_channels, stride=1, **named):
        super().__init__(in_channels, out_channels, stride, **named)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


class shortcut_averaged(DeepBlock):
    """Your shortcut takes the mean of each square of pixels. Take every `stride`-th row and column
    as they are: a slice does it.
    """

    def shortcut(self, input):
        means = F.avg_pool2d(input, self.stride, ceil_mode=True)
        return F.pad(means, (0, 0, 0, 0, 0, self.new_channels))


class shortcut_of_the_largest(DeepBlock):
    """Your shortcut takes the largest number of each square of pixels. Take every `stride`-th row
    and column as they are: a slice does it.
    """

    def shortcut(self, input):
        largest = F.max_pool2d(input, self.stride, ceil_mode=True)
        return F.pad(largest, (0, 0, 0, 0, 0, self.new_channels))


class rows_from_the_second_on(DeepBlock):
    """Your shortcut begins with the wrong row or column. Begin with the first, as the convolution
    does: its first window lies around pixel (0, 0).
    """

    def shortcut(self, input):
        if self.stride > 1:
            input = F.pad(input, (0, 1, 0, 1))[:, :, 1:, 1:]
        return super().shortcut(input)


class zeros_in_front(DeepBlock):
    """Your channels of zeros come before the others. They belong behind them."""

    def shortcut(self, input):
        fewer = input[:, :, :: self.stride, :: self.stride]
        return F.pad(fewer, (0, 0, 0, 0, self.new_channels, 0))


class zeros_on_both_sides(DeepBlock):
    """You put channels of zeros on both sides. All of them belong behind the others."""

    def shortcut(self, input):
        fewer = input[:, :, :: self.stride, :: self.stride]
        front = self.new_channels // 2
        return F.pad(fewer, (0, 0, 0, 0, front, self.new_channels - front))


class channels_repeated(DeepBlock):
    """You fill up with copies of the channels. The new channels of the shortcut are zero."""

    def shortcut(self, input):
        fewer = input[:, :, :: self.stride, :: self.stride]
        wanted = input.shape[1] + self.new_channels
        return fewer.repeat(1, -(-wanted // input.shape[1]), 1, 1)[:, :wanted]


class projection(DeepBlock):
    """Where the shape changes, your shortcut is a convolution. That is the other way of the paper;
    here the shortcut has no weights: a slice, and channels of zeros.
    """

    def __init__(self, in_channels, out_channels, stride=1, *, residual=True, batch_norm=True):
        super().__init__(
            in_channels, out_channels, stride, residual=residual, batch_norm=batch_norm
        )
        if residual and (stride != 1 or in_channels != out_channels):
            self.project = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class bias_under_the_norm(DeepBlock):
    """Your convolutions have a bias although a batch norm follows, which subtracts it again. Say
    `bias=False` there.
    """

    def __init__(self, *args, batch_norm=True, **named):
        super().__init__(*args, batch_norm=batch_norm, **named)
        for conv in (self.conv1, self.conv2):
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))


class no_bias_without_norm(DeepBlock):
    """Without a batch norm your convolutions have no bias. With `batch_norm=False` nothing else
    shifts their output: give them one.
    """

    def __init__(self, *args, batch_norm=True, **named):
        super().__init__(*args, batch_norm=batch_norm, **named)
        self.conv1.bias = self.conv2.bias = None


class norm_always(DeepBlock):
    """You normalise even with `batch_norm=False`. Then each convolution has a bias instead."""

    def __init__(self, *args, batch_norm=True, **named):
        super().__init__(*args, batch_norm=True, **named)


class one_norm_for_both(DeepBlock):
    """You use one batch norm twice. Each convolution has its own: two weights, two shifts."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.norm2 = self.norm1


class input_overwritten(DeepBlock):
    """Your results are right, but you write into the input: `+=`, `relu_` and `inplace=True` do
    that. Make new tensors.
    """

    def forward(self, input):
        output = super().forward(input)
        input.clamp_(min=0)
        return output


class input_as_it_is(DeepBlock):
    """You add x as it is, which does not fit F(x) where the stride is 2 or channels are added. The
    shortcut takes every `stride`-th row and column and fills up with channels of zeros.
    """

    def shortcut(self, input):
        return input


class shortcut_stacked(DeepBlock):
    """You put the shortcut next to the branch, as further channels. Add the two, number by
    number.
    """

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input)).relu()))
        return (torch.cat([out, self.shortcut(input)], 1) if self.residual else out).relu()


class shortcut_multiplied(DeepBlock):
    """You multiply the branch by the shortcut. Add them: then the input passes where the branch
    is 0, while a product is 0 there.
    """

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input)).relu()))
        return (out * self.shortcut(input) if self.residual else out).relu()


class rows_not_skipped(DeepBlock):
    """You fill up with channels of zeros, but your shortcut keeps every row and column. Where the
    stride is 2, take every second one, as the branch does.
    """

    def shortcut(self, input):
        return F.pad(input, (0, 0, 0, 0, 0, self.new_channels))


class channels_not_filled(DeepBlock):
    """Your shortcut has no more channels than the input. Fill up with channels of zeros, behind the
    others, until there are `out_channels`.
    """

    def shortcut(self, input):
        return input[:, :, :: self.stride, :: self.stride]


class projection_with_norm(DeepBlock):
    """Where the shape changes, your shortcut is a convolution with a batch norm, as in larger
    ResNets. Here it has no weights: a slice, and channels of zeros.
    """

    def __init__(self, in_channels, out_channels, stride=1, *, residual=True, batch_norm=True):
        super().__init__(
            in_channels, out_channels, stride, residual=residual, batch_norm=batch_norm
        )
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.project = nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class padding_forgotten(DeepBlock):
    """Your convolutions shrink the maps, and the shortcut no longer fits. Give both `padding=1`."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.conv1.padding = self.conv2.padding = (0, 0)


class stride_in_both(DeepBlock):
    """Both of your convolutions have the stride, so that the maps shrink twice. Only the first one
    has it.
    """

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.conv2.stride = self.conv1.stride


class no_relu_at_all(DeepBlock):
    """There is no ReLU in your block. One stands between the convolutions, behind the first batch
    norm, and one behind the sum.
    """

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input))))
        return out + self.shortcut(input) if self.residual else out


class relu_before_and_behind(DeepBlock):
    """You apply a ReLU to the branch, and another one to the sum. The branch ends with its batch
    norm, so that it can lower its input as well; only the sum is cut off.
    """

    def forward(self, input):
        out = self.norm2(self.conv2(self.norm1(self.conv1(input)).relu())).relu()
        return (out + self.shortcut(input)).relu() if self.residual else out


WRONG = (
    no_relu_at_the_end,
    relu_before_the_sum,
    no_relu_between,
    shortcut_forgotten,
    shortcut_always,
    input_as_it_is,
    shortcut_stacked,
    shortcut_multiplied,
    shortcut_from_the_middle,
    shortcut_inside_and_outside,
    norm_behind_the_relu,
    norm_behind_the_sum,
    shortcut_added_behind_the_relu,
    shortcut_cut_off,
    normalised_first,
    stride_in_the_second,
    shortcut_averaged,
    shortcut_of_the_largest,
    rows_from_the_second_on,
    zeros_in_front,
    zeros_on_both_sides,
    channels_repeated,
    projection,
    bias_under_the_norm,
    no_bias_without_norm,
    norm_always,
    one_norm_for_both,
    input_overwritten,
    rows_not_skipped,
    channels_not_filled,
    projection_with_norm,
    padding_forgotten,
    stride_in_both,
    no_relu_at_all,
    relu_before_and_behind,
)
