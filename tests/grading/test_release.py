"""What is handed out: whole, without answers, and the same each time."""

import ast
import contextlib
import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest

from coursepkg.grading import exercise_ids, load, sample_class
from coursepkg.grading.release import (
    Manifest,
    _own_check,
    _source,
    exercise_cells,
    plain_prompt,
    release,
    secret_lines,
)

SHIPPED = [Path(sample_class.__file__).parent]
POOL = "exercises/pool"
FEW = ["convolution/output-size", "convolution/conv2d-layer", "convolution/training-step", POOL]
IDS = exercise_ids(SHIPPED)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("release") / "out"
    release(out, seed=987_654_321, exercises_dir=SHIPPED)
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_there_is_a_notebook_for_each_topic_and_a_starter_for_each_exercise(whole):
    starters = {f"students/starters/{id.replace('-', '_')}.py" for id in IDS}
    others = {f"students/{id.partition('/')[0]}.ipynb" for id in IDS} | {"students/README.md"}
    assert set(contents(whole)) == starters | others | {"instructor/manifest.json"}


def test_notebooks_are_valid_and_hold_three_cells_for_each_exercise(whole):
    found = []
    for path in sorted((whole / "students").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        roles = [c.metadata["course"] for c in notebook.cells if "course" in c.metadata]
        found += [(role["exercise"], role["role"]) for role in roles]
        assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert found == [(id, role) for id in IDS for role in ("prompt", "answer", "check")]


def test_students_get_no_answer_no_hint_and_no_seed(whole):
    exercises = [e.variant(987_654_321) for e in (load(id, SHIPPED) for id in IDS)]
    shown = {line.strip() for exercise in exercises for line in exercise.starter.splitlines()}
    lines = secret_lines(exercises) - shown  # some describe helpers that others write
    assert len(lines) > 100
    hints = {hint[:60] for exercise in exercises for hint in exercise.hints}
    for name, data in contents(whole / "students").items():
        text = data.decode()
        if name.endswith(".ipynb"):
            text = "\n".join(cell["source"] for cell in nbformat.reads(text, as_version=4).cells)
        assert lines & {line.strip() for line in text.splitlines()} == set(), name
        assert [hint for hint in hints if hint in " ".join(text.split())] == [], name
        assert "987654321" not in text
        assert "WRONG" not in text


def test_starters_can_be_imported_and_need_nothing_but_what_is_allowed(whole):
    for id in IDS:
        exercise = load(id, SHIPPED)
        text = (whole / f"students/starters/{id.replace('-', '_')}.py").read_text("utf-8")
        tops = {
            alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert tops <= {"math", *exercise.allowed}
        space = {"__name__": "starter"}
        exec(text, space)
        assert exercise.name in space


def test_the_note_names_packages_and_the_data_with_their_licence(whole):
    text = (whole / "students/README.md").read_text("utf-8")
    assert "| `convolution/training-step` | `training_step` | 9 | `torch`, `numpy` |" in text
    assert re.search(r"`convolution/train-digits`: 8 × 8 images .* CC BY 4.0", text)
    assert "(https://doi.org/10.24432/C50P49)" in text
    assert "## Hand in" in text


def test_without_data_the_note_says_so(tmp_path):
    release(tmp_path, ["convolution/output-size"], seed=1)
    assert "The exercises need no data" in (tmp_path / "students/README.md").read_text("utf-8")


def test_the_note_sends_nobody_to_a_check_that_does_not_know_the_exercise(tmp_path):
    for ids, folders, words in (
        (["convolution/output-size"], (), "with `course check ID FILE`"),
        ([POOL], SHIPPED, "copy them into the notebook to check them"),
    ):
        release(tmp_path, ids, seed=1, exercises_dir=folders, overwrite=True)
        assert words in (tmp_path / "students/README.md").read_text("utf-8")


def test_private_exercises_stand_in_one_folder(tmp_path):
    manifest = release(tmp_path / "a", [POOL], seed=1, exercises_dir=SHIPPED[0])
    assert manifest == release(tmp_path / "b", [POOL], seed=1, exercises_dir=SHIPPED)
    with pytest.raises(ValueError, match=r"^exercises_dir=.* and .*; put the exercises into one"):
        release(tmp_path / "c", [POOL], seed=1, exercises_dir=[*SHIPPED, tmp_path])


def test_the_manifest_knows_every_file_and_itself(whole):
    manifest = Manifest.read(whole)
    students = {f"students/{name}": data for name, data in contents(whole / "students").items()}
    assert manifest.files == {n: hashlib.sha256(data).hexdigest() for n, data in students.items()}
    assert manifest.seed == 987_654_321
    assert [entry["id"] for entry in manifest.exercises] == IDS
    size = next(e for e in manifest.exercises if e["id"] == "convolution/output-size")
    assert (size["out_of"], size["environment"], size["limits"]["seconds"]) == (6, "numpy", 2.0)
    assert set(manifest.versions) == {"python", "coursepkg", "numpy", "torch"}
    assert json.loads(manifest.to_json())["sha256"] == manifest.sha256
    assert json.loads(replace(manifest, seed=1).to_json())["sha256"] != manifest.sha256


def test_equal_arguments_give_equal_files_and_a_seed_is_drawn(tmp_path):
    one, other = (release(tmp_path / name, FEW, 5, SHIPPED) for name in "ab")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    drawn = [release(tmp_path / name, FEW[:1]) for name in "cd"]
    assert one.sha256 == other.sha256
    assert drawn[0].seed != drawn[1].seed


def test_learners_have_variants_of_their_own(tmp_path):
    learners = ["ada", "bo li", "김"]
    manifest = release(tmp_path, FEW, 5, SHIPPED, learners)
    pool = load(POOL, SHIPPED)
    for learner in learners:
        variant = pool.variant(5, learner)
        folder = tmp_path / "students" / learner
        assert (folder / "starters/exercises/pool.py").read_text("utf-8") == variant.starter
        assert manifest.variants[learner] == {POOL: dict(variant.settings)}
        assert variant.prompt in (prompt := prompts(folder / "exercises.ipynb")), prompt
    assert len({json.dumps(settings) for settings in manifest.variants.values()}) > 1


def prompts(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


@pytest.mark.parametrize("learners", [["../x"], ["a/b"], [".hidden"], [""], ["Ann", "ann"], []])
def test_names_that_cannot_be_folders_are_refused(tmp_path, learners):
    with pytest.raises(ValueError, match="learner"):
        release(tmp_path / "out", FEW[:1], 5, learners=learners)
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unless_it_is_said(tmp_path):
    release(tmp_path, FEW, 5, SHIPPED)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"holds a release already, with seed 5; .*--overwrite"):
        release(tmp_path, FEW[:1], 6)
    assert contents(tmp_path) == before
    (tmp_path / "students/mine.txt").write_text("kept")
    release(tmp_path, FEW[:1], 6, overwrite=True)
    assert Manifest.read(tmp_path).seed == 6
    assert set(contents(tmp_path)) == {
        "students/README.md",
        "students/convolution.ipynb",
        "students/mine.txt",
        "students/starters/convolution/output_size.py",
        "instructor/manifest.json",
    }


def test_the_manifest_says_where_own_exercises_stand_and_who_has_variants(tmp_path):
    own = tmp_path / "class/mine"
    own.joinpath("extra").mkdir(parents=True)
    own.joinpath("extra/pool.py").write_bytes((SHIPPED[0] / "exercises/pool.py").read_bytes())
    manifest = release(tmp_path / "out", ["extra/pool"], 5, [own], ["ada"])
    assert (manifest.exercises_dir, manifest.per_learner) == ("../class/mine", True)
    plain = release(tmp_path / "plain", FEW[:1], 5)
    assert (plain.exercises_dir, plain.per_learner) == (None, False)
    with pytest.raises(ValueError, match="put the exercises into one, as grading takes one"):
        release(tmp_path / "two", ["extra/pool"], 5, [own, *SHIPPED])
    assert not (tmp_path / "two").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="is not empty and holds no release"):
        release(tmp_path, FEW[:1], overwrite=True)


def printed(exercise, answer) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(_own_check(exercise), {exercise.name: answer})
    return out.getvalue()


@pytest.mark.parametrize("id", [POOL, "convolution/gradient-check", "convolution/conv2d-layer"])
def test_exercises_that_check_does_not_know_bring_their_public_cases(id):
    exercise = load(id, SHIPPED).variant(3)
    right = printed(exercise, exercise.reference).splitlines()
    assert len(right) == len(exercise.public)
    assert all(line.endswith(": right") for line in right)

    class Wrong:
        def __init__(self, *_, **__):
            raise TypeError

    assert ": right" not in printed(exercise, Wrong)
    assert ": right" not in printed(exercise, lambda *_, **__: 17)


def test_built_in_exercises_are_checked_by_name_and_variants_by_their_cases(whole):
    check = {
        cell.metadata["course"]["exercise"]: cell.source
        for path in (whole / "students").glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.metadata.get("course", {}).get("role") == "check"
    }
    assert check["convolution/output-size"].endswith(
        'check("convolution/output-size", output_size)'
    )
    assert "difference" in check[POOL]


@pytest.mark.parametrize(
    "value",
    [
        1,
        -2.5,
        float("inf"),
        "it's",
        None,
        True,
        (1,),
        (),
        [1, (2.0, [])],
        {"a": (np.arange(3),)},
        np.linspace(0, 1, 90).reshape(3, 30),
        np.array([[1, np.nan]], np.float32),
        np.zeros((0, 2)),
    ],
)
def test_values_are_written_as_source(value):
    back = eval(_source(value), {"np": np})
    np.testing.assert_equal(back, value)
    assert type(back) is type(value)


def test_values_without_source_are_refused():
    with pytest.raises(ValueError, match="object has no source"):
        _source([object()])


def test_roles_that_plain_markdown_has_are_written_as_such():
    code = "`{term}` and\n\n```\n{x}`y`\n```"
    prompt = f"A {{term}}`kernel` and {{term}}`kernels <kernel>`, {{math}}`x_1`; {code}"
    exercise = replace(load("convolution/output-size"), prompt=prompt)
    assert plain_prompt(exercise) == f"A kernel and kernels, $x_1$; {code}"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("See {numref}`fig-a`.", "has the role 'numref', which only the site shows"),
        ("Look:\n\n```{figure} a.png\n```\n", "has the directive 'figure'"),
        (":::{note}\nx\n:::\n", "has the directive 'note'"),
    ],
)
def test_what_only_the_site_shows_is_refused(prompt, words):
    exercise = replace(load("convolution/output-size"), prompt=prompt)
    with pytest.raises(ValueError, match=words):
        plain_prompt(exercise)


def test_cells_carry_exercise_and_role():
    cells = exercise_cells(load("convolution/output-size"), "Exercise 7", "Do it.")
    assert cells[0].source.startswith("### Exercise 7: How many outputs")
    assert "*6 points*\n\nDo it." in cells[0].source
    assert [c.metadata["course"]["role"] for c in cells] == ["prompt", "answer", "check"]
