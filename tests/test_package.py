"""The package as a whole: light to import, and no torch where NumPy does."""

import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import coursepkg
import coursepkg.convolution

WITH_TORCH = {"torch_models", "visualize"}
NUMPY_HALF = [
    f"coursepkg.convolution.{module.name}"
    for module in pkgutil.iter_modules(coursepkg.convolution.__path__)
    if not module.ispkg and module.name not in WITH_TORCH
]


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_numpy_half_never_imports_torch():
    modules = ", ".join(["coursepkg", *NUMPY_HALF])
    assert run(f"import sys, {modules}; print('torch' in sys.modules)") == "False\n"


def test_import_linter_watches_the_whole_numpy_half():
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (watched,) = (c["source_modules"] for c in contracts if c.get("forbidden_modules") == ["torch"])
    assert {name for name in watched if name.startswith("coursepkg.convolution")} == {*NUMPY_HALF}


def test_this_test_would_notice_torch():
    assert run("import sys, torch; print('torch' in sys.modules)") == "True\n"


def test_import_takes_less_than_150_ms():
    code = "from time import *; t = perf_counter(); import coursepkg; print(perf_counter() - t)"
    fastest = min(float(run(code)) for _ in range(5))
    assert fastest < 0.15


def test_check_is_found_on_demand():
    assert run("import coursepkg; print(callable(coursepkg.check))") == "True\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="chekc"):
        coursepkg.chekc  # noqa: B018
