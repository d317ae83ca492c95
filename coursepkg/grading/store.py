r"""Marks on disk: one SQLite file, written as they come and readable at any time.

Each submission is saved in one transaction, so that a run that is killed has lost at most the
submissions that were being graded.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from coursepkg.grading.marks import Graded, Mark

__all__ = ["FILE", "VERSION", "Override", "Store"]

#: The name of the file in the folder of a run.
FILE = "marks.sqlite"

#: Of the tables below.
VERSION = 1

TABLES = """
BEGIN;
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS submission (
    learner TEXT PRIMARY KEY, digest TEXT NOT NULL, problems TEXT NOT NULL, isolation TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS mark (
    learner TEXT NOT NULL REFERENCES submission ON DELETE CASCADE,
    exercise TEXT NOT NULL,
    place INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (learner, exercise)
);
CREATE TABLE IF NOT EXISTS override (
    id INTEGER PRIMARY KEY, learner TEXT NOT NULL, exercise TEXT NOT NULL, points REAL NOT NULL,
    why TEXT NOT NULL, author TEXT NOT NULL, date TEXT NOT NULL
);
PRAGMA user_version = {version};
COMMIT;
"""


@dataclass(frozen=True)
class Override:
    r"""What an instructor decided about a mark. Of several decisions the last one counts.

    Attributes
    ----------
    learner, exercise : str
    points : float
    why, author : str
    date : str
        As `2026-03-01T12:00:00+00:00`.
    """

    learner: str
    exercise: str
    points: float
    why: str
    author: str
    date: str


class Store:
    r"""The marks of one run. Use it in a `with` block, or close it.

    Parameters
    ----------
    path : path
        The SQLite file.
    create : bool
        Whether to make it if it is not there.

    Raises
    ------
    ValueError
        If it is not there, or was not written by this version of the course.
    """

    def __init__(self, path: Path | str, create: bool = False) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise ValueError(f"there are no marks in {self.path}; grade submissions first")
        self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.close()
            raise ValueError(
                f"{self.path} cannot be read ({error}); is it a file of marks?"
            ) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {setting}")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(TABLES.format(version=VERSION))
        elif version != VERSION:
            raise ValueError(
                f"{self.path} has version {version} of the tables, this course writes {VERSION}; "
                "use the course it was graded with, or grade into a new folder"
            )

    def close(self) -> None:
        r"""Close the file."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except BaseException as error:
            if self._database.in_transaction:  # SQLite may have ended it by itself
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):  # such as a disk that is full
                raise OSError(
                    f"{self.path} cannot be written ({error}); what was saved before is safe, "
                    "go on with --resume"
                ) from error
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        r"""Keep other runs out while this one writes. Reading stays possible.

        The lock ends with the process, however that ends.

        Raises
        ------
        ValueError
            If another run is writing.
        """
        with self.path.with_suffix(".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"another run is writing to {self.path.parent}; wait until it has ended"
                ) from None
            yield

    def settings(self) -> dict[str, Any]:
        r"""Return what describes the run; empty before it has begun."""
        rows = self._database.execute("SELECT key, value FROM run")
        return {key: json.loads(value) for key, value in rows}

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        r"""Add settings, or change them."""
        rows = [(key, json.dumps(value)) for key, value in settings.items()]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", rows)

    def save(self, graded: Graded) -> None:
        r"""Save one submission, in the place of what was saved of this learner before."""
        learner = _storable(graded.learner)
        problems = json.dumps([*graded.problems])
        rows = [
            (learner, mark.exercise, place, json.dumps(mark.to_json()))
            for place, mark in enumerate(graded.marks)
        ]
        with self._transaction() as database:
            database.execute("DELETE FROM submission WHERE learner = ?", (learner,))
            database.execute(
                "INSERT INTO submission VALUES (?, ?, ?, ?)",
                (learner, graded.digest, problems, graded.isolation),
            )
            database.executemany("INSERT INTO mark VALUES (?, ?, ?, ?)", rows)

    def done(self) -> dict[str, str]:
        r"""Return the digest of each submission that has been graded, by learner."""
        return dict(
            self._database.execute("SELECT learner, digest FROM submission WHERE digest != ''")
        )

    def graded(self) -> Iterator[Graded]:
        r"""Yield all submissions with their marks, ordered by learner."""
        rows = self._database.execute(
            "SELECT learner, digest, problems, isolation FROM submission ORDER BY learner"
        ).fetchall()
        for learner, digest, problems, isolation in rows:
            records = self._database.execute(
                "SELECT record FROM mark WHERE learner = ? ORDER BY place", (learner,)
            ).fetchall()
            marks = tuple(Mark.from_json(json.loads(record)) for (record,) in records)
            yield Graded(learner, digest, tuple(json.loads(problems)), isolation, marks)

    def override(
        self,
        learner: str,
        exercise: str,
        points: float,
        why: str,
        author: str = "",
        date: str = "",
    ) -> Override:
        r"""Keep a decision of the instructor beside the computed mark.

        Parameters
        ----------
        learner, exercise : str
        points : float
            From 0 to the points of the exercise.
        why : str
            The learner reads it.
        author : str
        date : str, optional
            Now, if it is not given.

        Raises
        ------
        ValueError
            If there is no such mark, it cannot have so many points, or the reason is missing.
        """
        out_of = self._mark(learner, exercise).out_of
        if not 0 <= points <= out_of:  # neither does NaN pass
            raise ValueError(f"points={points:g} is not between 0 and the {out_of} of {exercise}")
        if not why.strip():
            raise ValueError("why is empty; say in a few words why the mark is changed")
        when = date or datetime.now().astimezone().isoformat(timespec="seconds")
        decision = Override(
            _storable(learner), exercise, points, _storable(why), _storable(author), when
        )
        with self._transaction() as database:
            database.execute(
                "INSERT INTO override VALUES (NULL, ?, ?, ?, ?, ?, ?)", astuple(decision)
            )
        return decision

    def overrides(self) -> list[Override]:
        r"""Return all decisions, in the order in which they were made."""
        rows = self._database.execute(
            "SELECT learner, exercise, points, why, author, date FROM override ORDER BY id"
        )
        return [Override(*row) for row in rows]

    def _mark(self, learner: str, exercise: str) -> Mark:
        rows = self._database.execute(
            "SELECT exercise, record FROM mark WHERE learner = ?", (_storable(learner),)
        )
        records = dict(rows.fetchall())
        if not records:
            learners = [
                name for (name,) in self._database.execute("SELECT DISTINCT learner FROM mark")
            ]
            raise ValueError(f"there are no marks of {learner!r}{_near(learner, learners)}")
        if exercise not in records:
            raise ValueError(f"{learner} has no mark for {exercise!r}{_near(exercise, records)}")
        return Mark.from_json(json.loads(records[exercise]))


def _near(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=3, cutoff=0.4)
    return f"; perhaps {' or '.join(map(repr, near))}" if near else ""


def _storable(text: str) -> str:
    r"""Return text that a database takes: lone surrogates stand as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
