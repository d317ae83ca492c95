r"""SqueezeNet: AlexNet's accuracy with a fiftieth of its weights (Iandola et al., 2016).

A *fire module* squeezes its input to few maps by 1 x 1 convolutions, then expands them by 1 x 1 and
3 x 3 convolutions side by side (section 3.2). There is no fully connected layer: the last
convolution gives one map for each class, and its average is the score.

This is version 1.1, which the authors published after the paper: a first convolution of 3 x 3 in
place of 7 x 7, and poolings that come earlier, for 2.4 times fewer multiply-adds than the paper's.
Names and the initialisation are torchvision's. A ReLU stands behind the last convolution, so no
score is negative.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = ["Fire", "SqueezeNet", "squeezenet1_1"]


class Fire(nn.Module):
    r"""Squeeze to few maps, expand to many: the fire module of section 3.2.

    Parameters
    ----------
    in_channels : int
    squeeze : int
        1 x 1 filters of the squeezing layer.
    expand : int
        Filters of 1 x 1, and as many of 3 x 3, of the expanding layer.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    Examples
    --------
    >>> Fire(64, squeeze=16, expand=64)(torch.zeros(1, 64, 55, 55)).shape
    torch.Size([1, 128, 55, 55])
    """

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        r"""Make the three convolutions."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("squeeze", squeeze, 1)
        integer("expand", expand, 1)
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 2 * expand, H, W)."""
        x = self.squeeze_activation(self.squeeze(input))
        small = self.expand1x1_activation(self.expand1x1(x))
        large = self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([small, large], dim=1)


class SqueezeNet(nn.Module):
    r"""Iandola et al. (2016), version 1.1.

    Parameters
    ----------
    num_classes : int
    dropout : float
        Probability with which a number of the last maps is dropped.

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1.

    Attributes
    ----------
    features, classifier : Sequential
        The two parts.
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier.1",)

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Conv2d(512, integer("num_classes", num_classes, 1), 1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )
        self._draw()

    def _draw(self) -> None:
        r"""Draw as He et al. (2015), uniformly, but the last layer from N(0, 0.01²)."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                if layer is self.classifier[1]:
                    nn.init.normal_(layer.weight, 0, 0.01)
                else:
                    nn.init.kaiming_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, 224, 224) -> (N, 512, 13, 13) maps."""
        maps: Tensor = self.features(input)
        return maps

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        scores: Tensor = self.classifier(self.forward_features(input))  # (N, num_classes, 1, 1)
        return scores.flatten(1)


@register("squeezenet")
def squeezenet1_1(*, num_classes: int = 1000) -> SqueezeNet:
    r"""SqueezeNet 1.1, 1,235,496 parameters for 1000 classes."""
    return SqueezeNet(num_classes)
