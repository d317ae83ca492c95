r"""Which isolation does this machine offer? Found by trying, and what to do where it fails.

- `"namespaces"`: bubblewrap gives the zygote a view of its own, without network; each submission
  gets namespaces of its own within it; Landlock, if the kernel has it, and seccomp stand behind.
- `"landlock"`: Landlock and seccomp alone. A submission sees which files exist and which
  processes run, but opens, changes and signals none of them. It cannot write files. As root it
  may start any number of threads, since the kernel does not count those of root; in namespaces
  nobody is root.
- `"none"`: time and memory have their limits, and that is all.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from coursepkg.grading.syscalls import program
from coursepkg.grading.view import SCRATCH, View, plant, python

__all__ = ["Finding", "IsolationError", "choose", "command", "doctor", "probe"]

#: What each isolation is built of, the best one first.
NEEDED = {
    "namespaces": ("Linux", "libseccomp", "bubblewrap", "user namespaces"),
    "landlock": ("Linux", "libseccomp", "Landlock"),
    "none": ("Linux",),
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

PACKAGES = {
    "numpy": "install the course: `pip install -e .`",
    "torch": "exercises in PyTorch need it: `pip install torch`",
    "distributed": "grading on several machines needs it: `pip install -e '.[cluster]'`",
    "copydetect": "the search for similar work needs it: `pip install -e '.[similarity]'`",
}

CONTAINER = "grade in the container that the course ships (see Containerfile and the guide)"
#: From this version on, Landlock keeps files from being cut short.
LANDLOCK = 3

KEEPS = "keeps files closed"
UNCOUNTED = "as root, Landlock alone does not bound threads: run as an ordinary user"

TRY_LANDLOCK = """
import os
if confine.landlock_version() < {least}:
    raise SystemExit("the kernel's Landlock is older than version {least}, or not there")
confine.restrict_files([])
try:
    os.listdir("/")
except PermissionError:
    raise SystemExit(0)
raise SystemExit("Landlock is there and forbids nothing")
"""
TRY_NAMESPACES = "confine.separate({scratch!r}, 1)"

#: Namespaces of the zygote. Root needs none of its own, and becomes somebody else in them.
AS_USER = ("--unshare-all",)
AS_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
)
BECOME_NOBODY = "from worker.confine import become_nobody; become_nobody()\n"

#: A switch of the system, the value that forbids namespaces to users, and the remedy.
SWITCHES = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts user namespaces: `sudo sysctl -w "
        "kernel.apparmor_restrict_unprivileged_userns=0`, or give bwrap, and what it starts, an "
        "AppArmor profile with `userns`",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user namespaces are switched off: `sudo sysctl user.max_user_namespaces=10000`",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "user namespaces are kept for root: `sudo sysctl kernel.unprivileged_userns_clone=1`",
    ),
)
IN_CONTAINER = (
    "this is a container: start it with `podman run --security-opt seccomp=unconfined "
    "--security-opt unmask=ALL --security-opt label=disable`, so that namespaces can be made in it"
)
CONTAINERS = ("/run/.containerenv", "/.dockerenv")


class IsolationError(RuntimeError):
    r"""The isolation that was asked for is not to be had on this machine."""


@dataclass(frozen=True)
class Finding:
    r"""One thing that was tried.

    Attributes
    ----------
    name : str
    fine : bool
    words : str
        What was found.
    remedy : str
        What to do about it, in one sentence; "" if nothing.
    """

    name: str
    fine: bool
    words: str
    remedy: str = ""


def probe() -> list[Finding]:
    r"""Try what isolation is built of.

    Returns
    -------
    list of Finding
        Of names `"Linux"`, `"libseccomp"`, `"Landlock"`, `"bubblewrap"` and
        `"user namespaces"`; on other systems, of the first alone.
    """
    if sys.platform != "linux":
        return [Finding("Linux", False, f"this is {sys.platform}", CONTAINER)]
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        farm = Path(folder, "farm")
        plant(farm, "numpy")
        return [
            Finding("Linux", True, "this is Linux"),
            _seccomp(),
            _landlock(farm),
            _bubblewrap(),
            _namespaces(farm),
        ]


def _seccomp() -> Finding:
    try:
        words = f"the filter of system calls has {len(program()) // 8} instructions"
        return Finding("libseccomp", True, words)
    except (ImportError, OSError, RuntimeError) as error:
        remedy = "install it: `sudo apt install libseccomp2`, `pip install pyseccomp`"
        return Finding("libseccomp", False, f"cannot be used: {error}", remedy)


def _landlock(farm: Path) -> Finding:
    problem = _problem(command("landlock", farm, _trial(TRY_LANDLOCK.format(least=LANDLOCK))))
    if not problem:
        return Finding("Landlock", True, KEEPS if os.geteuid() else f"{KEEPS}; {UNCOUNTED}")
    remedy = "use Linux 6.2 or later, with `landlock` in the kernel's list of security modules"
    return Finding("Landlock", False, problem, remedy)


def _bubblewrap() -> Finding:
    if found := shutil.which("bwrap"):
        return Finding("bubblewrap", True, found)
    remedy = "install it: `sudo apt install bubblewrap` (Fedora: `sudo dnf install bubblewrap`)"
    return Finding("bubblewrap", False, "there is no `bwrap`", remedy)


def _namespaces(farm: Path) -> Finding:
    if not shutil.which("bwrap"):
        return Finding("user namespaces", False, "cannot be tried without bubblewrap", "see there")
    trial = _trial(TRY_NAMESPACES.format(scratch=SCRATCH))
    problem = _problem(command("namespaces", farm, trial))
    if not problem:
        return Finding("user namespaces", True, "can be made, and one within the other")
    return Finding("user namespaces", False, problem, _why_no_namespaces())


def _why_no_namespaces() -> str:
    for switch, value, remedy in SWITCHES:
        path = Path(switch)
        if path.exists() and path.read_text().strip() == value:
            return remedy
    if any(Path(path).exists() for path in CONTAINERS):
        return IN_CONTAINER
    return "ask whoever runs this machine to permit user namespaces, or " + CONTAINER


def _trial(code: str) -> str:
    return f"from worker import confine\n{code}"


def _problem(arguments: list[str]) -> str:
    r"""Run a command, and return the last line that it says if it fails."""
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, cwd="/", env={}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return (said or [f"ended with code {done.returncode}"])[-1] if done.returncode else ""


def command(isolation: str, farm: Path, code: str) -> list[str]:
    r"""Return the command that runs Python code with a farm to import from, isolated or not.

    For `"landlock"` the code has to confine itself.
    """
    root = isolation == "namespaces" and not os.geteuid()
    found = f"import sys; sys.path.append({str(farm)!r})\n"
    code = f"{found}{BECOME_NOBODY if root else ''}{code}"
    plain = [str(python()), "-P", "-s", "-S", "-B", "-X", "utf8", "-c", code]
    if isolation != "namespaces":
        return plain
    bwrap = shutil.which("bwrap") or "bwrap"
    mounts = View.of(farm).mounts()
    return [
        bwrap,
        *(AS_ROOT if root else AS_USER),
        "--new-session",
        *mounts,
        "--chdir",
        "/",
        *plain,
    ]


@cache
def _tried() -> tuple[Finding, ...]:
    return tuple(probe())


def choose(wanted: str = "auto", tried: Callable[[], Iterable[Finding]] = _tried) -> str:
    r"""Return the isolation to be used.

    Parameters
    ----------
    wanted : str
        `"namespaces"`, `"landlock"`, `"none"`, or `"auto"` for the better one of the first two.
    tried : callable, optional
        Gives what `probe` has found; the default asks once.

    Raises
    ------
    IsolationError
        If this machine does not offer it. The message says why, and what to do.
    ValueError
        If there is no such isolation.

    Examples
    --------
    >>> choose("none")
    'none'
    """
    if wanted not in ("auto", *NEEDED):
        raise ValueError(f"isolation={wanted!r}; choose auto, {', '.join(NEEDED)}")
    if wanted == "none" and sys.platform == "linux":
        return wanted
    findings = {finding.name: finding for finding in tried()}
    lacking: dict[str, Finding] = {}
    for isolation in ("namespaces", "landlock") if wanted == "auto" else (wanted,):
        found = [findings[name] for name in NEEDED[isolation] if name in findings]
        missing = {finding.name: finding for finding in found if not finding.fine}
        if not missing:
            return isolation
        lacking |= missing
    raise IsolationError(_refusal(wanted, lacking.values()))


def _refusal(wanted: str, lacking: Iterable[Finding]) -> str:
    what = "no isolation" if wanted == "auto" else f"no isolation {wanted!r}"
    lines = [f"{what} is available here, and without it no submission is run:"]
    lines += [f"- {finding.name}: {finding.words}; {finding.remedy}" for finding in lacking]
    if all(finding.name != "Linux" for finding in lacking):
        lines.append(
            "To run submissions all the same, with nothing between them and this machine, ask for "
            "it by name: --isolation none"
        )
    return "\n".join(lines)


def doctor() -> list[Finding]:
    r"""Try what isolation is built of, and look for what else grading can use."""
    return [
        Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "use 3.11 or later"),
        *probe(),
        *(_package(name, remedy) for name, remedy in PACKAGES.items()),
        _browser(),
    ]


def _package(name: str, remedy: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "is not installed", remedy)


def _browser() -> Finding:
    for name in BROWSERS:
        if found := shutil.which(name):
            return Finding("browser", True, found)
    remedy = "install one for the tests of the site: `sudo apt install chromium`"
    return Finding("browser", False, f"there is none of {', '.join(BROWSERS)}", remedy)
