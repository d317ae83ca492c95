r"""Turn MyST Markdown into what plain JupyterLab shows.

What ordinary Markdown knows is copied as it stands; what only MyST knows is replaced in place,
by the tables `ROLES`, `DIRECTIVES` and `BLOCKS`. Whatever is in no table raises `MarkdownError`
with page and line, so that no notebook ships raw MyST.
"""

from __future__ import annotations

import base64
import html
import mimetypes
import posixpath
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from myst_book import KINDS, Book, Directive, Label, fenced, is_directive
from myst_nb.core.variables import format_plain_text
from nbformat import NotebookNode
from pybtex.database import Entry
from pybtex.plugin import find_plugin
from pybtex.richtext import Text
from sphinx.directives.code import LiteralInclude, LiteralIncludeReader
from sphinxcontrib.bibtex.citation_target import parse_citation_targets

__all__ = [
    "DIRECTIVES",
    "ROLES",
    "Context",
    "MarkdownError",
    "caption",
    "plain_markdown",
    "sources",
]


class MarkdownError(ValueError):
    """A page holds something that a notebook cannot show; the message says where and what."""


# --- one Markdown cell ------------------------------------------------------------------------


@dataclass
class Context:
    """Where a piece of Markdown stands, and what its page knows."""

    book: Book
    page: str
    line: int = 1
    glued: Mapping[str, NotebookNode] = field(default_factory=dict)
    cited: dict[str, None] = field(default_factory=dict)  # keys, in the order of the page
    secret: frozenset[str] = frozenset()  # lines of code that are for learners to write

    def at(self, line: int) -> Context:
        """Return this context at another line of the page."""
        return replace(self, line=line)

    def error(self, message: str) -> MarkdownError:
        """Return an error that names page and line."""
        return MarkdownError(f"{self.page}.md:{self.line}: {message}")

    def label(self, name: str) -> Label:
        """Return what a label stands for."""
        if name not in self.book.labels:
            known = ", ".join(sorted(self.book.labels)) or "none"
            raise self.error(f"no page or label {name!r} in the book; known labels: {known}")
        return self.book.labels[name]

    def link(self, words: str, page: str, anchor: str = "") -> str:
        """Return a link to the published page, or the words alone if it is not published."""
        url = self.book.url(page, anchor)
        return f"[{words}]({url})" if url else words

    def path(self, target: str) -> str:
        """Return a path of this page, seen from the root."""
        folder = "" if target.startswith("/") else posixpath.dirname(self.page)
        return posixpath.normpath(posixpath.join(folder, target.lstrip("/")))


@dataclass(frozen=True)
class Edit:
    """Replace `source[start:end]` by `text`."""

    start: int
    end: int
    text: str


def plain_markdown(text: str, context: Context) -> str:
    r"""Return a piece of MyST as Markdown that plain JupyterLab shows as it is meant.

    Parameters
    ----------
    text : str
        The source, such as one Markdown cell of a page.
    context : Context
        The page; `context.line` is the line of the page on which `text` begins.

    Returns
    -------
    str
        Markdown with dollar maths, tables and a little HTML (`details`, coloured boxes).

    Raises
    ------
    MarkdownError
        If a directive, a role or another construct has no plain form, or a reference leads
        nowhere; the message names page and line.
    """
    starts = [0, *(m.end() for m in re.finditer("\n", text)), len(text) + 1]
    edits: list[Edit] = []
    cursor = done = 0
    for token in context.book.parser.parse(text):
        if token.map and token.map[0] < done:
            continue  # inside a block that was replaced as a whole
        kind = "directive" if is_directive(token) else token.type
        here = context.at(context.line + token.map[0]) if token.map else context
        if kind == "inline":
            cursor = max(cursor, starts[token.map[0]])
            for edit in _inline_edits(token, text, cursor, context):
                edits.append(edit)
                cursor = edit.end
        elif kind in BLOCKS:
            done = token.map[1]
            start = starts[token.map[0]]
            end = start + len(text[start : starts[done] - 1].rstrip())
            if token.nesting:  # it opens a block, whose source is all that it holds
                token.content = text[start:end]
            edits.append(_block_edit(text, start, end, BLOCKS[kind](token, here), token.markup))
        elif re.sub("_(open|close)$", "", kind) not in VERBATIM:
            raise here.error(f"a notebook cannot show a {kind!r}; use ordinary Markdown or {KNOWN}")
    return _apply(text, edits).strip("\n")


KNOWN = "a known directive or role"

#: Blocks that are copied as they stand.
VERBATIM = {
    *("paragraph", "heading", "bullet_list", "ordered_list", "list_item", "blockquote", "hr"),
    *("fence", "code_block", "html_block", "math_block", "amsmath"),
    *("table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"),
}


def _block_edit(text: str, start: int, end: int, new: str, markup: str) -> Edit:
    """Replace a block and keep its indentation; with nothing left, its blank lines go too."""
    if not new:
        return Edit(start, re.compile(r"(\n[ \t]*(?=\n|$))*\n?").match(text, end).end(), "")
    opening = text[start:end].split("\n")[0]
    first = opening[: opening.index(markup)] if markup else ""
    rest = re.sub("[^>]", " ", first)
    new = textwrap.indent(new, rest, lambda line: bool(line.strip()) or ">" in rest)
    return Edit(start, end, new.replace(rest, first, 1))


def _apply(text: str, edits: Iterable[Edit]) -> str:
    pieces, cursor = [], 0
    for edit in sorted(edits, key=lambda e: e.start):
        pieces += [text[cursor : edit.start], edit.text]
        cursor = edit.end
    return "".join([*pieces, text[cursor:]])


def _inline_edits(token: Token, text: str, cursor: int, context: Context) -> Iterator[Edit]:
    """Yield an edit for each inline token that the source has to be searched for, in order.

    Code, maths and what else is kept yields an edit that changes nothing: it moves the search on.
    """
    for child in token.children:
        kind = re.sub("_(open|close)$", "", child.type)
        source = child.meta.get("source", "")
        if kind in PLAIN or child.type == "link_close":
            continue
        pattern = re.escape(source).replace("\\\n", r"\n[ \t>]*")
        match = re.compile(pattern).search(text, cursor)
        at = match.start() if match else cursor
        here = context.at(context.line + text.count("\n", 0, at))
        if kind not in INLINE:
            raise here.error(f"a notebook cannot show {source!r}; use ordinary Markdown or {KNOWN}")
        if match is None:
            raise here.error(f"cannot find {source!r} again; write it more simply")
        for edit in INLINE[kind](child, match, here):
            yield edit
            cursor = edit.end


def _keep(token: Token, match: re.Match[str], context: Context) -> Iterator[Edit]:
    yield Edit(match.start(), match.end(), match[0])


def _drop(token: Token, match: re.Match[str], context: Context) -> Iterator[Edit]:
    yield Edit(match.start(), match.end(), "")


def _role(token: Token, match: re.Match[str], context: Context) -> Iterator[Edit]:
    name = token.meta["name"]
    if name not in ROLES:
        raise context.error(f"unknown role {name!r}; known roles: {', '.join(ROLES)}")
    yield Edit(match.start(), match.end(), ROLES[name](token.content, context))


def _link(token: Token, match: re.Match[str], context: Context) -> Iterator[Edit]:
    """Keep a link that leads out of the book; others lead to the published page, if any."""
    target = str(token.attrs["href"])
    if re.match("(https?|mailto):", target):
        yield Edit(match.start(), match.start() + 1, match[0][0])
        return
    if "](" not in match[0]:
        raise context.error(f"cannot follow {match[0]!r}; write [words](page.md) or {{ref}}")
    title, url = _internal(target, context)
    turn = match.start() + match[0].rindex("](")
    words = title if turn == match.start() + 1 else ""
    yield Edit(turn, match.end(), words + (f"]({url})" if url else ""))
    # Comes last, so that the search goes on among the words.
    yield Edit(match.start(), match.start() + 1, "[" if url else "")


def _internal(target: str, context: Context) -> tuple[str, str | None]:
    """Return title and address of `page.md`, `page.md#anchor`, `#label` or `label`."""
    path, _, anchor = target.partition("#")
    page = context.path(path).removesuffix(".md") if path else context.page
    if page in context.book.titles:
        return context.book.titles[page], context.book.url(page, anchor)
    label = context.label(path or anchor)
    return label.title, context.book.url(label.page, path or anchor)


def _image(token: Token, match: re.Match[str], context: Context) -> Iterator[Edit]:
    picture = _picture(str(token.attrs["src"]), token.content, context)
    yield Edit(match.start(), match.end(), picture)


#: Inline tokens that need no look.
PLAIN = ("text", "softbreak", "hardbreak", "em", "strong", "s")

#: Kind of inline token -> its edits.
INLINE: dict[str, Callable[[Token, re.Match[str], Context], Iterator[Edit]]] = {
    **dict.fromkeys(["text_special", "code_inline", "html_inline"], _keep),
    **dict.fromkeys(["math_inline", "math_inline_double"], _keep),
    "myst_role": _role,
    "link": _link,
    "image": _image,
    "attributes": _drop,
}


# --- roles ------------------------------------------------------------------------------------


def _words(text: str) -> tuple[str, str]:
    """Split `words <target>`; without a target, the words are the target."""
    match = re.fullmatch(r"(.*?)\s*<([^<>]+)>", text, re.DOTALL)
    return (match[1], match[2]) if match else (text, text)


def _term(text: str, context: Context) -> str:
    words, term = _words(text)
    anchor = "term-" + re.sub(r"[^\w.-]+", "-", term).strip("-")
    if context.book.glossary is None:
        return f"*{words}*"
    return context.link(f"*{words}*", context.book.glossary, anchor)


def _number(text: str, context: Context) -> str:
    """`fig-blur`, `Fig. %s <fig-blur>` or `{name} <fig-blur>` -> "Figure 1"."""
    words, name = _words(text)
    label = context.label(name)
    if label.kind not in KINDS:
        return context.link(label.title, label.page, name)
    form = words if words != name else f"{KINDS[label.kind]} %s"
    numbered = form.replace("%s", str(label.number)).replace("{number}", str(label.number))
    return _from(label, numbered.replace("{name}", label.title), name, context)


def _equation(text: str, context: Context) -> str:
    label = context.label(text)
    return _from(label, f"({label.number})", f"equation-{text}", context)


def _from(label: Label, words: str, anchor: str, context: Context) -> str:
    """Name the page too, if it is another one."""
    if label.page == context.page:
        return words
    title = context.book.titles.get(label.page, label.page)
    return f"{context.link(words, label.page, anchor)} of *{title}*"


def _reference(text: str, context: Context) -> str:
    words, name = _words(text)
    label = context.label(name)
    if words == name:
        return _number(name, context)
    return context.link(words, label.page, name)


def _document(text: str, context: Context) -> str:
    words, target = _words(text)
    page = context.path(target).removesuffix(".md")
    if page not in context.book.titles:
        raise context.error(f"no page {page!r}; known pages: {', '.join(context.book.titles)}")
    return context.link(context.book.titles[page] if words == target else words, page)


def _any(text: str, context: Context) -> str:
    """Whatever the target is: a page or a label."""
    page = context.path(_words(text)[1]).removesuffix(".md")
    return (_document if page in context.book.titles else _reference)(text, context)


def _authors(entry: Entry) -> str:
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [" ".join(map(str, (*p.rich_prelast_names, *p.rich_last_names))) for p in people]
    if len(names) > 2:
        return f"{names[0]} et al."
    return " and ".join(names) or str(Text.from_latex(entry.fields["title"]))


def _cite(form: str, pre: str, post: str, around: str) -> Callable[[str, Context], str]:
    """Return a role whose sources look like `form`, with texts like `{sec. 2}` around the year."""

    def cite(text: str, context: Context) -> str:
        cited = []
        for target in parse_citation_targets(text):
            if target.key not in context.book.entries:
                known = ", ".join(context.book.entries)
                raise context.error(f"no source {target.key!r} in the bibliography; known: {known}")
            context.cited[target.key] = None
            entry = context.book.entries[target.key]
            texts = target.pre and pre.format(target.pre), target.post and post.format(target.post)
            cited.append(form.format(*texts, _authors(entry), entry.fields.get("year", "n.d.")))
        return around.format("; ".join(cited))

    return cite


def _glue(text: str, context: Context) -> str:
    name, _, form = text.partition(":")
    if name not in context.glued:
        known = ", ".join(context.glued) or "none; has the page been run?"
        raise context.error(f"no cell of this page glues {name!r}; glued values: {known}")
    return format_plain_text(context.glued[name].data["text/plain"], form)


def _code(text: str, context: Context) -> str:
    words, target = _words(text)
    shown = target.split(".")[-1] if words.startswith("~") else words
    return f"`{shown.lstrip('~')}`"


def _tag(name: str) -> Callable[[str, Context], str]:
    return lambda text, context: f"<{name}>{html.escape(text)}</{name}>"


def _styled(mark: str) -> Callable[[str, Context], str]:
    return lambda text, context: f"{mark}{_words(text)[0]}{mark}"


_PARENTHESES = _cite("{0}{2}, {3}{1}", "{} ", ", {}", "({})")

#: Role -> what stands in its place.
ROLES: dict[str, Callable[[str, Context], str]] = {
    "term": _term,
    "numref": _number,
    "eq": _equation,
    "ref": _reference,
    "doc": _document,
    "any": _any,
    "button-ref": _any,
    "cite": _PARENTHESES,
    "cite:p": _PARENTHESES,
    "cite:t": _cite("{2} ({0}{3}{1})", "{} ", ", {}", "{}"),
    "cite:author": _cite("{2}", "", "", "{}"),
    "cite:year": _cite("{3}", "", "", "{}"),
    "glue": lambda text, context: _glue(f"{text}:", context),
    "glue:text": _glue,
    "math": lambda text, context: f"${text}$",
    "kbd": _tag("kbd"),
    "sub": _tag("sub"),
    "sup": _tag("sup"),
    "abbr": lambda text, context: re.sub(r"\s*\(.*\)$", "", text),
    "download": _styled("`"),
    "guilabel": _styled("**"),
    **dict.fromkeys(["code", "file", "command", "envvar", "option", "program"], _styled("`")),
    **{f"py:{k}": _code for k in ["func", "class", "meth", "mod", "data", "attr", "exc", "obj"]},
    **dict.fromkeys(["func", "class", "meth", "mod", "data", "attr", "exc", "obj"], _code),
}


# --- directives and other blocks --------------------------------------------------------------


def _directive(token: Token, context: Context) -> str:
    item = Directive.read(token)
    if item.name not in DIRECTIVES:
        known = ", ".join(DIRECTIVES)
        raise context.error(f"unknown directive {item.name!r}; known directives: {known}")
    return DIRECTIVES[item.name](item, context)


def _body(item: Directive, context: Context) -> str:
    return plain_markdown(item.body, context.at(context.line + item.skipped))


def _box(title: str, body: str, colour: str) -> str:
    """Return a coloured box; JupyterLab knows these classes."""
    return f'<div class="alert alert-{colour}">\n\n**{title}**\n\n{body}\n\n</div>'


def _details(title: str, body: str) -> str:
    return f"<details>\n<summary>{_html(title)}</summary>\n\n{body}\n\n</details>"


def _html(markdown: str) -> str:
    """Return a line of Markdown as HTML, its maths left for JupyterLab to set."""
    keep: Callable[..., str] = lambda content, options: f"${html.escape(content)}$"  # noqa: E731
    parser = MarkdownIt().use(dollarmath_plugin)
    parser.add_render_rule("math_inline", lambda _, tokens, i, *rest: keep(tokens[i].content, {}))
    return parser.renderInline(markdown)


def _admonition(title: str, colour: str) -> Callable[[Directive, Context], str]:
    def render(item: Directive, context: Context) -> str:
        body = _body(item, context)
        heading = title
        if title:  # {note} takes no title: what stands on its line belongs to the text
            body = f"{plain_markdown(item.argument, context)}\n\n{body}".strip()
        else:
            heading = plain_markdown(item.argument, context)
        classes = item.options.get("class", "").split()
        if "dropdown" in classes:
            return _details(heading, body)
        named = [COLOURS[c] for c in classes if c in COLOURS]
        return _box(heading, body, *(named[:1] or [colour]))

    return render


#: Admonition -> the colour of its box.
COLOURS = {
    **dict.fromkeys(["note", "seealso", "important"], "info"),
    **dict.fromkeys(["tip", "hint"], "success"),
    **dict.fromkeys(["warning", "caution", "attention"], "warning"),
    **dict.fromkeys(["danger", "error"], "danger"),
}


def _dropdown(item: Directive, context: Context) -> str:
    return _details(plain_markdown(item.argument, context), _body(item, context))


def _titled(item: Directive, context: Context) -> str:
    title = plain_markdown(item.argument, context)
    if title and item.options.get("link"):
        title = context.link(title, context.path(item.options["link"]))
    return "\n\n".join(filter(None, [title and f"**{title}**", _body(item, context)]))


def _picture(source: str, alt: str, context: Context) -> str:
    """Return an image that carries its file along."""
    if re.match("https?:", source):
        return f"![{alt}]({source})"
    path = context.book.root / context.path(source)
    if not path.is_file():
        raise context.error(f"no image {source!r} at {path}; the path starts at the page")
    mime = mimetypes.guess_type(path.name)[0]
    return f"![{alt}](data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()})"


def _image_directive(item: Directive, context: Context) -> str:
    return _picture(item.argument, item.options.get("alt", ""), context)


def _figure(item: Directive, context: Context) -> str:
    legend = caption("figure", item.options.get("name", ""), _body(item, context), context)
    return f"{_image_directive(item, context)}\n\n{legend}"


def caption(kind: str, name: str, text: str, context: Context) -> str:
    """Return a line such as "**Figure 1.** text"; what has no name has no number."""
    number = f" {context.label(name).number}" if name else ""
    return f"**{KINDS[kind]}{number}.** {text}"


def _math(item: Directive, context: Context) -> str:
    rows = item.body or item.argument
    if "\\\\" in rows and "\\begin" not in rows:
        rows = f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}"
    return _display(rows, item.options.get("label", ""), context)


def _labelled_math(token: Token, context: Context) -> str:
    return _display(token.content.strip("\n"), token.info, context)


def _display(maths: str, label: str, context: Context) -> str:
    tag = f"\n\\tag{{{context.label(label).number}}}" if label else ""
    return f"$$\n{maths}{tag}\n$$"


def _literal_include(item: Directive, context: Context) -> str:
    """Return the code that the directive names, unless learners are to write it themselves."""
    spec = LiteralInclude.option_spec
    options = {key: spec[key](value or None) for key, value in item.options.items()}
    path = context.book.root / context.path(item.argument)
    try:
        reader = LiteralIncludeReader(str(path), options, SimpleNamespace(source_encoding="utf-8"))
        code, _ = reader.read()
    except (OSError, ValueError) as error:
        raise context.error(f"literalinclude {item.argument!r}: {error}") from error
    title = plain_markdown(item.options.get("caption", ""), context)
    above = f"{title}\n\n" if title else ""
    if context.secret & {line.strip() for line in code.split("\n")}:
        place = options.get("pyobject") or posixpath.basename(item.argument)
        note = f"The page shows the code of `{place}` here. It holds what an exercise asks for."
        return f"{above}*({note})*"
    return above + fenced(options.get("language") or "python", code.rstrip("\n"))


def _code_block(item: Directive, context: Context) -> str:
    return fenced(item.argument, item.body)


def _list_table(item: Directive, context: Context) -> str:
    """Return a list of rows as a pipe table; a table without header rows gets an empty header."""
    rows = [[_cell(c, context) for c in _list_items(row)] for row in _list_items(item.body)]
    if not int(item.options.get("header-rows", 0)):
        rows.insert(0, [""] * len(rows[0]))
    rows.insert(1, ["---"] * len(rows[0]))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return _above(item, table, context)


def _list_items(text: str) -> list[str]:
    """Return the items of a bullet list, without bullets."""
    items = re.split(r"(?m)^[-*+](?=\s|$)", textwrap.dedent(text))[1:]
    return [textwrap.dedent(" " + item).strip("\n") for item in items]


def _cell(text: str, context: Context) -> str:
    paragraphs = plain_markdown(textwrap.dedent(text), context).strip().split("\n\n")
    return "<br>".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _table(item: Directive, context: Context) -> str:
    return _above(item, _body(item, context), context)


def _above(item: Directive, table: str, context: Context) -> str:
    """Put a table's caption above it."""
    if not item.argument:
        return table
    title = plain_markdown(item.argument, context)
    return f"{caption('table', item.options.get('name', ''), title, context)}\n\n{table}"


def _glossary(item: Directive, context: Context) -> str:
    return _definitions(item.body, context.at(context.line + item.skipped))


def _definition_list(token: Token, context: Context) -> str:
    return _definitions(re.sub(r"(?m)^:", " ", token.content), context)


def _definitions(text: str, context: Context) -> str:
    """Lines `term`, `또 다른 말`, `  definition` -> "- **term**, **또 다른 말**: definition"."""
    found = re.findall(r"(?m)((?:^\S.*\n)+)((?:[ \t]+.*\n?|[ \t]*\n)*)", text + "\n")
    lines = []
    for terms, definition in found:
        names = ", ".join(f"**{plain_markdown(term, context)}**" for term in terms.splitlines())
        text = plain_markdown(textwrap.dedent(definition).strip("\n"), context)
        lines.append(f"- {names}: {textwrap.indent(text, '  ').strip()}")
    return "\n".join(lines)


def _bibliography(item: Directive, context: Context) -> str:
    return sources(context)


def sources(context: Context) -> str:
    """Return what the page cites, as a list in the order of the bibliography's style."""
    style = find_plugin("pybtex.style.formatting", "plain")()
    backend = find_plugin("pybtex.backends", "markdown")()
    cited = [context.book.entries[key] for key in context.cited]
    texts = (entry.text.render(backend) for entry in style.format_entries(cited))
    return "\n".join(f"- {' '.join(text.split())}" for text in texts)


def _nested_exercise(item: Directive, context: Context) -> str:
    raise context.error("graded-exercise stands inside another block; move it to the top level")


def _nothing(item: Directive | Token, context: Context) -> str:
    return ""


#: Directive -> what stands in its place.
DIRECTIVES: dict[str, Callable[[Directive, Context], str]] = {
    **{name: _admonition(name.capitalize(), colour) for name, colour in COLOURS.items()},
    "seealso": _admonition("See also", "info"),
    "admonition": _admonition("", "info"),
    "dropdown": _dropdown,
    "margin": _admonition("", "info"),
    "sidebar": _admonition("", "info"),
    **dict.fromkeys(["div", "grid", "grid-item", "tab-set", "card-footer"], _body),
    **dict.fromkeys(["grid-item-card", "card", "tab-item"], _titled),
    "figure": _figure,
    "image": _image_directive,
    "math": _math,
    "literalinclude": _literal_include,
    "code-block": _code_block,
    "code": _code_block,
    "list-table": _list_table,
    "table": _table,
    "glossary": _glossary,
    "bibliography": _bibliography,
    **dict.fromkeys(["tableofcontents", "contents", "toctree", "index"], _nothing),
    "graded-exercise": _nested_exercise,
}


#: Kind of block -> what stands in its place.
BLOCKS: dict[str, Callable[[Token, Context], str]] = {
    "directive": _directive,
    "math_block_label": _labelled_math,
    "dl_open": _definition_list,
    **dict.fromkeys(["front_matter", "myst_target", "myst_line_comment"], _nothing),
    **dict.fromkeys(["myst_block_break", "attrs_block"], _nothing),
}
