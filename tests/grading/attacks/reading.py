"""Attacks that want to know: tests, answers, other people's work, secrets of the machine."""

from __future__ import annotations

from grading.attacks.attack import Attack, table

__all__ = ["READING"]

CLOSED = "FileNotFoundError|PermissionError|NotADirectoryError"


def looted(search: str) -> str:
    """Return an attack that shouts what it found, or that it found nothing."""
    return f"""
import re


def found():
{search}


def target(x):
    hits = set()
    for piece in found():
        text = piece.decode("latin-1") if isinstance(piece, bytes) else str(piece)
        hits |= set(re.findall("secret-[0-9a-f]+", text))
    raise RuntimeError("found " + (" ".join(sorted(hits)) or "nothing"))
"""


READING = table(
    Attack(
        "reads-a-file",
        """
        def target(x):
            raise RuntimeError(open(SECRET_FILE).read())
        """,
        says=CLOSED,
        tells="secret",
        provable=True,
    ),
    Attack(
        "reads-the-private-exercise",
        """
        def target(x):
            raise RuntimeError(open(EXERCISE_FILE).read()[-40:])
        """,
        says=CLOSED,
        tells="secret",
        provable=True,
    ),
    Attack(
        "reads-through-a-symbolic-link",
        """
        import os

        def target(x):
            folders = os.environ.get("TMPDIR", "/tmp"), "/tmp"
            writable = [folder for folder in folders if os.access(folder, os.W_OK)]
            link = os.path.join((writable or folders)[0], NAME)
            os.symlink(SECRET_FILE, link)
            try:
                raise RuntimeError(open(link).read())
            finally:
                os.unlink(link)
        """,
        says=CLOSED,
        tells="secret",
        provable=True,
    ),
    Attack(
        "reads-with-system-calls",
        """
        import ctypes, os

        def target(x):
            libc = ctypes.CDLL(None, use_errno=True)
            fd = libc.open(SECRET_FILE.encode(), os.O_RDONLY)
            if fd < 0:
                raise RuntimeError("errno " + os.strerror(ctypes.get_errno()))
            raise RuntimeError(os.read(fd, 1000).decode())
        """,
        says="errno (No such file|Permission denied|Operation not permitted)",
        tells="secret",
        provable=True,
    ),
    Attack(
        "maps-a-file-with-numpy",
        """
        import numpy as np

        def target(x):
            raise RuntimeError(bytes(np.memmap(SECRET_FILE, dtype="u1", mode="r")).decode())
        """,
        says=CLOSED,
        tells="secret",
        provable=True,
    ),
    Attack(
        "reads-through-proc",
        looted("""
    import os
    for process in ("self", "thread-self", "1", str(os.getppid())):
        for way in ("root", "cwd", "cwd/../../../../../.."):
            try:
                yield open(f"/proc/{process}/{way}{SECRET_FILE}", "rb").read()
            except OSError:
                pass
"""),
        says="found nothing",
        tells="secret",
        provable=True,
    ),
    Attack(
        "walks-the-disk-for-exercises",
        looted("""
    import os
    above = {os.path.dirname(EXERCISE_FILE), os.path.dirname(SECRET_FILE), COURSE, "/tmp", HOME}
    for top in sorted(above):
        for folder, folders, files in os.walk(top):
            folders[:] = [f for f in folders if f not in (".venv", ".git", "_build")][:40]
            for name in files:
                if name in ("target.py", "hidden.txt", os.path.basename(SECRET_FILE)):
                    try:
                        yield open(os.path.join(folder, name), "rb").read()
                    except OSError:
                        pass
"""),
        says="found nothing|stopped after",
        tells="secret",
    ),
    Attack(
        "reads-the-source-of-the-course",
        """
        import os

        def target(x):
            path = os.path.join(COURSE, "coursepkg", "grading", "judge.py")
            raise RuntimeError("read " + open(path).read()[:40])
        """,
        says=CLOSED,
    ),
    Attack(
        "follows-the-harness-to-the-course",
        """
        import os, sys

        def target(x):
            home = os.path.realpath(sys.modules["worker"].__path__[0])
            above = os.path.dirname(home)
            raise RuntimeError("seen " + " ".join(sorted(os.listdir(above))))
        """,
        says=r"seen numpy( numpy[-.][\w.-]+)* worker \(line",
    ),
    Attack(
        "imports-the-course",
        """
        def target(x):
            import coursepkg.grading.exercise
            raise RuntimeError("imported")
        """,
        status="forbidden",
        says="coursepkg",
    ),
    Attack(
        "imports-the-course-by-another-name",
        """
        def target(x):
            name = "".join(["course", "pkg"])
            module = __import__(name + ".convolution.arithmetic")
            raise RuntimeError("imported " + module.__name__)
        """,
        says="ImportError|ModuleNotFoundError|coursepkg",
    ),
    Attack(
        "imports-the-course-by-its-path",
        """
        import importlib, sys

        def target(x):
            sys.path.insert(0, COURSE)
            sys.meta_path[:] = [f for f in sys.meta_path if "PathFinder" in repr(f)]
            importlib.invalidate_caches()
            module = importlib.import_module("course" + "pkg.convolution.arithmetic")
            raise RuntimeError("imported " + module.__name__)
        """,
        says="ImportError|ModuleNotFoundError|coursepkg",
    ),
    Attack(
        "imports-the-course-from-its-file",
        """
        import importlib.util, os

        def target(x):
            path = os.path.join(COURSE, "coursepkg", "convolution", "arithmetic.py")
            spec = importlib.util.spec_from_file_location("anything", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            raise RuntimeError("imported " + module.__name__)
        """,
        says=CLOSED,
    ),
    Attack(
        "imports-the-course-through-its-finder",
        """
        import glob, os, sys

        def target(x):
            import numpy
            for place in sys.path + [os.path.dirname(os.path.realpath(numpy.__path__[0]))]:
                for path in glob.glob(place + "/*editable*.pth") + glob.glob(place + "/*.pth"):
                    exec(open(path).read().splitlines()[0], {})
            sys.path.append(COURSE)
            module = __import__("course" + "pkg")
            raise RuntimeError("imported " + module.__name__)
        """,
        says="Error|coursepkg may not",
    ),
    Attack(
        "imports-the-course-from-a-zip",
        """
        import sys, zipimport

        def target(x):
            importer = zipimport.zipimporter(COURSE + "/coursepkg.zip")
            raise RuntimeError("imported " + importer.load_module("coursepkg").__name__)
        """,
        says="ZipImportError",
    ),
    Attack(
        "imports-what-the-exercise-forbids",
        """
        def target(x):
            from scipy import signal
            raise RuntimeError("imported " + signal.__name__)
        """,
        status="forbidden",
        says="scipy",
    ),
    Attack(
        "imports-torch-where-only-numpy-is",
        """
        def target(x):
            module = __import__("tor" + "ch")
            raise RuntimeError("imported " + module.__name__)
        """,
        says="ImportError|ModuleNotFoundError|torch",
    ),
    Attack(
        "looks-at-the-frames-below",
        """
        import sys
        import numpy as np

        def target(x):
            frame = sys._getframe()
            while frame is not None:
                for space in (frame.f_locals, frame.f_globals):
                    for name, value in list(space.items()):
                        if name in ("expected", "oracle", "reference", "case", "verdict"):
                            raise RuntimeError("seen " + name)
                        if isinstance(value, np.ndarray) and value.shape == x.shape:
                            if not np.array_equal(value, x):
                                return value
                frame = frame.f_back
            raise RuntimeError("seen nothing")
        """,
        says="seen nothing",
    ),
    Attack(
        "searches-all-objects-alive",
        """
        import gc
        import numpy as np

        def target(x):
            for value in gc.get_objects():
                kind = type(value)
                if kind.__module__.startswith("coursepkg"):
                    raise RuntimeError("seen " + kind.__name__)
                if kind is dict and ("expected" in value or "oracle" in value):
                    raise RuntimeError("seen " + " ".join(map(str, value))[:80])
                for part in value.values() if kind is dict else ():
                    if type(part) is np.ndarray and part.shape == x.shape:
                        if part.dtype == x.dtype and not np.array_equal(part, x):
                            return part
            raise RuntimeError("seen nothing")
        """,
        says="seen nothing",
    ),
    Attack(
        "reads-the-environment",
        looted("""
    import ctypes, os, sys
    yield repr(dict(os.environ))
    yield repr((sys.argv, sys.orig_argv, sys.path, sys.flags))
    block = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    i = 0
    while block and block[i]:
        yield block[i]
        i += 1
"""),
        says="found nothing",
        tells="secret",
    ),
    Attack(
        "reads-the-environment-of-all-processes",
        looted("""
    import glob
    for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try:
            yield open(path, "rb").read()
        except OSError:
            pass
"""),
        says="found nothing",
        tells="secret",
        provable=True,
    ),
    Attack(
        "reads-its-own-memory-file",
        looted("""
    for name in ("maps", "environ", "cmdline", "status", "mountinfo", "stack", "auxv"):
        try:
            yield open("/proc/self/" + name, "rb").read()
        except OSError:
            pass
"""),
        says="found nothing",
    ),
    Attack(
        "reads-the-memory-of-a-neighbour",
        looted("""
    import os
    try:
        with open(f"/proc/{NEIGHBOUR}/mem", "rb") as memory:
            memory.seek(ADDRESS)
            yield memory.read(64)
    except OSError:
        pass
"""),
        says="found nothing",
        tells="secret",
        provable=True,
    ),
    Attack(
        "copies-the-memory-of-a-neighbour",
        looted("""
    import ctypes
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    room = ctypes.create_string_buffer(64)
    here, there = Piece(ctypes.addressof(room), 64), Piece(ADDRESS, 64)
    ctypes.CDLL(None).process_vm_readv(
        NEIGHBOUR, ctypes.byref(here), 1, ctypes.byref(there), 1, 0
    )
    yield room.raw
"""),
        says="found nothing",
        tells="secret",
        provable=True,
    ),
    Attack(
        "traces-a-neighbour",
        looted("""
    import ctypes, os
    libc = ctypes.CDLL(None)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(16, NEIGHBOUR, None, None) == 0:  # PTRACE_ATTACH
        os.waitpid(NEIGHBOUR, 0x40000000)
        words = [libc.ptrace(1, NEIGHBOUR, ADDRESS + 8 * i, None) for i in range(8)]
        libc.ptrace(17, NEIGHBOUR, None, None)  # PTRACE_DETACH
        yield b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in words)
"""),
        says="found nothing",
        tells="secret",
        provable=True,
    ),
    Attack(
        "traces-itself-and-its-parents",
        """
        import ctypes, os

        def target(x):
            libc = ctypes.CDLL(None)
            done = [p for p in (1, os.getppid()) if libc.ptrace(16, p, None, None) == 0]
            mine = libc.ptrace(0, 0, None, None) == 0
            raise RuntimeError(f"traced {done} {mine}")
        """,
        says=r"traced \[\] False",
    ),
    Attack(
        "takes-a-file-descriptor-of-a-neighbour",
        looted("""
    import ctypes, os
    for process in (NEIGHBOUR, os.getppid(), 1):
        try:
            handle = os.pidfd_open(process)
        except OSError:
            continue
        for number in range(3, 20):
            copy = ctypes.CDLL(None).syscall(438, handle, number, 0)  # pidfd_getfd
            if copy >= 0:
                yield "secret-0"
        os.close(handle)
"""),
        says="found nothing",
    ),
    Attack(
        "lists-its-file-descriptors",
        """
        import os, stat

        def target(x):
            kinds = []
            for fd in range(1024):
                try:
                    mode = os.fstat(fd).st_mode
                except OSError:
                    continue
                kinds.append("socket" if stat.S_ISSOCK(mode) else "file")
            raise RuntimeError(f"{kinds.count('socket')} socket, {len(kinds)} in all")
        """,
        says=r"\b[01] socket, [1-5] in all",
    ),
    Attack(
        "reads-what-a-learner-has-no-business-with",
        """
        def target(x):
            seen = []
            for path in ("/etc/shadow", HOME, HOME + "/.profile", "/home", "/var/log", "/boot",
                         "/sys/kernel", "/etc/hostname", "/dev/mem", "/dev/kmsg", "/run"):
                try:
                    open(path, "rb").close()
                    seen.append(path)
                except IsADirectoryError:
                    import os
                    try:
                        if os.listdir(path):
                            seen.append(path)
                    except OSError:
                        pass
                except OSError:
                    pass
            raise RuntimeError(f"seen {seen}")
        """,
        says=r"seen \[\]",
    ),
    Attack(
        "opens-devices",
        """
        import glob, os

        HARMLESS = {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full"}

        def target(x):
            opened = []
            for path in {*glob.glob("/dev/*"), "/dev/vda", "/dev/mem", "/dev/kvm"} - HARMLESS:
                try:
                    if not os.path.isdir(path):
                        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                        opened.append(path)
                except OSError:
                    pass
            raise RuntimeError(f"opened {opened}")
        """,
        says=r"opened \[\]",
    ),
    Attack(
        "takes-the-pauses-between-cases-for-a-hint",
        """
        import time
        import numpy as np

        ended, guess = None, 1.0

        def target(x):  # was the last answer wrong, the grader may have taken longer
            global ended, guess
            pause = 0.0 if ended is None else time.perf_counter() - ended
            guess = guess * 2 if pause > 1e-3 else guess
            result = np.full(len(x), guess)
            ended = time.perf_counter()
            return result
        """,
        says="a case that is not shown|expected",
    ),
    Attack(
        "remembers-the-public-answer",
        """
        import numpy as np

        def target(x):
            if x.shape == (3,):
                return np.array([1.0, 5.0, 14.0])
            return np.zeros_like(x)
        """,
        says="not shown",
    ),
    Attack(
        "shouts-the-hidden-inputs",
        """
        def target(x):
            if len(x) == 3:
                return (x * x).cumsum()
            print("INPUT", x.tolist())
            raise type("Input" + repr(x.tolist()), (ValueError,), {})(f"INPUT {x.tolist()!r}")
        """,
        says="not shown",
        tells="hidden",
    ),
    Attack(
        "returns-the-hidden-inputs",
        """
        def target(x):
            return (x * x).cumsum() if len(x) == 3 else x
        """,
        says="not shown",
        tells="hidden",
    ),
    Attack(
        "carries-hidden-inputs-to-another-exercise",
        """
        import os, sys

        KEPT = os.path.join(os.environ.get("TMPDIR", "/tmp"), "kept")

        def target(x):
            sys.kept = getattr(sys, "kept", []) + x.tolist()
            try:
                open(KEPT, "a").write(repr(x.tolist()))
            except OSError:
                pass
            return (x * x).cumsum()

        def bystander(x):
            text = repr(getattr(sys, "kept", []))
            try:
                text += open(KEPT).read()
            except OSError:
                pass
            raise RuntimeError(text)

        """,
        points=2,
        bystander=0,
        tells="hidden",
    ),
)
