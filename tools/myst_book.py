r"""The book as its pages see it: what they are called, what they label, what they cite.

A page is parsed by the parser of the site (myst-parser). Numbers of figures, tables, equations
and exercises count within the page.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from myst_parser.parsers.options import options_to_items
from pybtex.database import Entry, parse_file

__all__ = [
    "KINDS",
    "Book",
    "Directive",
    "Label",
    "exercise_label",
    "fenced",
    "is_directive",
    "toc_files",
]

ROOT = Path(__file__).resolve().parents[1]


# --- the book: what pages need to know of each other ------------------------------------------


@dataclass(frozen=True)
class Label:
    """What a name in the book stands for."""

    kind: str  # a key of KINDS, or "section"
    page: str
    number: int
    title: str


#: What is counted on a page, and what a reader calls it.
KINDS = {"figure": "Figure", "table": "Table", "equation": "Equation", "exercise": "Exercise"}


@dataclass(frozen=True)
class Book:
    """All pages, read once: their sources, titles and labels, and the bibliography."""

    root: Path
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    titles: Mapping[str, str]
    labels: Mapping[str, Label]
    glossary: str | None
    entries: Mapping[str, Entry]

    @staticmethod
    @functools.cache
    def read(root: Path = ROOT) -> Book:
        """Read `_config.yml`, `_toc.yml`, the pages and the bibliography under `root`."""
        config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
        parser = make_parser(tuple(config["parse"]["myst_enable_extensions"]))
        paths = {name: root / f"{name}.md" for name in toc_files(toc)}
        sources = {n: p.read_text(encoding="utf-8") for n, p in paths.items() if p.exists()}
        titles, labels, glossary = {}, {}, None
        for name, source in sources.items():
            counts: dict[str, int] = {}
            for kind, label, title in _landmarks(source, parser):
                counts[kind] = counts.get(kind, 0) + 1
                if kind == "title":
                    titles.setdefault(name, title)
                elif kind == "glossary":
                    glossary = name
                elif label:
                    labels[label] = Label(kind, name, counts[kind], title)
        entries: dict[str, Entry] = {}
        for path in config.get("bibtex_bibfiles", []):
            entries |= parse_file(root / path, bib_format="bibtex").entries
        return Book(root, config, sources, titles, labels, glossary, entries)

    @property
    def parser(self) -> MarkdownIt:
        """The parser of the site."""
        return make_parser(tuple(self.config["parse"]["myst_enable_extensions"]))

    def url(self, page: str, anchor: str = "") -> str | None:
        """Return where a page is published, if `_config.yml` says where (`html: baseurl`)."""
        site = self.config.get("html", {}).get("baseurl")
        return site and f"{site.rstrip('/')}/{page}.html{anchor and '#' + anchor}"


def toc_files(entry: object) -> Iterator[str]:
    """Yield the pages that a table of contents (or a part of it) names, in order."""
    if isinstance(entry, dict):
        yield from (entry[key] for key in ("root", "file") if key in entry)
        entry = list(entry.values())
    if isinstance(entry, list):
        for child in entry:
            yield from toc_files(child)


def _landmarks(source: str, parser: MarkdownIt) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, label, title) of all that can be referred to, in the order of the page."""
    target = ""
    tokens = parser.parse(source)
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[i + 1].content
            yield "section", target, heading
            if token.tag == "h1":
                yield "title", "", heading
        elif token.type == "math_block_label":
            yield "equation", token.info, ""
        elif is_directive(token):
            yield from _directive_landmarks(Directive.read(token), parser)
        target = token.content if token.type == "myst_target" else ""


def _directive_landmarks(item: Directive, parser: MarkdownIt) -> Iterator[tuple[str, str, str]]:
    label = item.options.get("name", item.options.get("label", ""))
    figure = item.options.get("mystnb", {}).get("figure")
    if item.name == "code-cell" and figure:
        yield "figure", figure.get("name", ""), figure["caption"]
    elif item.name == "figure" and item.body:
        yield "figure", label, item.body
    elif item.name in ("table", "list-table") and item.argument:
        yield "table", label, item.argument
    elif item.name == "math" and label:
        yield "equation", label, ""
    elif item.name == "graded-exercise":
        yield "exercise", exercise_label(item.argument), ""
    elif item.name == "glossary":
        yield "glossary", "", ""
    elif item.name in CONTAINERS:
        if label:
            yield "section", label, item.argument
        yield from _landmarks(item.body, parser)


def exercise_label(id: str) -> str:
    """Return what pages refer to: `convolution/output-size` is `ex-convolution-output-size`."""
    return f"ex-{id.replace('/', '-')}"


#: Directives whose body is Markdown, in which there may be labels.
CONTAINERS = {
    *("note", "seealso", "important", "tip", "hint", "warning", "caution", "attention"),
    *("danger", "error", "admonition", "dropdown", "div", "margin", "sidebar"),
    *("grid", "grid-item", "grid-item-card", "card", "card-footer", "tab-set", "tab-item"),
}


def fenced(head: str, body: str, mark: str = "`") -> str:
    """Return a fence around `body`, longer than any fence of the same mark inside."""
    fence = mark * max([3, *(len(run) + 1 for run in re.findall(f"{mark}+", body))])
    return f"{fence}{head}\n{body}\n{fence}"


# --- the parser -------------------------------------------------------------------------------


@functools.cache
def make_parser(extensions: tuple[str, ...]) -> MarkdownIt:
    """Return the site's parser, taught to note where in the source each inline token stands."""
    parser = create_md_parser(MdParserConfig(enable_extensions=set(extensions)), RendererHTML)
    for rule in parser.inline.ruler.__rules__:
        if rule.name not in ("text", "newline", "entity", "emphasis", "strikethrough"):
            rule.fn = _located(rule.fn, attributes=rule.name == "attr")
    parser.inline.ruler.__cache__ = None
    if "attrs_block" in extensions:
        parser.core.ruler.disable("attr")  # so that the line stays a token
    return parser


def _located(rule: Callable[..., bool], attributes: bool) -> Callable[..., bool]:
    def run(state: Any, silent: bool) -> bool:
        start, count = state.pos, len(state.tokens)
        found = rule(state, silent)
        if found and not silent:
            if attributes:
                state.push("attributes", "", 0)
            for token in state.tokens[count:]:
                token.meta.setdefault("source", state.src[start : state.pos])
        return found

    return run


@dataclass(frozen=True)
class Directive:
    """A directive: what it is called with, and what stands in it."""

    name: str
    argument: str
    options: Mapping[str, Any]
    body: str
    skipped: int  # lines between its first line and its body

    @staticmethod
    def read(token: Token) -> Directive:
        """Take a fence apart: name, argument, options (`:key: value` or YAML) and body."""
        name, argument = DIRECTIVE.match(token.info.strip()).groups()
        lines = token.content.split("\n")
        options: dict[str, Any] = {}
        count = 0
        if lines[0].strip() == "---":
            count = lines.index("---", 1) + 1
            options = yaml.safe_load("\n".join(lines[1 : count - 1])) or {}
        else:
            while lines[count].startswith(":") and not lines[count].startswith("::"):
                count += 1
            options = dict(options_to_items("\n".join(line[1:] for line in lines[:count]))[0])
        while count < len(lines) - 1 and not lines[count].strip():
            count += 1
        body = "\n".join(lines[count:]).rstrip("\n")
        return Directive(name, argument, options, body, count + 1)


#: `{name} argument`, as it stands behind the fence.
DIRECTIVE = re.compile(r"\{([\w:.+-]+)\}\s*(.*)")


def is_directive(token: Token) -> bool:
    """Return whether a token is a fence with a `{name}`."""
    return token.type in ("fence", "colon_fence") and token.info.strip().startswith("{")
