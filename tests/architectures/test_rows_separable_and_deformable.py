r"""The claims of book/architectures/separable-and-deformable.md, on arrays that it does not use."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle_deform_conv import CASES, STORE, results
from torch import nn

from coursepkg.architectures.deform_conv import DeformConv2d, deform_conv2d
from coursepkg.architectures.mobilenetv1 import mobilenet_v1
from coursepkg.architectures.mobilenetv2 import InvertedResidual, mobilenet_v2
from coursepkg.architectures.separable import DepthwiseSeparableConv2d, separable_cost
from coursepkg.architectures.xception import SeparableConv2d, xception
from coursepkg.convolution.arithmetic import conv2d_macs, conv2d_parameters
from coursepkg.convolution.torch_models import summary
from coursepkg.recorded import recorded
from coursepkg.testing import assert_close

#: M, N, kernel, size of the output
LAYERS = [(32, 64, 3, 28), (64, 128, 5, 14), (7, 3, 3, 9)]


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.covers("A11")
@pytest.mark.parametrize(("m", "n", "k", "f"), LAYERS)
def test_what_separable_layers_cost_when_they_run(m, n, k, f):
    depthwise = nn.Conv2d(m, m, k, padding=k // 2, groups=m, bias=False)
    separable = nn.Sequential(depthwise, nn.Conv2d(m, n, 1, bias=False))
    standard = nn.Conv2d(m, n, k, padding=k // 2, bias=False)
    counted = [summary(layer, (m, f, f)).macs for layer in (standard, separable)]
    assert counted == [k**2 * m * n * f**2, k**2 * m * f**2 + m * n * f**2]
    assert counted == [conv2d_macs(m, n, k, f), separable_cost(m, n, k, f)[1]]


@pytest.mark.covers("E14")
@pytest.mark.parametrize(("m", "n", "k", "f"), LAYERS)
def test_the_size_of_the_maps_is_in_no_number_of_parameters(m, n, k, f):
    block = DepthwiseSeparableConv2d(m, n, k)
    weights = sum(p.numel() for p in block.parameters() if p.ndim == 4)
    standard = nn.Conv2d(m, n, k, bias=False).weight.numel()
    assert (standard, weights) == (k**2 * m * n, k**2 * m + m * n)
    assert standard == conv2d_parameters(m, n, k, bias=False)
    costs = [separable_cost(m, n, k, size) for size in (f, 2 * f)]
    assert costs == [(weights, weights * f**2), (weights, 4 * weights * f**2)]
    assert block(torch.zeros(2, m, f, f)).shape == (2, n, f, f)
    assert block(torch.zeros(2, m, 2 * f, 2 * f)).shape == (2, n, 2 * f, 2 * f)


@pytest.mark.covers("A11")
def test_most_of_both_networks_is_pointwise():
    with torch.device("meta"):
        networks = mobilenet_v1(), mobilenet_v2(), xception()
    counts = [sum(p.numel() for p in m.parameters()) for m in networks]
    assert counts == [4_231_976, 3_504_872, 22_855_952]
    for network in networks:
        convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        depthwise = [m for m in convs if m.groups > 1]
        assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)
        larger = [m for m in convs if m.kernel_size != (1, 1) and m.groups == 1]
        assert len(depthwise) >= 13
        assert len(larger) <= 2  # the stem
        share = sum(m.weight.numel() for m in depthwise) / sum(m.weight.numel() for m in convs)
        assert share < 0.03


@pytest.mark.covers("A11")
def test_the_inverted_block_has_a_linear_end_and_xceptions_pair_no_activation():
    block = InvertedResidual(8, 8, stride=1, expand_ratio=6).eval()
    ends = []
    for scale in (1.0, -1.0):
        nn.init.constant_(block.conv[-1].weight, scale)
        ends.append(block(noise(1, 8, 5, 5).float()) - noise(1, 8, 5, 5).float())
    assert_close(ends[0].detach(), -ends[1].detach(), atol=1e-5)  # no activation clips it
    assert bool((ends[0] < 0).any())
    pair = SeparableConv2d(4, 5).double()
    input = noise(1, 4, 6, 6)
    assert_close(pair(-2 * input).detach(), -2 * pair(input).detach())


@pytest.mark.covers("A12")
def test_the_operator_is_torchvisions():
    with np.load(STORE) as stored:
        for case in CASES:
            for name, array in results(deform_conv2d, case).items():
                assert_close(array, stored[f"{case.name}/{name}"], f"{case.name}/{name}")
    assert len(CASES) > 20


@pytest.mark.covers("A12")
def test_points_are_predicted_from_the_input_at_each_place():
    layer = DeformConv2d(3, 4, 3, padding=1).double()
    first, second = noise(1, 3, 8, 8), noise(2, 3, 8, 8)[1:]
    assert_close(
        layer(first).detach(), F.conv2d(first, layer.weight, layer.bias, padding=1).detach()
    )
    optimizer = torch.optim.SGD(layer.predict.parameters(), 0.01)
    target = F.conv2d(first.roll(1, -1), layer.weight, layer.bias, padding=1).detach()
    losses = []
    for _ in range(30):
        loss = F.mse_loss(layer(first), target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    moved = (
        layer.sampling_positions(first)[0, ..., 0, :]
        - layer.sampling_positions(0 * first)[0, ..., 0, :]
    )
    assert bool((moved[2, 2] - moved[5, 6]).abs().max() > 1e-3)  # from place to place
    other = (
        layer.sampling_positions(second)[0, ..., 0, :]
        - layer.sampling_positions(0 * first)[0, ..., 0, :]
    )
    assert bool((moved - other).abs().max() > 1e-3)  # and from image to image


@pytest.mark.covers("A12")
def test_the_record_says_what_the_page_says():
    r = recorded("architectures/deformable")
    accuracy = {kind: (kind, "test", "accuracy") for kind in r.results[0] if kind != "points"}
    for kind in ("plain", "dilated"):
        ahead = r.difference(accuracy["deformable"], accuracy[kind])
        assert ahead.holds, kind
        assert ahead.mean > 0, kind
    caught_up = r.difference(accuracy["deformable"], accuracy["plain, longer"])
    assert not (caught_up.holds and caught_up.mean > 0)
    for layer in ("1", "2"):
        own, other, grid = (("points", layer, name) for name in ("own", "other", "grid"))
        follow = r.difference((*own, "all"), (*other, "all"))
        assert follow.holds
        assert follow.mean > 0
        for where in ("on", "off"):
            image = r.difference((*own, where), (*other, where))
            assert image.holds
            assert image.mean > 0
        inside = r.difference((*own, "on"), (*grid, "on"))
        assert inside.holds
        assert inside.mean < 0
        outside = r.values(*own, "off") / r.values(*grid, "off")
        assert 1.8 < outside.mean() < 4.5
