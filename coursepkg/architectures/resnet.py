r"""ResNet: blocks that learn what to add to their input, and so networks of 18 to 152 layers.

He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition" (2016). New is the shortcut: a
block computes H(x) = F(x) + x, and its layers learn only the difference F. The networks have few
other ideas: a stem, four stages of equal blocks, one average over the maps, one linear layer.

Names and numbers are torchvision's. It departs from the authors' in one place: a bottleneck block
that halves the maps does so in its 3 × 3 convolution, the model that the authors published in the
1 × 1 before it; the paper says only which blocks do (table 1). The shortcut of a block that changes
the shape is a projection (option B of section 3.3).

ResNeXt (Xie et al. 2017) splits the 3 × 3 convolution into groups, and wide networks (Zagoruyko &
Komodakis 2016) give it more channels; both are settings here. `path_lengths` counts the ways that
a residual network offers from its input to its output (Veit, Wilber & Belongie 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, ClassVar

from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = [
    "STAGES",
    "BasicBlock",
    "Bottleneck",
    "ResNet",
    "ResidualBlock",
    "initialise",
    "path_lengths",
    "projection",
    "residual_blocks",
    "resnet101",
    "resnet152",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50_32x4d",
    "stage",
    "wide_resnet50_2",
]


class ResidualBlock(nn.Module):
    r"""A block whose layers learn what to add: H(x) = F(x) + x, then ReLU.

    A subclass makes the layers of the branch and computes F in `residual`. The attributes below are
    set by it too.

    Attributes
    ----------
    expansion : int
        The block ends with `expansion * channels` channels.
    relu : ReLU
    downsample : Module or None
        What brings x to the shape of F(x), or None where it has it already.

    References
    ----------
    He et al. (2016), section 3.2, equations 1 and 2.
    """

    expansion: ClassVar[int] = 1
    relu: nn.Module
    downsample: nn.Module | None

    def residual(self, input: Tensor) -> Tensor:
        r"""Compute F(x), with fresh memory for the result."""
        raise NotImplementedError(f"{type(self).__name__} has no branch; write its residual()")

    def last_norm(self) -> nn.BatchNorm2d:
        r"""Return the batch norm that ends the branch."""
        raise NotImplementedError(f"{type(self).__name__} has no branch; write its last_norm()")

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        out = self.residual(input)
        out += input if self.downsample is None else self.downsample(input)
        return self.relu(out)  # type: ignore[no-any-return]


class BasicBlock(ResidualBlock):
    r"""The block of ResNet-18 and ResNet-34: two convolutions of 3 × 3.

    Parameters
    ----------
    in_channels, channels : int
        The block ends with `channels` channels.
    stride : int
        Of the first convolution.
    downsample : Module, optional
        The shortcut, where it is not the identity.
    groups, width_per_group : int
        For bottlenecks only; other values than 1 and 64 are refused.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1, `groups` is not 1 or `width_per_group` not 64.

    References
    ----------
    He et al. (2016), figure 5, left.

    Examples
    --------
    >>> sum(p.numel() for p in BasicBlock(64, 64).parameters())  # 2 * (64 * 64 * 9 + 2 * 64)
    73984
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        r"""Make the layers of the branch."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("channels", channels, 1)
        integer("stride", stride, 1)
        widths = integer("groups", groups, 1), integer("width_per_group", width_per_group, 1)
        if widths != (1, 64):
            raise ValueError(
                f"groups={groups} and width_per_group={width_per_group} do not fit a BasicBlock, "
                "which has one group of full width; use a Bottleneck"
            )
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def residual(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, channels, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(input)))
        return self.bn2(self.conv2(out))  # type: ignore[no-any-return]

    def last_norm(self) -> nn.BatchNorm2d:
        r"""Return the batch norm that ends the branch."""
        return self.bn2


class Bottleneck(ResidualBlock):
    r"""The block from 50 layers on: 1 × 1 to fewer channels, 3 × 3, 1 × 1 to four times as many.

    Parameters
    ----------
    in_channels, channels : int
        The block ends with `4 * channels` channels.
    stride : int
        Of the 3 × 3 convolution; in the authors' model, of the 1 × 1 before it.
    downsample : Module, optional
        The shortcut, where it is not the identity.
    groups : int
        Into which the 3 × 3 convolution is split.
    width_per_group : int
        Its channels in each group, in the stage with `channels=64`; in proportion elsewhere.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1, or a group has no channel.

    References
    ----------
    He et al. (2016), figure 5, right. Groups: Xie et al. (2017), figure 3 (c). Width: Zagoruyko &
    Komodakis (2016), section 2.

    Examples
    --------
    >>> sum(p.numel() for p in Bottleneck(256, 64).parameters())
    70400
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        r"""Make the layers of the branch."""
        super().__init__()
        integer("in_channels", in_channels, 1)
        integer("channels", channels, 1)
        integer("stride", stride, 1)
        integer("groups", groups, 1)
        integer("width_per_group", width_per_group, 1)
        integer("channels * width_per_group // 64", channels * width_per_group // 64, 1)
        width = channels * width_per_group // 64 * groups
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def residual(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 4 * channels, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(input)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out))  # type: ignore[no-any-return]

    def last_norm(self) -> nn.BatchNorm2d:
        r"""Return the batch norm that ends the branch."""
        return self.bn3


#: The block of each depth, and how many of them the four stages hold (He et al. 2016, table 1).
STAGES: dict[int, tuple[type[ResidualBlock], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    r"""Return the shortcut of a block that changes the shape: 1 × 1 convolution and batch norm.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    References
    ----------
    He et al. (2016), equation 2 and section 3.3, option B.
    """
    integer("in_channels", in_channels, 1)
    integer("out_channels", out_channels, 1)
    integer("stride", stride, 1)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def stage(
    block: type[ResidualBlock],
    in_channels: int,
    channels: int,
    count: int,
    stride: int = 1,
    **widths: int,
) -> nn.Sequential:
    r"""Chain blocks whose maps have one size; only the first may change the shape.

    Parameters
    ----------
    block : type
        Subclass of `ResidualBlock` that takes the arguments of `Bottleneck`.
    in_channels, channels : int
        The stage ends with `block.expansion * channels` channels.
    count : int
        Number of blocks.
    stride : int
        Of the first block.
    **widths : int
        `groups` and `width_per_group` of all blocks.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        If a number is no integer of at least 1, or the block refuses it.

    Examples
    --------
    >>> import torch
    >>> stage(Bottleneck, 256, 128, count=4, stride=2)(torch.zeros(1, 256, 8, 8)).shape
    torch.Size([1, 512, 4, 4])
    """
    integer("channels", channels, 1)
    out_channels = channels * block.expansion
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = projection(in_channels, out_channels, stride)
    first = block(in_channels, channels, stride, shortcut, **widths)
    others = range(integer("count", count, 1) - 1)
    return nn.Sequential(first, *(block(out_channels, channels, **widths) for _ in others))


def initialise(model: nn.Module, zero_init_residual: bool = False) -> None:
    r"""Draw the weights of all convolutions anew, so that signals keep their size on the way back.

    A weight is normal with variance 2 / n, where n numbers leave each pixel of a map: output
    channels times the area of the kernel. Batch norms begin with factor 1 and shift 0.

    Parameters
    ----------
    model : Module
        Changed in place. Linear layers keep the weights that PyTorch gave them.
    zero_init_residual : bool
        Whether each branch begins with 0, and thus each block as ReLU of its shortcut: the last
        batch norm of a branch gets the factor 0 (Goyal et al. 2017, section 5.1).

    References
    ----------
    He et al. (2015), section 2.2, equation 14: the variant for the backward pass, as torchvision.
    The paper on residual networks cites it in section 3.4 and does not say which variant.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    if zero_init_residual:
        for block in residual_blocks(model):
            nn.init.zeros_(block.last_norm().weight)


class ResNet(nn.Module):
    r"""A stem, four stages of residual blocks, and a head.

    Parameters
    ----------
    block : type
        Subclass of `ResidualBlock` that takes the arguments of `Bottleneck`.
    layers : sequence of int
        Number of blocks in each of the four stages.
    num_classes : int
    groups, width_per_group : int
        As in `Bottleneck`.
    zero_init_residual : bool
        As in `initialise`.

    Raises
    ------
    ValueError
        If there are not four stages, or a number is no integer or too small.

    References
    ----------
    He et al. (2016), section 3.3 and table 1.

    Examples
    --------
    >>> import torch
    >>> model = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=10)
    >>> images = torch.zeros(2, 3, 64, 64)
    >>> model.forward_features(images).shape, model(images).shape
    (torch.Size([2, 512, 2, 2]), torch.Size([2, 10]))
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(
        self,
        block: type[ResidualBlock],
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        groups: int = 1,
        width_per_group: int = 64,
        zero_init_residual: bool = False,
    ) -> None:
        r"""Make the layers and draw their weights."""
        super().__init__()
        if len(layers) != 4:
            raise ValueError(f"layers={layers} has {len(layers)} stages; give four numbers")
        for count in layers:
            integer("layers", count, 1)
        widths = {"groups": groups, "width_per_group": width_per_group}
        wide = block.expansion
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(block, 64, 64, layers[0], **widths)
        self.layer2 = stage(block, 64 * wide, 128, layers[1], stride=2, **widths)
        self.layer3 = stage(block, 128 * wide, 256, layers[2], stride=2, **widths)
        self.layer4 = stage(block, 256 * wide, 512, layers[3], stride=2, **widths)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * wide, integer("num_classes", num_classes, 1))
        initialise(self, zero_init_residual)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, 512 * expansion, H / 32, W / 32), rounded up."""
        x = self.relu(self.bn1(self.conv1(input)))  # (N, 64, H / 2, W / 2)
        x = self.layer1(self.maxpool(x))  # (N, 64 * expansion, H / 4, W / 4)
        x = self.layer2(x)  # (N, 128 * expansion, H / 8, W / 8)
        x = self.layer3(x)  # (N, 256 * expansion, H / 16, W / 16)
        return self.layer4(x)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        x = self.avgpool(self.forward_features(input))  # (N, 512 * expansion, 1, 1)
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]


def _resnet(depth: int, **settings: Any) -> ResNet:
    block, layers = STAGES[depth]
    return ResNet(block, layers, **settings)


@register("resnet")
def resnet18(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""ResNet-18: 2 + 2 + 2 + 2 basic blocks.

    He et al. (2016), table 1. Arguments as in `ResNet`.
    """
    return _resnet(18, num_classes=num_classes, zero_init_residual=zero_init_residual)


@register("resnet")
def resnet34(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""ResNet-34: 3 + 4 + 6 + 3 basic blocks.

    He et al. (2016), table 1. Arguments as in `ResNet`.
    """
    return _resnet(34, num_classes=num_classes, zero_init_residual=zero_init_residual)


@register("resnet")
def resnet50(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""ResNet-50: 3 + 4 + 6 + 3 bottlenecks.

    He et al. (2016), table 1. Arguments as in `ResNet`.
    """
    return _resnet(50, num_classes=num_classes, zero_init_residual=zero_init_residual)


@register("resnet")
def resnet101(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""ResNet-101: 3 + 4 + 23 + 3 bottlenecks.

    He et al. (2016), table 1. Arguments as in `ResNet`.
    """
    return _resnet(101, num_classes=num_classes, zero_init_residual=zero_init_residual)


@register("resnet")
def resnet152(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""ResNet-152: 3 + 8 + 36 + 3 bottlenecks.

    He et al. (2016), table 1. Arguments as in `ResNet`.
    """
    return _resnet(152, num_classes=num_classes, zero_init_residual=zero_init_residual)


@register("resnet")
def resnext50_32x4d(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""ResNeXt-50 (32 × 4d): ResNet-50 with 3 × 3 convolutions in 32 groups of 4 channels and up.

    Xie et al. (2017), table 1. Arguments as in `ResNet`.
    """
    settings = {"num_classes": num_classes, "zero_init_residual": zero_init_residual}
    return _resnet(50, groups=32, width_per_group=4, **settings)


@register("resnet")
def wide_resnet50_2(*, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    r"""Wide ResNet-50-2: ResNet-50 with twice as many channels in the middle of each bottleneck.

    Zagoruyko & Komodakis (2016), section 3 and table 8. Arguments as in `ResNet`.
    """
    settings = {"num_classes": num_classes, "zero_init_residual": zero_init_residual}
    return _resnet(50, width_per_group=128, **settings)


def residual_blocks(model: nn.Module) -> tuple[ResidualBlock, ...]:
    r"""Return the residual blocks of a model, from input to output.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     model = resnet152()
    >>> len(residual_blocks(model))
    50
    """
    return tuple(module for module in model.modules() if isinstance(module, ResidualBlock))


def path_lengths(layers: Sequence[int]) -> tuple[int, ...]:
    r"""Count the paths through a chain of residual blocks, sorted by their length.

    A signal passes each block by its branch or by its shortcut. So n blocks offer :math:`2^n`
    paths. A path is as long as the branches that it takes together, and the counts are the
    coefficients of

    .. math:: \prod_{i=1}^{n} \left(1 + t^{\,l_i}\right),

    binomial coefficients if every branch counts as one.

    Parameters
    ----------
    layers : sequence of int
        Layers in the branch of each block, or ones to measure paths in blocks.

    Returns
    -------
    tuple of int
        At index k the number of paths of length k, from 0 to the sum of `layers`. Exact, as Python
        integers are.

    Raises
    ------
    ValueError
        If a number of layers is no integer of at least 1.

    References
    ----------
    Veit, Wilber & Belongie (2016), sections 3 and 5. They measure paths in blocks.

    Examples
    --------
    >>> path_lengths([1, 1, 1])
    (1, 3, 3, 1)
    >>> path_lengths([2, 3])
    (1, 0, 1, 1, 0, 1)
    """
    counts = [1]
    for length in layers:
        branch = [0] * integer("layers", length, 1) + counts
        counts = [a + b for a, b in zip_longest(counts, branch, fillvalue=0)]
    return tuple(counts)
