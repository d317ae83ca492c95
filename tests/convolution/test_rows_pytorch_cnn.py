r"""The claims of book/convolution/pytorch-cnn.md, on arrays that its cells do not use."""

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.convolution import layers
from coursepkg.convolution.losses import cross_entropy, cross_entropy_backward
from coursepkg.convolution.network import Sequential
from coursepkg.convolution.torch_models import (
    NestedCNN,
    SubclassCNN,
    fully_convolutional,
    functional_cnn,
    load_in_order,
    new_weights,
    sequential_cnn,
    summary,
)
from coursepkg.data.digits import load_digits
from coursepkg.testing import assert_close
from coursepkg.training import Batches, evaluate, fit


def count(model):
    return sum(p.numel() for p in model.parameters())


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(11))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.covers("C23")
def test_four_ways_say_the_same_in_float64_and_learn_the_same():
    weights = {name: w.double().requires_grad_() for name, w in new_weights(9).items()}
    input, target = noise(6, 1, 28, 28).double(), torch.arange(6)
    for model in (sequential_cnn(), SubclassCNN(), NestedCNN()):
        load_in_order(model.double(), new_weights(9).values())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        free = torch.optim.SGD(weights.values(), 0.1)
        before = {name: w.detach().clone() for name, w in weights.items()}
        for _ in range(3):
            scores = model(input), functional_cnn(input, weights)
            losses = [F.cross_entropy(s, target) for s in scores]
            assert losses[0].item() == losses[1].item()
            for one, loss in zip((optimizer, free), losses, strict=True):
                one.zero_grad()
                loss.backward()
                one.step()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name])


@pytest.mark.covers("C23")
def test_parameters_by_part():
    parts = [1 * 8 * 25 + 8, 8 * 32 * 25 + 32, 32 * 49 * 64 + 64, 64 * 10 + 10]
    assert parts == [208, 6432, 100416, 650]
    assert (sum(parts[:2]), sum(parts[2:]), sum(parts)) == (6640, 101066, 107706)
    model = NestedCNN()
    assert (count(model.features), count(model.classifier), count(model)) == (6640, 101066, 107706)
    assert count(sequential_cnn()) == count(SubclassCNN()) == 107706


@pytest.mark.covers("C23")
def test_the_slim_network():
    slim = NestedCNN(channels=(8, 16, 32), kernel_size=3)
    assert (count(slim.features), count(slim.classifier), count(slim)) == (5888, 19146, 25034)
    x, sizes = noise(2, 1, 28, 28), []
    for block in slim.features:
        x = block(x)
        sizes.append(tuple(x.shape[2:]))
    assert sizes == [(14, 14), (7, 7), (3, 3)]


@pytest.mark.covers("C23")
def test_the_walk_in_shapes():
    model = NestedCNN(channels=(8,), kernel_size=3, in_channels=3, size=50)
    x = noise(32, 3, 50, 50)
    conv = model.features[0].conv(x)
    maps = model.features(x)
    shapes = [tuple(y.permute(0, 2, 3, 1).shape) for y in (x, conv, maps)]
    assert shapes == [(32, 50, 50, 3), (32, 50, 50, 8), (32, 25, 25, 8)]
    head = nn.Linear(25 * 25 * 8, 10)
    assert maps.flatten(1).shape == (32, 5000)
    assert head(maps.flatten(1)).shape == (32, 10)
    assert count(model.features) + count(head) == 50234


@pytest.mark.covers("C25")
def test_maps_shrink_while_channels_grow():
    for model in (NestedCNN(), NestedCNN((8, 16, 32), 3), NestedCNN((4, 8), 3, 3, (40, 36))):
        channels = model.features[0].conv.in_channels
        size = (40, 36) if channels == 3 else (28, 28)
        before = (channels, *size)
        for block in model.features:
            rows = summary(block, before).layers
            assert [row.kind for row in rows] == ["Conv2d", "ReLU", "MaxPool2d"]
            after = rows[-1].shape
            assert after[0] > before[0]
            assert after[1:] == (before[1] // 2, before[2] // 2)
            before = after
        assert before == model.map_shape


@pytest.mark.covers("C25")
def test_the_sliding_head_is_the_head_at_every_place():
    model = NestedCNN(channels=(4, 6), kernel_size=3).double()
    image = noise(1, 1, 28 + 4 * 4, 28 + 4 * 2).double()
    with torch.no_grad():
        answers = fully_convolutional(model)(image)
        maps = model.features(image)
        assert answers.shape == (1, 10, 5, 3)
        for i, j in np.ndindex(5, 3):
            there = model.classifier(maps[:, :, i : i + 7, j : j + 7])
            assert_close(answers[:, :, i, j], there)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        model(image)


@pytest.mark.covers("E26")
def test_flatten_receives_maps_with_places():
    received = {}
    for name, model in {"this": sequential_cnn(), "slim": NestedCNN((8, 16, 32), 3)}.items():
        flatten = next(m for m in model.modules() if isinstance(m, nn.Flatten))
        flatten.register_forward_hook(
            lambda layer, inputs, output, name=name: received.update({name: (inputs[0], output)})
        )
        model(noise(2, 1, 28, 28))
    shapes = {name: before.permute(0, 2, 3, 1).shape[1:] for name, (before, _) in received.items()}
    assert shapes == {"this": (7, 7, 32), "slim": (3, 3, 32)}
    before, after = received["this"]
    assert after.shape == (2, 1568)
    assert torch.equal(after.reshape(2, 32, 7, 7), before)
    pooled = nn.Sequential(NestedCNN().features, nn.AdaptiveAvgPool2d(1))(noise(2, 1, 28, 28))
    assert pooled.shape == (2, 32, 1, 1)  # there the notes would be right


@pytest.mark.covers("C23")
def test_by_hand_and_by_autograd_the_losses_are_the_same():
    weights = new_weights(4)
    arrays = {name: w.double().numpy() for name, w in weights.items()}

    def made(kind, name, **settings):
        return kind(arrays[f"{name}.weight"], arrays[f"{name}.bias"], **settings)

    ours = Sequential(
        made(layers.Conv2d, "conv1", padding=2),
        layers.ReLU(),
        layers.MaxPool2d(2),
        made(layers.Conv2d, "conv2", padding=2),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Flatten(),
        made(layers.Linear, "linear1"),
        layers.ReLU(),
        made(layers.Linear, "linear2"),
    )
    theirs = SubclassCNN().double()
    theirs.load_state_dict(weights)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.05, momentum=0.9)
    velocity = {name: np.zeros_like(p) for name, p in ours.parameters().items()}
    images, labels = noise(20 * 8, 1, 28, 28).double(), torch.arange(20 * 8) % 10
    for x, t in zip(images.split(8), labels.split(8), strict=True):
        logits = ours.forward(x.numpy())
        ours.backward(cross_entropy_backward(logits, t.numpy()))
        for name, grad in ours.gradients().items():
            velocity[name] = 0.9 * velocity[name] + grad
            ours.parameters()[name][...] -= 0.05 * velocity[name]
        loss = F.cross_entropy(theirs(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert abs(loss.item() - cross_entropy(logits, t.numpy())) < 1e-12


@pytest.mark.covers("C23")
def test_the_network_learns_to_read_in_a_minute(one_thread):
    """With the settings of the page, which were chosen on a part of the training digits.

    The processor's time on one thread bounds the time on an idle machine.
    """
    digits = load_digits()
    start = time.process_time()
    model = NestedCNN()
    load_in_order(model, new_weights(0).values())
    train = Batches(digits.train_images, digits.train_labels, batch_size=50)
    fit(model, torch.optim.Adam(model.parameters(), 3e-3), train, epochs=8)
    seconds = time.process_time() - start
    test = evaluate(model, Batches(digits.test_images, digits.test_labels, batch_size=128))
    assert test["accuracy"] >= 0.96
    assert seconds < 60
