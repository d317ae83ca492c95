from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coursepkg.architectures.separable import (
    DepthwiseSeparableConv2d,
    separable_cost,
    separable_share,
)
from coursepkg.convolution.arithmetic import conv2d_macs, conv2d_parameters
from coursepkg.convolution.torch_models import summary
from coursepkg.testing import assert_close

channels = st.integers(1, 600)
sizes = st.integers(1, 11)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(m=channels, n=channels, k=sizes, f=st.integers(1, 300))
def test_the_formulas_are_those_of_the_paper(m, n, k, f):
    weights, macs = separable_cost(m, n, k, f)
    assert macs == k * k * m * f * f + m * n * f * f
    assert weights == k * k * m + m * n


@given(m=channels, n=channels, k=sizes, f=st.integers(1, 300))
def test_the_share_is_exact_for_multiply_adds_and_for_weights(m, n, k, f):
    share = separable_share(n, k)
    assert share == Fraction(1, n) + Fraction(1, k * k)
    weights, macs = separable_cost(m, n, k, f)
    assert share * conv2d_macs(m, n, k, f) == macs
    assert share * conv2d_parameters(m, n, k, bias=False) == weights


def test_sides_may_differ():
    weights = 3 * 2 * 5 + 5 * 7
    assert separable_cost(5, 7, (3, 2), (10, 4)) == (weights, weights * 10 * 4)
    assert separable_share(7, (3, 2)) == Fraction(1, 7) + Fraction(1, 6)


def test_counts_of_the_paper():
    """Table 3 of Howard et al. (2017): an inner layer of MobileNet, in millions."""
    layer = {"in_channels": 512, "out_channels": 512, "kernel_size": 3}
    weights, macs = separable_cost(**layer, output_size=14)
    assert round(conv2d_macs(**layer, output_size=14) / 1e6) == 462
    assert round(macs / 1e6, 1) == 52.3
    assert round(conv2d_parameters(**layer, bias=False) / 1e6, 2) == 2.36
    assert round(weights / 1e6, 2) == 0.27


@pytest.mark.parametrize(("m", "n", "k", "stride"), [(3, 8, 3, 1), (6, 4, 5, 2), (2, 7, 1, 1)])
def test_built_layers_cost_what_the_formulas_say(m, n, k, stride):
    block = DepthwiseSeparableConv2d(m, n, k, stride)
    standard = nn.Conv2d(m, n, k, stride, padding=k // 2, bias=False)
    side = -(-14 // stride)
    convs = [row for row in summary(block, (m, 14, 14)).layers if row.kind == "Conv2d"]
    assert len(convs) == 2
    assert convs[-1].shape == (n, side, side)
    counted = sum(row.parameters for row in convs), sum(row.macs for row in convs)
    assert counted == separable_cost(m, n, k, side)
    whole = summary(standard, (m, 14, 14))
    assert whole.macs == conv2d_macs(m, n, k, side)
    assert whole.parameters == conv2d_parameters(m, n, k, bias=False)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_factorised_convolution_is_a_separable_one(stride):
    """Kernels w[n, m] = p[n, m] d[m] let the sum over the taps be done once for each channel."""
    block = DepthwiseSeparableConv2d(4, 6, 3, stride).double()
    full = block.conv_pw.weight * block.conv_dw.weight.transpose(0, 1)  # (6, 4, 3, 3)
    input = noise(2, 4, 7, 8)
    separable = block.conv_pw(block.conv_dw(input))
    assert_close(separable.detach(), F.conv2d(input, full, stride=stride, padding=1).detach())


def test_the_block_is_two_convolutions_each_with_norm_and_relu():
    torch.manual_seed(0)
    block = DepthwiseSeparableConv2d(3, 5, 5, 2).double()
    for norm in (block.bn1, block.bn2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    input = noise(3, 3, 9, 8)
    maps = F.conv2d(input, block.conv_dw.weight, stride=2, padding=2, groups=3)
    maps = F.batch_norm(maps, None, None, block.bn1.weight, block.bn1.bias, training=True).relu()
    maps = F.conv2d(maps, block.conv_pw.weight)
    maps = F.batch_norm(maps, None, None, block.bn2.weight, block.bn2.bias, training=True).relu()
    assert_close(block(input).detach(), maps.detach())
    assert maps.shape == (3, 5, 5, 4)
    assert [p.ndim for p in block.parameters()] == [4, 1, 1, 4, 1, 1]


def test_one_channel_is_enough_and_the_size_stays_without_a_stride():
    block = DepthwiseSeparableConv2d(1, 1)
    assert block.conv_dw.kernel_size == (3, 3)
    assert block(torch.zeros(2, 1, 5, 6)).shape == (2, 1, 5, 6)


def test_the_activation_works_in_place():
    assert DepthwiseSeparableConv2d(2, 3).act.inplace is True
    assert isinstance(DepthwiseSeparableConv2d(2, 3, activation_layer=nn.ReLU6).act, nn.ReLU6)


def test_the_depthwise_part_does_not_mix_channels():
    block = DepthwiseSeparableConv2d(3, 5).double()
    first, second = noise(1, 3, 6, 6), noise(1, 3, 6, 6)
    second[:, 1] += 1
    changed = (block.conv_dw(first) != block.conv_dw(second)).flatten(2).any(2)
    assert changed.tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: separable_cost(0, 1, 3, 5), "in_channels=0 is too small"),
        (lambda: separable_cost(2, 1, 0, 5), "kernel_size=0 is too small"),
        (lambda: separable_cost(2, 1, 3, 0), "output_size=0 is too small"),
        (lambda: separable_cost(2, 0, 3, 5), "out_channels=0 is too small"),
        (lambda: separable_share(0, 3), "out_channels=0 is too small"),
        (lambda: separable_share(2, (3, 0)), "kernel_size=0 is too small"),
        (lambda: DepthwiseSeparableConv2d(2, 3, 4), "kernel_size=4 is even; use an odd one"),
        (lambda: DepthwiseSeparableConv2d(2, 3, 0), "kernel_size=0 is too small"),
        (lambda: DepthwiseSeparableConv2d(2, 3, stride=0), "stride=0 is too small"),
        (lambda: DepthwiseSeparableConv2d(2.5, 3), "in_channels=2.5 is not an integer"),
        (lambda: DepthwiseSeparableConv2d(2, 0), "out_channels=0 is too small"),
    ],
)
def test_errors_name_argument_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
