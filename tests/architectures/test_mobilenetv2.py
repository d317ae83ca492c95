"""MobileNetV2: the published table, the inverted residual block, and rounded widths."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.mobilenetv2 import (
    InvertedResidual,
    MobileNetV2,
    make_divisible,
    mobilenet_v2,
)


def images(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def on_meta(build, **settings):
    with torch.device("meta"):
        return build(**settings)


def count(model):
    return sum(p.numel() for p in model.parameters())


def warm(block):
    """Let the running statistics differ from those of a new layer."""
    generator = torch.Generator().manual_seed(1)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return block.eval()


def test_counts_and_names_are_the_published_ones():
    model = on_meta(mobilenet_v2)
    names = list(model.state_dict())
    assert (count(model), len(names)) == (3504872, 314)
    assert names[0] == "features.0.0.weight"
    assert names[6:12] == [
        "features.1.conv.0.0.weight",
        "features.1.conv.0.1.weight",
        "features.1.conv.0.1.bias",
        "features.1.conv.0.1.running_mean",
        "features.1.conv.0.1.running_var",
        "features.1.conv.0.1.num_batches_tracked",
    ]
    assert {"features.1.conv.1.weight", "features.2.conv.3.bias"} < set(names)
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]


def test_the_stages_are_those_of_table_2():
    model = on_meta(mobilenet_v2)
    blocks = model.features[1:-1]
    widths = [block.conv[-1].num_features for block in blocks]
    assert widths == [16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    sizes, maps = [], torch.zeros(1, 3, 224, 224, device="meta")
    for layer in model.features:
        maps = layer(maps)
        sizes.append(maps.shape[-1])
    assert sizes == [112] * 2 + [56] * 2 + [28] * 3 + [14] * 7 + [7] * 5
    assert [block.has_shortcut for block in blocks].count(True) == 10


def test_every_activation_stops_at_six():
    model = on_meta(mobilenet_v2)
    kinds = [type(m) for m in model.modules() if isinstance(m, (nn.ReLU, nn.ReLU6))]
    assert kinds == [nn.ReLU6] * (2 + 16 * 2 + 1)
    assert all((m.eps, m.momentum) == (1e-5, 0.1) for m in model.modules() if hasattr(m, "eps"))
    assert model.classifier[0].p == 0.2


def test_first_weights_have_the_variance_of_he_over_the_outputs():
    torch.manual_seed(0)
    model = mobilenet_v2()
    weight = model.features[18][0].weight  # 320 -> 1280 channels, 1 x 1
    assert_close(weight.std().item(), (2 / 1280) ** 0.5, rtol=0.01, atol=0)
    depthwise = model.features[17].conv[1][0].weight  # fan-out 960 * 9, though each feeds 9
    assert_close(depthwise.std().item(), (2 / (960 * 9)) ** 0.5, rtol=0.03, atol=0)
    weight = model.classifier[1].weight
    assert_close(weight.std().item(), 0.01, rtol=0.01, atol=0)
    assert abs(weight.mean().item()) < 4 * 0.01 * weight.numel() ** -0.5
    assert not model.classifier[1].bias.any()


def test_features_are_the_maps_before_the_pooling():
    model = warm(MobileNetV2(num_classes=7, width_mult=0.25)).double()
    input = images(2, 3, 64, 96)
    maps = model.forward_features(input)
    assert maps.shape == (2, 1280, 2, 3)
    head = model.get_submodule(model.head_names[0])
    assert head.out_features == 7
    assert_close(model(input), head(maps.mean((2, 3))))


def test_the_block_is_what_its_formula_says():
    block = warm(InvertedResidual(4, 4, 1, 3)).double()
    input = images(2, 4, 7, 6)
    expand, filter, project, norm = block.conv
    maps = F.hardtanh(expand[1](F.conv2d(input, expand[0].weight)), 0, 6)
    maps = torch.stack(
        [
            F.conv2d(maps[:, i : i + 1], filter[0].weight[i : i + 1], padding=1)[:, 0]
            for i in range(12)
        ],
        dim=1,
    )
    maps = F.hardtanh(filter[1](maps), 0, 6)
    assert_close(block(input), input + norm(F.conv2d(maps, project.weight)))


@pytest.mark.parametrize(
    ("channels", "stride", "has_shortcut"), [(4, 1, True), (4, 2, False), (6, 1, False)]
)
def test_the_input_is_added_where_the_shape_stays(channels, stride, has_shortcut):
    block = warm(InvertedResidual(4, channels, stride, 2)).double()
    input = images(2, 4, 6, 6)
    steps = block.conv(input)
    assert block.has_shortcut == has_shortcut
    assert_close(block(input), steps + input if has_shortcut else steps)
    assert steps.shape == (2, channels, 6 // stride, 6 // stride)


def test_the_bottleneck_is_linear():
    """Without an activation at the end, outputs of both signs and of any size come out."""
    block = warm(InvertedResidual(4, 5, 1, 2)).double()
    nn.init.constant_(block.conv[-1].weight, 100.0)
    output = block(images(2, 4, 6, 6))
    assert output.min() < -6
    assert output.max() > 6


def test_without_expansion_there_is_no_first_step():
    assert len(InvertedResidual(4, 4, 1, 1).conv) == 3
    assert len(InvertedResidual(4, 4, 1, 2).conv) == 4


def test_the_gradient_of_the_block_is_that_of_central_differences():
    block = warm(InvertedResidual(2, 2, 1, 2)).double()
    assert torch.autograd.gradcheck(block, images(1, 2, 4, 3).requires_grad_())


@pytest.mark.parametrize("channels", [1, 8, 24, 96])
@pytest.mark.parametrize("factor", [2, 6])
def test_the_number_of_weights_is_that_of_the_formula(channels, factor):
    block = InvertedResidual(channels, channels, 1, factor)
    wide = factor * channels
    weights = sum(p.numel() for p in block.parameters() if p.ndim == 4)
    assert weights == channels * wide + 9 * wide + wide * channels


@given(st.floats(0.01, 1e5), st.integers(1, 32))
def test_rounded_widths_are_the_nearest_multiple_that_keeps_nine_tenths(channels, divisor):
    rounded = make_divisible(channels, divisor)
    assert rounded % divisor == 0
    assert rounded >= divisor
    assert rounded >= 0.9 * channels
    multiples = divisor * np.arange(1, channels // divisor + 3)
    allowed = multiples[multiples >= 0.9 * channels]
    assert abs(rounded - channels) <= abs(allowed - channels).min() * (1 + 1e-12)


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [
        (1, 8),
        (8, 8),
        (9, 16),
        (18, 24),
        (11, 16),
        (12, 16),
        (20, 24),
        (24.0, 24),
        (36, 40),
        (35.2, 32),
    ],
)
def test_rounded_widths_by_hand(channels, rounded):
    assert make_divisible(channels) == rounded


@pytest.mark.parametrize(("width_mult", "parameters"), [(0.5, 1968680), (1.4, 6108776)])
def test_widths_scale_and_the_last_never_shrinks(width_mult, parameters):
    model = on_meta(MobileNetV2, width_mult=width_mult)
    assert count(model) == parameters
    assert model.classifier[1].in_features == (1280 if width_mult < 1 else 1792)


@pytest.mark.parametrize(("width_mult", "stem", "last"), [(1.1, 32, 1408), (1.003, 32, 1280)])
def test_all_widths_are_rounded(width_mult, stem, last):
    """35.2 is nearer to 32 than to 40, and 1283.84 to 1280 than to 1288."""
    model = on_meta(MobileNetV2, width_mult=width_mult)
    assert model.features[0][0].out_channels == stem
    assert model.features[-1][0].out_channels == last


def test_one_class_is_enough():
    assert on_meta(MobileNetV2, num_classes=1).classifier[1].weight.shape == (1, 1280)


def test_bad_arguments_are_named():
    wrong = [
        (lambda: make_divisible(0), "channels=0 is too small; use a number greater than 0"),
        (lambda: make_divisible(float("nan")), "channels=nan is too small"),
        (lambda: make_divisible(8, 0), "divisor=0 is too small"),
        (lambda: InvertedResidual(0, 4, 1, 6), "in_channels=0 is too small"),
        (lambda: InvertedResidual(4, 0, 1, 6), "out_channels=0 is too small"),
        (lambda: InvertedResidual(4, 4, 0, 6), "stride=0 is too small"),
        (lambda: InvertedResidual(4, 4, 1, 1.5), "expand_ratio=1.5 is not an integer"),
        (lambda: mobilenet_v2(num_classes=0), "num_classes=0 is too small"),
        (lambda: MobileNetV2(0), "num_classes=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
