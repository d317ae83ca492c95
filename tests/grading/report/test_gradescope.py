"""results.json, held against a schema written down from Gradescope's documentation."""

import json

import jsonschema
import pytest
from sample_marks import FEEDBACK, HOSTILE, book, graded, nothing

from coursepkg.grading.report.gradebook import Gradebook
from coursepkg.grading.report.gradescope import results

FORMATS = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
VISIBILITY = {"enum": ["visible", "hidden", "after_due_date", "after_published"]}
TEXT = {"type": "string"}
#: "Output format" of https://gradescope-autograders.readthedocs.io/en/latest/specs/, where a score
#: is wanted at the top or in each test. The format has no further keys.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [
        {"required": ["score"]},
        {"required": ["tests"], "properties": {"tests": {"items": {"required": ["score"]}}}},
    ],
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number"},
        "output": TEXT,
        "output_format": FORMATS,
        "test_output_format": FORMATS,
        "test_name_format": FORMATS,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "score": {"type": "number"},
                    "max_score": {"type": "number"},
                    "status": {"enum": ["passed", "failed"]},
                    "name": TEXT,
                    "name_format": FORMATS,
                    "number": TEXT,
                    "output": TEXT,
                    "output_format": FORMATS,
                    "tags": {"type": "array", "items": TEXT},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}


def of(learner):
    return results(next(row for row in book().rows if row.learner.startswith(learner)))


@pytest.mark.parametrize("row", book().rows, ids=lambda row: row.graded.isolation)
def test_every_result_keeps_to_the_documented_format(row):
    written = json.dumps(results(row))
    jsonschema.validate(json.loads(written), SCHEMA)
    assert "leaderboard" not in written


def test_the_schema_notices_what_is_not_documented():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**of("ada"), "max_score": 7}, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tests": [{"max_score": 7}]}, SCHEMA)


@pytest.mark.parametrize("row", book().rows, ids=lambda row: row.graded.isolation)
def test_the_tests_add_up_to_the_score(row):
    found = results(row)
    assert sum(test["score"] for test in found["tests"]) == found["score"] == row.points
    assert sum(test["max_score"] for test in found["tests"]) == row.out_of
    assert found["extra_data"]["max_score"] == row.out_of


def test_each_group_is_a_test_and_the_feedback_stands_in_the_first_that_failed():
    tests = of("kurt")["tests"][:3]
    assert [test["name"].split(": ")[1] for test in tests] == ["kernel", "stride", "padding"]
    assert [test["status"] for test in tests] == ["passed", "passed", "failed"]
    assert [test["output"] for test in tests] == ["", "", FEEDBACK]
    assert {test["visibility"] for test in tests} == {"visible"}


def test_feedback_on_a_right_answer_stands_in_its_first_group():
    assert "All 40 results are right" in of("grace")["tests"][0]["output"]


def test_an_override_is_one_more_test_with_its_reason():
    extra = of("ada")["tests"][3]
    assert extra["name"].endswith("changed by the instructor")
    assert (extra["score"], extra["max_score"]) == (1, 0)
    assert extra["output"].startswith("From 2 to 3 of 3 points")
    assert "The statement\nwas ambiguous." in extra["output"]


def test_problems_and_missing_isolation_are_told():
    assert "homework.ipynb is no JSON" in of("emmy")["output"]
    assert "without isolation" in of("kurt")["output"]
    assert "without isolation" not in of("ada")["output"]


def test_an_answer_that_is_missing_has_no_points():
    found = results(Gradebook.of([graded("a", nothing("missing"))]).rows[0])
    assert found["score"] == 0
    assert {test["status"] for test in found["tests"]} == {"failed"}


def test_hostile_text_is_shown_as_text():
    found = of("..")
    assert found["output_format"] == found["test_output_format"] == "text"
    assert not {*"\x00\x1b\u202e\ud800"} & {*json.dumps(found, ensure_ascii=False)}
    assert HOSTILE[:40] in found["tests"][2]["output"]
