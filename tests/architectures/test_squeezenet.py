r"""SqueezeNet 1.1: counts, the fire module written out, the initialisation."""

import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.squeezenet import Fire, SqueezeNet, squeezenet1_1
from coursepkg.testing import assert_close


def images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_counts_and_names():
    with torch.device("meta"):
        model = squeezenet1_1()
    names = list(model.state_dict())
    assert sum(p.numel() for p in model.parameters()) == 1_235_496
    assert len(names) == 52
    kinds = ("weight", "bias")
    assert names[:2] == ["features.0.weight", "features.0.bias"]
    parts = ("squeeze", "expand1x1", "expand3x3")
    assert names[2:8] == [f"features.3.{part}.{kind}" for part in parts for kind in kinds]
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]


def test_sizes_on_the_way():
    with torch.device("meta"):
        model = squeezenet1_1(num_classes=7)
        x, sizes = torch.zeros(1, 3, 224, 224), []
        for layer in model.features:
            x = layer(x)
            if not isinstance(layer, nn.ReLU):
                sizes.append(tuple(x.shape[1:3]))
        assert sizes == [
            *((64, 111), (64, 55), (128, 55), (128, 55), (128, 27), (256, 27), (256, 27)),
            *((256, 13), (384, 13), (384, 13), (512, 13), (512, 13)),
        ]
        image = torch.zeros(2, 3, 224, 230)
        assert model.forward_features(image).shape == (2, 512, 13, 14)
        assert model(image).shape == (2, 7)
    assert model.get_submodule(*SqueezeNet.head_names).out_channels == 7


def test_the_fire_module_written_out():
    torch.manual_seed(0)
    fire, x = Fire(5, squeeze=3, expand=4).double(), images(2, 5, 6, 7)
    squeezed = F.conv2d(x, fire.squeeze.weight, fire.squeeze.bias).clamp(min=0)
    small = F.conv2d(squeezed, fire.expand1x1.weight, fire.expand1x1.bias)
    large = F.conv2d(squeezed, fire.expand3x3.weight, fire.expand3x3.bias, padding=1)
    assert_close(fire(x), torch.cat([small, large], dim=1).clamp(min=0))


def test_gradient_of_the_fire_module():
    torch.manual_seed(0)
    fire = Fire(3, squeeze=2, expand=2).double()
    assert torch.autograd.gradcheck(fire, (images(2, 3, 4, 3, seed=1).requires_grad_(),))


def test_scores_are_averages_of_maps_cut_off_at_zero():
    torch.manual_seed(0)
    model, x = squeezenet1_1(num_classes=4).double().eval(), images(2, 3, 64, 64)
    nn.init.normal_(model.classifier[1].weight, 0, 0.1)
    maps = model.forward_features(x)
    last = model.classifier[1]
    expected = F.conv2d(maps, last.weight, last.bias).clamp(min=0).mean((2, 3))
    assert_close(model(x), expected)
    assert (expected > 0).any()


def test_the_initialisation():
    torch.manual_seed(0)
    model = squeezenet1_1()
    last = model.classifier[1]
    assert abs(last.weight.std().item() / 0.01 - 1) < 0.02
    for layer in model.features.modules():
        if isinstance(layer, nn.Conv2d):
            bound = (6 / layer.weight[0].numel()) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound
            assert not layer.bias.any()
    assert not last.bias.any()


def test_half_of_the_last_maps_is_dropped():
    with torch.device("meta"):
        model = squeezenet1_1()
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5]


def test_it_is_registered():
    entry = MODELS["squeezenet1_1"]
    assert entry.factory is squeezenet1_1
    assert (entry.family, entry.input_size) == ("squeezenet", (3, 224, 224))
