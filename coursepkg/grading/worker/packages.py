r"""Which packages an answer uses, and which it may use.

The first is found in its compiled code, without running it. Both keep honest people from short
cuts; whoever wants to can hide an import from them, and they are no defence against that.
"""

from __future__ import annotations

import contextlib
import dis
import importlib.util
import inspect
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["packages_used", "refusal"]

MEMBERS = (FunctionType, staticmethod, classmethod, property)

#: How packages are called in prose.
TITLES = {"numpy": "NumPy", "torch": "PyTorch"}


def refusal(package: str, forbid: Collection[str], allowed: Collection[str] | None) -> str:
    r"""Say why an answer may not use a package, or return an empty string if it may.

    Parameters
    ----------
    package : str
        Its top-level name.
    forbid : collection of str
        What an exercise is to be solved without.
    allowed : collection of str or None
        What may be used beside the standard library; None for all that is not forbidden.

    Examples
    --------
    >>> refusal("scipy", ["torch"], ["numpy"])
    'scipy may not be used here: NumPy and the standard library are what this exercise needs'
    >>> refusal("math", [], ["numpy"])
    ''
    """
    if package == "coursepkg":
        return "coursepkg may not be used here: an answer has to stand by itself"
    if package in forbid:
        return f"{package} may not be used here: this exercise is to be solved without"
    if allowed is None or package in allowed or package in sys.stdlib_module_names:
        return ""
    titles = [TITLES.get(name, name) for name in allowed]
    listed = (
        f"{', '.join(titles)} and the standard library are" if titles else "the standard library is"
    )
    return f"{package} may not be used here: {listed} what this exercise needs"


def packages_used(answer: Any, own: Collection[str] | None = None) -> set[str]:
    r"""Return the top-level packages that a function or class touches.

    Its methods and properties, the classes that it is made of, what it wraps, and the helpers
    that it calls from modules of the learner's own are looked at too.

    Parameters
    ----------
    answer : function or class
    own : collection of str, optional
        Names of further modules that the learner wrote; by default, those that are not installed.

    Examples
    --------
    >>> import math
    >>> def area(r):
    ...     return math.pi * r**2
    >>> packages_used(area)
    {'math'}
    """
    is_own = cache(_is_in_no_package) if own is None else own.__contains__
    packages: set[str] = set()
    seen: dict[int, Any] = {}  # the values too, so that no other one gets the same id
    waiting = [answer]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        waiting += _parts(value)
        if isinstance(value, FunctionType):
            imported = _names(value.__code__, "IMPORT_NAME")
            packages |= {_top(name) for name in imported if not is_own(name)}
        for found in _reached(value):
            if _module(found) != value.__module__ and not is_own(_module(found)):
                packages.add(_top(_module(found)))
            elif isinstance(found, FunctionType | type | ModuleType):
                waiting.append(found)
    return packages - {"", "builtins"}


def _is_in_no_package(module: str) -> bool:
    r"""Say whether a module is neither Python's nor the course's, and not installed either."""
    top = _top(module)
    if top == "coursepkg" or top in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # this is no name of a file, such as `__main__`
        return top == "__main__"
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    folders = {part for place in places if place for part in Path(place).parts}
    return bool(folders) and not folders & {"site-packages", "dist-packages"}


def _parts(value: Any) -> list[Any]:
    r"""Return what a class, a property, a method, a module or a wrapper consists of."""
    if isinstance(value, type):
        return [member for member in vars(value).values() if isinstance(member, MEMBERS)]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, staticmethod | classmethod | MethodType):
        return [value.__func__]
    if isinstance(value, ModuleType):
        return [
            member
            for member in vars(value).values()
            if isinstance(member, FunctionType | type) and member.__module__ == value.__name__
        ]
    return [inspect.getattr_static(value, "__wrapped__", None)]


def _reached(value: Any) -> Iterator[Any]:
    r"""Yield the bases of a class, or what a function reads from its module and those around it."""
    if isinstance(value, type):
        yield from value.__bases__
    if isinstance(value, FunctionType):
        yield from _read_by(value)


def _read_by(function: FunctionType) -> Iterator[Any]:
    for name in _names(function.__code__, "LOAD_GLOBAL", "LOAD_NAME"):
        yield function.__globals__.get(name)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # the cell is still empty
            yield cell.cell_contents


def _module(value: Any) -> str:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return str(module or "")


def _top(module: str) -> str:
    return module.partition(".")[0]


def _names(code: CodeType, *operations: str) -> Iterator[str]:
    r"""Yield the names on which code, and the code inside it, does these operations."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in operations:
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, *operations)
