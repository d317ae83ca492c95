r"""Every experiment has a current record; and the tool that runs them, on a checkout of its own."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coursepkg.recorded import check_figures, recorded
from experiments import (
    PACKAGES,
    ROOT,
    Experiment,
    ExperimentError,
    code_hash,
    experiments,
    finished_seeds,
)

NAMES = [experiment.name for experiment in experiments(ROOT)]

# --- the records of the course ---------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_each_experiment_has_a_current_record(name):
    reason = Experiment(ROOT, name).stale()
    assert reason is None, f"{reason}; run python tools/experiments.py {name}"


@pytest.mark.parametrize("name", NAMES)
def test_each_record_is_complete(name):
    record = recorded(name)
    assert record.seeds == [0, 1, 2, 3, 4]
    assert record.threads == 1
    assert set(record.versions) == {"python", *PACKAGES}
    assert len({forms(result) for result in record.results}) == 1, "the seeds differ in form"
    check_figures(record.settings)


@pytest.mark.parametrize("name", NAMES)
def test_each_experiment_says_what_is_asked_and_how(name):
    docstring = ast.get_docstring(ast.parse(Experiment(ROOT, name).path.read_text("utf-8")))
    assert len(docstring.split()) > 20


def test_each_record_has_an_experiment():
    records = {p.relative_to(ROOT / "experiments") for p in ROOT.glob("experiments/*/*.json")}
    assert records <= {Path(f"{name}.json") for name in NAMES}


def forms(value):
    """Return the form of a result: its keys, and the lengths of its lists."""
    if isinstance(value, dict):
        return tuple((key, forms(part)) for key, part in value.items())
    return tuple(map(forms, value)) if isinstance(value, list) else ()


# --- the tool --------------------------------------------------------------------------------

EXPERIMENT = """
'''Does seed times factor grow?'''
import json, os, pathlib, time
from coursepkg.topic.made import factor

SETTINGS = {"step": 2}
LOG = pathlib.Path(__file__).with_name("log.txt")

def run(seed):
    '''Take a step.'''
    with LOG.open("a") as file:
        file.write(f"{seed} ")
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "PYTHONHASHSEED")}
    return {"seed": seed, "curve": [seed * factor(), 0.5], "environment": kept}
"""
MADE = """
'''Made for a test.'''
from coursepkg.topic.deep import BASE

def factor():
    '''Return it.'''
    return 2 * BASE  # twice
"""


class Checkout:
    """A little repository with one experiment, and the true tool."""

    def __init__(self, root):
        self.root = root
        for name in ("tools/experiments.py", "coursepkg/__init__.py", "coursepkg/recorded.py"):
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        self.write("coursepkg/topic/__init__.py", "")
        self.write("coursepkg/topic/made.py", MADE)
        self.write("coursepkg/topic/deep.py", "BASE = 1.5\n")
        self.write("experiments/topic/slug.py", EXPERIMENT)
        self.experiment = Experiment(root, "topic/slug")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)

    def edit(self, name, old, new):
        text = (self.root / name).read_text()
        assert text.count(old) == 1
        (self.root / name).write_text(text.replace(old, new))

    def start(self, *arguments):
        command = [sys.executable, str(self.root / "tools" / "experiments.py"), *arguments]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "7",
            "PYTHONHASHSEED": "3",
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            command, env=environment, text=True, start_new_session=True, **pipes
        )

    def run(self, *arguments):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def record(self):
        return json.loads(self.experiment.record.read_text())

    def log(self):
        path = self.root / "experiments" / "topic" / "log.txt"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def ran(checkout):
    """A checkout whose experiment has been run."""
    code, _, err = checkout.run()
    assert code == 0, err
    return checkout


def test_a_run_records_each_seed_and_where_it_comes_from(ran):
    record = ran.record()
    assert record["settings"] == {"step": 2}
    assert record["seeds"] == [0, 1, 2, 3, 4]
    curves = [[seed * 3.0, 0.5] for seed in range(5)]
    assert [result["curve"] for result in record["results"]] == curves
    for result in record["results"]:
        assert result["environment"] == {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    assert record["threads"] == 1
    assert set(record["versions"]) == {"python", *PACKAGES}
    names = ["coursepkg.topic.deep", "coursepkg.topic.made", "experiments.topic.slug"]
    assert sorted(record["modules"]) == names
    assert recorded("topic/slug", ran.root / "experiments").mean("curve", 0) == 6
    assert ran.log() == list("01234")
    assert not ran.experiment.kept.exists()


def test_a_list_of_numbers_takes_one_line(ran):
    assert '"curve": [3.0, 0.5],\n' in ran.experiment.record.read_text()


def test_a_current_record_is_left_alone_unless_forced(ran):
    code, out, _ = ran.run("topic/slug")
    assert (code, ran.log()) == (0, list("01234"))
    assert "0 of 1 experiments" in out
    code, _, _ = ran.run("--force", "topic/slug")
    assert (code, ran.log()) == (0, list("0123401234"))


def test_check_runs_nothing(checkout):
    code, out, _ = checkout.run("--check")
    assert (code, out, checkout.log()) == (1, "topic/slug: it has not been run\n", [])


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("experiments/topic/slug.py", "0.5]", "0.25]", "experiments.topic.slug"),
        ("experiments/topic/slug.py", '"step": 2', '"step": 3', "experiments.topic.slug"),
        ("coursepkg/topic/made.py", "2 * BASE", "3 * BASE", "coursepkg.topic.made"),
        ("coursepkg/topic/deep.py", "1.5", "1.25", "coursepkg.topic.deep"),
        ("coursepkg/topic/made.py", "    return", "    'x'; return", "coursepkg.topic.made"),
    ],
)
def test_a_change_of_code_makes_a_record_stale(ran, name, old, new, changed):
    assert ran.experiment.stale() is None
    ran.edit(name, old, new)
    assert ran.experiment.stale() == f"changed since it was run: {changed}"
    code, out, _ = ran.run("--check", "topic/slug")
    assert (code, changed in out) == (1, True)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("experiments/topic/slug.py", "Does seed times factor grow?", "Another question."),
        ("experiments/topic/slug.py", "'''Take a step.'''", "'''Go.'''"),
        ("experiments/topic/slug.py", "    '''Take a step.'''\n", ""),
        ("coursepkg/topic/made.py", "# twice", "# two times"),
        ("coursepkg/topic/made.py", "2 * BASE", "(2\n      * BASE)"),
        ("coursepkg/topic/__init__.py", "", "X = 1\n"),
    ],
)
def test_a_change_of_words_or_layout_does_not(ran, name, old, new):
    if old:
        ran.edit(name, old, new)
    else:
        ran.write(name, new)
    assert ran.experiment.stale() is None


def test_a_new_import_makes_a_record_stale(ran):
    ran.write("coursepkg/topic/more.py", "MORE = 1\n")
    ran.edit("coursepkg/topic/deep.py", "BASE", "import coursepkg.topic.more\nBASE")
    assert ran.experiment.stale().endswith("coursepkg.topic.deep, coursepkg.topic.more")


def test_modules_that_draw_make_no_record_stale(ran):
    ran.write("coursepkg/plotting.py", "FONT = 1\n")
    ran.edit("coursepkg/topic/deep.py", "BASE", "from coursepkg.plotting import FONT\nBASE")
    assert ran.run("topic/slug")[0] == 0
    ran.write("coursepkg/plotting.py", "FONT = 2\n")
    assert ran.experiment.stale() is None


def test_a_name_that_a_package_hands_on_is_refused(ran):
    ran.write("coursepkg/topic/__init__.py", "from coursepkg.topic.made import factor\n")
    ran.edit("experiments/topic/slug.py", "coursepkg.topic.made", "coursepkg.topic")
    with pytest.raises(ExperimentError, match=r"'from coursepkg\.topic import factor'"):
        ran.experiment.stale()
    code, _, err = ran.run()
    assert (code, "import it from there" in err, "Traceback" in err) == (1, True, False)


@pytest.mark.parametrize("line", ["from .deep import BASE", "from . import deep"])
def test_relative_imports_are_followed(checkout, line):
    checkout.edit("coursepkg/topic/made.py", "from coursepkg.topic.deep import BASE", line)
    assert "coursepkg.topic.deep" in checkout.experiment.modules()


def test_the_hash_is_the_same_in_every_version_of_python():
    """Written in Python 3.11; newer versions add empty fields to the tree."""
    source = "@cache\ndef f(x, *, y=None, **z):\n 'doc'\n return f'{x!r:>{y}} {z=}', u'v', ..."
    assert code_hash(ast.parse(source)) == "ddffaa0d64424224"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = None", "x = ..."),
        ("f(None)", "f()"),
        ("f(*a)", "f(a)"),
        ("def f(x, /): pass", "def f(x): pass"),
        ("x = [1]", "x = (1,)"),
        ("x + y", "x - y"),
        ("return_ = 1", "return_ = -1"),
        ("def f(): 'a'; return 'b'", "def f(): 'a'; return 'c'"),
        ("async def f(): 'a'", "def f(): 'a'"),
    ],
)
def test_the_hash_tells_programs_apart(one, other):
    assert code_hash(ast.parse(one)) != code_hash(ast.parse(other))


def test_an_interrupted_run_goes_on_after_the_last_finished_seed(checkout):
    wait = "    if seed == 2 and not LOG.with_name('go').exists(): time.sleep(60)\n"
    checkout.edit("experiments/topic/slug.py", "    return", wait + "    return")
    process = checkout.start()
    _until(lambda: checkout.log() == list("012"))
    _until(lambda: len(finished_seeds(checkout.experiment)) == 2)
    os.killpg(process.pid, signal.SIGINT)  # as the keyboard does: to all processes
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on after the last finished seed" in err
    assert "Traceback" not in err
    assert not checkout.experiment.record.exists()
    checkout.write("experiments/topic/go", "")
    assert checkout.run()[0] == 0
    assert checkout.log() == list("012234")
    assert [result["seed"] for result in checkout.record()["results"]] == [0, 1, 2, 3, 4]


def test_being_told_to_end_leaves_no_process_behind(checkout):
    pid = "    LOG.with_name('pid').write_text(str(os.getpid())); time.sleep(60)\n"
    checkout.edit("experiments/topic/slug.py", "    return", pid + "    return")
    process = checkout.start()
    path = checkout.root / "experiments" / "topic" / "pid"
    _until(lambda: path.exists() and path.read_text())
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_seed_that_is_ended_from_outside_is_not_recorded(checkout, ending):
    """Training takes an interrupt for its end and returns what it has."""
    shortened = """    LOG.with_name('pid').write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
    checkout.edit("experiments/topic/slug.py", "    return", shortened + "    return")
    process = checkout.start()
    path = checkout.root / "experiments" / "topic" / "pid"
    _until(lambda: path.exists() and path.read_text())
    os.kill(int(path.read_text()), ending)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, f"it ended with code -{ending.value}" in err) == (1, True)
    assert finished_seeds(checkout.experiment) == {}


def test_seeds_of_other_code_are_not_used(checkout):
    wait = "    assert seed < 2, 'too large'\n"
    checkout.edit("experiments/topic/slug.py", "    return", wait + "    return")
    assert checkout.run()[0] == 1
    assert sorted(finished_seeds(checkout.experiment)) == ["0", "1"]
    checkout.edit("experiments/topic/slug.py", wait, "")
    assert finished_seeds(checkout.experiment) == {}
    assert checkout.run()[0] == 0
    assert checkout.log() == list("01201234")


def test_a_seed_that_fails_says_why_and_the_other_experiments_go_on(ran):
    before = ran.experiment.record.read_text()
    fails = "    assert seed != 1, 'this seed fails'\n"
    ran.edit("experiments/topic/slug.py", "    return", fails + "    return")
    ran.write("experiments/topic/zebra.py", EXPERIMENT)
    code, _, err = ran.run()
    assert code == 1
    assert "topic/slug, seed 1: it ended with code 1" in err
    assert "AssertionError: this seed fails" in err
    assert ran.experiment.record.read_text() == before
    assert Experiment(ran.root, "topic/zebra").stale() is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5]", "float('nan')]", "run(0)['curve'][1] is nan"),
        ("0.5]", "{1}]", "run(0)['curve'][1] is of type set"),
        ('{"step": 2}', '{"step": (1, 2)}', "SETTINGS['step'] is of type tuple"),
        ("SETTINGS =", "OTHER =", "lacks SETTINGS"),
        ("def run(", "def walk(", "lacks run"),
        ("'''Does seed times factor grow?'''", "", "lacks a docstring"),
        ("    return {", "    return 1, {", "returned no dict"),
    ],
)
def test_what_cannot_be_recorded_is_refused(checkout, old, new, message):
    checkout.edit("experiments/topic/slug.py", old, new)
    code, _, err = checkout.run()
    assert (code, message in err, "Traceback" in err) == (1, True, False), err
    assert not checkout.experiment.record.exists()


def test_code_that_changes_during_a_run_is_noticed(checkout):
    touch = (
        "    pathlib.Path(__file__).write_text(pathlib.Path(__file__).read_text() + 'x = 1\\n')\n"
    )
    checkout.edit("experiments/topic/slug.py", "    return", touch + "    return")
    code, _, err = checkout.run()
    assert (code, "changed while it ran" in err) == (1, True)
    assert finished_seeds(checkout.experiment) == {}


def test_a_damaged_record_is_stale(ran):
    ran.experiment.record.write_text("{")
    assert ran.experiment.stale() == "its record is damaged"
    ran.experiment.record.write_text('{"seeds": [0], "modules": {}}')
    assert ran.experiment.stale() == "it was run with the seeds [0]"


def test_an_unknown_name_is_refused(checkout):
    code, _, err = checkout.run("topic/slag")
    assert (code, err) == (1, "there is no experiment topic/slag; there are: topic/slug\n")


def _until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)
