"""The affine layer against PyTorch, central differences and its adjoint."""

import numpy as np
import pytest
import torch

from coursepkg.convolution.linear import linear, linear_backward
from coursepkg.testing import assert_close, assert_gradient

SIZES = [(3, 5, 4), (1, 1, 1), (7, 2, 9), (0, 5, 4), (4, 1, 3)]  # N, in, out


def arrays(size, dtype="float64", seed=0):
    n, k, m = size
    rng = np.random.default_rng(seed)
    shapes = ((n, k), (m, k), (m,), (n, m))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_forward_and_backward_are_pytorchs(size, dtype):
    x, w, b, grad = arrays(size, dtype)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    expected = torch.nn.functional.linear(*tensors)
    expected.backward(torch.tensor(grad))
    assert_close(linear(x, w, b), expected.detach().numpy(), "output")
    got = linear_backward(grad, x, w)
    assert_close(got, tuple(t.grad.numpy() for t in tensors), "gradients")


def test_gradients_are_those_of_central_differences():
    x, w, b, factors = arrays((3, 5, 4))
    grads = linear_backward(factors, x, w)
    assert_gradient(lambda v: float(np.sum(factors * linear(v, w, b))), x, grads[0])
    assert_gradient(lambda v: float(np.sum(factors * linear(x, v, b))), w, grads[1])
    assert_gradient(lambda v: float(np.sum(factors * linear(x, w, v))), b, grads[2])


def test_backward_is_the_adjoint_exactly_in_whole_numbers():
    rng = np.random.default_rng(3)
    for _ in range(20):
        n, k, m = rng.integers(1, 6, 3)
        x, w, g = (rng.integers(-9, 10, shape) for shape in ((n, k), (m, k), (n, m)))
        grad_input, grad_weight, _ = linear_backward(g, x, w)
        assert np.sum(linear(x, w) * g) == np.sum(x * grad_input) == np.sum(w * grad_weight)


def test_without_bias_nothing_is_added():
    x, w, b, _ = arrays((3, 5, 4))
    assert_close(linear(x, w), linear(x, w, np.zeros_like(b)))
    assert_close(linear(x, w, b) - linear(x, w), np.tile(b, (3, 1)))


def test_two_in_a_row_are_one():
    x, w, b, _ = arrays((3, 5, 4))
    v, c = np.random.default_rng(1).standard_normal((2, 4)), np.ones(2)
    assert_close(linear(linear(x, w, b), v, c), linear(x, v @ w, v @ b + c))


def test_arguments_are_left_alone():
    given = arrays((3, 5, 4))
    before = [a.copy() for a in given]
    x, w, b, grad = given
    linear(x, w, b)
    linear_backward(grad, x, w)
    assert_close(given, before)


BAD = [
    ({"input": [[1.0]]}, "input is a list"),
    ({"input": np.zeros((3, 5, 1))}, r"input has shape .* the axes \(N, in_features\)$"),
    ({"weight": np.zeros(5)}, r"weight has shape .* the axes \(out_features, in_features\)$"),
    (
        {"weight": np.zeros((5, 4))},
        r"\(5, 5\) is needed; pass a row of in_features .* of input, for each output$",
    ),
    ({"weight": np.zeros((4, 5), np.float32)}, "weight is float32 where float64 is needed"),
    ({"input": np.zeros((3, 5), np.uint8)}, "input has dtype uint8"),
]


@pytest.mark.parametrize(("changed", "sentence"), BAD)
def test_what_does_not_fit_is_refused(changed, sentence):
    x, w, b, grad = arrays((3, 5, 4))
    good = {"input": x, "weight": w}
    with pytest.raises(ValueError, match=sentence):
        linear(**good | changed, bias=b)
    with pytest.raises(ValueError, match=sentence):
        linear_backward(grad, **good | changed)


@pytest.mark.parametrize(
    "bias", [np.zeros(5), np.zeros((1, 4)), np.zeros(4, np.float32), [0.0] * 4]
)
def test_a_bias_that_does_not_fit_is_refused(bias):
    x, w, _, _ = arrays((3, 5, 4))
    with pytest.raises(ValueError, match=r"^bias (is .*|.*; pass one number per row of weight$)"):
        linear(x, w, bias)


@pytest.mark.parametrize("grad", [np.zeros((3, 5)), np.zeros((4, 3)), np.zeros((3, 4), np.float32)])
def test_a_gradient_that_does_not_fit_is_refused(grad):
    x, w, _, _ = arrays((3, 5, 4))
    with pytest.raises(
        ValueError, match=r"^grad (is float32|.*; pass the gradient with respect to the output$)"
    ):
        linear_backward(grad, x, w)
