r"""MobileNet against counts of the paper and its first weights; the block is in test_separable."""

import pytest
import torch
from torch import nn

from coursepkg.architectures.mobilenetv1 import MobileNetV1, mobilenet_v1
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.separable import DepthwiseSeparableConv2d
from coursepkg.architectures.summary import summary


def on_meta(**settings):
    with torch.device("meta"):
        return MobileNetV1(**settings)


def test_counts_and_entries():
    """27 convolutions, each with a normalisation of five entries, and a linear layer."""
    model = on_meta()
    assert sum(p.numel() for p in model.parameters()) == 4_231_976
    assert len(model.state_dict()) == 27 + 27 * 5 + 2
    assert MODELS["mobilenet_v1"].reference == "timm 1.0.31"
    assert type(model.get_submodule(*MobileNetV1.head_names)) is nn.Linear
    assert [len(stage) for stage in model.blocks] == [1, 2, 2, 6, 2]
    assert type(mobilenet_v1(num_classes=3)) is MobileNetV1


@pytest.mark.parametrize(
    ("end", "macs", "parameters"),
    [("conv_pw", 94.86, 74.59), ("conv_dw", 3.06, 1.06), ("classifier", 0.18, 24.33)],
)
def test_work_and_weights_are_shared_out_as_the_paper_says(end, macs, parameters):
    """Table 2, in per cent and without normalisations; 569 million multiply-adds are of table 4.

    Of the first convolution it says 1.19. That must be a slip for 1.91, with which the column adds
    up to 100.
    """
    whole = summary(on_meta(), (3, 224, 224))
    assert round(whole.macs / 1e6) == 569
    rows = [row for row in whole.layers if row.macs and row.parameters]
    part = [row for row in rows if row.name.endswith(end)]
    assert 100 * sum(row.macs for row in part) / whole.macs == pytest.approx(macs, abs=0.006)
    weights = [sum(row.parameters for row in some) for some in (part, rows)]
    assert 100 * weights[0] / weights[1] == pytest.approx(parameters, abs=0.03)


def test_names_are_those_of_timm():
    names = list(on_meta().state_dict())
    assert names[0] == "conv_stem.weight"
    assert names[1:6] == [
        f"bn1.{end}"
        for end in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    inside = [n for n in names if n.startswith("blocks.3.5.") and n.endswith("weight")]
    assert inside == [f"blocks.3.5.{part}.weight" for part in ("conv_dw", "bn1", "conv_pw", "bn2")]
    assert names[-2:] == ["classifier.weight", "classifier.bias"]


def test_maps_halve_in_five_places():
    model, shapes = on_meta(), []
    for stage in (model.conv_stem, *model.blocks):
        stage.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    images = torch.zeros(2, 3, 224, 224, device="meta")
    assert model(images).shape == (2, 1000)
    assert shapes == [
        (32, 112, 112),
        (64, 112, 112),
        (128, 56, 56),
        (256, 28, 28),
        (512, 14, 14),
        (1024, 7, 7),
    ]
    assert model.forward_features(images).shape == (2, 1024, 7, 7)
    pairs = [m for m in model.modules() if isinstance(m, DepthwiseSeparableConv2d)]
    assert [m.conv_dw.stride[0] for m in pairs] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert all(type(m.act) is nn.ReLU6 for m in pairs)


@pytest.mark.parametrize(("width_mult", "millions"), [(0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_thinner_ones_have_the_parameters_of_the_paper(width_mult, millions):
    """Table 6 of Howard et al. (2017)."""
    model = on_meta(width_mult=width_mult)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


def test_scores_are_a_linear_map_of_the_means():
    torch.manual_seed(0)
    model = MobileNetV1(num_classes=4, width_mult=0.25).double().eval()
    images = torch.randn(2, 3, 40, 33, dtype=torch.float64)
    with torch.no_grad():
        maps = model.forward_features(images)
        scores = maps.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
        assert maps.shape == (2, 256, 2, 2)
        torch.testing.assert_close(model(images), scores)


def test_first_weights():
    """A depthwise kernel of 3 x 3 counts nine outputs, whatever the number of channels."""
    torch.manual_seed(0)
    model = MobileNetV1(num_classes=50)
    last = model.blocks[4][1]
    assert last.conv_dw.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert last.conv_pw.weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)
    assert model.classifier.weight.abs().max().item() == pytest.approx(50**-0.5, rel=1e-3)
    assert not model.classifier.bias.any()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_classes=0 is too small"):
        on_meta(num_classes=0)
    with pytest.raises(ValueError, match="use a number greater than 0"):
        on_meta(width_mult=-1)
