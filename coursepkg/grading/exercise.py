r"""Exercises: one module each, found by id.

The exercise `<topic>/<slug>` is the module `coursepkg/<topic>/exercises/<slug>.py`, with
dashes as underscores. It holds

- a raw docstring: the title, an empty line, the prompt (MyST);
- `points`: a table from group to points; a group is a skill that is passed or not;
- `environment`: `"numpy"` or `"torch"`;
- `seconds`: the time limit of one case;
- `reference`: the function or class of the course that solves it;
- `PUBLIC`: cases that learners see;
- `hidden(rng)`: a generator of further cases;
- `oracle(**inputs)`: what to expect, computed without the reference;
- `WRONG`: known mistakes; the docstring of each is the hint for those who make it;
- `FORBID`: packages that an answer may not use;
- optionally `driver(Answer, **inputs)`: runs a class and yields (name, array), one at a time,
  so that what came before a failure still counts; it may import NumPy or PyTorch, no more;
- optionally `shown`: further functions whose source belongs to the solution.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import coursepkg
from coursepkg.grading.worker.run import Driver, call
from coursepkg.grading.source import solution, starter

__all__ = ["Case", "Exercise", "Mistake", "exercise_ids", "from_module", "load"]


#: What the starters of an environment import in any case.
IMPORTED: dict[str, tuple[str, ...]] = {"numpy": (), "torch": ("torch",)}


@dataclass(frozen=True, eq=False)
class Case:
    r"""Inputs and what should come of them.

    Attributes
    ----------
    group : str
        The group that the case belongs to, or "" if each of its results, by name, is one.
    inputs : mapping of str to object
        Keyword arguments of the answer, or of the driver.
    expected : object
        The result; with a driver, a dict of results by name. An exception class if the
        answer is to raise it.
    """

    group: str
    inputs: Mapping[str, Any]
    expected: Any

    @property
    def raises(self) -> bool:
        r"""Whether an exception is expected."""
        return isinstance(self.expected, type)


@dataclass(frozen=True)
class Mistake:
    r"""A known way to get an exercise wrong, and what to say to those who do."""

    name: str
    hint: str
    answer: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Exercise:
    r"""All that pages, notebooks, the self-check and the grader need of an exercise.

    Attributes
    ----------
    id, title, prompt : str
        The prompt is MyST, without the title.
    groups : mapping of str to int
        Points of each group of cases.
    environment : str
        `"numpy"` or `"torch"`.
    seconds : float
        Time limit of one case.
    name : str
        What the learner defines.
    starter, solution : str
        Python source.
    reference : function or class
    driver : callable
    public : tuple of Case
    oracle : callable
    mistakes : tuple of Mistake
    forbid : tuple of str
        Packages that an answer may not use.
    """

    id: str
    title: str
    prompt: str
    groups: Mapping[str, int]
    environment: str
    seconds: float
    name: str
    starter: str
    solution: str
    reference: Callable[..., Any]
    driver: Driver
    public: tuple[Case, ...]
    further: Callable[[np.random.Generator], Iterable[Case]]
    oracle: Callable[..., Any]
    mistakes: tuple[Mistake, ...]
    forbid: tuple[str, ...]

    @property
    def points(self) -> int:
        r"""Points for a full answer."""
        return sum(self.groups.values())

    @property
    def hints(self) -> tuple[str, ...]:
        r"""One hint for each known mistake."""
        return tuple(mistake.hint for mistake in self.mistakes)

    def cases(self, seed: int) -> tuple[Case, ...]:
        r"""Return the public cases and those which `seed` gives; equal seeds, equal cases."""
        further = self.further(np.random.default_rng(seed))
        return self.public + tuple(_named(case, self.driver) for case in further)


def exercise_ids() -> list[str]:
    r"""Return the ids of all exercises, in alphabetical order.

    Examples
    --------
    >>> "convolution/output-size" in exercise_ids()
    True
    """
    return sorted(
        f"{topic.name}/{module.name.replace('_', '-')}"
        for topic in pkgutil.iter_modules(coursepkg.__path__)
        for folder in coursepkg.__path__
        for module in pkgutil.iter_modules([str(Path(folder, topic.name, "exercises"))])
    )


def load(id: str) -> Exercise:
    r"""Return the exercise of this id.

    Raises
    ------
    ValueError
        If there is none; the message lists ids that look like it.

    Examples
    --------
    >>> load("convolution/output-size").name
    'output_size'
    """
    ids = exercise_ids()
    if id not in ids:
        near = difflib.get_close_matches(str(id), ids, n=3, cutoff=0.4) or ids
        raise ValueError(f"there is no exercise {id!r}; perhaps {' or '.join(map(repr, near))}")
    topic, slug = id.split("/")
    module = importlib.import_module(f"coursepkg.{topic}.exercises.{slug.replace('-', '_')}")
    return from_module(id, module)


def from_module(id: str, module: ModuleType) -> Exercise:
    r"""Read an exercise off its module; the docstring of this file says what stands there."""
    title, _, prompt = inspect.cleandoc(module.__doc__ or "").partition("\n")
    reference = module.reference
    shown = getattr(module, "shown", ())
    driver: Driver = getattr(module, "driver", call)
    return Exercise(
        id=id,
        title=title,
        prompt=prompt.strip(),
        groups=module.points,
        environment=module.environment,
        seconds=module.seconds,
        name=reference.__name__,
        starter=starter(reference, *shown, modules=IMPORTED[module.environment]),
        solution=solution(reference, *shown),
        reference=reference,
        driver=driver,
        public=tuple(_named(case, driver) for case in module.PUBLIC),
        further=module.hidden,
        oracle=module.oracle,
        mistakes=tuple(_mistake(answer) for answer in module.WRONG),
        forbid=tuple(module.FORBID),
    )


def _named(case: Case, driver: Driver) -> Case:
    r"""Give the one result of a plain function the name that `call` gives it."""
    if driver is not call or case.raises:
        return case
    return replace(case, expected={"result": case.expected})


def _mistake(answer: Callable[..., Any]) -> Mistake:
    hint = " ".join(inspect.cleandoc(answer.__doc__ or "").split())
    return Mistake(answer.__name__, hint, answer)
