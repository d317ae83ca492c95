"""Arguments are accepted or refused with argument, value and remedy."""

import re

import numpy as np
import pytest

from coursepkg.validation import integer


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
