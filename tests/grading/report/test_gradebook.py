"""What counts: computed marks, and the last decision of the instructor in their place."""

import pytest
from sample_marks import OVERRIDES, book, conv2d, full, graded, mark, nothing

from coursepkg.grading.report.gradebook import Gradebook, number
from coursepkg.grading.store import Override

WINDOW = "convolution/output-size"


def row(learner):
    return next(row for row in book().rows if row.learner == learner)


def test_the_last_override_counts_and_the_computed_mark_stays():
    entry = row("ada").entries[WINDOW]
    assert (entry.mark.points, entry.points) == (2, 3)
    assert entry.override == OVERRIDES[1]
    assert row("ada").points == 5
    assert row("ada").out_of == 7


def test_without_override_the_computed_mark_counts():
    assert row("kurt").entries[WINDOW].override is None
    assert row("kurt").points == 2


def test_all_overrides_are_kept():
    assert book().overrides == OVERRIDES


def test_an_override_of_nobody_changes_nothing():
    stray = Override("nobody", WINDOW, 3, "why", "", "2026-03-01")
    assert Gradebook.of([graded("ada")], [stray]).rows[0].points == 6


def test_rows_stand_in_the_order_of_the_names():
    shuffled = Gradebook.of([graded("b"), graded("c"), graded("a")])
    assert [row.learner for row in shuffled.rows] == ["a", "b", "c"]


def test_columns_stand_in_the_order_of_grading_and_hold_who_has_them():
    late = Gradebook.of([graded("a", conv2d()), graded("b", full(), conv2d(2))])
    assert [c.exercise for c in late.columns] == ["convolution/conv2d", WINDOW]
    assert [len(c.entries) for c in late.columns] == [2, 1]
    assert late.out_of == 7


def test_a_class_without_submissions_is_empty():
    assert Gradebook.of([]).columns == ()
    assert Gradebook.of([]).out_of == 0


def test_a_submission_of_which_nothing_could_be_run_has_a_problem():
    told = nothing("failed").feedback
    lost = Gradebook.of([graded("a", nothing("failed"))]).rows[0]
    assert lost.problems == lost.notes == (f"no answer could be run: {told}",)
    assert Gradebook.of([graded("a", nothing("failed"), conv2d(0))]).rows[0].problems == ()
    assert Gradebook.of([graded("a", nothing("unwritten"))]).rows[0].problems == ()
    known = Gradebook.of([graded("a", nothing("failed"), problems=("too large",))]).rows[0]
    assert known.problems == ("too large",)


@pytest.mark.parametrize(
    ("points", "text"), [(0, "0"), (2.0, "2"), (2.5, "2.5"), (-1, "-1"), (1 / 3, "0.333333")]
)
def test_points_are_written_without_needless_decimals(points, text):
    assert number(points) == text


def test_points_of_a_computed_mark_are_its_points():
    assert Gradebook.of([graded("a", mark())]).rows[0].entries[WINDOW].points == 2
