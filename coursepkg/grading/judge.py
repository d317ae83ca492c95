r"""Compare what came of an answer with what should have, and recognise known mistakes."""

from __future__ import annotations

import math
import re
import reprlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coursepkg.grading.exercise import Case, Exercise, Mistake
from coursepkg.grading.worker.run import Failure, Outcome, run
from coursepkg.testing import difference

__all__ = [
    "NOT_RUN",
    "Recogniser",
    "Run",
    "Verdict",
    "evaluate",
    "judge",
    "passed",
    "patient",
    "recognise",
    "runner",
    "unwritten",
]


class Run(Protocol):
    r"""Runs an answer on inputs, here or elsewhere, and never raises for what it does."""

    def __call__(self, inputs: Mapping[str, Any], results: int | None = None) -> Outcome:
        r"""Return what came of it; with `results`, only the first so many are waited for."""


#: After so many time-outs nothing more of an exercise is run.
PATIENCE = 3

#: Seconds in which what we wrote ourselves has ended for certain.
AGES = 3600.0

#: Kinds of failure whose message is a sentence by itself.
ENDINGS = {"OutOfTime", "OutOfMemory", "Died", "BadReply", "NotRun"}

#: Kinds of failure that end a process, and the results of a case with it.
DEATHS = {"OutOfMemory", "Died"}

#: Why a case, or the rest of one, was left out.
LEFT_OUT = Failure(
    ("NotRun",), "not run, as an earlier case took too long or ended the program", ""
)

#: What came of a case that was left out.
NOT_RUN = Outcome({}, LEFT_OUT, (), "")


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

    @property
    def was_run(self) -> bool:
        r"""Whether the answer came to this result, or was at least tried."""
        return self.name in self.outcome.outputs or _kind(self.outcome) != "NotRun"


def runner(exercise: Exercise, answer: Callable[..., Any]) -> Run:
    r"""Return what runs an answer here, in this process."""
    return _runner(exercise, answer, exercise.seconds)


def patient(exercise: Exercise, answer: Callable[..., Any]) -> Run:
    r"""Return what runs an answer of ours, which ends however busy the machine is."""
    return _runner(exercise, answer, AGES)


def _runner(exercise: Exercise, answer: Callable[..., Any], seconds: float) -> Run:
    def here(inputs: Mapping[str, Any], results: int | None = None) -> Outcome:
        return run(answer, inputs, exercise.driver, seconds, results=results)

    return here


def evaluate(run: Run, cases: Iterable[Case], seconds: float = math.inf) -> list[Verdict]:
    r"""Run an answer on cases and judge it.

    After a time-out the rest of its group is not run; of cases whose results are groups, what
    came before the time-out still is. After the third time-out nothing more is run. A death, of
    which no result is left, costs one case; of cases whose results are groups, it costs what a
    time-out costs, as the results before it are fetched by running the case again.

    Parameters
    ----------
    run : callable
        Takes the inputs of a case and returns an `Outcome`; see `runner`.
    cases : iterable of Case
        Those of one exercise.
    seconds : float
        For all cases together, by the clock; what is left then is not run. It bounds answers that
        wait, and has to be so long that no honest one comes near it.
    """
    end = time.monotonic() + seconds
    reached: dict[str, int] = {}
    late = 0
    verdicts: list[Verdict] = []
    for case in cases:
        results = reached.get(case.group)
        if results == 0 or late >= PATIENCE or time.monotonic() > end:
            outcome = NOT_RUN
        else:
            outcome = run(case.inputs, results)
        if not case.group and _kind(outcome) in DEATHS:
            outcome = _until_death(run, case, outcome, results)
            reached[case.group] = len(outcome.outputs)
        elif _kind(outcome) == "OutOfTime":
            late += 1
            reached[case.group] = 0 if case.group else len(outcome.outputs)
        elif results and outcome.failure is None:
            outcome = replace(outcome, failure=LEFT_OUT)  # what would have come after
        verdicts += judge(case, outcome)
    return verdicts


def _until_death(run: Run, case: Case, dead: Outcome, results: int | None) -> Outcome:
    r"""Return a death with the results before it: those wanted grow by one until it comes."""
    before = dead
    for wanted in range(len(dead.outputs) + 1, results or len(case.expected)):
        outcome = run(case.inputs, wanted)
        if outcome.failure is not None:
            break
        before = replace(outcome, failure=dead.failure)
    return before


def judge(case: Case, outcome: Outcome) -> list[Verdict]:
    r"""Compare an outcome with what the case expects, one verdict for each result."""
    if case.raises:
        return [Verdict(case, case.group, "", outcome, _refusal_problem(case.expected, outcome))]
    return [
        Verdict(case, case.group or name, name, outcome, _result_problem(name, value, outcome))
        for name, value in case.expected.items()
    ]


def passed(exercise: Exercise, verdicts: Iterable[Verdict]) -> dict[str, bool]:
    r"""Return which groups passed: those that were looked at and in which nothing is wrong."""
    failed: dict[str, bool] = {}
    for verdict in verdicts:
        failed[verdict.group] = failed.get(verdict.group, False) or _failed(verdict)
    return {group: not failed.get(group, True) for group in exercise.groups}


def unwritten(exercise: Exercise, verdicts: Iterable[Verdict]) -> bool:
    r"""Whether an answer is still the starter: nothing passes, and it says so everywhere."""
    verdicts = list(verdicts)
    kinds = {_kind(verdict.outcome) for verdict in verdicts}
    return kinds == {"NotImplementedError"} and not any(passed(exercise, verdicts).values())


def recognise(exercise: Exercise, verdicts: list[Verdict]) -> list[Mistake]:
    r"""Return the known mistakes that explain what failed; see `Recogniser`."""
    return Recogniser(exercise).recognise(verdicts)


#: Running code turns warnings and printing aside, for the whole process.
_RUNNING = threading.Lock()


class Recogniser:
    r"""Recognises known mistakes by what they do, and remembers what they did.

    One serves for many answers, from several threads, if all are run on its `cases`.

    Parameters
    ----------
    exercise : Exercise
    seed : int
        Of the cases.

    Attributes
    ----------
    cases : tuple of Case
        The public ones and those of the seed.

    Raises
    ------
    ValueError
        If a group of the exercise has points and no case, or cases and no points.
    """

    def __init__(self, exercise: Exercise, seed: int = 0) -> None:
        self.exercise = exercise
        self.cases = exercise.cases(seed)
        _check_groups(exercise, self.cases)
        self._outcomes: dict[tuple[Mistake, Case], Outcome] = {}

    def recognise(self, verdicts: list[Verdict]) -> list[Mistake]:
        r"""Return the mistakes that explain what failed, in the order of the groups.

        A mistake explains a result of a group if it behaves there just like the answer, in every
        case. Two failures are alike if kind and message are, but for numbers, and the results
        before them, too. Of several mistakes, that one is taken which behaves most like the answer
        elsewhere. It goes group by group because people make two mistakes at once. Missing errors
        are mentioned only once some group works.
        """
        if unwritten(self.exercise, verdicts):
            return []
        parts = _parts(self.exercise, verdicts)
        something_works = any(not any(map(_failed, here)) for here in parts)
        found: dict[Mistake, None] = {}
        for here in parts:
            if any(map(_failed, here)) and (something_works or not here[0].case.raises):
                wrong_first = sorted(here, key=lambda v: v.problem is None)
                suspects = [
                    m for m in self.exercise.mistakes if all(self._alike(m, v) for v in wrong_first)
                ]
                if suspects:
                    best = max(suspects, key=lambda m: sum(self._alike(m, v) for v in verdicts))
                    found[best] = None
        return list(found)

    def _alike(self, mistake: Mistake, verdict: Verdict) -> bool:
        return _same_behaviour(verdict, self._outcome(mistake, verdict.case))

    def _outcome(self, mistake: Mistake, case: Case) -> Outcome:
        key = mistake, case
        with _RUNNING:
            if key not in self._outcomes:
                self._outcomes[key] = patient(self.exercise, mistake.answer)(case.inputs)
            return self._outcomes[key]


def _check_groups(exercise: Exercise, cases: Iterable[Case]) -> None:
    found = {group for case in cases for group in ([case.group] if case.group else case.expected)}
    place = f"exercise {exercise.id!r}, {getattr(exercise.module, '__file__', 'no file')}"
    if stray := sorted(found - set(exercise.groups)):
        raise ValueError(f"{place}: cases of {_listed(stray)} have no points; give them some")
    if idle := sorted(set(exercise.groups) - found):
        raise ValueError(f"{place}: points for {_listed(idle)} without a case; yield one")


def _listed(words: Iterable[str]) -> str:
    return " and ".join(map(repr, words))


def _failed(verdict: Verdict) -> bool:
    return verdict.problem is not None


def _parts(exercise: Exercise, verdicts: list[Verdict]) -> list[list[Verdict]]:
    r"""Divide verdicts by group and by the name of the result, in the order of the groups."""
    parts: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda v: list(exercise.groups).index(v.group)):
        parts.setdefault((verdict.group, verdict.name), []).append(verdict)
    return list(parts.values())


def _refusal_problem(expected: type[BaseException], outcome: Outcome) -> str | None:
    if outcome.failure is None:
        got = ", ".join(map(_shown, outcome.outputs.values()))
        return f"returned {got} instead of raising {expected.__name__}"
    if expected.__name__ not in outcome.failure.kinds:
        return f"{_told(outcome.failure)}; expected {expected.__name__}"
    return None


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # an integer of a million digits
        return f"a value of type {type(value).__name__}"


def _result_problem(name: str, expected: Any, outcome: Outcome) -> str | None:
    if name not in outcome.outputs:
        return _told(outcome.failure) if outcome.failure else f"{name} is missing"
    changed = " and ".join(f"`{argument}`" for argument in outcome.changed)
    return _difference(outcome.outputs[name], expected, name) or (
        f"the value is right, but {changed} was changed in place; work on a copy"
        if changed
        else None
    )


def _difference(got: Any, expected: Any, name: str) -> str | None:
    r"""Compare; what cannot be compared, as an integer of a million digits, is different."""
    try:
        return difference(got, expected, name)
    except Exception as error:
        return f"{name} cannot be compared: {type(error).__name__}"


def _told(failure: Failure) -> str:
    place = f" ({failure.line})" if failure.line else ""
    match failure.kinds[0]:
        case kind if kind in ENDINGS:
            return f"{failure.message or kind}{place}"
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
    if verdict.case.raises:  # how it refuses is of no interest, but what else it does is
        refuses = _refusal_problem(verdict.case.expected, other) is None
        same_way = refuses or _kind(outcome) == _kind(other)  # the kind is "" if it returned
        return refuses == (verdict.problem is None) and same_way
    if name in outcome.outputs and name in other.outputs:
        return _same_value(name, outcome, other) and outcome.changed == other.changed
    both_lack_it = name not in outcome.outputs and name not in other.outputs
    return both_lack_it and _same_failure(outcome, other)


def _same_value(name: str, outcome: Outcome, other: Outcome) -> bool:
    return _difference(outcome.outputs[name], other.outputs[name], name) is None


def _same_failure(outcome: Outcome, other: Outcome) -> bool:
    r"""Whether two answers came equally far, with the same results, and were stopped alike."""
    return (
        outcome.outputs.keys() == other.outputs.keys()
        and _kind(outcome) == _kind(other)
        and _gist(outcome) == _gist(other)
        and all(_same_value(name, outcome, other) for name in outcome.outputs)
    )


def _gist(outcome: Outcome) -> str:
    r"""Return the last line of what an exception says, without its numbers."""
    lines = outcome.failure.message.splitlines() if outcome.failure else []
    return re.sub(r"[0-9.]+", "0", lines[-1]) if lines else ""
