"""Compare the networks with the reference libraries, in an environment of their own.

    python tools/oracle.py [--environment FOLDER] [--no-vectors] [--no-comparison]

makes the environment in `.oracle/` (nothing happens if it is up to date), lets every
`tests/oracle/make_*.py` write its vectors, which the everyday tests compare with, and runs
`tests/oracle/compare.py`, which writes `tests/oracle/REPORT.md`. The environment takes a minute,
5.5 GB and the network; it stands apart because torchvision needs another PyTorch than the course.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORACLE = ROOT / "tests" / "oracle"
REQUIREMENTS = ORACLE / "requirements.txt"
STAMP = "installed.sha256"
NEEDED = 6e9  # bytes


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", type=Path, default=ROOT / ".oracle", metavar="FOLDER")
    parser.add_argument("--no-vectors", action="store_true", help="leave the stored vectors")
    parser.add_argument("--no-comparison", action="store_true", help="leave REPORT.md")
    options = parser.parse_args()
    environment = options.environment.resolve()
    make_environment(environment)
    steps = [] if options.no_vectors else sorted(ORACLE.glob("make_*.py"))
    steps += [] if options.no_comparison else [ORACLE / "compare.py"]
    for number, script in enumerate(steps, 1):
        print(f"[{number}/{len(steps)}] {script.relative_to(ROOT).as_posix()}", flush=True)
        run(environment, script)


def make_environment(folder: Path) -> None:
    """Install the pinned libraries into a virtual environment, unless they are there.

    The stamp says that a folder is ours, and what has been installed there.
    """
    stamp = folder / STAMP
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if folder.exists() and any(folder.iterdir()) and not stamp.exists():
        sys.exit(f"{folder} is not of this program; empty it, or name another folder")
    require_space(folder)
    print(f"Installing the reference libraries into {folder} (5.5 GB, once) ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    stamp.write_text("unfinished")
    pip = [python(folder), "-m", "pip", "install", "--disable-pip-version-check"]
    if subprocess.run([*pip, "-r", REQUIREMENTS]).returncode:
        sys.exit(
            "The reference libraries could not be installed; see what pip says above. This step "
            "needs the network. The everyday tests do not: they use the stored vectors."
        )
    stamp.write_text(wanted)


def require_space(folder: Path) -> None:
    """Stop before a disk that is too small is filled."""
    parent = next(p for p in folder.parents if p.exists())
    free = shutil.disk_usage(parent).free
    if free < NEEDED:
        sys.exit(
            f"The reference libraries need {NEEDED / 1e9:.0f} GB, but {parent} has "
            f"{free / 1e9:.1f} GB free; name another place: --environment FOLDER"
        )


def run(environment: Path, script: Path) -> None:
    """Run a script of ours beside the reference libraries."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    settings = {**os.environ, **threads, "PYTHONPATH": paths}
    code = subprocess.run([python(environment), script], cwd=ROOT, env=settings).returncode
    if code:
        sys.exit(f"{script.relative_to(ROOT).as_posix()} ended with {code}; see above.")


def python(folder: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"Making the environment failed: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; run it again to go on.")
