r"""Grade on many machines, through Dask.

The workers of the cluster do what threads do on one machine: each has a sandbox of its own and
grades one submission at a time for each of its threads. Submissions travel to them as bytes, marks
travel back as JSON, and are saved here. Dask gives the work of a lost worker to another one.

Every worker needs the same course, the private exercises in the same place, and an isolation. That
is checked before the run begins.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import logging
import platform
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import Any

from coursepkg.grading.batch import Assignment, Grader, attempt, failed, warm
from coursepkg.grading.exercise import Exercise
from coursepkg.grading.marks import Graded, grade
from coursepkg.grading.sandbox import Sandbox
from coursepkg.grading.submissions import Entry, Submission
from coursepkg.grading.worker import wire

Client = Any  # Dask has few types, and need not be installed
Future = Any

__all__ = ["Order", "cluster"]

#: Submissions under way for each thread of a worker; the second waits where it will be needed.
AHEAD = 2

#: A submission may be large, which Dask warns of: in its own use it would be a mistake.
LARGE = "distributed.admin.large-graph-warning-threshold"

#: Seconds that are allowed to reach the scheduler, and a first worker.
CONNECT = 30

#: Seconds that a run goes on without any worker.
PATIENCE = 60


@dataclass(frozen=True)
class Order:
    r"""What a worker has to know, besides the submissions.

    Attributes
    ----------
    assignment : Assignment
    isolation : str
        What was asked for, such as `"auto"`.
    fingerprints : tuple of (str, str)
        Of the exercises here; those of a worker must be the same.
    versions : tuple of (str, str)
        Of what decides about results, here; those of a worker must be the same.
    """

    assignment: Assignment
    isolation: str
    fingerprints: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def _versions() -> tuple[tuple[str, str], ...]:
    packages = ((name, version(name)) for name in ("coursepkg", "numpy", "torch"))
    return (("Python", platform.python_version()), *packages)


@contextmanager
def cluster(
    address: str, assignment: Assignment, loaded: Sequence[Exercise], isolation: str
) -> Iterator[Grader]:
    r"""Connect to a cluster, check its workers, and provide what grades on them.

    Parameters
    ----------
    address : str
        Of the scheduler, such as `"tcp://10.0.0.1:8786"`.
    assignment : Assignment
    loaded : sequence of Exercise
        The exercises of the assignment.
    isolation : str
        To be had on each worker.

    Raises
    ------
    ValueError
        If Dask is not installed here, or a worker cannot do what is asked.
    ConnectionError
        If there is no scheduler, or no worker, or they are lost in the middle of the run.
    """
    fingerprints = tuple(assignment.fingerprints(loaded).items())
    order = Order(assignment, isolation, fingerprints, _versions())
    with _connected(address) as client:
        _inspect(client, order)
        try:
            yield partial(_far, client, order)
        finally:
            with contextlib.suppress(Exception):  # they may be gone
                client.run(_leave, on_error="ignore")


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        dask, distributed = map(importlib.import_module, ("dask", "distributed"))
    except ImportError:
        raise ValueError(
            "grading on a cluster needs the package distributed; "
            "install it with: pip install 'coursepkg[cluster]'"
        ) from None
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.CRITICAL)  # what happens to workers is told here in words
    try:
        try:
            client = distributed.Client(address, timeout=CONNECT, set_as_default=False)
        except OSError as error:
            raise ConnectionError(
                f"no scheduler answers at {address}; start one with `dask scheduler`"
            ) from error
        with client, dask.config.set({LARGE: "1 GiB"}):
            yield client
    finally:
        log.setLevel(before)


def _inspect(client: Client, order: Order) -> None:
    r"""Have each worker get ready, and tell which ones cannot."""
    try:
        client.wait_for_workers(1, timeout=CONNECT)
    except TimeoutError:
        raise ConnectionError(
            "the scheduler has no workers; start some with `dask worker ADDRESS`"
        ) from None
    told = client.run(_ready, order, on_error="return")
    problems = [f"{worker}: {problem}" for worker, problem in sorted(told.items()) if problem]
    if problems:
        raise ValueError(f"not every worker can grade; {'; '.join(problems)}")


def _far(
    client: Client, order: Order, entries: Sequence[Entry], done: Mapping[str, str]
) -> Generator[Graded | None]:
    r"""Grade on the cluster; no more submissions are under way than it needs to be busy."""
    results: SimpleQueue[Future] = SimpleQueue()
    learners: dict[Future, str] = {}
    waiting = iter(entries)
    left = len(entries)
    while left:
        for entry in waiting:
            submission = entry.read()
            if done.get(entry.learner) == submission.digest:
                left -= 1
                yield None
                continue
            future = client.submit(_unit, order, _packed(submission), pure=False)
            learners[future] = entry.learner
            future.add_done_callback(results.put)
            if len(learners) >= AHEAD * _threads(client):
                break
        if learners:
            future = _next(client, results)
            left -= 1
            yield _result(future, learners.pop(future), order)


def _next(client: Client, results: SimpleQueue[Future]) -> Future:
    r"""Wait for a result, as long as somebody is at work."""
    idle = 0
    while True:
        try:
            return results.get(timeout=1)
        except Empty:
            idle = 0 if _threads(client) else idle + 1
        if client.status != "running" or idle > PATIENCE:
            raise ConnectionError(
                "the scheduler or all its workers are gone; what is graded is saved, "
                "go on with --resume"
            )


def _threads(client: Client) -> int:
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return sum(worker["nthreads"] for worker in workers.values())


def _result(future: Future, learner: str, order: Order) -> Graded:
    if future.status == "finished":
        return Graded.from_json(json.loads(future.result()))
    if future.status in ("cancelled", "lost"):
        raise ConnectionError("the scheduler is gone; what is graded is saved, go on with --resume")
    return failed(learner, "", future.exception())


def _packed(submission: Submission) -> bytes:
    return wire.pack(
        {
            "learner": submission.learner,
            "files": dict(submission.files),
            "problems": submission.problems,
            "digest": submission.digest,
        }
    )


# What follows runs on the workers.


@dataclass(frozen=True, eq=False)
class _Station:
    order: Order
    loaded: tuple[Exercise, ...]
    sandbox: Sandbox


_STATIONS: list[_Station] = []  # of this process; at most one
_SETTING_UP = threading.Lock()


def _station(order: Order) -> _Station:
    r"""Return what this process grades with; it is made when it is first needed."""
    with _SETTING_UP:
        if _STATIONS and _STATIONS[0].order == order:
            return _STATIONS[0]
        _clear()
        if others := [
            f"{name} {here}, not {wanted}"
            for (name, here), (_, wanted) in zip(_versions(), order.versions, strict=True)
            if here != wanted
        ]:
            raise ValueError(f"it has {', '.join(others)}; install what you grade with")
        loaded = order.assignment.loaded()
        here = tuple(order.assignment.fingerprints(loaded).items())
        if others := [
            id for (id, a), (_, b) in zip(here, order.fingerprints, strict=True) if a != b
        ]:
            raise ValueError(f"{' and '.join(others)} differ from yours; install the same course")
        station = _Station(order, loaded, Sandbox(order.isolation))
        _STATIONS.append(station)
        warm(station.sandbox, loaded)
        return station


def _clear() -> None:
    while _STATIONS:
        _STATIONS.pop().sandbox.close()


atexit.register(_clear)


def _leave() -> None:
    with _SETTING_UP:
        _clear()


def _ready(order: Order) -> str:
    r"""Return why this worker cannot grade, or an empty string."""
    try:
        _station(order)
    except Exception as error:
        return str(error)
    return ""


def _unit(order: Order, packed: bytes) -> str:
    r"""Grade one submission."""
    station = _station(order)
    message = wire.unpack(packed)
    submission = Submission(
        message["learner"], message["files"], message["problems"], message["digest"]
    )

    def marks() -> Graded:
        exercises = order.assignment.of(submission.learner, station.loaded)
        return grade(submission, exercises, station.sandbox, order.assignment.seed)

    graded = attempt(submission.learner, station.sandbox.isolation, marks)
    assert graded is not None
    return json.dumps(graded.to_json())
