r"""The claims of book/architectures/residual-networks.md, on networks that its cells do not use."""

import ast
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from coursepkg.architectures import resnet
from coursepkg.architectures.deeper import DeepBlock, DeepCNN, gradient_norms, signal_norms
from coursepkg.architectures.exercises import broken_batch_norm
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    initialise,
    path_lengths,
    projection,
    residual_blocks,
)
from coursepkg.architectures.resnetv2 import ResNetV2
from coursepkg.convolution.normalization import batch_norm
from coursepkg.recorded import recorded
from coursepkg.testing import assert_close

PAGE = Path(__file__).parents[2] / "book" / "architectures" / "residual-networks.md"


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on_meta(name):
    with torch.device("meta"):
        return MODELS[name].factory()


@pytest.mark.covers("A07")
@pytest.mark.parametrize(
    "block",
    [BasicBlock(6, 6), Bottleneck(12, 3), BasicBlock(4, 6, 2, projection(4, 6, 2))],
    ids=["basic", "bottleneck", "projection"],
)
def test_a_block_without_weights_hands_its_shortcut_on(block):
    for name, weight in block.named_parameters():
        if "downsample" not in name:
            nn.init.zeros_(weight)
    x = noise(2, block.conv1.in_channels, 5, 7)
    shortcut = x if block.downsample is None else block.downsample(x)
    assert torch.equal(block(x), shortcut.clamp(min=0))


@pytest.mark.covers("A07")
@pytest.mark.parametrize("name", ["resnet34", "resnet101", "resnext50_32x4d", "wide_resnet50_2"])
def test_stages_halve_the_maps_and_double_the_channels(name):
    model, sizes = on_meta(name), []
    for part in (model.layer1, model.layer2, model.layer3, model.layer4):
        part.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 160, 224, device="meta"))
    wide = 64 if name == "resnet34" else 256
    assert sizes == [(wide * 2**i, 40 // 2**i, 56 // 2**i) for i in range(4)]
    assert isinstance(model.fc, nn.Linear)
    assert model.fc.in_features == wide * 8


@pytest.mark.covers("A07")
def test_weights_begin_with_the_deviation_of_he():
    torch.manual_seed(5)
    model = ResNet(Bottleneck, (1, 2, 1, 1), num_classes=3)
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        n = conv.out_channels * conv.kernel_size[0] ** 2
        values = conv.weight.detach().flatten().numpy() / (2 / n) ** 0.5
        assert np.std(values) == pytest.approx(1, abs=0.06)
        assert scipy.stats.kurtosis(values) == pytest.approx(0, abs=0.6)  # normal, not uniform


@pytest.mark.covers("A07")
def test_paths_of_a_nonlinear_network_are_its_ways_through_the_graph():
    """Autograd knows the ways: in a chain of doubling blocks the derivative counts them."""
    model = on_meta("resnet34")
    for block in residual_blocks(model):
        block.residual, block.downsample = torch.clone, None
    signal = torch.ones(1, dtype=torch.float64, requires_grad=True)
    output = model.layer4(model.layer3(model.layer2(model.layer1(signal))))
    (ways,) = torch.autograd.grad(output, signal)
    assert ways.item() == 2 ** len(residual_blocks(model)) == sum(path_lengths([1] * 16))
    lengths = [2 * sum(taken) for taken in product((0, 1), repeat=16)]
    assert path_lengths([2] * 16) == tuple(np.bincount(lengths).tolist())


@pytest.mark.covers("A07")
def test_the_page_shows_five_pieces_of_the_code():
    text, source = PAGE.read_text(), Path(resnet.__file__).read_text()
    shown = re.findall(r"^```\{literalinclude\} \S*/resnet\.py\n(.*?)^```", text, re.M | re.S)
    captions = " ".join(re.findall(r':caption: "?(Piece \d)', " \n".join(shown)))
    assert captions == "Piece 1 Piece 2 Piece 3 Piece 4 Piece 5"
    for options in shown:
        for text in re.findall(r':(?:start-at|end-before|end-at): "(.*)"', options):
            assert text in source
        for name in re.findall(r":pyobject: (\S+)", options):
            found = resnet
            for part in name.split("."):
                found = getattr(found, part)


@pytest.mark.covers("A07", "E17")
@pytest.mark.parametrize("seed", range(3))
def test_gradients_do_not_vanish_under_batch_norm_and_shortcuts_even_them_out(seed):
    x, t = noise(40, 1, 12, 12, seed=seed), torch.arange(40) % 10
    spread = {}
    for residual in (False, True):
        torch.manual_seed(seed)
        norms = list(gradient_norms(DeepCNN(44, residual=residual), x, t).values())[:-1]
        spread[residual] = max(norms) / min(norms)
        if not residual:
            assert norms[0] > 10 * norms[-1]  # they grow on their way back
    assert spread[True] < 0.2 * spread[False]


@pytest.mark.covers("A07")
def test_zeros_of_the_padding_and_few_channels_make_a_plain_signal_fade():
    """Without batch norm. The padding: with every draw; channels: in the mean of ten."""
    kept = {}
    for widths in ((8, 16, 32), (32, 64, 128)):
        for padding in ("zeros", "replicate"):
            for seed in range(50, 60):
                torch.manual_seed(seed)
                model = DeepCNN(44, residual=False, batch_norm=False, widths=widths)
                for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
                    conv.padding_mode = padding
                sizes = list(signal_norms(model, noise(6, 1, 12, 12, seed=seed)).values())
                kept.setdefault((widths[0], padding), []).append(np.log10(sizes[-2] / sizes[0]))
    for channels in (8, 32):
        gain = np.subtract(kept[channels, "replicate"], kept[channels, "zeros"])
        assert gain.min() > 0.5
    for padding in ("zeros", "replicate"):
        gain = np.subtract(kept[32, padding], kept[8, padding])
        assert gain.mean() > 2 * gain.std(ddof=1) / 10**0.5
    assert np.mean(kept[32, "replicate"]) > -1


@pytest.mark.covers("A07")
def test_blocks_of_the_second_version_add_up_within_a_stage():
    """Also with statistics in use and with weights in all norms; the first version's do not."""
    torch.manual_seed(3)
    first, second = ResNet(Bottleneck, (1, 4, 1, 1)), ResNetV2((1, 4, 1, 1))
    for stage, end in ((first.layer2, "bn3"), (second.stages[1].blocks, "conv3")):
        for norm in (m for m in stage.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        blocks, added = stage.double().eval()[1:], []
        for block in blocks:
            block.get_submodule(end).register_forward_hook(
                lambda layer, inputs, output, seen=added: seen.append(output.clone())
            )
        x = noise(2, 512, 3, 4).double()
        with torch.no_grad():
            left = blocks(x) - x - sum(added)
        assert len(added) == 3
        assert (left.abs().max() < 1e-10) == (stage is not first.layer2)


@pytest.mark.covers("A07")
def test_where_the_first_version_cuts_a_sum_nothing_comes_back():
    torch.manual_seed(2)
    block, x = Bottleneck(8, 2).double().eval(), noise(3, 8, 4, 4).double().requires_grad_()
    sums = block.residual(x) + x
    cut = (sums < 0).flatten().nonzero()[:, 0]
    assert 0 < len(cut) < x.numel()
    (gradient,) = torch.autograd.grad(block(x).flatten()[cut].sum(), x)
    assert not gradient.any()


@pytest.mark.covers("E20")
def test_the_annotators_figure_is_uncertain():
    """The exact interval of Clopper and Pearson, for 5.1 % of 1,500."""
    wrong = round(0.051 * 1500)
    interval = scipy.stats.binomtest(wrong, 1500).proportion_ci()
    assert interval.low < 0.0482 < 0.0494 < interval.high
    assert interval.low > 0.0357
    assert scipy.stats.binomtest(round(0.12 * 258), 258, 0.051).pvalue < 1e-4  # the second one
    text = PAGE.read_text("utf-8")
    for figure in ("5.1 %", "1,500", "12.0 % of 258"):
        assert figure in text


@pytest.mark.covers("E20")
def test_page_and_errata_tell_of_the_same_errors():
    text = PAGE.read_text("utf-8")
    table = re.search(r"^test_errors = (\{.*?^\})", text, re.M | re.S)[1]
    figures = {name: figure for (name, _), figure in ast.literal_eval(table).items()}
    note = (PAGE.parents[1] / "reference" / "errata.md").read_text("utf-8")
    note = note.split("### E20")[1].split("###")[0]
    in_the_note = [float(figure) for figure in re.findall(r"([\d.]+) %", note)]
    earlier = [figures["PReLU networks"], figures["Inception with batch norm"]]
    assert in_the_note == [*earlier, 5.1, 12.0]
    assert sorted(figures.values()) == [figures["ResNet"], *sorted(earlier)]


@pytest.mark.covers("E29")
@pytest.mark.parametrize("name", ["resnet34", "resnet101", "resnext50_32x4d"])
def test_kernels_and_shortcuts(name):
    model = on_meta(name)
    sizes = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)]
    blocks, deep = residual_blocks(model), name != "resnet34"
    projections = [b.downsample for b in blocks if b.downsample is not None]
    assert sizes.count((7, 7)) == 1
    assert sizes.count((3, 3)) == len(blocks) * (1 if deep else 2)
    assert sizes.count((1, 1)) == len(projections) + (2 * len(blocks) if deep else 0)
    assert len(projections) == (4 if deep else 3)
    branch = sum(p.numel() for n, p in model.named_parameters() if re.search(r"\.(conv|bn)\d", n))
    rest = sum(p.numel() for m in projections for p in m.parameters())
    rest += sum(p.numel() for m in (model.conv1, model.bn1, model.fc) for p in m.parameters())
    assert branch + rest == sum(p.numel() for p in model.parameters())  # nothing for identities


@pytest.mark.covers("A07")
def test_what_the_record_says_of_lesions():
    record = recorded("architectures/lesion")
    plain, residual = (record.values(kind, "one").mean(axis=1) for kind in ("plain", "residual"))
    assert (plain > 0.5).all()
    assert (residual < 0.5 * plain).all()
    for i in range(len(record.settings["removed"])):
        found = record.difference(("plain", "several", i), ("residual", "several", i))
        assert found.holds
        assert found.mean > 0
    whole = record.difference(("plain", "whole"), ("residual", "whole"))
    assert whole.holds
    assert 0 < whole.mean < 0.02  # a little less
    several = record.mean("residual", "several")
    assert record.settings["removed"][-1] == 5
    assert 0.7 < several[-1] < 0.9  # close to guessing
    assert (np.diff([record.mean("residual", "whole"), residual.mean(), *several]) > 0).all()


def test_a_block_of_the_record_that_is_taken_out_is_what_its_shortcut_leaves():
    torch.manual_seed(0)
    block, x = DeepBlock(4, 4).eval(), noise(2, 4, 5, 5).clamp(min=0)
    nn.init.zeros_(block.norm2.weight)
    assert torch.equal(block(x), x)


def test_the_broken_batch_norm_of_the_prompt_is_broken_as_it_says():
    code = re.search(r"```python\n(.*?)```", broken_batch_norm.__doc__, re.S)[1]
    space = {"np": np}
    exec(code, space)
    for case in (*broken_batch_norm.PUBLIC, *broken_batch_norm.hidden(np.random.default_rng(1))):
        as_given, as_known, right = (
            dict(broken_batch_norm.driver(function, **case.inputs))
            for function in (space["batch_norm"], broken_batch_norm.as_it_was, batch_norm)
        )
        assert_close(as_given, as_known)
        assert any(not np.allclose(as_given[name], right[name]) for name in right)


def test_initialise_twice_with_one_seed_gives_the_same():
    model = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=2)
    states = []
    for _ in range(2):
        torch.manual_seed(9)
        initialise(model)
        states.append({n: v.clone() for n, v in model.state_dict().items()})
    assert_close(states[0], states[1], rtol=0, atol=0)
