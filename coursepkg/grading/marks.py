r"""One submission, its marks: run apart from here, judged here.

Whatever a learner wrote runs in a sandbox that holds no test and no answer. What comes back are
values, and these alone decide about points.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from coursepkg.grading.exercise import Exercise, Mistake
from coursepkg.grading.feedback import feedback, heading, scrubbed
from coursepkg.grading.judge import Recogniser, evaluate, passed, unwritten
from coursepkg.grading.submissions import Submission, cut_short

if TYPE_CHECKING:
    from coursepkg.grading.sandbox import Opened, Sandbox, Session, Task

__all__ = ["Graded", "Mark", "fingerprint", "grade", "published"]

#: How long all cases of an exercise may take, as a multiple of the limit of one.
ALL_CASES = 20
MAX_PLACE = MAX_PROBLEM = 300  # characters
MAX_FEEDBACK = 20_000
MAX_SOURCE = 100_000

DOCSTRING = re.compile(r"[ \t]*[rRuU]?(\"\"\"|''')(.*)")
COMMENT = re.compile(r"#.*")
HEADER = re.compile(r"(def|class)\b")
LEFT_OUT = re.compile(r"(import|from)\b|@")


@dataclass(frozen=True)
class Mark:
    r"""What one learner gets for one exercise, and why.

    Attributes
    ----------
    exercise, title : str
    points, out_of : int
    groups : dict
        For each group of cases `{"points": ..., "out_of": ..., "passed": ...}`.
    status : str
        `"graded"`, or why nothing was run: `"missing"`, `"unwritten"`, `"forbidden"`, `"failed"`.
    feedback : str
        For the learner. Of hidden cases it names only the group.
    hints, mistakes : tuple of str
        Of the known mistakes that were recognised.
    place : str
        Where the answer stands, such as `hw1.ipynb, cell 12`.
    source : str
        What of the submission was run, up to a length.
    published : bool
        Whether the answer is the published solution, headers, docstrings and comments aside.
    fingerprint : str
        Of all in the exercise that decides about the mark.
    """

    exercise: str
    title: str
    points: int
    out_of: int
    groups: dict[str, dict[str, Any]]
    status: str
    feedback: str
    hints: tuple[str, ...]
    mistakes: tuple[str, ...]
    place: str
    source: str
    published: bool
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        r"""Return a dict of plain values."""
        return asdict(self) | {"hints": [*self.hints], "mistakes": [*self.mistakes]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Mark:
        r"""Make a mark of what `to_json` returned."""
        lists = {name: tuple(record[name]) for name in ("hints", "mistakes")}
        return cls(**{**record, **lists})


@dataclass(frozen=True)
class Graded:
    r"""The marks of one submission.

    Attributes
    ----------
    learner : str
    digest : str
        Of the submission; "" if it could not be graded, so that it is tried again.
    problems : tuple of str
        What is wrong with what was handed in; of each file that could not be read, why.
    isolation : str
        How the learner's code was kept apart.
    marks : tuple of Mark
        In the order of the exercises.
    """

    learner: str
    digest: str
    problems: tuple[str, ...]
    isolation: str
    marks: tuple[Mark, ...]

    def to_json(self) -> dict[str, Any]:
        r"""Return a dict of plain values."""
        return {
            "learner": self.learner,
            "digest": self.digest,
            "problems": [*self.problems],
            "isolation": self.isolation,
            "marks": [mark.to_json() for mark in self.marks],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Graded:
        r"""Make marks of what `to_json` returned."""
        return cls(
            record["learner"],
            record["digest"],
            tuple(record["problems"]),
            record["isolation"],
            tuple(map(Mark.from_json, record["marks"])),
        )


def grade(
    submission: Submission, exercises: Sequence[Exercise], sandbox: Sandbox, seed: int
) -> Graded:
    r"""Grade one submission; equal arguments give equal marks, to the byte.

    Only what learners print themselves, such as the time, may differ from run to run.

    Parameters
    ----------
    submission : Submission
    exercises : sequence of Exercise
        Variants already chosen.
    sandbox : Sandbox
        Where the submission runs.
    seed : int
        Of the hidden cases.
    """
    reading = _Reading()
    marks = tuple(_mark_of(submission, _plan(e, seed), sandbox, reading) for e in exercises)
    problems = tuple(dict.fromkeys((*submission.problems, *cut_short(reading.told()))))
    return Graded(submission.learner, submission.digest, problems, sandbox.isolation, marks)


@dataclass
class _Reading:
    r"""What reading the files of a submission has shown, so that it costs time only once."""

    late: frozenset[str] = frozenset()
    problems: dict[str, str] = field(default_factory=dict)
    unreadable: str = ""

    def told(self) -> list[str]:
        r"""Return a line for each file that could not be read."""
        lines = [problem for _, problem in sorted(self.problems.items())]
        lines += [self.unreadable] if self.unreadable else []
        return [_short(" ".join(line.split()), MAX_PROBLEM) for line in lines]


@dataclass(frozen=True, eq=False)
class _Plan:
    r"""What grading an exercise needs, made once for all submissions."""

    exercise: Exercise
    task: Task
    recogniser: Recogniser
    fingerprint: str


_PLANNING = threading.Lock()


def _plan(exercise: Exercise, seed: int) -> _Plan:
    with _PLANNING:  # the cases of an exercise may take a second
        return _planned(exercise, seed)


@lru_cache(maxsize=256)
def _planned(exercise: Exercise, seed: int) -> _Plan:
    from coursepkg.grading.sandbox import Task  # reports need no sandbox

    task = Task(
        exercise.name,
        exercise.driver_source,
        exercise.forbid,
        exercise.allowed,
        exercise.limits,
        "class" if isinstance(exercise.reference, type) else "function",
    )
    return _Plan(exercise, task, Recogniser(exercise, seed), exercise.fingerprint(seed))


def fingerprint(exercise: Exercise, seed: int) -> str:
    r"""Return the hash of all that decides about a mark; it is computed once."""
    return _plan(exercise, seed).fingerprint


def _mark_of(submission: Submission, plan: _Plan, sandbox: Sandbox, reading: _Reading) -> Mark:
    r"""Grade one answer, in a session of its own.

    What an answer has seen of hidden cases must not reach the public cases of the next exercise,
    since their results are shown.
    """
    if not submission.files:
        return _mark(plan, "missing", "Nothing was handed in that can be graded.")
    if reading.unreadable:
        return _mark(plan, "failed", reading.unreadable)
    files = submission.files
    with sandbox.session(plan.exercise.environment, files, reading.late) as session:
        mark = _run(plan, session)
    reading.late = session.late
    reading.problems |= session.problems
    reading.unreadable = session.unreadable.message if session.unreadable else ""
    return mark


def _run(plan: _Plan, session: Session) -> Mark:
    exercise = plan.exercise
    opened = session.open(plan.task)
    if opened.status != "ready":
        return _mark(plan, opened.status, opened.message, opened)
    verdicts = evaluate(session.run, plan.recogniser.cases, ALL_CASES * exercise.seconds)
    mistakes = plan.recogniser.recognise(verdicts)
    status = "unwritten" if unwritten(exercise, verdicts) else "graded"
    text = feedback(exercise, verdicts, mistakes, len(exercise.public))
    return _mark(plan, status, text, opened, passed(exercise, verdicts), mistakes)


def _mark(
    plan: _Plan,
    status: str,
    text: str,
    opened: Opened | None = None,
    right: Mapping[str, bool] | None = None,
    mistakes: Sequence[Mistake] = (),
) -> Mark:
    r"""Give the points of a group to those who have all of its results right."""
    exercise = plan.exercise
    groups = {
        name: {"points": points if won else 0, "out_of": points, "passed": won}
        for name, points in exercise.groups.items()
        for won in [bool(right and right[name])]
    }
    source = opened.source if opened else ""
    return Mark(
        exercise=exercise.id,
        title=exercise.title,
        points=sum(group["points"] for group in groups.values()),
        out_of=exercise.points,
        groups=groups,
        status=status,
        feedback=_short(text if right else heading(exercise, 0) + text, MAX_FEEDBACK),
        hints=tuple(mistake.hint for mistake in mistakes),
        mistakes=tuple(mistake.name for mistake in mistakes),
        place=_short(opened.place if opened else "", MAX_PLACE),
        source=_short(source, MAX_SOURCE),
        published=published(source, exercise.solution, exercise.name),
        fingerprint=plan.fingerprint,
    )


def _short(text: str, length: int) -> str:
    text = scrubbed(text)
    return text if len(text) <= length else f"{text[:length]} ..."


def published(source: str, solution: str, name: str) -> bool:
    r"""Say whether an answer is the published solution.

    Compared are the lines of the definition, without comments, docstrings, blanks, imports and
    headers, in which a starter may differ. Nothing is parsed, as nobody knows what `source` is.
    Renaming a variable is enough to pass for different.

    Parameters
    ----------
    source, solution : str
        Python source of the answer and of the solution.
    name : str
        What both define.

    Examples
    --------
    >>> solution = "def area(r: float) -> float:\n    return 3 * r**2  # roughly\n"
    >>> published("def area(r):\n    return 3 * r ** 2\n", solution, "area")
    True
    >>> published("def area(r):\n    return 3.14 * r**2\n", solution, "area")
    False
    """
    wanted = _body(solution, name)
    return bool(wanted) and _body(source, name) == wanted


def _without_docstrings(source: str) -> Iterator[str]:
    r"""Yield the lines that belong to no text in three quotes that begins on a line of its own."""
    quotes = ""
    for line in source.splitlines():
        if quotes:
            quotes = "" if line.rstrip().endswith(quotes) else quotes
        elif opening := DOCSTRING.fullmatch(line):
            ended = opening[2].rstrip().endswith(opening[1])
            quotes = "" if ended else opening[1]
        else:
            yield line


def _body(source: str, name: str) -> list[str]:
    r"""Return the lines of the last definition of `name` that say what it does."""
    code = (COMMENT.sub("", line) for line in _without_docstrings(source[:MAX_SOURCE]))
    lines = [line for line in code if line.strip()]
    start = re.compile(rf"(def|class)\s+{re.escape(name)}\b")
    starts = [i for i, line in enumerate(lines) if start.match(line)]
    body: list[str] = []
    in_header = False
    for i, line in enumerate(lines[starts[-1] :] if starts else []):
        if i and not in_header and not line[0].isspace():
            break  # the next statement of the module
        in_header = in_header or bool(HEADER.match(line.strip()))
        if not in_header and not LEFT_OUT.match(line.strip()):
            body.append("".join(line.split()))
        in_header = in_header and not line.rstrip().endswith(":")
    return body
