"""What networks cost in training, by hand; the chart, by what is in it."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from coursepkg.architectures import get_model
from coursepkg.architectures.checkpoints import WEIGHTS
from coursepkg.architectures.comparison import (
    OPTIMIZER_STATES,
    bubble_chart,
    compare,
    kept_for_backward,
    largest_batch_size,
    latency,
)


@pytest.fixture(scope="module")
def rows():
    return compare(["squeezenet1_1", "resnet18", "resnet34"])


def test_costs_are_counted_and_accuracy_is_cited(rows):
    squeezenet, resnet18, _ = rows
    assert squeezenet[:5] == ("squeezenet1_1", "squeezenet", 224, 1_235_496, 349_151_936)
    assert resnet18[:5] == ("resnet18", "resnet", 224, 11_689_512, 1_814_073_344)
    assert resnet18[6:] == (69.758, "IMAGENET1K_V1", "torchvision 0.29.1")


def test_the_first_weights_are_cited_and_auxiliary_heads_are_left_out():
    (row,) = compare(["mobilenet_v2"])
    assert (row.weights, row.top1) == ("IMAGENET1K_V1", 71.878)
    assert WEIGHTS["mobilenet_v2"]["IMAGENET1K_V2"].top1 > row.top1
    (row,) = compare(["googlenet"])
    assert row.parameters == 6_624_904


@pytest.mark.parametrize("name", ["lenet5", "nasnet"])
def test_networks_without_official_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"name='{name}' has no official weights"):
        compare([name])


def kept(*layers, size=(2, 6, 6), **settings):
    return kept_for_backward(nn.Sequential(*layers), size)


def test_what_each_operation_keeps():
    image, maps = 4 * 2 * 36, 4 * 3 * 36
    assert kept(nn.Conv2d(2, 3, 1)) == image
    assert kept(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1)) == image + maps
    for in_place in (True, False):
        assert kept(nn.Conv2d(2, 3, 1), nn.ReLU(in_place)) == image + maps
        chain = nn.Conv2d(2, 3, 1), nn.ReLU(in_place), nn.Conv2d(3, 3, 1)
        assert kept(*chain) == image + maps
    assert kept(nn.Conv2d(2, 3, 1), nn.SiLU(), nn.Conv2d(3, 3, 1)) == image + 2 * maps
    assert kept(nn.Conv2d(2, 3, 1), nn.Flatten()) == image
    linear = nn.Flatten(), nn.Linear(72, 5), nn.Linear(5, 2)
    assert kept(*linear) == image + 4 * 5


def test_it_agrees_with_a_real_pass():
    torch.manual_seed(0)
    model = get_model("squeezenet1_1", num_classes=5)
    given = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    storages, alive = {}, []

    def save(tensor):
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model.train()(torch.randn(2, 3, 64, 64))
    assert kept_for_backward(model, (3, 64, 64)) == sum(storages.values()) // 2


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept_for_backward(model, (1, 5, 5))
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("optimizer", OPTIMIZER_STATES)
def test_the_batch_fits_and_one_more_does_not(optimizer):
    made = {
        "sgd": lambda p: torch.optim.SGD(p),
        "momentum": lambda p: torch.optim.SGD(p, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p),
    }
    parameter = nn.Parameter(torch.ones(1000))
    parameter.grad = torch.ones(1000)
    stepper = made[optimizer]([parameter])
    stepper.step()
    tensors = [
        parameter,
        parameter.grad,
        *(v for v in stepper.state[parameter].values() if torch.is_tensor(v) and v.ndim),
    ]
    fixed = sum(t.numel() * t.itemsize for t in tensors)  # what PyTorch really keeps
    assert largest_batch_size(fixed + 7 * 50, 1000, 50, optimizer) == 7
    assert largest_batch_size(fixed + 8 * 50 - 1, 1000, 50, optimizer) == 7
    with pytest.raises(ValueError, match=f"too small for one image, which takes {fixed + 50} "):
        largest_batch_size(fixed + 49, 1000, 50, optimizer)


def test_half_precision_takes_half():
    assert largest_batch_size(1000, 50, 90) == (1000 - 400) // 90 == 6
    assert largest_batch_size(1000, 50, 90, itemsize=2) == (1000 - 200) // 90 == 8


def test_latency_is_the_median_and_leaves_the_model_and_threads(monkeypatch):
    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = []

        def forward(self, input):
            self.calls.append((tuple(input.shape), self.training, torch.get_num_threads()))
            clock[0] += (100, 5, 1, 9)[len(self.calls) - 1]

    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    model, before = Slow().train(), torch.get_num_threads()
    assert latency(model, (1, 4, 5), batch_size=2, repeats=3) == 5  # of 5, 1 and 9; 100 warms up
    assert model.calls == [((2, 1, 4, 5), False, 1)] * 4
    assert model.training
    assert torch.get_num_threads() == before


def test_the_chart_has_a_disc_for_each_network(rows):
    _, ax = plt.subplots()
    assert bubble_chart(rows, ax, {"resnet18": (3.0, 4.0)}) is ax
    discs = {
        (round(x, 6), y): disc.get_sizes()[0]
        for disc in ax.collections
        for x, y in disc.get_offsets()
    }
    assert discs == {
        (round(row.macs / 1e9, 6), row.top1): pytest.approx(3e-6 * row.parameters) for row in rows
    }
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.texts] == ["resnet18"]
    _, ax = plt.subplots()
    bubble_chart(rows, ax)
    assert sorted(text.get_text() for text in ax.texts) == sorted(row.name for row in rows)
    plt.close("all")


def test_discs_have_the_colour_of_their_family_or_are_grey(rows):
    _, ax = plt.subplots()
    bubble_chart(rows, ax, colours={"resnet": "blue", "vgg": "red"})
    found = {disc.get_offsets()[0][1]: disc.get_facecolor()[0][:3] for disc in ax.collections}
    squeezenet, *resnets = (tuple(found[row.top1]) for row in rows)
    assert resnets == [(0, 0, 1)] * 2
    assert squeezenet[0] == squeezenet[1] == squeezenet[2]
    plt.close("all")


def test_bad_arguments_are_named():
    for call, message in [
        (lambda: largest_batch_size(0, 1, 1), "memory=0 is too small"),
        (lambda: largest_batch_size(9, 0, 1), "parameters=0 is too small"),
        (lambda: largest_batch_size(9, 1, 0), "activations=0 is too small"),
        (lambda: largest_batch_size(9, 1, 1, itemsize=0), "itemsize=0 is too small"),
        (
            lambda: largest_batch_size(9, 1, 1, "lion"),
            "optimizer='lion' is unknown; use one of sgd",
        ),
        (lambda: latency(nn.ReLU(), (1, 0)), "input_size=0 is too small"),
        (lambda: latency(nn.ReLU(), (1, 2), batch_size=0), "batch_size=0 is too small"),
        (lambda: latency(nn.ReLU(), (1, 2), repeats=0), "repeats=0 is too small"),
        (lambda: kept_for_backward(nn.Linear(1, 1), (0,)), "input_size=0 is too small"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
