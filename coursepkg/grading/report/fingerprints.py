r"""Compare answers with copydetect, in a process of its own.

`python -m coursepkg.grading.report.fingerprints` reads one JSON object for each line of its
input and writes one for each line of its output; :mod:`coursepkg.grading.report.similarity`
starts it. A process of its own, because copydetect finds tokens of hostile text with regular
expressions, which can be made slow, and fingerprints text with Python's `hash`, which is the
same in each run only if the process was started so. The text is cut first, so that memory is
bounded; a text that takes too long is skipped; and whoever waits can end the process.
"""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from coursepkg.grading.worker.run import OutOfTime, time_limit

__all__ = ["compare", "main", "shortened"]

#: Characters of an answer that are compared, and of one of its lines.
LIMIT, LINE = 20_000, 1_000
#: Seconds for the fingerprint of one answer.
SECONDS = 2.0
#: The shortest common passage that counts, in characters of copydetect's reduced text, where
#: each name is one letter and comments and spaces are gone.
PASSAGE = 25
#: Both answers must have so many such characters in common, and one of them this share.
OVERLAP, SHARE = 100, 0.8
#: A passage is ignored if it stands in more answers than this number and this part of all.
COMMON, COMMON_PART = 10, 0.1


def compare(
    answers: Mapping[str, str], starter: str = "", wrong: Collection[str] = ()
) -> dict[str, Any]:
    r"""Return the pairs of answers that are alike, and the answers that were skipped.

    What stands in the starter is ignored, and so is what stands in many answers: more than ten
    and more than a tenth of them. Of the rest, a pair is alike if at least 80 per cent of one
    answer, and at least 100 characters of copydetect's reduced text, stand in the other. Equal
    texts that are wrong count even if others wrote their passages, too: two people rarely make
    the same mistake in the same words.

    Parameters
    ----------
    answers : mapping of str to str
        Source code by learner.
    starter : str
        Source code that everybody was given.
    wrong : collection of str
        Learners whose answers are not right.

    Returns
    -------
    dict
        `pairs`: lists of two learners and the share; `skipped` and `cut`: learners.
    """
    owners: dict[str, list[str]] = {}
    for learner, source in sorted(answers.items()):
        owners.setdefault(shortened(source), []).append(learner)
    prints = {source: _fingerprint(source) for source in owners}
    names = [owners[source] for source, found in prints.items() if found is not None]
    known = [found for found in prints.values() if found is not None]
    given = _fingerprint(shortened(starter))
    _forget(known, set() if given is None else given.hashes)
    own = [found.token_coverage for found in known]
    many = max(COMMON, COMMON_PART * sum(map(len, names)))
    _forget(known, _common(known, names, many))
    pairs: list[tuple[str, str, float]] = []
    for group, found, size in zip(names, known, own, strict=True):  # the same text, more than once
        alike = size if group[0] in wrong and len(group) <= many else found.token_coverage
        if alike >= OVERLAP:
            pairs += [(a, b, 1.0) for a, b in itertools.combinations(group, 2)]
    for first, second, share in _alike(known):
        both = itertools.product(names[first], names[second])
        pairs += [(min(pair), max(pair), share) for pair in both]
    return {
        "pairs": sorted(pairs, key=lambda pair: (-pair[2], pair)),
        "skipped": sorted(n for source in prints if prints[source] is None for n in owners[source]),
        "cut": sorted(n for n, source in answers.items() if shortened(source) != source),
    }


def shortened(source: str) -> str:
    r"""Cut an answer to what can be compared in bounded time.

    Examples
    --------
    >>> len(shortened("x" * 5000))
    1000
    """
    return "\n".join(line[:LINE] for line in source[:LIMIT].replace("\r", "\n").split("\n"))


def _fingerprint(source: str) -> Any:
    r"""Return copydetect's fingerprint, or None if that fails or takes too long."""
    from copydetect import CodeFingerprint

    try:
        with time_limit(SECONDS):
            return CodeFingerprint(
                "answer.py", PASSAGE, 1, language="python", fp=io.StringIO(source)
            )
    except (Exception, OutOfTime):
        return None


def _common(known: list[Any], names: list[list[str]], many: float) -> set[int]:
    r"""Return the passages that more than so many learners have."""
    counts: Counter[int] = Counter()
    for found, group in zip(known, names, strict=True):
        counts.update(dict.fromkeys(found.hashes, len(group)))
    return {hashed for hashed, count in counts.items() if count > many}


def _forget(known: list[Any], ignored: Set[int]) -> None:
    r"""Take passages out of fingerprints."""
    from copydetect.utils import get_token_coverage

    for found in known:
        found.hashes = found.hashes - ignored
        found.hash_idx = {h: places for h, places in found.hash_idx.items() if h not in ignored}
        found.token_coverage = get_token_coverage(found.hash_idx, found.k, len(found.filtered_code))


def _alike(known: list[Any]) -> Iterator[tuple[int, int, float]]:
    r"""Yield pairs of places and the share, of fingerprints that have enough in common."""
    from copydetect import compare_files

    for first, second in _candidates(known):
        overlap, shares, _ = compare_files(known[first], known[second])
        if overlap >= OVERLAP and max(shares) >= SHARE:
            yield first, second, round(min(float(max(shares)), 1.0), 4)


def _candidates(known: list[Any]) -> list[tuple[int, int]]:
    r"""Return the pairs that share half of the passages of the smaller: one sparse product."""
    places = {h: k for k, h in enumerate(sorted(set().union(*(found.hashes for found in known))))}
    columns = [places[h] for found in known for h in found.hashes]
    sizes = np.array([len(found.hashes) for found in known])
    if len(known) < 2 or not columns:
        return []
    starts = np.concatenate([[0], np.cumsum(sizes)])
    has = csr_array((np.ones(len(columns), np.int32), columns, starts), (len(known), len(places)))
    shared = (has @ has.T).tocoo()  # (answers, answers)
    smaller = np.minimum(sizes[shared.row], sizes[shared.col])
    chosen = (shared.row < shared.col) & (2 * shared.data >= smaller)
    return sorted(zip(shared.row[chosen].tolist(), shared.col[chosen].tolist(), strict=True))


def main() -> None:
    r"""Answer each line of the input with one line."""
    for line in sys.stdin:
        request = json.loads(line)
        found = compare(request["answers"], request["starter"], request["wrong"])
        print(json.dumps({"exercise": request["exercise"], **found}), flush=True)


if __name__ == "__main__":
    main()
