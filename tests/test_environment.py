"""One environment, stated three times: pyproject.toml, environment.yml and constraints.txt."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONDA_TO_PYPI = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def wanted() -> dict[str, SpecifierSet]:
    """Return what pyproject.toml asks for, all extras included."""
    lines = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


def conda() -> dict[str, SpecifierSet]:
    """Return what environment.yml asks for, under the names of PyPI."""
    from_pip = next(entry["pip"] for entry in CONDA if isinstance(entry, dict))
    lines = [entry for entry in [*CONDA, *from_pip] if isinstance(entry, str) and entry != "-e ."]
    named = {re.match(r"[\w.-]+", line)[0]: re.sub(r"^[\w.-]+", "", line) for line in lines}
    pypi = {CONDA_TO_PYPI.get(name, name): spec for name, spec in named.items()}
    return {canonicalize_name(name): SpecifierSet(spec) for name, spec in pypi.items()}


def test_conda_environment_asks_for_the_same():
    have = conda()
    assert have.pop("python") == SpecifierSet(PROJECT["requires-python"])
    have.pop("pip")
    assert have == wanted()


def test_constraints_pin_one_allowed_version_of_each():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, lines)}
    assert len(pins) == len(lines)
    assert all(pin.startswith("==") and "+" not in pin for pin in pins.values())
    refused = {
        name: pins.get(name)
        for name, allowed in wanted().items()
        if name not in pins or not allowed.contains(pins[name].removeprefix("=="))
    }
    assert refused == {}


def test_every_dependency_has_its_reason_in_contributing():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert [name for name in wanted() if f"`{name}`" not in text] == []
