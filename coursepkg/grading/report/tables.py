r"""Marks as tables of comma-separated values: long, wide, and for the import of Moodle."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from coursepkg.grading.report.gradebook import Entry, Gradebook, Row, number
from coursepkg.grading.report.plain import one_line, readable
from coursepkg.grading.report.similarity import Similarity

__all__ = ["cell", "long", "moodle", "pairs", "wide"]

Cell: TypeAlias = str | float | None

#: What a spreadsheet takes for the beginning of a formula, full-width twins included.
FORMULA = re.compile(r"^(?=[=+\-@\t\n＝＋－＠])|(?<=[;\t\n])(?=\"*[=+\-@＝＋－＠])")


def cell(value: Cell) -> str:
    r"""Return the text of a cell that no spreadsheet takes for a formula.

    Numbers stay numbers. Text that begins like a formula gets an apostrophe. So does such a
    beginning behind a semicolon, a tab or the end of a line, because a spreadsheet that expects
    semicolons, as in many languages, divides cells there.

    Examples
    --------
    >>> cell("=1+1"), cell(-2), cell("-2"), cell(None)
    ("'=1+1", '-2', "'-2", '')
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return number(value)
    return FORMULA.sub("'", readable(value))


def wide(book: Gradebook) -> str:
    r"""Return one row for each learner, one column for each exercise, and the total."""
    head: list[Cell] = [
        "learner",
        *(c.exercise for c in book.columns),
        "total",
        "out_of",
        "isolation",
    ]
    rows: list[Sequence[Cell]] = []
    for row in book.rows:
        entries = (row.entries.get(column.exercise) for column in book.columns)
        cells: list[Cell] = [_who(row.learner)]
        cells += [entry.points if entry else None for entry in entries]
        rows.append([*cells, row.points, book.out_of, row.graded.isolation])
    return _csv([head, *rows])


def long(book: Gradebook) -> str:
    r"""Return one row for each group of cases of each exercise of each learner.

    An override is a row of its own, whose points are the difference that it made: the points
    of a learner's rows add up to the total that counts.
    """
    head = "learner exercise title group points out_of passed status published isolation"
    rows: list[Sequence[Cell]] = [
        [_who(row.learner), entry.mark.exercise, entry.mark.title, *group]
        for row in book.rows
        for entry in row.entries.values()
        for group in _groups(row, entry)
    ]
    return _csv([[*head.split(), "override", "why", "author", "date"], *rows])


def _groups(row: Row, entry: Entry) -> list[list[Cell]]:
    mark, override = entry.mark, entry.override
    about: list[Cell] = [mark.status, int(mark.published), row.graded.isolation]
    found: list[list[Cell]] = [
        [name, group["points"], group["out_of"], int(group["passed"]), *about, *[None] * 4]
        for name, group in mark.groups.items()
    ]
    if override is not None:
        decision: list[Cell] = [override.points, override.why, override.author, override.date]
        found.append(["(override)", entry.points - mark.points, 0, None, *about, *decision])
    return found


def moodle(book: Gradebook) -> str:
    r"""Return a table for Moodle's grade import: who, the total, then points and feedback.

    Moodle asks which of its fields each column is: map `Identifier` to the field by which the
    submissions are named (username, ID number or e-mail address). It wants points and feedback
    of an item together, and reads feedback as HTML, so that ours is escaped.
    """
    head: list[Cell] = ["Identifier", "Total", "Total feedback"]
    for column in book.columns:
        head += [
            f"{column.title} ({column.exercise})",
            f"{column.title} ({column.exercise}) feedback",
        ]
    rows: list[Sequence[Cell]] = []
    for row in book.rows:
        notes = "\n".join(row.notes)
        cells: list[Cell] = [_who(row.learner), row.points, _preformatted(notes)]
        for column in book.columns:
            entry = row.entries.get(column.exercise)
            cells += [entry.points, _preformatted(_told(entry))] if entry else [None, None]
        rows.append(cells)
    return _csv([head, *rows])


def pairs(similarity: Similarity) -> str:
    r"""Return one row for each pair of answers that are alike, the most alike first."""
    rows: list[Sequence[Cell]] = [
        [pair.exercise, _who(pair.first), _who(pair.second), pair.share]
        for pair in similarity.pairs
    ]
    return _csv([["exercise", "learner", "other learner", "share"], *rows])


def _told(entry: Entry) -> str:
    if entry.override is None:
        return entry.mark.feedback
    decided = f"Changed by the instructor to {number(entry.points)} points: {entry.override.why}"
    return f"{decided}\n\n{entry.mark.feedback}"


def _preformatted(text: str) -> str:
    return f"<pre>{html.escape(readable(text))}</pre>" if text else ""


def _who(learner: str) -> str:
    r"""Return the name of a learner in full, on one line."""
    return one_line(learner, 1000)


def _csv(rows: Iterable[Sequence[Cell]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(map(cell, row) for row in rows)
    return written.getvalue()
