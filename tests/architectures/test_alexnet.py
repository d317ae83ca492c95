r"""The three forms of AlexNet: counts that were published, the two groups, the start of 2012."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.architectures.alexnet import VARIANTS, AlexNet, alexnet
from coursepkg.architectures.registry import MODELS
from coursepkg.testing import assert_close

KINDS = ("weight", "bias")
COUNTS = {"torchvision": 61_100_840, "ungrouped": 62_378_344, "paper": 60_965_224}


def on_meta(**settings):
    with torch.device("meta"):
        return alexnet(**settings)


def features(variant, seed=0):
    """The convolutions with random float64 weights, without the 58 million of the classifier."""
    layers = on_meta(variant=variant).features.to_empty(device="cpu").double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in layers.parameters():
        fan = parameter[0].numel()
        nn.init.normal_(parameter, 0, (2 / fan) ** 0.5 if fan > 1 else 0.1, generator)
    return layers.requires_grad_(False)


def images(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("variant", VARIANTS)
def test_counts(variant):
    model = on_meta(variant=variant)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[variant]
    assert len(model.state_dict()) == 16


def test_names_and_shapes_of_torchvision():
    state = on_meta().state_dict()
    places = {"features": (0, 3, 6, 8, 10), "classifier": (1, 4, 6)}
    names = [f"{part}.{i}.{kind}" for part, at in places.items() for i in at for kind in KINDS]
    assert list(state) == names
    assert state["features.3.weight"].shape == (192, 64, 5, 5)
    assert state["classifier.1.weight"].shape == (4096, 256 * 6 * 6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sizes_on_the_way(variant):
    model = on_meta(variant=variant)
    x, sizes = torch.zeros(2, 3, 224, 224, device="meta"), []
    for layer in model.features:
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            sizes.append(x.shape[-1])
    assert sizes == [55, 27, 27, 13, 13, 13, 13, 6]
    image = torch.zeros(2, 3, 224, 224, device="meta")
    assert model.forward_features(image).shape == (2, 256, 6, 6)
    for side in (224, 300):
        assert model(torch.zeros(2, 3, side, side, device="meta")).shape == (2, 1000)


def test_number_of_classes_and_the_name_of_the_head():
    model = on_meta(num_classes=7)
    assert model.get_submodule(*AlexNet.head_names).out_features == 7


def test_the_maps_of_the_paper_written_out():
    layers, x = features("paper"), images(1, 3, 67, 67)
    w = dict(layers.named_parameters())
    conv1, conv2, conv3, conv4, conv5 = sorted(
        {int(name.split(".")[0]) for name in w if name.endswith("weight")}
    )

    def conv(x, i, **window):
        return F.conv2d(x, w[f"{i}.weight"], w[f"{i}.bias"], **window).clamp(min=0)

    def halves(x, i, **window):
        """Each card has half of the maps and half of the filters."""
        parts = zip(*(t.chunk(2) for t in (w[f"{i}.weight"], w[f"{i}.bias"])), strict=True)
        maps = x.chunk(2, dim=1)
        return torch.cat(
            [F.conv2d(m, *p, **window).clamp(min=0) for m, p in zip(maps, parts, strict=True)], 1
        )

    def normalised(a):
        """The formula of section 3.3, channel by channel."""
        windows = [a[:, max(0, c - 2) : c + 3] for c in range(a.shape[1])]
        energy = torch.stack([w.square().sum(dim=1) for w in windows], dim=1)
        return a / (2 + 1e-4 * energy) ** 0.75

    y = F.max_pool2d(normalised(conv(x, conv1, stride=4, padding=2)), 3, 2)
    y = F.max_pool2d(normalised(halves(y, conv2, padding=2)), 3, 2)
    y = conv(y, conv3, padding=1)
    y = halves(halves(y, conv4, padding=1), conv5, padding=1)
    assert_close(layers(x), F.max_pool2d(y, 3, 2))


def test_the_maps_of_torchvision_have_no_normalisation():
    layers, x = features("torchvision"), images(1, 3, 67, 67)
    assert [type(layer) for layer in layers].count(nn.LocalResponseNorm) == 0
    y = x
    for i, stride, padding, pooled in (
        *((0, 4, 2, True), (3, 1, 2, True), (6, 1, 1, False)),
        *((8, 1, 1, False), (10, 1, 1, True)),
    ):
        y = F.conv2d(y, layers[i].weight, layers[i].bias, stride, padding).clamp(min=0)
        y = F.max_pool2d(y, 3, 2) if pooled else y
    assert_close(layers(x), y)


def test_groups_are_a_dense_layer_with_two_blocks_of_zeros():
    conv2 = features("paper")[4]
    dense = torch.zeros(256, 96, 5, 5, dtype=torch.float64)
    dense[:128, :48], dense[128:, 48:] = conv2.weight[:128], conv2.weight[128:]
    x = images(2, 96, 7, 7)
    assert_close(conv2(x), F.conv2d(x, dense, conv2.bias, padding=2))
    assert conv2.weight.numel() * 2 == dense.numel()


def test_the_first_and_third_layer_see_both_halves():
    convs = [m for m in on_meta(variant="paper").modules() if isinstance(m, nn.Conv2d)]
    assert [conv.groups for conv in convs] == [1, 2, 1, 2, 2]


@pytest.mark.parametrize(
    ("variant", "places"), [("torchvision", [0, 3]), ("ungrouped", [2, 5]), ("paper", [2, 5])]
)
def test_where_units_are_dropped(variant, places):
    classifier = on_meta(variant=variant).classifier
    assert [i for i, m in enumerate(classifier) if isinstance(m, nn.Dropout)] == places
    assert {m.p for m in classifier if isinstance(m, nn.Dropout)} == {0.5}


def test_the_initialisation_of_2012():
    torch.manual_seed(0)
    model = alexnet(variant="paper", num_classes=2)
    learned = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    ones = [bool((m.bias == 1).all()) for m in learned]
    zeros = [bool((m.bias == 0).all()) for m in learned]
    assert ones == [False, True, False, True, True, True, True, False]
    assert zeros == [not one for one in ones]
    for layer in learned[:-1]:
        assert abs(layer.weight.std().item() - 0.01) < 2e-4
        assert abs(layer.weight.mean().item()) < 2e-4


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant='two' is unknown; use one of torchvision, un"):
        alexnet(variant="two")


def test_it_is_registered():
    entry = MODELS["alexnet"]
    assert entry.factory is alexnet
    assert (entry.family, entry.input_size) == ("alexnet", (3, 224, 224))
    assert entry.reference == "torchvision 0.29.1"
