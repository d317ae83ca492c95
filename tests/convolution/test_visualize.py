"""Networks so small that the right picture is known beforehand, and PyTorch's own arithmetic."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from coursepkg.convolution.arithmetic import Window, receptive_field
from coursepkg.convolution.visualize import (
    activation_maximisation,
    class_activation_map,
    empirical_receptive_field,
    feature_maps,
    grad_cam,
    linearised,
    normalise_filters,
    occlusion,
    saliency,
    score_gradient,
)
from coursepkg.testing import assert_close, assert_gradient


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def scorer(channels=1, size=(5, 7), classes=3, seed=0):
    """A linear model: the score of class k is <w_k, x> + k."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes).double())
    with torch.no_grad():
        model[1].weight.copy_(noise(*model[1].weight.shape, seed=seed))
        model[1].bias.copy_(torch.arange(float(classes)))
    return model


def small_cnn(channels=1, inplace=False):
    """Everything that could be changed by accident: batch norm, dropout, in-place ReLU."""
    model = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6, 5),
    ).double()
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.copy_(noise(*parameter.shape, seed=seed))
    return model


# Feature maps and filters ---------------------------------------------------------------------


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_feature_maps_are_what_the_layers_return(channels, inplace):
    model, x = small_cnn(channels, inplace), noise(2, channels, 9, 11)
    conv = F.conv2d(x, model[0].weight, model[0].bias, padding=1)
    assert_close(feature_maps(model, x, "0"), conv.detach())
    scale = model[1].weight / (1 + model[1].eps) ** 0.5  # running mean 0 and variance 1
    normed = conv * scale[:, None, None] + model[1].bias[:, None, None]
    assert_close(feature_maps(model, x, "1"), normed.detach())
    assert_close(feature_maps(model, x, model[2]), normed.detach().clamp(min=0))
    assert feature_maps(model, x, "9").shape == (2, 5)
    assert not feature_maps(model, x, "9").requires_grad


def test_layers_have_dotted_names():
    model = nn.Sequential(nn.Sequential(nn.Identity(), nn.ReLU()), nn.Flatten())
    x = noise(1, 1, 3, 4)
    assert_close(feature_maps(model, x, "0.0"), x)
    assert_close(feature_maps(model, x, "0.1"), x.clamp(min=0))


def test_feature_maps_share_nothing_with_the_input():
    x = torch.ones(1, 1, 2, 2)
    maps = feature_maps(nn.Sequential(nn.Identity()), x, "0")
    maps += 1
    assert torch.equal(x, torch.ones(1, 1, 2, 2))
    assert not maps.requires_grad


def test_filters_are_scaled_one_by_one_around_grey():
    weight = torch.tensor([[[[1.0, -4.0]], [[0.0, 2.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    expected = torch.tensor([[[[0.625, 0.0]], [[0.5, 0.75]]], [[[0.5, 0.5]], [[0.5, 0.5]]]])
    assert_close(normalise_filters(nn.Parameter(weight)), expected)


# Saliency -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_of_a_linear_score_is_its_weights(channels):
    model, x = scorer(channels), noise(2, channels, 5, 7, seed=5)
    weights = model[1].weight.detach().reshape(3, channels, 5, 7)
    assert_close(score_gradient(model, x, 1), weights[[1, 1]])
    assert_close(score_gradient(model, x, [2, 0]), weights[[2, 0]])
    assert_close(saliency(model, x, torch.tensor([2, 0])), weights[[2, 0]].abs().amax(dim=1))


def test_without_target_the_class_that_wins_is_meant():
    model, x = small_cnn(), noise(4, 1, 9, 8)
    winners = model.eval()(x).argmax(dim=1)
    assert len(set(winners.tolist())) > 1
    for show in (score_gradient, saliency, occlusion, lambda *a: grad_cam(*a[:2], "5", *a[2:])):
        assert_close(show(model, x), show(model, x, winners))
        assert not torch.equal(show(model, x), show(model, x, (winners + 1) % 5))


def test_gradient_of_a_network_is_that_of_central_differences():
    model, x = small_cnn(2), noise(1, 2, 7, 6)

    def score(pixels):
        with torch.no_grad():
            return float(model(torch.from_numpy(pixels))[0, 3])

    gradient = score_gradient(model, x, 3)
    model.eval()
    assert_gradient(score, x.numpy(), gradient.numpy())


def test_images_of_a_batch_are_judged_one_by_one():
    model, x = small_cnn(3), noise(3, 3, 8, 9)
    target = torch.tensor([4, 0, 1])
    shows: list[Callable] = [saliency, occlusion, lambda *a: grad_cam(*a[:2], "4", *a[2:])]
    for show in shows:
        one_by_one = [show(model, x[n : n + 1], int(target[n])) for n in range(3)]
        assert_close(show(model, x, target), torch.cat(one_by_one))
        assert show(model, x[:0]).shape[0] == 0


# Occlusion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.5])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (3, 2), ((2, 3), (1, 4)), (5, 3)])
def test_covering_pixels_of_a_linear_model_takes_away_what_they_give(size, stride, value):
    model, x = scorer(3), noise(2, 3, 5, 7, seed=5)
    share = model[1].weight[1].reshape(3, 5, 7) * (x - value)  # of each pixel in score 1
    (kh, kw), (sh, sw) = np.broadcast_to(size, 2).tolist(), np.broadcast_to(stride, 2).tolist()
    windows = share.detach().unfold(2, kh, sh).unfold(3, kw, sw)  # (N, C, H', W', kh, kw)
    expected = windows.sum(dim=(1, 4, 5))
    for batch_size in (1, 4, 1000):
        got = occlusion(model, x, 1, size, stride, value, batch_size)
        assert_close(got, expected)
        assert not got.requires_grad


def test_covers_are_made_batch_by_batch():
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.numbers = max(self.numbers, result.numel())
            return result

    for batch_size in (1, 8, 30):
        with Largest() as largest:
            occlusion(
                nn.Flatten(), torch.ones(2, 1, 40, 50), size=3, stride=1, batch_size=batch_size
            )
        assert largest.numbers == max(batch_size, 2) * 40 * 50  # both images go in at first


def test_only_covering_what_a_mask_model_looks_at_changes_its_score():
    class LooksAt(nn.Module):
        def forward(self, x):
            return x[:, 0, 2:4, 5:7].amax(dim=(1, 2)).unsqueeze(1)  # (N, 1)

    drops = occlusion(LooksAt(), torch.ones(1, 1, 6, 9), size=3, stride=1)[0]
    expected = torch.zeros(4, 7)
    expected[1:3, 4:6] = 1  # where the cover hides all four pixels
    assert_close(drops, expected)


def test_batches_have_the_size_asked_for():
    seen = []

    class Counts(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.flatten(1)

    occlusion(Counts(), torch.ones(2, 1, 3, 5), size=1, stride=1, batch_size=6)
    assert seen == [2, 6, 6, 3, 6, 6, 3]


# Grad-CAM -------------------------------------------------------------------------------------


def test_class_activation_map_by_hand():
    maps = torch.tensor([[[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 1.0]]]])
    gradient = torch.tensor([[[[4.0, 0.0], [4.0, 0.0]], [[-1.0, -1.0], [-1.0, -1.0]]]])
    # weights 2 and -1: 2 - 0, 0 - 3, 4 - 1, 2 - 1
    assert_close(class_activation_map(maps, gradient), torch.tensor([[[2.0, 0.0], [3.0, 1.0]]]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("inplace", [False, True])
def test_grad_cam_behind_global_averaging_is_the_class_activation_map(channels, inplace):
    """There the gradient of score k is its row of the last weight over the number of places.

    So Grad-CAM is the map of Zhou and others (2016) divided by that number.
    """
    model, x = small_cnn(channels, inplace), noise(2, channels, 13, 11)
    maps = feature_maps(model, x, "5")  # (N, 6, 4, 3)
    assert maps.shape == (2, 6, 4, 3)
    small = torch.einsum("nkhw,ck->nchw", maps, model[-1].weight.detach() / 12).clamp(min=0)
    large = F.interpolate(small, (13, 11), mode="bilinear", align_corners=False)
    cams = [grad_cam(model, x, "5", target) for target in range(5)]
    assert_close(torch.stack(cams, dim=1), large)
    assert sum(bool(cam.any()) for cam in cams) > 1


def test_grad_cam_of_a_layer_of_the_input_s_size_is_not_resampled():
    model = nn.Sequential(nn.Identity(), scorer(1, (4, 5)))
    x = noise(1, 1, 4, 5)
    alpha = model[1][1].weight[0].detach().mean()
    assert_close(grad_cam(model, x, "0", 0), (alpha * x[:, 0]).clamp(min=0))


def test_a_layer_beside_the_path_has_no_say():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.other = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x):
            self.other(x)
            return self.main(x).mean((2, 3))

    model, x = TwoHeads(), torch.ones(1, 1, 3, 3)
    assert not grad_cam(model, x, "other").any()


# Activation maximisation ----------------------------------------------------------------------


@pytest.mark.parametrize(("decay", "smoothness"), [(0.5, 0.0), (0.3, 0.4)])
def test_for_a_linear_score_the_best_image_solves_a_linear_system(decay, smoothness):
    """Its gradient is w - 2 decay x - 2 smoothness L x, with the grid's Laplacian L."""
    model = scorer(2, (3, 4))
    down, across = (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1) for n in (3, 4))
    for line in (down, across):
        line[0, 0] = line[-1, -1] = 1  # ends have one neighbour
    laplacian = np.kron(down, np.eye(4)) + np.kron(np.eye(3), across)
    weights = model[1].weight[1].detach().numpy().reshape(2, 12)
    matrix = 2 * decay * np.eye(12) + 2 * smoothness * laplacian
    expected = np.linalg.solve(matrix, weights.T).T.reshape(2, 3, 4)
    settings = {"steps": 500, "lr": 0.1, "decay": decay, "smoothness": smoothness}
    got = activation_maximisation(model, (2, 3, 4), 1, **settings)
    assert_close(got, torch.from_numpy(expected), rtol=1e-8)


def test_one_step_starts_at_seeded_noise():
    model = scorer(1, (40, 50))
    weights = model[1].weight[2].detach().reshape(1, 40, 50)
    settings = {"steps": 1, "lr": 0.5, "decay": 0, "smoothness": 0}
    start, same, other = (
        activation_maximisation(model, (1, 40, 50), 2, seed=seed, **settings) - 0.5 * weights
        for seed in (1, 1, 2)
    )
    assert torch.equal(start, same)
    assert not torch.allclose(start, other)
    assert abs(float(start.std()) - 0.01) < 0.001
    assert abs(float(start.mean())) < 0.001


def test_the_mean_of_a_channel_can_be_maximised():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten()).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([3.0, -5.0]).reshape(2, 1, 1, 1))
    settings = {"steps": 500, "decay": 0.5, "smoothness": 0}
    got = activation_maximisation(model, (1, 2, 5), 1, layer="0", **settings)
    assert_close(got, torch.full((1, 2, 5), -5.0 / 10, dtype=torch.float64))


def test_ascent_leaves_the_global_random_state_alone():
    model = small_cnn()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    activation_maximisation(model, (1, 8, 8), 0, steps=2)
    assert torch.equal(torch.rand(4), expected)


# Receptive field ------------------------------------------------------------------------------

STACKS = [
    [nn.Conv2d(1, 2, 3)],
    [nn.Conv2d(1, 2, 5), nn.MaxPool2d(3)],
    [nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, dilation=2), nn.MaxPool2d(3, 2, 1)],
    [nn.Conv2d(1, 4, 5, 3, 2), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 4, 3, 1, 1, groups=4)],
    [nn.Conv2d(1, 2, 1), nn.LocalResponseNorm(2), nn.AvgPool2d(2, 1), nn.Conv2d(2, 1, 4, 2)],
]


def clipped(stack, place, size):
    """The calculated field of one unit, as far as it lies on the image."""
    sliding = [m for m in stack if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)]
    rows = [(m.kernel_size, m.stride, m.padding, getattr(m, "dilation", 1)) for m in sliding]
    one_axis = [[n[0] if isinstance(n, tuple) else n for n in row] for row in rows]
    field = receptive_field(Window(*row) for row in one_axis)
    first = field.start + place * field.jump
    return max(first, 0), min(first + field.size - 1, size - 1)


@pytest.mark.parametrize("stack", STACKS)
def test_calculated_and_empirical_fields_agree_on_linearised_networks(stack):
    model, size = nn.Sequential(*stack), (25, 31)
    x = torch.ones(1, 1, *size, dtype=torch.float64)
    flat = linearised(model)
    height, width = flat(x).shape[2:]
    for i, j in [(0, 0), (height - 1, 1), (height // 2, width // 2), (1, width - 1)]:
        field = empirical_receptive_field(flat, x, unit=(0, i, j))
        assert field.rows == clipped(stack, i, size[0])
        assert field.columns == clipped(stack, j, size[1])
        assert (field.gradient >= 0).all()


def test_the_gradient_of_a_linearised_stack_can_be_worked_by_hand():
    model = linearised(nn.Sequential(nn.Conv2d(1, 1, (1, 3)), nn.ReLU(), nn.MaxPool2d((1, 2), 1)))
    field = empirical_receptive_field(model, torch.ones(1, 1, 1, 4, dtype=torch.float64))
    expected = torch.tensor([[1.0, 2.0, 2.0, 1.0]], dtype=torch.float64) / 6
    assert_close(field.gradient, expected)
    assert field.rows == (0, 0)
    assert field.columns == (0, 3)


def test_a_maximum_sees_one_pixel_and_a_dead_unit_none():
    x = torch.tensor([[[[1.0, 5.0, 2.0], [0.0, 3.0, -4.0]]]])
    field = empirical_receptive_field(nn.MaxPool2d((2, 3)), x)
    assert_close(field.gradient, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert (field.rows, field.columns) == ((0, 0), (1, 1))
    dead = empirical_receptive_field(nn.ReLU(), x, unit=(0, 1, 2))
    assert (dead.rows, dead.columns) == (None, None)
    assert not dead.gradient.any()


def test_gradients_of_channels_are_added_by_their_absolute_values():
    model = nn.Conv2d(2, 1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([2.0, -2.0]).reshape(1, 2, 1, 1))
    field = empirical_receptive_field(model, noise(1, 2, 3, 3))
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[1, 1] = 4  # the middle unit by default
    assert_close(field.gradient, expected)


def test_units_of_other_layers_can_be_asked():
    model, x = small_cnn(), noise(1, 1, 12, 12)
    first = empirical_receptive_field(model, x, "0", (1, 5, 6))
    assert (first.rows, first.columns) == ((4, 6), (5, 7))
    assert empirical_receptive_field(model, x, unit=(3,)).gradient.shape == (12, 12)


def test_linearised_replaces_what_blocks_and_keeps_the_original():
    shared = nn.MaxPool2d(2)
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, groups=2), shared, nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
        *(shared, nn.Dropout(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    got = linearised(model)
    kinds = [type(m).__name__ for m in got.modules() if not list(m.children())]
    assert kinds == [
        *("Conv2d", "AvgPool2d", "Identity", "Identity", "AvgPool2d"),
        *("Identity", "AdaptiveAvgPool2d", "Flatten", "Linear"),
    ]
    assert_close(got[0].weight.detach(), torch.full((4, 1, 3, 3), 1 / 9, dtype=torch.float64))
    assert_close(got[7].bias.detach(), torch.zeros(3, dtype=torch.float64))
    assert_close(dict(model.state_dict()), before)
    x = torch.ones(1, 2, 18, 18, dtype=torch.float64)
    assert_close(got(x).detach(), torch.ones(1, 3, dtype=torch.float64))  # means of means


PASSED = {
    **{
        kind.__name__: kind()
        for kind in (
            *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU),
            *(nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Sigmoid),
            *(nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Dropout, nn.AlphaDropout),
        )
    },
    "BatchNorm2d": nn.BatchNorm2d(4),
    "SyncBatchNorm": nn.SyncBatchNorm(4),
    "InstanceNorm2d": nn.InstanceNorm2d(4, affine=True),
    "GroupNorm": nn.GroupNorm(2, 4),
    "LayerNorm": nn.LayerNorm([4, 7, 7]),
    "LayerNorm of one axis": nn.LayerNorm(7),
    "RMSNorm": nn.RMSNorm(7),
    "LocalResponseNorm": nn.LocalResponseNorm(2),
}


@pytest.mark.parametrize("layer", PASSED.values(), ids=PASSED)
@pytest.mark.parametrize("value", [-50.0, 0.0, 50.0])
def test_in_a_linearised_network_activations_and_normalisation_let_everything_pass(layer, value):
    model = linearised(nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.Conv2d(4, 1, 3)))
    x = torch.full((1, 1, 9, 9), value, dtype=torch.float64)
    field = empirical_receptive_field(model, x, unit=(0, 2, 2))
    assert (field.rows, field.columns) == ((2, 6), (2, 6))
    ways = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    assert_close(field.gradient[2:7, 2:7], torch.outer(ways, ways) / 81)


def test_a_normalised_classifier_is_linearised_too():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    field = empirical_receptive_field(linearised(model), torch.ones(1, 1, 2, 3).double())
    assert_close(field.gradient, torch.full((2, 3), 1 / 6, dtype=torch.float64))


def test_a_single_pooling_layer_is_linearised_too():
    got = linearised(nn.MaxPool2d(3, 2, 1, ceil_mode=True))
    assert repr(got) == "AvgPool2d(kernel_size=3, stride=2, padding=1)"
    assert got.ceil_mode


# The model is given back as it came -----------------------------------------------------------

CALLS: dict[str, Callable] = {
    "feature_maps": lambda model, x: feature_maps(model, x, "4"),
    "score_gradient": score_gradient,
    "saliency": saliency,
    "occlusion": occlusion,
    "grad_cam": lambda model, x: grad_cam(model, x, "4"),
    "activation_maximisation": lambda model, x: activation_maximisation(
        model, (3, 9, 8), 0, steps=2
    ),
    "empirical_receptive_field": lambda model, x: empirical_receptive_field(model, x[:1]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("inplace", [False, True])
def test_model_and_input_are_left_as_they_were(call, inplace):
    model, x = small_cnn(3, inplace).train(), noise(2, 3, 9, 8)
    model[4].eval()  # a mode of its own
    model[0].requires_grad_(False)  # frozen
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    pixels, flag = x.clone(), x.requires_grad
    with torch.no_grad():
        first = call(model, x)
    second = call(model, x)
    assert_close(tuple(first), tuple(second))  # no dropout, no running statistics
    assert_close(dict(model.state_dict()), state)
    assert [module.training for module in model.modules()] == modes
    assert all(bool((p.grad == 1).all()) for p in model.parameters())
    assert [p.requires_grad for p in model[0].parameters()] == [False, False]
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(x, pixels)
    assert x.requires_grad is flag


def test_the_first_layer_may_work_in_place():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten())
    x = torch.tensor([[[[-1.0, 2.0]]]])
    assert_close(score_gradient(model, x, 1), torch.tensor([[[[0.0, 1.0]]]]))
    assert_close(feature_maps(model, x, "0"), torch.tensor([[[[0.0, 2.0]]]]))
    assert_close(x, torch.tensor([[[[-1.0, 2.0]]]]))


def test_modes_come_back_after_an_error():
    model = small_cnn().train()
    with pytest.raises(RuntimeError, match="expected input"):
        saliency(model, noise(1, 7, 9, 9))
    with pytest.raises(ValueError, match="target=5"):
        saliency(model, noise(1, 1, 9, 9), 5)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


# Bad input ------------------------------------------------------------------------------------

X = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
ONE_CALL = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
TWICE = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Identity(), nn.Conv2d(1, 1, 3))
TWICE[2] = TWICE[0]

BAD = {
    "array": (lambda: saliency(small_cnn(), X.numpy()), r"input is a ndarray; pass a tensor"),
    "three axes": (lambda: saliency(small_cnn(), X[0]), r"input has shape \(1, 9, 9\).*N, C, H, W"),
    "no pixels": (lambda: saliency(small_cnn(), X[..., :0]), r"shape \(1, 1, 9, 0\)"),
    "integers": (lambda: saliency(small_cnn(), X.long()), r"torch.int64.*use .float\(\)"),
    "no scores": (lambda: saliency(ONE_CALL.double(), X), r"output of the model.*needs.*\(N, K\)"),
    "target too large": (lambda: saliency(small_cnn(), X, 5), r"target=5.*5 classes 0 to 4"),
    "target negative": (lambda: occlusion(small_cnn(), X, -1), r"target=-1 is not among"),
    "target no integer": (lambda: saliency(small_cnn(), X, 1.0), r"target=1.0 .*use integers"),
    "target boolean": (lambda: saliency(small_cnn(), X, True), r"target=True .*use integers"),
    "target a word": (lambda: saliency(small_cnn(), X, "a"), r"target='a' .*use integers"),
    "ragged target": (lambda: saliency(small_cnn(), X, [[1], [1, 2]]), r"target=.*use integers"),
    "too many targets": (lambda: saliency(small_cnn(), X, [1, 2]), r"target=\[1, 2\].*1 images"),
    "unknown layer": (
        lambda: feature_maps(scorer(), X, "conv9"),
        r"layer='conv9' is not in this model; its layers are 0, 1$",
    ),
    "empty name": (lambda: feature_maps(scorer(), X, ""), r"layer='' is not in this model"),
    "strange layer": (lambda: grad_cam(scorer(), X, nn.ReLU()), r"layer=ReLU\(\) is not in this"),
    "number as layer": (lambda: grad_cam(scorer(), X, 3), r"layer=3 is not in this model"),
    "layer twice": (lambda: feature_maps(TWICE.double(), X, "0"), r"layer='0' runs 2 times"),
    "flat layer": (lambda: grad_cam(small_cnn(), X, "7"), r"output of layer '7' has shape \(1, 6"),
    "cover too large": (lambda: occlusion(small_cnn(), X, size=10), r"kernel=10.*shrink"),
    "cover of nothing": (lambda: occlusion(small_cnn(), X, size=0), r"size=0 is too small"),
    "no stride": (lambda: occlusion(small_cnn(), X, stride=0), r"stride=0 is too small"),
    "cover of a word": (lambda: occlusion(small_cnn(), X, value="a"), r"value='a' .*finite number"),
    "cover of nan": (
        lambda: occlusion(small_cnn(), X, value=float("nan")),
        r"value=nan is out of range; use a finite number",
    ),
    "no batch": (lambda: occlusion(small_cnn(), X, batch_size=0), r"batch_size=0 is too small"),
    "maps and gradient": (
        lambda: class_activation_map(torch.ones(1, 2, 3, 3), torch.ones(1, 1, 3, 3)),
        r"gradient has shape \(1, 1, 3, 3\) but activation \(1, 2, 3, 3\)",
    ),
    "maps flat": (
        lambda: class_activation_map(torch.ones(2, 3), torch.ones(2, 3)),
        r"activation has shape \(2, 3\)",
    ),
    "gradient missing": (
        lambda: class_activation_map(torch.ones(1, 2, 3, 3), None),
        r"gradient is a NoneType",
    ),
    "filters flat": (lambda: normalise_filters(torch.ones(2, 3)), r"weight has shape \(2, 3\)"),
    "size of two": (
        lambda: activation_maximisation(small_cnn(), (9, 9), 0),
        r"size=\(9, 9\) is no shape; pass \(channels, height, width\)",
    ),
    "size of zero": (lambda: activation_maximisation(small_cnn(), (1, 0, 9), 0), r"size=0 is too"),
    "no steps": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 0, steps=0),
        r"steps=0 is too small",
    ),
    "unit negative": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), -1),
        r"unit=-1 is too small",
    ),
    "unit too large": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 6, layer="4"),
        r"unit=6 is not among the 6 of this layer",
    ),
    "rate negative": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 0, lr=-1),
        r"lr=-1 is out of range; use a finite number of at least 0",
    ),
    "rate a word": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 0, lr="fast"),
        r"lr='fast' is no number; use a finite number",
    ),
    "seed no integer": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 0, seed=1.5),
        r"seed=1\.5 is not an integer",
    ),
    "size a number": (
        lambda: activation_maximisation(small_cnn(), 9, 0),
        r"size=9 .*pass \(channels, height, width\)",
    ),
    "decay infinite": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 0, decay=float("inf")),
        r"decay=inf is out of range",
    ),
    "smoothness nan": (
        lambda: activation_maximisation(small_cnn(), (1, 9, 9), 0, smoothness=float("nan")),
        r"smoothness=nan is out of range",
    ),
    "two images": (
        lambda: empirical_receptive_field(small_cnn(), X.expand(2, 1, 9, 9)),
        r"input has 2 images; pass one",
    ),
    "unit outside": (
        lambda: empirical_receptive_field(small_cnn(), X, "0", (0, 9, 0)),
        r"unit=\(0, 9, 0\) is no index into one output of shape \(4, 9, 9\)",
    ),
    "unit too short": (
        lambda: empirical_receptive_field(small_cnn(), X, "0", (0, 1)),
        r"unit=\(0, 1\) is no index",
    ),
    "dilated pooling": (lambda: linearised(nn.MaxPool2d(3, dilation=2)), r"dilation=2 has no"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_ascent_that_leaves_all_bounds_is_refused():
    with pytest.raises(FloatingPointError, match=r"not finite after step \d+; lower lr=1e\+30"):
        activation_maximisation(small_cnn(), (1, 9, 9), 0, lr=1e30)
