r"""MobileNetV3, small and large: MobileNetV2's blocks, with widths and kernels found by search.

Howard et al. (2019). New: an architecture search chose kernel sizes and widths block by block
(tables 1 and 2); squeeze-and-excitation stands in some blocks; hard-swish, a swish made of straight
pieces, replaces ReLU in the deeper half; and the head pools before its wide layer, not after.

Names and numbers follow torchvision. It departs from the paper in three places: squeeze widths are
a quarter of the wide middle rounded to a multiple of 8; the small network's last convolution has no
squeeze-and-excitation, which table 2 gives it; and the head's 1 × 1 convolutions without batch
normalisation are fully connected layers, with dropout between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from coursepkg.architectures.conv_norm_activation import ConvNormActivation
from coursepkg.architectures.mobilenetv2 import make_divisible
from coursepkg.architectures.registry import register
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation
from coursepkg.validation import integer

__all__ = [
    "LARGE",
    "SMALL",
    "BlockSettings",
    "InvertedResidual",
    "MobileNetV3",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
]


class BlockSettings(NamedTuple):
    r"""One row of the paper's tables 1 and 2.

    Attributes
    ----------
    kernel_size : int
        Of the depthwise convolution.
    expanded, out_channels : int
        Channels of the wide middle and of the output.
    has_squeeze, has_hard_swish : bool
        Whether there is squeeze-and-excitation, and hard-swish instead of ReLU.
    stride : int
        Of the depthwise convolution.
    """

    kernel_size: int
    expanded: int
    out_channels: int
    has_squeeze: bool
    has_hard_swish: bool
    stride: int


#: Table 1 of the paper.
LARGE = (
    BlockSettings(3, 16, 16, False, False, 1),
    BlockSettings(3, 64, 24, False, False, 2),
    BlockSettings(3, 72, 24, False, False, 1),
    BlockSettings(5, 72, 40, True, False, 2),
    BlockSettings(5, 120, 40, True, False, 1),
    BlockSettings(5, 120, 40, True, False, 1),
    BlockSettings(3, 240, 80, False, True, 2),
    BlockSettings(3, 200, 80, False, True, 1),
    BlockSettings(3, 184, 80, False, True, 1),
    BlockSettings(3, 184, 80, False, True, 1),
    BlockSettings(3, 480, 112, True, True, 1),
    BlockSettings(3, 672, 112, True, True, 1),
    BlockSettings(5, 672, 160, True, True, 2),
    BlockSettings(5, 960, 160, True, True, 1),
    BlockSettings(5, 960, 160, True, True, 1),
)

#: Table 2 of the paper.
SMALL = (
    BlockSettings(3, 16, 16, True, False, 2),
    BlockSettings(3, 72, 24, False, False, 2),
    BlockSettings(3, 88, 24, False, False, 1),
    BlockSettings(5, 96, 40, True, True, 2),
    BlockSettings(5, 240, 40, True, True, 1),
    BlockSettings(5, 240, 40, True, True, 1),
    BlockSettings(5, 120, 48, True, True, 1),
    BlockSettings(5, 144, 48, True, True, 1),
    BlockSettings(5, 288, 96, True, True, 2),
    BlockSettings(5, 576, 96, True, True, 1),
    BlockSettings(5, 576, 96, True, True, 1),
)

_norm_layer = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    r"""MobileNetV2's block, with squeeze-and-excitation in the wide middle if asked for.

    Parameters
    ----------
    in_channels : int
    settings : BlockSettings
        If `expanded` equals `in_channels`, the expansion is left out.

    Attributes
    ----------
    block : Sequential
    has_shortcut : bool
        Whether the input is added: the shape stays the same.

    References
    ----------
    Howard et al. (2019), section 5.3 and figure 4. Its gate is the hard sigmoid, made of straight
    pieces too.

    Examples
    --------
    >>> import torch
    >>> block = InvertedResidual(16, BlockSettings(5, 64, 16, True, True, 1))
    >>> block(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 16, 8, 8])
    """

    def __init__(self, in_channels: int, settings: BlockSettings) -> None:
        super().__init__()
        kernel_size, hidden, out_channels, has_squeeze, has_hard_swish, stride = settings
        self.has_shortcut = stride == 1 and in_channels == out_channels
        layer = partial(
            ConvNormActivation,
            norm_layer=_norm_layer,
            activation_layer=nn.Hardswish if has_hard_swish else nn.ReLU,
        )
        self.block = nn.Sequential()
        if hidden != in_channels:
            self.block.append(layer(in_channels, hidden, 1))
        self.block.append(layer(hidden, hidden, kernel_size, stride, groups=hidden))
        if has_squeeze:
            squeeze = make_divisible(hidden // 4)
            self.block.append(SqueezeExcitation(hidden, squeeze, scale_activation=nn.Hardsigmoid))
        self.block.append(layer(hidden, out_channels, 1, activation_layer=None))

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        output = self.block(input)  # (N, C', H', W')
        if self.has_shortcut:
            output += input
        return output  # type: ignore[no-any-return]


class MobileNetV3(nn.Module):
    r"""A stem, inverted residual blocks, a 1 × 1 convolution and a classifier of two layers.

    Parameters
    ----------
    blocks : sequence of BlockSettings
    hidden : int
        Units of the first layer of the classifier.
    num_classes : int
    dropout : float
        Between the two layers.

    Attributes
    ----------
    features, classifier : Sequential
    avgpool : AdaptiveAvgPool2d

    References
    ----------
    Howard et al. (2019), tables 1 and 2. Initialisation as in torchvision: He et al. (2015) over
    the outputs of a convolution (fan-out), standard deviation 0.01 for the classifier.

    Examples
    --------
    >>> import torch
    >>> MobileNetV3(SMALL, 64, num_classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier.3",)

    def __init__(
        self,
        blocks: Sequence[BlockSettings],
        hidden: int,
        num_classes: int = 1000,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layer = partial(ConvNormActivation, norm_layer=_norm_layer, activation_layer=nn.Hardswish)
        channels = 16
        self.features = nn.Sequential(layer(3, channels, stride=2))
        for settings in blocks:
            self.features.append(InvertedResidual(channels, settings))
            channels = settings.out_channels
        self.features.append(layer(channels, 6 * channels, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, integer("hidden", hidden, 1)),
            nn.Hardswish(inplace=True),
            nn.Dropout(dropout, inplace=True),
            nn.Linear(hidden, integer("num_classes", num_classes, 1)),
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, C, H/32, W/32): the maps before the pooling."""
        return self.features(input)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        means = self.avgpool(self.forward_features(input)).flatten(1)  # (N, C)
        return self.classifier(means)  # type: ignore[no-any-return]


@register("mobilenet")
def mobilenet_v3_large(*, num_classes: int = 1000) -> MobileNetV3:
    r"""MobileNetV3-Large: 5,483,032 parameters.

    Parameters
    ----------
    num_classes : int

    References
    ----------
    Howard et al. (2019), table 1.
    """
    return MobileNetV3(LARGE, 1280, num_classes)


@register("mobilenet")
def mobilenet_v3_small(*, num_classes: int = 1000) -> MobileNetV3:
    r"""MobileNetV3-Small: 2,542,856 parameters.

    Parameters
    ----------
    num_classes : int

    References
    ----------
    Howard et al. (2019), table 2.
    """
    return MobileNetV3(SMALL, 1024, num_classes)
