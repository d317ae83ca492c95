r"""The claims of book/convolution/from-scratch.md, on arrays that its cells do not use."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coursepkg.convolution import fast, reference
from coursepkg.convolution.arithmetic import output_size, span
from coursepkg.convolution.fast import col2im, im2col
from coursepkg.testing import assert_close, assert_gradient

SETTINGS = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (2, 3), "padding": (0, 2), "dilation": (2, 1)},
    {"padding": 2, "dilation": 2, "groups": 2},
]


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.mark.covers("C17")
@pytest.mark.parametrize("settings", SETTINGS)
def test_loops_columns_and_torch_agree_forward_and_backward(rng, settings):
    x, b = rng.standard_normal((3, 4, 9, 8)), rng.standard_normal(6)
    w = rng.standard_normal((6, 4 // settings.get("groups", 1), 3, 2))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    expected = F.conv2d(*tensors, **settings)
    grad = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(grad))
    for module in (reference, fast):
        assert_close(module.conv2d(x, w, b, **settings), expected.detach().numpy(), "output")
        got = module.conv2d_backward(grad, x, w, **settings)
        assert_close(got, tuple(t.grad.numpy() for t in tensors), "gradients")


@pytest.mark.covers("C17")
@pytest.mark.parametrize("settings", SETTINGS)
def test_gradients_agree_with_finite_differences(rng, settings):
    x, b = rng.standard_normal((2, 2, 5, 6)), rng.standard_normal(2)
    w = rng.standard_normal((2, 2 // settings.get("groups", 1), 2, 2))
    factors = rng.standard_normal(fast.conv2d(x, w, b, **settings).shape)
    grads = fast.conv2d_backward(factors, x, w, **settings)

    def loss(x, w, b):
        return float(np.sum(factors * fast.conv2d(x, w, b, **settings)))

    assert_gradient(lambda v: loss(v, w, b), x, grads[0], "grad_input")
    assert_gradient(lambda v: loss(x, v, b), w, grads[1], "grad_weight")
    assert_gradient(lambda v: loss(x, w, v), b, grads[2], "grad_bias")


@pytest.mark.covers("C17")
def test_columns_times_weights_are_the_convolution_and_its_gradients(rng):
    x, w = rng.standard_normal((2, 3, 6, 7)), rng.standard_normal((4, 3, 3, 2))
    grad = rng.standard_normal((2, 4, 4, 6))
    columns, rows = im2col(x, (3, 2)), w.reshape(4, 18)
    assert_close((rows @ columns).reshape(grad.shape), reference.conv2d(x, w))
    grad_input, grad_weight, _ = reference.conv2d_backward(grad, x, w)
    flat = grad.reshape(2, 4, 24)
    assert_close(np.einsum("nop,nkp->ok", flat, columns).reshape(w.shape), grad_weight)
    assert_close(col2im(rows.T @ flat, (6, 7), (3, 2)), grad_input)


@pytest.mark.covers("C17")
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [(1, 1, 1), (3, 1, 1), (3, 2, 1), (2, 3, 1), ((3, 2), (1, 2), (2, 3))],
)
def test_col2im_is_the_adjoint_of_im2col(rng, kernel, stride, dilation):
    x = rng.integers(-9, 10, (2, 2, 9, 8))
    columns = im2col(x, kernel, stride, dilation)
    u = rng.integers(-9, 10, columns.shape)
    back = col2im(u, (9, 8), kernel, stride, dilation)
    assert back.shape == x.shape
    assert np.sum(columns * u) == np.sum(x * back)


@pytest.mark.covers("C17")
def test_memory_of_the_columns_is_the_kernel_times_the_places(rng):
    x = rng.standard_normal((2, 3, 10, 12)).astype(np.float32)
    for k, stride in [(1, 1), (3, 1), (5, 1), (3, 2), (2, 2)]:
        places = output_size(10, k, stride) * output_size(12, k, stride)
        assert im2col(x, k, stride).nbytes == x.nbytes * k * k * places / (10 * 12)


@pytest.mark.covers("C17")
def test_folding_back_multiplies_each_pixel_by_its_number_of_windows():
    x = np.arange(1.0, 26.0).reshape(1, 1, 5, 5)
    overlaps = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1])
    assert_close(col2im(im2col(x, 3), (5, 5), 3)[0, 0], x[0, 0] * overlaps)


@pytest.mark.covers("E03")
def test_frameworks_round_the_output_size_down():
    uneven = 0
    for size in range(5, 30):
        for kernel, stride, padding in [(3, 2, 0), (3, 2, 1), (5, 4, 2), (2, 3, 0)]:
            exact = (size + 2 * padding - kernel) / stride + 1
            x, w = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
            by_torch = F.conv1d(x, w, stride=stride, padding=padding).shape[-1]
            assert by_torch == np.floor(exact) == output_size(size, kernel, stride, padding)
            uneven += exact != by_torch
    assert uneven == 12 + 12 + 18 + 16  # of 25 sizes each, so many have a fraction to lose


@pytest.mark.covers("E03")
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 3), (5, 5), (3, 5)])
def test_rows_that_are_left_over_are_not_seen(rng, kernel, stride):
    size = 12
    seen = (output_size(size, kernel, stride) - 1) * stride + span(kernel)
    assert seen < size
    x, w = rng.standard_normal((1, 2, size, size)), rng.standard_normal((3, 2, kernel, kernel))
    changed = x.copy()
    changed[:, :, seen:] += 100
    changed[:, :, :, seen:] -= 100
    for conv2d in (reference.conv2d, fast.conv2d):
        assert_close(conv2d(changed, w, stride=stride), conv2d(x, w, stride=stride))
    t = torch.from_numpy(x).requires_grad_()
    F.conv2d(t, torch.from_numpy(w), stride=stride).square().sum().backward()
    lost = t.grad.numpy()[0]
    assert not lost[:, seen:].any()
    assert not lost[:, :, seen:].any()
    assert lost[:, seen - 1, : seen - 1 : stride].any()  # the row before them is seen
