r"""The claims of book/convolution/numpy-cnn.md, on arrays that its cells do not use."""

import inspect
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from coursepkg.convolution import init
from coursepkg.convolution.exercises import train_digits
from coursepkg.convolution.fast import conv2d
from coursepkg.convolution.inputs import channel_statistics, standardize
from coursepkg.convolution.learning import accuracy, train
from coursepkg.convolution.network import SimpleConvNet
from coursepkg.convolution.optim import SGD, Adam
from coursepkg.convolution.storage import load, save
from coursepkg.data.digits import load_digits
from coursepkg.testing import assert_close, numerical_gradient


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def reader(digits):
    """A small network that has learned for a few seconds, and the digits that it has not seen."""
    network = SimpleConvNet(filters=8, hidden=32, stride=2, padding=2, seed=1)
    optimizer, rng = SGD(network.parameters(), lr=0.05, momentum=0.9), np.random.default_rng(1)
    images, labels = digits.train_images[:2000], digits.train_labels[:2000]
    train(network, optimizer, images, labels, [rng.permutation(2000) for _ in range(4)], 50)
    return network


@pytest.mark.covers("C19")
def test_both_gradients_of_the_network_agree_on_digits(digits):
    x = digits.test_images[7:10, :, ::3, ::3].astype(np.float64)  # (3, 1, 10, 10)
    t = digits.test_labels[7:10]
    network = SimpleConvNet((1, 10, 10), filters=2, kernel_size=3, hidden=4, dtype=np.float64)
    network.parameters()["conv1.bias"][...] = (0.1, -0.2)  # off the kink that blank paper sits on
    backward, differences = network.gradient(x, t), network.numerical_gradient(x, t)
    assert list(backward) == list(differences) == list(network.parameters())
    for name, gradient in backward.items():
        assert np.abs(gradient).max() > 1e-4, name
        assert_close(gradient, differences[name], name, rtol=1e-7, atol=1e-9)


@pytest.mark.covers("C19")
def test_the_layers_stand_in_the_order_of_the_notes_and_the_loss_is_that_of_softmax(digits):
    network = SimpleConvNet(seed=2)
    kinds = [type(layer).__name__ for layer in network.layers.values()]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear", "ReLU", "Linear"]
    assert sum(p.size for p in network.parameters().values()) == 780 + 432_100 + 1_010
    x, t = digits.test_images[:9], digits.test_labels[:9]
    powers = np.exp(network.predict(x).astype(np.float64))
    shares = powers / powers.sum(axis=1, keepdims=True)
    assert network.loss(x, t) == pytest.approx(-np.log(shares[np.arange(9), t]).mean(), rel=1e-5)
    timid = SimpleConvNet(weight_init=0.01)
    assert timid.loss(x, t) == pytest.approx(np.log(10), abs=0.01)


@pytest.mark.covers("C20")
def test_a_few_seconds_of_training_read_nine_of_ten_unseen_digits(digits, reader):
    share = reader.accuracy(digits.test_images, digits.test_labels)
    assert share == np.mean(reader.predict(digits.test_images).argmax(1) == digits.test_labels)
    assert share > 0.9


@pytest.mark.covers("C20")
def test_the_whole_recipe_reads_96_of_100_digits_within_a_minute(digits):
    network, rng = SimpleConvNet(seed=0), np.random.default_rng(1)
    optimizer = SGD(network.parameters(), lr=0.05, momentum=0.9)
    images, labels = digits.train_images, digits.train_labels
    started = time.process_time()
    for epochs, rate in ((6, 0.05), (2, 0.01)):
        optimizer.lr = rate
        train(
            network, optimizer, images, labels, [rng.permutation(4000) for _ in range(epochs)], 50
        )
    assert time.process_time() - started < 60
    assert len(digits.test_images) == 1000
    assert network.accuracy(digits.test_images, digits.test_labels) >= 0.96


@pytest.mark.covers("C20")
@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 0.1), lambda p: SGD(p, 0.05, momentum=0.9), lambda p: Adam(p, 0.003)],
    ids=["SGD", "momentum", "Adam"],
)
def test_each_optimiser_learns(digits, make):
    network = SimpleConvNet(filters=8, hidden=32, stride=2, padding=2, seed=3)
    orders = [np.random.default_rng(seed).permutation(500) for seed in range(4)]
    images, labels = digits.train_images[:500], digits.train_labels[:500]
    losses = train(network, make(network.parameters()), images, labels, orders, 25)
    assert losses[-20:].mean() < 0.6 * losses[:20].mean()


def strengths(draw, activation, depth=6):
    """Return the root mean square after each layer, for random inputs of size 1."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(20, 12, 20, 20))
    for _ in range(depth):
        x = activation(conv2d(x, draw((12, 12, 3, 3), rng)))
        yield np.sqrt(np.mean(x**2))


def relu(z):
    return np.maximum(z, 0)


@pytest.mark.covers("C21")
def test_he_keeps_the_signal_of_relu_and_xavier_loses_half_of_its_power_each_layer():
    he, xavier = (list(strengths(d, relu)) for d in (init.kaiming_normal, init.xavier_normal))
    assert 0.6 < he[-1] < 1.6
    assert_close(np.array(xavier) / he, np.sqrt(0.5) ** np.arange(1, 7), rtol=1e-6)


@pytest.mark.covers("C21")
def test_fixed_deviations_vanish_saturate_or_explode():
    def fixed(std):
        return lambda shape, rng: init.normal(shape, std, rng)

    for activation in (np.tanh, relu):
        assert list(strengths(fixed(0.01), activation))[-1] < 1e-5
    assert list(strengths(fixed(1.0), relu))[-1] > 1e4
    assert list(strengths(fixed(1.0), np.tanh))[-1] > 0.9  # nearly all outputs are -1 or 1
    kept = list(strengths(init.xavier_normal, np.tanh))
    assert kept[-1] > kept[0] / 3


@pytest.mark.covers("C22")
def test_what_was_learned_survives_a_file_and_pytorch_can_use_it(digits, reader, tmp_path):
    save(reader, tmp_path / "reader.npz")
    other = SimpleConvNet(filters=8, hidden=32, stride=2, padding=2, seed=9)
    assert (other.predict(digits.test_images[:5]) != reader.predict(digits.test_images[:5])).any()
    load(other, tmp_path / "reader.npz")
    assert_close(other.state(), reader.state(), rtol=0, atol=0)
    with np.load(tmp_path / "reader.npz", allow_pickle=False) as file:
        convolution = torch.nn.Conv2d(1, 8, 5, 2, 2)
        arrays = {name: torch.tensor(file[f"conv1.{name}"]) for name in ("weight", "bias")}
    convolution.load_state_dict(arrays)
    x = digits.test_images[:5]
    expected = convolution(torch.tensor(x)).detach().numpy()
    assert_close(other.layers["conv1"].forward(x), expected)


@pytest.mark.covers("C22")
def test_the_wrong_file_is_refused_and_the_network_stays(reader, tmp_path):
    save(reader, tmp_path / "reader.npz")
    wider = SimpleConvNet(filters=9, hidden=32, stride=2, padding=2, seed=9)
    before = {name: array.copy() for name, array in wider.state().items()}
    with pytest.raises(ValueError, match=r"conv1\.weight in .* has shape \(8, 1, 5, 5\)"):
        load(wider, tmp_path / "reader.npz")
    assert_close(wider.state(), before, rtol=0, atol=0)


class Toucher:
    """Creates a file when it is loaded from a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.covers("E06")
def test_loading_a_pickle_runs_code_and_loading_an_archive_does_not(reader, tmp_path):
    mark, path = tmp_path / "touched", tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps({"conv1.weight": np.zeros(3), "conv1.bias": Toucher(mark)}))
    objects = tmp_path / "objects.npz"
    np.savez(objects, **{"conv1.bias": np.array([Toucher(mark)], object)})
    for file in (path, objects):
        with pytest.raises(ValueError, match="load no pickle from others"):
            load(reader, file)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()


@pytest.mark.covers("E05")
@pytest.mark.parametrize(("n", "size"), [(1000, 300), (250, 100), (99, 100)])
def test_full_batches_alone_count_the_rest_as_wrong(n, size):
    target = np.random.default_rng(0).integers(0, 10, n)
    logits = np.eye(10)[target]  # all right
    full = int(n / size)
    right = sum(
        np.sum(logits[i * size : (i + 1) * size].argmax(1) == target[i * size : (i + 1) * size])
        for i in range(full)
    )
    assert right / n == full * size / n < 1
    assert accuracy(lambda rows: rows, logits, target, size) == 1


@pytest.mark.covers("E36")
def test_odd_maps_give_4320_inputs_and_not_4687():
    x = torch.zeros(1, 1, 29, 29)
    pooled = torch.nn.functional.max_pool2d(torch.nn.Conv2d(1, 30, 5)(x), 2)
    assert pooled.numel() == 4320
    network = SimpleConvNet(input_shape=(1, 29, 29))
    assert network.parameters()["linear1.weight"].shape == (100, 4320)
    conv_output_size = (29 - 5 + 2 * 0) / 1 + 1
    assert conv_output_size == 25
    assert int(30 * (conv_output_size / 2) * (conv_output_size / 2)) == 4687


@pytest.mark.covers("C29")
def test_new_images_are_prepared_with_the_numbers_of_the_training_images(digits):
    train_images = 255 * (1 - digits.train_images)
    mean, std = channel_statistics(train_images)
    prepared = standardize(255 * (1 - digits.test_images), mean, std)
    assert abs(prepared.mean()) < 0.05
    assert abs(prepared.std() - 1) < 0.05
    assert prepared.mean() != 0  # for the numbers are not its own


@pytest.mark.covers("C29")
def test_raw_bytes_do_not_train_where_standardised_ones_do(digits):
    scans, labels = 255 * (1 - digits.train_images[:500]), digits.train_labels[:500]
    prepared = standardize(scans, *channel_statistics(scans))

    def share(x, seed):
        network = SimpleConvNet(filters=4, hidden=16, stride=2, seed=seed)
        orders = [np.random.default_rng(seed).permutation(500) for _ in range(3)]
        with np.errstate(over="ignore", invalid="ignore"):
            train(network, SGD(network.parameters(), 0.05), x, labels, orders, 25)
            return network.accuracy(x, labels)

    gains = np.array([share(prepared, seed) - share(scans, seed) for seed in range(3)])
    assert gains.mean() > 2 * gains.std(ddof=1) / np.sqrt(3)
    assert gains.mean() > 0.3


@pytest.mark.covers("C29")
def test_224_can_be_halved_five_times_and_fits_the_first_affine_layer_of_vgg():
    x = torch.zeros(1, 1, 224, 224)
    for _ in range(5):
        assert x.shape[-1] % 2 == 0
        x = torch.nn.functional.max_pool2d(x, 2)
    assert x.shape[-1] == 7
    assert 512 * 7 * 7 == 25_088


def test_the_network_in_the_prompt_is_the_one_that_the_cases_use():
    block = re.findall(r"```python\n(.*?)```", train_digits.__doc__, flags=re.S)[1]
    shown = [line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()]
    source = [line.strip() for line in inspect.getsource(train_digits.driver).splitlines()]
    used = [line for line in source if line]
    start = used.index("class ConvNet:")
    assert used[start : start + len(shown)] == shown


def test_the_networks_gradient_in_the_exercise_is_right():
    found = {}

    def answer(network, optimizer, input, target, orders, batch_size):
        def loss(filters):
            kept, network.filters = network.filters, filters
            value = float(np.sin(network.forward(input)).sum())
            network.filters = kept
            return value

        network.backward(np.cos(network.forward(input)))
        found["ours"] = network.gradients()["filters"]
        found["differences"] = numerical_gradient(loss, network.filters)
        return np.zeros(0)

    case = next(case for case in train_digits.PUBLIC if case.group == "epochs")
    list(train_digits.driver(answer, **case.inputs))
    assert_close(found["ours"], found["differences"], rtol=1e-7, atol=1e-8)
