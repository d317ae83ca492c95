r"""The claims of book/architectures/going-deeper.md, on cases that its cells do not use."""

import ast
import re

import numpy as np
import pytest
import torch
from torch import nn

from coursepkg.architectures.deeper import DeepCNN, deep_stack, gradient_norms, signal_norms
from coursepkg.architectures.googlenet import (
    Inception,
    NaiveInception,
    PlainConv2d,
    googlenet,
)
from coursepkg.architectures.inception import inception_v3
from coursepkg.architectures.summary import summary
from coursepkg.recorded import recorded


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.covers("A04")
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_power_is_multiplied_in_every_layer(factor):
    """Weights of variance 2 factor / n, on normal noise; forward and backward."""
    torch.manual_seed(1)
    stack = deep_stack(16, 400, in_features=400, num_classes=400)
    with torch.no_grad():
        for layer in stack[1::2]:
            layer.weight.mul_(factor**0.5)
    x, target = torch.randn(64, 400), torch.randint(400, (64,))
    signals = list(signal_norms(stack, x).values())
    gradients = list(gradient_norms(stack, x, target, of="output").values())
    assert abs((signals[-1] / signals[0]) ** (2 / 15) / factor - 1) < 0.1
    assert abs((gradients[0] / gradients[-2]) ** (2 / 14) / factor - 1) < 0.1


@pytest.mark.covers("A04")
def test_a_sigmoid_lets_at_most_a_quarter_of_a_slope_through():
    torch.manual_seed(0)
    stack = deep_stack(10, 50, activation="sigmoid", init="he", in_features=50)
    x, target = torch.randn(20, 50), torch.arange(20) % 10
    norms = list(gradient_norms(stack, x, target, of="output").values())
    layers = [m for m in stack if isinstance(m, nn.Linear)]
    for before, after, layer in zip(norms, norms[1:], layers[1:], strict=False):
        assert before <= after * torch.linalg.matrix_norm(layer.weight, 2).item() / 4 * (1 + 1e-5)


@pytest.mark.covers("A04")
def test_a_deeper_plain_network_can_do_what_a_shallower_one_does():
    """Blocks that hand on their input, without batch normalisation: a plain stack can be longer."""
    torch.manual_seed(0)
    shallow = DeepCNN(14, residual=False, batch_norm=False).double()
    deep = DeepCNN(20, residual=False, batch_norm=False).double()
    with torch.no_grad():
        for to, stage in zip(deep.stages, shallow.stages, strict=True):
            for block, source in zip(to, stage, strict=False):
                block.load_state_dict(source.state_dict())
            for conv in (to[-1].conv1, to[-1].conv2):
                nn.init.dirac_(conv.weight)
                conv.bias.zero_()
        for name in ("conv", "fc"):
            getattr(deep, name).load_state_dict(getattr(shallow, name).state_dict())
        x = torch.randn(3, 1, 14, 14, dtype=torch.float64)
        assert torch.equal(deep(x), shallow(x))


@pytest.mark.covers("A04")
def test_degradation_is_seen_in_every_seed_and_goes_with_shortcuts():
    r = recorded("architectures/degradation")
    losses = {
        kind: [r.values(kind, d, "train", "loss") for d in ("20", "56")] for kind in r.results[0]
    }
    shallow, deep = losses["plain"]
    assert (deep > 1).all()
    assert (shallow < 0.1).all()
    shallow, deep = (r.values("residual", depth, "train", "loss") for depth in ("20", "56"))
    assert (deep < shallow).all()
    errors = [r.values("plain", "56", part, "error") for part in ("train", "test")]
    assert (errors[0] > 0.2).all(), "it would be overfitting"
    assert np.abs(errors[1] - errors[0]).max() < 0.2


@pytest.mark.covers("A04")
def test_gradients_grow_towards_the_input_of_a_plain_stack_with_batch_norm():
    torch.manual_seed(7)
    x, target = torch.randn(40, 1, 14, 14), torch.arange(40) % 10
    ratio = {}
    for residual in (False, True):
        norms = list(gradient_norms(DeepCNN(56, residual=residual), x, target).values())
        ratio[residual] = norms[0] / norms[-2]
    assert ratio[False] > 20
    assert ratio[True] < 5


@pytest.mark.covers("A05")
def test_reductions_pay_in_weights_and_multiply_adds():
    naive, reduced = NaiveInception(480, 192, 208, 48), Inception(480, 192, (96, 208), (16, 48), 64)
    place = 14 * 14
    by_hand = place * (480 * 192 + 9 * 480 * 208 + 25 * 480 * 48)
    assert summary(naive, (480, 14, 14)).macs == by_hand
    by_hand = place * (480 * (192 + 96 + 16 + 64) + 9 * 96 * 208 + 25 * 16 * 48)
    assert summary(reduced, (480, 14, 14)).macs == by_hand
    assert count(reduced) < count(naive) / 4
    shapes = [m(torch.zeros(1, 480, 4, 5)).shape[1:] for m in (naive, reduced)]
    assert shapes == [(192 + 208 + 48 + 480, 4, 5), (192 + 208 + 48 + 64, 4, 5)]


@pytest.mark.covers("A05")
def test_the_two_googlenets_differ_by_kernels_biases_and_norms_alone():
    with torch.device("meta"):
        paper, theirs = googlenet(variant="paper"), googlenet(aux_logits=False)
    assert (count(paper), count(theirs)) == (6_998_552, 6_624_904)
    ours = {n: tuple(p.shape) for n, p in paper.named_parameters()}
    other = {n: tuple(p.shape) for n, p in theirs.named_parameters()}
    changed = {n for n in ours.keys() & other.keys() if ours[n] != other[n]}
    assert changed == {
        f"inception{m}.branch3.1.conv.weight"
        for m in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    }
    assert {other[n][2:] for n in changed} == {(3, 3)}
    assert {ours[n][2:] for n in changed} == {(5, 5)}
    assert all(n.endswith("conv.bias") for n in ours.keys() - other.keys())
    assert all(".bn." in n for n in other.keys() - ours.keys())


@pytest.mark.covers("A05")
def test_heads_are_for_training_only():
    with torch.device("meta"):
        alone, headed = googlenet(aux_logits=False), googlenet()
        assert count(headed) == 13_004_888
        names = set(headed.state_dict()) - set(alone.state_dict())
        assert {name.split(".")[0] for name in names} == {"aux1", "aux2"}
        x = torch.zeros(2, 3, 224, 224)
        assert [scores.shape for scores in headed.train()(x)] == 3 * [(2, 1000)]
        assert headed.eval()(x).shape == alone.train()(x).shape == (2, 1000)


@pytest.mark.covers("A05")
def test_the_longest_path_has_22_layers():
    with torch.device("meta"):
        model = googlenet(variant="paper")
    total = 0
    for child in model.children():
        if isinstance(child, Inception):
            branches = list(child.children())
            total += max(sum(isinstance(m, nn.Conv2d) for m in b.modules()) for b in branches)
        elif isinstance(child, PlainConv2d | nn.Linear):
            total += 1
    assert total == 22


@pytest.mark.covers("A06")
def test_the_count_of_keras_from_the_state_of_the_network():
    """Without the last layer; BN with shift, running mean and variance, without scale."""
    with torch.device("meta"):
        state = inception_v3(aux_logits=False).state_dict()
    kept = {
        name: value
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith(("bn.weight", "num_batches_tracked"))
    }
    assert sum(v.numel() for v in kept.values()) == 21_802_784
    learned = [v.numel() for name, v in kept.items() if "running" not in name]
    assert sum(learned) == 21_768_352


@pytest.mark.covers("A06")
def test_inception_v3_has_rows_and_columns_for_large_kernels():
    with torch.device("meta"):
        model = inception_v3()
    kernels = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert kernels.count((1, 7)) == kernels.count((7, 1)) > 0
    assert max(a * b for a, b in kernels) == 25


@pytest.mark.covers("E15")
def test_the_page_dates_the_conferences_as_the_bibliography_does(request):
    book = request.config.rootpath / "book"
    page = (book / "architectures/going-deeper.md").read_text("utf-8")
    dates = ast.literal_eval(re.search(r"^conference = (\{.*\})$", page, re.MULTILINE)[1])
    bib = (book / "references.bib").read_text("utf-8")
    entries = dict(re.findall(r"@\w+\{(\w+),(.*?)\n\}", bib, re.DOTALL))
    keys = {
        "VGG": "simonyan2015",
        "GoogLeNet": "szegedy2015",
        "batch normalisation": "ioffe2015",
        "ResNet": "he2016",
    }
    assert dates.keys() == keys.keys()
    for name, year in dates.items():
        assert re.search(r"year *= \{(\d+)[a-z]?\}", entries[keys[name]])[1] == str(year), name


@pytest.mark.covers("E15")
def test_no_page_dates_googlenet_by_its_conference_alone(request):
    """Wherever a paragraph has GoogLeNet and 2015, it has 2014 as well."""
    book = request.config.rootpath / "book"
    note = (book / "reference/errata.md").read_text("utf-8").split("### E15")[1].split("###")[0]
    assert "2014" in note
    found = 0
    for page in (book / "architectures").glob("*.md"):
        prose = re.sub(r"\{cite(:\w+)?\}`[^`]*`", "", page.read_text("utf-8"))
        prose = re.sub(r"```\{code-cell\}.*?```", "", prose, flags=re.DOTALL)
        for paragraph in re.split(r"\n\s*\n|\n- ", prose):
            if "GoogLeNet" in paragraph and "2015" in paragraph:
                found += 1
                assert "2014" in paragraph, f"{page.name}: {paragraph}"
    assert found, "nowhere is GoogLeNet dated"


@pytest.mark.covers("E21")
@pytest.mark.parametrize("init", ["he", "xavier", "small"])
def test_of_the_three_only_he_keeps_the_variance_in_all_layers(init):
    torch.manual_seed(4)
    signals = list(signal_norms(deep_stack(12, 500, init=init), torch.randn(50, 784)).values())[:-1]
    steps = (np.array(signals[1:]) / signals[:-1]) ** 2
    if init == "he":
        assert np.abs(steps - 1).max() < 0.25
    else:
        assert steps.max() < 0.65


@pytest.mark.covers("E39")
def test_heads_cured_nothing_in_the_miniature():
    """The networks without heads are those of the other experiment, to the last bit."""
    r, plain = recorded("architectures/auxiliary"), recorded("architectures/degradation")
    for depth in ("20", "56"):
        without = r.values("without", depth, "epochs", "loss")
        assert np.array_equal(without, plain.values("plain", depth, "epochs", "loss"))
        assert np.abs(r.values("with", depth, "epochs", "loss") - without).max() > 0.01
    assert (r.values("with", "56", "train", "loss") > 0.5).all()
    assert r.mean("with", "20", "train", "loss") > r.mean("without", "20", "train", "loss")
    for depth in ("20", "56"):
        assert not r.difference(
            ("with", depth, "test", "error"), ("without", depth, "test", "error")
        ).holds
    for epoch in range(24):
        for figure in ("loss", "error"):
            path = "56", "epochs", figure, epoch
            assert not r.difference(("with", *path), ("without", *path)).holds


@pytest.mark.covers("E39")
def test_heads_slow_the_network_of_20_layers_down():
    """The error in the middle and at the end of training, summed over epochs, seed by seed."""
    r = recorded("architectures/auxiliary")
    path = "20", "epochs", "error"
    slower = r.values("with", *path) - r.values("without", *path)
    for epochs in (slice(4, 9), slice(18, 24)):
        sums = slower[:, epochs].sum(axis=1)
        assert sums.mean() > 2 * sums.std(ddof=1) / np.sqrt(len(sums))
