"""Networks by name, without heads, with new heads, and on images of other sizes."""

import copy
import inspect
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

import coursepkg.architectures as architectures
from coursepkg.architectures import (
    cut_head,
    features_only,
    get_model,
    list_models,
    registry,
    replace_head,
)
from coursepkg.architectures.registry import MODELS, Entry, register

#: What the head is given: channels of the last maps, or units of the last hidden layer.
FEATURES = {
    "lenet5": 84,
    "alexnet": 4096,
    "vgg11_bn": 4096,
    "googlenet": 1024,
    "inception_v3": 2048,
    "squeezenet1_1": 512,
    "resnet18": 512,
    "resnet50": 2048,
    "seresnet50": 2048,
    "densenet121": 1024,
    "xception": 2048,
    "resnetv2_50": 2048,
    "mobilenet_v1": 1024,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "efficientnet_b0": 1280,
    "convnext_tiny": 768,
    "vit_b_16": 768,
}


def on_meta(name, **settings):
    with torch.device("meta"):
        return get_model(name, **settings)


def images(name, n=2):
    return torch.zeros(n, *MODELS[name].input_size, device="meta")


def test_the_list():
    names = list_models()
    assert names == sorted(MODELS)
    assert len(names) == 43
    assert list_models("vgg") == [
        name + tail for name in ("vgg11", "vgg13", "vgg16", "vgg19") for tail in ("", "_bn")
    ]
    assert {entry.family for entry in MODELS.values()} >= {"resnet", "efficientnet", "lenet"}
    assert sorted(n for f in {e.family for e in MODELS.values()} for n in list_models(f)) == names


def test_each_name_is_a_function_of_the_package_whatever_is_imported():
    program = """if True:
        import sys, types
        import coursepkg.architectures.alexnet
        import coursepkg.architectures.xception, coursepkg.architectures.googlenet
        import coursepkg.architectures.summary
        import coursepkg.architectures as package
        from coursepkg.architectures.alexnet import AlexNet
        for name in package.__all__:
            assert isinstance(getattr(package, name), types.FunctionType), name
        assert package.xception.__module__ == "coursepkg.architectures.xception"
        assert isinstance(sys.modules["coursepkg.architectures.xception"], types.ModuleType)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_the_package_offers_what_the_registry_knows():
    tools = {"cut_head", "features_only", "get_model", "list_models", "load_checkpoint"}
    assert set(architectures.__all__) == set(MODELS) | tools | {"replace_head", "summary"}
    for name, entry in MODELS.items():
        function = getattr(architectures, name)
        assert isinstance(function, types.FunctionType)
        assert function is entry.factory
        assert function.__doc__
        assert entry.reference in ("torchvision 0.29.1", "timm 1.0.31", "")


def tiny(*, num_classes: int = 10, width: int = 2) -> nn.Linear:
    """Make a network of one layer."""
    return nn.Linear(width, num_classes)


@pytest.fixture
def models(monkeypatch):
    """An empty registry."""
    monkeypatch.setattr(registry, "MODELS", {})
    return registry.MODELS


def test_a_builder_is_entered_under_its_name(models):
    factory = register("small")(tiny)
    assert models == {"tiny": Entry("tiny", "small", factory, (3, 224, 224), "torchvision 0.29.1")}
    assert (factory.__name__, factory.__doc__) == ("tiny", "Make a network of one layer.")
    with pytest.raises(ValueError, match=r"^tiny is registered already; use another name$"):
        register("other")(tiny)
    assert models["tiny"].family == "small"
    models.clear()
    factory = register("small", (1, 8, 9), "")(tiny)
    assert models == {"tiny": Entry("tiny", "small", factory, (1, 8, 9), "")}


def test_a_factory_takes_weights_and_what_its_builder_takes_by_keyword(models, monkeypatch):
    factory = register("small")(tiny)
    parameters = inspect.signature(factory).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "weights": None,
        "num_classes": 10,
        "width": 2,
    }
    assert list(parameters) == ["weights", "num_classes", "width"]
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["weights"].annotation == "str | None"
    assert factory().weight.shape == (10, 2)
    assert factory(num_classes=1, width=3).weight.shape == (1, 3)
    for build in (factory, models["tiny"].factory):
        with pytest.raises(ValueError, match=r"^num_classes=0 is too small"):
            build(num_classes=0)
    monkeypatch.setattr(registry, "pretrained", lambda *arguments: arguments)
    expected = ("tiny", "DEFAULT", tiny, {"num_classes": 3, "width": 4})
    assert factory(weights="DEFAULT", num_classes=3, width=4) == expected
    assert get_model("tiny", "DEFAULT", num_classes=3, width=4) == expected


def test_a_model_by_name_is_that_of_the_factory():
    torch.manual_seed(3)
    first = get_model("lenet5", num_classes=4)
    torch.manual_seed(3)
    second = architectures.lenet5(num_classes=4)
    states = first.state_dict(), second.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"name='resnet-50' is no network.*resnet50"):
        get_model("resnet-50")
    with pytest.raises(ValueError, match=r"name='u_net' is no network here; see list_models\(\)$"):
        get_model("u_net")
    with pytest.raises(ValueError, match=r"name=\['resnet18'\] is no .*; did you mean resnet18"):
        get_model(["resnet18"])
    with pytest.raises(ValueError, match=r"family='resnets' is none of alexnet, convnext, dense"):
        list_models("resnets")
    with pytest.raises(TypeError, match="classes"):
        get_model("lenet5", classes=3)
    with pytest.raises(ValueError, match="lenet5 is registered already"):

        @register("lenet")
        def lenet5():
            pass


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_number_of_classes_that_is_none_is_refused(name):
    for value, message in [
        (-1, "num_classes=-1 is too small; use an integer of at least 1"),
        (0, "num_classes=0 is too small"),
        ("3", "num_classes='3' is not an integer"),
        (True, "num_classes=True is not an integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            on_meta(name, num_classes=value)


@pytest.mark.covers("A14")
@pytest.mark.parametrize("name", FEATURES)
def test_without_its_head_a_network_gives_features(name):
    model = on_meta(name)
    assert cut_head(model) is model
    for training in (True, False):
        output = model.train(training)(images(name))
        assert isinstance(output, torch.Tensor)
        assert tuple(output.shape) == (2, FEATURES[name])
    assert not any(key.lower().startswith("aux") for key in model.state_dict())
    for change in (cut_head, lambda m: replace_head(m, 3)):
        with pytest.raises(ValueError, match="is cut off"):
            change(model)


@pytest.mark.parametrize("name", FEATURES)
def test_the_first_head_gives_the_scores_and_auxiliary_ones_run_in_training(name):
    model, calls = on_meta(name), []
    for head in model.head_names:
        layer = model.get_submodule(head)
        assert isinstance(layer, nn.Linear) or layer.kernel_size == (1, 1)
        layer.register_forward_hook(
            lambda module, inputs, output, head=head: calls.append((head, output.shape[1]))
        )
    classes = 10 if name == "lenet5" else 1000
    assert model.eval()(images(name)).shape == (2, classes)
    assert calls == [(model.head_names[0], classes)]
    model.train()(images(name))
    assert sorted(calls[1:]) == sorted((head, classes) for head in model.head_names)


def test_what_is_left_without_a_head_is_what_the_head_was_given():
    torch.manual_seed(0)
    model = architectures.resnet18().eval()
    batch = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        scores = model(batch)
        whole = copy.deepcopy(model)
        features = cut_head(model)(batch)
        assert torch.equal(whole.fc(features), scores)
        assert torch.equal(features_only(model)(batch).mean((2, 3)), features)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "squeezenet1_1", "vit_b_16"])
def test_new_heads_for_other_classes(name):
    model = on_meta(name)
    assert replace_head(model, 7) is model
    output = model.train()(images(name))
    outputs = output if isinstance(output, tuple) else [output]
    assert [tuple(scores.shape) for scores in outputs] == [(2, 7)] * len(model.head_names)
    assert model.eval()(images(name)).shape == (2, 7)


def test_a_new_head_leaves_everything_else_alone():
    torch.manual_seed(0)
    model = architectures.googlenet(num_classes=11).double().requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    replace_head(model, 11)
    heads = tuple(model.head_names)
    changed = {
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert changed == {f"{head}.{part}" for head in heads for part in ("weight", "bias")}
    assert list(model.state_dict()) == list(before)
    for key, parameter in model.named_parameters():
        assert parameter.dtype == torch.float64
        assert parameter.requires_grad == key.startswith(heads)
    bound = model.fc.in_features**-0.5
    assert 0.9 * bound < model.fc.weight.abs().max() < bound
    assert replace_head(on_meta("resnet18"), 2).fc.weight.is_meta


def test_a_head_that_is_a_convolution_keeps_its_kind():
    model = replace_head(on_meta("squeezenet1_1").double(), 3)
    head = model.get_submodule(model.head_names[0])
    assert head.weight.shape == (3, 512, 1, 1)
    assert head.bias.shape == (3,)
    assert (head.weight.dtype, head.weight.device.type) == (torch.float64, "meta")


def test_a_head_without_bias_stays_without():
    model = architectures.lenet5()
    model.output = nn.Linear(84, 10, bias=False)
    assert replace_head(model, 3).output.bias is None


def test_a_head_of_the_users_own_is_named_and_nothing_is_replaced():
    model = on_meta("googlenet")
    model.aux2.fc2 = nn.Sequential(nn.Linear(1024, 5))
    before = list(model.modules())
    with pytest.raises(ValueError, match=r"head aux2\.fc2 is a Sequential; .*model\.aux2\.fc2 ="):
        replace_head(model, 7)
    assert list(model.modules()) == before
    model = on_meta("alexnet")
    model.classifier = nn.Linear(9216, 2)
    for change in (cut_head, lambda m: replace_head(m, 3)):
        with pytest.raises(ValueError, match=r"has no layer classifier\.6"):
            change(model)


def test_googlenet_without_auxiliary_heads_has_one_head():
    model = replace_head(on_meta("googlenet", aux_logits=False), 5)
    assert model.train()(images("googlenet")).shape == (2, 5)
    assert cut_head(model)(images("googlenet")).shape == (2, 1024)


@pytest.mark.covers("A14")
@pytest.mark.parametrize("name", sorted(set(FEATURES) - {"lenet5", "vit_b_16"}))
def test_a_head_on_images_of_128_by_128(name):
    auxiliary = name in ("googlenet", "inception_v3")  # whose heads need larger maps
    settings = {"aux_logits": False} if auxiliary else {}
    model = replace_head(on_meta(name, **settings), 5)
    small = torch.zeros(2, 3, 128, 128, device="meta")
    assert model.train()(small).shape == (2, 5)
    assert features_only(model)(small).shape[2:] < features_only(model)(images(name)).shape[2:]


def test_maps_on_the_way():
    torch.manual_seed(0)
    model = architectures.vgg11(num_classes=2).eval()
    batch = torch.randn(1, 3, 32, 32)
    trunk = features_only(model, ["features.1", "features.0", "features"])
    maps = trunk(batch)
    assert list(maps) == ["features.1", "features.0", "features"]
    assert (maps["features.0"] < 0).any()  # although the ReLU behind it works in place
    assert torch.equal(maps["features.0"].relu(), maps["features.1"])
    assert torch.equal(maps["features"], features_only(model)(batch))
    maps["features.0"].sum().backward()
    assert model.features[0].weight.grad.any()
    assert not any(m._forward_hooks for m in model.modules())
    assert trunk.model is model
    assert copy.deepcopy(trunk)(batch).keys() == maps.keys()


def test_tokens_of_a_transformer():
    assert features_only(on_meta("vit_b_16"))(images("vit_b_16")).shape == (2, 197, 768)


def test_features_of_what_has_none():
    model = architectures.resnet18().eval()
    for call, message in [
        (
            lambda: features_only(nn.Linear(2, 2)),
            r"^model is a Linear without forward_features; "
            r"pass a network of this package, or use hooks of your own$",
        ),
        (lambda: features_only(model, ["layer5"]), "'layer5' is not in this model.*layer"),
        (lambda: features_only(model, ["layer5"]), r"did you mean layer4 or"),
        (
            lambda: features_only(model, ["stem"]),
            r"'stem' is not in .*; see model.named_modules\(\)$",
        ),
        (lambda: features_only(model, [""]), r"'' is not in this model; see"),
        (lambda: features_only(model, "layer1"), r"layers='layer1' is one name; pass \['layer1'\]"),
        (lambda: features_only(model, ["fc"])(torch.zeros(1, 3, 32, 32)), "'fc' does not run"),
        (lambda: cut_head(nn.Linear(2, 2)), "model is a Linear, whose class names no heads"),
        (lambda: replace_head(nn.Linear(2, 2), 3), "whose class names no heads"),
        (lambda: replace_head(model, 0), "num_classes=0 is too small"),
        (lambda: replace_head(model, 2.5), "num_classes=2.5 is not an integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert not any(m._forward_hooks for m in model.modules())
