"""Starter and solution, read off the source of a reference."""

import importlib
import math
from collections.abc import Iterator
from math import floor as down

import numpy as np
import pytest

from coursepkg.convolution.activations import relu_backward
from coursepkg.convolution.losses import softmax_backward
from coursepkg.convolution.normalization import batch_norm
from coursepkg.grading.source import filled, packages_imported, solution, starter

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


TURN: float = math.tau


def turned(x: float) -> float:
    """Go once round."""
    return x + TURN


def shifted(x: int, by: int = 1, /, *, names=("ä", "b"), how: str = "up") -> int:
    r"""Shift by {{ by }}, {{ how }}{% if by > 5 %}, far{% endif %}: \frac{1}{2}."""
    return x + by if how == "up" else x - by - len(names)


class Mover:
    """Moves by {{ step }}."""

    def __init__(self, step: int = 1):
        self.step = step

    def moved(self, x: int) -> int:
        """Return x + {{ step }}."""
        return x + self.step


class Still:
    """Does not move."""

    @staticmethod
    def moved(x: np.ndarray) -> np.ndarray:
        """Return it."""
        return x


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


def test_a_solution_holds_annotated_constants():
    assert executed(solution(turned))["turned"](0.0) == math.tau


@pytest.mark.parametrize("module", ["padding", "resampling", "network", "pooling", "visualize"])
def test_every_public_function_of_a_module_has_a_solution_that_runs(module):
    module = importlib.import_module(f"coursepkg.convolution.{module}")
    for name in module.__all__:
        public = getattr(module, name)
        if getattr(public, "__module__", None) == module.__name__:
            assert name in executed(solution(public))


def test_a_solution_refuses_two_things_of_one_name():
    with pytest.raises(ValueError, match=r"^_check stands in .*; rename one"):
        solution(softmax_backward, relu_backward, batch_norm)


def test_a_starter_keeps_decorators_without_annotations():
    assert "    @staticmethod\n    def moved(x):" in starter(Still)


def test_a_starter_imports_what_it_is_told_to():
    assert starter(scaled, modules=("torch",)).startswith("import torch\n\n\ndef scaled")


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


def test_settings_become_defaults_and_fill_the_docstring():
    settings = {"by": 7, "how": 'down "there"', "names": ("ö", None)}
    text = solution(shifted, settings=settings)
    assert "def shifted(x: int, by: int = 7, /, *, names=('ö', None), how: str = \"down" in text
    shift = executed(text)["shifted"]
    assert shift.__doc__ == 'Shift by 7, down "there", far: \\frac{1}{2}.'
    assert shift(1) == 1 - 7 - 2
    assert shift(1, 2, how="up") == 3
    stub = starter(shifted, settings=settings)
    assert 'Shift by 7, down "there", far' in stub
    assert executed(stub)["shifted"].__kwdefaults__ == {k: settings[k] for k in ("names", "how")}


def test_settings_of_a_class_are_those_of_its_making():
    space = executed(solution(Mover, settings={"step": 5}))
    assert space["Mover"]().moved(1) == 6
    assert space["Mover"].__doc__ == "Moves by 5."
    assert "Return x + 5." in starter(Mover, settings={"step": 5})


def test_settings_leave_other_sources_alone():
    text = solution(shifted, scaled, settings={"by": 7, "how": "up", "names": ()})
    assert "def scaled(x: int, by: int = 2)" in text


@pytest.mark.parametrize(
    ("reference", "settings", "words"),
    [
        (shifted, {"by": 1, "x": 2}, "shifted has no parameter with a default called x"),
        (shifted, {"by": np.int64(3), "how": "up"}, "cannot be written as a default"),
        (shifted, {"by": object(), "how": "up"}, "by=<object .* cannot be written as a default"),
        (shifted, {"by": float("nan"), "how": "up"}, "by=nan cannot be written"),
        (shifted, {"how": "up"}, "'by' is undefined; the settings are how"),
        (Still, {"by": 1}, "Still has no __init__ of its own"),
    ],
)
def test_settings_that_do_not_fit_are_refused(reference, settings, words):
    with pytest.raises(ValueError, match=words):
        solution(reference, settings=settings)


def test_a_text_that_is_no_template_is_refused():
    with pytest.raises(ValueError, match="the text cannot be filled: expected token"):
        filled("{{ a b }}", {"a": 1})


def test_imports_are_found_wherever_they_stand():
    source = (
        "def f():\n    import os.path as p, torch.nn\n    from numpy.lib import stride_tricks\n"
    )
    assert packages_imported(source) == {"os", "torch", "numpy"}
    assert packages_imported("from . import x") == {""}


def test_what_is_not_at_the_top_level_is_refused():
    def inner():
        """Nothing."""

    with pytest.raises(ValueError, match="inner is not defined at the top level"):
        solution(inner)
