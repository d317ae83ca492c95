r"""Pooling against PyTorch over a table; then ties, -inf, laws and bad input."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution import pooling
from coursepkg.testing import assert_close, assert_gradient

SHAPES = [(2, 3, 7, 7), (1, 2, 9, 6), (3, 1, 5, 8)]
WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": 1},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": (2, 3), "stride": (1, 2)},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0)},
    {"kernel_size": (4, 2), "stride": (3, 1), "padding": (2, 1)},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": (5, 4), "stride": 4, "padding": (2, 1)},
]
CEIL = [{}, {"ceil_mode": True}]
POOLS = {
    "max": [{}, {"dilation": (1, 2)}],
    "avg": [{}, {"count_include_pad": False}],
}
TABLE = [
    (name, shape, {**window, **ceil, **extra})
    for name, extras in POOLS.items()
    for shape, window, ceil, extra in product(SHAPES, WINDOWS, CEIL, extras)
]
ADAPTIVE = [
    (f"adaptive_{name}", shape, {"output_size": size})
    for name, shape, size in product(POOLS, SHAPES, [1, 2, 3, (4, 5), (5, 1), (9, 11)])
]

PAIRS = [
    ("max", {"kernel_size": 2}),
    ("avg", {"kernel_size": 2}),
    ("adaptive_max", {"output_size": 2}),
    ("adaptive_avg", {"output_size": 2}),
]


def images(shape, dtype="float64", seed=0):
    r"""Return whole numbers, so that many windows have several equal maxima."""
    return np.random.default_rng((*shape, seed)).integers(-4, 5, shape).astype(dtype)


def gradient_like(output):
    return np.random.default_rng(output.shape).normal(size=output.shape).astype(output.dtype)


def forward(name, x, options):
    return getattr(pooling, f"{name}_pool2d")(x, **options)


def backward(name, grad, x, options):
    return getattr(pooling, f"{name}_pool2d_backward")(grad, x, **options)


def assert_as_torch(name, x, options):
    t = torch.tensor(x, requires_grad=True)
    expected = getattr(F, f"{name}_pool2d")(t, **options)
    grad = gradient_like(expected.detach().numpy())
    expected.backward(torch.from_numpy(grad))
    assert_close(forward(name, x, options), expected.detach().numpy(), "output")
    assert_close(backward(name, grad, x, options), t.grad.numpy(), "grad_input")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "shape", "options"), TABLE + ADAPTIVE)
def test_output_and_gradient_are_pytorchs(name, shape, options, dtype):
    assert_as_torch(name, images(shape, dtype), options)


@pytest.mark.parametrize(("name", "shape", "options"), TABLE[::7] + ADAPTIVE[::5])
def test_gradients_match_central_differences(name, shape, options):
    x = np.random.default_rng(1).permutation(np.arange(np.prod(shape)) / 8).reshape(shape)
    grad = gradient_like(forward(name, x, options))
    got = backward(name, grad, x, options)
    assert_gradient(lambda v: float(np.sum(grad * forward(name, v, options))), x, got)


@pytest.mark.parametrize("options", [{"kernel_size": 2}, {"kernel_size": 3, "padding": 1}])
@pytest.mark.parametrize("name", POOLS)
def test_a_layer_of_real_size_is_pytorchs(name, options):
    x = np.random.default_rng(2).normal(size=(5, 8, 24, 23)).astype("float32")
    assert_as_torch(name, x, options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("max", {"kernel_size": 3, "stride": 2, "padding": 1}), ("adaptive_max", {"output_size": 2})],
)
def test_maxima_of_whole_numbers_are_whole_numbers(name, options):
    x = images((2, 2, 5, 7))
    x -= 100  # below zero: padding with 0 would win
    grad = np.ones(forward(name, x, options).shape)
    whole = x.astype(np.int64)
    got = forward(name, whole, options), backward(name, grad.astype(np.int64), whole, options)
    expected = forward(name, x, options), backward(name, grad, x, options)
    assert_close(got, tuple(a.astype(np.int64) for a in expected))


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_an_empty_batch_gives_an_empty_batch(name, options):
    x = np.zeros((0, 3, 4, 4), np.float32)
    output = forward(name, x, options)
    assert_close(output, np.zeros((0, 3, 2, 2), np.float32))
    assert_close(backward(name, output, x, options), x)


@pytest.mark.parametrize(("name", "shape", "options"), TABLE[::5] + ADAPTIVE[::5])
def test_arguments_are_left_alone_and_results_are_new(name, shape, options):
    x = images(shape)
    output = forward(name, x, options)
    grad = gradient_like(output)
    before = x.copy(), grad.copy()
    grad_input = backward(name, grad, x, options)
    grad_input += 1
    output += 1
    assert_close((x, grad), before)


# --- maxima ------------------------------------------------------------------------------


def test_padding_never_wins():
    x = np.full((1, 1, 3, 3), -7.0)
    assert_close(pooling.max_pool2d(x, 3, 1, 1), x)


def test_a_dilated_window_of_padding_alone_has_the_lowest_maximum():
    assert_close(
        pooling.max_pool2d(np.ones((1, 1, 1, 1)), 2, 1, 1, 2), np.full((1, 1, 1, 1), -np.inf)
    )


def test_the_first_of_equal_maxima_gets_the_gradient():
    x = np.array([[[[0.0, 5.0], [5.0, 5.0]]]])
    grad = np.ones((1, 1, 1, 1))
    first = np.array([[[[0.0, 1.0], [0.0, 0.0]]]])
    assert_close(pooling.max_pool2d_backward(grad, x, 2), first)
    assert_close(pooling.adaptive_max_pool2d_backward(grad, x, 1), first)


def test_a_winner_of_several_windows_adds_up():
    x = np.array([[[[1.0, 9.0, 2.0]]]])
    got = pooling.max_pool2d_backward(np.array([[[[5.0, 7.0]]]]), x, (1, 2), stride=1)
    assert_close(got, np.array([[[[0.0, 12.0, 0.0]]]]))


@pytest.mark.parametrize(
    ("name", "options"), [("max", {"kernel_size": 2}), ("adaptive_max", {"output_size": 2})]
)
def test_nan_comes_through_and_gets_the_gradient(name, options):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = np.nan
    assert_as_torch(name, x, options)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_an_infinite_gradient_goes_to_the_maximum_alone(value):
    x, grad = np.array([[[[1.0, 3.0, 2.0, 4.0]]]]), np.array([[[[value, 1.0]]]])
    expected = np.array([[[[0.0, value, 0.0, 1.0]]]])
    assert_close(pooling.max_pool2d_backward(grad, x, (1, 2)), expected)
    assert_close(pooling.adaptive_max_pool2d_backward(grad, x, (1, 2)), expected)


def test_infinities_are_numbers_like_others():
    x = images((1, 2, 6, 6))
    x[:, 0, 1::2, 1::2], x[:, 1, ::2, ::2] = np.inf, -np.inf
    assert_as_torch("max", x, {"kernel_size": 2})
    assert_as_torch("max", x, {"kernel_size": 3, "stride": 2, "padding": 1})


# --- laws --------------------------------------------------------------------------------

window_strategy = st.sampled_from([w for w in WINDOWS if w["kernel_size"] != (5, 4)])
pixels = st.lists(st.integers(-9, 9), min_size=35, max_size=35)
images_strategy = pixels.map(lambda p: np.array(p, float).reshape(1, 1, 5, 7))


@given(window_strategy, st.floats(-1e6, 1e6), st.booleans())
def test_a_constant_stays_what_it_is(window, value, ceil_mode):
    x = np.full((1, 2, 5, 7), value)
    shape = pooling.max_pool2d(x, **window, ceil_mode=ceil_mode).shape
    expected = np.full(shape, value)
    assert_close(pooling.max_pool2d(x, **window, ceil_mode=ceil_mode), expected)
    means = pooling.avg_pool2d(x, **window, ceil_mode=ceil_mode, count_include_pad=False)
    assert_close(means, expected)
    for adaptive in (pooling.adaptive_max_pool2d, pooling.adaptive_avg_pool2d):
        assert_close(adaptive(x, (2, 3)), np.full((1, 2, 2, 3), value))


@given(images_strategy, window_strategy)
def test_maximum_commutes_with_anything_that_grows(x, window):
    assert_close(pooling.max_pool2d(x**3, **window), pooling.max_pool2d(x, **window) ** 3)


@given(images_strategy, images_strategy, window_strategy)
def test_the_mean_is_linear_and_its_backward_is_the_adjoint(x, y, window):
    pooled = pooling.avg_pool2d(x, **window)
    assert_close(
        pooling.avg_pool2d(2 * x - y, **window), 2 * pooled - pooling.avg_pool2d(y, **window)
    )
    grad = gradient_like(pooled)
    back = pooling.avg_pool2d_backward(grad, x, **window)
    assert np.isclose(np.sum(grad * pooled), np.sum(x * back), rtol=1e-10, atol=1e-10)


@given(images_strategy)
def test_no_gradient_is_lost_without_padding(x):
    for name in POOLS:
        options = {"kernel_size": (2, 3), "stride": 1}
        grad = gradient_like(forward(name, x, options))
        assert np.isclose(backward(name, grad, x, options).sum(), grad.sum())


def test_global_pooling_is_the_mean_or_maximum_of_each_map():
    x = images((2, 3, 5, 7))
    assert_close(pooling.adaptive_avg_pool2d(x, 1)[:, :, 0, 0], x.mean(axis=(2, 3)))
    assert_close(pooling.adaptive_max_pool2d(x, 1)[:, :, 0, 0], x.max(axis=(2, 3)))


# --- bad input ---------------------------------------------------------------------------

X = images((1, 2, 5, 7))


@pytest.mark.parametrize(("name", "options"), PAIRS)
@pytest.mark.parametrize(
    ("input", "message"),
    [
        (X[0], r"input has shape \(2, 5, 7\)"),
        (X.tolist(), "input is a list"),
        (X.astype("uint8"), "input has dtype uint8"),
        (X[:, :, :0], "size=0|at least 1"),
        (X[:, :, :, :0], "size=0|at least 1"),
    ],
)
def test_a_bad_input_is_refused(name, options, input, message):
    with pytest.raises(ValueError, match=message):
        forward(name, input, options)
    with pytest.raises(ValueError, match=message):
        backward(name, forward(name, X, options), input, options)


@pytest.mark.parametrize(("name", "options"), PAIRS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g[:, :, 1:], r"grad has shape \(1, 2, 1, [23]\) where \(1, 2, 2, [23]\)"),
        (lambda g: g[:, :1], r"where \(1, 2, 2, [23]\) is needed; pass the gradient of the output"),
        (lambda g: np.concatenate([g, g]), r"grad has shape \(2,"),
        (lambda g: g.astype("float32"), "grad is float32 where float64"),
        (lambda g: g.tolist(), "grad is a list"),
    ],
)
def test_a_bad_gradient_is_refused(name, options, change, message):
    with pytest.raises(ValueError, match=message):
        backward(name, change(forward(name, X, options)), X, options)


@pytest.mark.parametrize(("name", "options"), [p for p in PAIRS if "avg" in p[0]])
def test_whole_numbers_have_no_mean(name, options):
    whole = X.astype(np.int64)
    with pytest.raises(ValueError, match="input has dtype int64"):
        forward(name, whole, options)
    with pytest.raises(ValueError, match="input has dtype int64"):
        backward(name, forward(name, X, options), whole, options)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"kernel_size": (2, 2, 2)}, "kernel_size=.* has 3 entries"),
        ({"kernel_size": 2, "stride": 0}, "stride=0"),
        ({"kernel_size": 2, "padding": -1}, "padding=-1"),
        ({"kernel_size": 2, "padding": (0, 2)}, "padding=2 exceeds half of kernel=2"),
        ({"kernel_size": 6}, "kernel=6 .* spans 6 but the padded input has 5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        forward(name, X, options)
    with pytest.raises(ValueError, match=message):
        backward(name, X, X, options)


def test_a_bad_dilation_or_output_size_is_refused():
    with pytest.raises(ValueError, match="dilation=0"):
        pooling.max_pool2d(X, 2, dilation=0)
    with pytest.raises(ValueError, match=r"dilation=5 spans 6 .* padded input has 5"):
        pooling.max_pool2d_backward(X, X, 2, dilation=5)
    for name in ("adaptive_max", "adaptive_avg"):
        with pytest.raises(ValueError, match="output_size=0"):
            forward(name, X, {"output_size": 0})
        with pytest.raises(ValueError, match=r"output_size=1\.5"):
            backward(name, X, X, {"output_size": 1.5})


def test_names_are_public():
    assert all(callable(getattr(pooling, name)) for name in pooling.__all__)
