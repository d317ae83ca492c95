r"""Run recorded experiments: the ones that take more than a minute, with the seeds 0 to 4.

    python tools/experiments.py                     run all whose record is missing or out of date
    python tools/experiments.py topic/slug ...      run these, if theirs is
    python tools/experiments.py --force topic/slug  run these in any case
    python tools/experiments.py --check [...]       only say which are out of date, and why

**How to write one.** `experiments/<topic>/<slug>.py` is a module like this:

    '''Does a wider network learn faster?

    Method: ..., settings chosen on a part of the training digits with seed 100.
    '''
    from coursepkg.data.digits import load_digits
    from coursepkg.training import Batches, fit, seed_everything

    SETTINGS = {"widths": [8, 16], "epochs": 10}

    def run(seed: int) -> dict:
        seed_everything(seed)
        ...
        return {"8": {"loss": [2.1, 0.4]}, "16": {"loss": [1.9, 0.3]}}

- The docstring says what is asked and how, `SETTINGS` everything that was chosen. Choose it before
  you record, on data and seeds of their own, and say so. The seeds are 0 to 4, never others.
- `run` returns what JSON keeps: dicts with keys of str, lists, finite numbers. Each seed runs in a
  process of its own, on one thread, so that its result depends on the seed alone. All seeds return
  the same form, so that a page can take means.
- Import each thing from the module that defines it, since a package's `__init__` is not followed.
- All seeds together should take ten minutes at most on one core. A page that shows the record runs
  one small seed itself.

The record `<slug>.json` holds the settings, the result of each seed, versions, and a hash of the
experiment and of every module of `coursepkg` that it imports, directly or through another. The
hash is of the syntax tree without docstrings: comments, layout and words may change. When code
changes, the record is out of date and `tests/test_experiments.py` fails until it is run again.
Finished seeds of a run that was interrupted are kept in `_build/experiments/`.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from coursepkg.recorded import check_figures

ROOT = Path(__file__).resolve().parents[1]
SEEDS = range(5)
THREADS = 1
#: What results may depend on beside our own code. Noted; a new version makes no record stale.
PACKAGES = ("mlxtend", "numpy", "pillow", "scikit-image", "scikit-learn", "scipy", "torch")
#: Modules that draw: no figure that `run` returns depends on them.
DRAWING = ("coursepkg.plotting",)


class ExperimentError(Exception):
    """An experiment cannot be run or hashed; the message says what to do."""


@dataclass(frozen=True)
class Experiment:
    """A module of `experiments/` and the record beside it."""

    root: Path
    name: str  # topic/slug

    @property
    def path(self) -> Path:
        """The module."""
        return self.root / "experiments" / f"{self.name}.py"

    @property
    def record(self) -> Path:
        """What was measured."""
        return self.path.with_suffix(".json")

    @property
    def kept(self) -> Path:
        """Finished seeds of an unfinished run."""
        return self.root / "_build" / "experiments" / f"{self.name}.json"

    def modules(self) -> dict[str, str]:
        """Return the hash of the experiment and of each module of ours behind it, by name."""
        hashes: dict[str, str] = {}
        waiting = {f"experiments.{self.name.replace('/', '.')}": self.path}
        while waiting:
            module, path = waiting.popitem()
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            hashes[module] = code_hash(tree)
            for name, found in imported(tree, module, self.root):
                if name not in hashes and name not in DRAWING:
                    waiting[name] = found
        return dict(sorted(hashes.items()))

    def stale(self) -> str | None:
        """Say why the record is out of date, or return None if it is not."""
        if not self.record.is_file():
            return "it has not been run"
        try:
            then = json.loads(self.record.read_text(encoding="utf-8"))
            seeds, before = then["seeds"], dict(then["modules"])
        except (KeyError, TypeError, ValueError):
            return "its record is damaged"
        if seeds != list(SEEDS):
            return f"it was run with the seeds {seeds}"
        now = self.modules()
        changed = sorted(m for m in now.keys() | before.keys() if now.get(m) != before.get(m))
        return f"changed since it was run: {', '.join(changed)}" if changed else None


def experiments(root: Path) -> list[Experiment]:
    """Return all experiments of a checkout."""
    paths = sorted((root / "experiments").glob("*/*.py"))
    return [Experiment(root, f"{path.parent.name}/{path.stem}") for path in paths]


# --- hash ------------------------------------------------------------------------------------


def code_hash(tree: ast.AST) -> str:
    """Return a hash of what the code does: without docstrings, comments and layout."""
    return hashlib.sha256(_canonical(tree).encode()).hexdigest()[:16]


def _canonical(node: Any) -> str:
    """Write a syntax tree in one way, whichever version of Python parsed it.

    Empty fields are left out, and empty pieces of f-strings: versions differ in these.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    if isinstance(node, ast.JoinedStr):
        fields["values"] = [v for v in node.values if getattr(v, "value", None) != ""]
    fields.pop("kind", None)  # the u of u"..."
    full = (f"{k}={_canonical(v)}" for k, v in fields.items() if v is not None and v != [])
    return f"{type(node).__name__}({','.join(full)})"


def imported(tree: ast.AST, module: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each module of `coursepkg` that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(dots, module.rpartition(".")[0])
            wanted = [(base, alias.name) for alias in node.names]
        else:
            continue
        for base, name in wanted:
            if base.split(".")[0] == "coursepkg":
                yield _defining(base, name, module, root)


def _defining(base: str, name: str, module: str, root: Path) -> tuple[str, Path]:
    """Return the module meant by `from base import name`, or by `import base` without name."""
    for dotted in (f"{base}.{name}", base):
        path = root / f"{dotted.replace('.', '/')}.py"
        if path.is_file():
            return dotted, path
    line = f"from {base} import {name}" if name else f"import {base}"
    raise ExperimentError(
        f"{module} says '{line}', which is not the module that defines it; "
        "import it from there, so that the record knows what it depends on"
    )


# --- run -------------------------------------------------------------------------------------


def run(chosen: list[Experiment], force: bool = False) -> bool:
    """Run experiments one after another; return whether all of them finished."""
    started = {e: {} if force else finished_seeds(e) for e in chosen}
    done = sum(map(len, started.values()))
    with tqdm(total=len(SEEDS) * len(chosen), initial=done, unit="seed") as bar:
        finished = [_run_one(e, results, bar) for e, results in started.items()]
    return all(finished)


def _run_one(experiment: Experiment, results: dict[str, Any], bar: tqdm[Any]) -> bool:
    """Run the seeds that are missing, keep each as it finishes, and write the record."""
    bar.set_description(experiment.name)
    origin = _origin(experiment)
    for seed in SEEDS:
        if str(seed) in results:
            continue
        try:
            results[str(seed)] = run_seed(experiment, seed)
            if _origin(experiment) != origin:
                raise ExperimentError("the code changed while it ran; run it again")
        except ExperimentError as error:
            bar.write(f"{experiment.name}, seed {seed}: {error}", file=sys.stderr)
            return False
        _write(experiment.kept, {"origin": origin, "results": results})
        bar.update()
    in_order = [results[str(seed)] for seed in SEEDS]
    record = {
        "settings": in_order[0]["settings"],
        "seeds": list(SEEDS),
        "results": [r["result"] for r in in_order],
        **origin,
    }
    _write(experiment.record, record)
    experiment.kept.unlink()
    bar.write(f"{experiment.name}: recorded", file=sys.stderr)
    return True


def finished_seeds(experiment: Experiment) -> dict[str, Any]:
    """Return what an interrupted run of the same code has left, by seed."""
    if not experiment.kept.is_file():
        return {}
    kept = json.loads(experiment.kept.read_text(encoding="utf-8"))
    return kept["results"] if kept["origin"] == _origin(experiment) else {}


def _origin(experiment: Experiment) -> dict[str, Any]:
    """Return all that the results come from."""
    versions = {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}
    return {"versions": versions, "threads": THREADS, "modules": experiment.modules()}


def run_seed(experiment: Experiment, seed: int) -> dict[str, Any]:
    """Run one seed in a process of its own; return its settings and its result."""
    threads = {f"{name}_NUM_THREADS": str(THREADS) for name in ("OMP", "OPENBLAS", "MKL")}
    ours = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(experiment.root)}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        child = subprocess.Popen(
            [sys.executable, __file__, experiment.name, "--seed", str(seed), str(answer)],
            env={**os.environ, **threads, **ours},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = child.communicate()
        finally:
            child.kill()
            child.wait()
        if child.returncode != 0 or not answer.is_file():
            raise ExperimentError(f"it ended with code {child.returncode}\n{said.rstrip()}")
        return json.loads(answer.read_text(encoding="utf-8"))


def answer_one_seed(experiment: Experiment, seed: int, answer: Path) -> None:
    """Run one seed here, in a process made for it, and write what it returns."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # as an exception, `fit` would take it
        signal.signal(ending, signal.SIG_DFL)  # for the end of the training, and go on
    module = _load(experiment)
    found = {"settings": module.SETTINGS, "result": module.run(seed)}
    if not isinstance(found["result"], dict):
        raise ExperimentError(f"run({seed}) returned no dict; name each figure by a key")
    try:
        check_figures(found["settings"], "SETTINGS")
        check_figures(found["result"], f"run({seed})")
    except ValueError as error:
        raise ExperimentError(str(error)) from None
    _write(answer, found)


def _load(experiment: Experiment) -> Any:
    spec = importlib.util.spec_from_file_location("experiment", experiment.path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["experiment"] = module
    spec.loader.exec_module(module)
    needed = {"SETTINGS": hasattr(module, "SETTINGS"), "run": hasattr(module, "run")}
    needed["a docstring"] = bool((module.__doc__ or "").strip())
    lacking = [name for name, there in needed.items() if not there]
    if lacking:
        raise ExperimentError(f"{experiment.path} lacks {', '.join(lacking)}; see {__file__}")
    return module


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, a list of numbers to a line, in one step: a crash leaves the old file."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    rows = re.compile(r"\[\n\s+([-+.\deE,\s]*?)\n\s+\]")
    text = rows.sub(lambda match: f"[{' '.join(match[1].split())}]", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(path)


# --- command line ----------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description="Run recorded experiments.")
    parser.add_argument("names", nargs="*", metavar="topic/slug", help="by default all")
    parser.add_argument("--force", action="store_true", help="run them even if nothing changed")
    parser.add_argument("--check", action="store_true", help="only say which are out of date")
    parser.add_argument("--seed", nargs=2, metavar=("SEED", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        chosen = _chosen(options.names)
        if options.seed:
            answer_one_seed(chosen[0], int(options.seed[0]), Path(options.seed[1]))
            return 0
        reasons = {e: e.stale() for e in chosen}
        if options.check:
            return _check(reasons)
        waiting = [e for e, reason in reasons.items() if reason or options.force]
        print(f"{len(waiting)} of {len(chosen)} experiments are to be run", flush=True)
        return 0 if not waiting or run(waiting, options.force) else 1
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last finished seed", file=sys.stderr)
        return 130


def _chosen(names: list[str]) -> list[Experiment]:
    known = {e.name: e for e in experiments(ROOT)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ExperimentError(
            f"there is no experiment {', '.join(unknown)}; there are: {', '.join(known) or 'none'}"
        )
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def _check(reasons: dict[Experiment, str | None]) -> int:
    for experiment, reason in reasons.items():
        print(f"{experiment.name}: {reason or 'up to date'}")
    return 1 if any(reasons.values()) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    sys.exit(main())
