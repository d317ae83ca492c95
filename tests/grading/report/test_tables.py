"""Tables of marks: what stands in them, and that no cell is a formula."""

import csv
import html
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_marks import FEEDBACK, book, graded, mark

from coursepkg.grading.report.gradebook import NOT_ISOLATED, Gradebook
from coursepkg.grading.report.similarity import Pair, Similarity
from coursepkg.grading.report.tables import cell, long, moodle, pairs, wide
from coursepkg.grading.store import Override

WINDOW = "convolution/output-size"


def rows(text, delimiter=","):
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def records(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("first", "=+-@\t\r\n＝＋－＠")
def test_text_that_begins_like_a_formula_gets_an_apostrophe(first):
    assert cell(f"{first}1").startswith("'")


def test_numbers_stay_numbers_and_text_stays_text():
    assert [cell(value) for value in (-2, -2.5, 3.0, 0, None, True)] == [
        "-2",
        "-2.5",
        "3",
        "0",
        "",
        "1",
    ]
    assert cell("a = -1, b") == "a = -1, b"


@settings(max_examples=1000)
@given(st.text(st.sampled_from("=+-@;,\t\n\r\"' ax＝\x00")))
def test_no_spreadsheet_finds_a_formula_whatever_delimiter_it_expects(text):
    written = long(Gradebook.of([graded("a", mark())], [Override("a", WINDOW, 3, text, text, "d")]))
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(written, newline=""), delimiter=delimiter):
            assert not [value for value in row if value.lstrip("\t").startswith(tuple("=+-@＝"))]


def test_wide_has_a_row_for_each_learner_and_a_column_for_each_exercise():
    table = records(wide(book()))
    assert [*table[0]] == ["learner", WINDOW, "convolution/conv2d", "total", "out_of", "isolation"]
    ada = next(row for row in table if row["learner"] == "ada")
    assert [*ada.values()] == ["ada", "3", "2", "5", "7", "namespaces"]
    assert next(r["isolation"] for r in table if r["learner"] == "kurt") == "none"
    assert len(table) == 6


def test_wide_leaves_the_exercises_that_a_learner_was_not_graded_on_empty():
    table = records(wide(Gradebook.of([graded("a", mark()), graded("b")])))
    assert [row["convolution/conv2d"] for row in table] == ["", "4"]


def test_long_adds_up_to_the_total_that_counts():
    table = records(long(book()))
    for row in book().rows:
        here = [r for r in table if r["learner"] == row.learner]
        if here:
            assert sum(float(r["points"]) for r in here) == row.points
    ada = [r for r in table if r["learner"] == "ada" and r["exercise"] == WINDOW]
    assert [r["group"] for r in ada] == ["kernel", "stride", "padding", "(override)"]
    assert ada[3]["points"] == "1"
    assert ada[3]["override"] == "3"
    assert ada[3]["why"] == "The statement\nwas ambiguous."
    assert ada[3]["date"] == "2026-03-02T10:00:00+00:00"
    assert {r["published"] for r in table if r["learner"] == "Lovelace, Ada"} == {"0", "1"}


def test_an_override_that_takes_points_away_is_a_negative_number():
    down = Gradebook.of([graded("a", mark())], [Override("a", WINDOW, 0.5, "-copied", "=x", "d")])
    last = records(long(down))[-1]
    assert (last["points"], last["override"]) == ("-1.5", "0.5")
    assert (last["why"], last["author"]) == ("'-copied", "'=x")


def test_moodle_has_points_and_feedback_of_each_item_together():
    table = rows(moodle(book()))
    title = f"How many outputs does a window make? ({WINDOW})"
    assert table[0][:5] == ["Identifier", "Total", "Total feedback", title, f"{title} feedback"]
    assert {len(row) for row in table} == {7}
    kurt = next(row for row in table if row[0] == "kurt")
    assert kurt[1:4] == ["2", f"<pre>{NOT_ISOLATED}</pre>", "2"]
    assert kurt[4] == f"<pre>{html.escape(FEEDBACK)}</pre>"
    assert next(row[2] for row in table if row[0] == "emmy") == (
        "<pre>homework.ipynb is no JSON</pre>"
    )


def test_moodle_feedback_names_the_override_and_has_no_tags_of_learners():
    text = moodle(book())
    assert "Changed by the instructor to 3 points: The statement" in text
    assert "<script" not in text.replace('"../<script>', "")


def test_similar_answers_are_listed():
    assert rows(pairs(Similarity((Pair("t/e", "a", "b", 0.9),), ())))[1] == ["t/e", "a", "b", "0.9"]


@pytest.mark.parametrize("table", [wide, long, moodle])
def test_tables_are_the_same_each_time_and_can_be_encoded(table):
    assert table(book()) == table(book())
    table(book()).encode()
    assert "\r" not in table(book())


def test_learners_who_begin_like_a_formula_are_neutralised_everywhere():
    bad = Gradebook.of([graded('=HYPERLINK("http://x")', mark(title="@SUM(A1)"))])
    for table in (wide(bad), long(bad), moodle(bad)):
        assert not [c for row in rows(table) for c in row if c.startswith(("=", "@"))]
