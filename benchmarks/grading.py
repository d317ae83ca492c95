r"""Grade classes of honest learners, and tell how fast, at what cost, and in how much memory.

Each submission is a notebook that solves one exercise of six cases, with NumPy or with PyTorch. A
class is graded as `course grade` does it, fully isolated, by a process of its own.

Processor time is that of this process and of all that it started. Where a control group may be
made, the system counts it there, whatever ends when. Elsewhere it is the larger of two counts: of
processes that were waited for, and of those that were found by looking ten times a second; then it
is a lower bound. The table says which of the two it was.

Memory is the largest sum of the proportional set sizes of these processes, looked at twice a
second: a page that several share counts once. Looking takes time, too, on one of the cores.

    python benchmarks/grading.py [--counts 200] [--workers 2] [--isolation auto]

prints a table and writes benchmarks/results/grading.json. With `--counts 200 1000 5000` it shows
whether the time grows like the number of submissions. The seconds include everything: starting
Python and the sandbox, the import of PyTorch, reading, judging and saving.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
from tqdm import tqdm

from coursepkg.grading.batch import run_batch

__all__ = ["ANSWERS", "main"]

FOLDER = Path(__file__).parent
EXERCISES = FOLDER / "exercises"
RESULTS = FOLDER / "results" / "grading.json"
LOOK = 0.1  # seconds between two looks at the processes
MEMORY = 5  # looks between two that count memory, which takes longer
GROUPS = Path("/sys/fs/cgroup")
ENTER = ["sh", "-c", 'echo $$ > "$0" && exec "$@"']  # a control group, then run something in it
BY_GROUP = "all processes, counted by a control group"
BY_WAITING = "a lower bound, as no control group could be made"

MEAN = """
def moving_mean(x, width):
    total = np.concatenate([[0.0], np.cumsum(x)])
    return (total[width:] - total[:-width]) / width
"""
LINEAR = """
class Linear(torch.nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(bias)

    def forward(self, input):
        return torch.nn.functional.linear(input, self.weight, self.bias)
"""

#: For each environment: the exercise, and a notebook's cells that solve it.
ANSWERS = {
    "numpy": (
        "bench/moving-mean",
        ["import numpy as np", MEAN, "print(moving_mean(np.ones(3), 2))"],
    ),
    "torch": (
        "bench/linear-layer",
        ["import torch", LINEAR, "Linear(torch.eye(2), torch.ones(2))"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[200])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--isolation", default="auto")
    parser.add_argument("--grade", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grade:
        grade(*options.grade, options.workers, options.isolation)
        return
    jobs = [(environment, count) for environment in ANSWERS for count in options.counts]
    results = [
        measure(environment, count, options.workers, options.isolation)
        for environment, count in tqdm(jobs, unit="class")
    ]
    print(table(results, options.workers))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {os.path.relpath(RESULTS)}")


def measure(environment: str, count: int, workers: int, isolation: str) -> dict[str, Any]:
    r"""Grade one class in a process of its own, and watch it."""
    with tempfile.TemporaryDirectory() as folder:
        submissions, out = Path(folder, "submissions"), Path(folder, "out")
        hand_in(submissions, environment, count)
        command = [sys.executable, __file__, "--grade", environment, str(submissions), str(out)]
        command += ["--workers", str(workers), "--isolation", isolation]
        with control_group() as group:
            entered = [*ENTER, str(group / "cgroup.procs"), *command] if group else command
            waited = children_seconds()
            start = time.perf_counter()
            with subprocess.Popen(entered, stdout=subprocess.PIPE) as process:
                peak, below = watched(process)
                seconds = time.perf_counter() - start
                told = json.loads(process.stdout.read())
            waited = children_seconds() - waited
            least = max(waited, told["processor_seconds"] + below)
            used = group_seconds(group) if group else least
    if process.returncode or told["right"] != count:
        raise RuntimeError(f"{told['right']} of {count} submissions have all points")
    return {
        "environment": environment,
        "submissions": count,
        "seconds": seconds,
        "processor_seconds": used,
        "counted": BY_GROUP if group else BY_WAITING,
        "peak_mb": peak / 1e6,
        "isolation": told["isolation"],
    }


def hand_in(folder: Path, environment: str, count: int) -> None:
    r"""Write a class: notebooks with a heading, imports, the answer and a call of it."""
    _, cells = ANSWERS[environment]
    folder.mkdir()
    for i in range(count):
        notebook = nbformat.v4.new_notebook()
        notebook.cells.append(nbformat.v4.new_markdown_cell(f"# Homework of learner {i}"))
        notebook.cells += map(nbformat.v4.new_code_cell, cells)
        nbformat.write(notebook, folder / f"learner-{i:04}.ipynb")


def grade(environment: str, submissions: str, out: str, workers: int, isolation: str) -> None:
    r"""Grade a class and tell what it took in this process."""
    exercise, _ = ANSWERS[environment]
    options = {"workers": workers, "isolation": isolation, "exercises_dir": EXERCISES, "seed": 0}
    with run_batch(submissions, out, [exercise], progress=False, **options) as store:
        graded = list(store.graded())
    told = {
        "right": sum(mark.points == mark.out_of for one in graded for mark in one.marks),
        "isolation": graded[0].isolation,
        "processor_seconds": time.process_time(),
    }
    print(json.dumps(told))


def watched(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    r"""Wait for a process, and look at it and at all below it.

    Returns
    -------
    peak : int
        Of their memory, in bytes.
    seconds : float
        Of processor time of those below, the most that was seen.
    """
    peak, seconds, looks = 0, 0.0, 0
    top = psutil.Process(process.pid)
    while True:
        try:
            process.wait(LOOK)
        except subprocess.TimeoutExpired:
            below = descendants(top)
            seconds = max(seconds, total(processor_seconds, below))
            if looks % MEMORY == 0:
                peak = max(peak, total(memory, [top, *below]))
            looks += 1
        else:
            return int(peak), seconds


@contextmanager
def control_group() -> Iterator[Path | None]:
    r"""Make a control group below the one of this process, if that is permitted."""
    group = next(filter(counts_time, group_candidates()), None)
    try:
        yield group
    finally:
        if group:
            with contextlib.suppress(OSError):  # somebody is still in it
                group.rmdir()


def group_candidates() -> Iterator[Path]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if not controllers or "cpuacct" in controllers.split(","):
            yield GROUPS / controllers / own.strip("/") / f"bench-{os.getpid()}"


def counts_time(group: Path) -> bool:
    r"""Make a group, and keep it if processes can enter it and it counts their time."""
    try:
        group.mkdir()
    except OSError:
        return False
    entered = subprocess.run([*ENTER, str(group / "cgroup.procs"), "true"]).returncode == 0
    if entered and any((group / name).exists() for name in ("cpuacct.usage", "cpu.stat")):
        return True
    group.rmdir()
    return False


def group_seconds(group: Path) -> float:
    r"""Return the processor time of all that ever ran in a control group."""
    first = group / "cpuacct.usage"  # of version 1
    if first.exists():
        return int(first.read_text()) / 1e9
    counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(counts["usage_usec"]) / 1e6


def children_seconds() -> float:
    r"""Return the processor time of all processes that were waited for, by others below, too."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def descendants(top: psutil.Process) -> list[psutil.Process]:
    try:
        return top.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def total(measure: Callable[[psutil.Process], float], processes: list[psutil.Process]) -> float:
    r"""Add up a measure of processes, some of which may have ended meanwhile."""
    found = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += measure(process)
    return found


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def memory(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss
    except psutil.AccessDenied:  # to an ordinary user, of a process that nobody may look into
        return process.memory_info().rss


def table(results: list[dict[str, Any]], workers: int) -> str:
    r"""Lay the measurements out for reading."""
    lines = [
        f"grading, six cases each, {workers} workers on {os.cpu_count()} cores, "
        f"isolation: {results[0]['isolation']}",
        "",
        "environment | submissions | seconds | per second | processor s each | peak memory, MB",
        "------------+-------------+---------+------------+------------------+----------------",
    ]
    for row in results:
        count, seconds = row["submissions"], row["seconds"]
        lines.append(
            f"{row['environment']:11} |{count:12} |{seconds:8.1f} |{count / seconds:11.1f} "
            f"|{row['processor_seconds'] / count:17.4f} |{row['peak_mb']:16.0f}"
        )
    return "\n".join([*lines, "", f"processor time: {results[0]['counted']}"])


if __name__ == "__main__":
    main()
