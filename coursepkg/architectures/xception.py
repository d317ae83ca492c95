r"""Xception: an Inception network taken to its end, with one filter for each channel.

Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017). An inception
module looks at a few groups of channels; here every channel is a group of its own. A separable
convolution filters each channel by itself (depthwise) and then mixes the channels at each pixel
(pointwise), without an activation in between (section 4.7 of the paper tries both).

Names and numbers are timm's `legacy_xception`, which holds the paper's network (figure 5). The
original pads as TensorFlow does, on one side more than on the other where the stride asks for it;
timm pads both sides alike.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = ["SeparableConv2d", "Xception", "XceptionBlock", "xception"]


class SeparableConv2d(nn.Module):
    r"""A 3 × 3 filter for each channel, then a 1 × 1 convolution over all of them.

    Parameters
    ----------
    in_channels, out_channels : int

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    References
    ----------
    Chollet (2017), section 1.2.

    Examples
    --------
    >>> sum(p.numel() for p in SeparableConv2d(64, 128).parameters())  # 64 * 9 + 64 * 128
    8768
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        r"""Make both convolutions."""
        super().__init__()
        channels = integer("in_channels", in_channels, 1)
        out_channels = integer("out_channels", out_channels, 1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.pointwise(self.conv1(input))  # type: ignore[no-any-return]


class XceptionBlock(nn.Module):
    r"""Two or three separable convolutions and a shortcut around them.

    Parameters
    ----------
    *channels : int
        Before the block, and after each of its separable convolutions.
    stride : int
        With 2 the branch ends with a max pooling, and the shortcut is a 1 × 1 convolution of that
        stride. With 1 the shortcut is the identity.
    start_with_relu : bool
        Whether a ReLU comes before the first convolution too. The first block goes without: its
        input has just passed one.

    Raises
    ------
    ValueError
        If there is no convolution, a number is no integer of at least 1, or the shortcut is the
        identity and the branch changes the number of channels.

    References
    ----------
    Chollet (2017), figure 5.

    Examples
    --------
    >>> import torch
    >>> XceptionBlock(64, 128, 128, stride=2)(torch.zeros(2, 64, 9, 9)).shape
    torch.Size([2, 128, 5, 5])
    """

    skip: nn.Module | None

    def __init__(self, *channels: int, stride: int = 1, start_with_relu: bool = True) -> None:
        r"""Make the branch and the shortcut."""
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"channels={channels} makes no convolution; give two numbers or more")
        first, *_, last = (integer("channels", number, 1) for number in channels)
        if integer("stride", stride, 1) != 1:
            self.skip = nn.Conv2d(first, last, 1, stride, bias=False)
            self.skipbn = nn.BatchNorm2d(last)
        elif first == last:
            self.skip = None
        else:
            raise ValueError(
                f"channels={channels} ends with another number than it begins with, and stride=1 "
                "has the identity as shortcut; use stride=2"
            )
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            if layers or start_with_relu:
                layers.append(nn.ReLU(inplace=bool(layers)))  # the shortcut needs the block's input
            layers += [SeparableConv2d(before, after), nn.BatchNorm2d(after)]
        if stride != 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        self.rep = nn.Sequential(*layers)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H / stride, W / stride), rounded up."""
        out: Tensor = self.rep(input)
        out += input if self.skip is None else self.skipbn(self.skip(input))
        return out


class Xception(nn.Module):
    r"""Entry, middle and exit flow, and a head.

    Parameters
    ----------
    num_classes : int

    Raises
    ------
    ValueError
        If `num_classes` is no integer of at least 1.

    References
    ----------
    Chollet (2017), figure 5. The convolutions are initialised as in He et al. (2015), equation 14,
    as timm does.
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(self, num_classes: int = 1000) -> None:
        r"""Make the layers and draw their weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.act2 = nn.ReLU(inplace=True)

        self.block1 = XceptionBlock(64, 128, 128, stride=2, start_with_relu=False)
        self.block2 = XceptionBlock(128, 256, 256, stride=2)
        self.block3 = XceptionBlock(256, 728, 728, stride=2)
        for number in range(4, 12):  # the middle flow: eight times the same block
            self.add_module(f"block{number}", XceptionBlock(728, 728, 728, 728))
        self.block12 = XceptionBlock(728, 728, 1024, stride=2)

        self.conv3 = SeparableConv2d(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.act3 = nn.ReLU(inplace=True)
        self.conv4 = SeparableConv2d(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.act4 = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, integer("num_classes", num_classes, 1))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, 2048, H', W'), with H' = W' = 10 for 299 pixels."""
        x = self.act1(self.bn1(self.conv1(input)))  # (N, 32, 149, 149)
        x = self.act2(self.bn2(self.conv2(x)))  # (N, 64, 147, 147)
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)  # (N, 1024, 10, 10) in the end
        x = self.act3(self.bn3(self.conv3(x)))  # (N, 1536, 10, 10)
        return self.act4(self.bn4(self.conv4(x)))  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        x = self.avgpool(self.forward_features(input))  # (N, 2048, 1, 1)
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]


@register("xception", input_size=(3, 299, 299), reference="timm 1.0.31")
def xception(*, num_classes: int = 1000) -> Xception:
    r"""Xception, for images of 299 × 299 pixels.

    Chollet (2017), figure 5 and table 3.
    """
    return Xception(num_classes)
