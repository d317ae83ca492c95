r"""The claims of book/convolution/what-a-cnn-sees.md, on networks that its cells do not use."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coursepkg.convolution import visualize as look
from coursepkg.convolution.arithmetic import Window, output_size, receptive_field
from coursepkg.data.digits import load_digits
from coursepkg.testing import assert_close

WINDOWS = st.builds(
    Window,
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
)


def pixels_of(windows, unit, sizes=None):
    """Go from one unit back to the pixels that it is made of: no formula, only sets.

    With the `sizes` of all inputs, places in the padding of a layer are dropped on the way.
    """
    units = {unit}
    for w, size in zip(reversed(windows), reversed(sizes or [None] * len(windows)), strict=True):
        taps = [a * w.dilation - w.padding for a in range(w.kernel)]
        units = {i * w.stride + tap for i in units for tap in taps}
        if size is not None:
            units = {i for i in units if 0 <= i < size}
    return units


@pytest.mark.covers("C15")
@given(st.lists(WINDOWS, max_size=4), st.integers(0, 5))
def test_size_jump_and_start_say_which_pixels_a_unit_sees(windows, unit):
    size, jump, start = receptive_field(windows)
    pixels = pixels_of(windows, unit)
    assert min(pixels) == start + unit * jump
    assert max(pixels) == start + unit * jump + size - 1


@pytest.mark.covers("C15")
@pytest.mark.parametrize("kernel", [1, 3, 4, 7])
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_a_convolution_and_a_pooling_see_their_sum_less_one(kernel, pool):
    stack = look.linearised(nn.Sequential(nn.Conv2d(2, 3, kernel), nn.MaxPool2d(pool)))
    x = torch.ones(1, 2, 29, 26, dtype=torch.float64)
    field = look.empirical_receptive_field(stack, x)
    assert field.rows[1] - field.rows[0] + 1 == pool + kernel - 1
    assert field.columns[1] - field.columns[0] + 1 == pool + kernel - 1


@pytest.mark.covers("C15")
@settings(deadline=None, max_examples=25)
@given(st.lists(WINDOWS, min_size=1, max_size=3), st.integers(0, 2**31), st.data())
def test_gradients_are_exact_when_linearised_and_within_the_calculation_always(windows, seed, data):
    size, layers = 42, []
    for w in windows:
        layers += [nn.Conv2d(1, 1, w.kernel, w.stride, w.padding, w.dilation), nn.ReLU()]
    torch.manual_seed(seed)
    model = nn.Sequential(*layers, nn.MaxPool2d(2, 1)).double()
    windows = [*windows, Window(2)]
    sizes = [size]
    for w in windows:
        sizes.append(output_size(sizes[-1], w.kernel, w.stride, w.padding, w.dilation))
    unit = data.draw(st.integers(0, sizes[-1] - 1))
    seen = pixels_of(windows, unit, sizes[:-1])
    field = receptive_field(windows)
    first = field.start + unit * field.jump
    calculated = range(max(first, 0), min(first + field.size, size))
    assert seen <= set(calculated)
    if pixels_of(windows, unit) == seen:  # no padding took part
        assert (min(seen), max(seen)) == (calculated[0], calculated[-1])

    x = torch.rand(1, 1, size, size, dtype=torch.float64)
    exact = look.empirical_receptive_field(look.linearised(model), x, unit=(0, unit, unit))
    assert exact.rows == exact.columns == ((min(seen), max(seen)) if seen else None)
    real = look.empirical_receptive_field(model, x, unit=(0, unit, unit))
    assert set(real.gradient.nonzero().flatten().tolist()) <= seen


@pytest.mark.covers("C15")
def test_padding_of_an_inner_layer_sees_nothing():
    """So at the border the calculation, cut to the image, may be too large: 0 to 2, not 1 to 2."""
    stack = nn.Sequential(nn.Conv2d(1, 1, 2), nn.Conv2d(1, 1, 1, 2, 1), nn.MaxPool2d(2))
    x = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    field = receptive_field([Window(2), Window(1, 2, 1), Window(2)])
    assert (max(field.start, 0), field.start + field.size - 1) == (0, 2)
    assert look.empirical_receptive_field(look.linearised(stack), x, unit=(0, 0, 0)).rows == (1, 2)


@pytest.mark.covers("C15")
def test_a_maximum_a_dead_unit_and_a_global_mean_differ_from_the_calculation():
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    maximum = look.empirical_receptive_field(nn.MaxPool2d(3), x, unit=(0, 0, 0))
    assert (maximum.rows, maximum.columns) == ((2, 2), (2, 2))
    off = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    nn.init.constant_(off[0].weight, -1.0)
    nn.init.zeros_(off[0].bias)
    assert look.empirical_receptive_field(off, x).rows is None
    mean = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(1))
    assert look.empirical_receptive_field(mean, x).rows == (0, 5)


@pytest.mark.covers("E07")
def test_alexnet_s_layers_see_11_to_195_pixels():
    """The layers as published; a size of torchvision's AlexNet, input 224, padding 2."""
    layers = {
        "conv1": nn.Conv2d(3, 4, 11, 4, 2),
        "pool1": nn.MaxPool2d(3, 2),
        "conv2": nn.Conv2d(4, 4, 5, padding=2),
        "pool2": nn.MaxPool2d(3, 2),
        "conv3": nn.Conv2d(4, 4, 3, padding=1),
        "conv4": nn.Conv2d(4, 4, 3, padding=1),
        "conv5": nn.Conv2d(4, 4, 3, padding=1),
        "pool5": nn.MaxPool2d(3, 2),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    x = torch.ones(1, 3, 451, 451, dtype=torch.float64)
    flat = look.linearised(model)
    windows = []
    for name, size in zip(layers, (11, 19, 51, 67, 99, 131, 163, 195), strict=True):
        layer = layers[name]
        setting = [layer.kernel_size, layer.stride, layer.padding]
        windows.append(Window(*(n[0] if isinstance(n, tuple) else n for n in setting)))
        assert receptive_field(windows).size == size
        rows = look.empirical_receptive_field(flat, x, name).rows
        assert rows[1] - rows[0] + 1 == size


# Pictures ------------------------------------------------------------------------------------


def finder():
    """A net whose score 0 is the strongest vertical edge, and score 1 the strongest horizontal."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2, bias=False),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
    ).double()
    with torch.no_grad():
        edges = [[[[-1.0, 1.0], [-1.0, 1.0]]], [[[-1.0, -1.0], [1.0, 1.0]]]]
        model[0].weight.copy_(torch.tensor(edges))
    return model


def two_edges():
    """A picture with a vertical edge at the upper left and a horizontal one at the lower right."""
    x = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    x[0, 0, 1:3, 3] = 1  # strongest vertical edge: columns 2 and 3, rows 1 and 2
    x[0, 0, 9, 8:10] = 1  # strongest horizontal edge: rows 8 and 9, columns 8 and 9
    return x


EXPECTED = {0: (slice(1, 3), slice(2, 4)), 1: (slice(8, 10), slice(8, 10))}


@pytest.mark.covers("C26")
@pytest.mark.parametrize("target", [0, 1])
def test_all_three_maps_point_to_what_the_score_rests_on(target):
    model, x = finder(), two_edges()
    rows, columns = EXPECTED[target]
    evidence = torch.zeros(12, 12, dtype=torch.float64)
    evidence[rows, columns] = 1
    assert_close(look.saliency(model, x, target)[0], evidence)
    drops = look.occlusion(model, x, target, size=1, stride=1)[0]
    assert drops.max() == 1
    assert not drops[evidence == 0].any()
    cam = look.grad_cam(model, x, "1", target)[0]
    i, j = divmod(int(cam.argmax()), 12)
    assert evidence[i, j] == 1


@pytest.mark.covers("C26")
@pytest.mark.parametrize("target", [0, 1])
def test_the_image_that_maximises_a_channel_has_its_edge_everywhere(target):
    best = look.activation_maximisation(finder(), (1, 6, 6), target, smoothness=0, steps=400)
    down, across = best[0].diff(dim=0).abs().sum(), best[0].diff(dim=1).abs().sum()
    assert (across > down) == (target == 0)


@pytest.mark.covers("C26")
def test_feature_maps_do_not_mind_the_size_of_the_picture():
    model = finder()
    small, large = (
        look.feature_maps(model, x, "0") for x in (two_edges()[..., :8, :7], two_edges())
    )
    assert_close(small, large[..., :7, :6].clone())


# Moving pictures -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene():
    return torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)).double()


def shifted(x, rows, columns):
    return torch.roll(x, (rows, columns), (2, 3))


@pytest.mark.covers("C28", "E35")
@pytest.mark.parametrize(("stride", "shift", "moves"), [(1, 1, 1), (1, 3, 3), (2, 4, 2), (3, 6, 2)])
def test_convolution_is_equivariant_for_steps_of_its_stride(scene, stride, shift, moves):
    conv = nn.Conv2d(3, 4, 3, stride, padding=3, padding_mode="circular").double()
    before, after = conv(scene), conv(shifted(scene, shift, shift))
    crop = (..., slice(4, -3), slice(4, -3))
    assert_close(after[crop].detach(), shifted(before, moves, moves)[crop].detach())


@pytest.mark.covers("C28", "E35")
def test_stride_padding_and_flattening_break_it_and_a_global_maximum_repairs_it(scene):
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").double()
    maps, moved = conv(scene), conv(shifted(scene, 0, 1))

    def apart(a, b):
        return float((a - b).detach().norm() / b.detach().norm())

    assert apart(moved, shifted(maps, 0, 1)) < 1e-12
    pooled, pooled_moved = F.max_pool2d(maps, 2), F.max_pool2d(moved, 2)
    assert min(apart(pooled_moved, shifted(pooled, 0, n)) for n in (0, 1)) > 0.1  # stride
    zeros = nn.Conv2d(3, 4, 3, padding=1).double()
    zeros.load_state_dict(conv.state_dict())
    assert apart(zeros(shifted(scene, 0, 1)), shifted(zeros(scene), 0, 1)) > 0.1  # padding
    head = nn.Linear(4 * 24 * 24, 5).double()
    assert apart(head(moved.flatten(1)), head(maps.flatten(1))) > 0.1  # flattening
    assert apart(moved.amax((2, 3)), maps.amax((2, 3))) < 1e-12  # a global maximum
    assert apart(moved.mean((2, 3)), maps.mean((2, 3))) < 1e-9  # a global mean


def ridge(train, labels, test):
    """Return classes by least squares on one-hot labels: a fully connected layer, solved."""
    train, test = (np.hstack([x, np.ones((len(x), 1))]) for x in (train, test))
    system = train.T @ train + 10 * np.eye(train.shape[1])
    return (test @ np.linalg.solve(system, train.T @ np.eye(10)[labels])).argmax(axis=1)


@pytest.mark.covers("C28")
def test_one_order_of_pixels_is_as_good_as_another_unless_windows_look_at_neighbours():
    """Fixed windows, so that no training is needed: random filters, pooling, least squares."""
    digits, rng = load_digits(), np.random.default_rng(5)
    order = rng.permutation(784)
    filters = torch.from_numpy(rng.standard_normal((16, 1, 5, 5)).astype(np.float32))

    def flat(images):
        return images.reshape(-1, 784).astype(np.float64)

    def windows(images):
        maps = F.conv2d(torch.from_numpy(images), filters, padding=2).relu()
        return F.max_pool2d(maps, 4).flatten(1).numpy().astype(np.float64)  # (N, 16*7*7)

    def right(features, scramble):
        images = [digits.train_images[:1000], digits.test_images]
        if scramble:
            images = [x.reshape(-1, 784)[:, order].reshape(x.shape) for x in images]
        train, test = map(features, images)
        answers = ridge(train, digits.train_labels[:1000], test)
        return float((answers == digits.test_labels).mean())

    assert abs(right(flat, False) - right(flat, True)) < 0.003
    assert right(windows, False) - right(windows, True) > 0.05
    assert right(windows, False) > right(flat, False)
