r"""Resampling against PyTorch; then ramps, constants, adjoints and bad input."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution.resampling import (
    POSITIONS,
    blur_matrix,
    blur_pool2d,
    blur_pool2d_backward,
    interpolate,
    interpolate_backward,
    interpolation_matrix,
)
from coursepkg.testing import assert_close, assert_gradient

SHAPE = (2, 3, 5, 7)
TARGETS = [
    {"size": 1},
    {"size": (10, 14)},
    {"size": (3, 11)},
    {"size": (5, 7)},
    {"size": (15, 2)},
    {"scale_factor": 2},
    {"scale_factor": (1.5, 0.6)},
    {"scale_factor": 0.5},
    {"scale_factor": (3, 1)},
]
MODES = [
    {},
    {"mode": "nearest"},
    {"mode": "bilinear"},
    {"mode": "bilinear", "align_corners": None},
    {"mode": "nearest", "align_corners": None},
    {"mode": "bilinear", "align_corners": True},
]
TABLE = [{**target, **mode} for target, mode in product(TARGETS, MODES)]
BLURS = [
    {},
    {"stride": 1},
    {"stride": (2, 3)},
    {"stride": (1, 2), "kernel_size": 5},
    {"stride": 2, "kernel_size": 1},
    {"stride": 3, "kernel_size": 7},
]


def images(dtype="float64", shape=SHAPE):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def gradient_like(output):
    return np.random.default_rng(output.shape).normal(size=output.shape).astype(output.dtype)


def torch_blur(x, stride=2, kernel_size=3):
    r"""Blur by a depthwise convolution over a mirrored image."""
    taps = torch.tensor([1.0], dtype=x.dtype)
    for _ in range(kernel_size - 1):  # each time with (1 1) / 2: rows of Pascal's triangle
        taps = F.conv1d(taps[None, None], torch.full((1, 1, 2), 0.5, dtype=x.dtype), padding=1)
        taps = taps[0, 0]
    weight = torch.outer(taps, taps).expand(x.shape[1], 1, -1, -1)
    padded = F.pad(x, [kernel_size // 2] * 4, mode="reflect")
    return F.conv2d(padded, weight, stride=stride, groups=x.shape[1])


def assert_same(ours, ours_backward, theirs, x):
    t = torch.tensor(x, requires_grad=True)
    expected = theirs(t)
    grad = gradient_like(expected.detach().numpy())
    expected.backward(torch.from_numpy(grad))
    assert_close(ours(x), expected.detach().numpy(), "output")
    assert_close(ours_backward(grad, x), t.grad.numpy(), "grad_input")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", TABLE, ids=str)
def test_interpolation_is_pytorchs_forward_and_backward(settings, dtype):
    assert_same(
        lambda x: interpolate(x, **settings),
        lambda grad, x: interpolate_backward(grad, x, **settings),
        lambda t: F.interpolate(t, **settings),
        images(dtype),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", BLURS, ids=str)
def test_blur_pool_is_a_depthwise_convolution_forward_and_backward(settings, dtype):
    assert_same(
        lambda x: blur_pool2d(x, **settings),
        lambda grad, x: blur_pool2d_backward(grad, x, **settings),
        lambda t: torch_blur(t, **settings),
        images(dtype),
    )


@pytest.mark.parametrize("settings", [TABLE[2], TABLE[22], TABLE[11]], ids=str)
def test_gradients_match_central_differences(settings):
    x = images(shape=(1, 1, 5, 7))
    grad = gradient_like(interpolate(x, **settings))
    got = interpolate_backward(grad, x, **settings)
    assert_gradient(lambda v: float(np.sum(grad * interpolate(v, **settings))), x, got)
    grad = gradient_like(blur_pool2d(x))
    got = blur_pool2d_backward(grad, x)
    assert_gradient(lambda v: float(np.sum(grad * blur_pool2d(v))), x, got)


def test_nearest_keeps_whole_numbers():
    x = np.arange(6).reshape(1, 1, 2, 3)
    assert_close(interpolate(x, scale_factor=2), x.repeat(2, axis=2).repeat(2, axis=3))
    grad = np.ones((1, 1, 4, 6), np.int64)
    assert_close(interpolate_backward(grad, x, scale_factor=2), np.full_like(x, 4))


def test_nearest_positions_are_exact_where_float32_rounds():
    whole = interpolation_matrix(2, 82).argmax(axis=1)
    assert_close(whole, np.repeat([0, 1], 41))


# --- laws --------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(POSITIONS)),
    st.integers(1, 20),
    st.integers(1, 40),
)
def test_rows_are_averages_so_constants_stay(key, size, output_size):
    matrix = interpolation_matrix(size, output_size, *key)
    assert matrix.min() >= 0
    assert_close(matrix.sum(axis=1), np.ones(output_size))


@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from([1, 3, 5, 7]))
def test_rows_of_a_blur_are_averages(size, stride, kernel_size):
    matrix = blur_matrix(size, stride, kernel_size)
    assert matrix.min() >= 0
    assert_close(matrix.sum(axis=1), np.ones(-(-size // stride)))


@given(st.integers(2, 12), st.integers(2, 30))
def test_bilinear_keeps_a_ramp_straight(size, output_size):
    ramp = np.arange(size, dtype=float)
    corners = interpolation_matrix(size, output_size, "bilinear", align_corners=True) @ ramp
    assert_close(corners, np.linspace(0, size - 1, output_size))
    edges = interpolation_matrix(size, output_size, "bilinear") @ ramp
    expected = (np.arange(output_size) + 0.5) * size / output_size - 0.5
    assert_close(edges, expected.clip(0, size - 1))


@pytest.mark.parametrize(("mode", "align_corners"), POSITIONS)
def test_the_same_size_changes_nothing(mode, align_corners):
    assert_close(interpolation_matrix(5, 5, mode, align_corners), np.eye(5))


def test_a_blur_removes_the_finest_stripes():
    stripes = np.array([[[[1.0, -1.0] * 4] * 8]])
    assert_close(blur_pool2d(stripes), np.zeros((1, 1, 4, 4)))
    assert_close(blur_pool2d(stripes, kernel_size=1), np.ones((1, 1, 4, 4)))


def test_a_short_axis_is_mirrored_as_often_as_needed():
    assert_close(blur_matrix(1, kernel_size=5), np.ones((1, 1)))
    assert_close(blur_matrix(2, stride=1, kernel_size=5) * 16, np.array([[8.0, 8.0], [8.0, 8.0]]))


@pytest.mark.parametrize("function", [lambda x: interpolate(x, (2, 3)), blur_pool2d])
def test_an_empty_batch_gives_an_empty_batch(function):
    assert_close(function(np.zeros((0, 1, 4, 6))), np.zeros((0, 1, 2, 3)))


def test_arguments_are_left_alone():
    x = images()
    grad = gradient_like(interpolate(x, size=3))
    before = x.copy(), grad.copy()
    interpolate_backward(grad, x, size=3)
    interpolate(x, size=SHAPE[2:]).fill(0)
    blur_pool2d(x, stride=1, kernel_size=1).fill(0)
    assert_close((x, grad), before)


# --- bad input ---------------------------------------------------------------------------

X = images()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": X[0], "size": 3}, "input has shape"),
        ({"input": X.tolist(), "size": 3}, "input is a list"),
        ({"input": X.astype("uint8"), "size": 3}, "input has dtype uint8"),
        ({"input": X.astype(int), "size": 3, "mode": "bilinear"}, "input has dtype int64"),
        ({"input": X[:, :, :0], "size": 3}, "size=0"),
        ({"input": X}, "size=None and scale_factor=None; give one"),
        ({"input": X, "size": 3, "scale_factor": 2}, "give one of them, and not both"),
        ({"input": X, "size": 0}, "size=0"),
        ({"input": X, "size": (3, 3, 3)}, "has 3 entries"),
        ({"input": X, "scale_factor": 0.1}, "output_size=0"),
        ({"input": X, "scale_factor": -1}, "scale_factor=-1"),
        ({"input": X, "scale_factor": float("inf")}, "scale_factor=inf"),
        ({"input": X, "scale_factor": "2"}, "scale_factor='2'"),
        ({"input": X, "scale_factor": (2, 2, 2)}, r"scale_factor=\(2, 2, 2\) has 3 entries"),
        ({"input": X, "size": 3, "mode": "bicubic"}, "mode='bicubic'"),
        ({"input": X, "size": 3, "align_corners": True}, "mode='nearest' with align_corners=True"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        interpolate(**arguments)
    with pytest.raises(ValueError, match=message):
        interpolate_backward(X, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": X[0]}, "input has shape"),
        ({"input": X.astype(int)}, "input has dtype int64"),
        ({"input": X[:, :, :0]}, "size=0"),
        ({"input": X, "stride": 0}, "stride=0"),
        ({"input": X, "kernel_size": 0}, "kernel_size=0"),
        ({"input": X, "kernel_size": 4}, "kernel_size=4 has no centre; use an odd number"),
    ],
)
def test_a_blur_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        blur_pool2d(**arguments)
    with pytest.raises(ValueError, match=message):
        blur_pool2d_backward(X, **arguments)


@pytest.mark.parametrize(
    "back", [lambda g: interpolate_backward(g, X, (3, 4)), lambda g: blur_pool2d_backward(g, X)]
)
def test_a_bad_gradient_is_refused(back):
    good = np.zeros((2, 3, 3, 4))
    assert back(good).shape == X.shape
    with pytest.raises(ValueError, match=r"grad has shape \(2, 3, 2, 4\) where \(2, 3, 3, 4\)"):
        back(good[:, :, 1:])
    with pytest.raises(ValueError, match="grad is float32"):
        back(good.astype("float32"))


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf, True, "2", 1j, np.array([2.0])])
def test_a_scale_that_is_none_is_refused(scale):
    message = "^scale_factor=.* is (no number|out of range); use a positive number$"
    with pytest.raises(ValueError, match=message):
        interpolation_matrix(2, 4, scale_factor=scale)
    with pytest.raises(ValueError, match=message):
        interpolate(X, scale_factor=scale)
    with pytest.raises(ValueError, match=message):
        interpolate(X, scale_factor=(2, scale))


@pytest.mark.parametrize("scale", [np.int64(2), np.float32(2), np.float64(2)])
def test_a_scale_may_be_a_number_of_numpy(scale):
    assert_close(interpolate(X, scale_factor=scale), interpolate(X, scale_factor=2))
    assert_close(interpolate(X, scale_factor=(scale, 1)), interpolate(X, scale_factor=(2, 1)))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (interpolation_matrix, (0, 4), "size=0 is too small"),
        (interpolation_matrix, (2.0, 4), "size=2.0 is not an integer"),
        (interpolation_matrix, (2, 0), "output_size=0 is too small"),
        (interpolation_matrix, (2, 4, "cubic"), "mode='cubic' with align_corners=False is unknown"),
        (interpolation_matrix, (2, 4, "nearest", True), "mode='nearest' with align_corners=True"),
        (blur_matrix, (0,), "size=0 is too small"),
        (blur_matrix, (2.5,), "size=2.5 is not an integer"),
        (blur_matrix, (4, 0), "stride=0 is too small"),
        (blur_matrix, (4, 2, 2), "kernel_size=2 has no centre; use an odd number"),
        (blur_matrix, (4, 2, 0), "kernel_size=0 is too small"),
    ],
)
def test_a_matrix_that_does_not_exist_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        function(*arguments)
