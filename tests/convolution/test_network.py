"""Networks against their twins in PyTorch: names, outputs, gradients, and whole loss curves."""

import numpy as np
import pytest
import torch

from coursepkg.convolution.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
)
from coursepkg.convolution.learning import train
from coursepkg.convolution.network import Sequential, SimpleConvNet
from coursepkg.convolution.optim import SGD, Adam
from coursepkg.data.digits import load_digits
from coursepkg.testing import assert_close, numerical_gradient


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def inner_networks():
    features = Sequential(
        Conv2d(draw(2, 1, 3, 3), draw(2)), BatchNorm2d(draw(2), draw(2)), ReLU(), MaxPool2d(2)
    )
    return Sequential({"features": features, "flatten": Flatten(), "head": Linear(draw(3, 8))})


def inner_twins():
    nn = torch.nn
    features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2))
    layers = {"features": features, "flatten": nn.Flatten(), "head": nn.Linear(8, 3, bias=False)}
    twin = nn.Sequential()
    for name, layer in layers.items():
        twin.add_module(name, layer)
    return twin.double()


def tensors(arrays):
    return {name: torch.tensor(array) for name, array in arrays.items()}


class TestSequential:
    def test_names_are_pytorchs_and_its_modules_load_our_state(self):
        ours, theirs = inner_networks(), inner_twins()
        expected = [n for n in theirs.state_dict() if "num_batches" not in n]
        assert list(ours.state()) == expected
        assert list(ours.parameters()) == [name for name, _ in theirs.named_parameters()]
        theirs.load_state_dict(tensors(ours.state()))
        x = draw(4, 1, 6, 7, seed=1)
        assert_close(ours.forward(x), theirs(torch.tensor(x)).detach().numpy())

    def test_gradients_are_pytorchs(self):
        ours, theirs = inner_networks(), inner_twins()
        theirs.load_state_dict(tensors(ours.state()))
        x = torch.tensor(draw(4, 1, 6, 7, seed=1), requires_grad=True)
        output = theirs(x)
        output.sin().sum().backward()
        grad_input = ours.backward(np.cos(ours.forward(x.detach().numpy())))
        assert_close(grad_input, x.grad.numpy())
        expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
        assert_close(ours.gradients(), expected)

    def test_any_network_of_logits_has_loss_accuracy_and_both_gradients(self):
        ours, theirs = inner_networks(), inner_twins()
        theirs.load_state_dict(tensors(ours.state()))
        x, t = draw(5, 1, 6, 7, seed=1), np.array([0, 2, 1, 1, 0])
        logits = theirs(torch.tensor(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(t))
        loss.backward()
        assert ours.loss(x, t) == pytest.approx(loss.item(), rel=1e-12)
        expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
        assert_close(ours.gradient(x, t), expected)
        differences = ours.numerical_gradient(x, t)
        for name, gradient in differences.items():  # 0 for a bias before a batch norm
            assert_close(gradient, expected[name], name, rtol=1e-7, atol=1e-8)
        ours.eval()
        right = np.mean(ours.forward(x).argmax(axis=1) == t)
        assert ours.accuracy(x, t, batch_size=2) == right

    def test_layers_without_names_are_numbered(self):
        first, second = Linear(draw(2, 3), draw(2)), Linear(draw(1, 2))
        network = Sequential(first, ReLU(), second)
        assert list(network.parameters()) == ["0.weight", "0.bias", "2.weight"]

    def test_a_name_may_look_like_a_gradients(self):
        network = Sequential({"grad_one": Linear(draw(2, 3))})
        network.forward(draw(1, 3))
        network.backward(draw(1, 2))
        assert list(network.gradients()) == ["grad_one.weight"]

    def test_parameters_are_the_arrays_of_the_layers(self):
        layer = Linear(draw(2, 3), draw(2))
        network = Sequential({"only": layer})
        network.parameters()["only.bias"][...] = 7
        assert (layer.bias == 7).all()
        assert network.parameters()["only.weight"] is layer.weight
        assert network.state()["only.weight"] is layer.weight

    def test_without_layers_it_changes_nothing(self):
        network = Sequential()
        assert network.forward(5) == network.backward(5) == 5
        assert network.parameters() == network.gradients() == network.state() == {}

    def test_train_and_eval_reach_every_layer_that_cares(self):
        dropout, norm = Dropout(0.5), BatchNorm2d(draw(2), draw(2))
        network = Sequential(Sequential(norm, ReLU()), dropout)
        network.eval()
        assert (dropout.training, norm.training) == (False, False)
        network.train()
        assert (dropout.training, norm.training) == (True, True)
        network.train(False)
        assert (dropout.training, norm.training) == (False, False)
        assert not hasattr(network.layers["0"].layers["1"], "training")

    def test_gradients_before_backward(self):
        network = Sequential(Linear(draw(2, 3), draw(2)))
        network.forward(draw(1, 3))
        with pytest.raises(RuntimeError, match="gradients before backward; call forward"):
            network.gradients()

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ((max,), r"layer '0' is <built-in function max>, which has no forward and backward"),
            ((ReLU,), "layer '0' is <class .*, which has no forward and backward"),
            (({"a.b": ReLU()},), r"'a\.b' names no layer; use a word without dots"),
            (({"": ReLU()},), "'' names no layer"),
            (({1: ReLU()},), "1 names no layer"),
        ],
    )
    def test_what_is_no_layer(self, layers, message):
        with pytest.raises(ValueError, match=message):
            Sequential(*layers)

    def test_one_layer_at_two_places(self):
        layer = ReLU()
        for layers in [(layer, layer), (Sequential(layer), layer)]:
            with pytest.raises(ValueError, match="stands in layers twice; give each place"):
                Sequential(*layers)


def twin(network, stride=1, padding=0):
    """Return a SimpleConvNet in PyTorch, with the same numbers."""
    nn, shapes = torch.nn, [p.shape for n, p in network.parameters().items() if "weight" in n]
    (filters, channels, *kernel), (hidden, inputs), (classes, _) = shapes
    layers = {
        "conv1": nn.Conv2d(channels, filters, kernel, stride, padding),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "linear1": nn.Linear(inputs, hidden),
        "relu2": nn.ReLU(),
        "linear2": nn.Linear(hidden, classes),
    }
    module = nn.Sequential()
    for name, layer in layers.items():
        module.add_module(name, layer)
    module.to(torch.float64 if network.parameters()["conv1.bias"].dtype == "f8" else torch.float32)
    module.load_state_dict(tensors(network.state()))
    return module


SETTINGS = [
    {"input_shape": (1, 9, 8), "kernel_size": 3},
    {"input_shape": (3, 10, 7), "kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"input_shape": (2, 8, 8), "kernel_size": 3, "padding": 1, "stride": 2, "classes": 3},
]


def small(dtype=np.float64, **settings):
    return SimpleConvNet(**({"filters": 3, "hidden": 5, "dtype": dtype} | settings))


def examples(network_settings, n=4, seed=1):
    rng = np.random.default_rng(seed)
    classes = network_settings.get("classes", 10)
    return rng.normal(size=(n, *network_settings["input_shape"])), rng.integers(0, classes, n)


class TestSimpleConvNet:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("settings", SETTINGS, ids=str)
    def test_logits_loss_and_gradient_are_pytorchs(self, settings, dtype):
        network, (x, t) = small(dtype, **settings), examples(settings)
        x = x.astype(dtype)
        module = twin(network, settings.get("stride", 1), settings.get("padding", 0))
        logits = module(torch.tensor(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(t))
        loss.backward()
        assert_close(network.predict(x), logits.detach().numpy())
        assert network.loss(x, t) == pytest.approx(loss.item(), rel=1e-6)
        expected = {name: p.grad.numpy() for name, p in module.named_parameters()}
        assert_close(network.gradient(x, t), expected)

    @pytest.mark.parametrize("settings", SETTINGS, ids=str)
    def test_both_gradients_agree(self, settings):
        network, (x, t) = small(**settings), examples(settings)
        before = {name: p.copy() for name, p in network.parameters().items()}
        got, expected = network.gradient(x, t), network.numerical_gradient(x, t)
        assert_close(got, expected, rtol=1e-7, atol=1e-9)
        assert_close(network.parameters(), before, rtol=0, atol=0)
        assert all(np.abs(gradient).max() > 1e-3 for gradient in got.values())

    def test_the_numerical_gradient_is_of_the_loss_alone(self):
        settings = SETTINGS[0]
        network, (x, t) = small(**settings), examples(settings)

        def loss(bias):
            other = small(**settings)
            other.parameters()["linear2.bias"][...] = bias
            return other.loss(x, t)

        expected = numerical_gradient(loss, np.zeros(10))
        assert_close(network.numerical_gradient(x, t)["linear2.bias"], expected)

    def test_parameters_survive_a_loss_that_fails(self):
        network, (x, _) = small(**SETTINGS[0]), examples(SETTINGS[0])
        before = {name: p.copy() for name, p in network.parameters().items()}
        with pytest.raises(ValueError, match="target=99 is no class"):
            network.numerical_gradient(x, np.full(4, 99))
        assert_close(network.parameters(), before, rtol=0, atol=0)

    def test_the_numerical_gradient_needs_float64(self):
        with pytest.raises(ValueError, match="float64"):
            small(np.float32, **SETTINGS[0]).numerical_gradient(*examples(SETTINGS[0]))

    def test_defaults_are_those_of_the_notes(self):
        shapes = {name: p.shape for name, p in SimpleConvNet().parameters().items()}
        assert shapes == {
            "conv1.weight": (30, 1, 5, 5),
            "conv1.bias": (30,),
            "linear1.weight": (100, 4320),
            "linear1.bias": (100,),
            "linear2.weight": (10, 100),
            "linear2.bias": (10,),
        }

    @pytest.mark.parametrize("size", [28, 29])
    def test_odd_maps_are_rounded_down(self, size):
        network = SimpleConvNet(input_shape=(1, size, size))
        assert network.parameters()["linear1.weight"].shape == (100, 30 * 12 * 12)
        assert network.predict(np.zeros((1, 1, size, size), np.float32)).shape == (1, 10)

    @pytest.mark.parametrize(
        ("weight_init", "variances"),
        [
            ("he", (2 / 25, 2 / 4320, 2 / 100)),
            ("xavier", (2 / (25 + 750), 2 / (4320 + 100), 2 / (100 + 10))),
            (0.01, (1e-4, 1e-4, 1e-4)),
        ],
    )
    def test_first_weights_have_the_variance_asked_for(self, weight_init, variances):
        parameters = SimpleConvNet(weight_init=weight_init).parameters()
        for layer, variance in zip(("conv1", "linear1", "linear2"), variances, strict=True):
            weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
            assert weight.dtype == bias.dtype == np.float32
            assert abs(weight.var() / variance - 1) < 5 * np.sqrt(2 / weight.size)
            assert not bias.any()

    def test_equal_seeds_give_equal_weights_and_others_give_others(self):
        first, again, other = (small(**SETTINGS[0], seed=seed) for seed in (3, 3, 4))
        assert_close(first.parameters(), again.parameters(), rtol=0, atol=0)
        assert (first.parameters()["conv1.weight"] != other.parameters()["conv1.weight"]).all()

    def test_accuracy_counts_the_last_batch_too(self):
        settings = SETTINGS[0]
        network, (x, t) = small(**settings), examples(settings, n=7)
        t[-3:] = network.predict(x[-3:]).argmax(axis=1)  # right where a full batch ends
        share = float(np.mean(network.predict(x).argmax(axis=1) == t))
        assert share >= 3 / 7
        for batch_size in (1, 4, 7, 100):
            assert network.accuracy(x, t, batch_size) == share

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"weight_init": "best"}, "weight_init='best' is unknown; use 'he', 'xavier' or a"),
            ({"weight_init": -1.0}, r"std=-1\.0 is out of range"),
            ({"kernel_size": 10}, "kernel=10 .*8"),
            ({"kernel_size": 8}, "kernel=2"),
            ({"filters": 0}, "filters=0 is too small"),
            ({"hidden": 2.5}, r"hidden=2\.5 is not an integer"),
            ({"classes": 0}, "classes=0 is too small"),
            ({"dtype": np.int64}, "dtype=int64 holds no weights"),
            ({"input_shape": (0, 8, 9)}, "input_shape=0 is too small"),
            ({"input_shape": (8, 8)}, r"input_shape=\(8, 8\) .*\(C, H, W\)"),
            ({"input_shape": 28}, r"input_shape=28 .*\(C, H, W\)"),
        ],
    )
    def test_settings_that_do_not_fit(self, settings, message):
        with pytest.raises(ValueError, match=message):
            small(**({"input_shape": (1, 8, 9), "kernel_size": 3} | settings))


OPTIMISERS = {
    "SGD": (SGD, torch.optim.SGD, {"lr": 0.1}),
    "momentum": (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "Adam": (Adam, torch.optim.Adam, {"lr": 0.01}),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_twenty_steps_on_digits_follow_pytorchs_losses(name):
    Ours, Theirs, settings = OPTIMISERS[name]
    digits = load_digits()
    images, labels = digits.train_images[:200].astype(np.float64), digits.train_labels[:200]
    network = SimpleConvNet(filters=6, hidden=20, dtype=np.float64)
    module = twin(network)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(200) for _ in range(2)]  # two epochs of ten batches
    theirs, expected = Theirs(module.parameters(), **settings), []
    for batch in torch.tensor(np.concatenate(orders)).split(20):
        theirs.zero_grad()
        logits = module(torch.tensor(images)[batch])
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels)[batch])
        loss.backward()
        theirs.step()
        expected.append(loss.item())
    ours = Ours(network.parameters(), **settings)
    losses = train(network, ours, images, labels, orders, batch_size=20)
    assert len(losses) == 20
    assert np.abs(losses - expected).max() < 1e-12
    assert losses[-5:].mean() < 0.8 * losses[:5].mean()  # they have moved a long way together
