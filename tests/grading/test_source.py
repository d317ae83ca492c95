"""Starter and solution, read off the source of a reference."""

import math
from collections.abc import Iterator
from math import floor as down

import numpy as np
import pytest

from coursepkg.grading.source import solution, starter

Number = int | float
FACTOR, UNUSED = 3, 4


def scaled(x: int, by: int = 2) -> int:
    r"""Scale \alpha.

    More.
    """
    return _half(x) * by


def _half(x: Number) -> Number:
    return down(x / 2) + 0 * FACTOR


def averaged(
    values: Iterator[Number],
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Average."""
    return np.average(values, weights=weights)


def rounded(x: float) -> float:
    """Round to whole turns."""
    return down(x / math.tau) * math.tau


class Pair:
    """Two numbers."""

    def __init__(self, a: Number, b: Number) -> None:
        """Keep both."""
        self.a, self.b = a, b

    @property
    def total(self) -> int:
        """The sum."""
        return self._sum()

    def _sum(self):
        return self.a + self.b


class Countdown(Iterator[int]):
    """Down to one."""

    def __next__(self) -> int:
        raise StopIteration


def test_a_solution_imports_a_module_and_from_it_in_two_lines():
    assert solution(rounded).startswith("import math\nfrom math import floor as down\n\n\n")


def test_a_starter_imports_its_base_class():
    assert starter(Countdown) == (
        "from collections.abc import Iterator\n\n\n"
        "class Countdown(Iterator[int]):\n"
        '    """Down to one."""\n'
    )


def test_a_starter_is_signature_docstring_and_an_error_word_for_word():
    assert starter(scaled) == (
        "def scaled(x: int, by: int = 2) -> int:\n"
        '    r"""Scale \\alpha.\n\n    More.\n    """\n'
        "    raise NotImplementedError\n"
    )


def test_a_starter_imports_modules_and_drops_annotations_that_need_more():
    assert starter(averaged) == (
        "import numpy as np\n\n\n"
        "def averaged(values, *, weights=None):\n"
        '    """Average."""\n'
        "    raise NotImplementedError\n"
    )


def test_the_starter_of_a_class_keeps_its_public_methods():
    assert starter(Pair) == (
        "class Pair:\n"
        '    """Two numbers."""\n\n'
        "    def __init__(self, a, b):\n"
        '        """Keep both."""\n'
        "        raise NotImplementedError\n\n"
        "    @property\n"
        "    def total(self) -> int:\n"
        '        """The sum."""\n'
        "        raise NotImplementedError\n"
    )


def executed(source: str) -> dict:
    space: dict = {}
    exec(compile(source, "answer.py", "exec"), space)
    return space


@pytest.mark.parametrize("reference", [scaled, averaged, Pair])
def test_a_starter_is_defined_and_raises(reference):
    with pytest.raises(NotImplementedError):
        executed(starter(reference))[reference.__name__](1, 2) if reference is not averaged else (
            executed(starter(averaged))["averaged"]([1])
        )


def test_a_solution_brings_what_it_needs_and_no_more():
    text = solution(scaled)
    assert executed(text)["scaled"](7, by=5) == 15
    assert text.startswith("from math import floor as down\n\n\n# From ")
    assert "FACTOR, UNUSED" in text
    assert "Pair" not in text
    assert "numpy" not in text


def test_several_solutions_share_their_imports():
    text = solution(averaged, Pair)
    assert executed(text)["Pair"](1, 2).total == 3
    assert text.count("import numpy as np") == 1
    assert text.index("import") < text.index("def averaged") < text.index("class Pair")
