r"""The classic filters do what their names say, held against scipy and scikit-image."""

import numpy as np
import pytest
from scipy import ndimage, signal
from skimage.filters import gabor_kernel

from coursepkg.convolution.filters import FILTERS, box, gabor, gaussian
from coursepkg.convolution.reference import cross_correlate2d
from coursepkg.testing import assert_close

RAMP = np.add.outer(np.zeros(9), np.arange(9.0))  # gets brighter to the right by 1 per pixel


def test_the_fixed_filters_cannot_be_changed():
    for name, kernel in FILTERS.items():
        assert kernel.dtype == np.float64, name
        with pytest.raises(ValueError, match="read-only"):
            kernel[0, 0] = 1.0
    with pytest.raises(TypeError):
        FILTERS["identity"] = np.zeros((3, 3))


@pytest.mark.parametrize(
    ("name", "total"),
    [("identity", 1), ("sharpen", 1), ("emboss", 1), ("laplacian", 0)]
    + [(f"{family}_{axis}", 0) for family in ("sobel", "prewitt") for axis in "xy"],
)
def test_a_uniform_image_keeps_its_brightness_or_vanishes(name, total):
    uniform = np.full((5, 5), 7.0)
    assert_close(cross_correlate2d(uniform, FILTERS[name]), np.full((3, 3), 7.0 * total), name)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("sobel_x", lambda image: ndimage.sobel(image, axis=1)),
        ("sobel_y", lambda image: ndimage.sobel(image, axis=0)),
        ("prewitt_x", lambda image: ndimage.prewitt(image, axis=1)),
        ("prewitt_y", lambda image: ndimage.prewitt(image, axis=0)),
        ("laplacian", ndimage.laplace),
        ("identity", lambda image: image),
        ("sharpen", lambda image: image - ndimage.laplace(image)),
    ],
)
def test_fixed_filters_agree_with_scipy(name, oracle):
    image = np.random.default_rng(0).normal(size=(9, 11))
    got = cross_correlate2d(image, FILTERS[name])
    assert_close(got, oracle(image)[1:-1, 1:-1], name)


def test_edges_have_a_sign():
    assert (cross_correlate2d(RAMP, FILTERS["sobel_x"]) == 8).all()
    assert (cross_correlate2d(RAMP.T, FILTERS["sobel_y"]) == 8).all()
    assert (cross_correlate2d(RAMP, FILTERS["sobel_y"]) == 0).all()


def test_emboss_is_lit_along_the_diagonal():
    emboss = FILTERS["emboss"]
    relief = emboss - FILTERS["identity"]
    assert (relief == -relief[::-1, ::-1]).all()  # odd: opposite neighbours, opposite weights
    assert (emboss == emboss.T).all()  # both axes alike
    assert (cross_correlate2d(RAMP, emboss) == RAMP[1:-1, 1:-1] + 6).all()  # brighter on slopes


def test_box_averages():
    image = np.random.default_rng(1).normal(size=(6, 6))
    assert_close(cross_correlate2d(image, box(5))[0, 0], image[:5, :5].mean(), rtol=1e-14)


@pytest.mark.parametrize(("size", "sigma"), [(3, 0.8), (5, 1.0), (9, 2.5)])
def test_gaussian_agrees_with_scipy(size, sigma):
    bell = signal.windows.gaussian(size, sigma)
    assert_close(gaussian(size, sigma), np.outer(bell, bell) / bell.sum() ** 2, "gaussian")


@pytest.mark.parametrize("orientation", [0.0, 0.4, np.pi / 2, 2.5])
@pytest.mark.parametrize(("aspect", "phase"), [(1.0, 0.0), (0.5, np.pi / 2), (2.0, 0.3)])
def test_gabor_agrees_with_skimage(orientation, aspect, phase):
    wavelength, sigma, size = 6.0, 2.5, 13
    oracle = gabor_kernel(
        1 / wavelength, orientation, sigma_x=sigma, sigma_y=sigma / aspect, n_stds=8, offset=phase
    )
    oracle = oracle.real * (2 * np.pi * sigma * sigma / aspect)  # undo its normalisation
    top, left = (np.array(oracle.shape) - size) // 2
    got = gabor(size, wavelength, orientation, sigma, aspect, phase)
    assert_close(got, oracle[top : top + size, left : left + size], "gabor")


def test_gabor_answers_to_its_own_stripes():
    x = np.arange(40.0)
    stripes = np.add.outer(np.zeros(40), np.cos(2 * np.pi * x / 8))  # vertical, 8 pixels apart
    answers = {
        (wavelength, orientation): np.abs(
            cross_correlate2d(stripes, gabor(21, wavelength, orientation, sigma=4))
        ).max()
        for wavelength in (5, 8, 12)
        for orientation in (0.0, np.pi / 4, np.pi / 2)
    }
    assert max(answers, key=answers.get) == (8, 0.0)


def test_gabor_has_a_width_of_half_a_wavelength_unless_told():
    assert_close(gabor(9, 6.0), gabor(9, 6.0, sigma=3.0), "gabor")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box(0), "size=0 is too small; use an integer of at least 1"),
        (lambda: gaussian(4, 1.0), "size=4 is even and has no centre; use 3 or 5"),
        (lambda: gaussian(5, 0.0), r"sigma=0.0 is not a positive number; use one"),
        (lambda: gaussian(5, float("nan")), "sigma=nan is not a positive number; use one"),
        (lambda: gabor(2.5, 4), "size=2.5 is not an integer; use an integer"),
        (lambda: gabor(5, -4), "wavelength=-4 is not a positive number; use one"),
        (lambda: gabor(5, 4, sigma=0), "sigma=0 is not a positive number; use one"),
        (lambda: gabor(5, 4, aspect=0), "aspect=0 is not a positive number; use one"),
    ],
)
def test_errors_name_argument_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
