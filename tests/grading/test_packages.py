"""Which packages an answer uses."""

import math

import numpy as np
import scipy.signal
from scipy.signal import correlate2d

from coursepkg.grading.packages import packages_used


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
