r"""VGG: nothing but 3 x 3 convolutions and 2 x 2 pooling, 11 to 19 layers deep.

Simonyan & Zisserman (2015). Three 3 x 3 convolutions in a row see 7 x 7 pixels with fewer weights
than one of 7 x 7, and with three ReLUs (section 2.3). The configurations A, B, D and E are those of
table 1.

Names, the initialisation and the form with batch normalisation, which is younger than the paper,
are torchvision's: the convolutions keep their biases, although the normalisation takes them away
again. The paper trained A first and began the deeper ones with its layers; a good random
initialisation makes that unnecessary, as it says itself (section 3.1). The adaptive pooling, which
changes nothing for 224 x 224, is torchvision's too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = [
    "CONFIGURATIONS",
    "VGG",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vgg_parameters",
]

#: Filters of the convolutions, stage by stage; each stage ends with pooling. Table 1 of the paper.
CONFIGURATIONS = {
    "A": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "B": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "D": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "E": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    r"""Simonyan & Zisserman (2015), "Very deep convolutional networks".

    Parameters
    ----------
    configuration : tuple of tuple of int
        One of `CONFIGURATIONS`.
    batch_norm : bool
        Whether every convolution is followed by batch normalisation.
    num_classes : int
    dropout : float
        Probability with which a hidden unit of the classifier is dropped.

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1.

    Attributes
    ----------
    features, avgpool, classifier : Module
        The three parts.
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier.6",)

    def __init__(
        self,
        configuration: tuple[tuple[int, ...], ...],
        batch_norm: bool = False,
        num_classes: int = 1000,
        dropout: float = 0.5,
    ) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in configuration:
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, integer("num_classes", num_classes, 1)),
        )
        self._draw()

    def _draw(self) -> None:
        r"""Draw convolutions as He et al. (2015) do, linear layers from N(0, 0.01²)."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, 224, 224) -> (N, 512, 7, 7) maps."""
        maps: Tensor = self.features(input)
        return maps

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        x = self.avgpool(self.forward_features(input))  # (N, 512, 7, 7)
        scores: Tensor = self.classifier(x.flatten(1))  # (N, 512*7*7) -> (N, num_classes)
        return scores


@register("vgg")
def vgg11(*, num_classes: int = 1000) -> VGG:
    r"""VGG-11, configuration A: 8 convolutions."""
    return VGG(CONFIGURATIONS["A"], num_classes=num_classes)


@register("vgg")
def vgg13(*, num_classes: int = 1000) -> VGG:
    r"""VGG-13, configuration B: 10 convolutions."""
    return VGG(CONFIGURATIONS["B"], num_classes=num_classes)


@register("vgg")
def vgg16(*, num_classes: int = 1000) -> VGG:
    r"""VGG-16, configuration D: 13 convolutions, 138,357,544 parameters for 1000 classes."""
    return VGG(CONFIGURATIONS["D"], num_classes=num_classes)


@register("vgg")
def vgg19(*, num_classes: int = 1000) -> VGG:
    r"""VGG-19, configuration E: 16 convolutions."""
    return VGG(CONFIGURATIONS["E"], num_classes=num_classes)


@register("vgg")
def vgg11_bn(*, num_classes: int = 1000) -> VGG:
    r"""VGG-11 with batch normalisation."""
    return VGG(CONFIGURATIONS["A"], batch_norm=True, num_classes=num_classes)


@register("vgg")
def vgg13_bn(*, num_classes: int = 1000) -> VGG:
    r"""VGG-13 with batch normalisation."""
    return VGG(CONFIGURATIONS["B"], batch_norm=True, num_classes=num_classes)


@register("vgg")
def vgg16_bn(*, num_classes: int = 1000) -> VGG:
    r"""VGG-16 with batch normalisation."""
    return VGG(CONFIGURATIONS["D"], batch_norm=True, num_classes=num_classes)


@register("vgg")
def vgg19_bn(*, num_classes: int = 1000) -> VGG:
    r"""VGG-19 with batch normalisation, 143,678,248 parameters for 1000 classes."""
    return VGG(CONFIGURATIONS["E"], batch_norm=True, num_classes=num_classes)


def vgg_parameters(
    configuration: Sequence[Sequence[int]], batch_norm: bool = False, num_classes: int = 1000
) -> tuple[int, int]:
    r"""Return how many numbers a VGG learns, in its convolutions and in its classifier.

    Parameters
    ----------
    configuration : sequence of sequence of int
        Filters of the convolutions, stage by stage, as in `CONFIGURATIONS`.
    batch_norm : bool
        Whether every convolution is followed by batch normalisation.
    num_classes : int

    Returns
    -------
    features, classifier : int

    Examples
    --------
    >>> vgg_parameters(CONFIGURATIONS["D"])
    (14714688, 123642856)
    """
    features, channels = 0, 3
    for stage in configuration:
        for width in stage:
            features += width * (channels * 3 * 3 + 1)  # one bias for each filter
            features += 2 * width if batch_norm else 0
            channels = width
    sizes = (channels * 7 * 7, 4096, 4096, num_classes)
    classifier = sum((before + 1) * after for before, after in pairwise(sizes))
    return features, classifier
