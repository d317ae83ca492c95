r"""Residual networks against counts, sums written out, and paths taken one by one."""

from itertools import product
from math import comb

import pytest
import torch
import torch.nn.functional as F
from normed import noise, normalise, perturbed
from torch import nn

from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.resnet import (
    STAGES,
    BasicBlock,
    Bottleneck,
    ResidualBlock,
    ResNet,
    initialise,
    path_lengths,
    projection,
    residual_blocks,
    resnet18,
    stage,
)
from coursepkg.testing import assert_close

#: Parameters and entries of the state_dict, as published by torchvision 0.29.1.
PUBLISHED = {
    "resnet18": (11_689_512, 122),
    "resnet34": (21_797_672, 218),
    "resnet50": (25_557_032, 320),
    "resnet101": (44_549_160, 626),
    "resnet152": (60_192_808, 932),
    "resnext50_32x4d": (25_028_904, 320),
    "wide_resnet50_2": (68_883_240, 320),
}


def on_meta(name, **settings):
    with torch.device("meta"):
        return MODELS[name].factory(**settings)


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_the_table_of_the_paper():
    layers = {18: 2, 34: 2, 50: 3, 101: 3, 152: 3}
    for depth, (block, counts) in STAGES.items():
        assert sum(counts) * layers[depth] + 2 == depth  # and the stem and the head
        assert block is (BasicBlock if layers[depth] == 2 else Bottleneck)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_entries(name):
    model = on_meta(name)
    assert (count(model), len(model.state_dict())) == PUBLISHED[name]
    assert MODELS[name].reference == "torchvision 0.29.1"
    assert all(type(model.get_submodule(head)) is nn.Linear for head in ResNet.head_names)


def test_parameters_of_resnet_18_and_50_by_hand():
    """Weights of the convolutions, two numbers for each channel of a batch norm, and the head."""
    stem = 3 * 64 * 49 + 2 * 64
    total, before = stem, 64
    for channels in (64, 128, 256, 512):
        basic = 2 * 9 * channels**2 + 4 * channels
        first = basic - 9 * channels * (channels - before)
        shortcut = (before * channels + 2 * channels) if before != channels else 0
        total += first + basic + shortcut
        before = channels
    assert count(on_meta("resnet18")) == total + 513 * 1000

    total, before = stem, 64
    for channels, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        for i in range(blocks):
            total += before * channels + 9 * channels**2 + 4 * channels**2 + 12 * channels
            total += 4 * channels * before + 8 * channels if i == 0 else 0
            before = 4 * channels
    assert count(on_meta("resnet50")) == total + 2049 * 1000


def test_names_are_those_of_published_checkpoints():
    state = on_meta("resnet50").state_dict()
    assert list(state)[:2] == ["conv1.weight", "bn1.weight"]
    first = [name for name in state if name.startswith("layer1.0.") and "weight" in name]
    parts = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"]
    assert first == [f"layer1.0.{part}.weight" for part in parts]
    assert not any("layer1.1.downsample" in name for name in state)
    assert list(state)[-2:] == ["fc.weight", "fc.bias"]
    assert not any("layer1.0.downsample" in name for name in on_meta("resnet18").state_dict())


def test_a_basic_block_is_its_sum():
    block, x = perturbed(BasicBlock(3, 3)), noise(2, 3, 5, 4)
    out = F.conv2d(x, block.conv1.weight, padding=1)
    out = normalise(out, block.bn1).clamp(min=0)
    out = normalise(F.conv2d(out, block.conv2.weight, padding=1), block.bn2)
    assert_close(block(x), (out + x).clamp(min=0))


def test_a_bottleneck_is_its_sum_and_strides_in_the_middle():
    block = perturbed(Bottleneck(6, 4, 2, projection(6, 16, 2), groups=2, width_per_group=64))
    x = noise(2, 6, 7, 6)
    assert [m.stride for m in (block.conv1, block.conv2, block.conv3)] == [(1, 1), (2, 2), (1, 1)]
    assert block.conv2.weight.shape == (8, 4, 3, 3)  # two groups of four
    out = normalise(torch.einsum("nchw,dc->ndhw", x, block.conv1.weight[:, :, 0, 0]), block.bn1)
    halves = zip(out.clamp(min=0).chunk(2, 1), block.conv2.weight.chunk(2), strict=True)
    out = torch.cat([F.conv2d(half, w, stride=2, padding=1) for half, w in halves], 1)
    out = normalise(out, block.bn2).clamp(min=0)
    out = normalise(torch.einsum("nchw,dc->ndhw", out, block.conv3.weight[:, :, 0, 0]), block.bn3)
    conv, norm = block.downsample
    every_other = torch.einsum("nchw,dc->ndhw", x[:, :, ::2, ::2], conv.weight[:, :, 0, 0])
    assert_close(block(x), (out + normalise(every_other, norm)).clamp(min=0))


@pytest.mark.parametrize(
    "block",
    [
        BasicBlock(2, 2),
        BasicBlock(2, 3, 2, projection(2, 3, 2)),
        Bottleneck(4, 1),
        Bottleneck(3, 2, 2, projection(3, 8, 2), groups=2, width_per_group=64),
    ],
    ids=["basic", "basic, strided", "bottleneck", "grouped bottleneck, strided"],
)
def test_the_gradient_of_a_block_is_that_of_differences(block):
    block = perturbed(block)
    parameters = dict(block.named_parameters())

    def run(input, *values):
        weights = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(block, weights, (input,))

    input = noise(2, block.conv1.in_channels, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(run, (input, *parameters.values()))


def test_only_the_first_block_of_a_stage_changes_the_shape():
    blocks = stage(Bottleneck, 256, 128, count=4, stride=2)
    assert [block.downsample is None for block in blocks] == [False, True, True, True]
    assert [block.conv2.stride[0] for block in blocks] == [2, 1, 1, 1]
    assert [block.conv1.in_channels for block in blocks] == [256, 512, 512, 512]
    (same,) = stage(BasicBlock, 64, 64, count=1)
    (wider,) = stage(BasicBlock, 64, 96, count=1)
    (smaller,) = stage(BasicBlock, 64, 64, count=1, stride=2)
    assert same.downsample is None
    assert wider.downsample[0].weight.shape == (96, 64, 1, 1)
    assert smaller.downsample[0].stride == (2, 2)


def test_maps_are_halved_while_channels_double():
    """Table 1: 112, 56, 28, 14, 7."""
    model, shapes = on_meta("resnet50"), []
    for name in ("relu", "layer1", "layer2", "layer3", "layer4"):
        model.get_submodule(name).register_forward_hook(
            lambda _, __, output: shapes.append(tuple(output.shape[1:]))
        )
    images = torch.zeros(1, 3, 224, 224, device="meta")
    assert model.forward_features(images).shape == (1, 2048, 7, 7)
    assert shapes == [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert model(images).shape == (1, 1000)


def test_the_head_averages_and_mixes():
    torch.manual_seed(1)
    model = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5).eval()
    images = noise(2, 3, 40, 70).float()
    maps = model.forward_features(images)
    assert maps.shape == (2, 512, 2, 3)
    expected = maps.mean((2, 3)) @ model.fc.weight.T + model.fc.bias
    assert_close(model(images), expected, rtol=1e-5)


def test_weights_begin_with_variance_two_over_fan_out():
    torch.manual_seed(0)
    model = resnet18()
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert abs(conv.weight.mean().item()) < 4 * (2 / fan_out / conv.weight.numel()) ** 0.5
    bound = 512**-0.5
    assert 0.99 * bound < model.fc.weight.abs().max() <= bound  # as PyTorch begins
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
        assert (norm.eps, norm.momentum) == (1e-5, 0.1)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_branch_may_begin_with_zero(block):
    torch.manual_seed(0)
    model = ResNet(block, (2, 1, 1, 1), num_classes=3, zero_init_residual=True)
    x = noise(1, 64 * block.expansion, 4, 4).float()
    assert torch.equal(model.layer1[1](x), x.clamp(min=0))
    *others, last = [m for m in model.layer1[1].modules() if isinstance(m, nn.BatchNorm2d)]
    assert not last.weight.any()
    assert all(norm.weight.all() for norm in others)
    initialise(model)
    assert not torch.equal(model.layer1[1](x), x.clamp(min=0))


class Linear(ResidualBlock):
    """A block without activation: the sum of its input and a matrix times it."""

    def __init__(self, width):
        super().__init__()
        self.matrix = nn.Linear(width, width, bias=False)
        self.relu, self.downsample = nn.Identity(), None

    def residual(self, input):
        return self.matrix(input)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_linear_residual_network_is_the_sum_over_its_paths(n):
    """Walk every path by itself: at each block, the branch or the shortcut."""
    torch.manual_seed(n)
    network = nn.Sequential(*(Linear(4) for _ in range(n))).double()
    x, total, lengths = noise(3, 4), 0, [0] * (n + 1)
    for taken in product((False, True), repeat=n):
        walked = x
        for block, branch in zip(network, taken, strict=True):
            walked = block.residual(walked) if branch else walked
        total = total + walked
        lengths[sum(taken)] += 1
    assert_close(network(x), total)
    assert path_lengths([1] * n) == tuple(lengths)
    assert len(residual_blocks(network)) == n


@pytest.mark.parametrize(("name", "n"), [("resnet18", 8), ("resnet50", 16), ("resnet152", 50)])
def test_a_built_network_counts_its_own_paths(name, n):
    """With the identity as every branch and shortcut a block doubles, and paths add up."""
    model = on_meta(name)
    for block in residual_blocks(model):
        block.residual, block.downsample = torch.clone, None
    signal = torch.ones(1, dtype=torch.float64)
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        signal = layer(signal)
    assert signal.item() == 2**n == sum(path_lengths([1] * n))
    del model.layer3[-1]
    assert len(residual_blocks(model)) == n - 1


def test_lengths_of_paths():
    assert path_lengths([]) == (1,)
    for n in (1, 7, 50, 120):
        assert path_lengths([1] * n) == tuple(comb(n, k) for k in range(n + 1))
    assert path_lengths([3] * 50)[::3] == path_lengths([1] * 50)
    assert sum(path_lengths([3] * 50)) == 2**50 == 1_125_899_906_842_624
    layers = (1, 4, 2, 2)
    lengths = [
        sum(a * b for a, b in zip(layers, t, strict=True)) for t in product((0, 1), repeat=4)
    ]
    assert path_lengths(layers) == tuple(lengths.count(k) for k in range(10))


def test_bad_arguments_are_named():
    wrong = [
        (lambda: BasicBlock(4, 4, groups=2), "groups=2 and width_per_group=64 do not fit"),
        (lambda: BasicBlock(4, 4, width_per_group=4), "width_per_group=4 do not fit a BasicBlock"),
        (lambda: stage(BasicBlock, 4, 4, 0), "count=0 is too small"),
        (lambda: ResNet(BasicBlock, (1, 1, 1)), r"layers=\(1, 1, 1\) has 3 stages; give four"),
        (lambda: ResNet(Bottleneck, (1, 1, 1, 1), groups=0), "groups=0 is too small"),
        (lambda: ResNet(Bottleneck, (1, 1, 1, 1), width_per_group=-4), "width_per_group=-4 is too"),
        (lambda: ResNet(Bottleneck, (1, 1, 1, 1), num_classes=0), "num_classes=0 is too small"),
        (lambda: path_lengths([2, 0]), "layers=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message), torch.device("meta"):
            call()
    with pytest.raises(NotImplementedError, match="ResidualBlock has no branch"):
        ResidualBlock()(torch.zeros(1))
    with pytest.raises(NotImplementedError, match=r"Linear has no branch; write its last_norm\(\)"):
        initialise(nn.Sequential(Linear(2)), zero_init_residual=True)
