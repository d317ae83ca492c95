r"""DenseNet: every layer reads the maps of all layers before it, and adds a few of its own.

Huang, Liu, van der Maaten & Weinberger, "Densely Connected Convolutional Networks" (2017). New is
that maps are set side by side where ResNet adds them up. A layer can then be narrow: it adds 32
maps (the growth rate k) to a common store that all later layers read.

Names and numbers are torchvision's; the networks are the paper's DenseNet-BC (section 3): a 1 × 1
convolution to 4k maps before each 3 × 3, and transitions that keep half of the maps. Every
convolution inside the blocks comes after its batch norm and ReLU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = [
    "DenseBlock",
    "DenseLayer",
    "DenseNet",
    "Transition",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
]


class DenseLayer(nn.Module):
    r"""Compute a few new maps from all maps so far: BN, ReLU, 1 × 1, BN, ReLU, 3 × 3.

    Parameters
    ----------
    in_channels : int
        Of all maps so far.
    growth_rate : int
        Number of new maps, k in the paper.
    bn_size : int
        The 1 × 1 convolution makes `bn_size * growth_rate` maps.

    Raises
    ------
    ValueError
        If an argument is no integer of at least 1.

    References
    ----------
    Huang et al. (2017), section 3, "Bottleneck layers".

    Examples
    --------
    >>> DenseLayer(64, growth_rate=32)(torch.zeros(2, 64, 7, 7)).shape
    torch.Size([2, 32, 7, 7])
    """

    def __init__(self, in_channels: int, growth_rate: int, bn_size: int = 4) -> None:
        r"""Make the layers."""
        super().__init__()
        width = integer("bn_size", bn_size, 1) * integer("growth_rate", growth_rate, 1)
        self.norm1 = nn.BatchNorm2d(integer("in_channels", in_channels, 1))
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, in_channels, H, W) -> (N, growth_rate, H, W)."""
        x = self.conv1(self.relu1(self.norm1(input)))  # (N, bn_size * growth_rate, H, W)
        return self.conv2(self.relu2(self.norm2(x)))  # type: ignore[no-any-return]


class DenseBlock(nn.ModuleDict):
    r"""Layers of which each reads the input of the block and the maps of all layers before it.

    Parameters
    ----------
    layers : int
        How many.
    in_channels, growth_rate, bn_size : int
        Layer l, counted from 0, reads `in_channels + l * growth_rate` maps. As in `DenseLayer`.

    Raises
    ------
    ValueError
        If an argument is no integer of at least 1.

    References
    ----------
    Huang et al. (2017), equation 2 and figure 1.

    Examples
    --------
    >>> DenseBlock(6, in_channels=64, growth_rate=32)(torch.zeros(2, 64, 7, 7)).shape
    torch.Size([2, 256, 7, 7])
    """

    def __init__(self, layers: int, in_channels: int, growth_rate: int, bn_size: int = 4) -> None:
        r"""Make the layers."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("growth_rate", growth_rate, 1)
        for i in range(integer("layers", layers, 1)):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, bn_size)
            self[f"denselayer{i + 1}"] = layer

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C + layers * growth_rate, H, W)."""
        maps = [input]
        for layer in self.values():
            maps.append(layer(torch.cat(maps, dim=1)))
        return torch.cat(maps, dim=1)


class Transition(nn.Sequential):
    r"""Between two blocks: batch norm, ReLU, a 1 × 1 convolution to fewer maps, average pooling.

    Parameters
    ----------
    in_channels, out_channels : int

    Raises
    ------
    ValueError
        If an argument is no integer of at least 1.

    References
    ----------
    Huang et al. (2017), section 3, "Pooling layers" and "Compression".

    Examples
    --------
    >>> Transition(256, 128)(torch.zeros(2, 256, 8, 8)).shape
    torch.Size([2, 128, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        r"""Make the layers."""
        super().__init__()
        integer("out_channels", out_channels, 1)
        self.norm = nn.BatchNorm2d(integer("in_channels", in_channels, 1))
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2, stride=2)


class DenseNet(nn.Module):
    r"""A stem, dense blocks with transitions between them, and a head.

    Parameters
    ----------
    growth_rate : int
        Maps that each layer adds.
    block_config : sequence of int
        Layers in each block.
    num_init_features : int
        Maps that leave the stem; the paper takes twice the growth rate.
    bn_size : int
        As in `DenseLayer`.
    num_classes : int

    Raises
    ------
    ValueError
        If there is no block, or a number is no integer of at least 1.

    References
    ----------
    Huang et al. (2017), section 3 and table 1. The convolutions are initialised as in He et al.
    (2015), equation 10.

    Examples
    --------
    >>> model = DenseNet(growth_rate=4, block_config=(2, 3), num_init_features=8, num_classes=10)
    >>> images = torch.zeros(2, 3, 64, 64)
    >>> model.forward_features(images).shape, model(images).shape
    (torch.Size([2, 20, 8, 8]), torch.Size([2, 10]))
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        num_classes: int = 1000,
    ) -> None:
        r"""Make the layers and draw their weights."""
        super().__init__()
        if not block_config:
            raise ValueError(
                f"block_config={block_config!r} makes no block; give a number of layers for each"
            )
        channels = integer("num_init_features", num_init_features, 1)
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(channels),
                relu0=nn.ReLU(inplace=True),
                pool0=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
        for number, layers in enumerate(block_config, start=1):
            block = DenseBlock(layers, channels, growth_rate, bn_size)
            self.features.add_module(f"denseblock{number}", block)
            channels += layers * growth_rate
            if number < len(block_config):
                transition = Transition(channels, channels // 2)
                self.features.add_module(f"transition{number}", transition)
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, integer("num_classes", num_classes, 1))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.classifier.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, C, H', W'), the maps of the last block after batch norm and ReLU."""
        return F.relu(self.features(input), inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        x = F.adaptive_avg_pool2d(self.forward_features(input), 1)  # (N, C, 1, 1)
        return self.classifier(x.flatten(1))  # type: ignore[no-any-return]


@register("densenet")
def densenet121(*, num_classes: int = 1000) -> DenseNet:
    r"""DenseNet-121: blocks of 6, 12, 24 and 16 layers, k = 32.

    Huang et al. (2017), table 1.
    """
    return DenseNet(32, (6, 12, 24, 16), 64, num_classes=num_classes)


@register("densenet")
def densenet161(*, num_classes: int = 1000) -> DenseNet:
    r"""DenseNet-161: blocks of 6, 12, 36 and 24 layers, k = 48.

    Not in table 1 of Huang et al. (2017) as published at the conference, where k = 32 throughout;
    the authors' code has it.
    """
    return DenseNet(48, (6, 12, 36, 24), 96, num_classes=num_classes)


@register("densenet")
def densenet169(*, num_classes: int = 1000) -> DenseNet:
    r"""DenseNet-169: blocks of 6, 12, 32 and 32 layers, k = 32.

    Huang et al. (2017), table 1.
    """
    return DenseNet(32, (6, 12, 32, 32), 64, num_classes=num_classes)


@register("densenet")
def densenet201(*, num_classes: int = 1000) -> DenseNet:
    r"""DenseNet-201: blocks of 6, 12, 48 and 32 layers, k = 32.

    Huang et al. (2017), table 1.
    """
    return DenseNet(32, (6, 12, 48, 32), 64, num_classes=num_classes)
