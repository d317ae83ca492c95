"""Every attack is contained, marked as it deserves, and costs nobody else a point."""

from __future__ import annotations

import json
import re

import pytest
from grading.attacks.attack import FULL, Attack
from grading.attacks.batch import ATTACKS, Run, graded_alone
from grading.attacks.files import FILES, File
from grading.attacks.honest import HONEST
from grading.attacks.stage import children, records
from grading.attacks.tensors import TENSORS

WITNESSES = ("secret", "file", "kept", "core", "tcp", "udp", "unix", "abstract", "neighbour")


def found(pattern: str, text: str) -> bool:
    return re.search(pattern, " ".join(text.split())) is not None


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_what_it_deserves(run: Run, attack: Attack):
    expected, mark = attack.under(run.isolation), run.mark(attack.name)
    assert (mark.status, mark.points) == (expected.status, expected.points), mark.feedback
    assert found(expected.says, mark.feedback), mark.feedback


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_leaves_the_rest_of_its_submission_alone(run: Run, attack: Attack):
    mark = run.mark(attack.name, "bystander")
    assert mark.points == attack.under(run.isolation).bystander, mark.feedback


@pytest.mark.parametrize("attack", TENSORS, ids=lambda attack: attack.name)
def test_an_attack_with_tensors_gets_what_it_deserves(run: Run, attack: Attack):
    expected, mark = attack.under(run.isolation), run.mark(attack.name, "half")
    assert (mark.status, mark.points) == (expected.status, expected.points), mark.feedback
    assert found(expected.says, mark.feedback), mark.feedback
    assert run.mark(attack.name, "bystander").points == 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_hostile_file_is_graded_for_what_is_right_in_it_or_reported(run: Run, file: File):
    mark, bystander = run.mark(file.name), run.mark(file.name, "bystander")
    said = "\n".join([*run.graded[file.name].problems, mark.feedback])
    assert mark.points + bystander.points == file.points, said
    assert found(file.says, said), said


@pytest.mark.parametrize("learner", HONEST)
def test_honest_work_gets_its_points(run: Run, learner: str):
    _, _, target, bystander = HONEST[learner]
    assert run.mark(learner).points == target, run.mark(learner).feedback
    assert run.mark(learner, "bystander").points == bystander


def test_every_submission_is_graded(run: Run):
    folders = [run.stage.folder / name for name in ("submissions", "tensors")]
    handed_in = {path.name for folder in folders for path in folder.iterdir()}
    assert set(run.graded) == handed_in
    assert all(graded.isolation == run.isolation for graded in run.graded.values())
    assert all(len(graded.marks) == 2 for graded in run.graded.values())


def test_honest_marks_are_the_same_to_the_byte_without_the_attacks(run: Run):
    alone = graded_alone(run.stage, run.isolation)
    assert set(alone) == set(HONEST)
    together = {learner: json.dumps(run.graded[learner].to_json()) for learner in HONEST}
    assert {n: json.dumps(graded.to_json()) for n, graded in alone.items()} == together


@pytest.mark.parametrize("witness", WITNESSES)
def test_nothing_reached_a_witness(run: Run, witness: str):
    names = [attack.name for attack in (*ATTACKS, *TENSORS) if attack.tells == witness]
    assert names
    assert run.stage.told(witness, records(run.graded.values())) == ""


def test_no_file_of_the_run_holds_the_secret(run: Run):
    for path in run.stage.folder.glob("*-out/**/*"):
        if path.is_file():
            assert run.stage.secret.encode() not in path.read_bytes()


def test_nobody_is_told_a_hidden_input(run: Run):
    hidden = run.hidden()
    assert len(hidden) == 23
    for graded in run.graded.values():
        for mark in graded.marks:
            told = " ".join([mark.feedback, mark.place, mark.status, *mark.hints])
            assert not [number for number in hidden if number in told], told


def test_every_process_has_ended(run: Run):
    assert children() <= run.stage.children


def test_temporary_folders_are_empty(run: Run):
    assert list(run.stage.temporary.iterdir()) == []


def test_texts_can_be_shown_and_stored(run: Run):
    for graded in run.graded.values():
        text = json.dumps(graded.to_json(), ensure_ascii=False)
        text.encode()
        assert "\\u0000" not in text
        assert "\\u001b" not in text
        assert all(len(mark.feedback) < 25_000 for mark in graded.marks)


def test_the_grader_does_not_grow(run: Run):
    assert 0 < run.grown < 600


def test_the_grader_is_not_kept_busy(run: Run):
    assert run.busy < 15


def test_the_table_is_complete():
    assert len(ATTACKS) + len(TENSORS) + len(FILES) >= 200
    assert all(0 <= attack.points <= FULL for attack in ATTACKS)
