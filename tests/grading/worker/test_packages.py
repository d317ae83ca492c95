"""Which packages an answer uses."""

import functools
import math
import sys
from types import ModuleType

import numpy as np
import pytest
import scipy.signal
from scipy.signal import correlate2d

from coursepkg.grading.worker.packages import packages_used, refusal


def test_modules_and_names_from_modules():
    assert packages_used(lambda x: np.sum(x) * math.pi) == {"numpy", "math"}
    assert packages_used(lambda x: correlate2d(x, x)) == {"scipy"}
    assert packages_used(lambda x: scipy.signal.correlate2d(x, x)) == {"scipy"}


def test_imports_inside():
    def inside(x):
        from scipy.ndimage import convolve

        return [convolve(x, x) for _ in range(2)]

    assert packages_used(inside) == {"scipy"}


def test_comprehensions_and_inner_functions():
    def outer(xs):
        def inner(x):
            return correlate2d(x, x)

        return [inner(math.floor(x)) for x in xs]

    assert packages_used(outer) == {"scipy", "math"}


def helper(x):
    return loop(x) + correlate2d(x, x)


def loop(x):
    return helper(x)


def test_own_helpers_are_followed_even_in_circles():
    assert packages_used(lambda x: helper(x)) == {"scipy"}


class Layer:
    def forward(self, x):
        return helper(x)


def test_methods_and_own_classes():
    assert packages_used(Layer) == {"scipy"}
    assert packages_used(lambda x: Layer().forward(x)) == {"scipy"}


def test_builtins_attributes_and_other_callables_count_for_nothing():
    assert packages_used(lambda x: len(x.scipy)) == set()
    assert packages_used(np.sum) <= {"numpy", "functools"}
    assert packages_used(3) == set()


class Kinds:
    @staticmethod
    def static(x):
        return correlate2d(x, x)

    @classmethod
    def made(cls, x):
        return math.pi * x

    @property
    def rows(self):
        return np.arange(3)

    @rows.setter
    def rows(self, value):
        import json

        self.text = json.dumps(value)


def test_static_methods_class_methods_and_properties():
    wanted = {"scipy", "math", "numpy", "json"}
    assert packages_used(Kinds) == wanted
    assert packages_used(lambda x: Kinds.static(x)) == wanted
    assert packages_used(Kinds.made) == packages_used(Kinds().made) == {"math"}


def test_names_from_an_enclosing_function():
    import json

    def inner(x):
        return correlate2d(x, x)

    def circle(n):
        return circle(n - 1), inner(n), json.dumps(n)

    assert packages_used(circle) == {"scipy", "json"}
    assert packages_used(lambda: unbound) == set()
    if not circle:
        unbound = 1


TEXT = "torch"


def test_text_is_no_package():
    text = TEXT
    assert packages_used(lambda: TEXT) == packages_used(lambda: text) == set()


def test_wrappers_and_what_they_wrap():
    def wrapper(x):
        return math.floor(x)

    wrapper.__wrapped__ = helper
    assert packages_used(wrapper) == {"math", "scipy"}
    assert packages_used(functools.cache(helper)) == {"scipy"}


def test_wrappers_in_a_circle():
    def f(x):
        return math.floor(x)

    f.__wrapped__ = f
    assert packages_used(f) == {"math"}


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ("numpy", ""),
        ("math", ""),
        ("torch", "torch may not be used here: this exercise is to be solved without"),
        (
            "scipy",
            "scipy may not be used here: PyTorch, NumPy and the standard library are what this "
            "exercise needs",
        ),
        ("coursepkg", "coursepkg may not be used here: an answer has to stand by itself"),
    ],
)
def test_why_a_package_may_not_be_used(package, reason):
    allowed = ["torch", "numpy"]
    assert refusal(package, ["torch"] if package == "torch" else [], allowed) == reason


def test_all_may_be_used_where_nothing_is_said():
    assert refusal("scipy", [], None) == ""
    assert refusal("scipy", ["scipy"], None) == refusal("scipy", ["scipy"], ["scipy"]) != ""
    assert refusal("scipy", [], []).endswith("the standard library is what this exercise needs")


class Model:
    pass


model = Model()


def test_objects_of_ones_own_are_no_package():
    assert packages_used(lambda: model) == set()


def test_modules_of_ones_own_are_followed():
    module = ModuleType("mine")
    exec("import math\ndef g(): return math.pi", vars(module))
    assert packages_used(lambda: module.g(), own={"mine"}) == {"math"}
    assert packages_used(lambda: module.g()) == {"mine"}


class Convolution(scipy.signal.dlti):
    pass


class Further(Convolution):
    pass


def test_bases_of_a_class_are_used_too():
    assert packages_used(Further) == {"scipy"}
    assert packages_used(Layer) == packages_used(type("Same", (Layer,), {})) == {"scipy"}


def test_modules_that_are_not_installed_are_ones_own_by_default(tmp_path, monkeypatch):
    (tmp_path / "my_helpers.py").write_text("import math\ndef g(): return math.pi")
    (tmp_path / "my_unused.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    space = {"__name__": "__main__"}
    exec("from my_helpers import g\ndef f():\n    import my_unused\n    return g()", space)
    monkeypatch.delitem(sys.modules, "my_helpers")
    assert packages_used(space["f"]) == {"math"}
    assert packages_used(space["f"], own=()) == {"my_helpers", "my_unused"}


def test_the_course_and_what_is_installed_are_nobodys_own():
    def f():
        import no_such_module
        import pytest

        import coursepkg

        return coursepkg, no_such_module, pytest

    assert packages_used(f) == {"coursepkg", "no_such_module", "pytest"}


def imported():
    import mine

    return mine


def test_imports_of_ones_own_modules_count_for_nothing():
    assert packages_used(imported, own={"mine"}) == set()
