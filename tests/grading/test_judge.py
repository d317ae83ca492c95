"""Outcomes are compared with what was expected, and mistakes recognised by what they do."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from coursepkg.grading import Case, load
from coursepkg.grading.exercise import Limits
from coursepkg.grading.judge import (
    NOT_RUN,
    Recogniser,
    _same_behaviour,
    evaluate,
    judge,
    recognise,
    runner,
)
from coursepkg.grading.worker.run import Failure, Outcome, call, run

SIZE = load("convolution/output-size")
CONV = load("convolution/conv2d")
LAYER = load("convolution/conv2d-layer")


def problem(answer, case: Case, seconds: float = 1.0) -> str | None:
    (verdict,) = judge(case, run(answer, case.inputs, call, seconds))
    return verdict.problem


def gives(expected) -> Case:
    return Case("group", {"x": np.array([1.0, 2.0])}, {"result": expected})


RAISES = Case("group", {"x": np.array([1.0, 2.0])}, ValueError)


def fails(error):
    def f(x):
        raise error

    return f


def doubled_in_place(x):
    x *= 2
    return x


@pytest.mark.parametrize(
    ("answer", "case", "expected"),
    [
        (lambda x: 2 * x, gives(np.array([2.0, 4.0])), None),
        (lambda x: x + 1, gives(np.array([2.0, 4.0])), "result[1] is 3.0, expected 4.0"),
        (lambda x: None, gives(3), "a return missing"),
        (lambda x: 3.0, gives(3), "is a float (3.0), expected an int (3)"),
        (lambda x: [2.0, 4.0], gives(np.array([2.0, 4.0])), "result is a list, expected"),
        (doubled_in_place, gives(np.array([2.0, 4.0])), "`x` was changed in place"),
        (fails(KeyError("k")), gives(3), "raised KeyError: 'k' (line "),
        (fails(NotImplementedError()), gives(3), "not written yet"),
        (lambda: 3, gives(3), "keep the parameters of the starter"),
        (fails(ValueError("no")), RAISES, None),
        (fails(UnicodeError("a kind of ValueError")), RAISES, None),
        (fails(TypeError("no")), RAISES, "; expected ValueError"),
        (lambda x: 3, RAISES, "returned 3 instead of raising ValueError"),
    ],
)
def test_the_problem_is_said_in_a_sentence(answer, case, expected):
    got = problem(answer, case)
    assert got is None if expected is None else expected in got


def test_a_result_that_the_driver_does_not_give_is_missing():
    case = Case("", {"x": 1}, {"other": 1})
    assert problem(lambda x: 1, case) == "other is missing"


def test_results_belong_to_the_group_of_the_case_or_to_their_own():
    outcome = run(lambda x: 1, {"x": 1}, call, 1)
    assert judge(Case("", {"x": 1}, {"result": 1}), outcome)[0].group == "result"
    assert judge(Case("stride", {"x": 1}, {"result": 1}), outcome)[0].group == "stride"


LATE = Failure(("OutOfTime", "BaseException"), "stopped after 1 s", "")


def timed(late: set[int], groups: str) -> tuple[list[int], list[bool]]:
    r"""Return which cases, one of each group, are run if these are late, and which fail."""
    ran: list[int] = []

    def run(inputs, results=None):
        ran.append(inputs["x"])
        failure = LATE if inputs["x"] in late else None
        return Outcome({} if failure else {"result": 1}, failure, (), "")

    cases = [Case(group, {"x": i}, {"result": 1}) for i, group in enumerate(groups)]
    return ran, [v.problem is not None for v in evaluate(run, cases)]


def test_after_a_time_out_the_rest_of_its_group_is_not_run():
    assert timed({1}, "aaabab") == ([0, 1, 3, 5], [False, True, True, False, True, False])


def test_after_the_third_time_out_nothing_more_is_run():
    assert timed({0, 1, 2}, "abcde") == ([0, 1, 2], [True] * 5)
    assert timed({0, 2}, "abcde") == ([0, 1, 2, 3, 4], [True, False, True, False, False])


def in_three_steps(stuck: set[int], number: int) -> tuple[list[int | None], list[str | None]]:
    r"""Return how many results were wanted of each case, and the problems, by name."""
    wanted: list[int | None] = []

    def run(inputs, results=None):
        wanted.append(results)
        late = inputs["x"] in stuck and (results is None or results > 1)
        outputs = {"first": 1} if late or results == 1 else {"first": 1, "second": 2}
        return Outcome(outputs, LATE if late else None, (), "")

    cases = [Case("", {"x": i}, {"first": 1, "second": 2}) for i in range(number)]
    return wanted, [v.problem for v in evaluate(run, cases)]


def test_what_came_before_a_time_out_is_still_run_in_the_other_cases():
    wanted, problems = in_three_steps({1}, 4)
    assert wanted == [None, None, 1, 1]
    assert problems[::2] == [None] * 4
    assert problems[1] is None
    assert all("too long" in problem for problem in problems[5::2])


DEAD = Failure(("Died",), "crashed (segmentation fault)", "")


@pytest.mark.parametrize(("lives", "wanted"), [(0, [1]), (1, [1, 2]), (2, [1, 2])])
def test_what_came_before_a_death_is_fetched_and_still_run_in_the_other_cases(lives, wanted):
    asked: list[tuple[int, int | None]] = []
    names = ("a", "b", "c")

    def run(inputs, results=None):
        asked.append((inputs["x"], results))
        if inputs["x"] >= 1 and (results is None or results > lives):
            return Outcome({}, DEAD, (), "")
        return Outcome(dict.fromkeys(names[:results], 1), None, (), "")

    cases = [Case("", {"x": i}, dict.fromkeys(names, 1)) for i in range(3)]
    verdicts = evaluate(run, cases)
    last = [(2, lives)] if lives else []
    assert asked == [(0, None), (1, None), *((1, n) for n in wanted), *last]
    right = [v.problem is None for v in verdicts]
    assert right == [True] * 3 + [n < lives for n in range(3)] * 2
    assert verdicts[5].problem == "crashed (segmentation fault)"
    assert verdicts[8].problem == "not run, as an earlier case took too long or ended the program"


def test_a_death_in_a_case_of_one_group_costs_that_case():
    def run(inputs, results=None):
        assert results is None
        return (
            Outcome({}, DEAD, (), "") if inputs["x"] == 1 else Outcome({"result": 1}, None, (), "")
        )

    cases = [Case("a", {"x": i}, {"result": 1}) for i in range(3)]
    assert [v.problem is None for v in evaluate(run, cases)] == [True, False, True]


def test_an_answer_that_only_waits_has_an_end():
    def run(inputs, results=None):
        time.sleep(0.05)
        return Outcome({"result": 1}, None, (), "")

    cases = [Case("a", {"x": i}, {"result": 1}) for i in range(1000)]
    verdicts = evaluate(run, cases, seconds=0.2)
    assert verdicts[0].problem is None
    assert verdicts[-1].outcome is NOT_RUN
    assert len(verdicts) == 1000


def test_what_is_not_run_says_so():
    def slow(size, kernel, **options):
        time.sleep(9)

    exercise = replace(SIZE, limits=Limits(0.1))
    verdicts = evaluate(runner(exercise, slow), exercise.public)
    assert "within 0.1 s" in verdicts[0].problem or "after 0.1 s" in verdicts[0].problem
    assert verdicts[1].outcome is NOT_RUN
    assert len(verdicts) == len(exercise.public)


@pytest.mark.parametrize("kind", ["OutOfTime", "Died", "ValueError"])
def test_an_empty_message_is_a_problem_all_the_same(kind):
    (verdict,) = judge(gives(3), Outcome({}, Failure((kind,), "", ""), (), ""))
    assert kind in verdict.problem


@pytest.mark.parametrize("case", [gives(3), RAISES])
def test_an_integer_too_long_to_print_is_a_problem_and_no_crash(case):
    assert problem(lambda x: 10**5000, case)


def recognised(exercise, answer) -> list[str]:
    verdicts = evaluate(runner(exercise, answer), exercise.cases(0))
    return [mistake.name for mistake in recognise(exercise, verdicts)]


def test_two_mistakes_at_once_are_both_recognised():
    def answer(size, kernel, stride=1, padding=0, dilation=1):
        return (size + padding - dilation * (kernel - 1) - 1) // stride + 1

    assert recognised(SIZE, answer) == ["padding_once", "nothing_checked"]


def test_two_mistakes_in_the_results_of_one_case_are_both_recognised():
    padding_not_cropped = next(m.answer for m in LAYER.mistakes if m.name == "padding_not_cropped")

    class Conv2d(padding_not_cropped):
        def backward(self, grad):
            grad_input = super().backward(grad)
            self.grad_bias = None if self.bias is None else grad.sum(axis=0)
            return grad_input

    assert recognised(LAYER, Conv2d) == ["bias_gradient_of_each_place", "padding_not_cropped"]


def test_a_mistake_that_raises_is_recognised_by_kind_and_message_whatever_the_numbers():
    def conv2d(input, weight, bias=None, *, error=ValueError, message, **options):
        output = CONV.reference(input, weight, None, **options)
        if bias is None or output.shape[-1] in (1, len(bias)):
            return output if bias is None else output + bias
        raise error(message)

    says = "operands could not be broadcast together with shapes (7,0,99,5) (3,)"
    assert recognised(CONV, partial(conv2d, message=says)) == ["bias_along_the_columns"]
    assert recognised(CONV, partial(conv2d, message=f"Note:\n{says}")) == ["bias_along_the_columns"]
    assert recognised(CONV, partial(conv2d, message=says, error=IndexError)) == []
    assert recognised(CONV, partial(conv2d, message="something else")) == []


FAILURE = Failure(("RuntimeError", "Exception"), "sizes 3 and 4", "")


@pytest.mark.parametrize(
    ("first", "failure", "alike"),
    [
        (1, FAILURE, True),
        (1, replace(FAILURE, message="more\nsizes 12 and 5"), True),
        (1, replace(FAILURE, message="numbers 3 and 4"), False),
        (1, replace(FAILURE, kinds=("ValueError", "Exception")), False),
        (2, FAILURE, False),
        (1, None, False),
    ],
)
def test_failures_are_alike_only_after_the_same_results(first, failure, alike):
    case = Case("", {"x": 1}, {"first": 1, "second": 2})
    verdict = judge(case, Outcome({"first": first}, failure, (), ""))[1]
    assert _same_behaviour(verdict, Outcome({"first": 1}, FAILURE, (), "")) is alike


@pytest.mark.parametrize(
    ("answer", "mistake", "alike"),
    [
        (lambda x: 1, lambda x: 2, True),
        (lambda x: 1, fails(TypeError("no")), False),
        (fails(AssertionError("no")), lambda x: 2, False),
        (fails(TypeError("this")), fails(TypeError("that")), True),
        (fails(TypeError("no")), fails(IndexError("no")), False),
        (fails(ValueError("no")), fails(UnicodeError("a kind of ValueError")), True),
        (fails(ValueError("no")), lambda x: 1, False),
        (lambda x: 1, fails(ValueError("no")), False),
    ],
)
def test_to_return_something_is_not_to_raise_something_else(answer, mistake, alike):
    (verdict,) = judge(RAISES, run(answer, RAISES.inputs, call, 1.0))
    assert _same_behaviour(verdict, run(mistake, RAISES.inputs, call, 1.0)) is alike


def test_a_mistake_that_changes_an_argument_is_recognised_by_which():
    class Conv2d(LAYER.reference):
        def backward(self, grad):
            grad_input = super().backward(grad)
            changed = getattr(self, self.name)
            changed -= 1
            return grad_input

    assert recognised(LAYER, type("Conv2d", (Conv2d,), {"name": "input"})) == []
    assert recognised(LAYER, type("Conv2d", (Conv2d,), {"name": "weight"})) == ["weight_updated"]


def test_what_was_not_run_is_no_mistake():
    def slow(size, kernel, stride=1, padding=0, dilation=1):
        while stride > 1:
            pass
        return SIZE.reference(size, kernel, stride, padding, dilation)

    assert recognised(replace(SIZE, limits=Limits(0.1)), slow) == []


def test_a_new_mistake_is_not_taken_for_a_known_one():
    assert recognised(SIZE, lambda size, kernel, stride=1, padding=0, dilation=1: 17) == []


def test_nothing_is_recognised_where_nothing_is_wrong():
    assert recognised(SIZE, SIZE.reference) == []


def test_missing_errors_wait_until_something_works():
    assert recognised(SIZE, lambda **_: None) == []


def test_a_recogniser_runs_each_mistake_once_and_finds_what_recognise_finds():
    calls = []

    def counted(mistake):
        def answer(**inputs):
            calls.append(mistake.name)
            return mistake.answer(**inputs)

        return replace(mistake, answer=answer)

    exercise = replace(SIZE, mistakes=tuple(map(counted, SIZE.mistakes)))
    recogniser = Recogniser(exercise, 5)
    answers = [mistake.answer for mistake in SIZE.mistakes]
    verdicts = [evaluate(runner(SIZE, answer), recogniser.cases) for answer in answers]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(recogniser.recognise, verdicts))
    assert found == [recognise(exercise, v) for v in verdicts]
    assert [[m.name for m in here] for here in found] == [[m.name] for m in SIZE.mistakes]
    calls.clear()
    assert [recogniser.recognise(v) for v in verdicts] == found
    assert calls == []


def test_points_without_cases_and_cases_without_points_are_refused():
    idle = replace(SIZE, groups=SIZE.groups | {"never asked": 1})
    with pytest.raises(ValueError, match=r"output_size.py: points for 'never asked' without"):
        Recogniser(idle)
    stray = replace(SIZE, groups={g: p for g, p in SIZE.groups.items() if g != "kernel"})
    with pytest.raises(ValueError, match=r"output_size.py: cases of 'kernel' have no points"):
        Recogniser(stray)
