"""Reports on a run on disk: which files, the same each time, and none left over."""

import json

import pytest
from sample_marks import OVERRIDES, book, graded, mark

from coursepkg.grading.report import fill_canvas, write_report
from coursepkg.grading.report.similarity import Similarity
from coursepkg.grading.store import FILE, Store

NAMES = ["../../x", "con", "a/b", "x" * 300, "🦆", "Ada", "ada"]


@pytest.fixture(autouse=True)
def without_comparison(monkeypatch):
    """Leave out the comparison of answers, which has tests of its own."""
    nothing = Similarity((), ())
    monkeypatch.setattr("coursepkg.grading.report.write.similar", lambda *arguments: nothing)


@pytest.fixture
def out(tmp_path):
    with Store(tmp_path / FILE, create=True) as store:
        for row in book().rows:
            store.save(row.graded)
        for o in OVERRIDES:
            store.override(o.learner, o.exercise, o.points, o.why, o.author, o.date)
    return tmp_path


def contents(out):
    folder = out / "report"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_reports_are_written_and_named(out):
    written = {path.relative_to(out / "report").as_posix() for path in write_report(out)}
    assert written == set(contents(out))
    assert {"index.html", "marks.csv", "marks-long.csv", "moodle.csv", "similar.csv"} < written
    assert {"learners/ada.html", "results/ada.json"} < written
    assert len(written) == 5 + 2 * 6
    assert json.loads((out / "report/results/ada.json").read_text())["score"] == 5


def test_the_same_marks_give_the_same_bytes(out):
    write_report(out)
    before = contents(out)
    write_report(out)
    assert contents(out) == before


def test_each_page_of_a_learner_is_linked_from_the_class_report(out):
    write_report(out)
    index = (out / "report/index.html").read_text()
    for page in (out / "report/learners").iterdir():
        assert f'href="learners/{page.name}"' in index


def test_names_of_learners_lead_nowhere_else(tmp_path):
    out = tmp_path / "deep" / "run"
    out.mkdir(parents=True)
    with Store(out / FILE, create=True) as store:
        for name in NAMES:
            store.save(graded(name, mark()))
    pages = [p for p in write_report(out) if p.suffix == ".html"]
    assert len(pages) == len({p.name.casefold() for p in pages}) == 1 + len(NAMES)
    assert {p.parent for p in pages} == {out / "report", out / "report" / "learners"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep"]
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["run"]


def test_pages_of_learners_who_left_are_removed_and_other_files_stay(out):
    write_report(out)
    kept = out / "report" / "learners" / "notes.txt"
    kept.write_text("mine")
    old = out / "report" / "learners" / "gone.html"
    old.write_text("old")
    write_report(out)
    assert kept.exists()
    assert not old.exists()


def test_the_starter_of_a_private_exercise_is_found_beside_the_run(out, monkeypatch):
    asked = []

    def load(id, folders=()):
        asked.append((id, [*folders]))
        raise ValueError(id)

    monkeypatch.setattr("coursepkg.grading.report.write.load", load)
    with Store(out / FILE) as store:
        store.set_settings({"exercises_dir": "../private"})
    write_report(out)
    assert asked[0] == ("convolution/output-size", [out.parent / "private"])


def test_a_canvas_export_is_filled_beside_its_notes(out, tmp_path):
    export = tmp_path / "export.csv"
    export.write_bytes(b"Student,ID,SIS Login ID,Section\r\nAda,1,ada,x\r\nZoe,2,zoe,x\r\n")
    path = fill_canvas(out, export, "Course")
    assert path.read_bytes() == (
        b"Student,ID,SIS Login ID,Section,Course\r\nAda,1,ada,x,5\r\nZoe,2,zoe,x,\r\n"
    )
    notes = path.with_name("canvas-notes.txt").read_text()
    assert "In the export, but without marks: 1\n  Zoe" in notes
    assert "With marks, but not in the export: 5" in notes
    assert b"Homework" in fill_canvas(out, export, "Homework").read_bytes()
    write_report(out)
    assert path.exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no marks"):
        write_report(tmp_path)
