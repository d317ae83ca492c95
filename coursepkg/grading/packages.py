r"""Which packages does an answer use? Found in its compiled code, without running it."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["packages_used"]


def packages_used(answer: Any) -> set[str]:
    r"""Return the top-level packages that a function or class touches.

    Its methods and the helpers that it calls from its own module are looked at too. This
    keeps honest people from short cuts; whoever wants to can hide an import from it.

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
        value = inspect.unwrap(waiting.pop())
        if id(value) in seen:
            continue
        seen.add(id(value))
        home = getattr(value, "__module__", None)
        if isinstance(value, type):
            waiting += [m for m in vars(value).values() if isinstance(m, FunctionType)]
        elif isinstance(value, FunctionType):
            for name, imported in _names(value.__code__):
                found = name if imported else value.__globals__.get(name)
                if _own(found, home):
                    waiting.append(found)
                else:
                    packages.add(_package(found))
    return packages - {"", "builtins"}


def _own(value: Any, home: str | None) -> bool:
    return isinstance(value, FunctionType | type) and value.__module__ == home


def _package(value: Any) -> str:
    if isinstance(value, str):
        return value.partition(".")[0]
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return str(module or "").partition(".")[0]


def _names(code: CodeType) -> Iterator[tuple[str, bool]]:
    r"""Yield the global names that code reads (False) and the modules it imports (True)."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"):
            yield str(instruction.argval), instruction.opname == "IMPORT_NAME"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
