r"""The marks of a class with what the instructor changed by hand: what every report is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from coursepkg.grading.marks import Graded, Mark
from coursepkg.grading.store import Override

__all__ = ["NOT_ISOLATED", "Column", "Entry", "Gradebook", "Row", "number"]

#: Said in every report on code that ran without isolation.
NOT_ISOLATED = "This submission was run without isolation."

#: The status of answers that were run, or left as they were handed out.
RUN = ("graded", "unwritten")


@dataclass(frozen=True)
class Entry:
    r"""One exercise of one learner.

    Attributes
    ----------
    mark : Mark
        As computed.
    override : Override or None
        The last decision of the instructor, which counts.
    """

    mark: Mark
    override: Override | None

    @property
    def points(self) -> float:
        r"""The points that count."""
        return self.mark.points if self.override is None else self.override.points


@dataclass(frozen=True)
class Row:
    r"""One learner: the computed marks, and the entries that count, by exercise."""

    graded: Graded
    entries: Mapping[str, Entry]

    @property
    def learner(self) -> str:
        r"""The name under which the submission came."""
        return self.graded.learner

    @property
    def points(self) -> float:
        r"""The total that counts."""
        return sum(entry.points for entry in self.entries.values())

    @property
    def out_of(self) -> int:
        r"""The points that could be had."""
        return sum(entry.mark.out_of for entry in self.entries.values())

    @property
    def problems(self) -> tuple[str, ...]:
        r"""What was wrong with the submission; that nothing of it could be run, too."""
        marks = [entry.mark for entry in self.entries.values()]
        if self.graded.problems or not marks or any(m.status in RUN for m in marks):
            return self.graded.problems
        reasons = {mark.feedback.strip().partition("\n")[0] for mark in marks}
        reason = f": {reasons.pop()}" if len(reasons) == 1 else ""
        return (f"no answer could be run{reason}",)

    @property
    def notes(self) -> tuple[str, ...]:
        r"""What was wrong with the submission, and whether it was run without isolation."""
        alone = () if self.graded.isolation != "none" else (NOT_ISOLATED,)
        return (*self.problems, *alone)


@dataclass(frozen=True)
class Column:
    r"""One exercise of a class: its id, title and points, and the entries of those who have it."""

    exercise: str
    title: str
    out_of: int
    entries: tuple[tuple[Row, Entry], ...]


@dataclass(frozen=True)
class Gradebook:
    r"""A class: one row for each learner, in the order of their names.

    Attributes
    ----------
    rows : tuple of Row
    overrides : tuple of Override
        All decisions of the instructor, those that a later one replaced included.
    """

    rows: tuple[Row, ...]
    overrides: tuple[Override, ...]

    @classmethod
    def of(cls, graded: Iterable[Graded], overrides: Iterable[Override] = ()) -> Gradebook:
        r"""Join marks and overrides; of several overrides of one mark the last counts."""
        decided = tuple(overrides)
        last = {(o.learner, o.exercise): o for o in decided}
        rows = (
            Row(one, {m.exercise: Entry(m, last.get((one.learner, m.exercise))) for m in one.marks})
            for one in graded
        )
        return cls(tuple(sorted(rows, key=lambda row: row.learner)), decided)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        r"""The exercises, in the order in which submissions were graded on them."""
        found: dict[str, list[tuple[Row, Entry]]] = {}
        for row in self.rows:
            for exercise, entry in row.entries.items():
                found.setdefault(exercise, []).append((row, entry))
        return tuple(
            Column(
                exercise,
                entries[0][1].mark.title,
                max(entry.mark.out_of for _, entry in entries),
                tuple(entries),
            )
            for exercise, entries in found.items()
        )

    @property
    def out_of(self) -> int:
        r"""The points that a learner with every exercise could have."""
        return sum(column.out_of for column in self.columns)


def number(points: float) -> str:
    r"""Write points without needless decimals.

    Examples
    --------
    >>> number(3), number(2.5), number(4.0)
    ('3', '2.5', '4')
    """
    return str(int(points)) if points == int(points) else str(round(points, 6))
