"""Which isolation is chosen, and what is said where there is none."""

import os

import pytest

from coursepkg.grading import isolation
from coursepkg.grading.isolation import Finding, IsolationError, choose, command, doctor, probe
from coursepkg.grading.view import plant

NAMES = ("Linux", "libseccomp", "Landlock", "bubblewrap", "user namespaces")


def findings(*broken):
    return [
        Finding(name, name not in broken, "here" if name not in broken else "lost", f"get {name}")
        for name in NAMES
    ]


@pytest.mark.parametrize(
    ("wanted", "broken", "chosen"),
    [
        ("auto", (), "namespaces"),
        ("auto", ("bubblewrap",), "landlock"),
        ("auto", ("user namespaces",), "landlock"),
        ("auto", ("Landlock",), "namespaces"),
        ("namespaces", ("Landlock",), "namespaces"),
        ("landlock", ("bubblewrap", "user namespaces"), "landlock"),
        ("none", NAMES[1:], "none"),
    ],
)
def test_the_best_isolation_there_is_gets_chosen(wanted, broken, chosen):
    assert choose(wanted, lambda: findings(*broken)) == chosen


@pytest.mark.parametrize(
    ("wanted", "broken"),
    [
        ("auto", ("libseccomp",)),
        ("auto", ("Landlock", "bubblewrap")),
        ("namespaces", ("user namespaces",)),
        ("landlock", ("Landlock",)),
    ],
)
def test_without_isolation_the_reasons_and_remedies_are_named(wanted, broken):
    with pytest.raises(IsolationError) as refused:
        choose(wanted, lambda: findings(*broken))
    for name in broken:
        assert f"- {name}: lost; get {name}" in str(refused.value)
    assert "--isolation none" in str(refused.value)


@pytest.mark.parametrize("wanted", ["auto", "namespaces", "landlock", "none"])
def test_on_other_systems_the_container_is_named(monkeypatch, wanted):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(IsolationError, match=r"this is darwin; grade in the container") as refused:
        choose(wanted, probe)
    assert "--isolation none" not in str(refused.value)


def test_an_unknown_isolation_is_refused():
    with pytest.raises(ValueError, match="isolation='chroot'; choose auto, namespaces"):
        choose("chroot")


def test_what_is_found_on_this_machine():
    found = {finding.name: finding for finding in probe()}
    assert tuple(found) == NAMES
    if os.environ.get("CI") == "true":
        assert all(finding.fine for finding in found.values()), found
    for finding in found.values():
        assert finding.fine or finding.remedy


@pytest.mark.parametrize("user", [0, 1000])
def test_root_is_told_that_landlock_counts_no_threads(monkeypatch, user):
    monkeypatch.setattr("os.geteuid", lambda: user)
    words = next(finding.words for finding in doctor() if finding.name == "Landlock")
    assert ("does not bound threads" in words) == (user == 0)


@pytest.mark.parametrize("user", [0, 1000])
def test_nobody_is_root_in_namespaces(monkeypatch, tmp_path, user):
    monkeypatch.setattr("os.geteuid", lambda: user)
    plant(tmp_path / "farm", "numpy")
    code = command("namespaces", tmp_path / "farm", "pass")[-1]
    assert ("become_nobody()" in code) == (user == 0)
    assert "become_nobody()" not in command("landlock", tmp_path / "farm", "pass")[-1]


def test_a_missing_bubblewrap_is_found(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    found = {finding.name: finding for finding in probe()}
    assert not found["bubblewrap"].fine
    assert "apt install bubblewrap" in found["bubblewrap"].remedy
    assert not found["user namespaces"].fine


def test_a_landlock_that_is_too_old_is_found(monkeypatch):
    monkeypatch.setattr(isolation, "LANDLOCK", 99)
    found = {finding.name: finding for finding in probe()}
    assert not found["Landlock"].fine
    assert "older than version 99" in found["Landlock"].words


def test_a_missing_libseccomp_is_found(monkeypatch):
    def program():
        raise RuntimeError("no library")

    monkeypatch.setattr(isolation, "program", program)
    found = {finding.name: finding for finding in probe()}
    assert found["libseccomp"].words == "cannot be used: no library"
    assert "apt install libseccomp2" in found["libseccomp"].remedy


def test_namespaces_that_cannot_be_made_are_found(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in probe()}
    assert found["user namespaces"].words == "bwrap: No permissions to create new namespace"
    assert found["user namespaces"].remedy


@pytest.mark.parametrize("number", range(3))
def test_the_switch_that_forbids_namespaces_is_named(monkeypatch, tmp_path, number):
    switches = []
    for index, (name, value, remedy) in enumerate(isolation.SWITCHES):
        path = tmp_path / name.rpartition("/")[2]
        path.write_text(f"{value}\n" if index == number else "7\n")
        switches.append((str(path), value, remedy))
    monkeypatch.setattr(isolation, "SWITCHES", switches)
    remedy = isolation._why_no_namespaces()
    assert remedy == isolation.SWITCHES[number][2]
    assert isolation.SWITCHES[number][0].rpartition("/")[2] in remedy


def test_a_container_is_recognised(monkeypatch, tmp_path):
    monkeypatch.setattr(isolation, "SWITCHES", ())
    monkeypatch.setattr(isolation, "CONTAINERS", [str(tmp_path / "none")])
    assert "podman" not in isolation._why_no_namespaces()
    monkeypatch.setattr(isolation, "CONTAINERS", [str(tmp_path)])
    assert "podman run --security-opt" in isolation._why_no_namespaces()


def test_the_doctor_looks_at_everything(monkeypatch):
    found = {finding.name: finding for finding in doctor()}
    assert {*NAMES, "Python", "numpy", "torch", "distributed", "copydetect", "browser"} == {*found}
    assert found["Python"].fine
    assert found["numpy"].fine
    monkeypatch.setattr(isolation, "PACKAGES", {"no-such-package": "get it"})
    monkeypatch.setattr(isolation, "BROWSERS", ("no-such-browser",))
    found = {finding.name: finding for finding in doctor()}
    assert found["no-such-package"] == Finding(
        "no-such-package", False, "is not installed", "get it"
    )
    assert not found["browser"].fine
