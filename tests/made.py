"""Exercises and submissions that tests of the grader make."""

from __future__ import annotations

from pathlib import Path

__all__ = ["EXERCISE", "hand_in", "write_exercise"]

EXERCISE = '''
r"""{title}

Write `{name}(x)`.
"""
from coursepkg.grading import Case

def {name}(x):
    r"""Multiply."""
    return {factor} * x

points = {{"whole": 2, "fraction": 1}}
environment = "numpy"
seconds = 0.3
reference = oracle = {name}
FORBID = ()
PUBLIC = (Case("whole", {{"x": 1}}, {factor}), Case("fraction", {{"x": 0.5}}, {factor} / 2))

def hidden(rng):
    for _ in range(2):
        n = int(rng.integers(10, 10**6))
        yield Case("whole", {{"x": n}}, {factor} * n)
        yield Case("fraction", {{"x": n / 7}}, {factor} * (n / 7))

def squared(x):
    """It is no square."""
    return x**2

WRONG = (squared,)
'''


def write_exercise(folder: Path, name: str, factor: int, title: str = "Multiply") -> None:
    """Write the exercise made/NAME, a multiplication, into a folder of private exercises."""
    path = folder / "made" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(EXERCISE.format(title=title, name=name, factor=factor))


def hand_in(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder of submissions."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
