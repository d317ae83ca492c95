r"""ConvNeXt-Tiny: a convolutional network redesigned, step by step, after transformers.

Liu et al. (2022). It starts as a ResNet-50 and takes over one design choice after another (their
figure 2): patches as stem, 3 + 3 + 9 + 3 blocks, depthwise convolutions of 7 × 7, an inverted
bottleneck, GELU, layer normalisation, fewer of both, and separate layers for down-sampling.

Names and numbers follow torchvision, where the two 1 × 1 convolutions of a block are fully
connected layers over maps with the channels last, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.architectures.conv_norm_activation import ConvNormActivation
from coursepkg.architectures.registry import register
from coursepkg.architectures.stochastic_depth import StochasticDepth
from coursepkg.validation import integer

__all__ = ["CNBlock", "ConvNeXt", "LayerNorm2d", "Permute", "convnext_tiny"]


class LayerNorm2d(nn.LayerNorm):
    r"""Layer normalisation over the channels of each pixel of (N, C, H, W) maps.

    Examples
    --------
    >>> maps = LayerNorm2d(8)(torch.rand(2, 8, 5, 5))
    >>> maps.shape, bool(maps.mean(1).abs().max() < 1e-5)
    (torch.Size([2, 8, 5, 5]), True)
    """

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C, H, W)."""
        last = input.permute(0, 2, 3, 1)  # (N, H, W, C)
        last = F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)  # (N, C, H, W)


class Permute(nn.Module):
    r"""Put the axes into another order.

    Parameters
    ----------
    *dims : int
        The axis of the input at each place.

    Examples
    --------
    >>> Permute(0, 2, 3, 1)(torch.zeros(2, 8, 5, 6)).shape
    torch.Size([2, 5, 6, 8])
    """

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, input: Tensor) -> Tensor:
        r"""Give a view of the input."""
        return input.permute(self.dims)

    def extra_repr(self) -> str:
        r"""Show the order where the module is printed."""
        return ", ".join(map(str, self.dims))


class CNBlock(nn.Module):
    r"""Filter each channel over 7 × 7 pixels, then mix the channels of each pixel.

    One normalisation and one activation for the whole block. What it adds to the shortcut is
    multiplied by a learned factor per channel, which starts near 0.

    Parameters
    ----------
    channels : int
    drop_probability : float
        Of `StochasticDepth`.
    layer_scale : float
        What the factors start with.

    Attributes
    ----------
    block : Sequential
    layer_scale : (C, 1, 1) Parameter
    stochastic_depth : StochasticDepth

    Raises
    ------
    ValueError
        If `channels` is no integer of at least 1, or `drop_probability` no probability.

    References
    ----------
    Liu et al. (2022), figure 4. The factors (layer scale) are from Touvron et al. (2021).

    Examples
    --------
    >>> CNBlock(8)(torch.zeros(2, 8, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self, channels: int, drop_probability: float = 0.0, layer_scale: float = 1e-6
    ) -> None:
        super().__init__()
        integer("channels", channels, 1)
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            Permute(0, 2, 3, 1),  # (N, H, W, C)
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
            Permute(0, 3, 1, 2),  # (N, C, H, W)
        )
        self.layer_scale = nn.Parameter(torch.ones(channels, 1, 1) * layer_scale)
        self.stochastic_depth = StochasticDepth(drop_probability)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C, H, W)."""
        output = self.stochastic_depth(self.layer_scale * self.block(input))
        output += input
        return output  # type: ignore[no-any-return]


class ConvNeXt(nn.Module):
    r"""A stem of patches, four stages of `CNBlock` with down-sampling between, and a classifier.

    Parameters
    ----------
    channels : sequence of int
        Of each stage.
    repeats : sequence of int
        Blocks of each stage.
    num_classes : int
    drop_probability : float
        Of stochastic depth. Block i of n is skipped with i/(n - 1) of it, counted from 0.

    Attributes
    ----------
    features, classifier : Sequential
    avgpool : AdaptiveAvgPool2d

    Raises
    ------
    ValueError
        If `channels` and `repeats` are not equally many, or a number is no integer of at least 1.

    References
    ----------
    Liu et al. (2022), table 9. Weights start from a normal distribution of standard deviation 0.02,
    truncated at plus and minus 2, biases with 0, as in the authors' code.

    Examples
    --------
    >>> ConvNeXt((8, 16), (1, 2), num_classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    head_names: ClassVar[tuple[str, ...]] = ("classifier.2",)

    def __init__(
        self,
        channels: Sequence[int] = (96, 192, 384, 768),
        repeats: Sequence[int] = (3, 3, 9, 3),
        num_classes: int = 1000,
        drop_probability: float = 0.1,
    ) -> None:
        super().__init__()
        if not channels or len(channels) != len(repeats):
            raise ValueError(
                f"channels={channels!r} and repeats={repeats!r} do not describe the same stages; "
                "pass one number of each for every stage"
            )
        channels = [integer("channels", width, 1) for width in channels]
        repeats = [integer("repeats", count, 1) for count in repeats]
        norm_layer = partial(LayerNorm2d, eps=1e-6)
        self.features = nn.Sequential(
            ConvNormActivation(
                3, channels[0], 4, 4, 0, norm_layer=norm_layer, activation_layer=None, bias=True
            )
        )
        before, done, last = channels[0], 0, max(1, sum(repeats) - 1)
        for width, count in zip(channels, repeats, strict=True):
            if done > 0:
                self.features.append(
                    nn.Sequential(norm_layer(before), nn.Conv2d(before, width, 2, 2))
                )
            drops = [drop_probability * i / last for i in range(done, done + count)]
            self.features.append(nn.Sequential(*(CNBlock(width, drop) for drop in drops)))
            before, done = width, done + count
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            norm_layer(before),
            nn.Flatten(1),
            nn.Linear(before, integer("num_classes", num_classes, 1)),
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, C, H/32, W/32): the maps before the pooling."""
        return self.features(input)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        means = self.avgpool(self.forward_features(input))  # (N, C, 1, 1)
        return self.classifier(means)  # type: ignore[no-any-return]


@register("convnext")
def convnext_tiny(*, num_classes: int = 1000) -> ConvNeXt:
    r"""ConvNeXt-Tiny: 28,589,128 parameters.

    Liu et al. (2022), table 9.
    """
    return ConvNeXt(num_classes=num_classes)
