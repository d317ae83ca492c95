"""Arguments are accepted or refused with argument, value and remedy."""

import re

import numpy as np
import pytest
import torch

from coursepkg.validation import choice, integer, pair


def test_a_known_word_is_returned():
    assert choice("mode", "wrap", {"constant": 1, "wrap": 2}) == "wrap"
    assert choice("mode", "wrap", ("constant", "wrap")) == "wrap"


@pytest.mark.parametrize("value", ["mirror", "", None, 3, ["wrap"], {"a": 1}, np.zeros(2)])
def test_an_unknown_word_is_refused_with_those_there_are(value):
    message = f"mode={value!r} is unknown; use one of constant, wrap"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        choice("mode", value, {"constant": 1, "wrap": 2})


@pytest.mark.parametrize("value", [1, np.int64(1), np.uint8(1)])
def test_integers_of_any_kind_become_int(value):
    number = integer("stride", value, 1)
    assert number == 1
    assert type(number) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, (1,), np.float32(1), [1]])
def test_what_is_no_integer_is_refused(value):
    message = f"stride={value!r} is not an integer; use an integer of at least 1"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        integer("stride", value, 1)


@pytest.mark.parametrize(("value", "minimum"), [(0, 1), (-1, 0), (1, 2)])
def test_what_is_too_small_is_refused(value, minimum):
    message = f"padding={value} is too small; use an integer of at least {minimum}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        integer("padding", value, minimum)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, (3, 3)),
        ((3, 4), (3, 4)),
        ([3, 4], (3, 4)),
        (np.int64(3), (3, 3)),
        ((np.int8(3), 4), (3, 4)),
        (torch.Size([3, 4]), (3, 4)),
    ],
)
def test_pair(value, expected):
    result = pair("stride", value, 1)
    assert result == expected
    assert [type(v) for v in result] == [int, int]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ((1, 2, 3), "(1, 2, 3) has 3 entries; use an integer or (height, width)"),
        ([], "[] has 0 entries; use an integer or (height, width)"),
        (1.5, "1.5 is not an integer; use an integer of at least 1"),
        ((1, True), "True is not an integer; use an integer of at least 1"),
        ((1, 0), "0 is too small; use an integer of at least 1"),
    ],
)
def test_what_is_no_pair_is_refused(value, complaint):
    with pytest.raises(ValueError, match=f"^{re.escape('stride=' + complaint)}$"):
        pair("stride", value, 1)


def test_a_pair_may_mean_something_else_than_height_and_width():
    message = "objects=(1,) has 1 entries; use an integer or (least, most)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pair("objects", (1,), 0, "(least, most)")
