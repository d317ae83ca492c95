"""Make the course's environment in `.venv`; nothing happens if it is up to date.

    python3 tools/bootstrap.py

Needs Python 3.11 or newer with the `venv` module, and the network the first time. The
installation is repeated when `pyproject.toml` or `constraints.txt` changes, or when an
earlier one was interrupted. This file itself runs on any Python, to say so when it is too old.
"""

import hashlib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "installed.sha256")
PYTHON = os.path.join(VENV, *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"]))


def fingerprint():
    """Return a hash of what decides which packages are installed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def is_current(wanted):
    """Return whether the environment was installed from these very files."""
    try:
        with open(STAMP) as file:
            return file.read() == wanted and os.path.exists(PYTHON)
    except OSError:
        return False


def check_python():
    """Stop with one clear line if this Python cannot make the environment."""
    if sys.version_info < (3, 11):
        sys.exit(
            "The course needs Python 3.11 or newer, but this is Python %d.%d (%s). "
            "Install a newer one and run: make book PYTHON=python3.11"
            % (sys.version_info[0], sys.version_info[1], sys.executable)
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            "This Python cannot make virtual environments: its venv module is missing. "
            "On Debian and Ubuntu run: sudo apt install python3-venv"
        )


def run(command):
    """Run pip and pass on what it says, but for the long list of what is there already."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, universal_newlines=True)
    for line in process.stdout:
        if not line.startswith("Requirement already satisfied"):
            sys.stdout.write(line)
            sys.stdout.flush()
    process.stdout.close()
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)


def main():
    """Make or update the environment."""
    check_python()
    wanted = fingerprint()
    if is_current(wanted):
        return
    print("Installing the course's environment into .venv (a few minutes, once) ...")
    sys.stdout.flush()
    subprocess.check_call([sys.executable, "-m", "venv", VENV])
    install = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    run(install + ["-c", "constraints.txt", "-e", ".[book,lab,test,dev,cluster,similarity]"])
    with open(STAMP, "w") as file:
        file.write(wanted)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit("Installing failed (%s). Mend what is said above and run it again." % error)
    except KeyboardInterrupt:
        sys.exit("Interrupted; run it again to go on.")
