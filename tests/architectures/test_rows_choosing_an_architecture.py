r"""The claims of book/architectures/choosing-an-architecture.md, on what its cells do not use."""

import hashlib
import re

import pytest
import torch
from safetensors.torch import save_file
from served import Server
from torch import nn

from coursepkg.architectures import (
    cut_head,
    features_only,
    get_model,
    list_models,
    load_checkpoint,
    replace_head,
)
from coursepkg.architectures.checkpoints import WEIGHTS, Weights, skeleton
from coursepkg.architectures.comparison import compare, kept_for_backward
from coursepkg.architectures.registry import MODELS


def on_meta(name, **settings):
    with torch.device("meta"):
        return get_model(name, **settings)


@pytest.mark.covers("A13")
def test_what_the_chart_shows_is_counted_but_the_accuracy():
    rows = {row.name: row for row in compare(["resnet34", "mobilenet_v3_large", "vgg13"])}
    assert [row.parameters for row in rows.values()] == [21_797_672, 5_483_032, 133_047_848]
    assert [round(row.macs / 1e9, 3) for row in rows.values()] == [3.664, 0.217, 11.308]
    assert rows["vgg13"].memory > rows["mobilenet_v3_large"].memory > rows["resnet34"].memory
    assert [row.top1 for row in rows.values()] == [73.314, 74.042, 69.928]
    assert {row.source for row in rows.values()} == {"torchvision 0.29.1"}


@pytest.mark.covers("A13")
def test_a_depthwise_network_computes_little_for_each_byte_that_it_writes():
    """Which is why it takes longer than its multiply-adds say; the page measures the time."""
    depthwise, dense = compare(["mobilenet_v3_large", "resnet34"])
    assert 20 * depthwise.macs / depthwise.memory < dense.macs / dense.memory


@pytest.mark.covers("A13")
def test_little_work_may_keep_much():
    small, large = (compare([name])[0] for name in ("mobilenet_v2", "vgg11"))
    assert 20 * small.macs < large.macs
    kept = [kept_for_backward(on_meta(row.name), (3, 224, 224)) for row in (small, large)]
    assert kept[0] > kept[1]


@pytest.mark.covers("A14")
def test_of_the_28_builders_25_are_here():
    numbered = {
        "densenet": (121, 169, 201),
        "efficientnet_b": range(8),
        "mobilenet_v": (1, 2),
        "mobilenet_v3_": ("small", "large"),
        "resnet": (50, 101, 152),
        "resnetv2_": (50, 101, 152),
        "vgg": (16, 19),
    }
    names = [f"{family}{n}" for family, numbers in numbered.items() for n in numbers]
    names += ["inception_v3", "xception"]
    assert len(names) == 25
    for name in names:
        model = skeleton(MODELS[name].factory)
        head = model.get_submodule(model.head_names[0])
        assert head.weight.shape[0] == 1000, name
    described = re.compile("nasnet|inception_?resnet", re.IGNORECASE)
    assert not list(filter(described.search, list_models())), "the page says that it is not built"


@pytest.mark.covers("A14")
def test_what_keras_counts_as_parameters():
    """Moving statistics with the rest: of a mean and a variance for each normalised channel."""
    published = {"mobilenet_v1": 4_253_864, "vgg16": 138_357_544, "densenet121": 8_062_504}
    for name, count in published.items():
        model = skeleton(MODELS[name].factory)
        norms = [m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        learned = sum(p.numel() for p in model.parameters())
        assert learned + 2 * sum(norms) == count, name
        assert (learned == count) is (name == "vgg16")


@pytest.mark.covers("A14")
def test_a_head_of_two_layers_on_128_by_128():
    backbone = cut_head(on_meta("densenet169")).requires_grad_(False)
    with torch.device("meta"):
        model = nn.Sequential(backbone, nn.Linear(1664, 1024), nn.ReLU(), nn.Linear(1024, 100))
        images = torch.zeros(3, 3, 128, 128)
    assert model(images).shape == (3, 100)
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    assert sum(trained) == 1665 * 1024 + 1025 * 100
    assert features_only(backbone)(images).shape == (3, 1664, 4, 4)
    torch.manual_seed(0)
    real = replace_head(get_model("resnet18"), 4)
    assert real(torch.randn(2, 3, 128, 128)).isfinite().all()


@pytest.mark.covers("A15")
def test_a_checkpoint_goes_in_whole_or_not_at_all(tmp_path, monkeypatch):
    torch.manual_seed(1)
    state = get_model("mobilenet_v3_small").state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    for file in ("a.safetensors", "a.pth"):
        model = load_checkpoint(on_meta("mobilenet_v3_small"), tmp_path / file)
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    other = get_model("mobilenet_v3_small", num_classes=3)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"2 are different \('classifier.3.weight'"):
        load_checkpoint(other, tmp_path / "a.pth")
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


@pytest.mark.covers("A15")
def test_a_checkpoint_is_downloaded_on_request_with_its_checksum(tmp_path, monkeypatch):
    torch.manual_seed(2)
    state = get_model("mobilenet_v3_small").state_dict()
    torch.save(state, tmp_path / "a.pth")
    data, server = (tmp_path / "a.pth").read_bytes(), Server()
    try:
        for digits, good in ((hashlib.sha256(data).hexdigest()[:8], True), ("00000000", False)):
            monkeypatch.setenv("COURSEPKG_CACHE", str(tmp_path / digits))
            file = f"mobilenet_v3_small-{digits}.pth"
            server.files[file] = data
            entry = {"IMAGENET1K_V1": Weights(server.url + file, 1, 0, 0)}
            monkeypatch.setitem(WEIGHTS, "mobilenet_v3_small", entry)
            if good:
                model = get_model("mobilenet_v3_small", weights="IMAGENET1K_V1")
                assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
            else:
                with pytest.raises(ValueError, match="does not match"):
                    get_model("mobilenet_v3_small", weights="IMAGENET1K_V1")
    finally:
        server.close()
