r"""From a file that was handed in to the statements that an answer needs.

A notebook holds much that has nothing to do with an answer: plots, trials, training, commands of
the shell, errors. So it is not run from top to bottom. `read_page` takes it apart into statements,
and `Page.slices` picks the definition of an answer and what it needs, by names: imports, helpers,
constants, the loops that fill a table. Names are read off compiled code, so that Python's own rules
say which of them are local.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import codeop
import dis
import inspect
import json
import math
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time
from types import CodeType
from typing import Any

__all__ = ["Broken", "Cell", "Names", "Page", "Slice", "Statement", "read_cells", "read_page"]

#: At most so many cells of a notebook are read.
CELLS = 5_000

#: Magics of a cell whose body is Python and stays; the body of any other is dropped.
PYTHON_MAGICS = {"time", "timeit", "capture", "prun", "memit", "lprun", "mprun", "ipytest"}

#: Functions of libraries that change what they are given.
CHANGING = {
    *("shuffle", "at", "copyto", "fill_diagonal", "put", "putmask", "place", "put_along_axis"),
    *("heapify", "heappush", "heappop", "insort", "setattr", "update_wrapper"),
}

#: Methods of containers that change them.
FILLING = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "add"),
    *("discard", "setdefault", "popitem", "appendleft", "extendleft", "rotate", "register"),
}

#: So many functions may stand between a call and the function that changes a value.
DEEP = 5

#: Names of functions that show, try or train, and of functions that set the state of a library.
SHOWING = re.compile(r"_*(print|plot|show|draw|display|check|test|assert|train|fit|bench|demo)")
SETTING = re.compile(r"(set|seed|manual_seed|filter|simplefilter)")

#: What makes names in ways that cannot be seen.
DYNAMIC = {"exec", "eval", "globals", "locals", "vars", "setattr", "modules", "__dict__"}

#: What makes names, of these.
MAKING = {"exec", "eval", "globals", "locals", "vars"}

COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Compound = ast.If | ast.For | ast.AsyncFor | ast.While | ast.Try | ast.TryStar | ast.Match


@dataclass(frozen=True)
class Cell:
    r"""A piece of a file that holds Python.

    Attributes
    ----------
    source : str
        Python, but for magics. Empty lines stand before it where lines are counted from the
        beginning of the file.
    file : str
        How messages call it, such as `hw1.ipynb, cell 3`.
    """

    source: str
    file: str


@dataclass(frozen=True)
class Names:
    r"""The names that a statement has to do with.

    Attributes
    ----------
    sure, maybe : frozenset of str
        It binds them, in any case or under a condition.
    answers, stubs, functions, imported : frozenset of str
        Of these, what could be an answer, what only raises NotImplementedError, what is a
        function or class, and what is imported.
    changes, perhaps : frozenset of str
        It changes their values; `perhaps` by calling a method or a function of the learner.
    calls : frozenset of str
        Functions that it calls by name, decorators and base classes included.
    alone : frozenset of str
        Of these, the one whose call is the whole statement.
    decorates : frozenset of str
        Names on which its decorators may act.
    fills : frozenset of str
        Names that functions in it may change.
    given : frozenset of tuple of str
        Functions that it calls by name, each with a name that it gives them.
    mends : bool
        Functions in it may change what they are given.
    settings : frozenset of str
        Names through which it seems to set the state of a library.
    now, later : frozenset of str
        It needs them when it is run, or when a function is called that it defines.
    remote : frozenset of str
        Functions in it bind them when they are called.
    star : bool
        It imports names that cannot be seen.
    """

    sure: frozenset[str]
    maybe: frozenset[str]
    answers: frozenset[str]
    stubs: frozenset[str]
    functions: frozenset[str]
    imported: frozenset[str]
    changes: frozenset[str]
    perhaps: frozenset[str]
    calls: frozenset[str]
    alone: frozenset[str]
    decorates: frozenset[str]
    fills: frozenset[str]
    given: frozenset[tuple[str, str]]
    mends: bool
    settings: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]
    remote: frozenset[str]
    star: bool

    @property
    def bound(self) -> frozenset[str]:
        r"""All names that it may bind."""
        return self.sure | self.maybe


@dataclass(frozen=True, eq=False)
class Statement:
    r"""A statement on the top level, compiled to be run by itself."""

    text: str
    file: str
    line: int
    code: CodeType
    names: Names

    @property
    def place(self) -> str:
        r"""Where it stands."""
        return f"{self.file}, line {self.line}"

    @property
    def title(self) -> str:
        r"""What messages call it."""
        return "the cell" if re.search(r", cell \d+$", self.file) else "the statement"


@dataclass(frozen=True)
class Broken:
    r"""A piece that is no Python."""

    text: str
    file: str
    line: int
    message: str

    @property
    def place(self) -> str:
        r"""Where it stands."""
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True)
class Slice:
    r"""What has to be run for an answer.

    Attributes
    ----------
    place : str
        Of the definition.
    statements : tuple of Statement
        In the order of the file.
    needed : frozenset of int
        Positions of those that the answer itself reaches; the others only change what it uses.
    """

    place: str
    statements: tuple[Statement, ...]
    needed: frozenset[int]

    @property
    def source(self) -> str:
        r"""The statements as text."""
        return "\n".join(statement.text for statement in self.statements)


@dataclass(frozen=True)
class Page:
    r"""A file, taken apart.

    Attributes
    ----------
    name : str
    cells : tuple of Cell
    statements : tuple of Statement
    broken : tuple of Broken
    problem : str
        Why not all of it could be read, or empty.
    """

    name: str
    cells: tuple[Cell, ...]
    statements: tuple[Statement, ...]
    broken: tuple[Broken, ...]
    problem: str

    @property
    def told(self) -> str:
        r"""Why there may be no answer in it, or an empty text."""
        return self.problem or ("" if self.cells else f"{self.name} holds no code")

    @property
    def texts(self) -> dict[str, str]:
        r"""What stands in each `file` that statements are said to come from."""
        found: dict[str, list[str]] = {}
        for cell in self.cells:
            lines = found.setdefault(cell.file, [])
            lines += cell.source.split("\n")[len(lines) :]
        return {file: "\n".join(lines) for file, lines in found.items()}

    def slices(self, name: str) -> Iterator[Slice]:
        r"""Yield what has to be run for each definition of a name, the last definition first.

        Definitions that are not written are left out, and so are imports from the course. Where
        there is none that can be seen, but perhaps one made by `exec` or the like, everything
        has to be run.
        """
        found = [i for i, s in enumerate(self.statements) if name in s.names.answers]
        if found:
            for i in self._by_rank(name, found):
                yield _Selection(self.statements, name, i).slice()
            return
        everything = (
            set().union(*(s.code.co_names for s in self.statements)) if self.statements else set()
        )
        hidden = any(re.search(rf"\b{re.escape(name)}\b", s.text) for s in self.statements)
        bound = any(name in s.names.bound for s in self.statements)
        if hidden and not bound and everything & DYNAMIC:
            everyone = frozenset(range(len(self.statements)))
            yield Slice(self.name, self.statements, everyone)

    def _by_rank(self, name: str, found: list[int]) -> list[int]:
        r"""Return definitions, the last one first.

        What holds no function of the learner's, but for calls, seems to be a value. It comes last.
        """
        functions = {f for s in self.statements for f in s.names.functions}

        def is_value(i: int) -> bool:
            names = self.statements[i].names
            if name in names.functions | names.imported or "lambda" in self.statements[i].text:
                return False
            return name in names.calls or not (names.now & functions) - names.calls

        return sorted(found, key=lambda i: (name in functions and is_value(i), -i))

    def lacking(self, name: str) -> tuple[str, str] | None:
        r"""Say what there is in the place of a definition, as a status and a sentence."""
        pattern = rf"^\s*(async\s+def|def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*="
        for piece in reversed(self.broken):
            if re.search(pattern, piece.text, re.MULTILINE):
                return (
                    "failed",
                    f"the definition of {name} cannot be read: {piece.message} ({piece.place})",
                )
        for statement in reversed(self.statements):
            if name in statement.names.stubs:
                return "unwritten", f"{name} is not written yet ({statement.place})"
        for statement in reversed(self.statements):
            if name in statement.names.bound:
                told = f"{name} is here, but it is no answer of your own: {statement.text:.100}"
                return "missing", f"{told} ({statement.place})"
        return None


def read_page(name: str, data: bytes, until: float = math.inf) -> Page:
    r"""Take a file apart; nothing that it holds raises.

    Parameters
    ----------
    name : str
        Of the file; its suffix says what it is: `.ipynb`, `.md`, `.myst`, or Python.
    data : bytes
        Its content.
    until : float, optional
        The value of `time.process_time` at which to give up.

    Raises
    ------
    TimeoutError
        If it takes longer. This is looked at between the pieces of a file, so that nothing is
        interrupted in the midst of its work.

    Examples
    --------
    >>> text = "import math\nprint(1)\ndef area(r):\n    return math.pi * r**2"
    >>> page = read_page("hw.py", text.encode())
    >>> print(next(page.slices("area")).source)
    import math
    def area(r):
        return math.pi * r**2
    """
    name = re.sub(r"[^\w .()+,/-]", "_", name)[-60:].lstrip("/ ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells, problem = read_cells(name, data, until)
        flags = _future_flags(cells)
        pieces = [piece for cell in cells for piece in _pieces(cell, flags, until)]
    statements = tuple(piece for piece in pieces if isinstance(piece, Statement))
    broken = tuple(piece for piece in pieces if isinstance(piece, Broken))
    if broken and not statements:
        problem = problem or f"{name} is no Python: {broken[0].message} ({broken[0].place})"
    return Page(name, tuple(cells), statements, broken, problem)


def _hurry(until: float) -> None:
    if process_time() > until:
        raise TimeoutError("it takes too long")


def read_cells(name: str, data: bytes, until: float = math.inf) -> tuple[list[Cell], str]:
    r"""Return the cells of Python in a file, and why not all could be read, or an empty text.

    Cells of a notebook are numbered as the program behind it numbers them when it runs them all.
    """
    text = _decoded(data)
    match name.lower().rpartition(".")[2]:
        case "ipynb":
            return _notebook_cells(name, text, until)
        case "md" | "myst":
            return _markdown_cells(name, text, until)
    return ([Cell(text, name)] if text.strip() else []), ""


def _decoded(data: bytes) -> str:
    r"""Return text, in whatever encoding it is, with plain ends of lines."""
    declared = re.match(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", data) or re.match(
        rb"^[ \t\f]*(?:#[^\n]*)?\n[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", data
    )
    encodings = ["utf-8-sig"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif data[1:2] == b"\0" or data[:1] == b"\0":
        encodings = ["utf-16-le" if data[1:2] == b"\0" else "utf-16-be"]
    elif declared:
        encodings.append(declared[1].decode())
    text = data.decode("latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
            break
        except (UnicodeError, LookupError, ValueError):
            continue
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _notebook_cells(name: str, text: str, until: float) -> tuple[list[Cell], str]:
    if not text.strip():
        return [], f"{name} is empty"
    problem = ""
    try:
        book = json.loads(text)
    except RecursionError:
        return [], f"{name} is nested too deeply to be a notebook"
    except ValueError as error:
        found = list(_rescued(text, until))
        book = {"cells": found}
        problem = f"{name} is damaged: {_json_error(error)}; {len(found)} cells could be read"
    if not isinstance(book, dict):
        return [], f"{name} is JSON, but no notebook"
    language = _language(book)
    if language not in ("python", "ipython", ""):
        return [], f"{name} is a notebook in the language {language}"
    sources = [source for cell in _raw_cells(book) if (source := _source(cell)).strip()]
    if len(sources) > CELLS:
        problem = f"{name} has {len(sources)} cells of code; the first {CELLS} were read"
        sources = sources[:CELLS]
    cells = [Cell(source, f"{name}, cell {number}") for number, source in enumerate(sources, 1)]
    return cells, problem or ("" if cells else f"{name} has no cells of code")


def _json_error(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}, column {error.colno}"
    return str(error)[:100]


def _rescued(text: str, until: float) -> Iterator[Any]:
    r"""Yield the cells of a notebook that is damaged, one by one."""
    decoder = json.JSONDecoder()
    start = re.compile(r'\{\s*"(?:cell_type|attachments|execution_count|id|metadata|source)"\s*:')
    position = 0
    opening = re.search(r'"cells"\s*:\s*\[', text)
    if opening:
        position = opening.end()
    while match := start.search(text, position):
        _hurry(until)
        try:
            cell, position = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.start() + 1
            continue
        if isinstance(cell, dict) and "cell_type" in cell:
            yield cell


def _raw_cells(book: dict[str, Any]) -> Iterator[dict[str, Any]]:
    r"""Yield the cells of a notebook; those before version 4 stand on worksheets."""
    sheets = book.get("worksheets")
    holders = [book, *(sheets if isinstance(sheets, list) else ())]
    for holder in holders:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        for cell in cells if isinstance(cells, list) else ():
            if isinstance(cell, dict):
                yield cell


def _language(book: dict[str, Any]) -> str:
    for path in (("language_info", "name"), ("kernelspec", "language")):
        found: Any = book.get("metadata")
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found.lower()
    return ""


def _source(cell: dict[str, Any]) -> str:
    r"""Return the Python in a cell, or an empty text."""
    if cell.get("cell_type") != "code":
        return ""
    metadata = cell.get("metadata")
    vscode = metadata.get("vscode") if isinstance(metadata, dict) else None
    language = vscode.get("languageId") if isinstance(vscode, dict) else None
    if (language or cell.get("language") or "python") != "python":
        return ""
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return ""
    return source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,}|:{3,})[ \t]*(.*)$")


def _markdown_cells(name: str, text: str, until: float) -> tuple[list[Cell], str]:
    r"""Return the code cells of a MyST page; of other Markdown, its blocks of Python."""
    blocks = list(_fenced(text.split("\n"), until))
    cells = [_padded(body, line, name) for info, body, line in blocks if _is_cell(info)]
    if not any(info.startswith("{code-cell}") for info, _, _ in blocks):
        cells = [
            _padded(body, line, name)
            for info, body, line in blocks
            if info.split(" ")[0].lower() in ("python", "python3", "py", "ipython", "ipython3")
        ]
    if len(cells) > CELLS:
        return cells[:CELLS], f"{name} has {len(cells)} cells of code; the first {CELLS} were read"
    return cells, ""


def _is_cell(info: str) -> bool:
    language = info.removeprefix("{code-cell}").strip().lower()
    return info.startswith("{code-cell}") and language in (
        "",
        "python",
        "python3",
        "ipython",
        "ipython3",
    )


def _fenced(lines: list[str], until: float) -> Iterator[tuple[str, list[str], int]]:
    r"""Yield what a fence says, the lines in it, and how many lines stand before these."""
    start = 0
    while start < len(lines):
        opening = FENCE.match(lines[start])
        start += 1
        if not opening:
            continue
        _hurry(until)
        indent, fence, info = opening.groups()
        end = start
        closing = re.compile(rf"^ {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
        while end < len(lines) and not closing.match(lines[end]):
            end += 1
        if fence[0] != ":" or info.startswith("{code-cell}"):
            body = [line.removeprefix(indent) for line in lines[start:end]]
            yield info.strip(), body, start
            start = end + 1


def _padded(body: list[str], before: int, name: str) -> Cell:
    r"""Return a cell whose lines have the numbers that they have in the file."""
    skipped = 0
    if body and body[0].strip() == "---" and "---" in (line.strip() for line in body[1:]):
        skipped = 2 + [line.strip() for line in body[1:]].index("---")
    while skipped < len(body) and re.match(r":[\w-]+:", body[skipped]):
        skipped += 1
    return Cell("\n" * (before + skipped) + "\n".join(body[skipped:]), name)


def _future_flags(cells: list[Cell]) -> int:
    r"""Return the flags of what is imported from `__future__`; it holds for all cells after it."""
    text = "\n".join(cell.source for cell in cells)
    names = ",".join(re.findall(r"^from __future__ import \(?([\w ,]+)", text, re.MULTILINE))
    features = (getattr(__future__, name.strip(), None) for name in names.split(","))
    flags = 0
    for feature in features:
        flags |= getattr(feature, "compiler_flag", 0)
    return flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def _pieces(cell: Cell, flags: int, until: float) -> Iterator[Statement | Broken]:
    r"""Yield the statements of a cell; what is no Python costs no more than itself."""
    _hurry(until)
    for source in _chunks(_without_magics(cell.source), until):
        try:
            nodes = _parsed(source).body
        except FAULTS as error:
            yield _broken(error, source, cell.file, _first_line(source))
            continue
        lines = source.split("\n")
        for node in (part for whole in nodes for part in _single_imports(whole)):
            _hurry(until)
            try:
                yield _statement(node, lines, cell.file, flags)
            except FAULTS as error:
                yield _broken(error, _text(node, lines), cell.file, node.lineno)


#: What Python raises where it cannot read a source.
FAULTS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


def _broken(error: BaseException, text: str, file: str, line: int) -> Broken:
    message = f"{type(error).__name__}: {getattr(error, 'msg', None) or error}"
    return Broken(text, file, getattr(error, "lineno", None) or line, message[:200])


def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _first_line(source: str) -> int:
    return len(source) - len(source.lstrip("\n")) + 1


def _chunks(source: str, until: float) -> Iterator[str]:
    r"""Yield the whole source if it is Python, or else what can be read by itself.

    A chunk begins where a line begins without space. One that is no Python by itself may be the
    beginning of a longer one, such as a text over several lines.
    """
    if _is_python(source):
        yield source
        return
    lines = source.split("\n")
    starts = [i for i, line in enumerate(lines) if CHUNK.match(line)]
    starts = sorted({0, *starts})
    ends = [*starts[1:], len(lines)]
    here = 0
    while here < len(starts):
        end, text = here, ""
        for last in range(here, min(here + LONGEST, len(starts))):
            _hurry(until)
            text = "\n" * starts[here] + "\n".join(lines[starts[here] : ends[last]])
            if not _is_incomplete(text):
                end = last if _is_python(text) else here
                break
        if end == here:
            text = "\n" * starts[here] + "\n".join(lines[starts[here] : ends[here]])
        if text.strip():
            yield text
        here = end + 1


def _is_incomplete(source: str) -> bool:
    r"""Say whether a source is no Python yet, but may be its beginning."""
    try:
        compile(source, "", "exec", ast.PyCF_ONLY_AST | INCOMPLETE)
    except SyntaxError as error:
        return error.msg == "incomplete input"
    except FAULTS:
        return False
    return False


#: A flag of `compile` that tells sources which may go on from those which are wrong.
INCOMPLETE: int = vars(codeop)["PyCF_ALLOW_INCOMPLETE_INPUT"]

#: So many lines that look like beginnings may be one statement.
LONGEST = 200


#: A line that may begin a statement on the top level.
CHUNK = re.compile(r"(?!(?:else|elif|except|finally)\b)[^\s#)\]}]")


def _is_python(source: str) -> bool:
    try:
        _parsed(source)
    except FAULTS:
        return False
    return True


MAGIC = re.compile(
    r"(?P<indent>\s*)(?P<target>[\w.,\[\] ]+=\s*)?[%!](?P<rest>.*)|\s*\?|.*[\w)]\?{1,2}\s*$"
)
RESTART = re.compile(r"(?:def|class|import|from|async|@|%|!)")


def _without_magics(source: str) -> str:
    r"""Return the source with the commands that only notebooks know taken out; lines stay lines."""
    if _is_python(source):
        return source
    lines = source.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    while first < len(lines) and (magic := re.match(r"\s*%%(\S*)", lines[first])):
        if magic[1] not in PYTHON_MAGICS:
            return ""
        lines[first] = ""
        first += 1
    if lines[first:] and lines[first][:1].isspace():
        lines = textwrap.dedent("\n".join(lines)).split("\n")
    scan = _Scan()
    within = False  # a command that goes on in the next line
    for i, line in enumerate(lines):
        if RESTART.match(line) and not scan.quote:
            scan = _Scan()
        if within or (scan.at_statement and MAGIC.fullmatch(line)):
            within = line.endswith("\\")
            lines[i] = _instead(line)
        else:
            scan.read(line)
    return "\n".join(lines)


def _instead(line: str) -> str:
    r"""Return Python in the place of a magic."""
    indent = line[: len(line) - len(line.lstrip())]
    timed = re.match(r"\s*%(?:time|timeit|prun|memit)\s+(?!-)(.*)", line)
    if timed and _is_python(timed[1]):
        return indent + timed[1]
    assigned = re.match(r"\s*([\w.,\[\] ]+=)\s*(?:%time\s+)?(.*)", line)
    if assigned:
        value = assigned[2] if _is_python(assigned[2]) else "None"
        return f"{indent}{assigned[1]} {value}"
    return f"{indent}pass"


class _Scan:
    r"""Follows quotes and brackets, to know where a statement can begin."""

    TOKEN = re.compile(r"\\.|\"\"\"|'''|[\"'#()\[\]{}]|\\$")

    def __init__(self) -> None:
        self.quote = ""
        self.depth = 0
        self.continued = False

    @property
    def at_statement(self) -> bool:
        return not self.quote and self.depth == 0 and not self.continued

    def read(self, line: str) -> None:
        for token in self.TOKEN.findall(line):
            if self.quote:
                if token == self.quote or (token[0] == self.quote == token[-1]):
                    self.quote = ""
            elif token[0] in "\"'":
                self.quote = token
            elif token == "#":
                break
            elif token in "([{":
                self.depth += 1
            elif token in ")]}":
                self.depth = max(self.depth - 1, 0)
        if len(self.quote) == 1:
            self.quote = ""
        self.continued = line.endswith("\\")


def _single_imports(node: ast.stmt) -> list[ast.stmt]:
    r"""Divide an import of several names: one may fail without the others."""
    if not isinstance(node, ast.Import | ast.ImportFrom) or len(node.names) == 1:
        return [node]
    if isinstance(node, ast.Import):
        parts: list[ast.stmt] = [ast.Import([alias]) for alias in node.names]
    else:
        parts = [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
    return [ast.copy_location(part, node) for part in parts]


def _statement(node: ast.stmt, lines: list[str], file: str, flags: int) -> Statement:
    code = compile(ast.Module([node], []), file, "exec", flags, dont_inherit=True)
    return Statement(_text(node, lines), file, node.lineno, code, _names(node, code))


def _text(node: ast.stmt, lines: list[str]) -> str:
    r"""Return the source of a statement, its decorators included."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return ast.unparse(node)
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    part = lines[first - 1 : node.end_lineno]
    part[-1] = part[-1].encode()[: node.end_col_offset].decode()
    if not decorators:
        part[0] = part[0].encode()[node.col_offset :].decode()
    return "\n".join(part)


def _names(node: ast.stmt, code: CodeType) -> Names:
    bound, now, later, remote = _reads_and_binds(code)
    answers: set[str] = set()
    stubs: set[str] = set()
    functions: set[str] = set()
    imported: set[str] = set()
    for part in _top_level(node):
        for name in _defined(part):
            written = _is_written(part, name)
            (answers if written else stubs).add(name)
            if isinstance(part, Function | ast.ClassDef):
                functions.add(name)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                imported.add(name)
    changes, perhaps, alone = _effects(node)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        changes.add(node.target.id)
        bound -= changes
    cumulative = isinstance(node, ast.Import) and any(
        "." in alias.name and not alias.asname for alias in node.names
    )
    sure = not isinstance(node, Compound) and not cumulative
    courses = isinstance(node, ast.Import | ast.ImportFrom) and _is_course(node)
    return Names(
        sure=frozenset(bound if sure else ()),
        maybe=frozenset(() if sure else bound),
        answers=frozenset(() if courses else answers),
        stubs=frozenset(() if courses else stubs - answers),
        functions=frozenset(functions),
        imported=frozenset(imported),
        changes=frozenset(changes),
        perhaps=frozenset(perhaps | _decorating(node)),
        calls=frozenset(_called(node)),
        alone=frozenset(alone),
        decorates=frozenset(_decorated(node)),
        fills=frozenset(_filled(node) & later | remote),
        given=frozenset(_given(node)),
        mends=bool(_filled(node) & _parameters(node)),
        settings=frozenset(_settings(node)),
        now=frozenset(now),
        later=frozenset(later | _quoted(node, now | later)),
        remote=frozenset(remote),
        star=isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and not courses,
    )


def _reads_and_binds(code: CodeType) -> tuple[set[str], set[str], set[str], set[str]]:
    r"""Return what code binds, reads now, reads later, and binds later, of global names."""
    bound: set[str] = set()
    now: set[str] = set()
    later: set[str] = set()
    remote: set[str] = set()
    waiting = [(code, True, True)]  # with: does it run now, and is it the module itself
    while waiting:
        here, runs, is_module = waiting.pop()
        instructions = list(dis.get_instructions(here))
        stored = {i.argval for i in instructions if i.opname == "STORE_NAME"}
        for instruction in instructions:
            match instruction.opname:
                case "LOAD_NAME" if is_module or instruction.argval not in stored:
                    (now if runs else later).add(instruction.argval)
                case "LOAD_GLOBAL" | "LOAD_CLASSDEREF":
                    (now if runs else later).add(instruction.argval)
                case "STORE_NAME" if is_module:
                    bound.add(instruction.argval)
                case "STORE_GLOBAL":
                    (bound if runs else remote).add(instruction.argval)
        for constant in here.co_consts:
            if isinstance(constant, CodeType):
                function = constant.co_flags & inspect.CO_OPTIMIZED
                at_once = not function or constant.co_name in COMPREHENSIONS
                waiting.append((constant, runs and at_once, False))
    return bound, now, later, remote


def _top_level(node: ast.AST) -> Iterator[ast.AST]:
    r"""Yield a statement and all in it that belongs to no function or class."""
    yield node
    if isinstance(node, Function | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from _top_level(child)


def _defined(part: ast.AST) -> Iterator[str]:
    r"""Yield the names that a definition, an assignment or an import binds."""
    if isinstance(part, Function | ast.ClassDef):
        yield part.name
    elif isinstance(part, ast.Import | ast.ImportFrom):
        for alias in part.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(part, ast.Assign):
        for target in part.targets:
            yield from _stored(target)
    elif isinstance(part, ast.AnnAssign | ast.NamedExpr) and part.value is not None:
        yield from _stored(part.target)


def _stored(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _is_written(part: ast.AST, name: str) -> bool:
    r"""Say whether a definition is more than a place to put one."""
    if isinstance(part, Function):
        return bool(part.decorator_list) or not _is_stub(part)
    if isinstance(part, ast.ClassDef):
        methods = [node for node in part.body if isinstance(node, Function)]
        if methods:
            return not all(map(_is_stub, methods))
        if part.bases or part.keywords or part.decorator_list:
            return True
        return not all(_says_nothing(node) for node in part.body)
    value = getattr(part, "value", None)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id != name  # `f = f(3)` is a result of f and no other f
    return not isinstance(value, ast.Constant)


def _is_stub(function: ast.AST) -> bool:
    body = getattr(function, "body", [])
    return all(_says_nothing(node) or _raises_not_implemented(node) for node in body)


def _says_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _raises_not_implemented(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Raise):
        return False
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _is_course(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [node.names[0].name]
    return modules[0].partition(".")[0] == "coursepkg"


def _effects(node: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    r"""Return whose values a statement changes, perhaps changes, and which functions it calls."""
    changes: set[str] = set()
    perhaps: set[str] = set()
    calls: set[str] = set()
    for part in _top_level(node):
        if isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            changes.add(_root(part))
        elif isinstance(part, ast.AugAssign):
            changes.add(_root(part.target))
        elif isinstance(part, ast.Call):
            function = part.func.attr if isinstance(part.func, ast.Attribute) else _root(part.func)
            if (function in CHANGING or function.endswith("_")) and part.args:
                changes.add(_root(part.args[0]))
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            call = part.value
            if isinstance(call.func, ast.Name):
                calls.add(call.func.id)
                perhaps |= {a.id for a in call.args if isinstance(a, ast.Name)}
            else:
                perhaps.add(_root(call.func))
        elif isinstance(part, ast.Call) and getattr(part.func, "attr", "") in FILLING:
            perhaps.add(_root(part.func))
    return changes - {""}, perhaps - {""}, calls


def _called(node: ast.stmt) -> set[str]:
    r"""Return the functions and classes that a statement calls by name when it is run."""
    called: set[str] = set()
    for part in _top_level(node):
        if isinstance(part, ast.Call):
            called.add(_root(part.func))
        elif isinstance(part, Function | ast.ClassDef):
            called |= {_root(decorator) for decorator in part.decorator_list}
            called |= {_root(base) for base in getattr(part, "bases", ())}
    return called - {""}


def _decorated(node: ast.stmt) -> set[str]:
    r"""Return the names on which the decorators of a definition may act."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    called = [d.func if isinstance(d, ast.Call) else d for d in decorators]
    parts = [part for decorator in decorators for part in ast.walk(decorator)]
    return {part.id for part in parts if isinstance(part, ast.Name) and part not in called}


def _decorating(node: ast.stmt) -> set[str]:
    r"""Return the names of the decorators of a definition, which may be objects that note it."""
    return {_root(decorator) for decorator in getattr(node, "decorator_list", ())} - {""}


def _given(node: ast.stmt) -> set[tuple[str, str]]:
    r"""Return the functions that a statement calls by name, each with a name that it is given."""
    calls = [part for part in _top_level(node) if isinstance(part, ast.Call)]
    return {
        (_root(call.func), _root(value))
        for call in calls
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
    }


def _parameters(node: ast.stmt) -> set[str]:
    r"""Return the parameters of all functions in a statement."""
    return {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)} - {"self"}


def _filled(node: ast.stmt) -> set[str]:
    r"""Return the names whose values the functions in a statement may change."""
    filled: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            filled.add(_root(part))
        elif isinstance(part, ast.AugAssign):
            filled.add(_root(part.target))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            if part.func.attr in FILLING:
                filled.add(_root(part.func))
            elif part.func.attr in CHANGING and part.args:
                filled.add(_root(part.args[0]))
    return filled


def _settings(node: ast.stmt) -> set[str]:
    r"""Return through which name a statement seems to set the state of a library, if it does."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return set()
    function = node.value.func
    last = function.attr if isinstance(function, ast.Attribute) else _root(function)
    return {_root(function)} - {""} if SETTING.match(last) else set()


def _quoted(node: ast.stmt, used: set[str]) -> set[str]:
    r"""Return the words in the texts of a statement that makes code of texts."""
    if not used & MAKING:
        return set()
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return {word for text in texts if isinstance(text, str) for word in re.findall(r"\w+", text)}


def _root(node: ast.AST) -> str:
    r"""Return the name at the beginning of `name.attribute[index]...`, or an empty text."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


class _Selection:
    r"""The statements that one definition needs, found name by name."""

    def __init__(self, statements: tuple[Statement, ...], name: str, definition: int) -> None:
        self.statements = statements
        self.name, self.definition = name, definition
        self.chosen: set[int] = set()
        self.needed: set[int] = set()
        self.events: dict[str, list[int]] = {}
        for i, statement in enumerate(statements):
            for bound in statement.names.bound:
                self.events.setdefault(bound, []).append(i)
        self.lacking: set[str] = set()
        self.covered: dict[tuple[str, int], int] = {}  # how far changes of a value are known
        self.stars = [i for i, s in enumerate(statements) if s.names.star]
        self.functions = {f for s in statements for f in s.names.functions}
        self.imported = {name for s in statements for name in s.names.imported}
        self.fills = self._all_fills()
        self.menders = {f for s in statements if s.names.mends for f in s.names.functions}

    def slice(self) -> Slice:
        r"""Follow all names from the definition on."""
        self._follow([(self.definition, True)])
        self._follow([(i, False) for i in range(self.definition) if self._sets_a_library(i)])
        if self.lacking:
            self._follow([(i, False) for i in range(len(self.statements)) if self._is_dynamic(i)])
        order = sorted(self.chosen)
        statements = self.statements
        needed = frozenset(n for n, i in enumerate(order) if i in self.needed)
        return Slice(statements[self.definition].place, tuple(statements[i] for i in order), needed)

    def _all_fills(self) -> dict[str, set[str]]:
        r"""Return what each function may change, itself or through others.

        What the answer does itself, or with its helpers, is no preparation of it.
        """
        fills: dict[str, set[str]] = {}
        reached: dict[str, set[str]] = {}
        for statement in self.statements:
            names = statement.names
            for function in names.functions - {self.name}:
                fills.setdefault(function, set()).update(names.fills)
                reached.setdefault(function, set()).update(names.later & self.functions)
        own = {self.name}
        waiting = {*self.statements[self.definition].names.later} & self.functions
        while waiting:
            own |= waiting
            waiting = set().union(*(reached.get(name, ()) for name in waiting)) - own
        fills = {function: names for function, names in fills.items() if function not in own}
        reached = {function: reached[function] for function in fills}
        for _ in range(DEEP):
            for function, others in reached.items():
                fills[function].update(*(fills.get(other, ()) for other in others))
        return fills

    def _sets_a_library(self, here: int) -> bool:
        return bool(self.statements[here].names.settings & self.imported - self.functions)

    def _is_dynamic(self, here: int) -> bool:
        r"""Say whether a statement makes names that cannot be seen."""
        names = self.statements[here].names
        makers = {f for s in self.statements if s.names.later & MAKING for f in s.names.functions}
        return bool(names.now & MAKING or names.calls & makers)

    def _follow(self, waiting: list[tuple[int, bool]]) -> None:
        r"""Choose statements and what they need; what only changes a value is not needed itself."""
        while waiting:
            here, needed = waiting.pop()
            if here in (self.needed if needed else self.chosen):
                continue
            self.chosen.add(here)
            if needed:
                self.needed.add(here)
            names = self.statements[here].names
            wanted = {(name, True) for name in names.now | names.changes}
            wanted |= {(name, False) for name in names.later}
            if here == self.definition:
                wanted.add((self.name, False))
            for name, now in sorted(wanted):
                base, touching = self._found(name, here, now)
                waiting += [(i, needed) for i in base]
                waiting += [(i, False) for i in touching]

    def _found(self, name: str, here: int, now: bool) -> tuple[list[int], list[int]]:
        r"""Return where a name gets its value, and where that value is changed."""
        bound = self.events.get(name, [])
        if not bound:
            if hasattr(builtins, name):
                return [], self.stars
            self.lacking.add(name)
            return self.stars, []
        sure = [i for i in bound if name in self.statements[i].names.sure]
        sure = [i for i in sure if name not in self.statements[i].names.stubs] or sure
        base = self._base(name, sure, here, now)
        start = -1 if base is None else base
        end = min((i for i in sure if i > start), default=len(self.statements))
        if now and start < here:
            end = min(end, here)
        between = range(start + 1, end)
        own = name == self.name and base == self.definition
        maybe = [] if own else [i for i in bound if i in between and i not in sure]
        covered = self.covered.get((name, start), start + 1)
        self.covered[name, start] = max(covered, end)
        touching = [i for i in range(covered, end) if self._touches(i, name)]
        return ([] if base is None else [base]) + maybe, touching

    def _base(self, name: str, sure: list[int], here: int, now: bool) -> int | None:
        r"""Return which binding counts for a statement."""
        before = [i for i in sure if i < here]
        if name == self.name and not (now and before):
            return self.definition
        if not sure:
            return None
        is_function = any(name in self.statements[i].names.functions for i in sure)
        if is_function and not now:
            return sure[-1]
        after = [i for i in sure if i >= here]
        return before[-1] if before else after[0]

    def _touches(self, here: int, name: str) -> bool:
        r"""Say whether a statement changes the value of a name."""
        names = self.statements[here].names
        if name in names.changes:
            return True
        calls = names.calls - {self.name}
        if any(name in self.fills.get(function, ()) for function in calls):
            return not any(SHOWING.match(function) for function in names.alone)
        if name in self.imported:
            return False
        if name in names.decorates:
            return True
        if name in self.functions:
            return False
        if any((function, name) in names.given for function in self.menders - {self.name}):
            return True
        if name not in names.perhaps:
            return False
        return not names.alone or any(
            function in self.functions and function != self.name and not SHOWING.match(function)
            for function in names.alone
        )
