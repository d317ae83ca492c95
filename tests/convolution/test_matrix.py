r"""The matrix of a convolution, against SciPy and against the sliding window."""

from itertools import product

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from coursepkg.convolution import reference
from coursepkg.convolution.matrix import conv1d_matrix, conv2d_matrix
from coursepkg.convolution.transposed import conv_transpose2d
from coursepkg.testing import assert_close

SIZE = (7, 6)
TABLE = [
    (shape, {"groups": groups, "stride": stride, "padding": padding, "dilation": dilation})
    for (shape, groups), stride, padding, dilation in product(
        [((3, 2, 3, 3), 1), ((4, 1, 2, 3), 2), ((1, 1, 1, 1), 1)],
        (1, 2, (2, 3)),
        (0, 1, (2, 0)),
        (1, (2, 1)),
    )
]


def arrays(shape, settings, dtype="float64"):
    rng = np.random.default_rng(shape)
    weight = rng.normal(size=shape).astype(dtype)
    x = rng.normal(size=(2, shape[1] * settings["groups"], *SIZE)).astype(dtype)
    return weight, x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "settings"), TABLE)
def test_the_matrix_is_the_convolution(shape, settings, dtype):
    weight, x = arrays(shape, settings, dtype)
    expected = reference.conv2d(x, weight, **settings)
    matrix = conv2d_matrix(weight, SIZE, **settings)
    assert matrix.dtype == dtype
    for image, output in zip(x, expected, strict=True):
        assert_close((matrix @ image.ravel()).reshape(output.shape), output)


@pytest.mark.parametrize(("shape", "settings"), TABLE)
def test_its_transpose_is_the_backward_pass(shape, settings):
    weight, x = arrays(shape, settings)
    grad = np.cos(reference.conv2d(x, weight, **settings))
    expected, _, _ = reference.conv2d_backward(grad, x, weight, **settings)
    matrix = conv2d_matrix(weight, SIZE, **settings)
    for g, image in zip(grad, expected, strict=True):
        assert_close((matrix.T @ g.ravel()).reshape(image.shape), image)


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 0, 1), (1, 1, 2)])
def test_its_transpose_is_the_transposed_convolution(stride, padding, groups):
    settings = {"stride": stride, "padding": padding, "groups": groups}
    y = np.random.default_rng(0).integers(-9, 10, (1, 4, 3, 4))
    weight = np.random.default_rng(1).integers(-9, 10, (4, 4 // groups, 3, 2))
    expected = conv_transpose2d(y, weight, **settings)
    matrix = conv2d_matrix(weight, expected.shape[2:], **settings)
    assert_close((matrix.T @ y.ravel()).reshape(expected.shape), expected)


def test_same_padding_keeps_the_size():
    weight = np.random.default_rng(0).normal(size=(2, 1, 3, 2))
    x = np.random.default_rng(1).normal(size=(1, 1, *SIZE))
    output = conv2d_matrix(weight, SIZE, padding="same") @ x.ravel()
    expected = reference.conv2d(x, weight, padding="same")
    assert_close(output.reshape(expected.shape), expected)


def test_one_channel_makes_a_doubly_blocked_toeplitz_matrix():
    weight = np.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    matrix = conv2d_matrix(weight, (4, 5)).toarray()  # 3 by 3 places, 4 by 5 pixels
    blocks = matrix.reshape(3, 3, 4, 5).swapaxes(1, 2)  # (place row, pixel row, 3, 5)
    for i, row in product(range(3), range(4)):
        a = row - i
        kernel = weight[0, 0, a] if 0 <= a < 2 else np.zeros(3)
        toeplitz = scipy.linalg.toeplitz([kernel[0], 0, 0], [*kernel, 0, 0])
        assert_close(blocks[i, row], toeplitz)


def test_weights_on_padding_have_no_entry():
    weight = np.ones((1, 1, 3, 3))
    assert conv2d_matrix(weight, 3, padding=1).nnz == 49  # 4*4 + 4*6 + 9 windows' pixels
    assert conv2d_matrix(weight, 3, padding=0).nnz == 9


def test_it_is_sparse_and_exact_in_whole_numbers():
    matrix = conv2d_matrix(np.array([[[[1, -1]]]]), size=(1, 4))
    assert isinstance(matrix, csr_array)
    assert_close(matrix.toarray(), np.array([[1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]]))


def test_the_kernel_is_left_alone():
    weight = np.ones((1, 1, 2, 2))
    matrix = conv2d_matrix(weight, 3)
    matrix *= 2
    dense = conv1d_matrix(weight[0, 0, 0], 3)
    dense *= 2
    assert_close(weight, np.ones((1, 1, 2, 2)))


# --- one axis ------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(0, 6), st.integers(1, 4))
def test_one_axis_is_a_convolution_of_images_of_one_row(k, further, stride):
    size = k + further
    kernel = np.arange(1, k + 1)
    x = (7 * np.arange(size)) % 11
    expected = reference.conv2d(x[None, None, None], kernel[None, None, None], stride=stride)
    assert_close(conv1d_matrix(kernel, size, stride) @ x, expected.ravel())


def test_one_axis_at_stride_one_is_a_toeplitz_matrix():
    kernel = np.array([1.5, 2.5, 3.5], np.float32)
    expected = scipy.linalg.toeplitz([1.5, 0, 0, 0], [1.5, 2.5, 3.5, 0, 0, 0])
    assert_close(conv1d_matrix(kernel, 6), expected.astype(np.float32))


# --- bad input -------------------------------------------------------------------------------

W = np.ones((2, 1, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": W[0], "size": 5}, "weight has shape"),
        ({"weight": W.astype("uint8"), "size": 5}, "weight has dtype uint8"),
        ({"weight": W.tolist(), "size": 5}, "weight is a list"),
        ({"weight": W, "size": 0}, "size=0"),
        ({"weight": W, "size": (5, 2)}, "spans 3 but the padded input has 2"),
        ({"weight": W, "size": 5, "stride": 0}, "stride=0"),
        ({"weight": W, "size": 5, "padding": "full"}, "padding='full'"),
        ({"weight": W, "size": 5, "groups": 3}, "groups=3 does not divide"),
        ({"weight": W, "size": 5, "groups": 0}, "groups=0"),
        ({"weight": W, "size": 5, "groups": 1.5}, "groups=1.5 is not an integer"),
        ({"weight": W, "size": 5, "dilation": 3}, "dilation=3"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv2d_matrix(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": np.ones((1, 3)), "size": 5}, "kernel has shape"),
        ({"kernel": [1, 2], "size": 5}, "kernel is a list"),
        ({"kernel": np.ones(3, "uint8"), "size": 5}, "kernel has dtype uint8"),
        ({"kernel": np.ones(0), "size": 5}, "kernel=0"),
        ({"kernel": np.ones(3), "size": 2}, "spans 3 but the padded input has 2"),
        ({"kernel": np.ones(3), "size": 5, "stride": 0}, "stride=0"),
    ],
)
def test_a_kernel_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv1d_matrix(**arguments)
