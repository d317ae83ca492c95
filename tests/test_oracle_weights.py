"""Weights that both libraries make for themselves must be the same, and not too simple."""

import math

import pytest
import torch
from oracle_weights import GAIN, PERIOD, fill, images

NORMALIZATION = {
    "bn.weight": torch.empty(999),
    "bn.bias": torch.empty(999),
    "bn.running_mean": torch.empty(999),
    "bn.running_var": torch.empty(999),
    "bn.num_batches_tracked": torch.tensor(7),
}


def test_values_follow_from_name_and_shape_alone():
    one = fill({"a.weight": torch.zeros(4, 3), "b.weight": torch.zeros(4, 3)})
    other = fill({"b.weight": torch.ones(4, 3, device="meta"), "c": torch.ones(2)})
    assert torch.equal(one["b.weight"], other["b.weight"])
    assert not torch.equal(one["a.weight"], one["b.weight"])
    assert list(other) == ["b.weight", "c"]


def test_values_are_those_of_the_stored_records():
    """A generator that changed would make every record false; say so here."""
    expected = torch.tensor([1.1005, 0.3145, -1.0056])
    torch.testing.assert_close(fill({"w": torch.empty(3, 3)})["w"][0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 32), (64, 32, 5, 5)])
def test_weights_keep_the_scale_of_a_signal(shape):
    weight = fill({"w": torch.empty(shape)})["w"]
    assert weight.std() * math.sqrt(math.prod(shape[1:])) == pytest.approx(GAIN, rel=0.05)


def test_no_two_rows_of_a_large_matrix_are_alike():
    weight = fill({"w": torch.empty(300, 3000)})["w"]
    assert weight.numel() > 10 * PERIOD
    assert len(torch.unique(weight, dim=0)) == 300


def test_normalizations_are_nearly_the_identity():
    filled = fill(NORMALIZATION)
    ranges = {k.removeprefix("bn."): (float(v.min()), float(v.max())) for k, v in filled.items()}
    assert ranges == {
        "weight": pytest.approx((0.9, 1.1), abs=0.001),
        "bias": pytest.approx((-0.1, 0.1), abs=0.001),
        "running_mean": pytest.approx((-0.1, 0.1), abs=0.001),
        "running_var": pytest.approx((0.5, 1.5), abs=0.005),
        "num_batches_tracked": (0, 0),
    }
    assert filled["bn.num_batches_tracked"].dtype == torch.int64


def test_images_differ_by_name_and_from_each_other():
    pair = images("a", (2, 3, 8, 8))
    assert not torch.equal(pair[0], pair[1])
    assert not torch.equal(pair, images("b", (2, 3, 8, 8)))
    assert torch.equal(pair, images("a", (2, 3, 8, 8)))
