r"""Depthwise separable convolution, and what it saves.

A convolution does two things at once: each filter looks around in every channel, and it mixes the
channels. A separable one takes turns. First the *depthwise* part filters every channel by
itself, with one kernel each; then the *pointwise* part, a 1 x 1 convolution, mixes the channels
at every place by itself. Howard et al., *MobileNets* (2017), built a network of such pairs.

The functions count what one from :math:`M` channels to :math:`N` costs, with kernels of
:math:`D_K \times D_K` and maps of :math:`D_F \times D_F` at its output (the letters of that
paper, section 3.1). :math:`D_F` occurs in the multiply-adds and not in the parameters; where it
stands in a formula, that formula does not count parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod

from torch import Tensor, nn

from coursepkg.validation import integer, pair

__all__ = [
    "DepthwiseSeparableConv2d",
    "separable_cost",
    "separable_share",
]

IntPair = int | tuple[int, int]


def separable_cost(
    in_channels: int, out_channels: int, kernel_size: IntPair, output_size: IntPair
) -> tuple[int, int]:
    r"""Return the weights of a depthwise separable convolution, and its multiply-adds per image.

    Neither part has a bias. Each weight is used once at each place of the output:

    .. math::
        D_K^2 \cdot M + M \cdot N \qquad \text{and} \qquad
        (D_K^2 \cdot M + M \cdot N) \cdot D_F^2

    Parameters
    ----------
    in_channels, out_channels : int
        M and N.
    kernel_size, output_size : int or pair of int
        :math:`D_K` and :math:`D_F`. The latter is the size of the *output*.

    Returns
    -------
    weights, macs : int

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    References
    ----------
    Howard et al. (2017), equation 5; there input and output have the same size. What it replaces
    costs what `coursepkg.convolution.arithmetic.conv2d_macs` says (equation 2).

    Examples
    --------
    >>> separable_cost(512, 512, kernel_size=3, output_size=14)
    (266752, 52283392)
    """
    kh, kw = pair("kernel_size", kernel_size, 1)
    height, width = pair("output_size", output_size, 1)
    channels = integer("in_channels", in_channels, 1)
    depthwise = channels * kh * kw
    pointwise = channels * integer("out_channels", out_channels, 1)
    weights = depthwise + pointwise
    return weights, weights * height * width


def separable_share(out_channels: int, kernel_size: IntPair) -> Fraction:
    r"""Return which share of an ordinary convolution a separable one costs.

    .. math:: \frac{1}{N} + \frac{1}{D_K^2}

    It is the same for multiply-adds and for weights, whatever M and :math:`D_F` are.

    Parameters
    ----------
    out_channels : int
        N.
    kernel_size : int or pair of int
        :math:`D_K`.

    Returns
    -------
    fractions.Fraction
        Exact. It exceeds 1 for few channels, and always for kernels of 1 x 1.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    References
    ----------
    Howard et al. (2017), section 3.1, the equation after equation 5.

    Examples
    --------
    >>> separable_share(512, kernel_size=3)
    Fraction(521, 4608)
    >>> round(float(separable_share(512, kernel_size=3)), 3)
    0.113
    """
    taps = prod(pair("kernel_size", kernel_size, 1))
    return Fraction(1, integer("out_channels", out_channels, 1)) + Fraction(1, taps)


class DepthwiseSeparableConv2d(nn.Module):
    r"""A depthwise convolution and a pointwise one, each with batch normalisation and activation.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Height and width of the depthwise kernels, odd. The maps keep their size where the stride
        is 1.
    stride : int
        Of the depthwise convolution.
    activation_layer : callable
        Makes the activation. It works in place.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1, or `kernel_size` is even.

    References
    ----------
    Howard et al. (2017), section 3.2 and figure 3, right. Names as in timm.

    Examples
    --------
    >>> import torch
    >>> block = DepthwiseSeparableConv2d(32, 64, stride=2)
    >>> block(torch.rand(2, 32, 112, 112)).shape
    torch.Size([2, 64, 56, 56])
    >>> [tuple(p.shape) for p in block.parameters() if p.ndim == 4]
    [(32, 1, 3, 3), (64, 32, 1, 1)]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        activation_layer: Callable[..., nn.Module] = nn.ReLU,
    ) -> None:
        r"""Make the layers."""
        super().__init__()
        m, n = integer("in_channels", in_channels, 1), integer("out_channels", out_channels, 1)
        size, stride = integer("kernel_size", kernel_size, 1), integer("stride", stride, 1)
        if size % 2 == 0:
            raise ValueError(f"kernel_size={size} is even; use an odd one, which has a middle")
        self.conv_dw = nn.Conv2d(m, m, size, stride, padding=size // 2, groups=m, bias=False)
        self.bn1 = nn.BatchNorm2d(m)
        self.conv_pw = nn.Conv2d(m, n, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)
        self.act = activation_layer(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        r"""Filter every channel by itself, then mix the channels."""
        maps = self.act(self.bn1(self.conv_dw(input)))  # (N, M, H', W')
        output: Tensor = self.act(self.bn2(self.conv_pw(maps)))  # (N, N', H', W')
        return output
