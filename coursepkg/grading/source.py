r"""Starter and solution of an exercise, read off the source of its reference."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import sys
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

__all__ = ["filled", "packages_imported", "solution", "starter"]

Definition = ast.FunctionDef | ast.ClassDef
Settings = Mapping[str, Any]


def starter(
    reference: Any,
    *others: Any,
    modules: tuple[str, ...] = (),
    settings: Settings | None = None,
) -> str:
    r"""Return what a learner begins with: signature, docstring, `raise NotImplementedError`.

    Annotations stay if they need no import; otherwise the docstring has to tell the types. A
    class keeps its public methods and `__init__`, each a starter of its own.

    Parameters
    ----------
    reference : function or class
        Defined in a module of its own, with a docstring.
    *others : function or class
        What else a solution is made of.
    modules : tuple of str
        What is imported in any case.
    settings : mapping of str to object, optional
        New defaults of parameters of `reference`, whose docstring is then a template that
        they fill.

    Returns
    -------
    str
        Python source, with the modules (`import numpy as np`) that a solution uses, and the
        names that stand in the starter itself, such as that of a base class.

    Examples
    --------
    >>> from coursepkg.convolution.arithmetic import span
    >>> print(starter(span).splitlines()[0])
    def span(kernel: int, dilation: int = 1) -> int:
    """
    imports = {("", module) for module in modules}
    for source in (reference, *others):
        _, tree = _module(source)
        imports |= _imports(tree, set().union(*map(_names, _needed(tree, source.__name__))))
    text, tree = _module(reference, reference, settings)
    stub = _stub(_definitions(tree)[reference.__name__], text.splitlines())
    plain = {pair for pair in imports if not pair[0]}
    return _join(plain | _imports(tree, _names(ast.parse(stub))), [stub])


def solution(*references: Any, settings: Settings | None = None) -> str:
    r"""Return the source of functions or classes, with all that they need to run.

    That is: what they use from their own module, and imports for the rest. With settings, the
    first has them as its defaults and in its docstring, as in `starter`.

    Raises
    ------
    ValueError
        If two of their modules define something of the same name.

    Examples
    --------
    >>> from coursepkg.convolution.arithmetic import span
    >>> print(solution(span).splitlines()[0])
    from coursepkg.validation import integer
    """
    imports: set[tuple[str, str]] = set()
    pieces: list[str] = []
    homes: dict[str, str] = {}
    for reference in references:
        text, tree = _module(reference, references[0], settings)
        nodes = _needed(tree, reference.__name__)
        for name in {node.name for node in nodes if isinstance(node, Definition)}:
            if homes.setdefault(name, reference.__module__) != reference.__module__:
                raise ValueError(
                    f"{name} stands in {homes[name]} and in {reference.__module__}; "
                    "rename one, as a solution holds both"
                )
        imports |= _imports(tree, set().union(*map(_names, nodes)))
        first, *rest = (_verbatim(node, text.splitlines()) for node in nodes)
        home = sys.modules[reference.__module__]
        above = f"# From {home.__name__}\n" if home.__spec__ else ""  # not an exercise's own file
        pieces += [above + first, *rest]
    return _join(imports, pieces)


def filled(template: str, settings: Settings) -> str:
    r"""Return a text with settings in the place of `{{ name }}`, and the rest of Jinja2 done.

    Raises
    ------
    ValueError
        If it is no template, or names something that is not among the settings.

    Examples
    --------
    >>> filled("Take the {{ mode }} of {{ size }} pixels.", {"mode": "least", "size": 3})
    'Take the least of 3 pixels.'
    """
    from jinja2 import Environment, StrictUndefined, TemplateError

    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    try:
        return environment.from_string(template).render(settings)
    except TemplateError as error:
        known = ", ".join(settings)
        raise ValueError(f"the text cannot be filled: {error}; the settings are {known}") from error


def packages_imported(source: str) -> set[str]:
    r"""Return the top-level packages that a piece of source imports anywhere.

    Examples
    --------
    >>> sorted(packages_imported("import math, numpy.linalg\nfrom torch.nn import ReLU"))
    ['math', 'numpy', 'torch']
    """
    nodes = list(ast.walk(ast.parse(source)))
    modules = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
    modules += [n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


def _module(
    reference: Any, owner: Any = None, settings: Settings | None = None
) -> tuple[str, ast.Module]:
    r"""Return the module of a reference; in its text, the owner has the settings as defaults."""
    text = inspect.getsource(sys.modules[reference.__module__])
    if settings and owner.__module__ == reference.__module__:
        text = _with_settings(text, owner.__name__, settings)
    return text, ast.parse(text)


def _with_settings(text: str, name: str, settings: Settings) -> str:
    r"""Return the source of a module in which the definition of `name` has these defaults."""
    node = _definitions(ast.parse(text))[name]
    defaults = _defaults(node, name)
    if unknown := sorted(set(settings) - set(defaults)):
        raise ValueError(f"{name} has no parameter with a default called {' or '.join(unknown)}")
    edits = {defaults[p]: _literal(p, value) for p, value in settings.items()}
    for docstring in _docstrings(node):
        edits[docstring] = filled(ast.get_source_segment(text, docstring) or "", settings)
    return _edited(text, edits)


def _edited(text: str, edits: Mapping[ast.expr, str]) -> str:
    r"""Put other text in the place of expressions; `ast` counts their columns in bytes."""
    source = text.encode()
    starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]
    for node in sorted(edits, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        source = source[:begin] + edits[node].encode() + source[end:]
    return source.decode()


def _defaults(node: Any, name: str) -> dict[str, ast.expr]:
    r"""Return the defaults of a function, or of what makes a class, by parameter."""
    if isinstance(node, ast.ClassDef):
        methods = (m for m in node.body if isinstance(m, ast.FunctionDef))
        node = next((m for m in methods if m.name == "__init__"), None)
    if not isinstance(node, ast.FunctionDef):
        raise ValueError(f"{name} has no __init__ of its own, so no defaults to set")
    positional = [*node.args.posonlyargs, *node.args.args]
    first = len(positional) - len(node.args.defaults)
    pairs = [
        *zip(positional[first:], node.args.defaults, strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return {argument.arg: default for argument, default in pairs if default is not None}


def _docstrings(node: Any) -> list[ast.expr]:
    r"""Return the docstrings of a definition and of what is defined in it."""
    inner = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    heads = [n.body[0] for n in inner if ast.get_docstring(n)]
    return [head.value for head in heads if isinstance(head, ast.Expr)]


def _literal(parameter: str, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise ValueError(
            f"{parameter}={text:.80} cannot be written as a default; "
            "use numbers, text, None, or tuples of these"
        )
    return text


def _definitions(tree: ast.Module) -> dict[str, Any]:
    r"""Return what a module defines at its top level, by name, in its order."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= dict.fromkeys(set().union(*map(_names, targets)), node)
    return found


def _needed(tree: ast.Module, name: str) -> list[ast.stmt]:
    r"""Return the definition of `name` and all of the module that it uses, in its order."""
    definitions = _definitions(tree)
    if name not in definitions:
        raise ValueError(f"{name} is not defined at the top level of its module; move it there")
    needed, new = set(), {name}
    while new:
        needed |= new
        used = set().union(*(_names(definitions[n]) for n in new))
        new = (used & set(definitions)) - needed
    return list(dict.fromkeys(node for n, node in definitions.items() if n in needed))


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _imports(tree: ast.Module, used: set[str]) -> set[tuple[str, str]]:
    r"""Return the imports of used names as (module, name); "" for `import name`."""
    return {
        (getattr(node, "module", ""), ast.unparse(alias))
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) in used
    }


def _stub(node: Definition, lines: list[str]) -> str:
    header, docstring = _header(node, lines), _verbatim(node.body[0], lines)
    if isinstance(node, ast.FunctionDef):
        indent = " " * node.body[0].col_offset
        return f"{header}\n{docstring}\n{indent}raise NotImplementedError"
    methods = [
        _stub(method, lines)
        for method in node.body
        if isinstance(method, ast.FunctionDef)
        and (method.name == "__init__" or not method.name.startswith("_"))
    ]
    return "\n\n".join([f"{header}\n{docstring}", *methods])


def _header(node: Definition, lines: list[str]) -> str:
    r"""Return the lines above the docstring, without annotations that need an import."""
    if isinstance(node, ast.FunctionDef):
        arguments = [n for n in ast.walk(node.args) if isinstance(n, ast.arg)]
        annotations = [a for a in (node.returns, *(arg.annotation for arg in arguments)) if a]
        if not set().union(*map(_names, annotations)) <= set(dir(builtins)):
            for argument in arguments:
                argument.annotation = None
            above = lines[_first(node) - 1 : node.lineno - 1]  # decorators
            return "\n".join(
                [*above, f"{' ' * node.col_offset}def {node.name}({ast.unparse(node.args)}):"]
            )
    return "\n".join(lines[_first(node) - 1 : node.body[0].lineno - 1])


def _verbatim(node: ast.stmt, lines: list[str]) -> str:
    return "\n".join(lines[_first(node) - 1 : node.end_lineno])


def _first(node: ast.stmt) -> int:
    r"""Return the first line of a definition, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _join(imports: set[tuple[str, str]], pieces: list[str]) -> str:
    r"""Put pieces of source under their imports, one line for each module, the course's last."""
    lines = [f"import {name}" for module, name in imports if not module]
    modules: dict[str, list[str]] = {}
    for module, name in sorted(imports):
        if module:
            modules.setdefault(module, []).append(name)
    lines += [f"from {module} import {', '.join(names)}" for module, names in modules.items()]
    lines.sort(key=lambda line: (" coursepkg" in line, line.startswith("from"), line))
    head = ["\n".join(lines)] if lines else []
    return "\n\n\n".join([*head, *pieces]) + "\n"
