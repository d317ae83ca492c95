r"""`fit` and `evaluate` against loops written out by hand, and against what can go wrong."""

import random

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import coursepkg.training
from coursepkg.testing import assert_close
from coursepkg.training import (
    Batches,
    History,
    accuracy,
    evaluate,
    fit,
    mode,
    seed_everything,
    training_step,
)


@pytest.fixture
def data():
    """Twenty-three points of three classes: the last batch is never a full one."""
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 23)
    return rng.normal(size=(23, 4)) + 2 * np.eye(3, 4)[target], target


def new_model(dropout=0.0):
    torch.manual_seed(1)
    layers = nn.Linear(4, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 3)
    return nn.Sequential(*layers).double()


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9)


def weights(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def by_hand(model, input, target, epochs, batch_size, seed):
    """Train without `fit`; return the mean loss and accuracy of each epoch."""
    optimizer, rows = sgd(model), []
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(input))
        losses, right = np.zeros(len(input)), 0
        for chosen in np.split(order, range(batch_size, len(input), batch_size)):
            x, t = torch.from_numpy(input[chosen]), torch.from_numpy(target[chosen])
            scores = model(x)
            each = F.cross_entropy(scores, t, reduction="none")
            optimizer.zero_grad()
            each.mean().backward()
            optimizer.step()
            losses[chosen] = each.detach().numpy()
            right += (scores.argmax(1) == t).sum().item()
        rows.append((float(losses.mean()), right / len(input)))
    return [list(column) for column in zip(*rows, strict=True)]


def test_fit_is_the_loop_written_out(data):
    model, other = new_model(), new_model()
    history = fit(model, sgd(model), Batches(*data, batch_size=5, seed=7), epochs=4)
    losses, shares = by_hand(other, *data, epochs=4, batch_size=5, seed=7)
    assert_close(weights(model), weights(other), "weights", rtol=1e-13)
    assert_close(history.train, {"loss": losses, "accuracy": shares})
    assert history.valid == {}
    assert len(history) == 4
    assert history.train["loss"][-1] < history.train["loss"][0] / 2


def test_a_history_goes_on_where_it_stopped(data):
    model, other = new_model(), new_model()
    batches, optimizer = Batches(*data, batch_size=5), sgd(model)
    history = fit(model, optimizer, batches, epochs=2)
    again = fit(model, optimizer, batches, epochs=3, history=history)
    losses, _ = by_hand(other, *data, epochs=5, batch_size=5, seed=0)
    assert again is history
    assert_close(history.train["loss"], losses)


def test_a_data_loader_and_a_list_are_as_good(data):
    tensors = [torch.from_numpy(part) for part in data]
    sources = (
        Batches(*data, batch_size=4, seed=None),
        DataLoader(TensorDataset(*tensors), batch_size=4),
        list(zip(*(part.split(4) for part in tensors), strict=True)),
        [(data[0][i : i + 4], data[1][i : i + 4]) for i in range(0, 23, 4)],  # NumPy arrays
    )
    results = []
    for batches in sources:
        model = new_model()
        fit(model, sgd(model), batches, epochs=2)
        results.append((weights(model), evaluate(model, batches)))
    for result in results[1:]:
        assert_close(result, results[0])


def test_a_stream_of_unknown_length_will_do(data):
    class Stream(IterableDataset):
        def __iter__(self):
            return zip(*data, strict=True)

    model, other = new_model(), new_model()
    fit(model, sgd(model), DataLoader(Stream(), batch_size=5), epochs=2)
    fit(other, sgd(other), Batches(*data, batch_size=5, seed=None), epochs=2)
    assert_close(weights(model), weights(other))


def test_inputs_of_several_parts_count_as_many_as_there_are_targets(data):
    class Named(nn.Module):
        def forward(self, input):
            return input["x"] + input["shift"]

    scores, target = torch.from_numpy(data[0]), torch.from_numpy(data[1])
    parts = [slice(0, 20), slice(20, 23)]
    batches = [({"x": scores[part], "shift": 0.0}, target[part]) for part in parts]
    whole = {"loss": F.cross_entropy(scores, target).item(), "accuracy": accuracy(scores, target)}
    assert_close(evaluate(Named(), batches), whole)


def test_a_history_goes_on_only_with_the_same_figures(data):
    model, batches = new_model(), Batches(*data)
    optimizer = sgd(model)
    plain = fit(model, optimizer, batches, epochs=1)
    both = fit(model, optimizer, batches, batches, epochs=1)
    before = weights(model)
    for history, settings in (
        (plain, {"valid": batches}),
        (both, {}),
        (plain, {"metrics": {}}),
        (both, {"valid": batches, "metrics": {"share": accuracy}}),
    ):
        with pytest.raises(ValueError, match=r"history holds .* pass the same valid and metrics"):
            fit(model, optimizer, batches, epochs=1, history=history, **settings)
        assert len(history) == 1
    assert_close(weights(model), before)
    fit(model, optimizer, batches, batches, epochs=1, history=both)
    assert [len(kept["loss"]) for kept in (both.train, both.valid)] == [2, 2]


def test_evaluate_counts_every_example_once(data):
    model = new_model()
    scores, target = model(torch.from_numpy(data[0])), torch.from_numpy(data[1])
    whole = {
        "loss": F.cross_entropy(scores, target).item(),
        "accuracy": (scores.argmax(1) == target).double().mean().item(),
    }
    for size in (1, 4, 22, 23, 50):
        assert_close(evaluate(model, Batches(*data, batch_size=size)), whole)


def test_evaluate_learns_nothing_and_drops_nothing_out(data):
    model = nn.Sequential(new_model(dropout=0.9), nn.BatchNorm1d(3).double())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (evaluate(model, Batches(*data)) for _ in range(2))
    assert first == second
    assert_close(dict(model.state_dict()), before, rtol=0)
    assert all(p.grad is None for p in model.parameters())


def test_training_is_in_training_mode_and_validation_is_not(data):
    seen = []

    class Watch(nn.Linear):
        def forward(self, input):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(input)

    model = Watch(4, 3).double()
    model.eval()
    batches = Batches(*data, batch_size=12)
    fit(model, sgd(model), batches, batches, epochs=2)
    assert seen == 2 * [(True, True), (True, True), (False, False), (False, False)]
    assert not model.training


def test_mode_puts_every_module_back_even_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    model[1].eval()
    model[1][1].train()
    before = [module.training for module in model.modules()]
    for training in (True, False):
        with mode(model, training):
            assert [module.training for module in model.modules()] == [training] * 5
        assert [module.training for module in model.modules()] == before
    with pytest.raises(KeyError), mode(model, training=True):
        raise KeyError
    assert [module.training for module in model.modules()] == before


def test_validation_is_measured_after_each_epoch(data):
    model = new_model(dropout=0.5)
    train, valid = Batches(*data, batch_size=5), Batches(data[0][:9], data[1][:9], batch_size=4)
    history = fit(model, sgd(model), train, valid, epochs=3)
    assert {name: figures[-1] for name, figures in history.valid.items()} == evaluate(model, valid)
    assert len(history.valid["loss"]) == 3


def test_a_training_step_is_gradient_descent_in_the_mode_that_it_finds(data):
    for training in (True, False):
        model, other = (
            new_model(dropout=0.9).train(training),
            new_model(dropout=0.9).train(training),
        )
        x, t = map(torch.from_numpy, data)
        for size in (23, 4):
            torch.manual_seed(size)
            before = weights(other)
            scores = other(x[:size])
            loss = F.cross_entropy(scores, t[:size])
            grads = torch.autograd.grad(loss, list(other.parameters()))
            with torch.no_grad():
                for parameter, grad in zip(other.parameters(), grads, strict=True):
                    parameter -= 0.3 * grad
            torch.manual_seed(size)
            optimizer = torch.optim.SGD(model.parameters(), 0.3)
            output, number = training_step(model, optimizer, x[:size], t[:size])
            assert_close((output, number), (scores, loss.item()))
            assert_close(weights(model), weights(other))
            assert not np.array_equal(weights(model)[0], before[0])
        assert model.training == training


def test_outputs_may_be_more_than_one_tensor():
    class Two(nn.Linear):
        def forward(self, input):
            return {"sum": super().forward(input), "input": input}

    def loss(output, target):
        return F.mse_loss(output["sum"], target)

    def gap(output, target):
        return (output["sum"] - target).abs().mean()  # a tensor with a gradient

    model = Two(2, 1)
    batches = Batches(np.ones((5, 2), np.float32), np.ones((5, 1), np.float32), batch_size=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    history = fit(model, optimizer, batches, batches, epochs=9, loss=loss, metrics={"gap": gap})
    assert history.valid["gap"][-1] < history.valid["gap"][0]


def test_any_loss_and_any_metric_will_do():
    rng = np.random.default_rng(0)
    input = rng.normal(size=(30, 2))
    target = input @ np.array([[1.0], [-2.0]]) + 0.5
    model = nn.Linear(2, 1).double()

    def error(output, target):
        return (output - target).abs().mean()

    batches = Batches(input, target, batch_size=7)
    history = fit(model, sgd(model), batches, epochs=60, loss=F.mse_loss, metrics={"error": error})
    assert_close(model.weight.detach().numpy(), np.array([[1.0, -2.0]]), rtol=1e-3)
    assert set(history.train) == {"loss", "error"}
    assert set(evaluate(model, batches, F.mse_loss, {})) == {"loss"}


def test_the_scheduler_steps_once_after_each_epoch(data):
    model = new_model()
    optimizer = sgd(model, lr=0.8)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    fit(model, optimizer, Batches(*data, batch_size=5), epochs=4, scheduler=scheduler)
    assert scheduler.get_last_lr() == [0.2]


def test_an_interrupt_leaves_model_and_history(data):
    model, other = new_model(), new_model()
    batches = list(Batches(*data, batch_size=5))

    class Interrupted:
        rounds = 0

        def __iter__(self):
            self.rounds += 1
            yield from batches[:2]
            if self.rounds == 3:
                raise KeyboardInterrupt
            yield from batches[2:]

    history = fit(model, sgd(model), Interrupted(), batches, epochs=9)
    assert history.interrupted
    assert len(history) == len(history.valid["loss"]) == 2
    assert model.training
    optimizer = sgd(other)
    fit(other, optimizer, batches, epochs=2)
    fit(other, optimizer, batches[:2], epochs=1)
    assert_close(weights(model), weights(other))
    fit(model, sgd(model), batches, batches, epochs=1, history=history)
    assert not history.interrupted
    assert len(history) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_refused_before_the_step(data, bad):
    model = new_model()
    optimizer = sgd(model)
    broken = [tuple(map(torch.from_numpy, data))] * 3
    history = History()
    fit(model, optimizer, broken, broken, epochs=2, history=history)
    before = weights(model)
    broken.append((torch.full((2, 4), bad, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)))
    with pytest.raises(FloatingPointError, match=r"loss is nan(.|\n)*was valid, epoch 2, batch 3"):
        fit(model, sgd(model, lr=0.0), broken[:3], broken, epochs=1, history=history)
    with pytest.raises(FloatingPointError, match=r"loss is nan(.|\n)*was train, epoch 2, batch 0"):
        fit(model, optimizer, broken[3:], broken, epochs=1, history=history)
    assert_close(weights(model), before)
    assert len(history) == 2
    with pytest.raises(FloatingPointError, match="That was batches, batch 3"):
        evaluate(model, broken)


def test_the_bar_is_drawn_on_a_terminal_only(data, capsys, monkeypatch):
    model = new_model()
    batches = Batches(*data, batch_size=6)
    fit(model, sgd(model), batches, epochs=2)
    assert capsys.readouterr() == ("", "")
    drawn = []

    class Bar(coursepkg.training.tqdm):
        def __init__(self, **settings):
            assert settings["disable"] is None
            super().__init__(**settings | {"disable": False})
            drawn.append(self)

    monkeypatch.setattr(coursepkg.training, "tqdm", Bar)
    fit(model, sgd(model), batches, epochs=2)
    fit(model, sgd(model), iter([*batches]), epochs=1)
    assert [(bar.n, bar.total) for bar in drawn] == [(8, 8), (4, None)]
    assert "accuracy" in capsys.readouterr().err


def test_accuracy_of_classes_and_of_pixels():
    scores = torch.tensor([[0.1, 0.9], [2.0, -1.0], [0.0, 3.0]])
    assert accuracy(scores, torch.tensor([1, 1, 1])) == 2 / 3
    pixels = torch.stack([torch.zeros(2, 4, 5), torch.ones(2, 4, 5)], dim=1)  # (N, K, H, W)
    target = torch.zeros(2, 4, 5, dtype=torch.int64)
    target[:, :3] = 1
    assert accuracy(pixels, target) == 0.75
    with pytest.raises(ValueError, match=r"target has shape \(3, 1\) but output \(3, 2\) answers"):
        accuracy(scores, torch.tensor([[1], [1], [1]]))


def test_batches_depend_on_seed_and_epoch_alone():
    input, target = np.arange(10.0), np.arange(10)

    def order(seed, epoch, rounds=1):
        batches = Batches(input, target, batch_size=4, seed=seed)
        for _ in range(rounds):
            batches.set_epoch(epoch)
            parts = list(batches)
        assert [len(x) for x, _ in parts] == [4, 4, 2]
        assert len(batches) == 3
        assert all(torch.equal(x, t.double()) for x, t in parts)
        return torch.cat([t for _, t in parts]).tolist()

    for seed, epoch in ((0, 0), (0, 1), (5, 0)):
        wanted = np.random.default_rng((seed, epoch)).permutation(10).tolist()
        assert order(seed, epoch) == order(seed, epoch, rounds=3) == wanted
    assert len({str(order(*pair)) for pair in ((0, 0), (0, 1), (5, 0))}) == 3
    assert order(None, 0) == order(None, 4) == list(range(10))


def test_batches_take_tensors_and_share_memory():
    input = np.zeros((4, 1, 2, 2), np.float32)
    batches = Batches(input, torch.arange(4), seed=None)
    input[2] = 9
    assert batches.input[2].sum() == 36
    assert batches.input.dtype == torch.float32


@pytest.mark.parametrize(
    "changed",
    [
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    ],
    ids=["read-only", "backwards", "mirrored", "foreign bytes", "of a file"],
)
def test_arrays_that_pytorch_cannot_share_are_copied(changed):
    input = changed(np.arange(12.0).reshape(4, 3))
    batches = Batches(input, np.arange(4)[::-1], seed=None, batch_size=4)
    ((x, t),) = batches
    assert_close(x.numpy(), np.array(input, np.float64))
    assert t.tolist() == [3, 2, 1, 0]
    figures = evaluate(nn.Identity(), [(input, np.array([0, 1, 2, 0])[::-1])])
    assert_close(figures, evaluate(nn.Identity(), [(x, torch.tensor([0, 2, 1, 0]))]))


def test_seeds_reach_python_numpy_and_torch():
    draws = []
    for seed in (3, 3, np.int64(4)):
        seed_everything(seed)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[1], draws[2], strict=True))


def test_a_history_is_plotted_into_the_given_axes():
    history = History({"loss": [3.0, 2.0, 1.0]}, {"loss": [3.5, 2.5, 2.4]})
    figure, ax = plt.subplots()
    assert history.plot(ax) is ax
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert drawn == {
        "training": [[1, 3.0], [2, 2.0], [3, 1.0]],
        "validation": [[1, 3.5], [2, 2.5], [3, 2.4]],
    }
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    without = History({"loss": [1.0]}).plot(figure.add_subplot())
    assert [line.get_label() for line in without.lines] == ["training"]
    plt.close(figure)
    with pytest.raises(ValueError, match="name='accuracy' was not measured; use one"):
        history.plot(ax, "accuracy")


def test_bad_arguments_are_named(data):
    model = new_model()
    good, optimizer = Batches(*data), sgd(model)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    wrong = [
        (
            lambda: fit(model, optimizer, good, epochs=1, scheduler=plateau),
            r"scheduler is a ReduceLROnPlateau.*scheduler\.step\(history\.valid",
        ),
        (
            lambda: fit(model, optimizer, good, epochs=1, metrics={"loss": accuracy}),
            "a metric is called 'loss'; give it another name",
        ),
        (lambda: evaluate(model, good, metrics={"loss": accuracy}), "a metric is called 'loss'"),
        (
            lambda: accuracy(torch.ones(0, 3), torch.ones(0)),
            r"output has shape \(0, 3\); pass scores of at least one example",
        ),
        (lambda: accuracy(torch.ones(3), torch.ones(3)), r"output has shape \(3,\); pass scores"),
        (lambda: accuracy(torch.ones(3, 0), torch.ones(3)), r"output has shape \(3, 0\); pass"),
        (lambda: fit(model, torch.optim.SGD, good, epochs=1), "optimizer is a type; pass one of"),
        (lambda: fit(model, sgd(new_model()), good, epochs=1), "optimizer holds no parameter of"),
        (lambda: fit(model, optimizer, good, epochs=0), "epochs=0 is too small"),
        (lambda: fit(model, optimizer, iter([]), epochs=1), "train, epoch 0 has no batches"),
        (lambda: fit(model, optimizer, iter(good), epochs=2), "train, epoch 1 has no batches"),
        (lambda: fit(model, optimizer, good, [], epochs=1), "valid, epoch 0 has no batches"),
        (lambda: evaluate(model, []), "batches has no batches"),
        (lambda: evaluate(model, [torch.ones(3, 4)]), "batches, batch 0 is a Tensor, not a pair"),
        (lambda: evaluate(model, [(1, 2, 3)]), "batches, batch 0 is a tuple, not a pair"),
        (lambda: evaluate(model, good, lambda o, t: 1.0), "the loss is 1.0; return a"),
        (lambda: evaluate(model, good, lambda o, t: o[:, 0]), "the loss is tensor"),
        (lambda: Batches(np.ones(3), np.ones(4)), "input has 3 examples and target has 4"),
        (lambda: Batches(np.ones(0), np.ones(0)), "input has 0 examples"),
        (lambda: Batches(np.ones(3), np.ones(3), 0), "batch_size=0 is too small"),
        (lambda: Batches(np.ones(3), np.ones(3), seed=-1), "seed=-1 is too small"),
        (lambda: good.set_epoch(-1), "epoch=-1 is too small"),
        (lambda: seed_everything(0.5), "seed=0.5 is not an integer"),
        (lambda: seed_everything(2**32), "seed=4294967296 is too large"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
