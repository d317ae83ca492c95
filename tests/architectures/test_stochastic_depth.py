"""Stochastic depth: what it draws, its mean, and when it does nothing."""

import pytest
import torch
from torch.testing import assert_close

from coursepkg.architectures.stochastic_depth import StochasticDepth


def test_each_image_is_kept_and_divided_or_dropped_as_a_whole():
    torch.manual_seed(0)
    output = StochasticDepth(0.75)(torch.ones(64, 3, 2, 2))
    factors = output[:, :1, :1, :1]
    assert torch.equal(output, factors.expand_as(output))
    assert set(factors.flatten().tolist()) == {0.0, 4.0}


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 3, 5, 4)])
@pytest.mark.parametrize("p", [0.2, 0.5, 1.0])
def test_the_draws_are_bernoulli_in_the_order_of_the_images(shape, p):
    torch.manual_seed(3)
    output = StochasticDepth(p)(torch.ones(shape))
    torch.manual_seed(3)
    kept = torch.empty(8, *[1] * (len(shape) - 1)).bernoulli_(1 - p)
    assert_close(output, (kept / (1 - p) if p < 1 else kept).expand(shape))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_mean_over_draws_is_the_input(p):
    torch.manual_seed(0)
    n = 20000
    mean = StochasticDepth(p)(torch.ones(n, 1, dtype=torch.float64)).mean()
    standard_error = (p / (1 - p) / n) ** 0.5
    assert abs(mean - 1) < 4 * standard_error


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True), (1.0, False)])
def test_without_dropping_nothing_is_changed_or_drawn(p, training):
    input, block = torch.rand(4, 2), StochasticDepth(p).train(training)
    state = torch.get_rng_state()
    assert block(input) is input
    assert torch.equal(torch.get_rng_state(), state)


def test_the_gradient_reaches_only_the_images_that_were_kept():
    torch.manual_seed(0)
    input = torch.ones(16, 3, dtype=torch.float64, requires_grad=True)
    output = StochasticDepth(0.5)(input)
    output.sum().backward()
    assert torch.equal(input.grad, output.detach())
    assert 0 < (input.grad[:, 0] == 0).sum() < 16


def test_it_shows_its_probability_and_refuses_what_is_none():
    assert str(StochasticDepth(0.25)) == "StochasticDepth(p=0.25)"
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"p=.* is no probability; use a number from 0 to 1"):
            StochasticDepth(p)
