r"""ResNet V2: counts, names, and the law that gives it its point: nothing on the shortcut."""

import pytest
import torch
import torch.nn.functional as F
from normed import noise, normalise, perturbed
from torch import nn

from coursepkg.architectures.registry import MODELS, get_model
from coursepkg.architectures.resnet import Bottleneck
from coursepkg.architectures.resnetv2 import PreActBottleneck, ResNetV2
from coursepkg.testing import assert_close

#: Parameters and entries of the state here; parameters of Keras, with its moving statistics.
COUNTS = {
    "resnetv2_50": (25_549_352, 300, 25_613_800),
    "resnetv2_101": (44_541_480, 606, 44_675_560),
    "resnetv2_152": (60_185_128, 912, 60_380_648),
}


def on_meta(name, **settings):
    with torch.device("meta"):
        return get_model(name, **settings)


def active(x, norm):
    return normalise(x, norm).clamp(min=0)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_entries(name):
    parameters, entries, _ = COUNTS[name]
    model = on_meta(name)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries
    assert MODELS[name].reference == "timm 1.0.31"
    assert model.get_submodule(*ResNetV2.head_names).kernel_size == (1, 1)


@pytest.mark.parametrize("name", COUNTS)
def test_keras_has_biases_besides(name):
    """In the stem, at the end of every branch, and in the projections; and it counts statistics."""
    model, (parameters, _, published) = on_meta(name), COUNTS[name]
    blocks = [m for m in model.modules() if isinstance(m, PreActBottleneck)]
    biased = [model.stem.conv, *(b.conv3 for b in blocks)]
    biased += [b.downsample.conv for b in blocks if b.downsample is not None]
    statistics = [b for name, b in model.named_buffers() if "running" in name]
    biases = sum(conv.out_channels for conv in biased)
    assert parameters + biases + sum(b.numel() for b in statistics) == published


def test_names_are_those_of_timm():
    names = [n for n in on_meta("resnetv2_50").state_dict() if n.endswith("weight")]
    first = ["downsample.conv", "norm1", "conv1", "norm2", "conv2", "norm3", "conv3"]
    blocks = "stages.0.blocks"
    assert names[0] == "stem.conv.weight"
    assert names[1:8] == [f"{blocks}.0.{part}.weight" for part in first]
    assert names[8:14] == [f"{blocks}.1.{part}.weight" for part in first[1:]]
    assert names[-2:] == ["norm.weight", "head.fc.weight"]


def test_shapes_of_the_stages():
    model, shapes = on_meta("resnetv2_50"), []
    for part in (model.stem, *model.stages):
        part.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    images = torch.zeros(2, 3, 224, 224, device="meta")
    assert model(images).shape == (2, 1000)
    assert shapes == [(64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert model.forward_features(images).shape == (2, 2048, 7, 7)


@pytest.mark.parametrize(("stride", "projection"), [(1, False), (1, True), (2, True)])
def test_a_block_is_its_sum(stride, projection):
    block = perturbed(PreActBottleneck(12, 3, stride, projection))
    x = noise(2, 12, 7, 5)
    kept = x.clone()
    first = active(x, block.norm1)
    out = torch.einsum("nchw,dc->ndhw", first, block.conv1.weight[:, :, 0, 0])
    out = F.conv2d(active(out, block.norm2), block.conv2.weight, stride=stride, padding=1)
    out = torch.einsum("nchw,dc->ndhw", active(out, block.norm3), block.conv3.weight[:, :, 0, 0])
    if projection:
        places = first[:, :, ::stride, ::stride]
        out += torch.einsum("nchw,dc->ndhw", places, block.downsample.conv.weight[:, :, 0, 0])
    else:
        out += x
    assert_close(block(x), out)
    assert torch.equal(x, kept)


def test_with_silent_branches_blocks_hand_on_what_they_get():
    """Also what is negative, and the gradient with it; a block of the first version does not."""
    x = noise(2, 8, 5, 4).requires_grad_()
    chain = nn.Sequential(*(perturbed(PreActBottleneck(8, 2)) for _ in range(5)))
    for block in chain:
        nn.init.zeros_(block.conv3.weight)
    assert torch.equal(chain(x), x)
    chain(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))

    old = Bottleneck(8, 2).double()
    nn.init.zeros_(old.bn3.weight)
    assert torch.equal(old(x), x.relu())


def test_scores_are_a_linear_map_of_the_means():
    torch.manual_seed(0)
    model = ResNetV2((1, 1, 1, 1), num_classes=3).double().eval()
    images = noise(2, 3, 40, 33)
    with torch.no_grad():
        maps = model.forward_features(images)
        raw = model.stages(model.stem(images))
        scores = maps.mean((2, 3)) @ model.head.fc.weight[:, :, 0, 0].T + model.head.fc.bias
        assert (raw < 0).any()
        assert (maps >= 0).all()
        assert_close(model(images), scores)


@pytest.mark.parametrize(("stride", "projection"), [(1, False), (2, True)])
def test_the_gradient_is_that_of_differences(stride, projection):
    block = perturbed(PreActBottleneck(4, 1, stride, projection))
    parameters = dict(block.named_parameters())

    def run(input, *values):
        weights = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(block, weights, (input,))

    x = noise(2, 4, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *parameters.values()))


def test_first_weights():
    torch.manual_seed(0)
    model = ResNetV2((1, 1, 1, 1), num_classes=50)
    block = model.stages[3].blocks[0]
    assert block.conv2.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert model.head.fc.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model.head.fc.bias.any()
    assert (block.norm1.eps, block.norm1.momentum) == (1e-5, 0.1)


def test_bad_arguments_are_named():
    wrong = [
        (lambda: ResNetV2((1, 1)), r"layers=\(1, 1\) has 2 stages; give four numbers"),
        (lambda: ResNetV2((1, 1, 0, 1)), "layers=0 is too small"),
        (lambda: PreActBottleneck(8, 0), "channels=0 is too small"),
        (lambda: PreActBottleneck(8, 3), "8 channels in and 12 out .* use projection=True"),
        (lambda: PreActBottleneck(8, 2, 2), "stride=2 with 8 channels in and 8 out .* projection"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message), torch.device("meta"):
            call()
