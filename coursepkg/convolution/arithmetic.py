r"""How large is the output, what does it cost, and what does it see? The arithmetic of layers.

Sizes and receptive fields are counted along one axis at a time: once for the height and once
for the width. The relations of sizes are those of Dumoulin & Visin, *A guide to convolution
arithmetic for deep learning* (2016), extended by dilation (their section 5.1); those of
receptive fields are those of Araujo, Norris & Sim, *Computing receptive fields of convolutional
neural networks* (Distill, 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from coursepkg.validation import integer, pair

__all__ = [
    "ReceptiveField",
    "Window",
    "activation_bytes",
    "conv2d_cost",
    "conv2d_macs",
    "conv2d_parameters",
    "linear_parameters",
    "output_size",
    "pool_output_size",
    "receptive_field",
    "same_padding",
    "span",
    "transposed_output_size",
]


def span(kernel: int, dilation: int = 1) -> int:
    r"""Return how many input pixels a dilated kernel reaches across.

    .. math:: d \, (k - 1) + 1

    Parameters
    ----------
    kernel, dilation : int
        Number of taps, and the distance between two neighbouring taps.

    Returns
    -------
    int
        The distance in pixels from the first tap to the last, both counted.

    Raises
    ------
    ValueError
        If `kernel` or `dilation` is not an integer of at least 1.

    Examples
    --------
    >>> span(3), span(3, dilation=2)
    (3, 5)
    """
    return integer("dilation", dilation, 1) * (integer("kernel", kernel, 1) - 1) + 1


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    r"""Return how many places a sliding window takes along one axis.

    .. math:: \left\lfloor \frac{n + 2p - d(k - 1) - 1}{s} \right\rfloor + 1

    The floor says that a window must fit whole: pixels left over at the end are not seen.

    Parameters
    ----------
    size : int
        Length :math:`n` of the input, in pixels.
    kernel : int
        Number of taps :math:`k` of the kernel.
    stride : int
        Step :math:`s` from one place of the window to the next.
    padding : int
        Pixels :math:`p` added at *each* end.
    dilation : int
        Distance :math:`d` between two neighbouring taps.

    Returns
    -------
    int
        Length of the output, at least 1.

    Raises
    ------
    ValueError
        If an argument is no integer or too small, or if the window does not fit even once.

    References
    ----------
    Dumoulin & Visin (2016), relations 6 and 15.

    Examples
    --------
    >>> output_size(32, kernel=5)
    28
    >>> output_size(128, kernel=3, stride=2, padding=1)
    64
    """
    padded = integer("size", size, 1) + 2 * integer("padding", padding, 0)
    reach = span(kernel, dilation)
    if reach > padded:
        raise ValueError(
            f"kernel={kernel} with dilation={dilation} spans {reach} but the padded input "
            f"has {padded}; add padding or shrink the kernel"
        )
    return (padded - reach) // integer("stride", stride, 1) + 1


def pool_output_size(
    size: int,
    kernel: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    r"""Return the output length of a pooling layer along one axis.

    It is that of `output_size`, but the stride defaults to the kernel, and `ceil_mode` lets a
    last window hang over the end, by fewer than `stride` pixels, if it still starts inside the
    input or its left padding.

    Parameters
    ----------
    size, kernel, padding, dilation : int
        As in `output_size`; at most half of the kernel may be padding.
    stride : int, optional
        Step of the window; `kernel` if not given.
    ceil_mode : bool
        Round up instead of down.

    Returns
    -------
    int
        Length of the output, at least 1.

    Raises
    ------
    ValueError
        As `output_size`, and if `padding` exceeds half of `kernel`. Without dilation this keeps
        windows from lying in the padding alone, where there is no maximum. With dilation, all
        taps may still fall on padding; the maximum is then minus infinity, as in PyTorch.

    References
    ----------
    `torch.nn.MaxPool2d`, "Shape" and the note on `ceil_mode`.

    Examples
    --------
    >>> pool_output_size(28, kernel=2)
    14
    >>> pool_output_size(112, kernel=3, stride=2), pool_output_size(112, 3, 2, ceil_mode=True)
    (55, 56)
    """
    size, kernel = integer("size", size, 1), integer("kernel", kernel, 1)
    stride = kernel if stride is None else integer("stride", stride, 1)
    padding = integer("padding", padding, 0)
    if 2 * padding > kernel:
        raise ValueError(
            f"padding={padding} exceeds half of kernel={kernel}; "
            f"use a padding of at most {kernel // 2}"
        )
    overhang = stride - 1 if ceil_mode else 0
    reach, padded = span(kernel, dilation), size + 2 * padding
    if ceil_mode and reach > padded + overhang:
        raise ValueError(
            f"kernel={kernel} with dilation={dilation} spans {reach} but the padded input has "
            f"{padded}, and ceil_mode with stride={stride} lets a window hang over by {overhang} "
            "at most; add padding or shrink the kernel"
        )
    places = output_size(size + overhang, kernel, stride, padding, dilation)
    starts_outside = (places - 1) * stride >= size + padding
    return places - starts_outside


def transposed_output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> int:
    r"""Return the output length of a transposed convolution along one axis.

    .. math:: s (n - 1) + d (k - 1) + 1 - 2p + p_\mathrm{out}

    It undoes `output_size`: of the `stride` input lengths that a convolution maps to `size`,
    this is the smallest one plus `output_padding`.

    Parameters
    ----------
    size, kernel, stride, padding, dilation : int
        As in `output_size`; `padding` here *removes* pixels at each end.
    output_padding : int
        Pixels added at one end; smaller than `stride` or `dilation`.

    Returns
    -------
    int
        Length of the output, at least 1.

    Raises
    ------
    ValueError
        If an argument is no integer or out of range, or if `padding` removes everything.

    References
    ----------
    Dumoulin & Visin (2016), relation 14; `torch.nn.ConvTranspose2d`, "Shape".

    Examples
    --------
    >>> transposed_output_size(14, kernel=4, stride=2, padding=1)
    28
    """
    stride, padding = integer("stride", stride, 1), integer("padding", padding, 0)
    reach, output_padding = span(kernel, dilation), integer("output_padding", output_padding, 0)
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"output_padding={output_padding} must be smaller than stride={stride} or "
            f"dilation={dilation}; lower it or raise the stride"
        )
    full = stride * (integer("size", size, 1) - 1) + reach + output_padding
    if full <= 2 * padding:
        raise ValueError(
            f"padding={padding} removes all of the {full} output pixels; "
            f"use a padding of at most {(full - 1) // 2}"
        )
    return full - 2 * padding


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    r"""Return the padding before and after which gives `ceil(size / stride)` outputs.

    .. math:: p = \max\bigl(s(\lceil n/s \rceil - 1) + d(k - 1) + 1 - n,\; 0\bigr)

    An odd :math:`p` puts the extra pixel *after*. At stride 1 this is PyTorch's
    `padding="same"`; PyTorch refuses other strides, TensorFlow computes them like this.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        As in `output_size`.

    Returns
    -------
    tuple of int
        Pixels to add before the first and after the last pixel.

    Raises
    ------
    ValueError
        If an argument is not an integer of at least 1.

    References
    ----------
    TensorFlow, `tf.nn`, "Notes on padding".

    Examples
    --------
    >>> same_padding(28, kernel=3, stride=3)
    (1, 1)
    >>> same_padding(28, kernel=3, stride=2)
    (0, 1)
    """
    size, stride = integer("size", size, 1), integer("stride", stride, 1)
    places = -(-size // stride)
    total = max(stride * (places - 1) + span(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def conv2d_parameters(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    groups: int = 1,
    bias: bool = True,
) -> int:
    r"""Return how many numbers a convolution layer learns.

    .. math:: C' \left( \frac{C}{g} \, k_h k_w + 1 \right)

    Each of the :math:`C'` filters has one kernel for each input channel of its group, and one
    bias. The size of the image plays no part.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels :math:`C` of the input and :math:`C'` of the output.
    kernel_size : int or pair of int
        Height and width of the kernels.
    groups : int
        Number of groups :math:`g`; it divides both numbers of channels.
    bias : bool
        Whether each filter has a bias.

    Raises
    ------
    ValueError
        If an argument is no integer or too small, or `groups` does not divide the channels.

    Examples
    --------
    >>> conv2d_parameters(1, 8, 5), conv2d_parameters(8, 32, kernel_size=5)
    (208, 6432)
    """
    filters, weights = _filters(in_channels, out_channels, kernel_size, groups)
    return filters * (weights + bool(bias))


def conv2d_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    output_size: int | tuple[int, int],
    groups: int = 1,
) -> int:
    r"""Return how many multiply-adds a convolution layer needs for one image.

    .. math:: C' \, \frac{C}{g} \, k_h k_w \; H' W'

    Every weight is used once at every place of the output. Adding the bias is not counted.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, groups
        As in `conv2d_parameters`.
    output_size : int or pair of int
        Height and width of the *output*.

    Raises
    ------
    ValueError
        As `conv2d_parameters`.

    Examples
    --------
    >>> conv2d_macs(3, 6, kernel_size=5, output_size=28)
    352800
    """
    filters, weights = _filters(in_channels, out_channels, kernel_size, groups)
    return filters * weights * prod(pair("output_size", output_size, 1))


def conv2d_cost(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    output_size: int | tuple[int, int],
    groups: int = 1,
    bias: bool = True,
) -> tuple[int, int]:
    r"""Return the parameters of a convolution layer, and its multiply-adds for one image.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or pair of int
        Height and width of the kernels.
    output_size : int or pair of int
        Height and width of the *output*.
    groups : int
        Number of groups; it divides both numbers of channels.
    bias : bool
        Whether each filter has a bias. Adding it is no multiply-add.

    Returns
    -------
    parameters, macs : int
        How many numbers the layer learns, and how often it multiplies and adds for one image.

    Raises
    ------
    ValueError
        As `conv2d_parameters`.

    Examples
    --------
    >>> conv2d_cost(3, 6, kernel_size=5, output_size=28)
    (456, 352800)
    """
    return (
        conv2d_parameters(in_channels, out_channels, kernel_size, groups, bias),
        conv2d_macs(in_channels, out_channels, kernel_size, output_size, groups),
    )


def _filters(
    in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], groups: int
) -> tuple[int, int]:
    r"""Return the number of filters, and that of the weights of one."""
    groups = integer("groups", groups, 1)
    inputs = integer("in_channels", in_channels, 1)
    filters = integer("out_channels", out_channels, 1)
    for name, number in (("in_channels", inputs), ("out_channels", filters)):
        if number % groups:
            raise ValueError(
                f"groups={groups} does not divide {name}={number}; use a divisor of {number}"
            )
    return filters, inputs // groups * prod(pair("kernel_size", kernel_size, 1))


def linear_parameters(in_features: int, out_features: int, bias: bool = True) -> int:
    r"""Return how many numbers a fully connected layer learns.

    Each output has a weight for every input, and one bias.

    Parameters
    ----------
    in_features, out_features : int
        Numbers of inputs and outputs.
    bias : bool
        Whether each output has a bias.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    Examples
    --------
    >>> linear_parameters(1568, 64), linear_parameters(64, 10)
    (100416, 650)
    """
    weights = integer("in_features", in_features, 1)
    return integer("out_features", out_features, 1) * (weights + bool(bias))


def activation_bytes(shape: Sequence[int], itemsize: int = 4) -> int:
    r"""Return the memory that an array of this shape takes up, in bytes.

    In training, each layer's output stays in memory until its gradient has been computed.

    Parameters
    ----------
    shape : sequence of int
        Such as (N, C, H, W).
    itemsize : int
        Bytes of one number; 4 for float32.

    Raises
    ------
    ValueError
        If an entry is no integer or negative, or `itemsize` is below 1.

    Examples
    --------
    >>> activation_bytes((100, 30, 24, 24))
    6912000
    """
    return prod(integer("shape", n, 0) for n in shape) * integer("itemsize", itemsize, 1)


@dataclass(frozen=True)
class Window:
    r"""How the window of a convolution or pooling layer slides along one axis.

    Attributes
    ----------
    kernel, stride, padding, dilation : int
        As in `output_size`.

    Raises
    ------
    ValueError
        If a setting is no integer or too small.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        r"""Check the settings."""
        for name, minimum in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, name, integer(name, getattr(self, name), minimum))


class ReceptiveField(NamedTuple):
    r"""What the units of a layer see of the input, along one axis.

    Unit i sees the pixels from ``start + i * jump`` to ``start + i * jump + size - 1``.

    Attributes
    ----------
    size : int
        How many pixels one unit sees across.
    jump : int
        Distance in pixels between what two neighbouring units see.
    start : int
        The first pixel that unit 0 sees; negative where it lies in the padding.
    """

    size: int
    jump: int
    start: int


def receptive_field(windows: Iterable[Window]) -> ReceptiveField:
    r"""Return what one unit at the end of a stack of layers sees of the input.

    .. math::
        r \leftarrow r + d (k - 1) \, j, \qquad a \leftarrow a - p \, j, \qquad j \leftarrow j s

    from size :math:`r = 1`, start :math:`a = 0` and jump :math:`j = 1`, once per layer: a
    window on a layer whose units lie :math:`j` pixels apart reaches :math:`j` times as far.

    Parameters
    ----------
    windows : iterable of Window
        The layers with a window, from the input on. Layers that work on each unit alone, such
        as ReLU, do not change the field and are left out.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    ValueError
        If `windows` is no list, or holds what has not the attributes of a `Window`.

    References
    ----------
    Araujo, Norris & Sim (2019), "Single-path networks", where the recursion runs from the output
    back to the input; this one runs forward and gives the same numbers.

    Examples
    --------
    >>> receptive_field([Window(3), Window(3), Window(3)])
    ReceptiveField(size=7, jump=1, start=0)
    >>> receptive_field([Window(11, stride=4, padding=2), Window(3, stride=2)])
    ReceptiveField(size=19, jump=8, start=-2)
    """
    windows = _checked(windows)
    size, jump, start = 1, 1, 0
    for window in windows:
        size += (span(window.kernel, window.dilation) - 1) * jump
        start -= window.padding * jump
        jump *= window.stride
    return ReceptiveField(size, jump, start)


def _checked(windows: Iterable[Window]) -> list[Window]:
    stack: list[Any] = list(windows) if isinstance(windows, Iterable) else [None]
    settings = ("kernel", "stride", "padding", "dilation")
    if not all(hasattr(window, name) for window in stack for name in settings):
        raise ValueError(
            f"windows={windows!r} is no list of windows; "
            "use a list such as [Window(3), Window(3, stride=2)]"
        )
    return stack
