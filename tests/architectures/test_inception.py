r"""Inception v3: counts, the sizes of its table, padding that is counted, gradients of modules."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursepkg.architectures.inception import (
    AuxiliaryHead,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    InceptionV3,
    inception_v3,
)
from coursepkg.architectures.registry import MODELS
from coursepkg.testing import assert_close

MODULES = {
    "A": lambda: InceptionA(4, pool_features=3),
    "B": lambda: InceptionB(4),
    "C": lambda: InceptionC(4, channels_7x7=2),
    "D": lambda: InceptionD(4),
    "E": lambda: InceptionE(4),
}


def on_meta(**settings):
    with torch.device("meta"):
        return inception_v3(**settings)


def made(name):
    """A module in float64 with lively normalisations, in eval mode."""
    torch.manual_seed(0)
    module = MODULES[name]().double().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.weight, part.bias, part.running_mean, part.running_var):
                nn.init.uniform_(value, 0.5, 1.5)
    return module.requires_grad_(False)


def images(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def chain(module, x, *names):
    """The named convolutions one after the other, written with functions."""
    for name in names:
        layer = getattr(module, name)
        conv, bn = layer.conv, layer.bn
        x = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
        x = F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=0.001)
        x = x.clamp(min=0)
    return x


def mean9(x):
    """A ninth of the sum of 3 x 3 pixels, where pixels outside count as zeros."""
    channels = x.shape[1]
    kernel = torch.full((channels, 1, 3, 3), 1 / 9, dtype=x.dtype)
    return F.conv2d(x, kernel, padding=1, groups=channels)


def largest(x):
    return F.max_pool2d(x, 3, 2)


WRITTEN_OUT = {
    "A": lambda m, x: [
        chain(m, x, "branch1x1"),
        chain(m, x, "branch5x5_1", "branch5x5_2"),
        chain(m, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        chain(m, mean9(x), "branch_pool"),
    ],
    "B": lambda m, x: [
        chain(m, x, "branch3x3"),
        chain(m, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        largest(x),
    ],
    "C": lambda m, x: [
        chain(m, x, "branch1x1"),
        chain(m, x, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
        chain(m, x, *(f"branch7x7dbl_{n}" for n in range(1, 6))),
        chain(m, mean9(x), "branch_pool"),
    ],
    "D": lambda m, x: [
        chain(m, x, "branch3x3_1", "branch3x3_2"),
        chain(m, x, *(f"branch7x7x3_{n}" for n in range(1, 5))),
        largest(x),
    ],
    "E": lambda m, x: [
        chain(m, x, "branch1x1"),
        chain(m, x, "branch3x3_1", "branch3x3_2a"),
        chain(m, x, "branch3x3_1", "branch3x3_2b"),
        chain(m, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a"),
        chain(m, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3b"),
        chain(m, mean9(x), "branch_pool"),
    ],
}


@pytest.mark.parametrize("name", MODULES)
def test_branches_written_out(name):
    module, x = made(name), images(2, 4, 9, 8)
    assert_close(module(x), torch.cat(WRITTEN_OUT[name](module, x), dim=1))


#: Kernels of the convolutions in the order of the state, "1" for 1 x 1, "17" for 1 x 7.
KERNELS = {
    "A": "1 1 5 1 3 3 1",
    "B": "3 1 3 3",
    "C": "1 1 17 71 1 71 17 71 17 1",
    "D": "1 3 1 17 71 3",
    "E": "1 1 13 31 1 3 13 31 1",
}


@pytest.mark.parametrize("name", MODULES)
def test_kernels(name):
    sizes = [m.kernel_size for m in made(name).modules() if isinstance(m, nn.Conv2d)]
    assert " ".join(str(h) if h == w else f"{h}{w}" for h, w in sizes) == KERNELS[name]


@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_the_modules(name):
    module = made(name).train()
    x = images(2, 4, 5, 6, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(module, (x,), fast_mode=True)


@pytest.mark.parametrize(
    ("aux_logits", "parameters", "entries"), [(True, 27_161_264, 580), (False, 23_834_568, 566)]
)
def test_counts(aux_logits, parameters, entries):
    model = on_meta(aux_logits=aux_logits)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


def test_sizes_on_the_way():
    model, sizes = on_meta(), []
    for name, child in model.named_children():
        if name.startswith(("Conv", "Mixed", "max")):
            child.register_forward_hook(
                lambda m, inputs, output: sizes.append(tuple(output.shape[1:3]))
            )
    maps = model.forward_features(torch.zeros(1, 3, 299, 299, device="meta"))
    assert sizes == [
        *((32, 149), (32, 147), (64, 147), (64, 73), (80, 73), (192, 71), (192, 35)),
        *((256, 35), (288, 35), (288, 35)),
        *[(768, 17)] * 5,
        *((1280, 8), (2048, 8), (2048, 8)),
    ]
    assert maps.shape == (1, 2048, 8, 8)


def test_the_other_head_speaks_in_training_only():
    model = on_meta(num_classes=5)
    x = torch.zeros(2, 3, 299, 299, device="meta")
    outputs = model(x)
    assert outputs._fields == ("logits", "aux_logits")
    assert type(outputs).__name__ == "InceptionOutputs"
    assert [tuple(scores.shape) for scores in outputs] == [(2, 5)] * 2
    assert model.eval()(x).shape == (2, 5)
    assert on_meta(aux_logits=False)(x).shape == (2, 1000)
    assert [model.get_submodule(n).out_features for n in InceptionV3.head_names] == [5, 5]
    assert on_meta(aux_logits=False).AuxLogits is None


def test_the_head_reads_the_maps_of_17_x_17():
    model, seen = on_meta(num_classes=5), {}
    for name in ("Mixed_6e", "AuxLogits"):
        model.get_submodule(name).register_forward_hook(
            lambda m, inputs, output, name=name: seen.update({name: (inputs[0], output)})
        )
    outputs = model(torch.zeros(2, 3, 299, 299, device="meta"))
    assert seen["AuxLogits"][0] is seen["Mixed_6e"][1]
    assert outputs.aux_logits is seen["AuxLogits"][1]


def test_smaller_images_do_without_the_other_head():
    model, x = on_meta(), torch.zeros(2, 3, 298, 298, device="meta")
    with pytest.raises(RuntimeError, match="Kernel size"):
        model(x)
    assert model.eval()(x).shape == (2, 1000)


def test_the_auxiliary_head_written_out():
    torch.manual_seed(0)
    head, x = AuxiliaryHead(3, 4).double().eval(), images(2, 3, 17, 17)
    y = chain(head, F.avg_pool2d(x, 5, stride=3), "conv0", "conv1")
    assert y.shape == (2, 768, 1, 1)
    assert_close(head(x), y.flatten(1) @ head.fc.weight.T + head.fc.bias)


def test_constants():
    model = on_meta()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(0.001, 0.1)}
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert list(model.state_dict())[-2:] == ["fc.weight", "fc.bias"]
    assert not any(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))


def test_the_initialisation():
    torch.manual_seed(0)
    model = inception_v3()
    for layer in (model.fc, model.Mixed_7c.branch_pool.conv, model.AuxLogits.conv1.conv):
        assert abs(layer.weight.std().item() / 0.1 - 1) < 0.02
    assert abs(model.AuxLogits.fc.weight.std().item() / 0.001 - 1) < 0.02


def test_it_is_registered():
    entry = MODELS["inception_v3"]
    assert entry.factory is inception_v3
    assert (entry.family, entry.input_size) == ("inception", (3, 299, 299))
