r"""SE-ResNet-50 against counts, and its block against the plain bottleneck."""

import pytest
import torch
from normed import noise

from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.resnet import Bottleneck, projection, residual_blocks, resnet50
from coursepkg.architectures.senet import SEBottleneck, seresnet50
from coursepkg.testing import assert_close


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        return seresnet50()


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_counts_and_entries(model):
    assert (count(model), len(model.state_dict())) == (28_088_024, 384)
    assert (MODELS["seresnet50"].family, MODELS["seresnet50"].reference) == ("senet", "timm 1.0.31")
    with torch.device("meta"):
        plain = count(resnet50())
    widths = [(256, 3), (512, 4), (1024, 6), (2048, 3)]
    added = sum(n * (2 * c * c // 16 + c // 16 + c) for c, n in widths)
    assert count(model) == plain + added


def test_names_are_those_of_published_checkpoints(model):
    first = [n for n in model.state_dict() if n.startswith("layer2.0.") and "running" not in n]
    parts = [n.removeprefix("layer2.0.") for n in first if "num_batches" not in n]
    assert parts[-10:] == [
        "conv3.weight",
        "bn3.weight",
        "bn3.bias",
        *("se.fc1.weight", "se.fc1.bias", "se.fc2.weight", "se.fc2.bias"),
        *("downsample.0.weight", "downsample.1.weight", "downsample.1.bias"),
    ]
    assert len(residual_blocks(model)) == 16
    assert model(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 1000)


def test_the_branch_is_that_of_a_bottleneck_times_factors():
    torch.manual_seed(5)
    block = SEBottleneck(32, 8).double()
    plain = Bottleneck(32, 8).double()
    missing, surplus = plain.load_state_dict(block.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith("se.") for name in surplus)
    x = noise(2, 32, 4, 5)
    branch = plain.residual(x)
    expected = (block.se.scale(branch) * branch + x).clamp(min=0)
    assert_close(block(x), expected)
    assert ((block.se.scale(branch) > 0) & (block.se.scale(branch) < 1)).all()


def test_the_gradient_of_a_block_is_that_of_differences():
    torch.manual_seed(2)
    block = SEBottleneck(3, 4, 2, projection(3, 16, 2)).double()
    parameters = dict(block.named_parameters())

    def run(input, *values):
        weights = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(block, weights, (input,))

    assert torch.autograd.gradcheck(run, (noise(2, 3, 4, 3).requires_grad_(), *parameters.values()))


def test_branches_begin_with_zero_unless_told_otherwise():
    torch.manual_seed(0)
    model = seresnet50(num_classes=2)
    assert not any(block.bn3.weight.any() for block in residual_blocks(model))
    assert (model.bn1.weight == 1).all()
    fc1 = model.layer4[0].se.fc1.weight
    assert fc1.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)  # fan out, as all of them
    assert model.layer4[0].se.fc1.bias.any()
    other = seresnet50(num_classes=2, zero_init_residual=False)
    assert all((block.bn3.weight == 1).all() for block in residual_blocks(other))
