r"""LeNet-5: the published counts of every layer, and the network in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from coursepkg.architectures.lenet import (
    TABLE_I,
    LeNet5,
    SparseConv2d,
    SubSampling,
    lenet5,
    scaled_tanh,
)
from coursepkg.architectures.registry import MODELS
from coursepkg.testing import assert_close

#: Section II-B of the paper: trainable parameters and connections of each layer.
PUBLISHED = {
    "c1": (156, 122_304),
    "s2": (12, 5_880),
    "c3": (1_516, 151_600),
    "s4": (32, 2_000),
    "c5": (48_120, 48_120),
    "f6": (10_164, 10_164),
}
#: Table I of the paper, a row for each map of S2, as printed.
PRINTED = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""


def images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_table_1_as_printed():
    rows = [line.split() for line in PRINTED.strip().splitlines()]
    links = {(f, c) for c, row in enumerate(rows) for f, mark in enumerate(row) if mark == "X"}
    assert {(f, c) for f, maps in enumerate(TABLE_I) for c in maps} == links
    assert len(links) == 60


def test_60_000_numbers_up_to_f6():
    model = lenet5()
    counts = {n: sum(p.numel() for p in m.parameters()) for n, m in model.named_children()}
    assert counts == {n: parameters for n, (parameters, _) in PUBLISHED.items()} | {"output": 850}
    assert sum(parameters for parameters, _ in PUBLISHED.values()) == 60_000


def test_connections_from_sizes_of_the_running_model():
    """Every unit has a connection for each of its inputs and one for its bias."""
    model, places = lenet5(), {}
    for name, layer in model.named_children():
        layer.register_forward_hook(
            lambda m, inputs, output, name=name: places.update({name: output[0].numel()})
        )
    model(torch.zeros(1, 1, 32, 32))
    entering = {"c1": 26, "s2": 5, "s4": 5, "c5": 401, "f6": 121}
    found = {name: places[name] * inputs for name, inputs in entering.items()}
    found["c3"] = places["c3"] // 16 * sum(25 * len(maps) + 1 for maps in TABLE_I)
    assert found == {name: connections for name, (_, connections) in PUBLISHED.items()}
    assert sum(found.values()) + 84 * 10 == 340_908  # with the paper's output units


def test_the_network_in_numpy():
    torch.manual_seed(0)
    model, image = lenet5().double(), images(1, 1, 32, 32, seed=1)
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def squash(a):
        return 1.7159 * np.tanh(2 * a / 3)

    def convolve(x, kernels, bias):
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
        return np.einsum("cijab,ocab->oij", windows, kernels) + bias[:, None, None]

    def subsample(x, name):
        sums = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
        return sums * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    dense = np.zeros((16, 6, 5, 5))
    for (f, c), kernel in zip(
        [(f, c) for f, maps in enumerate(TABLE_I) for c in maps], w["c3.weight"], strict=True
    ):
        dense[f, c] = kernel
    x = squash(convolve(image[0].numpy(), w["c1.weight"], w["c1.bias"]))
    x = squash(subsample(x, "s2"))
    x = squash(convolve(x, dense, w["c3.bias"]))
    x = squash(subsample(x, "s4"))
    x = squash(convolve(x, w["c5.weight"], w["c5.bias"]))
    assert_close(model.forward_features(image)[0].detach().numpy(), x)
    x = squash(w["f6.weight"] @ x.ravel() + w["f6.bias"])
    assert_close(model(image)[0].detach().numpy(), w["output.weight"] @ x + w["output.bias"])


def test_a_filter_of_c3_does_not_see_the_other_maps():
    torch.manual_seed(0)
    layer, x = SparseConv2d(TABLE_I, 6, 5).double(), images(1, 6, 7, 7)
    before = layer(x)
    for channel in range(6):
        changed = x.clone()
        changed[:, channel] += 1
        differs = (layer(changed) != before).flatten(2).any(dim=2)[0].tolist()
        assert differs == [channel in maps for maps in TABLE_I]


def test_gradients_of_the_layers():
    torch.manual_seed(0)
    sparse = SparseConv2d(((0, 1), (1,), (0, 2)), in_channels=3, kernel_size=2).double()
    sampling = SubSampling(3).double()
    nn.init.normal_(sampling.weight)
    for layer in (sparse, sampling):
        parameters = dict(layer.named_parameters())

        def run(x, *values, layer=layer, names=tuple(parameters)):
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

        x = images(2, 3, 4, 6).requires_grad_()
        assert torch.autograd.gradcheck(run, (x, *parameters.values()))
    assert torch.autograd.gradcheck(scaled_tanh, (images(5).requires_grad_(),))


def test_the_squashing_function():
    x = torch.tensor([-1.0, 1.0, 50.0, 0.0], dtype=torch.float64)
    assert_close(scaled_tanh(x), torch.tensor([-1, 1, 1.7159, 0]).double(), atol=1e-5)
    point = torch.zeros(1, requires_grad=True)
    scaled_tanh(point).sum().backward()
    assert point.grad.item() == pytest.approx(1.7159 * 2 / 3)


def test_the_initialisation_of_appendix_a():
    torch.manual_seed(0)
    model = lenet5()
    entering = {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120, "output": 84}
    for name, inputs in entering.items():
        layer = model.get_submodule(name)
        bound = 2.4 / inputs
        assert 0.7 * bound < layer.weight.abs().max().item() <= bound
        assert not layer.bias.any()
    per_filter = torch.zeros(16)
    for (filter, _), kernel in zip(model.c3.links, model.c3.weight, strict=True):
        per_filter[filter] = max(per_filter[filter], kernel.abs().max().item())
    bounds = torch.tensor([2.4 / (25 * len(maps)) for maps in TABLE_I])
    assert ((per_filter <= bounds) & (per_filter > 0.9 * bounds)).all()
    assert not model.c3.bias.any()


def test_classes_meta_and_registration():
    with torch.device("meta"):
        model = lenet5(num_classes=4)
        assert model(torch.zeros(3, 1, 32, 32)).shape == (3, 4)
        assert model.forward_features(torch.zeros(3, 1, 32, 32)).shape == (3, 120, 1, 1)
    assert model.get_submodule(*LeNet5.head_names).out_features == 4
    entry = MODELS["lenet5"]
    assert entry.factory is lenet5
    assert (entry.family, entry.input_size, entry.reference) == ("lenet", (1, 32, 32), "")
