r"""Marks filled into a gradebook that an instructor exported from Canvas."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coursepkg.grading.report.gradebook import Gradebook, Row, number
from coursepkg.grading.report.plain import one_line
from coursepkg.grading.report.tables import cell

__all__ = ["Filled", "Sheet", "fill"]

#: How Canvas writes the name of an assignment: with its number behind it.
NUMBERED = r".*\S\s+\(\d+\)"
#: The columns by which learners are found, in this order.
KEYS = ("SIS Login ID", "SIS User ID", "ID", "Student")
#: The columns that say who is who; the assignments come behind them.
IDENTITY = {*KEYS, "Integration ID", "Root Account", "Section"}
#: The user that Canvas makes for an instructor who wants to see a course as learners do.
TEST_STUDENT = "Student, Test"

#: One field as it was written, quotes included, and the delimiter or line end behind it.
FIELD = r'("(?:[^"]|"")*+"[^{0}\r\n]*|[^{0}\r\n]*)({0}|\r\n|\n|\r|\Z)'
BYTE_ORDER = {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class Sheet:
    r"""A table of delimited values that is written back as it was, but for what was set.

    Parameters
    ----------
    data : bytes
        UTF-8 or UTF-16, with a byte-order mark or without; otherwise taken for Windows-1252.
        The first row names the columns and tells the delimiter: comma, semicolon or tab.
    """

    def __init__(self, data: bytes):
        self.encoding, text = _decoded(data)
        first = text.partition("\n")[0]
        self.delimiter = max(",;\t", key=first.count)
        self._records: list[list[tuple[str, str]]] = [[]]
        for field in re.finditer(FIELD.format(self.delimiter), text):
            self._records[-1].append((field[1], field[2]))
            if field[2] != self.delimiter:
                self._records.append([])
        while self._records and self._records[-1] in ([], [("", "")]):
            self._records.pop()
        self.columns = [self.value(0, k) for k in range(len(self._records[0]))] if text else []
        self._quoted = (
            all(field.startswith('"') for field, _ in self._records[0]) if text else False
        )

    def __len__(self) -> int:
        return len(self._records)

    def value(self, row: int, column: int | str) -> str:
        r"""Return what a cell holds; nothing where the column or the cell is missing."""
        if isinstance(column, str):
            if column not in self.columns:
                return ""
            column = self.columns.index(column)
        record = self._records[row]
        written = record[column][0].removeprefix("\ufeff") if column < len(record) else ""
        if written.startswith('"'):
            written = written[1:].removesuffix('"').replace('""', '"')
        return written

    def set(self, row: int, column: int, value: str) -> None:
        r"""Change one cell, in quotes if it had them or needs them."""
        old, end = self._records[row][column]
        self._records[row][column] = (self._written(value, old.startswith('"')), end)

    def insert(self, column: int, values: Iterable[str]) -> None:
        r"""Insert a column, one value for each row; rows that are too short stay as they are."""
        for record, value in zip(self._records, values, strict=True):
            if len(record) >= column:
                before, end = record[column - 1]
                record[column - 1] = (before, self.delimiter)
                record.insert(column, (self._written(value, self._quoted), end))
        self.columns = [self.value(0, k) for k in range(len(self._records[0]))]

    def to_bytes(self) -> bytes:
        r"""Return the file."""
        text = "".join(field + end for record in self._records for field, end in record)
        return text.encode(self.encoding)

    def _written(self, value: str, quoted: bool) -> str:
        if quoted or any(mark in value for mark in (self.delimiter, '"', "\r", "\n")):
            return '"' + value.replace('"', '""') + '"'
        return value


@dataclass(frozen=True)
class Filled:
    r"""An export with one column filled.

    Attributes
    ----------
    data : bytes
        The file: what was not filled is as it was, byte for byte.
    without_row : tuple of str
        Learners with marks who are not in the export, or fit several of its rows.
    without_marks : tuple of str
        Learners of the export without marks; their cells are as they were.
    remarks : tuple of str
        What else the instructor should know.
    """

    data: bytes
    without_row: tuple[str, ...]
    without_marks: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def notes(self) -> str:
        r"""All of that in words, one line for each learner."""
        parts = list(self.remarks)
        for title, names in (
            ("With marks, but not in the export", self.without_row),
            ("In the export, but without marks", self.without_marks),
        ):
            parts.append(f"{title}: {len(names)}")
            parts += [f"  {one_line(name)}" for name in names]
        return "\n".join(parts) + "\n"


def fill(book: Gradebook, export: bytes, assignment: str | None = None) -> Filled:
    r"""Fill the totals of a class into one column of a Canvas export.

    The column is that of the assignment, with or without the number that Canvas writes behind
    its name; where there is none, one is made behind the columns that say who is who. Learners
    are found by SIS Login ID, then by SIS User ID, ID and Student ("Lovelace, Ada" is also
    "Ada Lovelace"), whatever the case of the letters.

    Parameters
    ----------
    book : Gradebook
    export : bytes
        The file that Canvas wrote; see :class:`Sheet`.
    assignment : str, optional
        The only one of the export, if it is not given.

    Returns
    -------
    Filled

    Raises
    ------
    ValueError
        If this is no export of Canvas, or it is not clear which column is meant.
    """
    sheet = Sheet(export)
    if "Student" not in sheet.columns or not {*sheet.columns} & {*KEYS[:3]}:
        raise ValueError(
            f"the first row is {one_line(', '.join(sheet.columns))!r}, without Student and one of "
            f"{', '.join(KEYS[:3])}; export the gradebook from Canvas as CSV and give that file"
        )
    if assignment is None:
        assignment = _only_assignment(sheet)
    people = [row for row in range(1, len(sheet)) if _is_person(sheet, row)]
    found, without_row = _matches(book.rows, sheet, people)
    unmarked = sorted(
        name
        for row in people
        if row not in found and (name := sheet.value(row, "Student")) != TEST_STUDENT
    )
    points = {row: number(learner.points) for row, learner in found.items()}
    remarks = _fill_column(sheet, assignment, points, book.out_of)
    if bare := sum(learner.graded.isolation == "none" for learner in book.rows):
        remarks.append(f"Submissions that were run without isolation: {bare}")
    return Filled(sheet.to_bytes(), tuple(without_row), tuple(unmarked), tuple(remarks))


def _only_assignment(sheet: Sheet) -> str:
    columns = [name.strip() for name in sheet.columns if re.fullmatch(NUMBERED, name.strip())]
    if len(columns) == 1:
        return columns[0]
    found = f"has {', '.join(map(one_line, columns))}" if columns else "has none"
    raise ValueError(f"name the assignment to be filled with --assignment; the export {found}")


def _decoded(data: bytes) -> tuple[str, str]:
    r"""Return an encoding that gives the same bytes back, and the text with its mark."""
    if data[:2] in BYTE_ORDER:
        return BYTE_ORDER[data[:2]], data.decode(BYTE_ORDER[data[:2]])
    for encoding in ("utf-8", "cp1252"):
        try:
            return encoding, data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return "latin-1", data.decode("latin-1")


def _is_points_possible(sheet: Sheet, row: int) -> bool:
    return sheet.value(row, "Student").strip().casefold() == "points possible"


def _is_person(sheet: Sheet, row: int) -> bool:
    r"""Tell learners from the rows of settings and of possible points."""
    named = any(sheet.value(row, key).strip() for key in KEYS[:3])
    return named and not _is_points_possible(sheet, row)


def _matches(
    learners: Iterable[Row], sheet: Sheet, people: Iterable[int]
) -> tuple[dict[int, Row], list[str]]:
    r"""Find the row of each learner: the first column that knows the name decides."""
    found: dict[int, Row] = {}
    waiting = list(learners)
    lost: list[str] = []
    for key in KEYS:
        places = _by_name(sheet, key, (row for row in people if row not in found))
        asking: dict[str, list[Row]] = {}
        for learner in waiting:
            asking.setdefault(_normal(learner.learner), []).append(learner)
        waiting = []
        for name, alike in asking.items():
            rows = places.get(name, [])
            if len(rows) == len(alike) == 1 and rows[0] not in found:
                found[rows[0]] = alike[0]
            elif rows:
                lost += [f"{one.learner} (fits {len(rows)} rows by {key})" for one in alike]
            else:
                waiting += alike
    return found, sorted(lost + [learner.learner for learner in waiting])


def _by_name(sheet: Sheet, key: str, rows: Iterable[int]) -> dict[str, list[int]]:
    named: dict[str, list[int]] = {}
    for row in rows:
        value = sheet.value(row, key)
        names = {_normal(value)}
        if key == "Student":
            names.add(_normal(" ".join(reversed(value.split(",", 1)))))
        for name in names - {""}:
            named.setdefault(name, []).append(row)
    return named


def _normal(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _fill_column(
    sheet: Sheet, assignment: str, points: Mapping[int, str], out_of: int
) -> list[str]:
    r"""Write points into the column of the assignment, made if need be; return remarks."""
    numbered = re.compile(rf"{re.escape(assignment)}(\s+\(\d+\))?")
    columns = [k for k, name in enumerate(sheet.columns) if numbered.fullmatch(name.strip())]
    if len(columns) > 1 or assignment in IDENTITY:
        names = " and ".join(repr(sheet.columns[k]) for k in columns)
        raise ValueError(
            f"assignment={assignment!r} may be {names}; give the name with its number"
            if len(columns) > 1
            else f"assignment={assignment!r} is a column of names; give that of an assignment"
        )
    if not columns:
        at = max(k for k, name in enumerate(sheet.columns) if name in IDENTITY) + 1
        sheet.insert(at, _new_column(sheet, assignment, points, out_of))
        return [f"New column: {cell(assignment)}, {out_of} points"]
    remarks = [f"Filled: {sheet.columns[columns[0]]}"]
    possible = next((r for r in range(len(sheet)) if _is_points_possible(sheet, r)), None)
    stated = sheet.value(possible, columns[0]).strip() if possible is not None else ""
    if stated and _number(stated) != out_of:
        remarks.append(
            f"Canvas counts this assignment out of {stated}; the marks are out of {out_of}"
        )
    old = {row: sheet.value(row, columns[0]).strip() for row in points}
    replaced = sum(bool(was) and _number(was) != float(points[row]) for row, was in old.items())
    if replaced:
        remarks.append(f"Other points that stood there were replaced: {replaced}")
    for row, value in points.items():
        sheet.set(row, columns[0], value)
    return remarks


def _new_column(sheet: Sheet, assignment: str, points: Mapping[int, str], out_of: int) -> list[str]:
    return [
        cell(assignment)
        if row == 0
        else number(out_of)
        if _is_points_possible(sheet, row)
        else points.get(row, "")
        for row in range(len(sheet))
    ]


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
