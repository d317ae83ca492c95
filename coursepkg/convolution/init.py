r"""First weights: random numbers of the right size.

Each number that a layer computes is a sum over as many terms as its *fan-in*. If the weights
have variance 1/fan-in, sums keep the variance of the terms; after a ReLU, which drops half of
the power, it takes 2/fan-in. Weights have PyTorch's shapes: (out, in) or `(out, in, *kernel)`.

References
----------
Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks*
(2010), section 4.2.1 (Xavier is the first author's first name). He et al., *Delving deep into
rectifiers* (2015), section 2.2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from coursepkg.convolution.arguments import Array, check_rng, number
from coursepkg.validation import integer

__all__ = [
    "fan_in_and_out",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "xavier_normal",
    "xavier_uniform",
]


def fan_in_and_out(shape: tuple[int, ...]) -> tuple[int, int]:
    r"""Count the inputs that each output of a layer sums, and the outputs that each input feeds.

    Parameters
    ----------
    shape : tuple of int
        Of a weight: `(out, in, *kernel)`, where the kernel may be missing.

    Returns
    -------
    fan_in, fan_out : int

    Raises
    ------
    ValueError
        If `shape` is no tuple, has fewer than two entries, or one that is no integer of at
        least 1.

    Notes
    -----
    With stride 1. A larger stride divides the true number of outputs by the stride of each axis,
    which the papers and PyTorch leave out too.

    Examples
    --------
    >>> fan_in_and_out((100, 4320)), fan_in_and_out((30, 1, 5, 5))
    ((4320, 100), (25, 750))
    """
    sizes = _sizes(shape, 1)
    if len(sizes) < 2:
        raise ValueError(f"shape={shape} has no fan; use (out, in) or (out, in, *kernel)")
    out, into, *kernel = sizes
    return into * math.prod(kernel), out * math.prod(kernel)


def normal(
    shape: tuple[int, ...], std: float, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    r"""Draw from the normal distribution with mean 0 and a fixed standard deviation.

    Parameters
    ----------
    shape : tuple of int
    std : float
        At least 0.
    rng : numpy.random.Generator
        Drawn from in float64 whatever `dtype` is: equal seeds give equal weights, rounded.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    array of `shape` and `dtype`

    Raises
    ------
    ValueError
        If `shape` is no tuple of sizes, `std` is negative or not finite, `rng` is no generator,
        or `dtype` is no float32 or float64.

    Examples
    --------
    >>> normal((2, 3), 0.01, np.random.default_rng(0)).shape
    (2, 3)
    """
    sizes = _sizes(shape, 0)
    std = number("std", std, lambda s: s >= 0, "use a finite number of at least 0")
    check_rng(rng)
    return rng.normal(0, std, sizes).astype(_float(dtype))


def xavier_normal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    r"""Draw weights from a normal distribution of variance 2 / (fan-in + fan-out).

    Parameters
    ----------
    shape : tuple of int
        `(out, in, *kernel)`.
    rng, dtype
        As in `normal`.

    Returns
    -------
    array of `shape` and `dtype`

    Raises
    ------
    ValueError
        As `fan_in_and_out` and `normal`.

    References
    ----------
    Glorot & Bengio (2010), equation 12.

    Examples
    --------
    >>> xavier_normal((100, 300), np.random.default_rng(0)).std().round(3)
    np.float64(0.071)
    """
    return normal(shape, math.sqrt(2 / sum(fan_in_and_out(shape))), rng, dtype)


def xavier_uniform(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    r"""Draw weights from a uniform distribution of variance 2 / (fan-in + fan-out).

    Parameters
    ----------
    shape : tuple of int
        `(out, in, *kernel)`.
    rng, dtype
        As in `normal`.

    Returns
    -------
    array of `shape` and `dtype`

    Raises
    ------
    ValueError
        As `fan_in_and_out` and `normal`.

    References
    ----------
    Glorot & Bengio (2010), equation 16.

    Examples
    --------
    >>> abs(xavier_uniform((100, 300), np.random.default_rng(0))).max().round(3)
    np.float64(0.122)
    """
    return _uniform(shape, 2 / sum(fan_in_and_out(shape)), rng, dtype)


def kaiming_normal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    r"""Draw weights from a normal distribution of variance 2 / fan-in, for layers before a ReLU.

    Parameters
    ----------
    shape : tuple of int
        `(out, in, *kernel)`.
    rng, dtype
        As in `normal`.

    Returns
    -------
    array of `shape` and `dtype`

    Raises
    ------
    ValueError
        As `fan_in_and_out` and `normal`.

    References
    ----------
    He et al. (2015), equation 10. PyTorch's `kaiming_normal_` does the same by its defaults.

    Examples
    --------
    >>> kaiming_normal((100, 200), np.random.default_rng(0)).std().round(2)
    np.float64(0.1)
    """
    return normal(shape, math.sqrt(2 / fan_in_and_out(shape)[0]), rng, dtype)


def kaiming_uniform(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    r"""Draw weights from a uniform distribution of variance 2 / fan-in.

    Parameters
    ----------
    shape : tuple of int
        `(out, in, *kernel)`.
    rng, dtype
        As in `normal`.

    Returns
    -------
    array of `shape` and `dtype`

    Raises
    ------
    ValueError
        As `fan_in_and_out` and `normal`.

    References
    ----------
    He et al. (2015), equation 10, for another distribution of the same variance, as PyTorch's
    `kaiming_uniform_` by its defaults. The layers of PyTorch themselves start with a variance
    of 1 / (3 fan-in).

    Examples
    --------
    >>> abs(kaiming_uniform((100, 600), np.random.default_rng(0))).max().round(3)
    np.float64(0.1)
    """
    return _uniform(shape, 2 / fan_in_and_out(shape)[0], rng, dtype)


def _uniform(
    shape: tuple[int, ...], variance: float, rng: np.random.Generator, dtype: DTypeLike
) -> Array:
    check_rng(rng)
    bound = math.sqrt(3 * variance)  # a uniform number in [-b, b] has variance b**2 / 3
    return rng.uniform(-bound, bound, shape).astype(_float(dtype))


def _sizes(shape: tuple[int, ...], minimum: int) -> tuple[int, ...]:
    if not isinstance(shape, (tuple, list)):
        raise ValueError(f"shape={shape!r} is no tuple; use (out, in) or (out, in, *kernel)")
    return tuple(integer("shape", n, minimum) for n in shape)


def _float(dtype: DTypeLike) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.name not in ("float32", "float64"):
        raise ValueError(f"dtype={kind} holds no weights; use float32 or float64")
    return kind
