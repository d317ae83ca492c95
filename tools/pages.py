"""Execute the pages and build the site.

    python tools/pages.py book                     execute, export, build; print where it is
    python tools/pages.py execute [PAGE ...]       run the pages that changed, side by side
    python tools/pages.py export                   write notebooks out of the cache
    python tools/pages.py site                     build the site from the cache
    python tools/pages.py lab                      copy student notebooks to work on
    python tools/pages.py live PAGE                rebuild and reload while you write

A page is run again when its code cells change, or any file of the repository that it read
while it ran: `coursepkg` modules it imported, and data files these opened.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.cache.db import NbCacheRecord
from myst_book import toc_files
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from notebooks import executed_notebook, student_notebook
from plain_markdown import MarkdownError
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
EXECUTED = BUILD / "executed"  # with outputs, for nbval
DOWNLOADS = BUILD / "downloads"  # what the site offers
SITE = BUILD / "html"
NOTEBOOKS = ROOT / "notebooks"  # the learner's own copies
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
#: Leads from the folder's own address to the landing page.
FRONT_DOOR = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<meta http-equiv="refresh" content="0; url=book/index.html">
</head>
<body><a href="book/index.html">{title}</a></body>
</html>
"""
TRACE = ROOT / "tools" / "trace_reads.py"
#: Results differ between thread counts and repeat at equal ones; two pages run side by side.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


@dataclass(frozen=True)
class Page:
    """A page of the table of contents that holds code cells."""

    name: str  # as in _toc.yml: book/convolution/convolution

    @property
    def path(self) -> Path:
        """Where the page stands."""
        return ROOT / f"{self.name}.md"

    def read(self) -> NotebookNode:
        """Return the page as a notebook, without outputs, exactly as the site build reads it."""
        text = self.path.read_text(encoding="utf-8")
        return read_myst_markdown_notebook(text, add_source_map=True, path=self.path)


class PageError(Exception):
    """A page did not run; the message names page, line and error."""


def pages() -> list[Page]:
    """Return the pages with code cells, in the order of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found = [Page(name) for name in toc_files(toc)]
    return [p for p in found if is_myst_markdown_notebook(p.path.read_text(encoding="utf-8"))]


# --- execute ---------------------------------------------------------------------------------


def execute(names: list[str] | None = None) -> None:
    """Run every page whose outputs in the cache are missing or out of date."""
    cache = get_cache(str(CACHE))
    chosen = [p for p in pages() if not names or p.name in names]
    stale = [page for page in chosen if not _is_current(page, cache)]
    if not stale:
        print(f"{len(chosen)} pages are up to date")
        return
    import matplotlib.font_manager  # noqa: F401  its first import on a machine warns on stderr

    errors = asyncio.run(_run_all(stale, cache))
    if errors:
        raise PageError("\n\n".join(errors))


def _is_current(page: Page, cache: JupyterCacheAbstract) -> bool:
    """Return whether the page's outputs are cached and all files that it read are unchanged."""
    try:
        record: NbCacheRecord = cache.match_cache_notebook(page.read())
    except KeyError:
        return False
    if record.data.get("reads", {None: None}) == _hashes(record.data.get("reads", {})):
        return True
    cache.remove_cache(record.pk)
    return False


def _hashes(paths: dict[str, str] | list[str]) -> dict[str, str]:
    """Return the hash of each file, by its path inside the repository."""
    return {p: _hash(ROOT / p) for p in sorted(paths)}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


async def _run_all(stale: list[Page], cache: JupyterCacheAbstract) -> list[str]:
    """Run pages side by side, one per core; return the errors."""
    asyncio.get_running_loop().add_signal_handler = _refuse_handler
    cores = asyncio.Semaphore(os.cpu_count() or 1)
    errors = []
    with tqdm(total=len(stale), desc="Executing pages", unit="page") as bar:

        async def run(page: Page) -> None:
            async with cores:
                try:
                    bundle = await _run(page)
                    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
                except PageError as error:
                    errors.append(str(error))
                bar.set_postfix_str(page.name)
                bar.update()

        await asyncio.gather(*map(run, stale))
    return errors


def _refuse_handler(*arguments: object) -> None:
    """Keep nbclient from taking Ctrl-C for itself; it should end the run and all kernels."""
    raise NotImplementedError


async def _run(page: Page) -> CacheBundleIn:
    """Run one page in a kernel of its own and note what it read."""
    notebook = page.read()
    reads = BUILD / "reads" / f"{page.name}.txt"
    reads.parent.mkdir(parents=True, exist_ok=True)
    at = {"cell": 0}
    client = NotebookClient(
        notebook,
        on_cell_start=lambda cell, cell_index: at.update(cell=cell_index),
        record_timing=False,  # it would change the cells and so the key of the cache
        timeout=CONFIG["execute"]["timeout"],  # seconds for one cell
        resources={"metadata": {"path": str(page.path.parent)}},
        extra_arguments=[f"--IPKernelApp.exec_files={TRACE}", "--log-level=CRITICAL"],
    )
    trace = {"COURSE_ROOT": str(ROOT), "COURSE_READS": str(reads)}
    try:
        await client.async_execute(env={**os.environ, **ONE_THREAD, **trace})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        line = notebook.metadata["source_map"][at["cell"]]
        raise PageError(_explain(page, line, error)) from error
    _refuse_stderr(page, notebook)
    paths = sorted({Path(line) for line in reads.read_text(encoding="utf-8").splitlines()})
    inside = [p.relative_to(ROOT).as_posix() for p in paths if p.is_file()]
    ours = [p for p in inside if not p.startswith((".", "_build/"))] + ["constraints.txt"]
    return CacheBundleIn(notebook, str(page.path), data={"reads": _hashes(ours)})


def _refuse_stderr(page: Page, notebook: NotebookNode) -> None:
    """Raise if a cell wrote to stderr, which is no part of a page: warnings, progress bars."""
    lines = notebook.metadata["source_map"]
    for line, cell in zip(lines, notebook.cells, strict=True):
        said = "".join(o.text for o in cell.get("outputs", []) if o.get("name") == "stderr")
        if said:
            where = f"{page.name}.md:{line}"
            raise PageError(f"{where}: the cell that starts here wrote to stderr\n{said}")


def _explain(page: Page, line: int, error: Exception) -> str:
    """Return a message that names the page, the line of the failing cell, and the error."""
    what = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else error
    return f"{page.name}.md:{line}: the cell that starts here failed\n  {what}\n{error}"


# --- export ----------------------------------------------------------------------------------


def export() -> None:
    """Write each page's notebooks: for nbval, for download with outputs, for students."""
    cache = get_cache(str(CACHE))
    for folder in (EXECUTED, DOWNLOADS):
        shutil.rmtree(folder, ignore_errors=True)
    for page in pages():
        _, notebook = cache.merge_match_into_notebook(page.read())
        _write(EXECUTED / f"{page.name}.ipynb", notebook)
        _write(DOWNLOADS / "executed" / f"{page.name}.ipynb", executed_notebook(notebook, page))
        _write(DOWNLOADS / "student" / f"{page.name}.ipynb", student_notebook(notebook, page))


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


# --- site ------------------------------------------------------------------------------------


def site() -> None:
    """Build the site beside the old one and put it in its place only if all went well."""
    staging = BUILD / "staging"
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["build", ".", "--path-output", str(staging), "-W", "--keep-going", "-q"]
    print("Building the site ...", flush=True)
    try:
        subprocess.run([*command, *options], cwd=ROOT, check=True)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)  # or Sphinx would not warn of it again
        raise
    fresh, old = BUILD / "html.new", BUILD / "html.old"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(staging / "_build" / "html", fresh)
    door = FRONT_DOOR.format(title=CONFIG["title"])
    (fresh / "index.html").write_text(door, encoding="utf-8")
    if SITE.exists():
        SITE.rename(old)
    fresh.rename(SITE)
    shutil.rmtree(old, ignore_errors=True)


def book() -> None:
    """Execute, export and build; print where the site is."""
    execute()
    export()
    site()
    print(f"\nThe site is ready: {SITE / 'index.html'}")
    print("Open that file in a browser, or run `make serve` and visit http://127.0.0.1:8000")


# --- working on it ---------------------------------------------------------------------------


def lab() -> None:
    """Copy the student notebooks into `notebooks/`, leaving alone what is already there."""
    for source in sorted((DOWNLOADS / "student" / "book").rglob("*.ipynb")):
        target = NOTEBOOKS / source.relative_to(DOWNLOADS / "student" / "book")
        if target.exists():
            print(f"kept     {target.relative_to(ROOT)} (yours; delete it to start afresh)")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        print(f"new      {target.relative_to(ROOT)}")


def live(name: str, port: int) -> None:
    """Serve the book and reload the browser whenever the page or the package changes."""
    page = _find(name)
    execute()
    again = f'"{sys.executable}" "{__file__}" execute {page.name}'
    ignored = [f"--ignore={ROOT / folder}/*" for folder in ("_build", ".venv", ".git", "notebooks")]
    options = ["-c", "tools/plain_sphinx", "--port", str(port), "--watch", "coursepkg", *ignored]
    options += ["--pre-build", again]
    command = [sys.executable, "-m", "sphinx_autobuild", *options, ".", str(BUILD / "live")]
    print(f"http://127.0.0.1:{port}/{page.name}.html  (Ctrl-C ends it)")
    subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, **ONE_THREAD})


def _find(name: str) -> Page:
    """Return the page of that name, with or without `book/` and `.md`."""
    wanted = name.removesuffix(".md").removeprefix("book/")
    for page in pages():
        if page.name.removeprefix("book/") == wanted:
            return page
    known = ", ".join(page.name.removeprefix("book/") for page in pages())
    raise PageError(f"PAGE={name!r} is not a page with code; choose one of: {known}")


def main() -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("execute").add_argument("pages", nargs="*")
    live_parser = commands.add_parser("live")
    live_parser.add_argument("page")
    live_parser.add_argument("--port", type=int, default=8000)
    for name in ("book", "export", "site", "lab"):
        commands.add_parser(name)
    arguments = parser.parse_args()
    try:
        if arguments.command == "execute":
            execute([_find(name).name for name in arguments.pages])
        elif arguments.command == "live":
            live(arguments.page, arguments.port)
        else:
            {"book": book, "export": export, "site": site, "lab": lab}[arguments.command]()
    except (PageError, MarkdownError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"\nThe site was not replaced: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; run it again to go on.", file=sys.stderr, flush=True)
        os._exit(130)  # kernels end with their parent; nbclient would shut them down once more
    return 0


if __name__ == "__main__":
    sys.exit(main())
