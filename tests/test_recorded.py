r"""Reading records: means over seeds, paired differences, and what is refused."""

import json
import math
import statistics

import numpy as np
import pytest

from coursepkg import recorded as module
from coursepkg.recorded import Difference, Recorded, check_figures, recorded
from coursepkg.testing import assert_close

RESULTS = [
    {"deep": {"error": [0.5, 0.25]}, "flat": {"error": [0.25, 0.125]}, "right": 3},
    {"deep": {"error": [0.75, 0.5]}, "flat": {"error": [0.25, 0.25]}, "right": 5},
    {"deep": {"error": [1.0, 0.75]}, "flat": {"error": [0.75, 0.0]}, "right": 10},
]
RECORD = {
    "settings": {"epochs": 2},
    "seeds": [0, 1, 2],
    "results": RESULTS,
    "versions": {"python": "3"},
    "threads": 1,
    "modules": {},
}


@pytest.fixture
def made():
    return Recorded("topic/made", {}, [0, 1, 2], RESULTS, {}, 1)


def write(folder, record):
    path = folder / "topic" / "made.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return folder


def test_a_record_is_read_as_it_was_written(tmp_path):
    found = recorded("topic/made", write(tmp_path, RECORD))
    assert found == Recorded("topic/made", {"epochs": 2}, [0, 1, 2], RESULTS, {"python": "3"}, 1)


def test_records_stand_beside_the_package_of_this_checkout():
    assert (module.FOLDER.parent / "coursepkg" / "recorded.py").samefile(module.__file__)
    assert module.FOLDER.name == "experiments"


def test_values_are_listed_seed_by_seed(made):
    assert_close(made.values("deep", "error"), np.array([[0.5, 0.25], [0.75, 0.5], [1.0, 0.75]]))
    assert_close(made.values("deep", "error", -1), np.array([0.25, 0.5, 0.75]))
    assert_close(made.values("right"), np.array([3.0, 5.0, 10.0]))


def test_mean_and_deviation_are_over_the_seeds(made):
    assert_close(made.mean("deep", "error"), np.array([0.75, 0.5]))
    assert made.mean("right") == 6
    assert math.isclose(made.std("right"), statistics.stdev([3, 5, 10]))
    assert_close(made.std("deep", "error"), np.array([0.25, 0.25]))


def test_a_difference_is_paired(made):
    found = made.difference(("deep", "error", -1), ("flat", "error", -1))
    pairs = [0.25 - 0.125, 0.5 - 0.25, 0.75 - 0.0]
    assert math.isclose(found.mean, statistics.mean(pairs))
    assert math.isclose(found.standard_error, statistics.stdev(pairs) / math.sqrt(3))
    assert found.holds is False  # 0.375 against 2 x 0.191
    assert made.difference("right", "right") == Difference(0.0, 0.0, False)


@pytest.mark.parametrize(
    ("b", "holds"), [([0.0, 2.0, 4.1], True), ([0.0, 2.0, 3.9], True), ([0.0, 2.0, 9.0], False)]
)
def test_a_difference_holds_beyond_two_standard_errors_on_either_side(b, holds):
    results = [{"a": 0.0, "b": x + 1.0} for x in b]
    pairs = [x + 1.0 for x in b]
    beyond = statistics.mean(pairs) > 2 * statistics.stdev(pairs) / math.sqrt(3)
    assert beyond is holds
    made = Recorded("topic/made", {}, [0, 1, 2], results, {}, 1)
    for paths, sign in ((("b", "a"), 1), (("a", "b"), -1)):
        found = made.difference(*paths)
        assert found.holds is holds
        assert math.isclose(found.mean, sign * statistics.mean(pairs))


def test_a_difference_says_whether_it_was_seen():
    assert str(Difference(-0.5, 0.1, True)) == "-0.5, standard error 0.1: it holds"
    assert str(Difference(0.5, 0.4, False)).endswith("not seen")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("wide",), r"no 'wide' at the top; there is \['deep', 'flat', 'right'\]"),
        (("deep", "loss"), r"no 'loss' at \['deep'\]; there is \['error'\]"),
        (("deep", "error", 2), r"no 2 at \['deep'\]\['error'\]; there is list"),
        (("right", 0), r"no 0 at \['right'\]; there is int"),
        (("deep",), r"no figures of one shape at \['deep'\]"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(made, path, message):
    with pytest.raises(ValueError, match=message):
        made.values(*path)


def test_figures_of_several_shapes_are_refused():
    ragged = Recorded("topic/made", {}, [0, 1], [{"a": [1.0]}, {"a": [1.0, 2.0]}], {}, 1)
    with pytest.raises(ValueError, match=r"no figures of one shape at \['a'\]"):
        ragged.mean("a")


def test_a_difference_of_lists_is_refused(made):
    with pytest.raises(ValueError, match=r"array of shape \(2,\) at \['deep'\]\['error'\]"):
        made.difference(("deep", "error"), "right")


def test_a_missing_record_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools/experiments\.py topic/made"):
        recorded("topic/made", tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        "not JSON",
        "[1, 2]",
        {**RECORD, "seeds": [0]},
        {**RECORD, "seeds": [], "results": []},
        {key: part for key, part in RECORD.items() if key != "settings"},
        '{"settings": {}, "seeds": [0], "results": [{"a": NaN}], "versions": {}, "threads": 1}',
    ],
)
def test_a_malformed_record_is_refused(tmp_path, record):
    with pytest.raises(ValueError, match=r"no record of an experiment.*--force topic/made"):
        recorded("topic/made", write(tmp_path, record))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, math.inf]}, r"results\['a'\]\[1\] is inf"),
        ({"a": -math.inf}, r"results\['a'\] is -inf"),
        ({"a": math.nan}, r"results\['a'\] is nan"),
        ({1: 2.0}, r"results has the key 1"),
        ({"a": np.float64(1)}, r"results\['a'\] is of type float64"),
        ({"a": (1, 2)}, r"results\['a'\] is of type tuple"),
        ({"a": {"b": np.ones(2)}}, r"results\['a'\]\['b'\] is of type ndarray"),
    ],
)
def test_what_json_does_not_keep_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        check_figures(value)


def test_what_json_keeps_is_accepted():
    value = {"a": [1, 2.5, True, None, "x"], "b": {}}
    assert check_figures(value) is None
    assert json.loads(json.dumps(value)) == value
