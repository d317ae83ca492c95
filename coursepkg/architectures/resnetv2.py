r"""ResNet V2: residual networks in which nothing stands on the shortcut.

He, Zhang, Ren & Sun, "Identity Mappings in Deep Residual Networks" (2016). In the first version a
ReLU follows each sum, so that what a block hands on is not quite what it got plus what it learned.
Here batch normalisation and ReLU come *before* each convolution (pre-activation, figure 1b). The
sums are then all that happens on the way from block to block, and one normalisation with ReLU
closes the network.

Names and numbers are timm's. It departs from the authors' networks in one place, as the first
version here does: the stride is in the 3 × 3 convolution. The builders of Keras, which course texts
list, add biases to the stem, to the last convolution of each branch and to the projections; and
they halve the maps in the last block of a stage instead of the first one of the next.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.architectures.resnet import STAGES
from coursepkg.validation import integer

__all__ = ["PreActBottleneck", "ResNetV2", "resnetv2_101", "resnetv2_152", "resnetv2_50"]


class PreActBottleneck(nn.Module):
    r"""Three times normalisation, ReLU, convolution; the input is added, and nothing follows.

    Parameters
    ----------
    in_channels, channels : int
        The block ends with `4 * channels` channels.
    stride : int
        Of the 3 × 3 convolution.
    projection : bool
        Whether the shortcut is a 1 × 1 convolution. It reads the input after the first
        normalisation and ReLU; an identity reads the input itself.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1, or the shortcut is the identity and the branch
        changes the shape.

    References
    ----------
    He et al. (2016), "Identity Mappings in Deep Residual Networks", figure 4e and section 4.2. The
    paper normalises and activates before the paths split in the first block of the network
    (appendix); its authors' code and timm do so wherever the shortcut is a projection.

    Examples
    --------
    >>> import torch
    >>> block = PreActBottleneck(64, 16)
    >>> _ = torch.nn.init.zeros_(block.conv3.weight)
    >>> negative = -torch.ones(1, 64, 5, 5)
    >>> torch.equal(block(negative), negative)  # the first version would return zeros
    True
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, projection: bool = False
    ) -> None:
        r"""Make the layers."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("stride", stride, 1)
        out_channels = integer("channels", channels, 1) * self.expansion
        self.downsample: nn.Module | None = None
        if projection:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(OrderedDict(conv=conv))
        elif stride != 1 or in_channels != out_channels:
            raise ValueError(
                f"stride={stride} with {in_channels} channels in and {out_channels} out changes "
                "the shape, which the identity cannot follow; use projection=True"
            )
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 4 * channels, H / stride, W / stride), rounded up."""
        active = self.relu(self.norm1(input))
        out = self.conv1(active)
        out = self.conv2(self.relu(self.norm2(out)))
        out = self.conv3(self.relu(self.norm3(out)))
        out += input if self.downsample is None else self.downsample(active)
        return out  # type: ignore[no-any-return]


class ResNetV2(nn.Module):
    r"""A convolution, four stages of pre-activation bottlenecks, a normalisation, and a head.

    Parameters
    ----------
    layers : tuple of int
        Number of blocks in each of the four stages.
    num_classes : int

    Raises
    ------
    ValueError
        If there are not four stages, or a number is no integer of at least 1.

    References
    ----------
    He et al. (2016), "Identity Mappings in Deep Residual Networks", section 4 and appendix;
    `layers` as in table 1 of the first paper. Initialisation as in timm: that of
    `coursepkg.architectures.resnet.initialise`, and a standard deviation of 0.01 for the head.

    Examples
    --------
    >>> import torch
    >>> model = ResNetV2((1, 1, 1, 1), num_classes=10)
    >>> images = torch.zeros(2, 3, 64, 64)
    >>> model.forward_features(images).shape, model(images).shape
    (torch.Size([2, 2048, 2, 2]), torch.Size([2, 10]))
    """

    head_names: ClassVar[tuple[str, ...]] = ("head.fc",)

    def __init__(self, layers: tuple[int, ...], *, num_classes: int = 1000) -> None:
        r"""Make the layers and draw their weights."""
        super().__init__()
        if len(layers) != 4:
            raise ValueError(f"layers={layers} has {len(layers)} stages; give four numbers")
        conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(OrderedDict(conv=conv, pool=pool))
        self.stages = nn.Sequential()
        in_channels = 64
        for channels, count in zip((64, 128, 256, 512), layers, strict=True):
            blocks = nn.Sequential()
            for index in range(integer("layers", count, 1)):
                first = index == 0
                stride = 2 if first and channels > 64 else 1
                blocks.append(PreActBottleneck(in_channels, channels, stride, projection=first))
                in_channels = channels * PreActBottleneck.expansion
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        average = nn.AdaptiveAvgPool2d(1)
        scores = nn.Conv2d(in_channels, integer("num_classes", num_classes, 1), 1)
        self.head = nn.Sequential(OrderedDict(global_pool=average, fc=scores))
        self._initialise()

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if name in self.head_names:
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, 2048, H / 32, W / 32), rounded up."""
        x = self.stages(self.stem(input))  # (N, 2048, H / 32, W / 32)
        return self.relu(self.norm(x))  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        x = self.head(self.forward_features(input))  # (N, num_classes, 1, 1)
        return x.flatten(1)  # type: ignore[no-any-return]


def _resnetv2(depth: int, **settings: Any) -> ResNetV2:
    _, layers = STAGES[depth]
    return ResNetV2(layers, **settings)


@register("resnetv2", reference="timm 1.0.31")
def resnetv2_50(*, num_classes: int = 1000) -> ResNetV2:
    r"""ResNet-50 V2: 3 + 4 + 6 + 3 bottlenecks with pre-activation.

    He et al. (2016), "Identity Mappings in Deep Residual Networks".
    """
    return _resnetv2(50, num_classes=num_classes)


@register("resnetv2", reference="timm 1.0.31")
def resnetv2_101(*, num_classes: int = 1000) -> ResNetV2:
    r"""ResNet-101 V2: 3 + 4 + 23 + 3 bottlenecks with pre-activation.

    He et al. (2016), "Identity Mappings in Deep Residual Networks".
    """
    return _resnetv2(101, num_classes=num_classes)


@register("resnetv2", reference="timm 1.0.31")
def resnetv2_152(*, num_classes: int = 1000) -> ResNetV2:
    r"""ResNet-152 V2: 3 + 8 + 36 + 3 bottlenecks with pre-activation.

    He et al. (2016), "Identity Mappings in Deep Residual Networks".
    """
    return _resnetv2(152, num_classes=num_classes)
