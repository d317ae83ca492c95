r"""The claims of book/convolution/gradients.md, on arrays that its cells do not use."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coursepkg.convolution import activations, layers
from coursepkg.convolution.dropout import dropout, dropout_backward
from coursepkg.convolution.losses import cross_entropy, cross_entropy_backward, softmax
from coursepkg.convolution.normalization import batch_norm, batch_norm_backward, local_response_norm
from coursepkg.data.digits import load_digits
from coursepkg.testing import assert_close, assert_gradient


@pytest.fixture
def rng():
    return np.random.default_rng(18)


def both(rng):
    """Build one network twice, with every kind of layer of the row: ours and PyTorch's."""
    weights = [rng.standard_normal(s) / 3 for s in [(4, 1, 5, 5), (4,), (4,), (4,)]]
    weights += [rng.standard_normal(s) / 9 for s in [(20, 144), (20,), (10, 20), (10,)]]
    conv, conv_bias, scale, shift, w1, b1, w2, b2 = weights
    ours = [
        layers.Conv2d(conv, conv_bias, stride=2),
        layers.BatchNorm2d(scale, shift),
        layers.ReLU(),
        layers.LocalResponseNorm(3, alpha=0.5),
        layers.MaxPool2d(2),
        layers.Flatten(),
        layers.Linear(w1, b1),
        layers.Tanh(),
        layers.Dropout(0),
        layers.Linear(w2, b2),
        layers.Sigmoid(),
    ]
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5, stride=2),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.LocalResponseNorm(3, alpha=0.5),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 20),
        torch.nn.Tanh(),
        torch.nn.Dropout(0),
        torch.nn.Linear(20, 10),
        torch.nn.Sigmoid(),
    ).double()
    with torch.no_grad():
        for parameter, value in zip(theirs.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return ours, theirs


@pytest.mark.covers("C18")
def test_a_chain_of_all_layers_is_pytorchs_forward_and_backward_on_digits(rng):
    ours, theirs = both(rng)
    digits = load_digits()
    x, target = digits.train_images[:8].astype(np.float64), digits.train_labels[:8]
    tensor = torch.tensor(x, requires_grad=True)
    loss = F.cross_entropy(theirs(tensor), torch.tensor(target))
    loss.backward()

    h = x
    for layer in ours:
        h = layer.forward(h)
    assert_close(cross_entropy(h, target), loss.item())
    grad, grads = cross_entropy_backward(h, target), []
    for layer in reversed(ours):
        grad = layer.backward(grad)
        if hasattr(layer, "weight"):
            grads[:0] = [layer.grad_weight, layer.grad_bias]
    assert_close(grad, tensor.grad.numpy(), "gradient of the images")
    for got, parameter in zip(grads, theirs.parameters(), strict=True):
        assert_close(got, parameter.grad.numpy(), "gradient of a weight", atol=1e-12)


@pytest.mark.covers("C18")
def test_the_whole_chain_stands_its_gradient_check(rng):
    ours, _ = both(rng)
    x, target = rng.standard_normal((2, 1, 28, 28)), np.array([3, 7])

    def forward(h):
        for layer in ours:
            h = layer.forward(h)
        return h

    grad = cross_entropy_backward(forward(x), target)
    for layer in reversed(ours):
        grad = layer.backward(grad)
    patch = (slice(None), slice(None), slice(10, 14), slice(10, 14))

    def loss(values):
        moved = x.copy()
        moved[patch] = values
        return cross_entropy(forward(moved), target)

    assert_gradient(loss, x[patch].copy(), grad[patch], atol=1e-9, rtol=1e-6)


@pytest.mark.covers("C18")
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_slopes_follow_from_outputs(name):
    x = np.linspace(-6, 6, 101)[np.arange(101) != 50]  # without the corner at 0
    tensor = torch.tensor(x, requires_grad=True)
    getattr(torch, name)(tensor).sum().backward()
    y = getattr(activations, name)(x)
    slope = {"relu": (y > 0) * 1.0, "sigmoid": y * (1 - y), "tanh": 1 - y**2}[name]
    assert_close(slope, tensor.grad.numpy(), atol=1e-12)
    assert slope.max() <= {"relu": 1, "sigmoid": 1 / 4, "tanh": 1}[name]


@pytest.mark.covers("C18")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_naive_softmax_overflows_where_ours_does_not(dtype):
    z = np.array([[1e4, 3.0, -1e4]], dtype)
    with np.errstate(all="ignore"):
        assert np.isnan(np.exp(z) / np.exp(z).sum()).any()
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert_close(softmax(z), np.array([[1, 0, 0]], dtype))
        assert cross_entropy(z, np.array([2])) == 2e4
        assert_close(cross_entropy_backward(z, np.array([2])), np.array([[1, 0, -1]], dtype))


@pytest.mark.covers("C18")
def test_the_gradient_is_the_probability_less_one_at_the_right_class(rng):
    z, target = rng.standard_normal((6, 5)), rng.integers(5, size=6)
    error = (softmax(z) - np.eye(5)[target]) / 6
    assert_close(cross_entropy_backward(z, target), error)
    assert_gradient(lambda v: cross_entropy(v, target), z, error)


@pytest.mark.covers("C18")
def test_dropout_keeps_the_mean_and_sends_back_what_it_let_through(rng):
    x = rng.uniform(1, 2, 200_000)
    output, mask = dropout(x, 0.25, rng)
    assert abs(output.mean() - x.mean()) < 0.02
    assert_close(dropout_backward(np.ones_like(x), mask), output / x)


@pytest.mark.covers("C18")
def test_batch_norm_has_two_modes_and_its_gradient_two_laws(rng):
    x, g = 3 * rng.standard_normal((2, 20, 4, 3, 3)) + 1
    y, mean, var = batch_norm(x, np.zeros(4), np.ones(4), training=True, eps=0)
    assert_close(y.mean(axis=(0, 2, 3)), np.zeros(4), atol=1e-12)
    assert_close(y.var(axis=(0, 2, 3)), np.ones(4))
    assert_close(mean, 0.1 * x.mean(axis=(0, 2, 3)))
    assert_close(var, 0.9 + 0.1 * x.var(axis=(0, 2, 3), ddof=1))
    back, _, _ = batch_norm_backward(g, x, None, None, training=True, eps=0)
    assert_close(back.sum(axis=(0, 2, 3)), np.zeros(4), atol=1e-10)
    assert_close((back * y).sum(axis=(0, 2, 3)), np.zeros(4), atol=1e-10)
    alone = batch_norm(x[:1], mean, var)[0]
    assert_close(alone, batch_norm(x, mean, var)[0][:1])


@pytest.mark.covers("C18")
def test_alexnets_constants_are_size_five_and_alpha_times_five(rng):
    a = 40 * rng.standard_normal((3, 7, 2, 2))
    d = [2 + 1e-4 * np.sum(a[:, max(0, c - 2) : c + 3] ** 2, axis=1) for c in range(7)]
    ours = local_response_norm(a, size=5, alpha=5e-4, beta=0.75, k=2)
    assert_close(ours, a / np.stack(d, axis=1) ** 0.75)


@pytest.mark.covers("C18")
def test_every_sigmoid_takes_three_quarters_of_the_gradient(rng):
    gradients = []
    chain = [layers.Sigmoid() for _ in range(10)]
    h = rng.standard_normal((50, 30))
    for layer in chain:
        h = layer.forward(h)
    grad = np.ones_like(h)
    for layer in reversed(chain):
        grad = layer.backward(grad)
        gradients.append(np.abs(grad).max())
    assert all(g <= 0.25**k for k, g in enumerate(gradients, 1))


@pytest.mark.covers("E02")
def test_activations_return_real_numbers_and_not_only_zeros_and_ones(rng):
    x = 3 * rng.standard_normal(1000)
    relu, sigmoid, tanh = (getattr(activations, n)(x) for n in ("relu", "sigmoid", "tanh"))
    assert_close(relu, torch.relu(torch.from_numpy(x)).numpy())
    assert np.array_equal(relu > 0, x > 0)
    assert np.array_equal(relu[x > 0], x[x > 0])
    for values, low, high in [(sigmoid, 0, 1), (tanh, -1, 1)]:
        assert low < values.min() < values.max() < high
        assert len(np.unique(values)) == 1000
    assert not np.isin(relu[x > 0], [0, 1]).any()
