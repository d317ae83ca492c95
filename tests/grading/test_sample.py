"""The made-up class: believable, repeatable, and worth what is said."""

import ast
import io
import json
import zipfile
from pathlib import Path

import nbformat
import pytest

from coursepkg.grading import exercise_ids, load
from coursepkg.grading.batch import run_batch
from coursepkg.grading.judge import evaluate, passed, patient
from coursepkg.grading.release import Manifest
from coursepkg.grading.sample import (
    HOSTILE,
    IDS,
    INSTEAD_OF_ENDLESS,
    MISTAKES,
    RIGHT,
    SIZE,
    STARTER,
    _changed,
    _defined,
    sample,
)

KINDS = 15  # of learners


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "out"
    sample(out, KINDS)
    return out


def expected(out: Path) -> dict:
    return json.loads((out / "expected.json").read_text("utf-8"))


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def groups(id: str, text: str, seed: int) -> dict[str, bool]:
    exercise = load(id)
    return passed(
        exercise, evaluate(patient(exercise, _defined(exercise, text)), exercise.cases(seed))
    )


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("seed", [0, 1, 20_260_301])
def test_right_answers_need_nothing_of_the_course_and_get_all_points(id, seed):
    assert "coursepkg" not in RIGHT[id]
    assert all(groups(id, RIGHT[id], seed).values())


@pytest.mark.parametrize(("id", "change"), [(id, c) for id in IDS for c in MISTAKES[id]])
def test_a_mistake_costs_the_same_groups_whatever_the_seed(id, change):
    text = _changed(RIGHT[id], *change)
    found = [groups(id, text, seed) for seed in (0, 1, 20_260_301)]
    assert not all(found[0].values())
    assert found[0] == found[1] == found[2]


def test_a_change_that_changes_nothing_is_refused():
    with pytest.raises(ValueError, match="does not stand in the answer"):
        _changed(RIGHT[SIZE], "no such line", "")


def test_starters_are_not_written_yet():
    for id, arguments in zip(IDS, (1, 1, 2, 4), strict=True):
        with pytest.raises(NotImplementedError):
            _defined(load(id), STARTER[id])(*range(arguments))


def test_the_class_has_all_forms_and_one_learner_each(whole):
    learners = {path.name.partition(".")[0] for path in (whole / "submissions").iterdir()}
    assert learners == set(expected(whole))
    assert len(learners) == KINDS
    suffixes = {path.suffix for path in (whole / "submissions").rglob("*") if path.is_file()}
    assert suffixes == {".ipynb", ".py", ".md", ".zip"}


def test_notebooks_are_valid_and_the_zip_holds_one(whole):
    paths = sorted((whole / "submissions").rglob("*.ipynb"))
    texts = [path.read_text("utf-8") for path in paths]
    (packed,) = (whole / "submissions").glob("*.zip")
    with zipfile.ZipFile(io.BytesIO(packed.read_bytes())) as archive:
        texts += [archive.read(name).decode() for name in archive.namelist()]
    assert len(texts) == len(paths) + 1
    for text in texts:
        nbformat.validate(nbformat.reads(text, as_version=4))


def test_two_learners_hand_in_the_same_and_all_others_differ(whole):
    found = list(contents(whole / "submissions").values())
    assert len(found) - len(set(found)) == 1


def test_one_attacks_one_never_ends_and_one_cell_does_not_parse(whole):
    text = b"".join(contents(whole / "submissions").values()).decode("utf-8", "replace")
    assert text.count(HOSTILE.splitlines()[-1].strip()) == 1
    assert text.count("while dilation > 1:") == 1
    with pytest.raises(SyntaxError):
        ast.parse("for i in range(10)\n    print(i)")
    assert text.count("for i in range(10)\\n") == 1


def test_what_is_expected_is_what_was_meant(whole):
    by_deed = {entry["what"]: entry["marks"] for entry in expected(whole).values()}
    full = {id: load(id).points for id in IDS}
    for deed in ("all right", "changed their mind in late cells", "all right, in a page"):
        assert {id: mark["points"] for id, mark in by_deed[deed].items()} == full
    endless = by_deed["a loop without end where the dilation is above 1"][SIZE]["passed"]
    assert endless == groups(SIZE, _changed(RIGHT[SIZE], *INSTEAD_OF_ENDLESS), 5)
    assert [g for g, right in endless.items() if not right] == ["dilation", "together"]
    hostile = by_deed["an attempt to end the grader"]
    assert [mark["points"] for mark in hostile.values()] == [*list(full.values())[:3], 0]


def test_equal_seeds_give_equal_classes(whole, tmp_path):
    sample(tmp_path / "a", KINDS)
    sample(tmp_path / "b", KINDS, seed=1)
    assert contents(tmp_path / "a") == contents(whole)
    assert contents(tmp_path / "b") != contents(whole)


def test_a_class_can_be_larger_than_the_list_of_names(tmp_path):
    assert list(sample(tmp_path, 33))[-3:] == ["ada-2", "ben-2", "chloe-2"]


def test_an_exercise_of_ones_own_comes_along(whole):
    assert "pooling/pool" in exercise_ids([whole / "exercises"])
    assert load("pooling/pool", [whole / "exercises"]).varies


def test_nothing_is_overwritten(whole, tmp_path):
    with pytest.raises(ValueError, match="is not empty; name a new folder"):
        sample(whole)
    with pytest.raises(ValueError, match="learners=0; make it at least 1"):
        sample(tmp_path, 0)


def test_the_class_stands_beside_its_release(whole):
    manifest = Manifest.read(whole)
    assert [entry["id"] for entry in manifest.exercises] == list(IDS)
    assert (manifest.seed, manifest.exercises_dir, manifest.per_learner) == (0, None, False)
    assert {path.parts[0] for path in map(Path, manifest.files)} == {"students"}


def test_the_grader_gives_the_marks_that_are_expected(whole, tmp_path):
    manifest = Manifest.read(whole)
    ids = [entry["id"] for entry in manifest.exercises]
    settings = {"seed": manifest.seed, "per_learner": manifest.per_learner}
    with run_batch(whole / "submissions", tmp_path / "marks", ids, **settings) as store:
        found = {
            graded.learner: {
                mark.exercise: {
                    "points": mark.points,
                    "out_of": mark.out_of,
                    "passed": {name: group["passed"] for name, group in mark.groups.items()},
                }
                for mark in graded.marks
            }
            for graded in store.graded()
        }
    assert found == {learner: entry["marks"] for learner, entry in expected(whole).items()}
