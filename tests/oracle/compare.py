"""Compare every network with its reference in full, and write REPORT.md.

    python tests/oracle/compare.py [NAME ...]

Both libraries run side by side in one environment, on one thread, with the same weights, images
and seeds. Ends with the number of networks that disagree. With names, nothing is written.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from oracle_networks import CASES, Case, describe, outputs, train
from oracle_weights import fill, images
from references import reference
from torch import Tensor, nn
from tqdm import tqdm

from coursepkg.architectures import get_model, load_checkpoint
from coursepkg.architectures.registry import MODELS
from coursepkg.testing import TOLERANCES, difference

REPORT = Path(__file__).with_name("REPORT.md")
RELATIVE, ABSOLUTE = TOLERANCES["float32"]
MLP = {"0": "linear_1.", "3": "linear_2."}
COLUMNS = ("first weights", "eval", "eval, own size", "training", "gradients", "buffers")


@dataclass
class Comparison:
    """What was found about one network: a figure for each column, and what disagrees."""

    case: Case
    parameters: int = 0
    entries: int = 0
    cells: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def expect(self, same: bool, complaint: str) -> None:
        """Note a complaint unless two things are the same."""
        if not same:
            self.wrong.append(complaint)

    def tensors(
        self, column: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
    ) -> None:
        """Note the largest difference, as a share of the largest value of its tensor."""
        self.expect(list(ours) == list(theirs), f"{column}: {list(ours)} for {list(theirs)}")
        shares = [(share(ours[k], theirs[k]), k) for k in ours.keys() & theirs.keys()]
        worst, name = max(shares, default=(0.0, ""))
        self.cells[column] = max(worst, self.cells.get(column, 0.0))
        self.expect(worst <= RELATIVE, f"{column}: {name} differs by {worst:.1e} of its largest")


def share(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference divided by the largest value; inf if it is no number."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return float("inf")
    if torch.equal(ours, theirs):
        return 0.0
    ours, theirs = ours.double(), theirs.double()
    difference = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(ABSOLUTE))
    return difference if difference == difference else float("inf")


def compare(case: Case) -> Comparison:
    """Compare one network with its reference in all respects."""
    found = Comparison(case)
    ours, our_draws = seeded(lambda: get_model(case.name, **case.settings))
    theirs, their_draws = seeded(lambda: reference(case))
    compare_descriptions(found, describe(ours), describe(theirs))
    if found.wrong:
        return found
    found.tensors("first weights", ours.state_dict(), theirs.state_dict())
    found.expect(torch.equal(our_draws, their_draws), "first weights: other random draws")
    theirs.load_state_dict(fill(theirs.state_dict()))
    load_as_file(ours, theirs.state_dict())
    compare_eval(found, ours, theirs)
    compare_training(found, ours, theirs)
    return found


def seeded(function: Callable[[], Any]) -> tuple[Any, Tensor]:
    """Call a function under the seed 0; return its result and the generator's state after it."""
    torch.manual_seed(0)
    return function(), torch.get_rng_state()


def compare_descriptions(found: Comparison, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare names, shapes and order of the state, and the hyper-parameters."""
    found.parameters, found.entries = theirs["parameters"], len(theirs["state"])
    for aspect, expected in theirs.items():
        sentence = difference(ours[aspect], expected, aspect)
        found.expect(sentence is None, str(sentence))
    order = [list(ours[k]) == list(theirs[k]) for k in ("normalizations", "convolutions")]
    found.expect(all(order), "the modules stand in another order")


def load_as_file(ours: nn.Module, state: dict[str, Tensor]) -> None:
    """Load the reference's state through a file, in the oldest form that is in circulation."""
    old = {old_name(name): tensor for name, tensor in state.items()}
    if old.keys() != state.keys():  # such files are older than the counters of batches
        old = {k: v for k, v in old.items() if not k.endswith("num_batches_tracked")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.pth")
        torch.save(old, path)
        load_checkpoint(ours, path)


def old_name(name: str) -> str:
    """Return what the files of DenseNet and ViT call an entry."""
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name)
    return re.sub(r"(layer_\d+\.mlp\.)([03])\.", lambda m: m[1] + MLP[m[2]], name)


def compare_eval(found: Comparison, ours: nn.Module, theirs: nn.Module) -> None:
    """Compare outputs in evaluation mode on small images and on one of the network's own size."""
    shape = (1, *MODELS[found.case.name].input_size)
    inputs = {"eval": found.case.input, "eval, own size": images("own size", shape)}
    for column, input in inputs.items():
        with torch.no_grad():
            found.tensors(
                column, outputs(ours.eval()(input)), outputs(theirs.eval()(input.clone()))
            )


def compare_training(found: Comparison, ours: nn.Module, theirs: nn.Module) -> None:
    """Compare a training step: outputs, auxiliary ones too, gradients, buffers, random draws."""
    results, draws = [], []
    for model in (ours, theirs):
        results.append(train(model, found.case.input))
        draws.append(torch.get_rng_state())
    found.tensors("training", *results)
    found.expect(torch.equal(*draws), "training: other random draws")
    gradients = [
        {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        for model in (ours, theirs)
    ]
    found.tensors("gradients", *gradients)
    found.tensors("buffers", dict(ours.named_buffers()), dict(theirs.named_buffers()))


def report(comparisons: list[Comparison]) -> str:
    """Lay all comparisons out as a page of Markdown."""
    versions = {"PyTorch": torch, "torchvision": torchvision, "timm": timm}
    lines = [
        "# Our networks and their references",
        "",
        "Written by `make oracle`; not edited by hand. "
        + ", ".join(f"{name} {module.__version__}" for name, module in versions.items())
        + ", one thread.",
        "",
        "Both libraries run side by side. Equal in every row, or the row would say so: names,",
        "shapes, dtypes and order of the state; eps and momentum of each normalization; stride,",
        "padding, dilation and groups of each convolution; rates of dropout and stochastic depth;",
        "the number of random draws. The columns hold the largest difference as a share of the",
        "largest value of its tensor, and `=` where every bit is equal: **first weights** after",
        "construction under one seed; then, with the weights of `tests/oracle_weights.py`, outputs",
        "in evaluation mode on two small images (**eval**) and on one of the network's own size,",
        "outputs in **training** mode under one seed, those of auxiliary heads too, **gradients**",
        "of all parameters, and all **buffers** after that step. Our weights came through",
        "`load_checkpoint` from a file of the reference's state; those of DenseNet and ViT with",
        "the older names of their official files.",
        "",
        "| network | library | parameters | entries | " + " | ".join(COLUMNS) + " |",
        "|---|---|--:|--:|" + ":-:|" * len(COLUMNS),
        *map(row, comparisons),
        "",
        "## Stored vectors",
        "",
        "What the everyday tests compare with, where no reference library is installed:",
        "",
        *map(stored, sorted(REPORT.parent.glob("make_*.py"))),
        "",
    ]
    wrong = [(c.case.title, sentence) for c in comparisons for sentence in c.wrong]
    if wrong:
        lines += ["## Disagreements", "", *(f"- {title}: {what}" for title, what in wrong), ""]
    return "\n".join(lines)


def stored(script: Path) -> str:
    """One line about what a script has stored."""
    name = script.stem.removeprefix("make_")
    files = sorted(script.parent.glob(f"{name}.*")) or sorted((script.parent / name).glob("*.npz"))
    what = f"`{files[0].name}`" if len(files) == 1 else f"`{name}/`, {len(files)} records"
    return f"- {what}, written by `{script.name}`"


def row(found: Comparison) -> str:
    """One line of the table."""
    numbers = [found.cells.get(column) for column in COLUMNS]
    cells = ["–" if n is None else "=" if n == 0 else f"{n:.0e}" for n in numbers]
    head = [found.case.title, found.case.library, f"{found.parameters:,}", str(found.entries)]
    return "| " + " | ".join(head + cells) + " |"


def main(names: list[str]) -> int:
    torch.set_num_threads(1)
    comparisons = []
    for case in tqdm([c for c in CASES if not names or c.name in names], unit="network"):
        comparisons.append(compare(case))
        for sentence in comparisons[-1].wrong:
            tqdm.write(f"{case.title}: {sentence}")
    if not names:
        REPORT.write_text(report(comparisons))
    wrong = sum(bool(c.wrong) for c in comparisons)
    print(f"compared {len(comparisons)} networks with their references: {wrong} disagree")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
