r"""The command line: what it says, what it makes, and how it ends."""

from __future__ import annotations

import json
import re
import resource
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from coursepkg.cli import course
from coursepkg.grading import exercise_ids, load
from coursepkg.grading.isolation import NEEDED
from coursepkg.grading.store import Store

ROOT = Path(__file__).parents[1]
ID = "convolution/output-size"
COMMANDS = sorted(course.commands)

RIGHT = """
def output_size(size, kernel, stride=1, padding=0, dilation=1):
    values = (size, kernel, stride, padding, dilation)
    if not all(isinstance(v, int) for v in values) or min(stride, dilation, padding + 1) < 1:
        raise ValueError("these make no sense")
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError("the window does not fit")
    return room // stride + 1
"""
PADDING_ONCE = RIGHT.replace("2 * padding", "padding")

EXERCISE = '''
r"""Twice

Write `twice`, which doubles a number{{ " and adds " ~ extra if extra else "" }}.
"""

from coursepkg.grading import Case

points = {"numbers": POINTS}
environment = "numpy"
seconds = 2.0
FORBID = ()


def variant(rng):
    return {"extra": int(rng.integers(1, 1000))}


def twice(x, extra=0):
    """Double a number."""
    return 2 * x + extra


reference = twice


def oracle(x, extra=0):
    return x + x + extra


PUBLIC = (Case("numbers", {"x": 2}, 4),)


def hidden(rng, extra=0):
    x = int(rng.integers(100))
    yield Case("numbers", {"x": x}, oracle(x, extra))


def not_doubled(x, extra=0):
    """Your function gives back what it is given; it is to double it."""
    return x


WRONG = (not_doubled,)
'''


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(course, [str(a) for a in arguments])
    unexpected = result.exception
    if unexpected and not isinstance(unexpected, SystemExit):
        raise unexpected
    return result


def fine(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def started(*arguments: str | Path, **options) -> subprocess.CompletedProcess:
    """Run the program itself, as a shell does."""
    command = [sys.executable, "-m", "coursepkg.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    folder = tmp_path / "submissions"
    folder.mkdir()
    (folder / "ann.py").write_text(RIGHT)
    (folder / "ben.py").write_text(PADDING_ONCE)
    (folder / "cho").mkdir()
    return folder


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    (folder / "warmup").mkdir(parents=True)
    (folder / "warmup" / "twice.py").write_text(EXERCISE.replace("POINTS", "2"))
    return folder


def points(out: Path) -> dict[str, int]:
    with sqlite3.connect(out / "marks.sqlite") as database:
        rows = database.execute("SELECT learner, record FROM mark").fetchall()
    database.close()
    return {learner: json.loads(record)["points"] for learner, record in rows}


# --- help ---------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_guide():
    wanted = "check doctor grade list override regrade release report sample"
    assert wanted.split() == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_that_are_understood_and_exit_codes(name):
    text = fine(name, "--help")
    assert "Exit codes: 0 fine; 1 " in text
    examples = re.findall(rf"^ +course {name}\b(.*?)(?:  +.*)?$", text, re.M)
    assert examples
    command = course.commands[name]
    parser = command.make_parser(click.Context(command))
    for example in examples:
        values, left_over, _ = parser.parse_args(shlex.split(example))
        assert left_over == []
        assert all(values[p.name] for p in command.params if isinstance(p, click.Argument))


def test_every_short_help_is_whole():
    text = fine("--help")
    for name in COMMANDS:
        (line,) = re.findall(rf"^  {name} +(.*)$", text, re.M)
        assert line.endswith(".")
        assert not line.endswith("...")


def test_the_version_is_that_of_the_package():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert fine("--version") == f"course, version {wanted}\n"


@pytest.mark.parametrize("arguments", ["--help", "list", "grade --help"])
def test_nothing_heavy_is_imported_for_help_and_list(arguments):
    code = (
        "import sys\nfrom coursepkg.cli import course\n"
        f"course({arguments.split()!r}, standalone_mode=False)\n"
        "heavy = {'torch', 'matplotlib', 'distributed', 'sqlite3'} & set(sys.modules)\n"
        "print('heavy:', heavy or 'none')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("heavy: none\n"), done.stdout + done.stderr


# --- errors -------------------------------------------------------------------------------------


def test_an_error_is_one_line_without_traceback(tmp_path):
    done = started("check", "convolution/output-sise", __file__)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'convolution/output-size'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_traceback_can_be_asked_for():
    done = started("--traceback", "check", "convolution/output-sise", __file__)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_unknown_command_or_option_is_a_matter_of_usage():
    assert started("garde").returncode == 2
    assert started("list", "--lang").returncode == 2


def test_a_fault_of_the_course_is_not_hidden(monkeypatch):
    def broken(folders):
        raise RuntimeError("a fault")

    monkeypatch.setattr("coursepkg.grading.exercise.exercise_ids", broken)
    with pytest.raises(RuntimeError, match="a fault"):
        run("list")


def test_an_error_of_the_system_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("release", tmp_path / "file" / "out", "--exercises", ID)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert str(tmp_path / "file") in result.output


# --- list and check -----------------------------------------------------------------------------


def test_list_prints_one_id_a_line():
    assert fine("list").split("\n") == [*exercise_ids(), ""]


def test_list_long_adds_points_environment_and_title(private):
    lines = fine("list", "--long", "--exercises-dir", private).splitlines()
    assert len(lines) == len(exercise_ids()) + 1
    (line,) = (line for line in lines if line.startswith(ID))
    assert line.split(maxsplit=4)[1:] == [
        "6",
        "points",
        "numpy",
        "How many outputs does a window make?",
    ]
    assert lines[-1].split() == ["warmup/twice", "2", "points", "numpy", "Twice"]


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
        for source in ("%matplotlib inline", PADDING_ONCE, "1 / 0", RIGHT)
    ],
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hw.py", PADDING_ONCE + RIGHT),
        ("hw.ipynb", json.dumps(NOTEBOOK)),
        ("hw.md", f"# Homework\n\n```{{code-cell}} python\n{RIGHT}```\n"),
    ],
)
def test_check_takes_the_last_definition_of_any_kind_of_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert fine("check", ID, tmp_path / name).startswith(f"{ID}: 6 of 6 points\n")


def test_check_says_what_is_wrong_and_ends_with_1(tmp_path):
    (tmp_path / "hw.py").write_text(PADDING_ONCE)
    result = run("check", ID, tmp_path / "hw.py")
    assert result.exit_code == 1
    assert "FAILED  padding" in result.output
    assert "You count the padding once" in result.output


def test_check_says_that_nothing_is_there(tmp_path):
    (tmp_path / "hw.py").write_text("def output_siez(size): ...")
    result = run("check", ID, tmp_path / "hw.py")
    assert result.exit_code == 1
    assert result.output == f"{ID}: 0 of 6 points\noutput_size is defined nowhere\n"


def test_check_has_the_grader_s_rule_about_packages(tmp_path):
    (tmp_path / "hw.py").write_text(
        "from coursepkg.convolution.arithmetic import output_size as right\n"
        "def output_size(*args, **kw):\n    return right(*args, **kw)\n"
    )
    result = run("check", ID, tmp_path / "hw.py")
    assert result.exit_code == 1
    assert "0 of 6" in result.output
    assert "coursepkg" in result.output


def test_check_leaves_the_limit_of_processor_time_as_it_was(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_CPU)
    (tmp_path / "hw.py").write_text(RIGHT)
    fine("check", ID, tmp_path / "hw.py")
    assert resource.getrlimit(resource.RLIMIT_CPU) == before


def test_check_finds_private_exercises(tmp_path, private):
    (tmp_path / "hw.py").write_text("def twice(x):\n    return 2 * x\n")
    text = fine("check", "warmup/twice", tmp_path / "hw.py", "--exercises-dir", private)
    assert text.startswith("warmup/twice: 2 of 2 points")


# --- release ------------------------------------------------------------------------------------


def test_release_tells_how_to_grade_what_it_hands_out(tmp_path, private):
    chosen = f"warmup/*,{ID}"
    options = ["--exercises", chosen, "--exercises-dir", private]
    text = fine("release", tmp_path / "out", *options)
    manifest = json.loads((tmp_path / "out/instructor/manifest.json").read_text())
    assert [e["id"] for e in manifest["exercises"]] == [ID, "warmup/twice"]
    assert text.startswith(f"2 exercises released with seed {manifest['seed']}\n")
    told = f"--manifest {tmp_path / 'out/instructor/manifest.json'}\n"
    assert text.endswith(f"course grade SUBMISSIONS --out MARKS {told}")
    assert (tmp_path / "out/students/starters/warmup/twice.py").is_file()


def test_release_has_a_folder_and_a_variant_for_each_learner(tmp_path, private):
    (tmp_path / "class.txt").write_text("ann\n\n  ben \n")
    options = ["--exercises", "warmup/twice", "--exercises-dir", private, "--seed", "1"]
    text = fine("release", tmp_path / "out", *options, "--learners", tmp_path / "class.txt")
    assert "1 exercise released with seed 1\n" in text
    starters = [
        (tmp_path / f"out/students/{name}/starters/warmup/twice.py").read_text()
        for name in ("ann", "ben")
    ]
    assert starters[0] != starters[1]


def test_release_refuses_a_list_without_names(tmp_path):
    (tmp_path / "class.txt").write_text("\n")
    result = run("release", tmp_path / "out", "--learners", tmp_path / "class.txt")
    assert result.exit_code == 2
    assert "names nobody" in result.output


def test_release_replaces_an_earlier_one_only_if_asked(tmp_path):
    fine("release", tmp_path / "out", "--exercises", ID)
    assert run("release", tmp_path / "out", "--exercises", ID).exit_code == 2
    fine("release", tmp_path / "out", "--exercises", ID, "--overwrite")


# --- grade, regrade, override, report -----------------------------------------------------------


def test_grade_writes_marks_and_report_and_says_what_next(tmp_path, submissions):
    text = fine("grade", submissions, "--out", tmp_path / "marks", "--exercises", ID)
    assert points(tmp_path / "marks") == {"ann": 6, "ben": 4, "cho": 0}
    assert re.match(r"3 submissions graded, isolated by (namespaces|landlock)\n", text)
    assert "Problems: 1\n  cho: nothing to grade" in text
    index = tmp_path / "marks/report/index.html"
    assert index.is_file()
    assert str(index) in text
    assert f"course override {tmp_path / 'marks'} LEARNER" in text


def test_grade_without_isolation_has_to_be_asked_for_and_is_told(tmp_path, submissions):
    options = ["--exercises", ID, "--isolation", "none"]
    text = fine("grade", submissions, "--out", tmp_path / "marks", *options)
    assert text.startswith("3 submissions graded, not isolated\n")


def test_grade_refuses_where_there_is_no_isolation(tmp_path, submissions, monkeypatch):
    from coursepkg.grading import isolation

    def nothing(wanted):
        raise isolation.IsolationError("no isolation is available here; install bubblewrap")

    monkeypatch.setattr("coursepkg.grading.sandbox.choose", nothing)
    result = run("grade", submissions, "--out", tmp_path / "marks", "--exercises", ID)
    assert result.exit_code == 1
    assert result.output == "Error: no isolation is available here; install bubblewrap\n"


def test_grade_ends_with_1_if_a_submission_could_not_be_graded(tmp_path, submissions, monkeypatch):
    def broken(*arguments):
        raise MemoryError("too much")

    monkeypatch.setattr("coursepkg.grading.batch.grade", broken)
    result = run("grade", submissions, "--out", tmp_path / "marks", "--exercises", ID)
    assert result.exit_code == 1
    assert "could not be graded: MemoryError: too much" in result.output


def test_grade_resumes_and_refuses_a_folder_that_is_taken(tmp_path, submissions):
    arguments = ["grade", submissions, "--out", tmp_path / "marks", "--exercises", ID]
    fine(*arguments)
    assert run(*arguments).exit_code == 2
    (submissions / "dan.py").write_text(RIGHT)
    text = fine(*arguments, "--resume")
    assert text.startswith("4 submissions graded")
    assert points(tmp_path / "marks")["dan"] == 6


@pytest.fixture
def released(tmp_path: Path, private: Path, submissions: Path) -> Path:
    """A release beside the submissions, as `course release` writes it."""
    options = ["--exercises", f"warmup/*,{ID}", "--exercises-dir", private, "--seed", "7"]
    fine("release", tmp_path / "class", *options)
    submissions.rename(tmp_path / "class/submissions")
    return tmp_path / "class"


def settings(out: Path) -> dict:
    with Store(out / "marks.sqlite") as store:
        return store.settings()


def test_grade_takes_exercises_and_seed_from_the_manifest_beside_the_submissions(
    tmp_path, released, private
):
    text = fine("grade", released / "submissions", "--out", tmp_path / "marks")
    manifest = released / "instructor/manifest.json"
    assert text.startswith(f"From {manifest}: 2 exercises, some from {private}, seed 7\n3 sub")
    found = settings(tmp_path / "marks")
    assert (found["exercises"], found["seed"]) == ([ID, "warmup/twice"], 7)
    assert found["per_learner"] is False


def test_what_is_given_to_grade_counts_more_than_the_manifest(tmp_path, released, private):
    options = ["--exercises", ID, "--seed", "8", "--exercises-dir", private]
    arguments = ["grade", released / "submissions", "--out", tmp_path / "marks"]
    text = fine(*arguments, *options)
    assert text.startswith(f"From {released / 'instructor/manifest.json'}: nothing, as all")
    found = settings(tmp_path / "marks")
    assert (found["exercises"], found["seed"]) == ([ID], 8)
    assert fine(*arguments, "--resume").startswith("3 submissions graded")
    assert settings(tmp_path / "marks") == found


def test_a_manifest_may_lie_elsewhere(tmp_path, released):
    submitted = (released / "submissions").rename(tmp_path / "handed-in")
    manifest = released / "instructor/manifest.json"
    fine("grade", submitted, "--out", tmp_path / "marks", "--manifest", manifest)
    assert settings(tmp_path / "marks")["seed"] == 7


def test_grade_gives_each_learner_the_variant_of_the_release(tmp_path, private):
    (tmp_path / "class.txt").write_text("ann\nben\n")
    options = ["--exercises", "warmup/twice", "--exercises-dir", private, "--seed", "1"]
    fine("release", tmp_path / "class", *options, "--learners", tmp_path / "class.txt")
    (tmp_path / "class/submissions").mkdir()
    for name in ("ann", "ben"):
        extra = load("warmup/twice", (private,)).variant(1, name).settings["extra"]
        answer = f"def twice(x):\n    return 2 * x + {extra}\n"
        (tmp_path / f"class/submissions/{name}.py").write_text(answer)
    text = fine("grade", tmp_path / "class/submissions", "--out", tmp_path / "marks")
    assert "seed 1, a variant for each learner\n" in text
    assert points(tmp_path / "marks") == {"ann": 2, "ben": 2}


@pytest.mark.parametrize("text", ["what?", "[]", '{"seed": 1}', '{"seed": 1, "exercises": [1]}'])
def test_what_is_no_manifest_is_refused(tmp_path, submissions, text):
    (tmp_path / "manifest.json").write_text(text)
    options = ["--out", tmp_path / "marks", "--manifest", tmp_path / "manifest.json"]
    result = run("grade", submissions, *options)
    assert result.exit_code == 2
    assert "is no manifest; `course release OUT` writes" in result.output


def test_grade_ends_with_1_if_there_is_no_answer_at_all(tmp_path, submissions):
    (submissions / "ann.py").unlink()
    (submissions / "ben.py").unlink()
    result = run("grade", submissions, "--out", tmp_path / "marks", "--exercises", ID)
    assert result.exit_code == 1
    assert f"No answer was found: is {submissions} the right folder?\n" in result.output


def test_the_kinds_of_isolation_are_those_of_the_grader():
    (option,) = (p for p in course.commands["grade"].params if p.name == "isolation")
    assert option.type.choices == ("auto", *NEEDED)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("convolution/outptu-size", "perhaps convolution/output-size"), ("§§/*", "`course list`")],
)
def test_an_exercise_that_is_not_there_is_refused_with_a_remedy(
    tmp_path, submissions, pattern, told
):
    result = run("grade", submissions, "--out", tmp_path / "marks", "--exercises", pattern)
    assert result.exit_code == 2
    assert f"--exercises={pattern}: there is no such exercise" in result.output
    assert told in result.output
    assert not (tmp_path / "marks").exists()


def test_only_some_problems_are_printed(tmp_path):
    for number in range(13):
        (tmp_path / "submissions" / f"{number:02}").mkdir(parents=True)
    (tmp_path / "submissions/ann.py").write_text(RIGHT)
    text = fine("grade", tmp_path / "submissions", "--out", tmp_path / "marks", "--exercises", ID)
    assert text.count("nothing to grade") == 10
    assert "Problems: 13\n" in text
    assert "  … and 3 more, in the report\n" in text


def test_colours_are_for_terminals_only(tmp_path, submissions):
    options = ["--exercises", ID, "--out", tmp_path / "marks"]
    assert "\x1b" not in started("grade", submissions, *options).stdout
    report = CliRunner().invoke(course, ["doctor"], color=True)
    assert "\x1b[32m" in report.output


def test_regrade_tells_which_marks_changed(tmp_path, private):
    (tmp_path / "submissions").mkdir()
    (tmp_path / "submissions/ann.py").write_text("def twice(x):\n    return 2 * x + 7\n")
    out = tmp_path / "marks"
    options = ["--exercises", "warmup/*", "--exercises-dir", private]
    fine("grade", tmp_path / "submissions", "--out", out, *options)
    assert fine("regrade", out).startswith("0 marks computed again, 0 of them changed\n")

    path = private / "warmup/twice.py"
    path.write_text(
        EXERCISE.replace("POINTS", "3")
        .replace("extra=0", "extra=7")
        .replace('return {"extra": int(rng.integers(1, 1000))}', 'return {"extra": 7}')
    )
    text = fine("regrade", out)
    assert text.startswith("1 mark computed again, 1 of them changed\n")
    assert "ann, warmup/twice: 0 -> 3 of 3" in text
    assert points(out) == {"ann": 3}


def test_regrade_ends_with_1_if_something_could_not_be_graded_again(tmp_path, private):
    submissions = tmp_path / "submissions"
    submissions.mkdir()
    (submissions / "ann.py").write_text("def twice(x):\n    return 2 * x\n")
    (submissions / "ben.py").write_text("")
    options = ["--exercises", "warmup/*", "--exercises-dir", private]
    fine("grade", submissions, "--out", tmp_path / "marks", *options)
    (private / "warmup/twice.py").write_text(EXERCISE.replace("POINTS", "3"))
    (submissions / "ann.py").unlink()
    result = run("regrade", tmp_path / "marks")
    assert result.exit_code == 1
    assert "ann: the submission is no longer there" in result.output


def test_override_is_kept_beside_the_mark_and_reported(tmp_path, submissions):
    out = tmp_path / "marks"
    fine("grade", submissions, "--out", out, "--exercises", ID)
    text = fine("override", out, "ben", ID, "5", "--why", "nearly right")
    assert text == f"ben, {ID}: 5 points; to see it in the report: course report {out}\n"
    assert points(out)["ben"] == 4
    fine("report", out)
    assert "nearly right" in (out / "report/learners/ben.html").read_text()
    with sqlite3.connect(out / "marks.sqlite") as database:
        (kept,) = database.execute("SELECT points, why, author, date FROM override").fetchall()
    database.close()
    assert kept[:2] == (5.0, "nearly right")
    assert kept[2]
    assert kept[3]


def test_override_needs_a_reason_and_something_to_change(tmp_path, submissions):
    out = tmp_path / "marks"
    fine("grade", submissions, "--out", out, "--exercises", ID)
    assert run("override", out, "ben", ID, "5").exit_code == 2
    assert run("override", out, "ben", ID, "5", "--why", " ").exit_code == 2
    assert run("override", out, "bne", ID, "5", "--why", "x").exit_code == 2
    assert run("override", out, "ben", ID, "7", "--why", "x").exit_code == 2


def test_report_fills_the_export_of_canvas(tmp_path, submissions):
    out, export = tmp_path / "marks", tmp_path / "export.csv"
    fine("grade", submissions, "--out", out, "--exercises", ID)
    export.write_text("Student,ID,SIS User ID,SIS Login ID,Section\nBen,1,b1,ben,A\n")
    text = fine("report", out, "--canvas", export, "--assignment", "Week 3")
    assert f"{out / 'report' / 'canvas.csv'}\n" in text
    filled = (out / "report/canvas.csv").read_text().splitlines()
    assert filled[1].split(",")[-1].startswith("4")
    assert "With marks, but not in the export: 2\n  ann\n  cho\n" in text
    assert filled[0] == "Student,ID,SIS User ID,SIS Login ID,Section,Week 3"


def test_report_asks_which_assignment_of_the_export_is_meant(tmp_path, submissions):
    out, export = tmp_path / "marks", tmp_path / "export.csv"
    fine("grade", submissions, "--out", out, "--exercises", ID)
    export.write_text("Student,ID,SIS User ID,SIS Login ID,Section\nBen,1,b1,ben,A\n")
    result = run("report", out, "--canvas", export)
    assert result.exit_code == 2
    assert "--assignment" in result.output


def test_report_on_a_folder_without_marks_is_refused(tmp_path):
    result = run("report", tmp_path)
    assert result.exit_code == 2
    assert "grade submissions first" in result.output


# --- doctor -------------------------------------------------------------------------------------


def findings(*lacking: str):
    from coursepkg.grading.isolation import Finding

    names = ("Linux", "libseccomp", "Landlock", "bubblewrap", "user namespaces")
    return [Finding(n, n not in lacking, f"about {n}", f"mend {n}") for n in names]


@pytest.mark.parametrize(
    ("lacking", "code", "told"),
    [
        ((), 0, "isolate submissions by namespaces."),
        (("bubblewrap",), 0, "isolate submissions by landlock."),
        (("bubblewrap", "Landlock"), 1, "`course grade` will refuse"),
    ],
)
def test_doctor_says_what_is_there_and_what_to_do(monkeypatch, lacking, code, told):
    monkeypatch.setattr("coursepkg.grading.isolation.doctor", lambda: findings(*lacking))
    result = run("doctor")
    assert result.exit_code == code
    assert told in result.output
    for name in ("Linux", "Landlock", "bubblewrap"):
        word = "missing" if name in lacking else "fine"
        assert re.search(rf"^{word} +{name} +about {name}$", result.output, re.M)
        assert (f"mend {name}" in result.output) == (name in lacking)


def test_doctor_looks_at_this_machine():
    result = run("doctor")
    assert result.exit_code in (0, 1)
    assert re.search(r"^fine +Python +3\.", result.output, re.M)
