"""Marks are on disk as soon as they are known, and stay readable."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime

import pytest

from coursepkg.grading.marks import Graded, Mark
from coursepkg.grading.store import FILE, VERSION, Override, Store


def mark(exercise: str, points: int = 2, feedback: str = "well done") -> Mark:
    return Mark(
        exercise=exercise,
        title="A title",
        points=points,
        out_of=3,
        groups={"stride": {"points": points, "out_of": 3, "passed": False}},
        status="graded",
        feedback=feedback,
        hints=("look", "again"),
        mistakes=("flipped",),
        place="hw1.ipynb, cell 2",
        source="def f(): ...",
        published=False,
        fingerprint="abc",
    )


def graded(learner: str, *marks: Mark, digest: str = "d1") -> Graded:
    return Graded(learner, digest, ("a.py is empty",), "namespaces", marks)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / FILE, create=True) as store:
        yield store


def test_what_is_saved_comes_back_ordered_by_learner(store):
    cho, ann = graded("cho", mark("t/b"), mark("t/a", 0)), graded("ann")
    store.save(cho)
    store.save(ann)
    assert list(store.graded()) == [ann, cho]
    assert store.done() == {"ann": "d1", "cho": "d1"}


def test_saving_again_replaces_all_of_a_learner(store):
    store.save(graded("ann", mark("t/a"), mark("t/b")))
    store.save(graded("ben", mark("t/a")))
    again = graded("ann", mark("t/b", 3), digest="d2")
    store.save(again)
    assert list(store.graded()) == [again, graded("ben", mark("t/a"))]


def test_what_could_not_be_graded_is_kept_but_not_done(store):
    failed = Graded("ann", "", ("could not be graded",), "namespaces", ())
    store.save(failed)
    assert list(store.graded()) == [failed]
    assert store.done() == {}


def test_any_text_can_be_stored(store):
    text = "\udcff \x00 '; DROP TABLE mark; -- 가 \N{PILE OF POO}"
    one = graded("ann", mark("t/a", feedback=text))
    store.save(one)
    assert list(store.graded()) == [one]
    store.save(graded("b\udcff"))
    assert [g.learner for g in store.graded()] == ["ann", r"b\udcff"]


def test_a_save_that_fails_changes_nothing(store):
    before = graded("ann", mark("t/a"))
    store.save(before)
    with pytest.raises(sqlite3.IntegrityError):
        store.save(graded("ann", mark("t/a", 0), mark("t/a", 1)))
    assert list(store.graded()) == [before]
    store.save(graded("ben"))


def test_a_disk_that_is_full_is_told_and_costs_nothing_that_was_saved(store):
    store.save(graded("ann", mark("t/a")))
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match=r"cannot be written .*full.*; what was saved before is safe"):
        store.save(graded("ben", mark("t/a", feedback="x" * 10**6)))
    assert store.done() == {"ann": "d1"}
    store._database.execute(f"PRAGMA max_page_count = {10**6}")
    store.save(graded("ben", mark("t/a")))
    assert store.done() == {"ann": "d1", "ben": "d1"}


def test_marks_can_be_read_while_others_are_written(store):
    store.save(graded("ann", mark("t/a")))
    with Store(store.path) as reader:
        with store._transaction() as database:
            database.execute("DELETE FROM submission")
            assert [g.learner for g in reader.graded()] == ["ann"]
        assert list(reader.graded()) == []


def test_settings_are_added_and_changed(store):
    assert store.settings() == {}
    store.set_settings({"seed": 2**70, "exercises": ["t/a"]})
    store.set_settings({"exercises": None})
    assert store.settings() == {"seed": 2**70, "exercises": None}


def test_marks_that_are_not_there_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"there are no marks in .*; grade submissions first"):
        Store(tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


def test_a_file_of_another_kind_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="is it a file of marks"):
        Store(tmp_path / FILE)


def test_a_file_of_another_version_is_told(store):
    with closing(sqlite3.connect(store.path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(ValueError, match=f"version {VERSION + 1} of the tables"):
        Store(store.path)


LOCK = """
import sys
from coursepkg.grading.store import Store
with Store(sys.argv[1]) as store, store.locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_run_at_a_time_writes_and_a_killed_one_leaves_no_lock(store):
    command = [sys.executable, "-c", LOCK, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match="another run is writing"), store.locked():
            pass
        store.save(graded("ann"))  # an override must not wait for a run
        other.kill()
    with store.locked():
        pass


def test_overrides_are_kept_in_order_beside_the_marks(store):
    store.save(graded("ann", mark("t/a")))
    first = store.override("ann", "t/a", 2.5, "a typing error", "Dr. Kim", "2026-03-01T12:00:00Z")
    second = store.override("ann", "t/a", 0, "copied \udcff")
    assert first == Override("ann", "t/a", 2.5, "a typing error", "Dr. Kim", "2026-03-01T12:00:00Z")
    assert store.overrides() == [first, second]
    assert second.why == r"copied \udcff"
    assert datetime.fromisoformat(second.date).tzinfo is not None
    store.save(graded("ann", mark("t/a", 1)))
    assert store.overrides() == [first, second]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("anna", "t/a", 1, "why"), "there are no marks of 'anna'; perhaps 'ann'"),
        (("ann", "t/b", 1, "why"), "ann has no mark for 't/b'; perhaps 't/a'"),
        (("ann", "t/a", 4, "why"), "points=4 is not between 0 and the 3 of t/a"),
        (("ann", "t/a", -1, "why"), "points=-1 is not"),
        (("ann", "t/a", float("nan"), "why"), "points=nan is not"),
        (("ann", "t/a", 1, "  "), "why is empty"),
    ],
)
def test_overrides_are_checked(store, arguments, message):
    store.save(graded("ann", mark("t/a")))
    with pytest.raises(ValueError, match=message):
        store.override(*arguments)
    assert store.overrides() == []
