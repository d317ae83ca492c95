r"""Convolution, normalisation, activation: the three layers that most networks repeat.

Ioffe & Szegedy (2015) put batch normalisation between the convolution and the activation, since a
sum of many terms is closer to a normal distribution than what an activation leaves of it. The
normalisation subtracts the mean, and with it any bias of the convolution; so there is none.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from coursepkg.validation import integer, pair

__all__ = ["ConvNormActivation"]


class ConvNormActivation(nn.Sequential):
    r"""Convolution, then a normalisation and an activation if there are any.

    The layers are numbered, as in torchvision's `Conv2dNormActivation`: 0 is the convolution, 1 the
    normalisation, 2 the activation. Without a normalisation the activation is 1.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair of int
    stride, dilation : int or pair of int
    padding : int, pair of int or None
        None pads by half of what the kernel spans, so that stride 1 keeps the size of the maps if
        the kernel is odd.
    groups : int
    norm_layer : callable or None
        Makes the normalisation of a number of channels.
    activation_layer : callable or None
        Makes the activation. It works in place.
    bias : bool or None
        Whether the convolution adds one. None: only if no normalisation follows.

    Raises
    ------
    ValueError
        If a size is no integer of at least 1, or `groups` does not divide the channels.

    References
    ----------
    Ioffe & Szegedy (2015), section 3.2: where the normalisation stands, and why the bias goes.

    Examples
    --------
    >>> import torch
    >>> block = ConvNormActivation(3, 8, stride=2)
    >>> [type(layer).__name__ for layer in block]
    ['Conv2d', 'BatchNorm2d', 'ReLU']
    >>> block(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        *,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        norm_layer: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        bias: bool | None = None,
    ) -> None:
        r"""Make the layers."""
        kernel, spread = pair("kernel_size", kernel_size, 1), pair("dilation", dilation, 1)
        if padding is None:
            vertical, horizontal = ((k - 1) // 2 * d for k, d in zip(kernel, spread, strict=True))
            padding = vertical, horizontal
        super().__init__(
            nn.Conv2d(
                integer("in_channels", in_channels, 1),
                integer("out_channels", out_channels, 1),
                kernel,
                pair("stride", stride, 1),
                pair("padding", padding, 0),
                spread,
                integer("groups", groups, 1),
                bias=norm_layer is None if bias is None else bias,
            )
        )
        if norm_layer is not None:
            self.append(norm_layer(out_channels))
        if activation_layer is not None:
            self.append(activation_layer(inplace=True))
