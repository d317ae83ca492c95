"""Photographs: every one is on the machine, described, and resampled without aliasing."""

import re
import subprocess
import sys

import numpy as np
import pytest

from coursepkg.data.photos import PHOTOS, photo, photo_names


@pytest.mark.parametrize("name", photo_names())
def test_every_photograph_ships_in_an_installed_package(name):
    assert PHOTOS[name].path.is_file()
    picture = photo(name)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.std() > 5
    assert picture.flags.writeable


@pytest.mark.parametrize("name", photo_names())
def test_every_photograph_is_described(name):
    entry = PHOTOS[name]
    assert entry.caption
    assert entry.credit
    assert entry.licence
    assert entry.alt.endswith(".")
    assert "\n" not in entry.alt
    assert 20 < len(entry.alt) < 120


def test_names_are_sorted_and_complete():
    assert list(photo_names()) == sorted(PHOTOS)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "retina"])
def test_colour_agrees_with_scikit_image(name):
    from skimage import data

    np.testing.assert_array_equal(photo(name), getattr(data, name)())


@pytest.mark.parametrize("name", ["brick", "camera", "coins", "grass", "gravel"])
def test_grey_agrees_with_scikit_image(name):
    from skimage import data

    np.testing.assert_array_equal(photo(name, grey=True), getattr(data, name)())


@pytest.mark.parametrize("name", ["china", "flower"])
def test_agrees_with_scikit_learn(name):
    from sklearn.datasets import load_sample_image

    np.testing.assert_array_equal(photo(name), load_sample_image(f"{name}.jpg"))


def test_grey_is_the_luma():
    red, green, blue = np.moveaxis(photo("coffee").astype(float), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(photo("coffee", grey=True) - luma).max() <= 1


def test_transparent_parts_are_white():
    assert (photo("horse")[0, 0] == 255).all()
    assert photo("horse").min() == 0


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (64, (64, 96, 3)),
        ((40, 50), (40, 50, 3)),
        (300, (300, 451, 3)),
        ((1, 1), (1, 1, 3)),
        (np.int64(64), (64, 96, 3)),
        ([40, 50], (40, 50, 3)),
    ],
)
def test_size(size, shape):
    assert photo("chelsea", size).shape == shape


def test_shrinking_averages():
    """A picture of every 16th pixel would keep the noise of the gravel; an average does not."""
    gravel = photo("gravel", grey=True).astype(float)
    small = photo("gravel", 32, grey=True).astype(float)
    blocks = gravel.reshape(32, 16, 32, 16).mean(axis=(1, 3))
    assert np.abs(small - blocks).mean() < 5
    assert small.std() < gravel[::16, ::16].std() / 2


@pytest.mark.parametrize("size", [0, -3, (0, 4), (5, -1)])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match=r"size=.*at least 1"):
        photo("brick", size)


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        (20.0, "20.0 is not an integer"),
        (True, "True is not an integer"),
        ("20", "'20' is not an integer"),
        ((20.5, 3), "20.5 is not an integer"),
        ((20,), "(20,) has 1 entries; use an integer or (height, width)"),
    ],
)
def test_a_size_that_is_none_is_refused(size, complaint):
    with pytest.raises(ValueError, match=f"^{re.escape('size=' + complaint)}"):
        photo("brick", size)


def test_an_unknown_name_is_refused_with_all_names():
    with pytest.raises(ValueError, match="'lena'") as error:
        photo("lena")
    assert all(name in str(error.value) for name in photo_names())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("coursepkg.data.photos.find_spec", lambda package: None)
    with pytest.raises(ModuleNotFoundError, match="skimage"):
        photo("coins")


def test_no_network_and_no_heavy_import():
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket = socket.create_connection = refuse\n"
        "from coursepkg.data.photos import photo, photo_names\n"
        "for name in photo_names(): photo(name, 8)\n"
        "heavy = {'torch', 'skimage', 'sklearn', 'pooch', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
