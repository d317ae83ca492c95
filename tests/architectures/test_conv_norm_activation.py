"""Three layers in a row, and which of them can be left out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.conv_norm_activation import ConvNormActivation


def kinds(block):
    return [type(layer).__name__ for layer in block]


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_it_is_convolution_then_normalisation_then_activation():
    block = ConvNormActivation(3, 4, 3, 2, groups=1).double()
    input = images(5, 3, 9, 8)
    maps = F.conv2d(input, block[0].weight, stride=2, padding=1)
    mean, var = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True, correction=0)
    assert_close(block(input), ((maps - mean) / (var + 1e-5).sqrt()).clamp(min=0))


@pytest.mark.parametrize(
    ("settings", "layers", "names"),
    [
        ({}, ["Conv2d", "BatchNorm2d", "ReLU"], ["0.weight", "1.weight", "1.bias"]),
        ({"activation_layer": None}, ["Conv2d", "BatchNorm2d"], ["0.weight", "1.weight", "1.bias"]),
        ({"norm_layer": None}, ["Conv2d", "ReLU"], ["0.weight", "0.bias"]),
        ({"norm_layer": None, "bias": False}, ["Conv2d", "ReLU"], ["0.weight"]),
        (
            {"activation_layer": nn.SiLU, "bias": True},
            ["Conv2d", "BatchNorm2d", "SiLU"],
            ["0.weight", "0.bias", "1.weight", "1.bias"],
        ),
    ],
)
def test_layers_can_be_left_out_or_exchanged(settings, layers, names):
    block = ConvNormActivation(2, 2, **settings)
    assert kinds(block) == layers
    assert [name for name, _ in block.named_parameters()] == names
    if kinds(block)[-1] in {"ReLU", "SiLU"}:
        assert block[-1].inplace


@pytest.mark.parametrize("kernel", [1, 3, 5, (1, 7)])
@pytest.mark.parametrize("dilation", [1, 2, (3, 1)])
def test_the_size_stays_with_stride_1(kernel, dilation):
    block = ConvNormActivation(2, 4, kernel, dilation=dilation, groups=2)
    assert block(torch.zeros(2, 2, 9, 11)).shape == (2, 4, 9, 11)
    assert block[0].weight.shape[1] == 1


def test_kernels_are_3_by_3_by_default():
    assert ConvNormActivation(2, 4)[0].weight.shape == (4, 2, 3, 3)


def test_padding_can_be_given():
    assert ConvNormActivation(1, 1, 3, (1, 2), (0, 1))(torch.zeros(2, 1, 9, 9)).shape[2:] == (7, 5)


def test_the_gradient_is_that_of_central_differences():
    block = ConvNormActivation(2, 3, 3, activation_layer=nn.SiLU).double()
    assert torch.autograd.gradcheck(block, images(2, 2, 4, 3).requires_grad_())


def test_bad_arguments_are_named():
    wrong = [
        (lambda: ConvNormActivation(0, 1), "in_channels=0 is too small"),
        (lambda: ConvNormActivation(1, 1.5), "out_channels=1.5 is not an integer"),
        (lambda: ConvNormActivation(1, 1, 0), "kernel_size=0 is too small"),
        (lambda: ConvNormActivation(1, 1, stride=0), "stride=0 is too small"),
        (lambda: ConvNormActivation(1, 1, padding=-1), "padding=-1 is too small"),
        (lambda: ConvNormActivation(1, 1, dilation=0), "dilation=0 is too small"),
        (lambda: ConvNormActivation(2, 2, groups=0), "groups=0 is too small"),
        (lambda: ConvNormActivation(3, 2, groups=2), "divisible by groups"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
