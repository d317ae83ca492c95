"""Exercises are found by id and read off their modules."""

from types import ModuleType

import pytest

from coursepkg.convolution.arithmetic import span
from coursepkg.grading import Case, exercise_ids, load
from coursepkg.grading.exercise import from_module


def module(**changes) -> ModuleType:
    def hidden(rng):
        yield Case("taps", {"kernel": int(rng.integers(1, 9)), "dilation": 1}, 0)

    def too_short(kernel, dilation=1):
        """One
        line.
        """

    made = ModuleType("made", "The title\n\nThe prompt,\nin two lines.\n")
    vars(made).update(
        points={"taps": 2, "errors": 1},
        environment="numpy",
        seconds=1.0,
        reference=span,
        PUBLIC=[Case("taps", {"kernel": 3}, 3), Case("errors", {"kernel": 0}, ValueError)],
        hidden=hidden,
        oracle=lambda kernel, dilation=1: len(range(0, dilation * (kernel - 1) + 1)),
        WRONG=[too_short],
        FORBID=["torch"],
    )
    vars(made).update(changes)
    return made


def test_ids_are_sorted_and_each_can_be_loaded():
    assert exercise_ids() == sorted(exercise_ids())
    assert [load(id).id for id in exercise_ids()] == exercise_ids()


@pytest.mark.parametrize(
    ("id", "near"),
    [
        ("convolution/outputsize", "'convolution/output-size'"),
        ("conv2d", "'convolution/conv2d'"),
        ("convolution/output_size", "'convolution/output-size'"),
        ("", "'convolution/conv2d'"),
        (None, "'convolution/conv2d'"),
    ],
)
def test_an_unknown_id_lists_what_looks_like_it(id, near):
    with pytest.raises(ValueError, match="there is no exercise") as error:
        load(id)
    assert near in str(error.value)


def test_everything_comes_from_the_module():
    exercise = from_module("made/span", module())
    assert (exercise.title, exercise.prompt) == ("The title", "The prompt,\nin two lines.")
    assert (exercise.points, exercise.name) == (3, "span")
    assert exercise.hints == ("One line.",)
    assert exercise.mistakes[0].name == "too_short"
    assert exercise.starter.endswith("raise NotImplementedError\n")
    assert "def span" in exercise.solution


def test_a_plain_result_gets_the_name_that_its_driver_gives_it():
    public = from_module("made/span", module()).public
    assert public[0].expected == {"result": 3}
    assert public[1].expected is ValueError


def test_a_drivers_results_have_names_already():
    def driver(Answer, kernel):
        yield "reach", Answer(kernel)

    case = Case("", {"kernel": 3}, {"reach": 3})
    exercise = from_module("made/span", module(driver=driver, PUBLIC=[case]))
    assert exercise.public == (case,)


def test_cases_are_the_public_ones_and_those_of_the_seed():
    exercise = from_module("made/span", module())
    drawn = {seed: exercise.cases(seed)[-1].inputs["kernel"] for seed in range(9)}
    assert exercise.cases(0)[:2] == exercise.public
    assert drawn == {seed: exercise.cases(seed)[-1].inputs["kernel"] for seed in range(9)}
    assert len(set(drawn.values())) > 1


def test_further_functions_can_be_shown_with_the_solution():
    from coursepkg.convolution.arithmetic import same_padding

    assert "def same_padding" in from_module("x", module(shown=[same_padding])).solution
