"""The helper that judges everything else is judged here: what it must accept and refuse."""

import re
from collections import OrderedDict

import numpy as np
import pytest
import torch

from coursepkg.testing import (
    TOLERANCES,
    AtLeast,
    assert_close,
    assert_gradient,
    difference,
    numerical_gradient,
)

SAME = [
    (28, 28),
    (True, True),
    ("valid", "valid"),
    (None, None),
    (0.1 + 0.2, 0.3),
    (float("nan"), float("nan")),
    (float("inf"), float("inf")),
    (np.float64(0.1 + 0.2), np.float64(0.3)),
    (np.array([1, 2]), np.array([1, 2])),
    (np.array([True]), np.array([True])),
    (np.array(["a"]), np.array(["a"])),
    (np.zeros((0, 3)), np.zeros((0, 3))),
    (np.array([np.nan, np.inf, -np.inf, 1]), np.array([np.nan, np.inf, -np.inf, 1])),
    (np.array([1 + 1e-11]), np.array([1.0])),
    (np.float32([1 + 5e-6]), np.float32([1.0])),
    (np.float16([1.005]), np.float16([1.0])),
    (np.array([1 + 1e-11j]), np.array([1 + 0j])),
    (np.array([1000.0, 1e-9]), np.array([1000.0, 0.0])),  # small beside the largest value
    ((1, np.array([2.0])), (1, np.array([2.0]))),
    ([1, (2, 3)], [1, (2, 3)]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (torch.tensor([1.0], requires_grad=True), torch.tensor([1.0])),
]


@pytest.mark.parametrize(("got", "expected"), SAME)
def test_equal_results_have_no_difference(got, expected):
    assert difference(got, expected) is None
    assert_close(got, expected)


DIFFERENT = [
    (29, 28, "result is 29, expected 28"),
    (28.0, 28, "result is a float (28.0), expected an int (28)"),
    (np.int64(28), 28, "result is an int64, expected an int (28)"),
    (np.uint8(28), 28, "result is a uint8, expected an int (28)"),
    (True, 1, "result is a bool (True), expected an int (1)"),
    ("same", "valid", "result is 'same', expected 'valid'"),
    ("x" * 99, 1, f"result is a str ('{'x' * 39}), expected an int (1)"),
    (None, 28, "result is None, expected an int (28); is a return missing?"),
    (28, None, "result is an int (28), expected None"),
    (None, np.zeros(2), "result is None, expected a NumPy array; is a return missing?"),
    ([1.0], np.ones(1), "result is a list, expected a NumPy array"),
    (np.ma.array([1]), np.array([1]), "result is a MaskedArray, expected a NumPy array"),
    (torch.ones(1), np.ones(1), "result is a torch tensor, expected a NumPy array"),
    (0.3001, 0.3, "result is 0.3001, expected 0.3"),
    (np.zeros((2, 3)), np.zeros((3, 2)), "result has shape (2, 3), expected (3, 2)"),
    (np.zeros((0,)), np.zeros((0, 3)), "result has shape (0,), expected (0, 3)"),
    (np.zeros(2), np.zeros(2, np.float32), "result has dtype float64, expected float32"),
    (np.array([1, 2]), np.array([1, 3]), "result[1] is 2, expected 3"),
    (np.array([True]), np.array([False]), "result[0] is True, expected False"),
    (
        np.array([[1, 9, 9]]),
        np.array([[1, 2, 3]]),
        "result[0, 1] is 9, expected 2 (2 of 3 values differ)",
    ),
    (np.array([1 + 1e-9]), np.array([1.0]), "result[0] is 1.000000001, expected 1.0"),
    (np.float32([1.0001]), np.float32([1.0]), "result[0] is 1.0001, expected 1.0"),
    (np.array([1e-12]), np.array([0.0]), "result[0] is 1e-12, expected 0.0"),
    (np.array([np.nan]), np.array([1.0]), "result[0] is nan, expected 1.0"),
    (np.array([1.0]), np.array([np.nan]), "result[0] is 1.0, expected nan"),
    (np.array([np.inf]), np.array([-np.inf]), "result[0] is inf, expected -inf"),
    (np.array([1.0]), np.array([np.inf]), "result[0] is 1.0, expected inf"),
    (np.array([np.inf]), np.array([1.0]), "result[0] is inf, expected 1.0"),
    (np.array([1.1, np.inf]), np.array([1.0, np.inf]), "result[0] is 1.1, expected 1.0"),
    (np.array(["a"]), np.array(["b"]), "result[0] is a, expected b"),
    ((1, 2), (1, 3), "result[1] is 2, expected 3"),
    ((1,), (1, 2), "result has 1 entries, expected 2"),
    ([1, (2, 4)], [1, (2, 3)], "result[1][1] is 4, expected 3"),
    ({"a": 1}, {"b": 1}, "result has the keys ['a'], expected ['b']"),
    ({"a": 1}, {"a": 2}, "result['a'] is 1, expected 2"),
    ({1: 1, "a": 2}, {1: 1}, "result has the keys ['a', 1], expected [1]"),
    ({1: 1}, {1: 1, "a": 2}, "result has the keys [1], expected ['a', 1]"),
    (OrderedDict(a=1), {"a": 1}, "result is a OrderedDict, expected a dict"),
    (torch.tensor([2.0]), torch.tensor([1.0]), "result[0] is 2.0, expected 1.0"),
]


@pytest.mark.parametrize(("got", "expected", "sentence"), DIFFERENT)
def test_a_difference_is_said_in_one_sentence(got, expected, sentence):
    assert difference(got, expected) == sentence
    with pytest.raises(AssertionError, match=f"^{re.escape(sentence)}$"):
        assert_close(got, expected)


def test_the_sentence_uses_the_name_it_is_given():
    assert difference(np.ones(1), np.zeros(1), "grad") == "grad[0] is 1.0, expected 0.0"
    with pytest.raises(AssertionError, match=r"^grad is 1, expected 2$"):
        assert_close(1, 2, "grad")
    with pytest.raises(AssertionError, match=r"^gradient\[0\] is 2\.0, expected 1\.0"):
        assert_gradient(lambda x: float(x.sum()), np.zeros(1), np.full(1, 2.0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128"])
def test_each_tolerance_sits_where_the_table_says(dtype):
    relative, absolute = TOLERANCES[dtype]
    for size in (0.0, 8.0):
        expected = np.array([size], "complex128")
        allowed = relative * size + absolute
        stand_in = {"float16": "float64", "float32": "float64"}.get(dtype, dtype)
        options = {"rtol": relative, "atol": absolute}
        inside, outside = expected + 0.99 * allowed, expected + 1.01 * allowed
        cast = [np.real_if_close(a).astype(stand_in) for a in (expected, inside, outside)]
        assert difference(cast[1], cast[0], **options) is None
        assert difference(cast[2], cast[0], **options) is not None


def test_the_tolerances_are_what_they_are():
    assert TOLERANCES == {
        "float16": (1e-2, 1e-3),
        "float32": (1e-5, 1e-6),
        "float64": (1e-10, 1e-13),
        "complex128": (1e-10, 1e-13),
    }


def test_tolerances_can_be_given():
    got, expected = np.array([1.05, 0.0]), np.array([1.0, 0.0])
    assert difference(got, expected, rtol=0.1) is None
    assert difference(got, expected, rtol=0.01) is not None
    assert difference(got, expected, atol=0.1) is None
    assert difference(got, expected, atol=0.01) is not None
    assert difference({"a": [got]}, {"a": [expected]}, rtol=0.1) is None
    assert difference({"a": [got]}, {"a": [expected]}, atol=0.1) is None
    assert difference(1.05, 1.0, atol=0.1) is None
    assert difference(1.05, 1.0, rtol=0.1) is None
    assert_close(got, expected, rtol=0.1)
    assert_close(got, expected, atol=0.1)


def test_integers_are_exact_unless_a_tolerance_is_given():
    got, expected = np.array([101, 7], np.uint8), np.array([100, 8], np.uint8)
    assert difference(got, expected) == "result[0] is 101, expected 100 (2 of 2 values differ)"
    assert difference(got, expected, atol=1) is None
    assert difference(got, expected, rtol=0.01) is None
    assert difference(got, expected, rtol=0.001) is not None


def test_infinite_neighbours_do_not_widen_the_tolerance():
    got, expected = np.array([1.1, np.inf]), np.array([1.0, np.inf])
    assert difference(got, expected, rtol=0.01) == "result[0] is 1.1, expected 1.0"


def cubic(x):
    return float(np.sum(x**3) + x[0, 0] * x[0, 1])


def test_numerical_gradient_of_a_cubic():
    x = np.array([[0.5, -2.0], [3.0, 0.0]])
    exact = 3 * x**2
    exact[0] += x[0, ::-1]
    before = x.copy()
    got = numerical_gradient(cubic, x)
    assert_close(got, exact, rtol=1e-9, atol=1e-9)
    assert_close(x, before)
    assert_gradient(cubic, x, exact)


def test_numerical_gradient_is_exact_for_quadratics_at_any_step():
    x = np.array([0.5, -2.0])
    for step in (1.0, 0.25):
        assert_close(numerical_gradient(lambda x: float(np.sum(x**2)), x, step), 2 * x)


def test_numerical_gradient_of_one_number():
    x = np.array(2.0)
    assert_close(numerical_gradient(lambda x: float(x**2), x), np.array(4.0), rtol=1e-9)


def test_the_default_step_is_the_cube_root_of_the_machine_precision():
    seen = []
    numerical_gradient(lambda x: seen.append(float(x[0])) or 0.0, np.zeros(1))
    assert seen == [np.finfo(np.float64).eps ** (1 / 3), -(np.finfo(np.float64).eps ** (1 / 3))]


@pytest.mark.parametrize("x", [np.float32([1]), np.array([1]), [1.0], 1.0])
def test_numerical_gradient_wants_float64(x):
    kind = getattr(x, "dtype", type(x).__name__)
    message = f"x is {kind}; pass a float64 array (.astype(np.float64))"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        numerical_gradient(lambda x: 0.0, x)


@pytest.mark.parametrize("entry", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_gradient_wrong_in_one_entry_is_refused(entry):
    x = np.array([[0.5, -2.0], [3.0, 0.0]])
    wrong = numerical_gradient(cubic, x)
    wrong[entry] += 1e-4
    sentence = f"grad[{entry[0]}, {entry[1]}] is "
    with pytest.raises(AssertionError, match=f"^{re.escape(sentence)}"):
        assert_gradient(cubic, x, wrong, "grad")


def test_assert_gradient_passes_its_tolerances_on():
    x = np.array([1.0, 2.0])
    near = 2 * x + 1e-5

    def square(x):
        return float(np.sum(x**2))

    assert_gradient(square, x, near, rtol=1e-5)
    assert_gradient(square, x, near, atol=1e-4)
    with pytest.raises(AssertionError):
        assert_gradient(square, x, near)
    assert_gradient(square, x, 2 * x + 2e-7)  # within the default rtol of 1e-7 times 4
    with pytest.raises(AssertionError):
        assert_gradient(square, x, 2 * x + 6e-7)
    assert_gradient(lambda x: 0.0, x, np.full(2, 0.9e-8))  # the default atol
    with pytest.raises(AssertionError):
        assert_gradient(lambda x: 0.0, x, np.full(2, 1.1e-8))


LABELS = np.array([3, 1, 4, 1])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75])
def test_enough_labels_are_right_no_matter_which(share):
    for wrong in range(4):
        got = LABELS.copy()
        got[wrong] = 9
        assert difference(got, AtLeast(share, LABELS)) is None
    assert difference({"p": LABELS}, {"p": AtLeast(1.0, LABELS)}) is None


@pytest.mark.parametrize(
    ("got", "sentence"),
    [
        (np.array([3, 1, 4, 9]), "p has 3 of 4 labels right; at least 4 are wanted (80.0%)"),
        (np.array([9, 9, 9, 9]), "p has 0 of 4 labels right; at least 4 are wanted (80.0%)"),
        (LABELS[:3], "p has shape (3,), expected (4,)"),
        (LABELS.astype(np.float32), "p has dtype float32, expected int64"),
        (None, "p is None, expected a NumPy array; is a return missing?"),
    ],
)
def test_too_few_labels_are_right(got, sentence):
    assert difference(got, AtLeast(0.8, LABELS), "p") == sentence


@pytest.mark.parametrize(
    ("share", "size", "needed"),
    [(0.95, 10_000, 9500), (0.07, 100, 7), (0.29, 100, 29), (2 / 3, 3, 2), (0.5, 3, 2), (1, 4, 4)],
)
def test_the_number_wanted_is_named_and_is_enough(share, size, needed):
    labels, wanted = np.zeros(size, np.int64), AtLeast(share, np.zeros(size, np.int64))
    labels[needed:] = 1
    assert difference(labels, wanted) is None
    labels[needed - 1] = 1
    sentence = f"p has {needed - 1} of {size} labels right; at least {needed} are wanted"
    assert difference(labels, wanted, "p").startswith(sentence)


def test_a_share_of_nothing_wants_nothing():
    assert difference(np.array([9, 9, 9, 9]), AtLeast(0, LABELS)) is None


@pytest.mark.parametrize(
    ("share", "labels", "message"),
    [
        (-0.1, LABELS, r"share=-0\.1 is no share; use a number from 0 to 1"),
        (95, LABELS, "share=95 is no share"),
        (float("nan"), LABELS, "share=nan is no share"),
        (0.9, LABELS[:0], "labels is empty; pass at least one"),
    ],
)
def test_shares_and_labels_that_mean_nothing(share, labels, message):
    with pytest.raises(ValueError, match=message):
        AtLeast(share, labels)


def test_what_is_wanted_of_labels_can_be_read():
    assert repr(AtLeast(0.95, LABELS)) == "4 labels, at least 95.0% of them right"
