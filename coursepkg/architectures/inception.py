r"""Inception v3: large kernels taken apart, batch normalisation everywhere (Szegedy et al., 2016).

A 5 x 5 convolution becomes two of 3 x 3, and one of 7 x 7 becomes a 1 x 7 and a 7 x 1, for fewer
multiply-adds (section 3). The maps shrink in two branches of stride 2 beside a pooling, so that
nothing is lost before it is looked at (section 5). One auxiliary head is left, which the authors
call a regulariser (section 4).

Names, widths and the initialisation are torchvision's, after the authors' own program; the paper's
table 1 is shorter and not quite the same network. One 5 x 5 convolution stays in each of the
modules A. The poolings that average count the zeros of the padding. Batch normalisation has an
eps of 0.001, and the input is 299 x 299.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.architectures.googlenet import BasicConv2d
from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = [
    "AuxiliaryHead",
    "InceptionA",
    "InceptionB",
    "InceptionC",
    "InceptionD",
    "InceptionE",
    "InceptionOutputs",
    "InceptionV3",
    "inception_v3",
]

#: A kernel of one row or one column, and the padding with which it keeps the size of the maps.
ROW3, COLUMN3 = (
    {"kernel_size": (1, 3), "padding": (0, 1)},
    {"kernel_size": (3, 1), "padding": (1, 0)},
)
ROW7, COLUMN7 = (
    {"kernel_size": (1, 7), "padding": (0, 3)},
    {"kernel_size": (7, 1), "padding": (3, 0)},
)


class InceptionA(nn.Module):
    r"""1 x 1, 5 x 5, two of 3 x 3, and average pooling side by side.

    Figure 5 of the paper, but for the 5 x 5 branch, which has one 3 x 3 there.

    Parameters
    ----------
    in_channels : int
    pool_features : int
        Filters behind the pooling.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1. The message names the `in_channels` or
        `out_channels` of a convolution.
    """

    def __init__(self, in_channels: int, pool_features: int) -> None:
        r"""Make the four branches."""
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 64, kernel_size=1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, kernel_size=1)
        self.branch5x5_2 = BasicConv2d(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(in_channels, pool_features, kernel_size=1)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 224 + pool_features, H, W)."""
        small = self.branch1x1(input)
        large = self.branch5x5_2(self.branch5x5_1(input))
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(input))
        double = self.branch3x3dbl_3(double)
        pooled = self.branch_pool(F.avg_pool2d(input, 3, stride=1, padding=1))
        return torch.cat([small, large, double, pooled], dim=1)


class InceptionB(nn.Module):
    r"""Halve the maps: 3 x 3, two of 3 x 3, and max pooling, all of stride 2; figure 10.

    Parameters
    ----------
    in_channels : int

    Raises
    ------
    ValueError
        If `in_channels` is no integer of at least 1.
    """

    def __init__(self, in_channels: int) -> None:
        r"""Make the branches that learn."""
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, stride=2)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 480 + C, H', W')."""
        single = self.branch3x3(input)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(input))
        double = self.branch3x3dbl_3(double)
        pooled = F.max_pool2d(input, 3, stride=2)
        return torch.cat([single, double, pooled], dim=1)


class InceptionC(nn.Module):
    r"""7 x 7 taken apart into 1 x 7 and 7 x 1, once and twice: figure 6 of the paper, n = 7.

    Parameters
    ----------
    in_channels : int
    channels_7x7 : int
        Filters inside the branches.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1. The message names the `in_channels` or
        `out_channels` of a convolution.
    """

    def __init__(self, in_channels: int, channels_7x7: int) -> None:
        r"""Make the four branches."""
        super().__init__()
        inside = channels_7x7
        self.branch1x1 = BasicConv2d(in_channels, 192, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(in_channels, inside, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(inside, inside, **ROW7)
        self.branch7x7_3 = BasicConv2d(inside, 192, **COLUMN7)
        self.branch7x7dbl_1 = BasicConv2d(in_channels, inside, kernel_size=1)
        self.branch7x7dbl_2 = BasicConv2d(inside, inside, **COLUMN7)
        self.branch7x7dbl_3 = BasicConv2d(inside, inside, **ROW7)
        self.branch7x7dbl_4 = BasicConv2d(inside, inside, **COLUMN7)
        self.branch7x7dbl_5 = BasicConv2d(inside, 192, **ROW7)
        self.branch_pool = BasicConv2d(in_channels, 192, kernel_size=1)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 768, H, W)."""
        small = self.branch1x1(input)
        once = self.branch7x7_2(self.branch7x7_1(input))
        once = self.branch7x7_3(once)
        twice = self.branch7x7dbl_2(self.branch7x7dbl_1(input))
        twice = self.branch7x7dbl_4(self.branch7x7dbl_3(twice))
        twice = self.branch7x7dbl_5(twice)
        pooled = self.branch_pool(F.avg_pool2d(input, 3, stride=1, padding=1))
        return torch.cat([small, once, twice, pooled], dim=1)


class InceptionD(nn.Module):
    r"""Halve the maps once more: 3 x 3, 7 x 7 taken apart and 3 x 3, and max pooling.

    Parameters
    ----------
    in_channels : int

    Raises
    ------
    ValueError
        If `in_channels` is no integer of at least 1.
    """

    def __init__(self, in_channels: int) -> None:
        r"""Make the branches that learn."""
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, 192, kernel_size=1)
        self.branch3x3_2 = BasicConv2d(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, kernel_size=1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, **ROW7)
        self.branch7x7x3_3 = BasicConv2d(192, 192, **COLUMN7)
        self.branch7x7x3_4 = BasicConv2d(192, 192, kernel_size=3, stride=2)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 512 + C, H', W')."""
        short = self.branch3x3_2(self.branch3x3_1(input))
        long = self.branch7x7x3_2(self.branch7x7x3_1(input))
        long = self.branch7x7x3_4(self.branch7x7x3_3(long))
        return torch.cat([short, long, F.max_pool2d(input, 3, stride=2)], dim=1)


class InceptionE(nn.Module):
    r"""Branches that fork at their end into 1 x 3 and 3 x 1: figure 7 of the paper.

    Parameters
    ----------
    in_channels : int

    Raises
    ------
    ValueError
        If `in_channels` is no integer of at least 1.
    """

    def __init__(self, in_channels: int) -> None:
        r"""Make the four branches."""
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 320, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(384, 384, **ROW3)
        self.branch3x3_2b = BasicConv2d(384, 384, **COLUMN3)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, **ROW3)
        self.branch3x3dbl_3b = BasicConv2d(384, 384, **COLUMN3)
        self.branch_pool = BasicConv2d(in_channels, 192, kernel_size=1)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 2048, H, W)."""
        small = self.branch1x1(input)
        once = self.branch3x3_1(input)
        once = torch.cat([self.branch3x3_2a(once), self.branch3x3_2b(once)], dim=1)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(input))
        twice = torch.cat([self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)], dim=1)
        pooled = self.branch_pool(F.avg_pool2d(input, 3, stride=1, padding=1))
        return torch.cat([small, once, twice, pooled], dim=1)


class AuxiliaryHead(nn.Module):
    r"""A classifier behind the maps of 17 x 17.

    Parameters
    ----------
    in_channels, num_classes : int

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        r"""Make the layers that learn."""
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 128, kernel_size=1)
        self.conv1 = BasicConv2d(128, 768, kernel_size=5)
        self.fc = nn.Linear(768, integer("num_classes", num_classes, 1))

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, 17, 17) -> (N, num_classes) scores."""
        x = self.conv0(F.avg_pool2d(input, 5, stride=3))  # (N, 128, 5, 5)
        x = F.adaptive_avg_pool2d(self.conv1(x), (1, 1))  # (N, 768, 1, 1)
        scores: Tensor = self.fc(x.flatten(1))
        return scores


class InceptionOutputs(NamedTuple):
    r"""What the network returns in training: scores of its two heads, each (N, num_classes).

    Attributes
    ----------
    logits, aux_logits : Tensor
        Of the end of the network, and of the head behind the module 6e.
    """

    logits: Tensor
    aux_logits: Tensor


class InceptionV3(nn.Module):
    r"""Szegedy et al. (2016), "Rethinking the inception architecture for computer vision".

    Parameters
    ----------
    num_classes : int
    aux_logits : bool
        Whether there is an auxiliary head. It runs in training only.
    dropout : float

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1.

    Attributes
    ----------
    AuxLogits : AuxiliaryHead or None
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc", "AuxLogits.fc")

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, dropout: float = 0.5
    ) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, pool_features=32)
        self.Mixed_5c = InceptionA(256, pool_features=64)
        self.Mixed_5d = InceptionA(288, pool_features=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, channels_7x7=128)
        self.Mixed_6c = InceptionC(768, channels_7x7=160)
        self.Mixed_6d = InceptionC(768, channels_7x7=160)
        self.Mixed_6e = InceptionC(768, channels_7x7=192)
        self.AuxLogits = AuxiliaryHead(768, num_classes) if aux_logits else None
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, integer("num_classes", num_classes, 1))
        self._draw()

    def _draw(self) -> None:
        r"""Draw from N(0, 0.1²), and the weights of the auxiliary scores from N(0, 0.001²)."""
        auxiliary = None if self.AuxLogits is None else self.AuxLogits.fc
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                std = 0.001 if layer is auxiliary else 0.1
                nn.init.trunc_normal_(layer.weight, std=std, a=-2, b=2)

    def _to_6e(self, input: Tensor) -> Tensor:
        x = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(input))  # (N, 32, 147, 147)
        x = self.maxpool1(self.Conv2d_2b_3x3(x))  # (N, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (N, 192, 71, 71)
        x = self.Mixed_5b(self.maxpool2(x))  # (N, 256, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(x))  # (N, 288, 35, 35)
        x = self.Mixed_6b(self.Mixed_6a(x))  # (N, 768, 17, 17)
        maps: Tensor = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(x)))
        return maps

    def _to_7c(self, maps: Tensor) -> Tensor:
        x = self.Mixed_7a(maps)  # (N, 1280, 8, 8)
        maps = self.Mixed_7c(self.Mixed_7b(x))  # (N, 2048, 8, 8)
        return maps

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, 299, 299) -> (N, 2048, 8, 8) maps."""
        return self._to_7c(self._to_6e(input))

    def forward(self, input: Tensor) -> Tensor | InceptionOutputs:
        r"""(N, 3, H, W) -> (N, num_classes) scores; in training with those of the other head."""
        x = self._to_6e(input)
        if self.training and self.AuxLogits is not None:
            aux = self.AuxLogits(x)
            return InceptionOutputs(self._scores(self._to_7c(x)), aux)
        return self._scores(self._to_7c(x))

    def _scores(self, maps: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.dropout(self.avgpool(maps)).flatten(1))
        return scores


@register("inception", input_size=(3, 299, 299))
def inception_v3(*, num_classes: int = 1000, aux_logits: bool = True) -> InceptionV3:
    r"""Inception v3, for images of 299 x 299.

    Parameters
    ----------
    num_classes : int
    aux_logits : bool
        Whether there is an auxiliary head: 27,161,264 parameters with it, 23,834,568 without, for
        1000 classes. In training it needs images of at least 299 x 299.
    """
    return InceptionV3(num_classes, aux_logits)
