"""First weights: their statistics against the papers' formulas, their bounds against PyTorch's."""

import numpy as np
import pytest
import torch

from coursepkg.convolution import init
from coursepkg.testing import assert_close

SHAPES = [(100, 400), (400, 100), (30, 20, 5, 3), (64, 8, 7), (20, 30, 3, 3, 5)]
NAMES = ["xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform"]


def rng(seed=0):
    return np.random.default_rng(seed)


def fans(shape):
    # by counting: an output sums all entries of its filter, an input meets one slice of all
    weight = np.ones(shape)
    return weight[0].size, weight[:, 0].size


@pytest.mark.parametrize("shape", SHAPES)
def test_fans_are_those_of_pytorch_and_of_counting(shape):
    got = init.fan_in_and_out(shape)
    assert got == fans(shape)
    assert got == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_mean_and_variance_are_the_formulas(name, shape):
    fan_in, fan_out = fans(shape)
    variance = 2 / (fan_in + fan_out) if "xavier" in name else 2 / fan_in
    weight = getattr(init, name)(shape, rng())
    # five standard errors; that of a variance is at most sqrt(2/n) of it
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert abs(weight.var() / variance - 1) < 5 * np.sqrt(2 / weight.size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_distribution_is_pytorchs(name, shape):
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(shape)).numpy().ravel()
    ours = getattr(init, name)(shape, rng()).ravel()
    shares = np.linspace(0.01, 0.99, 25)
    spread = theirs.std()
    got, expected = np.quantile(ours, shares), np.quantile(theirs, shares)
    assert np.abs(got - expected).max() < 0.12 * spread


@pytest.mark.parametrize("shape", SHAPES)
def test_uniform_weights_fill_their_interval_and_do_not_leave_it(shape):
    fan_in, fan_out = fans(shape)
    for name, bound in [
        ("xavier_uniform", np.sqrt(6 / (fan_in + fan_out))),
        ("kaiming_uniform", np.sqrt(6 / fan_in)),
    ]:
        weight = getattr(init, name)(shape, rng())
        assert 0.99 * bound < weight.max() <= bound
        assert -bound <= weight.min() < -0.99 * bound


def test_a_fixed_deviation():
    weight = init.normal((200, 300), 0.01, rng())
    assert abs(weight.mean()) < 5 * 0.01 / np.sqrt(weight.size)
    assert abs(weight.std() / 0.01 - 1) < 5 / np.sqrt(2 * weight.size)
    assert (init.normal((2, 3), 0.0, rng()) == 0).all()
    assert init.normal((4,), 1.0, rng()).shape == (4,)


@pytest.mark.parametrize("name", NAMES)
def test_float32_weights_are_the_rounded_float64_ones(name):
    draw = getattr(init, name)
    double, single = draw((3, 4), rng()), draw((3, 4), rng(), np.float32)
    assert double.dtype == np.float64
    assert_close(single, double.astype(np.float32), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_weights_and_others_give_others(name):
    draw = getattr(init, name)
    assert (draw((3, 4), rng(1)) == draw((3, 4), rng(1))).all()
    assert (draw((3, 4), rng(1)) != draw((3, 4), rng(2))).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3,), r"shape=\(3,\) has no fan; use \(out, in\)"),
        ((), "has no fan"),
        (3, "shape=3 is no tuple; use \\(out, in\\)"),
        ((3, 0), "shape=0 is too small"),
        ((3, 2.0), "shape=2.0 is not an integer"),
    ],
)
def test_shapes_without_fans_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        getattr(init, name)(shape, rng())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((-3,), "shape=-3 is too small"),
        ((2, 1.5), "shape=1.5 is not an"),
        (3, "shape=3 is no tuple"),
    ],
)
def test_shapes_of_no_array_are_refused(shape, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        init.normal(shape, 1.0, rng())


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_is_no_generator(name):
    message = r"^rng=0 is no generator; pass np\.random\.default_rng\(seed\)$"
    with pytest.raises(ValueError, match=message):
        getattr(init, name)((2, 2), 0)
    with pytest.raises(ValueError, match=message):
        init.normal((2, 2), 1.0, 0)


def test_a_deviation_is_a_number():
    with pytest.raises(ValueError, match=r"^std='1' is no number; use a finite number of at least"):
        init.normal((2, 2), "1", rng())


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf")])
def test_impossible_deviations_are_refused(std):
    with pytest.raises(ValueError, match=f"std={std} is out of range; use a finite"):
        init.normal((2, 2), std, rng())


@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes_are_refused(name):
    with pytest.raises(ValueError, match="dtype=int64 holds no weights; use float32"):
        getattr(init, name)((2, 2), rng(), np.int64)
    with pytest.raises(ValueError, match="dtype=float16 holds"):
        init.normal((2, 2), 1.0, rng(), np.float16)
