"""What Python hands to the figures of the topic. Their behaviour: tests/site."""

import json
import re
from html import unescape
from importlib.resources import files

import pytest
import torch

from coursepkg.architectures import explorers
from coursepkg.architectures.explorers import NETWORKS, architecture
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.summary import summary

COSTS = ("parameters", "macs", "memory")


def build(name):
    with torch.device("meta"):
        return MODELS[name].factory()


def text_of(figure):
    return re.search(r'data-settings="(.*?)"', figure._repr_html_())[1]


def settings(figure):
    return json.loads(unescape(text_of(figure)))


def layers_of(packed, name):
    """Read the layers of a network, as (name, what, shape, parameters, macs, memory, field)."""
    network, before = packed["networks"][name], ""
    found = []
    for i, entry in enumerate(network["names"].split(" ")):
        kept, _, rest = entry.partition(":")
        before = before[: int(kept)] + rest
        word, shape, *costs = packed["kinds"][network["layers"][2 * i]]
        field = network["layers"][2 * i + 1]
        found.append((before, packed["words"][word], packed["shapes"][shape], *costs, field))
    return found


def spread(ranges):
    return [i for a, b in zip(ranges[::2], ranges[1::2], strict=True) for i in range(a, b)]


def boxes_of(packed, drawing, first=0):
    """Yield the boxes of a drawing as (labels, shape, rows, those of what runs in it, boxes)."""
    for labels, shape, _, inside, around, _, *block in packed["drawings"][drawing]:
        ran = [first + i for i in spread(inside)]
        rows = ran + [first + i for i in spread(around)]
        parts = list(boxes_of(packed, block[0], min(ran))) if block else []
        yield [packed["words"][i] for i in labels], packed["shapes"][shape], rows, ran, parts


@pytest.mark.parametrize("name", [*NETWORKS, "inception_v3", "vit_b_16"])
def test_layers_are_those_of_the_summary(name):
    model, entry = build(name), MODELS[name]
    packed = settings(architecture(name, models=[]))
    assert list(packed["networks"]) == [name]
    layers = layers_of(packed, name)
    found = summary(model, entry.input_size)
    for cost, at in zip(COSTS, (3, 4, 5), strict=True):
        assert sum(layer[at] for layer in layers) == getattr(found, cost)
    assert sum(layer[3] for layer in layers) == sum(p.numel() for p in model.parameters())
    assert all(layer[5] >= 0 for layer in layers)
    rows = {row.name: row for row in found.layers}
    single = [layer for layer in layers if [x[0] for x in layers].count(layer[0]) == 1]
    assert len(single) >= len(layers) / 2
    for layer_name, _, shape, parameters, macs, memory, field in single:
        row = rows[layer_name]
        assert (tuple(shape), parameters, macs, memory) == (row.shape, *row[3:6])
        sides = field if isinstance(field, list) else [field, field]
        assert [side or None for side in sides] == list(row.receptive_field)


@pytest.mark.parametrize("name", [*NETWORKS, "inception_v3", "vit_b_16"])
def test_each_layer_is_in_one_box_of_each_level(name):
    def check(boxes, rows):
        assert sorted(i for box in boxes for i in box[2]) == sorted(rows)
        for *_, ran, parts in boxes:
            if parts:
                check(parts, ran)

    packed = settings(architecture(name, models=[]))
    drawing = packed["networks"][name]["drawing"]
    check(list(boxes_of(packed, drawing)), range(len(layers_of(packed, name))))


def test_heads_that_only_train_stand_apart():
    packed = settings(architecture("googlenet", models=[]))
    *_, first, second = boxes_of(packed, packed["networks"]["googlenet"]["drawing"])
    layers = layers_of(packed, "googlenet")
    assert first[1] == second[1] == []
    heads = sum(layers[i][3] for box in (first, second) for i in box[2])
    assert heads == 13_004_888 - 6_624_904


def test_memory_falls_to_the_box_that_makes_it():
    """LeNet-5 calls functions after its layers that are no modules: a·tanh(s·x)."""
    packed = settings(architecture("lenet5", models=[]))
    layers = layers_of(packed, "lenet5")
    for labels, shape, rows, *_ in boxes_of(packed, packed["networks"]["lenet5"]["drawing"]):
        made = {"×": 4, "Tanh": 4}
        size = 4 * torch.Size(shape).numel()
        functions = sum(layers[i][5] for i in rows if not layers[i][0])
        assert functions == size * sum(label in made for label in labels[1:])


def test_the_static_table_has_the_blocks_and_their_sums():
    figure = architecture("alexnet")
    body = figure.fallback.split("<tbody>")[1]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>")[:-1]]
    assert len(rows) == 12 + 1
    assert rows[0][:4] == ["features.0", "conv 11 × 11 / 4 · ReLU", "64 × 55 × 55", "23,296"]
    numbers = [[int(cell.replace(",", "")) for cell in row[3:6]] for row in rows]
    assert [sum(column[:-1]) for column in zip(*numbers, strict=True)] == numbers[-1]
    assert numbers[-1][0] == 61_100_840
    assert [row[6] for row in rows if row[0] == "features.12"] == ["195"]  # published for pool5
    assert "alexnet: AlexNet" in figure.fallback


def test_what_the_reader_is_offered():
    assert list(settings(architecture())["networks"]) == list(NETWORKS)
    packed = settings(architecture("vgg11", models=["resnet18", "alexnet"]))
    assert list(packed["networks"]) == ["resnet18", "alexnet", "vgg11"]
    assert packed["model"] == "vgg11"
    assert list(settings(architecture("vgg16", ["vgg16"]))["networks"]) == ["vgg16"]


def test_another_size_of_image():
    packed = settings(architecture("resnet18", ["resnet18"], (3, 64, 96)))
    assert packed["networks"]["resnet18"]["input"] == [3, 64, 96]
    assert layers_of(packed, "resnet18")[0][2] == [64, 32, 48]


def test_it_is_small_and_asks_for_nothing_outside():
    figure = architecture()
    assert len(text_of(figure).encode()) < 80 * 1024
    names = ("explorer", "architectures/architecture")
    assets = [files("coursepkg") / f"{name}.{kind}" for name in names for kind in ("js", "css")]
    assert sum(len(asset.read_bytes()) for asset in assets) < 48 * 1024
    html = figure._repr_html_()
    addresses = set(re.findall(r"\w+://[^\s\"'`]*", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "file://."}  # a namespace and a comment
    assert not re.search(r'\bid="|type="module"|\bfetch\(|\bimport\b', html)


def test_the_same_call_gives_the_same_text():
    first = architecture("resnet18", ["densenet121"])._repr_html_()
    explorers._network.cache_clear()
    assert architecture("resnet18", ["densenet121"])._repr_html_() == first


def test_notebooks_see_a_line_of_text_too():
    assert repr(architecture("resnet18", [])) == (
        "<Blocks of a network: resnet18, 12 blocks, 11,689,512 parameters, "
        "1,814,073,344 multiply-adds>"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet"}, "'resnet' is no network of the course; use one of .*resnet18"),
        ({"models": ["vgg16", "VGG"]}, "'VGG' is no network of the course; use one of"),
        ({"input_size": 224}, r"input_size=224 is no image; use \(C, H, W\)"),
        ({"input_size": (224, 224)}, r"input_size=\(224, 224\) is no image; use"),
        ({"input_size": (3, 0, 224)}, "input_size=0 is too small; use an integer of at least 1"),
        (
            {"name": "lenet5", "models": [], "input_size": (3, 224, 224)},
            r"input_size=\(3, 224, 224\) does not suit lenet5: .*leave it out for \(1, 32, 32\)",
        ),
    ],
)
def test_bad_arguments_are_named_with_value_and_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        architecture(**arguments)
