r"""The claims of book/convolution/layers.md, on arrays that its cells do not use."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from coursepkg.convolution import layout
from coursepkg.convolution.arithmetic import (
    conv2d_cost,
    conv2d_parameters,
    output_size,
    pool_output_size,
    same_padding,
    span,
    transposed_output_size,
)
from coursepkg.convolution.explorers import conv_layer, convolution2d
from coursepkg.convolution.fast import conv2d, conv2d_backward
from coursepkg.convolution.padding import pad
from coursepkg.data.digits import load_digits
from coursepkg.testing import assert_close

MODES = {"zeros": "constant"} | {mode: mode for mode in ("reflect", "replicate", "circular")}


@pytest.fixture
def rng():
    return np.random.default_rng(23)


# --- channels and filters ---------------------------------------------------------------


@pytest.mark.covers("C06")
@pytest.mark.parametrize(("filters", "shape"), [(1, (1, 4, 4)), (2, (2, 4, 4))])
def test_one_filter_sums_over_all_channels_and_makes_one_map(rng, filters, shape):
    x, w = rng.standard_normal((3, 6, 6)), rng.standard_normal((filters, 3, 3, 3))
    b = rng.standard_normal(filters)
    output = conv2d(x[None], w, b)[0]
    assert output.shape == shape
    for one, kernels, bias in zip(output, w, b, strict=True):
        sums = [signal.correlate2d(x[c], kernels[c], mode="valid") for c in range(3)]
        assert_close(one, sum(sums) + bias)


@pytest.mark.covers("C06")
def test_the_worked_example_with_stride_2_and_padding():
    x = np.array(
        [
            [[1, 0, 2], [2, 1, 0], [0, 1, 1]],
            [[0, 2, 1], [1, 0, 2], [2, 1, 0]],
            [[2, 1, 1], [0, 2, 0], [1, 0, 2]],
        ]
    )
    w = np.array(
        [
            [[0, 1, 0], [1, 2, 1], [0, 1, 0]],
            [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
            [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
        ]
    )
    output = conv2d(x[None], w[None], np.array([1]), stride=2, padding=1)
    assert_close(output, np.array([[[[5, 10], [3, 6]]]]))
    # upper right, by hand: 0·1 + 2·2, then 2·2, then 1·1, then the bias
    assert output[0, 0, 0, 1] == 4 + 4 + 1 + 1
    by_torch = F.conv2d(torch.tensor(x)[None], torch.tensor(w)[None], torch.tensor([1]), 2, 1)
    assert_close(output, by_torch.numpy())
    assert "output 2 × 2" in repr(convolution2d(x, w, bias=1, stride=2, padding=1))


@pytest.mark.covers("E18")
@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(3, 2, 1), (1, 6, 1), (4, 6, 2), (5, 5, 5)])
def test_a_filter_has_a_kernel_per_channel_that_it_sees_and_makes_a_channel(c_in, c_out, groups):
    layer = nn.Conv2d(c_in, c_out, 3, groups=groups)
    assert layer(torch.zeros(c_in, 5, 5)).shape[0] == len(layer.weight) == c_out
    assert [len(f) for f in layer.weight] == [c_in // groups] * c_out
    # a kernel belongs to one input channel: change it, and only this channel's share changes
    x = torch.rand(1, c_in, 5, 5, generator=torch.Generator().manual_seed(1))
    x[:, 0] = 0
    before = layer(x)
    with torch.no_grad():
        layer.weight[0, 0] += 1  # the kernel of filter 0 for channel 0, which is black
    assert torch.equal(layer(x), before)


@pytest.mark.covers("E37")
@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(1, 6, 1), (6, 16, 1), (4, 8, 4)])
def test_there_is_one_bias_per_filter_or_none(c_in, c_out, groups):
    assert nn.Conv2d(c_in, c_out, 5, groups=groups).bias.shape == (c_out,)
    assert nn.Conv2d(c_in, c_out, 5, groups=groups, bias=False).bias is None
    with_bias = conv2d_parameters(c_in, c_out, 5, groups)
    assert with_bias - conv2d_parameters(c_in, c_out, 5, groups, bias=False) == c_out


@pytest.mark.covers("E37")
def test_a_bias_shifts_its_own_map_and_no_other(rng):
    x, w, b = rng.standard_normal((2, 3, 6, 7)), rng.standard_normal((4, 3, 3, 3)), np.zeros(4)
    change = np.array([1.0, -2.0, 0.0, 3.0])
    difference = conv2d(x, w, b + change) - conv2d(x, w, b)
    assert_close(difference, np.broadcast_to(change[:, None, None], difference.shape).copy())


@pytest.mark.covers("E37")
def test_lenets_tanh_is_scaled_so_that_plus_and_minus_one_stay():
    """LeCun and others (1998), appendix A: f(±1) = ±1, and |f''| is largest there."""
    A, S = 1.7159, 2 / 3
    assert_close(A * np.tanh(S * np.array([-1.0, 1.0])), np.array([-1.0, 1.0]), rtol=1e-4)
    bend = math.atanh(1 / math.sqrt(3)) / S  # where the third derivative of tanh(S a) is 0
    assert abs(bend - 1) < 0.02
    assert A * np.tanh(-S * 10) < -1.7  # a logistic sigmoid is never negative


# --- axes -------------------------------------------------------------------------------


@pytest.mark.covers("C07")
def test_layouts_convert_there_and_back_and_give_the_same_convolution(rng):
    x, w, b = rng.standard_normal((2, 6, 5, 3)), rng.standard_normal((2, 3, 3, 4)), rng.random(4)
    assert layout.hwio_to_oihw(w).shape == (4, 3, 2, 3)
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 3), axis=(1, 2))
    expected = np.einsum("nhwcab,abco->nhwo", windows, w) + b
    output = conv2d(layout.nhwc_to_nchw(x), layout.hwio_to_oihw(w), b)
    assert_close(layout.nchw_to_nhwc(output), expected)
    assert_close(layout.oihw_to_hwio(layout.hwio_to_oihw(w)), w)
    assert not np.array_equal(x.reshape(2, 3, 6, 5), layout.nhwc_to_nchw(x))


@pytest.mark.covers("C07")
def test_a_filter_bank_has_a_map_for_each_filter(rng):
    weight = rng.standard_normal((5, 3, 3, 3))
    assert conv2d(rng.standard_normal((1, 3, 9, 9)), weight, np.zeros(5)).shape == (1, 5, 7, 7)
    assert weight.shape == tuple(nn.Conv2d(3, 5, 3).weight.shape)


@pytest.mark.covers("C08")
def test_ten_digits_are_indexed_image_by_image_and_channel_by_channel(rng):
    batch = load_digits().test_images[:10]
    assert batch.shape == (10, 1, 28, 28)
    assert [image.shape for image in batch] == [(1, 28, 28)] * 10
    assert [channel.shape for image in batch for channel in image] == [(28, 28)] * 10
    w = rng.standard_normal((2, 1, 5, 5)).astype(np.float32)
    together = conv2d(batch, w)
    assert_close(together, np.concatenate([conv2d(image[None], w) for image in batch]))


# --- padding ----------------------------------------------------------------------------


@pytest.mark.covers("C09")
@pytest.mark.parametrize(("padding", "counts"), [(0, (1, 3, 9)), (1, (4, 6, 9))])
def test_padding_lets_the_edge_take_part(padding, counts):
    """The gradient of a sum over all windows counts the windows over each pixel."""
    x, w = np.zeros((1, 1, 6, 6)), np.ones((1, 1, 3, 3))
    grad = np.ones((1, 1, 4 + 2 * padding, 4 + 2 * padding))
    seen, _, _ = conv2d_backward(grad, x, w, padding=padding)
    assert tuple(seen[0, 0, [0, 0, 2], [0, 2, 2]]) == counts


@pytest.mark.covers("C09")
@given(st.integers(1, 50), st.integers(1, 9))
def test_half_of_an_odd_kernel_keeps_the_size_and_nothing_does_for_an_even_one(n, k):
    kept = [p for p in range(k + 1) if n + 2 * p >= k and output_size(n, k, padding=p) == n]
    assert kept == ([(k - 1) // 2] if k % 2 else [])


@pytest.mark.covers("C09")
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("padding", [0, 2, (1, 0), "valid", "same"])
@pytest.mark.parametrize("kernel", [(3, 5), (2, 4)])
def test_the_ways_to_write_padding_are_pytorchs(rng, padding, kernel):
    x, w = rng.standard_normal((2, 2, 7, 6)), rng.standard_normal((3, 2, *kernel))
    by_torch = F.conv2d(torch.tensor(x), torch.tensor(w), padding=padding)
    assert_close(conv2d(x, w, padding=padding), by_torch.numpy())


@pytest.mark.covers("C09")
def test_a_padding_layer_and_then_no_padding_is_padding(rng):
    x, w = rng.standard_normal((2, 2, 7, 6)), rng.standard_normal((3, 2, 3, 5))
    padded = nn.ZeroPad2d((2, 2, 1, 1))(torch.tensor(x)).numpy()
    assert_close(padded, pad(x, (2, 2, 1, 1)))
    assert_close(conv2d(padded, w), conv2d(x, w, padding=(1, 2)))


@pytest.mark.covers("C09")
@pytest.mark.parametrize("mode", MODES.values())
def test_zeros_darken_the_rim_and_copies_do_not(mode):
    """On a grey wall every window of a mean sees the wall, unless zeros are laid around it."""
    blurred = conv2d(pad(np.full((1, 1, 9, 9), 0.5), 1, mode), np.full((1, 1, 3, 3), 1 / 9))
    corner, edge, middle = blurred[0, 0, [0, 0, 4], [0, 4, 4]]
    expected = (4 / 9, 6 / 9, 1) if mode == "constant" else (1, 1, 1)
    assert_close(np.array([corner, edge, middle]), 0.5 * np.array(expected, float))


# --- stride and dilation ----------------------------------------------------------------


@pytest.mark.covers("C10")
@given(st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(0, 99))
def test_a_stride_keeps_some_of_the_places(stride, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-9, 10, (1, 2, 7, 9)), rng.integers(-9, 10, (2, 2, 2, 3))
    kept = conv2d(x, w)[:, :, :: stride[0], :: stride[1]]
    assert_close(conv2d(x, w, stride=stride), kept.copy())


@pytest.mark.covers("C10")
@given(st.tuples(st.integers(1, 4), st.integers(1, 3)), st.integers(0, 99))
def test_dilation_is_a_kernel_with_holes(dilation, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-9, 10, (1, 2, 11, 9)), rng.integers(-9, 10, (2, 2, 3, 2))
    holes = np.zeros((*dilation,), int)
    holes[0, 0] = 1
    wide = np.kron(w, holes)[:, :, : span(3, dilation[0]), : span(2, dilation[1])]
    assert_close(conv2d(x, w, dilation=dilation), conv2d(x, wide))


@pytest.mark.covers("E25")
@given(st.integers(1, 5), st.integers(0, 99))
def test_a_stride_visits_the_same_places_whatever_the_image_is(stride, seed):
    x = np.random.default_rng(seed).random((1, 1, 8, 9))
    tap = np.ones((1, 1, 1, 1))
    assert_close(conv2d(x, tap, stride=stride), x[:, :, ::stride, ::stride].copy())


@pytest.mark.covers("E25")
def test_a_stride_misses_what_lies_between_its_places():
    star = np.zeros((1, 1, 9, 9))
    star[0, 0, 3, 5] = 1
    assert conv2d(star, np.ones((1, 1, 1, 1))).max() == 1
    assert conv2d(star, np.ones((1, 1, 1, 1)), stride=2).max() == 0


# --- sizes ------------------------------------------------------------------------------


@pytest.mark.covers("C11")
@pytest.mark.parametrize(
    ("filters", "settings", "shape"),
    [
        (10, {"kernel_size": 5}, (10, 28, 28)),
        (10, {"kernel_size": 3, "padding": 1}, (10, 32, 32)),
    ],
)
def test_sizes_of_the_notes_with_ten_filters(filters, settings, shape):
    assert tuple(nn.Conv2d(3, filters, **settings)(torch.zeros(3, 32, 32)).shape) == shape
    options = {"kernel": settings["kernel_size"], "padding": settings.get("padding", 0)}
    assert (filters, *[output_size(32, **options)] * 2) == shape


@pytest.mark.covers("C11")
def test_sizes_of_the_notes_alone():
    assert output_size(32, 5, 1, 0) == 28
    assert output_size(32, 3, 1, 1) == 32
    assert output_size(128, 3, 2, 1) == 64
    assert math.floor(28 / 3) + 1 == 10


@pytest.mark.covers("C11")
@pytest.mark.parametrize(
    ("case", "out"),
    [
        ((4, 3, 1, 0, 1), 2),
        ((5, 4, 1, 2, 1), 6),
        ((5, 3, 1, 1, 1), 5),
        ((5, 3, 1, 2, 1), 7),
        ((5, 3, 2, 0, 1), 2),
        ((5, 3, 2, 1, 1), 3),
        ((6, 3, 2, 1, 1), 3),
        ((7, 3, 1, 0, 2), 3),
    ],
)
def test_dumoulin_and_visins_convolutions(case, out):
    n, k, s, p, d = case
    built = nn.Conv2d(1, 1, k, s, p, d)(torch.zeros(1, n, n))
    assert built.shape == (1, out, out)
    assert output_size(*case) == out


@pytest.mark.covers("C11")
@pytest.mark.parametrize(
    ("case", "out"),
    [
        ((2, 3, 1, 0, 0), 4),
        ((6, 4, 1, 2, 0), 5),
        ((5, 3, 1, 1, 0), 5),
        ((7, 3, 1, 2, 0), 5),
        ((2, 3, 2, 0, 0), 5),
        ((3, 3, 2, 1, 0), 5),
        ((3, 3, 2, 1, 1), 6),
    ],
)
def test_dumoulin_and_visins_transposed_convolutions(case, out):
    n, k, s, p, more = case
    built = nn.ConvTranspose2d(1, 1, k, s, p, more)(torch.zeros(1, n, n))
    assert built.shape == (1, out, out)
    assert transposed_output_size(n, k, s, p, output_padding=more) == out
    assert output_size(out, k, s, p) == n


@pytest.mark.covers("C11")
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("k", "s", "p"), [(2, None, 0), (3, 2, 0), (3, 2, 1), (3, 1, 0)])
def test_pooling_follows_the_formula_but_for_two_habits(k, s, p, ceil_mode):
    for n in (5, 28, 112):
        built = nn.MaxPool2d(k, s, p, ceil_mode=ceil_mode)(torch.zeros(1, n, n))
        assert pool_output_size(n, k, s, p, ceil_mode=ceil_mode) == built.shape[1]
        if not ceil_mode:
            assert output_size(n, k, s or k, p) == built.shape[1]


@pytest.mark.covers("E41")
def test_same_keeps_the_size_at_stride_1_only():
    assert nn.Conv2d(1, 1, 3, padding="same")(torch.zeros(1, 28, 28)).shape == (1, 28, 28)
    with pytest.raises(ValueError, match="not supported for strided"):
        nn.Conv2d(1, 1, 3, padding="same", stride=2)
    with pytest.raises(ValueError, match="'same' needs stride=1"):
        conv2d(np.zeros((1, 1, 28, 28)), np.zeros((1, 1, 3, 3)), stride=2, padding="same")
    assert output_size(28 + sum(same_padding(28, 3, 2)), 3, 2) == 14  # TensorFlow: not 28


@pytest.mark.covers("E41")
def test_128_pixels_go_in_and_64_come_out():
    layer = nn.Conv2d(1, 1, 3, stride=2, padding=1)
    assert layer(torch.zeros(1, 128, 128)).shape == (1, 64, 64)
    assert output_size(64, 3, 2, 1) == 32  # the other way round, 64 would not give 128


# --- "same" -----------------------------------------------------------------------------


@pytest.mark.covers("C12")
@pytest.mark.parametrize(
    ("stride", "pads", "shape"),
    [(3, (1, 1), (3, 10, 10)), (1, (1, 1), (3, 28, 28)), (2, (0, 1), (3, 14, 14))],
)
def test_28_pixels_with_the_padding_that_tensorflow_calls_same(rng, stride, pads, shape):
    assert same_padding(28, 3, stride) == pads
    x, w = rng.standard_normal((1, 3, 28, 28)), rng.standard_normal((3, 3, 3, 3))
    output = conv2d(np.pad(x, ((0, 0), (0, 0), pads, pads)), w, stride=stride)
    assert output.shape[1:] == shape == (3, *[math.ceil(28 / stride)] * 2)
    symmetric = conv2d(x, w, stride=stride, padding=1)
    assert np.allclose(output, symmetric) == (pads == (1, 1))
    if stride == 2:  # all windows stand one pixel further on
        starts = [2 * i for i in range(14)]
        windows = [np.pad(x, ((0, 0),) * 2 + ((0, 1),) * 2)[0, :, i : i + 3, :3] for i in starts]
        assert_close(output[0, :, :, 0], np.einsum("icab,ocab->oi", windows, w))


@pytest.mark.covers("C12")
def test_three_filters_on_three_channels_have_84_parameters():
    layer = nn.Conv2d(3, 3, 3, stride=3, padding=1)
    assert sum(p.numel() for p in layer.parameters()) == conv2d_parameters(3, 3, 3) == 84
    assert layer(torch.zeros(3, 28, 28)).shape == (3, 10, 10)


# --- costs ------------------------------------------------------------------------------


@pytest.mark.covers("C13")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [1, 3, (2, 5)])
def test_the_calculator_agrees_with_a_built_model(kernel, groups, bias):
    layer = nn.Conv2d(4, 8, kernel, stride=2, groups=groups, bias=bias)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        size = layer(torch.zeros(1, 4, 11, 14)).shape[2:]
    counted = sum(p.numel() for p in layer.parameters()), counter.get_total_flops() // 2
    assert conv2d_cost(4, 8, kernel, tuple(size), groups, bias) == counted


@pytest.mark.covers("C13")
def test_six_filters_of_5_x_5_on_a_colour_image_and_lenets_maps():
    assert nn.Conv2d(3, 6, 5)(torch.zeros(3, 32, 32)).shape == (6, 28, 28)
    assert conv2d_cost(3, 6, 5, 28) == (6 * (3 * 25 + 1), 6 * 75 * 28 * 28)
    features = nn.Sequential(nn.Conv2d(1, 6, 5), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5))
    shapes = []
    x = torch.zeros(1, 32, 32)
    for layer in features:
        x = layer(x)
        shapes.append(tuple(x.shape))
    assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10)]


@pytest.mark.covers("E23")
def test_lenets_third_layer_is_sparse():
    """Table I of LeCun and others (1998), read row by row."""
    table = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    links = np.array([[mark == "X" for mark in row] for row in table])
    assert links.shape == (6, 16)
    assert links.sum() == 60
    mask = torch.tensor(links.T[:, :, None, None])
    layer = nn.Conv2d(6, 16, 5)
    used = int((mask.expand_as(layer.weight)).sum()) + layer.bias.numel()
    assert used == 1516
    assert sum(p.numel() for p in layer.parameters()) == conv2d_parameters(6, 16, 5) == 2416
    # built as the page does: three neighbours, four neighbours, four with a gap, all
    runs = [{(i + j) % 6 for j in range(n)} for n in (3, 4) for i in range(6)]
    seen = [*runs, {0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, set(range(6))]
    assert [set(np.flatnonzero(column).tolist()) for column in links.T] == seen


# --- the settings in PyTorch ------------------------------------------------------------


@pytest.mark.covers("C24")
@pytest.mark.parametrize("padding_mode", MODES)
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3},
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 1)},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 2},
        {"kernel_size": 5, "stride": 3, "padding": 2, "groups": 4},
    ],
)
def test_every_setting_of_conv2d_means_what_the_page_says(rng, settings, padding_mode):
    layer = nn.Conv2d(4, 8, **settings, padding_mode=padding_mode, dtype=torch.float64)
    x = rng.standard_normal((2, 4, 9, 8))
    top, left = layer.padding
    padded = pad(x, (left, left, top, top), MODES[padding_mode])
    w, b = (p.detach().numpy() for p in (layer.weight, layer.bias))
    rest = layer.stride, 0, layer.dilation, layer.groups
    assert_close(conv2d(padded, w, b, *rest), layer(torch.tensor(x)).detach().numpy())


@pytest.mark.covers("C24")
def test_defaults_are_those_of_the_table():
    conv, pool = nn.Conv2d(1, 1, 3), nn.MaxPool2d(3)
    assert (conv.stride, conv.padding, conv.dilation) == ((1, 1), (0, 0), (1, 1))
    assert (conv.groups, conv.padding_mode) == (1, "zeros")
    assert conv.bias is not None
    assert (pool.stride, pool.padding, pool.dilation, pool.ceil_mode) == (3, 0, 1, False)
    assert not list(pool.parameters())


@pytest.mark.covers("C24")
def test_padding_is_never_the_maximum():
    pooled = F.max_pool2d(torch.full((1, 2, 4, 4), -5.0), 3, 2, padding=1)
    assert pooled.tolist() == [[[[-5.0] * 2] * 2] * 2]


@pytest.mark.covers("C24")
@pytest.mark.parametrize(
    "settings",
    [{"kernel_size": 3}, {"kernel_size": 5, "stride": 2, "padding": 2}, {"kernel_size": 1}],
)
def test_the_explorer_makes_maps_of_pytorchs_size(settings):
    built = nn.Conv2d(3, 4, **settings)(torch.zeros(3, 7, 7))
    shape = " × ".join(map(str, built.shape))
    assert f"nn.Conv2d, input 3 × 7 × 7, output {shape}" in repr(conv_layer(**settings))
    assert "nn.Conv2d" in repr(conv_layer())
