"""Attacks that talk: to the network, to other processes, and to the grader over its own line."""

from __future__ import annotations

from grading.attacks.attack import Attack, table

__all__ = ["TALKING"]


def call(family: str, kind: str, address: str) -> str:
    """Return an attack that sends its name to an address."""
    return f"""
import socket


def target(x):
    try:
        with socket.socket(socket.{family}, socket.{kind}) as line:
            line.settimeout(1)
            line.connect({address})
            line.sendall(NAME.encode())
    except OSError as error:
        raise RuntimeError("refused: " + type(error).__name__)
    raise RuntimeError("sent")
"""


def forged(before: str) -> str:
    """Return an attack that does something to every file descriptor, and answers zeros."""
    return f"""
import json, os, socket, struct


def frame(message, body=b""):
    head = json.dumps(message).encode()
    return struct.pack("<II", len(head), len(body)) + head + body


FORGED = {{
    "done": True, "status": "ready", "message": "", "place": "", "source": "", "passed": True,
    "points": 2, "outputs": {{"result": 0}}, "failure": None, "changed": [], "printed": "",
}}


def target(x):
    for fd in range(1024):
        try:
{before}
        except (OSError, ValueError):
            pass
    return x
"""


TALKING = table(
    Attack(
        "calls-over-tcp",
        call("AF_INET", "SOCK_STREAM", '("127.0.0.1", TCP)'),
        says="refused",
        tells="tcp",
        provable=True,
    ),
    Attack(
        "calls-over-udp",
        call("AF_INET", "SOCK_DGRAM", '("127.0.0.1", UDP)'),
        says="refused",
        tells="udp",
        provable=True,
    ),
    Attack(
        "calls-over-a-unix-socket",
        call("AF_UNIX", "SOCK_STREAM", "UNIX"),
        says="refused",
        tells="unix",
        provable=True,
    ),
    Attack(
        "calls-over-an-abstract-socket",
        call("AF_UNIX", "SOCK_STREAM", "chr(0) + ABSTRACT"),
        says="refused",
        tells="abstract",
        provable=True,
    ),
    Attack(
        "calls-with-system-calls",
        """
        import ctypes, os, struct

        def target(x):
            libc = ctypes.CDLL(None)
            line = libc.syscall(CALLS["socket"], 2, 1, 0)
            address = struct.pack("=H", 2) + struct.pack(">HBBBBQ", TCP, 127, 0, 0, 1, 0)
            if line < 0 or libc.syscall(CALLS["connect"], line, address, 16) < 0:
                raise RuntimeError("refused")
            os.write(line, NAME.encode())
            raise RuntimeError("sent")
        """,
        says="refused",
        tells="tcp",
        provable=True,
    ),
    Attack(
        "opens-every-kind-of-socket",
        """
        import socket

        def target(x):
            opened = []
            for family in (1, 2, 10, 16, 17, 38, 40, 44):
                for kind in (1, 2, 3, 5):
                    try:
                        socket.socket(family, kind).close()
                        opened.append((family, kind))
                    except OSError:
                        pass
            try:
                socket.socketpair()
                opened.append("pair")
            except OSError:
                pass
            raise RuntimeError(f"opened {opened}")
        """,
        says=r"opened \[\]",
    ),
    Attack(
        "asks-for-an-address",
        """
        import socket

        def target(x):
            socket.setdefaulttimeout(0.5)
            raise RuntimeError("known " + repr(socket.gethostbyname("example.org")))
        """,
        says="gaierror|OSError|PermissionError",
    ),
    Attack(
        "listens",
        """
        import socket

        def target(x):
            socket.create_server(("127.0.0.1", 0))
            raise RuntimeError("listens")
        """,
        says="PermissionError|OSError",
    ),
    Attack(
        "downloads",
        """
        from urllib.request import urlopen

        def target(x):
            raise RuntimeError(urlopen(f"http://127.0.0.1:{TCP}/{NAME}", timeout=1).read())
        """,
        says="URLError",
        tells="tcp",
        provable=True,
    ),
    Attack("forges-a-reply", forged("            os.write(fd, frame(FORGED))")),
    Attack("forges-ten-replies", forged("            os.write(fd, frame(FORGED) * 10)")),
    Attack("writes-noise", forged('            os.write(fd, b"\\xff" * 4096)')),
    Attack(
        "announces-four-gigabytes",
        forged('            os.write(fd, struct.pack("<II", 2 ** 32 - 1, 2 ** 32 - 1) + b"{" * 9)'),
    ),
    Attack(
        "announces-a-huge-head",
        forged('            os.write(fd, struct.pack("<II", 2 ** 31, 0) + b"[" * 4096)'),
    ),
    Attack("sends-half-a-frame", forged("            os.write(fd, frame(FORGED)[:-5])")),
    Attack(
        "nests-in-its-reply",
        forged('            os.write(fd, struct.pack("<II", 60_000, 0) + b"[" * 60_000)'),
    ),
    Attack(
        "replies-with-a-huge-number",
        forged('            os.write(fd, struct.pack("<II", 50_000, 0) + b"9" * 50_000)'),
    ),
    Attack(
        "replies-with-a-lying-array",
        forged(
            '            os.write(fd, frame({"outputs": {"result": {"ndarray": '
            '{"dtype": "O", "shape": [3], "offset": 0}}}}, bytes(24)))'
        ),
    ),
    Attack(
        "replies-with-keys-that-collide",
        forged("            os.write(fd, COLLIDING)")
        + """
KEYS = ",".join(f'["int","{k * (2 ** 61 - 1):#x}"],0' for k in range(49_000))
HEAD = f'["dict","outputs",["dict",{KEYS}],"failure",null,"changed",["list"],"printed",""]'
COLLIDING = struct.pack("<II", len(HEAD), 0) + HEAD.encode()
""",
    ),
    Attack(
        "replies-with-a-million-empty-lists",
        forged("            os.write(fd, LISTS)")
        + """
HEAD = b"[" + b"[]," * 2_000_000 + b"0]"
LISTS = struct.pack("<II", len(HEAD), 0) + HEAD
""",
    ),
    Attack(
        "replies-with-a-hundred-thousand-classes",
        forged("            os.write(fd, CLASSES)")
        + """
LIST = ",".join(f'["stranger","a{k}","b"]' for k in range(90_000))
HEAD = f'["dict","outputs",["dict","result",["list",{LIST}]],"failure",null,'
HEAD += '"changed",["list"],"printed",""]'
CLASSES = struct.pack("<II", len(HEAD), 0) + HEAD.encode()
""",
    ),
    Attack(
        "replies-with-results-of-the-wrong-kind",
        """
        import json, os, struct

        def frame(message):
            head = json.dumps(message).encode()
            return struct.pack("<II", len(head), 0) + head

        def target(x):
            target.turn = getattr(target, "turn", -1) + 1
            odd = [
                {"outputs": 3, "failure": None, "changed": ["list"], "printed": ""},
                {"outputs": ["dict"], "failure": 5, "changed": 7, "printed": ["list"]},
                {"outputs": ["dict", 1, 2], "failure": ["dict", "kinds", 3],
                 "changed": ["list", 1], "printed": None},
                {"outputs": ["dict"],
                 "failure": ["dict", "kinds", ["list"], "message", 1, "line", 2],
                 "changed": ["list"], "printed": ""},
            ][target.turn % 4]
            flat = ["dict"] + [part for pair in odd.items() for part in pair]
            for fd in range(3, 1024):
                try:
                    os.write(fd, frame(flat))
                except OSError:
                    pass
            os._exit(0)
        """,
    ),
    Attack(
        "opens-with-a-reply-of-the-wrong-kind",
        """
        import json, os, struct

        def forge():
            head = json.dumps(
                ["dict", "status", 3, "message", ["list"], "place", None, "source", 1.5,
                 "failure", ["list", 1]]
            ).encode()
            for fd in range(3, 1024):
                try:
                    os.write(fd, struct.pack("<II", len(head), 0) + head)
                except OSError:
                    pass
            os._exit(0)

        FORGED = forge()

        def target(x):
            return FORGED
        """,
        status="failed",
    ),
    Attack("closes-every-file", forged("            os.close(fd)")),
    Attack(
        "puts-another-file-in-place-of-the-line",
        forged("            os.dup2(NULL, fd) if fd != NULL else None")
        + '\nNULL = os.open("/dev/null", os.O_RDONLY)\n',
    ),
    Attack(
        "hangs-up",
        forged(
            "            line = socket.socket(fileno=fd)\n"
            "            line.shutdown(socket.SHUT_RDWR)\n"
            "            line.detach()"
        ),
    ),
    Attack(
        "listens-on-the-line",
        """
        import os

        def target(x):
            for fd in range(3, 1024):
                try:
                    os.set_blocking(fd, False)
                    while os.read(fd, 1 << 16):
                        pass
                except OSError:
                    pass
            return (x * x).cumsum()
        """,
        points=2,
    ),
    Attack(
        "answers-for-the-next-case",
        """
        import os, sys

        def target(x):
            wire = sys.modules.get("worker.wire") or sys.modules["coursepkg.grading.worker.wire"]
            for fd in range(3, 1024):
                try:
                    for _ in range(4):
                        os.write(fd, wire.pack({
                            "outputs": {"result": (x * x).cumsum()}, "failure": None,
                            "changed": [], "printed": "",
                        }))
                except OSError:
                    pass
            return (x * x).cumsum()
        """,
    ),
)
