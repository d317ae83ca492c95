r"""What stands for a package that is not allowed or not there, so that names of it can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["Absent"]


class Absent:
    r"""Stand for a module, or something in it, that could not be imported.

    It may be written into annotations: its attributes and what is made of it by `|` and `[]` are
    absent, too. All other use raises the error that the import has raised.

    Parameters
    ----------
    error : ImportError
        Its `name` says which package it is about.

    Examples
    --------
    >>> plt = Absent(ImportError("matplotlib may not be used here", name="matplotlib"))
    >>> def plot(axes: plt.Axes | None = None): ...
    >>> plt.plot([1, 2])
    Traceback (most recent call last):
    ImportError: matplotlib may not be used here
    """

    def __init__(self, error: ImportError) -> None:
        self.__dict__["_error"] = error
        self.__dict__["__module__"] = error.name or ""  # for those who ask where it comes from

    def __getattr__(self, name: str) -> Absent:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self

    def __or__(self, other: object) -> Absent:
        return self

    __ror__ = __getitem__ = __or__

    def __repr__(self) -> str:
        return f"<{self._error}>"


def _raising(name: str) -> Callable[..., NoReturn]:
    def use(self: Absent, *values: Any, **options: Any) -> NoReturn:
        error: Any = self.__dict__["_error"]
        raise type(error)(str(error), name=error.name)

    use.__name__ = name
    return use


BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "xor")
OTHERS = (
    *("call", "iter", "next", "len", "bool", "contains", "setitem", "delitem", "setattr"),
    *("neg", "pos", "abs", "invert", "int", "float", "index", "lt", "le", "gt", "ge"),
    *("enter", "exit", "mro_entries", "array", "instancecheck"),
)
for _name in (*BINARY, *(f"r{name}" for name in BINARY), *OTHERS):
    setattr(Absent, f"__{_name}__", _raising(f"__{_name}__"))
