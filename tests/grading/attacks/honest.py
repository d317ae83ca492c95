"""Work of honest people: right, half right, unfinished, in each of the formats."""

from __future__ import annotations

from grading.attacks.files import notebook

__all__ = ["HONEST"]

RIGHT = """
import numpy as np


def target(x):
    return np.cumsum(np.square(x))


def bystander(x):
    return x * 3.0
"""

#: Per learner: the name of the file, its text, points of `target` and of `bystander`.
HONEST = {
    "ada": ("hw.py", RIGHT, 2, 1),
    "ben": ("hw.ipynb", notebook("import numpy as np", RIGHT, "1 / 0"), 2, 1),
    "cho": ("hw.md", f"# Homework\n\n```{{code-cell}}\n{RIGHT}```\n", 2, 1),
    "dan": ("hw.py", "def target(x):\n    return x.cumsum()\n", 0, 0),
    "eve": (
        "hw.py",
        "def target(x):\n    raise NotImplementedError\n\n\n"
        "def bystander(x):\n    return x + x + x\n",
        0,
        1,
    ),
    "zoe": ("hw.py", RIGHT.replace("x * 3.0", "y * 3.0"), 2, 0),
}
