r"""Dense networks against counts, and layers against sums written out."""

import pytest
import torch
import torch.nn.functional as F
from normed import noise, normalise, perturbed
from torch import nn

from coursepkg.architectures.densenet import DenseBlock, DenseLayer, DenseNet, Transition
from coursepkg.architectures.registry import MODELS
from coursepkg.testing import assert_close

#: Parameters and entries of the state_dict, as published by torchvision 0.29.1.
PUBLISHED = {
    "densenet121": (7_978_856, 727),
    "densenet161": (28_681_000, 967),
    "densenet169": (14_149_480, 1015),
    "densenet201": (20_013_928, 1207),
}


def on_meta(name):
    with torch.device("meta"):
        return MODELS[name].factory()


def by_hand(layer, x):
    x = normalise(x, layer.norm1).clamp(min=0)
    x = torch.einsum("nchw,dc->ndhw", x, layer.conv1.weight[:, :, 0, 0])
    return F.conv2d(normalise(x, layer.norm2).clamp(min=0), layer.conv2.weight, padding=1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_entries(name):
    model = on_meta(name)
    assert (sum(p.numel() for p in model.parameters()), len(model.state_dict())) == PUBLISHED[name]
    convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert convolutions + 1 == int(name.removeprefix("densenet"))  # and the head
    assert type(model.get_submodule(*DenseNet.head_names)) is nn.Linear


def test_names_are_those_of_published_checkpoints():
    names = [n for n in on_meta("densenet121").state_dict() if n.endswith("weight")]
    layer = "features.denseblock1.denselayer1."
    assert names[:6] == [
        "features.conv0.weight",
        "features.norm0.weight",
        *(f"{layer}{part}.weight" for part in ("norm1", "conv1", "norm2", "conv2")),
    ]
    assert "features.transition3.conv.weight" in names
    assert not any("transition4" in name for name in names)
    assert names[-2:] == ["features.norm5.weight", "classifier.weight"]


def test_a_layer_is_its_formula():
    layer, x = perturbed(DenseLayer(5, 3, bn_size=2)), noise(2, 5, 4, 6)
    kept = x.clone()
    assert_close(layer(x), by_hand(layer, x))
    assert torch.equal(x, kept)


def test_each_layer_of_a_block_reads_all_before_it():
    block, x = perturbed(DenseBlock(3, 4, 2)), noise(2, 4, 5, 3)
    first, second, third = block.values()
    a = by_hand(first, x)
    b = by_hand(second, torch.cat([x, a], 1))
    c = by_hand(third, torch.cat([x, a, b], 1))
    assert_close(block(x), torch.cat([x, a, b, c], 1))
    assert [layer.conv1.in_channels for layer in block.values()] == [4, 6, 8]


def test_a_transition_normalises_mixes_and_averages():
    transition, x = perturbed(Transition(6, 3)), noise(2, 6, 5, 4)
    mixed = torch.einsum(
        "nchw,dc->ndhw",
        normalise(x, transition.norm).clamp(min=0),
        transition.conv.weight[..., 0, 0],
    )
    means = mixed[:, :, :4].unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    assert_close(transition(x), means)


@pytest.mark.parametrize(
    "module",
    [DenseLayer(3, 2, 2), DenseBlock(2, 2, 1, 2), Transition(3, 2)],
    ids=lambda m: m._get_name(),
)
def test_the_gradient_is_that_of_differences(module):
    module = perturbed(module)
    parameters = dict(module.named_parameters())

    def run(input, *values):
        weights = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(module, weights, (input,))

    first = next(m for m in module.modules() if isinstance(m, nn.BatchNorm2d))
    input = noise(2, first.num_features, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(run, (input, *parameters.values()))


def test_maps_are_halved_and_kept_by_half_between_blocks():
    """Table 1 for 224 pixels, and channels by the growth rate."""
    model, shapes = on_meta("densenet121"), {}
    for name, part in model.features.named_children():
        part.register_forward_hook(
            lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    features = model.forward_features(torch.zeros(1, 3, 224, 224, device="meta"))
    assert shapes["conv0"] == (64, 112, 112)
    assert shapes["denseblock1"] == (64 + 6 * 32, 56, 56)
    assert shapes["transition1"] == (128, 28, 28)
    assert shapes["denseblock2"] == (128 + 12 * 32, 28, 28)
    assert shapes["denseblock3"] == (256 + 24 * 32, 14, 14)
    assert shapes["denseblock4"] == features.shape[1:] == (512 + 16 * 32, 7, 7)


def test_the_head_averages_what_is_positive():
    torch.manual_seed(1)
    model = DenseNet(4, (2, 2), 8, num_classes=5).eval()
    images = noise(2, 3, 70, 40).float()
    maps = model.features(images).clamp(min=0)
    assert_close(model.forward_features(images), maps, rtol=1e-6)
    expected = maps.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
    assert_close(model(images), expected, rtol=1e-5)


def test_weights_begin_with_variance_two_over_fan_in():
    torch.manual_seed(0)
    model = DenseNet(32, (6, 6), 64)
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        fan_in = conv.weight[0].numel()
        assert conv.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        assert (norm.weight == 1).all()
        assert (norm.eps, norm.momentum) == (1e-5, 0.1)
    assert not model.classifier.bias.any()


def test_bad_arguments_are_named():
    wrong = [
        (lambda: DenseLayer(0, 4), "in_channels=0 is too small"),
        (lambda: DenseLayer(4, 0), "growth_rate=0 is too small"),
        (lambda: DenseLayer(4, 4, 0), "bn_size=0 is too small"),
        (lambda: DenseBlock(0, 4, 4), "layers=0 is too small"),
        (lambda: Transition(0, 4), "in_channels=0 is too small"),
        (lambda: Transition(4, 0), "out_channels=0 is too small"),
        (lambda: DenseNet(block_config=()), r"block_config=\(\) makes no block; give a number"),
        (lambda: DenseNet(num_init_features=0), "num_init_features=0 is too small"),
        (lambda: DenseNet(4, (1,), 8, num_classes=0), "num_classes=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message), torch.device("meta"):
            call()
