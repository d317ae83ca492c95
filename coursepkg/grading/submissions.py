r"""Find what learners handed in, and read it without trusting it.

A folder of submissions holds one folder or one file for each learner: `ann/`, `ben.ipynb`,
`cho.zip`. Notebooks (`.ipynb`), Python files (`.py`) and MyST pages (`.md`, `.myst`) are graded,
also from folders inside a learner's folder and out of zip files. The names that Moodle and Canvas
give to downloads are understood: `Ann Lee_123_assignsubmission_file_/hw1.ipynb` belongs to
`Ann Lee_123`, and `leeann_123_45678_hw1.ipynb` to `leeann_123`; the number stays, because two
people may have the same name.

Only bytes are read here. What is inside a notebook is looked at where it can do no harm.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

__all__ = [
    "MAX_FILE",
    "MAX_FILES",
    "MAX_LEARNER",
    "SUFFIXES",
    "Entry",
    "Submission",
    "cut_short",
    "find",
]

#: What is graded.
SUFFIXES = (".ipynb", ".py", ".md", ".myst")

#: Bytes of one file and of one learner, and the number of files of one learner.
MAX_FILE = 256 * 2**20
MAX_LEARNER = 512 * 2**20
MAX_FILES = 1000

MAX_SEEN = 10_000  # files and folders that are looked at, of one learner
MAX_DEPTH = 20  # folders in one another
MAX_RATIO = 300  # of a file in a zip to its packed size; text rarely exceeds 50
MAX_TOLD = 20  # problems of one learner

IGNORED = {".ipynb_checkpoints", "__pycache__", ".git", "__MACOSX", "Thumbs.db", "desktop.ini"}
MOODLE = re.compile(r"(?P<learner>.+_\d+)_assignsubmission_[a-z]+_?(?P<file>.*)", re.DOTALL)
CANVAS = re.compile(r"(?P<name>[^_]+?)(?:_LATE)?_(?P<id>\d{3,})_\d{3,}_(?P<file>.+)", re.DOTALL)
DRIVE = re.compile("[A-Za-z]:")
KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISLNK, "a symbolic link"))
PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others inflate without a limit


@dataclass(frozen=True)
class Submission:
    r"""What one learner handed in.

    Attributes
    ----------
    learner : str
    files : mapping of str to bytes
        By their path inside the learner's folder; of `ben.ipynb`, by its name.
    problems : tuple of str
        What could not be read, and why.
    digest : str
        Differs when anything of the above does.
    """

    learner: str
    files: Mapping[str, bytes]
    problems: tuple[str, ...]
    digest: str

    @classmethod
    def of(
        cls, learner: str, files: Mapping[str, bytes], problems: tuple[str, ...] = ()
    ) -> Submission:
        r"""Return a submission with its digest.

        Examples
        --------
        >>> one, two = (Submission.of("ann", {"hw1.py": data}) for data in (b"x = 1", b"x = 2"))
        >>> one.digest == two.digest
        False
        """
        digest = hashlib.sha256()
        for name, data in sorted(files.items()):
            label = name.encode("utf-8", "surrogatepass")
            digest.update(b"%d %d " % (len(label), len(data)) + label)
            digest.update(data)
        for problem in problems:
            digest.update(b"!" + problem.encode("utf-8", "surrogatepass"))
        return cls(learner, files, problems, digest.hexdigest())


@dataclass(frozen=True)
class Entry:
    r"""Where the submission of one learner lies; nothing of it has been read yet.

    Attributes
    ----------
    learner : str
        Made printable: other characters, and backslashes, stand as escapes.
    paths : tuple of Path
        One folder or file; several, if the learner has more than one.
    """

    learner: str
    paths: tuple[Path, ...]

    def read(self) -> Submission:
        r"""Read the files; whatever is wrong with them becomes a problem of the submission."""
        basket = _Basket()
        if len(self.paths) > 1 and not all(_split(path)[1] for path in self.paths):
            names = " and ".join(_printable(path.name) for path in self.paths)
            basket.problems.append(f"handed in more than once, as {names}; all of it was read")
        for path in self.paths:
            basket.home = path.name
            with _folder(path.parent) as parent:
                _read(basket, parent, path.name, PurePosixPath(_split(path)[1] or path.name), 0)
        return Submission.of(self.learner, basket.files, basket.told())


@dataclass
class _Basket:
    r"""What has been read of one learner so far."""

    home: str = ""  # the folder or file that is being read
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    seen: int = 0

    @property
    def room(self) -> int:
        return MAX_LEARNER - sum(map(len, self.files.values()))

    def refuses(self, shown: str, size: int) -> bool:
        r"""Say whether a file of this size is too much, and note why."""
        if size > MAX_FILE:
            reason = f"has {_mb(size)}, more than the {_mb(MAX_FILE)} of one file"
        elif size > self.room:
            reason = f"was left out: more than {_mb(MAX_LEARNER)} in all"
        elif len(self.files) >= MAX_FILES:
            reason = f"was left out: more than {MAX_FILES} files"
        else:
            return False
        self.problems.append(f"{shown} {reason}")
        return True

    def add(self, path: PurePosixPath, data: bytes, home: str = "") -> None:
        r"""Keep a file under its path; if that is taken, with what it came from before it."""
        name = _printable(str(path))
        if name in self.files:
            name = _printable(f"{home or self.home}/{path}")
            if name in self.files:
                self.problems.append(f"{name} is there twice; the last one counts")
        if not data and path.name != "__init__.py":
            self.problems.append(f"{name} is empty")
        self.files[name] = data

    def told(self) -> tuple[str, ...]:
        r"""Return the problems; a crowd of them is cut short."""
        problems = [*self.problems]
        if not self.files:
            names = ", ".join(self.others[:5]) + (", …" if len(self.others) > 5 else "")
            found = f": {names}" if names else ""
            problems.append(f"nothing to grade; hand in {', '.join(SUFFIXES)} or .zip{found}")
        return tuple(cut_short(problems))


def cut_short(problems: list[str]) -> list[str]:
    r"""Return the first problems of a crowd, and how many more there are."""
    more = len(problems) - MAX_TOLD
    return problems[:MAX_TOLD] + ([f"and {more} more problems"] if more > 0 else [])


def find(folder: Path | str) -> list[Entry]:
    r"""Return the submissions in a folder, ordered by learner. None is read yet.

    Every file and folder in it counts as handed in, but for hidden ones: a file that cannot be
    graded is reported with its learner, so that nothing gets lost.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Entry

    Raises
    ------
    ValueError
        If the folder is missing, is no folder, or is empty.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(f"{folder} is a file; unpack it and pass the folder of submissions")
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; pass the one with the submissions")
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name not in IGNORED:
            paths.setdefault(_printable(_split(path)[0]), []).append(path)
    if not paths:
        raise ValueError(f"{folder} is empty; put one folder or file for each learner into it")
    return [Entry(learner, tuple(paths[learner])) for learner in sorted(paths)]


def _split(path: Path) -> tuple[str, str]:
    r"""Return learner and file name, the latter "" if the LMS has not put the two together."""
    folder = path.is_dir() and not path.is_symlink()
    if match := MOODLE.fullmatch(path.name):
        return match["learner"], "" if folder else match["file"]
    if not folder and (match := CANVAS.fullmatch(path.name)):
        return f"{match['name']}_{match['id']}", match["file"]
    return (path.name if folder else path.stem), ""


def _read(basket: _Basket, parent: int, name: str, path: PurePosixPath, depth: int) -> None:
    r"""Read a file or folder, called `name` in the open folder `parent` and `path` in words."""
    shown = _printable(str(path))
    basket.seen += 1
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            _read_folder(basket, parent, name, path, depth)
        elif not stat.S_ISREG(mode):
            basket.problems.append(f"{shown} is {_kind(mode)}; hand in the file itself")
        elif path.suffix.lower() in (*SUFFIXES, ".zip"):
            _read_file(basket, parent, name, path)
        else:
            basket.others.append(shown)
    except OSError as error:
        basket.problems.append(f"{shown} could not be read: {error.strerror}")


def _read_folder(basket: _Basket, parent: int, name: str, path: PurePosixPath, depth: int) -> None:
    shown = _printable(str(path))
    if depth >= MAX_DEPTH:
        basket.problems.append(f"{shown} lies more than {MAX_DEPTH} folders deep")
        return
    with _folder(name, parent) as folder, os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, MAX_SEEN + 1))
        for inner in names:
            if basket.seen > MAX_SEEN:
                basket.problems.append(f"only {MAX_SEEN} files and folders were looked at")
                return
            if inner not in IGNORED:
                below = PurePosixPath(inner) if depth == 0 else path / inner
                _read(basket, folder, inner, below, depth + 1)


def _read_file(basket: _Basket, parent: int, name: str, path: PurePosixPath) -> None:
    # O_NONBLOCK, in case that it has become a pipe meanwhile
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    shown = _printable(str(path))
    with open(name, "rb", opener=lambda n, _: os.open(n, flags, dir_fd=parent)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            basket.problems.append(f"{shown} is {_kind(status.st_mode)}; hand in the file itself")
            return
        if basket.refuses(shown, status.st_size):
            return
        data = file.read(status.st_size)
    if path.suffix.lower() == ".zip":
        _unpack(basket, path, data)
    else:
        basket.add(path, data)


@contextmanager
def _folder(name: Path | str, parent: int | None = None) -> Iterator[int]:
    r"""Open a folder; one inside a submission must be no link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open(name, flags if parent is None else flags | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)


def _unpack(basket: _Basket, path: PurePosixPath, data: bytes) -> None:
    r"""Read the files of a zip, if all that it declares is within the limits."""
    shown = _printable(str(path))
    if data.count(b"PK\x01\x02") > MAX_SEEN:  # one for each file, whatever the header claims
        basket.problems.append(f"{shown} holds more than {MAX_SEEN} files and was not opened")
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = list(_members(basket, shown, archive))
            size = sum(member.file_size for member, _ in members)
            if size > basket.room or len(members) > MAX_FILES:
                basket.problems.append(
                    f"{shown} would hold {len(members)} files of {_mb(size)} and was not opened; "
                    f"the limit is {MAX_FILES} files of {_mb(MAX_LEARNER)}"
                )
                return
            for member, name in members:
                _inflate(basket, archive, member, name, path)
    except Exception as error:  # a broken archive makes zipfile raise many kinds
        basket.problems.append(f"{shown} is no zip file that can be opened ({_reason(error)})")


def _members(
    basket: _Basket, shown: str, archive: zipfile.ZipFile
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    r"""Yield the files that can be graded, and note why others cannot."""
    for member in archive.infolist():
        path = PurePosixPath(_decoded(member))
        if member.is_dir() or IGNORED & {*path.parts}:
            continue
        place = f"{_printable(str(path))} in {shown}"
        if path.suffix.lower() not in SUFFIXES:
            basket.others.append(place)
        elif problem := _refusal(member, path):
            basket.problems.append(f"{place} {problem}")
        elif not basket.refuses(place, member.file_size):
            yield member, path


def _refusal(member: zipfile.ZipInfo, path: PurePosixPath) -> str:
    r"""Say why a file of a zip is not unpacked, or return an empty string."""
    mode = member.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or DRIVE.match(path.parts[0]):
        return "points out of the folder, so it was left out"
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return f"is {_kind(mode)}; hand in the file itself"
    if member.flag_bits & 0x1:
        return "is encrypted; zip it without a password"
    if member.compress_type not in PACKED:
        return "is packed in an unusual way; zip it with the tool of your system"
    if member.file_size > max(2**20, MAX_RATIO * member.compress_size):
        return (
            f"would grow {MAX_RATIO}-fold or more, to {_mb(member.file_size)}, so it was left out"
        )
    return ""


def _inflate(
    basket: _Basket,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    name: PurePosixPath,
    path: PurePosixPath,
) -> None:
    try:
        with archive.open(member) as file:
            data = file.read(member.file_size)  # stops there, whatever is packed
    except Exception as error:  # as above
        place = f"{_printable(str(name))} in {_printable(str(path))}"
        basket.problems.append(f"{place} cannot be unpacked ({_reason(error)})")
        return
    basket.add(name, data, str(path))


def _decoded(member: zipfile.ZipInfo) -> str:
    r"""Return the name in a zip; some tools write UTF-8 without saying so, some backslashes."""
    name = member.filename
    if not member.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _reason(error: Exception) -> str:
    return _printable(f"{type(error).__name__}: {error}"[:200])


def _printable(text: str) -> str:
    r"""Return text with escapes for what cannot be printed; different texts stay different."""
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text
    )


def _kind(mode: int) -> str:
    return next((words for test, words in KINDS if test(mode)), "a device")


def _mb(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
