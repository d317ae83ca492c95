"""What Python hands to the figures of the topic. Their behaviour: tests/site."""

import json
import re
from html import unescape
from importlib.resources import files

import numpy as np
import pytest
import skimage.data
import torch

from coursepkg.convolution.explorers import CAT_EYE, convolution2d
from coursepkg.convolution.filters import FILTERS

ASSETS = ["explorer.js", "explorer.css", "convolution/convolution2d.js"]
ASSETS += ["convolution/convolution2d.css"]


def settings(figure):
    return json.loads(unescape(re.search(r'data-settings="(.*?)"', figure._repr_html_())[1]))


def static_tables(figure):
    """Read the tables of the fallback, by caption."""
    found = re.findall(r"<table><caption>(.*?)</caption>(.*?)</table>", figure.fallback)
    return {
        caption: [
            [float(cell.replace("−", "-")) for cell in re.findall(r"<td>(.*?)</td>", row)]
            for row in body.split("</tr>")[:-1]
        ]
        for caption, body in found
    }


def test_the_default_input_is_what_its_comment_says():
    patch = skimage.data.chelsea()[84:147, 138:201].astype(float)
    means = patch.reshape(7, 9, 7, 9, 3).mean(axis=(1, 3))  # (7, 7, 3)
    levels = np.rint(9 * (means - means.min()) / np.ptp(means))
    assert levels.transpose(2, 0, 1).astype(int).tolist() == CAT_EYE


def test_python_passes_arguments_and_no_results():
    image, kernel = np.arange(30).reshape(5, 6), np.array([[1, -2], [0.5, 0]])
    got = settings(convolution2d(image, kernel, bias=-1.5, stride=2, padding=1, dilation=3))
    assert got.pop("input") == [image.tolist()]
    assert got.pop("kernel") == [kernel.tolist()]
    assert (got.pop("bias"), got.pop("stride"), got.pop("padding"), got.pop("dilation")) == (
        -1.5,
        2,
        1,
        3,
    )
    assert set(got) == {"kernels", "limits"}


def test_the_kernels_offered_are_those_of_the_filters_module():
    offered = settings(convolution2d())["kernels"]
    wanted = "identity box sharpen emboss sobel_x sobel_y laplacian"
    assert set(wanted.split()) <= set(offered)
    for name, (first, *_) in offered.items():
        expected = np.full((3, 3), 1 / 9) if name == "box" else FILTERS[name]
        assert np.array_equal(first, expected)
    assert [len(kernel) for kernel in offered["box"]] == [3, 2, 4, 5]


def test_one_matrix_serves_all_channels():
    assert settings(convolution2d(kernel="emboss"))["kernel"] == [FILTERS["emboss"].tolist()] * 3
    assert settings(convolution2d(kernel=[[2]]))["kernel"] == [[[2]]] * 3


@pytest.mark.parametrize("kernel", ["sobel_y", "box", np.arange(12).reshape(3, 2, 2) - 5])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 2, 2)])
def test_without_scripts_the_tables_show_the_convolution(kernel, stride, padding, dilation):
    figure = convolution2d(None, kernel, 2, stride, padding, dilation)
    weight = torch.tensor(settings(figure)["kernel"], dtype=torch.float64)
    image = torch.tensor(CAT_EYE, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(
        image[None],
        weight[None],
        torch.tensor([2.0], dtype=torch.float64),
        stride,
        padding,
        dilation,
    )[0, 0]
    tables = static_tables(figure)
    assert len(tables) == 7
    assert tables["Input, channel 2"] == CAT_EYE[1]
    caption = f"Output with stride {stride}, padding {padding}, dilation {dilation}, bias 2"
    assert np.array(tables[caption]).shape == expected.shape
    assert np.abs(np.array(tables[caption]) - expected.numpy()).max() < 0.00501


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": [1, 2, 3]}, r"input has shape \(3,\); reshape it to \(H, W\) or \(C, H, W\)"),
        ({"input": np.zeros((1, 1, 5, 5))}, r"input has shape \(1, 1, 5, 5\); reshape"),
        ({"input": np.zeros((13, 5))}, "input is 13 x 5; crop or shrink it"),
        ({"input": np.zeros((5, 13))}, "input is 5 x 13; crop or shrink it"),
        ({"input": np.zeros((0, 5))}, "input is 0 x 5; crop or shrink it"),
        ({"input": np.zeros((5, 6, 6))}, "input has 5 channels; use 1 to 4"),
        ({"input": np.zeros((0, 6, 6))}, "input has 0 channels; use 1 to 4"),
        ({"input": [[1, 2], [3]]}, "input is ragged; give its rows equal lengths"),
        ({"input": [["a", "b"]]}, "input has dtype <U1; pass integers or floats"),
        ({"input": [[True]]}, "input has dtype bool; pass"),
        ({"input": [[1j]]}, "input has dtype complex128; pass"),
        ({"input": [[0, np.nan]]}, "input contains nan; replace or scale"),
        ({"input": [[-np.inf]]}, "input contains -inf; replace or scale"),
        ({"input": [[10_000]]}, "input contains 10000; replace or scale"),
        ({"kernel": "sobel"}, "kernel='sobel' is unknown; use one of box, identity"),
        ({"kernel": "curve"}, "kernel='curve' is unknown"),
        ({"kernel": np.zeros((6, 3))}, "kernel is 6 x 3; crop or shrink it"),
        ({"kernel": np.zeros((2, 3, 3))}, "kernel has 2 channels but input has 3; pass one matrix"),
        ({"kernel": 3}, r"kernel has shape \(\); reshape it"),
        ({"kernel": [[np.inf]]}, "kernel contains inf"),
        ({"bias": [1, 2, 3]}, r"bias has shape \(3,\); reshape it to a number"),
        ({"bias": np.nan}, "bias contains nan"),
        ({"stride": 0}, "stride=0 is too small; use an integer of at least 1"),
        ({"stride": 5}, "stride=5 is too large to draw; use at most 4"),
        ({"stride": 1.5}, "stride=1.5 is not an integer"),
        ({"padding": -1}, "padding=-1 is too small"),
        ({"padding": 4}, "padding=4 is too large to draw; use at most 3"),
        ({"dilation": 0}, "dilation=0 is too small"),
        ({"dilation": 4}, "dilation=4 is too large to draw; use at most 3"),
        (
            {"input": np.zeros((2, 2))},
            "kernel=3 .* spans 3 but the padded input has 2; add padding",
        ),
    ],
)
def test_bad_arguments_are_named_with_value_and_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        convolution2d(**arguments)


def test_it_is_small_and_asks_for_nothing_outside():
    text = "".join((files("coursepkg") / asset).read_text("utf-8") for asset in ASSETS)
    assert len(text.encode()) < 25 * 1024
    html = convolution2d()._repr_html_()
    addresses = set(re.findall(r"\w+://[^\s\"'`]*", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "file://."}  # a namespace and a comment
    assert not re.search(r'\bid="|type="module"|\bfetch\(|\bimport\b', html)


def test_notebooks_see_a_line_of_text_too():
    assert repr(convolution2d(padding=1)) == (
        "<Step through a 2-D convolution: input 3 × 7 × 7, kernel 3 × 3, output 7 × 7>"
    )
