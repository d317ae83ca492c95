"""Axes in another order: by hand, entry by entry, against PyTorch, there and back again."""

import re

import numpy as np
import pytest
import torch

from coursepkg.convolution import layout
from coursepkg.convolution.fast import conv2d
from coursepkg.testing import assert_close

IMAGES = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
TABLE = {  # einsum renames the axes by their letters
    "nhwc_to_nchw": "nhwc->nchw",
    "nchw_to_nhwc": "nchw->nhwc",
    "hwio_to_oihw": "hwio->oihw",
    "oihw_to_hwio": "oihw->hwio",
}
BACK = [
    ("nhwc_to_nchw", "nchw_to_nhwc"),
    ("nchw_to_nhwc", "nhwc_to_nchw"),
    ("hwio_to_oihw", "oihw_to_hwio"),
    ("oihw_to_hwio", "hwio_to_oihw"),
]


@pytest.mark.parametrize(("name", "axes"), list(TABLE.items()))
@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64", "float32", "float64"])
def test_axes_are_renamed(name, axes, dtype):
    array = IMAGES.astype(dtype)
    assert_close(getattr(layout, name)(array), np.einsum(axes, array))


@pytest.mark.parametrize(("there", "back"), BACK)
def test_back_again(there, back):
    assert_close(getattr(layout, back)(getattr(layout, there)(IMAGES)), IMAGES)


@pytest.mark.parametrize("name", TABLE)
def test_nothing_is_copied(name):
    assert np.shares_memory(getattr(layout, name)(IMAGES), IMAGES)


def test_an_empty_batch():
    assert layout.nhwc_to_nchw(np.zeros((0, 4, 5, 3))).shape == (0, 3, 4, 5)
    assert layout.nchw_to_nhwc(np.zeros((0, 3, 4, 5))).shape == (0, 4, 5, 3)


def test_it_is_no_reshape():
    turned = layout.nhwc_to_nchw(IMAGES)
    assert not np.array_equal(turned, IMAGES.reshape(turned.shape))


def test_a_convolution_with_channels_last_by_its_definition():
    """Loops over (N, H, W, C) and (kh, kw, C, O), as TensorFlow defines its `conv2d`."""
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((2, 3, 3, 4))
    expected = np.zeros((2, 4, 4, 4))
    for i, j in np.ndindex(4, 4):
        expected[:, i, j] = np.einsum("nabc,abco->no", x[:, i : i + 2, j : j + 3], w)
    output = conv2d(layout.nhwc_to_nchw(x), layout.hwio_to_oihw(w))
    assert_close(layout.nchw_to_nhwc(output), expected)


def test_weights_have_the_shape_of_pytorchs():
    module = torch.nn.Conv2d(3, 6, (5, 7))
    assert layout.hwio_to_oihw(np.zeros((5, 7, 3, 6))).shape == tuple(module.weight.shape)


@pytest.mark.parametrize(
    ("name", "argument", "axes"),
    [
        ("nhwc_to_nchw", "input", "(N, H, W, C)"),
        ("nchw_to_nhwc", "input", "(N, C, H, W)"),
        ("hwio_to_oihw", "weight", "(kh, kw, C_in/groups, C_out)"),
        ("oihw_to_hwio", "weight", "(C_out, C_in/groups, kh, kw)"),
    ],
)
def test_bad_input_is_refused(name, argument, axes):
    message = f"{argument} has shape (3, 4, 5); pass an array with the axes {axes}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(layout, name)(IMAGES[0])
    message = f"{argument} is a list; pass a NumPy array (np.asarray)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(layout, name)([[[[1]]]])
