r"""Squeeze-and-excitation: one factor for each channel, computed from the whole map.

A convolution sees a neighbourhood. This block looks at the maps as a whole and answers with a
number between 0 and 1 for each of them, by which it is multiplied. It can stand behind any layer;
SENet, MobileNetV3 and EfficientNet all contain it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from coursepkg.validation import integer

__all__ = ["SqueezeExcitation"]


class SqueezeExcitation(nn.Module):
    r"""Multiply every channel by a factor that depends on the means of all channels.

    .. math::

        s = \sigma(W_2\, \delta(W_1 z + b_1) + b_2), \qquad y_c = s_c\, x_c,

    where z holds the mean of each channel (squeeze). The two layers are narrow in the middle
    (excitation).

    Parameters
    ----------
    input_channels : int
    squeeze_channels : int
        Width of the layer in the middle.
    activation : callable
        Makes the layer :math:`\delta`; takes no arguments.
    scale_activation : callable
        Makes the layer :math:`\sigma`, which ends in the range of the factors.

    Attributes
    ----------
    fc1, fc2 : Conv2d
        The two layers as 1 × 1 convolutions, which on maps of one pixel are fully connected.

    Raises
    ------
    ValueError
        If a number of channels is no integer of at least 1.

    References
    ----------
    Hu, Shen & Sun (2018), section 3, equations 2 to 4 and figure 1. Their layers have no bias in
    equation 3. Names and biases follow torchvision.

    Examples
    --------
    >>> import torch
    >>> block = SqueezeExcitation(64, 4)
    >>> block(torch.zeros(2, 64, 7, 7)).shape
    torch.Size([2, 64, 7, 7])
    >>> sum(p.numel() for p in block.parameters())  # 2 * 64 * 4 weights, 4 + 64 biases
    580
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        scale_activation: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        r"""Make both layers."""
        super().__init__()
        integer("input_channels", input_channels, 1)
        integer("squeeze_channels", squeeze_channels, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.activation = activation()
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.scale_activation = scale_activation()

    def scale(self, input: Tensor) -> Tensor:
        r"""Return the factors: (N, C, H, W) -> (N, C, 1, 1)."""
        squeezed = self.avgpool(input)  # (N, C, 1, 1)
        excited = self.fc2(self.activation(self.fc1(squeezed)))  # (N, C, 1, 1)
        return self.scale_activation(excited)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C, H, W)."""
        return self.scale(input) * input
