r"""The self-check: what passed, what did not, and what to look at next."""

from __future__ import annotations

import math
import reprlib
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coursepkg.grading.exercise import Case, Exercise, load
from coursepkg.grading.judge import NOT_RUN, Verdict, evaluate, recognise
from coursepkg.grading.worker.packages import packages_used
from coursepkg.grading.worker.run import call

__all__ = ["SEED", "Result", "check"]

#: The seed of the further cases of a self-check. Graded work is checked with another one.
SEED = 0

WIDTH = 88
HINTS = 3

SHORT = reprlib.Repr()  # survives objects that cannot be printed
SHORT.maxstring = SHORT.maxother = WIDTH

#: How an array is printed so that it can be pasted, whatever the learner has set.
EXACT: dict[str, Any] = {
    "threshold": sys.maxsize,
    "floatmode": "unique",
    "suppress": False,
    "sign": "-",
    "nanstr": "np.nan",
    "infstr": "np.inf",
    "formatter": None,
    "legacy": False,
}


@dataclass(frozen=True, repr=False)
class Result:
    r"""What a self-check found. It shows nothing by itself: `check` has printed the text.

    Attributes
    ----------
    id : str
        Of the exercise.
    points, out_of : int
    groups : mapping of str to bool
        Which groups of cases passed.
    hints : tuple of str
        For the mistakes that were recognised; the first three are printed.
    text : str
        What was printed.
    """

    id: str
    points: int
    out_of: int
    groups: Mapping[str, bool]
    hints: tuple[str, ...]
    text: str

    @property
    def passed(self) -> bool:
        r"""Whether every group passed."""
        return all(self.groups.values())

    def __repr__(self) -> str:
        return f"<{self.id}: {self.points} of {self.out_of} points>"

    def _ipython_display_(self) -> None:
        r"""Show nothing in a notebook."""


def check(id: str, answer: Any) -> Result:
    r"""Check your answer to an exercise, and print what passed and what did not.

    It runs the public cases and further ones, always the same. Graded work is run on other
    further cases, so that an answer has to be right and not only to fit these.

    Parameters
    ----------
    id : str
        The exercise, such as `"convolution/output-size"`.
    answer : function or class
        What you wrote: the thing itself, not its name and not a call.

    Returns
    -------
    Result
        Points and hints, for those who want to go on from them.

    Raises
    ------
    ValueError
        If there is no such exercise. Nothing that the answer does raises.

    Examples
    --------
    >>> def output_size(size, kernel, stride=1, padding=0, dilation=1):
    ...     return size // stride
    >>> result = check("convolution/output-size", output_size)  # doctest: +ELLIPSIS
    convolution/output-size: 0 of ... points
    ...
    >>> result.passed
    False
    """
    exercise = load(id)
    result = _refused(exercise, answer) or _checked(exercise, answer)
    print(result.text)
    return result


def _refused(exercise: Exercise, answer: Any) -> Result | None:
    reason = _unsuitable(exercise, answer) or _forbidden(exercise, answer)
    return _result(exercise, dict.fromkeys(exercise.groups, False), (), reason) if reason else None


def _unsuitable(exercise: Exercise, answer: Any) -> str:
    r"""Say why this cannot be an answer at all, or return an empty string."""
    wanted = "class" if isinstance(exercise.reference, type) else "function"
    usage = f'Pass the {wanted} itself: check("{exercise.id}", {exercise.name})'
    if isinstance(answer, str):
        return f"You passed the text {answer!r:.40}. {usage}, without quotes."
    if isinstance(answer, type) == (wanted == "class") and callable(answer):
        return ""
    got = "the class" if isinstance(answer, type) else "a value of type"
    word = answer.__name__ if isinstance(answer, type) else type(answer).__name__
    return f"You passed {got} {word}, but a {wanted} is wanted. {usage}."


def _forbidden(exercise: Exercise, answer: Any) -> str:
    used = packages_used(answer) & {*exercise.forbid, "coursepkg"}
    if not used or answer is exercise.reference:
        return ""
    return f"Your code uses {' and '.join(sorted(used))}; this exercise is to be solved without."


def _checked(exercise: Exercise, answer: Any) -> Result:
    verdicts = evaluate(exercise, answer, exercise.cases(SEED))
    groups = {
        group: not any(v.problem for v in verdicts if v.group == group) for group in exercise.groups
    }
    if all(groups.values()):
        return _result(exercise, groups, (), f"All {len(verdicts)} results are right.")
    if not any(groups.values()) and all(_unwritten(verdict) for verdict in verdicts):
        text = "Nothing to check yet: put your code in the place of `raise NotImplementedError`."
        return _result(exercise, groups, (), text)
    hints = tuple(mistake.hint for mistake in recognise(exercise, verdicts))
    parts = [_table(exercise, verdicts), _first_failure(exercise, verdicts)]
    parts += [textwrap.fill(f"Hint: {hint}", WIDTH) for hint in hints[:HINTS]]
    return _result(exercise, groups, hints, "\n\n".join(parts))


def _result(
    exercise: Exercise, groups: dict[str, bool], hints: tuple[str, ...], body: str
) -> Result:
    points = sum(exercise.groups[group] for group, passed in groups.items() if passed)
    text = f"{exercise.id}: {points} of {exercise.points} points\n{body}"
    return Result(exercise.id, points, exercise.points, groups, hints, text)


def _unwritten(verdict: Verdict) -> bool:
    failure = verdict.outcome.failure
    return failure is not None and failure.kinds[0] == "NotImplementedError"


def _table(exercise: Exercise, verdicts: list[Verdict]) -> str:
    width = max(map(len, exercise.groups))
    lines = []
    for group, points in exercise.groups.items():
        here = [verdict for verdict in verdicts if verdict.group == group]
        wrong = sum(verdict.problem is not None for verdict in here)
        word, earned = ("FAILED", 0) if wrong else ("passed", points)
        count = f"   {wrong} of {len(here)} results wrong" if wrong else ""
        if all(verdict.outcome is NOT_RUN for verdict in here):
            word, count = "------", "   not run"
        lines.append(f"  {word}  {group:<{width}}  {earned}/{points}{count}")
    return "\n".join(lines)


def _first_failure(exercise: Exercise, verdicts: list[Verdict]) -> str:
    r"""Tell the smallest failing input of the first group that failed."""
    order = list(exercise.groups)
    wrong = [v for v in verdicts if v.problem and v.outcome is not NOT_RUN]
    first = min(wrong, key=lambda v: (order.index(v.group), *_size(v.case)))
    lines = [
        f"Smallest failing input in '{first.group}':",
        _indented(_shown_call(exercise, first.case)),
        *_comparison(first),
    ]
    if first.outcome.printed.strip():
        printed = first.outcome.printed.strip().splitlines()
        dots = ["..."] if len(printed) > 5 else []
        lines += ["Your code printed:", _indented("\n".join([*printed[:5], *dots]))]
    return "\n".join(lines)


def _size(case: Case) -> tuple[int, int, float]:
    r"""Rank cases by how easily they are done by hand."""
    numbers = [v for v in case.inputs.values() if isinstance(v, int | float)]
    entries = sum(map(_entries, case.inputs.values()))
    return entries, len(case.inputs), sum(map(abs, numbers))


def _entries(value: Any) -> int:
    r"""Count the numbers in a value; tuples need not be rectangular."""
    if isinstance(value, tuple | list):
        return sum(map(_entries, value))
    return math.prod(getattr(value, "shape", ()))  # arrays and tensors; a number counts as one


def _shown_call(exercise: Exercise, case: Case) -> str:
    r"""Return source that repeats a case: the arrays, then the call, if it is a plain one."""
    plain = exercise.driver is call
    arrays = [n for n, value in case.inputs.items() if isinstance(value, np.ndarray) or not plain]
    lines = [_after(f"{name} = ", _literal(case.inputs[name])) for name in arrays]
    if plain:
        arguments = (
            f"{name}={name if name in arrays else _literal(value)}"
            for name, value in case.inputs.items()
        )
        lines.append(f"{exercise.name}({', '.join(arguments)})")
    return "\n".join(lines)


def _comparison(verdict: Verdict) -> list[str]:
    problem = textwrap.fill(f"Problem: {verdict.problem}", WIDTH)
    if verdict.case.raises:
        return [problem]
    expected = verdict.case.expected[verdict.name]
    lines = [_after("expected  ", _literal(expected))]
    if verdict.name not in verdict.outcome.outputs:
        return [*lines, problem]
    got = verdict.outcome.outputs[verdict.name]
    lines.append(_after("got       ", _literal(got)))
    says_it_all = isinstance(expected, int | float) and type(got) is type(expected)
    return lines if says_it_all and not verdict.outcome.changed else [*lines, problem]


def _literal(value: Any) -> str:
    r"""Return Python source of a value, or its shape where that would be long."""
    if not isinstance(value, np.ndarray) or value.dtype == object:
        return SHORT.repr(value)
    plain = value.dtype.kind in "biufc" and value.dtype.isnative
    dtype = f"np.{value.dtype}" if plain else f"np.{value.dtype!r}"
    if value.size == 0:
        return f"np.zeros({value.shape}, {dtype})"
    if value.size > 80:
        return f"<array of shape {value.shape}, {value.dtype}>"
    with np.printoptions(**EXACT):
        numbers = np.array2string(value, separator=", ", max_line_width=WIDTH, prefix="np.array(")
    named = "" if dtype in ("np.int64", "np.float64") else f", dtype={dtype}"
    return f"np.array({numbers}{named})"


def _after(head: str, text: str) -> str:
    return head + text.replace("\n", "\n" + " " * len(head))


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")
