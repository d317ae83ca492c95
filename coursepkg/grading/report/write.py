r"""Write the reports on a run into its folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from coursepkg.grading.exercise import load
from coursepkg.grading.report import canvas, gradescope, pages, tables
from coursepkg.grading.report.gradebook import Gradebook
from coursepkg.grading.report.plain import file_stem
from coursepkg.grading.report.similarity import similar
from coursepkg.grading.store import FILE, Store

__all__ = ["fill_canvas", "write_report"]


def write_report(out: Path | str) -> list[Path]:
    r"""Write all reports on a run.

    Parameters
    ----------
    out : path
        The folder of the run, with its `marks.sqlite`.

    Returns
    -------
    list of Path
        The files, all in `out/report`: `index.html` about the class; `learners/`, a page for
        each learner; `results/`, a file for each learner as Gradescope wants it; `marks.csv`,
        `marks-long.csv`, `moodle.csv` and `similar.csv`. The same marks give the same bytes.

    Raises
    ------
    ValueError
        If the folder holds no run.
    """
    book, starters = _read(out)
    folder = Path(out) / "report"
    written = []
    for name, text in _files(book, starters):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        written.append(path)
    for old in {*folder.glob("learners/*.html"), *folder.glob("results/*.json")} - {*written}:
        old.unlink()
    return written


def fill_canvas(out: Path | str, export: Path | str, assignment: str | None = None) -> Path:
    r"""Fill the totals of a run into a gradebook exported from Canvas.

    Parameters
    ----------
    out : Path
        The folder of the run.
    export : Path
        The instructor's export, which stays as it is.
    assignment : str, optional
        The column; see :func:`coursepkg.grading.report.canvas.fill`.

    Returns
    -------
    Path
        `out/report/canvas.csv`. Beside it, `canvas-notes.txt` lists who was found only on one
        side.
    """
    book, _ = _read(out)
    filled = canvas.fill(book, Path(export).read_bytes(), assignment)
    path = Path(out) / "report" / "canvas.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(filled.data)
    path.with_name("canvas-notes.txt").write_text(filled.notes, encoding="utf-8", newline="")
    return path


def _read(out: Path | str) -> tuple[Gradebook, dict[str, str]]:
    r"""Return the marks of a run, and what everybody was given, by exercise."""
    with Store(Path(out) / FILE) as store:
        book = Gradebook.of(store.graded(), store.overrides())
        private = store.settings().get("exercises_dir")  # as seen from the run's folder
    folders = [] if private is None else [Path(os.path.normpath(Path(out).resolve() / private))]
    starters = {}
    for column in book.columns:
        with contextlib.suppress(ValueError):  # an exercise may be gone since
            starters[column.exercise] = load(column.exercise, folders).starter
    return book, starters


def _files(book: Gradebook, starters: dict[str, str]) -> Iterator[tuple[str, str]]:
    r"""Yield the name and the text of each file."""
    similarity = similar(book, starters)
    yield "index.html", pages.class_page(book, similarity)
    yield "marks.csv", tables.wide(book)
    yield "marks-long.csv", tables.long(book)
    yield "moodle.csv", tables.moodle(book)
    yield "similar.csv", tables.pairs(similarity)
    for row in book.rows:
        stem = file_stem(row.learner)
        yield f"learners/{stem}.html", pages.learner_page(row)
        yield f"results/{stem}.json", json.dumps(gradescope.results(row), indent=1) + "\n"
