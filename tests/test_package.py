"""The package as a whole: light to import, and no torch where NumPy does."""

import subprocess
import sys

import pytest

import coursepkg

NUMPY_HALF = ["coursepkg", "coursepkg.convolution.fast", "coursepkg.convolution.reference"]


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("module", NUMPY_HALF)
def test_numpy_half_never_imports_torch(module):
    assert run(f"import sys, {module}; print('torch' in sys.modules)") == "False\n"


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
