"""Dropout: what it keeps, how often, and that the mean stays."""

import numpy as np
import pytest

from coursepkg.convolution.dropout import dropout, dropout_backward
from coursepkg.testing import assert_close, assert_gradient


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0, 0.1, 0.5, 0.9])
def test_elements_are_dropped_or_enlarged(rng, p, dtype):
    x = rng.standard_normal((40, 50)).astype(dtype)
    output, mask = dropout(x, p, rng)
    assert_close(output, x * mask)
    assert output.dtype == mask.dtype == dtype
    assert_close(np.unique(mask), np.unique([0, 1 / (1 - p)] if p else [1]).astype(dtype))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_share_and_the_mean_are_right(rng, p):
    n = 100_000
    output, mask = dropout(np.full(n, 3.0), p, rng)
    spread = np.sqrt(p * (1 - p) / n)  # of the share that is dropped
    assert abs(np.mean(mask == 0) - p) < 5 * spread
    assert abs(output.mean() - 3) < 5 * 3 * spread / (1 - p)


def test_neighbours_are_dropped_independently(rng):
    _, mask = dropout(np.ones((1000, 200)), 0.5, rng)
    rows, columns = mask[1:] * mask[:-1], mask[:, 1:] * mask[:, :-1]
    assert abs(rows.mean() - 1) < 0.05
    assert abs(columns.mean() - 1) < 0.05


def test_equal_seeds_drop_equally_and_calls_differ():
    x = np.ones((5, 50))
    one, two = (np.random.default_rng(7) for _ in range(2))
    first = dropout(x, 0.5, one)
    assert_close(first, dropout(x, 0.5, two))
    assert (dropout(x, 0.5, one)[1] != first[1]).any()


def test_nothing_dropped_is_the_input(rng):
    x = rng.standard_normal((3, 4))
    assert_close(dropout(x, 0, rng), (x, np.ones_like(x)))


def test_backward_is_that_of_central_differences_under_one_mask(rng):
    x, factors = rng.standard_normal((2, 4, 5))
    _, mask = dropout(x, 0.4, np.random.default_rng(3))

    def loss(v):
        return float(np.sum(factors * dropout(v, 0.4, np.random.default_rng(3))[0]))

    assert_gradient(loss, x, dropout_backward(factors, mask))


def test_an_empty_batch_stays_empty(rng):
    output, mask = dropout(np.zeros((0, 3)), 0.5, rng)
    assert output.shape == mask.shape == dropout_backward(output, mask).shape == (0, 3)


def test_arguments_are_left_alone(rng):
    x, grad = np.ones(50), np.ones(50)
    _, mask = dropout(x, 0.5, rng)
    kept = mask.copy()
    dropout_backward(grad, mask)
    assert_close([x, grad, mask], [np.ones(50), np.ones(50), kept])


@pytest.mark.parametrize("p", [-0.1, 1, 1.0, 2, float("nan"), np.inf])
def test_a_p_that_is_no_share_is_refused(rng, p):
    with pytest.raises(ValueError, match=f"p={p} is out of range; use 0 <= p < 1"):
        dropout(np.ones(3), p, rng)


def test_integers_and_lists_are_refused(rng):
    with pytest.raises(ValueError, match="input has dtype int64"):
        dropout(np.array([1, 2]), 0.5, rng)
    with pytest.raises(ValueError, match="mask is a list"):
        dropout_backward(np.ones(2), [1.0, 1.0])


@pytest.mark.parametrize("grad", [np.ones((2, 1)), np.ones(2, np.float32)])
def test_a_gradient_that_does_not_fit_is_refused(grad):
    with pytest.raises(
        ValueError, match=r"^grad (is float32|.*; pass the gradient with respect to the output$)"
    ):
        dropout_backward(grad, np.ones(2))


@pytest.mark.parametrize("p", ["0.5", None, True, [0.5]])
def test_a_p_that_is_no_number_is_refused(rng, p):
    with pytest.raises(ValueError, match=r"^p=.* is no number; use 0 <= p < 1$"):
        dropout(np.ones(3), p, rng)


def test_a_seed_is_no_generator():
    message = r"^rng=0 is no generator; pass np\.random\.default_rng\(seed\)$"
    with pytest.raises(ValueError, match=message):
        dropout(np.ones(3), 0.5, 0)


def test_half_is_dropped_unless_told_with_numbers_of_its_own():
    x = np.ones(200)
    assert set(dropout(x)[1]) == {0.0, 2.0}
    assert (dropout(x)[1] != dropout(x)[1]).any()  # equal once in 2**200
    assert_close(
        dropout(x, rng=np.random.default_rng(3)), dropout(x, 0.5, np.random.default_rng(3))
    )
    assert dropout(x.astype(np.float32), np.float64(0.5))[0].dtype == np.float32
