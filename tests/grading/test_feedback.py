"""The text that learners read: exact, whole for what is public, silent about the rest."""

import re

import numpy as np
import pytest
import torch

from coursepkg.grading import Case, exercise_ids, load
from coursepkg.grading.feedback import _size, feedback, heading, literal, scrubbed
from coursepkg.grading.judge import NOT_RUN, Recogniser, evaluate, judge, recognise, runner
from coursepkg.grading.worker.run import Failure, Outcome

SEED = 20_260_301
SIZE = load("convolution/output-size")


def graded(exercise, answer, public=True) -> str:
    recogniser = Recogniser(exercise, SEED)
    verdicts = evaluate(runner(exercise, answer), recogniser.cases)
    shown = len(exercise.public) if public else None
    return feedback(exercise, verdicts, recogniser.recognise(verdicts), shown)


def wrong_from(size_of_trouble):
    def output_size(size, kernel, stride=1, padding=0, dilation=1):
        right = SIZE.reference(size, kernel, stride, padding, dilation)
        return right + 1000 if size >= size_of_trouble and stride > 1 else right

    return output_size


def test_a_public_failure_is_told_in_full_and_a_hidden_one_by_name_only():
    text = graded(SIZE, wrong_from(8))
    assert "Smallest failing input in 'stride'" in text
    assert "    output_size(size=8, kernel=3, stride=2)\nexpected  3\ngot       1003" in text
    assert "not shown" not in text
    text = graded(SIZE, wrong_from(20))
    assert "'stride': fails on a case that is not shown\n" in text
    assert "'together': fails on a case that is not shown" in text
    assert "Smallest" not in text
    assert "FAILED  stride    0/1\n" in text


def test_without_a_number_all_is_shown():
    assert "got       10" in graded(SIZE, wrong_from(20), public=False)


def test_a_hidden_case_that_takes_too_long_says_so():
    late = Outcome({}, Failure(("OutOfTime",), "stopped after 2 s", "line 7: x = 28731"), (), "")
    cases = SIZE.cases(SEED)
    verdicts = []
    for number, case in enumerate(cases):
        right = Outcome({} if case.raises else dict(case.expected), None, (), "")
        if case.raises:
            right = Outcome({}, Failure(("ValueError",), "", ""), (), "")
        verdicts += judge(case, late if number == len(SIZE.public) else right)
    text = feedback(SIZE, verdicts, [], len(SIZE.public))
    assert text.endswith("\n\n'kernel': takes too long on a case that is not shown")
    assert "28731" not in text


def numbers(value) -> set[str]:
    r"""Return the numbers in a value that can hardly stand anywhere by chance."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return set().union(*map(numbers, value))
    if isinstance(value, np.ndarray):
        return set().union(*map(numbers, value.ravel().tolist()))
    return {str(value)} if isinstance(value, float) and len(str(value)) > 6 else set()


@pytest.mark.parametrize("id", exercise_ids())
def test_no_number_of_a_hidden_case_is_told(id):
    exercise = load(id)

    def told(**inputs):
        print(inputs)
        raise ValueError(f"the inputs are {inputs}")

    public = len(exercise.public)
    verdicts = []
    for number, case in enumerate(exercise.cases(SEED)):
        words = f"the inputs are {case.inputs}, {case.expected}"
        outputs = {} if case.raises or number % 2 else dict(case.expected)
        failure = None if outputs and number < public else Failure(("KeyError",), words, words)
        if number < public and case.raises:
            failure = Failure((case.expected.__name__,), "", "")
        verdicts += judge(case, Outcome(outputs, failure, (), words))
    secret = set().union(
        *(
            numbers([v.case.inputs, v.case.expected])
            for v in verdicts
            if v.case not in exercise.public
        )
    )
    open_to_all = set().union(*(numbers([c.inputs, c.expected]) for c in exercise.public))
    text = feedback(exercise, verdicts, exercise.mistakes, public)
    found = set(re.findall(r"-?\d+\.\d+(?:e[-+]?\d+)?", text))
    assert found & (secret - open_to_all) == set()


def test_a_mistake_gives_its_hint_and_no_hidden_input():
    for mistake in SIZE.mistakes:
        text = graded(SIZE, mistake.answer)
        assert mistake.hint[:30] in text.replace("\n", " ")


def test_addresses_and_escape_sequences_are_taken_out():
    text = scrubbed("<A at 0x7f12ab34cd56> \x1b[31mred\u202e\ud800 of 0xff µ…")
    assert (
        text
        == "<A at 0x…> \N{REPLACEMENT CHARACTER}[31mred"
        + 2 * "\N{REPLACEMENT CHARACTER}"
        + (" of 0xff µ…")
    )


def test_objects_do_not_make_two_texts_differ():
    class Thing:
        pass

    text = graded(SIZE, lambda **_: Thing())
    assert "0x…" in text
    assert text == graded(SIZE, lambda **_: Thing())


def test_long_texts_of_an_answer_are_cut():
    def chatty(**_):
        print("x" * 100_000)
        raise KeyError("y" * 100_000)

    assert len(graded(SIZE, chatty)) < 4000


def test_three_hints_are_enough():
    verdicts = evaluate(runner(SIZE, lambda **_: 17), SIZE.public)
    assert feedback(SIZE, verdicts, SIZE.mistakes).count("Hint: ") == 3
    assert feedback(SIZE, verdicts, ()).count("Hint: ") == 0


def test_what_was_not_run_is_not_said_to_fail():
    verdicts = [v for case in SIZE.public for v in judge(case, NOT_RUN)]
    text = feedback(SIZE, verdicts, recognise(SIZE, verdicts), 3)
    assert "------  kernel    0/1   not run" in text
    assert "Smallest" not in text


def test_an_answer_without_a_fault_reads_the_same_everywhere():
    cases = SIZE.cases(SEED)
    expected = heading(SIZE, 6) + f"All {len(cases)} results are right."
    assert graded(SIZE, SIZE.reference) == graded(SIZE, SIZE.reference, False) == expected


def test_an_integer_too_long_to_print_is_named():
    assert literal(10**5000) == "<int>"


def test_longer_arrays_are_shown_on_request():
    assert literal(np.zeros(81)) == "<array of shape (81,), float64>"
    assert literal(np.zeros(81), most=81).count("0.") == 81


ODD = {"threshold": 3, "edgeitems": 1, "precision": 2, "suppress": True, "sign": "+"}
ODD |= {"nanstr": "?", "infstr": "oo", "floatmode": "fixed", "legacy": "1.13"}


@pytest.mark.parametrize("options", [{}, ODD, {"formatter": {"all": lambda _: "x"}}])
@pytest.mark.parametrize(
    "value",
    [
        np.arange(80.0).reshape(2, 2, 20) / 3,
        np.array([1e-30, 1 / 3, 1e30, np.nan, np.inf, -np.inf]),
        np.array([[1 / 3, -0.0]], np.float32),
        np.array(1 / 3),
        np.arange(-3, 3),
        np.arange(3, dtype=np.uint8),
        np.array([True, False]),
        np.array([1 / 3 + 2j]),
        np.array(["a", "it's"]),
        np.array([1.5, 2], ">f8"),
        np.array(["2024-02-29", "NaT"], "datetime64[D]"),
        np.zeros((0, 3), np.float32),
        np.zeros((2, 0), "<U3"),
    ],
    ids=lambda value: f"{value.dtype}-{value.shape}",
)
def test_shown_arrays_are_exact_whatever_the_print_options(value, options):
    with np.printoptions(**options):
        source = literal(value)
    back = eval(source, {"np": np})
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value, strict=True)


def test_the_smallest_case_is_found_among_ragged_tuples():
    long, short = (Case("", {"stack": stack}, 0) for stack in (((1, 2), (3,)), ((4,),)))
    assert _size(short) < _size(long)
    assert _size(long)[0] == 3


def test_a_case_is_measured_by_its_tensors_too():
    assert _size(Case("", {"input": torch.ones(2, 3), "stride": 2}, 0))[0] == 7
