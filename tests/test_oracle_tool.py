"""The command behind `make oracle`: what it installs, when it does not, and what it says."""

import re
import subprocess
from types import SimpleNamespace

import oracle
import pytest

ROOT = oracle.ROOT


@pytest.fixture
def calls(monkeypatch):
    """Run nothing; note what would be run. A command that contains `failing` fails."""
    seen = []

    def run(command, check=False, **settings):
        words = [str(word) for word in command]
        seen.append(words)
        return SimpleNamespace(returncode=int(run.failing in words))

    run.failing = None
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(oracle.shutil, "disk_usage", lambda path: SimpleNamespace(free=7e9))
    return SimpleNamespace(seen=seen, run=run)


def pins(path):
    return dict(re.findall(r"^([\w-]+)==(\S+)$", path.read_text(), re.MULTILINE))


def test_what_the_course_imports_has_the_versions_of_the_course():
    ours, theirs = pins(ROOT / "constraints.txt"), pins(oracle.REQUIREMENTS)
    both = (ours.keys() & theirs.keys()) - {"torch"}
    assert {"numpy", "pooch", "safetensors"} <= both
    assert {name: theirs[name] for name in both} == {name: ours[name] for name in both}


def test_it_installs_once(calls, tmp_path):
    folder = tmp_path / "a space" / "env"
    folder.mkdir(parents=True)
    oracle.make_environment(folder)
    assert [words[2] for words in calls.seen] == ["venv", "pip"]
    assert calls.seen[0][-1] == str(folder)
    oracle.make_environment(folder)
    assert len(calls.seen) == 2


def test_it_installs_again_when_the_requirements_change(calls, tmp_path, monkeypatch):
    oracle.make_environment(tmp_path)
    changed = tmp_path / "requirements.txt"
    changed.write_text("torch==3.0")
    monkeypatch.setattr(oracle, "REQUIREMENTS", changed)
    oracle.make_environment(tmp_path)
    assert len(calls.seen) == 4


def test_without_the_network_it_says_so_and_tries_again_next_time(calls, tmp_path):
    calls.run.failing = "pip"
    with pytest.raises(SystemExit, match="needs the network"):
        oracle.make_environment(tmp_path)
    calls.run.failing = None
    oracle.make_environment(tmp_path)
    assert [words[2] for words in calls.seen] == ["venv", "pip"] * 2
    oracle.make_environment(tmp_path)
    assert len(calls.seen) == 4


@pytest.mark.parametrize("file", ["thesis.tex", "pyvenv.cfg"])
def test_a_folder_of_other_things_is_not_emptied(calls, tmp_path, file):
    """Nor is a virtual environment that another program made."""
    (tmp_path / file).touch()
    with pytest.raises(SystemExit, match=r"is not of this program; empty it, or name another"):
        oracle.make_environment(tmp_path)
    assert calls.seen == []
    assert (tmp_path / file).exists()


def test_a_full_disk_is_refused(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(oracle.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e9))
    with pytest.raises(SystemExit, match=r"need 6 GB, but .* has 5.0 GB free"):
        oracle.make_environment(tmp_path / "env")


def test_vectors_come_before_the_comparison_and_a_failure_ends_it(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(oracle.sys, "argv", ["oracle.py", "--environment", str(tmp_path)])
    oracle.main()
    scripts = [words[1].rpartition("oracle/")[2] for words in calls.seen[2:]]
    assert scripts == [*sorted(scripts[:-1]), "compare.py"]
    assert "make_networks.py" in scripts
    calls.run.failing = str(oracle.ORACLE / "make_networks.py")
    with pytest.raises(SystemExit, match=r"make_networks\.py ended with 1"):
        oracle.main()
