"""tools/pages.py: runs what changed, stops at what fails, and publishes nothing unproved."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from myst_book import toc_files

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
EXECUTED = sorted((ROOT / "_build" / "executed").rglob("*.ipynb"))
HEADER = """\
---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with two small pages, in a folder with a space in its name."""
    root = tmp_path / "a course"
    for folder in ("tools", "site_static"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("mathjax"))
    shutil.copy(ROOT / "_config.yml", root)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/other\n"
    )
    (root / "helper.py").write_text("from pathlib import Path\nvalue = 1\n")
    (root / "data.txt").write_text("7\n")
    (root / "book").mkdir()
    (root / "book" / "references.bib").touch()
    cell = 'import sys\nsys.path.insert(0, "..")\nimport helper\nhelper.value'
    page(root, "index", cell, 'print(open("../data.txt").read())')
    page(root, "other", 'print("other")')
    return root


def page(root: Path, name: str, *cells: str) -> None:
    fences = [f"```{{code-cell}} python\n{textwrap.dedent(cell)}\n```\n" for cell in cells]
    text = "\n".join([HEADER, f"# {name.title()}", *fences])
    (root / "book" / f"{name}.md").write_text(text)


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "tools/pages.py", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
    )


def executed(result: subprocess.CompletedProcess) -> set[str]:
    """Return the pages that a run executed, as its progress bar names them."""
    assert result.returncode == 0, result.stderr
    return set(re.findall(r"book/\w+", result.stderr))


def test_a_page_runs_again_when_what_it_read_changes_and_only_then(small):
    assert executed(run(small, "execute")) == {"book/index", "book/other"}
    assert executed(run(small, "execute")) == set()
    (small / "helper.py").write_text("value = 2\n")
    assert executed(run(small, "execute")) == {"book/index"}
    (small / "data.txt").write_text("8\n")
    assert executed(run(small, "execute")) == {"book/index"}
    (small / "book" / "unread.txt").write_text("nobody reads this\n")
    assert executed(run(small, "execute")) == set()
    page(small, "other", 'print("another")')
    assert executed(run(small, "execute")) == {"book/other"}
    (small / "data.txt").unlink()
    assert run(small, "execute").returncode == 1


def test_prose_does_not_run_a_page_again(small):
    run(small, "execute")
    path = small / "book" / "other.md"
    path.write_text(path.read_text() + "\nOne more sentence.\n")
    assert executed(run(small, "execute")) == set()


def test_a_broken_cell_fails_the_build_and_leaves_the_site(small):
    first = run(small, "book")
    assert first.returncode == 0, first.stdout + first.stderr
    site = small / "_build" / "html" / "index.html"
    assert str(site) in first.stdout
    before = site.read_bytes()
    page(small, "other", "1 + 1", "wrong = 1 / 0")
    result = run(small, "book")
    assert result.returncode == 1
    lines = (small / "book" / "other.md").read_text().splitlines()
    fence = lines.index("wrong = 1 / 0")  # counted from 1, the line above
    assert f"book/other.md:{fence}: the cell that starts here failed" in result.stderr
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert site.read_bytes() == before
    (small / "_build" / "html.new").mkdir()  # as an interrupted build leaves it
    page(small, "other", "1 + 1")
    mended = run(small, "book")
    assert mended.returncode == 0, mended.stdout + mended.stderr


def test_a_warning_of_the_site_build_fails_it_and_leaves_the_site(small):
    run(small, "book")
    site = small / "_build" / "html" / "index.html"
    before = site.read_bytes()
    page(small, "index", "3")
    path = small / "book" / "index.md"
    path.write_text(
        path.read_text() + "\n{term}`nowhere defined`\n\n# A second title\n\n#### Too deep\n"
    )
    for _ in range(2):  # what was said once must be said again
        result = run(small, "book")
        assert result.returncode == 1
        assert "nowhere defined" in result.stdout + result.stderr
        assert "Non-consecutive header level" in result.stdout + result.stderr
        assert "The site was not replaced" in result.stderr
        assert site.read_bytes() == before


def test_a_page_that_writes_to_stderr_fails_each_time(small):
    page(small, "other", "import sys", "print('careful', file=sys.stderr)")
    for _ in range(2):
        result = run(small, "execute")
        assert result.returncode == 1
        assert "the cell that starts here wrote to stderr\ncareful" in result.stderr


@pytest.mark.parametrize("url", ["", "https://github.com/someone/course"])
def test_launch_buttons_appear_only_where_a_repository_is_named(small, url):
    config = small / "_config.yml"
    config.write_text(config.read_text().replace('url: ""', f'url: "{url}"'))
    result = run(small, "book")
    assert result.returncode == 0, result.stdout + result.stderr
    html = (small / "_build" / "html" / "book" / "other.html").read_text()
    launch = re.findall(r'href="(https://mybinder\.org/[^"]*)"', html)
    expected = (
        "https://mybinder.org/v2/gh/someone/course/main?urlpath=lab/tree/notebooks/other.ipynb"
    )
    assert launch == ([expected] if url else [])


def nbval(notebook: Path) -> subprocess.CompletedProcess:
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-c", os.devnull]
    sanitize = ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    command = [sys.executable, "-m", "pytest", "-q", *options, *sanitize, str(notebook)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_changed_stored_output_fails_nbval(small):
    run(small, "execute", "other")
    run(small, "execute", "index")
    assert run(small, "export").returncode == 0
    path = small / "_build" / "executed" / "book" / "other.ipynb"
    honest = nbval(path)
    assert "1 passed" in honest.stdout, honest.stdout
    text = path.read_text()
    assert text.count('"other\\n"') == 1
    path.write_text(text.replace('"other\\n"', '"altered\\n"'))
    changed = nbval(path)
    assert changed.returncode == 1
    assert "1 failed" in changed.stdout


def test_an_interrupted_run_ends_in_order_and_can_be_repeated(small):
    started = small / "book" / "started"
    page(small, "other", "open('started', 'w').close()\nimport time\ntime.sleep(100)")
    command = [sys.executable, "tools/pages.py", "execute"]
    process = subprocess.Popen(
        command,
        cwd=small,
        stderr=subprocess.PIPE,
        text=True,
        # a launcher in the background may have taught its children to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert started.exists()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.rstrip().endswith("Interrupted; run it again to go on.")
    page(small, "other", "1 + 1")
    assert "book/other" in executed(run(small, "execute"))


def test_an_unknown_page_is_refused_with_the_known_ones(small):
    result = run(small, "execute", "nowhere")
    assert result.returncode == 1
    assert "PAGE='nowhere' is not a page with code; choose one of: index, other" in result.stderr


def test_lab_keeps_the_notebooks_that_are_yours(small):
    run(small, "execute")
    run(small, "export")
    assert run(small, "lab").stdout.count("new ") == 2
    mine = small / "notebooks" / "other.ipynb"
    mine.write_text("mine")
    assert run(small, "lab").stdout.count("kept ") == 2
    assert mine.read_text() == "mine"


# --- the real book ---------------------------------------------------------------------------


def pages_with_cells() -> list[str]:
    names = toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text()))
    return [n for n in names if "```{code-cell}" in (ROOT / f"{n}.md").read_text()]


def test_every_page_with_cells_was_exported():
    exported = {p.relative_to(ROOT / "_build" / "executed").with_suffix("") for p in EXECUTED}
    assert exported == {Path(name) for name in pages_with_cells()}, "run `make book` first"


@pytest.mark.parametrize("path", EXECUTED, ids=lambda p: p.stem)
def test_nbval_has_something_to_compare_in_every_notebook(path):
    """Guards against notebooks exported without outputs, with which nbval passes vacuously."""
    cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    compared = [
        output
        for cell in cells
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type == "stream" or "text/plain" in output.get("data", {})
    ]
    assert compared


def article(path: Path) -> str:
    """Return the words of a page's article, without markup, numbers of builds and white space."""
    html = path.read_text(encoding="utf-8")
    body = re.search(r"<article.*?</article>", html, re.S)[0]
    body = re.sub(r"<(script|style)\b.*?</\1>", "", body, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_sphinx_alone_builds_the_same_pages(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    places = ["-c", "tools/plain_sphinx", "-d", str(tmp_path / "trees"), ".", str(tmp_path / "out")]
    result = subprocess.run([*command, *places], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    ours = {p.relative_to(SITE) for p in (SITE / "book").rglob("*.html")}
    assert ours == {
        p.relative_to(tmp_path / "out") for p in (tmp_path / "out/book").rglob("*.html")
    }
    assert len(ours) >= 3
    differing = [p for p in ours if article(SITE / p) != article(tmp_path / "out" / p)]
    assert differing == []
