"""Without isolation the witnesses tell: no containment is proved by a witness that sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from grading.attacks.attack import Attack, submission
from grading.attacks.batch import ATTACKS, SEED, temporary_folder
from grading.attacks.stage import Stage, records

from coursepkg.grading.exercise import load
from coursepkg.grading.marks import grade
from coursepkg.grading.sandbox import Sandbox
from coursepkg.grading.submissions import Submission

PROVABLE = [attack for attack in ATTACKS if attack.provable]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with temporary_folder(tmp_path_factory.mktemp("temporary")), Sandbox("none") as sandbox:
        yield sandbox


@pytest.mark.parametrize("attack", PROVABLE, ids=lambda attack: attack.name)
def test_an_attack_succeeds_without_isolation(attack: Attack, sandbox: Sandbox, tmp_path: Path):
    with Stage(tmp_path) as stage:
        exercise = load("attacks/target", [stage.exercises])
        work = Submission.of(attack.name, {"hw.py": submission(attack, stage.scene).encode()})
        graded = grade(work, [exercise], sandbox, SEED)
        told = stage.told(attack.tells, records([graded]))
        assert told, graded.marks[0].feedback


@pytest.mark.parametrize("witness", ["secret", "file", "kept", "tcp", "udp", "unix", "abstract"])
def test_every_witness_is_proved(witness: str):
    assert [attack for attack in PROVABLE if attack.tells == witness]


def test_witnesses_tell_nothing_by_themselves(tmp_path: Path):
    with Stage(tmp_path) as stage:
        for witness in ("secret", "file", "kept", "core", "neighbour", "process", "tcp", "udp"):
            assert stage.told(witness, "") == ""


def test_witnesses_tell_of_what_no_attack_may_do_here(tmp_path: Path):
    with Stage(tmp_path) as stage:
        (tmp_path / "outside" / "core.1").touch()
        assert stage.told("core", "")
        os.kill(stage.neighbour.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, stage.neighbour.pid, os.WSTOPPED)
        assert stage.told("neighbour", "")
        os.kill(stage.neighbour.pid, signal.SIGCONT)
        with subprocess.Popen(["sleep", "60"]) as child:
            assert stage.told("process", "") == str(child.pid)
            child.kill()
