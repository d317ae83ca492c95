r"""What benchmarks by thread count share: a fresh process for each, tables, and a file of results.

OpenBLAS and OpenMP read how many threads they may use when they are loaded, so that a process
cannot change it for all of them afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["parser", "race", "threads_of_this_process"]

ROOT = Path(__file__).resolve().parents[1]
COUNT_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CHOOSE_KERNEL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

Result = dict[str, Any]


def parser(doc: str, rounds: int) -> argparse.ArgumentParser:
    r"""Return a parser that knows the options of every such benchmark.

    Parameters
    ----------
    doc : str
        Of the benchmark; its first line is shown as help.
    rounds : int
        The default.
    """
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options.add_argument("--rounds", type=int, default=rounds)
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return options


def race(
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Result],
    table: Callable[[Result], str],
) -> None:
    r"""Measure with each thread count in a process of its own, print tables, write results.

    The results go to ``results/<name of the benchmark>.json``. The process of a thread count is
    the same program with ``--worker``; it is started without the variables that would choose
    OpenBLAS's kernel by hand.

    Parameters
    ----------
    options : Namespace
        From a `parser`.
    measure : callable
        Takes the options, in the process of its own, and returns what can be written as JSON.
    table : callable
        Lays out what one `measure` returned, with the number of threads as "threads".
    """
    if options.worker:
        print(json.dumps(measure(options)))
        return
    results = []
    for threads in options.threads:
        results.append({"threads": threads, **_measured_apart(threads)})
        print(table(results[-1]), end="\n\n", flush=True)
    path = Path(sys.argv[0]).resolve()
    written = path.parent / "results" / f"{path.stem}.json"
    written.parent.mkdir(exist_ok=True)
    written.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {os.path.relpath(written)}")


def threads_of_this_process() -> int:
    r"""Return the thread count that a worker was started with."""
    return int(os.environ[COUNT_THREADS[0]])


def _measured_apart(threads: int) -> Result:
    environment = {k: v for k, v in os.environ.items() if k not in CHOOSE_KERNEL}
    environment |= dict.fromkeys(COUNT_THREADS, str(threads))
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    command = [sys.executable, *sys.argv, "--worker"]
    worker = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(worker.stdout))
