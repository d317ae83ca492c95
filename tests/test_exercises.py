r"""One test over all exercises: a grader that is not itself tested is not a grader."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import FunctionType

import pytest

from coursepkg.grading import Case, Exercise, exercise_ids, load, sample_class
from coursepkg.grading.check import SEED, check
from coursepkg.grading.feedback import literal
from coursepkg.grading.judge import Recogniser, evaluate, passed, patient
from coursepkg.grading.release import plain_prompt
from coursepkg.grading.source import packages_imported
from coursepkg.grading.worker.packages import packages_used, refusal
from coursepkg.testing import assert_close

BOOK = Path(__file__).parents[1] / "book"
OTHER_SEED = 20_260_301  # an instructor's

#: Where further exercises stand: those that ship as an example, and your own.
FOLDERS = [Path(sample_class.__file__).parent]
FOLDERS += filter(None, [os.environ.get("COURSE_EXERCISES_DIR")])
IDS = exercise_ids(FOLDERS)
VARIANTS = [(id, seed) for id in IDS if load(id, FOLDERS).varies for seed in range(1, 6)]
ALL = [(id, None) for id in IDS] + VARIANTS
MISTAKES = [(*key, m.name) for key in ALL for m in load(key[0], FOLDERS).mistakes]


@functools.cache
def exercise_of(id: str, variant: int | None) -> Exercise:
    exercise = load(id, FOLDERS)
    return exercise if variant is None else exercise.variant(variant, "ada")


@functools.cache
def recogniser_of(id: str, variant: int | None, seed: int) -> Recogniser:
    return Recogniser(exercise_of(id, variant), seed)


@pytest.fixture(params=ALL, ids=lambda key: key[0] if key[1] is None else f"{key[0]}@{key[1]}")
def exercise(request: pytest.FixtureRequest) -> Exercise:
    return exercise_of(*request.param)


def executed(source: str, name: str):
    space: dict = {"__name__": "answer"}
    exec(compile(source, "answer.py", "exec", dont_inherit=True), space)
    return space[name]


def problems(exercise: Exercise, answer, seed: int = SEED) -> list[str]:
    verdicts = evaluate(patient(exercise, answer), exercise.cases(seed))
    return [v.problem for v in verdicts if v.problem]


def test_there_are_exercises():
    assert len(exercise_ids()) >= 3


@pytest.mark.parametrize("seed", [SEED, OTHER_SEED])
def test_the_reference_passes(exercise, seed):
    assert problems(exercise, exercise.reference, seed) == []


def test_the_solution_as_shown_passes(exercise):
    assert problems(exercise, executed(exercise.solution, exercise.name)) == []


def test_the_starter_fails_and_check_says_so_kindly(exercise):
    result = check(exercise.id, executed(exercise.starter, exercise.name), FOLDERS)
    assert result.points == 0
    assert "Nothing to check yet" in result.text
    assert not result.hints


@pytest.mark.parametrize("seed", [SEED, OTHER_SEED])
@pytest.mark.parametrize(("id", "variant", "name"), MISTAKES)
def test_every_mistake_fails_and_is_recognised_by_its_own_hint(id, variant, name, seed):
    recogniser = recogniser_of(id, variant, seed)
    (mistake,) = (m for m in recogniser.exercise.mistakes if m.name == name)
    verdicts = evaluate(patient(recogniser.exercise, mistake.answer), recogniser.cases)
    assert any(v.problem for v in verdicts)
    assert [found.name for found in recogniser.recognise(verdicts)] == [name]


@pytest.mark.parametrize(("id", "variant"), VARIANTS)
def test_the_answer_to_another_variant_is_not_enough(id, variant):
    exercise, base = exercise_of(id, variant), exercise_of(id, None)
    if exercise.settings != base.settings:
        verdicts = evaluate(patient(exercise, base.reference), exercise.cases(SEED))
        assert not all(passed(exercise, verdicts).values())


def test_mistakes_are_complete(exercise):
    assert len(exercise.mistakes) >= 6
    assert len(set(exercise.hints)) == len(exercise.mistakes)
    assert all(len(hint) > 40 and hint.endswith(".") for hint in exercise.hints)
    module = exercise.module
    defined = {
        name
        for name, value in vars(module).items()
        if isinstance(value, FunctionType | type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    parts = {"reference", exercise.name, "hidden", "oracle", "driver", "variant"}
    assert defined - parts == {m.name for m in exercise.mistakes} - parts


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
    assert exercise.allowed
    assert 0 < exercise.seconds <= 60


def test_starters_need_nothing_of_the_course(exercise):
    assert not re.search(r"^\s*(import|from)\s+coursepkg", exercise.starter, flags=re.MULTILINE)


def test_a_prompt_is_plain_markdown(exercise):
    assert plain_prompt(exercise) == exercise.prompt


def test_the_published_answer_uses_nothing_that_an_answer_may_not(exercise):
    used = packages_used(executed(exercise.solution, exercise.name)) - {"coursepkg", "answer"}
    assert [w for p in used if (w := refusal(p, exercise.forbid, exercise.allowed))] == []
    imported = packages_imported(exercise.starter)
    assert [w for p in imported if (w := refusal(p, exercise.forbid, exercise.allowed))] == []


#: Defines a driver where the course cannot be imported, and runs it on the published answer.
APART = """
import json, sys
import numpy as np

sys.modules["coursepkg"] = None
for line in sys.stdin:
    task = json.loads(line)
    driver, answer = {"__name__": "driver"}, {"__name__": "answer"}
    exec(compile(task["driver"], "driver", "exec"), driver)
    found = []
    if task["cases"]:
        exec(compile(task["solution"], "answer", "exec"), answer)
    for inputs in task["cases"]:
        given = {name: eval(value, {"np": np}) for name, value in inputs.items()}
        results = driver["driver"](answer[task["name"]], **given)
        found.append([list(result) for result in results])
    print(json.dumps([task["id"], found], default=lambda array: array.tolist()))
"""


def test_drivers_run_apart_from_the_course(tmp_path):
    """Solutions that import the course themselves cannot: of these the driver is only defined."""
    tasks = [driven(load(id, FOLDERS)) for id in IDS if load(id, FOLDERS).driver_source]
    lines = "".join(json.dumps(task) + "\n" for task in tasks)
    command = [sys.executable, "-I", "-c", APART]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = dict(map(json.loads, done.stdout.splitlines()))
    assert list(found) == [task["id"] for task in tasks]
    for task in tasks:
        exercise = load(task["id"], FOLDERS)
        assert found[exercise.id] == [plain(exercise, case) for case in alone(exercise)]
    assert sum(map(bool, found.values())) >= 3


def alone(exercise: Exercise) -> list[Case]:
    r"""Return public cases, unless the solution needs the course."""
    by_itself = "coursepkg" not in packages_imported(exercise.solution)
    return [case for case in exercise.public if not case.raises] if by_itself else []


def driven(exercise: Exercise) -> dict:
    cases = [
        {name: literal(value, sys.maxsize) for name, value in case.inputs.items()}
        for case in alone(exercise)
    ]
    texts = {"driver": exercise.driver_source, "solution": exercise.solution}
    return {"id": exercise.id, "name": exercise.name, "cases": cases, **texts}


def plain(exercise: Exercise, case: Case) -> list:
    results = exercise.driver(exercise.reference, **case.inputs)
    return json.loads(json.dumps([*results], default=lambda array: array.tolist()))


def test_a_driver_read_off_its_source_does_what_the_driver_does(exercise):
    if exercise.driver_source:
        copy = replace(exercise, driver=executed(exercise.driver_source, "driver"))
        assert problems(copy, exercise.reference) == []


def test_each_exercise_stands_on_exactly_one_page():
    pattern = re.compile(r"^`{3,}\{graded-exercise\}[ \t]+(\S+)", flags=re.MULTILINE)
    found = [id for page in BOOK.rglob("*.md") for id in pattern.findall(page.read_text("utf-8"))]
    assert sorted(found) == exercise_ids()
