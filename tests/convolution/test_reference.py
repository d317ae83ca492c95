r"""The loops against hand-worked cases, PyTorch, SciPy, central differences and laws."""

import re
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from coursepkg.convolution.reference import (
    conv1d,
    conv2d,
    conv2d_backward,
    convolve2d,
    cross_correlate1d,
    cross_correlate2d,
)
from coursepkg.testing import assert_close, assert_gradient

DTYPES = ("float32", "float64", "int64")

# input (N, C_in, H, W), weight (C_out, C_in/groups, kh, kw), settings
CASES = [
    ((1, 1, 3, 3), (1, 1, 1, 1), {}),
    ((2, 2, 5, 4), (3, 2, 3, 2), {}),
    ((2, 2, 5, 7), (3, 2, 3, 3), {"stride": 2}),
    ((1, 2, 6, 7), (2, 2, 3, 2), {"stride": (3, 2)}),  # rows and columns are left over
    ((1, 2, 5, 4), (3, 2, 3, 3), {"padding": 1}),
    ((2, 1, 4, 5), (2, 1, 2, 3), {"padding": (2, 1), "stride": (1, 2)}),
    ((1, 2, 7, 6), (2, 2, 3, 2), {"dilation": 2}),
    ((1, 1, 7, 6), (2, 1, 2, 3), {"dilation": (3, 2), "stride": 2, "padding": (0, 1)}),
    ((2, 4, 5, 4), (6, 2, 3, 2), {"groups": 2, "padding": 1}),
    ((1, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1, "dilation": 2}),
    ((1, 2, 5, 6), (2, 2, 3, 3), {"padding": "same", "dilation": 2}),
    ((1, 1, 4, 5), (1, 1, 2, 4), {"padding": "same"}),
    ((1, 1, 4, 5), (1, 1, 2, 4), {"padding": "valid"}),
    ((0, 2, 5, 4), (3, 2, 3, 3), {"padding": 1}),
]
GRADIENT_CASES = [c for c in CASES if not isinstance(c[2].get("padding"), str)]

ignore_even_kernels = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def exactly(message):
    return f"^{re.escape(message)}$"


def random_array(shape, dtype="float64", seed=0):
    r"""Return whole numbers (for int64) or normal ones, the same at every call."""
    rng = np.random.default_rng((seed, *shape))
    if np.dtype(dtype).kind == "i":
        return rng.integers(-9, 10, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def case_arrays(input_shape, weight_shape, dtype="float64"):
    return (
        random_array(input_shape, dtype, seed=1),
        random_array(weight_shape, dtype, seed=2),
        random_array(weight_shape[:1], dtype, seed=3),
    )


def images(*shape, largest=20):
    r"""Hypothesis strategy: an integer array of the given shape."""
    size = int(np.prod(shape))
    entries = st.lists(st.integers(-largest, largest), min_size=size, max_size=size)
    return entries.map(lambda e: np.array(e, dtype=np.int64).reshape(shape))


# --- worked by hand ---------------------------------------------------------------------

IMAGE = np.array([[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2]])
KERNEL = np.array([[2, 0], [1, -1]])


def test_cross_correlate1d_by_hand():
    result = cross_correlate1d(np.array([1, 2, 0, -3]), np.array([4, 10]))
    assert_close(result, np.array([24, 8, -30]))


def test_cross_correlate2d_by_hand():
    # top left: 2*1 + 0*2 + 1*0 - 1*1 = 1
    assert_close(cross_correlate2d(IMAGE, KERNEL), np.array([[1, 3, 5], [3, 1, 3]]))


def test_convolve2d_by_hand():
    # the kernel turned by 180 degrees is [[-1, 1], [0, 2]]; top left: -1 + 2 + 2*1 = 3
    assert_close(convolve2d(IMAGE, KERNEL), np.array([[3, 5, 3], [1, 3, 5]]))


def test_plain_functions_take_the_common_dtype():
    signal1d, kernel1d = np.array([1, 2, 4]), np.array([0.5, 0.5])
    assert_close(cross_correlate1d(signal1d, kernel1d), np.array([1.5, 3.0]))
    assert_close(cross_correlate2d(signal1d[None], kernel1d[None]), np.array([[1.5, 3.0]]))
    assert_close(cross_correlate1d(kernel1d, signal1d[:2]), np.array([1.5]))
    assert_close(cross_correlate2d(kernel1d[None], signal1d[None, :2]), np.array([[1.5]]))
    assert cross_correlate1d(signal1d.astype("f4"), kernel1d.astype("f4")).dtype == np.float32


def test_conv2d_by_hand_two_channels_two_filters_and_bias():
    x = np.array([[[[1, 2, 3], [4, 5, 6]], [[1, 0, 1], [0, 1, 0]]]])  # (1, 2, 2, 3)
    w = np.array([[[[1, 0]], [[0, 10]]], [[[0, 1]], [[-1, 0]]]])  # (2, 2, 1, 2)
    # filter 0: the left pixel of channel 0 plus ten times the right pixel of channel 1
    # filter 1: the right pixel of channel 0 less the left pixel of channel 1
    expected = np.array([[[[1, 12], [14, 5]], [[1, 3], [5, 5]]]])
    assert_close(conv2d(x, w), expected)
    assert_close(conv2d(x, w, np.array([100, 200])), expected + np.array([100, 200])[:, None, None])


def test_conv2d_by_hand_stride_padding_dilation_and_groups():
    x = np.arange(1, 10).reshape(1, 1, 3, 3)
    ones = np.ones((1, 1, 2, 2), np.int64)
    assert_close(conv2d(x, ones, stride=2), np.array([[[[12]]]]))  # a row, a column left over
    assert_close(conv2d(x, ones, dilation=2), np.array([[[[1 + 3 + 7 + 9]]]]))
    assert_close(conv2d(x, ones, padding=1, stride=2), np.array([[[[1, 5], [11, 28]]]]))
    assert_close(conv2d(x, ones, padding=(1, 0), stride=(3, 1)), np.array([[[[3, 5], [15, 17]]]]))
    two = np.concatenate([x, 10 * x], axis=1)  # (1, 2, 3, 3)
    w = np.array([1, 2, 3, 4]).reshape(4, 1, 1, 1)  # two filters for each channel
    expected = np.stack([x[0, 0], 2 * x[0, 0], 30 * x[0, 0], 40 * x[0, 0]])[None]
    assert_close(conv2d(two, w, groups=2), expected)


def test_conv1d_by_hand():
    x, w = np.array([[[1, 2, 3, 4, 5, 6]]]), np.array([[[1, 10]]])
    assert_close(conv1d(x, w), np.array([[[21, 32, 43, 54, 65]]]))
    assert_close(conv1d(x, w, stride=2), np.array([[[21, 43, 65]]]))
    assert_close(conv1d(x, w, padding=1), np.array([[[10, 21, 32, 43, 54, 65, 6]]]))
    assert_close(conv1d(x, w, dilation=3), np.array([[[41, 52, 63]]]))
    assert_close(conv1d(x, w, np.array([7]), stride=3), np.array([[[28, 61]]]))


def test_conv2d_backward_by_hand():
    x = np.array([[[[1, 2, 3], [4, 5, 6]]]])
    w = np.array([[[[1, 10], [100, 1000]]]])
    grad_input, grad_weight, grad_bias = conv2d_backward(np.array([[[[1, 2]]]]), x, w)
    assert_close(grad_input, np.array([[[[1, 12, 20], [100, 1200, 2000]]]]))
    assert_close(grad_weight, np.array([[[[1 + 4, 2 + 6], [4 + 10, 5 + 12]]]]))
    assert_close(grad_bias, np.array([3]))


def test_conv2d_backward_by_hand_pixels_never_seen_get_no_gradient():
    x = np.arange(1, 6).reshape(1, 1, 1, 5)
    w = np.array([[[[3, 7]]]])
    grads = conv2d_backward(np.array([[[[1, 2]]]]), x, w, stride=(1, 2))
    assert_close(grads[0], np.array([[[[3, 7, 6, 14, 0]]]]))
    assert_close(grads[1], np.array([[[[1 + 6, 2 + 8]]]]))


# --- PyTorch and SciPy ------------------------------------------------------------------


@ignore_even_kernels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("input_shape", "weight_shape", "settings"), CASES)
def test_conv2d_equals_torch(input_shape, weight_shape, settings, dtype):
    x, w, b = case_arrays(input_shape, weight_shape, dtype)
    for bias in (None, b):
        tensors = [None if a is None else torch.from_numpy(a) for a in (x, w, bias)]
        assert_close(conv2d(x, w, bias, **settings), F.conv2d(*tensors, **settings).numpy())


@ignore_even_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("input_shape", "weight_shape", "settings"), CASES)
def test_conv2d_backward_equals_torch(input_shape, weight_shape, settings, dtype):
    x, w, b = case_arrays(input_shape, weight_shape, dtype)
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    output = F.conv2d(*tensors, **settings)
    grad = random_array(output.shape, dtype, seed=4)
    output.backward(torch.from_numpy(grad))
    expected = tuple(t.grad.numpy() for t in tensors)
    got = conv2d_backward(grad, x, w, **settings)
    assert_close(got, expected, "(grad_input, grad_weight, grad_bias)")


def test_conv2d_equals_torch_over_the_whole_option_table():
    x, w = random_array((1, 2, 5, 6)), random_array((2, 2, 2, 3), seed=1)
    table = product([1, 2, (2, 3)], [0, 1, (2, 1)], [1, 2, (1, 2)], [1, 2])
    for stride, padding, dilation, groups in table:
        arrays = x, w[:, : 2 // groups]
        expected = F.conv2d(*map(torch.from_numpy, arrays), None, stride, padding, dilation, groups)
        got = conv2d(*arrays, None, stride, padding, dilation, groups)
        assert_close(got, expected.numpy(), f"{stride=} {padding=} {dilation=} {groups=}")


def test_conv1d_equals_torch():
    x, w, b = random_array((2, 4, 9)), random_array((6, 2, 3)), random_array((6,))
    for stride, padding, dilation in product((1, 2, 3), (0, 1, 2), (1, 2)):
        tensors = map(torch.from_numpy, (x, w, b))
        expected = F.conv1d(*tensors, stride, padding, dilation, 2).numpy()
        assert_close(conv1d(x, w, b, stride, padding, dilation, 2), expected)
    expected = F.conv1d(*map(torch.from_numpy, (x, w, b)), padding="same", groups=2).numpy()
    assert_close(conv1d(x, w, b, padding="same", groups=2), expected)


@pytest.mark.parametrize(
    ("image", "kernel"), [((5, 4), (2, 3)), ((3, 3), (3, 3)), ((6, 1), (2, 1)), ((4, 5), (1, 1))]
)
def test_plain_functions_equal_scipy(image, kernel):
    x, k = random_array(image), random_array(kernel, seed=1)
    assert_close(convolve2d(x, k), signal.convolve2d(x, k, "valid"))
    assert_close(cross_correlate2d(x, k), signal.correlate2d(x, k, "valid"))
    assert_close(cross_correlate1d(x[:, 0], k[:, 0]), signal.correlate(x[:, 0], k[:, 0], "valid"))


@pytest.mark.parametrize(("input_shape", "weight_shape", "settings"), GRADIENT_CASES)
def test_conv2d_backward_is_the_gradient(input_shape, weight_shape, settings):
    x, w, b = case_arrays(input_shape, weight_shape)
    grad = random_array(conv2d(x, w, b, **settings).shape, seed=4)

    def loss(x=x, w=w, b=b):
        return float(np.sum(grad * conv2d(x, w, b, **settings)))

    grad_input, grad_weight, grad_bias = conv2d_backward(grad, x, w, **settings)
    assert_gradient(lambda v: loss(x=v), x, grad_input, "grad_input")
    assert_gradient(lambda v: loss(w=v), w, grad_weight, "grad_weight")
    assert_gradient(lambda v: loss(b=v), b, grad_bias, "grad_bias")


def test_int64_gradients_are_exact():
    x, w = random_array((2, 2, 5, 4), "int64"), random_array((3, 2, 3, 2), "int64")
    grad = random_array((2, 3, 3, 3), "int64", seed=4)
    got = conv2d_backward(grad, x, w)
    expected = conv2d_backward(*(a.astype("float64") for a in (grad, x, w)))
    assert_close(got, tuple(e.astype("int64") for e in expected))


# --- laws -------------------------------------------------------------------------------


@given(images(1, 2, 4, 5), images(1, 2, 4, 5), images(3, 2, 2, 3), st.integers(-5, 5))
def test_conv2d_is_linear(x, y, w, scale):
    assert_close(conv2d(x + scale * y, w), conv2d(x, w) + scale * conv2d(y, w))


@given(images(1, 1, 4, 4), images(1, 1, 2, 3))
def test_conv2d_moves_with_its_input(x, w):
    wide = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    shifted = np.roll(wide, (1, -2), axis=(2, 3))
    assert_close(
        conv2d(shifted, w),
        np.roll(conv2d(wide, w, padding="same"), (1, -2), (2, 3))[:, :, :-1, 1:-1],
    )


@given(images(1, 2, 5, 4), images(2, 2, 2, 3), images(1, 2, 3, 2))
def test_backward_is_the_adjoint_in_both_arguments(x, w, grad):
    settings = {"stride": (2, 1), "padding": (1, 0)}
    grad_input, grad_weight, grad_bias = conv2d_backward(grad, x, w, **settings)
    inner = np.sum(grad * conv2d(x, w, **settings))
    assert np.sum(x * grad_input) == inner
    assert np.sum(w * grad_weight) == inner
    assert_close(grad_bias, grad.sum(axis=(0, 2, 3)))


@given(images(4, 5), images(2, 3))
def test_convolution_is_correlation_with_a_turned_kernel(x, k):
    assert_close(convolve2d(x, k), cross_correlate2d(x, np.rot90(k, 2)))
    assert_close(cross_correlate2d(x, k), conv2d(x[None, None], k[None, None])[0, 0])


@given(images(2, 2), images(3, 2))
def test_convolution_commutes(a, b):
    def full(x, k):
        (kh, kw) = k.shape
        return convolve2d(np.pad(x, ((kh - 1, kh - 1), (kw - 1, kw - 1))), k)

    assert_close(full(a, b), full(b, a))


def test_one_by_one_kernel_mixes_channels_only():
    x, w = random_array((2, 3, 2, 4)), random_array((5, 3, 1, 1))
    assert_close(conv2d(x, w), np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x))


def test_arguments_are_left_as_they_were():
    arrays = case_arrays((1, 2, 4, 4), (2, 2, 3, 3))
    grad = random_array((1, 2, 4, 4), seed=4)
    copies = [a.copy() for a in (*arrays, grad)]
    conv2d(*arrays, padding=1)
    conv2d_backward(grad, *arrays[:2], padding=1)
    for array, copy in zip((*arrays, grad), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_results_do_not_share_memory_with_the_arguments():
    x, w = random_array((1, 1, 2, 2)), np.ones((1, 1, 1, 1))
    grad = random_array((1, 1, 2, 2), seed=4)
    results = [conv2d(x, w), *conv2d_backward(grad, x, w)]
    assert not any(np.shares_memory(r, a) for r in results for a in (x, w, grad))


def test_strided_views_are_accepted():
    x, w = random_array((1, 2, 10, 9)), random_array((3, 2, 3, 3))
    view = x[:, ::-1, ::2].transpose(0, 1, 3, 2)
    assert_close(conv2d(view, w), conv2d(np.ascontiguousarray(view), w))


# --- bad input --------------------------------------------------------------------------

LINE, SQUARE = np.zeros(4), np.zeros((4, 4))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            cross_correlate1d,
            (SQUARE, LINE),
            "input has shape (4, 4); pass an array with the axes (L)",
        ),
        (
            cross_correlate1d,
            (LINE, SQUARE),
            "kernel has shape (4, 4); pass an array with the axes (k)",
        ),
        (
            cross_correlate2d,
            (LINE, SQUARE),
            "input has shape (4,); pass an array with the axes (H, W)",
        ),
        (
            cross_correlate2d,
            (SQUARE, LINE),
            "kernel has shape (4,); pass an array with the axes (kh, kw)",
        ),
        (
            cross_correlate2d,
            (SQUARE.astype(np.uint8), SQUARE),
            "input has dtype uint8, in which sums overflow or round badly; convert it with .astype "
            "to one of float32, float64, int64",
        ),
        (
            cross_correlate1d,
            ([1.0], LINE),
            "input is a list; pass a NumPy array (np.asarray)",
        ),
        (convolve2d, (LINE, SQUARE), "input has shape (4,); pass an array with the axes (H, W)"),
        (convolve2d, (SQUARE, LINE), "kernel has shape (4,); pass an array with the axes (kh, kw)"),
        (
            conv1d,
            (SQUARE, SQUARE[None]),
            "input has shape (4, 4); pass an array with the axes (N, C, L)",
        ),
        (
            conv1d,
            (SQUARE[None], SQUARE),
            "weight has shape (4, 4); pass an array with the axes (C_out, C_in/groups, k)",
        ),
        (
            cross_correlate1d,
            (LINE[:2], LINE),
            "kernel=4 with dilation=1 spans 4 but the padded input has 2; "
            "add padding or shrink the kernel",
        ),
        (
            cross_correlate2d,
            (SQUARE[:3], SQUARE),
            "kernel=4 with dilation=1 spans 4 but the padded input has 3; "
            "add padding or shrink the kernel",
        ),
        (
            convolve2d,
            (SQUARE[:, :2], SQUARE),
            "kernel=4 with dilation=1 spans 4 but the padded input has 2; "
            "add padding or shrink the kernel",
        ),
        (
            conv1d,
            (SQUARE[None], SQUARE[None, :, :3], None, 0),
            "stride=0 is too small; use an integer of at least 1",
        ),
        (
            conv1d,
            (SQUARE[None], SQUARE[None], None, 1, -1),
            "padding=-1 is too small; use an integer of at least 0",
        ),
        (
            conv1d,
            (SQUARE[None], SQUARE[None], None, 1, 0, 0),
            "dilation=0 is too small; use an integer of at least 1",
        ),
        (
            conv1d,
            (SQUARE[None], SQUARE[None], None, 1, 0, 1, 3),
            "input has 4 channels but weight (1, 4, 4) with groups=3 expects 12; "
            "change the input's channels, the weight or groups",
        ),
        (
            conv2d,
            (SQUARE, SQUARE[None, None]),
            "input has shape (4, 4); pass an array with the axes (N, C, H, W)",
        ),
        (
            conv2d,
            (SQUARE[None, None], SQUARE[None, None], LINE),
            "bias has shape (4,) but weight has 1 filters; pass shape (1,), one number per filter",
        ),
        (
            conv2d_backward,
            (SQUARE[None, None], SQUARE[None, None], SQUARE[None, None]),
            "grad has shape (1, 1, 4, 4) but the output of this convolution has shape "
            "(1, 1, 1, 1); pass the gradient with respect to that output",
        ),
        (
            conv2d_backward,
            (SQUARE[None, None, :1, :1], SQUARE[None, None], SQUARE[None, None], 0),
            "stride=0 is too small; use an integer of at least 1",
        ),
    ],
)
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=exactly(message)):
        function(*arguments)
