import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle_deform_conv import CASES, STORE, results
from torch import nn

from coursepkg.architectures.deform_conv import (
    DeformConv2d,
    bilinear_sample,
    deform_conv2d,
    sampling_positions,
)
from coursepkg.testing import assert_close


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def stored():
    with np.load(STORE) as record:
        return dict(record)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_and_gradients_are_those_of_torchvision(case, stored):
    expected = {
        name.rpartition("/")[2]: array
        for name, array in stored.items()
        if name.rpartition("/")[0] == case.name
    }
    assert len(expected) == 4 + case.bias + case.modulated
    assert_close(results(deform_conv2d, case), expected)


def test_the_record_holds_these_cases_and_is_small(stored):
    assert {name.rpartition("/")[0] for name in stored} == {case.name for case in CASES}
    assert STORE.stat().st_size <= 200_000


def test_the_signature_is_torchvisions():
    parameters = inspect.signature(deform_conv2d).parameters.values()
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == {
        "bias": None,
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "mask": None,
    }
    assert [p.name for p in parameters][:3] == ["input", "offset", "weight"]


#: (N, C, H, W), O, kernel, stride, padding, dilation, groups
LAYERS = [
    ((1, 3, 7, 5), 4, (3, 3), (1, 1), (0, 0), (1, 1), 1),
    ((3, 4, 9, 6), 6, (2, 3), (2, 1), (1, 2), (3, 1), 2),
    ((2, 4, 6, 7), 4, (1, 1), (3, 2), (2, 0), (1, 1), 4),
    ((2, 2, 8, 11), 3, (3, 4), (1, 3), (3, 3), (2, 2), 1),
]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("offset_groups", [1, 2])
def test_without_offsets_it_is_an_ordinary_convolution(layer, offset_groups):
    shape, o, kernel, stride, padding, dilation, groups = layer
    if shape[1] % offset_groups:
        shape = (shape[0], 2 * shape[1], *shape[2:])
    input, weight, bias = noise(*shape), noise(o, shape[1] // groups, *kernel, seed=1), noise(o)
    expected = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    channels = 2 * offset_groups * kernel[0] * kernel[1]
    offset = input.new_zeros(shape[0], channels, *expected.shape[2:])
    output = deform_conv2d(input, offset, weight, bias, stride, padding, dilation)
    assert_close(output, expected)
    assert output.is_contiguous()


@pytest.mark.parametrize("move", [(0, 1), (1, 0), (-2, 3)])
def test_equal_integer_offsets_shift_the_image(move):
    down, right = move
    input, weight = noise(2, 3, 6, 7), noise(4, 3, 3, 3, seed=1)
    offset = torch.tensor(move, dtype=input.dtype).repeat(9)[None, :, None, None]
    output = deform_conv2d(input, offset.expand(2, 18, 6, 7), weight, padding=1)
    far = F.pad(input, (4, 4, 4, 4))
    shifted = far[:, :, 3 + down : 11 + down, 3 + right : 12 + right]  # with a frame of 1
    assert_close(output, F.conv2d(shifted, weight))


def test_offsets_that_widen_the_grid_are_dilation():
    input, weight = noise(1, 2, 9, 9), noise(3, 2, 3, 3, seed=1)
    step = torch.tensor([-1.0, 0.0, 1.0]).double()
    offset = torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1)
    output = deform_conv2d(
        input, offset.reshape(1, 18, 1, 1).expand(1, 18, 9, 9), weight, padding=1
    )
    assert_close(output, F.conv2d(input, weight, padding=2, dilation=2))


def test_each_group_of_offsets_moves_its_own_channels():
    input, weight, offset = noise(2, 4, 5, 5), noise(3, 4, 3, 3, seed=1), noise(2, 36, 5, 5)
    both = deform_conv2d(input, offset, weight, padding=1)
    halves = [
        deform_conv2d(input[:, 2 * g : 2 * g + 2], offset[:, 18 * g : 18 * g + 18],
                      weight[:, 2 * g : 2 * g + 2], padding=1)
        for g in (0, 1)
    ]  # fmt: skip
    assert_close(both, halves[0] + halves[1])


def test_a_mask_of_ones_changes_nothing_and_the_output_is_linear_in_it():
    input, weight, bias, offset = noise(2, 2, 5, 4), noise(3, 2, 3, 3), noise(3), noise(2, 18, 5, 4)
    first, second = noise(2, 9, 5, 4, seed=1), noise(2, 9, 5, 4, seed=2)

    def masked(mask, bias=None):
        return deform_conv2d(input, offset, weight, bias, padding=1, mask=mask)

    ones = torch.ones_like(first)
    assert_close(masked(ones, bias), deform_conv2d(input, offset, weight, bias, padding=1))
    assert_close(masked(2 * first - second), 2 * masked(first) - masked(second))
    assert_close(masked(0 * first, bias), bias[None, :, None, None].expand(2, 3, 5, 4))


def test_gradients_are_those_of_central_differences():
    """No point lies on a pixel or within the step of the differences of one."""
    input, weight, bias = noise(2, 4, 4, 3), noise(4, 2, 2, 2, seed=1), noise(4)
    offset = noise(2, 16, 3, 2, seed=2)
    offset = offset.floor() + 0.1 + 0.8 * (offset - offset.floor())
    mask = noise(2, 8, 3, 2, seed=3)
    tensors = [t.requires_grad_() for t in (input, offset, weight, bias, mask)]

    def operator(input, offset, weight, bias, mask):
        return deform_conv2d(input, offset, weight, bias, mask=mask)

    assert torch.autograd.gradcheck(operator, tensors)
    assert torch.autograd.gradgradcheck(operator, tensors, atol=1e-4)


def test_bilinear_weights_are_the_products_of_the_paper():
    """Equations 3 and 4 of Dai et al. (2017), summed over all pixels q."""
    input, points = noise(2, 6, 4, 5), 4 * noise(2, 11, 3, 2, seed=1)
    samples = bilinear_sample(input, points)
    assert samples.shape == (2, 11, 3, 2)
    rows, columns = torch.arange(4), torch.arange(5)
    share_y = (1 - (points[..., 0, None] - rows).abs()).clamp(min=0)
    share_x = (1 - (points[..., 1, None] - columns).abs()).clamp(min=0)
    groups = input.reshape(2, 3, 2, 4, 5)
    assert_close(samples, torch.einsum("npgi,npgj,ngcij->npgc", share_y, share_x, groups))


def test_points_far_outside_read_zero_and_nan_stays_visible():
    inf, nan = float("inf"), float("nan")
    points = torch.tensor([[-inf, 0.0], [1e30, 1.0], [0.5, inf], [nan, 0.0], [1.0, 1.0]])
    samples = bilinear_sample(torch.ones(1, 1, 2, 2), points[None, :, None]).flatten()
    assert_close(samples, torch.tensor([0, 0, 0, nan, 1]))


def test_positions_are_the_grid_plus_the_offsets():
    kernel, settings = (2, 3), {"stride": (2, 1), "padding": (1, 2), "dilation": (3, 2)}
    offset = noise(2, 24, 3, 4)
    positions = sampling_positions(offset, kernel, **settings)
    assert positions.shape == (2, 3, 4, 6, 2, 2)
    for n, i, j, g, a, b in np.ndindex(2, 3, 4, 2, *kernel):
        channel = 12 * g + 2 * (3 * a + b)
        down, right = offset[n, channel : channel + 2, i, j]
        here = torch.stack([2 * i - 1 + 3 * a + down, j - 2 + 2 * b + right])
        assert_close(positions[n, i, j, 3 * a + b, g], here)


def test_without_settings_the_grid_is_dense_and_begins_at_the_first_pixel():
    positions = sampling_positions(torch.zeros(1, 12, 4, 5), (3, 2))
    for i, j, a, b in np.ndindex(4, 5, 3, 2):
        assert positions[0, i, j, 2 * a + b, 0].tolist() == [i + a, j + b]


def test_everything_is_made_on_the_device_of_the_input():
    """Whatever the default device is: meta tensors hold no numbers."""
    input, weight, offset = noise(2, 4, 5, 5), noise(3, 4, 3, 3, seed=1), noise(2, 36, 3, 3)
    expected = deform_conv2d(input, offset, weight)
    with torch.device("meta"):
        output = deform_conv2d(input, offset, weight)
    assert_close(output, expected)


@pytest.mark.parametrize("mask", [None, torch.zeros(0, 9, 3, 3)], ids=["plain", "modulated"])
def test_an_empty_batch_gives_an_empty_output(mask):
    output = deform_conv2d(
        torch.zeros(0, 2, 5, 5), torch.zeros(0, 18, 3, 3), torch.zeros(4, 2, 3, 3), mask=mask
    )
    assert output.shape == (0, 4, 3, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_reads_the_right_pixels_of_a_wide_map(dtype):
    """bfloat16 has no whole numbers between 256 and 258, and float16 none between 2048 and 2050."""
    input = noise(1, 2, 3, 2100).to(dtype)
    offset, identity = torch.zeros(1, 2, 3, 2100, dtype=dtype), torch.eye(2, dtype=dtype)
    assert torch.equal(deform_conv2d(input, offset, identity[:, :, None, None]), input)
    moved = deform_conv2d(input, offset + 1, identity[:, :, None, None])
    assert torch.equal(moved[:, :, :-1, :-1], input[:, :, 1:, 1:])
    assert moved.dtype == dtype


INPUT, WEIGHT = torch.zeros(2, 4, 5, 6), torch.zeros(6, 4, 3, 3)
OFFSET, MASK = torch.zeros(2, 18, 3, 4), torch.zeros(2, 9, 3, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input": INPUT[0]}, r"input is of shape \(4, 5, 6\) .* use .* of shape \(N, C, H, W\)"),
        ({"input": INPUT.long()}, r"input .* torch.int64; use a tensor of floats"),
        (
            {"weight": WEIGHT[0]},
            r"weight is of shape \(4, 3, 3\) .* use .* of shape \(O, C, kh, kw\)$",
        ),
        ({"weight": WEIGHT[:, :3]}, r"weight .* reads 3 channels, .* does not divide the 4"),
        ({"weight": WEIGHT[:, :0]}, r"weight .* reads 0 channels, .* does not divide the 4"),
        ({"input": INPUT[:, :0]}, r"weight .* reads 4 channels, .* does not divide the 0"),
        ({"weight": WEIGHT[:5, :2]}, r"weight .* 2 groups .* does not divide its 5 filters"),
        ({"weight": WEIGHT.double()}, r"weight .* torch.float64; use .* torch.float32"),
        ({"bias": torch.zeros(4)}, r"bias is of shape \(4,\) .* use shape \(6,\)"),
        ({"offset": OFFSET[:, :17]}, r"offset is of shape \(2, 17, 3, 4\) .*\(2, 18, 3, 4\)"),
        ({"offset": OFFSET[0]}, r"offset is of shape \(18, 3, 4\) .*\(2, 18, 3, 4\)"),
        ({"offset": OFFSET[0, 0, 0]}, r"offset is of shape \(4,\) .*\(2, 18, 3, 4\)"),
        ({"offset": torch.zeros(2, 36)}, r"offset is of shape \(2, 36\) .*\(2, 36, 3, 4\)"),
        ({"offset": OFFSET[:1]}, r"offset is of shape \(1, 18, 3, 4\) .*\(2, 18, 3, 4\)"),
        ({"offset": OFFSET, "padding": 1}, r"offset is of .* use shape \(2, 18, 5, 6\)"),
        ({"offset": OFFSET.double()}, r"offset .* torch.float64; use .* torch.float32"),
        (
            {"offset": torch.zeros(2, 54, 3, 4)},
            r"groups in offset=3 does not divide the 4 channels; use a divisor of 4",
        ),
        ({"mask": MASK[:, :8]}, r"mask is of shape \(2, 8, 3, 4\) .* use shape \(2, 9, 3, 4\)"),
        ({"mask": MASK.half()}, r"mask .* torch.float16; use .* torch.float32"),
        ({"stride": 0}, r"stride=0 is too small"),
        ({"padding": (1, 1.5)}, r"padding=1.5 is not an integer"),
        ({"dilation": 0}, r"^dilation=0 is too small"),
        ({"dilation": 3}, r"kernel=3 with dilation=3 spans 7 but the padded input has 5"),
    ],
)
def test_errors_name_argument_value_and_remedy(changed, message):
    arguments = {"input": INPUT, "offset": OFFSET, "weight": WEIGHT, "mask": MASK}
    assert deform_conv2d(**arguments).shape == (2, 6, 3, 4)
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**(arguments | changed))


def test_positions_refuse_channels_that_fit_no_kernel():
    for channels in (0, 9, 20):
        message = (
            f"^offset has {channels} channels; a kernel of 3 x 3 needs 18, "
            "or a multiple of it for several groups$"
        )
        with pytest.raises(ValueError, match=message):
            sampling_positions(torch.zeros(1, channels, 2, 2), 3)


SETTINGS = {"stride": (2, 1), "padding": (1, 2), "dilation": 2, "groups": 2}


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_begins_as_an_ordinary_convolution(bias):
    torch.manual_seed(0)
    layer = DeformConv2d(4, 6, (3, 2), bias=bias, offset_groups=2, **SETTINGS)
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, (3, 2), bias=bias, **SETTINGS)
    input = noise(2, 4, 9, 8).float()
    assert_close(layer(input).detach(), plain(input).detach())
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, layer.get_parameter(name))


def test_a_modulated_layer_begins_with_masks_of_one_half():
    layer = DeformConv2d(3, 5, 3, padding=1, bias=False, modulated=True)
    input = noise(2, 3, 6, 6).float()
    offset, mask = layer.offsets(input)
    assert torch.equal(offset, torch.zeros(2, 18, 6, 6))
    assert torch.equal(mask, torch.full((2, 9, 6, 6), 0.5))
    half = 0.5 * F.conv2d(input, layer.weight, padding=1)
    assert_close(layer(input).detach(), half.detach())


@pytest.mark.parametrize("modulated", [True, False])
def test_the_layer_convolves_with_what_it_predicts(modulated):
    torch.manual_seed(1)
    layer = DeformConv2d(4, 6, (3, 2), offset_groups=2, modulated=modulated, **SETTINGS)
    nn.init.normal_(layer.predict.weight)
    nn.init.normal_(layer.predict.bias)
    input = noise(2, 4, 9, 8).float()
    weight, bias = layer.predict.weight, layer.predict.bias
    predicted = F.conv2d(input, weight, bias, (2, 1), (1, 2), 2)
    assert predicted.shape[1] == (36 if modulated else 24)
    mask = predicted[:, 24:].sigmoid() if modulated else None
    expected = deform_conv2d(
        input, predicted[:, :24], layer.weight, layer.bias, (2, 1), (1, 2), (2, 2), mask
    )
    assert_close(layer(input).detach(), expected.detach())
    positions = sampling_positions(predicted[:, :24], (3, 2), (2, 1), (1, 2), 2)
    assert torch.equal(layer.sampling_positions(input), positions)


def test_offsets_and_masks_are_learned():
    layer = DeformConv2d(2, 3, 3, padding=1, modulated=True)
    layer(noise(1, 2, 5, 5).float()).square().sum().backward()
    gradient = layer.predict.weight.grad
    assert gradient[:18].any()
    assert gradient[18:].any()


def test_the_layer_can_be_made_without_memory():
    with torch.device("meta"):
        layer = DeformConv2d(4, 8, 3, offset_groups=2, modulated=True)
        assert layer(torch.zeros(1, 4, 7, 7)).shape == (1, 8, 5, 5)


def test_the_layer_has_a_bias_and_takes_kernels_of_one_pixel():
    layer = DeformConv2d(2, 3, 1)
    assert layer.bias.shape == (3,)
    assert layer.predict.out_channels == 2
    assert (layer.offset_groups, layer.modulated) == (1, False)
    assert layer(torch.zeros(1, 2, 4, 5)).shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    ("name", "value"), [("kernel_size", 0), ("stride", 0), ("padding", -1), ("dilation", 0)]
)
def test_a_setting_that_is_too_small_is_named(name, value):
    settings, message = {"kernel_size": 3, name: value}, f"^{name}={value} is too small"
    with pytest.raises(ValueError, match=message):
        DeformConv2d(2, 3, **settings)
    with pytest.raises(ValueError, match=message):
        sampling_positions(torch.zeros(1, 18, 2, 2), **settings)


def test_the_layer_refuses_groups_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match="offset_groups=3 does not divide the 4 channels"):
        DeformConv2d(4, 8, 3, offset_groups=3)
    with pytest.raises(ValueError, match="offset_groups=0 is too small"):
        DeformConv2d(4, 8, 3, offset_groups=0)
    for channels in ((4, 6), (6, 4)):
        with pytest.raises(ValueError, match=r"^groups=3 does not divide the 4 channels"):
            DeformConv2d(*channels, 3, groups=3)


def test_the_layer_refuses_channels_and_groups_that_are_none():
    with pytest.raises(ValueError, match=r"^in_channels=0 is too small"):
        DeformConv2d(0, 8, 3)
    with pytest.raises(ValueError, match=r"^out_channels=0 is too small"):
        DeformConv2d(4, 0, 3)
    with pytest.raises(ValueError, match=r"^groups=0 is too small"):
        DeformConv2d(4, 8, 3, groups=0)
    assert DeformConv2d(1, 1, 1)(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)
