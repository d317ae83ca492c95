r"""Compare results and check gradients: one helper for the tests, the exercises and the grader.

`difference` says in one sentence how a result departs from what was expected. The tests turn
that sentence into an `AssertionError`, and the grader hands it to the learner.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TOLERANCES",
    "AtLeast",
    "assert_close",
    "assert_gradient",
    "difference",
    "numerical_gradient",
]

#: Per dtype: (relative to the largest expected magnitude, absolute). Other dtypes are exact.
TOLERANCES = {
    "float16": (1e-2, 1e-3),
    "float32": (1e-5, 1e-6),
    "float64": (1e-10, 1e-13),
    "complex128": (1e-10, 1e-13),
}


def difference(
    got: Any,
    expected: Any,
    name: str = "result",
    *,
    rtol: float | None = None,
    atol: float | None = None,
) -> str | None:
    r"""Say how `got` differs from `expected`, or return None if it does not.

    Checked in this order: type, length or keys, shape, dtype, values. Arrays are compared
    with one tolerance for the whole array, `rtol` times the largest expected magnitude plus
    `atol`, because the rounding of a sum scales with its largest terms. NaN equals only NaN,
    and an infinity only the same infinity.

    Parameters
    ----------
    got : object
        The result to be judged.
    expected : array, tensor, number, bool, str, None, AtLeast, or a tuple, list or dict of these
        What it should be. Tensors are compared as arrays.
    name : str
        What the sentence calls the result.
    rtol, atol : float, optional
        Tolerances; by default those of the expected dtype in `TOLERANCES`, and 0 for integers.

    Returns
    -------
    str or None

    Examples
    --------
    >>> difference(np.array([1, 2]), np.array([1, 3]))
    'result[1] is 2, expected 3'
    >>> difference(28.0, 28)
    'result is a float (28.0), expected an int (28)'
    """
    if _is_tensor(expected) and _is_tensor(got):
        got, expected = got.detach().cpu().numpy(), expected.detach().cpu().numpy()
    if isinstance(expected, AtLeast):
        return expected.shortfall(got, name)
    if type(got) is not type(expected):
        return _type_difference(got, expected, name)
    if isinstance(expected, (tuple, list, dict)):
        return _container_difference(got, expected, name, rtol, atol)
    if isinstance(expected, np.ndarray | np.generic | float):
        return _array_difference(np.asarray(got), np.asarray(expected), name, rtol, atol)
    return None if got == expected else f"{name} is {got!r}, expected {expected!r}"


@dataclass(frozen=True, eq=False, repr=False)
class AtLeast:
    r"""Expected of predictions: that many of the labels are right, and no matter which.

    Attributes
    ----------
    share : float
        From 0 to 1.
    labels : integer array
        The right answers.

    Raises
    ------
    ValueError
        If `share` is outside that range, or there is no label.

    Examples
    --------
    >>> difference(np.array([7, 2, 2, 0]), AtLeast(0.9, np.array([7, 2, 1, 0])), "predicted")
    'predicted has 3 of 4 labels right; at least 4 are wanted (90.0%)'
    """

    share: float
    labels: NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        r"""Refuse what nothing can fulfil, and what anything does."""
        if not 0 <= self.share <= 1:
            raise ValueError(f"share={self.share} is no share; use a number from 0 to 1")
        if self.labels.size == 0:
            raise ValueError("labels is empty; pass at least one")

    @property
    def needed(self) -> int:
        r"""Number of labels wanted; 7 for 0.07 of 100, though ``0.07 * 100 > 7``."""
        return math.ceil(Fraction(str(self.share)) * self.labels.size)

    def __repr__(self) -> str:
        return f"{self.labels.size} labels, at least {self.share:.1%} of them right"

    def shortfall(self, got: Any, name: str) -> str | None:
        r"""Say what is wrong with predictions, or return None if enough of them are right."""
        problem = difference(got, self.labels, name, rtol=0, atol=np.inf)
        if problem is not None:
            return problem
        right = int(np.sum(got == self.labels))
        if right >= self.needed:
            return None
        return (
            f"{name} has {right} of {self.labels.size} labels right; "
            f"at least {self.needed} are wanted ({self.share:.1%})"
        )


def assert_close(
    got: Any,
    expected: Any,
    name: str = "result",
    *,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    r"""Raise an AssertionError with the sentence of `difference`, if there is one.

    Parameters
    ----------
    got, expected, name, rtol, atol
        As in `difference`.

    Raises
    ------
    AssertionError
        If the two differ.
    """
    sentence = difference(got, expected, name, rtol=rtol, atol=atol)
    if sentence is not None:
        raise AssertionError(sentence)


def numerical_gradient(
    function: Callable[[NDArray[np.float64]], float],
    x: NDArray[np.float64],
    step: float = float(np.finfo(np.float64).eps) ** (1 / 3),
) -> NDArray[np.float64]:
    r"""Estimate the gradient of a scalar function by central differences.

    .. math:: \frac{\partial f}{\partial x_i} \approx \frac{f(x + h e_i) - f(x - h e_i)}{2h}

    Parameters
    ----------
    function : callable
        Takes an array like `x` and returns a number. It is called twice per entry of `x`.
    x : float64 array of any shape
        Where the gradient is wanted; not changed.
    step : float
        The h above. The default, the cube root of the machine precision, balances the error
        of the formula, of order h squared, against rounding, of order 1/h.

    Returns
    -------
    float64 array of the shape of `x`

    Raises
    ------
    ValueError
        If `x` is not a float64 array: in float32, rounding swamps the difference.

    References
    ----------
    Press et al., *Numerical Recipes* (3rd ed., 2007), section 5.7.

    Examples
    --------
    >>> numerical_gradient(lambda x: float(np.sum(x**2)), np.array([1.0, -3.0])).round(6)
    array([ 2., -6.])
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        kind = getattr(x, "dtype", type(x).__name__)
        raise ValueError(f"x is {kind}; pass a float64 array (.astype(np.float64))")
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        gradient[index] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def assert_gradient(
    function: Callable[[NDArray[np.float64]], float],
    x: NDArray[np.float64],
    gradient: NDArray[np.float64],
    name: str = "gradient",
    *,
    rtol: float = 1e-7,
    atol: float = 1e-8,
) -> None:
    r"""Raise an AssertionError unless `gradient` is that of `function` at `x`.

    Parameters
    ----------
    function, x
        As in `numerical_gradient`.
    gradient : float64 array of the shape of `x`
        The gradient to be judged.
    name, rtol, atol
        As in `difference`.

    Raises
    ------
    AssertionError
        If it differs from the numerical gradient.
    """
    assert_close(gradient, numerical_gradient(function, x), name, rtol=rtol, atol=atol)


#: What a learner calls these types; the others go by their own name.
KINDS = {"NoneType": "None", "Tensor": "a torch tensor", "ndarray": "a NumPy array"}


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")  # without importing torch


def _type_difference(got: Any, expected: Any, name: str) -> str:
    if got is None:
        return f"{name} is None, expected {_kind(expected)}; is a return missing?"
    return f"{name} is {_kind(got)}, expected {_kind(expected)}"


def _kind(value: Any) -> str:
    word = type(value).__name__
    kind = KINDS.get(word, f"{'an' if word[0] in 'aeio' else 'a'} {word}")
    return f"{kind} ({value!r:.40})" if isinstance(value, bool | int | float | str) else kind


def _container_difference(
    got: Any, expected: Any, name: str, rtol: float | None, atol: float | None
) -> str | None:
    if isinstance(expected, dict):
        if set(got) != set(expected):
            keys, wanted = sorted(got, key=repr), sorted(expected, key=repr)
            return f"{name} has the keys {keys}, expected {wanted}"
        keys = list(expected)
    else:
        if len(got) != len(expected):
            return f"{name} has {len(got)} entries, expected {len(expected)}"
        keys = list(range(len(expected)))
    parts = (difference(got[k], expected[k], f"{name}[{k!r}]", rtol=rtol, atol=atol) for k in keys)
    return next((sentence for sentence in parts if sentence is not None), None)


def _array_difference(
    got: NDArray[Any],
    expected: NDArray[Any],
    name: str,
    rtol: float | None,
    atol: float | None,
) -> str | None:
    if got.shape != expected.shape:
        return f"{name} has shape {got.shape}, expected {expected.shape}"
    if got.dtype != expected.dtype:
        return f"{name} has dtype {got.dtype}, expected {expected.dtype}"
    wrong = _departures(got, expected, rtol, atol)
    if not wrong.any():
        return None
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = name + (f"[{', '.join(map(str, first))}]" if first else "")
    sentence = f"{where} is {got[first]!s}, expected {expected[first]!s}"
    count = int(wrong.sum())
    return sentence if count == 1 else f"{sentence} ({count} of {wrong.size} values differ)"


def _departures(
    got: NDArray[Any], expected: NDArray[Any], rtol: float | None, atol: float | None
) -> NDArray[np.bool_]:
    r"""Return True wherever `got` is further from `expected` than the tolerance."""
    if not np.issubdtype(expected.dtype, np.inexact):
        if rtol is None and atol is None:
            return np.asarray(got != expected)
        got, expected = got.astype(np.float64), expected.astype(np.float64)
    relative, absolute = TOLERANCES.get(expected.dtype.name, (0.0, 0.0))
    relative = relative if rtol is None else rtol
    absolute = absolute if atol is None else atol
    finite = np.isfinite(expected)
    largest = float(np.max(np.abs(expected), where=finite, initial=0.0))
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(got - expected) <= relative * largest + absolute
    return np.asarray(~(same | (near & finite & np.isfinite(got))))
