"""Attacks that leave something behind: files, shared memory, changes of the installation."""

from __future__ import annotations

from grading.attacks.attack import Attack, table

__all__ = ["WRITING"]

REFUSED = "PermissionError|FileNotFoundError|OSError|NotADirectoryError"


def left(action: str) -> str:
    """Return an attack that leaves something at `path`, outside of its own folders."""
    return f"""
import ctypes, os

path = os.path.join(OUTSIDE, MARK + NAME)


def target(x):
    {action}
    raise RuntimeError("left")
"""


WRITING = table(
    *(
        Attack(name, left(action), says=REFUSED, tells="file", provable=True)
        for name, action in (
            ("writes-a-file", 'open(path, "w").close()'),
            ("makes-a-folder", "os.mkdir(path)"),
            ("makes-a-symbolic-link", 'os.symlink("/", path)'),
            ("makes-a-hard-link", "os.link(SECRET_FILE, path)"),
            ("makes-a-fifo", "os.mkfifo(path)"),
            ("moves-a-file", "os.rename(os.path.join(OUTSIDE, 'movable'), path)"),
        )
    ),
    Attack(
        "writes-with-system-calls",
        left(
            "fd = ctypes.CDLL(None).open(path.encode(), os.O_CREAT | os.O_WRONLY, 0o600)\n"
            '    if fd < 0: raise PermissionError("refused")'
        ),
        says=REFUSED,
        tells="file",
        provable=True,
    ),
    Attack(
        "leaves-files-everywhere",
        """
        import os

        def target(x):
            places = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/etc", "/", "/proc",
                      "/home", os.path.expanduser("~"), ".", "/dev", "/dev/mqueue", "/sys", COURSE,
                      os.environ.get("TMPDIR", "/tmp"), os.path.dirname(SECRET_FILE)]
            for place in places:
                try:
                    with open(os.path.join(place, MARK + NAME), "w") as file:
                        file.write("a" * 100)
                except OSError:
                    pass
            return (x * x).cumsum()
        """,
        points=2,
        tells="file",
        provable=True,
    ),
    Attack(
        "changes-the-installation",
        """
        import os, sys

        def target(x):
            import numpy
            changed = []
            for module in (numpy, os, sys.modules["worker"]):
                path = os.path.realpath(module.__file__)
                for do in (
                    lambda: open(path, "a").close(),
                    lambda: os.chmod(path, 0o644),
                    lambda: os.utime(path, (os.stat(path).st_atime, os.stat(path).st_mtime)),
                    lambda: open(os.path.join(os.path.dirname(path), MARK + NAME), "w").close(),
                    lambda: os.setxattr(path, "user.a", b""),
                ):
                    try:
                        do()
                        changed.append(path)
                    except OSError:
                        pass
            raise RuntimeError(f"changed {changed}")
        """,
        says=r"changed \[\]",
    ),
    Attack(
        "spoils-a-file-outside",
        """
        import os

        def target(x):
            path = os.path.join(OUTSIDE, "kept")
            done = []
            for do in (
                lambda: os.truncate(path, 0),
                lambda: open(path, "r+b").write(b"spoilt"),
                lambda: os.chmod(path, 0o666),
                lambda: os.utime(path, (1, 1)),
                lambda: os.unlink(path),
            ):
                try:
                    do()
                    done.append(1)
                except OSError:
                    pass
            raise RuntimeError(f"spoilt {len(done)}")
        """,
        says="spoilt [01]$|spoilt 0|spoilt",
        tells="kept",
        provable=True,
    ),
    Attack(
        "fills-the-disk",
        """
        import os

        def target(x):
            written = 0
            mine = os.environ.get("TMPDIR", "/tmp")
            for folder in (mine, "/tmp", "/dev/shm", "/var/tmp", ".", "/"):
                for i in range(40):
                    path = os.path.join(folder, f"{MARK}{NAME}{i}")
                    try:
                        with open(path, "wb", buffering=0) as file:
                            for _ in range(16):
                                written += file.write(b"d" * 2 ** 20)
                    except OSError:
                        break
            raise RuntimeError("few" if written <= 200 * 2 ** 20 else f"wrote {written}")
        """,
        says="few|stopped after|killed|file size",
        tells="file",
    ),
    Attack(
        "makes-a-million-files",
        """
        import os

        def target(x):
            made = 0
            for folder in (os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm", "/var/tmp", "."):
                try:
                    for i in range(20_000):
                        open(os.path.join(folder, f"{MARK}{NAME}{i}"), "w").close()
                        made += 1
                except OSError:
                    pass
            raise RuntimeError("few" if made <= 5000 else f"made {made}")
        """,
        says="few|stopped after",
        tells="file",
    ),
    Attack(
        "writes-one-large-file",
        """
        import os

        def target(x):
            path = os.path.join(os.environ.get("TMPDIR", "/tmp"), "large")
            with open(path, "wb") as file:
                file.truncate(2 ** 40)
                raise RuntimeError("grew")
        """,
        says="OSError|PermissionError|FileNotFoundError|file",
    ),
    Attack(
        "opens-files-without-end",
        """
        def target(x):
            files = []
            try:
                for _ in range(5000):
                    files.append(open("/dev/null"))
            except OSError:
                pass
            raise RuntimeError("few" if len(files) <= 64 else f"{len(files)} files")
        """,
        says="few",
    ),
    Attack(
        "keeps-shared-memory",
        """
        import ctypes

        def target(x):
            libc = ctypes.CDLL(None)
            kept = []
            for name, arguments in (
                ("shmget", (0x5EC, 4096, 0o1777)),
                ("semget", (0x5EC, 1, 0o1777)),
                ("msgget", (0x5EC, 0o1777)),
                ("memfd_create", (b"a", 0)),
                ("add_key", (b"user", b"a", b"b", 1, -4)),
                ("mq_open", (b"a", 0o100 | 2, 0o600, 0)),
            ):
                if libc.syscall(CALLS[name], *arguments) >= 0:
                    kept.append(name)
            raise RuntimeError(f"kept {kept}")
        """,
        says=r"kept \[\]",
    ),
    Attack(
        "shares-memory-by-name",
        """
        from multiprocessing import shared_memory

        def target(x):
            block = shared_memory.SharedMemory(name=MARK + NAME, create=True, size=64)
            raise RuntimeError("shared")
        """,
        says="Error",
        tells="file",
    ),
    Attack(
        "preloads-a-library",
        """
        import os, subprocess

        def target(x):
            os.environ["LD_PRELOAD"] = os.path.join(OUTSIDE, "evil.so")
            os.environ["PYTHONPATH"] = OUTSIDE
            os.environ["PYTHONSTARTUP"] = SECRET_FILE
            os.putenv("LD_AUDIT", os.path.join(OUTSIDE, "evil.so"))
            return (x * x).cumsum()
        """,
        points=2,
    ),
    Attack(
        "dumps-its-core",
        """
        import os, resource

        def target(x):
            try:
                resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))
            except (OSError, ValueError):
                pass
            try:
                os.chdir(OUTSIDE)
            except OSError:
                pass
            os.abort()
        """,
        says="crashed|abort",
        tells="core",
    ),
)
