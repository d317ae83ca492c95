r"""One layer does what two did, for any input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coursepkg.architectures.merging import merge_linear
from coursepkg.testing import assert_close


@given(*[st.integers(1, 6)] * 3, st.integers(0, 1000))
def test_it_does_what_two_layers_of_pytorch_do(inputs, hidden, outputs, seed):
    torch.manual_seed(seed)
    first, second = nn.Linear(inputs, hidden).double(), nn.Linear(hidden, outputs).double()
    arrays = [p.detach().numpy() for layer in (first, second) for p in layer.parameters()]
    weight, bias = merge_linear(*arrays)
    x = torch.randn(4, inputs, dtype=torch.float64)
    assert_close(x.numpy() @ weight.T + bias, second(first(x)).detach().numpy(), rtol=1e-9)
    assert (weight.shape, bias.shape) == ((outputs, inputs), (outputs,))


def test_a_narrow_middle_keeps_the_rank_low():
    rng = np.random.default_rng(0)
    weight, _ = merge_linear(
        rng.normal(size=(2, 9)), np.zeros(2), rng.normal(size=(7, 2)), np.zeros(7)
    )
    assert weight.shape == (7, 9)
    assert np.linalg.matrix_rank(weight) == 2


def test_layers_that_do_not_fit_are_refused():
    message = (
        r"weight2 takes 4 numbers but weight1 gives 3; "
        r"pass the layers in the order in which they are used$"
    )
    with pytest.raises(ValueError, match=message):
        merge_linear(np.zeros((3, 2)), np.zeros(3), np.zeros((1, 4)), np.zeros(1))
