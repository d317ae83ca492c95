r"""Output sizes: worked cases, PyTorch over a table, laws, and every message for bad input."""

import re
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from coursepkg.convolution.arithmetic import (
    ReceptiveField,
    Window,
    activation_bytes,
    conv2d_cost,
    conv2d_macs,
    conv2d_parameters,
    linear_parameters,
    output_size,
    pool_output_size,
    receptive_field,
    same_padding,
    span,
    transposed_output_size,
)

TABLE = list(product(range(1, 10), range(1, 5), range(1, 5), range(3), range(1, 4)))

sizes, kernels, strides = st.integers(1, 60), st.integers(1, 9), st.integers(1, 7)
paddings, dilations = st.integers(0, 5), st.integers(1, 4)


def exactly(message):
    return f"^{re.escape(message)}$"


def length_or_none(function, *args, **kwargs):
    r"""Return the length of PyTorch's output, or our number; None if the arguments are refused."""
    try:
        result = function(*args, **kwargs)
    except (RuntimeError, ValueError):
        return None
    return result.shape[-1] if torch.is_tensor(result) else result


def starts_that_fit(size, kernel, stride, padding, dilation):
    r"""Slide the window by hand: list every start at which all taps lie in the padded input."""
    padded = list(range(size + 2 * padding))
    starts = padded[::stride]
    return [i for i in starts if all(i + a * dilation in padded for a in range(kernel))]


# --- worked cases -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "dilation", "pixels"), [(1, 1, 1), (1, 7, 1), (3, 1, 3), (3, 2, 5), (4, 3, 10)]
)
def test_span_by_hand(kernel, dilation, pixels):
    assert span(kernel, dilation) == pixels


def test_span_without_dilation_is_the_kernel():
    assert span(5) == 5


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "expected"),
    [
        (32, 5, 1, 0, 1, 28),
        (32, 3, 1, 1, 1, 32),
        (128, 3, 2, 1, 1, 64),
        (31, 3, 3, 0, 1, 28 // 3 + 1),
        # Dumoulin & Visin (2016): the figures of chapters 2 and 3, and figure 5.1
        (4, 3, 1, 0, 1, 2),
        (5, 4, 1, 2, 1, 6),
        (5, 3, 1, 1, 1, 5),
        (5, 3, 1, 2, 1, 7),
        (5, 3, 2, 0, 1, 2),
        (5, 3, 2, 1, 1, 3),
        (6, 3, 2, 1, 1, 3),
        (5, 3, 1, 0, 1, 3),
        (7, 3, 1, 0, 2, 3),
        # the edges: a window as long as the input, and a step longer than it
        (7, 7, 1, 0, 1, 1),
        (1, 1, 9, 0, 1, 1),
        (1, 3, 1, 1, 1, 1),
    ],
)
def test_output_size_by_hand(size, kernel, stride, padding, dilation, expected):
    assert output_size(size, kernel, stride, padding, dilation) == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "output_padding", "expected"),
    [
        # Dumoulin & Visin (2016): the figures of chapter 4
        (2, 3, 1, 0, 0, 4),
        (6, 4, 1, 2, 0, 5),
        (5, 3, 1, 1, 0, 5),
        (7, 3, 1, 2, 0, 5),
        (2, 3, 2, 0, 0, 5),
        (3, 3, 2, 1, 0, 5),
        (3, 3, 2, 1, 1, 6),
        (14, 4, 2, 1, 0, 28),
    ],
)
def test_transposed_output_size_by_hand(size, kernel, stride, padding, output_padding, expected):
    result = transposed_output_size(size, kernel, stride, padding, output_padding=output_padding)
    assert result == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "before", "after"),
    [
        # worked by hand from TensorFlow's "Notes on padding": ceil(13/5) = 3 places reach
        # over 2*5 + 6 = 16 pixels, 3 more than there are
        (13, 6, 5, 1, 1, 2),
        (28, 3, 1, 1, 1, 1),
        (28, 3, 2, 1, 0, 1),
        (28, 3, 3, 1, 1, 1),
        (224, 7, 2, 1, 2, 3),
        (5, 2, 1, 1, 0, 1),
        (9, 2, 4, 1, 0, 1),
        (5, 9, 1, 1, 4, 4),
        (10, 3, 1, 2, 2, 2),
        (8, 2, 1, 3, 1, 2),
        # nothing to add: the windows leave gaps
        (7, 1, 3, 1, 0, 0),
        (8, 1, 3, 1, 0, 0),
        (1, 1, 1, 1, 0, 0),
    ],
)
def test_same_padding_by_hand(size, kernel, stride, dilation, before, after):
    assert same_padding(size, kernel, stride, dilation) == (before, after)


def test_defaults_are_stride_1_no_padding_no_dilation():
    assert output_size(9, 3) == 7
    assert output_size(9, 3, padding=1) == 9
    assert output_size(9, 3, stride=2) == 4
    assert transposed_output_size(7, 3) == 9
    assert transposed_output_size(7, 3, padding=1) == 7
    assert transposed_output_size(7, 3, stride=2) == 15
    assert same_padding(9, 3) == (1, 1)
    assert same_padding(9, 3, stride=2) == (1, 1)


def test_pool_steps_by_its_kernel_unless_told():
    assert pool_output_size(28, 2) == 14
    assert pool_output_size(28, 2, stride=1) == 27
    assert pool_output_size(7, 2) == 3
    assert pool_output_size(7, 2, ceil_mode=True) == 4
    assert pool_output_size(7, 2, padding=1) == 4


def test_pool_ceil_mode_keeps_only_windows_that_start_inside():
    # 5 pixels, stride 3, windows of 2: starts 0, 3; a third start, 6, would be outside
    assert pool_output_size(5, 2, 3, ceil_mode=True) == 2
    # one pixel of padding on the left moves the input to places 1..5: start 6 is padding
    assert pool_output_size(5, 2, 3, padding=1, ceil_mode=True) == 2
    # a window longer than the input hangs over, by fewer pixels than the stride
    assert pool_output_size(2, 3, ceil_mode=True) == 1


def test_numpy_integers_neither_overflow_nor_leak():
    small = [np.uint8(n) for n in (200, 250, 3, 100, 1)]  # 200 + 100 overflows uint8
    results = [
        output_size(*small),
        pool_output_size(*small, ceil_mode=True),
        transposed_output_size(*small),
        span(np.uint8(200), np.uint8(3)),
        *same_padding(np.uint8(250), np.uint8(200), np.uint8(200)),
    ]
    assert results == [51, 51, 647, 598, 75, 75]
    assert {type(r) for r in results} == {int}


# --- PyTorch ----------------------------------------------------------------------------


def test_output_size_equals_torch():
    for size, kernel, stride, padding, dilation in TABLE:
        x, w = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
        expected = length_or_none(F.conv1d, x, w, None, stride, padding, dilation)
        args = size, kernel, stride, padding, dilation
        assert length_or_none(output_size, *args) == expected, args


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pool_output_size_equals_torch(ceil_mode):
    for size, kernel, stride, padding, dilation in TABLE:
        args = size, kernel, stride, padding, dilation
        got = length_or_none(pool_output_size, *args, ceil_mode)
        x = torch.zeros(1, 1, 1, size)
        settings = [(1, kernel), (1, stride), (0, padding)]
        highest = length_or_none(F.max_pool2d, x, *settings, (1, dilation), ceil_mode=ceil_mode)
        assert got == highest, args
        if dilation == 1:  # average pooling has none
            assert got == length_or_none(F.avg_pool2d, x, *settings, ceil_mode=ceil_mode), args


def test_transposed_output_size_equals_torch():
    for size, kernel, stride, padding, dilation in TABLE:
        x, w = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
        for more in range(4):
            expected = length_or_none(
                F.conv_transpose1d, x, w, None, stride, padding, more, 1, dilation
            )
            args = size, kernel, stride, padding, dilation, more
            assert length_or_none(transposed_output_size, *args) == expected, args


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_same_padding_equals_torch():
    for size, kernel, stride, _, dilation in TABLE:
        if stride == 1:
            x, w = torch.arange(1.0, size + 1)[None, None], torch.ones(1, 1, kernel)
            padded = F.pad(x, same_padding(size, kernel, dilation=dilation))
            expected = F.conv1d(x, w, padding="same", dilation=dilation)
            assert torch.equal(F.conv1d(padded, w, dilation=dilation), expected)


# --- laws -------------------------------------------------------------------------------


@given(sizes, kernels, strides, paddings, dilations)
def test_output_size_counts_the_places_where_the_window_fits(size, kernel, stride, pad, dilation):
    starts = starts_that_fit(size, kernel, stride, pad, dilation)
    assume(starts)
    places = output_size(size, kernel, stride, pad, dilation)
    assert places == len(starts)
    last = (places - 1) * stride + span(kernel, dilation)
    assert last <= size + 2 * pad < last + stride  # the last fits, and one more would not


@given(sizes, kernels, strides, paddings, dilations)
def test_output_size_grows_with_the_input(size, kernel, stride, padding, dilation):
    assume(span(kernel, dilation) <= size + 2 * padding)
    here = output_size(size, kernel, stride, padding, dilation)
    assert here <= output_size(size + 1, kernel, stride, padding, dilation) <= here + 1
    assert output_size(size + stride, kernel, stride, padding, dilation) == here + 1
    assert output_size(size + 2, kernel, stride, padding, dilation) == output_size(
        size, kernel, stride, padding + 1, dilation
    )


@given(sizes, kernels, strides, st.integers(0, 4), dilations)
def test_rounding_up_adds_at_most_one_place(size, kernel, stride, padding, dilation):
    assume(2 * padding <= kernel and span(kernel, dilation) <= size + 2 * padding)
    floor = pool_output_size(size, kernel, stride, padding, dilation)
    ceil = pool_output_size(size, kernel, stride, padding, dilation, ceil_mode=True)
    assert floor == output_size(size, kernel, stride, padding, dilation)
    assert floor <= ceil <= floor + 1
    assert (ceil - 1) * stride < size + padding  # the last window starts inside
    if (size + 2 * padding - span(kernel, dilation)) % stride == 0:
        assert ceil == floor


@given(sizes, kernels, strides, paddings, dilations)
def test_transposed_undoes_convolution(size, kernel, stride, padding, dilation):
    room = size + 2 * padding - span(kernel, dilation)
    assume(room >= 0)
    places = output_size(size, kernel, stride, padding, dilation)
    left_over = room % stride  # what the floor threw away comes back as output_padding
    back = transposed_output_size(places, kernel, stride, padding, dilation, left_over)
    assert back == size


@given(sizes, kernels, strides, st.integers(0, 2), dilations)
def test_transposed_gives_the_smallest_input_that_fits(size, kernel, stride, padding, dilation):
    assume((size - 1) * stride + span(kernel, dilation) > 2 * padding + 1)
    smallest = transposed_output_size(size, kernel, stride, padding, dilation)
    assert output_size(smallest, kernel, stride, padding, dilation) == size
    fewer = length_or_none(output_size, smallest - 1, kernel, stride, padding, dilation)
    assert fewer == (size - 1 or None)


@given(sizes, kernels, strides, dilations)
def test_same_padding_gives_the_ceiling_with_no_pixel_too_many(size, kernel, stride, dilation):
    before, after = same_padding(size, kernel, stride, dilation)
    wanted = (size + stride - 1) // stride
    assert output_size(size + before + after, kernel, stride, dilation=dilation) == wanted
    assert 0 <= after - before <= 1
    if after:
        fewer = size + before + after - 1
        assert length_or_none(output_size, fewer, kernel, stride, 0, dilation) != wanted


# --- bad input --------------------------------------------------------------------------

GOOD = {
    span: {"kernel": 1, "dilation": 1},
    output_size: {"size": 9, "kernel": 1, "stride": 1, "padding": 0, "dilation": 1},
    pool_output_size: {"size": 9, "kernel": 1, "stride": 1, "padding": 0, "dilation": 1},
    transposed_output_size: {
        "size": 9,
        "kernel": 1,
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "output_padding": 0,
    },
    same_padding: {"size": 9, "kernel": 1, "stride": 1, "dilation": 1},
}
ARGUMENTS = [(function, name) for function, good in GOOD.items() for name in good]


@pytest.mark.parametrize(("function", "name"), ARGUMENTS)
def test_every_argument_must_be_an_integer_that_is_large_enough(function, name):
    smallest = 0 if "padding" in name else 1
    message = f"{name}={smallest - 1} is too small; use an integer of at least {smallest}"
    with pytest.raises(ValueError, match=exactly(message)):
        function(**GOOD[function] | {name: smallest - 1})
    function(**GOOD[function] | {name: smallest})  # the smallest is large enough
    for value in [2.0, "2", True, (2, 2), [], *([] if name == "stride" else [None])]:
        message = f"{name}={value!r} is not an integer; use an integer of at least {smallest}"
        with pytest.raises(ValueError, match=exactly(message)):
            function(**GOOD[function] | {name: value})


@pytest.mark.parametrize(
    ("function", "call", "message"),
    [
        (
            output_size,
            {"size": 9, "kernel": 7, "dilation": 2},
            "kernel=7 with dilation=2 spans 13 but the padded input has 9; "
            "add padding or shrink the kernel",
        ),
        (
            output_size,
            {"size": 2, "kernel": 5, "padding": 1},
            "kernel=5 with dilation=1 spans 5 but the padded input has 4; "
            "add padding or shrink the kernel",
        ),
        (
            pool_output_size,
            {"size": 2, "kernel": 3},
            "kernel=3 with dilation=1 spans 3 but the padded input has 2; "
            "add padding or shrink the kernel",
        ),
        (
            pool_output_size,
            {"size": 2, "kernel": 5, "stride": 3, "ceil_mode": True},
            "kernel=5 with dilation=1 spans 5 but the padded input has 2, and ceil_mode with "
            "stride=3 lets a window hang over by 2 at most; add padding or shrink the kernel",
        ),
        (
            pool_output_size,
            {"size": 2, "kernel": 3, "stride": 2, "padding": 1, "dilation": 3, "ceil_mode": True},
            "kernel=3 with dilation=3 spans 7 but the padded input has 4, and ceil_mode with "
            "stride=2 lets a window hang over by 1 at most; add padding or shrink the kernel",
        ),
        (
            pool_output_size,
            {"size": 9, "kernel": 5, "padding": 3},
            "padding=3 exceeds half of kernel=5; use a padding of at most 2",
        ),
        (
            transposed_output_size,
            {"size": 9, "kernel": 3, "stride": 2, "output_padding": 2},
            "output_padding=2 must be smaller than stride=2 or dilation=1; "
            "lower it or raise the stride",
        ),
        (
            transposed_output_size,
            {"size": 9, "kernel": 3, "dilation": 3, "output_padding": 3},
            "output_padding=3 must be smaller than stride=1 or dilation=3; "
            "lower it or raise the stride",
        ),
        (
            transposed_output_size,
            {"size": 2, "kernel": 3, "padding": 2},
            "padding=2 removes all of the 4 output pixels; use a padding of at most 1",
        ),
        (
            transposed_output_size,
            {"size": 1, "kernel": 5, "padding": 4},
            "padding=4 removes all of the 5 output pixels; use a padding of at most 2",
        ),
    ],
)
def test_arguments_that_do_not_fit_together(function, call, message):
    with pytest.raises(ValueError, match=exactly(message)):
        function(**call)


def test_stride_none_is_the_kernel_only_for_pooling():
    assert pool_output_size(9, 3, stride=None) == 3
    for function in (output_size, transposed_output_size, same_padding):
        with pytest.raises(ValueError, match=r"^stride=None is not an integer; use an integer"):
            function(9, 3, stride=None)


def test_limits_themselves_are_allowed():
    assert output_size(7, 3, dilation=3) == 1  # the window is exactly as long as the input
    assert pool_output_size(4, 4, padding=2) == 2  # padding is exactly half of the kernel
    assert transposed_output_size(2, 3, stride=2, output_padding=1) == 6
    assert transposed_output_size(1, 3, padding=1) == 1  # one pixel stays


# --- cost -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "kernel_size", "groups"),
    [(1, 8, 5, 1), (8, 32, 5, 1), (3, 6, (5, 3), 1), (4, 6, (1, 2), 2), (6, 6, 3, 6), (1, 1, 1, 1)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_those_of_the_layer_that_torch_builds(
    in_channels, out_channels, kernel_size, groups, bias
):
    layer = torch.nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
    built = sum(p.numel() for p in layer.parameters())
    assert conv2d_parameters(in_channels, out_channels, kernel_size, groups, bias) == built
    assert conv2d_cost(in_channels, out_channels, kernel_size, 3, groups, bias)[0] == built


def test_multiply_adds_are_counted_by_hand():
    in_channels, out_channels, (kh, kw), (oh, ow), groups = 4, 6, (3, 2), (5, 7), 2
    count = 0
    for _ in product(range(out_channels), range(oh), range(ow)):
        for _ in product(range(in_channels // groups), range(kh), range(kw)):
            count += 1
    assert conv2d_macs(in_channels, out_channels, (kh, kw), (oh, ow), groups) == count
    assert conv2d_cost(in_channels, out_channels, (kh, kw), (oh, ow), groups)[1] == count


def test_costs_by_hand():
    assert conv2d_cost(3, 6, 5, 28) == (456, 352_800)
    assert conv2d_parameters(3, 3, 3) == 84
    assert conv2d_parameters(3, 3, 3, bias=False) == 81
    assert conv2d_macs(2, 3, kernel_size=1, output_size=1) == 6


@pytest.mark.parametrize("bias", [True, False])
def test_linear_parameters_are_those_of_torch(bias):
    built = sum(p.numel() for p in torch.nn.Linear(7, 3, bias=bias).parameters())
    assert linear_parameters(7, 3, bias) == built
    assert linear_parameters(7, 3) == 24


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (4,), (0, 3), ()])
def test_activation_bytes_are_those_of_the_array(shape, dtype):
    array = np.zeros(shape, dtype)
    assert activation_bytes(shape, array.itemsize) == array.nbytes
    assert activation_bytes(shape) == 4 * array.size


# --- receptive field --------------------------------------------------------------------


def seen(windows, unit):
    r"""Walk back from a unit, layer by layer, and collect every pixel of the input it meets."""
    places = {unit}
    for w in reversed(windows):
        places = {
            place * w.stride - w.padding + tap * w.dilation
            for place in places
            for tap in range(w.kernel)
        }
    return places


windows = st.builds(
    Window, st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)
)


@given(st.lists(windows, max_size=4), st.integers(0, 5))
def test_receptive_field_reaches_as_far_as_the_pixels_that_are_met(stack, unit):
    size, jump, start = receptive_field(stack)
    pixels = seen(stack, unit)
    assert min(pixels) == start + unit * jump
    assert max(pixels) == start + unit * jump + size - 1


@given(st.lists(windows, max_size=3), st.lists(windows, max_size=3))
def test_receptive_fields_compose(first, then):
    inner, outer, both = map(receptive_field, (first, then, first + then))
    assert both.jump == inner.jump * outer.jump
    assert both.size == inner.size + (outer.size - 1) * inner.jump
    assert both.start == inner.start + outer.start * inner.jump


def test_receptive_fields_by_hand():
    assert receptive_field([]) == ReceptiveField(size=1, jump=1, start=0)
    assert receptive_field([Window(3, padding=1)]) == (3, 1, -1)
    assert receptive_field([Window(5), Window(2, stride=2)]) == (6, 2, 0)  # P + K - 1
    assert receptive_field(iter([Window(3)] * 3)) == (7, 1, 0)
    assert receptive_field([Window(3, dilation=2), Window(3, 2, 1)]) == (7, 2, -1)


def test_windows_hold_plain_integers():
    window = Window(np.int64(3), np.int64(2))
    assert {type(v) for v in vars(window).values()} == {int}
    assert all(type(v) is int for v in receptive_field([window]))
    assert all(type(v) is int for v in conv2d_cost(*np.array([4, 6, 3, 5, 2])))


@pytest.mark.parametrize(
    ("function", "arguments", "setting", "minimum"),
    [
        (conv2d_parameters, (0, 1, 3), "in_channels=0", 1),
        (conv2d_parameters, (1, 0, 3), "out_channels=0", 1),
        (conv2d_parameters, (1, 1, (3, 0)), "kernel_size=0", 1),
        (conv2d_parameters, (1, 1, 3, 0), "groups=0", 1),
        (conv2d_macs, (1, 1, 3, 0), "output_size=0", 1),
        (conv2d_cost, (1, 1, 3, (2, 0)), "output_size=0", 1),
        (linear_parameters, (0, 1), "in_features=0", 1),
        (linear_parameters, (1, 0), "out_features=0", 1),
        (activation_bytes, ((2, -1),), "shape=-1", 0),
        (activation_bytes, ((2,), 0), "itemsize=0", 1),
        (Window, (0,), "kernel=0", 1),
        (Window, (3, 0), "stride=0", 1),
        (Window, (3, 1, -1), "padding=-1", 0),
        (Window, (3, 1, 0, 0), "dilation=0", 1),
    ],
)
def test_what_is_too_small_is_refused(function, arguments, setting, minimum):
    message = f"{setting} is too small; use an integer of at least {minimum}"
    with pytest.raises(ValueError, match=exactly(message)):
        function(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "channels"),
    [
        (conv2d_parameters, (3, 4, 3, 2), "in_channels=3"),
        (conv2d_macs, (4, 3, 3, 5, 2), "out_channels=3"),
    ],
)
def test_groups_divide_the_channels(function, arguments, channels):
    message = f"groups=2 does not divide {channels}; use a divisor of 3"
    with pytest.raises(ValueError, match=exactly(message)):
        function(*arguments)


@pytest.mark.parametrize("windows", [[3, 3], [Window(3), 3], [(3, 1)], 3, Window(3)])
def test_windows_are_windows(windows):
    with pytest.raises(ValueError, match=r"^windows=.*; use a list such as \[Window\(3\), "):
        receptive_field(windows)
