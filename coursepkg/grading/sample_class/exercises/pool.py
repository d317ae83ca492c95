r"""Summarise a row

A window of {{ size }} numbers slides along each row of an array, {{ step }} at a time, and keeps
one number of what it sees: the {{ {"max": "largest", "min": "smallest", "median": "median",
"range": "difference of the largest and the smallest"}[mode] }}. Write the function
`pool(rows, size={{ size }}, step={{ step }}, mode="{{ mode }}")`.

1. `rows` has the shape (N, L). The result has the shape (N, L'), where L' counts the places at
   which the whole window fits.
2. All defaults are as above. Whoever wants something else can say so: `mode` is one of `"max"`,
   `"min"`, `"median"` and `"range"`, which is the largest minus the smallest.
3. A window longer than the row, a `size` or `step` below 1, and any other mode are mistakes of the
   caller: raise a `ValueError`.

The argument is not changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference", "variant"]

points = {"window": 3, "options": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
limits = {"memory": 512}
FORBID = ("scipy", "torch")


def pool(rows: NDArray[Any], size: int = 3, step: int = 2, mode: str = "max") -> NDArray[Any]:
    r"""Keep one number of what a window sees on its way along each row.

    Parameters
    ----------
    rows : array, shape (N, L)
    size, step : int
        Length of the window ({{ size }} if nothing is said), and how far it moves ({{ step }}).
    mode : str
        "max", "min", "median" or "range"; "{{ mode }}" if nothing is said.

    Returns
    -------
    array, shape (N, L')

    Raises
    ------
    ValueError
        If the window does not fit, or an option makes no sense.
    """
    summary = {"max": np.max, "min": np.min, "median": np.median, "range": np.ptp}
    if mode not in summary:
        raise ValueError(f"mode={mode!r} is unknown; use {', '.join(summary)}")
    if size < 1 or step < 1:
        raise ValueError(f"size={size} and step={step} must be at least 1")
    if size > rows.shape[1]:
        raise ValueError(f"size={size} exceeds rows of {rows.shape[1]}; use a smaller window")
    starts = range(0, rows.shape[1] - size + 1, step)
    return np.stack([summary[mode](rows[:, i : i + size], axis=1) for i in starts], axis=1)


reference = pool


def variant(rng: np.random.Generator) -> dict[str, Any]:
    r"""Draw a window, a step that is not its length, and a summary that no library pools by."""
    size = int(rng.integers(2, 5))
    step = int(rng.choice([s for s in (1, 2, 3) if s != size]))
    return {"size": size, "step": step, "mode": str(rng.choice(["min", "median", "range"]))}


def oracle(
    rows: NDArray[Any], size: int = 3, step: int = 2, mode: str = "max"
) -> NDArray[np.float64]:
    r"""Sort every window and read the summary off its two halves, one number at a time."""
    if size < 1 or step < 1 or mode not in ("max", "min", "median", "range"):
        raise ValueError("these options make no sense")
    result = []
    for row in rows.tolist():
        windows = [sorted(row[i : i + size]) for i in range(0, len(row) - size + 1, step)]
        if not windows:
            raise ValueError("the window does not fit")
        result.append(
            [
                {
                    "max": w[-1],
                    "min": w[0],
                    "range": w[-1] - w[0],
                    "median": (w[(size - 1) // 2] + w[size // 2]) / 2,
                }[mode]
                for w in windows
            ]
        )
    return np.array(result)


STAIRS = np.array([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]])
WAVES = np.array(
    [[3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0], [0.0, 7.0, -2.0, 7.0, 1.0, 8.0, 2.0, 8.0]]
)

PUBLIC = (
    Case("window", {"rows": STAIRS}, np.array([[4.0, 16.0, 64.0]])),
    Case("window", {"rows": WAVES}, np.array([[4.0, 4.0, 9.0], [7.0, 7.0, 8.0]])),
    Case(
        "options", {"rows": STAIRS, "size": 5, "step": 2, "mode": "max"}, np.array([[16.0, 64.0]])
    ),
    Case(
        "options", {"rows": STAIRS, "size": 2, "step": 4, "mode": "range"}, np.array([[1.0, 16.0]])
    ),
    Case("errors", {"rows": STAIRS, "size": 8}, ValueError),
    Case("errors", {"rows": STAIRS, "step": 0}, ValueError),
    Case("errors", {"rows": STAIRS, "mode": "mode"}, ValueError),
)


def hidden(
    rng: np.random.Generator, size: int = 3, step: int = 2, mode: str = "max"
) -> Iterator[Case]:
    r"""Yield random rows: with the defaults, with all modes and other windows, and too short."""
    for _ in range(6):
        rows = rng.normal(size=(int(rng.integers(1, 4)), int(rng.integers(9, 15))))
        yield Case("window", {"rows": rows}, oracle(rows, size, step, mode))
    for chosen in ("max", "min", "median", "range"):
        rows = rng.normal(size=(2, int(rng.integers(9, 15))))
        length, stride = (int(v) for v in rng.choice([3, 4, 5], 2, replace=False))
        options = {"size": length, "step": stride, "mode": chosen}
        yield Case("options", {"rows": rows, **options}, oracle(rows, **options))
    for _ in range(2):
        short = int(rng.integers(3, 8))
        yield Case("errors", {"rows": rng.normal(size=(2, short)), "size": short + 1}, ValueError)


def _windows(rows, size, step):
    r"""Return where windows begin, after all checks."""
    pool(rows, size, step)
    return range(0, rows.shape[1] - size + 1, step)


SUMMARY = {"max": np.max, "min": np.min, "median": np.median, "range": np.ptp}


def mode_ignored(rows, size=3, step=2, mode="max"):
    """You always keep the largest number. `mode` says what to keep, and if nothing is said, it is
    "{{ mode }}" here.
    """
    pool(rows, size, step, mode)
    return pool(rows, size, step)


def largest_for_smallest(rows, size=3, step=2, mode="max"):
    """You mix up the modes "min" and "max": one keeps the smallest number of each window, the other
    the largest.
    """
    return pool(rows, size, step, {"min": "max", "max": "min"}.get(mode, mode))


def mean_for_median(rows, size=3, step=2, mode="max"):
    """You take the mean for the median. The median is the number in the middle of the sorted
    window, or halfway between the two in the middle.
    """
    if mode != "median":
        return pool(rows, size, step, mode)
    return np.stack(
        [rows[:, i : i + size].mean(axis=1) for i in _windows(rows, size, step)], axis=1
    )


def range_below_zero(rows, size=3, step=2, mode="max"):
    """Your range is the smallest minus the largest, so it is never positive. Subtract the other way
    round.
    """
    result = pool(rows, size, step, mode)
    return -result if mode == "range" else result


def step_ignored(rows, size=3, step=2, mode="max"):
    """Your window moves by one number at a time. It moves by `step`, which is {{ step }} if nothing
    is said.
    """
    pool(rows, size, step, mode)
    return pool(rows, size, 1, mode)


def windows_side_by_side(rows, size=3, step=2, mode="max"):
    """Your windows stand side by side, each beginning where the last one ended. They begin `step`
    numbers apart, whatever their length is.
    """
    pool(rows, size, step, mode)
    return pool(rows, size, size, mode)


def last_windows_cut_off(rows, size=3, step=2, mode="max"):
    """You keep windows that hang over the end of the row, of which only a part is there. A window
    counts if it fits whole.
    """
    pool(rows, size, step, mode)
    starts = range(0, rows.shape[1], step)
    return np.stack([SUMMARY[mode](rows[:, i : i + size], axis=1) for i in starts], axis=1)


def one_place_short(rows, size=3, step=2, mode="max"):
    """You stop one place too early: a window that ends with the last number of the row still fits.
    `range` leaves its end out, so add 1.
    """
    pool(rows, size, step, mode)
    starts = range(0, rows.shape[1] - size, step)
    return np.stack([SUMMARY[mode](rows[:, i : i + size], axis=1) for i in starts], axis=1)


def down_the_columns(rows, size=3, step=2, mode="max"):
    """Your windows go down the columns. Each row is summarised for itself: slide along axis 1."""
    return pool(np.ascontiguousarray(rows.T), size, step, mode).T


def first_row_only(rows, size=3, step=2, mode="max"):
    """You summarise the first row and leave out the others. The result has as many rows as the
    argument.
    """
    return pool(rows, size, step, mode)[:1]


def all_rows_together(rows, size=3, step=2, mode="max"):
    """You keep one number for all rows together. Give the summary `axis=1`, so that each row has
    its own.
    """
    return np.array([[SUMMARY[mode](rows[:, i : i + size]) for i in _windows(rows, size, step)]])


def rows_sorted(rows, size=3, step=2, mode="max"):
    """You sort the array that you were given: `rows.sort()` writes into it, and the numbers are no
    longer where they were. Sort a copy of the window.
    """
    result = pool(rows, size, step, mode)
    rows.sort(axis=1)
    return result


def too_long_accepted(rows, size=3, step=2, mode="max"):
    """A window longer than the row fits nowhere, and you return something without columns. Raise a
    `ValueError`, as the caller did not mean that.
    """
    if size > rows.shape[1]:
        return np.empty((len(rows), 0))
    return pool(rows, size, step, mode)


def unknown_mode_accepted(rows, size=3, step=2, mode="max"):
    """You do not look whether `mode` is one of the four. Raise a `ValueError` if it is none of
    them, so that a slip of the pen is noticed.
    """
    return pool(rows, size, step, mode if mode in SUMMARY else "max")


def nothing_checked(rows, size=3, step=2, mode="max"):
    """You return something, or let Python stumble, whatever the arguments are. Raise a `ValueError`
    where the window does not fit or an option makes no sense.
    """
    if size > rows.shape[1] or step < 1 or mode not in SUMMARY:
        return rows[:, :0]
    return pool(rows, size, step, mode)


WRONG = (
    mode_ignored,
    largest_for_smallest,
    mean_for_median,
    range_below_zero,
    step_ignored,
    windows_side_by_side,
    last_windows_cut_off,
    one_place_short,
    down_the_columns,
    first_row_only,
    all_rows_together,
    rows_sorted,
    too_long_accepted,
    unknown_mode_accepted,
    nothing_checked,
)
