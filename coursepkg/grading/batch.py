r"""Grade a folder of submissions: several at once, saved as they come, and resumed after any end.

Each submission is graded by itself, from its files, the exercises and the seed. So neither order
nor company matters, and a run that was killed and resumed ends with the marks of one that was not.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from tqdm import tqdm

from coursepkg.grading.exercise import Exercise, exercise_ids, load
from coursepkg.grading.isolation import NEEDED
from coursepkg.grading.marks import Graded, fingerprint, grade
from coursepkg.grading.sandbox import Sandbox, Task
from coursepkg.grading.store import FILE, Store
from coursepkg.grading.submissions import Entry, find

__all__ = ["Assignment", "Change", "Regraded", "attempt", "failed", "regrade", "run_batch", "warm"]

#: Of workers to cores. With more, an honest answer might wait so long that it is stopped.
CROWDED = 4

LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Assignment:
    r"""What submissions are graded on.

    Attributes
    ----------
    exercises : tuple of str
        Their ids.
    folder : str or None
        Where private exercises stand.
    seed : int
        Of hidden cases and variants.
    per_learner : bool
        Whether each learner has variants of their own; otherwise the class has the same.
    """

    exercises: tuple[str, ...]
    folder: str | None
    seed: int
    per_learner: bool

    def loaded(self) -> tuple[Exercise, ...]:
        r"""Return the exercises as the class has them."""
        folders = () if self.folder is None else (self.folder,)
        return tuple(load(id, folders).variant(self.seed) for id in self.exercises)

    def of(self, learner: str, exercises: Iterable[Exercise]) -> list[Exercise]:
        r"""Return exercises as a learner has them."""
        return [e.variant(self.seed, learner) if self.per_learner else e for e in exercises]

    def fingerprints(self, exercises: Iterable[Exercise]) -> dict[str, str]:
        r"""Return a hash of all that decides about marks, for each exercise."""
        return {exercise.id: fingerprint(exercise, self.seed) for exercise in exercises}


@dataclass(frozen=True)
class Change:
    r"""A mark that was computed again."""

    learner: str
    exercise: str
    before: int
    after: int
    out_of: int


@dataclass(frozen=True)
class Regraded:
    r"""What `regrade` did.

    Attributes
    ----------
    changes : tuple of Change
        The marks that were computed again, those that stayed equal included.
    problems : tuple of str
        Marks that were left as they were, and why.
    """

    changes: tuple[Change, ...]
    problems: tuple[str, ...]


def run_batch(
    submissions_dir: Path | str,
    out: Path | str,
    exercises: Sequence[str] | None = None,
    workers: int = 2,
    seed: int | None = None,
    scheduler: str | None = None,
    isolation: str | None = None,
    resume: bool = False,
    exercises_dir: Path | str | None = None,
    progress: bool = True,
    per_learner: bool | None = None,
) -> Store:
    r"""Grade all submissions of a folder, and return the open store of marks.

    Parameters
    ----------
    submissions_dir : path
        One folder or file for each learner; see `coursepkg.grading.submissions`.
    out : path
        Folder for the marks, on a local disk.
    exercises : sequence of str, optional
        Ids; all exercises by default.
    workers : int
        How many submissions are graded at a time on this machine. The marks do not depend on it.
    seed : int, optional
        Of hidden cases and variants; drawn and stored if it is not given.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers grade instead of this machine.
    isolation : str, optional
        `"auto"` (the rule), `"namespaces"`, `"landlock"` or `"none"`.
    resume : bool
        Go on with the run in `out`. What is graded already stays, unless the learner's files have
        changed. What is not given is as it was; so a run without isolation goes on without it.
    exercises_dir : path, optional
        Folder of private exercises.
    progress : bool
        Whether to show a bar on a terminal.
    per_learner : bool, optional
        Whether each learner has variants of their own.

    Raises
    ------
    ValueError
        If the arguments do not fit together, to the folders, or to the run that is resumed.
    KeyboardInterrupt
        If the run is stopped by Ctrl-C or SIGTERM. What is graded is saved.
    """
    submissions_dir, out = Path(submissions_dir), Path(out)
    entries = find(submissions_dir)
    if scheduler is None:
        _check_workers(workers)
    _check_out(out, submissions_dir, resume)
    asked = {
        "submissions": _from(out, submissions_dir),
        "exercises": None if exercises is None else [*exercises],
        "exercises_dir": None if exercises_dir is None else _from(out, exercises_dir),
        "seed": seed,
        "isolation": isolation,
        "per_learner": per_learner,
    }
    settings = _settings(asked, _stored(out) if resume else {})
    assignment = _assignment(out, settings)
    loaded = assignment.loaded()
    settings["fingerprints"] = _unchanged(settings, assignment.fingerprints(loaded))
    with _grader(assignment, loaded, settings["isolation"], workers, scheduler) as grader:
        out.mkdir(parents=True, exist_ok=True)
        store = Store(out / FILE, create=True)
        try:
            with store.locked():
                store.set_settings(settings)
                _fill(store, entries, grader, progress)
        except BaseException:
            store.close()
            raise
    return store


def _check_out(out: Path, submissions: Path, resume: bool) -> None:
    r"""Refuse a folder that holds, or belongs to, something else."""
    if out.resolve().is_relative_to(submissions.resolve()):
        raise ValueError(f"{out} lies among the submissions; name a new folder elsewhere")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / FILE).is_file():
        raise ValueError(f"{out} is not empty, and holds no marks; name a new folder")
    if not resume:
        raise ValueError(f"{out} holds marks; go on with --resume, or name a new folder")


def _check_workers(workers: int) -> None:
    most = CROWDED * (os.cpu_count() or 1)
    if not 1 <= workers <= most:
        raise ValueError(
            f"workers={workers} is not between 1 and {most}, {CROWDED} for each core; "
            "with more, honest answers might run out of time"
        )


def _from(out: Path, path: Path | str) -> str:
    r"""Return a path seen from `out`, so that both can be moved together."""
    return os.path.relpath(Path(path).resolve(), out.resolve())


def _stored(out: Path) -> dict[str, Any]:
    r"""Return the settings of the run that is resumed; none if it was killed before its start."""
    if not (out / FILE).is_file():
        return {}
    with Store(out / FILE) as store:
        return store.settings()


def _settings(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    r"""Complete what was asked for by what is stored, or by what is usual."""
    if not stored:
        if (seed := asked["seed"]) is not None and seed < 0:
            raise ValueError(f"seed={seed} is negative; use 0 or more")
        folder = asked["exercises_dir"]
        ids = asked["exercises"]
        if ids is not None and not ids:
            raise ValueError("exercises is empty; name at least one, or leave it out for all")
        usual = {
            "seed": secrets.randbits(48),
            "per_learner": False,
            "exercises_dir": folder,
            "isolation": "auto",
        }
        return {**asked, **{name: v for name, v in usual.items() if asked[name] is None}}
    for name, value in asked.items():
        if value is not None and value != stored[name]:
            raise ValueError(
                f"this run was begun with {name}={stored[name]!r}, not {value!r}; "
                "resume it with the same, or grade into a new folder"
            )
    return dict(stored)


def _assignment(out: Path, settings: dict[str, Any]) -> Assignment:
    folder = settings["exercises_dir"]
    folder = None if folder is None else os.path.normpath(out.resolve() / folder)
    if settings["exercises"] is None:
        settings["exercises"] = exercise_ids(() if folder is None else (folder,))
    ids = tuple(dict.fromkeys(settings["exercises"]))
    return Assignment(ids, folder, settings["seed"], settings["per_learner"])


def _unchanged(settings: Mapping[str, Any], now: dict[str, str]) -> dict[str, str]:
    r"""Return the fingerprints of exercises, if they are those with which the run was begun."""
    before = settings.get("fingerprints", now)
    if changed := [id for id in now if now[id] != before[id]]:
        raise ValueError(
            f"{' and '.join(changed)} changed since the run was begun; bring the marks up to date "
            "with `course regrade`, then resume"
        )
    return now


def _fill(store: Store, entries: Sequence[Entry], grader: Grader, progress: bool) -> None:
    r"""Grade what is not done, and save it as it comes."""
    done = store.done()
    with (
        _terminable(),
        _bar(len(entries), progress) as bar,
        closing(grader(entries, done)) as results,
    ):
        try:
            for graded in results:
                if graded is not None:
                    store.save(graded)
                bar.update()
        except KeyboardInterrupt:
            text = f"stopped: {len(store.done())} of {len(entries)} submissions are graded"
            bar.close()
            print(f"{text}; go on with --resume", file=sys.stderr)
            raise


def _bar(total: int, progress: bool) -> tqdm:
    off = not (progress and sys.stderr.isatty())
    return tqdm(total=total, unit="submission", disable=off, dynamic_ncols=True)


@contextmanager
def _terminable() -> Iterator[None]:
    r"""Let SIGTERM end the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


#: Grades entries, given the digests of those that are done, and yields None for these.
Grader = Callable[[Sequence[Entry], Mapping[str, str]], Generator[Graded | None]]


@contextmanager
def _grader(
    assignment: Assignment,
    loaded: Sequence[Exercise],
    isolation: str,
    workers: int,
    scheduler: str | None,
) -> Iterator[Grader]:
    if scheduler is not None:
        from coursepkg.grading.cluster import cluster

        with cluster(scheduler, assignment, loaded, isolation) as grader:
            yield grader
        return
    with Sandbox(isolation) as sandbox:
        warm(sandbox, loaded)
        yield partial(_here, assignment, loaded, sandbox, workers)


def _here(
    assignment: Assignment,
    loaded: Sequence[Exercise],
    sandbox: Sandbox,
    workers: int,
    entries: Sequence[Entry],
    done: Mapping[str, str],
) -> Generator[Graded | None]:
    r"""Grade on this machine, in several threads."""

    def unit(entry: Entry) -> Graded | None:
        submission = entry.read()
        if done.get(entry.learner) == submission.digest:
            return None
        return grade(submission, assignment.of(entry.learner, loaded), sandbox, assignment.seed)

    return _side_by_side(
        [
            partial(attempt, entry.learner, sandbox.isolation, partial(unit, entry))
            for entry in entries
        ],
        workers,
        sandbox,
    )


def warm(sandbox: Sandbox, exercises: Iterable[Exercise]) -> None:
    r"""Start what is needed, so that what cannot work is told before the first submission."""
    for environment in {exercise.environment for exercise in exercises}:
        with sandbox.session(environment, {}) as session:
            session.open(Task("nothing"))


def attempt(learner: str, isolation: str, unit: Callable[[], Graded | None]) -> Graded | None:
    r"""Do one unit of work; if it fails, that is a problem of this submission alone.

    What is returned then has no digest, so that it is tried again when the run is resumed.
    """
    try:
        return unit()
    except Exception as error:
        return failed(learner, isolation, error)


def failed(learner: str, isolation: str, error: BaseException) -> Graded:
    r"""Return what stands in the place of marks where grading itself went wrong."""
    problem = f"could not be graded: {_said(learner, error)}; run again with --resume"
    return Graded(learner, "", (problem,), isolation, ())


def _said(learner: str, error: BaseException) -> str:
    LOG.warning("%s could not be graded: %s: %s", learner, type(error).__name__, error)
    LOG.debug("in detail:", exc_info=error)
    return f"{type(error).__name__}: {error}"[:300]


def _side_by_side(units: Sequence[Callable[[], T]], workers: int, sandbox: Sandbox) -> Generator[T]:
    r"""Yield the results of units as they come; an early end ends those that still run."""
    results: SimpleQueue[Future[T]] = SimpleQueue()
    pool = ThreadPoolExecutor(workers)
    try:
        for unit in units:
            pool.submit(unit).add_done_callback(results.put)
        for _ in units:
            yield results.get().result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        sandbox.close()
        raise
    finally:
        pool.shutdown()


def regrade(out: Path | str, workers: int = 2, progress: bool = True) -> Regraded:
    r"""Compute the marks again whose exercise has changed since; all else stays, overrides too.

    Parameters
    ----------
    out : path
        Of a run.
    workers : int
        How many submissions are graded at a time.
    progress : bool
        Whether to show a bar on a terminal.

    Raises
    ------
    ValueError
        If there is no run, or its submissions or exercises are gone.
    KeyboardInterrupt
        If it is stopped. Calling it again does what is left.
    """
    out = Path(out)
    _check_workers(workers)
    with Store(out / FILE) as store, store.locked():
        settings = store.settings()
        if not settings:
            raise ValueError(f"the run in {out} was stopped before it began; grade again")
        assignment = _assignment(out, settings)
        loaded = assignment.loaded()
        entries = {entry.learner: entry for entry in find(out / settings["submissions"])}
        with Sandbox(settings["isolation"]) as sandbox:
            warm(sandbox, loaded)
            units = [
                partial(_again, graded, entries.get(graded.learner), assignment, loaded, sandbox)
                for graded in store.graded()
                if graded.digest
            ]
            results = _side_by_side(units, workers, sandbox)
            regraded = _replace(store, results, len(units), progress)
        store.set_settings({"fingerprints": assignment.fingerprints(loaded)})
    return regraded


def _again(
    graded: Graded,
    entry: Entry | None,
    assignment: Assignment,
    loaded: Sequence[Exercise],
    sandbox: Sandbox,
) -> tuple[Graded, Graded | None, str]:
    r"""Return old marks, new marks or None if all stay, and a problem or an empty string."""
    exercises = {e.id: e for e in assignment.of(graded.learner, loaded)}
    seed = assignment.seed
    stale = [
        exercises[mark.exercise]
        for mark in graded.marks
        if mark.fingerprint != fingerprint(exercises[mark.exercise], seed)
    ]
    if not stale:
        return graded, None, ""
    if entry is None:
        return graded, None, "the submission is no longer there"
    try:
        submission = entry.read()
        if submission.digest != graded.digest:
            return graded, None, "the files have changed; grade again with --resume"
        again = grade(submission, stale, sandbox, seed)
    except Exception as error:
        return graded, None, f"could not be graded: {_said(graded.learner, error)}"
    marks = {mark.exercise: mark for mark in (*graded.marks, *again.marks)}
    isolation = max(graded.isolation, again.isolation, key=[*NEEDED].index)
    return graded, replace(graded, isolation=isolation, marks=tuple(marks.values())), ""


def _replace(
    store: Store,
    results: Generator[tuple[Graded, Graded | None, str]],
    total: int,
    progress: bool,
) -> Regraded:
    r"""Save new marks as they come, and tell what became of the old ones."""
    changes: list[Change] = []
    problems: list[str] = []
    with _terminable(), _bar(total, progress) as bar, closing(results):
        for old, new, problem in results:
            if problem:
                problems.append(f"{old.learner}: {problem}; the marks stay as they are")
            if new is not None:
                store.save(new)
                changes += _changes(old, new)
            bar.update()
    changes.sort(key=lambda change: (change.learner, change.exercise))
    return Regraded(tuple(changes), tuple(sorted(problems)))


def _changes(old: Graded, new: Graded) -> list[Change]:
    return [
        Change(old.learner, after.exercise, before.points, after.points, after.out_of)
        for before, after in zip(old.marks, new.marks, strict=True)
        if before.fingerprint != after.fingerprint
    ]
