r"""The block against its equations in NumPy, its gradient, and the laws that follow from them."""

import numpy as np
import pytest
import torch
from torch import nn

from coursepkg.architectures.squeeze_excitation import SqueezeExcitation
from coursepkg.testing import assert_close


def maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def block():
    torch.manual_seed(3)
    return SqueezeExcitation(6, 2).double()


def test_the_block_is_its_equations(block):
    w1, b1 = block.fc1.weight.detach().numpy()[:, :, 0, 0], block.fc1.bias.detach().numpy()
    w2, b2 = block.fc2.weight.detach().numpy()[:, :, 0, 0], block.fc2.bias.detach().numpy()
    x = maps(3, 6, 4, 5).numpy()
    z = x.mean(axis=(2, 3))
    s = 1 / (1 + np.exp(-(np.maximum(z @ w1.T + b1, 0) @ w2.T + b2)))
    assert_close(block.scale(torch.from_numpy(x))[:, :, 0, 0].detach().numpy(), s)
    assert_close(block(torch.from_numpy(x)).detach().numpy(), s[:, :, None, None] * x)


def test_the_gradient_is_that_of_differences(block):
    parameters = dict(block.named_parameters())

    def run(input, *values):
        weights = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(block, weights, (input,))

    assert torch.autograd.gradcheck(run, (maps(2, 6, 3, 2).requires_grad_(), *parameters.values()))


def test_a_factor_knows_no_places_but_all_channels(block):
    """Shuffled pixels give the same factors; a number in one channel moves those of others."""
    x = maps(1, 6, 4, 4)
    shuffled = x.flatten(2)[:, :, torch.randperm(16)].reshape(x.shape)
    assert_close(block.scale(shuffled), block.scale(x))
    moved = x.clone()
    moved[0, 2, 1, 1] += 50
    changed = (block.scale(moved) - block.scale(x)).abs().flatten() > 1e-6
    assert changed.sum() == 6


def test_names_shapes_and_number_of_weights():
    with torch.device("meta"):
        block = SqueezeExcitation(256, 16)
    assert {name: tuple(p.shape) for name, p in block.state_dict().items()} == {
        "fc1.weight": (16, 256, 1, 1),
        "fc1.bias": (16,),
        "fc2.weight": (256, 16, 1, 1),
        "fc2.bias": (256,),
    }
    assert sum(p.numel() for p in block.parameters()) == 2 * 256 * 16 + 16 + 256


def test_other_activations_take_their_places():
    block = SqueezeExcitation(4, 2, activation=nn.SiLU, scale_activation=nn.Hardsigmoid)
    assert (type(block.activation), type(block.scale_activation)) == (nn.SiLU, nn.Hardsigmoid)
    with torch.no_grad():
        block.fc2.bias.fill_(100.0)
    x = maps(2, 4, 3, 3).float()
    assert torch.equal(block(x), x)  # a hard sigmoid reaches 1


def test_one_channel_is_enough():
    x = maps(2, 1, 3, 3)
    assert SqueezeExcitation(1, 1).double().scale(x).shape == (2, 1, 1, 1)


def test_bad_numbers_of_channels_are_named():
    with pytest.raises(ValueError, match="input_channels=0 is too small"):
        SqueezeExcitation(0, 1)
    with pytest.raises(ValueError, match=r"squeeze_channels=1\.5 is not an integer"):
        SqueezeExcitation(4, 1.5)
