r"""A made-up class with the marks that it deserves, to try the grader on.

::

    OUT/students/, OUT/instructor/       what was handed out; see `release`
    OUT/submissions/                     one folder or file for each learner
    OUT/exercises/pooling/pool.py        an exercise of one's own, to begin from
    OUT/expected.json                    what the marks should be

Its learners hand in notebooks, Python files, pages and zip files: right answers, known mistakes,
half of the work, cells in disorder, a loop without end, a copy, and one attack.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from nbformat import v4

from coursepkg.grading import sample_class
from coursepkg.grading.exercise import Exercise, load
from coursepkg.grading.judge import evaluate, passed, patient
from coursepkg.grading.release import release

__all__ = ["IDS", "Work", "sample"]

_v4: Any = v4  # it has no types

SIZE, FIRST = "convolution/output-size", "convolution/channels-first"
LAYER, STEP = "convolution/conv2d-layer", "convolution/training-step"

#: The exercises that the class was given.
IDS = (FIRST, LAYER, SIZE, STEP)

RIGHT = {
    SIZE: """\
def output_size(size, kernel, stride=1, padding=0, dilation=1):
    for value in (size, kernel, stride, padding, dilation):
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is no integer")
    if min(kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError("kernel, stride and dilation start at 1, padding at 0")
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError("the window does not fit")
    return room // stride + 1
""",
    FIRST: """\
def nhwc_to_nchw(input):
    return np.ascontiguousarray(input.transpose(0, 3, 1, 2))
""",
    LAYER: """\
class Conv2d:
    def __init__(self, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        self.weight, self.bias = weight, bias
        self.stride, self.padding, self.dilation = stride, padding, dilation
        o, c, kh, kw = weight.shape
        self.kernels = weight.reshape(groups, o // groups, c, kh, kw)

    def taps(self, height, width):
        s, d = self.stride, self.dilation
        for i, j in np.ndindex(self.weight.shape[2:]):
            rows = slice(i * d, i * d + s * (height - 1) + 1, s)
            columns = slice(j * d, j * d + s * (width - 1) + 1, s)
            yield i, j, (..., rows, columns)

    def grouped(self, array):
        n, channels, height, width = array.shape
        groups = len(self.kernels)
        return array.reshape(n, groups, channels // groups, height, width)

    def forward(self, input):
        p, d, s = self.padding, self.dilation, self.stride
        padded = np.pad(input, ((0, 0), (0, 0), (p, p), (p, p)))
        self.padded = self.grouped(padded)
        kh, kw = self.weight.shape[2:]
        height = (padded.shape[2] - d * (kh - 1) - 1) // s + 1
        width = (padded.shape[3] - d * (kw - 1) - 1) // s + 1
        shape = (len(input), len(self.weight), height, width)
        result = self.grouped(np.zeros(shape, input.dtype))
        for i, j, place in self.taps(height, width):
            kernel = self.kernels[..., i, j]
            result += np.einsum("ngchw,goc->ngohw", self.padded[place], kernel)
        result = result.reshape(shape)
        return result if self.bias is None else result + self.bias[:, None, None]

    def backward(self, grad):
        p = self.padding
        self.grad_bias = None if self.bias is None else grad.sum(axis=(0, 2, 3))
        grad = self.grouped(grad)
        total = np.zeros_like(self.padded)
        weights = np.zeros_like(self.kernels)
        for i, j, place in self.taps(*grad.shape[3:]):
            weights[..., i, j] = np.einsum("ngchw,ngohw->goc", self.padded[place], grad)
            total[place] += np.einsum("ngohw,goc->ngchw", grad, self.kernels[..., i, j])
        self.grad_weight = weights.reshape(self.weight.shape)
        n, groups, channels, height, width = total.shape
        total = total.reshape(n, groups * channels, height, width)
        return total[:, :, p : height - p, p : width - p]
""",
    STEP: """\
def training_step(model, optimizer, input, target, loss=F.cross_entropy):
    scores = model(input)
    value = loss(scores, target)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return scores, value.item()
""",
}

#: Mistakes that people make: what of the right answer is replaced by what.
MISTAKES = {
    SIZE: [
        ("room // stride + 1", "room // stride"),
        ("2 * padding", "padding"),
        ("dilation * (kernel - 1) - 1", "dilation * kernel"),
        ("room // stride + 1", "room / stride + 1"),
        ('    if room < 0:\n        raise ValueError("the window does not fit")\n', ""),
    ],
    FIRST: [
        ("transpose(0, 3, 1, 2)", "transpose(0, 3, 2, 1)"),
        ("transpose(0, 3, 1, 2)", "reshape(*[input.shape[i] for i in (0, 3, 1, 2)])"),
        ("transpose(0, 3, 1, 2)", "T"),
    ],
    LAYER: [
        ("grad.sum(axis=(0, 2, 3))", "grad.sum(axis=0)"),
        ("np.zeros_like(self.kernels)", "np.zeros(self.kernels.shape)"),
        (" if self.bias is None else result + self.bias[:, None, None]", ""),
        ("total[:, :, p : height - p, p : width - p]", "total"),
    ],
    STEP: [
        ("    optimizer.zero_grad()\n", ""),
        ("value.item()", "value"),
        ("value = loss(scores", "value = loss(scores.softmax(dim=1)"),
    ],
}

#: Names that everybody chooses for themselves.
NAMES = {
    "room": ["room", "free", "last_start", "reach", "span_left"],
    "value": ["value", "number", "v", "current", "cost"],
    "scores": ["scores", "logits", "output", "prediction"],
    "result": ["result", "out", "y", "answer"],
    "padded": ["padded", "image", "x_padded", "bordered"],
    "total": ["total", "grad_padded", "summed", "dx"],
    "weights": ["weights", "dw", "grad_kernels"],
}

STARTER = {
    id: f"{text.splitlines()[0]}\n    raise NotImplementedError\n" for id, text in RIGHT.items()
}
STARTER[LAYER] = "class Conv2d:\n    def __init__(self, weight, bias=None, **options):\n"
STARTER[LAYER] += "        raise NotImplementedError\n"

#: What a learner does, and what it would be without the trouble that it makes.
ENDLESS = ("    return room", "    while dilation > 1:\n        stride += 1\n    return room")
INSTEAD_OF_ENDLESS = (
    "    return room",
    "    if dilation > 1:\n        raise RuntimeError\n    return room",
)
HOSTILE = "import os\n\n\ndef training_step(*arguments, **options):\n    os._exit(0)\n"
INSTEAD_OF_HOSTILE = "def training_step(*arguments, **options):\n    raise RuntimeError\n"

PEOPLE = (
    *("ada", "ben", "chloe", "dae-jung", "emma", "farid", "grace", "hugo", "ines", "jun"),
    *("kim", "lena", "mateo", "nora", "omar", "petra", "quinn", "rosa", "sven", "tarek"),
    *("uma", "viktor", "wanda", "xu", "yuna", "zoe", "amir", "bela", "carl", "dina"),
)


@dataclass(frozen=True)
class Work:
    r"""What a learner hands in: answers, how they stand there, and what they are worth."""

    what: str
    answers: dict[str, str]
    meant: dict[str, str]
    form: Callable[[dict[str, str]], dict[str, bytes]]


def sample(out: str | Path, learners: int = 30, seed: int = 0) -> dict[str, Any]:
    r"""Write what was handed out to a class, its submissions, and the marks that they deserve.

    Parameters
    ----------
    out : path
        A new folder, or an empty one.
    learners : int
        How many hand in something.
    seed : int
        Equal ones, equal classes. It is the seed of what was handed out, too.

    Returns
    -------
    dict
        As in `expected.json`: for each learner in words `what` they did, and for each exercise
        `points`, `out_of`, and whether each group is `passed`. No seed of the hidden cases changes
        them.

    Raises
    ------
    ValueError
        If the folder is not empty, or there are no learners.
    """
    out = Path(out)
    if learners < 1:
        raise ValueError(f"learners={learners}; make it at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; name a new folder")
    release(out, IDS, seed)
    expected: dict[str, Any] = {}
    works = _works(np.random.default_rng(seed))
    for number, work in zip(range(learners), works, strict=False):
        turn, place = divmod(number, len(PEOPLE))
        learner = PEOPLE[place] + (f"-{turn + 1}" if turn else "")
        for name, data in work.form(work.answers).items():
            _write(out / "submissions" / name.format(learner), data)
        marks = {id: _mark(id, work.meant.get(id, "")) for id in IDS}
        expected[learner] = {"what": work.what, "marks": marks}
    own = Path(sample_class.__file__).parent / "exercises" / "pool.py"
    _write(out / "exercises" / "pooling" / "pool.py", own.read_bytes())
    _write(out / "expected.json", (json.dumps(expected, indent=1) + "\n").encode())
    return expected


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _works(rng: np.random.Generator) -> Iterator[Work]:
    r"""Yield what learners hand in, without end; every fifteen of them have all kinds."""
    while True:
        yield _work("all right", _answers(rng), _notebook)
        yield _work("one mistake in each", _answers(rng, IDS), _notebook)
        yield _work("half finished", _answers(rng) | {LAYER: STARTER[LAYER], STEP: ""}, _notebook)
        shared = _work("a mistake, in a Python file", _answers(rng, (LAYER,)), _module)
        yield shared
        yield _work("mistakes, in a page", _answers(rng, (FIRST, STEP)), _page)
        yield _work("changed their mind in late cells", _answers(rng), _late_cells)
        yield _work(
            "magics, plots, and a cell with a syntax error", _answers(rng), _clumsy_notebook
        )
        yield _work("a zip file", _answers(rng, (SIZE,)), _zip)
        yield _work("the empty cell once more at the end", _answers(rng, (STEP,)), _emptied_again)
        yield _endless(rng)
        yield replace(shared, what="the same file as another learner")
        yield _hostile(rng)
        yield _work("only two done", {id: _answers(rng)[id] for id in (SIZE, FIRST)}, _module)
        yield _work("all right, in a page", _answers(rng), _page)
        yield _work("two mistakes", _answers(rng, (SIZE, LAYER)), _notebook)


def _work(
    what: str, answers: dict[str, str], form: Callable[[dict[str, str]], dict[str, bytes]]
) -> Work:
    return Work(what, answers, answers, form)


def _endless(rng: np.random.Generator) -> Work:
    answers = _answers(rng)
    works = _work("a loop without end where the dilation is above 1", answers, _notebook)
    loop, error = (_changed(RIGHT[SIZE], *change) for change in (ENDLESS, INSTEAD_OF_ENDLESS))
    return replace(works, answers=answers | {SIZE: loop}, meant=answers | {SIZE: error})


def _hostile(rng: np.random.Generator) -> Work:
    answers = _answers(rng)
    works = _work("an attempt to end the grader", answers, _notebook)
    return replace(
        works, answers=answers | {STEP: HOSTILE}, meant=answers | {STEP: INSTEAD_OF_HOSTILE}
    )


def _answers(rng: np.random.Generator, wrong: tuple[str, ...] = ()) -> dict[str, str]:
    r"""Return answers in somebody's own words, with a mistake in some."""
    answers = dict(RIGHT)
    for id in wrong:
        answers[id] = _changed(RIGHT[id], *MISTAKES[id][rng.integers(len(MISTAKES[id]))])
    for name, choices in NAMES.items():
        chosen = str(rng.choice(choices))
        answers = {id: re.sub(rf"\b{name}\b", chosen, text) for id, text in answers.items()}
    return answers


def _changed(text: str, old: str, new: str) -> str:
    if old not in text:
        raise ValueError(f"{old!r} does not stand in the answer")
    return text.replace(old, new)


@cache
def _mark(id: str, text: str) -> dict[str, Any]:
    r"""Return what an answer is worth."""
    exercise = load(id)
    groups = dict.fromkeys(exercise.groups, False)
    if text and text != STARTER[id]:
        answer = _defined(exercise, text)
        groups = passed(exercise, evaluate(patient(exercise, answer), exercise.cases(0)))
    return {"points": exercise.earned(groups), "out_of": exercise.points, "passed": groups}


def _defined(exercise: Exercise, text: str) -> Any:
    space: dict[str, Any] = {"__name__": "answer"}
    needed = IMPORTS if exercise.environment == "torch" else IMPORTS.splitlines()[0]
    exec(compile(f"{needed}\n{text}", "answer.py", "exec", dont_inherit=True), space)
    return space[exercise.name]


IMPORTS = "import numpy as np\nimport torch.nn.functional as F\n"


def _cells(answers: dict[str, str]) -> list[Any]:
    r"""Return cells that hold the answers, with some work around them."""
    cells = [_v4.new_markdown_cell("# My exercises"), _v4.new_code_cell(IMPORTS.rstrip())]
    for id, text in answers.items():
        role = {"course": {"exercise": id, "role": "answer"}}
        cells.append(_v4.new_code_cell(text.rstrip(), metadata=role))
        check = f'from coursepkg import check\n\ncheck("{id}", {load(id).name})'
        cells.append(_v4.new_code_cell(check))
    return cells


def _written(cells: list[Any]) -> dict[str, bytes]:
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return {"{}/exercises.ipynb": _v4.writes(_v4.new_notebook(cells=cells)).encode()}


def _notebook(answers: dict[str, str]) -> dict[str, bytes]:
    return _written(_cells(answers))


def _late_cells(answers: dict[str, str]) -> dict[str, bytes]:
    r"""Define something wrong first; the last definition counts."""
    first = "def output_size(size, kernel, stride=1, padding=0, dilation=1):\n    return size"
    cells = _cells(answers)
    return _written([*cells[:2], _v4.new_code_cell(first), *cells[2:]])


def _emptied_again(answers: dict[str, str]) -> dict[str, bytes]:
    r"""Leave a starter below the answer; what is not written does not count."""
    return _written([*_cells(answers), _v4.new_code_cell(STARTER[SIZE].rstrip())])


def _clumsy_notebook(answers: dict[str, str]) -> dict[str, bytes]:
    r"""Put much into other cells that cannot be run."""
    others = (
        "%matplotlib inline\n!pip install torch",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])",
        "for i in range(10)\n    print(i)",
        'name = input("Who are you? ")',
        "%%time\noutput_size(7, 3)",
        "1 / 0",
    )
    cells = _cells(answers)
    spread = [_v4.new_code_cell(source) for source in others]
    return _written([*spread[:3], *cells, *spread[3:]])


def _module(answers: dict[str, str]) -> dict[str, bytes]:
    return {"{}.py": "\n\n".join([IMPORTS, *answers.values()]).encode()}


def _page(answers: dict[str, str]) -> dict[str, bytes]:
    parts = [IMPORTS, *answers.values()]
    cells = "\n".join(f"```{{code-cell}} python\n{part.rstrip()}\n```\n" for part in parts)
    return {"{}/exercises.md": f"---\njupytext: {{}}\n---\n\n# My exercises\n\n{cells}".encode()}


def _zip(answers: dict[str, str]) -> dict[str, bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _notebook(answers).items():
            member = zipfile.ZipInfo(name.replace("{}", "homework"))  # of a fixed date
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return {"{}.zip": packed.getvalue()}
