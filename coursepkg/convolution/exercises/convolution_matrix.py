r"""Convolution as a matrix

A convolution is linear: doubling the signal doubles the output, and the output of a sum is the
sum of the outputs. So there is a matrix that does the same. Write `conv1d_matrix`, which returns
it for a kernel of k numbers and a signal of `size` numbers, without padding:

```python
conv1d_matrix(kernel, size, stride) @ signal   # what the sliding kernel gives
```

- There is one row for each place of the window, and one column for each number of the signal.
- Row i holds the kernel, unflipped, where the window stands at place i, and zeros elsewhere.
- The window moves by `stride`, and only places where it fits whole count.

Write the three rows for `kernel = [1, 2, 3]` and `size = 5` on paper first. The result is an
ordinary array, in the kernel's dtype. If the kernel is longer than the signal, raise a
`ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.matrix import conv1d_matrix
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"rows": 2, "stride": 1, "dtypes": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = conv1d_matrix


def oracle(kernel: NDArray[Any], size: int, stride: int = 1) -> NDArray[Any]:
    r"""Column j is what NumPy's sliding kernel makes of a signal with a single 1 at place j."""
    if len(kernel) > size:
        raise ValueError("the kernel is longer than the signal")
    units = np.eye(size, dtype=kernel.dtype)
    columns = [np.convolve(unit, kernel[::-1], mode="valid")[::stride] for unit in units]
    return np.stack(columns, axis=1)


PUBLIC = (
    Case(
        "rows",
        {"kernel": np.array([1.0, 2.0, 3.0]), "size": 5},
        np.array([[1.0, 2.0, 3.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 1.0, 2.0, 3.0]]),
    ),
    Case("rows", {"kernel": np.array([4.0, 5.0]), "size": 2}, np.array([[4.0, 5.0]])),
    Case(
        "stride",
        {"kernel": np.array([1.0, -1.0]), "size": 5, "stride": 2},
        np.array([[1.0, -1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0, 0.0]]),
    ),
    Case(
        "dtypes",
        {"kernel": np.array([1, 2], np.int64), "size": 3},
        np.array([[1, 2, 0], [0, 1, 2]], np.int64),
    ),
    Case("errors", {"kernel": np.array([1.0, 2.0, 3.0]), "size": 2}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield kernels of one to five numbers, none of them zero, with room for several places."""
    for group in ("rows", "stride", "dtypes"):
        for k in (1, 2, 3, 5):
            kernel = (rng.permutation(9)[:k] + 1) * rng.choice([-1.0, 1.0], k)
            inputs = {"kernel": kernel, "size": k + int(rng.integers(3, 7))}
            if group == "stride":
                inputs["stride"] = int(rng.integers(2, 4))
            if group == "dtypes":
                inputs["kernel"] = kernel.astype(np.float32)
            yield Case(group, inputs, oracle(**inputs))
    yield Case("errors", {"kernel": np.ones(int(rng.integers(5, 9))), "size": 4}, ValueError)


def flipped(kernel, size, stride=1):
    """Your rows hold the kernel back to front. Deep learning does not flip: its first number meets
    the first number of the window.
    """
    return conv1d_matrix(kernel[::-1], size, stride)


def transposed(kernel, size, stride=1):
    """Rows and columns are swapped. The matrix has one *row* for each place, so that its product
    with a signal has one number for each place.
    """
    return conv1d_matrix(kernel, size, stride).T


def stride_ignored(kernel, size, stride=1):
    """Your kernel moves by one column from row to row whatever `stride` is. In row i it begins at
    column i * stride.
    """
    return conv1d_matrix(kernel, size)


def rows_not_dropped(kernel, size, stride=1):
    """You leave rows of zeros where the stride steps over a place. There is one row for each place
    that is taken, (size - k) // stride + 1 in all.
    """
    matrix = conv1d_matrix(kernel, size)
    matrix[np.arange(len(matrix)) % stride > 0] = 0
    return matrix


def wraps_round(kernel, size, stride=1):
    """In your last rows the kernel goes on at the beginning of the signal. Without padding, only
    places where it fits whole count: size - k + 1 at stride 1.
    """
    row = conv1d_matrix(kernel, size)[0]
    return np.stack([np.roll(row, i) for i in range(0, size, stride)])


def hangs_over(kernel, size, stride=1):
    """Your last windows hang over the end of the signal. Only places where the kernel fits whole
    count: size - k + 1 at stride 1.
    """
    row = conv1d_matrix(kernel, size + len(kernel) - 1)
    return row[::stride, :size] if len(kernel) <= size else conv1d_matrix(kernel, size)


def last_place_dropped(kernel, size, stride=1):
    """The last row is missing. `range(size - k)` has one place too few: there are
    (size - k) // stride + 1.
    """
    return conv1d_matrix(kernel, size, stride)[:-1]


def first_number_only(kernel, size, stride=1):
    """Each of your rows has only the first number of the kernel. The whole kernel stands in every
    row, side by side.
    """
    places = len(conv1d_matrix(kernel, size, stride))
    matrix = np.zeros((places, size), kernel.dtype)
    matrix[np.arange(places), np.arange(places) * stride] = kernel[0]
    return matrix


def float64_returned(kernel, size, stride=1):
    """The numbers are right, but the dtype is float64, which `np.zeros` gives unless told
    otherwise. Pass it `dtype=kernel.dtype`.
    """
    return conv1d_matrix(kernel, size, stride).astype(np.float64)


def nothing_checked(kernel, size, stride=1):
    """A kernel that is longer than the signal goes through without a word. Raise a `ValueError`:
    there is no place for it.
    """
    return conv1d_matrix(kernel, size, stride) if len(kernel) <= size else np.zeros((0, size))


WRONG = (
    flipped,
    transposed,
    stride_ignored,
    rows_not_dropped,
    wraps_round,
    hangs_over,
    last_place_dropped,
    first_number_only,
    float64_returned,
    nothing_checked,
)
