"""Padding against PyTorch, forward and backward, and every message for bad input."""

import re
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution.padding import LIMITS, SOURCES, pad, pad_backward
from coursepkg.testing import assert_close, assert_gradient

MODES = ["constant", "reflect", "replicate", "circular"]
SIDES = [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 3, 0), (0, 0, 0, 3)]
SIDES += [(2, 3, 1, 2), (5, 5, 3, 3)]  # the last: as far as a mirror reaches on 4 x 6 pixels
ROW = np.array([[[[7, 8, 9]]]])


def images(dtype="float64", shape=(2, 3, 4, 6), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def exactly(message):
    return f"^{re.escape(message)}$"


# --- by hand ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("constant", [0, 0, 7, 8, 9, 0, 0]),
        ("reflect", [9, 8, 7, 8, 9, 8, 7]),
        ("replicate", [7, 7, 7, 8, 9, 9, 9]),
        ("circular", [8, 9, 7, 8, 9, 7, 8]),
    ],
)
def test_the_literals_of_the_docstring(mode, expected):
    assert_close(pad(ROW, (2, 2, 0, 0), mode), np.array([[[expected]]]))
    column = ROW.reshape(1, 1, 3, 1)
    assert_close(pad(column, (0, 0, 2, 2), mode), np.array(expected).reshape(1, 1, 7, 1))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [  # the gradients 1, 10, 100, ... at the places of the rows above
        ("constant", [100, 1_000, 10_000]),
        ("reflect", [1_000_100, 101_010, 10_001]),
        ("replicate", [111, 1_000, 1_110_000]),
        ("circular", [100_100, 1_001_001, 10_010]),
    ],
)
def test_gradients_add_up_where_pixels_were_copied(mode, expected):
    grad = 10 ** np.arange(7).reshape(1, 1, 1, 7)
    assert_close(pad_backward(grad, (2, 2, 0, 0), mode), np.array([[[expected]]]))


def test_one_integer_serves_all_sides():
    x = images()
    assert_close(pad(x, 2), pad(x, (2, 2, 2, 2)))
    assert_close(pad(x, 2, "reflect"), pad(x, [2, 2, 2, 2], "reflect"))
    assert_close(pad_backward(x, 1, "circular"), pad_backward(x, (1, 1, 1, 1), "circular"))


def test_the_default_is_zeros():
    assert_close(pad(ROW, 1), np.pad(ROW, ((0, 0), (0, 0), (1, 1), (1, 1))))
    assert_close(pad_backward(np.ones((1, 1, 3, 3)), 1), np.ones((1, 1, 1, 1)))


# --- PyTorch ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("mode", "sides"), list(product(MODES, SIDES)))
def test_forward_and_backward_are_pytorchs(mode, sides, dtype):
    x = images(dtype)
    t = torch.tensor(x, requires_grad=True)
    expected = F.pad(t, sides, mode)
    grad = images(dtype, expected.shape, seed=1)
    expected.backward(torch.tensor(grad))
    assert_close(pad(x, sides, mode), expected.detach().numpy())
    assert_close(pad_backward(grad, sides, mode), t.grad.numpy())


@pytest.mark.parametrize("value", [1, -2.5, np.inf, -np.inf, np.float32(0.5)])
def test_a_value_is_filled_in_as_by_pytorch(value):
    expected = F.pad(torch.tensor(images()), (1, 2, 3, 0), value=float(value)).numpy()
    assert_close(pad(images(), (1, 2, 3, 0), value=value), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_no_value_is_zero_as_in_pytorch(mode, dtype):
    x = (9 * images()).astype(dtype)
    assert_close(pad(x, 1, mode, None), pad(x, 1, mode))


def test_the_largest_values_fit():
    for value in (-(2**63), 2**63 - 1):
        assert pad(ROW, 1, value=value)[0, 0, 0, 0] == value
    largest = float(np.finfo(np.float32).max)
    assert pad(ROW.astype(np.float32), 1, value=largest)[0, 0, 0, 0] == largest


def test_a_value_is_no_number():
    padded = pad(ROW.astype(float), 1, value=np.nan)
    assert np.isnan(padded).sum() == 12
    assert_close(padded[:, :, 1:2, 1:4], ROW.astype(float))


@pytest.mark.parametrize("mode", MODES)
def test_what_pytorch_refuses_is_refused(mode):
    """One pixel more and one less than the axis has, on each side of each axis."""
    for size, more, side in product([1, 2, 5], range(8), range(4)):
        sides = tuple(more * (side == s) for s in range(4))
        shape = (1, 1, size, 9) if side > 1 else (1, 1, 9, size)
        x = np.arange(9.0 * size).reshape(shape)
        try:
            expected = F.pad(torch.tensor(x), sides, mode).numpy()
        except RuntimeError:
            with pytest.raises(ValueError, match=f"padding={more} is too much for mode='{mode}'"):
                pad(x, sides, mode)
            grad = np.zeros((1, 1, shape[2] + sum(sides[2:]), shape[3] + sum(sides[:2])))
            with pytest.raises(ValueError, match=f"padding={more} is too much for mode='{mode}'"):
                pad_backward(grad, sides, mode)
        else:
            assert_close(pad(x, sides, mode), expected)


# --- laws -------------------------------------------------------------------------------


@st.composite
def paddings(draw):
    mode, height, width = (
        draw(st.sampled_from(MODES)),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
    )
    most = [LIMITS[mode](n) if mode in LIMITS else 8 for n in (width, width, height, height)]
    return mode, (height, width), tuple(draw(st.integers(0, m)) for m in most)


@given(paddings(), st.integers(0, 1000))
def test_backward_is_the_adjoint(padding, seed):
    mode, size, sides = padding
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (2, 2, *size))
    padded = pad(x, sides, mode)
    y = rng.integers(-9, 10, padded.shape)
    assert np.sum(padded * y) == np.sum(x * pad_backward(y, sides, mode))


@given(paddings())
def test_the_image_stands_in_the_middle(padding):
    mode, (height, width), (left, right, top, bottom) = padding
    x = images(shape=(1, 2, height, width))
    padded = pad(x, (left, right, top, bottom), mode)
    assert padded.shape == (1, 2, top + height + bottom, left + width + right)
    assert_close(padded[:, :, top : top + height, left : left + width], x)


@given(paddings())
def test_what_is_added_was_there_or_is_the_value(padding):
    mode, size, sides = padding
    x = np.arange(1, 1 + size[0] * size[1]).reshape(1, 1, *size)
    assert set(pad(x, sides, mode).ravel()) <= set(x.ravel()) | (
        {0} if mode == "constant" else set()
    )


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_is_that_of_central_differences(mode):
    x, sides = images(shape=(1, 2, 3, 4)), (3, 1, 0, 2)
    factors = images(shape=(1, 2, 5, 8), seed=1)
    gradient = pad_backward(factors, sides, mode)
    assert_gradient(lambda v: float(np.sum(factors * pad(v, sides, mode))), x, gradient)


# --- house rules ------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "dtype"), list(product(MODES, ["float32", "float64", "int64"])))
def test_dtypes_stay_and_arguments_are_left_alone(mode, dtype):
    x = (10 * images()).astype(dtype)
    before = x.copy()
    padded, grad = pad(x, 1, mode), pad_backward(x, 1, mode)
    assert padded.dtype == grad.dtype == dtype
    padded += 1
    grad += 1
    assert_close(x, before)


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_batch(mode):
    assert_close(pad(np.zeros((0, 2, 3, 4)), (1, 2, 0, 1), mode), np.zeros((0, 2, 4, 7)))
    assert_close(pad_backward(np.zeros((0, 2, 4, 7)), (1, 2, 0, 1), mode), np.zeros((0, 2, 3, 4)))


def test_the_gradient_holds_no_more_memory_than_it_needs():
    grad = pad_backward(images(), 1)
    assert grad.base is None
    assert grad.flags.c_contiguous


def test_every_mode_has_its_rule():
    assert list(SOURCES) == MODES
    assert set(LIMITS) <= set(MODES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": [[1.0]]}, "input is a list; pass a NumPy array (np.asarray)"),
        (
            {"input": np.zeros((3, 4, 5))},
            "input has shape (3, 4, 5); pass an array with the axes (N, C, H, W)",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.uint8)},
            "input has dtype uint8, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
        (
            {"input": np.zeros((1, 1, 0, 3))},
            "input has no pixels; give it a height and a width of at least 1",
        ),
        (
            {"input": np.zeros((1, 1, 3, 0)), "mode": "replicate"},
            "input has no pixels; give it a height and a width of at least 1",
        ),
        ({"padding": -1}, "padding=-1 is too small; use an integer of at least 0"),
        ({"padding": 1.5}, "padding=1.5 is not an integer; use an integer of at least 0"),
        ({"padding": True}, "padding=True is not an integer; use an integer of at least 0"),
        ({"padding": (1, 1, 1, -2)}, "padding=-2 is too small; use an integer of at least 0"),
        (
            {"padding": (1, 2)},
            "padding=(1, 2) has 2 entries; use an integer or (left, right, top, bottom)",
        ),
        (
            {"mode": "symmetric"},
            "mode='symmetric' is unknown; use one of constant, reflect, replicate, circular",
        ),
        (
            {"padding": (0, 3, 0, 0), "mode": "reflect"},
            "padding=3 is too much for mode='reflect' on an axis of 3; "
            "use at most 2, or mode='replicate'",
        ),
        (
            {"padding": (0, 0, 3, 0), "mode": "circular"},
            "padding=3 is too much for mode='circular' on an axis of 2; "
            "use at most 2, or mode='replicate'",
        ),
        ({"value": "0"}, "value='0' is no number; use a number such as 0 or -np.inf"),
        (
            {"value": 1.0, "mode": "reflect"},
            "value=1.0 is of no use in mode='reflect'; use mode='constant'",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.int64), "value": 0.5},
            "value=0.5 does not fit into int64; use a whole number from "
            "-9223372036854775808 to 9223372036854775807",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.int64), "value": 1e300},
            "value=1e+300 does not fit into int64; use a whole number from "
            "-9223372036854775808 to 9223372036854775807",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.int64), "value": 2**63},
            "value=9223372036854775808 does not fit into int64; use a whole number from "
            "-9223372036854775808 to 9223372036854775807",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.float32), "value": 1e300},
            "value=1e+300 does not fit into float32; use a smaller number",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.int64), "value": np.nan},
            "value=nan does not fit into int64; use a whole number from "
            "-9223372036854775808 to 9223372036854775807",
        ),
        (
            {"input": np.zeros((1, 1, 2, 2), np.int64), "value": -np.inf},
            "value=-inf does not fit into int64; use a whole number from "
            "-9223372036854775808 to 9223372036854775807",
        ),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=exactly(message)):
        pad(**{"input": np.zeros((1, 1, 2, 3)), "padding": 1} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grad": 1.0}, "grad is a float; pass a NumPy array (np.asarray)"),
        (
            {"grad": np.zeros((4, 5))},
            "grad has shape (4, 5); pass an array with the axes (N, C, top+H+bottom, left+W+right)",
        ),
        (
            {"grad": np.zeros((1, 1, 2, 5))},
            "grad has shape (1, 1, 2, 5) but padding=1 alone adds 2 rows and 2 columns; "
            "pass the gradient of the padded images",
        ),
        (
            {"grad": np.zeros((1, 1, 5, 3)), "padding": (1, 2, 0, 1)},
            "grad has shape (1, 1, 5, 3) but padding=(1, 2, 0, 1) alone adds 1 rows and 3 "
            "columns; pass the gradient of the padded images",
        ),
        ({"padding": -1}, "padding=-1 is too small; use an integer of at least 0"),
        (
            {"mode": "wrap"},
            "mode='wrap' is unknown; use one of constant, reflect, replicate, circular",
        ),
    ],
)
def test_bad_gradients_are_refused(arguments, message):
    with pytest.raises(ValueError, match=exactly(message)):
        pad_backward(**{"grad": np.zeros((1, 1, 4, 5)), "padding": 1} | arguments)
