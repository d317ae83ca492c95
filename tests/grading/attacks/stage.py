"""Where attacks take place: secrets to steal, folders to spoil, listeners, a neighbour.

The witnesses stand outside of the sandbox and tell afterwards what reached them.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyseccomp
from grading.attacks.attack import Scene
from grading.attacks.kernel import CALLS

__all__ = ["EXERCISES", "Stage", "children", "records"]

EXERCISES = Path(__file__).with_name("exercises")
COURSE = Path(__file__).parents[3]
SUBREAPER, ANY_TRACER = 36, 0x59616D61

#: Where an attack may leave something; each is looked at under a name that nothing else has.
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/etc", "/", "/home", "/dev")
PLACES += ("/dev/mqueue", "/sys", ".", "~")

NEIGHBOUR = """
import ctypes, sys
secret = ctypes.create_string_buffer(sys.argv[1].encode(), 64)
ctypes.CDLL(None).prctl({any_tracer}, ctypes.c_ulong(-1), 0, 0, 0)
print(ctypes.addressof(secret), flush=True)
sys.stdin.read()
"""


class Stage:
    """Everything an attack could aim at, set up afresh in a folder; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = f"secret-{secrets.token_hex(16)}"
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.close()

    def _set_up(self) -> None:
        mark = f"attack-{secrets.token_hex(8)}-"
        secret_file, outside = self.folder / "hidden.txt", self.folder / "outside"
        secret_file.write_text(self.secret)
        outside.mkdir()
        (outside / "kept").write_text("kept")
        (outside / "movable").write_text("movable")
        self.exercises = self.folder / "exercises"
        shutil.copytree(EXERCISES, self.exercises, ignore=shutil.ignore_patterns("__pycache__"))
        exercise = self.exercises / "attacks" / "target.py"
        exercise.write_text(f"{exercise.read_text()}\n# {self.secret}\n")
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        self._listen(mark)
        neighbour = self._neighbour()
        libc = ctypes.CDLL(None)
        libc.prctl(SUBREAPER, 1, 0, 0, 0)  # orphans come to us, where they are counted
        self.children = children()
        self.scene = Scene(
            SECRET_FILE=str(secret_file),
            EXERCISE_FILE=str(exercise),
            COURSE=str(COURSE),
            HOME=str(Path.home()),
            OUTSIDE=str(outside),
            MARK=mark,
            TCP=self.listeners["tcp"].getsockname()[1],
            UDP=self.listeners["udp"].getsockname()[1],
            UNIX=str(self.unix),
            ABSTRACT=mark,
            NEIGHBOUR=self.neighbour.pid,
            ADDRESS=neighbour,
            CALLS={
                n: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, n) for n in sorted({*CALLS})
            },
        )
        self.before = self._state()
        self.stack.callback(self._clean)

    def _listen(self, mark: str) -> None:
        self.unix = Path("/tmp") / f"{mark}line"  # the path of a socket is short
        self.listeners = {
            "tcp": socket.socket(),
            "udp": socket.socket(type=socket.SOCK_DGRAM),
            "unix": socket.socket(socket.AF_UNIX),
            "abstract": socket.socket(socket.AF_UNIX),
        }
        addresses: dict[str, Any] = {
            "tcp": ("127.0.0.1", 0),
            "udp": ("127.0.0.1", 0),
            "unix": str(self.unix),
            "abstract": f"\0{mark}",
        }
        for name, listener in self.listeners.items():
            self.stack.enter_context(listener)
            listener.bind(addresses[name])
            if name != "udp":
                listener.listen(64)
        self.stack.callback(self.unix.unlink)

    def _neighbour(self) -> int:
        """Start a process that keeps a secret in its memory, arguments and environment."""
        self.neighbour = self.stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", NEIGHBOUR.format(any_tracer=ANY_TRACER), self.secret],
                env={"SECRET": self.secret},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert self.neighbour.stdout is not None
        return int(self.neighbour.stdout.readline())

    def heard(self, name: str) -> str:
        """Return all that a listener has been told so far."""
        listener, said = self.listeners[name], b""
        while select.select([listener], [], [], 0)[0]:
            if name == "udp":
                said += listener.recv(4096)
            else:
                line, _ = listener.accept()
                with line:
                    line.settimeout(1)
                    with suppress(OSError):
                        said += line.recv(4096) or b"(a call)"
        return said.decode()

    def told(self, witness: str, records: str) -> str:
        """Return what a witness tells of what has happened, or an empty string.

        Parameters
        ----------
        witness : str
            See `Attack.tells`.
        records : str
            All that was stored about the attacks.
        """
        if witness in self.listeners:
            return self.heard(witness)
        witnesses: dict[str, Callable[[], str]] = {
            "secret": lambda: self.secret if self.secret in records else "",
            "file": lambda: " ".join(map(str, self.left())),
            "kept": lambda: "" if self._state()[0] == self.before[0] else "changed",
            "core": lambda: " ".join(map(str, (self.folder / "outside").glob("*core*"))),
            "neighbour": lambda: "" if self._state()[1] == self.before[1] else "changed",
            "process": lambda: " ".join(map(str, children() - self.children)),
        }
        return witnesses[witness]()

    def left(self) -> list[Path]:
        """Return what was left behind under the mark of the scene, anywhere."""
        places = [Path(place).expanduser() for place in PLACES]
        places += [self.folder, self.folder / "outside", COURSE, Path(os.__file__).parent]
        found: set[Path] = set()
        for place in places:
            with suppress(OSError):
                found |= {path for path in place.iterdir() if self.scene.MARK in path.name}
        return sorted(found - {self.unix})

    def _state(self) -> tuple[Any, Any]:
        """Return all that can be seen of the kept file and of the neighbour."""
        kept = self.folder / "outside" / "kept"
        file = (
            (kept.read_bytes(), kept.stat().st_mode, kept.stat().st_mtime) if kept.exists() else ()
        )
        process = self.neighbour.pid
        if self.neighbour.poll() is not None:
            return file, "ended"
        status = Path(f"/proc/{process}/status").read_text()
        state = next(line for line in status.splitlines() if line.startswith("State:"))
        return file, (
            state.split()[1] in "TtZX",
            os.getpriority(os.PRIO_PROCESS, process),
            os.sched_getaffinity(process),
            Path(f"/proc/{process}/limits").read_text(),
        )

    def _clean(self) -> None:
        for path in self.left():
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for child in children() - self.children:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(child, 0)
        assert self.neighbour.stdin is not None
        with suppress(OSError):
            self.neighbour.stdin.close()


def children() -> set[int]:
    """Return the processes whose parent this one is, and which have not ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(path.parent.name))
    return found


def records(graded: Iterable[Any]) -> str:
    """Return all that is stored of these, as text."""
    return json.dumps([one.to_json() for one in graded])
