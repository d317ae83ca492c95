r"""The small AlexNet: one thing changed at a time, and nothing else."""

import pytest
import torch
from torch import nn

from coursepkg.architectures.deeper import ACTIVATIONS, INITS
from coursepkg.architectures.small_alexnet import NORMS, SmallAlexNet


def kinds(**settings):
    return [type(m) for m in SmallAlexNet(**settings).features]


def test_layers_and_sizes():
    plain = kinds()
    assert plain[:3] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    assert plain.count(nn.Conv2d) == 5
    model = SmallAlexNet()
    assert model.features(torch.zeros(2, 1, 28, 28)).shape == (2, 16, 2, 2)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    by_hand = (1 * 25 + 1) * 8 + (8 * 9 + 1) * 16 + (16 * 9 + 1) * 24 + (24 * 9 + 1) * (24 + 16)
    by_hand += (16 * 4 + 1) * 128 + 129 * 10
    assert sum(p.numel() for p in model.parameters()) == by_hand


def test_tanh_in_place_of_relu_everywhere():
    model = SmallAlexNet(activation="tanh")
    found = [type(m) for m in model.modules() if isinstance(m, nn.ReLU | nn.Tanh)]
    assert found == [nn.Tanh] * 6
    assert kinds() == [nn.ReLU if k is nn.Tanh else k for k in kinds(activation="tanh")]


def test_local_normalisation_behind_two_activations():
    found = kinds(norm="local")
    places = [i for i, k in enumerate(found) if k is nn.LocalResponseNorm]
    assert [found[i - 1 : i + 2] for i in places] == [
        [nn.ReLU, nn.LocalResponseNorm, nn.MaxPool2d]
    ] * 2
    assert [k for k in found if k is not nn.LocalResponseNorm] == kinds()


def test_batch_normalisation_before_five_activations():
    found = kinds(norm="batch")
    places = [i for i, k in enumerate(found) if k is nn.BatchNorm2d]
    assert [found[i - 1 : i + 2] for i in places] == [[nn.Conv2d, nn.BatchNorm2d, nn.ReLU]] * 5
    assert [k for k in found if k is not nn.BatchNorm2d] == kinds()


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("small", lambda fan_in, fan_out: 0.01),
        ("xavier", lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
        ("he", lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
    ],
)
def test_first_weights(init, std):
    torch.manual_seed(0)
    for layer in SmallAlexNet(init=init).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            taps = layer.weight[0, 0].numel()
            fan_in, fan_out = layer.weight[0].numel(), layer.weight.shape[0] * taps
            assert abs(layer.weight.std().item() / std(fan_in, fan_out) - 1) < 0.1
            assert not layer.bias.any()


def test_the_same_seed_gives_the_same_weights_whatever_the_norm():
    states = []
    for norm in NORMS:
        torch.manual_seed(0)
        model = SmallAlexNet(norm=norm)
        states.append([p for p in model.parameters() if p.ndim > 1])
    for other in states[1:]:
        assert all(torch.equal(a, b) for a, b in zip(states[0], other, strict=True))


def test_units_are_dropped_before_the_last_layer():
    model = SmallAlexNet(dropout=0.3)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.3]
    assert isinstance(model.classifier[-2], nn.Dropout)


@pytest.mark.parametrize(
    ("name", "table"), [("activation", ACTIVATIONS), ("norm", NORMS), ("init", INITS)]
)
def test_unknown_settings_are_refused(name, table):
    with pytest.raises(ValueError, match=f"{name}='x' is unknown; use one of {', '.join(table)}"):
        SmallAlexNet(**{name: "x"})
