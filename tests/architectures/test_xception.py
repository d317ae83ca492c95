r"""Xception against counts, and its blocks against sums written out."""

import pytest
import torch
import torch.nn.functional as F
from normed import noise, normalise, perturbed
from torch import nn

from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.xception import SeparableConv2d, Xception, XceptionBlock, xception
from coursepkg.testing import assert_close


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        return xception()


def separable(x, conv):
    """Each channel by itself, then all of them at each pixel."""
    filters = conv.conv1.weight
    maps = [F.conv2d(x[:, c : c + 1], filters[c : c + 1], padding=1) for c in range(len(filters))]
    return torch.einsum("nchw,dc->ndhw", torch.cat(maps, 1), conv.pointwise.weight[:, :, 0, 0])


def test_counts_and_entries(model):
    """Table 3 of the paper has the same number of parameters."""
    assert sum(p.numel() for p in model.parameters()) == 22_855_952
    assert len(model.state_dict()) == 276
    entry = MODELS["xception"]
    assert (entry.input_size, entry.reference) == ((3, 299, 299), "timm 1.0.31")
    assert type(model.get_submodule(*Xception.head_names)) is nn.Linear


def test_names_are_those_of_published_checkpoints(model):
    names = [n for n in model.state_dict() if n.endswith("weight")]
    assert names[:4] == [f"{part}.weight" for part in ("conv1", "bn1", "conv2", "bn2")]
    starts = {"block1": ["rep.0", "rep.1", "rep.3", "rep.4"], "block2": ["rep.1", "rep.2", "rep.4"]}
    for block, parts in starts.items():
        inside = [n for n in names if n.startswith(f"{block}.")]
        expected = [f"{block}.skip.weight", f"{block}.skipbn.weight"]
        for part in parts:
            index = int(part.split(".")[1])
            is_conv = type(model.get_submodule(f"{block}.{part}")) is SeparableConv2d
            ends = ("conv1.", "pointwise.") if is_conv else ("",)
            expected += [f"{block}.rep.{index}.{end}weight" for end in ends]
        assert inside[: len(expected)] == expected
    assert not any(n.startswith("block4.skip") for n in names)
    assert names[-1] == "fc.weight"


def test_shapes_of_the_three_flows(model):
    """Figure 5: 19 × 19 × 728 through the middle flow, 10 × 10 × 2048 at the end."""
    shapes = {}
    for name, part in model.named_children():
        part.register_forward_hook(
            lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    images = torch.zeros(1, 3, 299, 299, device="meta")
    assert model(images).shape == (1, 1000)
    assert (shapes["conv1"], shapes["conv2"]) == ((32, 149, 149), (64, 147, 147))
    assert [shapes[f"block{i}"] for i in (1, 2, 3)] == [(128, 74, 74), (256, 37, 37), (728, 19, 19)]
    assert {shapes[f"block{i}"] for i in range(4, 12)} == {(728, 19, 19)}
    assert (shapes["block12"], shapes["conv3"]) == ((1024, 10, 10), (1536, 10, 10))
    assert model.forward_features(images).shape == (1, 2048, 10, 10)
    assert model.block12.rep[1].pointwise.weight.shape[:2] == (728, 728)  # wider only at its end


def test_a_separable_convolution_is_its_two_steps():
    conv, x = perturbed(SeparableConv2d(3, 5)), noise(2, 3, 5, 4)
    assert_close(conv(x), separable(x, conv))


@pytest.mark.parametrize("start_with_relu", [True, False])
def test_a_strided_block_is_its_sum(start_with_relu):
    block = perturbed(XceptionBlock(3, 4, 6, stride=2, start_with_relu=start_with_relu))
    x = noise(2, 3, 7, 6)
    kept = x.clone()
    convs = [m for m in block.rep if isinstance(m, SeparableConv2d)]
    norms = [m for m in block.rep if isinstance(m, nn.BatchNorm2d)]
    out = normalise(separable(x.clamp(min=0) if start_with_relu else x, convs[0]), norms[0])
    out = normalise(separable(out.clamp(min=0), convs[1]), norms[1])
    out = F.max_pool2d(out, 3, 2, 1)
    every_other = torch.einsum("nchw,dc->ndhw", x[:, :, ::2, ::2], block.skip.weight[:, :, 0, 0])
    assert_close(block(x), out + normalise(every_other, block.skipbn))
    assert torch.equal(x, kept)


def test_a_block_of_the_middle_flow_adds_to_its_input():
    block, x = perturbed(XceptionBlock(4, 4, 4, 4)), noise(2, 4, 3, 5)
    out = x
    for i in range(3):
        conv, norm = block.rep[3 * i + 1], block.rep[3 * i + 2]
        out = normalise(separable(out.clamp(min=0), conv), norm)
    assert_close(block(x), out + x)


@pytest.mark.parametrize(
    "module",
    [SeparableConv2d(2, 3), XceptionBlock(2, 2, 2), XceptionBlock(2, 3, stride=2)],
    ids=["separable", "block", "strided block"],
)
def test_the_gradient_is_that_of_differences(module):
    module = perturbed(module)
    parameters = dict(module.named_parameters())

    def run(input, *values):
        weights = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(module, weights, (input,))

    assert torch.autograd.gradcheck(run, (noise(2, 2, 4, 5).requires_grad_(), *parameters.values()))


def test_weights_begin_with_variance_two_over_fan_out():
    torch.manual_seed(0)
    model = Xception(num_classes=2)
    assert model.conv2.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    depthwise = model.block6.rep[1].conv1.weight
    assert depthwise.std().item() == pytest.approx((2 / (728 * 9)) ** 0.5, rel=0.05)
    assert (model.bn4.eps, model.bn4.momentum) == (1e-5, 0.1)


def test_bad_arguments_are_named():
    wrong = [
        (lambda: SeparableConv2d(0, 1), "in_channels=0 is too small"),
        (lambda: SeparableConv2d(1, 0), "out_channels=0 is too small"),
        (
            lambda: XceptionBlock(4, 6),
            r"channels=\(4, 6\) ends with another number .* use stride=2",
        ),
        (lambda: Xception(0), "num_classes=0 is too small"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message), torch.device("meta"):
            call()
