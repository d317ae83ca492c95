"""A run loses nothing, whatever ends it, and its marks depend on nothing but the submissions."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from made import hand_in, write_exercise

from coursepkg.grading import batch
from coursepkg.grading.batch import Change, regrade, run_batch
from coursepkg.grading.sandbox import Sandbox
from coursepkg.grading.store import FILE, Store

VARIANT = '''
r"""Add {{ n }}

Write `plus(x)`.
"""
from coursepkg.grading import Case

def plus(x, n=1):
    r"""Add {{ n }}."""
    return x + n

def variant(rng):
    return {"n": int(rng.integers(10**9))}

points = {"all": 1}
environment = "numpy"
seconds = 0.3
reference = oracle = plus
FORBID = ()
PUBLIC = (Case("all", {"x": 1}, 2),)

def hidden(rng, n=1):
    yield Case("all", {"x": 5}, 5 + n)

WRONG = ()
'''

RIGHT = b"def twice(x):\n    return x + x\n\ndef thrice(x):\n    return 3 * x\n"
BOTH = ["made/thrice", "made/twice"]

HOSTILE = {
    "loop": b"def twice(x):\n    while True: pass\n",
    "memory": b"def twice(x):\n    return bytearray(10**12)\n",
    "exit": b"import os\ndef twice(x):\n    os._exit(0)\n",
    "bomb": b"import os\ndef twice(x):\n    while True: os.fork()\n",
    "threads": b"from threading import Thread\ndef twice(x):\n"
    b"    while True: Thread(target=twice, args=(x,)).start()\n",
    "kill": b"import os\ndef twice(x):\n    os.kill(-1, 9)\n",
}
SLEEPER = b"import time\ndef twice(x):\n    time.sleep(60)\n"


@pytest.fixture
def private(tmp_path):
    folder = tmp_path / "private"
    write_exercise(folder, "twice", 2)
    write_exercise(folder, "thrice", 3)
    return folder


@pytest.fixture
def submitted(tmp_path):
    return hand_in(
        tmp_path / "in", {"ann.py": RIGHT, "ben.py": b"def twice(x):\n    return x**2\n"}
    )


def run(submitted: Path, out: Path, private: Path, **options) -> Store:
    arguments = {"exercises": BOTH, "seed": 5, "exercises_dir": private, "progress": False}
    return run_batch(submitted, out, **arguments | options)


def dump(out: Path) -> str:
    with Store(out / FILE) as store:
        return json.dumps([graded.to_json() for graded in store.graded()], indent=1)


def points(store: Store) -> dict[str, list[int]]:
    return {graded.learner: [mark.points for mark in graded.marks] for graded in store.graded()}


def test_every_submission_is_graded_and_the_run_describes_itself(submitted, private, tmp_path):
    out = tmp_path / "deep" / "out"
    with run(submitted, out, private) as store:
        assert points(store) == {"ann": [3, 3], "ben": [0, 0]}
        settings = store.settings()
    assert settings.pop("fingerprints").keys() == set(BOTH)
    assert settings == {
        "submissions": "../../in",
        "exercises": BOTH,
        "exercises_dir": "../../private",
        "seed": 5,
        "isolation": "auto",
        "per_learner": False,
    }


def test_all_exercises_and_a_seed_of_its_own_are_the_rule(
    submitted, private, tmp_path, monkeypatch
):
    monkeypatch.setattr(batch, "exercise_ids", lambda folders: BOTH)
    seeds = []
    for name in ("one", "two"):
        with run(submitted, tmp_path / name, private, exercises=None, seed=None) as store:
            assert points(store) == {"ann": [3, 3], "ben": [0, 0]}
            seeds.append(store.settings()["seed"])
    assert seeds[0] != seeds[1]


def test_a_folder_that_is_not_empty_is_not_written_to(submitted, private, tmp_path):
    hand_in(tmp_path / "out", {"thesis.txt": b"years of work"})
    for resume in (False, True):
        with pytest.raises(ValueError, match="is not empty, and holds no marks; name a new folder"):
            run(submitted, tmp_path / "out", private, resume=resume)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_run_that_is_there_is_not_written_over(submitted, private, tmp_path):
    run(submitted, tmp_path / "out", private).close()
    with pytest.raises(ValueError, match="holds marks; go on with --resume"):
        run(submitted, tmp_path / "out", private)


@pytest.mark.parametrize("inside", [".", "marks"])
def test_nothing_is_written_among_the_submissions(submitted, private, inside):
    before = sorted(submitted.iterdir())
    with pytest.raises(ValueError, match="lies among the submissions"):
        run(submitted, submitted / inside, private, resume=True)
    assert sorted(submitted.iterdir()) == before


def test_a_run_goes_on_with_the_isolation_it_was_begun_with(submitted, private, tmp_path):
    run(submitted, tmp_path / "out", private, isolation="none").close()
    hand_in(submitted, {"cho.py": RIGHT})
    with run(submitted, tmp_path / "out", private, resume=True) as store:
        assert {graded.isolation for graded in store.graded()} == {"none"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exercises": ["made/twic"]}, "there is no exercise 'made/twic'"),
        ({"exercises": []}, "exercises is empty"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"workers": 0}, "workers=0 is not between 1 and"),
        ({"workers": 10**4}, "honest answers might run out of time"),
        ({"submitted": "nowhere"}, "there is no folder"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    submitted, private, tmp_path, options, message
):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / options.pop("submitted", "in"), tmp_path / "out", private, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 6}, "was begun with seed=5, not 6"),
        ({"exercises": BOTH[:1]}, "was begun with exercises="),
        ({"isolation": "none"}, "was begun with isolation='auto', not 'none'"),
        ({"per_learner": True}, "was begun with per_learner=False"),
    ],
)
def test_a_run_is_resumed_with_its_own_settings_only(
    submitted, private, tmp_path, options, message
):
    run(submitted, tmp_path / "out", private).close()
    with pytest.raises(ValueError, match=message):
        run(submitted, tmp_path / "out", private, resume=True, **options)


def test_resuming_needs_no_settings_and_both_folders_may_have_moved(submitted, private, tmp_path):
    run(submitted, tmp_path / "out", private).close()
    before = dump(tmp_path / "out")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("in", "out", "private"):
        (tmp_path / name).rename(moved / name)
    with run_batch(moved / "in", moved / "out", resume=True, progress=False) as store:
        assert store.settings()["seed"] == 5
    assert dump(moved / "out") == before


def test_resuming_what_never_began_begins(submitted, private, tmp_path):
    with run(submitted, tmp_path / "out", private, resume=True) as store:
        assert points(store) == {"ann": [3, 3], "ben": [0, 0]}


def test_resuming_grades_only_what_is_new_or_changed(submitted, private, tmp_path, monkeypatch):
    run(submitted, tmp_path / "out", private).close()
    hand_in(submitted, {"ben.py": RIGHT, "cho.py": RIGHT})
    calls = []

    def spy(submission, *rest):
        calls.append(submission.learner)
        return real(submission, *rest)

    real = batch.grade
    monkeypatch.setattr(batch, "grade", spy)
    with run(submitted, tmp_path / "out", private, resume=True) as store:
        assert points(store) == {"ann": [3, 3], "ben": [3, 3], "cho": [3, 3]}
    assert sorted(calls) == ["ben", "cho"]


def test_a_crash_of_ours_costs_no_other_submission_and_is_tried_again(
    submitted, private, tmp_path, monkeypatch
):
    real = batch.grade

    def crash(submission, *rest):
        if submission.learner == "ann":
            raise RuntimeError("zygote lost twice")
        return real(submission, *rest)

    monkeypatch.setattr(batch, "grade", crash)
    with run(submitted, tmp_path / "out", private) as store:
        ann, ben = store.graded()
    problem = "could not be graded: RuntimeError: zygote lost twice; run again with --resume"
    assert (ann.marks, ann.problems) == ((), (problem,))
    assert len(ben.marks) == 2
    monkeypatch.setattr(batch, "grade", real)
    with run(submitted, tmp_path / "out", private, resume=True) as store:
        assert points(store) == {"ann": [3, 3], "ben": [0, 0]}


def test_two_runs_do_not_write_to_one_folder(submitted, private, tmp_path):
    with run(submitted, tmp_path / "out", private) as store, store.locked():
        with pytest.raises(ValueError, match="another run is writing"):
            run(submitted, tmp_path / "out", private, resume=True)
        with pytest.raises(ValueError, match="another run is writing"):
            regrade(tmp_path / "out")


def test_an_exercise_that_changed_in_the_middle_is_told(submitted, private, tmp_path):
    run(submitted, tmp_path / "out", private).close()
    write_exercise(private, "twice", 4)
    with pytest.raises(ValueError, match="made/twice changed since the run was begun; bring"):
        run(submitted, tmp_path / "out", private, resume=True)


def test_each_learner_may_have_a_variant(private, tmp_path):
    (private / "made" / "plus.py").write_text(VARIANT)
    exercise = batch.load("made/plus", [private])
    answers = {}
    for learner in ("ann", "ben"):
        n = exercise.variant(5, learner).settings["n"]
        answers[f"{learner}.py"] = f"def plus(x):\n    return x + {n}\n".encode()
    answers["cho.py"] = answers["ben.py"]
    submitted = hand_in(tmp_path / "in", answers)
    only = {"exercises": ["made/plus"]}
    with run(submitted, tmp_path / "out", private, **only, per_learner=True) as store:
        assert points(store) == {"ann": [1], "ben": [1], "cho": [0]}
    n = exercise.variant(5).settings["n"]
    hand_in(submitted, {"dan.py": f"def plus(x):\n    return x + {n}\n".encode()})
    with run(submitted, tmp_path / "class", private, **only) as store:
        assert points(store) == {"ann": [0], "ben": [0], "cho": [0], "dan": [1]}


# --- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)],
)
def test_progress_is_shown_on_a_terminal_only(
    submitted, private, tmp_path, monkeypatch, stream, progress, shown
):
    monkeypatch.setattr(sys, "stderr", stream())
    run(submitted, tmp_path / "out", private, progress=progress).close()
    assert ("2/2" in sys.stderr.getvalue()) is shown


# --- fairness


def test_hostile_neighbours_and_the_number_of_workers_change_no_mark(private, tmp_path):
    honest = {
        "ann.py": RIGHT,
        "ben.py": b"def twice(x):\n    return x**2\n",
        "zoe.py": b"def twice(x):\n    return sum(x for _ in range(2 * 10**5)) / 1e5\n",
    }
    alone = hand_in(tmp_path / "alone", honest)
    among = hand_in(tmp_path / "among", honest | {f"h-{k}.py": v for k, v in HOSTILE.items()})
    marks = {}
    for submitted, workers in ((alone, 1), (among, 1), (among, 4)):
        out = tmp_path / f"{submitted.name}-{workers}"
        with run(submitted, out, private, workers=workers) as store:
            marks[out.name] = [graded.to_json() for graded in store.graded()]
    for name in ("among-1", "among-4"):
        assert [g for g in marks[name] if not hostile(g)] == marks["alone-1"]
        assert all(len(g["marks"]) == 2 for g in marks[name])
    points = [[mark["points"] for g in marks[name] for mark in g["marks"]] for name in marks]
    assert points[1] == points[2]
    assert sum(points[1]) == sum(points[0])


def hostile(graded: dict) -> bool:
    return graded["learner"].startswith("h-")


# --- the end of a run that was not meant to end

COMMAND = """
import sys
from coursepkg.grading.batch import run_batch
submitted, out, private = sys.argv[1:]
run_batch(submitted, out, ["made/thrice", "made/twice"], seed=5, exercises_dir=private,
          resume=True).close()
"""


def begin(*folders: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, *map(str, folders)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_until_graded(process: subprocess.Popen[str], out: Path, count: int) -> int:
    """Wait until so many submissions are saved, or the run has ended."""
    while process.poll() is None:
        if (out / FILE).exists() and (done := saved(out)) >= count:
            return done
        time.sleep(0.005)
    return saved(out)


def saved(out: Path) -> int:
    try:
        with Store(out / FILE) as store:
            return len(store.done())
    except ValueError:  # the tables are not there yet
        return 0


def mixed(folder: Path, count: int = 60) -> Path:
    """Hand in submissions of all kinds, right ones first."""
    rng = random.Random(0)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hw.py", RIGHT)
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": RIGHT.decode()}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    kinds = {
        ".py": RIGHT,
        "/hw.py": b"def twice(x):\n    return x**2\n",
        "/deep/hw.ipynb": json.dumps(notebook).encode(),
        ".zip": archive.getvalue(),
        "/a.py": b"def twice(x):\n    raise NotImplementedError\n",
        "/b.py": b"def twice(x)\n    return\n\n\ndef thrice(x):\n    return 3 * x\n",
        "/c.py": b"import os\ndef twice(x):\n    return 2 * x if x == 1 else os._exit(1)\n",
        "/d.docx": b"what?",
        "/e.ipynb": b"{ not json",
        "/f.py": HOSTILE["loop"],
    }
    weights = [9, 9, 9, 9, 9, 9, 3, 3, 3, 1]
    endings = rng.choices(list(kinds), weights, k=count)
    return hand_in(folder, {f"{i:04}-learner{e}": kinds[e] for i, e in enumerate(endings)})


#: How many submissions the run that is killed has; COURSE_KILLED=1000 takes some minutes.
KILLED = int(os.environ.get("COURSE_KILLED", "60"))


@pytest.mark.timeout(60 + 2 * KILLED)
def test_a_run_that_is_killed_three_times_ends_with_the_marks_of_an_undisturbed_one(
    private, tmp_path
):
    submitted, out = mixed(tmp_path / "in", KILLED), tmp_path / "out"
    run(submitted, tmp_path / "calm", private).close()
    seed = int(os.environ.get("COURSE_KILLED_SEED", random.randrange(10**6)))
    print(f"killed at the points of COURSE_KILLED_SEED={seed}")
    done, rng = 0, random.Random(seed)
    for _ in range(3):
        with begin(submitted, out, private) as process:
            done = wait_until_graded(process, out, done + rng.randint(1, KILLED // 4))
            process.kill()
            _, told = process.communicate()
        assert process.returncode == -signal.SIGKILL, told
    with begin(submitted, out, private) as process:
        assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert dump(out) == dump(tmp_path / "calm")
    assert len(json.loads(dump(out))) == KILLED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_ends_at_once_and_says_how_to_go_on(private, tmp_path, number):
    submitted, out = hand_in(mixed(tmp_path / "in"), {"sleeper.py": SLEEPER}), tmp_path / "out"
    with begin(submitted, out, private) as process:
        wait_until_graded(process, out, 5)
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert process.returncode != 0
    done = saved(out)
    assert 5 <= done < 61
    assert f"stopped: {done} of 61 submissions are graded; go on with --resume" in told
    assert "KeyboardInterrupt" in told
    run(submitted, out, private, resume=True).close()
    run(submitted, tmp_path / "calm", private).close()
    assert dump(out) == dump(tmp_path / "calm")


# --- grading again


def test_regrading_changes_only_what_a_mended_test_changes(submitted, private, tmp_path):
    out = tmp_path / "out"
    write_exercise(private, "twice", 4)  # the mistake of the instructor
    with run(submitted, out, private) as store:
        assert points(store) == {"ann": [3, 0], "ben": [0, 0]}
        decision = store.override("ann", "made/twice", 3, "the test was wrong")
        thrice = [graded.marks[0] for graded in store.graded()]
    write_exercise(private, "twice", 2)
    regraded = regrade(out, progress=False)
    assert regraded.changes == (
        Change("ann", "made/twice", 0, 3, 3),
        Change("ben", "made/twice", 0, 0, 3),
    )
    assert regraded.problems == ()
    with Store(out / FILE) as store:
        assert points(store) == {"ann": [3, 3], "ben": [0, 0]}
        assert store.overrides() == [decision]
        assert [graded.marks[0] for graded in store.graded()] == thrice
    run(submitted, out, private, resume=True).close()  # the run goes on with the mended test
    assert regrade(out, progress=False).changes == ()


def test_regrading_runs_nothing_where_nothing_changed(submitted, private, tmp_path, monkeypatch):
    run(submitted, tmp_path / "out", private).close()
    before = dump(tmp_path / "out")
    monkeypatch.setattr(batch, "grade", None)
    assert regrade(tmp_path / "out", progress=False) == batch.Regraded((), ())
    assert dump(tmp_path / "out") == before


def test_regrading_keeps_the_marks_of_those_whose_files_changed_or_are_gone(
    submitted, private, tmp_path
):
    out = tmp_path / "out"
    hand_in(submitted, {"cho.py": RIGHT})
    run(submitted, out, private).close()
    before = dump(out)
    (submitted / "ann.py").unlink()
    hand_in(submitted, {"ben.py": RIGHT})
    write_exercise(private, "twice", 2, title="A new title")
    regraded = regrade(out, progress=False)
    assert [change.learner for change in regraded.changes] == ["cho"]
    assert regraded.problems == (
        "ann: the submission is no longer there; the marks stay as they are",
        "ben: the files have changed; grade again with --resume; the marks stay as they are",
    )
    assert json.loads(dump(out))[:2] == json.loads(before)[:2]


def test_regrading_says_in_each_result_how_little_was_kept_apart(submitted, private, tmp_path):
    out = tmp_path / "out"
    with run(submitted, out, private, isolation="none") as store:
        assert {graded.isolation for graded in store.graded()} == {"none"}
        store.set_settings({"isolation": "auto"})
    write_exercise(private, "twice", 4)
    regrade(out, progress=False)
    with Store(out / FILE) as store:
        assert {graded.isolation for graded in store.graded()} == {"none"}


def test_regrading_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match="there are no marks in"):
        regrade(tmp_path)
    Store(tmp_path / FILE, create=True).close()
    with pytest.raises(ValueError, match="was stopped before it began"):
        regrade(tmp_path)


def test_a_machine_that_cannot_grade_is_told_before_anything_is_written(
    submitted, private, tmp_path, monkeypatch
):
    def broken(self, environment, files):
        raise RuntimeError("no namespaces here")

    monkeypatch.setattr(Sandbox, "session", broken)
    with pytest.raises(RuntimeError, match="no namespaces here"):
        run(submitted, tmp_path / "out", private)
    assert not (tmp_path / "out").exists()


def test_marks_can_be_read_by_others_while_the_run_goes_on(private, tmp_path):
    submitted, out = hand_in(mixed(tmp_path / "in"), {"sleeper.py": SLEEPER}), tmp_path / "out"
    with begin(submitted, out, private) as process:
        assert 5 <= wait_until_graded(process, out, 5) < 61
        with Store(out / FILE) as store:
            assert all(len(graded.marks) == 2 for graded in store.graded())
        process.kill()
    shutil.rmtree(out)
