"""Each fence alone, in a process that puts it up around itself."""

import os
import subprocess
import sys
import textwrap

import pytest

from coursepkg.grading.worker.confine import landlock_version


def said(code, **options):
    """Run code beside `from ...confine import *`, and return what it prints."""
    head = "import os, sys, signal, resource\nfrom coursepkg.grading.worker import confine\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_capabilities_are_dropped_for_good():
    code = """
        confine.drop_capabilities()
        lines = open("/proc/self/status").read().splitlines()
        wanted = ("CapEff", "CapPrm", "NoNew")
        print(*(line.split()[1] for line in lines if line.startswith(wanted)))
    """
    assert said(code) == ["0" * 16, "0" * 16, "1"]


def test_limits_hold_and_are_never_raised():
    code = """
        def limits():
            names = ("AS", "FSIZE", "NOFILE", "CORE", "STACK")
            return [resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1] for name in names]
        sizes = dict(file_size=5, open_files=40, processes=99)
        confine.limit(address_space=1 << 40, **sizes)
        print(*limits())
        confine.limit(address_space=1 << 41, file_size=6, open_files=50, processes=99)
        print(limits()[:3] == [1 << 40, 5, 40])
    """
    assert said(code) == [str(1 << 40), "5", "40", "0", str(8 << 20), "True"]


def need_landlock(version):
    """Skip a test where the kernel cannot do it; where all has to run, fail."""
    if landlock_version() < version and os.environ.get("CI") != "true":
        pytest.skip(f"needs version {version} of Landlock")
    assert landlock_version() >= version


def test_files_are_read_and_written_only_where_allowed(tmp_path):
    need_landlock(3)
    for name in ("readable", "writable", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    code = f"""
        os.chdir({str(tmp_path)!r})
        opened = [os.open(name, os.O_PATH) for name in ("readable", "writable", "/dev/null")]
        confine.restrict_files([opened[0], opened[2]], [opened[1]])
        for folder in ("readable", "writable", "other"):
            for mode in ("r", "w"):
                try:
                    open(folder + "/file", mode).close()
                    print(folder, mode)
                except PermissionError:
                    pass
        try:
            os.truncate("other/file", 0)
        except PermissionError:
            print("whole")
    """
    assert said(code) == ["readable", "r", "writable", "r", "writable", "w", "whole"]


def test_signals_and_connections_do_not_leave():
    need_landlock(6)
    code = """
        import socket
        listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen()
        abstract = socket.socket(socket.AF_UNIX); abstract.bind(""); abstract.listen()
        confine.restrict_files([])
        for act in (
            lambda: os.kill(os.getppid(), 0),
            lambda: socket.socket().connect(listening.getsockname()),
            lambda: socket.socket(socket.AF_UNIX).connect(abstract.getsockname()),
        ):
            try:
                act()
            except PermissionError:
                print("refused")
        os.kill(os.getpid(), 0)
    """
    assert said(code) == ["refused"] * 3


def test_only_the_files_to_keep_stay_open():
    code = """
        opened = [os.dup(1) for _ in range(5)]
        confine.close_files(keep=(opened[2], 1, 0, 2))
        still = []
        for number in range(20):
            try:
                os.fstat(number); still.append(number)
            except OSError: pass
        print(still == [0, 1, 2, opened[2]])
    """
    assert said(code) == ["True"]


def test_orphans_are_adopted_and_counted():
    code = """
        confine.adopt_orphans()
        reading, writing = os.pipe()
        if not os.fork():
            if not os.fork():
                os.read(reading, 1); os._exit(0)
            os._exit(0)
        os.wait()
        print(len(confine.children()), confine.tasks() > 1)
        os.write(writing, b"x"); os.wait()
        print(len(confine.children()))
    """
    assert said(code) == ["1", "True", "0"]


def test_a_hidden_process_dies_with_its_parent():
    code = """
        import ctypes
        confine.hide(); confine.die_with_parent(signal.SIGKILL)
        number = ctypes.c_int()
        confine.libc.prctl(2, ctypes.byref(number), 0, 0, 0)
        print(confine.libc.prctl(3, 0, 0, 0, 0), number.value)
    """
    assert said(code) == ["0", "9"]


def test_the_address_space_is_that_of_this_process():
    code = """
        before = confine.address_space()
        more = bytearray(100 << 20)
        print(100 << 20 <= confine.address_space() - before <= 101 << 20)
    """
    assert said(code) == ["True"]


def test_a_separated_process_has_processes_and_a_folder_of_its_own(tmp_path):
    (tmp_path / "mark").touch()
    code = f"""
        processes = os.open("/proc", os.O_PATH)
        names = [f"{{os.getpid()}}/ns/{{name}}" for name in ("user", "mnt", "ipc", "uts", "net")]
        def there(): return {{os.readlink(name, dir_fd=processes) for name in names}}
        before = there()
        try:
            confine.separate({str(tmp_path)!r}, 1)
        except PermissionError:
            print("not permitted"); sys.exit()
        print(len(there() - before), flush=True)
        if not os.fork():
            print(os.getpid(), os.listdir({str(tmp_path)!r}), os.listdir("/proc"), flush=True)
            os._exit(0)
        os.wait()
    """
    found = said(code)
    if found == ["not", "permitted"] and os.environ.get("CI") != "true":
        pytest.skip("user namespaces are not permitted here")
    assert found == ["5", "1", "[]", "[]"]


def test_what_does_not_hold_raises():
    code = """
        for act in (
            lambda: confine.filter_calls(b"12345678"),
            lambda: confine.separate("/no such folder", 1),
            lambda: confine.restrict_files([0]),
        ):
            try:
                act()
            except OSError as error:
                print("raised")
    """
    assert said(code, stdin=subprocess.PIPE) == ["raised"] * 3
