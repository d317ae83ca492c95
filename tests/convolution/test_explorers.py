"""What Python hands to the figures of the topic. Their behaviour: tests/site."""

import json
import re
from html import unescape
from importlib.resources import files

import numpy as np
import pytest
import skimage.data
import torch

from coursepkg.convolution import arithmetic
from coursepkg.convolution.arithmetic import Window
from coursepkg.convolution.explorers import CAT_EYE, conv_layer, convolution2d, receptive_field
from coursepkg.convolution.filters import FILTERS

EXPLORERS = [convolution2d, conv_layer, receptive_field]


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


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_it_is_small_and_asks_for_nothing_outside(explorer):
    names = ["explorer", f"convolution/{explorer.__name__}"]
    assets = [f"{name}.{kind}" for name in names for kind in ("js", "css")]
    text = "".join((files("coursepkg") / asset).read_text("utf-8") for asset in assets)
    assert len(text.encode()) < 28 * 1024
    html = explorer()._repr_html_()
    assert len(html.encode()) < 40 * 1024
    addresses = set(re.findall(r"\w+://[^\s\"'`]*", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "file://."}  # a namespace and a comment
    assert not re.search(r'\bid="|type="module"|\bfetch\(|\bimport\b', html)


def test_notebooks_see_a_line_of_text_too():
    assert repr(convolution2d(padding=1)) == (
        "<Step through a 2-D convolution: input 3 × 7 × 7, kernel 3 × 3, output 7 × 7>"
    )
    assert repr(conv_layer(in_channels=2, padding=1)) == (
        "<Settings of a layer: nn.Conv2d, input 2 × 7 × 7, output 4 × 7 × 7>"
    )
    assert repr(receptive_field("three 3 × 3")) == (
        "<Receptive fields of a stack: 3 layers on 16 pixels, size 7, jump 1, start 0>"
    )


# ---- settings of a layer


def stacked(tables, name):
    """Put the maps of one kind into one array: (C, H, W)."""
    return np.array([rows for caption, rows in tables.items() if caption.startswith(name)])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(1, 1, 0, 1), (3, 2, 1, 1), (4, 1, 3, 2)]
)
def test_without_scripts_the_tables_show_conv2d(kernel, stride, padding, dilation, mode, groups):
    arguments = (kernel, stride, padding, dilation, groups)
    layer = torch.nn.Conv2d(2, 4, *arguments, padding_mode=mode, dtype=torch.float64)
    figure = conv_layer(
        in_channels=2,
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
    )
    tables = static_tables(figure)
    assert stacked(tables, "Input").tolist() == CAT_EYE[:2]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(stacked(tables, "Filter")).view(layer.weight.shape))
        layer.bias.copy_(torch.tensor(tables["Bias of each filter"][0]))
        expected = layer(torch.tensor(CAT_EYE, dtype=torch.float64)[None, :2])[0]
    assert np.array_equal(stacked(tables, "Output"), expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("arguments", [(2, None, 0, 1), (3, 2, 1, 1), (2, 4, 1, 3)])
def test_without_scripts_the_tables_show_max_pool2d(arguments, ceil_mode):
    names = ("kernel_size", "stride", "padding", "dilation")
    settings = dict(zip(names, arguments, strict=True), ceil_mode=ceil_mode)
    tables = static_tables(conv_layer("MaxPool2d", **settings))
    expected = torch.nn.MaxPool2d(**settings)(torch.tensor(CAT_EYE, dtype=torch.float64))
    assert np.array_equal(stacked(tables, "Output"), expected)


def test_the_filters_differ_at_every_size_and_use_every_map():
    for size in range(1, 6):
        filters = stacked(static_tables(conv_layer(kernel_size=size)), "Filter")
        assert filters.shape == (12, size, size)
        filters = filters.reshape(4, 3, -1)
        assert len(np.unique(filters.reshape(4, -1), axis=0)) == 4
        assert filters.any(axis=(0, 2)).all()
        assert filters.any(axis=(1, 2)).all()


def test_without_a_bias_no_bias_is_added():
    with_bias, without = (
        static_tables(conv_layer(kernel_size=1, bias=bias)) for bias in (True, False)
    )
    difference = stacked(with_bias, "Output") - stacked(without, "Output")
    assert np.ptp(difference, axis=(1, 2)).tolist() == [0] * 4
    assert len({*difference[:, 0, 0].tolist()}) == 4


def test_a_layer_starts_with_pytorchs_defaults_and_keeps_nothing_from_call_to_call():
    before = settings(conv_layer())
    conv_layer(stride=2, groups=3, out_channels=3)
    conv_layer("MaxPool2d", stride=1, ceil_mode=True)
    assert settings(conv_layer()) == before
    for name in ("Conv2d", "MaxPool2d"):
        arguments = {"in_channels": 3, "out_channels": 4} if name == "Conv2d" else {}
        ours = before["settings"][name]
        default = getattr(torch.nn, name)(**arguments, kernel_size=ours["kernel_size"])
        explicit = getattr(torch.nn, name)(**ours)
        assert repr(explicit) == repr(default)


def test_maps_of_ones_own():
    maps = np.arange(2 * 4 * 5).reshape(2, 4, 5)
    got = settings(conv_layer(input=maps, kernel_size=np.int64(2)))
    assert got["input"] == maps.tolist()
    assert got["choices"]["Conv2d"]["in_channels"] == [1, 2]
    assert got["settings"]["Conv2d"]["in_channels"] == 2
    assert got["settings"]["Conv2d"]["kernel_size"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "Conv3d"}, "layer='Conv3d' cannot be chosen; use one of 'Conv2d', 'MaxPool2d'"),
        ({"input": np.zeros((13, 5))}, "input is 13 x 5; crop or shrink it"),
        ({"groups": 5}, "groups=5 cannot be chosen; use one of 1, 2, 3, 4"),
        ({"in_channels": 4}, "in_channels=4 cannot be chosen; use one of 1, 2, 3"),
        ({"stride": 0}, "stride=0 cannot be chosen"),
        ({"stride": True}, "stride=True cannot be chosen"),
        ({"stride": None}, "stride=None cannot be chosen"),
        ({"stride": 1.0}, "stride=1.0 cannot be chosen"),
        ({"bias": 1}, "bias=1 cannot be chosen; use one of True, False"),
        ({"kernel_size": (3, 3)}, r"kernel_size=\(3, 3\) cannot be chosen"),
        ({"kernel_size": np.arange(3)}, "kernel_size=.* cannot be chosen"),
        ({"padding_mode": "mirror"}, "padding_mode='mirror' cannot be chosen; use one of 'zeros',"),
        ({"ceil_mode": True}, "Conv2d has no ceil_mode=True; set in_channels, out_channels"),
        ({"layer": "MaxPool2d", "groups": 2}, "MaxPool2d has no groups=2; set kernel_size, stride"),
        ({"groups": 2}, "groups=2 does not divide in_channels=3; use a divisor of 3"),
        ({"groups": 3}, "groups=3 does not divide out_channels=4; use a divisor of 4"),
        ({"kernel_size": 5, "dilation": 2}, "spans 9 but the padded input has 7; add padding"),
        (
            {"input": np.zeros((2, 5)), "padding": 2, "padding_mode": "reflect"},
            "padding=2 is too much for mode='reflect' on an axis of 2; use at most 1",
        ),
        ({"layer": "MaxPool2d", "padding": 2}, "padding=2 exceeds half of kernel=2"),
    ],
)
def test_bad_settings_of_a_layer_are_named_with_value_and_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv_layer(**arguments)


# ---- receptive fields


def named_stacks():
    """Every stack that the figure offers, as (name, size, windows)."""
    for name, stack in settings(receptive_field())["stacks"].items():
        layers = [(layer.pop("kind"), Window(**layer)) for layer in stack["layers"]]
        yield name, stack["size"], layers


def test_the_static_table_shows_the_receptive_fields_of_every_stack():
    for name, size, layers in named_stacks():
        figure = receptive_field(name)
        body = figure.fallback.split("<tbody>")[1]
        rows = [re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>")[:-1]]
        assert rows[0] == ["input", "", "", "", "", str(size), "1", "1", "0"]
        x = torch.zeros(1, 1, size)
        for i, ((kind, w), row) in enumerate(zip(layers, rows[1:], strict=True), start=1):
            pool = torch.nn.MaxPool1d(w.kernel, w.stride, w.padding, w.dilation)
            conv = torch.nn.Conv1d(1, 1, w.kernel, w.stride, w.padding, w.dilation)
            x = {"conv": conv, "pool": pool}[kind](x)
            field = arithmetic.receptive_field([w for _, w in layers[:i]])
            numbers = [w.kernel, w.stride, w.padding, w.dilation, x.shape[-1], *field]
            assert row == [f"{kind} {i}", *(str(n).replace("-", "−") for n in numbers)]


def test_the_named_stacks_are_what_they_say():
    fields = {
        name: arithmetic.receptive_field([w for _, w in layers])
        for name, _, layers in named_stacks()
    }
    assert fields["AlexNet to pool5"][:2] == (195, 32)  # published for AlexNet's pool5
    assert fields["one conv and one pool"].size == 2 + 5 - 1
    assert fields["three 3 × 3"] == fields["one 7 × 7"] == (7, 1, 0)
    assert fields["dilations 1, 2, 4"].size == 1 + 2 * (1 + 2 + 4)
    assert fields["dilations 2, 2, 2"].size == 1 + 2 * 6


def test_a_stack_of_ones_own():
    stack = [("pool", Window(3, 2, padding=1)), ("conv", Window(5, dilation=2))]
    got = settings(receptive_field(stack, size=np.int64(40)))
    assert got["size"] == 40
    assert got["layers"] == [
        {"kind": "pool", "kernel": 3, "stride": 2, "padding": 1, "dilation": 1},
        {"kind": "conv", "kernel": 5, "stride": 1, "padding": 0, "dilation": 2},
    ]
    assert settings(receptive_field(stack))["size"] == 32
    assert settings(receptive_field("AlexNet to pool5", size=200))["size"] == 200
    assert "0 layers on 32 pixels, size 1, jump 1, start 0" in repr(receptive_field([]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "VGG"}, "layers='VGG' is unknown; use one of small CNN, one conv and one pool"),
        ({"layers": [("conv", Window(1))] * 11}, "layers=11 is too large to draw; use at most 10"),
        ({"layers": [("dense", Window(1))]}, "layer='dense' cannot be chosen; use one of 'conv'"),
        ({"layers": [Window(3)]}, r"layer 1 is Window\(.*; pass a pair such as"),
        ({"layers": ["conv"]}, "layer 1 is 'conv'; pass a pair"),
        ({"layers": [("conv", 3)]}, r"layer 1 is \('conv', 3\); pass a pair"),
        ({"layers": 3}, "layers=3 is no sequence; pass a name or a list"),
        ({"layers": [("conv", Window(12))]}, "kernel=12 is too large to draw; use at most 11"),
        ({"layers": [("conv", Window(1, 5))]}, "stride=5 is too large to draw; use at most 4"),
        ({"layers": [("conv", Window(1, 1, 6))]}, "padding=6 is too large to draw"),
        ({"layers": [("conv", Window(1, 1, 0, 9))]}, "dilation=9 is too large to draw"),
        ({"size": 0}, "size=0 is too small"),
        ({"size": 257}, "size=257 is too large to draw; use at most 256"),
        ({"size": 2.5}, "size=2.5 is not an integer"),
        ({"layers": "three 3 × 3", "size": 6}, "layer 3: kernel=3 .* but the padded input has 2"),
        ({"layers": [("pool", Window(2, 2, 2))]}, "layer 1: padding=2 exceeds half of kernel=2"),
    ],
)
def test_bad_stacks_are_named_with_value_and_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        receptive_field(**arguments)
