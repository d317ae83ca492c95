"""The claims of the page "Dense, squeeze-and-excitation, efficient"."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.alexnet import alexnet
from coursepkg.architectures.densenet import DenseBlock, densenet121
from coursepkg.architectures.efficientnet import (
    CHANNELS,
    FACTORS,
    REPEATS,
    EfficientNet,
    compound_scaling,
)
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.resnet import resnet50
from coursepkg.architectures.senet import seresnet50
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation
from coursepkg.architectures.summary import summary


def on_meta(build, **settings):
    with torch.device("meta"):
        return build(**settings)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.covers("A08")
@pytest.mark.parametrize(("layers", "channels", "rate"), [(6, 64, 32), (3, 5, 2), (1, 4, 7)])
def test_a_dense_block_keeps_everything_and_grows_by_its_rate(layers, channels, rate):
    torch.manual_seed(0)
    block = DenseBlock(layers, channels, rate).eval()
    x = torch.randn(2, channels, 5, 4)
    y = block(x)
    assert y.shape == (2, channels + layers * rate, 5, 4)
    assert torch.equal(y[:, :channels], x)
    for i, layer in enumerate(block.values()):
        before = channels + i * rate
        assert_close(y[:, before : before + rate], layer(y[:, :before]))


@pytest.mark.covers("A08")
def test_the_channels_and_parameters_of_densenet_121():
    model = on_meta(densenet121)
    assert (count(model), len(model.state_dict())) == (7978856, 727)
    walk = [row.shape for row in summary(model, (3, 224, 224), depth=2).layers]
    blocks = [(256, 56), (128, 28), (512, 28), (256, 14), (1024, 14), (512, 7), (1024, 7)]
    assert [shape[:2] for shape in walk[4:11]] == blocks


@pytest.mark.covers("E40")
def test_a_layer_reaches_no_further_than_its_block():
    """The layers of a block read its input and its own maps, and nothing from before."""
    model = on_meta(densenet121).features
    for number, (into, layers) in enumerate([(64, 6), (128, 12), (256, 24), (512, 16)], start=1):
        block = model.get_submodule(f"denseblock{number}")
        read = [layer.conv1.in_channels for layer in block.values()]
        assert read == [into + 32 * i for i in range(layers)]


@pytest.mark.covers("E40")
def test_a_hypercolumn_takes_three_layers_of_alexnet():
    """Hariharan et al. (2015), section 3: pool2, conv4 and fc7, 4096 + 384 + 256 numbers."""
    model, made = on_meta(alexnet, variant="paper").eval(), {}
    places = {"pool2": "features.7", "conv4": "features.10", "fc7": "classifier.3"}
    for name, place in places.items():
        model.get_submodule(place).register_forward_hook(
            lambda layer, _, output, name=name: made.update({name: (type(layer), output.shape)})
        )
    model(torch.zeros(1, 3, 224, 224, device="meta"))
    assert made == {
        "pool2": (nn.MaxPool2d, (1, 256, 13, 13)),
        "conv4": (nn.Conv2d, (1, 384, 13, 13)),
        "fc7": (nn.Linear, (1, 4096)),
    }
    learned = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert learned[3] is model.features[10]
    assert learned[6] is model.classifier[3]
    assert len(learned) == 8
    assert sum(shape[1] for _, shape in made.values()) == 4736


@pytest.mark.covers("A09")
def test_what_squeeze_and_excitation_adds_to_resnet_50():
    plain, gated = on_meta(resnet50), on_meta(seresnet50)
    stages = {256: 3, 512: 4, 1024: 6, 2048: 3}
    weights = sum(2 * n * c * c // 16 for c, n in stages.items())
    biases = sum(n * (c + c // 16) for c, n in stages.items())
    assert (weights, biases) == (2514944, 16048)
    assert count(gated) - count(plain) == weights + biases
    assert (count(gated), len(gated.state_dict())) == (28088024, 384)
    macs = [summary(model, (3, 224, 224)).macs for model in (plain, gated)]
    assert macs[1] - macs[0] == weights
    gates = [m for m in gated.modules() if isinstance(m, SqueezeExcitation)]
    assert [m.fc1.in_channels for m in gates] == [c for c, n in stages.items() for _ in range(n)]
    assert all(m.fc1.out_channels * 16 == m.fc1.in_channels for m in gates)


@pytest.mark.covers("E12")
def test_excitation_is_two_layers_and_its_gates_only_damp():
    torch.manual_seed(0)
    block = SqueezeExcitation(32, 2)
    layers = [m.weight.shape[:2] for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert layers == [(2, 32), (32, 2)]
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=3)
    maps = 100 * torch.randn(8, 32, 6, 6)
    assert (block(maps).abs() <= maps.abs()).all()
    assert block.scale(maps).max() <= 1
    assert block.scale(maps).min() >= 0


@pytest.mark.covers("A10")
def test_counts_and_costs_of_the_eight():
    counts, macs = [], []
    for number, factors in enumerate(FACTORS):
        model = on_meta(MODELS[f"efficientnet_b{number}"].factory)
        figures = summary(model, (3, factors.resolution, factors.resolution))
        counts.append(figures.parameters)
        macs.append(figures.macs / 1e9)
    assert counts == [5288548, 7794184, 9109994, 12233232, 19341616, 30389784, 43040704, 66347960]
    # Tan & Le (2019), table 2, round to one or two digits
    np.testing.assert_allclose(macs, [0.39, 0.70, 1.0, 1.8, 4.2, 9.9, 19, 37], rtol=0.05)


@pytest.mark.covers("A10")
def test_doubling_depth_doubles_and_doubling_size_quadruples_the_cost():
    still = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}

    def cost(**scaling):
        channels, repeats, size = compound_scaling(CHANNELS, REPEATS, 224, **(still | scaling))
        model = on_meta(EfficientNet, channels=channels, repeats=repeats)
        return summary(model, (3, size, size)).macs

    base = cost()
    assert cost(alpha=2.0) / base == pytest.approx(2, rel=0.05)
    assert cost(beta=2.0) / base == pytest.approx(4, rel=0.1)
    assert cost(gamma=2.0) / base == pytest.approx(4, rel=0.01)
    assert cost(alpha=1.2, beta=1.1, gamma=1.15) / base == pytest.approx(2.57, abs=0.01)


@pytest.mark.covers("A10")
def test_no_single_exponent_gives_the_published_b7():
    depth, width, resolution, _ = FACTORS[7]
    exponents = np.log([depth, width, resolution / 224]) / np.log([1.2, 1.1, 1.15])
    np.testing.assert_allclose(exponents, [6.21, 7.27, 7.05], atol=0.01)


@pytest.mark.covers("E22")
def test_b0_is_as_large_as_the_search_aimed_at_and_the_others_follow_from_it():
    b0 = on_meta(EfficientNet)
    assert summary(b0, (3, 224, 224)).macs == pytest.approx(400e6, rel=0.05)
    kernels = [stage[0].block[-3][0].kernel_size[0] for stage in b0.features[1:-1]]
    assert kernels == [3, 3, 5, 3, 5, 5, 3]
    for number, factors in enumerate(FACTORS):
        settings = {"alpha": factors.depth, "beta": factors.width}
        channels, repeats, _ = compound_scaling(CHANNELS, REPEATS, 224, **settings)
        made = on_meta(EfficientNet, channels=channels, repeats=repeats)
        assert count(made) == count(on_meta(MODELS[f"efficientnet_b{number}"].factory))
