"""Batch norm and local response normalisation against PyTorch and their definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coursepkg.convolution.normalization import (
    batch_norm,
    batch_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from coursepkg.testing import assert_close, assert_gradient

SHAPES = [(4, 3), (3, 2, 5, 4), (2, 1, 3, 3), (1, 3, 2, 5), (2, 3, 4)]


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def arguments(rng, shape, dtype="float64"):
    """Return input, running_mean, running_var, weight, bias and a gradient for the output."""
    c = shape[1]
    values = (
        rng.standard_normal(shape) * rng.uniform(1, 3) + rng.standard_normal(),
        rng.standard_normal(c),
        rng.uniform(0.5, 2, c),
        rng.standard_normal(c),
        rng.standard_normal(c),
        rng.standard_normal(shape),
    )
    return [v.astype(dtype) for v in values]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 0.1}], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_is_pytorchs(rng, shape, options, training, dtype):
    x, mean, var, w, b, grad = arguments(rng, shape, dtype)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    running = torch.tensor(mean), torch.tensor(var)
    y = F.batch_norm(tensors[0], *running, *tensors[1:], training=training, **options)
    y.backward(torch.tensor(grad))
    got = batch_norm(x, mean, var, w, b, training, **options)
    assert_close(got, (y.detach().numpy(), *(t.numpy() for t in running)), "forward")
    options.pop("momentum", None)
    back = batch_norm_backward(grad, x, mean, var, w, training, **options)
    assert_close(back, tuple(t.grad.numpy() for t in tensors), "gradients")


@pytest.mark.parametrize("training", [False, True])
def test_without_weight_and_bias_they_are_one_and_zero(rng, training):
    x, mean, var, _, _, grad = arguments(rng, (3, 2, 5, 4))
    one, zero = np.ones(2), np.zeros(2)
    assert_close(
        batch_norm(x, mean, var, training=training), batch_norm(x, mean, var, one, zero, training)
    )
    assert_close(
        batch_norm_backward(grad, x, mean, var, training=training),
        batch_norm_backward(grad, x, mean, var, one, training),
    )


def test_while_training_nothing_need_be_kept(rng):
    x, mean, var, w, b, grad = arguments(rng, (3, 2, 5, 4))
    output, *running = batch_norm(x, None, None, w, b, training=True)
    assert running == [None, None]
    assert_close(output, batch_norm(x, mean, var, w, b, training=True)[0])
    assert_close(
        batch_norm_backward(grad, x, None, None, w, training=True),
        batch_norm_backward(grad, x, mean, var, w, training=True),
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3, 2)], ids=str)
def test_batch_norm_gradients_are_those_of_central_differences(rng, shape, training):
    x, mean, var, w, b, factors = arguments(rng, shape)

    def loss(x=x, w=w, b=b):
        return float(np.sum(factors * batch_norm(x, mean, var, w, b, training)[0]))

    grads = batch_norm_backward(factors, x, mean, var, w, training)
    assert_gradient(lambda v: loss(x=v), x, grads[0], "grad_input")
    assert_gradient(lambda v: loss(w=v), w, grads[1], "grad_weight")
    assert_gradient(lambda v: loss(b=v), b, grads[2], "grad_bias")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_channel_leaves_with_mean_zero_and_variance_one(rng, shape):
    x = arguments(rng, shape)[0]
    output, _, _ = batch_norm(x, None, None, training=True, eps=0)
    axes = (0, *range(2, len(shape)))
    assert_close(output.mean(axes), np.zeros(shape[1]), atol=1e-12)
    assert_close(output.var(axes), np.ones(shape[1]))


def test_scale_and_shift_of_the_input_are_forgotten(rng):
    x, _, _, w, b, grad = arguments(rng, (3, 2, 5, 4))
    factor, shift = np.array([3.0, 0.1]).reshape(2, 1, 1), np.array([-5.0, 7.0]).reshape(2, 1, 1)
    plain = batch_norm(x, None, None, w, b, training=True, eps=0)
    assert_close(batch_norm(factor * x + shift, None, None, w, b, training=True, eps=0), plain)
    back, _, _ = batch_norm_backward(grad, x, None, None, w, training=True, eps=0)
    assert np.abs(back.sum(axis=(0, 2, 3))).max() < 1e-12  # moving all values alike does nothing
    assert np.abs((back * x).sum(axis=(0, 2, 3))).max() < 1e-12  # nor does stretching them


def test_running_statistics_by_hand():
    x = np.array([[1.0], [3.0], [8.0]])  # mean 4, variance 26/3, or 13 divided by m - 1
    _, mean, var = batch_norm(x, np.array([2.0]), np.array([5.0]), training=True, momentum=0.25)
    assert_close((mean, var), (np.array([2.5]), np.array([7.0])))


def test_running_statistics_approach_those_of_the_data(rng):
    mean, var = np.zeros(2), np.ones(2)
    for _ in range(500):
        x = rng.standard_normal((50, 2)) * np.array([3.0, 0.5]) + np.array([10.0, -1.0])
        _, mean, var = batch_norm(x, mean, var, training=True)
    assert_close(mean, np.array([10.0, -1.0]), rtol=0.05)
    assert_close(var, np.array([9.0, 0.25]), rtol=0.05)


def test_after_training_an_image_does_not_depend_on_its_batch(rng):
    x, mean, var, w, b, _ = arguments(rng, (3, 2, 5, 4))
    whole, same_mean, same_var = batch_norm(x, mean, var, w, b)
    assert same_mean is mean
    assert same_var is var
    for i in range(3):
        assert_close(batch_norm(x[i : i + 1], mean, var, w, b)[0], whole[i : i + 1])


def test_batch_norm_leaves_its_arguments_alone(rng):
    given = arguments(rng, (3, 2, 5, 4))
    before = [a.copy() for a in given]
    for training in (False, True):
        batch_norm(*given[:5], training)
        batch_norm_backward(given[5], *given[:4], training)
    assert_close(given, before)


def test_an_empty_batch_is_normalised_by_running_statistics():
    x, mean, var = np.zeros((0, 2, 3, 3)), np.zeros(2), np.ones(2)
    assert batch_norm(x, mean, var)[0].shape == x.shape
    assert batch_norm_backward(x, x, mean, var)[0].shape == x.shape


@pytest.mark.parametrize("shape", [(1, 2), (1, 2, 1, 1), (0, 2, 3, 3), (3, 2, 0, 4)])
def test_a_variance_of_one_value_is_refused(shape):
    x = np.zeros(shape)
    with pytest.raises(ValueError, match="at least two values per channel"):
        batch_norm(x, np.zeros(2), np.ones(2), training=True)
    with pytest.raises(ValueError, match="at least two values per channel"):
        batch_norm_backward(x, x, None, None, training=True)


def test_two_values_are_enough():
    assert_close(batch_norm(np.array([[1.0], [3.0]]), None, None, training=True, eps=0)[0],
                 np.array([[-1.0], [1.0]]))  # fmt: skip


def test_running_statistics_are_needed_after_training():
    with pytest.raises(
        ValueError, match=r"running_mean and running_var are needed; .*training=True"
    ):
        batch_norm(np.zeros((3, 2)), None, None)
    with pytest.raises(ValueError, match="running_mean and running_var are needed"):
        batch_norm_backward(np.zeros((3, 2)), np.zeros((3, 2)), None, None)


BAD_VECTORS = [np.zeros(3), np.zeros((1, 2)), np.zeros(2, np.float32), [0.0, 0.0]]


@pytest.mark.parametrize("wrong", BAD_VECTORS)
@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_vectors_that_do_not_fit_are_refused(name, wrong):
    vectors = {"running_mean": np.zeros(2), "running_var": np.ones(2)} | {name: wrong}
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match=rf"^{name} (is .*|.*; pass one number per channel$)"):
        batch_norm(x, **vectors)
    if name != "bias":
        with pytest.raises(ValueError, match=rf"^{name} (is .*|.*; pass one number per channel$)"):
            batch_norm_backward(x, x, **vectors)


def test_inputs_and_gradients_that_do_not_fit_batch_norm_are_refused():
    mean, var, x = np.zeros(2), np.ones(2), np.zeros((3, 2))
    for wrong, sentence in [(np.zeros(3), "at least 2 axes"), (np.zeros((3, 2), int), "int64")]:
        with pytest.raises(ValueError, match=sentence):
            batch_norm(wrong, mean, var)
    for wrong in (np.zeros((2, 3)), np.zeros((3, 2), np.float32)):
        with pytest.raises(
            ValueError,
            match=r"^grad (is float32|.*; pass the gradient with respect to the output$)",
        ):
            batch_norm_backward(wrong, x, mean, var)


def test_settings_that_are_numpy_numbers_leave_the_dtype_alone(rng):
    x, mean, var, w, b, grad = arguments(rng, (3, 2, 5, 4), "float32")
    settings = {"eps": np.float64(1e-5)}
    forward = batch_norm(x, mean, var, w, b, True, momentum=np.float64(0.1), **settings)
    back = batch_norm_backward(grad, x, mean, var, w, True, **settings)
    lrn = {"alpha": np.float64(0.5), "beta": np.float64(0.7), "k": np.float64(2)}
    normalised = local_response_norm(x, 3, **lrn), local_response_norm_backward(grad, x, 3, **lrn)
    assert {a.dtype.name for a in (*forward, *back, *normalised)} == {"float32"}
    assert_close(forward, batch_norm(x, mean, var, w, b, True))
    assert_close(back, batch_norm_backward(grad, x, mean, var, w, True))
    assert_close(normalised[0], local_response_norm(x, 3, 0.5, 0.7, 2.0))


@pytest.mark.parametrize("running", [(np.zeros(2), None), (None, np.ones(2))])
def test_running_statistics_come_together_or_not_at_all(running):
    x = np.arange(6.0).reshape(3, 2)
    message = r"^running_(mean|var) is None but running_(var|mean) is not; pass both or neither$"
    with pytest.raises(ValueError, match=message):
        batch_norm(x, *running, training=True)
    with pytest.raises(ValueError, match=message):
        batch_norm_backward(x, x, *running, training=True)


@pytest.mark.parametrize("eps", [-2, -1e-9, np.nan, np.inf, None, "1e-5", True, np.ones(2)])
def test_an_eps_that_keeps_no_root_away_from_0_is_refused(eps):
    x, message = np.arange(6.0).reshape(3, 2), "^eps=.*; use a number of at least 0, such as 1e-5$"
    with pytest.raises(ValueError, match=message):
        batch_norm(x, None, None, training=True, eps=eps)
    with pytest.raises(ValueError, match=message):
        batch_norm_backward(x, x, None, None, training=True, eps=eps)


@pytest.mark.parametrize("momentum", [None, "0.1", -0.1, 1.1, np.nan, True])
def test_a_momentum_that_is_no_share_is_refused(momentum):
    x = np.arange(6.0).reshape(3, 2)
    with pytest.raises(ValueError, match=r"^momentum=.*; use a number from 0 to 1, such as 0\.1$"):
        batch_norm(x, np.zeros(2), np.ones(2), training=True, momentum=momentum)


@pytest.mark.parametrize("name", ["alpha", "beta", "k"])
@pytest.mark.parametrize("value", [None, "1", np.nan, np.inf, np.ones(2)])
def test_constants_of_local_response_norm_are_numbers(name, value):
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=f"^{name}=.*; use a finite number"):
        local_response_norm(x, 3, **{name: value})
    with pytest.raises(ValueError, match=f"^{name}=.*; use a finite number"):
        local_response_norm_backward(x, x, 3, **{name: value})


@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_a_channel_far_from_0_keeps_its_digits(rng, offset):
    x = (offset + rng.standard_normal((8, 2, 20, 20))).astype(np.float32)
    grad, w = rng.standard_normal(x.shape).astype(np.float32), np.ones(2, np.float32)
    exact = x.astype(np.float64), w.astype(np.float64)
    got = batch_norm(x, 0 * w, w, training=True)
    expected = batch_norm(exact[0], 0 * exact[1], exact[1], training=True)
    assert_close(got, tuple(a.astype(np.float32) for a in expected), rtol=1e-6, atol=1e-6)
    back = batch_norm_backward(grad, x, None, None, w, training=True)
    exact_back = batch_norm_backward(
        grad.astype(np.float64), exact[0], None, None, exact[1], training=True
    )
    assert_close(back, tuple(a.astype(np.float32) for a in exact_back), rtol=1e-5, atol=1e-4)


LRN = [
    {"size": 5},
    {"size": 1, "alpha": 0.5},
    {"size": 2, "alpha": 0.5, "beta": 0.5, "k": 2.0},
    {"size": 3, "alpha": 1.0, "beta": 1.5, "k": 0.5},
    {"size": 4, "alpha": 2.0},
    {"size": 9, "alpha": 2.0},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", LRN, ids=str)
@pytest.mark.parametrize("shape", [(2, 6, 3, 5), (3, 1, 2, 2), (0, 4, 3, 3), (2, 7, 4)], ids=str)
def test_local_response_norm_is_pytorchs(rng, shape, settings, dtype):
    x, grad = (3 * rng.standard_normal((2, *shape))).astype(dtype)
    tensor = torch.tensor(x, requires_grad=True)
    y = F.local_response_norm(tensor, **settings)
    y.backward(torch.tensor(grad))
    assert_close(local_response_norm(x, **settings), y.detach().numpy(), "output")
    assert_close(local_response_norm_backward(grad, x, **settings), tensor.grad.numpy(), "gradient")


@pytest.mark.parametrize("settings", LRN, ids=str)
def test_local_response_gradients_are_those_of_central_differences(rng, settings):
    x, factors = rng.standard_normal((2, 2, 5, 2, 2))
    got = local_response_norm_backward(factors, x, **settings)
    assert_gradient(lambda v: float(np.sum(factors * local_response_norm(v, **settings))), x, got)


def test_local_response_norm_is_the_papers_formula(rng):
    n, alpha, beta, k = 5, 1e-4, 0.75, 2  # section 3.3 of AlexNet
    a = 50 * rng.standard_normal((2, 8, 3, 3))
    b = np.empty_like(a)
    for i in range(8):
        neighbours = range(max(0, i - n // 2), min(8 - 1, i + n // 2) + 1)
        b[:, i] = a[:, i] / (k + alpha * sum(a[:, j] ** 2 for j in neighbours)) ** beta
    assert_close(local_response_norm(a, n, n * alpha, beta, k), b)


def test_local_response_norm_leaves_its_arguments_alone(rng):
    x, grad = rng.standard_normal((2, 2, 5))
    before = [x.copy(), grad.copy()]
    local_response_norm(x, 3)
    local_response_norm_backward(grad, x, 3)
    assert_close([x, grad], before)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None])
def test_sizes_that_are_none_are_refused(size):
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"^size="):
        local_response_norm(x, size)
    with pytest.raises(ValueError, match=r"^size="):
        local_response_norm_backward(x, x, size)


def test_inputs_and_gradients_that_do_not_fit_local_response_norm_are_refused():
    x = np.zeros((2, 3))
    for wrong, sentence in [(np.zeros(3), "at least 2 axes"), (np.zeros((2, 3), int), "int64")]:
        with pytest.raises(ValueError, match=sentence):
            local_response_norm(wrong, 3)
    for wrong in (np.zeros((3, 2)), np.zeros((2, 3), np.float32)):
        with pytest.raises(
            ValueError,
            match=r"^grad (is float32|.*; pass the gradient with respect to the output$)",
        ):
            local_response_norm_backward(wrong, x, 3)
