r"""GoogLeNet in both forms: published counts, the table of the paper, heads in training only."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.architectures.googlenet import (
    AuxiliaryHead,
    BasicConv2d,
    GoogLeNet,
    Inception,
    NaiveInception,
    PlainConv2d,
    googlenet,
)
from coursepkg.architectures.registry import MODELS
from coursepkg.testing import assert_close

#: Table 1 of the paper: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; channels and size.
TABLE_1 = {
    "3a": ((64, 96, 128, 16, 32, 32), (256, 28)),
    "3b": ((128, 128, 192, 32, 96, 64), (480, 28)),
    "4a": ((192, 96, 208, 16, 48, 64), (512, 14)),
    "4b": ((160, 112, 224, 24, 64, 64), (512, 14)),
    "4c": ((128, 128, 256, 24, 64, 64), (512, 14)),
    "4d": ((112, 144, 288, 32, 64, 64), (528, 14)),
    "4e": ((256, 160, 320, 32, 128, 128), (832, 14)),
    "5a": ((256, 160, 320, 32, 128, 128), (832, 7)),
    "5b": ((384, 192, 384, 48, 128, 128), (1024, 7)),
}


def on_meta(**settings):
    with torch.device("meta"):
        return googlenet(**settings)


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("settings", "parameters", "entries"),
    [
        ({}, 13_004_888, 364),
        ({"aux_logits": True}, 13_004_888, 364),
        ({"aux_logits": False}, 6_624_904, 344),
        ({"variant": "paper"}, 6_998_552, 116),
    ],
)
def test_counts(settings, parameters, entries):
    model = on_meta(**settings)
    assert (count(model), len(model.state_dict())) == (parameters, entries)


def test_the_difference_of_the_two_counts():
    """Kernels of the branch called 5 x 5, biases, and what the normalisation learns."""
    paper, other = on_meta(variant="paper"), on_meta(aux_logits=False)
    convs = [m for m in paper.modules() if isinstance(m, nn.Conv2d)]
    large = sum(m.weight[0, 0].numel() == 25 and m.in_channels * m.out_channels for m in convs)
    filters = sum(m.out_channels for m in convs)
    assert count(paper) - count(other) == large * (25 - 9) + filters - 2 * filters
    assert len(convs) == 57


def test_names_of_torchvision():
    names = list(on_meta().state_dict())
    assert names[:3] == ["conv1.conv.weight", "conv1.bn.weight", "conv1.bn.bias"]
    assert "inception4e.branch3.1.conv.weight" in names
    assert names[-12:] == [
        *("aux2.conv.conv.weight", "aux2.conv.bn.weight", "aux2.conv.bn.bias"),
        *("aux2.conv.bn.running_mean", "aux2.conv.bn.running_var"),
        *("aux2.conv.bn.num_batches_tracked", "aux2.fc1.weight", "aux2.fc1.bias"),
        *("aux2.fc2.weight", "aux2.fc2.bias", "fc.weight", "fc.bias"),
    ]


@pytest.mark.parametrize("variant", ["torchvision", "paper"])
def test_table_1_of_the_paper(variant):
    model, seen = on_meta(variant=variant), {}
    for name in TABLE_1:
        module = model.get_submodule(f"inception{name}")
        module.register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: tuple(output.shape)})
        )
    maps = model.forward_features(torch.zeros(1, 3, 224, 224, device="meta"))
    assert maps.shape == (1, 1024, 7, 7)
    for name, (widths, (channels, size)) in TABLE_1.items():
        module = model.get_submodule(f"inception{name}")
        convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        assert tuple(conv.out_channels for conv in convs) == widths
        assert seen[name] == (1, channels, size, size)
        large = [c.kernel_size[0] for c in convs if c.kernel_size[0] > 1]
        assert large == ([3, 5] if variant == "paper" else [3, 3])


def test_the_pools_round_up():
    model = on_meta(aux_logits=False)
    sizes = []
    for number in range(1, 5):
        pool = model.get_submodule(f"maxpool{number}")
        pool.register_forward_hook(lambda m, inputs, output: sizes.append(output.shape[-1]))
    for side in (224, 229):
        model(torch.zeros(1, 3, side, side, device="meta"))
    assert sizes == [56, 28, 14, 7, 57, 28, 14, 7]
    windows = [(m.kernel_size, m.stride, m.ceil_mode) for m in model.modules() if pooling(m)]
    assert windows[:2] == [(3, 2, True)] * 2
    assert model.maxpool4.kernel_size == 2
    assert on_meta(variant="paper").maxpool4.kernel_size == 3


def pooling(module):
    return isinstance(module, nn.MaxPool2d)


def test_dropout_and_the_constants_of_the_normalisation():
    model = on_meta()
    rates = {n: m.p for n, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {"aux1.dropout": 0.7, "aux2.dropout": 0.7, "dropout": 0.2}
    assert on_meta(variant="paper").dropout.p == 0.4
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(0.001, 0.1)}


def test_the_paper_normalises_twice():
    model, calls = on_meta(variant="paper"), []
    norms = [m for m in model.modules() if isinstance(m, nn.LocalResponseNorm)]
    assert len(norms) == 1
    norms[0].register_forward_hook(lambda m, inputs, output: calls.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 224, 224, device="meta"))
    assert calls == [(64, 56, 56), (192, 56, 56)]
    assert not any(isinstance(m, nn.LocalResponseNorm) for m in on_meta().modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_the_other_heads_speak_in_training_only():
    torch.manual_seed(0)
    model, x = googlenet(num_classes=5), images(2, 3, 64, 64)
    outputs = model(x)
    assert outputs._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [tuple(scores.shape) for scores in outputs] == [(2, 5)] * 3
    assert type(outputs).__name__ == "GoogLeNetOutputs"
    model.eval()
    assert model(x).shape == (2, 5)
    assert googlenet(num_classes=5, aux_logits=False)(x).shape == (2, 5)


def test_each_head_reads_its_own_maps():
    torch.manual_seed(0)
    model, x = googlenet(num_classes=5), images(2, 3, 64, 64)
    seen = {}
    for name in ("inception4a", "inception4d", "aux1", "aux2"):
        model.get_submodule(name).register_forward_hook(
            lambda m, inputs, output, name=name: seen.update({name: (inputs[0], output)})
        )
    outputs = model(x)
    assert seen["aux1"][0] is seen["inception4a"][1]
    assert seen["aux2"][0] is seen["inception4d"][1]
    assert outputs.aux_logits1 is seen["aux1"][1]
    assert outputs.aux_logits2 is seen["aux2"][1]


def test_names_of_the_heads():
    model = on_meta(num_classes=5)
    assert [model.get_submodule(n).out_features for n in GoogLeNet.head_names] == [5] * 3
    bare = on_meta(aux_logits=False)
    assert (bare.aux1, bare.aux2) == (None, None)


def test_the_scores_are_the_head_of_the_averaged_maps():
    torch.manual_seed(0)
    model, x = googlenet(num_classes=5, variant="paper").double().eval(), images(1, 3, 64, 64)
    x = x.double()
    maps = model.forward_features(x)
    assert_close(model(x), maps.mean((2, 3)) @ model.fc.weight.T + model.fc.bias)


@pytest.mark.parametrize("conv", [PlainConv2d, BasicConv2d])
@pytest.mark.parametrize("size5", [3, 5])
def test_branches_of_the_module_written_out(conv, size5):
    torch.manual_seed(0)
    module = Inception(6, 2, (3, 4), (2, 3), 5, size5=size5, conv=conv).double().eval()
    x = images(2, 6, 7, 6, dtype=torch.float64)

    def apply(layer, x, padding=0):
        y = F.conv2d(x, layer.conv.weight, layer.conv.bias, padding=padding)
        if conv is BasicConv2d:
            y = y / (1 + 0.001) ** 0.5  # running mean 0, variance 1, and eps
        return y.clamp(min=0)

    first = apply(module.branch1, x)
    second = apply(module.branch2[1], apply(module.branch2[0], x), padding=1)
    third = apply(module.branch3[1], apply(module.branch3[0], x), padding=size5 // 2)
    fourth = apply(module.branch4[1], F.max_pool2d(x, 3, stride=1, padding=1))
    assert_close(module(x), torch.cat([first, second, third, fourth], dim=1))
    assert module(x).shape == (2, 2 + 4 + 3 + 5, 7, 6)


def test_branches_of_the_naive_module_written_out():
    torch.manual_seed(0)
    module = NaiveInception(4, 2, 3, 5).double()
    x = images(2, 4, 6, 7, dtype=torch.float64)
    parts = [
        F.conv2d(x, branch.conv.weight, branch.conv.bias, padding=n).clamp(min=0)
        for n, branch in enumerate((module.branch1, module.branch2, module.branch3))
    ]
    parts.append(F.max_pool2d(x, 3, stride=1, padding=1))
    assert_close(module(x), torch.cat(parts, dim=1))


def macs(module, *shape):
    """Multiply-adds, from what the convolutions of a running module are given."""
    total = []

    def count(conv, inputs, output):
        total.append(conv.weight.numel() * output.shape[-2] * output.shape[-1])

    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(count)
    with torch.device("meta"):
        module.to("meta")(torch.zeros(1, *shape))
    return sum(total)


def test_reductions_save_multiply_adds():
    """Module 3a of table 1, worked by hand."""
    naive = macs(NaiveInception(192, 64, 128, 32), 192, 28, 28)
    reduced = macs(Inception(192, 64, (96, 128), (16, 32), 32), 192, 28, 28)
    places = 28 * 28
    assert naive == places * 192 * (64 + 9 * 128 + 25 * 32)
    by_hand = 192 * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32
    assert reduced == places * by_hand == 128_049_152
    assert naive / reduced > 2.3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Inception(3, 2, (2, 2), (1, 2), 2),
        lambda: Inception(3, 2, (2, 2), (1, 2), 2, size5=3, conv=BasicConv2d),
        lambda: NaiveInception(3, 2, 2, 1),
        lambda: PlainConv2d(3, 2, kernel_size=3, stride=2),
        lambda: BasicConv2d(3, 2, kernel_size=3, padding=1),
    ],
)
def test_gradients_of_the_blocks(make):
    torch.manual_seed(0)
    module = make().double()
    x = images(2, 3, 5, 4, seed=3, dtype=torch.float64).requires_grad_()
    parameters = dict(module.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(module, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *parameters.values()))


def test_gradient_of_the_auxiliary_head():
    torch.manual_seed(0)
    head = AuxiliaryHead(3, num_classes=4, dropout=0.0, conv=PlainConv2d).double()
    x = images(2, 3, 6, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(head, (x,), fast_mode=True)
    maps = F.adaptive_avg_pool2d(x, 4)
    hidden = head.conv(maps).flatten(1) @ head.fc1.weight.T + head.fc1.bias
    assert_close(head(x), hidden.clamp(min=0) @ head.fc2.weight.T + head.fc2.bias)


def test_the_initialisation():
    torch.manual_seed(0)
    model = googlenet(aux_logits=False)
    for layer in (model.conv3.conv, model.inception5b.branch2[1].conv, model.fc):
        assert abs(layer.weight.std().item() / 0.01 - 1) < 0.03
    torch.manual_seed(0)
    model = googlenet(variant="paper")
    for layer in (model.conv3.conv, model.inception5b.branch2[1].conv, model.fc):
        he = (2 / layer.weight[0].numel()) ** 0.5
        assert abs(layer.weight.std().item() / he - 1) < 0.03
        assert not layer.bias.any()


def test_the_paper_with_auxiliary_heads():
    """1 x 1 convolution with biases, then 2048 to 1024 to 1000, on 512 and 528 maps."""
    heads = sum(c * 128 + 128 + 2048 * 1024 + 1024 + 1024 * 1000 + 1000 for c in (512, 528))
    assert count(on_meta(variant="paper", aux_logits=True)) == 6_998_552 + heads


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant='v1' is unknown; use one of torchvision, paper"):
        googlenet(variant="v1")


def test_it_is_registered():
    entry = MODELS["googlenet"]
    assert entry.factory is googlenet
    assert (entry.family, entry.input_size) == ("googlenet", (3, 224, 224))
