"""ConvNeXt: the published network, its block, and layer normalisation of maps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.convnext import (
    CNBlock,
    ConvNeXt,
    LayerNorm2d,
    Permute,
    convnext_tiny,
)


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def on_meta():
    with torch.device("meta"):
        return convnext_tiny()


def small():
    torch.manual_seed(0)
    model = ConvNeXt((4, 8), (1, 2), num_classes=5).double()
    for name, parameter in model.named_parameters():
        if "layer_scale" in name:
            nn.init.normal_(parameter)
    return model


def test_counts_and_names_are_the_published_ones():
    model = on_meta()
    names = list(model.state_dict())
    assert (sum(p.numel() for p in model.parameters()), len(names)) == (28589128, 182)
    assert names[:4] == [
        "features.0.0.weight",
        "features.0.0.bias",
        "features.0.1.weight",
        "features.0.1.bias",
    ]
    assert [n for n in names if n.startswith("features.1.0.")] == [
        "features.1.0.layer_scale",
        *[f"features.1.0.block.{i}.{n}" for i in (0, 2, 3, 5) for n in ("weight", "bias")],
    ]
    assert names[-4:] == [f"classifier.{i}.{n}" for i in (0, 2) for n in ("weight", "bias")]


def test_the_stages_are_those_of_table_9():
    model, maps, seen = on_meta(), torch.zeros(1, 3, 224, 224, device="meta"), []
    for layer in model.features:
        maps = layer(maps)
        seen.append(tuple(maps.shape[1:3]))
    assert seen[1::2] == [(96, 56), (192, 28), (384, 14), (768, 7)]
    assert [len(stage) for stage in model.features[1::2]] == [3, 3, 9, 3]
    drops = [block.stochastic_depth.p for stage in model.features[1::2] for block in stage]
    np.testing.assert_allclose(drops, 0.1 * np.arange(18) / 17)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}
    assert model.get_submodule(model.head_names[0]).out_features == 1000


def test_layer_normalisation_is_over_the_channels_of_a_pixel():
    norm = LayerNorm2d(5, eps=0.01).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    input = images(2, 5, 3, 4)
    mean, var = input.mean(1, keepdim=True), input.var(1, keepdim=True, correction=0)
    expected = (input - mean) / (var + 0.01).sqrt()
    assert_close(norm(input), expected * norm.weight[:, None, None] + norm.bias[:, None, None])


def test_the_block_is_what_its_text_says():
    torch.manual_seed(0)
    block = CNBlock(4, layer_scale=0.5).double()
    input = images(2, 4, 9, 8)
    filter, _, norm, widen, _, narrow, _ = block.block
    maps = F.conv2d(input, filter.weight, filter.bias, padding=3, groups=4)
    maps = (maps - maps.mean(1, keepdim=True)) / (
        maps.var(1, keepdim=True, correction=0) + norm.eps
    ).sqrt()
    maps = F.conv2d(maps, widen.weight[:, :, None, None], widen.bias)
    maps = maps * torch.special.ndtr(maps)  # GELU
    maps = F.conv2d(maps, narrow.weight[:, :, None, None], narrow.bias)
    assert_close(block(input), input + 0.5 * maps)


def test_a_new_block_is_nearly_the_identity():
    input = images(2, 4, 9, 8)
    change = (CNBlock(4).double()(input) - input).abs().max()
    assert 0 < change < 1e-5


def test_a_skipped_block_is_the_identity():
    input = images(2, 4, 9, 8)
    block = CNBlock(4, drop_probability=1.0, layer_scale=1.0).double()
    assert torch.equal(block(input), input)
    assert not torch.equal(block.eval()(input), input)


def test_the_gradient_of_the_block_is_that_of_central_differences():
    torch.manual_seed(0)
    block = CNBlock(2, layer_scale=1.0).double()
    assert torch.autograd.gradcheck(block, images(1, 2, 4, 3).requires_grad_())


def test_features_are_the_maps_before_the_pooling():
    model = small().eval()
    input = images(2, 3, 32, 48)
    maps = model.forward_features(input)
    assert maps.shape == (2, 8, 4, 6)
    norm, _, head = model.classifier
    means = maps.mean((2, 3), keepdim=True)
    assert_close(model(input), head(norm(means)[:, :, 0, 0]))


def test_first_weights_are_those_of_the_library():
    torch.manual_seed(0)
    model = ConvNeXt((64, 128), (1, 1))
    weight = model.features[3][0].block[3].weight
    assert_close(weight.std().item(), 0.02, rtol=0.01, atol=0)
    assert not model.features[3][0].block[3].bias.any()
    assert model.features[1][0].layer_scale.unique().item() == pytest.approx(1e-6)


def test_axes_are_put_in_order_and_shown():
    assert Permute(0, 3, 1, 2)(torch.zeros(2, 3, 4, 5)).shape == (2, 5, 3, 4)
    assert str(Permute(0, 3, 1, 2)) == "Permute(0, 3, 1, 2)"


def test_bad_arguments_are_named():
    wrong = [
        (lambda: CNBlock(0), "channels=0 is too small"),
        (lambda: CNBlock(4, 2.0), "p=2.0 is no probability"),
        (lambda: ConvNeXt((4, 8), (1,)), "do not describe the same stages; pass one number"),
        (lambda: ConvNeXt((), ()), "do not describe the same stages"),
        (lambda: ConvNeXt((4,), (1,), num_classes=0), "num_classes=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
