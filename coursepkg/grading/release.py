r"""What is handed out: notebooks and starters for students, and a manifest for the instructor.

::

    OUT/students/README.md              how to install, to check and to hand in; the data
    OUT/students/<topic>.ipynb          the exercises of a topic
    OUT/students/starters/<topic>/<slug>.py
    OUT/instructor/manifest.json        the seed, and hashes of all that students get

With learners there is a folder for each of them, `OUT/students/<learner>/`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from nbformat import NotebookNode, v4

from coursepkg.grading.exercise import Case, Exercise, Folders, exercise_ids, load, private_folders
from coursepkg.grading.feedback import literal
from coursepkg.grading.worker.run import call

__all__ = ["Manifest", "exercise_cells", "plain_prompt", "release", "secret_lines"]

_v4: Any = v4  # it has no types

STUDENTS, MANIFEST = "students", "instructor/manifest.json"


@dataclass(frozen=True)
class Manifest:
    r"""What was handed out. It stays with the instructor, as the seed gives the cases away.

    Attributes
    ----------
    seed : int
        Of the variants, and best of the hidden cases too: `course grade --seed`.
    exercises : list of dict
        Id, title, points of each group, environment, limits, and whether there are variants.
    variants : dict
        Settings by learner (`""` if all have the same) and by exercise.
    versions : dict of str to str
    files : dict of str to str
        SHA-256 of each file of the students, by its path in the release.
    exercises_dir : str or None
        Where private exercises stand, seen from the folder of the release.
    per_learner : bool
        Whether each learner has variants of their own.
    sha256 : str
        Of all the rest.
    """

    seed: int
    exercises: list[dict[str, Any]]
    variants: dict[str, dict[str, dict[str, Any]]]
    versions: dict[str, str]
    files: dict[str, str]
    exercises_dir: str | None = None
    per_learner: bool = False
    sha256: str = ""

    @classmethod
    def read(cls, out: str | Path) -> Manifest:
        r"""Return the manifest of the release in a folder.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        return cls(**json.loads(Path(out, MANIFEST).read_text("utf-8")))

    def to_json(self) -> str:
        r"""Return it as text, the hash of the whole filled in."""
        content = asdict(self) | {"sha256": ""}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return json.dumps(content | {"sha256": digest}, indent=1, ensure_ascii=False) + "\n"


def release(
    out: str | Path,
    ids: Iterable[str] | None = None,
    seed: int | None = None,
    exercises_dir: Folders = (),
    learners: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Manifest:
    r"""Write what students get into one folder, and what only you need into another.

    Parameters
    ----------
    out : path
    ids : iterable of str, optional
        Of the exercises; all if not given.
    seed : int, optional
        Chooses variants; drawn if not given. Equal arguments give equal files.
    exercises_dir : path or sequence of path
        Where further exercises stand, as `<topic>/<slug>.py`.
    learners : sequence of str, optional
        For each of them there is a folder, with variants of their own.
    overwrite : bool
        Whether an earlier release in the folder is replaced.

    Returns
    -------
    Manifest

    Raises
    ------
    ValueError
        If there is something in the folder already, an exercise is unknown, there are several
        folders of exercises, or a learner's name is used twice or cannot name a folder.
    """
    out = Path(out)
    names = _folder_names(learners)
    folders = private_folders(exercises_dir)
    seen = _seen_from(out, folders)
    _make_room(out, overwrite)
    seed = secrets.randbelow(2**32) if seed is None else seed
    exercises = [load(id, folders) for id in sorted(exercise_ids(folders) if ids is None else ids)]
    files: dict[str, bytes] = {}
    variants: dict[str, dict[str, dict[str, Any]]] = {}
    for learner in names:
        own = [exercise.variant(seed, learner) for exercise in exercises]
        variants[learner] = {e.id: dict(e.settings) for e in own if e.settings}
        above = f"{STUDENTS}/{learner}".rstrip("/")
        files |= {f"{above}/{name}": text.encode() for name, text in _handout(own)}
    manifest = Manifest(
        seed=seed,
        exercises=[_entry(exercise) for exercise in exercises],
        variants={learner: settings for learner, settings in variants.items() if settings},
        versions=_versions(),
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        exercises_dir=seen,
        per_learner=learners is not None,
    )
    for name, data in {**files, MANIFEST: manifest.to_json().encode()}.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Manifest.read(out)


def _seen_from(out: Path, folders: Sequence[Path]) -> str | None:
    r"""Return where private exercises stand, so that all can be moved together."""
    if len(folders) > 1:
        told = " and ".join(map(str, folders))
        raise ValueError(f"exercises_dir={told}; put the exercises into one, as grading takes one")
    paths = [os.path.relpath(folder.resolve(), out.resolve()) for folder in folders]
    return Path(paths[0]).as_posix() if paths else None


def exercise_cells(
    exercise: Exercise, heading: str, prompt: str, check: str | None = None
) -> list[NotebookNode]:
    r"""Return what to do, where to do it, and how to check it.

    The cells carry `{"course": {"exercise": id, "role": ...}}` in their metadata, with role
    `prompt`, `answer` or `check`.

    Parameters
    ----------
    exercise : Exercise
    heading : str
        What stands above the prompt, such as "Exercise 3".
    prompt : str
        As Markdown that every notebook shows.
    check : str, optional
        Source of the last cell; calls `coursepkg.check` if not given.
    """
    points = f"{exercise.points} point{'s' * (exercise.points != 1)}"
    check = check or f'from coursepkg import check\n\ncheck("{exercise.id}", {exercise.name})'

    def role(name: str) -> dict[str, dict[str, str]]:
        return {"course": {"exercise": exercise.id, "role": name}}

    return [
        _v4.new_markdown_cell(
            f"### {heading}: {exercise.title}\n\n*{points}*\n\n{prompt}", metadata=role("prompt")
        ),
        _v4.new_code_cell(exercise.starter.rstrip(), metadata=role("answer")),
        _v4.new_code_cell(check, metadata=role("check")),
    ]


#: How lines begin that tell no answer: comments, imports, signatures and descriptions.
COMMON = ("#", "import ", "from ", "def ", "class ", '"""', 'r"""')


def secret_lines(exercises: Iterable[Exercise]) -> frozenset[str]:
    r"""Return the lines of solutions that say more than the starters do."""
    return frozenset().union(*(_own_lines(e.solution) - _own_lines(e.starter) for e in exercises))


def _own_lines(code: str) -> set[str]:
    r"""Return the lines of code that can hardly stand elsewhere by chance."""
    lines = (line.strip() for line in code.splitlines())
    return {s for s in lines if len(s) > 24 and not s.startswith(COMMON)}


#: Role of MyST -> what plain Markdown has for it.
ROLES = {
    "term": "{}",
    "math": "${}$",
    "code": "`{}`",
    "sub": "<sub>{}</sub>",
    "sup": "<sup>{}</sup>",
}

#: Code, which stays as it is, or a role.
ROLE = re.compile(
    r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)`*$"
    r"|\{(?P<role>[a-z:]+)\}`(?P<text>[^`]+)`"
    r"|(?<!`)(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)",
    re.M | re.S,
)
DIRECTIVE = re.compile(r"^\s*(?:[`~:]{3,})\{([^}\s]+)\}", re.M)


def plain_prompt(exercise: Exercise) -> str:
    r"""Return the prompt as Markdown that every notebook shows.

    Raises
    ------
    ValueError
        If it holds a directive, or a role that has no plain form.
    """

    def plain(match: re.Match[str]) -> str:
        role, text = match["role"], match["text"]
        if role is None:
            return match[0]
        if role not in ROLES:
            raise ValueError(
                f"the prompt of {exercise.id!r} has the role {role!r}, which only the site shows; "
                f"use {', '.join(ROLES)} or plain Markdown"
            )
        return ROLES[role].format(re.sub(r"\s*<[^<>]*>$", "", text))

    if found := DIRECTIVE.search(exercise.prompt):
        raise ValueError(
            f"the prompt of {exercise.id!r} has the directive {found[1]!r}, which only the site "
            "shows; use plain Markdown"
        )
    return ROLE.sub(plain, exercise.prompt)


def _folder_names(learners: Sequence[str] | None) -> list[str]:
    r"""Return the names of the learners' folders; one without a name if all get the same."""
    if learners is None:
        return [""]
    seen: dict[str, str] = {}
    for learner in learners:
        if not re.fullmatch(r"[^\s./\\][^/\\\x00-\x1f]*", learner):
            raise ValueError(f"learner {learner!r} cannot name a folder; use letters and digits")
        if (key := learner.casefold()) in seen:
            raise ValueError(f"learner {learner!r} is listed twice, as {seen[key]!r} too")
        seen[key] = learner
    if not seen:
        raise ValueError("learners is empty; name at least one, or leave it out")
    return list(learners)


def _make_room(out: Path, overwrite: bool) -> None:
    r"""Refuse a folder in which something stands, or take an earlier release away."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise ValueError(f"{out} is not empty and holds no release; name a new folder")
    before = Manifest.read(out)
    if not overwrite:
        raise ValueError(
            f"{out} holds a release already, with seed {before.seed}; name a new folder, "
            "or add --overwrite"
        )
    for name in before.files:
        (out / name).unlink(missing_ok=True)


def _entry(exercise: Exercise) -> dict[str, Any]:
    return {
        "id": exercise.id,
        "title": exercise.title,
        "points": dict(exercise.groups),
        "out_of": exercise.points,
        "environment": exercise.environment,
        "limits": asdict(exercise.limits),
        "varies": exercise.varies,
    }


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("coursepkg", "numpy", "torch")}
    return {"python": platform.python_version(), **packages}


def _handout(exercises: Sequence[Exercise]) -> Iterator[tuple[str, str]]:
    r"""Yield the files that a student gets, as path and text."""
    built_in = set(exercise_ids())
    topics: dict[str, list[Exercise]] = {}
    for exercise in exercises:
        topic, slug = exercise.id.split("/")
        topics.setdefault(topic, []).append(exercise)
        yield f"starters/{topic}/{slug.replace('-', '_')}.py", exercise.starter
    for topic, here in topics.items():
        yield f"{topic}.ipynb", _v4.writes(_notebook(topic, here, built_in)) + "\n"
    yield "README.md", _readme(exercises)


def _notebook(topic: str, exercises: Sequence[Exercise], built_in: set[str]) -> NotebookNode:
    title = topic.replace("_", " ").replace("-", " ").capitalize()
    cells = [_v4.new_markdown_cell(f"# {title}: exercises\n\n{GUIDE}")]
    for number, exercise in enumerate(exercises, 1):
        checked_here = exercise.id not in built_in or exercise.settings
        check = _own_check(exercise) if checked_here else None
        cells += exercise_cells(exercise, f"Exercise {number}", plain_prompt(exercise), check)
    for number, cell in enumerate(cells):
        course = cell.metadata.get("course", {})
        label = f"{topic} {number} {course.get('exercise')} {course.get('role')}"
        cell.id = hashlib.sha256(label.encode()).hexdigest()[:12]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook: NotebookNode = _v4.new_notebook(cells=cells, metadata=metadata)
    return notebook


def _own_check(exercise: Exercise) -> str:
    r"""Return source that runs the public cases, for exercises that `check` does not know."""
    rows = []
    for case in exercise.public:
        try:
            inputs, expected = _source(dict(case.inputs)), _expected(case)
        except ValueError:
            continue
        rows.append(f"    ({case.group!r}, {inputs}, {expected}),")
    plain = exercise.driver is call
    result = f"{{'result': {exercise.name}(**inputs)}}"
    return CHECK.format(
        driver="" if plain else f"{exercise.driver_source}\n\n",
        rows="\n".join(rows),
        result=result if plain else f"dict(driver({exercise.name}, **inputs))",
    )


def _expected(case: Case) -> str:
    return str(case.expected.__name__) if case.raises else _source(case.expected)


def _source(value: Any) -> str:
    r"""Return source that gives a value again."""
    match value:
        case None | bool() | int() | str():
            return repr(value)
        case float():
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        case np.ndarray() if value.dtype.kind in "biufc":
            return " ".join(literal(value, sys.maxsize).split())
        case dict():
            return f"{{{', '.join(f'{k!r}: {_source(v)}' for k, v in value.items())}}}"
        case list():
            return f"[{', '.join(map(_source, value))}]"
        case tuple():
            return f"({''.join(f'{_source(entry)}, ' for entry in value)})"
    raise ValueError(f"{type(value).__name__} has no source")


CHECK = """\
import numpy as np

from coursepkg.testing import difference

{driver}# The public cases. Graded work is run on further ones.
for group, inputs, expected in [
{rows}
]:
    try:
        got = {result}
        refused = isinstance(expected, type)
        problem = "an error is expected" if refused else difference(got, expected)
    except Exception as error:
        fine = isinstance(expected, type) and isinstance(error, expected)
        problem = None if fine else repr(error)
    print(f"{{group}}: {{problem or 'right'}}")
"""

GUIDE = """\
Each exercise has two cells. In the first, replace `raise NotImplementedError` by your code, and run
it. Then run the second, which says what is right and what is not. Check as often as you like. What
may be imported, how to install and how to hand in stands in `README.md`.
"""


def _readme(exercises: Sequence[Exercise]) -> str:
    rows = [
        f"| `{e.id}` | `{e.name}` | {e.points} | {', '.join(f'`{p}`' for p in e.allowed)} |"
        for e in exercises
    ]
    data = [f"- `{e.id}`: {text}" for e in exercises if (text := getattr(e.module, "data", ""))]
    others = "All other arrays are computed or written by hand." if data else NO_DATA
    known = {e.id for e in exercises} & set(exercise_ids())
    return README.format(
        check=CHECKED_BY_NAME if known else CHECKED_BY_CELL,
        rows="\n".join(rows),
        version=version("coursepkg"),
        data="\n".join([*data, "", others]).strip(),
    )


NO_DATA = "The exercises need no data: their arrays are computed or written by hand."

CHECKED_BY_NAME = """and check them with `course check ID FILE`. Exercises that it does not know
are those of your own class: check them with the last cell of each in the notebook"""
CHECKED_BY_CELL = "and copy them into the notebook to check them: each exercise has a cell for that"

README = """\
# Exercises

## Install

You need Python 3.11 or later, and version {version} of the course's package. In the folder of the
course run

    pip install ".[lab]"
    jupyter lab

## Solve and check

Each notebook holds the exercises of one topic. If you would rather write files, begin with those in
`starters/` {check}.

## What may be imported

Python's own modules, and the packages named here. The course's own package is not there when your
work is graded.

| exercise | you define | points | packages |
|---|---|---|---|
{rows}

## Hand in

Hand in the notebooks, or the files from `starters/`, under their names. Keep the names and the
parameters of what you define. The last definition in a file counts, and what it uses has to stand
in the same file. Code that your definitions do not need is not run. What functions return counts,
not what they print.

## Data

{data}
"""
