r"""Plain and residual miniatures, and the norms of signals and gradients by depth."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.architectures.deeper import (
    ACTIVATIONS,
    DeepBlock,
    DeepCNN,
    WithHeads,
    auxiliary_loss,
    deep_stack,
    gradient_norms,
    signal_norms,
)
from coursepkg.testing import assert_close, assert_gradient, numerical_gradient


def layers(model):
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def blocks(model):
    return [block for stage in model.stages for block in stage]


def batch(n=3, size=8, channels=1, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    input = torch.randn(n, channels, size, size, generator=generator, dtype=dtype)
    return input, torch.arange(n) % 10


# --- DeepCNN ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 20, 56])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_depth_counts_the_layers_with_weights(depth, residual, batch_norm):
    model = DeepCNN(depth, residual=residual, batch_norm=batch_norm)
    assert len(layers(model)) == depth
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (depth - 1 if batch_norm else 0)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_plain_and_residual_have_the_same_weights(batch_norm):
    states = []
    for residual in (False, True):
        torch.manual_seed(5)
        states.append(DeepCNN(14, residual=residual, batch_norm=batch_norm).state_dict())
    plain, residual = states
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


@pytest.mark.parametrize(("depth", "published"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_the_parameters_of_the_paper(depth, published):
    """He et al. (2016), table 6, in millions."""
    model = DeepCNN(depth, in_channels=3, widths=(16, 32, 64))
    count = sum(p.numel() for p in model.parameters())
    assert round(count / 1e6, 2) == published


def test_the_maps_of_the_stages():
    model = DeepCNN(20, widths=(4, 8, 16), num_classes=7)
    shapes, x = [], torch.zeros(2, 4, 28, 28)
    for block in blocks(model):
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == 3 * [(4, 28, 28)] + 3 * [(8, 14, 14)] + 3 * [(16, 7, 7)]
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 7)


def test_weights_begin_with_the_variance_of_he():
    torch.manual_seed(0)
    model = DeepCNN(8, widths=(64, 64, 64), batch_norm=False)
    for layer in layers(model)[1:-1]:
        assert abs(layer.weight.var().item() * 9 * 64 / 2 - 1) < 0.05
        assert torch.equal(layer.bias, torch.zeros(64))


def straight(block, x):
    """The block written out."""
    y = F.conv2d(x, block.conv1.weight, block.conv1.bias, block.stride, 1)
    y = F.relu(
        y
        if isinstance(block.norm1, nn.Identity)
        else F.batch_norm(y, None, None, block.norm1.weight, block.norm1.bias, True)
    )
    y = F.conv2d(y, block.conv2.weight, block.conv2.bias, 1, 1)
    return (
        y
        if isinstance(block.norm2, nn.Identity)
        else F.batch_norm(y, None, None, block.norm2.weight, block.norm2.bias, True)
    )


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("out", [3, 5])
def test_a_block_is_what_the_paper_draws(batch_norm, stride, out):
    x, _ = batch(size=7, channels=3)
    torch.manual_seed(0)
    plain = DeepBlock(3, out, stride, residual=False, batch_norm=batch_norm).double()
    assert_close(plain(x), straight(plain, x).clamp(min=0))
    residual = DeepBlock(3, out, stride, residual=True, batch_norm=batch_norm).double()
    residual.load_state_dict(plain.state_dict())
    padded = torch.zeros(3, out, *residual(x).shape[2:], dtype=torch.float64)
    padded[:, :3] = x[:, :, ::stride, ::stride]
    assert_close(residual(x), (straight(plain, x) + padded).clamp(min=0))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_with_branches_of_zero_a_residual_network_is_its_shortcuts(batch_norm):
    model = DeepCNN(20, batch_norm=batch_norm, widths=(4, 6, 9)).double()
    with torch.no_grad():
        for block in blocks(model):
            for p in (block.norm2 if batch_norm else block.conv2).parameters():
                p.zero_()
    x, _ = batch()
    first = F.relu(model.norm(model.conv(x)))
    expected = torch.zeros(3, 9, 2, 2, dtype=torch.float64)
    expected[:, :4] = first[:, :, ::4, ::4]
    assert_close(model.stages(first), expected)
    plain = DeepCNN(20, residual=False, batch_norm=batch_norm, widths=(4, 6, 9)).double()
    plain.load_state_dict(model.state_dict())
    assert not plain.stages(first).any()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_of_the_whole_network(residual, batch_norm):
    torch.manual_seed(1)
    model = DeepCNN(
        8, residual=residual, batch_norm=batch_norm, widths=(2, 3, 4), num_classes=3
    ).double()
    x, _ = batch(n=2, size=6)
    target = torch.tensor([0, 2])
    F.cross_entropy(model(x), target).backward()
    chosen = {"conv.weight": model.conv, "stages.1.0.conv1.weight": model.stages[1][0].conv1}
    for name, layer in chosen.items():

        def loss(weight, name=name):
            scores = torch.func.functional_call(model, {name: torch.from_numpy(weight)}, (x,))
            return F.cross_entropy(scores, target).item()

        weight, gradient = layer.weight.detach().numpy().copy(), layer.weight.grad.numpy()
        assert np.abs(gradient).max() > 1e-4
        assert_gradient(loss, weight, gradient, name, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepCNN(18), r"depth=18 is not 6n \+ 2; use 8, 14, 20"),
        (lambda: DeepCNN(2), r"depth=2 is too small"),
        (lambda: DeepCNN(20.0), r"depth=20.0 is not an integer"),
        (lambda: DeepCNN(20, widths=(4, 8)), r"widths=\(4, 8\) has 2 entries"),
        (lambda: DeepCNN(20, num_classes=0), r"num_classes=0 is too small"),
        (lambda: DeepCNN(20, widths=(8, 4, 4)), r"out_channels=4 is less than in_channels=8"),
        (lambda: DeepBlock(4, 4, 0), r"stride=0 is too small"),
        (lambda: DeepBlock(0, 4), r"in_channels=0 is too small"),
        (lambda: deep_stack(0), r"depth=0 is too small"),
        (lambda: deep_stack(3, activation="gelu"), r"activation='gelu' is unknown; use .*relu"),
        (lambda: deep_stack(3, init="ones"), r"init='ones' is unknown; use one of small, xavier"),
    ],
)
def test_what_cannot_be_built_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_plain_network_may_narrow():
    assert DeepCNN(8, residual=False, widths=(8, 4, 4))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


# --- auxiliary heads -------------------------------------------------------------------------


@pytest.fixture
def headed():
    torch.manual_seed(3)
    return WithHeads(DeepCNN(8, widths=(2, 3, 4), num_classes=5)).double()


def test_heads_stand_behind_the_stages_and_run_in_training_only(headed):
    x, _ = batch()
    shapes = [tuple(layer.weight.shape) for layer in (headed.aux1, headed.aux2)]
    assert shapes == [(5, 2), (5, 3)]
    assert not headed.aux1.bias.any()
    model = headed.model.train()
    scores, aux2, aux1 = headed.train()(x)
    first = model.stages[0](F.relu(model.norm(model.conv(x))))
    assert_close(aux1, headed.aux1(first.mean((2, 3))))
    assert_close(aux2, headed.aux2(model.stages[1](first).mean((2, 3))))
    assert_close(scores, model(x))
    assert_close(headed.eval()(x), model.eval()(x))


def test_heads_leave_the_weights_of_the_model(headed):
    torch.manual_seed(3)
    alone = DeepCNN(8, widths=(2, 3, 4), num_classes=5).double().state_dict()
    inside = headed.model.state_dict()
    assert all(torch.equal(alone[name], inside[name]) for name in alone)


@pytest.mark.parametrize("weight", [0.3, 0.0, 2.0])
def test_the_loss_of_heads_is_a_weighted_sum(weight):
    rng = np.random.default_rng(0)
    outputs, target = rng.normal(size=(3, 4, 5)), np.array([0, 4, 2, 2])
    each = [np.mean(np.log(np.exp(scores).sum(1)) - scores[range(4), target]) for scores in outputs]
    found = auxiliary_loss(tuple(map(torch.from_numpy, outputs)), torch.from_numpy(target), weight)
    assert_close(found.item(), float(each[0] + weight * (each[1] + each[2])))
    main = torch.from_numpy(outputs[0])
    for alone in (main, (main,), [main]):
        assert_close(auxiliary_loss(alone, torch.from_numpy(target), weight).item(), float(each[0]))


def test_the_usual_weight_of_heads_is_that_of_googlenet():
    scores, target = torch.randn(3, 4, 5), torch.tensor([0, 4, 2, 2])
    output = tuple(scores)
    assert torch.equal(auxiliary_loss(output, target), auxiliary_loss(output, target, 0.3))


# --- deep_stack ------------------------------------------------------------------------------


def test_a_stack_of_one_layer_is_the_layer():
    (flatten, linear) = deep_stack(1, in_features=12, num_classes=3)
    assert isinstance(flatten, nn.Flatten)
    assert linear.weight.shape == (3, 12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_stand_between_the_layers(activation):
    model = deep_stack(4, 6, activation=activation, in_features=5)
    kinds = [type(m) for m in model]
    between = ACTIVATIONS[activation]
    linear = nn.Linear
    assert kinds == [nn.Flatten, linear, between, linear, between, linear, between, linear]


@pytest.mark.parametrize(
    ("init", "variance"), [("small", 1e-4), ("xavier", 2 / (300 + 784)), ("he", 2 / 784)]
)
def test_stacks_begin_with_the_variance_of_their_name(init, variance):
    torch.manual_seed(0)
    first = deep_stack(2, 300, init=init)[1]
    assert abs(first.weight.var().item() / variance - 1) < 0.02
    assert abs(first.weight.mean().item()) < 4 * (variance / first.weight.numel()) ** 0.5
    assert not first.bias.any()


def test_he_keeps_the_power_through_relus_and_xavier_halves_it():
    """He et al. (2015), equation 9: each layer multiplies the variance by fan-in Var(w) / 2."""
    torch.manual_seed(0)
    x = torch.randn(64, 784)
    for init, factor in (("he", 1.0), ("xavier", 0.5)):
        signal = list(signal_norms(deep_stack(21, 784, init=init), x).values())[:-1]
        rate = (signal[-1] / signal[0]) ** (2 / (len(signal) - 1))
        assert abs(rate / factor - 1) < 0.1


# --- norms -----------------------------------------------------------------------------------


@pytest.fixture
def model():
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(18, 10),
    ).double()


def test_norms_of_signals_are_those_of_the_layers(model):
    x, _ = batch(size=5)
    first = model[0](x)
    scores = copy.deepcopy(model)(x)
    found = signal_norms(model, x)
    assert list(found) == ["0", "4"]
    for name, output in (("0", first), ("4", scores)):
        assert_close(found[name], float(np.sqrt(np.mean(output.detach().numpy() ** 2))))


def test_norms_of_gradients_are_those_of_central_differences(model):
    x, target = batch(size=5)
    found = gradient_norms(model, x, target)
    for name, weight in (("0", model[0].weight), ("4", model[4].weight)):

        def loss(w, name=name):
            new = {f"{name}.weight": torch.from_numpy(w)}
            scores = torch.func.functional_call(copy.deepcopy(model), new, (x,))
            return F.cross_entropy(scores, target).item()

        expected = np.linalg.norm(numerical_gradient(loss, weight.detach().numpy().copy()))
        assert_close(found[name], float(expected), rtol=1e-6)


def test_norms_of_the_gradients_of_outputs(model):
    x, target = batch(size=5)
    found = gradient_norms(model, x, target, of="output")
    first = model[0](x).detach().requires_grad_()
    scores = copy.deepcopy(model)[1:](first)
    scores.retain_grad()
    F.cross_entropy(scores, target).backward()
    assert_close(found, {"0": first.grad.norm().item(), "4": scores.grad.norm().item()})


def test_a_layer_that_works_in_place_does_not_spoil_the_norms():
    conv = nn.Conv2d(1, 2, 3).double()
    x, target = batch(size=5)
    tail = [nn.Flatten(), nn.Linear(18, 10).double()]
    for of in ("weight", "output"):
        found = [
            gradient_norms(nn.Sequential(conv, nn.ReLU(inplace=i), *tail), x, target, of=of)
            for i in (True, False)
        ]
        assert found[0] == found[1]


def test_a_layer_that_runs_twice_counts_with_both():
    layer = nn.Linear(4, 4, bias=False).double()
    x, target = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 1, 2])
    once, twice = layer(x), layer(layer(x))
    found = signal_norms(nn.Sequential(layer, layer), x)
    assert_close(found, {"0": torch.cat([once, twice]).square().mean().sqrt().item()})
    F.cross_entropy(twice, target).backward()
    found = gradient_norms(nn.Sequential(layer, layer), x, target)
    assert_close(found, {"0": layer.weight.grad.norm().item()})


@pytest.mark.parametrize("training", [False, True])
def test_measuring_leaves_the_model_as_it_was(model, training):
    model.train(training)
    model[4].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    x, target = batch(size=5)
    signal_norms(model, x)
    with torch.no_grad():
        assert set(gradient_norms(model, x, target)) == {"0", "4"}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training is training
    assert model[0].weight.grad is None
    assert not model[4].weight.requires_grad
    assert not model[0]._forward_hooks


def test_the_present_mode_is_used(model):
    x, target = batch(size=5)
    found = [gradient_norms(model.train(mode), x, target)["0"] for mode in (False, True)]
    assert abs(found[0] / found[1] - 1) > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, t: gradient_norms(m, x, t, of="bias"), r"of='bias' is unknown"),
        (lambda m, x, t: signal_norms(nn.ReLU(), x), r"model is a ReLU without Conv2d and Linear"),
        (lambda m, x, t: gradient_norms(nn.ReLU(), x, t), r"model is a ReLU without"),
    ],
)
def test_what_cannot_be_measured_is_refused(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, *batch(size=5))
