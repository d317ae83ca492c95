r"""Answers that are alike, found by copydetect where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coursepkg.grading.report.gradebook import Gradebook

__all__ = ["MISSING", "Pair", "Similarity", "similar"]

#: Seconds for a whole class; what is not done by then is said to be left out.
SECONDS = 300.0
MISSING = (
    "Answers were not compared with each other, as copydetect is not installed: "
    "pip install 'coursepkg[similarity]'"
)


@dataclass(frozen=True)
class Pair:
    r"""Two answers to an exercise that are alike.

    Attributes
    ----------
    exercise : str
    first, second : str
        Learners.
    share : float
        The part of one answer that stands in the other, between 0 and 1, without what stands
        in the starter or in many answers. The larger of the two directions.
    """

    exercise: str
    first: str
    second: str
    share: float


@dataclass(frozen=True)
class Similarity:
    r"""What a comparison found: pairs, the most alike first, and what was not compared."""

    pairs: tuple[Pair, ...]
    remarks: tuple[str, ...]


def similar(book: Gradebook, starters: Mapping[str, str], seconds: float = SECONDS) -> Similarity:
    r"""Compare the answers to each exercise with each other.

    Answers equal to a published solution are left out, since they are marked as such anyway;
    :func:`coursepkg.grading.report.fingerprints.compare` says what counts as alike.

    Parameters
    ----------
    book : Gradebook
    starters : mapping of str to str
        What everybody was given, by exercise; may lack some.
    seconds : float
        For all of it.

    Returns
    -------
    Similarity
    """
    if importlib.util.find_spec("copydetect") is None:
        return Similarity((), (MISSING,))
    answers = {column.exercise: _answers(book, column.exercise) for column in book.columns}
    wanted = {exercise: found for exercise, found in answers.items() if len(found) > 1}
    lines = [
        json.dumps(
            {
                "exercise": e,
                "answers": found,
                "starter": starters.get(e, ""),
                "wrong": _wrong(book, e),
            }
        )
        for e, found in wanted.items()
    ]
    replies = _replies("\n".join(lines), seconds) if lines else []
    pairs = [Pair(reply["exercise"], *pair) for reply in replies for pair in reply["pairs"]]
    pairs.sort(key=lambda p: (-p.share, p.exercise, p.first, p.second))
    return Similarity(tuple(pairs), tuple(_remarks(wanted, replies)))


def _answers(book: Gradebook, exercise: str) -> dict[str, str]:
    return {
        row.learner: entry.mark.source
        for row in book.rows
        if (entry := row.entries.get(exercise)) and entry.mark.source and not entry.mark.published
    }


def _wrong(book: Gradebook, exercise: str) -> list[str]:
    return [
        row.learner
        for row in book.rows
        if (entry := row.entries.get(exercise)) and entry.mark.points < entry.mark.out_of
    ]


def _replies(request: str, seconds: float) -> list[dict[str, Any]]:
    r"""Run the comparison in a process that can be ended, and return what came in time."""
    try:
        written = subprocess.run(
            [sys.executable, "-P", "-m", "coursepkg.grading.report.fingerprints"],
            input=request.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as late:
        written = late.stdout or b""
    return [json.loads(line) for line in written.splitlines(keepends=True) if line.endswith(b"\n")]


def _remarks(wanted: Mapping[str, Any], replies: list[dict[str, Any]]) -> list[str]:
    done = {reply["exercise"] for reply in replies}
    remarks = [
        f"{exercise}: not compared, as it took too long or failed"
        for exercise in wanted
        if exercise not in done
    ]
    for reply in replies:
        for word, what in (
            ("skipped", "could not be compared"),
            ("cut", "compared in part, being very long"),
        ):
            if reply[word]:
                remarks.append(f"{reply['exercise']}: {what}: {', '.join(reply[word])}")
    return remarks
