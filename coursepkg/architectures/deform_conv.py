r"""Deformable convolution: each tap of the kernel reads where a learned offset sends it.

Dai et al., *Deformable Convolutional Networks* (ICCV 2017), and with a factor for each tap Zhu et
al., *Deformable ConvNets v2* (CVPR 2019). An ordinary convolution reads the input on a regular
grid around each place. A deformable one adds an offset to each point of that grid. Offsets are
fractions of pixels, so the input is read between its pixels, by bilinear interpolation; that is
what makes the offsets learnable.

The work is done in three steps, each a function: where to read, what stands there, and one matrix
product with the weights. Arguments, their order and all conventions at the border are those of
`torchvision.ops.deform_conv2d` (0.29.1), whose values and gradients are met.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.convolution.arithmetic import output_size
from coursepkg.validation import integer, pair

__all__ = ["DeformConv2d", "bilinear_sample", "deform_conv2d", "sampling_positions"]

IntPair = int | tuple[int, int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = (1, 1),
    padding: IntPair = (0, 0),
    dilation: IntPair = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    r"""Convolve, reading the input at points that offsets have moved.

    .. math:: y(p) = b + \sum_k w_k \; x(p + p_k + \Delta p_k) \; \Delta m_k

    where :math:`p_k` runs over the regular grid of the kernel, :math:`\Delta p_k` is the offset
    and :math:`\Delta m_k` the mask of this tap at this place. Without a mask all
    :math:`\Delta m_k` are 1.

    Parameters
    ----------
    input : (N, C, H, W) tensor
    offset : (N, 2*G*kh*kw, H', W') tensor
        For each group of offsets and each tap, row by row, how many pixels down and how many to
        the right it moves: y and x take turns. G, the number of groups of channels that move
        together, is found from this shape.
    weight : (O, C/groups, kh, kw) tensor
        The number of groups of weights is found from this shape.
    bias : (O,) tensor, optional
    stride, padding, dilation : int or pair of int
        Of the regular grid, as in an ordinary convolution.
    mask : (N, G*kh*kw, H', W') tensor, optional
        What each sample is multiplied by. With it the operator is that of version 2.

    Returns
    -------
    (N, O, H', W') tensor

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit together, or a setting is no integer or too small.

    Notes
    -----
    The samples, kh*kw times as many numbers as the input has where the stride is 1, are kept for
    the gradients, and so are the four pixels that each was mixed from. The gradient with respect
    to an offset jumps where the point crosses a row or column of pixels; there it is the
    derivative to the right or downwards.

    References
    ----------
    Dai et al. (2017), section 2.1, equations 2-4. Zhu et al. (2019), section 3.2. Groups of
    offsets stand in the authors' code and in torchvision, not in the papers' formulas.

    Examples
    --------
    An offset of one pixel to the right, for all taps and places:

    >>> input = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> offset = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    >>> deform_conv2d(input, offset, torch.ones(1, 1, 1, 1))[0, 0]
    tensor([[ 1.,  2.,  3.,  0.],
            [ 5.,  6.,  7.,  0.],
            [ 9., 10., 11.,  0.],
            [13., 14., 15.,  0.]])
    """
    groups = _check_weight(input, weight, bias)
    n, (o, _, kh, kw) = len(input), weight.shape
    settings = _check_offset(input, offset, mask, (kh, kw), stride, padding, dilation)
    places = offset.shape[2:]
    positions = sampling_positions(offset, (kh, kw), *settings)  # (N, H', W', K, G, 2)
    samples = bilinear_sample(input, positions)  # (N, H', W', K, G, C/G)
    if mask is not None:
        modulation = mask.unflatten(1, (-1, kh * kw)).permute(0, 3, 4, 2, 1)  # type: ignore[no-untyped-call]
        samples = samples * modulation[..., None]

    columns = samples.reshape(places.numel() * n, kh * kw, groups, weight.shape[1])
    columns = columns.permute(2, 0, 1, 3).flatten(2)  # (groups, N*H'*W', K*C/groups)
    kernels = weight.reshape(groups, o // groups, weight.shape[1], kh * kw)
    kernels = kernels.permute(0, 3, 2, 1).flatten(1, 2)  # (groups, K*C/groups, O/groups)
    output = (columns @ kernels).transpose(0, 1).reshape(n, *places, o)
    if bias is not None:
        output = output + bias
    return output.permute(0, 3, 1, 2).contiguous()  # (N, O, H', W')


def sampling_positions(
    offset: Tensor,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
) -> Tensor:
    r"""Return where each tap reads the input: the regular grid, plus the offsets.

    Parameters
    ----------
    offset : (N, 2*G*kh*kw, H', W') tensor
        As in `deform_conv2d`; zeros for the regular grid.
    kernel_size, stride, padding, dilation : int or pair of int
        Of the convolution.

    Returns
    -------
    (N, H', W', kh*kw, G, 2) tensor
        Row and column, in pixels of the input; (0, 0) is the centre of its first pixel. For the
        place (i, j) of the output, ``positions[n, i, j]`` holds all points that it reads. In
        float32 at least, since half precision skips pixels beyond the 256th (bfloat16).

    Raises
    ------
    ValueError
        If the channels of `offset` are no multiple of 2*kh*kw, or a setting is no integer or too
        small.

    Examples
    --------
    >>> sampling_positions(torch.zeros(1, 6, 2, 2), kernel_size=(1, 3))[0, 1, 1, :, 0]
    tensor([[1., 1.],
            [1., 2.],
            [1., 3.]])
    """
    kh, kw = pair("kernel_size", kernel_size, 1)
    (sh, sw), (ph, pw) = pair("stride", stride, 1), pair("padding", padding, 0)
    dh, dw = pair("dilation", dilation, 1)
    n, channels, height, width = offset.shape
    if channels == 0 or channels % (2 * kh * kw):
        raise ValueError(
            f"offset has {channels} channels; a kernel of {kh} x {kw} needs {2 * kh * kw}, "
            "or a multiple of it for several groups"
        )
    device = offset.device
    row = torch.arange(height, device=device) * sh - ph  # where the kernel's corner is laid
    column = torch.arange(width, device=device) * sw - pw
    down = (torch.arange(kh, device=device) * dh).repeat_interleave(kw)  # from there to each tap
    right = (torch.arange(kw, device=device) * dw).repeat(kh)
    y = (row[:, None, None] + down).expand(height, width, kh * kw)
    x = (column[None, :, None] + right).expand(height, width, kh * kw)
    grid = torch.stack([y, x], dim=-1)[..., None, :]  # (H', W', K, 1, 2)
    grid = grid.to(torch.promote_types(offset.dtype, torch.float32))
    moves = offset.reshape(n, channels // (2 * kh * kw), kh * kw, 2, height, width)
    return grid + moves.permute(0, 4, 5, 2, 1, 3)


def bilinear_sample(input: Tensor, positions: Tensor) -> Tensor:
    r"""Read an input between its pixels; outside of it everything is zero.

    A point takes from each of the four pixels around it the share

    .. math:: \max(0, 1 - |y - i|) \, \max(0, 1 - |x - j|),

    so that it counts a pixel fully where it meets it, and not at all one pixel further.

    Parameters
    ----------
    input : (N, C, H, W) tensor
    positions : (N, ..., G, 2) tensor
        Rows and columns, as from `sampling_positions`. The channels are read in G groups, each at
        its own points.

    Returns
    -------
    (N, ..., G, C/G) tensor

    References
    ----------
    Dai et al. (2017), equations 3 and 4.

    Examples
    --------
    >>> input = torch.tensor([[[[0.0, 10.0], [20.0, 30.0]]]])
    >>> points = torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 1.5], [1.0, 2.0]])
    >>> bilinear_sample(input, points[None, :, None]).flatten()
    tensor([10., 15., 15.,  0.])
    """
    n, channels, height, width = input.shape
    groups = positions.shape[-2]
    y = positions[..., 0].clamp(-1, height)  # (N, ..., G); at -1 and H all is zero
    x = positions[..., 1].clamp(-1, width)
    top, left = y.detach().floor(), x.detach().floor()
    below, after = y - top, x - left  # how far the point lies behind the pixel at its top left

    framed = F.pad(input, (1, 2, 1, 2))  # zeros, so that all four pixels exist
    rows, columns = framed.shape[2:]
    pixels = framed.permute(0, 2, 3, 1).reshape(n * rows * columns * groups, channels // groups)
    first = torch.arange(n, device=input.device).reshape(n, *[1] * (y.ndim - 1)) * rows
    index = (first + top.nan_to_num().long() + 1) * columns + left.nan_to_num().long() + 1
    index = index * groups + torch.arange(groups, device=input.device)

    def corner(step: int, share: Tensor) -> Tensor:
        found = pixels.index_select(0, (index + step * groups).flatten())
        return found * share.to(found.dtype).reshape(-1, 1)

    samples = (
        corner(0, (1 - below) * (1 - after))
        + corner(1, (1 - below) * after)
        + corner(columns, below * (1 - after))
        + corner(columns + 1, below * after)
    )
    return samples.reshape(*index.shape, channels // groups)


class DeformConv2d(nn.Conv2d):
    r"""A convolution that finds out from its input where to read it.

    An ordinary convolution over the same input, `predict`, gives the offsets, and with
    `modulated` the masks. It has the kernel size, stride, padding and dilation of the layer
    itself, and begins with zeros. So all offsets are 0 at first and the layer begins on the
    regular grid. Masks are sigmoids, hence 0.5 at first: a modulated layer begins as half of the
    ordinary convolution.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in `torch.nn.Conv2d`, in integers and pairs of integers.
    offset_groups : int
        How many groups of channels move together.
    modulated : bool
        Whether each sample is multiplied by a mask, as in version 2.

    Attributes
    ----------
    weight, bias
        Those of the convolution, with the names that torchvision's module has. That one takes
        offsets and masks as arguments instead of predicting them.
    predict : torch.nn.Conv2d
        2 * offset_groups * kh * kw channels of offsets, then, if modulated, half as many of masks
        before the sigmoid.

    Raises
    ------
    ValueError
        If a setting is no integer or too small, or a number of groups does not divide the
        channels.

    Notes
    -----
    The authors of version 2 train `predict` at a tenth of the learning rate. Parameters are
    grouped in the optimiser, so that is up to you.

    References
    ----------
    Dai et al. (2017), sections 2.1 and 2.3. Zhu et al. (2019), section 3.2: zero weights, and
    initial values of 0 and 0.5.

    Examples
    --------
    >>> layer = DeformConv2d(3, 8, kernel_size=3, padding=1, modulated=True)
    >>> layer(torch.rand(2, 3, 10, 10)).shape
    torch.Size([2, 8, 10, 10])
    >>> layer.predict.out_channels
    27
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        offset_groups: int = 1,
        modulated: bool = False,
    ) -> None:
        kh, kw = pair("kernel_size", kernel_size, 1)
        stride, padding = pair("stride", stride, 1), pair("padding", padding, 0)
        dilation = pair("dilation", dilation, 1)
        integer("in_channels", in_channels, 1)
        integer("out_channels", out_channels, 1)
        for name, number in (("groups", groups), ("offset_groups", offset_groups)):
            _check_divides(name, integer(name, number, 1), in_channels)
        _check_divides("groups", groups, out_channels)
        super().__init__(
            in_channels, out_channels, (kh, kw), stride, padding, dilation, groups, bias
        )
        self.offset_groups = offset_groups
        self.modulated = modulated
        self.predict = nn.Conv2d(
            in_channels,
            (3 if modulated else 2) * offset_groups * kh * kw,
            (kh, kw),
            stride,
            padding,
            dilation,
        )
        for parameter in self.predict.parameters():
            nn.init.zeros_(parameter)

    def offsets(self, input: Tensor) -> tuple[Tensor, Tensor | None]:
        r"""Predict the offsets, and the masks if there are any.

        Parameters
        ----------
        input : (N, C, H, W) tensor

        Returns
        -------
        offset : (N, 2*G*kh*kw, H', W') tensor
        mask : (N, G*kh*kw, H', W') tensor, or None
            Between 0 and 1.
        """
        predicted = self.predict(input)
        if not self.modulated:
            return predicted, None
        number = predicted.shape[1] // 3
        return predicted[:, : 2 * number], predicted[:, 2 * number :].sigmoid()

    def sampling_positions(self, input: Tensor) -> Tensor:
        r"""Return the points at which this layer reads this input.

        Parameters
        ----------
        input : (N, C, H, W) tensor

        Returns
        -------
        (N, H', W', kh*kw, G, 2) tensor
            As from the function `sampling_positions`.
        """
        offset, _ = self.offsets(input)
        return sampling_positions(
            offset, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def forward(self, input: Tensor) -> Tensor:
        r"""Predict offsets (and masks) from the input, and convolve with them."""
        offset, mask = self.offsets(input)
        return deform_conv2d(
            input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask
        )


def _check_weight(input: Tensor, weight: Tensor, bias: Tensor | None) -> int:
    r"""Check what an ordinary convolution needs, and return its number of groups."""
    for name, tensor, axes in (
        ("input", input, "(N, C, H, W)"),
        ("weight", weight, "(O, C, kh, kw)"),
    ):
        if tensor.ndim != 4 or not tensor.is_floating_point():
            raise ValueError(
                f"{name} is {_described(tensor)}; use a tensor of floats of shape {axes}"
            )
    channels, (o, c) = input.shape[1], weight.shape[:2]
    if c == 0 or channels == 0 or channels % c:
        raise ValueError(
            f"weight of shape {tuple(weight.shape)} reads {c} channels, which does not divide the "
            f"{channels} of the input; use (O, {channels}/groups, kh, kw)"
        )
    if o % (channels // c):
        raise ValueError(
            f"weight of shape {tuple(weight.shape)} makes {channels // c} groups of the {channels} "
            f"channels of the input, which does not divide its {o} filters; use a multiple of them"
        )
    _check_like(input, "weight", weight, tuple(weight.shape))
    if bias is not None:
        _check_like(input, "bias", bias, (o,))
    return channels // c


def _check_offset(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    kernel_size: tuple[int, int],
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    r"""Check offsets and masks against the convolution, and return its settings as pairs."""
    settings = pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
    places = tuple(map(output_size, input.shape[2:], kernel_size, *settings))
    taps, channels = kernel_size[0] * kernel_size[1], offset.shape[1] if offset.ndim > 1 else 0
    groups = max(1, channels // (2 * taps))
    _check_like(input, "offset", offset, (len(input), 2 * groups * taps, *places))
    _check_divides("the number of groups in offset", groups, input.shape[1])
    if mask is not None:
        _check_like(input, "mask", mask, (len(input), groups * taps, *places))
    return settings


def _check_like(input: Tensor, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != input.dtype:
        raise ValueError(f"{name} is {_described(tensor)}; use shape {shape} and {input.dtype}")


def _check_divides(name: str, groups: int, channels: int) -> None:
    if channels % groups:
        raise ValueError(
            f"{name}={groups} does not divide the {channels} channels; use a divisor of {channels}"
        )


def _described(tensor: Tensor) -> str:
    return f"of shape {tuple(tensor.shape)} and {tensor.dtype}"
