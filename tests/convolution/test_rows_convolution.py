r"""What the page on convolution claims, row by row of the coverage list."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import signal
from skimage.feature import match_template
from torch.nn import functional

from coursepkg.convolution.fast import conv2d, conv2d_backward
from coursepkg.convolution.filters import FILTERS, box, gabor, gaussian
from coursepkg.convolution.reference import convolve2d, cross_correlate1d, cross_correlate2d
from coursepkg.data.photos import photo
from coursepkg.testing import assert_close

SMALL = st.integers(-9, 9)
KERNELS = arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=SMALL)
IMAGES = arrays(np.int64, st.tuples(st.integers(4, 7), st.integers(4, 7)), elements=SMALL)


@pytest.mark.covers("C01")
@given(
    arrays(np.int64, st.integers(4, 9), elements=SMALL),
    arrays(np.int64, st.integers(1, 4), elements=SMALL),
)
def test_in_one_dimension_scipy_and_torch_agree(x, w):
    output = cross_correlate1d(x, w)
    assert_close(output, signal.correlate(x, w, mode="valid", method="direct"))
    by_torch = functional.conv1d(torch.tensor(x)[None, None], torch.tensor(w)[None, None])
    assert_close(output, by_torch[0, 0].numpy())


@pytest.mark.covers("C01")
def test_in_one_dimension_the_steps_on_the_page_are_right():
    output = cross_correlate1d(np.array([2, 2, 2, 7, 7, 7, 4]), np.array([-1, 0, 1]))
    assert_close(output, np.array([0, 5, 5, 0, -3]))


@pytest.mark.covers("C02")
@given(IMAGES, KERNELS)
def test_in_two_dimensions_scipy_and_torch_agree(x, w):
    output = cross_correlate2d(x, w)
    assert_close(output, signal.correlate2d(x, w, mode="valid"))
    by_torch = functional.conv2d(torch.tensor(x)[None, None], torch.tensor(w)[None, None])
    assert_close(output, by_torch[0, 0].numpy())


@pytest.mark.covers("C02")
def test_in_two_dimensions_the_products_on_the_page_are_right():
    image = np.array([[2, 2, 7, 7], [2, 2, 7, 7], [2, 2, 2, 7], [2, 2, 2, 2]])
    output = cross_correlate2d(image, FILTERS["sobel_x"].astype(int))
    assert_close(output, np.array([[-8 + 7 + 14 + 2, -8 + 28], [-8 + 7 + 4 + 2, -8 + 7 + 14 + 2]]))


@pytest.mark.covers("C03")
@given(IMAGES, KERNELS)
def test_convolution_is_cross_correlation_with_the_turned_kernel(x, w):
    convolved = convolve2d(x, w)
    assert_close(convolved, cross_correlate2d(x, np.rot90(w, 2)))
    assert_close(convolved, signal.convolve2d(x, w, mode="valid"))
    turned = torch.tensor(w).flip(0, 1)[None, None]
    assert_close(convolved, functional.conv2d(torch.tensor(x)[None, None], turned)[0, 0].numpy())


@pytest.mark.covers("C03")
def test_one_bright_pixel_tells_convolution_from_cross_correlation():
    impulse, kernel = np.zeros((5, 5), int), np.arange(1, 10).reshape(3, 3)
    impulse[2, 2] = 1
    assert_close(convolve2d(impulse, kernel), kernel)
    assert_close(cross_correlate2d(impulse, kernel), kernel[::-1, ::-1])


@pytest.mark.covers("C04")
def test_the_curve_detector_answers_6600_to_its_curve_and_0_to_another_stroke():
    curve, other = np.zeros((7, 7)), np.zeros((7, 7))
    curve[0, 6], curve[1, 4:], curve[2, 3:5], curve[3:, 3:5] = 30, 50, (20, 50), 50
    other[:6, 1], other[6, 1:], other[0, 0] = 50, (20, 50, 50, 50, 50, 50), 20
    responses = [cross_correlate2d(x, FILTERS["curve"]).item() for x in (curve, other)]
    assert responses == [4 * 50 * 30 + 20 * 30, 0]
    assert cross_correlate2d(np.full((7, 7), 50.0), FILTERS["curve"]).item() > responses[0]


@pytest.mark.covers("C05")
def test_classic_filters_do_to_a_photograph_what_they_are_known_for():
    cat = photo("chelsea", size=(64, 64), grey=True) / 255
    roughness = [
        np.abs(np.diff(cross_correlate2d(cat, kernel))).mean()
        for kernel in (box(5), gaussian(5, 0.8), FILTERS["identity"], FILTERS["sharpen"])
    ]
    assert roughness == sorted(roughness)
    edges = cross_correlate2d(cat, FILTERS["sobel_x"])
    mirrored = cross_correlate2d(cat[:, ::-1], FILTERS["sobel_x"])
    assert_close(mirrored, -edges[:, ::-1])
    pavement = photo("brick", size=(64, 64), grey=True) / 255
    upright, level = (
        cross_correlate2d(pavement, wave - wave.mean()).std()
        for wave in (gabor(11, 6), gabor(11, 6, orientation=np.pi / 2))
    )
    assert upright > level  # the long joints run from top to bottom


@pytest.mark.covers("C05")
@pytest.mark.parametrize("name", ["sobel_x", "emboss", "laplacian"])
def test_a_kernel_is_recovered_from_a_photograph_and_its_response(name):
    x = photo("gravel", size=(64, 64), grey=True).astype(np.float64)
    x = ((x - x.mean()) / x.std())[None, None]
    wanted = FILTERS[name][None, None]
    target = conv2d(x, wanted)
    learned = np.zeros((1, 1, 3, 3))
    for _ in range(300):
        error = conv2d(x, learned) - target
        _, gradient, _ = conv2d_backward(2 * error / error.size, x, learned)
        learned = learned - gradient / 9
    assert_close(learned, wanted, name, rtol=1e-2)


@pytest.mark.covers("E01")
@given(KERNELS.filter(lambda w: w.shape[0] == w.shape[1]), st.data())
def test_one_output_is_the_sum_of_the_element_wise_product(w, data):
    window = data.draw(arrays(np.int64, w.shape, elements=SMALL))
    output = cross_correlate2d(window, w)
    assert output.shape == (1, 1)
    assert output.item() == np.sum(window * w) == window.ravel() @ w.ravel()
    assert (window @ w).shape == w.shape  # a matrix product is a matrix


@pytest.mark.covers("E01")
def test_the_matrix_product_is_something_else():
    window = np.array([[2, 2, 7], [2, 2, 7], [2, 2, 2]])
    kernel = FILTERS["sobel_x"].astype(int)
    assert cross_correlate2d(window, kernel).item() == 15
    assert (window @ kernel).sum() == 0


@pytest.mark.covers("E24")
@given(IMAGES, KERNELS)
def test_turning_the_input_turns_the_output_too(x, w):
    by_scipy = signal.convolve2d(x, w, mode="valid")
    assert_close(cross_correlate2d(np.ascontiguousarray(x[::-1, ::-1]), w), by_scipy[::-1, ::-1])


@pytest.mark.covers("E24")
def test_turning_the_input_is_not_turning_the_kernel():
    x, w = np.arange(12).reshape(3, 4), np.array([[0, 1], [2, 5]])
    assert not np.array_equal(cross_correlate2d(x[::-1, ::-1], w), convolve2d(x, w))


@pytest.mark.covers("E27")
def test_light_beats_the_pattern_unless_correlation_is_normalised():
    curve = FILTERS["curve"]
    image = np.zeros((7, 21))
    image[:, :7] = curve / 30
    image[:, 14:] = 2
    response = cross_correlate2d(image, curve)[0]
    assert response[14] > response[0]
    matched = match_template(image, curve)[0]  # normalised correlation
    assert matched.argmax() == 0
    assert matched[0] == pytest.approx(1)
    brighter = match_template(3 * image + 40, curve)[0]
    assert brighter[0] == pytest.approx(1)
    balanced = cross_correlate2d(image, curve - curve.mean())[0]
    assert abs(balanced[14]) < 1e-9 < balanced[0]
