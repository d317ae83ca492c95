"""Batches and accuracy counted by hand; training against the same loop in PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from coursepkg.convolution.layers import Linear, ReLU
from coursepkg.convolution.learning import accuracy, batches, train
from coursepkg.convolution.network import Sequential
from coursepkg.convolution.optim import SGD
from coursepkg.testing import assert_close


@given(st.integers(0, 50), st.integers(1, 60))
def test_batches_put_together_are_the_order(n, size):
    order = np.random.default_rng(n).permutation(n)
    parts = list(batches(order, size))
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert all(0 < len(part) <= size for part in parts)
    assert np.concatenate([order[:0], *parts]).tolist() == order.tolist()


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 1000))
def test_every_example_counts_whatever_the_batch_size(n, size, seed):
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(n, 4)), rng.integers(0, 4, n)
    expected = accuracy_score(target, scores.argmax(axis=1))
    assert accuracy(lambda rows: rows, scores, target, size) == expected


def test_predictions_are_asked_for_batch_by_batch():
    asked = []

    def predict(rows):
        asked.append(len(rows))
        return rows

    assert accuracy(predict, np.eye(7), np.arange(7), batch_size=3) == 1.0
    assert asked == [3, 3, 1]


def test_the_examples_left_over_count():
    scores, target = np.eye(2)[[0, 0, 0, 1, 1]], np.array([0, 0, 0, 1, 1])
    assert accuracy(lambda rows: rows, scores, target, batch_size=2) == 1.0


def examples(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(11, 5)), rng.integers(0, 3, 11)


def small(seed=1):
    rng = np.random.default_rng(seed)
    first = Linear(rng.normal(size=(4, 5)), rng.normal(size=4))
    return Sequential(first, ReLU(), Linear(rng.normal(size=(3, 4)), rng.normal(size=3)))


def orders(epochs=3):
    rng = np.random.default_rng(2)
    return [rng.permutation(11) for _ in range(epochs)]


def test_training_is_the_loop_that_pytorch_would_run():
    network, (input, target) = small(), examples()
    twin = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    twin.double().load_state_dict({n: torch.tensor(p) for n, p in network.state().items()})
    optimizer, expected = torch.optim.SGD(twin.parameters(), lr=0.1), []
    for order in orders():
        for batch in torch.tensor(order).split(4):
            optimizer.zero_grad()
            scores = twin(torch.tensor(input)[batch])
            loss = torch.nn.functional.cross_entropy(scores, torch.tensor(target)[batch])
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    losses = train(network, SGD(network.parameters(), lr=0.1), input, target, orders(), 4)
    assert_close(losses, np.array(expected))
    assert len(losses) == 3 * 3  # 4, 4 and 3 examples
    assert_close(network.state(), {n: p.detach().numpy() for n, p in twin.state_dict().items()})


def test_the_examples_are_left_alone():
    network, (input, target) = small(), examples()
    train(network, SGD(network.parameters(), lr=0.1), input, target, orders())
    assert_close((input, target), examples())


def test_without_epochs_nothing_happens():
    network = small()
    losses = train(network, SGD(network.parameters()), *examples(), [])
    assert losses.shape == (0,)
    assert_close(network.state(), small().state())


def test_batch_sizes_below_one_are_refused():
    network = small()
    with pytest.raises(ValueError, match="batch_size=0 is too small"):
        list(batches(np.arange(3), 0))
    with pytest.raises(ValueError, match=r"batch_size=2\.5 is not an integer"):
        accuracy(network.forward, *examples(), batch_size=2.5)
    with pytest.raises(ValueError, match="batch_size=-1 is too small"):
        train(network, SGD(network.parameters()), *examples(), orders(), -1)


@pytest.mark.parametrize(
    ("input", "target", "message"),
    [
        (np.zeros((0, 5)), np.zeros(0, np.int64), r"input has shape \(0, 5\); pass at least one"),
        (np.zeros((2, 5)), np.zeros(3, np.int64), r"target has shape \(3,\) but input has 2"),
        (np.zeros((2, 5)), np.zeros((2, 3)), r"target has shape \(2, 3\) but input has 2"),
    ],
)
def test_examples_that_do_not_fit_are_refused(input, target, message):
    network = small()
    with pytest.raises(ValueError, match=message):
        accuracy(network.forward, input, target)
    with pytest.raises(ValueError, match=message):
        train(network, SGD(network.parameters()), input, target, orders())


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (
            lambda rows: rows[:1],
            r"predict\(input\) has shape \(1, 2\) for 3 examples; return \(3, K\)",
        ),
        (lambda rows: rows[:, None], r"predict\(input\) has shape \(3, 1, 2\); pass an array with"),
        (lambda rows: rows[:, 0], r"predict\(input\) has shape \(3,\); pass an array with"),
        (lambda rows: rows[:, :0], r"predict\(input\) has shape \(3, 0\) for 3 examples; return"),
        (lambda rows: rows.tolist(), r"predict\(input\) is a list; pass a NumPy array"),
    ],
)
def test_answers_that_are_not_one_row_for_each_example_are_refused(predict, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        accuracy(predict, np.eye(3, 2), np.array([0, 0, 0]))


def test_lists_of_examples_are_refused():
    network, (input, target) = small(), examples()
    for lists, message in [
        ((input.tolist(), target), "input"),
        ((input, target.tolist()), "target"),
    ]:
        with pytest.raises(ValueError, match=f"^{message} is a list; pass a NumPy array"):
            accuracy(network.forward, *lists)
        with pytest.raises(ValueError, match=f"^{message} is a list; pass a NumPy array"):
            train(network, SGD(network.parameters()), *lists, orders())
