"""Activations against PyTorch, central differences, and the laws that they obey."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution import activations
from coursepkg.convolution.activations import relu, relu_backward, sigmoid, tanh
from coursepkg.testing import assert_close, assert_gradient

NAMES = ["relu", "sigmoid", "tanh"]
SHAPES = [(7,), (3, 5), (2, 3, 5, 4), (0, 3, 5, 4), ()]


@pytest.fixture(params=NAMES)
def pair(request):
    name = request.param
    return getattr(activations, name), getattr(activations, f"{name}_backward")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_backward_are_pytorchs(name, shape, dtype):
    rng = np.random.default_rng(1)
    x, grad = (np.asarray(4 * rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch, name)(tensor)
    expected.backward(torch.tensor(grad))
    output = getattr(activations, name)(x)
    assert isinstance(output, np.ndarray)
    assert_close(output, expected.detach().numpy(), "output")
    got = getattr(activations, f"{name}_backward")(grad, output)
    assert isinstance(got, np.ndarray)
    assert_close(got, tensor.grad.numpy(), "gradient")


def test_gradients_are_those_of_central_differences(pair):
    forward, backward = pair
    rng = np.random.default_rng(2)
    x = rng.choice([-1, 1], (3, 4)) * rng.uniform(0.1, 2, (3, 4))  # clear of ReLU's corner
    factors = rng.standard_normal(x.shape)
    got = backward(factors, forward(x))
    assert_gradient(lambda v: float(np.sum(factors * forward(v))), x, got)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_very_large_numbers_overflow_nowhere(dtype):
    x = np.array([-1e30, -1e4, -800, -100, 0, 100, 800, 1e4, 1e30], dtype)
    ones = np.ones_like(x)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for name in ("sigmoid", "tanh"):
            tensor = torch.tensor(x, requires_grad=True)
            expected = getattr(torch, name)(tensor)
            expected.sum().backward()
            output = getattr(activations, name)(x)
            assert_close(output, expected.detach().numpy())
            assert_close(
                getattr(activations, f"{name}_backward")(ones, output), tensor.grad.numpy()
            )


def test_a_small_sigmoid_keeps_its_digits():
    x = np.array([-30.0, -50.0, -700.0])
    assert np.max(np.abs(sigmoid(x) / np.exp(x) - 1)) < 1e-12


numbers = st.floats(-30, 30)


@given(numbers)
def test_sigmoid_is_symmetric_and_is_tanh_stretched(x):
    x = np.array([x])
    assert_close(sigmoid(x) + sigmoid(-x), np.ones(1))
    assert_close(tanh(x), 2 * sigmoid(2 * x) - 1, atol=1e-15)
    assert 0 < sigmoid(x)[0] < 1


@given(numbers, st.floats(0, 10))
def test_relu_scales_with_its_input_and_changes_nothing_twice(x, factor):
    x = np.array([x])
    assert_close(relu(factor * x), factor * relu(x))
    assert_close(relu(relu(x)), relu(x))
    assert_close(relu(x) - relu(-x), x)


def test_relu_passes_nothing_at_its_corner():
    assert_close(relu_backward(np.ones(3), relu(np.array([-1.0, 0.0, 1.0]))), np.array([0.0, 0, 1]))


def test_what_relu_blocks_is_zero_even_of_an_infinite_gradient():
    assert_close(
        relu_backward(np.array([np.inf, np.inf]), np.array([0.0, 1])), np.array([0, np.inf])
    )


def test_nan_stays_nan(pair):
    forward, _ = pair
    assert np.isnan(forward(np.array([np.nan]))).all()


def test_arguments_are_left_alone(pair):
    forward, backward = pair
    x, grad = np.array([-1.0, 2.0]), np.array([3.0, 4.0])
    output = forward(x)
    kept = output.copy()
    backward(grad, output)
    assert_close([x, grad, output], [np.array([-1.0, 2.0]), np.array([3.0, 4.0]), kept])


def test_integers_and_lists_are_refused(pair):
    forward, backward = pair
    for wrong, sentence in [
        (np.array([1, 2]), "input has dtype int64"),
        ([1.0], "input is a list"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            forward(wrong)
    with pytest.raises(ValueError, match="output has dtype int64"):
        backward(np.array([1, 2]), np.array([1, 2]))


def test_a_gradient_that_does_not_fit_is_refused(pair):
    _, backward = pair
    output = np.zeros((2, 3))
    with pytest.raises(
        ValueError,
        match=r"^grad has shape \(3,\) .*; pass the gradient with respect to this output$",
    ):
        backward(np.zeros(3), output)
    with pytest.raises(ValueError, match="grad is float32 where float64"):
        backward(np.zeros((2, 3), np.float32), output)
