r"""What a submission may read: Python, the packages of its environment and the worker, no more.

The same list serves two fences: bubblewrap mounts nothing else, and Landlock opens nothing else.
The packages stand together in a *farm*, a folder of links, so that no package beside them can be
imported. The worker is a copy, so that all submissions of a run meet the same code, whatever
becomes of the course meanwhile.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from coursepkg.grading import worker
from coursepkg.grading.exercise import ENVIRONMENTS

__all__ = ["SCRATCH", "View", "packages", "plant", "python", "sleep"]

#: The folder that a submission may write to.
SCRATCH = "/scratch"

WORKER = Path(next(iter(worker.__path__)))

#: Where the shared libraries are, and the list of them.
LIBRARIES = (
    "/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/urandom")
#: Folders of other packages, beside the standard library.
OTHERS = ("python3*/site-packages", "python3*/dist-packages")


def python() -> Path:
    r"""Return the interpreter itself, not that of a virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def packages(environment: str) -> dict[str, Path]:
    r"""Return the files and folders of the packages of an environment, by name.

    What they require belongs to them, as far as it is installed.

    Examples
    --------
    >>> sorted(name for name in packages("numpy") if name.isidentifier())
    ['numpy']
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = list(ENVIRONMENTS[environment])
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            path = Path(str(package.locate_file(top))).resolve()
            if path.exists():
                found[top] = path
        waiting += _required(package)
    return found


def _required(package: importlib.metadata.Distribution) -> Iterator[str]:
    for line in package.requires or ():
        if "extra ==" not in line and (match := re.match(r"[\w.-]+", line)):
            yield match[0]


def sleep() -> Path:
    r"""Return the program that sleeps."""
    return Path(shutil.which("sleep") or "/bin/sleep").resolve()


def plant(farm: Path, environment: str) -> None:
    r"""Make a farm: a copy of the worker, and links to the packages of an environment."""
    shutil.copytree(WORKER, farm / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    for name, path in packages(environment).items():
        (farm / name).symlink_to(path)


@dataclass(frozen=True)
class View:
    r"""Files and folders that can be read, except for what is hidden in them.

    Attributes
    ----------
    shown, hidden : tuple of str
        Absolute paths. Of two that lie in one another the inner one counts.
    links : tuple of (str, str)
        Symbolic links that are to be there too, such as `/lib`, and where they point.
    """

    shown: tuple[str, ...]
    hidden: tuple[str, ...]
    links: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, farm: Path) -> View:
        r"""Return what Python and a farm need."""
        bases = {Path(sys.base_prefix), Path(sys.base_exec_prefix)}
        wanted = [*(base / "lib" for base in bases), *map(Path, LIBRARIES)]
        there = {path.resolve() for path in wanted if path.exists()}
        links = {(str(path), str(path.readlink())) for path in wanted if path.is_symlink()}
        hidden = {found for path in there for name in OTHERS for found in path.glob(name)}
        shown = there | {python(), sleep(), farm, *(link.resolve() for link in farm.iterdir())}
        return cls(_sorted(shown), _sorted(hidden - shown), tuple(sorted(links)))

    def paths(self) -> list[str]:
        r"""Return paths below which everything can be read, devices included."""
        found = [path for shown in self.shown for path in self._open(shown)]
        return [*dict.fromkeys(found), *(device for device in DEVICES if Path(device).exists())]

    def _open(self, path: str) -> Iterator[str]:
        r"""Yield a path, or, if something in it is hidden, what else is in it."""
        if path in self.hidden:
            return
        if any(hidden.startswith(f"{path}/") for hidden in self.hidden):
            for entry in Path(path).iterdir():
                if not entry.is_symlink():
                    yield from self._open(str(entry))
        else:
            yield path

    def mounts(self) -> list[str]:
        r"""Return the options with which bubblewrap mounts this, read-only, and `SCRATCH`."""
        parents = {str(parent) for path in (*self.shown, *DEVICES) for parent in Path(path).parents}
        options = [part for path in sorted(parents) for part in ("--dir", path)]  # open to all
        for path in sorted({*self.shown, *self.hidden}):
            options += ["--ro-bind", path, path] if path in self.shown else ["--tmpfs", path]
        for path, target in self.links:
            options += ["--symlink", target, path]
        for device in DEVICES:
            options += ["--dev-bind", device, device]
        return [*options, "--proc", "/proc", "--dir", SCRATCH, "--remount-ro", "/"]


def _sorted(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(map(str, paths)))
