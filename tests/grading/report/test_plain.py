"""Names and texts of others: every character can be seen, every file name is safe and distinct."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.grading.report.plain import file_stem, one_line, readable

NAMES = [
    "../../x",
    "..",
    ".",
    "",
    "con",
    "CON",
    "con.txt",
    "nul.",
    "COM1.csv",
    "a/b",
    "a\\b",
    "a b",
    "Ada",
    "ada",
    "ÅDA",
    "x" * 300,
    "x" * 301,
    "🦆🦆",
    "🦆",
    "-rf",
    "a\nb",
    "a\x00b",
    "\ud800",
    "\ud801",
    "\u202egnp.exe",
    "ends.",
    "index",
    "ada-0123456789abcdef",
    "C:x",
    "~root",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_is_safe_on_every_system(name):
    stem = file_stem(name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", stem)
    assert not stem.endswith(".")
    assert stem.split(".")[0] not in {"con", "prn", "aux", "nul", "com1", "lpt1"}


def test_different_names_give_different_files_even_where_case_does_not_count():
    stems = [file_stem(name) for name in NAMES]
    assert len({stem.casefold() for stem in stems}) == len(NAMES)


def test_a_learner_cannot_take_the_file_of_another_by_its_name():
    assert file_stem(file_stem("Ada")) != file_stem("Ada")


@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=80))
def test_file_names_differ_whenever_names_do(one, other):
    assert (file_stem(one) == file_stem(other)) == (one == other)


@given(st.text(st.characters()))
def test_readable_text_can_be_encoded_and_holds_nothing_unseen(text):
    shown = readable(text)
    shown.encode()
    for character in shown:
        assert character in "\n\t\u200c\u200d\u00ad" or unicodedata.category(character) not in (
            "Cc",
            "Cs",
        )
    assert not re.search("[\r\x1b\u202a-\u202e\u2066-\u2069\u200b\ufeff]", shown)


@pytest.mark.parametrize(
    "character",
    "\x00\x08\x0b\x0c\x1b\x7f\x85\u061c\u200b\u200e\u2028\u202a\u202e\u2066\u2069\ufeff\ufff9"
    "\ufffe\uffff\ud800\udfff\U0001ffff\U0010fffe\U000e0041",
)
def test_what_cannot_be_seen_is_written_as_python_writes_it(character):
    shown = readable(f"a{character}b")
    assert shown == f"a{character.encode('unicode_escape').decode()}b"
    assert shown.isascii()


def test_every_line_ends_in_a_line_feed():
    assert readable("a\r\nb\rc\nd") == "a\nb\nc\nd"


def test_honest_text_stays_as_it_is():
    text = "def f(x):\n\treturn x  # größer, 한국어, עברית, 👩‍💻\n"
    assert readable(text) == text


def test_a_long_text_is_cut_and_says_so():
    assert readable("x" * 1_000_000).endswith("(the first 20,000 of 1,000,000 characters)")
    assert len(readable("\x00" * 1_000_000)) < 100_000


@pytest.mark.parametrize("text", ["a\nb\tc  d", "a\r\nb c d", "  a b c d"])
def test_one_line_has_one_line(text):
    assert one_line(text) == "a b c d"


def test_one_line_keeps_to_its_limit():
    assert one_line("word " * 100, 30) == "word word word word word word…"
    assert len(one_line("x" * 1_000_000, 30)) == 30
