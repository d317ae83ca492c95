r"""MobileNet: a small network made of depthwise separable convolutions.

Howard et al. (2017). After one ordinary convolution come thirteen pairs: a depthwise one that looks
around in each map, and a pointwise one that mixes the maps. There is no pooling between them and no
shortcut; where the maps get smaller, a depthwise convolution has stride 2.

Names and numbers are timm's `mobilenetv1_100`. It departs from the paper in two places: ReLU6
stands for ReLU, as in the code that the authors released, and the paper's table 1 gives the last
depthwise convolution stride 2, with which its maps could not stay at 7 × 7; it has stride 1.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from coursepkg.architectures.mobilenetv2 import make_divisible
from coursepkg.architectures.registry import register
from coursepkg.architectures.separable import DepthwiseSeparableConv2d
from coursepkg.validation import integer

__all__ = ["MobileNetV1", "mobilenet_v1"]

#: Table 1 of the paper, by size of the maps: channels c, number of pairs n, stride s of the first.
STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


class MobileNetV1(nn.Module):
    r"""A stem, thirteen depthwise separable convolutions in five stages, and a linear classifier.

    Parameters
    ----------
    num_classes : int
    width_mult : float
        Factor α of all widths, each rounded by `make_divisible` (section 3.3).

    Attributes
    ----------
    conv_stem, bn1 : Module
    blocks : Sequential
        Of one Sequential for each stage.
    classifier : Linear

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1, or `width_mult` not greater than 0.

    References
    ----------
    Howard et al. (2017), table 1. Initialisation as in timm: He et al. (2015), equation 14, where
    a depthwise convolution counts the outputs of one channel; the classifier uniform within
    :math:`1 / \sqrt{\text{num\_classes}}`.

    Examples
    --------
    >>> import torch
    >>> MobileNetV1(num_classes=10, width_mult=0.25)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0) -> None:
        r"""Make the layers and draw their weights."""
        super().__init__()
        channels = make_divisible(32 * width_mult)
        self.conv_stem = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU6(inplace=True)
        self.blocks = nn.Sequential()
        for width, repeats, first_stride in STAGES:
            pairs = nn.Sequential()
            for stride in (first_stride, *[1] * (repeats - 1)):
                after = make_divisible(width * width_mult)
                pairs.append(
                    DepthwiseSeparableConv2d(
                        channels, after, stride=stride, activation_layer=nn.ReLU6
                    )
                )
                channels = after
            self.blocks.append(pairs)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, integer("num_classes", num_classes, 1))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                outputs = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, (2 / outputs) ** 0.5)
        bound = self.classifier.out_features**-0.5
        nn.init.uniform_(self.classifier.weight, -bound, bound)
        nn.init.zeros_(self.classifier.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, 1024, H/32, W/32): the maps before the pooling."""
        x = self.act1(self.bn1(self.conv_stem(input)))  # (N, 32, H/2, W/2)
        return self.blocks(x)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        means = self.global_pool(self.forward_features(input))  # (N, 1024, 1, 1)
        return self.classifier(means.flatten(1))  # type: ignore[no-any-return]


@register("mobilenet", reference="timm 1.0.31")
def mobilenet_v1(*, num_classes: int = 1000) -> MobileNetV1:
    r"""MobileNet of width 1: 4,231,976 parameters.

    Howard et al. (2017), table 1.
    """
    return MobileNetV1(num_classes)
