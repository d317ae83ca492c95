"""Attacks that end, hang or exhaust the process they run in."""

from __future__ import annotations

import os

from grading.attacks.attack import Attack, table

__all__ = ["ENDING"]

STOPPED = "stopped after"
ROOT = os.geteuid() == 0
UNCOUNTED = "the kernel does not count the threads of root"


ENDING = table(
    Attack(
        "exits-at-once", "import os\n\ndef target(x):\n    os._exit(0)", says="ended the program"
    ),
    Attack(
        "exits-with-a-code",
        "import os\n\ndef target(x):\n    os._exit(3)",
        says="ended the program",
    ),
    Attack(
        "raises-system-exit",
        "import sys\n\ndef target(x):\n    sys.exit(0)",
        says="SystemExit|ended",
    ),
    Attack("calls-quit", "def target(x):\n    quit()", says="SystemExit|NameError|ended"),
    Attack(
        "raises-keyboard-interrupt",
        "def target(x):\n    raise KeyboardInterrupt",
        says="KeyboardInterrupt",
    ),
    Attack(
        "raises-generator-exit", "def target(x):\n    raise GeneratorExit", says="GeneratorExit"
    ),
    Attack(
        "raises-stop-iteration", "def target(x):\n    raise StopIteration", says="StopIteration"
    ),
    Attack("aborts", "import os\n\ndef target(x):\n    os.abort()", says="crashed|abort"),
    Attack(
        "reads-address-zero",
        "import ctypes\n\ndef target(x):\n    return ctypes.string_at(0)",
        says="segmentation fault",
    ),
    Attack(
        "kills-itself",
        "import os, signal\n\ndef target(x):\n    os.kill(os.getpid(), signal.SIGKILL)",
        says="SIGKILL",
    ),
    Attack(
        "stops-itself",
        """
        import os, signal

        def target(x):
            os.kill(os.getpid(), signal.SIGSTOP)
            return (x * x).cumsum()
        """,
        says="stopped after|PermissionError",
        points=0,
    ),
    Attack(
        "sends-itself-every-signal",
        """
        import os, signal

        def target(x):
            for number in sorted(signal.valid_signals() - {9, 19}):
                try:
                    signal.signal(number, signal.SIG_IGN)
                    os.kill(os.getpid(), number)
                    signal.raise_signal(number)
                except OSError:
                    pass
            while True:
                pass
        """,
        says=STOPPED,
    ),
    Attack(
        "loops-in-python",
        "def target(x):\n    while True:\n        pass",
        says="stopped after .*while True|stopped after .*pass",
    ),
    Attack(
        "loops-in-compiled-code",
        "import itertools\n\ndef target(x):\n    return sum(itertools.repeat(0))",
        says=STOPPED,
    ),
    Attack(
        "backtracks-without-end",
        'import re\n\ndef target(x):\n    return re.match("(a+)+$", "a" * 60 + "b")',
        says=STOPPED,
    ),
    Attack("raises-a-number-to-a-tower", "def target(x):\n    return 9 ** 9 ** 9", says=STOPPED),
    Attack(
        "swallows-the-alarm",
        """
        def target(x):
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass
        """,
        says=STOPPED,
    ),
    Attack(
        "resets-the-alarm",
        """
        import signal

        def target(x):
            for number in (signal.SIGALRM, signal.SIGPROF, signal.SIGVTALRM, signal.SIGXCPU):
                signal.signal(number, signal.SIG_IGN)
            for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
                signal.setitimer(timer, 0)
            while True:
                pass
        """,
        says=STOPPED,
    ),
    Attack(
        "blocks-all-signals",
        """
        import signal

        def target(x):
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            while True:
                pass
        """,
        says=STOPPED,
    ),
    Attack(
        "swallows-the-alarm-and-answers",
        """
        import time

        def target(x):
            begin = time.process_time()
            while time.process_time() - begin < 0.6:
                try:
                    while time.process_time() - begin < 0.6:
                        pass
                except BaseException:
                    pass
            return (x * x).cumsum()
        """,
        says=STOPPED,
    ),
    Attack(
        "resets-the-alarm-and-answers",
        """
        import signal, time

        def target(x):
            for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF):
                signal.setitimer(timer, 0)
            begin = time.process_time()
            while time.process_time() - begin < 0.6:
                pass
            return (x * x).cumsum()
        """,
        says=STOPPED,
    ),
    Attack(
        "sleeps-without-end",
        """
        import time

        def target(x):
            while True:
                try:
                    time.sleep(1000)
                except BaseException:
                    pass
        """,
        says=STOPPED,
    ),
    Attack(
        "works-in-a-thread-and-waits",
        """
        import threading

        def work():
            while True:
                pass

        def target(x):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        """,
        says=STOPPED,
    ),
    Attack(
        "hangs-while-it-is-defined",
        """
        def endless():
            while True:
                pass

        TABLE = endless()

        def target(x):
            return TABLE
        """,
        says=STOPPED,
        status="failed",
    ),
    Attack(
        "dies-while-it-is-defined",
        """
        import os

        def ended(function):
            os._exit(4)

        @ended
        def target(x):
            return x
        """,
        says="ended the program",
        status="failed",
    ),
    Attack(
        "is-slow-to-compile",
        "def target(x):\n    return x\n\ntarget.table = " + "[" * 90 + "0" + "]" * 90,
        says="",
    ),
    Attack("recurses-without-end", "def target(x):\n    return target(x)", says="RecursionError"),
    Attack(
        "recurses-deeper-than-the-stack",
        """
        import sys

        def target(x):
            sys.setrecursionlimit(2 ** 30)
            nest = []
            for _ in range(2_000_000):
                nest = [nest]
            return repr(nest)
        """,
        says="segmentation fault|memory|RecursionError|stopped after",
    ),
    Attack(
        "recurses-in-every-handler",
        """
        def target(x):
            try:
                target(x)
            except BaseException:
                target(x)
        """,
        says="stopped after|RecursionError|segmentation|crashed|abort",
    ),
    Attack(
        "asks-for-40-gigabytes",
        'import numpy as np\n\ndef target(x):\n    return np.zeros(40 * 2 ** 30, "u1")[: len(x)]',
        says="needed more than 1024 MB",
    ),
    Attack(
        "takes-memory-piece-by-piece",
        """
        import numpy as np

        def target(x):
            kept = []
            while len(kept) < 100:
                kept.append(np.ones(2 ** 25, "u1"))
                kept[-1] = np.zeros(2 ** 26, "u1")
            raise RuntimeError(f"{len(kept)} pieces")
        """,
        says="needed more than 1024 MB",
    ),
    Attack(
        "takes-memory-and-swallows-the-error",
        """
        import numpy as np

        def target(x):
            kept = []
            for size in (2 ** 30, 2 ** 28, 2 ** 24, 2 ** 20, 2 ** 12, 100):
                for _ in range(50):
                    try:
                        kept.append(np.empty(size, "u1"))
                    except MemoryError:
                        break
            return (x * x).cumsum()
        """,
        points=2,
    ),
    Attack(
        "takes-memory-from-the-system",
        """
        import ctypes

        def target(x):
            libc = ctypes.CDLL(None)
            libc.mmap.restype = ctypes.c_void_p
            number, size = ctypes.c_int, ctypes.c_size_t
            libc.mmap.argtypes = [ctypes.c_void_p, size, number, number, number, size]
            got = 0
            for _ in range(400):
                place = libc.mmap(None, 2 ** 26, 3, 0x22, -1, 0)
                if place in (None, 2 ** 64 - 1):
                    break
                got += 64
            raise RuntimeError("at most 1024 MB" if got <= 1024 + 256 else f"took {got} MB")
        """,
        says="at most 1024 MB",
    ),
    Attack(
        "raises-its-own-limits",
        """
        import resource

        def target(x):
            raised = []
            for name in ("AS", "CPU", "FSIZE", "NOFILE", "CORE", "NPROC", "DATA", "STACK"):
                kind = getattr(resource, "RLIMIT_" + name)
                soft, hard = resource.getrlimit(kind)
                if name in ("AS", "FSIZE", "CORE", "NOFILE") and hard == -1:
                    raised.append("no limit " + name)
                for wanted in ((-1, -1), (hard + 1, hard + 1)):
                    if hard != -1:
                        try:
                            resource.setrlimit(kind, wanted)
                            raised.append(name)
                        except (OSError, ValueError):
                            pass
            raise RuntimeError(f"raised {raised}")
        """,
        says=r"raised \[\]",
    ),
    Attack(
        "raises-the-limits-of-a-neighbour",
        """
        import resource

        def target(x):
            try:
                resource.prlimit(NEIGHBOUR, resource.RLIMIT_NOFILE, (8, 8))
            except (OSError, ValueError) as error:
                raise RuntimeError("refused: " + type(error).__name__)
            raise RuntimeError("reached")
        """,
        says="refused",
        tells="neighbour",
        provable=True,
    ),
    Attack(
        "prints-a-gigabyte",
        """
        def target(x):
            line = "p" * 2 ** 20
            for _ in range(1024):
                print(line)
            return (x * x).cumsum()
        """,
        says="",
        points=2,
        differs={},
    ),
    Attack(
        "prints-without-end",
        'def target(x):\n    while True:\n        print("more")',
        says="stopped after|printed",
    ),
    Attack(
        "writes-past-python-to-stdout",
        """
        import os, sys

        def target(x):
            for stream in (1, 2):
                for _ in range(64):
                    os.write(stream, b"o" * 2 ** 20)
            return (x * x).cumsum()
        """,
        says="File too large",
    ),
    Attack(
        "replies-with-half-a-gigabyte",
        "def target(x):\n    return bytes(500_000_000)",
        says="too large|stopped after",
    ),
    Attack(
        "replies-with-80-megabytes",
        "import numpy as np\n\ndef target(x):\n    return np.zeros(10_000_000)",
        says="too large",
    ),
    Attack(
        "replies-with-a-long-text",
        "def target(x):\n    return 'é' * 60_000_000",
        says="too large|stopped after",
    ),
    Attack(
        "starts-a-thousand-threads",
        """
        import threading, time

        def target(x):
            threading.stack_size(32768)
            count = 0
            try:
                for _ in range(1000):
                    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
                    count += 1
            except RuntimeError:
                pass
            raise RuntimeError("few" if count <= 256 else f"{count} threads")
        """,
        says="few",
        differs={"landlock": {"says": "1000 threads", "why": UNCOUNTED}} if ROOT else {},
    ),
    Attack(
        "forks-again-and-again",
        """
        import os, time

        def target(x):
            count = 0
            for _ in range(100):
                try:
                    if os.fork() == 0:
                        time.sleep(1)
                        os._exit(0)
                    count += 1
                except OSError:
                    break
            raise RuntimeError(f"forked {count}")
        """,
        says="forked 0|crashed|killed|bad system call",
    ),
    Attack(
        "starts-programs",
        """
        import os, subprocess

        def target(x):
            done = []
            for start in (
                lambda: subprocess.run(["/bin/sh", "-c", "echo a"], check=True),
                lambda: os.system("true") and 1 / 0,
                lambda: os.posix_spawn("/bin/true", ["true"], {}),
                lambda: os.popen("echo a").read()[0],
                lambda: os.execv("/bin/true", ["true"]),
            ):
                try:
                    start()
                    done.append(1)
                except BaseException:
                    pass
            raise RuntimeError(f"started {len(done)}")
        """,
        says="started 0",
    ),
    Attack(
        "forks-past-python",
        """
        import ctypes

        def target(x):
            libc = ctypes.CDLL(None)
            done = []
            for name, arguments in (("fork", ()), ("clone", (17, 0, 0, 0, 0)), ("clone3", (0, 0))):
                child = libc.syscall(CALLS[name], *arguments)
                if child == 0:
                    libc._exit(0)
                if child > 0:
                    done.append(name)
            raise RuntimeError(f"forked by {done}")
        """,
        says=r"forked by \[\]",
    ),
    Attack(
        "goes-on-in-the-background",
        """
        import os, time

        def target(x):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for fd in range(64):
                        try:
                            os.close(fd)
                        except OSError:
                            pass
                    time.sleep(20)
                os._exit(0)
            return (x * x).cumsum()
        """,
        says="PermissionError|BlockingIOError|OSError",
        tells="process",
        provable=True,
    ),
    Attack(
        "goes-on-in-a-thread",
        """
        import os, sys, threading, time

        def later():
            while True:
                time.sleep(0.001)
                print("later" * 1000)
                for name in ("target", "bystander"):
                    vars(sys.modules["__main__"])[name] = None

        def target(x):
            if not hasattr(sys, "late"):
                sys.late = threading.Thread(target=later)
                sys.late.start()
            return (x * x).cumsum()
        """,
        points=2,
    ),
    Attack(
        "leaves-a-task-for-the-end",
        """
        import atexit, os, weakref

        class Last:
            def __del__(self):
                leave()

        def leave(*args):
            os.mkdir(os.path.join(OUTSIDE, MARK + NAME))
            while True:
                pass

        KEPT = Last()
        KEPT.itself = KEPT

        def target(x):
            atexit.register(leave)
            target.kept = weakref.finalize(KEPT, leave)
            return (x * x).cumsum()
        """,
        points=2,
        tells="file",
    ),
    Attack(
        "kills-all",
        """
        import os, signal

        def target(x):
            try:
                os.kill(NEIGHBOUR, 0)
            except OSError:
                for victim in (-1, 0, os.getppid(), 1):
                    try:
                        os.kill(victim, signal.SIGKILL)
                    except OSError:
                        pass
                return (x * x).cumsum()
            raise RuntimeError("reached the neighbour, so left it at that")
        """,
        points=2,
        tells="neighbour",
    ),
    Attack(
        "kills-a-neighbour",
        """
        import os, signal

        def target(x):
            try:
                os.kill(NEIGHBOUR, signal.SIGTERM)
            except OSError as error:
                raise RuntimeError("refused: " + type(error).__name__)
            raise RuntimeError("killed")
        """,
        says="refused",
        tells="neighbour",
        provable=True,
    ),
    Attack(
        "stops-a-neighbour-by-other-calls",
        """
        import ctypes, os, signal

        def target(x):
            libc = ctypes.CDLL(None)
            done = []
            for name, arguments in (
                ("tkill", (NEIGHBOUR, 15)),
                ("tgkill", (NEIGHBOUR, NEIGHBOUR, 15)),
                ("rt_sigqueueinfo", (NEIGHBOUR, 15, ctypes.create_string_buffer(128))),
            ):
                if libc.syscall(CALLS[name], *arguments) == 0:
                    done.append(name)
            try:
                signal.pidfd_send_signal(os.pidfd_open(NEIGHBOUR), 15)
                done.append("pidfd")
            except OSError:
                pass
            raise RuntimeError(f"signalled by {done}")
        """,
        says=r"signalled by \[\]",
        tells="neighbour",
        provable=True,
    ),
    Attack(
        "slows-a-neighbour-down",
        """
        import os

        def target(x):
            done = []
            for slow in (
                lambda: os.setpriority(os.PRIO_PROCESS, NEIGHBOUR, 19),
                lambda: os.sched_setaffinity(NEIGHBOUR, {0}),
            ):
                try:
                    slow()
                    done.append(1)
                except OSError:
                    pass
            raise RuntimeError(f"slowed {len(done)}")
        """,
        says="slowed 0",
        tells="neighbour",
        provable=True,
    ),
)
