"""Each optimiser against its namesake in PyTorch, step after step, over a table of settings."""

import inspect

import numpy as np
import pytest
import torch

from coursepkg.convolution.optim import SGD, Adam
from coursepkg.testing import assert_close

SGD_SETTINGS = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 0.1},
    {"momentum": 0.5, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
    {"lr": 0.0},
]
ADAM_SETTINGS = [
    {},
    {"lr": 0.1},
    {"betas": (0.5, 0.9)},
    {"betas": (0.0, 0.0), "eps": 1e-3},
    {"betas": (0.1, 0.99)},
    {"eps": 0.1, "weight_decay": 0.1},
]
TABLE = [(SGD, torch.optim.SGD, {"lr": 0.01} | settings) for settings in SGD_SETTINGS]
TABLE += [(Adam, torch.optim.Adam, settings) for settings in ADAM_SETTINGS]
SHAPES = {"conv.weight": (3, 2, 3, 1), "conv.bias": (3,), "scale": ()}


def draw(rng, dtype):
    # entries of very different scale, as gradients have
    return {
        name: (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 3, shape)).astype(dtype)
        for name, shape in SHAPES.items()
    }


def path(Ours, Theirs, settings, dtype, steps):
    """Return the parameters after each step, ours and PyTorch's."""
    rng = np.random.default_rng(5)
    parameters = {name: np.array(value) for name, value in draw(rng, dtype).items()}
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    ours, theirs = Ours(parameters, **settings), Theirs(tensors.values(), **settings)
    for _ in range(steps):
        gradients = {name: np.array(value) for name, value in draw(rng, dtype).items()}
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[name])
        ours.step(gradients)
        theirs.step()
        expected = {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
        yield {name: value.copy() for name, value in parameters.items()}, expected


@pytest.mark.parametrize(("Ours", "Theirs", "settings"), TABLE, ids=str)
def test_every_step_is_pytorchs(Ours, Theirs, settings):
    for got, expected in path(Ours, Theirs, settings, "float64", steps=100):
        assert_close(got, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("Ours", "Theirs", "settings"), TABLE, ids=str)
def test_every_step_is_pytorchs_in_float32(Ours, Theirs, settings):
    for got, expected in path(Ours, Theirs, settings, "float32", steps=10):
        assert_close(got, expected)


@pytest.mark.parametrize(("Ours", "Theirs"), [(SGD, torch.optim.SGD), (Adam, torch.optim.Adam)])
def test_defaults_are_pytorchs(Ours, Theirs):
    defaults = Theirs([torch.zeros(1)]).defaults
    optimizer = Ours({"p": np.zeros(1)})
    shared = [name for name in defaults if hasattr(optimizer, name)]
    assert {"lr", "weight_decay"} < set(shared)
    assert {name: getattr(optimizer, name) for name in shared} == {n: defaults[n] for n in shared}


def test_velocity_adds_up_to_ten_gradients():
    parameter = np.zeros(1)
    optimizer = SGD({"p": parameter}, lr=1.0, momentum=0.9)
    for _ in range(200):
        before = parameter.copy()
        optimizer.step({"p": np.ones(1)})
    assert_close(before - parameter, np.array([10.0]), rtol=1e-8)


def test_adams_first_step_has_the_length_of_the_rate_whatever_the_gradient():
    parameter = np.zeros(3)
    Adam({"p": parameter}, lr=0.25, eps=0.0).step({"p": np.array([1e-9, -3.0, 1e9])})
    assert_close(parameter, np.array([-0.25, 0.25, -0.25]))


@pytest.mark.parametrize(("dtype", "huge"), [("float32", 1e15), ("float64", 1e100)])
@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_adam_loses_no_gradient_beside_a_huge_one_before_it(beta, dtype, huge):
    settings = {"lr": 1.0, "betas": (beta, 0.0)}
    ours, theirs = np.zeros(1, dtype), torch.zeros(1, dtype=getattr(torch, dtype))
    adam, twin = Adam({"p": ours}, **settings), torch.optim.Adam([theirs], **settings)
    for size in (huge, 1.0, 1.0):
        adam.step({"p": np.array([size], dtype)})
        theirs.grad = torch.tensor([size], dtype=theirs.dtype)
        twin.step()
        assert_close(ours, theirs.numpy())


@pytest.mark.parametrize("Optimizer", [SGD, Adam])
def test_what_pytorch_takes_at_the_same_place_is_the_same_setting(Optimizer):
    theirs = list(inspect.signature(getattr(torch.optim, Optimizer.__name__)).parameters.values())
    ours = list(inspect.signature(Optimizer).parameters.values())
    places = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert places[1:] == [p.name for p in theirs[1 : len(places)]]
    assert {p.name for p in ours[1:]} <= {p.name for p in theirs}


def test_the_network_sees_the_step_and_the_gradients_stay():
    weight, gradient = np.ones((2, 2)), np.full((2, 2), 0.5)
    for Optimizer in (SGD, Adam):
        before = weight.copy()
        Optimizer({"w": weight}, lr=0.1, weight_decay=0.5).step({"w": gradient})
        assert (weight < before).all()
        assert_close(gradient, np.full((2, 2), 0.5))


@pytest.mark.parametrize("Optimizer", [SGD, Adam])
class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({}, "parameters is empty"),
            ({"w": [1.0]}, r"parameters\['w'\] is a list; pass"),
            ({"w": np.ones(2, np.int64)}, r"parameters\['w'\] has dtype int64"),
            ({"w": np.broadcast_to(1.0, 2)}, r"parameters\['w'\] is read-only"),
            ([np.ones(2)], r"parameters is a list; pass a dict .*network\.parameters\(\)"),
            (dict.fromkeys("ab", np.ones(2)), r"'b'\] shares memory with parameters\['a'\]"),
            (
                (lambda whole: {"a": whole, "c": np.ones(2), "b": whole[1:]})(np.ones(3)),
                r"'b'\] shares memory with parameters\['a'\]; a step would change it twice",
            ),
        ],
    )
    def test_parameters(self, Optimizer, parameters, message):
        with pytest.raises(ValueError, match=message):
            Optimizer(parameters)

    @pytest.mark.parametrize("name", ["lr", "weight_decay"])
    @pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), "0.1", None])
    def test_settings(self, Optimizer, name, value):
        with pytest.raises(
            ValueError, match=f"{name}={value!r} is (no number|out of range); use a finite"
        ):
            Optimizer({"w": np.ones(2)}, **{name: value})

    @pytest.mark.parametrize(
        ("gradients", "message"),
        [
            ({"a": np.ones(2)}, r"differ in \['b'\]; pass one for each"),
            ({"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}, r"differ in \['c'\]"),
            ({"a": np.ones(2), "b": np.ones(1)}, r"gradients\['b'\] has shape \(1,\) where \(2,\)"),
            ({"a": np.ones(2), "b": np.ones(2, np.float32)}, r"gradients\['b'\] is float32"),
        ],
    )
    def test_gradients_and_nothing_is_changed(self, Optimizer, gradients, message):
        parameters = {"a": np.ones(2), "b": np.ones(2)}
        optimizer = Optimizer(parameters, lr=0.1)
        with pytest.raises(ValueError, match=message):
            optimizer.step(gradients)
        assert_close(parameters, {"a": np.ones(2), "b": np.ones(2)})
        assert not getattr(optimizer, "steps", 0)


def test_momentum_and_nesterov_out_of_range():
    with pytest.raises(ValueError, match=r"momentum=-0\.1 is out of range"):
        SGD({"w": np.ones(2)}, momentum=-0.1)
    with pytest.raises(ValueError, match="nesterov=True needs a velocity"):
        SGD({"w": np.ones(2)}, nesterov=True)


@pytest.mark.parametrize("betas", [(0.9, 1.0), (-0.1, 0.9), (0.9,), (float("nan"), 0.9), 0.9, "ab"])
def test_betas_out_of_range(betas):
    with pytest.raises(ValueError, match=r"betas=.* use two numbers from 0 to below 1"):
        Adam({"w": np.ones(2)}, betas=betas)


def test_a_negative_eps():
    with pytest.raises(ValueError, match="eps=-1 is out of range"):
        Adam({"w": np.ones(2)}, eps=-1)
