r"""AlexNet: the network that won the ImageNet challenge of 2012 (Krizhevsky et al., 2012).

Five convolutions and three fully connected layers. What made it work: its size, the ReLU in place
of tanh (section 3.1), two graphics cards that share one network (3.2), local response normalisation
(3.3) and dropout (4.2). ReLU and dropout were known; the paper cites both.

One builder makes three forms of it:

- "torchvision": the widths 64-192-384-256-256 of torchvision's file, one path, no normalisation,
  PyTorch's own initialisation, and dropout *before* the first two fully connected layers;
- "paper": the two groups of the paper, with its normalisation and initialisation (section 5);
- "ungrouped": as the paper, but each filter sees all maps. This is the form of most lecture notes,
  which leave out the normalisation.

The paper draws an input of 224 x 224 and first maps of 55 x 55, which do not fit together without
padding; all three forms pad by 2, as torchvision does. The adaptive pooling, which changes nothing
for 224 x 224, is torchvision's too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from coursepkg.architectures.lrn import local_response_norm
from coursepkg.architectures.registry import register
from coursepkg.validation import choice, integer

__all__ = ["VARIANTS", "AlexNet", "Variant", "alexnet"]


@dataclass(frozen=True)
class Variant:
    r"""What tells the three forms apart.

    Attributes
    ----------
    widths : tuple of int
        Filters of the five convolutions.
    groups : tuple of int
        Groups of the five convolutions: 2 where a filter sees one half of the maps.
    as_in_2012 : bool
        With local response normalisation after the first two convolutions, dropout *after* the
        first two fully connected layers, and the Gaussian initialisation of section 5.
    """

    widths: tuple[int, int, int, int, int]
    groups: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    as_in_2012: bool = True


VARIANTS = {
    "torchvision": Variant((64, 192, 384, 256, 256), as_in_2012=False),
    "ungrouped": Variant((96, 256, 384, 384, 256)),
    "paper": Variant((96, 256, 384, 384, 256), (1, 2, 1, 2, 2)),
}
#: Kernel, stride and padding of the five convolutions, and whether pooling follows.
WINDOWS = ((11, 4, 2, True), (5, 1, 2, True), (3, 1, 1, False), (3, 1, 1, False), (3, 1, 1, True))


class AlexNet(nn.Module):
    r"""Krizhevsky, Sutskever & Hinton (2012), "ImageNet classification with deep CNNs".

    Parameters
    ----------
    variant : Variant
        One of `VARIANTS`.
    num_classes : int
    dropout : float
        Probability with which a unit is dropped before, or after, the hidden fully connected
        layers.

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
        variant: Variant = VARIANTS["torchvision"],
        num_classes: int = 1000,
        dropout: float = 0.5,
    ) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        plan = zip(variant.widths, variant.groups, WINDOWS, strict=True)
        for number, (width, groups, (kernel, stride, padding, pooled)) in enumerate(plan):
            layers.append(nn.Conv2d(channels, width, kernel, stride, padding, groups=groups))
            layers.append(nn.ReLU(inplace=True))
            if variant.as_in_2012 and number < 2:
                layers.append(local_response_norm())
            if pooled:
                layers.append(nn.MaxPool2d(3, stride=2))
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))

        hidden: list[nn.Module] = []
        for inputs in (channels * 6 * 6, 4096):
            layer = [nn.Linear(inputs, 4096), nn.ReLU(inplace=True)]
            drop = nn.Dropout(dropout)
            hidden += [*layer, drop] if variant.as_in_2012 else [drop, *layer]
        self.classifier = nn.Sequential(
            *hidden, nn.Linear(4096, integer("num_classes", num_classes, 1))
        )
        if variant.as_in_2012:
            self._draw_as_in_2012()

    def _draw_as_in_2012(self) -> None:
        r"""Draw the weights from N(0, 0.01²); biases of 1 wake up the layers of section 5."""
        learned = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        for number, layer in enumerate(learned, start=1):
            nn.init.normal_(layer.weight, 0, 0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, number in (2, 4, 5, 6, 7))

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, 224, 224) -> (N, 256, 6, 6) maps."""
        maps: Tensor = self.features(input)
        return maps

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        x = self.avgpool(self.forward_features(input))  # (N, 256, 6, 6)
        scores: Tensor = self.classifier(x.flatten(1))  # (N, 256*6*6) -> (N, num_classes)
        return scores


@register("alexnet")
def alexnet(*, num_classes: int = 1000, variant: str = "torchvision") -> AlexNet:
    r"""AlexNet: five convolutions and three linear layers, in one of three forms.

    Parameters
    ----------
    num_classes : int
    variant : str
        "torchvision" (61,100,840 parameters for 1000 classes), "ungrouped" (62,378,344) or
        "paper" (60,965,224), as described at the head of this module.

    Raises
    ------
    ValueError
        If there is no such variant.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     model = alexnet(variant="paper")
    >>> sum(p.numel() for p in model.parameters())
    60965224
    """
    return AlexNet(VARIANTS[choice("variant", variant, VARIANTS)], num_classes=num_classes)
