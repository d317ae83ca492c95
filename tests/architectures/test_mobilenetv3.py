"""MobileNetV3: both published networks, and their block."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.mobilenetv3 import (
    LARGE,
    SMALL,
    BlockSettings,
    InvertedResidual,
    MobileNetV3,
    mobilenet_v3_large,
    mobilenet_v3_small,
)
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def on_meta(build):
    with torch.device("meta"):
        return build()


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("build", "parameters", "entries", "squeezes", "hidden"),
    [(mobilenet_v3_large, 5483032, 312, 8, 1280), (mobilenet_v3_small, 2542856, 244, 9, 1024)],
)
def test_counts_and_settings_are_the_published_ones(build, parameters, entries, squeezes, hidden):
    model = on_meta(build)
    assert (count(model), len(model.state_dict())) == (parameters, entries)
    assert sum(isinstance(m, SqueezeExcitation) for m in model.modules()) == squeezes
    assert [type(layer) for layer in model.classifier] == [
        nn.Linear,
        nn.Hardswish,
        nn.Dropout,
        nn.Linear,
    ]
    assert model.classifier[0].out_features == hidden
    assert model.classifier[2].p == 0.2
    settings = {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert settings == {(1e-3, 0.01)}


def test_the_names_are_those_of_the_library():
    names = list(on_meta(mobilenet_v3_small).state_dict())
    assert names[0] == "features.0.0.weight"
    assert [n for n in names if n.startswith("features.1.") and n.endswith("weight")] == [
        "features.1.block.0.0.weight",
        "features.1.block.0.1.weight",
        "features.1.block.1.fc1.weight",
        "features.1.block.1.fc2.weight",
        "features.1.block.2.0.weight",
        "features.1.block.2.1.weight",
    ]
    assert names[-4:] == [f"classifier.{i}.{n}" for i in (0, 3) for n in ("weight", "bias")]


@pytest.mark.parametrize(
    ("build", "sizes"),
    [
        (mobilenet_v3_large, [112] * 2 + [56] * 2 + [28] * 3 + [14] * 6 + [7] * 4),
        (mobilenet_v3_small, [112, 56] + [28] * 2 + [14] * 5 + [7] * 4),
    ],
)
def test_the_maps_shrink_as_in_the_tables(build, sizes):
    maps, seen = torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in on_meta(build).features:
        maps = layer(maps)
        seen.append(maps.shape[-1])
    assert seen == sizes


@pytest.mark.parametrize("table", [LARGE, SMALL], ids=["large", "small"])
def test_squeeze_widths_are_a_quarter_in_eights_of_the_wide_middle(table):
    with torch.device("meta"):
        model = MobileNetV3(table, 64)
    widths = [m.fc1.out_channels for m in model.modules() if isinstance(m, SqueezeExcitation)]
    expected = {16: 8, 72: 24, 96: 24, 120: 32, 144: 40, 240: 64, 288: 72, 480: 120, 576: 144}
    expected |= {672: 168, 960: 240}
    assert widths == [expected[row.expanded] for row in table if row.has_squeeze]
    assert all(n % 8 == 0 for n in widths)


def test_the_shallow_half_has_relu_and_the_deep_half_hard_swish():
    model = on_meta(mobilenet_v3_large)
    kinds = [type(block.block[0][2]) for block in model.features[1:-1]]
    assert kinds == [nn.ReLU] * 6 + [nn.Hardswish] * 9


@pytest.mark.parametrize("swish", [False, True])
def test_the_block_is_what_its_text_says(swish):
    torch.manual_seed(0)
    block = InvertedResidual(8, BlockSettings(5, 32, 8, True, swish, 1)).double().eval()
    nn.init.normal_(block.block[2].fc2.weight, std=5)
    activation = F.hardswish if swish else F.relu
    input = images(2, 8, 7, 6)
    expand, filter, weigh, project = block.block
    maps = activation(expand[1](F.conv2d(input, expand[0].weight)))
    maps = activation(filter[1](F.conv2d(maps, filter[0].weight, padding=2, groups=32)))
    squeezed = maps.mean((2, 3), keepdim=True)
    hidden = F.relu(F.conv2d(squeezed, weigh.fc1.weight, weigh.fc1.bias))
    scores = F.conv2d(hidden, weigh.fc2.weight, weigh.fc2.bias)
    maps = maps * ((scores + 3) / 6).clamp(0, 1)
    assert_close(block(input), input + project[1](F.conv2d(maps, project[0].weight)))


@pytest.mark.parametrize(
    ("settings", "layers", "has_shortcut"),
    [
        (BlockSettings(3, 8, 8, False, False, 1), 2, True),
        (BlockSettings(3, 8, 8, True, False, 2), 3, False),
        (BlockSettings(3, 16, 8, True, False, 1), 4, True),
        (BlockSettings(3, 16, 16, False, False, 1), 3, False),
    ],
)
def test_parts_stand_where_they_should(settings, layers, has_shortcut):
    block = InvertedResidual(8, settings)
    assert (len(block.block), block.has_shortcut) == (layers, has_shortcut)
    size = 6 // settings.stride
    assert block(torch.zeros(2, 8, 6, 6)).shape == (2, settings.out_channels, size, size)


def test_the_gradient_of_the_block_is_that_of_central_differences():
    torch.manual_seed(0)
    block = InvertedResidual(4, BlockSettings(3, 8, 4, True, False, 1)).double().eval()
    assert torch.autograd.gradcheck(block, images(1, 4, 4, 3).requires_grad_())


def test_features_are_the_maps_before_the_pooling_and_the_head_is_the_last_layer():
    torch.manual_seed(0)
    model = MobileNetV3(SMALL[:4], 16, num_classes=5).double().eval()
    input = images(2, 3, 32, 48)
    maps = model.forward_features(input)
    assert maps.shape == (2, 240, 2, 3)
    assert_close(model(input), model.classifier(maps.mean((2, 3))))
    assert model.get_submodule(model.head_names[0]).out_features == 5


def test_first_weights_are_those_of_the_library():
    torch.manual_seed(0)
    model = mobilenet_v3_small()
    assert_close(model.features[-1][0].weight.std().item(), (2 / 576) ** 0.5, rtol=0.01, atol=0)
    assert_close(model.classifier[3].weight.std().item(), 0.01, rtol=0.01, atol=0)
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith("bias"))


def test_bad_arguments_are_named():
    wrong = [
        (lambda: MobileNetV3(SMALL, 0), "hidden=0 is too small"),
        (lambda: mobilenet_v3_small(num_classes=0), "num_classes=0 is too small"),
        (lambda: InvertedResidual(0, SMALL[0]), "in_channels=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
