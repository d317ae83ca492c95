r"""The eight forms of VGG: published counts, biases under the normalisation, the initialisation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.vgg import CONFIGURATIONS, VGG, vgg_parameters
from coursepkg.testing import assert_close

#: Parameters, as torchvision's documentation gives them, and entries of the state.
COUNTS = {
    "vgg11": (132_863_336, 22),
    "vgg13": (133_047_848, 26),
    "vgg16": (138_357_544, 32),
    "vgg19": (143_667_240, 38),
    "vgg11_bn": (132_868_840, 22 + 5 * 8),
    "vgg13_bn": (133_053_736, 26 + 5 * 10),
    "vgg16_bn": (138_365_992, 32 + 5 * 13),
    "vgg19_bn": (143_678_248, 118),
}


def on_meta(name, **settings):
    with torch.device("meta"):
        return MODELS[name].factory(**settings)


def features(name, seed=0):
    """The convolutions with random float64 weights, without the classifier."""
    layers = on_meta(name).features.to_empty(device="cpu").double().eval()
    generator = torch.Generator().manual_seed(seed)
    for value in layers.state_dict().values():
        if value.ndim > 1:
            nn.init.normal_(value, 0, (2 / value[0].numel()) ** 0.5, generator)
        elif value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5, generator)
    return layers.requires_grad_(False)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    model = on_meta(name)
    state = model.state_dict()
    assert (sum(p.numel() for p in model.parameters()), len(state)) == COUNTS[name]
    assert MODELS[name].family == "vgg"


@pytest.mark.parametrize("name", COUNTS)
def test_the_name_tells_the_layers_with_weights(name):
    layers = [m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert f"vgg{len(layers)}" == name.removesuffix("_bn")
    assert all(layer.bias is not None for layer in layers)


def test_names_of_torchvision():
    state = on_meta("vgg11_bn").state_dict()
    assert list(state)[:8] == [
        *("features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"),
        *("features.1.running_mean", "features.1.running_var"),
        *("features.1.num_batches_tracked", "features.4.weight"),
    ]
    convs = [i for i, m in enumerate(on_meta("vgg16").features) if isinstance(m, nn.Conv2d)]
    assert convs == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert [n for n in on_meta("vgg16").state_dict() if n.startswith("classifier")] == [
        f"classifier.{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")
    ]


@pytest.mark.parametrize("name", ["vgg13", "vgg19_bn"])
def test_sizes_on_the_way(name):
    model = on_meta(name, num_classes=7)
    x, shapes = torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in model.features:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
    for side in (224, 250):
        image = torch.zeros(2, 3, side, side, device="meta")
        assert model.forward_features(image).shape == (2, 512, 7, 7)
        assert model(image).shape == (2, 7)
    assert model.get_submodule(*VGG.head_names).out_features == 7


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_the_maps_written_out(name):
    layers = features(name)
    y = x = torch.randn(
        (1, 3, 32, 48), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    place = 0
    for stage in CONFIGURATIONS["A"]:
        for _ in stage:
            y = F.conv2d(y, layers[place].weight, layers[place].bias, padding=1)
            if name.endswith("bn"):
                bn = layers[place + 1]
                y = F.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=1e-5)
            y = y.clamp(min=0)
            place += 3 if name.endswith("bn") else 2
        y = F.max_pool2d(y, 2, 2)
        place += 1
    assert_close(layers(x), y)
    assert y.shape == (1, 512, 1, 1)


def test_the_bias_under_the_normalisation_does_nothing_in_training():
    model = VGG(((4,),), batch_norm=True, num_classes=2)
    x = torch.randn((3, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    before = model.features(x)
    nn.init.constant_(model.features[0].bias, 0.5)
    assert_close(model.features(x), before, rtol=1e-5)
    model.eval()
    after = model.features(x)
    nn.init.zeros_(model.features[0].bias)
    assert (model.features(x) - after).abs().max() > 0.1


def test_the_initialisation():
    torch.manual_seed(0)
    model = VGG(((64,), (128, 128)), num_classes=2)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            std = (2 / (layer.out_channels * 9)) ** 0.5  # He, by what leaves a filter
            assert abs(layer.weight.std().item() / std - 1) < 0.05
        elif isinstance(layer, nn.Linear):
            assert abs(layer.weight.std().item() / 0.01 - 1) < 0.05
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert not layer.bias.any()


def test_half_of_the_hidden_units_are_dropped():
    classifier = on_meta("vgg16").classifier
    assert [(i, m.p) for i, m in enumerate(classifier) if isinstance(m, nn.Dropout)] == [
        (2, 0.5),
        (5, 0.5),
    ]


def test_gradient_of_a_small_one():
    torch.manual_seed(0)
    layers = VGG(((2,), (3, 2)), batch_norm=True, num_classes=2).features.double()
    x = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(layers, (x.requires_grad_(),))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("num_classes", [1000, 10])
def test_parameters_by_formula(name, num_classes):
    model = on_meta(name, num_classes=num_classes)
    letter = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}[name.removesuffix("_bn")]
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.features, model)]
    features, classifier = vgg_parameters(CONFIGURATIONS[letter], name.endswith("bn"), num_classes)
    assert [features, features + classifier] == counts
