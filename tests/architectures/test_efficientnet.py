"""EfficientNet: compound scaling, its block, and the eight published networks."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures import efficientnet
from coursepkg.architectures.efficientnet import (
    CHANNELS,
    FACTORS,
    REPEATS,
    STAGES,
    EfficientNet,
    MBConv,
    compound_scaling,
    efficientnet_b0,
)
from coursepkg.architectures.registry import MODELS


def images(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def on_meta(number):
    with torch.device("meta"):
        return getattr(efficientnet, f"efficientnet_b{number}")()


def count(model):
    return sum(p.numel() for p in model.parameters())


PUBLISHED = [  # parameters, state entries, depth of the stages, width of the last convolution
    (5288548, 360, (1, 2, 2, 3, 3, 4, 1), 1280),
    (7794184, 508, (2, 3, 3, 4, 4, 5, 2), 1280),
    (9109994, 508, (2, 3, 3, 4, 4, 5, 2), 1408),
    (12233232, 574, (2, 3, 3, 5, 5, 6, 2), 1536),
    (19341616, 706, (2, 4, 4, 6, 6, 8, 2), 1792),
    (30389784, 854, (3, 5, 5, 7, 7, 9, 3), 2048),
    (43040704, 986, (3, 6, 6, 8, 8, 11, 3), 2304),
    (66347960, 1200, (4, 7, 7, 10, 10, 13, 4), 2560),
]


@pytest.mark.parametrize("number", range(8))
def test_counts_depths_and_widths_are_the_published_ones(number):
    model = on_meta(number)
    parameters, entries, depths, last = PUBLISHED[number]
    assert (count(model), len(model.state_dict())) == (parameters, entries)
    assert tuple(len(stage) for stage in model.features[1:-1]) == depths
    assert model.features[-1][0].out_channels == last


@pytest.mark.parametrize("number", range(8))
def test_normalisation_dropout_and_stochastic_depth_are_those_of_the_library(number):
    model = on_meta(number)
    settings = {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert settings == {(1e-5, 0.1) if number <= 4 else (1e-3, 0.01)}
    assert model.classifier[0].p == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5][number]
    drops = [block.stochastic_depth.p for stage in model.features[1:-1] for block in stage]
    np.testing.assert_allclose(drops, 0.2 * np.arange(len(drops)) / len(drops))


def test_input_sizes_are_those_at_which_the_weights_were_measured():
    sizes = [MODELS[f"efficientnet_b{n}"].input_size for n in range(8)]
    assert sizes == [(3, n, n) for n in (224, 240, 288, 300, 380, 456, 528, 600)]


def test_the_names_are_those_of_the_library():
    names = list(on_meta(0).state_dict())
    assert names[0] == "features.0.0.weight"
    assert [n for n in names if n.startswith("features.1.0.block.1.")] == [
        "features.1.0.block.1.fc1.weight",
        "features.1.0.block.1.fc1.bias",
        "features.1.0.block.1.fc2.weight",
        "features.1.0.block.1.fc2.bias",
    ]
    assert {"features.2.0.block.3.1.running_var", "features.8.1.weight"} < set(names)
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]


def test_b0_is_table_1_of_the_paper():
    model = on_meta(0)
    sizes, maps = [], torch.zeros(1, 3, 224, 224, device="meta")
    for layer in model.features:
        maps = layer(maps)
        sizes.append(tuple(maps.shape[1:3]))
    channels = (*CHANNELS, 1280)
    assert sizes == list(zip(channels, (112, 112, 56, 28, 14, 14, 7, 7, 7), strict=True))
    for stage, (expand, kernel, stride) in zip(model.features[1:-1], STAGES, strict=True):
        for i, block in enumerate(stage):
            depthwise = block.block[0 if expand == 1 else 1][0]
            assert depthwise.kernel_size == (kernel, kernel)
            assert depthwise.stride == ((stride, stride) if i == 0 else (1, 1))
            assert depthwise.groups == depthwise.in_channels
            inside = block.block[0][0].in_channels
            assert depthwise.in_channels == expand * inside
            assert block.block[-2].fc1.out_channels == inside // 4


def test_first_weights_are_those_of_the_library():
    torch.manual_seed(0)
    model = efficientnet_b0()
    assert_close(model.features[8][0].weight.std().item(), (2 / 1280) ** 0.5, rtol=0.01, atol=0)
    limit = 1000**-0.5
    weight = model.classifier[1].weight
    assert 0.999 * limit < weight.max() <= limit
    assert -limit <= weight.min() < -0.999 * limit
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    assert not any(bias.any() for bias in biases)


def small():
    torch.manual_seed(0)
    return EfficientNet([8] * 8, [1, 2, 1, 1, 1, 1, 1], num_classes=5).double()


def test_features_are_the_maps_before_the_pooling():
    model = small().eval()
    input = images(2, 3, 64, 96)
    maps = model.forward_features(input)
    assert maps.shape == (2, 32, 2, 3)
    head = model.get_submodule(model.head_names[0])
    assert_close(model(input), head(maps.mean((2, 3))))


def test_stem_and_last_convolution_are_activated():
    with torch.device("meta"):
        model = EfficientNet()
    for layer in (model.features[0], model.features[-1]):
        assert [type(part) for part in layer] == [nn.Conv2d, nn.BatchNorm2d, nn.SiLU]
        assert layer[2].inplace
    assert model.classifier[0].inplace
    assert model.classifier[1].weight.shape == (1000, 1280)


def test_one_class_is_enough():
    with torch.device("meta"):
        assert EfficientNet(num_classes=1).classifier[1].out_features == 1


def test_only_the_growing_part_of_the_blocks_is_skipped():
    """With probability 1 every block with a shortcut is the identity in training."""
    block = MBConv(8, 8, 3, 1, 6, drop_probability=1.0)
    input = images(3, 8, 5, 5, dtype=torch.float32)
    assert torch.equal(block(input), input)
    assert not torch.equal(block.eval()(input), input)
    other = MBConv(8, 16, 3, 1, 6, drop_probability=1.0)
    assert other(input).abs().min() > 0


def test_the_block_is_what_its_text_says():
    block = MBConv(8, 8, 5, 1, 2).double().eval()
    input = images(2, 8, 7, 6)
    expand, filter, weigh, project = block.block
    maps = F.silu(expand[1](F.conv2d(input, expand[0].weight)))
    maps = F.silu(filter[1](F.conv2d(maps, filter[0].weight, padding=2, groups=16)))
    squeezed = maps.mean((2, 3), keepdim=True)
    hidden = F.silu(F.conv2d(squeezed, weigh.fc1.weight, weigh.fc1.bias))
    maps = maps * torch.sigmoid(F.conv2d(hidden, weigh.fc2.weight, weigh.fc2.bias))
    assert weigh.fc1.weight.shape == (2, 16, 1, 1)
    assert_close(block(input), input + project[1](F.conv2d(maps, project[0].weight)))


@pytest.mark.parametrize(
    ("channels", "stride", "expand", "layers", "has_shortcut"),
    [(8, 1, 1, 3, True), (8, 2, 6, 4, False), (16, 1, 6, 4, False)],
)
def test_shortcut_and_first_step_stand_where_they_should(
    channels, stride, expand, layers, has_shortcut
):
    block = MBConv(8, channels, 3, stride, expand)
    assert (len(block.block), block.has_shortcut) == (layers, has_shortcut)
    assert block(torch.zeros(2, 8, 6, 6)).shape == (2, channels, 6 // stride, 6 // stride)


def test_the_squeeze_is_never_narrower_than_one():
    assert MBConv(3, 3, 3, 1, 2).block[2].fc1.out_channels == 1


def test_the_gradient_of_the_block_is_that_of_central_differences():
    torch.manual_seed(0)
    block = MBConv(4, 4, 3, 1, 2).double().eval()
    assert torch.autograd.gradcheck(block, images(1, 4, 4, 3).requires_grad_())


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_compound_scaling_makes_all_eight(factors):
    number = FACTORS.index(factors)
    channels, repeats, resolution = compound_scaling(
        CHANNELS,
        REPEATS,
        224,
        alpha=factors.depth,
        beta=factors.width,
        gamma=factors.resolution / 224,
    )
    assert tuple(repeats) == PUBLISHED[number][2]
    assert 4 * channels[-1] == PUBLISHED[number][3]
    assert resolution == (224, 240, 260, 300, 380, 456, 528, 600)[number]


def test_nothing_is_scaled_with_phi_0():
    assert compound_scaling(CHANNELS, REPEATS, 224, phi=0) == ([*CHANNELS], [*REPEATS], 224)


@pytest.mark.parametrize("phi", [0.3, 1, 2.5, 6])
def test_scaling_rounds_depth_up_width_to_eights_and_size_to_whole_pixels(phi):
    channels, repeats, resolution = compound_scaling([24, 40, 320], [1, 2, 7], 224, phi=phi)
    assert repeats == [math.ceil(n * 1.2**phi) for n in (1, 2, 7)]
    assert abs(resolution - 224 * 1.15**phi) <= 0.5
    for before, after in zip([24, 40, 320], channels, strict=True):
        exact = before * 1.1**phi
        assert after % 8 == 0
        assert 0.9 * exact <= after <= exact + 8


def test_the_smallest_numbers_are_allowed():
    factors = {"alpha": 0.5, "beta": 0.5, "gamma": 0.75}
    assert compound_scaling([1], [1], 1, **factors) == ([8], [1], 1)


def test_scaling_by_hand():
    assert compound_scaling([10], [3], 100, alpha=2, beta=1.5, gamma=1.25) == ([16], [6], 125)
    assert compound_scaling([10], [3], 100, phi=2, alpha=2, beta=1.5, gamma=1.25) == (
        [24],
        [12],
        156,
    )


def test_the_constants_nearly_double_the_cost():
    """Tan & Le (2019), section 4: alpha 1.2, beta 1.1, gamma 1.15."""
    alpha, beta, gamma = 1.2, 1.1, 1.15
    assert alpha * beta**2 * gamma**2 == pytest.approx(1.92, abs=0.001)


def test_bad_arguments_are_named():
    wrong = [
        (lambda: compound_scaling([8], [1], 224, phi=-1), "phi=-1 is negative"),
        (lambda: compound_scaling([8], [1], 224, alpha=0), "alpha=0 is too small"),
        (lambda: compound_scaling([8], [1], 224, beta=-1.0), r"beta=-1\.0 is too small"),
        (lambda: compound_scaling([8], [1], 224, gamma=float("nan")), "gamma=nan is too small"),
        (lambda: compound_scaling([0], [1], 224), "channels=0 is too small"),
        (lambda: compound_scaling([8], [1.5], 224), "repeats=1.5 is not an integer"),
        (lambda: compound_scaling([8], [1], 0), "resolution=0 is too small"),
        (lambda: MBConv(0, 8, 3, 1, 6), "in_channels=0 is too small"),
        (lambda: MBConv(8, 8, 3, 1, 0), "expand_ratio=0 is too small"),
        (lambda: MBConv(8, 8, 3, 1, 6, 1.5), "p=1.5 is no probability"),
        (lambda: EfficientNet([8] * 7), "do not describe a stem and seven stages; pass 8 and 7"),
        (lambda: EfficientNet(repeats=[1] * 8), "do not describe a stem and seven stages"),
        (lambda: efficientnet_b0(num_classes=0), "num_classes=0 is too small"),
        (lambda: EfficientNet([8] * 8, [1] * 7, num_classes=0), "num_classes=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
