"""The same suite again as an ordinary user, where this one is root.

A Python under the home of root is closed to others. So this makes an environment with the
system's Python, and a copy of the course, in a folder that everybody may read.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

COURSE = Path(__file__).parents[3]
SUITE = Path(__file__).parent.relative_to(COURSE)
FILES = ("test_attacks.py", "test_witnesses.py")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/python/bin")


def systems_python() -> Path:
    """Return a Python of the same version that others may run, or fail with words."""
    for folder in FOLDERS:
        python = Path(folder, f"python{VERSION}")
        if python.exists() and others_may_read(python.resolve()):
            return python
    message = (
        f"there is no python{VERSION} in {', '.join(FOLDERS)} that other users may run, so the "
        f"attacks were not tried as an ordinary user; install it (Debian: python{VERSION}-venv)"
    )
    return (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)


def others_may_read(path: Path) -> bool:
    return path.stat().st_mode & 4 != 0 and all(p.stat().st_mode & 1 for p in path.parents)


def hard_link(source: str, target: str) -> None:
    """Link a file, or copy it where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture
def readable() -> Iterator[Path]:
    """Return a new folder below ones that everybody may read."""
    with tempfile.TemporaryDirectory(prefix="course ", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def environment(folder: Path) -> Path:
    """Make an environment of the installed packages, but of the system's Python."""
    env = folder / "env"
    subprocess.run([systems_python(), "-m", "venv", "--without-pip", env], check=True)
    (there,) = env.glob("lib/python*/site-packages")
    shutil.rmtree(there)
    shutil.copytree(
        sysconfig.get_path("purelib"),
        there,
        copy_function=hard_link,
        ignore=shutil.ignore_patterns("*editable*", "*.pth"),
    )
    return env / "bin" / "python"


def copy_of_the_course(folder: Path) -> Path:
    course = folder / "course"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("coursepkg", "tools", str(SUITE)):
        shutil.copytree(COURSE / name, course / name, ignore=ignored)
    shutil.copy(COURSE / "pyproject.toml", course)
    subprocess.run(["chmod", "-R", "a+rX", course], check=True)
    return course


@pytest.mark.timeout(900)
def test_the_suite_holds_for_an_ordinary_user(readable: Path):
    if os.getuid() != 0:
        pytest.skip("the suite itself runs as an ordinary user here")
    python, course = environment(readable), copy_of_the_course(readable)
    user, home = pwd.getpwnam("nobody"), readable / "home"
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    done = subprocess.run(
        [
            *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--confcutdir={SUITE}"),
            *(f"--basetemp={home / 'tests'}", *(SUITE / name for name in FILES)),
        ],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd=course,
        env=os.environ | {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert re.search(r"\d{3,} passed", summary), summary
    assert "skipped" not in summary
