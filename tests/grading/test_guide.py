r"""The instructor's guide: every command in it is run, and prints what the guide shows."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "book" / "instructor"
#: By these a make within a make says more.
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
PAGES = sorted(path.stem for path in GUIDE.glob("*.md"))
EXCUSE = "% Not run by the tests: "

BLOCK = re.compile(r"(?:^% (?P<comment>.*)\n)?^```console\n(?P<body>.*?)^```$", re.M | re.S)
FILE = re.compile(
    r"^```\{code-block\} \w+\n:caption: (?P<name>\S+)\n\n(?P<text>.*?)^```$", re.M | re.S
)


def blocks(page: str) -> list[str]:
    """Return the console blocks of a page that are run."""
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    return [m["body"] for m in BLOCK.finditer(text) if m["comment"] is None]


def commands(block: str) -> list[tuple[str, str]]:
    """Return commands and what the guide shows below each."""
    parts = re.split(r"^\$ ", block, flags=re.M)
    assert parts[0] == "", "a block begins with a command"
    ends = [re.search(r"(?<!\\)\n", part).end() for part in parts[1:]]
    return [(part[:end], part[end:]) for part, end in zip(parts[1:], ends, strict=True)]


def pattern(shown: str) -> re.Pattern[str]:
    """Return what output has to look like: `…` stands for anything, alone in a line for lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + "\n"
        for line in shown.splitlines()
    ]
    return re.compile("".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like that of the course, with its command and its way to make a sample class."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name, options in (("course", " -m coursepkg.cli"), ("python", "")):
        script = tmp_path / ".venv/bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{options} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^sample-class: setup .*\n\t@\$\(BIN\)/(.*)$", makefile, re.M)
    (tmp_path / "Makefile").write_text(f"sample-class:\n\t@.venv/bin/{recipe}\n")
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    tests = f"-c '{ROOT}/pyproject.toml' --rootdir '{ROOT}' -p no:cacheprovider '{ROOT}/tests/"
    command = re.sub(r"pytest tests/(\S+)", rf"pytest {tests}\1'", command)
    path = f"{folder / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    outer = {k: v for k, v in os.environ.items() if k not in OF_MAKE}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**outer, "PATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_every_command_of_the_guide_does_what_it_shows(page, folder):
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    for file in FILE.finditer(text):
        path = folder / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["text"], encoding="utf-8")
    for block in blocks(page):
        for command, shown in commands(block):
            done = run(command, folder)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert pattern(shown).fullmatch(done.stdout), f"{command}\n{done.stdout}"


def test_what_is_not_run_has_an_excuse_and_is_little():
    texts = [(GUIDE / f"{page}.md").read_text(encoding="utf-8") for page in PAGES]
    comments = [m["comment"] for text in texts for m in BLOCK.finditer(text)]
    excused = [f"% {comment}" for comment in comments if comment is not None]
    assert all(len(excuse) > len(EXCUSE) and excuse.startswith(EXCUSE) for excuse in excused)
    assert len(excused) <= 2
    assert len(comments) - len(excused) >= 10


def test_the_pattern_is_strict_outside_of_dots():
    assert pattern("a … c\n…\nend\n").fullmatch("a b c\n1\n2\nend\n")
    assert not pattern("a … c\n…\nend\n").fullmatch("a b d\n1\n2\nend\n")
    assert not pattern("a\n").fullmatch("a\nb\n")


def test_every_page_of_the_guide_is_in_the_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES if f"file: book/instructor/{page}\n" not in toc] == []


def test_the_guide_names_every_command():
    from coursepkg.cli import course

    text = "".join((GUIDE / f"{page}.md").read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in course.commands if f"course {name}" not in text] == []
