r"""Run submissions apart from tests, answers, one another and the rest of the machine.

A `Sandbox` keeps one zygote for each environment; a `Session` is one submission in a process of
its own, which ends with it. What the process may do is said in `isolation` and `worker.confine`.
This side of the line believes nothing that comes from the other: a reply has a size and a time
that it may take, `wire.unpack` takes it apart, and what does not fit the request ends the process.
Whatever a learner's code does, `Session.run` returns an `Outcome`. If its process dies, another
one takes the next case.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from coursepkg.grading.exercise import ENVIRONMENTS, Limits
from coursepkg.grading.isolation import IsolationError, choose, command
from coursepkg.grading.syscalls import program
from coursepkg.grading.view import SCRATCH, View, plant, sleep
from coursepkg.grading.worker import wire
from coursepkg.grading.worker.run import Failure, Outcome
from coursepkg.grading.worker.zygote import CONFINED, Settings

__all__ = ["Limits", "Opened", "Sandbox", "Session", "Task"]

#: How long a zygote may take to import its packages, and to end, in seconds.
START_SECONDS, STOP_SECONDS = 120, 10
#: How long a submission may take to be read: so many seconds, and one more for so many bytes.
LOAD_SECONDS, LOAD_BYTES = 20, 1 << 20
#: Processor seconds that a process has used for certain which takes so long by its own fault.
LOAD_WORK = 4.0
#: MB of a reply besides its arrays and long texts.
HEADER = 16
#: How often what is not a submission's fault may come between.
ATTEMPTS = 3
#: How many processes one answer may use up.
DEATHS = 10
#: The exit code after an exception that nobody has caught.
UNCAUGHT = 1
#: Bytes of what a process has written that are looked at after its death.
TAIL = 4000

#: Of the zygotes. Texts are hashed alike in each of them, so that sets have the same order.
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}

STATUSES = ("ready", "missing", "unwritten", "forbidden", "failed")
CRASHES = {
    signal.SIGSEGV: "segmentation fault",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "arithmetic error",
    signal.SIGILL: "illegal instruction",
    signal.SIGABRT: "aborted",
}
NO_MEMORY = re.compile(r"MemoryError|bad_alloc|[Cc]annot allocate memory|can't allocate memory")
#: The innermost line of a learner's code in what faulthandler writes.
LEARNERS_LINE = re.compile(r'^  File "([^/<"][^"]{0,200})", line (\d{1,9}) in (.{1,200})$', re.M)

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    r"""What is to be looked for in a submission, and how it is to be run.

    Attributes
    ----------
    name : str
        What the learner was to define.
    driver : str
        Source of a function `driver`; "" for a plain call.
    forbid : tuple of str
        Packages that the answer may not use.
    allowed : tuple of str or None
        The only packages that it may use besides the standard library.
    limits : Limits
    kind : str
        `"function"` or `"class"`; "" for either.
    """

    name: str
    driver: str = ""
    forbid: tuple[str, ...] = ()
    allowed: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    kind: str = ""

    @property
    def patience(self) -> float:
        r"""Seconds after which a process is ended, whether it uses the processor or not."""
        return 4 * self.limits.seconds + 2


@dataclass(frozen=True)
class Opened:
    r"""What was found of an answer.

    Attributes
    ----------
    status : str
        `"ready"`, `"missing"`, `"unwritten"`, `"forbidden"` or `"failed"`.
    message : str
        What there is to say about it.
    place : str
        Where it stands.
    source : str
        The statements that are run.
    failure : Failure or None
        What went wrong, if something did.
    """

    status: str
    message: str
    place: str
    source: str
    failure: Failure | None = None


class _Death(Exception):
    r"""The process of a submission has ended, and the submission is to blame."""

    def __init__(self, kind: str, message: str, line: str = "") -> None:
        super().__init__(message)
        self.failure = Failure((kind,), message, line)


class _Lost(Exception):
    r"""The process of a submission has ended, and the submission is not to blame."""


class Sandbox:
    r"""Processes for submissions, and the zygotes they are copies of.

    Zygotes are started when they are needed, and again if they die. Several threads may use
    one sandbox.

    Parameters
    ----------
    isolation : str
        `"namespaces"`, `"landlock"`, `"none"`, or `"auto"` for the better one of the first two.

    Attributes
    ----------
    isolation : str
        The one that is used.

    Raises
    ------
    IsolationError
        If this machine does not offer it. The message says what to do.

    Examples
    --------
    >>> with Sandbox("none") as sandbox, sandbox.session("numpy", {"a.py": b"f = abs"}) as session:
    ...     print(session.open(Task("f")).status, session.run({}).failure.kinds[0])
    ready TypeError
    """

    def __init__(self, isolation: str = "auto") -> None:
        self.isolation = choose(isolation)
        self._folder = tempfile.TemporaryDirectory(prefix="grading-")
        self._lock = threading.Lock()
        self._zygotes: dict[str, _Zygote] = {}
        self._processes: set[_Process] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def session(
        self, environment: str, files: Mapping[str, bytes], late: Iterable[str] = ()
    ) -> Session:
        r"""Return a session for one submission.

        Parameters
        ----------
        environment : str
            `"numpy"` or `"torch"`.
        files : mapping of str to bytes
            What was handed in, by name.
        late : iterable of str
            Files that have taken too long before, and are not read again; see `Session.late`.
        """
        if environment not in ENVIRONMENTS:
            raise ValueError(f"environment={environment!r}; choose {' or '.join(ENVIRONMENTS)}")
        return Session(self, environment, files, late)

    def close(self) -> None:
        r"""End all that was started, sessions in other threads included; these raise then."""
        with self._lock:
            self._closed = True
            for process in list(self._processes):
                process.hang_up()
            for zygote in self._zygotes.values():
                zygote.close()
            self._zygotes.clear()
            self._folder.cleanup()

    def _start(self, environment: str, limits: Limits) -> _Process:
        r"""Start the process of a submission."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed; open a session in a new one")
            if environment not in self._zygotes:
                farm = Path(self._folder.name, environment)
                if not farm.exists():
                    plant(farm, environment)
                self._zygotes[environment] = _Zygote(self.isolation, environment, farm)
            process = _Process(self._zygotes[environment], limits)
            self._processes.add(process)
            return process

    def _give_up(self, process: _Process, environment: str) -> None:
        r"""End the zygote that has lost a process; the next process gets another one."""
        with self._lock:
            if self._zygotes.get(environment) is process.zygote:
                self._zygotes.pop(environment).close()


class _Zygote:
    r"""A process of which those of submissions are copies."""

    def __init__(self, isolation: str, environment: str, farm: Path) -> None:
        confined = isolation != "none"
        settings = Settings(
            isolation=isolation,
            packages=list(ENVIRONMENTS[environment]),
            readable=View.of(farm).paths() if confined else [],
            scratch=SCRATCH if isolation == "namespaces" else "",
            filter=program().hex() if confined else "",
            sleep=str(sleep()),
        )
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = os.memfd_create("log")
        code = f"from worker.zygote import main; main({control.fileno()})"
        with control:
            self._process = subprocess.Popen(
                command(isolation, farm, code),
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[control.fileno()],
                start_new_session=True,
            )
        if not self._begins(settings):
            said = _tail(self._log)
            self.close()
            raise IsolationError(f"isolation {isolation!r} could not be set up here:\n{said}")

    def _begins(self, settings: Settings) -> bool:
        try:
            self._control.settimeout(START_SECONDS)
            self._control.send(json.dumps(asdict(settings)).encode())
            return bool(self._control.recv(100))
        except OSError:
            return False

    def start(self, limits: Limits, job: int, log: int, status: int) -> None:
        r"""Ask for a process that has these three files."""
        with contextlib.suppress(OSError):  # the other ends of the files are closed then
            request = json.dumps(asdict(limits)).encode()
            socket.send_fds(self._control, [request], [job, log, status])

    def close(self) -> None:
        r"""End the zygote and, where there are namespaces, its copies."""
        self._control.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._log)


class _Process:
    r"""The process of a submission, as this side sees it."""

    def __init__(self, zygote: _Zygote, limits: Limits) -> None:
        self.zygote, self.limits = zygote, limits
        self.seconds = 0.0  # of the processor, known at the end
        self._asked = 0
        self._job, job = socket.socketpair()
        self._status, status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = os.memfd_create("log")
        with job, status:
            zygote.start(limits, job.fileno(), self._log, status.fileno())

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        r"""Send a request, and return what comes back in time.

        Requests are numbered, so that a reply that was sent unasked is not taken for the next.
        """
        self._asked += 1
        try:
            self._refuse_what_was_not_asked_for()
            request = request | {"number": self._asked}
            wire.write(self._job, request, time.monotonic() + seconds)
            most = (self.limits.output + HEADER) << 20
            reply = wire.read(self._job, most, time.monotonic() + seconds)
            if type(reply.get("number")) is not int or reply.pop("number") != self._asked:
                raise wire.WireError("it is no reply to what was asked")
            return reply
        except TimeoutError:
            said, _ = self.end()
            message = f"stopped after {seconds:.3g} s by the clock"
            raise _Death("OutOfTime", message, _learners_line(said)) from None
        except wire.WireError as error:
            self.end()
            raise _Death("BadReply", f"what came back cannot be read: {error}") from None
        except (EOFError, OSError):
            raise self._obituary(*self.end()) from None

    def _refuse_what_was_not_asked_for(self) -> None:
        self._job.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            if self._job.recv(1):
                raise wire.WireError("it came before it was asked for")

    def hang_up(self) -> None:
        r"""Have the process ended."""
        with contextlib.suppress(OSError):
            self._status.shutdown(socket.SHUT_WR)

    def end(self) -> tuple[str, int]:
        r"""End the process and wait until nothing of it is left.

        Returns
        -------
        str
            The last that it wrote.
        int
            Its exit code, negative for a signal.

        Raises
        ------
        _Lost
            If the process that watches it is gone, too.
        IsolationError
            If it could not be confined, so that it has run nothing.
        """
        self.hang_up()
        with self._job, self._status, os.fdopen(self._log):
            self._status.settimeout(STOP_SECONDS)
            said = list(self._messages())
            tail = _tail(self._log)
        ended = json.loads(said[-1]) if said and said[-1] != CONFINED else None
        code = os.waitstatus_to_exitcode(ended["code"]) if ended else 0
        if ended is None or (said[0] != CONFINED and code == -signal.SIGKILL):
            raise _Lost(tail)
        if said[0] != CONFINED:
            raise IsolationError(f"a process could not be confined:\n{tail}")
        self.seconds = ended["seconds"]
        return tail, code

    def _messages(self) -> Iterator[bytes]:
        with contextlib.suppress(OSError):
            while message := self._status.recv(1000):
                yield message

    def _obituary(self, said: str, code: int) -> _Death:
        r"""Say why it has died."""
        line, number = _learners_line(said), -code
        if number == signal.SIGXCPU:
            return _Death("OutOfTime", f"stopped after {self.limits.seconds:g} s", line)
        if NO_MEMORY.search(said):
            return _Death("OutOfMemory", f"needed more than {self.limits.memory} MB", line)
        if code >= 0:
            last = said.strip().rpartition("\n")[2][:200] if code == UNCAUGHT else ""
            message = f"ended the program, with exit code {code}" + (last and f": {last}")
            message += "" if last else "; take out exit(), quit() and os._exit()"
            return _Death("Died", message, line)
        if number == signal.SIGKILL:
            return _Death("Died", "was ended by SIGKILL, or cut its line to the grader", line)
        word = CRASHES.get(number) or f"signal {number}"  # type: ignore[call-overload]
        return _Death("Died", f"crashed ({word})", line)


class Session:
    r"""One submission. A context manager, to be used from one thread.

    Attributes
    ----------
    late : frozenset of str
        Files that take too long to read.
    problems : dict of str to str
        Why files could not be read, or not as a whole, by name; known when an answer is open.
    unreadable : Failure or None
        Why nothing of the submission can be read.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        environment: str,
        files: Mapping[str, bytes],
        late: Iterable[str] = (),
    ) -> None:
        self.late = frozenset(late)
        self.problems: dict[str, str] = {}
        self.unreadable: Failure | None = None
        self._sandbox = sandbox
        self._environment = environment
        self._files = dict(files)
        self._process: _Process | None = None
        self._task: Task | None = None
        self._deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        r"""End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            self._sandbox._processes.discard(process)
            with contextlib.suppress(_Lost):
                process.end()

    def open(self, task: Task) -> Opened:
        r"""Find the answer to a task and make it ready to be run."""
        if self._process is not None and _fences(self._process.limits) != _fences(task.limits):
            self.close()
        self._task, self._deaths = task, 0
        if self.unreadable:
            return Opened("failed", self.unreadable.message, "", "", self.unreadable)
        try:
            return self._persist(lambda: self._open(task))
        except _Death as death:
            return Opened("failed", death.failure.message, "", "", death.failure)

    def run(self, inputs: Mapping[str, Any], results: int | None = None) -> Outcome:
        r"""Run the answer that was opened on one case.

        Parameters
        ----------
        inputs : mapping of str to object
            What `wire.pack` can send.
        results : int, optional
            How many results are wanted, the first ones; what comes after these is not run.

        Returns
        -------
        Outcome
            Besides those of the answer itself there are failures of the kinds `OutOfTime`,
            `OutOfMemory`, `Died` (a crash, or the end of the program) and `BadReply`.
        """
        task = self._task
        if task is None:
            raise RuntimeError("open a task before you run it")
        try:
            outcome = self._persist(lambda: self._run(task, dict(inputs), results))
        except _Death as death:
            return Outcome({}, death.failure, (), "")
        if outcome.failure and outcome.failure.kinds[0] == "OutOfTime":
            self.close()  # what was interrupted may be in any state
        return outcome

    def _open(self, task: Task) -> Opened:
        if self._process is None:
            self._process = self._sandbox._start(self._environment, task.limits)
            self._load()
        request: dict[str, Any] = {
            "do": "open",
            "name": task.name,
            "kind": task.kind,
            "driver": task.driver,
            "driver_name": "driver",
            "forbid": list(task.forbid),
            "allowed": None if task.allowed is None else list(task.allowed),
            "limits": asdict(task.limits),
        }
        fields = {"status": str, "message": str, "place": str, "source": str, "failure": object}
        reply = self._ask(request, fields, task.patience)
        if reply["status"] not in STATUSES:
            raise self._bad_reply("its status is none")
        return Opened(**reply | {"failure": self._failure(reply["failure"])})

    def _load(self) -> None:
        size = sum(map(len, self._files.values()))
        request = {"do": "load", "files": self._files, "late": sorted(self.late)}
        try:
            fields = {"late": tuple, "problems": dict}
            reply = self._ask(request, fields, LOAD_SECONDS + size / LOAD_BYTES)
            late, problems = reply["late"], reply["problems"]
            if not all(type(text) is str for text in (*late, *problems, *problems.values())):
                raise self._bad_reply("something in it is not a text")
            if not {*late, *problems} <= {*self._files}:
                raise self._bad_reply("it names files that were not handed in")
        except _Death as death:
            slow = death.failure.kinds[0] == "OutOfTime"
            if slow and self._process and self._process.seconds < LOAD_WORK:
                raise _Lost("nothing could be read for want of processor time") from None
            why = "it takes too long" if slow else death.failure.message
            message = f"what was handed in cannot be read: {why}"
            self.unreadable = replace(death.failure, message=message)
            raise _Death(death.failure.kinds[0], message) from None
        self.late, self.problems = frozenset(late), problems

    def _run(self, task: Task, inputs: dict[str, Any], results: int | None) -> Outcome:
        if self._process is None:
            opened = self._open(task)
            if opened.status != "ready":
                return Outcome({}, opened.failure or _not_again(opened), (), "")
        fields = {"outputs": dict, "failure": object, "changed": tuple, "printed": str}
        request = {"do": "run", "inputs": inputs, "results": results}
        reply = self._ask(request, fields, task.patience)
        for name in (*reply["outputs"], *reply["changed"]):
            if type(name) is not str:
                raise self._bad_reply("a name in it is not a text")
        return Outcome(**reply | {"failure": self._failure(reply["failure"])})

    def _ask(
        self, request: dict[str, Any], fields: Mapping[str, type], seconds: float
    ) -> dict[str, Any]:
        r"""Return the reply to a request, with these fields and no others."""
        assert self._process is not None
        reply = self._process.ask(request, seconds)
        if reply.keys() != fields.keys():
            raise self._bad_reply("it does not have the fields that were asked for")
        for name, kind in fields.items():
            if kind is not object and type(reply[name]) is not kind:
                raise self._bad_reply(f"{name} is of type {type(reply[name]).__name__}")
        return reply

    def _failure(self, value: Any) -> Failure | None:
        if value is None:
            return None
        match value:
            case {"kinds": (str(), *_) as kinds, "message": str(message), "line": str(line)}:
                if len(value) == 3 and all(type(kind) is str for kind in kinds):
                    return Failure(tuple(kinds), message, line)
        raise self._bad_reply("its failure is none")

    def _bad_reply(self, why: str) -> _Death:
        r"""End the process for what it has sent."""
        self.close()
        return _Death("BadReply", f"what came back cannot be read: {why}")

    def _persist(self, act: Callable[[], T]) -> T:
        r"""Act, and once more where something came between that is not the submission's fault."""
        for _ in range(ATTEMPTS):
            try:
                if self._deaths >= DEATHS:
                    raise _Death("Died", f"not run, as {DEATHS} processes have died of it")
                return act()
            except _Death:
                self._forget()
                self._deaths += 1
                if self._sandbox._closed:
                    raise RuntimeError("the sandbox was closed") from None
                raise
            except IsolationError:
                self._forget()
                raise
            except _Lost as error:
                lost, why = self._forget(), str(error)
                if lost is not None:
                    self._sandbox._give_up(lost, self._environment)
        raise IsolationError(f"processes end without a reason, {ATTEMPTS} in a row:\n{why}")

    def _forget(self) -> _Process | None:
        process, self._process = self._process, None
        if process is not None:
            self._sandbox._processes.discard(process)
        return process


def _fences(limits: Limits) -> tuple[int, ...]:
    r"""Return the limits that a process gets at its start and keeps."""
    return limits.memory, limits.threads, limits.file, limits.open_files, limits.output


def _not_again(opened: Opened) -> Failure:
    return Failure(("Died",), f"could not be made ready a second time: {opened.message}", "")


def _learners_line(said: str) -> str:
    r"""Return where a learner's code was, as far as faulthandler tells."""
    found = LEARNERS_LINE.search(said)
    if found is None:
        return ""
    file, line, name = found.groups()
    cell = file.partition(", ")[2]
    return f"{cell + ', ' if cell else ''}line {line}, in {name}"


def _tail(log: int) -> str:
    size = os.fstat(log).st_size
    text = os.pread(log, TAIL, max(0, size - TAIL)).decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
