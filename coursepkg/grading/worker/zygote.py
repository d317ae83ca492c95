r"""The process that every submission's process is a copy of.

Importing NumPy or PyTorch takes longer than grading does. So one process imports them once and
makes a copy of itself for each submission. It reads no submission: it only gets requests, each
with three open files, and passes them on.

A request makes two processes, or three. The *supervisor* waits for the others and clears up.
The *child*, confined, serves the submission and is all that a submission ever sees. Where there
are namespaces, the child has process number 2, since number 1 is special: signals do not end it,
and when it ends, the kernel ends all others. Number 1 is therefore a process that sleeps.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from . import confine

__all__ = ["CONFINED", "Settings", "main"]

#: The child says so when everything holds, before it serves.
CONFINED = b"confined"

#: Seconds.
AGES = str(2**31 - 1)
#: The child's line to the grader, after its input, output and errors.
JOB = 3
REHEARSAL = b"""
import numpy as np
def f(x):
    return np.array([x, x]) + np.linalg.norm(x)
def g(x):
    raise ValueError(f"{x}")
"""


@dataclass(frozen=True)
class Settings:
    r"""What a zygote is told when it begins.

    Attributes
    ----------
    isolation : str
        `"namespaces"`, `"landlock"` or `"none"`.
    packages : list of str
        To be imported in advance.
    readable : list of str
        Paths that a submission may read.
    scratch : str
        Folder that each submission finds empty and may write to; "" for none.
    filter : str
        The seccomp filter, in hexadecimal digits.
    sleep : str
        A program that sleeps, for number 1: cheaper than one more copy of this process.
    """

    isolation: str
    packages: list[str]
    readable: list[str]
    scratch: str
    filter: str
    sleep: str


@dataclass(frozen=True)
class _Zygote:
    settings: Settings
    readable: list[int]
    space: int  # of addresses, in bytes, before any submission


def main(descriptor: int) -> None:
    r"""Serve requests that come through a socket until the other side is gone."""
    control = socket.socket(fileno=descriptor)
    settings = Settings(**json.loads(control.recv(1 << 20)))
    _prepare(settings.packages)
    opened = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in settings.readable]
    zygote = _Zygote(settings, opened, confine.address_space())
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control.send(b"ready")
    while True:
        message, files, _, _ = socket.recv_fds(control, 1 << 16, 3)
        if not message:
            return
        if not os.fork():
            control.detach()
            _run_and_exit(_supervise, zygote, json.loads(message), *files)
        for file in files:
            os.close(file)


def _prepare(packages: list[str]) -> None:
    r"""Do once what would otherwise be done for each submission."""
    for package in packages:
        importlib.import_module(package)
    _rehearse()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    gc.collect()
    gc.freeze()


def _rehearse() -> None:
    r"""Serve a small submission, so that whatever is made only once is there already."""
    from .serve import Session

    main = sys.modules["__main__"]
    session = Session()
    limits = {"seconds": 60, "memory": 1, "output": 1}
    session.answer({"do": "load", "files": {"rehearsal.py": REHEARSAL}})
    for name in ("f", "g"):
        session.answer(
            {"do": "open", "name": name, "forbid": [], "allowed": None, "limits": limits}
        )
        session.answer({"do": "run", "inputs": {"x": 3.0}})
    sys.modules["__main__"] = main


def _reap(number: int, frame: object) -> None:
    r"""Take leave of the supervisors that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def _supervise(zygote: _Zygote, limits: dict[str, int], job: int, log: int, status: int) -> None:
    r"""Start the child, wait until it ends or is no longer wanted, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    if zygote.settings.isolation == "namespaces":
        confine.separate(zygote.settings.scratch, limits["file"])
        first = _sleeper(zygote.settings.sleep, job, log, status)
    else:
        first = 0
        confine.adopt_orphans()
    child = _forked(_confine_and_serve, zygote, limits, job, status)
    os.close(job)
    line = socket.socket(fileno=status)
    waiting = select.poll()
    waiting.register(os.pidfd_open(child), select.POLLIN)
    waiting.register(line, select.POLLRDHUP)
    waiting.poll()
    os.kill(child, signal.SIGKILL)
    _, code, usage = os.wait4(child, 0)
    _kill_all(first)
    ended = {"code": code, "seconds": usage.ru_utime + usage.ru_stime}
    line.send(json.dumps(ended).encode())
    os._exit(0)


def _forked(function: Callable[..., object], *arguments: object) -> int:
    process = os.fork()
    if not process:
        _run_and_exit(function, *arguments)
    return process


def _run_and_exit(function: Callable[..., object], *arguments: object) -> NoReturn:
    r"""Call a function, and end the process whatever happens."""
    try:
        function(*arguments)
        os._exit(0)
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        os._exit(1)  # before the frames, and the files that they hold, are gone


def _sleeper(program: str, *files: int) -> int:
    r"""Start process number 1, without the open files of this one."""
    closed = [(os.POSIX_SPAWN_CLOSE, file) for file in files]
    return os.posix_spawn(program, ["sleep", AGES], {}, file_actions=closed)


def _kill_all(first: int) -> None:
    r"""Kill number 1, and with it its namespace, or else whatever the child has left behind."""
    while processes := [first] if first else confine.children():
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        first = 0


def _confine_and_serve(zygote: _Zygote, limits: dict[str, int], job: int, status: int) -> None:
    r"""Be the child."""
    from .serve import serve

    line = socket.socket(fileno=status)
    _confine(zygote, limits)
    line.send(CONFINED)
    line.detach()
    os.dup2(job, JOB)
    confine.close_files(keep=range(JOB + 1))
    serve(socket.socket(fileno=JOB))


def _confine(zygote: _Zygote, limits: dict[str, int]) -> None:
    settings = zygote.settings
    home = settings.scratch or "/"
    os.chdir(home)
    os.environ.clear()
    os.environ.update(HOME=home, TMPDIR=home)
    confine.die_with_parent(signal.SIGKILL)
    confine.hide()
    others = 2 if settings.isolation == "namespaces" else confine.tasks()
    confined = settings.isolation != "none"
    if settings.isolation == "landlock" or (confined and confine.landlock_version()):
        writable = [os.open(home, os.O_PATH)] if settings.scratch else []
        confine.restrict_files(zygote.readable, writable)
    if confined:
        confine.drop_capabilities()
    confine.limit(
        address_space=zygote.space + (limits["memory"] << 20),
        file_size=limits["file"] << 20,
        open_files=limits["open_files"],
        processes=limits["threads"] + others,
    )
    if confined:
        confine.filter_calls(bytes.fromhex(settings.filter))
