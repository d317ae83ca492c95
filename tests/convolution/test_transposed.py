r"""Transposed convolution against PyTorch, as the adjoint of convolution, and bad input."""

import re
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution import reference
from coursepkg.convolution.transposed import conv_transpose2d, conv_transpose2d_backward
from coursepkg.testing import assert_close, assert_gradient

NAMES = ("output", "grad_input", "grad_weight", "grad_bias")

# input (N, C_in, H, W), weight (C_in, C_out/groups, kh, kw), groups
SHAPES = [
    ((2, 2, 4, 4), (2, 3, 3, 3), 1),
    ((1, 3, 5, 3), (3, 1, 2, 3), 1),
    ((2, 4, 3, 5), (4, 3, 3, 2), 2),
]
SETTINGS = [
    {"stride": stride, "padding": padding, "dilation": dilation}
    for stride, padding, dilation in product((1, 2, (2, 3)), (0, 1, (1, 0)), (1, (1, 2)))
]
EXTRA = [
    {"stride": 2, "output_padding": 1},
    {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)},
    {"dilation": 2, "output_padding": 1},  # at stride 1: a row that no filter reaches
    {"stride": 2, "dilation": 3, "padding": 1, "output_padding": 2},
]
TABLE = [
    (x, w, {**settings, "groups": groups})
    for (x, w, groups), settings in product(SHAPES, SETTINGS + EXTRA)
]


def arrays(x_shape, w_shape, groups, dtype="float64"):
    rng = np.random.default_rng((*x_shape, *w_shape))
    return [rng.normal(size=s).astype(dtype) for s in (x_shape, w_shape, w_shape[1] * groups)]


def gradient_like(output):
    return np.random.default_rng(output.shape).normal(size=output.shape).astype(output.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x_shape", "w_shape", "settings"), TABLE)
def test_output_and_gradients_are_pytorchs(x_shape, w_shape, settings, dtype):
    x, w, b = arrays(x_shape, w_shape, settings["groups"], dtype)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    expected = F.conv_transpose2d(*leaves, **settings)
    grad = gradient_like(expected.detach().numpy())
    expected.backward(torch.from_numpy(grad))
    got = (
        conv_transpose2d(x, w, b, **settings),
        *conv_transpose2d_backward(grad, x, w, **settings),
    )
    wanted = [t.detach().numpy() for t in (expected, *(leaf.grad for leaf in leaves))]
    for name, one, other in zip(NAMES, got, wanted, strict=True):
        assert_close(one, other, name)


@pytest.mark.parametrize(("x_shape", "w_shape", "settings"), TABLE[::5])
def test_gradients_match_central_differences(x_shape, w_shape, settings):
    x, w, b = arrays(x_shape, w_shape, settings["groups"])
    grad = gradient_like(conv_transpose2d(x, w, b, **settings))
    grad_x, grad_w, grad_b = conv_transpose2d_backward(grad, x, w, **settings)

    def loss(x=x, w=w, b=b):
        return float(np.sum(grad * conv_transpose2d(x, w, b, **settings)))

    assert_gradient(lambda v: loss(x=v), x, grad_x, "grad_input")
    assert_gradient(lambda v: loss(w=v), w, grad_w, "grad_weight")
    assert_gradient(lambda v: loss(b=v), b, grad_b, "grad_bias")


def integers(*shape):
    size = int(np.prod(shape))
    entries = st.lists(st.integers(-20, 20), min_size=size, max_size=size)
    return entries.map(lambda e: np.array(e, np.int64).reshape(shape))


@given(st.data(), st.sampled_from([1, 2, 3]), st.sampled_from([0, 1]), st.sampled_from([1, 2]))
def test_it_is_the_adjoint_of_convolution(data, stride, padding, groups):
    settings = {"stride": stride, "padding": padding, "groups": groups}
    y = data.draw(integers(1, 4, 3, 2))
    w = data.draw(integers(4, 4 // groups, 3, 2))
    output = conv_transpose2d(y, w, **settings)
    x = data.draw(integers(*output.shape))
    convolved = reference.conv2d(x, w, **settings)
    assert np.sum(convolved * y) == np.sum(x * output)


def test_each_pixel_adds_its_filter():
    x = np.array([[[[1, 10], [100, 1000]]]])
    got = conv_transpose2d(x, np.array([[[[1, 2], [3, 4]]]]))
    expected = [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]
    assert_close(got[0, 0], np.array(expected))


def test_an_empty_batch_gives_an_empty_batch():
    x, w = np.zeros((0, 2, 3, 3)), np.ones((2, 3, 2, 2))
    output = conv_transpose2d(x, w)
    assert_close(output, np.zeros((0, 3, 4, 4)))
    assert_close(conv_transpose2d_backward(output, x, w), (x, np.zeros((2, 3, 2, 2)), np.zeros(3)))


@pytest.mark.parametrize("settings", [{}, {"padding": 1}, {"stride": 2, "output_padding": 1}])
def test_arguments_are_left_alone(settings):
    x, w, b = arrays((2, 2, 4, 4), (2, 3, 3, 3), 1)
    output = conv_transpose2d(x, w, b, **settings)
    before = [a.copy() for a in (x, w, b, output)]
    conv_transpose2d_backward(output, x, w, **settings)
    assert_close([x, w, b, output], before)


X, W, B = arrays((2, 4, 3, 5), (4, 3, 3, 2), 1)


AXES = "pass shape (C_in, C_out/groups, kh, kw), one row per channel of the input"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": X[0]}, "input has shape (4, 3, 5); pass an array with the axes (N, C, H, W)"),
        (
            {"input": X.astype("uint8")},
            "input has dtype uint8, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
        ({"input": X[:, :, :0]}, "size=0 is too small; use an integer of at least 1"),
        ({"input": X.tolist()}, "input is a list; pass a NumPy array (np.asarray)"),
        (
            {"weight": W[0]},
            "weight has shape (3, 3, 2); pass an array with the axes (C_in, C_out/groups, kh, kw)",
        ),
        ({"weight": W[:3]}, f"weight has shape (3, 3, 3, 2) but input has 4 channels; {AXES}"),
        ({"weight": W[:, :0]}, f"weight has shape (4, 0, 3, 2) but input has 4 channels; {AXES}"),
        (
            {"weight": W[:, :, :0]},
            f"weight has shape (4, 3, 0, 2) but input has 4 channels; {AXES}",
        ),
        (
            {"weight": W.astype("float32")},
            "weight is float32 where float64 is needed; convert it, e.g. weight.astype(np.float64)",
        ),
        (
            {"groups": 3},
            "groups=3 does not divide the 4 channels of the input; use a divisor of 4",
        ),
        ({"groups": 0}, "groups=0 is too small; use an integer of at least 1"),
        ({"stride": 0}, "stride=0 is too small; use an integer of at least 1"),
        ({"dilation": (1, 0)}, "dilation=0 is too small; use an integer of at least 1"),
        ({"padding": -1}, "padding=-1 is too small; use an integer of at least 0"),
        ({"output_padding": -1}, "output_padding=-1 is too small; use an integer of at least 0"),
        (
            {"padding": 9},
            "padding=9 removes all of the 5 output pixels; use a padding of at most 2",
        ),
        (
            {"output_padding": 1},
            "output_padding=1 must be smaller than stride=1 or dilation=1; "
            "lower it or raise the stride",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    arguments = {"input": X, "weight": W} | change
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        conv_transpose2d(**arguments)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        conv_transpose2d_backward(conv_transpose2d(X, W), **arguments)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (B[:2], "bias has shape (2,) where (3,) is needed; pass one number per output channel"),
        (
            B.astype("float32"),
            "bias is float32 where float64 is needed; convert it, e.g. bias.astype(np.float64)",
        ),
        (B.tolist(), "bias is a list; pass a NumPy array (np.asarray)"),
    ],
)
def test_a_bad_bias_is_refused(bias, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        conv_transpose2d(X, W, bias)


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (
            X,
            "grad has shape (2, 4, 3, 5) where (2, 3, 5, 6) is needed; "
            "pass the gradient of the output",
        ),
        (
            conv_transpose2d(X, W).astype("float32"),
            "grad is float32 where float64 is needed; convert it, e.g. grad.astype(np.float64)",
        ),
    ],
)
def test_a_gradient_of_another_shape_or_dtype_is_refused(grad, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        conv_transpose2d_backward(grad, X, W)
