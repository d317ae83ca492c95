r"""What a learner reads about an answer: what passed, what did not, and where to look next."""

from __future__ import annotations

import math
import re
import reprlib
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from coursepkg.grading.exercise import Case, Exercise, Mistake
from coursepkg.grading.judge import Verdict, passed, unwritten
from coursepkg.grading.worker.run import call

__all__ = ["WIDTH", "feedback", "heading", "literal", "scrubbed"]

WIDTH = 88
HINTS = 3

#: So much of a text that comes from the answer is shown.
LONGEST = 600

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


def feedback(
    exercise: Exercise,
    verdicts: Sequence[Verdict],
    mistakes: Sequence[Mistake],
    public: int | None = None,
) -> str:
    r"""Say what came of an answer.

    Parameters
    ----------
    exercise : Exercise
    verdicts : sequence of Verdict
        In the order of the cases.
    mistakes : sequence of Mistake
        Those that were recognised; the hints of the first three are told.
    public : int, optional
        Only of so many cases, the first ones, inputs and results are shown; of the others only
        which groups fail. All are shown if it is not given.

    Returns
    -------
    str
        Plain text, without the addresses that differ from run to run.
    """
    points = exercise.earned(passed(exercise, verdicts))
    return heading(exercise, points) + scrubbed(_body(exercise, verdicts, mistakes, public))


def heading(exercise: Exercise, points: int) -> str:
    r"""Return the first line: the id and the points."""
    return f"{exercise.id}: {points} of {exercise.points} points\n"


def scrubbed(text: str) -> str:
    r"""Return a text without memory addresses and without what steers a terminal.

    Examples
    --------
    >>> scrubbed("<Net at 0x7f3a5c1d2e80>")
    '<Net at 0x…>'
    """
    text = re.sub(r"\b0x[0-9a-fA-F]{6,}", "0x…", text)
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _body(
    exercise: Exercise,
    verdicts: Sequence[Verdict],
    mistakes: Sequence[Mistake],
    public: int | None,
) -> str:
    if all(verdict.problem is None for verdict in verdicts):
        return f"All {len(verdicts)} results are right."
    if unwritten(exercise, verdicts):
        return "Nothing to check yet: put your code in the place of `raise NotImplementedError`."
    cases = list(dict.fromkeys(verdict.case for verdict in verdicts))
    shown = {*cases[:public]}
    told = [v for v in verdicts if v.case in shown]
    parts = [
        _table(exercise, verdicts, counted=public is None),
        _first_failure(exercise, told),
        "\n".join(_unseen(exercise, told, [v for v in verdicts if v.case not in shown])),
        *(textwrap.fill(f"Hint: {mistake.hint}", WIDTH) for mistake in mistakes[:HINTS]),
    ]
    return "\n\n".join(filter(None, parts))


def _unseen(exercise: Exercise, told: list[Verdict], others: list[Verdict]) -> list[str]:
    r"""Name the groups that fail only where nothing is shown."""
    lines = []
    known = {v.group for v in told if v.problem is not None}
    for group in exercise.groups:
        failed = [v for v in others if v.group == group and v.problem is not None]
        if failed and group not in known:
            kinds = {v.outcome.failure.kinds[0] for v in failed if v.outcome.failure}
            verb = "takes too long" if "OutOfTime" in kinds else "fails"
            lines.append(f"'{group}': {verb} on a case that is not shown")
    return lines


def _table(exercise: Exercise, verdicts: Sequence[Verdict], counted: bool) -> str:
    width = max(map(len, exercise.groups))
    won = passed(exercise, verdicts)
    lines = []
    for group, points in exercise.groups.items():
        here = [verdict for verdict in verdicts if verdict.group == group]
        wrong = sum(verdict.problem is not None for verdict in here)
        word, earned = ("passed", points) if won[group] else ("FAILED", 0)
        count = f"   {wrong} of {len(here)} results wrong" if wrong and counted else ""
        if not any(verdict.was_run for verdict in here):
            word, count = "------", "   not run"
        lines.append(f"  {word}  {group:<{width}}  {earned}/{points}{count}")
    return "\n".join(lines)


def _first_failure(exercise: Exercise, verdicts: list[Verdict]) -> str:
    r"""Tell the smallest failing input of the first group that failed, if there is one."""
    order = list(exercise.groups)
    wrong = [v for v in verdicts if v.problem is not None and v.was_run]
    if not wrong:
        return ""
    first = min(wrong, key=lambda v: (order.index(v.group), *_size(v.case)))
    lines = [
        f"Smallest failing input in '{first.group}':",
        _indented(_shown_call(exercise, first.case)),
        *_comparison(first),
    ]
    if first.outcome.printed.strip():
        printed = first.outcome.printed.strip().splitlines()
        dots = ["..."] if len(printed) > 5 else []
        lines += ["Your code printed:", _indented("\n".join([*map(_cut, printed[:5]), *dots]))]
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
    lines = [_after(f"{name} = ", literal(case.inputs[name])) for name in arrays]
    if plain:
        arguments = (
            f"{name}={name if name in arrays else literal(value)}"
            for name, value in case.inputs.items()
        )
        lines.append(f"{exercise.name}({', '.join(arguments)})")
    return "\n".join(lines)


def _comparison(verdict: Verdict) -> list[str]:
    problem = textwrap.fill(f"Problem: {_cut(str(verdict.problem))}", WIDTH)
    if verdict.case.raises:
        return [problem]
    expected = verdict.case.expected[verdict.name]
    lines = [_after("expected  ", literal(expected))]
    if verdict.name not in verdict.outcome.outputs:
        return [*lines, problem]
    got = verdict.outcome.outputs[verdict.name]
    lines.append(_after("got       ", literal(got)))
    says_it_all = isinstance(expected, int | float) and type(got) is type(expected)
    return lines if says_it_all and not verdict.outcome.changed else [*lines, problem]


def literal(value: Any, most: int = 80) -> str:
    r"""Return Python source of a value, or its shape where that would be long.

    Parameters
    ----------
    value : object
    most : int
        Arrays of more entries are only described.

    Examples
    --------
    >>> literal(np.array([1.0, 2.5]))
    'np.array([1. , 2.5])'
    >>> literal([np.array([1, 2]), None])
    '[np.array([1, 2]), None]'
    """
    if isinstance(value, list | tuple) and any(isinstance(item, np.ndarray) for item in value):
        items = ", ".join(literal(item, most) for item in value)
        return f"[{items}]" if isinstance(value, list) else f"({items},)"
    if not isinstance(value, np.ndarray) or value.dtype == object:
        return _short(value)
    plain = value.dtype.kind in "biufc" and value.dtype.isnative
    dtype = f"np.{value.dtype}" if plain else f"np.{value.dtype!r}"
    if value.size == 0:
        return f"np.zeros({value.shape}, {dtype})"
    if value.size > most:
        return f"<array of shape {value.shape}, {value.dtype}>"
    with np.printoptions(**EXACT):
        numbers = np.array2string(value, separator=", ", max_line_width=WIDTH, prefix="np.array(")
    named = "" if dtype in ("np.int64", "np.float64") else f", dtype={dtype}"
    return f"np.array({numbers}{named})"


def _short(value: Any) -> str:
    try:
        return SHORT.repr(value)
    except Exception:  # an integer of a million digits
        return f"<{type(value).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _after(head: str, text: str) -> str:
    return head + text.replace("\n", "\n" + " " * len(head))


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")
