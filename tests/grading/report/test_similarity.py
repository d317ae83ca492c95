"""The comparison of a class: in a process of its own, and honest about what it left out."""

import importlib.util
import os

from sample_marks import CONV2D, book, conv2d, full, graded, nothing

from coursepkg.grading.report import similarity
from coursepkg.grading.report.gradebook import Gradebook
from coursepkg.grading.report.similarity import MISSING, Pair, similar

CLASS = [graded("a", conv2d()), graded("b", conv2d()), graded("c", nothing("missing"))]
CONV = "convolution/conv2d"


def test_pairs_are_found_in_the_other_process():
    found = similar(Gradebook.of(CLASS), {})
    assert found.pairs == (Pair(CONV, "a", "b", 1.0),)
    assert found.remarks == ()


def test_published_answers_are_left_out():
    rows = [*CLASS, graded("d", conv2d(published=True))]
    assert {p.second for p in similar(Gradebook.of(rows), {}).pairs} == {"b"}


def test_a_wrong_answer_is_told_from_a_right_one():
    common = [graded(f"{k:02}", conv2d(source=f"{CONV2D}\nx = {k}.{k}\n")) for k in range(20)]
    wrong = [graded(name, conv2d(0)) for name in ("a", "b")]
    right = [graded(name, conv2d(4)) for name in ("c", "d")]
    assert similar(Gradebook.of(common + right), {}).pairs == ()
    assert similar(Gradebook.of(common + wrong), {}).pairs == (Pair(CONV, "a", "b", 1.0),)


def test_the_starter_is_taken_out():
    assert similar(Gradebook.of(CLASS), {CONV: CONV2D}).pairs == ()


def test_one_answer_has_nothing_to_be_compared_with(monkeypatch):
    monkeypatch.setattr(similarity.subprocess, "run", None)
    assert similar(Gradebook.of([graded("a", full())]), {}).pairs == ()


def test_hostile_names_and_texts_come_back_as_they_went():
    rows = [graded(name, conv2d()) for name in ("\ud800\n", "../x\x00", "e\u0301")]
    pairs = similar(Gradebook.of(rows), {}).pairs
    assert {name for pair in pairs for name in (pair.first, pair.second)} == {
        row.learner for row in rows
    }


def test_what_is_not_done_in_time_is_said():
    found = similar(Gradebook.of(CLASS), {}, seconds=0.001)
    assert found.pairs == ()
    assert found.remarks == (f"{CONV}: not compared, as it took too long or failed",)


def test_long_answers_are_said_to_be_cut():
    rows = [*CLASS, graded("long", conv2d(source="x" * 100_000))]
    [remark] = similar(Gradebook.of(rows), {}).remarks
    assert remark == f"{CONV}: compared in part, being very long: long"


def test_a_module_in_the_current_folder_is_not_imported(monkeypatch, tmp_path):
    for name in ("numpy", "copydetect", "json", "coursepkg"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert len(similar(Gradebook.of(CLASS), {}).pairs) == 1


def test_the_result_is_the_same_whatever_the_hash_seed(monkeypatch):
    seen = set()
    for seed in ("1", "2"):
        monkeypatch.setitem(os.environ, "PYTHONHASHSEED", seed)
        seen.add(similar(book(), {}))
    assert len(seen) == 1


def test_without_copydetect_the_report_says_how_to_install_it(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "copydetect" else there(name)
    )
    found = similar(Gradebook.of(CLASS), {})
    assert found.pairs == ()
    assert found.remarks == (MISSING,)
    assert "pip install" in MISSING
