"""Channel statistics against scikit-learn's scaler, and what standardising must lead to."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from coursepkg.convolution.inputs import channel_statistics, standardize
from coursepkg.testing import assert_close


def images(dtype="float64", seed=0, n=4):
    rng = np.random.default_rng(seed)
    scale, shift = np.array([1, 20, 0.1]), np.array([-5, 100, 0])
    values = scale[:, None, None] * rng.normal(size=(n, 3, 5, 7)) + shift[:, None, None]
    return values.astype(dtype)


def by_scaler(train, x):
    scaler = StandardScaler().fit(np.moveaxis(train, 1, 3).reshape(-1, 3))
    flat = scaler.transform(np.moveaxis(x, 1, 3).reshape(-1, 3))
    return np.moveaxis(flat.reshape(len(x), 5, 7, 3), 3, 1), scaler


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_new_images_are_standardised_with_the_old_statistics(dtype):
    train, x = images(dtype), images(dtype, seed=1, n=2)
    expected, scaler = by_scaler(train.astype(np.float64), x.astype(np.float64))
    mean, std = channel_statistics(train)
    assert_close((mean, std), (scaler.mean_.astype(dtype), scaler.scale_.astype(dtype)))
    assert_close(standardize(x, mean, std), expected.astype(dtype))


def test_standardised_images_have_mean_0_and_deviation_1():
    x = images()
    again = channel_statistics(standardize(x, *channel_statistics(x)))
    assert_close(again, (np.zeros(3), np.ones(3)), atol=1e-12)


def test_a_million_float32_pixels_do_not_drown_in_rounding():
    x = np.full((1, 1, 1000, 1000), 0.1, np.float32)
    mean, std = channel_statistics(x)
    assert_close(mean, x[0, :, 0, 0], rtol=0, atol=0)
    assert std < 1e-7


def test_images_are_left_alone_and_an_empty_batch_passes():
    x = images()
    standardize(x, *channel_statistics(x))
    assert_close(x, images())
    assert standardize(x[:0], *channel_statistics(x)).shape == (0, 3, 5, 7)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((1, 1, 2, 2), np.uint8), "images has dtype uint8; convert it"),
        (np.ones((1, 2, 2)), r"images has shape \(1, 2, 2\); pass the axes \(N, C, H, W\)"),
        ([[1.0]], "images is a list"),
    ],
)
def test_what_is_no_batch_of_images(array, message):
    with pytest.raises(ValueError, match=message):
        channel_statistics(array)
    with pytest.raises(ValueError, match=message):
        standardize(array, np.ones(1), np.ones(1))


def test_nothing_to_average():
    with pytest.raises(ValueError, match="a mean needs at least one pixel"):
        channel_statistics(images()[:0])


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros(2), np.ones(3), r"mean has shape \(2,\) where \(3,\) is needed; pass one number"),
        (np.zeros(3), np.ones(1), r"std has shape \(1,\)"),
        (np.zeros(3, np.float32), np.ones(3), "mean is float32 where float64"),
        (np.zeros(3), np.array([1.0, 0.0, 1.0]), "std=.* must be positive; a channel without"),
        (np.zeros(3), np.array([1.0, np.nan, 1.0]), "must be positive"),
    ],
)
def test_statistics_that_do_not_fit(mean, std, message):
    with pytest.raises(ValueError, match=message):
        standardize(images(), mean, std)
