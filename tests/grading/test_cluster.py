"""A cluster gives the marks that one machine gives, even if it loses a worker on the way."""

import json
import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace

import dask
import distributed
import numpy
import pytest
from made import hand_in, write_exercise

from coursepkg.grading import cluster as clusters
from coursepkg.grading.batch import Assignment, run_batch
from coursepkg.grading.exercise import load
from coursepkg.grading.store import FILE, Store
from coursepkg.grading.submissions import Submission, find

ANSWERS = [
    "def twice(x):\n    return x + x\n",
    "def twice(x):\n    return x**2\n",
    "def twice(x):\n    return 2 * x if x == 1 else exit()\n",
    "nothing = 1\n",
]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def private(tmp_path):
    write_exercise(tmp_path / "private", "twice", 2)
    return tmp_path / "private"


def hand_in_many(folder, count):
    answers = {f"learner{i:02}.py": ANSWERS[i % len(ANSWERS)].encode() for i in range(count)}
    return hand_in(folder, answers)


@contextmanager
def local_cluster(workers=2):
    with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as local:
        yield local


def run(submitted, out, private, **options):
    return run_batch(
        submitted,
        out,
        ["made/twice"],
        seed=5,
        exercises_dir=private,
        progress=False,
        **options,
    )


def dump(out):
    with Store(out / FILE) as store:
        return json.dumps([graded.to_json() for graded in store.graded()])


def test_a_worker_that_is_killed_costs_nothing(private, tmp_path, monkeypatch):
    submitted = hand_in_many(tmp_path / "in", 24)
    run(submitted, tmp_path / "here", private).close()
    killed = threading.Event()
    save = Store.save

    with local_cluster() as local:
        processes = [worker.pid for worker in local.workers.values()]

        def kill_after_three(self, graded):
            save(self, graded)
            if len(self.done()) == 3:
                os.kill(processes[0], signal.SIGKILL)
                killed.set()

        monkeypatch.setattr(Store, "save", kill_after_three)
        run(submitted, tmp_path / "there", private, scheduler=local.scheduler_address).close()
    assert killed.is_set()
    assert dump(tmp_path / "there") == dump(tmp_path / "here")
    assert len(json.loads(dump(tmp_path / "there"))) == 24


def assignment_of(private, seed=5):
    return Assignment(("made/twice",), str(private), seed, False)


def test_what_kills_every_worker_ends_as_a_problem_and_not_as_a_hang(
    private, tmp_path, monkeypatch
):
    submitted = hand_in_many(tmp_path / "in", 4)
    assignment = assignment_of(private)
    monkeypatch.setattr(clusters, "_unit", _deadly)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        local_cluster(1) as local,
        clusters.cluster(
            local.scheduler_address, assignment, assignment.loaded(), "auto"
        ) as grader,
    ):
        graded = {one.learner: one for one in grader(find(submitted)[:1], {})}
    assert graded["learner00"].digest == graded["learner00"].isolation == ""
    assert "could not be graded: KilledWorker" in graded["learner00"].problems[0]


def _deadly(order, packed):
    os._exit(1)


def test_submissions_that_are_done_are_not_sent(private, tmp_path):
    submitted = hand_in_many(tmp_path / "in", 3)
    assignment = assignment_of(private)
    entries = find(submitted)
    done = {entry.learner: entry.read().digest for entry in entries[:2]}
    with (
        local_cluster(1) as local,
        clusters.cluster(
            local.scheduler_address, assignment, assignment.loaded(), "auto"
        ) as grader,
    ):
        results = list(grader(entries, done))
    assert [one and one.learner for one in results] == [None, None, "learner02"]


def test_a_worker_with_other_exercises_is_told(private, tmp_path):
    assignment = assignment_of(private)
    loaded = assignment.loaded()
    path = private / "made" / "twice.py"
    path.write_text(path.read_text().replace('"whole": 2', '"whole": 3'))
    with (
        local_cluster(1) as local,
        pytest.raises(ValueError, match=r"tcp://.*: made/twice differ.*; install the same course"),
        clusters.cluster(local.scheduler_address, assignment, loaded, "auto"),
    ):
        pass


def test_a_worker_without_isolation_is_told(private):
    assert "landlocks" in clusters._ready(order_of(private, "landlocks"))
    assert clusters._STATIONS == []


def test_a_worker_with_other_versions_is_told(private):
    order = order_of(private)
    other = tuple((name, "0.1" if name == "numpy" else v) for name, v in order.versions)
    told = clusters._ready(replace(order, versions=other))
    assert told == f"it has numpy {numpy.__version__}, not 0.1; install what you grade with"
    assert clusters._STATIONS == []


def order_of(private, isolation="auto"):
    assignment = assignment_of(private)
    prints = tuple(assignment.fingerprints(assignment.loaded()).items())
    return clusters.Order(assignment, isolation, prints, clusters._versions())


def test_a_unit_travels_as_bytes_and_comes_back_as_json(private):
    order = order_of(private)
    submission = Submission.of("ann\udcff", {"a.py": ANSWERS[0].encode()}, ("a problem",))
    try:
        told = json.loads(clusters._unit(order, clusters._packed(submission)))
        station = clusters._station(order)
        assert clusters._station(order) is station
    finally:
        clusters._leave()
    assert told["marks"][0]["points"] == 3
    assert told["problems"] == ["a problem"]
    assert told["digest"] == submission.digest
    assert clusters._STATIONS == []


def test_a_scheduler_that_is_not_there_is_told(private, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT", 0.5)
    assignment = assignment_of(private)
    with (
        pytest.raises(
            ConnectionError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9; start one"
        ),
        clusters.cluster("tcp://127.0.0.1:9", assignment, assignment.loaded(), "auto"),
    ):
        pass


def test_a_scheduler_without_workers_is_told(private, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT", 0.5)
    assignment = assignment_of(private)
    with (
        local_cluster(0) as local,
        pytest.raises(ConnectionError, match="has no workers; start some"),
        clusters.cluster(local.scheduler_address, assignment, assignment.loaded(), "auto"),
    ):
        pass


def test_without_dask_the_extra_is_named(private, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assignment = assignment_of(private)
    with (
        pytest.raises(ValueError, match=r"pip install 'coursepkg\[cluster\]'"),
        clusters.cluster("tcp://127.0.0.1:9", assignment, [load("convolution/im2col")], "auto"),
    ):
        pass
