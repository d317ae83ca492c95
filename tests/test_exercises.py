r"""One test over all exercises: a grader that is not itself tested is not a grader."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType

import pytest

from coursepkg.grading import Case, Exercise, exercise_ids, load
from coursepkg.grading.check import SEED, check
from coursepkg.grading.judge import evaluate, recognise
from coursepkg.testing import assert_close

BOOK = Path(__file__).parents[1] / "book"
OTHER_SEED = 20_260_301  # an instructor's

MISTAKES = [(id, mistake.name) for id in exercise_ids() for mistake in load(id).mistakes]


@pytest.fixture(params=exercise_ids())
def exercise(request: pytest.FixtureRequest) -> Exercise:
    return load(request.param)


def executed(source: str, name: str):
    space: dict = {"__name__": "answer"}
    exec(compile(source, "answer.py", "exec", dont_inherit=True), space)
    return space[name]


def problems(exercise: Exercise, answer, seed: int = SEED) -> list[str]:
    return [v.problem for v in evaluate(exercise, answer, exercise.cases(seed)) if v.problem]


def test_there_are_exercises():
    assert len(exercise_ids()) >= 3


@pytest.mark.parametrize("seed", [SEED, OTHER_SEED])
def test_the_reference_passes(exercise, seed):
    assert problems(exercise, exercise.reference, seed) == []


def test_the_solution_as_shown_passes(exercise):
    assert problems(exercise, executed(exercise.solution, exercise.name)) == []


def test_the_starter_fails_and_check_says_so_kindly(exercise):
    result = check(exercise.id, executed(exercise.starter, exercise.name))
    assert result.points == 0
    assert "Nothing to check yet" in result.text
    assert not result.hints


@pytest.mark.parametrize("seed", [SEED, OTHER_SEED])
@pytest.mark.parametrize(("id", "name"), MISTAKES)
def test_every_mistake_fails_and_is_recognised_by_its_own_hint(id, name, seed):
    exercise = load(id)
    (mistake,) = (m for m in exercise.mistakes if m.name == name)
    verdicts = evaluate(exercise, mistake.answer, exercise.cases(seed))
    assert any(v.problem for v in verdicts)
    assert [found.name for found in recognise(exercise, verdicts)] == [name]


def test_mistakes_are_complete(exercise):
    assert len(exercise.mistakes) >= 6
    assert len(set(exercise.hints)) == len(exercise.mistakes)
    assert all(len(hint) > 40 and hint.endswith(".") for hint in exercise.hints)
    module = importlib.import_module(inspect.getmodule(exercise.oracle).__name__)
    defined = {
        name
        for name, value in vars(module).items()
        if isinstance(value, FunctionType | type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    used = {m.name for m in exercise.mistakes}
    assert defined - {"hidden", "oracle", "driver"} == used


def test_every_group_gives_points_and_has_public_and_further_cases(exercise):
    public = exercise.public
    further = exercise.cases(SEED)[len(public) :]
    assert all(isinstance(p, int) and p > 0 for p in exercise.groups.values())
    assert groups(public) == groups(further) == set(exercise.groups)


def groups(cases: tuple[Case, ...]) -> set[str]:
    return {group for c in cases for group in ([c.group] if c.group else c.expected)}


def test_public_cases_agree_with_the_oracle(exercise):
    for case in exercise.public:
        if case.raises:
            with pytest.raises(case.expected):
                exercise.oracle(**case.inputs)
        else:
            expected = exercise.oracle(**case.inputs)
            expected = expected if isinstance(expected, dict) else {"result": expected}
            assert_close(expected, case.expected)


def test_equal_seeds_give_equal_cases_and_others_give_others(exercise):
    assert inputs(exercise, 1) == inputs(exercise, 1)
    assert inputs(exercise, 1) != inputs(exercise, 2)


def inputs(exercise: Exercise, seed: int) -> str:
    return repr([case.inputs for case in exercise.cases(seed)])


def test_the_text_is_whole(exercise):
    assert exercise.title
    assert not exercise.title.endswith(".")
    assert len(exercise.prompt) > 200
    assert exercise.name in exercise.prompt
    assert exercise.prompt.count("```") % 2 == 0
    outside = re.sub(r"```.*?```", "", exercise.prompt, flags=re.DOTALL)
    assert outside.count("`") % 2 == 0
    assert outside.count("$") % 2 == 0
    assert "\t" not in exercise.prompt


def test_environment_and_limit_are_known(exercise):
    assert exercise.environment in {"numpy", "torch"}
    assert 0 < exercise.seconds <= 60


def test_starters_need_nothing_of_the_course(exercise):
    assert not re.search(r"^\s*(import|from)\s+coursepkg", exercise.starter, flags=re.MULTILINE)


def test_each_exercise_stands_on_exactly_one_page():
    pattern = re.compile(r"^`{3,}\{graded-exercise\}[ \t]+(\S+)", flags=re.MULTILINE)
    found = [id for page in BOOK.rglob("*.md") for id in pattern.findall(page.read_text("utf-8"))]
    assert sorted(found) == exercise_ids()
