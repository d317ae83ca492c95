r"""MobileNetV2: depthwise convolutions in inverted residual blocks with linear bottlenecks.

Sandler et al. (2018). New: the block of section 3, `InvertedResidual`. A bottleneck block of ResNet
is wide, narrow, wide, and its shortcut joins the wide ends. This one is narrow, wide, narrow: the
costly 3 × 3 convolution in the wide middle is cheap because it is depthwise, and the shortcut joins
the narrow ends, so that few numbers have to be kept. The narrow end has no activation, since ReLU
would lose too much there (section 3.2).

Names and numbers follow torchvision. It departs from the paper in one place: table 2 ends in a
1 × 1 convolution to the classes, which here is a fully connected layer after dropout.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from coursepkg.architectures.conv_norm_activation import ConvNormActivation
from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = ["InvertedResidual", "MobileNetV2", "make_divisible", "mobilenet_v2"]

#: Table 2 of the paper: expansion t, output channels c, number of blocks n, stride s of the first.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def make_divisible(channels: float, divisor: int = 8) -> int:
    r"""Round to the nearest multiple of `divisor`, but never below 90 % of `channels`.

    Hardware works best on widths that fill its registers. A tie goes up. What would lose more than
    a tenth goes up to the next multiple, and nothing is smaller than `divisor`.

    Parameters
    ----------
    channels : float
        Greater than 0; it need not be whole, as it often is a number times a factor.
    divisor : int

    Raises
    ------
    ValueError
        If `channels` is not greater than 0, or `divisor` is no integer of at least 1.

    References
    ----------
    The papers do not mention it; it comes from the code that was released with the MobileNets.

    Examples
    --------
    >>> [make_divisible(channels) for channels in (3, 33, 35.2, 36, 10, 11)]
    [8, 32, 32, 40, 16, 16]
    """
    integer("divisor", divisor, 1)
    if not channels > 0:
        raise ValueError(f"channels={channels} is too small; use a number greater than 0")
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


class InvertedResidual(nn.Module):
    r"""Expand, filter every channel for itself, project: a residual block with narrow ends.

    1. A 1 × 1 convolution makes t times as many channels; batch normalisation, ReLU6.
    2. A 3 × 3 depthwise convolution filters each of them; batch normalisation, ReLU6.
    3. A 1 × 1 convolution brings them back to few; batch normalisation, and no activation: the
       bottleneck is linear.

    If nothing changes its shape, the input is added. For C channels in and out and t = 6 it has

    .. math:: 6C^2 + 9 \cdot 6C + 6C^2

    weights, where one ordinary 3 × 3 convolution in the wide middle would have :math:`9 (6C)^2`.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int
        Of the depthwise convolution.
    expand_ratio : int
        The factor t. With 1, the first step is left out.

    Attributes
    ----------
    conv : Sequential
        The steps; the last one is two layers, convolution and normalisation.
    has_shortcut : bool
        Whether the input is added.

    Raises
    ------
    ValueError
        If an argument is no integer of at least 1.

    References
    ----------
    Sandler et al. (2018), section 3.3, table 1 and figure 4d.

    Examples
    --------
    >>> import torch
    >>> block = InvertedResidual(24, 24, stride=1, expand_ratio=6)
    >>> sum(p.numel() for p in block.parameters() if p.ndim == 4)
    8208
    >>> block(torch.zeros(2, 24, 14, 14)).shape, block.has_shortcut
    (torch.Size([2, 24, 14, 14]), True)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = integer("in_channels", in_channels, 1) * integer("expand_ratio", expand_ratio, 1)
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential()
        if expand_ratio != 1:
            self.conv.append(ConvNormActivation(in_channels, hidden, 1, activation_layer=nn.ReLU6))
        self.conv.extend(
            [
                ConvNormActivation(
                    hidden, hidden, 3, stride, groups=hidden, activation_layer=nn.ReLU6
                ),
                nn.Conv2d(hidden, integer("out_channels", out_channels, 1), 1, bias=False),
                nn.BatchNorm2d(out_channels),
            ]
        )

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        output = self.conv(input)  # (N, C', H', W')
        return input + output if self.has_shortcut else output  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    r"""A stem, seventeen inverted residual blocks, a 1 × 1 convolution and a classifier.

    Parameters
    ----------
    num_classes : int
    width_mult : float
        Factor of all widths, each rounded by `make_divisible`. The last convolution before the
        classifier never has fewer than 1280 channels (section 4).
    dropout : float
        Before the classifier.

    Attributes
    ----------
    features, classifier : Sequential

    References
    ----------
    Sandler et al. (2018), table 2. Initialisation as in torchvision: He et al. (2015) over the
    outputs of a convolution (fan-out), standard deviation 0.01 for the classifier.

    Examples
    --------
    >>> import torch
    >>> MobileNetV2(num_classes=10, width_mult=0.25)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier.1",)

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        channels = make_divisible(32 * width_mult)
        last = make_divisible(1280 * max(1.0, width_mult))
        self.features = nn.Sequential(
            ConvNormActivation(3, channels, stride=2, activation_layer=nn.ReLU6)
        )
        for expand_ratio, width, repeats, first_stride in STAGES:
            for stride in (first_stride, *[1] * (repeats - 1)):
                after = make_divisible(width * width_mult)
                self.features.append(InvertedResidual(channels, after, stride, expand_ratio))
                channels = after
        self.features.append(ConvNormActivation(channels, last, 1, activation_layer=nn.ReLU6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(last, integer("num_classes", num_classes, 1))
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, 1280, H/32, W/32): the maps before the pooling."""
        return self.features(input)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        means = self.forward_features(input).mean((2, 3))  # (N, 1280)
        return self.classifier(means)  # type: ignore[no-any-return]


@register("mobilenet")
def mobilenet_v2(*, num_classes: int = 1000) -> MobileNetV2:
    r"""MobileNetV2 of width 1: 3,504,872 parameters.

    Sandler et al. (2018).
    """
    return MobileNetV2(num_classes)
