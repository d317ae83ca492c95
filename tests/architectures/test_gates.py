"""Gates put into a residual network, and their factors read out."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.deeper import DeepCNN
from coursepkg.architectures.gates import add_gates, channel_gates
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation


def images(n=4):
    return torch.randn(n, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def gated(reduction=4):
    torch.manual_seed(0)
    model = DeepCNN(14)
    add_gates(model, reduction)
    return model


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("reduction", [1, 4, 8, 16])
def test_the_gates_cost_what_the_formula_says(reduction):
    cost = count(gated(reduction)) - count(DeepCNN(14))
    widths = [8, 8, 16, 16, 32, 32]
    middles = [max(1, width // reduction) for width in widths]
    assert cost == sum(2 * c * m + c + m for c, m in zip(widths, middles, strict=True))


def test_a_gate_is_four_times_narrower_in_the_middle_by_default():
    model = DeepCNN(8)
    add_gates(model)
    gates = [m for m in model.modules() if isinstance(m, SqueezeExcitation)]
    assert [(m.fc1.in_channels, m.fc1.out_channels) for m in gates] == [(8, 2), (16, 4), (32, 8)]


def test_all_other_weights_stay():
    torch.manual_seed(0)
    plain = DeepCNN(14)
    weights = {name: w for name, w in plain.named_parameters() if "norm2" not in name}
    model = gated()
    assert weights.keys() < dict(model.named_parameters()).keys()
    for name, weight in weights.items():
        assert torch.equal(model.get_parameter(name), weight)


def test_a_branch_is_gated_before_the_sum():
    model = gated().eval()
    block = model.stages[1][0]  # 8 -> 16 channels, stride 2
    maps = torch.rand(2, 8, 6, 6)
    branch = block.norm2[0](block.conv2(block.norm1(block.conv1(maps)).relu()))
    factors = block.norm2[1].scale(branch)
    assert_close(block(maps), (factors * branch + block.shortcut(maps)).relu())


def test_open_gates_change_nothing():
    torch.manual_seed(0)
    plain = DeepCNN(14).eval()
    model = gated().eval()
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            nn.init.constant_(module.fc2.bias, 100.0)
    assert_close(model(images()), plain(images()))


def test_factors_are_those_that_the_blocks_compute():
    model = gated().train()
    gates = channel_gates(model, images())
    assert list(gates) == [f"stages.{i}.{j}.norm2.1" for i in range(3) for j in range(2)]
    assert [tuple(g.shape) for g in gates.values()] == [(4, c) for c in (8, 8, 16, 16, 32, 32)]
    assert model.training
    model.eval()
    maps = model.norm(model.conv(images())).relu()
    block = model.stages[0][0]
    branch = block.norm2[0](block.conv2(block.norm1(block.conv1(maps)).relu()))
    assert_close(gates["stages.0.0.norm2.1"], block.norm2[1].scale(branch)[:, :, 0, 0])
    assert not any(m._forward_hooks for m in model.modules())


def test_a_model_without_gates_is_refused_and_a_failing_one_cleaned_up():
    with pytest.raises(ValueError, match="a DeepCNN without SqueezeExcitation; put gates in"):
        channel_gates(DeepCNN(8), images())
    with pytest.raises(ValueError, match="reduction=0 is too small"):
        add_gates(DeepCNN(8), 0)
    model = gated()
    with pytest.raises(RuntimeError):
        channel_gates(model, torch.zeros(1, 3, 8, 8))
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())
