r"""Ask the loss itself: a gradient by differences

A formula for a gradient may be wrong. The loss itself cannot be argued with: move one number a
little up and a little down, and see how far the loss moves. Write `numerical_gradient`, which does
this for every number of an array, by *central differences*:

$$
\frac{\partial f}{\partial x_i} \approx \frac{f(x + h_i) - f(x - h_i)}{2h} ,
$$

where $h$ is `step`, and $h_i$ is an array like $x$ with $h$ at entry $i$ and 0 elsewhere.
`function` takes an array like `x` and returns a number.

- The result has the shape of `x`, which may have any number of axes (`np.ndindex` helps).
- Only one number is moved at a time; all the others stay where they are.
- `x` itself is not changed, not even in its last digit.
- float32 has too few digits for this. If `x` is not a float64 array, raise a `ValueError`.

Most cases use a large step on purpose: then the difference of the formula above from other ones
is plain to see. `default step` leaves `step` to your function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.grading import Case
from coursepkg.testing import numerical_gradient

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"one number": 1, "many numbers": 2, "axes": 1, "default step": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = numerical_gradient


def driver(Answer, function, x, step=None):
    functions = {
        "squares": lambda x: float(np.sum(x**2)),
        "cubes": lambda x: float(np.sum(x**3)),
        "product": lambda x: float(np.prod(x)),
    }
    if step is not None:
        yield "gradient", Answer(functions[function], x, step)
    else:
        gradient = Answer(functions[function], x)
        yield "gradient", np.round(gradient, 3) if isinstance(gradient, np.ndarray) else gradient


def oracle(function: str, x: NDArray[Any], step: float | None = None) -> dict[str, Any]:
    r"""Use algebra: the central difference of a cube is its derivative plus the step squared.

    Those of squares and products are the derivatives.
    """
    if x.dtype != np.float64:
        raise ValueError("not float64")
    others = [np.prod(np.delete(x.ravel(), i)) for i in range(x.size)]
    gradients = {
        "squares": 2 * x,
        "cubes": 3 * x**2 + (step or 0) ** 2,
        "product": np.array(others).reshape(x.shape),
    }
    return {"gradient": gradients[function]}


def _public(group: str, function: str, x: Any, gradient: Any, **step: float) -> Case:
    inputs = {"function": function, "x": np.array(x, np.float64)} | step
    return Case(group, inputs, {"gradient": np.array(gradient, np.float64)})


PUBLIC = (
    _public("one number", "squares", [3], [6], step=0.5),
    _public("one number", "cubes", [1], [3.25], step=0.5),
    _public("many numbers", "squares", [1, -2, 4], [2, -4, 8], step=0.25),
    _public("many numbers", "product", [2, 3, 5], [15, 10, 6], step=0.5),
    _public("axes", "product", [[1, 2], [3, 4]], [[24, 12], [8, 6]], step=0.5),
    _public("default step", "cubes", [2, -1], [12, 3]),
    Case(
        "errors", {"function": "squares", "x": np.array([3], np.float32), "step": 0.5}, ValueError
    ),
    Case("errors", {"function": "squares", "x": np.array([3]), "step": 0.5}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield whole numbers with steps that are halves and quarters: every difference is exact."""
    shapes = {"one number": [(1,)] * 3, "many numbers": [(4,), (3,), (5,)]}
    shapes |= {"axes": [(2, 3), (3, 1, 2), (4, 2)], "default step": [(3,), (2, 2), (4,)]}
    for group, sizes in shapes.items():
        for shape, function in zip(sizes, ["cubes", "product", "squares"], strict=True):
            inputs: dict[str, Any] = {"function": function, "x": _whole(rng, shape)}
            if group != "default step":
                inputs["step"] = float(rng.choice([0.25, 0.5, 2.0]))
            yield Case(group, inputs, oracle(**inputs))
    x = _whole(rng, (2,)).astype(np.float32)
    yield Case("errors", {"function": "cubes", "x": x, "step": 0.5}, ValueError)


def _whole(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(rng.choice([-1, 1], shape) * rng.integers(2, 6, shape), np.float64)


EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)


def forward_difference(function, x, step=EPS**0.5):
    """You compare x + h with x itself. That one-sided difference is wrong by an amount of the order
    of h. Take x + h and x - h, and divide by 2h.
    """
    return 2 * numerical_gradient(function, x, step) - _one_sided(function, x, -step)


def backward_difference(function, x, step=EPS**0.5):
    """You compare x with x - h. Such a one-sided difference is wrong by an amount of the order of
    h. Take x + h and x - h, and divide by 2h.
    """
    return _one_sided(function, x, -step)


def divided_by_one_step(function, x, step=STEP):
    """Your gradient is twice too large. From x - h to x + h it is two steps: divide by 2h."""
    return 2 * numerical_gradient(function, x, step)


def half_of_it(function, x, step=STEP):
    """Your result is the difference times h/2. `d / 2 * h` is `(d / 2) * h` to Python; put brackets
    round `(2 * h)`.
    """
    return numerical_gradient(function, x, step) * 2 * step / 2 * step


def not_divided(function, x, step=STEP):
    """You return the difference itself. A gradient is a difference *per step*: divide by the
    distance of the two places, 2h.
    """
    return numerical_gradient(function, x, step) * 2 * step


def step_halved(function, x, step=STEP):
    """You go half a step to each side. That is a fair formula too, but not the one asked for: move
    by the whole of `step`, up and down, and divide by two steps.
    """
    return numerical_gradient(function, x, step / 2)


def step_ignored(function, x, step=STEP):
    """You move by a step of your own. Move by the argument `step`; your own is the default of that
    argument.
    """
    return numerical_gradient(function, x, 1e-4)


def step_too_small(function, x, step=1e-14):
    """Your default step is so small that rounding swallows the difference. With float64, a central
    difference is best with a step near 6e-6, the cube root of the machine precision.
    """
    return numerical_gradient(function, x, step)


def step_too_large(function, x, step=0.1):
    """Your default step is so large that the curve bends on the way. With float64, a central
    difference is best with a step near 6e-6, the cube root of the machine precision.
    """
    return numerical_gradient(function, x, step)


def all_at_once(function, x, step=STEP):
    """You move all numbers together, as `x + h` does. That gives the sum of all derivatives; move
    one entry at a time.
    """
    _refuse(x)
    slope = (function(x + step) - function(x - step)) / (2 * step)
    return np.full(x.shape, slope)


def change_left_behind(function, x, step=STEP):
    """You leave a number moved when you go on to the next one. Put it back, or start each time from
    a fresh copy.
    """
    _refuse(x)
    moved, gradient = x.copy(), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved[index] += step
        ahead = function(moved)
        moved[index] -= 2 * step
        gradient[index] = (ahead - function(moved)) / (2 * step)
    return gradient


def argument_left_moved(function, x, step=STEP):
    """You write into `x` itself and leave it moved. It belongs to the caller: work on a copy, and
    start each entry from the original.
    """
    gradient = change_left_behind(function, x, step)
    x -= step
    return gradient


def put_back_by_adding(function, x, step=STEP):
    """Your gradient is right, but `x` is not quite what it was: adding h, taking away 2h and adding
    h again leaves a rounding error. Keep the old number and put it back, or work on a copy.
    """
    gradient = numerical_gradient(function, x, step)
    for index in np.ndindex(x.shape):
        x[index] += step
        x[index] -= 2 * step
        x[index] += step
    return gradient


def first_entry_only(function, x, step=STEP):
    """Only the first entry of your gradient is filled in. Go through all of them; and let the
    `return` stand after the loop, not in it.
    """
    gradient = np.zeros_like(x)
    gradient.flat[0] = numerical_gradient(function, x, step).flat[0]
    return gradient


def whole_rows_moved(function, x, step=STEP):
    """You move whole rows: `x[i]` of a matrix is a row. Go through all entries;
    `np.ndindex(x.shape)` gives the index of each, whatever the number of axes.
    """
    _refuse(x)
    gradient = np.zeros_like(x)
    for i in range(len(x)):
        shift = np.zeros_like(x)
        shift[i] = step
        gradient[i] = (function(x + shift) - function(x - shift)) / (2 * step)
    return gradient


def flattened(function, x, step=STEP):
    """Your gradient is one long row. It has the shape of `x`: start from `np.zeros_like(x)`."""
    return numerical_gradient(function, x, step).ravel()


def whole_numbers(function, x, step=STEP):
    """Your gradient is rounded to whole numbers, because the array that it is written into holds
    integers. Start from `np.zeros_like(x)`.
    """
    return numerical_gradient(function, x, step).astype(np.int64)


def any_dtype_taken(function, x, step=STEP):
    """You take float32 or integers without a word, and rounding makes nonsense of small steps.
    Raise a ValueError unless `x.dtype` is `np.float64`.
    """
    return numerical_gradient(function, x.astype(np.float64), step)


def _one_sided(function, x, step):
    _refuse(x)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        gradient[index] = (function(moved) - function(x)) / step
    return gradient


def _refuse(x):
    if x.dtype != np.float64:
        raise ValueError("not float64")


WRONG = (
    forward_difference,
    backward_difference,
    divided_by_one_step,
    half_of_it,
    not_divided,
    step_halved,
    step_ignored,
    step_too_small,
    step_too_large,
    all_at_once,
    change_left_behind,
    argument_left_moved,
    put_back_by_adding,
    first_entry_only,
    whole_rows_moved,
    flattened,
    whole_numbers,
    any_dtype_taken,
)
