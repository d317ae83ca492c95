"""The filter of system calls: what stands in the list, and that it is a filter."""

import os
import struct
import subprocess
import sys

import pyseccomp
import pytest

from coursepkg.grading.syscalls import FORBIDDEN, PERMITTED, program
from coursepkg.grading.worker.confine import OWN_PID


def names(table):
    return " ".join(table.values()).split()


def test_no_call_stands_twice():
    everything = names(PERMITTED) + names(FORBIDDEN) + ["clone", "kill", "tgkill", "prlimit64"]
    assert sorted(everything) == sorted(set(everything))


def test_every_name_is_one_that_libseccomp_knows():
    here = pyseccomp.system_arch()
    unknown = [n for n in names(PERMITTED) if pyseccomp.resolve_syscall(here, n) == -1]
    assert unknown == []


@pytest.mark.parametrize(
    "name", ["execve", "fork", "socket", "connect", "ptrace", "mount", "bpf", "io_uring_setup"]
)
def test_what_makes_processes_and_connections_is_forbidden(name):
    assert name in names(FORBIDDEN)


def test_the_program_is_one_that_the_kernel_takes():
    assert len(program()) % 8 == 0
    assert program().count(struct.pack("=I", OWN_PID)) >= 1
    code = (
        "import os, sys\n"
        "from coursepkg.grading.worker.confine import filter_calls\n"
        "filter_calls(sys.stdin.buffer.read())\n"
        "os.kill(os.getpid(), 0)\n"
        "for refused in (os.fork, lambda: os.kill(os.getppid(), 0)):\n"
        "    try: refused()\n"
        "    except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=program(), capture_output=True, env=dict(os.environ)
    )
    assert (done.stdout.split(), done.stderr) == ([b"1", b"38"], b"")
