"""The zygote alone: requests in, processes out, and an end when nobody is there."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict

import pytest

from coursepkg.grading.worker import wire
from coursepkg.grading.worker.zygote import CONFINED, Settings

SETTINGS = Settings("none", packages=["numpy"], readable=[], scratch="", filter="", sleep="")
LIMITS = {"memory": 500, "file": 1, "open_files": 64, "threads": 8}


@pytest.fixture
def zygote():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = "from coursepkg.grading.worker.zygote import main; "
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{code}main({theirs.fileno()})"], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        ours.settimeout(60)
        ours.send(json.dumps(asdict(SETTINGS)).encode())
        assert ours.recv(100) == b"ready"
        yield ours, process
    assert process.wait(10) == 0


def started(control):
    job, theirs = socket.socketpair()
    status, status_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = os.memfd_create("log")
    files = [theirs.fileno(), log, status_theirs.fileno()]
    socket.send_fds(control, [json.dumps(LIMITS).encode()], files)
    theirs.close()
    status_theirs.close()
    os.close(log)
    job.settimeout(10)
    status.settimeout(10)
    return job, status


def test_a_request_makes_a_process_that_serves_and_tells_how_it_ended(zygote):
    control, _ = zygote
    job, status = started(control)
    with job, status:
        assert status.recv(100) == CONFINED
        wire.write(job, {"do": "load", "files": {}, "number": 1})
        assert wire.read(job) == {"late": (), "problems": {}, "number": 1}
        job.close()
        ended = json.loads(status.recv(1000))
        assert ended["code"] == 0
        assert ended["seconds"] > 0
        assert status.recv(1000) == b""


def test_a_process_that_is_no_longer_wanted_is_killed(zygote):
    control, _ = zygote
    job, status = started(control)
    with job, status:
        assert status.recv(100) == CONFINED
        status.shutdown(socket.SHUT_WR)
        assert os.waitstatus_to_exitcode(json.loads(status.recv(1000))["code"]) == -9
        assert job.recv(1) == b""


def test_the_zygote_outlives_its_processes(zygote):
    control, process = zygote
    for _ in range(3):
        job, status = started(control)
        with job, status:
            assert status.recv(100) == CONFINED
    assert process.poll() is None


def test_processes_end_when_their_watcher_loses_the_line(zygote):
    control, _ = zygote
    job, status = started(control)
    with job:
        assert status.recv(100) == CONFINED
        status.close()
        assert job.recv(1) == b""
