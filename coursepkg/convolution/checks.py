r"""What the layers ask of their arrays beyond `arguments.check_array`."""

from __future__ import annotations

from typing import Any

import numpy as np

from coursepkg.convolution.arguments import Array

__all__ = ["check_floats", "check_shape"]


def check_floats(name: str, array: Array, axes: int = 0) -> None:
    r"""Check for an array of real numbers.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    array : array
    axes : int
        How many axes it has at least.

    Raises
    ------
    ValueError
        If it is no array, not of float32 or float64, or has fewer axes.

    Examples
    --------
    >>> check_floats("input", np.array([1, 2]))
    Traceback (most recent call last):
    ValueError: input has dtype int64; convert it, e.g. input.astype(np.float32)
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(array).__name__}; pass a NumPy array (np.asarray)")
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{name} has dtype {array.dtype}; convert it, e.g. {name}.astype(np.float32)"
        )
    if array.ndim < axes:
        raise ValueError(f"{name} has shape {array.shape}; pass at least {axes} axes, (N, C, ...)")


def check_shape(
    name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any], remedy: str
) -> None:
    r"""Check that an array has exactly this shape and this dtype.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    array : array
    shape, dtype
        What it has to have.
    remedy : str
        What to pass instead; it closes the message.

    Raises
    ------
    ValueError
        If it is no array, or has another shape or dtype.

    Examples
    --------
    >>> check_shape("bias", np.zeros(3), (2,), np.dtype("float64"), "pass one number per filter")
    Traceback (most recent call last):
    ValueError: bias has shape (3,) where (2,) is needed; pass one number per filter
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is a {type(array).__name__}; pass a NumPy array (np.asarray)")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} where {shape} is needed; {remedy}")
    if array.dtype != dtype:
        raise ValueError(
            f"{name} is {array.dtype} where {dtype} is needed; "
            f"convert it, e.g. {name}.astype(np.{dtype})"
        )
