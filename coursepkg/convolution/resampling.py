r"""Resampling: images made smaller or larger, by one small matrix for each axis.

Every output pixel is a weighted sum of input pixels, and its weights are products of one for the
row and one for the column. So resampling is :math:`A_h \, x \, A_w^\top`, and its backward pass
:math:`A_h^\top \, G \, A_w`. From one way of resampling to the next only the matrices differ.

Weights of zero multiply too: an infinite or NaN pixel makes its whole row and column NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb, floor

import numpy as np

from coursepkg.convolution.arguments import (
    Array,
    IntPair,
    check_array,
    check_floats,
    check_shape,
    number,
)
from coursepkg.convolution.matrix import conv1d_matrix
from coursepkg.validation import integer, pair

__all__ = [
    "POSITIONS",
    "blur_matrix",
    "blur_pool2d",
    "blur_pool2d_backward",
    "interpolate",
    "interpolate_backward",
    "interpolation_matrix",
]

Scale = float | tuple[float, float]


def _nearest(size: int, places: int, step: Fraction) -> Array:
    return np.array([min(floor(i * step), size - 1) for i in range(places)], float)


def _centres(size: int, places: int, step: Fraction) -> Array:
    positions: Array = (np.arange(places) + 0.5) * float(step) - 0.5
    return positions.clip(min=0)


def _corners(size: int, places: int, step: Fraction) -> Array:
    return np.linspace(0, size - 1, places)


#: By (mode, align_corners): where in the input, counted in pixels, each output pixel is read.
POSITIONS: dict[tuple[str, bool], Callable[[int, int, Fraction], Array]] = {
    ("nearest", False): _nearest,
    ("bilinear", False): _centres,
    ("bilinear", True): _corners,
}


def interpolation_matrix(
    size: int,
    output_size: int,
    mode: str = "nearest",
    align_corners: bool | None = False,
    scale_factor: float | None = None,
) -> Array:
    r"""Return the matrix that resamples one axis.

    Output pixel i is read at a position x, which may lie between two pixels. It takes the share
    :math:`1 - (x - \lfloor x \rfloor)` of the pixel before and the rest of the pixel after.

    ======== ============= =======================================
    mode     align_corners position x of output pixel i
    ======== ============= =======================================
    nearest  False         :math:`\lfloor i n / m \rfloor`
    bilinear False         :math:`(i + 1/2) \, n / m - 1/2`, at least 0
    bilinear True          :math:`i \, (n - 1) / (m - 1)`
    ======== ============= =======================================

    Parameters
    ----------
    size, output_size : int
        Lengths n of the input and m of the output.
    mode : str
        "nearest" or "bilinear".
    align_corners : bool
        Whether the centres of the corner pixels stay in place, or (False) the edges of the image.
        None is False, as in PyTorch.
    scale_factor : float, optional
        If given, stands in place of m / n.

    Returns
    -------
    (output_size, size) float64 array
        Each row sums to 1.

    Raises
    ------
    ValueError
        If a size is below 1, there is no such combination of `mode` and `align_corners`, or
        `scale_factor` is no positive number.

    Examples
    --------
    >>> interpolation_matrix(2, 4, mode="bilinear")
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    n, m = integer("size", size, 1), integer("output_size", output_size, 1)
    align_corners = False if align_corners is None else align_corners
    if (mode, align_corners) not in POSITIONS:
        raise ValueError(
            f"mode={mode!r} with align_corners={align_corners!r} is unknown; "
            "use 'nearest', or 'bilinear' with or without align_corners"
        )
    step = Fraction(n, m) if scale_factor is None else 1 / Fraction(_scale(scale_factor))
    x = POSITIONS[mode, align_corners](n, m, step)
    before = np.minimum(x.astype(int), n - 1)
    after = np.minimum(before + 1, n - 1)
    matrix = np.zeros((m, n))
    matrix[np.arange(m), before] = 1 - (x - before)
    matrix[np.arange(m), after] += x - before
    return matrix


def interpolate(
    input: Array,
    size: IntPair | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool | None = False,
) -> Array:
    r"""Make images larger or smaller.

    Parameters
    ----------
    input : (N, C, H, W) array
        float32 or float64, for "nearest" also int64; N may be 0.
    size : int or pair of int, optional
        H' and W'.
    scale_factor : number or pair of numbers, optional
        Instead of `size`: H' and W' are its products with H and W, rounded down. Give one of the
        two.
    mode, align_corners
        As in `interpolation_matrix`.

    Returns
    -------
    (N, C, H', W') array
        In the input's dtype.

    Raises
    ------
    ValueError
        If the input is no such array, the settings do not fit, or no pixel would be left.

    Notes
    -----
    Neither mode blurs before it makes images smaller, so that fine patterns alias.

    References
    ----------
    `torch.nn.functional.interpolate`, whose results these are. There, positions for "nearest" are
    rounded to float32, which for some sizes shifts a pixel whose position is a whole number.

    Examples
    --------
    >>> x = np.array([[[[0.0, 4.0]]]])
    >>> interpolate(x, size=(1, 4))
    array([[[[0., 0., 4., 4.]]]])
    >>> interpolate(x, scale_factor=(1, 2), mode="bilinear")
    array([[[[0., 1., 3., 4.]]]])
    """
    down, across = _interpolations(input, size, scale_factor, mode, align_corners)
    return down @ input @ across.T


def interpolate_backward(
    grad: Array,
    input: Array,
    size: IntPair | None = None,
    scale_factor: Scale | None = None,
    mode: str = "nearest",
    align_corners: bool | None = False,
) -> Array:
    r"""Send a gradient back through `interpolate`: the transposed matrices.

    Parameters
    ----------
    grad : (N, C, H', W') array
        Gradient of the loss with respect to the output.
    input, size, scale_factor, mode, align_corners
        What `interpolate` was called with. Of the input only shape and dtype matter.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        As `interpolate`, and if `grad` does not have the shape and dtype of the output.

    Examples
    --------
    >>> grad, x = np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), np.zeros((1, 1, 1, 2))
    >>> interpolate_backward(grad, x, size=(1, 4))
    array([[[[3., 7.]]]])
    """
    matrices = _interpolations(input, size, scale_factor, mode, align_corners)
    return _transposed(grad, input, *matrices)


def blur_matrix(size: int, stride: int = 2, kernel_size: int = 3) -> Array:
    r"""Return the matrix that blurs one axis and keeps every `stride`-th pixel.

    The weights are the binomial coefficients, 1 2 1 or 1 4 6 4 1 …, divided by their sum. At the
    ends the axis is continued as in a mirror.

    Parameters
    ----------
    size : int
        Length of the axis.
    stride : int
        Step of the window.
    kernel_size : int
        Number of weights; odd.

    Returns
    -------
    (ceil(size / stride), size) float64 array
        Each row sums to 1.

    Raises
    ------
    ValueError
        If an argument is below 1, or `kernel_size` is even.

    References
    ----------
    Zhang, *Making convolutional networks shift-invariant again* (2019), section 3.

    Examples
    --------
    >>> blur_matrix(4)
    array([[0.5 , 0.5 , 0.  , 0.  ],
           [0.  , 0.25, 0.5 , 0.25]])
    """
    k = integer("kernel_size", kernel_size, 1)
    if k % 2 == 0:
        raise ValueError(f"kernel_size={k} has no centre; use an odd number")
    weights = np.array([comb(k - 1, a) for a in range(k)]) / 2 ** (k - 1)
    mirrored = np.pad(np.arange(integer("size", size, 1)), k // 2, mode="reflect")
    return conv1d_matrix(weights, len(mirrored), stride) @ np.eye(size)[mirrored]


def blur_pool2d(input: Array, stride: IntPair = 2, kernel_size: int = 3) -> Array:
    r"""Make images smaller without aliasing: blur, then keep every `stride`-th pixel.

    Parameters
    ----------
    input : (N, C, H, W) array
        float32 or float64; N may be 0.
    stride : int or pair of int
        Step of the window.
    kernel_size : int
        Number of binomial weights along each axis; odd. A larger stride needs more of them.

    Returns
    -------
    (N, C, ceil(H / stride), ceil(W / stride)) array
        In the input's dtype.

    Raises
    ------
    ValueError
        If the input is no such array, or as `blur_matrix`.

    References
    ----------
    Zhang (2019), section 3, "BlurPool" with the filters Tri-3, Bin-5 …

    Examples
    --------
    >>> stripes = np.array([[[[0.0, 1.0, 0.0, 1.0, 0.0]]]])
    >>> blur_pool2d(stripes)
    array([[[[0.5, 0.5, 0.5]]]])
    """
    down, across = _blurs(input, stride, kernel_size)
    return down @ input @ across.T


def blur_pool2d_backward(
    grad: Array, input: Array, stride: IntPair = 2, kernel_size: int = 3
) -> Array:
    r"""Send a gradient back through `blur_pool2d`: the transposed matrices.

    Parameters
    ----------
    grad : (N, C, H', W') array
        Gradient of the loss with respect to the output.
    input, stride, kernel_size
        What `blur_pool2d` was called with. Of the input only shape and dtype matter.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ValueError
        As `blur_pool2d`, and if `grad` does not have the shape and dtype of the output.

    Examples
    --------
    >>> blur_pool2d_backward(np.array([[[[4.0, 8.0]]]]), np.zeros((1, 1, 1, 4)))
    array([[[[2., 4., 4., 2.]]]])
    """
    return _transposed(grad, input, *_blurs(input, stride, kernel_size))


def _interpolations(
    input: Array,
    size: IntPair | None,
    scale_factor: Scale | None,
    mode: str,
    align_corners: bool | None,
) -> list[Array]:
    r"""Check the arguments; return the matrices for height and width, in the input's dtype."""
    check_array("input", input, "(N, C, H, W)")
    if mode != "nearest":
        check_floats("input", input)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"size={size!r} and scale_factor={scale_factor!r}; give one of them, and not both"
        )
    scales: list[float] | list[None] = [None, None]
    if size is None:
        scales = _scales(scale_factor)
        sizes = [floor(n * scale) for n, scale in zip(input.shape[2:], scales, strict=True)]
    else:
        sizes = list(pair("size", size, 1))
    return [
        interpolation_matrix(n, m, mode, align_corners, scale).astype(input.dtype)
        for n, m, scale in zip(input.shape[2:], sizes, scales, strict=True)
    ]


def _scales(scale_factor: Scale | None) -> list[float]:
    scales = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * 2
    if len(scales) != 2:
        raise ValueError(
            f"scale_factor={scale_factor!r} has {len(scales)} entries; "
            "use a positive number or two, (height, width)"
        )
    return [_scale(scale) for scale in scales]


def _scale(scale_factor: float | None) -> float:
    return number("scale_factor", scale_factor, lambda s: s > 0, "use a positive number")


def _blurs(input: Array, stride: IntPair, kernel_size: int) -> list[Array]:
    r"""Check the arguments; return the matrices for height and width, in the input's dtype."""
    check_array("input", input, "(N, C, H, W)")
    check_floats("input", input)
    axes = zip(input.shape[2:], pair("stride", stride, 1), strict=True)
    return [blur_matrix(n, s, kernel_size).astype(input.dtype) for n, s in axes]


def _transposed(grad: Array, input: Array, down: Array, across: Array) -> Array:
    shape = (*input.shape[:2], len(down), len(across))
    check_shape("grad", grad, shape, input.dtype, "pass the gradient of the output")
    return down.T @ grad @ across
