"""Marks come from compared values, belong to groups, and are the same every time."""

import json
import re
import textwrap
import time

import pytest

from coursepkg.grading import exercise_ids, load
from coursepkg.grading.judge import Recogniser
from coursepkg.grading.marks import Graded, fingerprint, grade, published
from coursepkg.grading.sandbox import Sandbox, Session
from coursepkg.grading.submissions import Submission
from coursepkg.grading.worker.run import Failure

SEED = 7

PLAIN = '''
r"""Twice as much

Write `twice(x)`.
"""
import numpy as np
from coursepkg.grading import Case

def twice(x):
    r"""Double."""
    if not np.all(np.isfinite(x)):
        raise ValueError("x is not finite")
    return 2 * x

points = {"whole": 2, "fraction": 1, "errors": 1}
environment = "numpy"
seconds = 0.5
reference = oracle = twice
FORBID = ()
PUBLIC = (
    Case("whole", {"x": 1}, 2),
    Case("fraction", {"x": 0.5}, 1.0),
    Case("errors", {"x": float("nan")}, ValueError),
)

def hidden(rng):
    for _ in range(3):
        n = int(rng.integers(10, 10**6))
        yield Case("whole", {"x": n}, 2 * n)
    x = float(rng.uniform(1, 2))
    yield Case("fraction", {"x": x}, 2 * x)
    yield Case("errors", {"x": float("inf")}, ValueError)

def squared(x):
    """Twice a number is not its square."""
    return x**2

WRONG = (squared,)
'''

LAYER = '''
r"""A layer that scales

Write the class `Scale`.
"""
import numpy as np
from coursepkg.grading import Case

class Scale:
    r"""Scale."""
    def __init__(self, weight):
        self.weight = weight
    def forward(self, x):
        r"""Scale."""
        self.x = x
        return self.weight * x
    def backward(self, grad):
        r"""Differentiate."""
        self.grad_weight = np.sum(grad * self.x)
        return self.weight * grad

points = {"output": 1, "grad_input": 1, "grad_weight": 1}
environment = "numpy"
seconds = 1.0
reference = Scale
FORBID = ()

def driver(Answer, weight, x, grad):
    layer = Answer(weight)
    yield "output", layer.forward(x)
    yield "grad_input", layer.backward(grad)
    yield "grad_weight", layer.grad_weight

def oracle(weight, x, grad):
    return {"output": weight * x, "grad_input": weight * grad, "grad_weight": np.sum(grad * x)}

ONE = {"weight": 2.0, "x": np.array([1.0, 2.0]), "grad": np.array([1.0, 0.0])}
PUBLIC = (Case("", ONE, oracle(**ONE)),)

def hidden(rng):
    case = {"weight": float(rng.normal()), "x": rng.normal(size=3), "grad": rng.normal(size=3)}
    yield Case("", case, oracle(**case))

WRONG = ()
'''

TRAINING = '''
r"""Train

Write `train(model, input, target)`: one step of gradient descent of size 0.1.
"""
import numpy as np
import torch
from coursepkg.grading import Case

def train(model, input, target):
    r"""Train."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = torch.nn.functional.mse_loss(model(input), target)
    loss.backward()
    optimizer.step()
    return loss.item()

points = {"loss": 1, "weight": 1}
environment = "torch"
seconds = 5.0
reference = train
FORBID = ()

def driver(Answer, weight, input, target):
    model = torch.nn.Linear(2, 1, bias=False).double()
    model.weight = torch.nn.Parameter(torch.tensor(weight))
    yield "loss", Answer(model, torch.tensor(input), torch.tensor(target))
    yield "weight", model.weight.detach().numpy()

def oracle(weight, input, target):
    error = input @ weight.T - target
    step = 2 * error.T @ input / error.size
    return {"loss": float(np.mean(error**2)), "weight": weight - 0.1 * step}

ONE = {"weight": np.ones((1, 2)), "input": np.eye(2), "target": np.zeros((2, 1))}
PUBLIC = (Case("", ONE, oracle(**ONE)),)

def hidden(rng):
    case = {name: rng.normal(size=value.shape) for name, value in ONE.items()}
    yield Case("", case, oracle(**case))

WRONG = ()
'''

RIGHT = """
def twice(x):
    if not -1e308 < x < 1e308:
        raise ValueError("no")
    return x + x
"""


@pytest.fixture(scope="module")
def exercises(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")
    (folder / "made").mkdir()
    for name, text in {"twice": PLAIN, "scale": LAYER, "train": TRAINING}.items():
        (folder / "made" / f"{name}.py").write_text(text)
    return {name: load(f"made/{name}", [folder]) for name in ("twice", "scale", "train")}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox("auto") as sandbox:
        yield sandbox


@pytest.fixture
def mark(exercises, sandbox):
    def mark(source: str, exercise: str = "twice"):
        submission = Submission.of("ann", {"hw1.py": textwrap.dedent(source).encode()})
        (mark,) = grade(submission, [exercises[exercise]], sandbox, SEED).marks
        return mark

    return mark


STILL_EMPTY = """
def twice(x):
    if x is None:
        return 1
    raise NotImplementedError
"""


def earned(mark) -> dict[str, int]:
    return {name: group["points"] for name, group in mark.groups.items()}


def test_a_right_answer_gets_all_points(mark, exercises):
    got = mark(RIGHT)
    assert (got.exercise, got.title) == ("made/twice", "Twice as much")
    assert (got.points, got.out_of, got.status) == (4, 4, "graded")
    assert got.groups["whole"] == {"points": 2, "out_of": 2, "passed": True}
    assert "All 8 results are right" in got.feedback
    assert got.place.startswith("hw1.py")
    assert "return x + x" in got.source
    assert not got.published
    assert got.fingerprint == exercises["twice"].fingerprint(SEED)


def test_a_group_counts_only_whole(mark):
    got = mark("def twice(x):\n    return 2 * x if x < 10**4 else 0")  # right in the public cases
    assert earned(got) == {"whole": 0, "fraction": 1, "errors": 0}
    assert got.points == 1
    assert not got.groups["whole"]["passed"]


def test_hidden_cases_are_named_by_group_only(mark, exercises):
    hidden = exercises["twice"].cases(SEED)[3].inputs["x"]
    got = mark("def twice(x):\n    print(x)\n    return 2 * x if x < 10 else x")
    assert "'whole': fails on a case that is not shown" in got.feedback
    assert str(hidden) not in got.feedback
    assert "nan" in got.feedback  # the public case that fails is shown


def test_a_known_mistake_is_recognised(mark):
    got = mark("def twice(x):\n    return x * x")
    assert got.mistakes == ("squared",)
    assert got.hints == ("Twice a number is not its square.",)
    assert "Hint: Twice a number is not its square." in got.feedback


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("x = 1", "missing", "twice"),
        ("def twice(x):\n    raise NotImplementedError", "unwritten", ""),
        (STILL_EMPTY, "unwritten", "Nothing to check yet"),
        ("import torch\ndef twice(x):\n    return torch.add(x, x)", "forbidden", "torch"),
        ("twice = 1 / 0", "failed", "ZeroDivisionError"),
    ],
)
def test_where_nothing_can_be_run_the_reason_is_said(mark, source, status, words):
    got = mark(source)
    assert (got.status, got.points) == (status, 0)
    assert got.feedback.startswith("made/twice: 0 of 4 points\n")
    assert words in got.feedback
    assert earned(got) == {"whole": 0, "fraction": 0, "errors": 0}


def test_without_files_everything_is_missing(exercises):
    submission = Submission.of("ann", {}, ("ann.docx cannot be graded",))
    graded = grade(submission, list(exercises.values()), Untouched(), SEED)
    assert [mark.status for mark in graded.marks] == ["missing"] * 3
    assert [mark.out_of for mark in graded.marks] == [4, 3, 2]
    assert graded.problems == submission.problems


def test_each_file_that_cannot_be_read_is_a_problem_once(exercises, sandbox):
    files = {
        "a.ipynb": b'{"cells": [',
        "b.py": b"Dear grader\n",
        "c.md": b"# Only words\n",
        "hw.py": RIGHT.encode(),
    }
    submission = Submission.of("ann", files, ("d.docx cannot be graded",))
    graded = grade(submission, list(exercises.values()), sandbox, SEED)
    assert [mark.status for mark in graded.marks] != ["failed"] * 3
    first, damaged, no_python = graded.problems
    assert first == "d.docx cannot be graded"
    assert damaged.startswith("a.ipynb is damaged: Expecting value in line 1")
    assert no_python == "b.py is no Python: SyntaxError: invalid syntax (b.py, line 1)"


def test_problems_of_files_are_short_plain_and_not_too_many(exercises, sandbox, monkeypatch):
    def opening(self, task):
        self.problems = {f"{n:02}.py": f"{n}.py is\x1b[2J {'long' * 1000}\n" for n in range(30)}
        return original(self, task)

    original = Session.open
    monkeypatch.setattr(Session, "open", opening)
    monkeypatch.setattr(Session, "_load", lambda self: None)
    submission = Submission.of("ann", {"hw.py": b""})
    problems = grade(submission, [exercises["twice"]], sandbox, SEED).problems
    assert len(problems) == 21
    assert problems[-1] == "and 10 more problems"
    assert all(len(line) < 310 and line.isprintable() for line in problems)


class Untouched:
    isolation = "namespaces"

    def session(self, environment, files):
        raise AssertionError("there is nothing to run")


def test_dying_costs_only_the_case_that_died(mark):
    got = mark("import os\ndef twice(x):\n    return os._exit(3) if x == 0.5 else 2 * x")
    assert earned(got) == {"whole": 2, "fraction": 0, "errors": 0}


def test_after_a_time_out_the_rest_of_its_group_is_not_run(mark):
    got = mark(
        """
        def twice(x):
            while x == 1:
                pass
            if x != x or x > 1e308:
                raise ValueError("no")
            return 2 * x
        """
    )
    assert earned(got) == {"whole": 0, "fraction": 1, "errors": 1}
    assert "stopped after 0.5 s" in got.feedback


def test_a_class_is_graded_result_by_result(mark):
    got = mark(
        """
        import numpy as np
        class Scale:
            def __init__(self, weight):
                self.weight = weight
            def forward(self, x):
                self.x = x
                return self.weight * x
            def backward(self, grad):
                self.grad_weight = np.sum(grad)
                return self.weight * grad
        """,
        "scale",
    )
    assert earned(got) == {"output": 1, "grad_input": 1, "grad_weight": 0}


def test_a_death_in_a_later_result_leaves_the_earlier_ones(mark):
    got = mark(
        """
        import os
        class Scale:
            def __init__(self, weight):
                self.weight = weight
            def forward(self, x):
                self.x = x
                return self.weight * x
            def backward(self, grad):
                os._exit(3)
        """,
        "scale",
    )
    assert earned(got) == {"output": 1, "grad_input": 0, "grad_weight": 0}
    assert "ended the program, with exit code 3" in got.feedback


def test_a_time_out_in_a_later_result_leaves_the_earlier_ones(mark):
    got = mark(
        """
        class Scale:
            def __init__(self, weight):
                self.weight = weight
            def forward(self, x):
                self.x = x
                return self.weight * x
            def backward(self, grad):
                while True:
                    pass
        """,
        "scale",
    )
    assert earned(got) == {"output": 1, "grad_input": 0, "grad_weight": 0}
    assert "stopped after 1 s" in got.feedback


def test_a_training_loop_is_graded(mark, exercises):
    assert mark(exercises["train"].solution, "train").points == 2
    forgotten = exercises["train"].solution.replace("optimizer.step()", "pass")
    assert earned(mark(forgotten, "train")) == {"loss": 1, "weight": 0}


def test_exercises_keep_their_order_and_their_answers(exercises, sandbox):
    files = {"a.py": RIGHT.encode(), "b.py": exercises["train"].solution.encode()}
    order = [exercises[name] for name in ("scale", "train", "twice")]
    graded = grade(Submission.of("ann", files), order, sandbox, SEED)
    assert [(mark.exercise, mark.points) for mark in graded.marks] == [
        ("made/scale", 0),
        ("made/train", 2),
        ("made/twice", 4),
    ]
    assert graded.isolation == sandbox.isolation != "none"
    assert Graded.from_json(json.loads(json.dumps(graded.to_json()))) == graded


def test_equal_submissions_get_equal_marks_to_the_byte(exercises, sandbox):
    values = b"[random.random(), np.random.rand(), object(), {'a', 'b', 'c'}]"
    source = b"import random\nimport numpy as np\ndef twice(x):\n    raise KeyError(%s)" % values
    submission = Submission.of("ann", {"a.py": source})
    one = grade(submission, [exercises["twice"]], sandbox, SEED)
    with Sandbox(sandbox.isolation) as other:
        two = grade(submission, [exercises["twice"]], other, SEED)
    assert json.dumps(one.to_json()) == json.dumps(two.to_json())
    assert "<object object" in one.marks[0].feedback
    assert not re.search("0x[0-9a-f]{6}", one.marks[0].feedback)


KEEPS = """
import sys
from pathlib import Path
def twice(x):
    sys.kept = [*getattr(sys, "kept", []), x]
    try:
        Path("kept").write_text(str(sys.kept))
    except OSError:
        pass
    return 2 * x

class Scale:
    def __init__(self, weight):
        path = Path("kept")
        raise RuntimeError(f"kept {getattr(sys, 'kept', '')}{path.exists() and path.read_text()}")
"""


def test_hidden_inputs_do_not_reach_the_next_exercise(exercises, sandbox):
    submission = Submission.of("ann", {"a.py": KEEPS.encode()})
    both = [exercises["twice"], exercises["scale"]]
    first, second = grade(submission, both, sandbox, SEED).marks
    assert earned(first)["whole"] == 2
    assert "raised RuntimeError: kept False" in second.feedback


def test_the_seed_decides_about_the_hidden_cases(exercises, sandbox):
    known = [case.inputs["x"] for case in exercises["twice"].cases(SEED)[3:6]]
    cheat = f"def twice(x):\n    return 2 * x if x in {[1, *known]} else 0"
    submission = Submission.of("ann", {"a.py": cheat.encode()})
    points = [
        earned(grade(submission, [exercises["twice"]], sandbox, seed).marks[0])["whole"]
        for seed in (SEED, SEED + 1)
    ]
    assert points == [2, 0]


def test_cases_are_made_once_for_all_submissions(exercises, sandbox, monkeypatch):
    submission = Submission.of("ann", {"a.py": RIGHT.encode()})
    before = grade(submission, [exercises["twice"]], sandbox, SEED)
    monkeypatch.setattr(Recogniser, "__init__", None)
    assert grade(submission, [exercises["twice"]], sandbox, SEED) == before
    assert fingerprint(exercises["twice"], SEED) == before.marks[0].fingerprint


def test_endless_texts_are_cut(mark):
    got = mark(
        f"def twice(x):\n    return 2 * x\n{'# filler' * 50_000}\n    return {'1 + ' * 30_000}1"
    )
    assert len(got.source) < 101_000
    got = mark("def twice(x):\n    raise ValueError('long ' * 100_000)")
    assert len(got.feedback) < 21_000


def test_what_takes_too_long_to_read_is_left_out_from_then_on(exercises, sandbox, monkeypatch):
    told = []
    original = Sandbox.session

    def session(self, environment, files, late=()):
        told.append({*late})
        return original(self, environment, files, ["slow.py"])

    monkeypatch.setattr(Sandbox, "session", session)
    submission = Submission.of("ann", {"slow.py": b"k = 1", "hw.py": RIGHT.encode()})
    order = [exercises["train"], exercises["twice"]]
    first, second = grade(submission, order, sandbox, SEED).marks
    assert told == [set(), {"slow.py"}]
    assert "slow.py cannot be read: it takes too long" in first.feedback
    assert second.points == 4


def test_what_cannot_be_read_is_tried_once(exercises, sandbox, monkeypatch):
    tried = []

    def session(self, environment, files, late=()):
        tried.append(environment)
        found = original(self, environment, files, late)
        found.unreadable = Failure(("Died",), "what was handed in cannot be read: so", "")
        return found

    original = Sandbox.session
    monkeypatch.setattr(Sandbox, "session", session)
    submission = Submission.of("ann", {"hw.py": RIGHT.encode()})
    order = [exercises["scale"], exercises["twice"]]
    marks = grade(submission, order, sandbox, SEED).marks
    assert len(tried) == 1
    assert {mark.status for mark in marks} == {"failed"}
    assert all("what was handed in cannot be read: so" in mark.feedback for mark in marks)


def test_a_function_in_the_place_of_a_class_is_told(mark):
    got = mark("def Scale(weight):\n    return weight\n", "scale")
    assert (got.status, got.points) == ("failed", 0)
    assert "Scale is a value of type function, but a class is wanted" in got.feedback


# --- published solutions

SOLUTION = '''
from coursepkg.validation import integer


# From coursepkg.convolution.arithmetic
def span(kernel: int, dilation: int = 1) -> int:
    r"""Return how far the taps reach.

    >>> span(3)
    3
    """
    kernel, dilation = integer("kernel", kernel), dilation  # checked
    return dilation * (kernel - 1) + 1


def other():
    return 1
'''


def test_the_published_solution_is_noticed_when_pasted():
    assert published(SOLUTION, SOLUTION, "span")
    pasted = """
def span(
    kernel,
    dilation=1,
):
    '''My own words.'''
    # mine
    kernel, dilation = integer('kernel', kernel), dilation
    return dilation*(kernel-1)+1
print(span(3))
"""
    assert not published(pasted, SOLUTION, "span")  # other quotes
    assert published(pasted.replace("'kernel'", '"kernel"'), SOLUTION, "span")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def span(kernel, dilation=1):\n    return dilation * (kernel - 1) + 1\n",
        SOLUTION.replace("kernel - 1", "kernel"),
        SOLUTION.replace("def span", "def spam"),
        SOLUTION + "\n\ndef span(kernel):\n    return kernel\n",
    ],
)
def test_other_answers_are_not_taken_for_the_published_one(source):
    assert not published(source, SOLUTION, "span")


def test_a_class_is_compared_with_all_its_methods():
    text = "class A(B):\n    size = 1\n\n    @property\n    def f(self):\n        return 1\n"
    assert published(text.replace("(B)", ""), text, "A")
    assert not published(text.replace("return 1", "return 2"), text, "A")


@pytest.mark.parametrize("id", exercise_ids())
def test_the_solutions_of_all_exercises_are_noticed(id):
    exercise = load(id)
    assert published(exercise.solution, exercise.solution, exercise.name)
    assert not published(exercise.starter, exercise.solution, exercise.name)


def test_comparing_takes_no_time_to_speak_of():
    lines = '"""x\n' * 19_000
    for hostile in ('"""' * 40_001 + "'''" * 40_001 + "#" * 100_000, f"    a = '''\n{lines}'''"):
        begin = time.process_time()
        assert not published(f"def span():\n{hostile}", SOLUTION, "span")
        assert time.process_time() - begin < 1
