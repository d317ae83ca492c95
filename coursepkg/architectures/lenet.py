r"""LeNet-5: the network that read cheques (LeCun, Bottou, Bengio & Haffner, 1998, section II-B).

Convolution and sub-sampling take turns, and fully connected layers decide: the plan of most
networks since. Up to the layer F6 this file follows the paper, layer for layer, with its 60,000
trainable numbers. Two things are ours. The output layer is linear, so that it can be trained with
the cross entropy; in the paper it measures how far F6 is from ten fixed drawings of 7 x 12 pixels.
And biases begin at zero.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = ["TABLE_I", "LeNet5", "SparseConv2d", "SubSampling", "lenet5", "scaled_tanh"]

#: The maps of S2 that each of the 16 maps of C3 sees: table I of the paper.
TABLE_I = (
    *(tuple(sorted((i + j) % 6 for j in range(3))) for i in range(6)),
    *(tuple(sorted((i + j) % 6 for j in range(4))) for i in range(6)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    tuple(range(6)),
)


def scaled_tanh(input: Tensor) -> Tensor:
    r"""Squash numbers into -1.7159…1.7159, so that ±1 are left where they are.

    .. math:: f(a) = 1.7159 \, \tanh(\tfrac{2}{3} a)

    Parameters
    ----------
    input : tensor of any shape

    Returns
    -------
    tensor of the shape of `input`

    References
    ----------
    LeCun et al. (1998), equation 6 and appendix A.

    Examples
    --------
    >>> scaled_tanh(torch.tensor([-1.0, 0.0, 1.0, 100.0])).round(decimals=4)
    tensor([-1.0000,  0.0000,  1.0000,  1.7159])
    """
    return 1.7159 * torch.tanh(2 / 3 * input)


class SubSampling(nn.Module):
    r"""Add up each 2 x 2 window, times a trained coefficient, plus a trained bias.

    Parameters
    ----------
    channels : int
        Maps. Each has one coefficient and one bias.

    Raises
    ------
    ValueError
        If `channels` is no integer of at least 1.

    References
    ----------
    LeCun et al. (1998), section II-B, layers S2 and S4.

    Examples
    --------
    >>> SubSampling(6)(torch.zeros(1, 6, 28, 28)).shape
    torch.Size([1, 6, 14, 14])
    """

    def __init__(self, channels: int) -> None:
        r"""Make the two numbers of each map."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(integer("channels", channels, 1)))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C, H/2, W/2)."""
        sums = 4 * F.avg_pool2d(input, 2)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class SparseConv2d(nn.Module):
    r"""Convolution whose filters see some of the maps only.

    Parameters
    ----------
    seen : tuple of tuple of int
        For each filter, the input maps that it sees.
    in_channels, kernel_size : int

    Attributes
    ----------
    weight : (links, kernel_size, kernel_size) parameter
        One kernel for each link, in the order of `seen`.
    bias : (len(seen),) parameter

    Raises
    ------
    ValueError
        If `in_channels` or `kernel_size` is no integer of at least 1.

    Notes
    -----
    The kernels of a filter begin uniformly in ±2.4 / n, where n numbers enter each of its sums
    (appendix A of the paper).

    References
    ----------
    LeCun et al. (1998), section II-B, layer C3.

    Examples
    --------
    >>> layer = SparseConv2d(seen=((0, 1), (1,)), in_channels=2, kernel_size=3)
    >>> layer.weight.shape, layer(torch.zeros(1, 2, 5, 5)).shape
    (torch.Size([3, 3, 3]), torch.Size([1, 2, 3, 3]))
    """

    def __init__(
        self, seen: tuple[tuple[int, ...], ...], in_channels: int, kernel_size: int
    ) -> None:
        r"""Make a kernel for each link."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("kernel_size", kernel_size, 1)
        self.shape = (len(seen), in_channels, kernel_size, kernel_size)
        self.links = [(filter, channel) for filter, maps in enumerate(seen) for channel in maps]
        self.weight = nn.Parameter(torch.empty(len(self.links), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(len(seen)))
        for link, (filter, _) in enumerate(self.links):
            bound = 2.4 / (kernel_size**2 * len(seen[filter]))
            nn.init.uniform_(self.weight[link], -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        filters, channels = zip(*self.links, strict=True)
        weight = self.weight.new_zeros(self.shape)  # (C', C, k, k), zero where there is no link
        weight[list(filters), list(channels)] = self.weight
        return F.conv2d(input, weight, self.bias)


class LeNet5(nn.Module):
    r"""LeCun, Bottou, Bengio & Haffner (1998), "Gradient-based learning", section II-B.

    Parameters
    ----------
    num_classes : int

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1.

    Attributes
    ----------
    c1, s2, c3, s4, c5, f6, output : Module
        The layers, by the paper's names.
    """

    head_names: ClassVar[tuple[str, ...]] = ("output",)

    def __init__(self, num_classes: int = 10) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = SubSampling(6)
        self.c3 = SparseConv2d(TABLE_I, in_channels=6, kernel_size=5)
        self.s4 = SubSampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, integer("num_classes", num_classes, 1))
        self._draw()

    def _draw(self) -> None:
        r"""Draw uniformly from ±2.4 / (numbers that enter a unit), as appendix A does."""
        inputs = {"c1": 5 * 5, "s2": 4, "s4": 4, "c5": 16 * 5 * 5, "f6": 120, "output": 84}
        parameters = dict(self.named_parameters())
        for name, entering in inputs.items():
            bound = 2.4 / entering
            nn.init.uniform_(parameters[f"{name}.weight"], -bound, bound)
            nn.init.zeros_(parameters[f"{name}.bias"])

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 1, 32, 32) -> (N, 120, 1, 1) maps."""
        x = scaled_tanh(self.c1(input))  # (N, 6, 28, 28)
        x = scaled_tanh(self.s2(x))  # (N, 6, 14, 14)
        x = scaled_tanh(self.c3(x))  # (N, 16, 10, 10)
        x = scaled_tanh(self.s4(x))  # (N, 16, 5, 5)
        return scaled_tanh(self.c5(x))

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 1, 32, 32) -> (N, num_classes) scores."""
        x = scaled_tanh(self.f6(self.forward_features(input).flatten(1)))  # (N, 84)
        scores: Tensor = self.output(x)
        return scores


@register("lenet", input_size=(1, 32, 32), reference="")
def lenet5(*, num_classes: int = 10) -> LeNet5:
    r"""LeNet-5 for images of 32 x 32: 60,000 numbers up to F6, and 85 more for each class.

    Examples
    --------
    >>> sum(p.numel() for p in lenet5().parameters())
    60850
    """
    return LeNet5(num_classes)
