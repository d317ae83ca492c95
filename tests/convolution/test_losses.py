"""Softmax and cross-entropy against PyTorch, central differences, and at logits of ±1e4."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution.losses import (
    cross_entropy,
    cross_entropy_backward,
    log_softmax,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
)
from coursepkg.testing import assert_close, assert_gradient

SHAPES = [((3, 5), 1), ((1, 1), 1), ((4, 3, 5, 2), 1), ((4, 3), 0), ((2, 3, 4), -1), ((0, 5), 1)]
HUGE = np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4 + 1, -1e4]])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
def test_softmax_is_pytorchs_forward_and_backward(rng, shape, dim, dtype):
    z, grad = (3 * rng.standard_normal((2, *shape))).astype(dtype)
    tensor = torch.tensor(z, requires_grad=True)
    expected = torch.softmax(tensor, dim=dim)
    expected.backward(torch.tensor(grad))
    output = softmax(z, dim=dim)
    assert_close(output, expected.detach().numpy(), "output")
    assert_close(softmax_backward(grad, output, dim=dim), tensor.grad.numpy(), "gradient")
    assert_close(
        log_softmax(z, dim=dim), torch.log_softmax(tensor.detach(), dim=dim).numpy(), "logarithm"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 5), (7, 2), (1, 10), (4, 1)], ids=str)
def test_cross_entropy_is_pytorchs_forward_and_backward(rng, shape, dtype):
    z, target = (
        (4 * rng.standard_normal(shape)).astype(dtype),
        rng.integers(shape[1], size=shape[0]),
    )
    tensor = torch.tensor(z, requires_grad=True)
    expected = F.cross_entropy(tensor, torch.tensor(target))
    expected.backward()
    rtol = 1e-5 if dtype == "float32" else 1e-12
    assert_close(cross_entropy(z, target), expected.item(), rtol=rtol)
    assert_close(cross_entropy_backward(z, target), tensor.grad.numpy(), "gradient")


def test_gradients_are_those_of_central_differences(rng):
    z, factors = rng.standard_normal((2, 4, 3))
    target = np.array([2, 0, 1, 1])
    got = softmax_backward(factors, softmax(z))
    assert_gradient(lambda v: float(np.sum(factors * softmax(v))), z, got)
    assert_gradient(lambda v: cross_entropy(v, target), z, cross_entropy_backward(z, target))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("answer", [0, 1, 2])
def test_huge_logits_overflow_nowhere(answer, dtype):
    z, target = HUGE.astype(dtype), np.full(4, answer)
    tensor = torch.tensor(z, requires_grad=True)
    loss = F.cross_entropy(tensor, torch.tensor(target))
    loss.backward()
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert_close(cross_entropy(z, target), loss.item(), rtol=1e-6)
        assert_close(cross_entropy_backward(z, target), tensor.grad.numpy())
        assert_close(softmax(z), torch.softmax(tensor, 1).detach().numpy())


def test_huge_logits_by_hand():
    assert_close(softmax(HUGE), np.array([[1, 0, 0], [0, 0, 1], [1 / 3] * 3,
                                          np.array([1, np.e, 1]) / (2 + np.e)]))  # fmt: skip
    assert cross_entropy(HUGE[:1], np.array([1])) == 2e4
    assert cross_entropy(HUGE[:1], np.array([0])) == 0
    assert_close(cross_entropy_backward(HUGE[:1], np.array([1])), np.array([[1.0, -1.0, 0.0]]))


logits = st.lists(st.floats(-50, 50), min_size=2, max_size=6).map(lambda v: np.array([v]))


@given(logits, st.floats(-1000, 1000))
def test_adding_one_number_to_all_logits_changes_nothing(z, shift):
    assert_close(softmax(z + shift), softmax(z), rtol=1e-9)
    target = np.array([1])
    assert_close(cross_entropy(z + shift, target), cross_entropy(z, target), rtol=1e-9, atol=1e-9)


@given(logits)
def test_probabilities_sum_to_one_and_gradients_to_zero(z):
    assert_close(softmax(z).sum(axis=1), np.ones(1))
    assert np.all(softmax(z) > 0)
    assert abs(cross_entropy_backward(z, np.array([0])).sum()) < 1e-12
    assert abs(softmax_backward(z, softmax(z)).sum()) < 1e-10
    assert_close(np.exp(log_softmax(z)), softmax(z))


@given(logits)
def test_the_gradient_is_that_of_the_logarithm_through_softmax(z):
    target, p = np.array([1]), softmax(z)
    if p[0, 1] > 1e-5:  # below, 1/p magnifies the rounding of p
        grad = np.zeros_like(z)
        grad[0, 1] = -1 / p[0, 1]
        assert_close(cross_entropy_backward(z, target), softmax_backward(grad, p), atol=1e-9)


def test_equal_logits_are_as_surprising_as_a_die(rng):
    assert_close(cross_entropy(np.zeros((3, 6)), np.array([0, 3, 5])), float(np.log(6)))


def test_the_mean_is_over_images(rng):
    z, target = rng.standard_normal((4, 3)), np.array([2, 0, 1, 1])
    each = [cross_entropy(z[i : i + 1], target[i : i + 1]) for i in range(4)]
    assert_close(cross_entropy(z, target), float(np.mean(each)))
    grads = [cross_entropy_backward(z[i : i + 1], target[i : i + 1]) for i in range(4)]
    assert_close(cross_entropy_backward(z, target), np.concatenate(grads) / 4)


def test_arguments_are_left_alone(rng):
    z, target = rng.standard_normal((4, 3)), np.array([2, 0, 1, 1])
    given = [z, target, softmax(z)]
    before = [a.copy() for a in given]
    cross_entropy(z, target)
    cross_entropy_backward(z, target)
    log_softmax(z)
    softmax_backward(z, given[2])
    assert_close(given, before)


def test_of_no_images_there_is_a_gradient_but_no_mean():
    empty, none = np.zeros((0, 3)), np.zeros(0, np.int64)
    assert cross_entropy_backward(empty, none).shape == (0, 3)
    with pytest.raises(ValueError, match="a mean needs at least one image"):
        cross_entropy(empty, none)


TARGETS = [
    (np.array([0, 3]), "target=3 is no class of 3; use 0 to 2"),
    (np.array([-1, 0]), "target=-1 is no class of 3"),
    (np.array([0]), r"; pass the number of the right class for each row of input$"),
    (np.eye(3, dtype=np.int64)[:2], r"target has shape \(2, 3\)"),
    (np.array([0.0, 1.0]), "target is float64 where int64"),
    (np.array([0, 1], np.uint8), "target is uint8 where int64"),
    ([0, 1], "target is a list"),
]


@pytest.mark.parametrize(("target", "sentence"), TARGETS)
@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_backward])
def test_targets_that_do_not_fit_are_refused(function, target, sentence):
    with pytest.raises(ValueError, match=sentence):
        function(np.zeros((2, 3)), target)


@pytest.mark.parametrize(
    ("z", "sentence"),
    [
        (np.zeros(3), r"input has shape \(3,\); pass logits with the axes \(N, K\)"),
        (np.zeros((2, 3, 1)), r"input has shape \(2, 3, 1\); pass logits"),
        (np.zeros((2, 3), np.int64), "input has dtype int64"),
        ([[0.0]], "input is a list"),
    ],
)
@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_backward])
def test_logits_that_do_not_fit_are_refused(function, z, sentence):
    with pytest.raises(ValueError, match=sentence):
        function(z, np.array([0, 0]))


@pytest.mark.parametrize("function", [softmax, log_softmax])
@pytest.mark.parametrize(
    ("z", "dim", "sentence"),
    [
        (np.zeros(3), 1, "dim=1 is none of input"),
        (np.zeros((2, 3)), 2, "dim=2 is none"),
        (np.zeros((2, 3)), -3, "dim=-3 is none"),
        (np.zeros((2, 0)), 1, r"input has shape \(2, 0\); dim=1 needs at least one class"),
        (np.zeros((2, 3), np.int64), 1, "input has dtype int64"),
    ],
)
def test_axes_without_classes_are_refused(function, z, dim, sentence):
    with pytest.raises(ValueError, match=sentence):
        function(z, dim)


def test_gradients_that_do_not_fit_softmax_are_refused():
    p = np.full((2, 4), 0.25)
    with pytest.raises(
        ValueError, match=r"grad has shape .*; pass the gradient with respect to this output$"
    ):
        softmax_backward(np.zeros((4, 2)), p)
    with pytest.raises(ValueError, match="grad is float32"):
        softmax_backward(np.zeros((2, 4), np.float32), p)
    with pytest.raises(ValueError, match="dim=2 is none of output"):
        softmax_backward(np.zeros((2, 4)), p, 2)


def test_loss_and_gradient_come_together(rng):
    z, target = rng.standard_normal((4, 3)), np.array([2, 0, 1, 1])
    both = (cross_entropy(z, target), cross_entropy_backward(z, target))
    assert_close(softmax_cross_entropy(z, target), both)
    with pytest.raises(ValueError, match="target=3 is no class of 3"):
        softmax_cross_entropy(z, target + 1)
