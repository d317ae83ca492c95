r"""Which packages does an answer use? Found in its compiled code, without running it."""

from __future__ import annotations

import contextlib
import dis
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["packages_used"]

MEMBERS = (FunctionType, staticmethod, classmethod, property)


def packages_used(answer: Any) -> set[str]:
    r"""Return the top-level packages that a function or class touches.

    Its methods and properties, what it wraps, and the helpers that it calls from its own module
    are looked at too. This keeps honest people from short cuts; whoever wants to can hide an
    import from it.

    Parameters
    ----------
    answer : function or class

    Examples
    --------
    >>> import math
    >>> def area(r):
    ...     return math.pi * r**2
    >>> packages_used(area)
    {'math'}
    """
    packages: set[str] = set()
    seen: set[int] = set()
    waiting = [answer]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        waiting += _parts(value)
        if isinstance(value, FunctionType):
            packages |= {_top(name) for name in _names(value.__code__, "IMPORT_NAME")}
            for found in _reached(value):
                if _own(found, value.__module__):
                    waiting.append(found)
                else:
                    packages.add(_package(found))
    return packages - {"", "builtins"}


def _parts(value: Any) -> list[Any]:
    r"""Return what a class, a property, a method or a wrapper consists of."""
    if isinstance(value, type):
        return [member for member in vars(value).values() if isinstance(member, MEMBERS)]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, staticmethod | classmethod | MethodType):
        return [value.__func__]
    return [inspect.getattr_static(value, "__wrapped__", None)]


def _reached(function: FunctionType) -> Iterator[Any]:
    r"""Yield the values that a function reads from its module and from the functions around it."""
    for name in _names(function.__code__, "LOAD_GLOBAL", "LOAD_NAME"):
        yield function.__globals__.get(name)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # the cell is still empty
            yield cell.cell_contents


def _own(value: Any, home: str | None) -> bool:
    return isinstance(value, FunctionType | type) and value.__module__ == home


def _package(value: Any) -> str:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return _top(str(module or ""))


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
