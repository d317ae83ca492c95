r"""The claims of book/convolution/pooling.md, on arrays that its cells do not use."""

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from scipy import ndimage

from coursepkg.convolution.fast import conv2d, im2col
from coursepkg.convolution.matrix import conv1d_matrix, conv2d_matrix
from coursepkg.convolution.pooling import (
    adaptive_avg_pool2d,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from coursepkg.convolution.resampling import blur_pool2d, interpolate
from coursepkg.convolution.transposed import conv_transpose2d
from coursepkg.data.digits import load_digits
from coursepkg.data.photos import photo
from coursepkg.testing import assert_close


@pytest.fixture
def rng():
    return np.random.default_rng(23)


# --- C14: convolution is a matrix ------------------------------------------------------------


@pytest.mark.covers("C14")
def test_every_row_is_the_kernel_one_place_further_on():
    kernel = np.array([3.0, -1.0, 4.0, 1.0])
    expected = scipy.linalg.toeplitz([3, 0, 0, 0, 0], [3, -1, 4, 1, 0, 0, 0, 0]).astype(float)
    assert_close(conv1d_matrix(kernel, 8), expected)


@pytest.mark.covers("C14")
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), ((1, 3), (2, 0))])
def test_the_matrix_is_the_convolution_and_its_transpose_the_way_back(rng, stride, padding):
    x, weight = rng.standard_normal((1, 2, 6, 9)), rng.standard_normal((3, 2, 3, 2))
    t = torch.from_numpy(x).requires_grad_()
    output = F.conv2d(t, torch.from_numpy(weight), stride=stride, padding=padding)
    grad = rng.standard_normal(output.shape)
    output.backward(torch.from_numpy(grad))
    matrix = conv2d_matrix(weight, (6, 9), stride, padding).toarray()
    assert_close(matrix @ x.ravel(), output.detach().numpy().ravel())
    assert_close(matrix.T @ grad.ravel(), t.grad.numpy().ravel())


@pytest.mark.covers("C14")
def test_blocks_and_their_diagonals_are_constant(rng):
    matrix = conv2d_matrix(rng.standard_normal((1, 1, 3, 4)), (7, 6)).toarray()  # 5 x 3 places
    blocks = matrix.reshape(5, 3, 7, 6).swapaxes(1, 2)  # (row of places, row of pixels, 3, 6)
    assert_close(blocks[:-1, :-1], blocks[1:, 1:])
    assert_close(blocks[:, :, :-1, :-1], blocks[:, :, 1:, 1:])
    assert np.count_nonzero(matrix) == 15 * 12


@pytest.mark.covers("C14")
def test_the_transpose_used_forwards_is_transposed_convolution(rng):
    y, weight = rng.standard_normal((1, 3, 4, 5)), rng.standard_normal((3, 2, 3, 3))
    matrix = conv2d_matrix(weight, (9, 11), stride=2)
    expected = F.conv_transpose2d(torch.from_numpy(y), torch.from_numpy(weight), stride=2)
    got = (matrix.T @ y.ravel()).reshape(1, 2, 9, 11)
    assert_close(got, expected.numpy())
    assert_close(conv_transpose2d(y, weight, stride=2), expected.numpy())


# --- C17: pooling by im2col, and back ---------------------------------------------------------


@pytest.mark.covers("C17")
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), ((1, 3), 1)])
def test_largest_and_mean_of_each_column_are_the_two_poolings(rng, kernel, stride):
    x = rng.standard_normal((2, 3, 7, 9))
    height, width = max_pool2d(x, kernel, stride).shape[2:]
    windows = im2col(x, kernel, stride).reshape(2, 3, -1, height, width)
    assert_close(windows.max(axis=2), max_pool2d(x, kernel, stride))
    assert_close(windows.mean(axis=2), avg_pool2d(x, kernel, stride))


@pytest.mark.covers("C17")
@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"stride": 2, "padding": 1}])
def test_the_gradient_goes_to_the_winner_or_in_equal_shares(rng, settings):
    x = rng.standard_normal((2, 2, 6, 7))
    backward = {"max": max_pool2d_backward, "avg": avg_pool2d_backward}
    for name, back in backward.items():
        t = torch.from_numpy(x).requires_grad_()
        output = getattr(F, f"{name}_pool2d")(t, 3, **settings)
        grad = rng.standard_normal(output.shape)
        output.backward(torch.from_numpy(grad))
        assert_close(back(grad, x, 3, **settings), t.grad.numpy())
    winners = max_pool2d_backward(np.ones((2, 2, 2, 2)), x, 3)
    assert_close(np.sort(x[winners > 0]), np.sort(max_pool2d(x, 3).ravel()))


# --- C16, E04, E19: pooling ------------------------------------------------------------------


@pytest.mark.covers("C16")
def test_pooling_halves_each_side_keeps_the_channels_and_has_no_weights(rng):
    x = rng.standard_normal((2, 5, 16, 22))
    for ours, layer in [(max_pool2d, torch.nn.MaxPool2d(2)), (avg_pool2d, torch.nn.AvgPool2d(2))]:
        assert_close(ours(x, 2), layer(torch.from_numpy(x)).numpy())
        assert ours(x, 2).shape == (2, 5, 8, 11)
        assert layer.stride == 2
        assert list(layer.parameters()) == []


@pytest.mark.covers("C16")
def test_alexnets_windows_overlap():
    x = np.zeros((1, 1, 1, 13))
    x[..., 6] = 1  # a shared pixel is seen by two windows
    assert_close(max_pool2d(x, (1, 3), (1, 2))[0, 0, 0], np.array([0.0, 0, 1, 1, 0, 0]))
    assert max_pool2d(x, (1, 2)).sum() == 1


@pytest.mark.covers("C16")
def test_global_pooling_fits_every_size(rng):
    for size in [(55, 55), (27, 13), (1, 7)]:
        x = rng.standard_normal((2, 3, *size))
        assert_close(adaptive_avg_pool2d(x, 1)[:, :, 0, 0], x.mean(axis=(2, 3)))


@pytest.mark.covers("C16")
@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_pooled_edges_of_digits_change_less_under_a_small_shift(pool):
    digits = load_digits().test_images[:300].astype(float)
    edges = np.abs(ndimage.sobel(digits, axis=3))
    moved = np.abs(ndimage.sobel(np.roll(digits, 1, axis=3), axis=3))

    def change(reduce):
        before, after = reduce(edges), reduce(moved)
        return np.linalg.norm(after - before) / np.linalg.norm(before)

    assert change(lambda x: pool(x, 4)) < 0.7 * change(lambda x: x[:, :, ::4, ::4])
    far = np.roll(edges, 4, axis=3)  # by a whole window: the map moves by one place
    assert_close(pool(far, 4), np.roll(pool(edges, 4), 1, axis=3))


@pytest.mark.covers("E04")
@pytest.mark.parametrize(("size", "kernel", "stride"), [(112, 3, 2), (7, 2, 2), (10, 5, 3)])
def test_padding_enters_the_size_and_never_wins(rng, size, kernel, stride):
    x = -1 - rng.random((1, 1, size, size))  # all negative
    expected = F.max_pool2d(torch.from_numpy(x), kernel, stride, padding=1).numpy()
    got = max_pool2d(x, kernel, stride, padding=1)
    assert_close(got, expected)
    assert got.shape[2] == (size + 2 - kernel) // stride + 1 > (size - kernel) // stride + 1
    assert np.isin(got, x).all()
    zeros = max_pool2d(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), kernel, stride)
    assert (zeros[0, 0, 0] == 0).all()  # zeros win in the whole first row


@pytest.mark.covers("E19")
def test_after_tanh_means_cancel_and_after_relu_they_dilute():
    wall = photo("gravel", 128, grey=True).astype(float)
    edges = ndimage.sobel(wall, axis=1)[None, None] / 100
    tanh, relu = np.tanh(edges), np.maximum(edges, 0)
    assert np.abs(avg_pool2d(tanh, 8)).mean() < 0.5 * np.abs(tanh).mean()
    assert np.isclose(avg_pool2d(relu, 8).mean(), relu.mean())
    assert avg_pool2d(relu, 8).max() < 0.5 * relu.max()
    assert max_pool2d(relu, 8).max() == relu.max()


# --- C27: down- and up-sampling --------------------------------------------------------------


@pytest.mark.covers("C27")
@pytest.mark.parametrize(("periods", "alias"), [(70, 30), (80, 20), (60, 40), (40, 40)])
def test_waves_shorter_than_two_steps_return_as_longer_ones(periods, alias):
    wave = np.cos(2 * np.pi * periods * np.arange(200) / 200)[None, None, None]
    thinned, blurred = wave[0, 0, 0, ::2], blur_pool2d(wave, stride=(1, 2))[0, 0, 0]
    assert np.abs(np.fft.rfft(thinned)).argmax() == alias
    factor = np.cos(np.pi * periods / 200) ** 2
    assert_close(blurred[1:-1], factor * thinned[1:-1])


@pytest.mark.covers("C27")
def test_a_blur_weakens_the_ghost_of_stripes_on_a_photograph():
    plain = photo("coffee", (64, 96), grey=True)[None, None] / 510
    stripes = 0.5 * (np.arange(96) % 5 < 2) - 0.2  # 2.5 pixels from edge to edge: too fine
    striped = plain + stripes

    def ghost(reduce):
        return (reduce(striped) - reduce(plain)).std() / stripes.std()

    thinned = ghost(lambda x: x[:, :, ::4, ::4])
    assert thinned > 0.9
    assert ghost(lambda x: blur_pool2d(x, 4, kernel_size=9)) < thinned / 2


@pytest.mark.covers("C27")
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_up_sampling_is_pytorchs_and_a_transposed_convolution(mode):
    x = photo("rocket", (20, 30), grey=True)[None, None] / 255
    expected = F.interpolate(torch.from_numpy(x), scale_factor=2, mode=mode).numpy()
    assert_close(interpolate(x, scale_factor=2, mode=mode), expected)
    line = {"nearest": [0.0, 1, 1, 0], "bilinear": [0.25, 0.75, 0.75, 0.25]}[mode]
    learned = conv_transpose2d(x, np.outer(line, line)[None, None], stride=2, padding=1)
    assert_close(learned[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


@pytest.mark.covers("C27")
def test_stride_aliases_in_a_convolution_too():
    wave = np.cos(np.pi * np.arange(40))[None, None, None]  # black, white, black, white
    constant = conv2d(wave, np.ones((1, 1, 1, 1)), stride=(1, 2))
    assert_close(constant, np.ones((1, 1, 1, 20)))
