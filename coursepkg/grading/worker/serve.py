r"""One submission, served: its files come in, then the inputs of case after case.

`serve` answers three requests, one reply each, with the `number` of its request:

- `load` (`files`: bytes by name, `late`: names of those that took too long before) reads what was
  handed in, and returns the names that are `late`, and the `problems` of files, by name;
- `open` (`name`, `kind`, `driver`, `forbid`, `allowed`, `limits`) makes the answer to one exercise,
  by running the statements that it needs;
- `run` (`inputs`, `results`: how many are wanted, None for all) runs it on one case.

What an answer may import is controlled here, too. That keeps people from short cuts; it is no wall
against those who look for a way around it, which is what the confinement of the process is for.
"""

from __future__ import annotations

import builtins
import faulthandler
import importlib
import inspect
import linecache
import math
import random
import re
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from time import process_time
from types import ModuleType
from typing import Any

import numpy as np

from . import wire
from .absent import Absent
from .cells import Page, Slice, Statement, read_page
from .packages import packages_used, refusal
from .run import Driver, Failure, OutOfTime, call, captured, failure_of, run, settings

__all__ = ["Session", "serve"]

#: Processor seconds to take all files apart, the small ones first.
READING = 5.0
#: Processor seconds of what may be left to try another definition.
LEAST = 0.01

#: At most so many definitions of one name are tried, the last first.
TRIED = 5


def serve(sock: socket.socket) -> None:
    r"""Answer requests until the other side is gone.

    Compiled code does not notice a time limit. Where the platform has limits of the processor
    time, the process is ended by SIGXCPU then, after it has written to file 2 where it was.

    Parameters
    ----------
    sock : socket
        A stream; its other end is trusted.
    """
    faulthandler.enable(all_threads=False)
    if hasattr(signal, "SIGXCPU"):
        faulthandler.register(signal.SIGXCPU, all_threads=False, chain=True)
    session = Session(deadly=True)
    _guard_importlib(session)
    while True:
        try:
            request = wire.read(sock)
        except EOFError:
            return
        reply = session.answer(request) | {"number": request["number"]}
        wire.write(sock, reply, limit=session.limit)


class Session:
    r"""What a process knows of the submission that it serves.

    Parameters
    ----------
    deadly : bool
        Whether the process is to end if compiled code takes too long.
    """

    def __init__(self, deadly: bool = False) -> None:
        self.deadly = deadly
        self.pages: dict[str, Page] = {}
        self.work: _Work | None = None
        self.undo = settings()
        self.limit = wire.BODY

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        r"""Do what a request asks for, and return the reply."""
        match request["do"]:
            case "load":
                return self.load(request["files"], request.get("late", ()))
            case "open":
                return self.open(request)
            case "run":
                return self.run(request["inputs"], request.get("results"))
            case other:
                raise ValueError(f"there is no request {other!r}")

    def load(self, files: Mapping[str, bytes], late: Sequence[str] = ()) -> dict[str, Any]:
        r"""Read the files that were handed in, except for those that are known to take too long.

        All share one limit. The smallest are read first, so that a file that uses it up leaves
        them alone.
        """
        if self.deadly:
            _limit_processor(READING)
        until = process_time() + READING
        pages: dict[str, Page] = {}
        slow = {*late}
        for name in sorted(filter(_counts, files), key=lambda name: (len(files[name]), name)):
            if name not in slow:
                try:
                    pages[name] = _page(name, files[name], until)
                except TimeoutError:
                    slow.add(name)
        unread = {name: _unread(name, "it takes too long") for name in slow}
        self.pages = dict(sorted((pages | unread).items()))
        for page in self.pages.values():
            for file, text in page.texts.items():
                lines = text.splitlines(keepends=True)
                linecache.cache[file] = (len(text), None, lines, file)
        problems = {name: page.problem for name, page in self.pages.items() if page.problem}
        return {"late": tuple(sorted(slow)), "problems": problems}

    def open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        r"""Make the answer to an exercise from the definition that counts: the last one.

        One that is not written counts only if there is no other. Where the last one fails, an
        earlier one may still do. All that are tried share the time of one case.
        """
        self.limit = int(request["limits"]["output"]) << 20
        for put_back in self.undo:  # what the exercise before has set
            put_back()
        name = request["name"]
        pages = _by_rank(name, self.pages)
        seconds = request["limits"]["seconds"]
        self._begin_case(seconds)
        until = process_time() + seconds
        slices = ((part, file) for file, page in pages.items() for part in page.slices(name))
        works: list[_Work] = []
        for part, file in islice(slices, TRIED):
            if works:
                seconds = until - process_time()
            if seconds < LEAST:
                break
            _seed()
            self.work = _Work(part, file, self.pages, request, seconds)
            if self.work.status == "ready":
                return self.work.reply()
            works.append(self.work)
        self.work = None
        return works[0].reply() if works else _nothing(name, list(pages.values()))

    def run(self, inputs: Mapping[str, Any], results: int | None = None) -> dict[str, Any]:
        r"""Run the answer that was opened on one case."""
        if self.work is None:
            raise ValueError("open an exercise first")
        self._begin_case(self.work.limits["seconds"])
        return self.work.run(inputs, results)

    def _begin_case(self, seconds: float) -> None:
        if self.deadly:
            _limit_processor(seconds)
        _seed()


def _counts(name: str) -> bool:
    r"""Say whether a file may hold an answer: a copy of the course holds none of one's own."""
    return "coursepkg" not in name.split("/")


def _page(name: str, data: bytes, until: float) -> Page:
    try:
        return read_page(name, data, until)
    except TimeoutError:
        raise
    except Exception as error:
        return _unread(name, type(error).__name__)


def _unread(name: str, reason: str) -> Page:
    return Page(name, (), (), (), f"{name} cannot be read: {reason}")


def _by_rank(name: str, pages: Mapping[str, Page]) -> dict[str, Page]:
    r"""Return pages as they count: what bears the name first, copies last, else the last one."""
    ordered = sorted(pages.items(), reverse=True)
    ordered.sort(key=lambda item: (_stem(item[0]) != name, _is_copy(item[0])))
    return dict(ordered)


def _is_copy(file: str) -> bool:
    r"""Say whether a file is called like a copy that was put aside."""
    words = r"(?<![a-z])(copy|copie|kopie|old|backup|bak)(?![a-z])|\(\d+\)$"
    return ".ipynb_checkpoints" in file or bool(re.search(words, _stem(file).lower()))


def _stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]


def _nothing(name: str, pages: list[Page]) -> dict[str, Any]:
    r"""Say why there is no answer."""
    reply = {"place": "", "source": "", "failure": None}
    found = [lack for page in pages if (lack := page.lacking(name))]
    if found:
        status, message = min(
            found, key=lambda lack: ("failed", "unwritten", "missing").index(lack[0])
        )
        return {"status": status, "message": message, **reply}
    problems = [page.told for page in pages if page.told]
    message = "; ".join([f"{name} is defined nowhere", *problems[:3]])
    return {"status": "missing", "message": message, **reply}


class _Work:
    r"""An answer, made by the statements of a slice in a namespace of their own."""

    def __init__(
        self,
        part: Slice,
        file: str,
        pages: Mapping[str, Page],
        request: Mapping[str, Any],
        seconds: float,
    ) -> None:
        self.needed = [part.statements[i] for i in sorted(part.needed)]
        self.name, self.part, self.pages = request["name"], part, pages
        self.limits = request["limits"]
        folder, slash, _ = file.rpartition("/")
        self.folder, self.file = folder + slash, file
        self.forbid, self.allowed = request["forbid"], request["allowed"] or ()
        self.refusal = partial(refusal, forbid=self.forbid, allowed=request["allowed"])
        self.driver = _driver(request.get("driver", ""), request.get("driver_name", "driver"))
        self.own: dict[str, ModuleType] = {}
        self.builtins = _builtins(self._import)
        self.broken: dict[str, str] = {}  # names, and why there is nothing behind them
        self.refused: list[str] = []
        self.places: dict[str, str] = {}  # refusals, and the same with the place of the import
        self.stars: list[str] = []  # refusals of imports whose names cannot be seen
        self.status, self.message, self.value = "failed", "", None
        kind = request.get("kind", "")
        self.failure, _ = captured(partial(self._make, kind), seconds, "processor")
        if self.failure is not None:
            self.message = f"what {self.name} needs fails: {_in_words(self.failure)}"

    def reply(self) -> dict[str, Any]:
        r"""Return what the other side is told."""
        return {
            "status": self.status,
            "message": self.message,
            "place": self.part.place,
            "source": self.part.source,
            "failure": asdict(self.failure) if self.failure else None,
        }

    def run(self, inputs: Mapping[str, Any], results: int | None = None) -> dict[str, Any]:
        r"""Run the answer on one case."""
        seconds = self.limits["seconds"]
        keep = partial(wire.snapshot, limit=int(self.limits["output"]) << 20)
        outcome = run(self.value, inputs, self.driver, seconds, "processor", keep, results)
        if outcome.failure:
            outcome = replace(outcome, failure=self._explained(outcome.failure))
        return {
            "outputs": outcome.outputs,
            "failure": asdict(outcome.failure) if outcome.failure else None,
            "changed": outcome.changed,
            "printed": outcome.printed,
        }

    def _make(self, kind: str) -> None:
        r"""Run the statements, and find out whether the answer is one."""
        module = self._module("__main__", self.file)
        sys.modules["__main__"] = module
        self._execute(self.part.statements, module)
        space = vars(module)
        self.value = space.get(self.name)
        if self.stars and self._lacks(space):
            self.refused += self.stars
        if self.refused:
            self.status, self.message = "forbidden", "; ".join(dict.fromkeys(self.refused))
        elif isinstance(self.value, Absent):
            reason = repr(self.value).strip("<>")
            self.status = "forbidden" if reason in self.places else "failed"
            self.message = self.places.get(reason, reason)
        elif self.name not in space:
            self.message = self.broken.get(self.name, f"{self.name} is defined nowhere")
        elif problem := _unsuitable(self.name, self.value, kind):
            self.message = problem
        elif used := self._forbidden():
            self.status, self.message = "forbidden", "; ".join(used)
        else:
            self.status = "ready"

    def _module(self, name: str, file: str) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(__builtins__=self.builtins, __file__=file)
        return module

    def _execute(self, statements: tuple[Statement, ...], module: ModuleType) -> None:
        r"""Run statements one by one; those that lack a name are tried again at the end."""
        again = []
        for statement in statements:
            error = _error_of(statement, module)
            if isinstance(error, NameError):
                again.append(statement)
            elif error is not None:
                self._note(statement, error, module)
        for statement in again:
            error = _error_of(statement, module)
            if error is not None:
                self._note(statement, error, module)

    def _note(self, statement: Statement, error: BaseException, module: ModuleType) -> None:
        r"""Remember why a statement failed; names that it should import become absent."""
        failure = failure_of(error)
        said = f"{failure.kinds[0]}: {failure.message} ({statement.place})"
        names = statement.names
        if isinstance(error, ImportError):
            for name in names.imported:
                vars(module).setdefault(name, Absent(error))
        if isinstance(error, _Refused):
            told = f"{failure.message} ({statement.place})"
            self.places.setdefault(failure.message, told)
            if names.star:
                self.stars.append(told)
            elif statement in self.needed and not names.imported:
                self.refused.append(self.places[failure.message])
        for name in names.bound:
            self.broken[name] = f"{statement.title} that defines {name} fails: {said}"

    def _lacks(self, space: Mapping[str, Any]) -> bool:
        r"""Say whether what the answer needs reads a name that is bound nowhere."""
        read = {name for s in self.needed for name in s.names.now | s.names.later}
        return not read <= {*space, *vars(self.builtins)}

    def _forbidden(self) -> list[str]:
        used = packages_used(self.value, {"__main__", *self.own})
        reasons = (self.refusal(package) for package in sorted(used - {"__main__", *self.own}))
        return [self.places.get(reason, reason) for reason in reasons if reason]

    def _explained(self, failure: Failure) -> Failure:
        r"""Say more about failures whose cause lies elsewhere."""
        lacking = re.match(r"name '(\w+)' is not defined", failure.message)
        if "NameError" in failure.kinds and lacking and lacking[1] in self.broken:
            return replace(failure, message=f"{failure.message}; {self.broken[lacking[1]]}")
        if "MemoryError" in failure.kinds or "can't allocate memory" in failure.message:
            message = f"needed more than {self.limits['memory']} MB: {failure.message}"
            return Failure(("OutOfMemory", *failure.kinds), message, failure.line)
        return failure

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        r"""Import as a learner's code may: what was handed in, and what is allowed."""
        if level or self._is_own(name):
            module = self._own_module(name)
            for part in fromlist or ():
                inner = f"{name}.{part}".lstrip(".")
                if not hasattr(module, part) and self._is_own(inner):
                    setattr(module, part, self._own_module(inner))
            return module if fromlist else self._own_module(name.partition(".")[0])
        if reason := self.refusal(name.partition(".")[0]):
            raise _Refused(reason, name=name)
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _is_own(self, name: str) -> bool:
        r"""Say whether a module was handed in; packages that everybody has come first."""
        top = name.partition(".")[0]
        if top in (*sys.stdlib_module_names, *self.allowed) or refusal(top, self.forbid, None):
            return False
        path = self.folder + name.replace(".", "/")
        return any(file == f"{path}.py" or file.startswith(f"{path}/") for file in self.pages)

    def _own_module(self, name: str) -> ModuleType:
        r"""Return a module that was handed in, or a package of such modules."""
        if name not in self.own:
            path = self.folder + name.replace(".", "/")
            self.own[name] = module = self._module(name, f"{path}.py")
            sys.modules.setdefault(name, module)  # dataclasses look for the modules of classes
            head, _, tail = name.rpartition(".")
            if head:
                setattr(self._own_module(head), tail, module)
            for file in (f"{path}.py", f"{path}/__init__.py"):
                if file in self.pages:
                    self._execute(self.pages[file].statements, module)
        return self.own[name]


def _guard_importlib(session: Session) -> None:
    r"""Make `importlib.import_module` obey, too, where a learner's code calls it."""
    original = importlib.import_module

    def import_module(name: str, package: str | None = None) -> ModuleType:
        work = session.work
        theirs = sys._getframe(1).f_builtins
        if work is not None and theirs is vars(work.builtins) and package is None:
            work._import(name)
            return work.own.get(name) or sys.modules[name]
        return original(name, package)

    importlib.import_module = import_module


class _Refused(ImportError):
    r"""An answer may not import this."""


_Refused.__name__ = "ImportError"  # for learners


def _error_of(statement: Statement, module: ModuleType) -> BaseException | None:
    r"""Run a statement and return what it raises."""
    try:
        result = eval(statement.code, vars(module))
        if inspect.iscoroutine(result):
            importlib.import_module("asyncio").run(result)
    except OutOfTime:
        raise
    except BaseException as error:
        return error
    return None


def _driver(source: str, name: str) -> Driver:
    r"""Return the function that drives an answer, made in a namespace of its own."""
    if not source:
        return call
    space: dict[str, Any] = {"__name__": "driver"}
    exec(compile(source, "<driver>", "exec", dont_inherit=True), space)
    driver: Driver = space[name]
    return driver


def _unsuitable(name: str, value: Any, kind: str) -> str:
    r"""Say why this cannot be an answer, or return an empty string."""
    if not kind or (isinstance(value, type) == (kind == "class") and callable(value)):
        return ""
    got = "a class" if isinstance(value, type) else f"a value of type {type(value).__name__}"
    return f"{name} is {got}, but a {kind} is wanted"


def _in_words(failure: Failure) -> str:
    place = f" ({failure.line})" if failure.line else ""
    if failure.kinds[0] == "OutOfTime":
        return f"{failure.message}{place}"
    return f"{failure.kinds[0]}: {failure.message}{place}"


def _seed() -> None:
    r"""Begin each case with the same random numbers."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def _limit_processor(seconds: float) -> None:
    r"""End the process if it uses so much processor time, and a second more, from now on."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    least = math.ceil(process_time() + seconds) + 1
    if most != resource.RLIM_INFINITY:
        least = min(least, most)
    resource.setrlimit(resource.RLIMIT_CPU, (least, most))


def _builtins(importing: Callable[..., Any]) -> ModuleType:
    r"""Return builtins for a learner's code, with those of a notebook."""
    module = ModuleType("builtins")
    vars(module).update(vars(builtins))
    vars(module).update(
        __import__=importing,
        input=_nobody_answers,
        breakpoint=_nothing_at_all,
        display=_nothing_at_all,
        get_ipython=_Notebook,
    )
    return module


def _nobody_answers(prompt: object = "") -> str:
    raise EOFError("input() finds nobody to answer while work is graded")


def _nothing_at_all(*values: object, **options: object) -> None:
    r"""Stand for what shows something to somebody."""


class _Notebook:
    r"""Stand for the program behind a notebook: every call does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing_at_all
