"""Which answers are alike: renamed copies are, short and common and given code is not."""

import io
import json
import re
import sys
import time

import pytest
from sample_marks import CONV2D

from coursepkg.grading.report import fingerprints
from coursepkg.grading.report.fingerprints import compare, main, shortened

OTHER = """\
def conv2d(x, weight, bias=None, stride=1, padding=0):
    if padding:
        x = np.pad(x, [(0, 0)] * 2 + [(padding,) * 2] * 2)
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    result = np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], weight)
    while bias is not None:
        return result + np.asarray(bias).reshape(1, -1, 1, 1)
    return result
"""
RENAMED = "# all my own work\n" + re.sub(r"\b(window|out|kh|kw)\b", r"my_\1", CONV2D)


def found(answers, starter=""):
    return [(first, second) for first, second, _ in compare(answers, starter)["pairs"]]


def test_a_copy_with_other_names_and_comments_is_found():
    [(first, second, share)] = compare({"b": RENAMED, "a": CONV2D, "c": OTHER})["pairs"]
    assert (first, second) == ("a", "b")
    assert share > 0.95


def test_a_copy_hidden_among_other_code_is_found():
    assert found({"a": CONV2D, "b": OTHER + "\n\n" + RENAMED}) == [("a", "b")]


def test_the_same_text_is_found_for_each_two_learners():
    assert found(dict.fromkeys("cab", CONV2D)) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_different_answers_are_not_alike():
    assert found({"a": CONV2D, "b": OTHER}) == []


def test_short_answers_are_alike_by_nature_and_not_listed():
    short = "def span(kernel, dilation=1):\n    return dilation * (kernel - 1) + 1\n"
    assert found({"a": short, "b": short}) == []


def test_what_everybody_was_given_does_not_count():
    own = {name: CONV2D + f"\nx = {name!r} * 2\n" for name in "ab"}
    assert found(own) == [("a", "b")]
    assert found(own, starter=CONV2D) == []


def test_what_many_wrote_does_not_count():
    answers = {f"learner {k:02}": CONV2D for k in range(fingerprints.COMMON)}
    assert len(found(answers)) == 45
    assert found(answers | {"one more": CONV2D}) == []


def test_equal_wrong_answers_are_found_whatever_others_wrote():
    answers = {f"learner {k:02}": f"{CONV2D}\nx = {k}.{k}\n" for k in range(20)}
    copies = {"a": CONV2D, "b": CONV2D}
    assert compare(answers | copies, wrong=["c"])["pairs"] == []
    assert compare(answers | copies, wrong=["a", "b"])["pairs"] == [("a", "b", 1.0)]
    assert compare(answers | copies, CONV2D, ["a", "b"])["pairs"] == []


def test_a_text_that_many_handed_in_is_no_copy_even_if_it_is_wrong():
    answers = {f"learner {k:02}": CONV2D for k in range(fingerprints.COMMON + 1)}
    assert compare(answers, wrong=[*answers])["pairs"] == []


def test_a_few_copies_in_a_large_class_are_found():
    lines = "\n".join(f"    y = np.roll(x, {{}}, {k}) @ w[{k}] - {k}" for k in range(12))
    others = {
        f"{k:02}": "def f(x, w):\n" + lines.replace("{}", f"q{k}[{k}]" * (k + 2)) for k in range(15)
    }
    pairs = found(others | {"x": OTHER, "y": OTHER})
    assert ("x", "y") in pairs


def test_the_order_of_the_answers_does_not_matter():
    answers = {"a": CONV2D, "b": RENAMED, "c": OTHER}
    assert compare(answers) == compare(dict(reversed(answers.items())))


@pytest.mark.parametrize(
    "source",
    [
        "x" * 1_000_000,
        "x = " + "(" * 500_000,
        "x = " + "[" * 5_000 + "\n" * 10_000,
        "\x00" * 50_000,
        "def f(:\n  \t return $ ? ``` \ud800 \u202e",
        "'" * 100_001,
        '"""' + "\\" * 100_000,
        "f'{" * 20_000,
        "f'{x:{y:{" * 5_000,
        "0x" + "1_" * 40_000,
        "1" * 100_000 + "e" * 100_000,
        "@" * 100_000,
        "from " + "." * 50_000 + " import",
        ">>> " * 30_000,
        "#" * 100_000,
        " \n" * 50_000 + "\t\\\n" * 50_000,
        "a\r" * 100_000,
        "class " * 20_000,
        "",
    ],
    ids=lambda source: repr(source[:8]),
)
def test_hostile_text_costs_seconds_at_most_and_harms_no_other(source):
    start = time.process_time()
    reply = compare({"a": CONV2D, "b": RENAMED, "hostile": source}, starter=source)
    assert ["a", "b"] in [[*pair[:2]] for pair in reply["pairs"]]
    assert time.process_time() - start < 6
    json.dumps(reply)


def test_an_answer_that_takes_too_long_is_skipped_and_named(monkeypatch):
    real = fingerprints._fingerprint

    def endless(source):
        with fingerprints.time_limit(0.05):
            while True:
                pass

    def sometimes(source):
        try:
            return endless(source) if "slow" in source else real(source)
        except fingerprints.OutOfTime:
            return None

    monkeypatch.setattr(fingerprints, "_fingerprint", sometimes)
    assert compare({"a": CONV2D, "b": "slow", "c": RENAMED})["skipped"] == ["b"]
    assert found({"a": CONV2D, "b": "slow", "c": RENAMED}) == [("a", "c")]


def test_tokens_that_take_too_long_are_given_up(monkeypatch):
    import copydetect

    def endless(*arguments, **options):
        while True:
            pass

    monkeypatch.setattr(copydetect, "CodeFingerprint", endless)
    monkeypatch.setattr(fingerprints, "SECONDS", 0.05)
    assert compare({"a": "x = 1"})["skipped"] == ["a"]


def test_long_answers_are_cut_and_named():
    assert compare({"a": CONV2D, "b": "x" * 1001})["cut"] == ["b"]
    assert len(shortened("x\n" * 100_000)) == fingerprints.LIMIT


def test_each_line_is_a_question_and_gets_an_answer(monkeypatch, capsys):
    question = {"exercise": "t/e", "answers": {"a": CONV2D, "b": CONV2D}, "starter": ""}
    question["wrong"] = ["a"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{json.dumps(question)}\n" * 2))
    main()
    replies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (
        replies == [{"exercise": "t/e", "pairs": [["a", "b", 1.0]], "skipped": [], "cut": []}] * 2
    )
