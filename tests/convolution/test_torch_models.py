r"""The four ways are one network; the summary agrees with counts that stand apart."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.convolution.arithmetic import conv2d_parameters, linear_parameters
from coursepkg.convolution.torch_models import (
    SHAPES,
    ConvBlock,
    NestedCNN,
    SubclassCNN,
    fully_convolutional,
    functional_cnn,
    linear_as_conv2d,
    load_in_order,
    new_weights,
    sequential_cnn,
    summary,
)
from coursepkg.testing import assert_close

WAYS = {"sequential": sequential_cnn, "subclass": SubclassCNN, "nested": NestedCNN}


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def loaded(way, seed=0):
    model = WAYS[way]()
    load_in_order(model, new_weights(seed).values())
    return model


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_the_function_is_the_network_of_sums_and_maxima():
    """One digit through the network, written with NumPy and nothing of the course."""
    w = {name: weight.double().numpy() for name, weight in new_weights(3).items()}
    x = images(1, 28, 28, seed=1, dtype=torch.float64).numpy()
    for layer in ("conv1", "conv2"):
        padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
        x = np.einsum("cijab,ocab->oij", windows, w[f"{layer}.weight"])
        x = np.maximum(x + w[f"{layer}.bias"][:, None, None], 0)
        size = x.shape[1] // 2
        x = x.reshape(len(x), size, 2, size, 2).max(axis=(2, 4))
    hidden = np.maximum(w["linear1.weight"] @ x.ravel() + w["linear1.bias"], 0)
    expected = w["linear2.weight"] @ hidden + w["linear2.bias"]
    input = images(1, 28, 28, seed=1, dtype=torch.float64)[None]
    got = functional_cnn(input, {name: v.double() for name, v in new_weights(3).items()})
    assert_close(got[0].numpy(), expected)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_scores_and_gradients(way):
    weights = {name: w.requires_grad_() for name, w in new_weights(5).items()}
    input, target = images(7, 1, 28, 28), torch.arange(7)
    scores, expected = loaded(way, 5)(input), functional_cnn(input, weights)
    assert torch.equal(scores, expected)
    model = loaded(way, 5)
    F.cross_entropy(model(input), target).backward()
    F.cross_entropy(expected, target).backward()
    for parameter, weight in zip(model.parameters(), weights.values(), strict=True):
        assert torch.equal(parameter.grad, weight.grad)


def test_an_empty_batch_gives_no_scores():
    assert functional_cnn(images(0, 1, 28, 28), new_weights()).shape == (0, 10)
    for way in WAYS:
        assert loaded(way)(images(0, 1, 28, 28)).shape == (0, 10)


def test_names_are_shared_where_the_layers_lie_side_by_side():
    for way in ("sequential", "subclass"):
        model = WAYS[way]()
        model.load_state_dict(new_weights())
        assert {name: tuple(p.shape) for name, p in model.named_parameters()} == SHAPES
    assert list(NestedCNN().state_dict())[:2] == ["features.0.conv.weight", "features.0.conv.bias"]


def test_new_weights_begin_as_pytorch_begins():
    weights, model = new_weights(), sequential_cnn()
    for name, parameter in model.named_parameters():
        layer = model.get_submodule(name.split(".")[0])
        bound = layer.weight[0].numel() ** -0.5
        assert weights[name].abs().max() <= bound
        assert parameter.abs().max() <= bound  # PyTorch's own
        if weights[name].numel() > 1000:
            assert weights[name].std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
            assert abs(weights[name].mean().item()) < bound / 10
    assert all(
        torch.equal(a, b) for a, b in zip(weights.values(), new_weights().values(), strict=True)
    )
    assert not torch.equal(weights["conv1.bias"], new_weights(1)["conv1.bias"])
    assert not weights["conv1.bias"].requires_grad


@pytest.mark.parametrize("way", WAYS)
def test_parameters_of_the_network(way):
    model = WAYS[way]()
    parts = [conv2d_parameters(1, 8, 5), conv2d_parameters(8, 32, 5)]
    parts += [linear_parameters(32 * 7 * 7, 64), linear_parameters(64, 10)]
    weights = [p.numel() for p in model.parameters()]
    assert parts == [208, 6432, 100416, 650]
    assert [a + b for a, b in zip(weights[::2], weights[1::2], strict=True)] == parts
    assert count(model) == sum(parts) == 107706
    assert summary(model, (1, 28, 28)).parameters == 107706


def test_parts_of_the_nested_network():
    model, small = NestedCNN(), NestedCNN(channels=(8, 16, 32), kernel_size=3)
    assert (count(model.features), count(model.classifier)) == (6640, 101066)
    assert (count(small.features), count(small.classifier)) == (5888, 19146)
    assert count(small) == 25034
    assert (model.map_shape, small.map_shape) == ((32, 7, 7), (32, 3, 3))
    assert small.features(images(2, 1, 28, 28)).shape == (2, 32, 3, 3)


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": (4,), "size": (9, 12), "hidden": 3, "classes": 2},
        {"channels": (2, 5, 3), "kernel_size": 5, "size": (8, 21)},
        {"channels": [6, 2], "kernel_size": 1, "in_channels": 3, "size": 5},
    ],
    ids=str,
)
def test_a_nested_network_of_any_size(settings):
    model = NestedCNN(**settings)
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else size
    channels = settings.get("in_channels", 1)
    output = model(images(3, channels, height, width))
    assert output.shape == (3, settings.get("classes", 10))
    assert model.features(images(3, channels, height, width)).shape == (3, *model.map_shape)
    assert len(model.features) == len(settings["channels"])


def test_a_block_is_convolution_then_relu_then_pooling():
    block, input = ConvBlock(2, 3, 3), images(2, 2, 7, 8)
    expected = F.conv2d(input, block.conv.weight, block.conv.bias, padding=1).clamp(min=0)
    assert torch.equal(block(input), F.max_pool2d(expected, 2, 2))
    assert block(input).shape == (2, 3, 3, 4)


def test_the_summary_of_a_network_by_hand():
    table = summary(sequential_cnn(), (1, 28, 28))
    assert [(row.name, row.kind) for row in table.layers[:3]] == [
        ("conv1", "Conv2d"),
        ("relu1", "ReLU"),
        ("pool1", "MaxPool2d"),
    ]
    assert [row.shape for row in table.layers] == [
        *[(8, 28, 28)] * 2,
        (8, 14, 14),
        *[(32, 14, 14)] * 2,
        (32, 7, 7),
        (1568,),
        *[(64,)] * 2,
        (10,),
    ]
    assert [row.parameters for row in table.layers if row.parameters] == [208, 6432, 100416, 650]
    macs = [28 * 28 * 8 * 25, 14 * 14 * 32 * 8 * 25, 1568 * 64, 640]
    assert [row.macs for row in table.layers if row.macs] == macs
    assert [row.memory for row in table.layers][:3] == [25088, 25088, 6272]
    assert (table.macs, table.memory) == (sum(macs), sum(row.memory for row in table.layers))
    assert str(table).splitlines()[-1].split() == ["sum", "107,706", "1,512,192", "119,720"]


def by_flops(model, input):
    """Multiply-adds as PyTorch's own counter sees them: two operations each."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (sequential_cnn(), (1, 28, 28)),
        (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=2, groups=2, bias=False), (4, 9, 11)),
        (nn.ConvTranspose2d(4, 6, (3, 2), stride=2, output_padding=1, groups=2), (4, 5, 7)),
        (nn.Linear(5, 3), (4, 5)),
        (nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.BatchNorm2d(4), nn.ReLU()), (3, 8, 9)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_multiply_adds_are_those_of_pytorchs_counter(model, shape):
    table = summary(model, shape)
    assert table.macs == by_flops(model.eval(), torch.zeros(1, *shape))
    assert table.parameters == count(model)
    output = model(torch.zeros(2, *shape))
    assert table.layers[-1].shape == tuple(output.shape[1:])
    assert table.layers[-1].memory == output[0].numel() * 4


def test_the_summary_counts_what_is_shared_once():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight

        def forward(self, input):
            return self.scale * self.second(self.first(self.first(input)))

    table = summary(Shared(), (3,))
    assert [(row.name, row.parameters, row.macs) for row in table.layers] == [
        ("first", 12, 9),
        ("first", 0, 9),
        ("second", 3, 9),
        ("", 1, 0),
    ]
    assert table.parameters == count(Shared()) == 16


def test_the_summary_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).double()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert summary(model, (1, 3, 3)).layers[0].memory == 2 * 8  # float64
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert_close(dict(model.state_dict()), before, rtol=0)
    with pytest.raises(RuntimeError):
        summary(model, (5, 3, 3))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("way", [(8, 32), (4, 6, 5)], ids=str)
def test_a_fully_convolutional_head_slides(way):
    model = NestedCNN(channels=way).double()
    whole, step = fully_convolutional(model), 2 ** len(way)
    input = images(2, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        assert_close(whole(input)[:, :, 0, 0], model(input))
        assert whole(input).shape == (2, 10, 1, 1)
        large = images(1, 1, 28 + 2 * step, 28 + 3 * step + 1, dtype=torch.float64)
        answers = whole(large)
        assert answers.shape == (1, 10, 3, 4)
        maps = model.features(large)
        _, height, width = model.map_shape
        for i, j in np.ndindex(3, 4):
            there = model.classifier(maps[:, :, i : i + height, j : j + width])
            assert_close(answers[:, :, i, j], there)


def test_a_fully_convolutional_copy_has_weights_of_its_own():
    model = NestedCNN()
    whole = fully_convolutional(model)
    assert count(whole) == count(model)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.zero_()
    assert all(p.any() for p in model.parameters())
    assert not whole[0].conv.bias.is_set_to(model.features[0].conv.bias)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_a_convolution_as_large_as_the_maps(bias):
    linear = nn.Linear(2 * 3 * 5, 4, bias=bias).double()
    conv = linear_as_conv2d(linear, (2, 3, 5))
    input = images(6, 2, 3, 5, dtype=torch.float64)
    assert_close(conv(input)[:, :, 0, 0], linear(input.flatten(1)))
    assert (conv.bias is not None) == bias
    assert conv.weight.requires_grad


@pytest.mark.parametrize("weights", [[], [torch.zeros(2, 3)], [torch.ones(2, 3), torch.ones(3)]])
def test_weights_that_do_not_fit_leave_the_model_alone(weights):
    model = nn.Linear(3, 2)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=r"weights has .* (pass one for each|keep the order)"):
        load_in_order(model, weights)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_bad_arguments_are_named():
    class Pair(nn.Module):
        def forward(self, input):
            return input, input

    wrong = [
        (lambda: new_weights(-1), "seed=-1 is too small"),
        (lambda: ConvBlock(0, 1, 3), "in_channels=0 is too small"),
        (lambda: ConvBlock(1, 1.5, 3), "out_channels=1.5 is not an integer"),
        (lambda: ConvBlock(1, 1, 0), "kernel_size=0 is too small"),
        (lambda: NestedCNN(()), r"channels=\(\) makes no block"),
        (lambda: NestedCNN(8), "channels=8 makes no block; give a list with a number for each"),
        (lambda: NestedCNN((8, 0)), "out_channels=0 is too small"),
        (lambda: NestedCNN((2, 2, 2), size=7), "kernel=2 with dilation=1 spans 2 but the padded"),
        (lambda: NestedCNN(size=(28, 28, 1)), "size=.* has 3 entries"),
        (lambda: NestedCNN(hidden=0), "hidden=0 is too small"),
        (lambda: NestedCNN(classes=0), "classes=0 is too small"),
        (lambda: linear_as_conv2d(nn.Linear(18, 2), (2, 3, 4)), r"map_shape=\(2, 3, 4\) has 24"),
        (lambda: linear_as_conv2d(nn.Linear(18, 2), (18,)), r"map_shape=\(18,\) .*\(C, H, W\)"),
        (lambda: linear_as_conv2d(nn.Linear(18, 2), 18), r"map_shape=18 .*\(C, H, W\)"),
        (lambda: linear_as_conv2d(nn.Linear(18, 2), (2, -3, -3)), "map_shape=-3 is too small"),
        (lambda: fully_convolutional(sequential_cnn()), "model is a Sequential; pass a NestedCNN"),
        (lambda: summary(nn.ReLU(), (1, 0, 3)), "input_shape=0 is too small"),
        (lambda: summary(Pair(), (3,)), "layer '' returns a tuple"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(KeyError, match=r"conv2\.weight"):
        functional_cnn(images(1, 1, 28, 28), {n: w for n, w in new_weights().items() if "1" in n})
    with pytest.raises(RuntimeError):
        functional_cnn(images(1, 1, 32, 32), new_weights())
