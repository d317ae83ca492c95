r"""Interactive figures: one HTML fragment that works on a page, in a notebook and from a file.

An explorer is a name, the settings that Python hands over, and a static picture of its first
state. Its behaviour is a script and a style sheet of that name beside the topic's
`explorers.py`; what all explorers share is in `explorer.js` and `explorer.css` beside this file.

The fragment carries everything inline, since from `file://` neither modules nor `fetch` work.
It has no ids, so any number of explorers stand on one page, and the same call gives the same
text, so that an executed page repeats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

__all__ = ["Explorer", "number", "static", "table"]


@dataclass(frozen=True, repr=False)
class Explorer:
    r"""An interactive figure; show it by making it the last expression of a cell.

    Attributes
    ----------
    package : str
        Where `<name>.js` and `<name>.css` lie, such as `"coursepkg.convolution"`.
    name : str
        Of the assets, and the name by which the script registers itself.
    title : str
        What the reader can do, in a few words; the accessible name of the figure.
    start : str
        The first state in one line, for those who see the text of a cell's output only.
    settings : mapping
        What the script starts from; anything that JSON can hold.
    fallback : str
        HTML of the first state, shown where scripts do not run: in untrusted notebooks, for
        example. The script replaces it.
    """

    package: str
    name: str
    title: str
    start: str
    settings: Mapping[str, Any]
    fallback: str

    def __repr__(self) -> str:
        return f"<{self.title}: {self.start}>"

    def _repr_html_(self) -> str:
        settings = json.dumps(self.settings, allow_nan=False, separators=(",", ":"))
        return (
            f'<div class="course-explorer" data-explorer="{escape(self.name)}" role="group" '
            f'aria-label="{escape(self.title)}" data-settings="{escape(settings)}" '
            f'data-lm-suppress-shortcuts="true">{self.fallback}</div>\n'
            f"<style>\n{self._asset('css')}</style>\n"
            f'<script>\n(() => {{\n"use strict";\n{self._asset("js")}}})();\n</script>'
        )

    def _asset(self, kind: str) -> str:
        shared = files("coursepkg") / f"explorer.{kind}"
        own = files(self.package) / f"{self.name}.{kind}"
        return shared.read_text("utf-8") + own.read_text("utf-8")


def number(value: float) -> str:
    r"""Write a number with at most two decimals and a true minus sign, as the scripts do.

    Examples
    --------
    >>> number(3.0), number(-0.125), number(-0.001), number(-np.inf)
    ('3', '−0.13', '0', '−∞')
    """
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    # Ties go away from zero, which is what readers expect of 0.125, and 0 has no sign.
    hundredths = int(abs(value) * 100 + 0.5)
    text = f"{hundredths / 100:.2f}".rstrip("0").rstrip(".")
    return f"−{text}" if value < 0 and hundredths else text


def table(rows: Iterable[Iterable[float | str]], caption: str, head: Iterable[str] = ()) -> str:
    r"""Return an HTML table of numbers, for the static picture of an explorer.

    Parameters
    ----------
    rows : (H, W) array or rows of numbers and words
    caption : str
        Plain text; it is escaped, as are the words.
    head : iterable of str
        The names of the columns, if they have any.
    """
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{_text(x)}</td>' for x in row)}</tr>" for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"{names and f'<thead><tr>{names}</tr></thead>'}<tbody>{body}</tbody></table>"
    )


def static(tables: Iterable[str]) -> str:
    r"""Return the static picture of an explorer: tables side by side."""
    return f'<div class="ce-static">{"".join(tables)}</div>'


def _text(cell: float | str) -> str:
    return escape(cell) if isinstance(cell, str) else number(cell)
