r"""Results in the format that Gradescope expects of an autograder.

The format is that of https://gradescope-autograders.readthedocs.io/en/latest/specs/, "Output
format". The points that could be had stand in each test, where the format has a place for them.
"""

from __future__ import annotations

from typing import Any

from coursepkg.grading.report.gradebook import Entry, Row, number
from coursepkg.grading.report.plain import one_line, readable

__all__ = ["results"]


def results(row: Row) -> dict[str, Any]:
    r"""Return what stands in the `results.json` of a learner.

    Each group of cases is a test. The feedback on an exercise stands in its first group that
    failed, and names hidden cases by group only. An override is one more test, with its reason.

    Parameters
    ----------
    row : Row

    Returns
    -------
    dict
        Plain values, ready for `json.dumps`.
    """
    tests = [
        test
        for place, entry in enumerate(row.entries.values(), start=1)
        for test in _tests(place, entry)
    ]
    lines = [f"{number(row.points)} of {row.out_of} points", *row.notes]
    return {
        "score": row.points,
        "output": readable("\n".join(lines)),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "learner": one_line(row.learner),
            "max_score": row.out_of,
            "isolation": row.graded.isolation,
        },
        "tests": tests,
    }


def _tests(place: int, entry: Entry) -> list[dict[str, Any]]:
    mark = entry.mark
    failed = [name for name, group in mark.groups.items() if not group["passed"]]
    first = next(iter(failed or mark.groups), None)
    tests = [
        {
            "name": one_line(f"{mark.title}: {name}"),
            "number": f"{place}.{count}",
            "score": group["points"],
            "max_score": group["out_of"],
            "status": "passed" if group["passed"] else "failed",
            "output": readable(mark.feedback) if name == first else "",
            "visibility": "visible",
        }
        for count, (name, group) in enumerate(mark.groups.items(), start=1)
    ]
    return tests + _adjustment(place, entry)


def _adjustment(place: int, entry: Entry) -> list[dict[str, Any]]:
    if entry.override is None:
        return []
    told = f"From {entry.mark.points} to {number(entry.points)} of {entry.mark.out_of} points"
    return [
        {
            "name": one_line(f"{entry.mark.title}: changed by the instructor"),
            "number": f"{place}.{len(entry.mark.groups) + 1}",
            "score": entry.points - entry.mark.points,
            "max_score": 0,
            "status": "passed",
            "output": readable(f"{told}, {entry.override.date}: {entry.override.why}"),
            "visibility": "visible",
        }
    ]
