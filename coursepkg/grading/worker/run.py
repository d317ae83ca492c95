r"""Run an answer on one set of inputs, and bring back what came of it.

This is the only place where a learner's code runs. It knows no expected value and imports
nothing else of the course, so that it can run apart from those who know the answers.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import getstate, setstate
from time import monotonic, process_time
from typing import Any, Literal

import numpy as np
from numpy import get_printoptions, geterr, set_printoptions, seterr
from numpy.random import get_state, set_state

__all__ = [
    "Clock",
    "Driver",
    "Failure",
    "OutOfTime",
    "Outcome",
    "call",
    "captured",
    "failure_of",
    "name_of",
    "own_array",
    "run",
    "settings",
    "time_limit",
    "without_addresses",
]

#: Runs an answer on inputs and yields named results, one at a time.
Driver = Callable[..., Iterator[tuple[str, Any]]]

#: What a time limit counts: what a clock on the wall shows, or the work of this process.
Clock = Literal["wall", "processor"]

#: Seconds between two rings of the alarm.
SLACK = 0.05

#: At most so many characters of what an answer prints are kept, and of what an exception says.
PRINTED, MESSAGE = 100_000, 2_000

#: How the names of files begin that are not the learner's.
NOT_THEIRS = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
    str(Path(np.__file__).parents[1]),
    "<frozen",
    "<__array_function__",
    "<driver",
)


class OutOfTime(BaseException):
    r"""The answer took too long. Not an `Exception`, so that `except Exception` lets it pass."""


@dataclass(frozen=True)
class Failure:
    r"""An exception that left the answer.

    Attributes
    ----------
    kinds : tuple of str
        Names of the exception's class and its bases, its own first.
    message : str
        What the exception says.
    line : str
        Where in the learner's code, or empty if it never got there.
    """

    kinds: tuple[str, ...]
    message: str
    line: str


@dataclass(frozen=True)
class Outcome:
    r"""What came of one run.

    Attributes
    ----------
    outputs : dict of str to object
        The results up to a failure, by name.
    failure : Failure or None
    changed : tuple of str
        Inputs that were changed in place.
    printed : str
        What the answer wrote to stdout and stderr, then its warnings.
    """

    outputs: dict[str, Any]
    failure: Failure | None
    changed: tuple[str, ...]
    printed: str


def call(Answer: Callable[..., Any], **inputs: Any) -> Iterator[tuple[str, Any]]:
    r"""Drive a plain function: one call, one result."""
    yield "result", Answer(**inputs)


def own_array(value: Any) -> Any:
    r"""Return a copy of an array, which may change later, and anything else as it is."""
    return value.copy() if isinstance(value, np.ndarray) else value


def run(
    answer: Any,
    inputs: Mapping[str, Any],
    driver: Driver,
    seconds: float,
    clock: Clock = "wall",
    keep: Callable[[Any], Any] = own_array,
    results: int | None = None,
) -> Outcome:
    r"""Run `answer` on a copy of `inputs`; whatever it does is part of the outcome.

    Settings that an answer changes for all, such as the state of random numbers or the way in
    which NumPy prints, are put back.

    Parameters
    ----------
    answer : callable
        The learner's function or class.
    inputs : mapping of str to object
        Arrays, numbers, strings, None, or tuples of these.
    driver : callable
        Called as `driver(answer, **inputs)`.
    seconds : float
        Time limit, where `time_limit` can set one.
    clock : "wall" or "processor"
        What the limit counts. Graded work is measured by `"processor"`, so that a busy machine
        costs nobody a point; nobody sits at the keyboard then.
    keep : callable
        Makes of each result, as soon as it is there, what stands in the outcome.
    results : int, optional
        How many results are wanted, the first ones. What comes after these is not run.

    Raises
    ------
    KeyboardInterrupt
        If the person at the keyboard interrupts. Nothing else leaves.
    """
    given = deepcopy(dict(inputs))
    outputs: dict[str, Any] = {}

    def work() -> None:
        start = process_time()
        for name, value in islice(driver(answer, **given), results):
            kept = keep(value)
            if clock == "processor" and process_time() - start > seconds + SLACK:
                raise OutOfTime(f"stopped after {seconds:g} s")  # the alarm was swallowed
            outputs[name] = kept

    undo = settings()
    try:
        failure, printed = captured(work, seconds, clock, driver)
    finally:
        for put_back in undo:
            put_back()
    changed = tuple(name for name in inputs if not _same(given[name], inputs[name]))
    return Outcome(outputs, failure, changed, printed)


def captured(
    work: Callable[[], object], seconds: float, clock: Clock = "wall", driver: object = None
) -> tuple[Failure | None, str]:
    r"""Do some work that runs a learner's code; return how it failed and what it printed.

    Raises
    ------
    KeyboardInterrupt
        As in `run`.
    """
    failure = None
    printed = _Printed()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("default")
        try:
            with time_limit(seconds, clock):
                try:
                    work()
                except (OutOfTime, KeyboardInterrupt):
                    raise
                except BaseException as error:  # what it says is said within the limit, too
                    failure = failure_of(error, driver)
                printed.write("".join(map(_told, warned)))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and clock == "wall":
                raise
            failure = failure_of(error, driver)
    return failure, without_addresses(printed.getvalue())


@contextlib.contextmanager
def time_limit(seconds: float, clock: Clock = "wall") -> Iterator[None]:
    r"""Raise `OutOfTime` in the block after so many seconds.

    The alarm repeats, because a bare `except:` may swallow the first. It needs a Unix system
    and the main thread; elsewhere there is no limit. Compiled code notices the alarm only when
    it returns, and a recursion as deep as Python allows may swallow it. An alarm that was
    already set goes on afterwards.

    Parameters
    ----------
    seconds : float
    clock : "wall" or "processor"
        The work of a process is that of all its threads; a process that sleeps does none.
    """
    here = threading.current_thread() is threading.main_thread()
    if not (here and hasattr(signal, "setitimer")):
        yield
        return
    timer, number, now = _CLOCKS[clock]
    over = False

    def stop(signum: int, frame: object) -> None:
        if not over:
            raise OutOfTime(f"stopped after {seconds:g} s")

    start = now()
    handler = signal.signal(number, stop)
    before, interval = signal.setitimer(timer, seconds, SLACK)
    try:
        try:
            yield
        finally:
            over = True
    finally:  # reached even if the alarm rings on the line above; it does not ring twice there
        over = True
        signal.setitimer(timer, 0)
        signal.signal(number, handler)
        if before:
            left = max(before - (now() - start), 1e-3)
            signal.setitimer(timer, left, interval)


_CLOCKS: dict[Clock, tuple[int, int, Callable[[], float]]] = {}
if hasattr(signal, "setitimer"):
    _CLOCKS["wall"] = signal.ITIMER_REAL, signal.SIGALRM, monotonic
    _CLOCKS["processor"] = signal.ITIMER_PROF, signal.SIGPROF, process_time


def failure_of(error: BaseException, driver: object = None) -> Failure:
    r"""Tell of an exception, in no line of the driver; survives those that cannot be printed."""
    kinds = tuple(name_of(kind) for kind in type.mro(type(error))[:20])
    try:
        message = str(error)
    except OutOfTime:
        raise
    except BaseException:
        message = "<its message cannot be printed>"
    message = without_addresses(message.strip()[:MESSAGE])
    return Failure(kinds, message, _learners_line(error, driver))


def name_of(kind: type) -> str:
    r"""Return the name of a class, whatever its metaclass says.

    Examples
    --------
    >>> name_of(ValueError)
    'ValueError'
    """
    name: str = type.__dict__["__name__"].__get__(kind)
    return name[:80]


def without_addresses(text: str) -> str:
    r"""Return text without the addresses of objects, which differ from run to run.

    Examples
    --------
    >>> without_addresses("<Layer object at 0x7f2c1c0d3a90>")
    '<Layer object>'
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _learners_line(error: BaseException, driver: object) -> str:
    r"""Return the innermost line that is neither ours nor a library's."""
    ours = getattr(driver, "__code__", None)
    walk = traceback.walk_tb(error.__traceback__)
    frames = [(frame, line) for frame, line in walk if frame.f_code is not ours]
    try:
        summaries = traceback.StackSummary.extract(iter(frames))
    except Exception:  # a learner's namespace may have an odd `__loader__`
        return ""
    theirs = [s for s in summaries if not s.filename.startswith(NOT_THEIRS)]
    if not theirs:
        return ""
    last = theirs[-1]
    cell = re.search(r"cell \d+$", last.filename)
    place = f"{cell[0]}, line {last.lineno}" if cell else f"line {last.lineno}"
    return f"{place}, in {last.name}" + (f": {last.line:.200}" if last.line else "")


class _Printed(io.StringIO):
    r"""Keeps what is written, up to a limit, and cannot be closed."""

    room = PRINTED

    def write(self, text: str) -> int:
        if self.room >= 0:
            more = "\n... and more\n" if len(text) > self.room else ""
            super().write(text[: self.room] + more)
            self.room -= len(text)
        return len(text)

    def close(self) -> None:
        r"""Stay open."""


def _told(warned: warnings.WarningMessage) -> str:
    return f"{warned.category.__name__}: {warned.message}\n"


def settings() -> list[Callable[[], object]]:
    r"""Return what puts back, when called, the settings that an answer may change for all."""
    undo: list[Callable[[], object]] = [
        partial(sys.setrecursionlimit, sys.getrecursionlimit()),
        partial(setstate, getstate()),
        partial(set_state, get_state()),  # noqa: NPY002
        partial(seterr, **geterr()),
        partial(set_printoptions, **get_printoptions()),
    ]
    torch = sys.modules.get("torch")
    if torch is not None:
        undo += [
            partial(torch.set_default_dtype, torch.get_default_dtype()),
            partial(torch.set_grad_enabled, torch.is_grad_enabled()),
            partial(torch.set_rng_state, torch.get_rng_state()),
            partial(torch.set_num_threads, torch.get_num_threads()),
        ]
    return undo


def _same(given: Any, before: Any) -> bool:
    r"""Say whether an input is still what it was."""
    try:
        return bool(_mark(given) == _mark(before))
    except Exception:
        return False


def _mark(value: Any) -> Any:
    r"""Return something that differs when an input has been changed in place."""
    if isinstance(value, tuple | list):
        return type(value), [_mark(item) for item in value]
    if not hasattr(value, "__array__"):
        return repr(value)
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    return array.shape, array.dtype, array.tobytes()
