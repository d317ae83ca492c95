"""A Canvas export with one column filled: everything else is the instructor's, byte for byte."""

import codecs
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_marks import conv2d, full, graded, mark

from coursepkg.grading.report.canvas import Sheet, fill
from coursepkg.grading.report.gradebook import Gradebook
from coursepkg.grading.store import Override

EXPORT = """\
Student,ID,SIS User ID,SIS Login ID,Section,Quiz 1 (4711),Homework (4712),Final Score
,,,,,Manual Posting,,
    Points Possible,,,,,10.00,7.00,(read only)
"Lovelace, Ada",101,u-ada,ada@uni.example,"Spring, A",9.50,,88.10
"Hopper, Grace",102,=u-grace,grace,Spring B,8.00,3.00,77.00
"Noether, Emmy",103,u-emmy,emmy.n,Spring B,,,
"O""Neil, Sean",104,u-sean,sean,Spring B,1.00,,
"Student, Test",105,,abcdef,Spring B,,,
"""
BOOK = Gradebook.of(
    [
        graded("GRACE", full(), conv2d(4)),
        graded("u-ada", mark(), conv2d(2)),
        graded("emmy noether", mark(), conv2d(0)),
        graded("stranger", mark()),
    ],
    [Override("u-ada", "convolution/conv2d", 2.5, "why", "", "d")],
)


def table(data, encoding="utf-8", delimiter=","):
    return list(csv.reader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter))


def test_an_existing_column_is_filled_and_nothing_else_changes():
    filled = fill(BOOK, EXPORT.encode(), "Homework")
    changed = EXPORT.replace('"Spring, A",9.50,,', '"Spring, A",9.50,4.5,')
    changed = changed.replace("Spring B,8.00,3.00,", "Spring B,8.00,7,")
    changed = changed.replace("emmy.n,Spring B,,,", "emmy.n,Spring B,,2,")
    assert filled.data.decode() == changed
    assert "Other points that stood there were replaced: 1" in filled.remarks
    assert fill(BOOK, EXPORT.encode(), "Homework (4712)").data == filled.data


def test_a_new_column_stands_behind_those_that_say_who_is_who():
    filled = fill(BOOK, EXPORT.encode(), "Course")
    new = table(filled.data)
    assert [row[5] for row in new] == ["Course", "", "7", "4.5", "7", "2", "", ""]
    assert [row[:5] + row[6:] for row in new] == table(EXPORT.encode())
    assert b'"Lovelace, Ada",101,u-ada,ada@uni.example,"Spring, A",4.5,9.50,,88.10\n' in filled.data
    assert b'"O""Neil, Sean",104,u-sean,sean,Spring B,,1.00,,\n' in filled.data


def test_identity_columns_that_look_like_formulas_stay_as_they_are():
    assert b'"Hopper, Grace",102,=u-grace,grace,' in fill(BOOK, EXPORT.encode(), "Course").data


def test_who_is_only_on_one_side_is_listed():
    filled = fill(BOOK, EXPORT.encode(), "Course")
    assert filled.without_row == ("stranger",)
    assert filled.without_marks == ('O"Neil, Sean',)
    assert "With marks, but not in the export: 1\n  stranger\n" in filled.notes
    assert 'In the export, but without marks: 1\n  O"Neil, Sean\n' in filled.notes


@pytest.mark.parametrize(
    "name", ["ada@uni.example", "u-ada", "101", "Lovelace, Ada", "ada  LOVELACE"]
)
def test_a_learner_is_found_by_each_of_the_columns(name):
    found = fill(Gradebook.of([graded(name)]), EXPORT.encode(), "Homework")
    assert found.without_row == ()
    assert table(found.data)[3][6] == "6"


def test_the_login_goes_before_the_other_columns():
    export = "Student,ID,SIS User ID,SIS Login ID,Section\nA,1,,x,\nB,2,,1,\n"
    assert [
        r[5] for r in table(fill(Gradebook.of([graded("1")]), export.encode(), "Course").data)[1:]
    ] == [
        "",
        "6",
    ]


def test_nobody_is_guessed_where_a_name_fits_two_rows_or_two_learners_fit_one():
    export = "Student,ID,SIS Login ID,Section\nA B,1,x,\nA B,2,y,\nC,3,c,\n"
    two = fill(Gradebook.of([graded("A B"), graded("c"), graded("C")]), export.encode(), "Course")
    assert [row[4] for row in table(two.data)[1:]] == ["", "", ""]
    assert [name.split(" (")[0] for name in two.without_row] == ["A B", "C", "c"]


def test_a_row_is_filled_once_by_the_stronger_column():
    export = "Student,ID,SIS Login ID,Section\nAda,1,ada,\n"
    both = fill(
        Gradebook.of([graded("1"), graded("ada", full(), conv2d(4))]), export.encode(), "Course"
    )
    assert table(both.data)[1][4] == "7"
    assert both.without_row == ("1",)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("cp1252", b""),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encoding_line_ends_and_delimiter_stay(encoding, mark, ending, delimiter):
    text = EXPORT.replace("Emmy", "Émmy").replace(", ", "~").replace(",", delimiter)
    text = text.replace("~", ", ").replace("\n", ending)
    export = mark + text.encode(encoding)
    filled = fill(BOOK, export, "Homework").data
    assert filled.startswith(mark)
    old, new = export[len(mark) :].decode(encoding), filled[len(mark) :].decode(encoding)
    assert [line.count(delimiter) for line in old.split(ending)] == [
        line.count(delimiter) for line in new.split(ending)
    ]
    assert f'"Lovelace, Ada"{delimiter}101' in new
    back = new.replace("9.50" + delimiter + "4.5", "9.50" + delimiter)
    assert back.replace("8.00" + delimiter + "7", "8.00" + delimiter + "3.00") == old


def test_bytes_that_are_no_text_stay_too():
    export = EXPORT.encode().replace(b"Sean", b"\x81\xff")
    assert fill(BOOK, export, "Course").data.count(b"\x81\xff") == 1


def test_an_export_in_quotes_gets_quotes():
    quoted = io.StringIO()
    csv.writer(quoted, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table(EXPORT.encode()))
    filled = fill(BOOK, quoted.getvalue().encode(), "Course").data.decode()
    assert '"Section","Course","Quiz 1 (4711)"' in filled
    assert '"Spring, A","4.5","9.50"' in filled
    assert '"7"' in fill(BOOK, quoted.getvalue().encode(), "Homework").data.decode()


def test_other_points_in_canvas_are_remarked():
    export = EXPORT.replace("10.00,7.00", "10.00,100.00").encode()
    assert any("out of 100.00" in remark for remark in fill(BOOK, export, "Homework").remarks)
    assert not any("out of" in r for r in fill(BOOK, EXPORT.encode(), "Homework").remarks)


def test_a_run_without_isolation_is_remarked():
    bare = Gradebook.of([graded("u-ada", isolation="none")])
    assert "without isolation: 1" in fill(bare, EXPORT.encode(), "Course").notes
    assert "without isolation" not in fill(BOOK, EXPORT.encode(), "Course").notes


@pytest.mark.parametrize("export", [b"", b"a,b\n1,2\n", b"\x00\x01", b"Student,Section\n"])
def test_a_file_that_is_no_export_is_refused_with_a_remedy(export):
    with pytest.raises(ValueError, match="export the gradebook from Canvas"):
        fill(BOOK, export)


def test_an_ambiguous_assignment_is_refused():
    export = EXPORT.replace("Quiz 1", "Homework").encode()
    with pytest.raises(ValueError, match=r"Homework \(4711\).*and.*Homework \(4712\)"):
        fill(BOOK, export, "Homework")
    with pytest.raises(ValueError, match="column of names"):
        fill(BOOK, EXPORT.encode(), "Section")


def test_the_only_assignment_of_an_export_needs_no_name():
    export = EXPORT.replace("Quiz 1 (4711)", "Current Score").encode()
    assert fill(BOOK, export).data == fill(BOOK, export, "Homework").data


def test_several_assignments_are_listed_if_none_is_named():
    with pytest.raises(ValueError, match=r"--assignment; .* Quiz 1 \(4711\), Homework \(4712\)"):
        fill(BOOK, EXPORT.encode())
    with pytest.raises(ValueError, match="--assignment; the export has none"):
        fill(BOOK, b"Student,ID,Section\nAda,1,A\n")


def test_a_name_with_a_delimiter_is_quoted_and_a_formula_neutralised():
    assert b'Section,"Part 1, 2",Quiz' in fill(BOOK, EXPORT.encode(), "Part 1, 2").data
    assert b"Section,'=1,Quiz" in fill(BOOK, EXPORT.encode(), "=1").data


@pytest.mark.parametrize("tail", ["", "\n", "\n\n", "\n\n\n"])
def test_blank_lines_and_short_rows_stay(tail):
    export = "Student,ID,Section,Homework\nx\n\nAda,u,s,\nB,v" + tail
    filled = fill(Gradebook.of([graded("u")]), export.encode(), "Homework").data.decode()
    assert filled == export.replace("Ada,u,s,", "Ada,u,s,6")


@given(st.text(st.sampled_from('ab,;"\n\r\t\ufeff ')))
def test_a_sheet_that_is_not_changed_is_written_as_it_was(text):
    assert Sheet(text.encode()).to_bytes() == text.encode()


@given(st.lists(st.lists(st.text(st.sampled_from('a,"\n\r ')), min_size=2), min_size=1))
def test_values_are_read_as_the_csv_module_reads_them(rows):
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(rows)
    sheet = Sheet(written.getvalue().encode())
    if sheet.delimiter == ",":
        read = [[sheet.value(r, c) for c in range(len(row))] for r, row in enumerate(rows)]
        assert read == rows
