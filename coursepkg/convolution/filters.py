r"""Classic filters, written by hand long before networks learned their own.

Every kernel is meant for cross-correlation, the way a network uses it: lay it on the image as
it is printed, multiply, add up. x grows to the right and y downwards, as in arrays, so
`sobel_x` is positive where the image gets brighter to the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from coursepkg.validation import integer

__all__ = ["FILTERS", "box", "gabor", "gaussian"]

Kernel = NDArray[np.float64]


def box(size: int) -> Kernel:
    r"""Return the kernel that replaces each pixel by the mean of its neighbourhood.

    Parameters
    ----------
    size : int
        Side of the kernel in pixels.

    Returns
    -------
    (size, size) float64 array
        Each entry is 1 / size².

    Raises
    ------
    ValueError
        If `size` is not an integer of at least 1.

    References
    ----------
    Gonzalez & Woods, *Digital Image Processing* (4th ed., 2018), section 3.5.

    Examples
    --------
    >>> box(2)
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    size = integer("size", size, 1)
    return np.full((size, size), 1 / size**2)


def gaussian(size: int, sigma: float) -> Kernel:
    r"""Return the kernel of a blur whose weights fall off with the distance from the centre.

    .. math:: w_{yx} \propto \exp\left(-\frac{x^2 + y^2}{2 \sigma^2}\right), \qquad \sum w = 1

    Parameters
    ----------
    size : int
        Side of the kernel in pixels, odd. About :math:`6 \sigma` loses next to nothing.
    sigma : float
        Width of the bell, in pixels.

    Returns
    -------
    (size, size) float64 array
        Divided by its sum, so that a uniform image keeps its brightness.

    Raises
    ------
    ValueError
        If `size` is not an odd integer, or `sigma` is not positive.

    References
    ----------
    Gonzalez & Woods, *Digital Image Processing* (4th ed., 2018), section 3.5.

    Examples
    --------
    >>> gaussian(3, 1.0).round(2)
    array([[0.08, 0.12, 0.08],
           [0.12, 0.2 , 0.12],
           [0.08, 0.12, 0.08]])
    """
    y, x = _grid(size)
    bell: Kernel = np.exp(-(x**2 + y**2) / (2 * _positive("sigma", sigma) ** 2))
    bell /= bell.sum()
    return bell


def gabor(
    size: int,
    wavelength: float,
    orientation: float = 0.0,
    sigma: float | None = None,
    aspect: float = 1.0,
    phase: float = 0.0,
) -> Kernel:
    r"""Return a Gabor filter: a wave that fades out with the distance from the centre.

    .. math::
        w_{yx} = \exp\left(-\frac{x'^2 + \gamma^2 y'^2}{2 \sigma^2}\right)
                 \cos\left(\frac{2 \pi x'}{\lambda} + \psi\right), \qquad
        \begin{aligned}
        x' &= x \cos\theta + y \sin\theta \\ y' &= y \cos\theta - x \sin\theta
        \end{aligned}

    It answers to stripes of its own wavelength and orientation. Simple cells in the visual
    cortex of cats respond much like it, and first layers of trained networks come to look
    like it.

    Parameters
    ----------
    size : int
        Side of the kernel in pixels, odd.
    wavelength : float
        Distance :math:`\lambda` in pixels from one crest of the wave to the next.
    orientation : float
        Angle :math:`\theta` in radians between the x axis and the direction in which the wave
        travels; 0 gives vertical stripes.
    sigma : float, optional
        Width of the bell in pixels, along the wave; half a wavelength if not given.
    aspect : float
        :math:`\gamma`; below 1, the bell is longer across the wave than along it.
    phase : float
        :math:`\psi` in radians: 0 puts a bright stripe on the centre (even filter),
        :math:`\pi/2` an edge (odd filter, whose entries add up to 0).

    Returns
    -------
    (size, size) float64 array
        Not normalised: at phase 0 the entry in the centre is 1.

    Raises
    ------
    ValueError
        If `size` is not an odd integer, or `wavelength`, `sigma` or `aspect` is not positive.

    References
    ----------
    Daugman, "Uncertainty relation for resolution in space, spatial frequency, and orientation
    optimized by two-dimensional visual cortical filters", J. Opt. Soc. Am. A 2 (1985);
    only the real part, as in `skimage.filters.gabor_kernel`, and without its normalisation.

    Examples
    --------
    >>> gabor(3, wavelength=4).round(2) + 0.0  # vertical stripes, 4 pixels apart
    array([[0.  , 0.88, 0.  ],
           [0.  , 1.  , 0.  ],
           [0.  , 0.88, 0.  ]])
    """
    wavelength = _positive("wavelength", wavelength)
    sigma = wavelength / 2 if sigma is None else _positive("sigma", sigma)
    y, x = _grid(size)
    along = x * np.cos(orientation) + y * np.sin(orientation)
    across = y * np.cos(orientation) - x * np.sin(orientation)
    distance = np.hypot(along, _positive("aspect", aspect) * across)
    bell: Kernel = np.exp(-(distance**2) / (2 * sigma**2))
    wave: Kernel = np.cos(2 * np.pi * along / wavelength + phase)
    return bell * wave


def _grid(size: int) -> tuple[Kernel, Kernel]:
    r"""Return y and x of every entry of a kernel, counted from its centre; both (size, size)."""
    size = integer("size", size, 1)
    if size % 2 == 0:
        raise ValueError(f"size={size} is even and has no centre; use {size - 1} or {size + 1}")
    y, x = np.mgrid[:size, :size] - size // 2.0
    return y, x


def _positive(name: str, value: float) -> float:
    if not 0 < value < np.inf:
        raise ValueError(f"{name}={value} is not a positive number; use one above 0")
    return float(value)


def _fixed(kernel: list[list[int]] | Kernel) -> Kernel:
    r"""Return a float64 copy that nobody can change by accident."""
    array = np.array(kernel, np.float64)
    array.setflags(write=False)
    return array


_IDENTITY = _fixed([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
_LAPLACIAN = _fixed([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
_DIFFERENCE = np.array([-1.0, 0.0, 1.0])  # brightness on the right minus brightness on the left

#: The kernels that have no parameters, by name; read-only float64 arrays.
#:
#: - `identity` keeps the image as it is.
#: - `sharpen` is the identity minus the Laplacian: it adds to each pixel what sets it apart from
#:   its four neighbours (Gonzalez & Woods, 2018, section 3.6).
#: - `emboss` subtracts the upper left from the lower right and adds the pixel itself, so
#:   surfaces look lit from one side (the convolution matrix of GIMP's manual, "Emboss").
#: - `sobel_x`, `sobel_y`: a difference along one axis, smoothed by 1 2 1 along the other
#:   (Sobel & Feldman, 1968; first printed in Duda & Hart, 1973, page 271).
#: - `prewitt_x`, `prewitt_y`: the same, smoothed by 1 1 1 (Prewitt, 1970).
#: - `laplacian`: sum of the second differences along both axes (Gonzalez & Woods, 2018,
#:   section 3.6).
#: - `curve`: a stroke that comes from the upper right and turns downwards, the example of
#:   Deshpande, "A beginner's guide to understanding convolutional neural networks" (2016).
FILTERS: Mapping[str, Kernel] = MappingProxyType(
    {
        "identity": _IDENTITY,
        "sharpen": _fixed(_IDENTITY - _LAPLACIAN),
        "emboss": _fixed([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
        "sobel_x": _fixed(np.outer([1, 2, 1], _DIFFERENCE)),
        "sobel_y": _fixed(np.outer(_DIFFERENCE, [1, 2, 1])),
        "prewitt_x": _fixed(np.outer([1, 1, 1], _DIFFERENCE)),
        "prewitt_y": _fixed(np.outer(_DIFFERENCE, [1, 1, 1])),
        "laplacian": _LAPLACIAN,
        "curve": _fixed(
            [
                [0, 0, 0, 0, 0, 30, 0],
                [0, 0, 0, 0, 30, 0, 0],
                [0, 0, 0, 30, 0, 0, 0],
                [0, 0, 0, 30, 0, 0, 0],
                [0, 0, 0, 30, 0, 0, 0],
                [0, 0, 0, 30, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 0],
            ]
        ),
    }
)
