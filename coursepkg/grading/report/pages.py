r"""Pages to read: one for each learner, and one about the class.

A page is one file that asks for nothing else: style and plots stand in it, there are no scripts,
and its Content-Security-Policy forbids everything but them. What learners wrote goes through
:func:`coursepkg.grading.report.plain.readable` and is escaped, wherever a template shows it.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coursepkg.grading.report.gradebook import Column, Entry, Gradebook, Row, number
from coursepkg.grading.report.plain import file_stem, one_line, readable
from coursepkg.grading.report.plots import show_distribution, show_shares, svg
from coursepkg.grading.report.similarity import Similarity

__all__ = ["class_page", "learner_page"]

#: What became of an answer that was not run, in words; `graded` needs none.
STATUS = {
    "missing": "not found",
    "unwritten": "not written",
    "forbidden": "uses what is forbidden",
    "failed": "could not be run",
}
#: Rows of a table of the class report; the rest is counted.
ROWS = 100


@dataclass(frozen=True)
class _Overview:
    r"""One exercise of a class, as the report shows it."""

    column: Column
    mean: float
    full: int
    without: int
    distribution: str
    shares: dict[str, float]
    groups: str


def learner_page(row: Row) -> str:
    r"""Return the page of a learner: marks, feedback, and the code that was graded."""
    entries = [(entry, _other_hints(entry)) for entry in row.entries.values()]
    return _environment().get_template("learner.html").render(row=row, entries=entries)


def class_page(book: Gradebook, similarity: Similarity) -> str:
    r"""Return the report on a class.

    Parameters
    ----------
    book : Gradebook
    similarity : Similarity

    Returns
    -------
    str
        HTML; its links lead to `learners/`.
    """
    totals = [row.points for row in book.rows]
    published = [
        (row, entry) for row in book.rows for entry in row.entries.values() if entry.mark.published
    ]
    return (
        _environment()
        .get_template("class.html")
        .render(
            book=book,
            mean=_mean(totals),
            totals=_picture(lambda ax: show_distribution(totals, book.out_of, ax), 2.6),
            overviews=[_overview(column) for column in book.columns],
            mistakes=_mistakes(book),
            failed=_failed_groups(book),
            published=published,
            similarity=similarity,
            unisolated=sum(row.graded.isolation == "none" for row in book.rows),
            titles={column.exercise: column.title for column in book.columns},
            rows={row.learner: row for row in book.rows},
        )
    )


def _overview(column: Column) -> _Overview:
    points = [entry.points for _, entry in column.entries]
    marks = [entry.mark for _, entry in column.entries]
    graded = [mark for mark in marks if mark.status == "graded"]
    names = dict.fromkeys(name for mark in marks for name in mark.groups)
    shares = {
        name: _mean(mark.groups[name]["passed"] for mark in graded if name in mark.groups)
        for name in names
    }
    return _Overview(
        column=column,
        mean=_mean(points),
        full=sum(entry.points >= entry.mark.out_of for _, entry in column.entries),
        without=len(marks) - len(graded),
        distribution=_picture(lambda ax: show_distribution(points, column.out_of, ax)),
        shares=shares,
        groups=_picture(lambda ax: show_shares(shares, ax), 0.4 + 0.38 * len(shares)),
    )


def _picture(draw: Any, height: float = 2.2) -> str:
    r"""Return a drawing as an address that holds all of it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg(draw, height).encode()).decode()


def _mistakes(book: Gradebook) -> list[tuple[str, str, int]]:
    r"""Return exercise, hint and number of learners of known mistakes, the most frequent first."""
    counts = Counter(
        (entry.mark.exercise, hint)
        for row in book.rows
        for entry in row.entries.values()
        for hint in dict.fromkeys(entry.mark.hints)
    )
    return [(*about, n) for about, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]


def _failed_groups(book: Gradebook) -> list[tuple[str, str, int, int]]:
    r"""Return exercise, group, how many failed it, and of how many answers that were run."""
    run: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    for row in book.rows:
        for entry in row.entries.values():
            for name, group in entry.mark.groups.items() if entry.mark.status == "graded" else ():
                run[entry.mark.exercise, name] += 1
                failed[entry.mark.exercise, name] += not group["passed"]
    found = [(*about, n, run[about]) for about, n in failed.items() if n]
    return sorted(found, key=lambda f: (-f[2] / f[3], -f[2], f[0], f[1]))


def _other_hints(entry: Entry) -> list[str]:
    r"""Return the hints that the feedback, which shows the first few, does not show."""
    shown = " ".join(entry.mark.feedback.split())
    return [hint for hint in entry.mark.hints if " ".join(hint.split()) not in shown]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


@cache
def _environment() -> Environment:
    r"""Return the templates: each value they show is made readable, then escaped."""
    environment = Environment(
        loader=PackageLoader("coursepkg.grading.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda v: readable(v) if isinstance(v, str) and not isinstance(v, Markup) else v,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("coursepkg.grading.report").joinpath("templates/page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals |= {
        "style": Markup(style),
        "style_hash": f"sha256-{digest}",
        "status_words": STATUS,
        "row_limit": ROWS,
    }
    environment.filters |= {
        "line": one_line,
        "number": number,
        "stem": file_stem,
        "percent": lambda share: f"{100 * share:.0f} %",
        "width": lambda share: f"{100 * min(max(share, 0), 1):.1f}%",
        "drawing": Markup,
    }
    return environment
