"""Weights from a server of our own on 127.0.0.1, and files of every bad kind."""

import copy
import hashlib
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from served import Server
from torch import nn
from torch.overrides import TorchFunctionMode

from coursepkg.architectures import get_model, load_checkpoint, replace_head
from coursepkg.architectures.checkpoints import (
    HALF,
    WEIGHTS,
    Weights,
    official_weights,
    skeleton,
)
from coursepkg.architectures.registry import MODELS
from coursepkg.data import downloads

ORACLE = Path(__file__).parents[1] / "oracle" / "preprocess.npz"
#: The others have files with a hash in the name, which are checked before they are read.
WITHOUT_WEIGHTS = {"lenet5", "mobilenet_v1", "resnetv2_50", "resnetv2_101", "resnetv2_152"}


class Small(nn.Module):
    """Something of everything: a convolution, batch normalisation, a head."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, classes, dtype=torch.float64)


def other(seed=1):
    torch.manual_seed(seed)
    model = Small()
    model.norm.running_mean.normal_()
    model.norm.num_batches_tracked.fill_(5)
    return model.state_dict()


def same(model, state):
    ours = model.state_dict()
    return list(ours) == list(state) and all(torch.equal(ours[k], state[k]) for k in ours)


def save(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.covers("A15")
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_was_saved_is_loaded(suffix, device, tmp_path):
    state = other()
    path = save(state, tmp_path / f"weights{suffix}")
    model = Small().to(device)
    before = model.conv.weight
    assert load_checkpoint(model, path) is model
    assert same(model, state)
    assert (model.conv.weight is before) == (device == "cpu")
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in model.parameters())
    assert load_checkpoint(Small(), str(path)).norm.num_batches_tracked == 5


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "best": 0.5},
        lambda state: {"model": state, "optimizer": {"lr": [0.1]}},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {k: v for k, v in state.items() if k != "norm.num_batches_tracked"},
    ],
    ids=["state_dict", "model", "module.", "both", "before 0.4.1"],
)
def test_wrappings_are_taken_off(wrap, tmp_path):
    state = other()
    model = load_checkpoint(Small(), save(wrap(state), tmp_path / "a.pth"))
    if "norm.num_batches_tracked" not in wrap(state) and len(wrap(state)) == len(state) - 1:
        assert model.norm.num_batches_tracked == 0
        state["norm.num_batches_tracked"].zero_()
    assert same(model, state)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_half_precision_fits_single_precision(device, tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in other().items()}
    torch.save(state, tmp_path / "half.pth")
    model = load_checkpoint(Small().to(device), tmp_path / "half.pth")
    for name, value in model.state_dict().items():
        assert value.dtype == Small().state_dict()[name].dtype
        assert torch.equal(value, state[name].to(value.dtype))


def without(name):
    return lambda state: {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("fc.bias"), r"9 keys and the 8 .*, 1 is missing \('fc\.bias'\)$"),
        (lambda s: s | {"head.weight": s["fc.bias"]}, r"1 is surplus \('head\.weight'\)$"),
        (
            lambda s: s | {"fc.bias": torch.zeros(4, dtype=torch.float64)},
            r"1 is different \('fc\.bias': \(4,\) float64 instead of \(3,\) float64\)$",
        ),
        (
            lambda s: s | {"conv.bias": torch.zeros(2, dtype=torch.float64)},
            r"different \('conv\.bias': \(2,\) float64 instead of \(2,\) float32\)",
        ),
        (
            lambda s: s | {"fc.bias": torch.zeros(3, dtype=torch.int64)},
            r"different \('fc\.bias': \(3,\) int64 instead of \(3,\) float64\)",
        ),
        (
            lambda s: s | {"norm.num_batches_tracked": torch.tensor(1.0)},
            r"different \('norm\.num_batches_tracked': \(\) float32 instead of \(\) int64\)",
        ),
        (
            lambda s: s | {"conv.bias": torch.zeros(2, dtype=torch.float8_e5m2)},
            r"different \('conv\.bias': \(2,\) float8_e5m2 instead of \(2,\) float32\)",
        ),
        (
            lambda s: s | {"\x1b[2J\n" + "a" * 200: s["fc.bias"]},
            r"1 is surplus \('\\x1b\[2J\\na+\.\.\.a+'\)$",
        ),
        (
            lambda s: {k.replace("fc", "head"): v[..., :1] for k, v in s.items() if v.ndim},
            r"2 are missing \('fc\.weight', 'fc\.bias'\); 2 are surplus \('head.*', 'head.*'\); "
            r"6 are different \('conv.weight': .*, …\)$",
        ),
        (
            lambda s: {f"module.{k}": v for k, v in s.items()} | {"a": s["fc.bias"]},
            "9 are missing .*, ….; 10 are surplus",
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_does_not_fit_is_listed_and_the_model_stays(change, message, suffix, tmp_path):
    state = {name: value.clone().contiguous() for name, value in change(other()).items()}
    path = save(state, tmp_path / f"weights{suffix}")
    model = Small()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message) as error:
        load_checkpoint(model, path)
    assert str(path) in str(error.value)
    assert "Small, which stays as it was" in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000
    assert same(model, before)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.zeros(3, dtype=torch.float64, device="meta"), "torch.meta.DoubleTensor"),
        (lambda: torch.zeros(3).to_sparse(), "torch.sparse.FloatTensor"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "torch.FloatTensor"),
        (
            lambda: torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8),
            "torch.quantized.QInt8Tensor",
        ),
    ],
    ids=["meta", "sparse", "nested", "quantized"],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tensors_without_plain_numbers_are_refused(make, kind, device, tmp_path):
    with warnings.catch_warnings(action="ignore"):  # quantized tensors are deprecated
        torch.save(other() | {"fc.bias": make()}, tmp_path / "a.pth")  # the last of its keys
    model = Small().to(device)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=f"'fc.bias' is a {kind}, no plain tensor with a name"):
        load_checkpoint(model, tmp_path / "a.pth")
    assert list(model.state_dict()) == list(before)
    assert device == "meta" or same(model, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_model_on_the_meta_device_gets_memory_of_its_own(suffix, tmp_path):
    state = other()
    path = save(state, tmp_path / f"a{suffix}")
    model = load_checkpoint(Small().to("meta"), path)
    size = path.stat().st_size
    with path.open("r+b") as file:  # in place: the file is still the same one
        file.write(bytes(size))
    assert same(model, state)


def test_names_that_share_memory_in_the_file_do_not_in_the_model(tmp_path):
    one, column = torch.ones(2), torch.ones(2, 1)
    state = {"0.weight": column.expand(2, 2), "0.bias": one, "1.weight": torch.ones(2, 2)}
    torch.save(state | {"1.bias": one}, tmp_path / "a.pth")
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    load_checkpoint(model, tmp_path / "a.pth")
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter += torch.rand_like(parameter)
    assert model[1].bias.tolist() == [1, 1]
    assert model[0].weight.unique().numel() == 4


def test_only_what_is_on_the_meta_device_is_replaced(tmp_path):
    state = other()
    model = Small()
    model.fc.to("meta")
    before = model.conv.weight
    load_checkpoint(model, save(state, tmp_path / "a.pth"))
    assert model.conv.weight is before
    assert same(model, state)


def test_names_of_the_model_itself_are_left_alone(tmp_path):
    for wrap in (
        lambda model: nn.ModuleDict({"module": model}),
        lambda model: nn.ModuleDict(
            {"a": nn.ModuleDict({"mlp": nn.ModuleDict({"linear_1": model})})}
        ),
    ):
        source = wrap(Small())
        source.load_state_dict(dict(zip(source.state_dict(), other().values(), strict=True)))
        torch.save(source.state_dict(), tmp_path / "a.pth")
        assert same(load_checkpoint(wrap(Small()), tmp_path / "a.pth"), source.state_dict())
        prefixed = {f"module.{name}": value for name, value in source.state_dict().items()}
        torch.save(prefixed, tmp_path / "b.pth")
        if "module" not in source:
            assert same(load_checkpoint(wrap(Small()), tmp_path / "b.pth"), source.state_dict())


def test_an_old_and_a_new_name_of_one_entry_are_refused(tmp_path):
    model = nn.ModuleDict({"denselayer1": nn.ModuleDict({"norm1": nn.Linear(1, 1)})})
    state = model.state_dict()
    twice = state | {"denselayer1.norm.1.bias": torch.ones(1)}
    torch.save(twice, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"3 of the file, 1 is given twice \('denselayer1\.norm1\.b"
    ):
        load_checkpoint(model, tmp_path / "a.pth")


def test_one_counter_of_several_may_not_be_missing(tmp_path):
    model = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1))
    state = model.state_dict()
    del state["1.num_batches_tracked"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"1 is missing \('1\.num_batches_tracked'\)"):
        load_checkpoint(model, tmp_path / "a.pth")


class Call:
    """What it calls stands in the pickle."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


#: What torch says of files that it refuses: run them after all.
ADVICE = re.compile("weights_only|Re-running|trusted")


def write_torch(held, path, protocol):
    torch.save(held, path, pickle_protocol=protocol)


def write_legacy(held, path, protocol):
    torch.save(held, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


def write_pickle(held, path, protocol):
    path.write_bytes(pickle.dumps(held, protocol))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("write", [write_torch, write_legacy, write_pickle])
@pytest.mark.parametrize(
    ("function", "name"), [(print, "print"), (exec, "exec"), (Path.touch, "(getattr|Path.touch)")]
)
def test_a_pickle_with_code_is_refused_and_not_run(
    function, name, write, protocol, tmp_path, capsys
):
    mark = tmp_path / "was here"
    argument = {"exec": f"open({str(mark)!r}, 'w')", "print": "was here"}.get(name, mark)
    path = tmp_path / "weights.pth"
    code = {"extra": Call(function, argument)}
    write(code if write is write_pickle else other() | code, path, protocol)
    model = Small()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=f"contains code: it would call [a-z_.]*{name} while") as e:
        load_checkpoint(model, path)
    assert "\n" not in str(e.value)
    assert not ADVICE.search(str(e.value))
    assert capsys.readouterr().out == ""
    assert not mark.exists()
    assert same(model, before)


def test_a_whole_model_is_a_pickle_with_code(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"contains code: .*torch\.nn\.modules\.linear\.Linear"):
        load_checkpoint(nn.Linear(2, 2), tmp_path / "model.pth")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk", b"\x80\x02}.", b"\x80\x04]."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_checkpoint_is_refused(content, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    message = (
        f"{re.escape(str(path))} is no checkpoint: (it is damaged, or not .*get it again|it holds)"
    )
    with pytest.raises(ValueError, match=message) as error:
        load_checkpoint(Small(), path)
    assert not ADVICE.search(str(error.value))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("write", [write_torch, write_legacy])
def test_tensors_alone_are_never_called_code(write, protocol, tmp_path):
    held = other() | {"fc.bias": nn.Parameter(torch.zeros(3, dtype=torch.float64))}
    write(held, tmp_path / "a.pth", protocol)
    if protocol < 4:
        assert same(load_checkpoint(Small(), tmp_path / "a.pth"), held)
    else:
        with pytest.raises(ValueError, match="it is damaged, or not what torch"):
            load_checkpoint(Small(), tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="it is damaged"):
        load_checkpoint(Small(), tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([torch.zeros(2)], "holds a list, not names with tensors"),
        (torch.zeros(2), "holds a Tensor, not names"),
        ({}, "is no checkpoint"),
        ({"epoch": 3}, "'epoch' is a int, no plain tensor"),
        ({1: torch.zeros(2)}, "1 is a torch.FloatTensor, no plain tensor with a name"),
        ({"state_dict": {"a": {"b": torch.zeros(2)}}}, "'a' is a dict, no plain tensor"),
    ],
)
def test_a_file_that_holds_something_else(held, message, tmp_path):
    torch.save(held, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        load_checkpoint(Small(), tmp_path / "a.pth")


def test_names_of_files_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '\.bin'; pass a \.safetensors, \.pth or \.pt"):
        load_checkpoint(Small(), tmp_path / "a.bin")
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_checkpoint(Small(), tmp_path / "a.pth")


# ------------------------------------------------------------------ official weights


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEPKG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSE", 0)
    running = Server()
    yield running
    running.close()


def publish(server, monkeypatch, tmp_path, name, state, **settings):
    """Offer a state as the official weights of a network."""
    path = tmp_path / "made.pth"
    torch.save(state, path)
    data = path.read_bytes()
    file = f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    server.files[file] = data
    entry = Weights(server.url + file, 1, 0, 0, **settings)
    monkeypatch.setitem(WEIGHTS, name, {"IMAGENET1K_V1": entry})
    return file


def drawn(model):
    """Other weights than a new model has."""
    torch.manual_seed(5)
    return {
        k: torch.randn_like(v) if v.is_floating_point() else v + 7
        for k, v in model.state_dict().items()
    }


class Drawing(TorchFunctionMode):
    """Notes which functions that draw random numbers are called."""

    def __init__(self):
        self.seen = []
        super().__init__()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "").endswith(("normal_", "uniform_", "bernoulli_", "random_")):
            self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_skeleton_has_every_shape_and_draws_nothing(name):
    with Drawing() as drawing, torch.device("meta"):
        usual = MODELS[name].factory()
    assert drawing.seen
    with Drawing() as drawing:
        bare = skeleton(MODELS[name].factory, num_classes=1000 if name != "lenet5" else 10)
    assert not drawing.seen
    states = usual.state_dict(), bare.state_dict()
    assert list(states[0]) == list(states[1])
    for before, after in zip(*(state.values() for state in states), strict=True):
        assert after.is_meta
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
    parameters = zip(usual.named_parameters(), bare.named_parameters(), strict=True)
    assert all(a == b and p.requires_grad == q.requires_grad for (a, p), (b, q) in parameters)


def test_a_skeleton_does_not_keep_others_from_drawing():
    torch.manual_seed(0)
    expected = nn.Linear(3, 2).weight
    torch.manual_seed(0)
    skeleton(nn.Linear, in_features=3, out_features=2)
    assert torch.equal(nn.Linear(3, 2).weight, expected)


@pytest.mark.covers("A15")
def test_weights_are_fetched_once_checked_and_loaded(server, monkeypatch, tmp_path, capsys):
    state = drawn(get_model("squeezenet1_1"))
    file = publish(server, monkeypatch, tmp_path, "squeezenet1_1", state)
    server.break_after = [1_000_000]
    before = torch.get_rng_state()
    model = get_model("squeezenet1_1", weights="IMAGENET1K_V1")
    assert same(model, state)
    assert torch.equal(torch.get_rng_state(), before)  # no time went into random weights
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert [name for name, _ in server.requests] == [file, file]  # it went on where it broke
    assert server.requests[1][1].startswith("bytes=")
    assert same(get_model("squeezenet1_1", weights="DEFAULT"), state)
    assert len(server.requests) == 2
    assert (tmp_path / "cache" / "weights" / file).is_file()
    server.close()
    assert same(MODELS["squeezenet1_1"].factory(weights="IMAGENET1K_V1"), state)
    assert capsys.readouterr().out == ""


def test_a_wrong_hash_and_no_network(server, monkeypatch, tmp_path):
    file = publish(server, monkeypatch, tmp_path, "lenet5", drawn(get_model("lenet5")))
    server.files[file] = server.files[file][:-1] + b"?"
    with pytest.raises(ValueError, match="does not match"):
        get_model("lenet5", weights="DEFAULT")
    assert list((tmp_path / "cache" / "weights").glob("[!.]*")) == []
    server.close()
    with pytest.raises(ConnectionError, match="by hand") as error:
        get_model("lenet5", weights="DEFAULT")
    assert file in str(error.value)


@pytest.mark.parametrize(("asked", "has"), [(None, False), (False, False), (True, True)])
def test_auxiliary_heads_of_googlenet_are_dropped_unless_asked_for(
    asked, has, server, monkeypatch, tmp_path
):
    with torch.device("meta"):
        shapes = get_model("googlenet").state_dict()
    state = {name: torch.zeros_like(value, device="cpu") for name, value in shapes.items()}
    heads = {"auxiliary": ("aux1", "aux2"), "auxiliary_trained": False}
    publish(server, monkeypatch, tmp_path, "googlenet", state, **heads)
    model = get_model("googlenet", "DEFAULT", **({} if asked is None else {"aux_logits": asked}))
    assert any(name.startswith("aux") for name in model.state_dict()) == has
    assert not any(p.any() for p in model.parameters())


def test_auxiliary_heads_of_inception_stay_unless_dropped(server, monkeypatch, tmp_path):
    with torch.device("meta"):
        shapes = get_model("inception_v3").state_dict()
    state = {name: torch.zeros_like(value, device="cpu") for name, value in shapes.items()}
    publish(server, monkeypatch, tmp_path, "inception_v3", state, auxiliary=("AuxLogits",))
    assert get_model("inception_v3", "DEFAULT").AuxLogits is not None
    assert get_model("inception_v3", "DEFAULT", aux_logits=False).AuxLogits is None


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("densenet121", lambda n: re.sub(r"(denselayer\d+\.\w+)([12])\.", r"\1.\2.", n)),
        (
            "vit_b_16",
            lambda n: n.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."),
        ),
        ("resnet18", lambda n: None if n.endswith("num_batches_tracked") else n),
    ],
)
def test_old_names_are_understood(name, old, tmp_path):
    with torch.device("meta"):
        model, shapes = get_model(name), get_model(name).state_dict()
    state = {old(k): torch.zeros_like(v, device="cpu") for k, v in shapes.items() if old(k)}
    assert set(state) != set(shapes)
    torch.save(state, tmp_path / "old.pth")
    load_checkpoint(model, tmp_path / "old.pth")
    assert list(model.state_dict()) == list(shapes)
    assert not any(value.any() for value in model.state_dict().values())


def test_other_classes_come_after_the_weights(server, monkeypatch, tmp_path):
    state = drawn(get_model("squeezenet1_1"))
    publish(server, monkeypatch, tmp_path, "squeezenet1_1", state)
    with pytest.raises(ValueError, match=r"num_classes=7 .*use replace_head\(model, 7\) afterw"):
        get_model("squeezenet1_1", weights="DEFAULT", num_classes=7)
    assert server.requests == []
    model = replace_head(get_model("squeezenet1_1", weights="DEFAULT", num_classes=1000), 7)
    assert model.classifier[1].weight.shape[0] == 7
    assert torch.equal(model.features[0].weight, state["features.0.weight"])


@pytest.mark.parametrize(
    ("name", "variant"),
    [("alexnet", "ungrouped"), ("alexnet", "paper"), ("googlenet", "paper")],
)
def test_forms_without_official_weights_are_refused_before_the_download(
    name, variant, server, monkeypatch, tmp_path
):
    publish(server, monkeypatch, tmp_path, name, {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match=f"variant='{variant}' .*use variant='torchvision', or we"):
        get_model(name, weights="DEFAULT", variant=variant)
    assert server.requests == []
    with pytest.raises(ValueError, match="does not fit"):
        get_model(name, weights="DEFAULT", variant="torchvision")
    assert len(server.requests) == 1


def test_a_wrong_setting_costs_no_download(server, monkeypatch, tmp_path):
    publish(server, monkeypatch, tmp_path, "alexnet", {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="variant"):
        get_model("alexnet", weights="DEFAULT", variant="papre")
    with pytest.raises(TypeError, match="num_clases"):
        get_model("alexnet", weights="DEFAULT", num_clases=10)
    assert server.requests == []


def test_a_form_that_the_weights_do_not_fit(server, monkeypatch, tmp_path):
    with torch.device("meta"):
        shapes = get_model("alexnet", variant="paper").state_dict()
    state = {name: torch.zeros_like(value, device="cpu") for name, value in shapes.items()}
    publish(server, monkeypatch, tmp_path, "alexnet", state)
    with pytest.raises(ValueError, match="does not fit AlexNet"):
        get_model("alexnet", weights="DEFAULT")


def test_unknown_weights_are_refused_with_those_there_are():
    for call, message in [
        (lambda: get_model("lenet5", "IMAGENET1K_V1"), "none are published for lenet5"),
        (
            lambda: get_model("resnet50", "V3"),
            "'V3' is none of resnet50; use DEFAULT or IMAGENET1K_V1 or",
        ),
        (lambda: official_weights("nasnet"), "none are published for nasnet"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_the_table_is_complete():
    assert set(WEIGHTS) == set(MODELS) - WITHOUT_WEIGHTS
    for name, versions in WEIGHTS.items():
        for version, entry in versions.items():
            assert entry.url.startswith("https://")
            assert re.fullmatch("[0-9a-f]{8,9}", entry.sha256)
            assert entry.sha256 in entry.url
            assert 50 < entry.top1 < entry.top5 < 100
            assert entry.crop == MODELS[name].input_size[1]
            assert entry.crop <= entry.resize
            assert (entry.source == MODELS[name].reference) == ("IMAGENET" in version)
    assert official_weights("resnet50") == WEIGHTS["resnet50"]["IMAGENET1K_V2"]
    assert official_weights("resnet50").sha256 == "11ad3fa6"
    assert official_weights("vgg16").sha256 == "397923af"
    untrained = {n for n, w in WEIGHTS.items() if not all(v.auxiliary_trained for v in w.values())}
    assert untrained == {"googlenet"}
    tensorflow = {n for n, w in WEIGHTS.items() if any(v.mean == HALF for v in w.values())}
    assert tensorflow == {"googlenet", "inception_v3", "xception"}


@pytest.mark.parametrize("name", sorted(set(MODELS) - WITHOUT_WEIGHTS))
def test_sizes_of_the_files_are_those_of_the_weights(name):
    with torch.device("meta"):
        model = MODELS[name].factory()
    numbers = sum(value.numel() * value.itemsize for value in model.state_dict().values())
    for entry in WEIGHTS[name].values():
        half = entry.url.endswith("wide_resnet50_2-95faca4d.pth")  # in half precision
        assert abs(entry.mebibytes - numbers / 2**20 / (1 + half)) < 1 + 0.01 * entry.mebibytes


# ------------------------------------------------------------------ images


def test_images_are_prepared_as_torchvision_prepares_them():
    rng = np.random.default_rng(0)  # as tests/oracle/make_preprocess.py draws them
    images = {
        way: rng.integers(0, 256, shape, dtype=np.uint8)
        for way, shape in (("wide", (300, 451, 3)), ("tall", (701, 333, 3)))
    }
    with np.load(ORACLE) as stored:
        assert len(stored) == 20
        for key, expected in stored.items():
            name, weights, way = key.split("/")
            ours = official_weights(name, weights).preprocess(images[way])
            assert ours.dtype == torch.float32
            found = ours[0, :, ::37, ::41].numpy()
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6, err_msg=key)


def test_arrays_tensors_and_batches_are_prepared_alike():
    entry = official_weights("resnet18")
    images = np.random.default_rng(0).integers(0, 256, (2, 300, 260, 3), dtype=np.uint8)
    first, second = (entry.preprocess(image) for image in images)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert torch.equal(entry.preprocess(batch), torch.cat([first, second]))
    assert torch.equal(entry.preprocess(batch[1]), second)


def test_the_middle_is_cut_out_and_normalised():
    entry = Weights("", 0, 0, 0, resize=4, crop=2, mean=HALF, std=HALF)
    image = np.arange(4 * 8, dtype=np.uint8).reshape(4, 8, 1).repeat(3, axis=2) * 8
    expected = image[1:3, 3:5, 0] / 255 * 2 - 1
    found = entry.preprocess(image)
    assert found.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(found[0, 1].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"image=\(5, 5\) is none"),
        (np.zeros((3, 5, 5), np.uint8), "is none; pass an"),
        (torch.zeros(5, 5, 3, dtype=torch.uint8), "is none; pass an"),
        (torch.zeros(3, 5, 5), "image is of torch.float32; pass bytes"),
        (np.zeros((5, 5, 3)), "image is of torch.float64; pass bytes"),
        ("cat.jpg", "image=str is none"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        official_weights("resnet18").preprocess(image)
