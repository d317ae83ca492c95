"""All attacks and all honest work, graded in one batch, and what was seen while it ran."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grading.attacks.attack import Attack, submission, table
from grading.attacks.ending import ENDING
from grading.attacks.files import FILES
from grading.attacks.honest import HONEST
from grading.attacks.kernel import KERNEL
from grading.attacks.patching import PATCHING
from grading.attacks.reading import READING
from grading.attacks.stage import Stage
from grading.attacks.talking import TALKING
from grading.attacks.tensors import TENSORS
from grading.attacks.writing import WRITING

from coursepkg.grading.batch import run_batch
from coursepkg.grading.exercise import load
from coursepkg.grading.marks import Graded, Mark

__all__ = ["ATTACKS", "SEED", "Run", "attacked", "graded_alone", "temporary_folder"]

ATTACKS = table(*READING, *PATCHING, *ENDING, *TALKING, *WRITING, *KERNEL)
NUMPY = ("attacks/target", "attacks/bystander")
TORCH = ("attacks/half", "attacks/bystander")
SEED = 20_260_701


@dataclass(frozen=True)
class Run:
    """What came of a batch.

    Attributes
    ----------
    isolation : str
    stage : Stage
    graded : dict of str to Graded
        By learner.
    grown : float
        Megabytes by which this process has grown at its peak.
    busy : float
        Processor seconds that this process has used.
    """

    isolation: str
    stage: Stage
    graded: dict[str, Graded]
    grown: float
    busy: float

    def mark(self, learner: str, exercise: str = "target") -> Mark:
        """Return the mark of a learner for an exercise."""
        (mark,) = (m for m in self.graded[learner].marks if m.exercise == f"attacks/{exercise}")
        return mark

    def hidden(self) -> set[str]:
        """Return how the numbers of the hidden cases begin."""
        cases = load(NUMPY[0], [self.stage.exercises]).cases(SEED)[1:]
        return {str(abs(v))[:9] for case in cases for v in case.inputs["x"].tolist()}


def attacked(stage: Stage, isolation: str) -> Run:
    """Grade everything: honest work, attacks, hostile files."""
    folder, tensors = stage.folder / "submissions", stage.folder / "tensors"
    folder.mkdir()
    tensors.mkdir()
    for attack in ATTACKS:
        write(folder, attack, stage)
    for attack in TENSORS:
        write(tensors, attack, stage)
    for file in FILES:
        (folder / file.name).mkdir()
        file.make(folder / file.name, stage.scene)
    write_honest(folder)
    begin = time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = peak()
    graded = _graded(stage, folder, isolation, NUMPY) | _graded(stage, tensors, isolation, TORCH)
    return Run(isolation, stage, graded, peak() - before, time.process_time() - begin)


def peak() -> float:
    """Return the most memory that this process has had, in megabytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def graded_alone(stage: Stage, isolation: str) -> dict[str, Graded]:
    """Grade the honest work, with nobody else in the batch."""
    folder = stage.folder / "honest"
    folder.mkdir()
    write_honest(folder)
    return _graded(stage, folder, isolation, NUMPY)


def write(folder: Path, attack: Attack, stage: Stage) -> None:
    """Hand in an attack."""
    (folder / attack.name).mkdir()
    (folder / attack.name / "hw.py").write_text(submission(attack, stage.scene))


def write_honest(folder: Path) -> None:
    """Hand in the honest work."""
    for learner, (name, text, _, _) in HONEST.items():
        (folder / learner).mkdir()
        (folder / learner / name).write_text(text)


def _graded(
    stage: Stage, folder: Path, isolation: str, exercises: Sequence[str]
) -> dict[str, Graded]:
    with (
        temporary_folder(stage.temporary),
        run_batch(
            folder,
            folder.with_name(f"{folder.name}-out"),
            exercises=exercises,
            exercises_dir=stage.exercises,
            workers=4,
            seed=SEED,
            isolation=isolation,
            progress=False,
        ) as store,
    ):
        return {graded.learner: graded for graded in store.graded()}


@contextmanager
def temporary_folder(folder: Path) -> Iterator[None]:
    """Have temporary files of this process, and of those it starts, in a folder."""
    environment, known = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = known
        del os.environ["TMPDIR"]
        if environment is not None:
            os.environ["TMPDIR"] = environment
