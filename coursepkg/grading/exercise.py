r"""Exercises: one module each, found by id.

The exercise `<topic>/<slug>` is the module `coursepkg/<topic>/exercises/<slug>.py`, with
dashes as underscores. It holds

- a raw docstring: the title, an empty line, the prompt (MyST);
- `points`: a table from group to points; a group is a skill that is passed or not;
- `environment`: `"numpy"` or `"torch"`;
- `seconds`: the time limit of one case; optionally `limits`, a table of the other `Limits`;
- `reference`: the function or class of the course that solves it;
- `PUBLIC`: cases that learners see;
- `hidden(rng)`: a generator of further cases;
- `oracle(**inputs)`: what to expect, computed without the reference;
- `WRONG`: known mistakes; the docstring of each is the hint for those who make it;
- `FORBID`: packages that an answer may not use;
- optionally `driver(Answer, **inputs)`: runs a class and yields (name, array), one at a time,
  so that what came before a failure still counts; it may import NumPy or PyTorch, no more;
- optionally `data`: which data the cases hold, from where and under which licence, in a sentence;
- optionally `shown`: further functions whose source belongs to the solution;
- optionally `variant(rng)`: settings, a table of new defaults for parameters of the reference.

With `variant` there are as many exercises as settings. The docstrings of the module, of the
reference and of the mistakes are then Jinja2 templates, filled by the settings. The reference,
the oracle, `hidden` and the mistakes are called with the settings as defaults, so each of them
has these parameters; the results of the public cases come from the oracle. Cases leave the
settings out, so that an answer with other defaults gives other results:

    def hidden(rng, mode="max"):
        yield Case("window", {"input": x}, oracle(x, mode))

Exercises of your own stand in a folder as `<topic>/<slug>.py` and are found if it is named.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import importlib
import inspect
import pkgutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import coursepkg
from coursepkg.grading.source import filled, packages_imported, solution, starter
from coursepkg.grading.worker.run import Driver, call
from coursepkg.testing import TOLERANCES

__all__ = [
    "ENVIRONMENTS",
    "Case",
    "Exercise",
    "Folders",
    "Limits",
    "Mistake",
    "exercise_ids",
    "from_module",
    "load",
    "private_folders",
    "nearest",
]

#: The packages that an environment has, besides Python's own.
ENVIRONMENTS: dict[str, tuple[str, ...]] = {"numpy": ("numpy",), "torch": ("torch", "numpy")}

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
class Limits:
    r"""What an answer may use up.

    Attributes
    ----------
    seconds : float
        Time of the processor for one case.
    memory : int
        MB.
    threads : int
    file : int
        MB of the largest file that it may write.
    open_files : int
    output : int
        MB of the results of one case.
    """

    seconds: float = 3.0
    memory: int = 1024
    threads: int = 64
    file: int = 16
    open_files: int = 64
    output: int = 4


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
    limits : Limits
        Of one case.
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
    settings : mapping of str to object
        What this variant fills in; empty if there are no variants.
    """

    id: str
    title: str
    prompt: str
    groups: Mapping[str, int]
    environment: str
    limits: Limits
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
    settings: Mapping[str, Any]
    module: ModuleType

    @property
    def points(self) -> int:
        r"""Points for a full answer."""
        return sum(self.groups.values())

    @property
    def seconds(self) -> float:
        r"""Time limit of one case."""
        return self.limits.seconds

    @property
    def allowed(self) -> tuple[str, ...]:
        r"""Packages that an answer may use besides Python's own."""
        return tuple(p for p in ENVIRONMENTS[self.environment] if p not in self.forbid)

    @functools.cached_property
    def driver_source(self) -> str:
        r"""Source of `driver` that runs apart from the course; "" for a plain call."""
        if self.driver is call:
            return ""
        source, here = solution(self.driver), ENVIRONMENTS[self.environment]
        if stray := packages_imported(source) - sys.stdlib_module_names - {*here}:
            raise ValueError(
                f"the driver of {self.id!r} imports {' and '.join(sorted(stray))}; it runs beside "
                f"the answer, where there is only {' and '.join(here)}"
            )
        return source

    @property
    def varies(self) -> bool:
        r"""Whether there are variants."""
        return hasattr(self.module, "variant")

    @property
    def hints(self) -> tuple[str, ...]:
        r"""One hint for each known mistake."""
        return tuple(mistake.hint for mistake in self.mistakes)

    def cases(self, seed: int) -> tuple[Case, ...]:
        r"""Return the public cases and those which `seed` gives; equal seeds, equal cases."""
        further = self.further(np.random.default_rng(seed))
        return self.public + tuple(_named(case, self.driver) for case in further)

    def earned(self, passed: Mapping[str, bool]) -> int:
        r"""Return the points of the groups that passed.

        Examples
        --------
        >>> load("convolution/output-size").earned({"errors": False})
        0
        """
        return sum(self.groups[group] for group, right in passed.items() if right)

    def variant(self, seed: int, learner: str = "") -> Exercise:
        r"""Return the variant of a seed, for the whole class or for one learner.

        Equal arguments give equal variants, and these have nothing to do with the cases that the
        seed gives. An exercise without variants returns itself.
        """
        if not self.varies:
            return self
        drawn = hashlib.sha256(f"{self.id}\0{learner}".encode()).digest()
        words = tuple(np.frombuffer(drawn, np.uint32).tolist())
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=words))
        return from_module(self.id, self.module, self.module.variant(rng))

    def fingerprint(self, seed: int) -> str:
        r"""Return a hash of all that decides about a mark: equal ones, equal marks.

        It holds the texts of the result too (title, hints), but not prompt and solution.
        """
        cases = [(c.group, c.inputs, c.expected) for c in self.cases(seed)]
        hints = [(mistake.name, mistake.hint) for mistake in self.mistakes]
        value = {
            "exercise": [self.id, self.title, self.name, list(self.groups.items())],
            "run": [self.environment, self.limits, self.driver_source, self.forbid, self.settings],
            "cases": [cases, len(self.public), TOLERANCES],
            "mistakes": hints,
        }
        digest = hashlib.sha256()
        for part in _canonical(value):
            digest.update(part)
        return digest.hexdigest()


def _canonical(value: Any) -> Iterator[bytes]:
    r"""Yield bytes that are equal for equal values alone, in every process."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu().numpy()
    match value:
        case np.ndarray() | np.generic():
            array = np.asarray(value)
            yield f"{kind} {array.dtype.str} {array.shape};".encode()
            yield array.tobytes()
        case Mapping():
            yield f"{kind} {len(value)};".encode()
            for key in sorted(value):
                yield from (*_canonical(key), *_canonical(value[key]))
        case tuple() | list():
            yield f"{kind} {len(value)};".encode()
            for entry in value:
                yield from _canonical(entry)
        case None | bool() | int() | float() | complex() | str():
            text = repr(value).encode()
            yield f"{kind} {len(text)};".encode() + text
        case type():
            yield from _canonical(f"{value.__module__}.{value.__qualname__}")
        case _ if dataclasses.is_dataclass(value):
            yield f"{kind};".encode()
            fields = [field.name for field in dataclasses.fields(value)]
            yield from _canonical({name: getattr(value, name) for name in fields})
        case _:
            raise TypeError(
                f"a case holds {value!r:.80}, a {kind}; use numbers, text, None, arrays, or "
                "tuples, lists and dicts of these"
            )


#: Where exercises stand that are not the course's: folders that hold `<topic>/<slug>.py`.
Folders = str | Path | Sequence[str | Path]


def exercise_ids(exercises_dir: Folders = ()) -> list[str]:
    r"""Return the ids of all exercises, in alphabetical order.

    Parameters
    ----------
    exercises_dir : path or sequence of path
        Where further exercises stand, as `<topic>/<slug>.py`.

    Raises
    ------
    ValueError
        If a folder does not exist, or an id is used twice.

    Examples
    --------
    >>> "convolution/output-size" in exercise_ids()
    True
    """
    return sorted([*_built_in(), *_private(exercises_dir)])


def _built_in() -> list[str]:
    return [
        f"{topic.name}/{module.name.replace('_', '-')}"
        for topic in pkgutil.iter_modules(coursepkg.__path__)
        for folder in coursepkg.__path__
        for module in pkgutil.iter_modules([str(Path(folder, topic.name, "exercises"))])
    ]


def private_folders(exercises_dir: Folders) -> list[Path]:
    r"""Return the folders of exercises that are not the course's."""
    if isinstance(exercises_dir, str | Path):
        return [Path(exercises_dir)]
    return [*map(Path, exercises_dir)]


def _private(exercises_dir: Folders) -> dict[str, Path]:
    r"""Return the modules of further exercises by id."""
    folders = private_folders(exercises_dir)
    found: dict[str, Path] = {}
    taken = dict.fromkeys(_built_in(), "the course") if folders else {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}; name one that holds <topic>/<slug>.py")
        for path in sorted(folder.glob("[!._]*/[!._]*.py")):
            id = f"{path.parent.name}/{path.stem.replace('_', '-')}"
            if id in taken:
                raise ValueError(f"{path}: {taken[id]} has an exercise {id!r} already; rename it")
            found[id], taken[id] = path, str(path)
    return found


def load(id: str, exercises_dir: Folders = ()) -> Exercise:
    r"""Return the exercise of this id.

    Parameters
    ----------
    id : str
        Such as `"convolution/output-size"`.
    exercises_dir : path or sequence of path
        Where further exercises stand, as `<topic>/<slug>.py`.

    Raises
    ------
    ValueError
        If there is none; the message lists ids that look like it. Also if its module is broken;
        the message names file and line.

    Examples
    --------
    >>> load("convolution/output-size").name
    'output_size'
    """
    private = _private(exercises_dir)
    if path := private.get(id):
        return from_module(id, _private_module(id, path))
    ids = sorted([*_built_in(), *private])
    if id not in ids:
        raise ValueError(f"there is no exercise {id!r}; {nearest(str(id), ids)}")
    topic, slug = id.split("/")
    module = importlib.import_module(f"coursepkg.{topic}.exercises.{slug.replace('-', '_')}")
    return from_module(id, module)


def nearest(word: str, words: Sequence[str]) -> str:
    r"""Return which words may have been meant, or all if none is like the one that was given.

    Examples
    --------
    >>> nearest("conv2", ["conv2d", "im2col"])
    "perhaps 'conv2d'"
    """
    near = difflib.get_close_matches(word, words, n=3, cutoff=0.4) or words
    return f"perhaps {' or '.join(map(repr, near))}"


_LOADING = threading.Lock()


def _private_module(id: str, path: Path) -> ModuleType:
    r"""Return the module in a file, run once for each state of the file."""
    text = path.read_bytes()
    name = f"private_{hashlib.sha256(id.encode() + text).hexdigest()[:16]}"
    with _LOADING:
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = str(path)
            sys.modules[name] = module  # dataclasses and `inspect` look for it there
            try:
                exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
            except Exception as error:
                del sys.modules[name]
                raise ValueError(f"{_place(error, path)}: {_words(error)}") from error
        return sys.modules[name]


def _place(error: Exception, path: Path) -> str:
    r"""Return file and line of what went wrong in a file."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"


def from_module(id: str, module: ModuleType, settings: Mapping[str, Any] | None = None) -> Exercise:
    r"""Read an exercise off its module; the docstring of this file says what stands there.

    Parameters
    ----------
    id : str
    module : module
    settings : mapping of str to object, optional
        Those of a variant. If not given, the reference's own defaults.

    Raises
    ------
    ValueError
        If something is missing in the module, or does not fit together.
    """
    try:
        return _from_module(id, module, settings)
    except ValueError as error:
        place = getattr(module, "__file__", module.__name__)
        raise ValueError(f"exercise {id!r}, {place}: {error}") from error


#: What every module of an exercise defines.
REQUIRED = (
    *("points", "environment", "seconds", "reference"),
    *("PUBLIC", "hidden", "oracle", "WRONG", "FORBID"),
)


def _from_module(id: str, module: ModuleType, settings: Mapping[str, Any] | None) -> Exercise:
    _check_module(module)
    reference = module.reference
    shown = getattr(module, "shown", ())
    driver: Driver = getattr(module, "driver", call)
    environment: str = module.environment
    if settings is None:
        settings = _own_settings(module)
    title, _, prompt = _text(module, settings).partition("\n")
    source = solution(reference, *shown, settings=settings)
    oracle = _with_defaults(module.oracle, settings)
    public = tuple(_named(case, driver) for case in module.PUBLIC)
    return Exercise(
        id=id,
        title=title,
        prompt=prompt.strip(),
        groups=module.points,
        environment=environment,
        limits=Limits(module.seconds, **getattr(module, "limits", {})),
        name=reference.__name__,
        starter=starter(reference, *shown, modules=IMPORTED[environment], settings=settings),
        solution=source,
        reference=_defined(source, reference.__name__) if settings else reference,
        driver=driver,
        public=tuple(_foreseen(case, oracle) for case in public) if settings else public,
        further=_with_defaults(module.hidden, settings),
        oracle=oracle,
        mistakes=tuple(_mistake(answer, settings) for answer in module.WRONG),
        forbid=tuple(module.FORBID),
        settings=settings,
        module=module,
    )


def _check_module(module: ModuleType) -> None:
    r"""Refuse a module in which something is missing or unknown."""
    if missing := [name for name in REQUIRED if not hasattr(module, name)]:
        raise ValueError(f"{' and '.join(missing)} missing; define what every exercise has")
    if module.environment not in ENVIRONMENTS:
        known = " or ".join(map(repr, ENVIRONMENTS))
        raise ValueError(f"environment={module.environment!r} is unknown; use {known}")
    known_limits = [f.name for f in dataclasses.fields(Limits) if f.name != "seconds"]
    if unknown := sorted(set(getattr(module, "limits", {})) - set(known_limits)):
        raise ValueError(
            f"limits has {' and '.join(map(repr, unknown))}; use {', '.join(known_limits)}, "
            "and `seconds` beside it"
        )
    driver = getattr(module, "driver", call)
    if driver is not call and driver.__name__ != "driver":
        raise ValueError(f"the driver is called {driver.__name__}; define it as `driver`")
    groups = {g for c in module.PUBLIC for g in ([c.group] if c.group else c.expected)}
    if stray := sorted(groups - set(module.points)):
        raise ValueError(f"PUBLIC has cases of {' and '.join(stray)}; give points for them")


def _own_settings(module: ModuleType) -> dict[str, Any]:
    r"""Return the reference's own defaults of the parameters that vary."""
    if not hasattr(module, "variant"):
        return {}
    parameters = inspect.signature(module.reference).parameters
    names = module.variant(np.random.default_rng(0))
    return {name: parameters[name].default for name in names if name in parameters}


def _text(module: ModuleType, settings: Mapping[str, Any]) -> str:
    text = inspect.cleandoc(module.__doc__ or "")
    return filled(text, settings) if settings else text


def _with_defaults(function: Callable[..., Any], settings: Mapping[str, Any]) -> Callable[..., Any]:
    return functools.partial(function, **settings) if settings else function


def _foreseen(case: Case, oracle: Callable[..., Any]) -> Case:
    r"""Let the oracle say what comes of a case."""
    if case.raises:
        return case
    expected = oracle(**case.inputs)
    return replace(case, expected=expected if isinstance(expected, dict) else {"result": expected})


def _defined(source: str, name: str) -> Any:
    space: dict[str, Any] = {"__name__": "solution"}
    exec(compile(source, "solution.py", "exec", dont_inherit=True), space)
    return space[name]


def _named(case: Case, driver: Driver) -> Case:
    r"""Give the one result of a plain function the name that `call` gives it."""
    if driver is not call or case.raises:
        return case
    return replace(case, expected={"result": case.expected})


def _mistake(answer: Callable[..., Any], settings: Mapping[str, Any]) -> Mistake:
    hint = " ".join(inspect.cleandoc(answer.__doc__ or "").split())
    if settings:
        hint = filled(hint, settings)
    return Mistake(answer.__name__, hint, _with_defaults(answer, settings))
