r"""Compare what came of an answer with what should have, and recognise known mistakes."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from coursepkg.grading.exercise import Case, Exercise, Mistake
from coursepkg.grading.worker.run import Failure, Outcome, run
from coursepkg.testing import difference

__all__ = ["NOT_RUN", "Verdict", "evaluate", "judge", "recognise"]

#: What came of a case that was left out.
NOT_RUN = Outcome({}, Failure(("NotRun",), "not run, as an earlier case took too long", ""), (), "")


@dataclass(frozen=True, eq=False)
class Verdict:
    r"""One result of one case, judged.

    Attributes
    ----------
    case : Case
    group : str
        Whose points depend on it.
    name : str
        Which result of the case; "" where an exception was expected.
    outcome : Outcome
    problem : str or None
        What is wrong, in one sentence.
    """

    case: Case
    group: str
    name: str
    outcome: Outcome
    problem: str | None


def evaluate(
    exercise: Exercise, answer: Callable[..., Any], cases: Iterable[Case]
) -> list[Verdict]:
    r"""Run an answer on cases and judge it; after a time-out the rest is not run."""
    verdicts: list[Verdict] = []
    in_time = True
    for case in cases:
        outcome = (
            run(answer, case.inputs, exercise.driver, exercise.seconds) if in_time else NOT_RUN
        )
        in_time = in_time and _kind(outcome) != "OutOfTime"
        verdicts += judge(case, outcome)
    return verdicts


def judge(case: Case, outcome: Outcome) -> list[Verdict]:
    r"""Compare an outcome with what the case expects, one verdict for each result."""
    if case.raises:
        return [Verdict(case, case.group, "", outcome, _refusal_problem(case.expected, outcome))]
    return [
        Verdict(case, case.group or name, name, outcome, _result_problem(name, value, outcome))
        for name, value in case.expected.items()
    ]


def recognise(exercise: Exercise, verdicts: list[Verdict]) -> list[Mistake]:
    r"""Return the mistakes that explain what failed, in the order of the groups.

    A mistake explains a result of a group if it behaves there just like the answer, in every
    case. Of several, that one is taken which behaves most like the answer elsewhere. It goes
    group by group because people make two mistakes at once. Missing errors are mentioned
    only once some group works.
    """

    @cache
    def ran(mistake: Mistake, case: Case) -> Outcome:
        return run(mistake.answer, case.inputs, exercise.driver, exercise.seconds)

    def alike(mistake: Mistake, verdict: Verdict) -> bool:
        return _same_behaviour(verdict, ran(mistake, verdict.case))

    parts = _parts(exercise, verdicts)
    something_works = any(not any(v.problem for v in here) for here in parts)
    found: dict[Mistake, None] = {}
    for here in parts:
        if any(v.problem for v in here) and (something_works or not here[0].case.raises):
            wrong_first = sorted(here, key=lambda v: v.problem is None)
            suspects = [m for m in exercise.mistakes if all(alike(m, v) for v in wrong_first)]
            if suspects:
                found[max(suspects, key=lambda m: sum(alike(m, v) for v in verdicts))] = None
    return list(found)


def _parts(exercise: Exercise, verdicts: list[Verdict]) -> list[list[Verdict]]:
    r"""Divide verdicts by group and by the name of the result, in the order of the groups."""
    parts: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda v: list(exercise.groups).index(v.group)):
        parts.setdefault((verdict.group, verdict.name), []).append(verdict)
    return list(parts.values())


def _refusal_problem(expected: type[BaseException], outcome: Outcome) -> str | None:
    if outcome.failure is None:
        got = ", ".join(map(reprlib.repr, outcome.outputs.values()))
        return f"returned {got} instead of raising {expected.__name__}"
    if expected.__name__ not in outcome.failure.kinds:
        return f"{_told(outcome.failure)}; expected {expected.__name__}"
    return None


def _result_problem(name: str, expected: Any, outcome: Outcome) -> str | None:
    if name not in outcome.outputs:
        return _told(outcome.failure) if outcome.failure else f"{name} is missing"
    changed = " and ".join(f"`{argument}`" for argument in outcome.changed)
    return difference(outcome.outputs[name], expected, name) or (
        f"the value is right, but {changed} was changed in place; work on a copy"
        if changed
        else None
    )


def _told(failure: Failure) -> str:
    place = f" ({failure.line})" if failure.line else ""
    match failure.kinds[0]:
        case "OutOfTime" | "NotRun":
            return f"{failure.message}{place}"
        case "NotImplementedError":
            return "not written yet: it still raises NotImplementedError"
        case "TypeError" if not place:  # the call itself failed
            return f"raised TypeError: {failure.message}; keep the parameters of the starter"
        case kind:
            return f"raised {kind}: {failure.message}{place}"


def _kind(outcome: Outcome) -> str:
    return outcome.failure.kinds[0] if outcome.failure else ""


def _same_behaviour(verdict: Verdict, other: Outcome) -> bool:
    name, outcome = verdict.name, verdict.outcome
    if verdict.case.raises:  # whether it refuses is what counts, not what it does otherwise
        refuses = _refusal_problem(verdict.case.expected, other) is None
        return refuses == (verdict.problem is None)
    if name in outcome.outputs and name in other.outputs:
        return (
            difference(outcome.outputs[name], other.outputs[name]) is None
            and outcome.changed == other.changed
        )
    both_lack_it = name not in outcome.outputs and name not in other.outputs
    return both_lack_it and _kind(outcome) == _kind(other)
