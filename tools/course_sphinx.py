r"""What the course adds to Sphinx: exercise cards, notebook downloads, a look at alt texts.

A page names an exercise, and the card is made from the exercise's module::

    ```{graded-exercise} convolution/output-size
    ```

Other pages refer to it by its number: ``{ref}`ex-convolution-output-size` ``.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from myst_book import exercise_label, fenced
from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from coursepkg.grading import Exercise, Mistake, exercise

__all__ = ["GradedExercise", "setup"]

logger = logging.getLogger(__name__)

#: Kind of notebook -> its entry in the download menu.
NOTEBOOKS = {
    "executed": {
        "text": "Executed notebook (.ipynb)",
        "tooltip": "This page as a notebook, with all outputs",
        "icon": "fas fa-book-open",
    },
    "student": {
        "text": "Student notebook (.ipynb)",
        "tooltip": "This page as a notebook to work on, without outputs and solutions",
        "icon": "fas fa-pencil-alt",
    },
}


# --- the exercise card ------------------------------------------------------------------------


class GradedExercise(SphinxDirective):
    """Prompt, starter, hints and solution of an exercise, by its id."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Return sphinx-exercise's nodes, or a warning if there is no such exercise."""
        try:
            task = exercise.load(self.arguments[0])
        except ValueError as error:
            logger.warning("%s", error, location=self.get_location(), type="course")
            return []
        for part in (task.further, task.reference):  # their modules make the card
            self.env.note_dependency(inspect.getsourcefile(part))
        return self.parse_text_to_nodes(card(task), offset=self.content_offset)


def card(task: Exercise) -> str:
    """Return the card as MyST, numbered and folded by sphinx-exercise and sphinx-design."""
    groups = ", ".join(f"{name} {points}" for name, points in task.groups.items())
    points = f"{task.points} point{'s' * (task.points != 1)}"
    check = f'from coursepkg import check\n\ncheck("{task.id}", {task.name})'
    body = [
        directive("div", "course-points", f"{points}: {groups}"),
        task.prompt,
        "Start from here, in the page's student notebook (download menu) or wherever you like:",
        fenced("python", task.starter.rstrip()),
        "and see what passes:",
        fenced("python", check),
        *([_mistakes(task.mistakes)] if task.mistakes else []),
    ]
    label = exercise_label(task.id)
    options = f":label: {label}\n:class: course-exercise\n\n"
    solution = fenced("python", task.solution.rstrip())
    folded = f":label: solution-{label}\n:class: dropdown course-solution\n\n"
    return "\n\n".join(
        [
            directive("exercise", task.title, options + "\n\n".join(body)),
            directive("solution", label, folded + solution),
        ]
    )


def directive(name: str, argument: str, body: str) -> str:
    """Return a directive. Its fence is made of tildes, so that backticks may stand anywhere."""
    return fenced(f"{{{name}}} {argument}", body, mark="~")


def _mistakes(mistakes: tuple[Mistake, ...]) -> str:
    """Return a folded list of folded hints, so that a look at one gives no other away."""
    body = [
        ":class-container: course-mistakes\n",
        "`check` recognises these by itself. Unfold the one that may be yours:",
        *(directive("dropdown", _words(m.name), m.hint) for m in mistakes),
    ]
    return directive("dropdown", f"Hints: {len(mistakes)} common mistakes", "\n\n".join(body))


def _words(name: str) -> str:
    """`stride_ignored` -> `Stride ignored`."""
    return name.replace("_", " ").capitalize()


# --- the bibliography -------------------------------------------------------------------------


class AuthorYearLabels(BaseLabelStyle):
    """Label an entry as the text cites it: Dumoulin and Visin, 2016."""

    def format_labels(self, sorted_entries: list[Entry]) -> Iterator[str]:
        """Yield one label for each entry."""
        for entry in sorted_entries:
            names = [" ".join(person.last_names) for person in entry.persons["author"]]
            authors = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
            yield f"{authors}, {entry.fields['year']}"


class CourseStyle(PlainStyle):
    """The plain style, sorted by author, with labels that can be found from the text."""

    default_label_style = AuthorYearLabels


register_plugin("pybtex.style.formatting", "course", CourseStyle)


# --- downloads --------------------------------------------------------------------------------


def _notebook(app: Sphinx, page: str, kind: str) -> Path:
    return Path(app.srcdir, app.config.course_downloads, kind, f"{page}.ipynb")


def add_downloads(app: Sphinx, pagename: str, template: str, context: dict, doctree: Any) -> None:
    """Put the notebooks of a page on top of the theme's download menu."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons":
            group["buttons"][:0] = [
                {"type": "link", "label": f"download-{kind}-notebook", "url": url, **entry}
                for kind, entry in NOTEBOOKS.items()
                if _notebook(app, pagename, kind).is_file()
                and (url := context["pathto"](_published(pagename, kind), 1))
            ]


def _published(page: str, kind: str) -> str:
    return f"_notebooks/{page}-{kind}.ipynb"


def copy_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Copy the notebooks into the site."""
    if exception or app.builder.format != "html":
        return
    shutil.rmtree(Path(app.outdir, "_notebooks"), ignore_errors=True)
    for page in app.env.found_docs:
        for kind in NOTEBOOKS:
            source, target = _notebook(app, page, kind), Path(app.outdir, _published(page, kind))
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


# --- images -----------------------------------------------------------------------------------


def warn_of_missing_alt(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of each image that says nothing to those who cannot see it."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning(
                "image %s has no alt text; say what it shows (`mystnb: image: alt:` in the cell, "
                "`:alt:` in a directive)",
                image["uri"],
                location=_placed(image),
                type="course",
            )


def _placed(node: nodes.Node) -> nodes.Node:
    """Return the node, or the nearest one around it, that knows its line."""
    while not node.line and node.parent is not None:
        node = node.parent
    return node


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it."""
    for extension in ("sphinx_exercise", "sphinx_design"):
        app.setup_extension(extension)
    app.add_config_value("course_downloads", "_build/downloads", "html")
    app.add_directive("graded-exercise", GradedExercise)
    app.connect("doctree-read", warn_of_missing_alt)
    app.connect("html-page-context", add_downloads, priority=502)  # after the theme's 501
    app.connect("build-finished", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
