r"""Checks of arguments whose errors name the argument, its value and the remedy."""

from __future__ import annotations

import operator
from collections.abc import Collection

__all__ = ["choice", "integer", "pair"]


def choice(name: str, value: object, known: Collection[str]) -> str:
    r"""Return `value` if it is one of the known words.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    value : object
    known : collection of str
        In the order in which the message lists them; the keys of a dict will do.

    Raises
    ------
    ValueError
        If `value` is none of them.

    Examples
    --------
    >>> choice("mode", "reflect", ("constant", "reflect"))
    'reflect'
    >>> choice("mode", "mirror", ("constant", "reflect"))
    Traceback (most recent call last):
    ValueError: mode='mirror' is unknown; use one of constant, reflect
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(known)}")
    return value


def integer(name: str, value: object, minimum: int) -> int:
    r"""Return `value` as an `int` of at least `minimum`.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    value : object
        Anything that Python accepts as an index (`int`, NumPy integers), but no `bool`.
    minimum : int
        The smallest value allowed.

    Raises
    ------
    ValueError
        If `value` is not an integer or is smaller than `minimum`.

    Examples
    --------
    >>> integer("stride", 2, 1)
    2
    >>> integer("stride", 0, 1)
    Traceback (most recent call last):
    ValueError: stride=0 is too small; use an integer of at least 1
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(
            f"{name}={value!r} is not an integer; use an integer of at least {minimum}"
        )
    if number < minimum:
        raise ValueError(f"{name}={number} is too small; use an integer of at least {minimum}")
    return number


def pair(
    name: str,
    value: int | tuple[int, int],
    minimum: int,
    meaning: str = "(height, width)",
) -> tuple[int, int]:
    r"""Return an integer, or two in a tuple or list, as a pair.

    Parameters
    ----------
    name : str
        How the caller calls the argument; it opens the error message.
    value : int or tuple of int
        One integer for both entries, or one for each.
    minimum : int
        The smallest value allowed.
    meaning : str
        What the two entries stand for, for the error message.

    Raises
    ------
    ValueError
        If `value` is neither, or an entry is no integer or smaller than `minimum`.

    Examples
    --------
    >>> pair("stride", 2, 1), pair("stride", (2, 1), 1)
    ((2, 2), (2, 1))
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name}={value!r} has {len(values)} entries; use an integer or {meaning}")
    first, second = (integer(name, v, minimum) for v in values)
    return first, second
