r"""Starter and solution of an exercise, read off the source of its reference."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from typing import Any

__all__ = ["solution", "starter"]

Definition = ast.FunctionDef | ast.ClassDef


def starter(reference: Any, *others: Any, modules: tuple[str, ...] = ()) -> str:
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
    text, tree = _module(reference)
    stub = _stub(_definitions(tree)[reference.__name__], text.splitlines())
    plain = {pair for pair in imports if not pair[0]}
    return _join(plain | _imports(tree, _names(ast.parse(stub))), [stub])


def solution(*references: Any) -> str:
    r"""Return the source of functions or classes, with all that they need to run.

    That is: what they use from their own module, and imports for the rest.

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
        text, tree = _module(reference)
        nodes = _needed(tree, reference.__name__)
        for name in {node.name for node in nodes if isinstance(node, Definition)}:
            if homes.setdefault(name, reference.__module__) != reference.__module__:
                raise ValueError(
                    f"{name} stands in {homes[name]} and in {reference.__module__}; "
                    "rename one, as a solution holds both"
                )
        imports |= _imports(tree, set().union(*map(_names, nodes)))
        first, *rest = (_verbatim(node, text.splitlines()) for node in nodes)
        pieces += [f"# From {reference.__module__}\n{first}", *rest]
    return _join(imports, pieces)


def _module(reference: Any) -> tuple[str, ast.Module]:
    text = inspect.getsource(sys.modules[reference.__module__])
    return text, ast.parse(text)


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
