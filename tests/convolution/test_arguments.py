r"""Arguments of a convolution: what they become, and every message when they do not fit."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from coursepkg.convolution.arguments import (
    check_floats,
    check_grad,
    check_is_array,
    check_rng,
    check_shape,
    conv2d_arguments,
    number,
    one_row,
)

INPUT = np.zeros((2, 4, 7, 9))
WEIGHT = np.zeros((6, 2, 3, 5))
BIAS = np.zeros(6)
SETTINGS = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}


def exactly(message):
    return f"^{re.escape(message)}$"


def normalised(input=INPUT, weight=WEIGHT, bias=BIAS, **changed):
    return conv2d_arguments(input, weight, bias, **SETTINGS | changed)


# --- what they become -------------------------------------------------------------------


def test_settings_become_pairs():
    settings = normalised()
    assert dataclasses.astuple(settings) == (
        (3, 5),  # kernel
        (2, 1),  # stride
        (1, 2),  # dilation
        ((1, 1), (0, 0)),  # pads
        2,  # groups
        (2, 6, 4, 1),  # output shape: (7 + 2 - 3)//2 + 1 = 4 and (9 - 9)//1 + 1 = 1
    )


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        normalised().groups = 1


@pytest.mark.parametrize(
    ("padding", "pads", "places"),
    [
        (0, ((0, 0), (0, 0)), (5, 6)),
        ("valid", ((0, 0), (0, 0)), (5, 6)),
        (2, ((2, 2), (2, 2)), (9, 10)),
        ((2, 0), ((2, 2), (0, 0)), (9, 6)),
        ((0, 3), ((0, 0), (3, 3)), (5, 12)),
        ("same", ((1, 1), (1, 2)), (7, 9)),  # an even kernel: the extra pixel stands after
    ],
)
def test_padding(padding, pads, places):
    weight = np.zeros((1, 4, 3, 4))
    settings = conv2d_arguments(INPUT, weight, None, 1, padding, 1, 1)
    assert settings.pads == pads
    assert settings.output_shape == (2, 1, *places)


def test_same_padding_knows_dilation_and_both_axes():
    settings = conv2d_arguments(INPUT, np.zeros((1, 4, 3, 2)), None, 1, "same", (2, 3), 1)
    assert settings.pads == ((2, 2), (1, 2))
    assert settings.output_shape == (2, 1, 7, 9)


def test_pad_and_crop_undo_each_other():
    settings = normalised(padding="same", stride=1, dilation=1, weight=np.zeros((6, 2, 2, 4)))
    image = np.arange(1.0, 1 + INPUT.size).reshape(INPUT.shape)
    padded = settings.pad(image)
    assert padded.shape == (2, 4, 8, 12)  # 0 above and 1 below, 1 left and 2 right
    assert padded.sum() == image.sum()
    np.testing.assert_array_equal(padded[:, :, 0:7, 1:10], image)
    np.testing.assert_array_equal(settings.crop(padded), image)
    assert np.shares_memory(settings.crop(padded), padded)


def test_no_padding_copies_nothing():
    assert normalised(padding=0).pad(INPUT) is INPUT


def test_padding_of_one_side_alone_is_applied():
    settings = conv2d_arguments(INPUT, np.zeros((1, 4, 1, 2)), None, 1, "same", 1, 1)
    assert settings.pads == ((0, 0), (0, 1))
    assert settings.pad(INPUT).shape == (2, 4, 7, 10)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_dtypes_that_are_accepted(dtype):
    arrays = (a.astype(dtype) for a in (INPUT, WEIGHT, BIAS))
    assert normalised(*arrays).output_shape == (2, 6, 4, 1)


def test_an_empty_batch_is_accepted():
    assert normalised(INPUT[:0]).output_shape == (0, 6, 4, 1)


def test_a_window_that_fits_exactly_is_accepted():
    settings = conv2d_arguments(INPUT, np.zeros((1, 4, 7, 9)), None, 1, 0, 1, 1)
    assert settings.output_shape == (2, 1, 1, 1)


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        # arrays
        ({"input": [[1.0]]}, "input is a list; pass a NumPy array (np.asarray)"),
        ({"weight": torch.zeros(2)}, "weight is a Tensor; pass a NumPy array (np.asarray)"),
        ({"bias": 1.0}, "bias is a float; pass a NumPy array (np.asarray)"),
        (
            {"input": np.zeros((4, 7, 9))},
            "input has shape (4, 7, 9); pass an array with the axes (N, C, H, W)",
        ),
        (
            {"weight": np.zeros((3, 5))},
            "weight has shape (3, 5); pass an array with the axes (C_out, C_in/groups, kh, kw)",
        ),
        (
            {"input": INPUT.astype(np.uint8)},
            "input has dtype uint8, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
        (
            {"weight": WEIGHT.astype(np.float16)},
            "weight has dtype float16, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
        (
            {"bias": BIAS.astype(np.int32)},
            "bias has dtype int32, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
        (
            {"weight": WEIGHT.astype(np.float32)},
            "weight is float32 but input is float64; "
            "convert one of them, e.g. weight.astype(input.dtype)",
        ),
        (
            {"bias": BIAS.astype(np.int64)},
            "bias is int64 but input is float64; "
            "convert one of them, e.g. bias.astype(input.dtype)",
        ),
        # channels
        (
            {"input": INPUT[:, :3]},
            "input has 3 channels but weight (6, 2, 3, 5) with groups=2 expects 4; "
            "change the input's channels, the weight or groups",
        ),
        (
            {"groups": 3},
            "input has 4 channels but weight (6, 2, 3, 5) with groups=3 expects 6; "
            "change the input's channels, the weight or groups",
        ),
        (
            {"weight": WEIGHT[:5], "bias": BIAS[:5]},
            "groups=2 does not divide the 5 output channels of weight; use a divisor of 5",
        ),
        ({"weight": WEIGHT[:0]}, "weight has shape (0, 2, 3, 5); it needs at least one channel"),
        (
            {"weight": WEIGHT[:, :0]},
            "weight has shape (6, 0, 3, 5); it needs at least one channel",
        ),
        (
            {"bias": BIAS[:5]},
            "bias has shape (5,) but weight has 6 filters; pass shape (6,), one number per filter",
        ),
        (
            {"bias": BIAS[:, None]},
            "bias has shape (6, 1); pass an array with the axes (C_out)",
        ),
        # settings
        ({"stride": 0}, "stride=0 is too small; use an integer of at least 1"),
        ({"stride": (1, -1)}, "stride=-1 is too small; use an integer of at least 1"),
        ({"dilation": (0, 1)}, "dilation=0 is too small; use an integer of at least 1"),
        ({"padding": -1}, "padding=-1 is too small; use an integer of at least 0"),
        ({"groups": 0}, "groups=0 is too small; use an integer of at least 1"),
        ({"groups": (1, 1)}, "groups=(1, 1) is not an integer; use an integer of at least 1"),
        ({"stride": 1.0}, "stride=1.0 is not an integer; use an integer of at least 1"),
        (
            {"dilation": (1, 2, 3)},
            "dilation=(1, 2, 3) has 3 entries; use an integer or (height, width)",
        ),
        ({"padding": [1]}, "padding=[1] has 1 entries; use an integer or (height, width)"),
        (
            {"padding": "full"},
            "padding='full' is unknown; use 'same', 'valid', an int or a pair",
        ),
        ({"padding": "same"}, "padding='same' needs stride=1 but stride=(2, 1); pad explicitly"),
        # the window
        (
            {"dilation": (4, 1), "padding": 0},
            "kernel=3 with dilation=4 spans 9 but the padded input has 7; "
            "add padding or shrink the kernel",
        ),
        (
            {"dilation": (1, 3)},
            "kernel=5 with dilation=3 spans 13 but the padded input has 9; "
            "add padding or shrink the kernel",
        ),
        (
            {"weight": WEIGHT[:, :, :0]},
            "kernel=0 is too small; use an integer of at least 1",
        ),
        (
            {"input": INPUT[:, :, :0]},
            "input has shape (2, 4, 0, 9); give it a height and a width of at least 1",
        ),
        (
            {"input": INPUT[..., :0], "padding": "same", "stride": 1},
            "input has shape (2, 4, 7, 0); give it a height and a width of at least 1",
        ),
    ],
)
def test_bad_input(changed, message):
    with pytest.raises(ValueError, match=exactly(message)):
        normalised(**changed)


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (None, "grad is a NoneType; pass a NumPy array (np.asarray)"),
        (
            np.zeros((2, 6, 4, 2)),
            "grad has shape (2, 6, 4, 2) but the output of this convolution has shape "
            "(2, 6, 4, 1); pass the gradient with respect to that output",
        ),
        (
            np.zeros((2, 6, 4, 1), np.float32),
            "grad is float32 but input is float64; "
            "convert one of them, e.g. grad.astype(input.dtype)",
        ),
        (
            np.zeros((2, 6, 4, 1), np.float16),
            "grad has dtype float16, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
    ],
)
def test_bad_grad(grad, message):
    with pytest.raises(ValueError, match=exactly(message)):
        check_grad(grad, INPUT, normalised())


def test_good_grad_passes():
    check_grad(np.zeros((2, 6, 4, 1)), INPUT, normalised())


# --- arrays of layers -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 2, 3, 4)])
def test_arrays_of_real_numbers_pass(dtype, shape):
    check_floats("input", np.zeros(shape, dtype))
    check_floats("input", np.zeros(shape, dtype), axes=len(shape))
    check_shape("input", np.zeros(shape, dtype), shape, np.dtype(dtype), "never said")


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16", "complex128", "U1"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=r"grad has dtype .*; convert it, e\.g\. grad\.astype"):
        check_floats("grad", np.zeros(2, dtype))


@pytest.mark.parametrize("value", [None, 1.0, [1.0, 2.0], np.float64(1)])
def test_what_is_no_array_is_refused(value):
    sentence = f"input is a {type(value).__name__}; pass a NumPy array"
    with pytest.raises(ValueError, match=sentence):
        check_floats("input", value)
    with pytest.raises(ValueError, match=sentence):
        check_shape("input", value, (), np.dtype(float), "")


def test_too_few_axes_are_refused():
    with pytest.raises(ValueError, match=r"input has shape \(3,\); pass at least 2 axes"):
        check_floats("input", np.zeros(3), axes=2)


def test_another_shape_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"w has shape \(3,\) where \(2,\) is needed; take two$"):
        check_shape("w", np.zeros(3), (2,), np.dtype(float), "take two")


def test_another_dtype_is_refused():
    sentence = r"w is float32 where float64 is needed; convert it, e\.g\. w\.astype\(np\.float64\)"
    with pytest.raises(ValueError, match=sentence):
        check_shape("w", np.zeros(2, np.float32), (2,), np.dtype(float), "take two")


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.float64(2), np.int64(2)])
def test_numbers_become_floats_of_python(value):
    result = number("p", value, lambda v: v > 0, "use a positive one")
    assert type(result) is float
    assert result == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "p='1' is no number; use a positive one"),
        (None, "p=None is no number; use a positive one"),
        (True, "p=True is no number; use a positive one"),
        (np.ones(1), "p=array([1.]) is no number; use a positive one"),
        (-1, "p=-1 is out of range; use a positive one"),
        (float("nan"), "p=nan is out of range; use a positive one"),
        (float("inf"), "p=inf is out of range; use a positive one"),
    ],
)
def test_other_numbers_are_refused(value, message):
    with pytest.raises(ValueError, match=exactly(message)):
        number("p", value, lambda v: v > 0, "use a positive one")


def test_a_generator_passes_and_a_seed_does_not():
    check_rng(np.random.default_rng(0))
    with pytest.raises(
        ValueError, match=r"rng=5 is no generator; pass np.random.default_rng\(seed"
    ):
        check_rng(5)


def test_any_array_is_an_array():
    check_is_array("x", np.array("text"))
    with pytest.raises(ValueError, match=exactly("x is a tuple; pass a NumPy array (np.asarray)")):
        check_is_array("x", (1,))


def test_one_row_takes_tuples_of_one():
    assert one_row((2,), (1,), [3], 4) == one_row(2, 1, 3, 4) == ((1, 2), (0, 1), (1, 3), 4)
    assert one_row(1, "same", 1, 1)[1] == "same"
