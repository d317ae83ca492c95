r"""The claims of book/architectures/lenet-to-vgg.md, on cases that its cells do not use."""

import numpy as np
import pytest
import torch
from torch import nn

from coursepkg.architectures.deeper import signal_norms
from coursepkg.architectures.lenet import TABLE_I, lenet5
from coursepkg.architectures.lrn import local_response_norm
from coursepkg.architectures.merging import merge_linear
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.small_alexnet import SmallAlexNet
from coursepkg.architectures.vgg import CONFIGURATIONS, vgg_parameters
from coursepkg.convolution import normalization
from coursepkg.convolution.arithmetic import Window, conv2d_parameters, receptive_field
from coursepkg.data.digits import load_digits
from coursepkg.recorded import recorded
from coursepkg.testing import assert_close, assert_gradient
from coursepkg.training import Batches, evaluate, fit, seed_everything


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(name, **settings):
    with torch.device("meta"):
        return MODELS[name].factory(**settings)


def noise(*shape, seed=5):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.covers("A01")
def test_lenet_has_60_000_numbers_up_to_f6_and_learns():
    digits = load_digits()
    seed_everything(7)
    model = lenet5()
    assert count(model) - count(model.output) == 60_000
    assert sum(map(len, TABLE_I)) == 60

    def padded(images):
        return np.pad(images * 1.275 - 0.1, [(0, 0), (0, 0), (2, 2), (2, 2)], constant_values=-0.1)

    train = Batches(padded(digits.train_images), digits.train_labels, batch_size=50, seed=7)
    fit(model, torch.optim.Adam(model.parameters(), 2e-3), train, epochs=2)
    test = Batches(padded(digits.test_images), digits.test_labels, 500, seed=None)
    assert evaluate(model, test)["accuracy"] > 0.85


@pytest.mark.covers("A02")
def test_three_counts_by_hand():
    linear = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    windows = (11, 5, 3, 3, 3)
    forms = {
        "torchvision": ((3, 64, 192, 384, 256, 256), (1, 1, 1, 1, 1), 61_100_840),
        "ungrouped": ((3, 96, 256, 384, 384, 256), (1, 1, 1, 1, 1), 62_378_344),
        "paper": ((3, 96, 256, 384, 384, 256), (1, 2, 1, 2, 2), 60_965_224),
    }
    for variant, (widths, groups, published) in forms.items():
        layers = zip(widths, widths[1:], windows, groups, strict=False)
        by_hand = linear + sum(conv2d_parameters(*layer) for layer in layers)
        assert by_hand == published == count(on_meta("alexnet", variant=variant))


@pytest.mark.covers("A02")
def test_two_groups_are_two_cards():
    torch.manual_seed(0)
    whole = nn.Conv2d(8, 6, 5, padding=2, groups=2).double()
    x = noise(2, 8, 7, 7)
    one, two = x.clone(), x.clone()
    one[:, :4] += 1
    two[:, 4:] += 1
    before = whole(x)
    assert torch.equal(whole(one)[:, 3:], before[:, 3:])
    assert torch.equal(whole(two)[:, :3], before[:, :3])
    assert not torch.equal(whole(one)[:, :3], before[:, :3])


@pytest.mark.covers("A02")
def test_local_response_norm_is_the_formula_with_the_gradient_by_hand():
    x, grad = 40 * noise(1, 9, 2, 3), noise(1, 9, 2, 3, seed=6)
    x.requires_grad_()
    y = local_response_norm()(x)
    (y * grad).sum().backward()
    constants = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}
    a, g = x.detach().numpy(), grad.numpy()
    assert_close(y.detach().numpy(), normalization.local_response_norm(a, **constants))
    by_hand = normalization.local_response_norm_backward(g, a, **constants)
    assert_close(x.grad.numpy(), by_hand)
    assert_gradient(
        lambda a: float((normalization.local_response_norm(a, **constants) * g).sum()), a, by_hand
    )
    small = local_response_norm()(torch.full((1, 9, 1, 1), 0.5))
    assert_close(small[0, 4].item(), 0.5 / 2**0.75, rtol=1e-3)


@pytest.mark.covers("A02")
def test_the_record_says_what_the_page_says():
    record = recorded("architectures/normalisation")

    def against(form, other, rate):
        return record.difference((form, rate, "test"), (other, rate, "test"))

    assert not any(against("local", "plain", rate).holds for rate in ("0.01", "0.03", "0.1"))
    assert record.std("plain", "0.03", "test") > 0.2
    assert record.std("local", "0.1", "test") > 0.2
    assert all(against("batch", "plain", rate).mean < 0 for rate in ("0.01", "0.03", "0.1"))
    assert all(against("batch", "plain", rate).holds for rate in ("0.01", "0.03", "0.1"))
    assert not against("tanh", "plain", "0.01").holds
    assert against("tanh", "plain", "0.1").holds
    faster = record.difference(("tanh", "0.03", "train", 0), ("plain", "0.01", "train", 0))
    assert faster.holds
    assert faster.mean < 0
    for rate in ("0.01", "0.03", "0.1"):
        assert (record.values("start", rate, "test") > 0.85).all()
        assert against("start and batch", "start", rate).mean < -0.5


@pytest.mark.covers("A02")
def test_with_a_start_of_a_hundredth_biases_of_one_do_not_help():
    digits = load_digits()
    seed_everything(7)
    model = SmallAlexNet(init="small")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for number in (1, 3, 4, 5):  # convolutions 2, 4 and 5, and the hidden linear layer
        nn.init.ones_(layers[number].bias)
    train = Batches(digits.train_images, digits.train_labels, 100, seed=7)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    fit(model, optimizer, train, epochs=3)
    test = Batches(digits.test_images, digits.test_labels, 500, seed=None)
    assert evaluate(model, test)["accuracy"] < 0.15


@pytest.mark.covers("A02")
def test_with_a_start_of_a_hundredth_the_image_is_lost():
    """Each layer scales by its standard deviation over that of He's rule, or less."""
    sizes = {}
    for init in ("he", "small"):
        torch.manual_seed(8)
        sizes[init] = signal_norms(SmallAlexNet(init=init).double(), noise(30, 1, 28, 28)).values()
    small, large = sizes["small"], sizes["he"]
    ratios = [a / b for a, b in zip(small, large, strict=True)]
    fan_in = [25, 72, 144, 216, 216, 64, 128]
    expected = np.cumprod([0.01 / (2 / n) ** 0.5 for n in fan_in])
    assert_close(np.log(ratios), np.log(expected), rtol=0.15)


@pytest.mark.covers("E08")
def test_the_second_layer_keeps_the_size():
    for variant in ("torchvision", "ungrouped", "paper"):
        second = [m for m in on_meta("alexnet", variant=variant).features if hasattr(m, "groups")][
            1
        ]
        assert (second.kernel_size, second.stride, second.padding) == ((5, 5), (1, 1), (2, 2))
        width = second.in_channels
        assert second(torch.zeros(1, width, 27, 27, device="meta")).shape[2:] == (27, 27)


@pytest.mark.covers("E16")
def test_adaptive_pooling_keeps_four_axes():
    pool = on_meta("alexnet").avgpool
    x = noise(2, 5, 11, 6)
    y = pool(x)
    assert y.shape == (2, 5, 6, 6)
    for i in range(6):
        first, last = 11 * i // 6, -(-11 * (i + 1) // 6)
        assert_close(y[:, :, i], x[:, :, first:last].mean(dim=2))
    assert torch.equal(pool(y), y)
    assert y.flatten(1).shape == (2, 180)


@pytest.mark.covers("E30")
def test_linear_layers_need_something_between():
    torch.manual_seed(1)
    layers = [nn.Linear(a, b).double() for a, b in ((7, 5), (5, 8), (8, 3))]
    arrays = [[p.detach().numpy() for p in layer.parameters()] for layer in layers]
    merged = merge_linear(*merge_linear(*arrays[0], *arrays[1]), *arrays[2])
    x = noise(4, 7)
    assert_close(nn.Sequential(*layers)(x).detach().numpy(), x.numpy() @ merged[0].T + merged[1])
    for name in ("alexnet", "vgg16"):
        kinds = [type(m) for m in on_meta(name).classifier if not isinstance(m, nn.Dropout)]
        assert kinds == [nn.Linear, nn.ReLU] * 2 + [nn.Linear]
    assert not hasattr(nn, "conv2d")


@pytest.mark.covers("A03")
def test_three_small_kernels_see_what_a_large_one_sees():
    def stack(*kernels):
        return nn.Sequential(*(nn.Conv2d(2, 2, k, padding=k // 2) for k in kernels))

    assert receptive_field([Window(3, padding=1)] * 3).size == 7
    for kernels in ((3, 3, 3), (7,)):
        net = stack(*kernels).double()
        x = noise(1, 2, 15, 15).requires_grad_()
        net(x)[0, :, 7, 7].sum().backward()
        rows = x.grad[0].abs().sum(dim=(0, 2)).nonzero().flatten().tolist()
        assert rows == list(range(4, 11))
    weights = [
        sum(p.numel() for p in stack(*k).parameters() if p.ndim > 1) for k in ((3,) * 3, (7,))
    ]
    assert weights == [27 * 4, 49 * 4]


@pytest.mark.covers("A03")
@pytest.mark.parametrize("name", ["vgg13", "vgg19_bn"])
def test_only_small_windows(name):
    for layer in on_meta(name).features:
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
        if isinstance(layer, nn.MaxPool2d):
            assert (layer.kernel_size, layer.stride) == (2, 2)


@pytest.mark.covers("E34")
def test_vgg_is_among_the_largest():
    vgg = count(on_meta("vgg16"))
    assert vgg == sum(vgg_parameters(CONFIGURATIONS["D"])) == 138_357_544
    rest = [name for name, entry in MODELS.items() if entry.family != "vgg"]
    assert {"alexnet", "resnet152", "efficientnet_b7"} <= set(rest)
    assert all(count(on_meta(name)) < vgg for name in rest)
    assert 0.7 * vgg < 512 * 49 * 4096
