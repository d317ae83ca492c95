"""Our networks agree with the reference libraries, as far as `make oracle` has stored.

The records in tests/oracle/networks/ were measured on torchvision's and timm's networks by
tests/oracle/make_networks.py. The full comparison, both libraries side by side, with every gradient
and with what dropout draws, is tests/oracle/REPORT.md.
"""

import json
import re

import pytest
import torch
from oracle_networks import CASES, STORE, describe, disagreement, measure, read, train
from torch import nn

from coursepkg.architectures import get_model
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.stochastic_depth import StochasticDepth

REPORT = STORE.parent / "REPORT.md"
#: Parameters, as the libraries' documentation gives them, and entries of the state.
PUBLISHED = {
    "alexnet": (61_100_840, 16),
    "vgg16": (138_357_544, 32),
    "vgg19_bn": (143_678_248, 118),
    "googlenet aux_logits=False": (6_624_904, None),
    "googlenet": (13_004_888, None),
    "inception_v3": (27_161_264, None),
    "inception_v3 aux_logits=False": (23_834_568, None),
    "resnet18": (11_689_512, 122),
    "resnet50": (25_557_032, 320),
    "resnet152": (60_192_808, 932),
    "densenet121": (7_978_856, 727),
    "mobilenet_v2": (3_504_872, 314),
    "efficientnet_b0": (5_288_548, 360),
    "efficientnet_b7": (66_347_960, 1200),
    "seresnet50": (28_088_024, 384),
    "xception": (22_855_952, 276),
    "mobilenet_v1": (4_231_976, 164),
    "resnetv2_50": (25_549_352, 300),
    "vit_b_16": (86_567_656, 152),
}
OUTPUTS = ("eval", "train logits", "train aux_logits", "train aux_logits1", "train aux_logits2")
PARTS = [("initial",), OUTPUTS, ("gradients",), ("buffers",)]
#: Forms that no library has: the notes' AlexNet, the papers' AlexNet and GoogLeNet.
OTHER_FORMS = [
    ("alexnet", "ungrouped", 62_378_344),
    ("alexnet", "paper", 60_965_224),
    ("googlenet", "paper", 6_998_552),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.title)
def records(request):
    """What is stored of a network, and the same of ours."""
    case = request.param
    torch.manual_seed(0)
    model = get_model(case.name, **case.settings)
    described = describe(model)
    return read(case), (described, measure(model, case))


def test_names_shapes_and_settings_are_the_references(records):
    """In their order: a state_dict is an ordered thing."""
    (stored, _), (described, _) = records
    assert json.dumps(described) == json.dumps(stored)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part[0])
def test_numbers_are_the_references(records, part):
    """Weights under one seed; outputs, gradients and running statistics with shared weights."""
    (_, stored), (_, got) = records
    ours, theirs = ({k: v for k, v in record.items() if k in part} for record in (got, stored))
    assert theirs
    assert disagreement(ours, theirs) == []


def test_no_stored_number_depends_on_what_is_dropped():
    """PyTorch draws for dropout from another stream on each kind of processor."""
    case = next(case for case in CASES if case.name == "mobilenet_v3_small")
    dropping = nn.Sequential(get_model(case.name), nn.Dropout(0.5), StochasticDepth(0.5))
    assert len(describe(dropping)["dropout"]) == 2
    measure(dropping, case)
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(1).get_state())
    train(get_model(case.name), case.input)
    assert not torch.equal(torch.get_rng_state(), torch.manual_seed(1).get_state())


def test_every_network_with_a_reference_is_stored():
    assert {case.name for case in CASES} == {n for n, e in MODELS.items() if e.reference}
    stems = {case.stem for case in CASES}
    assert {path.stem for path in STORE.glob("*.json")} == stems
    assert {path.stem for path in STORE.glob("*.npz")} == stems


def test_networks_name_the_reference_that_was_measured():
    pins = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (STORE.parent / "requirements.txt").read_text(), re.M)
    )
    for case in CASES:
        assert MODELS[case.name].reference == f"{case.library} {pins[case.library]}", case.title


def test_the_report_lists_every_network_and_no_disagreement():
    text = REPORT.read_text()
    rows = re.findall(r"^\| (\w+(?: \w+=\w+)?) \| (?:torchvision|timm) \|", text, re.M)
    assert rows == [case.title for case in CASES]
    assert "Disagreements" not in text
    assert f"- `networks/`, {len(CASES)} records" in text
    assert "–" not in "".join(line for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("title", PUBLISHED)
def test_counts_are_the_published_ones(title):
    parameters, entries = PUBLISHED[title]
    case = next(case for case in CASES if case.title == title)
    with torch.device("meta"):
        described = describe(get_model(case.name, **case.settings))
    assert described["parameters"] == parameters
    assert entries in (None, len(described["state"]))


@pytest.mark.parametrize(("name", "variant", "parameters"), OTHER_FORMS)
def test_counts_of_the_other_forms(name, variant, parameters):
    with torch.device("meta"):
        model = get_model(name, variant=variant)
    assert sum(p.numel() for p in model.parameters()) == parameters
