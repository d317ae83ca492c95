r"""EfficientNet-B0 to B7: one network found by search, and a rule that makes it larger.

Tan & Le (2019). New: `compound_scaling`. A larger network can be deeper, wider or see larger
images; each alone soon stops helping (their figure 3), so all three grow together by fixed factors.
The network to start from, B0, was found by an architecture search (their section 4); its block is
MobileNetV2's inverted residual with squeeze-and-excitation, and swish instead of ReLU6.

Names and numbers follow torchvision. What the paper leaves open and the released code fixes: how
widths are rounded (`make_divisible`), that depths are rounded up, the factors of B1 to B7
(`FACTORS`), and stochastic depth that grows with the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from coursepkg.architectures.conv_norm_activation import ConvNormActivation
from coursepkg.architectures.mobilenetv2 import make_divisible
from coursepkg.architectures.registry import register
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation
from coursepkg.architectures.stochastic_depth import StochasticDepth
from coursepkg.validation import integer

__all__ = [
    "CHANNELS",
    "FACTORS",
    "REPEATS",
    "STAGES",
    "EfficientNet",
    "Factors",
    "MBConv",
    "compound_scaling",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]

#: Output channels of B0's stem and of its seven stages (table 1 of the paper).
CHANNELS = (32, 16, 24, 40, 80, 112, 192, 320)

#: Number of blocks in each of the seven stages of B0.
REPEATS = (1, 2, 2, 3, 3, 4, 1)

#: What scaling leaves alone in the seven stages: expansion, kernel, stride of the first block.
STAGES = ((1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 2), (6, 5, 1), (6, 5, 2), (6, 3, 1))


class Factors(NamedTuple):
    r"""How one of the eight published networks differs from B0.

    Attributes
    ----------
    depth, width : float
        Factors of the number of blocks and of channels.
    resolution : int
        Height and width of the images.
    dropout : float
        Before the classifier.
    """

    depth: float
    width: float
    resolution: int
    dropout: float


#: The eight published networks, B0 to B7, as the released code fixes them.
FACTORS = (
    Factors(1.0, 1.0, 224, 0.2),
    Factors(1.1, 1.0, 240, 0.2),
    Factors(1.2, 1.1, 260, 0.3),
    Factors(1.4, 1.2, 300, 0.3),
    Factors(1.8, 1.4, 380, 0.4),
    Factors(2.2, 1.6, 456, 0.4),
    Factors(2.6, 1.8, 528, 0.5),
    Factors(3.1, 2.0, 600, 0.5),
)


def compound_scaling(
    channels: Sequence[int],
    repeats: Sequence[int],
    resolution: int,
    *,
    phi: float = 1.0,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
) -> tuple[list[int], list[int], int]:
    r"""Make a network deeper, wider and its images larger, all by one exponent.

    .. math::

        d = \alpha^\phi, \qquad w = \beta^\phi, \qquad r = \gamma^\phi.

    Twice the depth costs twice the multiply-adds; twice the width or the resolution costs four
    times as many. So the cost grows as :math:`(\alpha \beta^2 \gamma^2)^\phi`, and the constants
    are chosen with :math:`\alpha \beta^2 \gamma^2 \approx 2`.

    Parameters
    ----------
    channels : sequence of int
        Widths. Each times w, to a multiple of 8 (`make_divisible`).
    repeats : sequence of int
        Blocks of each stage. Each times d, rounded up.
    resolution : int
        Height and width of the images. Times r, to the nearest integer.
    phi : float
        The exponent, at least 0; one more costs about twice as much.
    alpha, beta, gamma : float
        The factors at `phi` 1: of depth, width and resolution.

    Returns
    -------
    channels, repeats : list of int
    resolution : int

    Raises
    ------
    ValueError
        If `phi` is negative, a factor not greater than 0, or a number no integer of at least 1.

    References
    ----------
    Tan & Le (2019), section 3.3, equation 3; the constants from section 4. The rounding is that of
    the code they released. The published B1 to B7 do not follow from whole numbers phi: their
    factors are listed in `FACTORS`, and are made by `alpha`, `beta` and `gamma` with `phi` 1.

    Examples
    --------
    >>> compound_scaling([32, 16, 24], [1, 2, 4], 224)
    ([32, 16, 24], [2, 3, 5], 258)
    >>> compound_scaling([32, 16, 24], [1, 2, 4], 224, phi=4)
    ([48, 24, 32], [3, 5, 9], 392)
    """
    if not phi >= 0:
        raise ValueError(f"phi={phi} is negative; use a number of at least 0")
    for name, factor in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not factor > 0:
            raise ValueError(f"{name}={factor} is too small; use a number greater than 0")
    depth, width, scale = alpha**phi, beta**phi, gamma**phi
    return (
        [make_divisible(width * integer("channels", n, 1)) for n in channels],
        [math.ceil(depth * integer("repeats", n, 1)) for n in repeats],
        round(scale * integer("resolution", resolution, 1)),
    )


class MBConv(nn.Module):
    r"""An inverted residual with squeeze-and-excitation in its wide middle.

    Expand by 1 × 1, filter depthwise, weigh the channels, project by 1 × 1. The squeeze has a
    quarter of the channels of the block's input, not of the wide middle.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int
        Of the depthwise convolution.
    expand_ratio : int
        With 1, the expansion is left out.
    drop_probability : float
        Of `StochasticDepth`, for blocks with a shortcut.
    norm_layer : callable
        Makes the normalisation of a number of channels.

    Attributes
    ----------
    block : Sequential
    stochastic_depth : StochasticDepth
    has_shortcut : bool
        Whether the input is added: the shape stays the same.

    Raises
    ------
    ValueError
        If a size is no integer of at least 1, or `drop_probability` no probability.

    References
    ----------
    Tan et al. (2019), MnasNet, figure 7; Tan & Le (2019), section 4, adds squeeze-and-excitation
    and swish (SiLU).

    Examples
    --------
    >>> import torch
    >>> block = MBConv(16, 24, kernel_size=3, stride=2, expand_ratio=6)
    >>> block(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 24, 4, 4])
    >>> block.block[2].fc1.weight.shape[:2]
    torch.Size([4, 96])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        expand_ratio: int,
        drop_probability: float = 0.0,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        hidden = integer("in_channels", in_channels, 1) * integer("expand_ratio", expand_ratio, 1)
        self.has_shortcut = stride == 1 and in_channels == out_channels
        layer = partial(ConvNormActivation, norm_layer=norm_layer, activation_layer=nn.SiLU)
        self.block = nn.Sequential()
        if expand_ratio != 1:
            self.block.append(layer(in_channels, hidden, 1))
        self.block.extend(
            [
                layer(hidden, hidden, kernel_size, stride, groups=hidden),
                SqueezeExcitation(
                    hidden, max(1, in_channels // 4), activation=partial(nn.SiLU, inplace=True)
                ),
                layer(hidden, out_channels, 1, activation_layer=None),
            ]
        )
        self.stochastic_depth = StochasticDepth(drop_probability)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        output = self.block(input)  # (N, C', H', W')
        if self.has_shortcut:
            output = self.stochastic_depth(output)
            output += input
        return output  # type: ignore[no-any-return]


class EfficientNet(nn.Module):
    r"""A stem, seven stages of `MBConv`, a 1 × 1 convolution and a classifier.

    Parameters
    ----------
    channels : sequence of int
        Eight of them: of the stem and of the stages.
    repeats : sequence of int
        Blocks of each of the seven stages.
    num_classes : int
    dropout : float
        Before the classifier.
    drop_probability : float
        Of stochastic depth. Block i of n is skipped with i/n of it, counted from 0.
    norm_layer : callable
        Makes the normalisation of a number of channels.

    Attributes
    ----------
    features, classifier : Sequential
    avgpool : AdaptiveAvgPool2d

    Raises
    ------
    ValueError
        If there are not eight `channels` and seven `repeats`, or a number is no integer of at
        least 1.

    References
    ----------
    Tan & Le (2019), table 1. Initialisation as in torchvision: He et al. (2015) over the outputs
    of a convolution (fan-out); uniform in plus or minus one over the root of the number of classes
    for the classifier.

    Examples
    --------
    >>> import torch
    >>> model = EfficientNet([8] * 8, [1] * 7, num_classes=10)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier.1",)

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        repeats: Sequence[int] = REPEATS,
        num_classes: int = 1000,
        dropout: float = 0.2,
        drop_probability: float = 0.2,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if (len(channels), len(repeats)) != (len(CHANNELS), len(REPEATS)):
            raise ValueError(
                f"channels={channels!r} and repeats={repeats!r} do not describe a stem and seven "
                "stages; pass 8 and 7 numbers"
            )
        channels = [integer("channels", width, 1) for width in channels]
        repeats = [integer("repeats", count, 1) for count in repeats]
        layer = partial(ConvNormActivation, norm_layer=norm_layer, activation_layer=nn.SiLU)
        width, last = channels[0], 4 * channels[-1]
        self.features = nn.Sequential(layer(3, width, stride=2))
        done, total = 0, sum(repeats)
        for (expand_ratio, kernel_size, first_stride), after, count in zip(
            STAGES, channels[1:], repeats, strict=True
        ):
            stage = nn.Sequential()
            for stride in (first_stride, *[1] * (count - 1)):
                drop = drop_probability * done / total
                stage.append(
                    MBConv(width, after, kernel_size, stride, expand_ratio, drop, norm_layer)
                )
                width, done = after, done + 1
            self.features.append(stage)
        self.features.append(layer(width, last, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, inplace=True),
            nn.Linear(last, integer("num_classes", num_classes, 1)),
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                limit = module.out_features**-0.5
                nn.init.uniform_(module.weight, -limit, limit)
                nn.init.zeros_(module.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, C, H/32, W/32): the maps before the pooling."""
        return self.features(input)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        means = self.avgpool(self.forward_features(input)).flatten(1)  # (N, C)
        return self.classifier(means)  # type: ignore[no-any-return]


def _efficientnet(number: int, num_classes: int) -> EfficientNet:
    depth, width, resolution, dropout = FACTORS[number]
    channels, repeats, _ = compound_scaling(
        CHANNELS, REPEATS, 224, alpha=depth, beta=width, gamma=resolution / 224
    )
    # B5 to B7 were trained with TensorFlow's settings of batch normalisation.
    norm_layer = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01) if number > 4 else nn.BatchNorm2d
    return EfficientNet(channels, repeats, num_classes, dropout, norm_layer=norm_layer)


@register("efficientnet", input_size=(3, 224, 224))
def efficientnet_b0(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B0: 5,288,548 parameters, for images of 224 × 224.

    Tan & Le (2019).
    """
    return _efficientnet(0, num_classes)


@register("efficientnet", input_size=(3, 240, 240))
def efficientnet_b1(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B1: 7,794,184 parameters, for images of 240 × 240.

    Tan & Le (2019).
    """
    return _efficientnet(1, num_classes)


@register("efficientnet", input_size=(3, 288, 288))
def efficientnet_b2(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B2: 9,109,994 parameters, for images of 288 × 288.

    The paper's B2 sees 260 × 260 pixels. The weights that torchvision publishes were measured at
    288 × 288, and that is the size registered here.

    Tan & Le (2019).
    """
    return _efficientnet(2, num_classes)


@register("efficientnet", input_size=(3, 300, 300))
def efficientnet_b3(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B3: 12,233,232 parameters, for images of 300 × 300.

    Tan & Le (2019).
    """
    return _efficientnet(3, num_classes)


@register("efficientnet", input_size=(3, 380, 380))
def efficientnet_b4(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B4: 19,341,616 parameters, for images of 380 × 380.

    Tan & Le (2019).
    """
    return _efficientnet(4, num_classes)


@register("efficientnet", input_size=(3, 456, 456))
def efficientnet_b5(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B5: 30,389,784 parameters, for images of 456 × 456.

    Tan & Le (2019).
    """
    return _efficientnet(5, num_classes)


@register("efficientnet", input_size=(3, 528, 528))
def efficientnet_b6(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B6: 43,040,704 parameters, for images of 528 × 528.

    Tan & Le (2019).
    """
    return _efficientnet(6, num_classes)


@register("efficientnet", input_size=(3, 600, 600))
def efficientnet_b7(*, num_classes: int = 1000) -> EfficientNet:
    r"""EfficientNet-B7: 66,347,960 parameters, for images of 600 × 600.

    Tan & Le (2019).
    """
    return _efficientnet(7, num_classes)
