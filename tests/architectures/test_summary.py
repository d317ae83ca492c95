"""What networks cost and see: by hand, by PyTorch's own counter, by gradients, by publications."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import coursepkg.architectures as architectures
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.summary import ModelSummary, summary
from coursepkg.convolution import torch_models
from coursepkg.convolution.arithmetic import Window, receptive_field
from coursepkg.convolution.visualize import empirical_receptive_field, linearised

#: Giga multiply-adds that torchvision 0.29.1 gives with its weights (`_ops` in their `meta`).
PUBLISHED = {
    "alexnet": 0.714,
    "vgg11": 7.609,
    "vgg13": 11.308,
    "vgg16": 15.47,
    "vgg19": 19.632,
    "vgg11_bn": 7.609,
    "vgg13_bn": 11.308,
    "vgg16_bn": 15.47,
    "vgg19_bn": 19.632,
    "googlenet": 1.498,
    "inception_v3": 5.713,
    "resnet18": 1.814,
    "resnet34": 3.664,
    "resnet50": 4.089,
    "resnet101": 7.801,
    "resnet152": 11.514,
    "resnext50_32x4d": 4.23,
    "wide_resnet50_2": 11.398,
    "densenet121": 2.834,
    "densenet161": 7.728,
    "densenet169": 3.36,
    "densenet201": 4.291,
    "mobilenet_v2": 0.301,
    "mobilenet_v3_small": 0.057,
    "mobilenet_v3_large": 0.217,
    "squeezenet1_1": 0.349,
    "efficientnet_b0": 0.386,
    "efficientnet_b1": 0.687,
    "efficientnet_b2": 1.088,
    "efficientnet_b3": 1.827,
    "efficientnet_b4": 4.394,
    "efficientnet_b5": 10.266,
    "efficientnet_b6": 19.068,
    "efficientnet_b7": 37.746,
    "convnext_tiny": 4.456,
    "vit_b_16": 17.564,
}
#: One network for each class of building block.
KINDS = ["lenet5", "alexnet", "vgg11_bn", "googlenet", "inception_v3", "squeezenet1_1", "resnet18"]
KINDS += ["resnext50_32x4d", "seresnet50", "densenet121", "xception", "mobilenet_v2"]
KINDS += ["mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16"]
KINDS += ["mobilenet_v1", "resnetv2_50", "resnetv2_101", "resnetv2_152"]


def on_meta(name, **settings):
    with torch.device("meta"):
        return MODELS[name].factory(**settings)


def sees(model, shape, name=None):
    rows = {row.name: row.receptive_field for row in summary(model, shape).layers}
    return rows[name] if name else list(rows.values())[-1]


def test_every_network_is_held_against_another_count():
    assert set(PUBLISHED) | set(KINDS) == set(MODELS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_are_the_published_ones(name):
    assert round(summary(on_meta(name), MODELS[name].input_size).macs / 1e9, 3) == PUBLISHED[name]


@pytest.mark.parametrize("name", KINDS)
def test_multiply_adds_are_those_of_pytorchs_counter(name):
    model, size = on_meta(name), MODELS[name].input_size
    table = summary(model, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *size, device="meta"))
    assert table.macs == counter.get_total_flops() / 2
    assert table.parameters == sum(p.numel() for p in model.parameters())


def test_attention_counts_its_two_products():
    model, length, dim = nn.MultiheadAttention(24, 3, batch_first=True), 7, 24

    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = model

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    (row,) = summary(Self(), (length, dim)).layers
    assert row.name == "attention"
    assert row.macs == 4 * length * dim**2 + 2 * length**2 * dim
    assert row.parameters == 4 * dim**2 + 4 * dim
    assert row.shape == (length, dim)


def test_functions_are_counted_as_modules_are():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3, 3, 3))
            self.line = nn.Parameter(torch.ones(5, 4 * 3 * 3))

        def forward(self, x):
            x = F.max_pool2d(F.relu(F.conv2d(x, self.weight)), 2)
            return F.linear(x.flatten(1), self.line)

    modules = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5, bias=False),
    )
    functional, chain = summary(Functional(), (3, 8, 8)), summary(modules, (3, 8, 8))
    assert functional.macs == chain.macs == 4 * 27 * 36 + 5 * 36
    assert functional.parameters == chain.parameters == 4 * 27 + 5 * 36
    assert functional.memory == chain.memory == 4 * (4 * 36 + 4 * 36 + 4 * 9 + 5)
    assert [row.kind for row in functional.layers] == ["Functional"]


def test_it_agrees_with_the_summary_of_chains():
    model = torch_models.NestedCNN()
    ours, theirs = summary(model, (1, 28, 28)), torch_models.summary(model, (1, 28, 28))
    assert [row[:5] for row in ours.layers] == [row[:5] for row in theirs.layers]
    flat = 4 * 32 * 7 * 7  # a view: no new tensor
    assert ours.memory == theirs.memory - flat


def test_in_place_and_views_take_no_memory():
    def memory(*layers):
        return [row.memory for row in summary(nn.Sequential(*layers), (2, 4, 4)).layers]

    assert memory(nn.ReLU(), nn.Flatten()) == [4 * 32, 0]
    assert memory(nn.ReLU(inplace=True), nn.Unflatten(1, (1, 2))) == [0, 0]
    assert memory(nn.MaxPool2d(2)) == [4 * 8]  # without the places of the maxima
    assert memory(nn.BatchNorm2d(2)) == [4 * 32]
    assert summary(nn.Conv2d(2, 2, 1).double(), (2, 4, 4)).memory == 8 * 32


class Residual(nn.Module):
    """A unit of one convolution of 3 x 3; its shortcut takes every stride-th place."""

    def __init__(self, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, stride, padding=1)
        self.shortcut = nn.MaxPool2d(1, stride)

    def forward(self, x):
        return self.conv(x) + self.shortcut(x)


def test_rows_between_modules_and_folding():
    model = nn.Sequential(nn.Sequential(Residual(), Residual(2)), nn.Conv2d(1, 2, 1))
    full = summary(model, (1, 8, 8))
    assert [row.name for row in full.layers] == [
        "0.0.conv",
        "0.0.shortcut",
        "0.0",
        "0.1.conv",
        "0.1.shortcut",
        "0.1",
        "1",
    ]
    addition = full.layers[2]
    assert addition[1:] == ("Residual", (1, 8, 8), 0, 0, 4 * 64, (3, 3))
    for depth, names in [(0, [""]), (1, ["0", "1"]), (2, ["0.0", "0.1", "1"])]:
        folded = summary(model, (1, 8, 8), depth)
        assert [row.name for row in folded.layers] == names
        sums = folded.parameters, folded.macs, folded.memory
        assert sums == (full.parameters, full.macs, full.memory)
        assert folded.layers[-1].shape == (2, 4, 4)
    block = summary(model, (1, 8, 8), depth=1).layers[0]
    assert block[1:] == ("Sequential", (1, 4, 4), 20, 9 * 80, 4 * (192 + 48), (5, 5))


def test_parameters_used_twice_count_once_and_unused_ones_have_a_row():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.spare = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
            self.own = nn.Parameter(torch.ones(5))

        def forward(self, x):
            return self.second(self.first(self.first(x)))

    table = summary(Odd(), (3,))
    assert [(row.name, row.parameters, row.macs) for row in table.layers] == [
        ("first", 12, 9),
        ("first", 0, 9),
        ("second", 3, 9),
        ("", 5, 0),
        ("spare", 14, 0),
    ]
    assert table.parameters == sum(p.numel() for p in Odd().parameters())
    assert "not run" in str(table).splitlines()[-3]
    aux = summary(on_meta("googlenet"), (3, 224, 224)).layers[-2:]
    assert [(row.name, row.shape) for row in aux] == [("aux1", ()), ("aux2", ())]
    assert sum(row.parameters for row in aux) == 13_004_888 - 6_624_904


@pytest.mark.parametrize("seed", range(5))
def test_the_field_of_a_chain_is_that_of_the_formula(seed):
    rng, layers, windows = np.random.default_rng(seed), [], []
    for _ in range(6):
        kernel, stride, dilation = (int(rng.integers(1, n)) for n in (5, 4, 3))
        padding = int(rng.integers(0, kernel // 2 + 1))
        pool = nn.MaxPool2d(kernel, stride, padding, dilation)
        conv = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
        layers += [pool if rng.random() < 0.4 else conv, nn.ReLU()]
        windows.append(Window(kernel, stride, padding, dilation))
    with torch.device("meta"):
        rows = summary(nn.Sequential(*layers), (1, 20_000, 20_000)).layers[::2]
    for k, row in enumerate(rows, 1):
        size = receptive_field(windows[:k]).size
        assert row.receptive_field == (size, size)


def test_fields_that_are_published():
    """Araujo, Norris & Sim (2019), their table of networks; torchvision's AlexNet is AlexNet v2."""
    assert sees(on_meta("vgg16"), (3, 224, 224), "features.30") == (212, 212)
    assert sees(on_meta("alexnet"), (3, 224, 224), "features.10") == (163, 163)
    assert sees(on_meta("alexnet"), (3, 224, 224), "features.12") == (195, 195)
    assert sees(on_meta("inception_v3"), (3, 299, 299), "Mixed_7c") == (1311, 1311)


@pytest.mark.parametrize(
    ("blocks", "published"),
    [((3, 4, 6, 3), 483), ((3, 4, 23, 3), 1027), ((3, 8, 36, 3), 1507)],
)
def test_fields_of_residual_networks_that_are_published(blocks, published):
    """There the last unit of a stage has the stride, and the last stage has none."""
    units = [
        Residual(2 if last and stage < 3 else 1)
        for stage, n in enumerate(blocks)
        for last in [False] * (n - 1) + [True]
    ]
    stem = nn.Conv2d(1, 1, 7, 2, padding=3), nn.MaxPool2d(3, 2, padding=1)
    with torch.device("meta"):
        assert sees(nn.Sequential(*stem, *units).to("meta"), (1, 224, 224)) == (published,) * 2


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("resnet18", "layer4", 435), ("resnet50", "layer4", 427), ("resnet50", "layer1", 35)],
)
def test_fields_of_torchvisions_residual_networks(name, layer, size):
    """By hand: 11 after the stem; then (k - 1) * jump for each 3 x 3, its stride behind it."""
    rows = {row.name: row for row in summary(on_meta(name), (3, 224, 224), depth=1).layers}
    assert rows[layer].receptive_field == (size, size)


class Inception(nn.Module):
    """Branches of 1 x 1, 1 x 5, 5 x 1 and pooling, side by side."""

    def __init__(self):
        super().__init__()
        self.one, self.pool = nn.Conv2d(2, 1, 1), nn.AvgPool2d(3, 1, padding=1)
        self.wide = nn.Conv2d(2, 1, (1, 5), padding=(0, 2))
        self.high = nn.Sequential(nn.Conv2d(2, 1, (3, 1)), nn.Conv2d(1, 1, (5, 1), padding=(3, 0)))

    def forward(self, x):
        return torch.cat([self.one(x), self.wide(x), self.high(x), self.pool(x)], 1)


class Tokens(nn.Module):
    """Channels last, a linear layer for each place, and back again, as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.conv, self.line = nn.Conv2d(2, 2, 7, stride=2), nn.Linear(2, 2)

    def forward(self, x):
        y = self.line(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        n, c, h, w = y.shape
        return y.reshape(n, c, h * w).transpose(1, 2).transpose(1, 2).reshape(n, c, h, w)


class Cropped(nn.Module):
    """A shortcut cut out off the middle, and padding on two sides."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        y = self.conv(x) + x[:, :, 2:, :-2]  # the shortcut is not in the middle
        return F.pad(y, (3, 0, 0, 0)) + F.pad(y, (0, 3, 0, 0))


class Every(nn.Module):
    """Every third row, and groups of channels shuffled."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, dilation=2)

    def forward(self, x):
        y = self.conv(x)[:, :, 1::3]
        return y.unflatten(1, (1, 2)).transpose(1, 2).flatten(1, 2)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([Inception(), nn.Conv2d(5, 2, 1)], (7, 5)),
        ([nn.Conv2d(2, 2, 3, 2), Inception(), nn.Conv2d(5, 2, 3)], (19, 15)),
        ([Tokens(), nn.Conv2d(2, 2, 3)], (11, 11)),
        ([Cropped()], (3, 6)),
        ([Cropped(), nn.MaxPool2d(3, 2), Cropped()], (9, 18)),
        ([Every(), nn.Conv2d(2, 2, 3)], (11, 7)),
    ],
    ids=["inception", "strided", "tokens", "cropped", "twice", "every"],
)
def test_fields_through_branches_are_those_of_gradients(layers, expected):
    model = nn.Sequential(*layers)
    seen = empirical_receptive_field(linearised(model), torch.ones(1, 2, 61, 61).double())
    measured = tuple(last - first + 1 for first, last in (seen.rows, seen.columns))
    assert sees(model, (2, 61, 61)) == measured == expected


class Gate(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.last = last

    def forward(self, x):
        return self.last(x)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (nn.AdaptiveAvgPool2d(1), (None, None)),
        (nn.AdaptiveMaxPool2d((1, 3)), (None, 5)),
        (nn.AdaptiveAvgPool2d((3, 9)), (5, 3)),
        (nn.AdaptiveAvgPool2d((4, 9)), (None, None)),  # windows of unequal size
        (Gate(lambda x: x.mean(3)), (3, None)),
        (Gate(lambda x: x.amax((2, 3))), (None, None)),
        (Gate(lambda x: x.sum()[None]), (None, None)),
        (Gate(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()), (None, None)),
        (Gate(lambda x: x.softmax(2)), (None, 3)),
        (Gate(lambda x: F.layer_norm(x, x.shape[3:])), (3, None)),
        (Gate(lambda x: F.group_norm(x, 2)), (None, None)),
        (Gate(lambda x: F.instance_norm(x)), (None, None)),
        (Gate(lambda x: x.flatten(1)), (3, 3)),
        (Gate(lambda x: F.linear(x.flatten(1), torch.ones(2, 162))), (None, None)),
        (Gate(lambda x: torch.ones(4, 9) @ x), (None, 3)),
        (Gate(lambda x: x @ x.transpose(2, 3)), (None, None)),
        (Gate(lambda x: x[:, :, 4]), (3, 3)),
        (Gate(lambda x: x.split(1, 1)[1]), (3, 3)),
        (Gate(lambda x: x.split(3, 2)[1]), (None, None)),
        (Gate(lambda x: x.cumsum(2)), (None, None)),
        (Gate(lambda x: F.interpolate(x, scale_factor=2)), (None, None)),
        (Gate(lambda x: x.expand(1, 2, 9, 9) + 1), (3, 3)),
        (Gate(lambda x: x.reshape(1, 2, 3, 3, 9)), (None, None)),
        (Gate(lambda x: F.hardswish(x, inplace=True)), (3, 3)),
        (Gate(lambda x: F.local_response_norm(x, 5)), (3, 3)),
        (nn.BatchNorm2d(2), (3, 3)),
        (nn.BatchNorm2d(2, track_running_stats=False), (None, None)),
        (nn.ConvTranspose2d(2, 1, 2, 2), (None, None)),
    ],
)
def test_fields_behind_operations(last, expected):
    assert sees(nn.Sequential(nn.Conv2d(2, 2, 3), last), (2, 11, 11)) == expected


def test_a_map_of_one_place_is_no_mixture():
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    assert sees(nn.Sequential(nn.Conv2d(2, 2, 11), *head), (2, 11, 11)) == (11, 11)
    assert sees(nn.Sequential(nn.Conv2d(2, 2, 10), *head), (2, 11, 11)) == (None, None)


def test_a_transposed_convolution_uses_its_weights_at_each_input():
    layer = nn.ConvTranspose2d(4, 6, (3, 2), stride=3, groups=2)
    assert summary(layer, (4, 5, 7)).macs == 4 * 5 * 7 * (6 // 2) * 3 * 2


def test_squeeze_and_excitation_sees_everything_and_a_patch_sees_itself():
    rows = {
        row.name: row.receptive_field
        for row in summary(on_meta("seresnet50"), (3, 224, 224)).layers
    }
    assert rows["layer1.0.conv3"] == (19, 19)
    assert rows["layer1.0.se"] == rows["layer1.1.conv1"] == (None, None)
    rows = {
        row.name: row.receptive_field for row in summary(on_meta("vit_b_16"), (3, 224, 224)).layers
    }
    assert rows["encoder.layers.encoder_layer_0.ln_1"] == (16, 16)
    assert rows["encoder.layers.encoder_layer_0.self_attention"] == (None, None)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = summary(model, (1, 3, 3))
    assert table == summary(model.to("meta"), (1, 3, 3))
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    model.load_state_dict(before)
    model[2].eval()
    summary(model, (1, 3, 3))
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(RuntimeError, match="channel"):
        summary(model, (5, 3, 3))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model[0].weight.device.type == "cpu"


def test_it_prints_a_table():
    model = nn.Sequential(nn.Conv2d(1, 2, (3, 1)), nn.AdaptiveAvgPool2d(1))
    lines = str(summary(model, (1, 5, 5))).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "multiply-adds", "bytes", "sees"]
    assert lines[2].split()[-6:] == ["8", "90", "120", "3", "x", "1"]
    assert lines[3].split()[-1] == "all"
    assert lines[-1].split() == ["sum", "8", "90", "128"]
    assert isinstance(summary(model, [1, 5, 5]), ModelSummary)
    assert architectures.summary is summary


def test_bad_arguments_are_named():
    for call, message in [
        (lambda: summary(nn.ReLU(), (1, 0, 3)), "input_size=0 is too small"),
        (lambda: summary(nn.ReLU(), (1, 2.5)), "input_size=2.5 is not an integer"),
        (lambda: summary(nn.ReLU(), (1, 2), depth=-1), "depth=-1 is too small"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
