"""What a submission may read."""

import subprocess
from pathlib import Path

import pytest

from coursepkg.grading import view
from coursepkg.grading.view import SCRATCH, View, packages, plant, python

REPOSITORY = Path(view.__file__).parents[2]


@pytest.fixture
def farm(tmp_path):
    plant(tmp_path / "farm", "numpy")
    return tmp_path / "farm"


def test_the_farm_holds_the_environment_and_no_more(farm):
    names = {path.name for path in farm.iterdir() if path.name.isidentifier()}
    assert names == {"numpy", "worker"}
    assert (farm / "worker" / "serve.py").is_file()
    assert not (farm / "worker").is_symlink()
    assert not list(farm.glob("worker/**/__pycache__"))


def test_the_requirements_of_a_package_belong_to_it():
    assert {"torch", "numpy", "sympy", "mpmath"} <= packages("torch").keys()


def test_the_interpreter_starts_without_a_virtual_environment():
    code = "import sys; print(sys.prefix == sys.base_prefix)"
    done = subprocess.run([python(), "-c", code], capture_output=True, check=True)
    assert done.stdout == b"True\n"


def test_nothing_of_the_course_is_in_sight_but_a_copy_of_the_worker(farm):
    paths = View.of(farm).paths()
    assert str(farm) in paths
    assert not [path for path in paths if Path(path).is_relative_to(REPOSITORY / "coursepkg")]
    assert not any(REPOSITORY.is_relative_to(path) for path in View.of(farm).paths())


def test_no_other_package_is_in_sight(farm):
    for path in map(Path, View.of(farm).paths()):
        assert path.name not in ("site-packages", "dist-packages")
        assert not list(path.glob("*-packages"))
        assert not list(path.glob("python3*/*-packages"))


def made(tmp_path):
    for path in ("lib/a", "lib/python3.9/site-packages/own", "lib/python3.9/site-packages/other"):
        (tmp_path / path).mkdir(parents=True)
    lib = str(tmp_path / "lib")
    hidden = f"{lib}/python3.9/site-packages"
    return View(shown=(lib, f"{hidden}/own"), hidden=(hidden,), links=(("/lib", "usr/lib"),))


def test_the_list_goes_around_what_is_hidden(tmp_path):
    paths = made(tmp_path).paths()
    assert [path for path in paths if path.startswith(str(tmp_path))] == [
        f"{tmp_path}/lib/a",
        f"{tmp_path}/lib/python3.9/site-packages/own",
    ]
    assert "/dev/null" in paths


def test_the_mounts_hide_it_too(tmp_path):
    lib = f"{tmp_path}/lib"
    hidden = f"{lib}/python3.9/site-packages"
    options = made(tmp_path).mounts()
    shown = options.index("--ro-bind")
    assert options[:4] == ["--dir", "/", "--dir", "/dev"]
    assert str(tmp_path) in options[:shown]
    assert options[shown : shown + 11] == [
        "--ro-bind", lib, lib, "--tmpfs", hidden, "--ro-bind", f"{hidden}/own", f"{hidden}/own",
        "--symlink", "usr/lib", "/lib",
    ]  # fmt: skip
    assert options[-4:] == ["--dir", SCRATCH, "--remount-ro", "/"]
