r"""GoogLeNet: 22 layers of inception modules, for a ninth of AlexNet's weights.

Szegedy et al. (2015); it won the ImageNet challenge of 2014. An inception module looks at the same
maps with 1 x 1, 3 x 3 and 5 x 5 filters and with pooling side by side, and lets the following layer
choose; 1 x 1 convolutions before the larger ones keep that affordable (section 4). Two auxiliary
classifiers hang on the middle of the network while it is trained (section 5).

Two forms, by one class:

- "torchvision": every convolution is followed by batch normalisation and has no bias, and the
  branch called 5 x 5 has 3 x 3 kernels. Both come with the weights, which were trained so and are
  no longer the paper's. There is no local response normalisation, and 0.2 of the units are dropped
  in place of 0.4.
- "paper": table 1 and figure 3 of the paper. They do not give the constants of the local response
  normalisation, which are AlexNet's here, nor the initialisation, which is that of He et al. here.

In both forms the auxiliary heads average onto 4 x 4 places by adaptive pooling; the paper has
windows of 5 x 5 with a stride of 3, which give 4 x 4 places of slightly larger windows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.architectures.lrn import local_response_norm
from coursepkg.architectures.registry import register
from coursepkg.validation import choice, integer

__all__ = [
    "AuxiliaryHead",
    "BasicConv2d",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "Inception",
    "NaiveInception",
    "PlainConv2d",
    "googlenet",
]


class BasicConv2d(nn.Module):
    r"""Convolution without bias, batch normalisation with an eps of 0.001, ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
    **window
        `kernel_size`, `stride` and `padding` of the convolution.

    Raises
    ------
    ValueError
        If a number of channels is no integer of at least 1.
    """

    def __init__(self, in_channels: int, out_channels: int, **window: Any) -> None:
        r"""Make the layers that learn."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("out_channels", out_channels, 1)
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **window)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        return F.relu(self.bn(self.conv(input)), inplace=True)


class PlainConv2d(nn.Module):
    r"""Convolution with bias, ReLU: as in the paper.

    Parameters
    ----------
    in_channels, out_channels, **window
        As in `BasicConv2d`.

    Raises
    ------
    ValueError
        As `BasicConv2d`.
    """

    def __init__(self, in_channels: int, out_channels: int, **window: Any) -> None:
        r"""Make the convolution."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("out_channels", out_channels, 1)
        self.conv = nn.Conv2d(in_channels, out_channels, **window)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        return F.relu(self.conv(input), inplace=True)


class NaiveInception(nn.Module):
    r"""Inception module without reductions: figure 2a of the paper.

    The pooled branch hands on all maps that come in, so the maps become more and more, and the
    large kernels see all of them. That is what `Inception` repairs.

    Parameters
    ----------
    in_channels : int
    width1, width3, width5 : int
        Filters of 1 x 1, 3 x 3 and 5 x 5.
    conv : callable, optional
        Makes a convolution with its ReLU: `PlainConv2d`, which is the default, or `BasicConv2d`.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1. For widths the message names the `in_channels` or
        `out_channels` of a convolution.

    Examples
    --------
    >>> NaiveInception(192, 64, 128, 32)(torch.zeros(1, 192, 28, 28)).shape
    torch.Size([1, 416, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        width1: int,
        width3: int,
        width5: int,
        conv: Callable[..., nn.Module] | None = None,
    ) -> None:
        r"""Make the four branches."""
        super().__init__()
        conv = conv or PlainConv2d
        self.branch1 = conv(in_channels, width1, kernel_size=1)
        self.branch2 = conv(in_channels, width3, kernel_size=3, padding=1)
        self.branch3 = conv(in_channels, width5, kernel_size=5, padding=2)
        self.branch4 = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, width1 + width3 + width5 + C, H, W)."""
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(input) for branch in branches], dim=1)


class Inception(nn.Module):
    r"""Inception module with reductions: figure 2b of the paper.

    Parameters
    ----------
    in_channels : int
    width1 : int
        Filters of the 1 x 1 branch.
    width3 : pair of int
        Filters of the reduction and of the 3 x 3 convolution behind it.
    width5 : pair of int
        The same for the branch called 5 x 5.
    pool : int
        Filters of the 1 x 1 convolution behind the pooling.
    size5 : int
        Kernel size of the branch called 5 x 5: 5 in the paper, 3 in torchvision.
    conv : callable, optional
        Makes a convolution with its ReLU: `PlainConv2d`, which is the default, or `BasicConv2d`.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1. For widths the message names the `in_channels` or
        `out_channels` of a convolution.

    References
    ----------
    Szegedy et al. (2015), section 4; the columns of table 1 are the arguments in their order.

    Examples
    --------
    >>> Inception(192, 64, (96, 128), (16, 32), 32)(torch.zeros(1, 192, 28, 28)).shape
    torch.Size([1, 256, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        width1: int,
        width3: tuple[int, int],
        width5: tuple[int, int],
        pool: int,
        size5: int = 5,
        conv: Callable[..., nn.Module] | None = None,
    ) -> None:
        r"""Make the four branches."""
        super().__init__()
        conv = conv or PlainConv2d
        integer("size5", size5, 1)
        self.branch1 = conv(in_channels, width1, kernel_size=1)
        self.branch2 = nn.Sequential(
            conv(in_channels, width3[0], kernel_size=1),
            conv(*width3, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            conv(in_channels, width5[0], kernel_size=1),
            conv(*width5, kernel_size=size5, padding=size5 // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            conv(in_channels, pool, kernel_size=1),
        )

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H, W), with C' the sum of the widths of the branches."""
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(input) for branch in branches], dim=1)


class AuxiliaryHead(nn.Module):
    r"""A classifier for the middle of the network: pooling, 1 x 1 convolution, two linear layers.

    Parameters
    ----------
    in_channels, num_classes : int
    dropout : float
    conv : callable
        Makes a convolution with its ReLU.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    References
    ----------
    Szegedy et al. (2015), section 5.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dropout: float = 0.7,
        conv: Callable[..., nn.Module] = BasicConv2d,
    ) -> None:
        r"""Make the layers."""
        super().__init__()
        self.conv = conv(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, integer("num_classes", num_classes, 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, num_classes) scores."""
        x = self.conv(F.adaptive_avg_pool2d(input, (4, 4)))  # (N, 128, 4, 4)
        x = F.relu(self.fc1(x.flatten(1)), inplace=True)  # (N, 1024)
        scores: Tensor = self.fc2(self.dropout(x))
        return scores


class GoogLeNetOutputs(NamedTuple):
    r"""What the network returns in training: scores of its three heads, each (N, num_classes).

    Attributes
    ----------
    logits : Tensor
        Of the end of the network.
    aux_logits2, aux_logits1 : Tensor
        Of the heads behind the modules 4d and 4a. The paper adds 0.3 of their losses to the loss.
    """

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


class GoogLeNet(nn.Module):
    r"""Szegedy et al. (2015), "Going deeper with convolutions".

    Parameters
    ----------
    num_classes : int
    aux_logits : bool
        Whether there are auxiliary heads. They run in training only.
    paper : bool
        The form of the paper instead of torchvision's.

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1.

    Attributes
    ----------
    aux1, aux2 : AuxiliaryHead or None
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc", "aux1.fc2", "aux2.fc2")

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, paper: bool = False
    ) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        conv: Callable[..., nn.Module] = PlainConv2d if paper else BasicConv2d

        inception = partial(Inception, size5=5 if paper else 3, conv=conv)
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = local_response_norm() if paper else nn.Identity()
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(3 if paper else 2, stride=2, ceil_mode=True)
        self.inception5a = inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = inception(832, 384, (192, 384), (48, 128), 128)
        self.aux1 = AuxiliaryHead(512, num_classes, conv=conv) if aux_logits else None
        self.aux2 = AuxiliaryHead(528, num_classes, conv=conv) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(0.4 if paper else 0.2)
        self.fc = nn.Linear(1024, integer("num_classes", num_classes, 1))
        self._draw(paper)

    def _draw(self, paper: bool) -> None:
        r"""Draw from N(0, 0.01²) like torchvision, and the paper's form as He et al. (2015) do."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                if not paper:
                    nn.init.trunc_normal_(layer.weight, std=0.01, a=-2, b=2)
                    continue
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _to_4a(self, input: Tensor) -> Tensor:
        x = self.norm(self.maxpool1(self.conv1(input)))  # (N, 64, 56, 56)
        x = self.norm(self.conv3(self.conv2(x)))  # (N, 192, 56, 56)
        x = self.inception3b(self.inception3a(self.maxpool2(x)))  # (N, 480, 28, 28)
        maps: Tensor = self.inception4a(self.maxpool3(x))  # (N, 512, 14, 14)
        return maps

    def _to_4d(self, maps: Tensor) -> Tensor:
        x = self.inception4c(self.inception4b(maps))
        maps = self.inception4d(x)  # (N, 528, 14, 14)
        return maps

    def _to_5b(self, maps: Tensor) -> Tensor:
        x = self.maxpool4(self.inception4e(maps))  # (N, 832, 7, 7)
        maps = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        return maps

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, 224, 224) -> (N, 1024, 7, 7) maps."""
        return self._to_5b(self._to_4d(self._to_4a(input)))

    def forward(self, input: Tensor) -> Tensor | GoogLeNetOutputs:
        r"""(N, 3, H, W) -> (N, num_classes) scores; in training with those of the other heads."""
        aux1, aux2 = (self.aux1, self.aux2) if self.training else (None, None)
        x = self._to_4a(input)
        scores1 = None if aux1 is None else aux1(x)
        x = self._to_4d(x)
        scores2 = None if aux2 is None else aux2(x)
        scores = self._scores(self._to_5b(x))
        if scores1 is None or scores2 is None:
            return scores
        return GoogLeNetOutputs(scores, scores2, scores1)

    def _scores(self, maps: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.dropout(self.avgpool(maps).flatten(1)))
        return scores


@register("googlenet")
def googlenet(
    *, num_classes: int = 1000, aux_logits: bool | None = None, variant: str = "torchvision"
) -> GoogLeNet:
    r"""GoogLeNet: nine inception modules, in torchvision's form or the paper's.

    Parameters
    ----------
    num_classes : int
    aux_logits : bool, optional
        Whether there are auxiliary heads; by default there are in torchvision's form (13,004,888
        parameters for 1000 classes, 6,624,904 without), and there are none in the paper's.
    variant : str
        "torchvision" or "paper" (6,998,552 parameters), as described at the head of this module.

    Raises
    ------
    ValueError
        If there is no such variant.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     model = googlenet(variant="paper")
    >>> sum(p.numel() for p in model.parameters())
    6998552
    """
    paper = choice("variant", variant, ("torchvision", "paper")) == "paper"
    return GoogLeNet(num_classes, not paper if aux_logits is None else aux_logits, paper)
