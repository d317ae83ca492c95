r"""Sphinx extension: links to the cells that prove a row of the course, and pages without thebe.

A cell tagged `row-C01` can be linked to with ``{ref}`some text <row-C01>```.

Jupyter Book always loads sphinx-thebe, whose scripts declare the same constants twice (an error in
the console of every page) and point to a server on the network.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

__all__ = ["setup"]


def label_rows(app: Sphinx, doctree: nodes.document) -> None:
    """Make each row a label that points to the first cell tagged with it."""
    labels = app.env.get_domain("std")
    for cell in doctree.findall(lambda node: isinstance(node, nodes.container)):
        for tag in (c for c in cell["classes"] if c.startswith("tag_row-")):
            row = tag.removeprefix("tag_").lower()
            if row not in doctree.ids:
                cell["ids"].append(row)
                doctree.ids[row] = cell
                labels.note_hyperlink_target(row, app.env.docname, row, row.removeprefix("row-"))


def without_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Take the scripts of sphinx-thebe out of a page."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script} {getattr(script, 'attributes', {}).get('body')}".lower()
    ]


def launch_only_from_a_repository(app: Sphinx, config: Config) -> None:
    """Take out the launch buttons where `_config.yml` names no repository to launch from."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options.pop("launch_buttons", None)


def launch_the_student_notebook(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Let launch buttons open the notebook that `binder/postBuild` makes, not the page's source."""
    notebook = f"notebooks/{pagename.removeprefix('book/')}.ipynb"
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            for button in group["buttons"]:
                button["url"] = button["url"].replace(f"{pagename}.md", notebook)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("doctree-read", label_rows)
    app.connect("config-inited", launch_only_from_a_repository)
    app.connect("html-page-context", launch_the_student_notebook, priority=900)
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
