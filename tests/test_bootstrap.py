"""tools/bootstrap.py: one clear line when the environment cannot be made."""

import builtins
import sys

import bootstrap
import pytest


def test_an_old_python_is_told_so(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit) as stop:
        bootstrap.check_python()
    message = stop.value.code
    assert "needs Python 3.11 or newer, but this is Python 3.10" in message
    assert "make book PYTHON=" in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(monkeypatch, missing):
    real = builtins.__import__

    def without(name, *arguments):
        if name == missing:
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit) as stop:
        bootstrap.check_python()
    message = stop.value.code
    assert "its venv module is missing" in message
    assert "apt install python3-venv" in message
    assert "\n" not in message


def test_this_python_is_fine():
    assert bootstrap.check_python() is None


def test_an_installation_is_current_only_with_its_stamp(monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap, "STAMP", str(tmp_path / "stamp"))
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    wanted = bootstrap.fingerprint()
    assert not bootstrap.is_current(wanted)  # an interrupted installation leaves no stamp
    (tmp_path / "stamp").write_text(wanted)
    assert bootstrap.is_current(wanted)
    assert not bootstrap.is_current("another")
    monkeypatch.setattr(bootstrap, "PYTHON", str(tmp_path / "gone"))
    assert not bootstrap.is_current(wanted)


def test_nothing_is_installed_where_all_is_current(monkeypatch):
    monkeypatch.setattr(bootstrap, "is_current", lambda wanted: True)
    monkeypatch.setattr(bootstrap, "run", lambda command: pytest.fail("installs"))
    assert bootstrap.main() is None


def test_pip_is_passed_on_and_its_failure_raised(capsys):
    say = (
        "print('Requirement already satisfied: numpy'); print('Collecting torch'); raise SystemExit"
    )
    bootstrap.run([sys.executable, "-c", f"{say}(0)"])
    assert capsys.readouterr().out == "Collecting torch\n"
    with pytest.raises(bootstrap.subprocess.CalledProcessError):
        bootstrap.run([sys.executable, "-c", f"{say}(3)"])
