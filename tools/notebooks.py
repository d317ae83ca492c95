r"""Turn a page into two notebooks: one to read, with outputs, and one to work on."""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Iterator
from typing import Protocol

from IPython.core.inputtransformer2 import TransformerManager
from myst_book import Book, Directive, exercise_label, is_directive
from myst_nb.ext.glue import extract_glue_data_cell
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from plain_markdown import Context, caption, plain_markdown, sources

from coursepkg.grading import exercise
from coursepkg.grading.release import exercise_cells, secret_lines

__all__ = ["executed_notebook", "student_notebook"]


class Page(Protocol):
    """A page of the book."""

    @property
    def name(self) -> str:
        """The path from the root, without suffix: `book/convolution/convolution`."""


def executed_notebook(nb: NotebookNode, page: Page, book: Book | None = None) -> NotebookNode:
    """Return a page with its outputs, for readers; exercises stand in it as for students.

    Parameters
    ----------
    nb : NotebookNode
        The page as the site reads it (with `source_map` in its metadata), outputs merged in.
    page : Page
        Where it stands in the book.
    book : Book, optional
        All pages; those of this repository if not given.

    Returns
    -------
    NotebookNode
        A new notebook; equal arguments give equal bytes.

    Raises
    ------
    MarkdownError
        If the page holds what a notebook cannot show.
    """
    return _notebook(nb, page, book or Book.read(), secret=frozenset())


def student_notebook(nb: NotebookNode, page: Page, book: Book | None = None) -> NotebookNode:
    """Return a page to work on: no outputs, no solutions, no hints.

    Arguments and errors are those of `executed_notebook`. Its first cell says how to install
    and to check. Cells of exercises carry `{"course": {"exercise": id, "role": ...}}` in their
    metadata, with role `prompt`, `answer` or `check`: this is how an answer is found again.
    """
    book = book or Book.read()
    student = _notebook(
        nb, page, book, secret=secret_lines(map(exercise.load, exercise.exercise_ids()))
    )
    for cell in student.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    _introduce(student.cells, book)
    return student


def _notebook(nb: NotebookNode, page: Page, book: Book, secret: frozenset[str]) -> NotebookNode:
    nb = copy.deepcopy(nb)
    glued = dict(pair for cell in nb.cells for pair in extract_glue_data_cell(cell))
    context = Context(book, page.name, glued=glued, secret=secret)
    list(_cells(nb, context))  # a first time to learn what is cited
    cells = list(_cells(nb, context))
    if context.cited and "{bibliography}" not in book.sources[page.name]:
        cells.append(new_markdown_cell(f"## References\n\n{sources(context)}"))
    _name(cells)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "course": {"page": page.name},
    }
    return new_notebook(cells=cells, metadata=metadata)


def _cells(nb: NotebookNode, context: Context) -> Iterator[NotebookNode]:
    lines = context.book.sources[context.page].splitlines()
    asked: dict[str, str] = {}  # what learners define -> in which exercise
    for cell, first in zip(nb.cells, nb.metadata["source_map"], strict=True):
        while not lines[first].strip():
            first += 1
        make = _code_cells if cell.cell_type == "code" else _markdown_cells
        for made in make(cell, context.at(first + 1)):
            _refuse_reuse(made, asked, context.at(first + 1))
            yield made


def _refuse_reuse(cell: NotebookNode, asked: dict[str, str], context: Context) -> None:
    """Refuse a cell that would call what an exercise above it has made the learner's own."""
    course = cell.metadata.get("course", {})
    if course.get("role") == "answer":
        asked[exercise.load(course["exercise"]).name] = course["exercise"]
    elif cell.cell_type == "code" and not course:
        code = ast.walk(ast.parse(TransformerManager().transform_cell(cell.source)))
        for name in sorted({node.id for node in code if isinstance(node, ast.Name)} & set(asked)):
            raise context.error(
                f"this cell uses {name!r}, but in a student notebook that is the answer to the "
                f"exercise {asked[name]!r} above; move the exercise down, or call the function "
                f"by its module (`module.{name}`)"
            )


def _code_cells(cell: NotebookNode, context: Context) -> Iterator[NotebookNode]:
    """Yield the cell, folded where the site folds it, and the caption of its figure."""
    tags = cell.metadata.get("tags", [])
    folded = {key: True for tag in tags for key in FOLDED.get(tag, ())}
    metadata = ({"tags": tags} if tags else {}) | ({"jupyter": folded} if folded else {})
    myst = cell.metadata.get("mystnb", {})
    figure = myst.get("figure")
    _set_width(cell.outputs, str(myst.get("image", {}).get("width", "")))
    yield new_code_cell(
        cell.source,
        metadata=metadata,
        outputs=cell.outputs,
        execution_count=cell.execution_count,
    )
    if figure:
        text = plain_markdown(figure["caption"], context)
        yield new_markdown_cell(caption("figure", figure.get("name", ""), text, context))


def _set_width(outputs: list[NotebookNode], width: str) -> None:
    """Make pictures as wide as they are on the site; `width` is `420px`, say."""
    for output in outputs:
        if "image/png" in output.get("data", {}) and (match := re.fullmatch(r"(\d+)(px)?", width)):
            output.metadata["image/png"] = {"width": int(match[1])}


#: Tag of the site -> what JupyterLab folds.
FOLDED = {
    "hide-input": ("source_hidden",),
    "remove-input": ("source_hidden",),
    "hide-output": ("outputs_hidden",),
    "remove-output": ("outputs_hidden",),
    "hide-cell": ("source_hidden", "outputs_hidden"),
    "remove-cell": ("source_hidden", "outputs_hidden"),
}


def _markdown_cells(cell: NotebookNode, context: Context) -> Iterator[NotebookNode]:
    """Yield the text before, between and after exercises, and the cells of these."""
    lines = cell.source.split("\n")
    start = 0
    for token in context.book.parser.parse(cell.source):
        item = Directive.read(token) if token.level == 0 and is_directive(token) else None
        if item and item.name == "graded-exercise":
            yield from _text_cell(lines, start, token.map[0], context)
            yield from _exercise_cells(item.argument, context.at(context.line + token.map[0]))
            start = token.map[1]
    yield from _text_cell(lines, start, len(lines), context)


def _text_cell(lines: list[str], start: int, end: int, context: Context) -> Iterator[NotebookNode]:
    text = plain_markdown("\n".join(lines[start:end]), context.at(context.line + start))
    if text.strip():
        yield new_markdown_cell(text)


def _exercise_cells(id: str, context: Context) -> Iterator[NotebookNode]:
    """Yield what to do, where to do it, and how to check it."""
    try:
        task = exercise.load(id)
    except ValueError as error:
        raise context.error(str(error)) from error
    number = context.label(exercise_label(id)).number
    yield from exercise_cells(task, f"Exercise {number}", plain_markdown(task.prompt, context))


def _name(cells: list[NotebookNode]) -> None:
    """Give each cell an id that stays the same while its source does."""
    seen: dict[str, int] = {}
    for cell in cells:
        course = cell.metadata.get("course")
        stem = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        if course:
            stem = f"{exercise_label(course['exercise'])}-{course['role']}"
        seen[stem] = seen.get(stem, 0) + 1
        cell.id = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"


def _introduce(cells: list[NotebookNode], book: Book) -> None:
    """Say under the title how to work with the notebook."""
    address = book.config.get("repository", {}).get("url")
    source = f"coursepkg[book,lab] @ git+{address}" if address else ".[book,lab]"
    where = "" if address else " in the folder of the course"
    graded = EXERCISES if any("course" in cell.metadata for cell in cells) else ""
    guide = GUIDE.format(title=book.config["title"], source=source, where=where, graded=graded)
    title, _, text = cells[0].source.partition("\n")
    if cells[0].cell_type == "markdown" and title.startswith("# "):
        cells[0].source = f"{title}\n\n{guide}\n{text.lstrip()}".rstrip()
    else:
        cells.insert(0, new_markdown_cell(guide, id="guide"))


GUIDE = """\
<div class="alert alert-info">

**How to work with this notebook.** It is a page of *{title}*. It needs Python 3.11 or later and the
course's package: run `pip install "{source}"`{where}. Then run the cells from top to bottom with
<kbd>Shift</kbd>+<kbd>Enter</kbd>.
{graded}
</div>
"""

EXERCISES = """
An exercise has two cells. In the first, replace `raise NotImplementedError` by your code, and run
it. Then run the second: `check` says what passed, and shows the smallest input that does not. Check
as often as you like.
"""
