"""What a drawing of a network shows: its boxes, and which feeds which."""

from math import prod

import pytest
import torch
from torch import nn

from coursepkg.architectures.dataflow import INPUT, Node, Share, dataflow
from coursepkg.architectures.registry import MODELS

IMAGE = (8, 6, 6)


def conv(stride=1, size=3):
    return nn.Conv2d(8, 8, size, stride, size // 2)


class Residual(nn.Module):
    """A shortcut, in one of three spellings."""

    def __init__(self, spelling="plain"):
        super().__init__()
        self.spelling = spelling
        self.body = nn.Sequential(conv(), nn.BatchNorm2d(8), nn.ReLU(inplace=True), conv())
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.body(x)
        if self.spelling == "in place":
            y += x
        elif self.spelling == "function":
            y = torch.add(x, y)
        else:
            y = x + y
        return self.relu(y)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = conv(size=1), nn.Sequential(conv(size=1), conv())
        self.pool = nn.MaxPool2d(3, 1, 1)

    def forward(self, x):
        return torch.cat([self.left(x), self.right(x), self.pool(x)], 1)


class Dense(nn.Module):
    """Blocks that each read all before them."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Wide(8 * i) for i in range(1, 4))

    def forward(self, x):
        known = [x]
        for block in self.blocks:
            known.append(block(torch.cat(known, 1)))
        return torch.cat(known, 1)


class Wide(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.narrow, self.widen = nn.Conv2d(channels, 8, 1), conv()

    def forward(self, x):
        return self.widen(self.narrow(x))


def boxes(model, size=IMAGE):
    return dataflow(model, size)


def test_what_works_on_each_number_belongs_to_the_step_before_it():
    model = nn.Sequential(conv(2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Dropout())
    step, pool = boxes(model)
    assert step.labels == ("conv 3 × 3 / 2", "BN", "ReLU")
    assert step.layers == (("0", 0), ("1", 0), ("2", 0))
    assert (step.read, step.shape, step.sources, step.parts) == (IMAGE, (8, 3, 3), (INPUT,), ())
    assert pool.labels == ("max pool 2 × 2", "Dropout")
    assert (pool.name, pool.shape, pool.sources) == ("3", (8, 2, 2), (0,))


def test_a_window_that_keeps_the_size_is_a_step_of_its_own():
    model = nn.Sequential(conv(), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(6), nn.Linear(6, 6))
    assert [node.labels for node in boxes(model)] == [
        ("conv 3 × 3",),
        ("average pool 3 × 3",),
        ("average of all",),
        ("linear",),
    ]


def test_functions_are_drawn_like_modules():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = conv(), nn.Linear(8, 5)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
            return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    labels = [node.labels for node in boxes(Net())]
    assert labels == [("conv 3 × 3", "ReLU"), ("max pool",), ("average of all",), ("linear",)]
    assert [node.sources for node in boxes(Net())] == [(INPUT,), (0,), (1,), (2,)]


def test_what_two_read_is_a_step_of_its_own():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = conv(), nn.Sigmoid()

        def forward(self, x):
            x = self.conv(x)
            return x * self.gate(x)

    nodes = boxes(Gate())
    assert [node.labels for node in nodes] == [("conv 3 × 3",), ("Sigmoid",), ("×",)]
    assert [node.sources for node in nodes] == [(INPUT,), (0,), (0, 1)]


def test_a_pooling_function_that_keeps_the_size_is_a_step_of_its_own():
    class Smooth(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv()

        def forward(self, x):
            return nn.functional.avg_pool2d(self.conv(x), 3, 1, 1)

    assert [node.labels for node in boxes(Smooth())] == [("conv 3 × 3",), ("average pool",)]


@pytest.mark.parametrize(
    ("layer", "then"), [(nn.Flatten(), nn.Linear(8 * 36, 5)), (nn.Identity(), conv())]
)
def test_what_only_rearranges_has_no_box_but_is_counted(layer, then):
    first, last = boxes(nn.Sequential(conv(), layer, then))
    assert (first.layers, first.around) == ((("0", 0),), (Share("1", 0, 0, 0),))
    assert (last.sources, last.around) == ((0,), (Share("", 0, 0, 0),))


@pytest.mark.parametrize("spelling", ["plain", "in place", "function"])
def test_a_shortcut_joins_where_it_is_added(spelling):
    (block,) = boxes(nn.Sequential(nn.Sequential(Residual(spelling)), conv()))[:1]
    assert (block.name, block.labels) == ("0.0", ("Residual",))
    first, second, joint = block.parts
    assert first.labels == ("conv 3 × 3", "BN", "ReLU")
    assert (second.labels, second.sources) == (("conv 3 × 3",), (0,))
    assert (joint.labels, joint.sources) == (("+", "ReLU"), (INPUT, 1))
    new = 0 if spelling == "in place" else 4 * 8 * 6 * 6
    assert joint.around == (Share("0.0", 0, 0, new),)


def test_branches_run_side_by_side_and_meet():
    (block,) = boxes(nn.Sequential(Branches(), nn.Flatten(), nn.Linear(24 * 36, 2)))[:1]
    assert [part.sources for part in block.parts] == [(INPUT,), (INPUT,), (1,), (INPUT,), (0, 2, 3)]
    assert block.parts[-1].labels == ("concatenation",)
    assert block.parts[-1].shape == block.shape == (24, 6, 6)


def test_a_block_alone_reads_the_concatenation_itself():
    (block,) = boxes(nn.Sequential(Dense(), nn.AdaptiveAvgPool2d(1)))[:1]
    *layers, joint = block.parts
    assert [node.labels for node in layers] == [("Wide",)] * 3
    assert [node.sources for node in layers] == [(INPUT,), (INPUT, 0), (INPUT, 0, 1)]
    assert [node.read[0] for node in layers] == [8, 16, 24]
    assert (joint.labels, joint.sources) == (("concatenation",), (INPUT, 0, 1, 2))
    memory = [share.memory for node in block.parts for share in node.around if share.name == "0"]
    assert memory == [4 * 36 * channels for channels in (8, 16, 24, 32)]


def test_a_module_with_one_step_is_that_step_and_a_row_of_blocks_is_opened():
    class Tail(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = conv(), nn.BatchNorm2d(8)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)))

    class Row(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Residual(), Branches()])
            self.norm = nn.LayerNorm(6)

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    row = boxes(nn.Sequential(Tail(), Row()))
    assert [node.labels for node in row] == [
        ("conv 3 × 3", "BN", "ReLU"),
        ("Residual",),
        ("Branches",),
        ("LN",),
    ]


def test_a_module_used_twice_has_two_boxes():
    layer = conv()
    first, second = boxes(nn.Sequential(layer, layer))
    assert (first.layers, second.layers) == ((("0", 0),), (("0", 1),))


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        (nn.Conv2d(8, 16, (1, 7), padding=(0, 3)), "conv 1 × 7"),
        (nn.Conv2d(8, 8, 5, 2, 2, groups=8), "depthwise 5 × 5 / 2"),
        (nn.Conv2d(8, 8, 3, groups=4), "conv 3 × 3"),
        (nn.LPPool2d(2, 2), "LPPool2d 2 × 2 / 2"),
    ],
)
def test_labels_say_kernel_and_stride(layer, label):
    assert boxes(nn.Sequential(layer, nn.AdaptiveAvgPool2d(1)))[0].labels == (label,)


def runs(nodes):
    """Every module that a drawing accounts for; of shares the first."""
    inside = [run for node in nodes for run in node.layers]
    return inside + [share[:2] for node in nodes for share in node.around if share.number == 0]


def check_drawing(nodes: tuple[Node, ...]):
    for i, node in enumerate(nodes):
        assert node.sources
        assert all(INPUT <= source < i for source in node.sources)
        if node.parts:
            assert sorted(runs(node.parts)) == sorted(node.layers)
            check_drawing(node.parts)
    read = {source for node in nodes for source in node.sources}
    assert read >= set(range(len(nodes) - 1))  # nothing but the last one is a dead end


NETWORKS = [
    "lenet5",
    "alexnet",
    "vgg11_bn",
    "googlenet",
    "inception_v3",
    "squeezenet1_1",
    "resnet18",
    "resnext50_32x4d",
    "densenet121",
    "seresnet50",
    "xception",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "resnetv2_50",
    "vit_b_16",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_module_that_runs_is_in_one_box_of_each_level(name):
    entry = MODELS[name]
    with torch.device("meta"):
        model = entry.factory()
    ran = []
    for key, module in model.named_modules():
        module.register_forward_hook(lambda *_, key=key: ran.append(key))
    nodes = dataflow(model, entry.input_size)
    assert sorted(run[0] for run in runs(nodes)) == sorted(ran)
    check_drawing(nodes)
    with torch.device("meta"), torch.no_grad():
        scores = model.eval()(torch.zeros(1, *entry.input_size))
    assert prod(nodes[-1].shape) == scores.numel()


def network(name):
    with torch.device("meta"):
        return dataflow(MODELS[name].factory(), MODELS[name].input_size)


def test_networks_have_the_blocks_of_their_papers():
    def count(name, label):
        return sum(node.labels == (label,) for node in network(name))

    assert count("resnet18", "BasicBlock") == 2 + 2 + 2 + 2
    assert count("resnet50", "Bottleneck") == 3 + 4 + 6 + 3
    assert count("googlenet", "Inception") == 9
    assert count("mobilenet_v2", "InvertedResidual") == 17
    assert count("efficientnet_b0", "MBConv") == 16
    dense = [node for node in network("densenet121") if node.labels == ("DenseBlock",)]
    assert [len(node.parts) - 1 for node in dense] == [6, 12, 24, 16]
    assert [part.sources for part in dense[0].parts[:3]] == [(INPUT,), (INPUT, 0), (INPUT, 0, 1)]
    steps = [node.labels[0] for node in network("vgg11_bn")]
    assert (steps.count("conv 3 × 3"), steps.count("linear")) == (8, 3)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(conv(), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = dataflow(model, IMAGE)
    assert model[1].training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert dataflow(model, IMAGE) == first


def test_hooks_are_gone_after_an_error():
    model = nn.Sequential(conv())
    with pytest.raises(RuntimeError, match="channels"):
        dataflow(model, (3, 6, 6))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (nn.Sequential(conv()), (8, 0, 6), "input_size=0 is too small"),
        (conv(), IMAGE, "model Conv2d runs no module; pass one made of modules"),
    ],
)
def test_bad_arguments_are_named_with_value_and_remedy(model, size, message):
    with pytest.raises(ValueError, match=message):
        dataflow(model, size)
