"""Sessions: results, deaths, fences and forged replies, crossed with every isolation."""

import gc
import os
import signal
import socket
import sys
import sysconfig
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from coursepkg.grading import sandbox as sandbox_module
from coursepkg.grading.isolation import IsolationError, choose
from coursepkg.grading.sandbox import Limits, Sandbox, Task
from coursepkg.grading.worker import wire

ISOLATIONS = ("namespaces", "landlock", "none")
CONFINED = ISOLATIONS[:2]
QUICK = Limits(seconds=1.0)


@pytest.fixture(scope="module")
def sandboxes():
    found = {}
    yield found
    for sandbox in found.values():
        sandbox.close()


@pytest.fixture
def sandbox(sandboxes, request):
    isolation = getattr(request, "param", "namespaces")
    try:
        choose(isolation)
    except IsolationError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    if isolation not in sandboxes:
        sandboxes[isolation] = Sandbox(isolation)
    return sandboxes[isolation]


everywhere = pytest.mark.parametrize("sandbox", ISOLATIONS, indirect=True)
confined = pytest.mark.parametrize("sandbox", CONFINED, indirect=True)


def session(sandbox, source):
    return sandbox.session("numpy", {"hw.py": textwrap.dedent(source).encode()})


def ran(sandbox, source, limits=QUICK, **inputs):
    """Define f with this body and run it once."""
    body = textwrap.indent(textwrap.dedent(source), "    ")
    names = ", ".join(inputs)
    head = "import ctypes, os, signal, socket, sys, threading, time\n\n"
    with session(sandbox, f"{head}def f({names}):\n{body}") as opened:
        assert opened.open(Task("f", limits=limits)).status == "ready"
        return opened.run(inputs)


@everywhere
def test_an_answer_is_run_on_what_it_is_given(sandbox):
    outcome = ran(sandbox, "print('hello'); return (x + 1, 'ü')", x=np.arange(3.0))
    array, text = outcome.outputs["result"]
    assert array.tolist() == [1, 2, 3]
    assert (text, outcome.printed, outcome.failure, outcome.changed) == ("ü", "hello\n", None, ())


@everywhere
def test_a_missing_answer_is_missing(sandbox):
    with session(sandbox, "g = 1") as opened:
        found = opened.open(Task("f"))
    assert (found.status, found.source, found.failure) == ("missing", "", None)


DEATHS = {
    "os._exit(3)": ("Died", "ended the program, with exit code 3"),
    "ctypes.string_at(0)": ("Died", "crashed (segmentation fault)"),
    "os.abort()": ("Died", "crashed (aborted)"),
    "os.kill(os.getpid(), signal.SIGKILL)": ("Died", "was ended by SIGKILL"),
    "os.kill(os.getpid(), signal.SIGUSR1)": ("Died", "crashed (signal 10)"),
    "os.write(2, b'bad_alloc'); os.abort()": ("OutOfMemory", "needed more than 1024 MB"),
    "os.closerange(3, 64)": ("Died", ""),
}


@everywhere
@pytest.mark.parametrize("source", DEATHS)
def test_a_death_is_told_in_words_and_costs_one_case(sandbox, source):
    body = f"import ctypes, os, signal\ndef f(n):\n    if n == 1:\n        {source}\n    return n\n"
    with session(sandbox, body) as opened:
        opened.open(Task("f", limits=QUICK))
        before, dead, after = (opened.run({"n": n}) for n in range(3))
    kind, message = DEATHS[source]
    assert dead.failure.kinds == (kind,)
    assert message in dead.failure.message
    assert dead.outputs == {}
    assert (before.outputs, after.outputs) == ({"result": 0}, {"result": 2})


def test_a_crash_names_the_learners_line(sandbox):
    failure = ran(sandbox, "x = 1\nctypes.string_at(0)").failure
    assert failure.line == "line 5, in f"


@everywhere
def test_a_process_that_waits_is_ended(sandbox):
    limits = Limits(seconds=0.1)
    failure = ran(sandbox, "threading.Event().wait()", limits).failure
    assert failure.kinds == ("OutOfTime",)
    assert failure.message == "stopped after 2.4 s by the clock"


def test_the_end_by_processor_time_is_told_with_the_learners_line(sandbox):
    failure = ran(sandbox, "x = 1\nos.kill(os.getpid(), signal.SIGXCPU)", Limits(seconds=4)).failure
    assert failure.kinds == ("OutOfTime",)
    assert failure.message == "stopped after 4 s"
    assert failure.line == "line 5, in f"


def test_after_a_time_out_the_next_case_has_a_process_of_its_own(sandbox):
    source = "kept = []\ndef f(n):\n    kept.append(n)\n    while n: pass\n    return kept\n"
    with session(sandbox, source) as opened:
        opened.open(Task("f", limits=Limits(seconds=0.1)))
        assert opened.run({"n": 0}).outputs == {"result": [0]}
        assert opened.run({"n": 1}).failure.kinds[0] == "OutOfTime"
        assert opened.run({"n": 0}).outputs == {"result": [0]}


@everywhere
def test_memory_has_a_limit(sandbox):
    failure = ran(sandbox, "return len(bytearray(n))", Limits(memory=200), n=300 << 20).failure
    assert failure.kinds[0] == "OutOfMemory"
    assert ran(sandbox, "return len(bytearray(n))", Limits(memory=200), n=100 << 20).failure is None


@everywhere
def test_open_files_have_a_limit(sandbox):
    source = "return len([os.dup(0) for _ in range(n)])"
    assert ran(sandbox, source, Limits(open_files=20), n=40).failure.kinds[0] == "OSError"
    assert ran(sandbox, source, Limits(open_files=60), n=40).failure is None


def test_the_folder_to_write_to_is_small_and_is_gone_afterwards(sandbox):
    source = "open('kept', 'wb').write(bytes(n << 20)); return os.listdir()"
    assert ran(sandbox, source, Limits(file=2), n=3).failure.kinds[0] == "OSError"
    for _ in range(2):
        assert ran(sandbox, source, Limits(file=2), n=1).outputs == {"result": ["kept"]}
        assert ran(sandbox, "return os.listdir()").outputs == {"result": []}


FENCES = [
    "os.fork()",
    "os.execv('/bin/true', ['true'])",
    "os.posix_spawn(sys.executable or '/bin/true', ['x'], {})",
    "import subprocess; subprocess.run(['/bin/true'])",
    "open('/etc/passwd').read()",
    "os.listdir('/proc')[0]",
    "open('/proc/self/environ').read()",
    "open('/tmp/mark', 'w')",
    "open('/usr/lib/mark', 'w')",
    "os.listdir(REPOSITORY)",
    "open(REPOSITORY + '/pyproject.toml')",
    "os.listdir(os.path.expanduser('~root'))",
    "os.chmod('/usr/lib', 0o777)",
    "os.utime(SERVE)",
    "os.truncate(SERVE, 0)",
    "os.kill(1, 0)",
    "os.kill(os.getppid() or 1, signal.SIGKILL)",
    "os.kill(-1, signal.SIGKILL)",
    "os.killpg(0, signal.SIGKILL)",
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "socket.socketpair()",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "os.memfd_create('x')",
    "os.setpriority(os.PRIO_PROCESS, 0, 0)",
    "os.sched_setaffinity(0, {0})",
    "os.mkfifo('x') if os.getcwd() == '/' else os.mknod('x')",
    "os.setuid(0)",
    "os.chroot('/')",
    "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))",
    "import ssl, urllib.request; urllib.request.urlopen('http://127.0.0.1:1')",
]
CALLS = {"ptrace": "0, 0, 0, 0", "unshare": "0x10000000", "setns": "0, 0", "personality": "8",
         "mount": "b'x', b'/', b'tmpfs', 0, 0", "umount": "b'/proc'", "shmget": "0, 4096, 0o1600",
         "process_vm_readv": "1, 0, 0, 0, 0, 0", "prctl": "4, 1, 0, 0, 0"}  # fmt: skip


@confined
@pytest.mark.parametrize("source", FENCES)
def test_a_fence_holds(sandbox, source):
    repository = Path(__file__).parents[2]
    serve = repository / "coursepkg" / "grading" / "worker" / "serve.py"
    head = f"REPOSITORY, SERVE = {str(repository)!r}, {str(serve)!r}\n"
    outcome = ran(sandbox, head + source)
    assert outcome.failure is not None, outcome.outputs
    assert {"OSError", "ValueError", "LookupError"} & {*outcome.failure.kinds}, outcome.failure


@confined
@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_the_system_is_refused(sandbox, name):
    source = f"""
        libc = ctypes.CDLL(None, use_errno=True)
        return libc.{name}({CALLS[name]}), ctypes.get_errno()
    """
    result, error = ran(sandbox, source).outputs["result"]
    assert result == -1
    assert error in (1, 38)


@confined
def test_what_computing_needs_is_permitted(sandbox):
    source = """
        import math, tempfile
        threads = [threading.Thread(target=math.sqrt, args=(2,)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        time.sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.pipe()
        return len(os.urandom(3)), os.environ.get("HOME"), len(os.environ)
    """
    home = "/scratch" if sandbox.isolation == "namespaces" else "/"
    assert ran(sandbox, source).outputs == {"result": (3, home, 2)}


@confined
def test_only_the_packages_of_the_environment_can_be_imported(sandbox):
    source = """
        import importlib.util
        names = ["numpy", "torch", "coursepkg", "scipy", "pip", "setuptools"]
        sys.path += FOLDERS
        return [name for name in names if importlib.util.find_spec(name)]
    """
    bases = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("purelib", vars=bases)]
    assert all(Path(folder).is_dir() for folder in folders)
    head = f"FOLDERS = {folders!r}\n"
    assert ran(sandbox, head + textwrap.dedent(source)).outputs == {"result": ["numpy"]}


@confined
def test_threads_have_a_limit(sandbox):
    source = """
        threading.stack_size(32768)
        wait = threading.Event().wait
        for count in range(200):
            threading.Thread(target=wait, daemon=True).start()
        return count
    """
    failure = ran(sandbox, source, Limits(threads=20)).failure
    if sandbox.isolation == "landlock" and not os.geteuid():
        assert failure is None  # the kernel does not count the threads of root
    else:
        assert failure.message == "can't start new thread"


def test_results_that_are_not_wanted_are_not_run(sandbox):
    driver = "def driver(answer, n):\n    for i in range(n):\n        yield str(i), answer(i)\n"
    source = "def f(i):\n    while i == 2: pass\n    return i\n"
    with session(sandbox, source) as opened:
        opened.open(Task("f", driver, limits=Limits(seconds=0.2)))
        assert opened.run({"n": 4}).failure.kinds[0] == "OutOfTime"
        outcome = opened.run({"n": 4}, 2)
    assert (outcome.outputs, outcome.failure) == ({"0": 0, "1": 1}, None)


def test_processes_of_others_do_not_exist(sandbox):
    assert ran(sandbox, "return os.getpid(), os.getppid()").outputs == {"result": (2, 0)}


def test_torch_answers_run_too(sandbox):
    files = {"hw.py": b"import torch\ndef f(x):\n    return torch.relu(x)\n"}
    with sandbox.session("torch", files) as opened:
        assert opened.open(Task("f")).status == "ready"
        outcome = opened.run({"x": torch.tensor([-1.0, 2.0])})
    assert outcome.outputs["result"].tolist() == [0, 2]


#: The numbers that belong to opening, after loading, and to the first case.
READY = {
    **{"status": "ready", "message": "", "place": "", "source": "", "failure": None},
    "number": 2,
}
RIGHT = {"outputs": {"result": 1}, "failure": None, "changed": (), "printed": "", "number": 3}
FORGED = {
    "no frame": b"\xff" * 8,
    "not what it says": b"\x02\0\0\0\0\0\0\0[]",
    "the reply to another question": wire.pack({"late": (), "problems": {}, "number": 3}),
    "another number": wire.pack(RIGHT | {"number": 2}),
    "a number that is none": wire.pack(RIGHT | {"number": 3.0}),
    "no number": wire.pack({name: value for name, value in RIGHT.items() if name != "number"}),
    "a field too many": wire.pack(RIGHT | {"more": 1}),
    "a field too few": wire.pack({"outputs": {}, "number": 3}),
    "outputs that are a list": wire.pack(RIGHT | {"outputs": [1]}),
    "an output without a name": wire.pack(RIGHT | {"outputs": {1: 1}}),
    "a failure that is a number": wire.pack(RIGHT | {"failure": 5}),
    "a failure without kinds": wire.pack(
        RIGHT | {"failure": {"kinds": (), "message": "", "line": ""}}
    ),
    "kinds that are numbers": wire.pack(
        RIGHT | {"failure": {"kinds": (3,), "message": "", "line": ""}}
    ),
    "changed that is a number": wire.pack(RIGHT | {"changed": 7}),
    "changed that holds a number": wire.pack(RIGHT | {"changed": (7,)}),
    "printed that is a list": wire.pack(RIGHT | {"printed": []}),
    "more than there may be": b"\xff\xff\xff\x7f\0\0\0\0",
}

FORGE = """
import os, stat, threading
def send(data):
    line = [n for n in range(3, 64) if is_socket(n)][0]
    os.write(line, data)
def is_socket(n):
    try:
        return stat.S_ISSOCK(os.fstat(n).st_mode)
    except OSError:
        return False
"""


@everywhere
@pytest.mark.parametrize("name", FORGED)
def test_a_reply_that_does_not_fit_is_refused(sandbox, name):
    source = f"{FORGE}def f(n):\n    send({FORGED[name]!r})\n    threading.Event().wait()\n"
    with session(sandbox, source) as opened:
        opened.open(Task("f", limits=QUICK))
        failure = opened.run({"n": 1}).failure
    assert failure.kinds == ("BadReply",)


@everywhere
def test_a_reply_to_nothing_ends_the_process(sandbox):
    forged = wire.pack(RIGHT)
    source = f"{FORGE}def f(n):\n    if not n: send({forged!r})\n    return 7\n"
    with session(sandbox, source) as opened:
        opened.open(Task("f", limits=QUICK))
        first, second, third = (opened.run({"n": n}) for n in range(3))
    assert first.outputs == {"result": 1}
    assert second.failure.kinds == ("BadReply",)
    assert third.outputs == {"result": 7}


@pytest.mark.parametrize("change", [{"status": "fine"}, {"status": 1}, {"failure": ()}])
def test_an_answer_cannot_be_opened_with_a_forged_reply(sandbox, change):
    source = f"{FORGE}send({wire.pack(READY | change)!r})\nf = threading.Event().wait()\n"
    with session(sandbox, source) as opened:
        found = opened.open(Task("f", limits=Limits(seconds=0.1)))
    assert found.status == "failed"
    assert found.failure.kinds[0] in ("BadReply", "OutOfTime")


def test_an_answer_that_always_dies_uses_up_no_more_than_so_many_processes(sandbox):
    with session(sandbox, "import os\ndef f(n): os._exit(n)\n") as opened:
        opened.open(Task("f"))
        said = [opened.run({"n": n}).failure.message for n in range(12)]
    assert said[9] == "ended the program, with exit code 9; take out exit(), quit() and os._exit()"
    assert said[10:] == ["not run, as 10 processes have died of it"] * 2


def test_a_death_while_an_answer_is_opened_is_told(sandbox):
    with session(sandbox, "import os\nf = os._exit(5)\n") as opened:
        found = opened.open(Task("f"))
        outcome = opened.run({})
    assert (found.status, found.failure.kinds) == ("failed", ("Died",))
    assert outcome.failure.message.startswith("ended the program, with exit code 5; take out")


def test_other_limits_get_another_process(sandbox):
    with session(sandbox, "kept = []\ndef f(n):\n    kept.append(n)\n    return kept\n") as opened:
        opened.open(Task("f", limits=Limits(memory=500)))
        opened.run({"n": 1})
        opened.open(Task("f", limits=Limits(memory=600)))
        assert opened.run({"n": 2}).outputs == {"result": [2]}


@everywhere
def test_what_a_submission_starts_ends_with_it(sandbox):
    source = "threading.Thread(target=threading.Event().wait, daemon=True).start(); return 1"
    before = descendants()
    assert ran(sandbox, source).outputs == {"result": 1}
    assert left(before, sandbox) == set()


@pytest.mark.parametrize("sandbox", ["none"], indirect=True)
def test_even_without_isolation_processes_left_behind_are_ended(sandbox):
    source = """
        if (child := os.fork()) == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            os.close(2); time.sleep(999)
        os.waitpid(child, 0)
        return 1
    """
    before = descendants()
    ran(sandbox, source)
    assert left(before, sandbox) == set()


def test_nothing_is_left_of_two_hundred_sessions(sandbox):
    def one(number):
        with session(sandbox, f"def f(): return {number}") as opened:
            return opened.open(Task("f")).status

    one(0)
    gc.collect()
    before, files = descendants(), psutil.Process().num_fds()
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(one, range(200))) == {"ready"}
    gc.collect()
    assert psutil.Process().num_fds() == files
    assert left(before, sandbox) == set()


def zygotes(sandbox):
    started = [psutil.Process(z._process.pid) for z in sandbox._zygotes.values()]
    return {p for z in started for p in [z, *z.children(recursive=True)]}


def descendants():
    return set(psutil.Process().children(recursive=True))


def left(before, sandbox):
    """Return the processes that have come since, and do not go."""
    _, alive = psutil.wait_procs(descendants() - before - zygotes(sandbox), timeout=10)
    return set(alive)


@everywhere
def test_a_dead_zygote_is_replaced(sandbox):
    with session(sandbox, "def f(n): return n") as opened:
        opened.open(Task("f"))
        kill_zygotes(sandbox)
        assert opened.run({"n": 1}).outputs == {"result": 1}
    assert ran(sandbox, "return 2").outputs == {"result": 2}


def test_a_zygote_that_dies_in_the_midst_of_a_case_costs_nothing(sandbox):
    with session(sandbox, "import time\ndef f():\n    time.sleep(0.5)\n    return 1\n") as opened:
        opened.open(Task("f"))
        killer = threading.Timer(0.1, kill_zygotes, [sandbox])
        killer.start()
        assert opened.run({}).outputs == {"result": 1}
        killer.join()


def test_a_zygote_that_hangs_is_replaced(monkeypatch):
    with Sandbox("none") as sandbox:
        assert ran(sandbox, "return 1").outputs == {"result": 1}
        (zygote,) = sandbox._zygotes.values()
        zygote._process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr("coursepkg.grading.sandbox.LOAD_SECONDS", 1)
        monkeypatch.setattr("coursepkg.grading.sandbox.STOP_SECONDS", 1)
        assert ran(sandbox, "return 2").outputs == {"result": 2}
        assert zygote._process.returncode == -signal.SIGKILL


def kill_zygotes(sandbox):
    alive = [z for z in sandbox._zygotes.values() if z._process.poll() is None]
    for zygote in alive:
        top = psutil.Process(zygote._process.pid)
        family = [top, *top.children(recursive=True)]
        next(p for p in family if p.name().startswith("python")).kill()
        zygote._process.wait()


def test_a_closed_sandbox_refuses():
    sandbox = Sandbox("none")
    waiting = session(sandbox, "def f():\n    while True: pass\n")
    waiting.open(Task("f", limits=Limits(seconds=60)))
    threading.Timer(0.2, sandbox.close).start()
    with pytest.raises(RuntimeError, match="was closed"):
        waiting.run({})
    with pytest.raises(RuntimeError, match="is closed"):
        session(sandbox, "f = 1").open(Task("f"))
    waiting.close()


def test_mistakes_of_the_caller_are_named(sandbox):
    with pytest.raises(ValueError, match="environment='jax'; choose numpy or torch"):
        sandbox.session("jax", {})
    with pytest.raises(RuntimeError, match="open a task"):
        session(sandbox, "f = 1").run({})


def test_a_process_that_cannot_be_confined_runs_nothing(monkeypatch):
    monkeypatch.setattr("coursepkg.grading.sandbox.program", lambda: b"no filter")
    with (
        Sandbox("landlock") as broken,
        session(broken, "f = 1") as opened,
        pytest.raises(IsolationError, match="could not be confined"),
    ):
        opened.open(Task("f"))


def test_the_line_is_a_socket_of_this_process_alone(sandbox):
    with session(sandbox, "f = 1") as opened:
        opened.open(Task("f"))
        assert not os.get_inheritable(opened._process._job.fileno())
        assert opened._process._job.family == socket.AF_UNIX


def test_a_file_that_takes_too_long_to_read_is_told_and_left_out_the_next_time(sandbox):
    files = {"a.py": b"def f(): return 1", "b.py": b"def g(): return 2"}
    with sandbox.session("numpy", files, ["a.py"]) as opened:
        assert opened.open(Task("f")).message.endswith("a.py cannot be read: it takes too long")
        assert opened.open(Task("g")).status == "ready"
        assert opened.late == {"a.py"}
        assert opened.problems == {"a.py": "a.py cannot be read: it takes too long"}
    with sandbox.session("numpy", files) as opened:
        assert opened.open(Task("f")).status == "ready"
        assert (opened.late, opened.unreadable) == (frozenset(), None)


@pytest.mark.parametrize(
    "change",
    [
        {"late": ([],)},
        {"late": ("b.py",)},
        {"problems": ("hw.py",)},
        {"problems": {"b.py": "it was never handed in"}},
        {"problems": {"hw.py": 7}},
        {"problems": {7: "hw.py"}},
    ],
    ids=str,
)
def test_what_is_said_about_files_has_to_be_about_files(sandbox, monkeypatch, change):
    reply = {"late": (), "problems": {"hw.py": "hw.py is odd"}}
    monkeypatch.setattr(sandbox_module._Process, "ask", lambda *request: reply | change)
    with session(sandbox, "f = 1") as opened:
        assert opened.open(Task("f")).failure.kinds == ("BadReply",)
        assert (opened.late, opened.problems) == (frozenset(), {})


def test_for_want_of_processor_time_nothing_is_blamed_on_the_submission(monkeypatch, sandbox):
    monkeypatch.setattr("coursepkg.grading.sandbox.LOAD_SECONDS", 0.5)
    monkeypatch.setattr("coursepkg.grading.sandbox.LOAD_BYTES", 1 << 40)
    with session(sandbox, "f = 1\n" * 300_000) as opened:
        with pytest.raises(IsolationError, match="without a reason"):
            opened.open(Task("f"))
        assert opened.unreadable is None


def test_what_cannot_be_read_is_told_and_not_tried_again(monkeypatch, sandbox):
    monkeypatch.setattr("coursepkg.grading.sandbox.LOAD_WORK", 0)
    monkeypatch.setattr("coursepkg.grading.sandbox.LOAD_SECONDS", 1)
    monkeypatch.setattr("coursepkg.grading.sandbox.LOAD_BYTES", 1 << 40)
    with session(sandbox, "f = 1\n" * 300_000) as opened:
        first = opened.open(Task("f"))
        monkeypatch.undo()
        again = opened.open(Task("f"))
    assert first == again
    assert first.status == "failed"
    assert first.message == "what was handed in cannot be read: it takes too long"
    assert first.failure == opened.unreadable
