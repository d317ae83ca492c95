r"""How large is the output? The arithmetic of one axis, for every sliding window in the course.

Every function treats one axis at a time: call it once for the height and once for the width.
The relations are those of Dumoulin & Visin, *A guide to convolution arithmetic for deep
learning* (2016), extended by dilation (their section 5.1).
"""

from __future__ import annotations

from coursepkg.validation import integer

__all__ = ["output_size", "pool_output_size", "same_padding", "span", "transposed_output_size"]


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
        As `output_size`, and if `padding` exceeds half of `kernel`: such a window could lie in
        the padding alone and would have no maximum.

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
