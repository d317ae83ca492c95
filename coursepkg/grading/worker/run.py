r"""Run an answer on one set of inputs, and bring back what came of it.

This is the only place where a learner's code runs. It knows no expected value and imports
nothing else of the course, so that it can run apart from those who know the answers.
"""

from __future__ import annotations

import contextlib
import copy
import io
import signal
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Driver", "Failure", "OutOfTime", "Outcome", "call", "run", "time_limit"]

#: Runs an answer on inputs and yields named results, one at a time.
Driver = Callable[..., Iterator[tuple[str, Any]]]

LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
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


def run(answer: Any, inputs: Mapping[str, Any], driver: Driver, seconds: float) -> Outcome:
    r"""Run `answer` on a copy of `inputs`; whatever it does is part of the outcome.

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

    Raises
    ------
    KeyboardInterrupt
        If the person at the keyboard interrupts. Nothing else leaves.
    """
    given = copy.deepcopy(dict(inputs))
    outputs: dict[str, Any] = {}
    failure = None
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("default")
        try:
            with time_limit(seconds):
                for name, value in driver(answer, **given):
                    outputs[name] = value.copy() if isinstance(value, np.ndarray) else value
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = _failure(error, driver)
    printed.writelines(f"{w.category.__name__}: {w.message}\n" for w in warned)
    changed = tuple(name for name in inputs if _mark(given[name]) != _mark(inputs[name]))
    return Outcome(outputs, failure, changed, printed.getvalue())


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    r"""Raise `OutOfTime` in the block after so many seconds.

    The alarm repeats, because a bare `except:` may swallow the first. It needs a Unix system
    and the main thread; elsewhere there is no limit. Compiled code notices the alarm only when
    it returns, and a recursion as deep as Python allows may swallow it. An alarm that was
    already set goes on afterwards.
    """
    here = threading.current_thread() is threading.main_thread()
    if not (here and hasattr(signal, "setitimer")):
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise OutOfTime(f"did not finish within {seconds:g} s")

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    before, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if before:
            left = max(before - (time.monotonic() - start), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, left, interval)


def _failure(error: BaseException, driver: Driver) -> Failure:
    kinds = tuple(kind.__name__ for kind in type(error).__mro__)
    summary = traceback.TracebackException(type(error), error, None, compact=True)
    summary.__notes__ = []  # they would come after the message
    *_, printed = summary.format_exception_only()  # survives a broken __str__
    return Failure(kinds, printed.strip().partition(": ")[2], _learners_line(error, driver))


def _learners_line(error: BaseException, driver: Driver) -> str:
    r"""Return the innermost line that is neither ours nor a library's."""
    ours = getattr(driver, "__code__", None)
    frames = [
        summary
        for summary, (frame, _) in zip(
            traceback.extract_tb(error.__traceback__),
            traceback.walk_tb(error.__traceback__),
            strict=True,
        )
        if frame.f_code is not ours
        and summary.filename != __file__
        and not summary.filename.startswith((*LIBRARIES, "<frozen", "<__array_function__"))
    ]
    if not frames:
        return ""
    last = frames[-1]
    return f"line {last.lineno}, in {last.name}" + (f": {last.line}" if last.line else "")


def _mark(value: Any) -> Any:
    r"""Return something that differs when an input has been changed in place."""
    if not hasattr(value, "__array__"):
        return repr(value)
    array = np.asarray(value)
    return array.shape, array.dtype, array.tobytes()
