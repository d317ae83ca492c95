r"""SE-ResNet-50: a residual network whose branches end with squeeze-and-excitation.

Hu, Shen & Sun, "Squeeze-and-Excitation Networks" (2018). New is the block in
`coursepkg.architectures.squeeze_excitation`; here it stands at the end of every branch, before the
sum, with 16 times fewer channels in its middle.

Names and numbers are timm's. The two layers of the block have biases, which equation 3 of the paper
has not. Two settings are younger than the paper's residual network: the stride is in the 3 × 3
convolution, and every branch begins with 0.
"""

from __future__ import annotations

from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.architectures.resnet import Bottleneck, ResNet
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation

__all__ = ["SEBottleneck", "seresnet50"]


class SEBottleneck(Bottleneck):
    r"""A bottleneck that weights the channels of its branch before it adds them to the input.

    Parameters
    ----------
    in_channels, channels : int
        The block ends with `4 * channels` channels.
    stride : int
        Of the 3 × 3 convolution.
    downsample : Module, optional
        The shortcut, where it is not the identity.
    groups, width_per_group : int
        As in `coursepkg.architectures.resnet.Bottleneck`.

    Raises
    ------
    ValueError
        As `Bottleneck`, and if `channels` is below 4, which leaves none after the squeeze.

    References
    ----------
    Hu et al. (2018), figure 3 and table 1.

    Examples
    --------
    >>> sum(p.numel() for p in SEBottleneck(256, 64).se.parameters())  # 2 * 256 * 16 + 16 + 256
    8464
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
        super().__init__(in_channels, channels, stride, None, groups, width_per_group)
        out_channels = channels * self.expansion
        self.se = SqueezeExcitation(out_channels, out_channels // 16)
        self.downsample = downsample

    def residual(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, 4 * channels, H / stride, W / stride)."""
        return self.se(super().residual(input))  # type: ignore[no-any-return]


@register("senet", reference="timm 1.0.31")
def seresnet50(*, num_classes: int = 1000, zero_init_residual: bool = True) -> ResNet:
    r"""SE-ResNet-50: 3 + 4 + 6 + 3 bottlenecks with squeeze-and-excitation.

    Hu et al. (2018), table 1. Arguments as in `coursepkg.architectures.resnet.ResNet`.
    """
    return ResNet(
        SEBottleneck,
        (3, 4, 6, 3),
        num_classes=num_classes,
        zero_init_residual=zero_init_residual,
    )
