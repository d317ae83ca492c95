r"""Read recorded experiments: what was measured once, with five seeds, for a page to show.

An experiment that takes more than a minute stands in `experiments/<topic>/<slug>.py` of the
repository. `tools/experiments.py` runs it with the seeds 0 to 4 and writes what it measured into
a JSON file beside it; this module reads that file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "Recorded", "check_figures", "recorded"]

#: Where the experiments of this checkout stand.
FOLDER = Path(__file__).resolve().parents[1] / "experiments"

#: Leads from a result to one of its figures: a key, or several keys and indices one after another.
Path_ = str | Sequence[str | int]


class Difference(NamedTuple):
    r"""The mean of paired differences, and whether it is more than chance.

    Attributes
    ----------
    mean : float
        Of the differences, seed by seed.
    standard_error : float
        Their standard deviation over the root of the number of seeds.
    holds : bool
        Whether the mean is more than two standard errors away from 0.

    Examples
    --------
    >>> print(Difference(0.031, 0.004, True))
    +0.031, standard error 0.004: it holds
    """

    mean: float
    standard_error: float
    holds: bool

    def __str__(self) -> str:
        """Say all three in a line."""
        verdict = "it holds" if self.holds else "not seen"
        return f"{self.mean:+.3g}, standard error {self.standard_error:.2g}: {verdict}"


@dataclass(frozen=True)
class Recorded:
    r"""What an experiment measured.

    Attributes
    ----------
    name : str
        ``topic/slug``.
    settings : dict
        With what it ran.
    seeds : list of int
        One for each result.
    results : list of dict
        What it measured with each seed, all of the same form.
    versions : dict of str to str
        Of Python and of the packages that it ran with.
    threads : int
        Of torch and BLAS.

    Examples
    --------
    >>> measured = [{"plain": {"loss": [2.0, 0.5]}}, {"plain": {"loss": [1.0, 0.7]}}]
    >>> made = Recorded("topic/made", {"epochs": 2}, [0, 1], measured, {}, 1)
    >>> made.mean("plain", "loss")
    array([1.5, 0.6])
    >>> made.mean("plain", "loss", -1)
    np.float64(0.6)
    """

    name: str
    settings: dict[str, Any]
    seeds: list[int]
    results: list[dict[str, Any]]
    versions: dict[str, str]
    threads: int

    def values(self, *path: str | int) -> NDArray[np.float64]:
        r"""Return one figure, or a list of figures, of every seed.

        Parameters
        ----------
        *path : str or int
            Keys and indices that lead to it from the result of a seed.

        Returns
        -------
        (S,) or (S, ...) float64 array
            S is the number of seeds.

        Raises
        ------
        ValueError
            If the path leads nowhere, or not to numbers of the same shape for every seed.
        """
        found = [self._at(result, path) for result in self.results]
        try:
            return np.array(found, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"{self.name} has no figures of one shape at {_words(path)}; "
                "lead the path to a number or a list of numbers"
            ) from None

    def mean(self, *path: str | int) -> Any:
        r"""Return the mean over the seeds; `path` as in `values`.

        Returns
        -------
        float64, or (...) float64 array
        """
        return self.values(*path).mean(axis=0)

    def std(self, *path: str | int) -> Any:
        r"""Return the standard deviation over the seeds, with S - 1 below the fraction.

        Parameters
        ----------
        *path : str or int
            As in `values`.

        Returns
        -------
        float64, or (...) float64 array
        """
        return self.values(*path).std(axis=0, ddof=1)

    def difference(self, path_a: Path_, path_b: Path_) -> Difference:
        r"""Compare two figures seed by seed: a - b.

        Parameters
        ----------
        path_a, path_b : str or sequence of str and int
            Each leads to one number, as in `values`; a single key need not be in a tuple.

        Returns
        -------
        Difference

        Raises
        ------
        ValueError
            If a path does not lead to one number for each seed.

        Notes
        -----
        The line of two standard errors is a convention of the course. With five seeds, normal
        noise around no difference at all crosses it about one time in nine (Student's t with 4
        degrees of freedom).

        Examples
        --------
        >>> measured = [{"a": 5.0, "b": 3.0}, {"a": 6.0, "b": 5.0}]
        >>> Recorded("topic/made", {}, [0, 1], measured, {}, 1).difference("a", "b")
        Difference(mean=1.5, standard_error=0.5, holds=True)
        """
        a, b = (self._numbers(path) for path in (path_a, path_b))
        mean = float(np.mean(a - b))
        error = float(np.std(a - b, ddof=1) / math.sqrt(len(a)))
        return Difference(mean, error, abs(mean) > 2 * error)

    def _numbers(self, path: Path_) -> NDArray[np.float64]:
        steps = (path,) if isinstance(path, str) else tuple(path)
        values = self.values(*steps)
        if values.ndim != 1:
            raise ValueError(
                f"{self.name} has an array of shape {values.shape[1:]} at {_words(steps)}; "
                "lead the path on to one number"
            )
        return values

    def _at(self, result: Any, path: Sequence[str | int]) -> Any:
        for depth, step in enumerate(path):
            try:
                result = result[step]
            except (LookupError, TypeError):
                there = list(result) if isinstance(result, dict) else type(result).__name__
                where = _words(path[:depth]) if depth else "the top"
                raise ValueError(
                    f"{self.name} has no {step!r} at {where}; there is {there}"
                ) from None
        return result


def recorded(name: str, folder: Path = FOLDER) -> Recorded:
    r"""Read a recorded experiment.

    Parameters
    ----------
    name : str
        ``topic/slug``, as `experiments/<topic>/<slug>.json` is called.
    folder : Path
        Where the topics stand; by default `experiments/` of the checkout that this package is
        a part of.

    Returns
    -------
    Recorded

    Raises
    ------
    FileNotFoundError
        If there is no such record.
    ValueError
        If the file is no record.

    Examples
    --------
    >>> recorded("architectures/no-such")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: no experiment architectures/no-such is recorded...
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"no experiment {name} is recorded: there is no {path}. Run "
            f"python tools/experiments.py {name} in the course's repository, which holds them"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        fields = [record[key] for key in ("settings", "seeds", "results", "versions", "threads")]
        check_figures(fields[2])
        if len(fields[1]) != len(fields[2]) or not fields[1]:
            raise ValueError(f"{len(fields[1])} seeds and {len(fields[2])} results")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no record of an experiment ({error!r}); write it anew with "
            f"python tools/experiments.py --force {name}"
        ) from error
    return Recorded(name, *fields)


def check_figures(value: Any, where: str = "results") -> None:
    r"""Refuse results that JSON does not keep, and numbers that are not finite.

    Parameters
    ----------
    value : object
        Dicts with keys of str, lists, str, bool, None, int and finite float are accepted.
    where : str
        What the error calls it.

    Raises
    ------
    ValueError
        Names the first place that does not fit.

    Examples
    --------
    >>> check_figures({"loss": [0.5, float("nan")]})
    Traceback (most recent call last):
    ValueError: results['loss'][1] is nan; an experiment returns finite numbers
    """
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; use strings, which JSON keeps")
            check_figures(part, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for i, part in enumerate(value):
            check_figures(part, f"{where}[{i}]")
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}; an experiment returns finite numbers")
    elif value is not None and type(value) not in (str, bool, int):
        raise ValueError(
            f"{where} is of type {type(value).__name__}; use numbers of Python, such as .item() "
            "and .tolist() give"
        )


def _words(path: Sequence[str | int]) -> str:
    return "".join(f"[{step!r}]" for step in path) or "the top"
