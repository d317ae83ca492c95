r"""What a process may no longer do: five fences, each behind the other.

- Namespaces (`separate`): other processes, mounts, networks and System V memory do not exist for
  it.
- Capabilities (`drop_capabilities`): being root, or having made a namespace, gives it nothing.
- Resource limits (`limit`): memory, threads, files and their sizes have an end.
- Landlock (`restrict_files`): it reads what Python needs and writes to one folder, whatever
  else is mounted; it opens no connection and sends no signal to others.
- Seccomp (`filter_calls`): it asks the kernel only for what computing needs, so that most of the
  kernel, with whatever faults it has, is out of reach. No new process, program or socket.

The kernel has no Python interface for these, so they go through the C library. Each raises
`OSError` if it does not hold; whoever calls them goes no further then.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "OWN_PID",
    "address_space",
    "adopt_orphans",
    "become_nobody",
    "children",
    "close_files",
    "die_with_parent",
    "drop_capabilities",
    "filter_calls",
    "hide",
    "landlock_version",
    "limit",
    "restrict_files",
    "separate",
    "tasks",
]

#: The user and the group that own nothing.
NOBODY = 65534

#: Stands in a filter for the number of the process that will install it.
OWN_PID = 0x6F776E21

CLONE_NS, CLONE_UTS, CLONE_IPC, CLONE_USER = 0x20000, 0x4000000, 0x8000000, 0x10000000
CLONE_PID, CLONE_NET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
PR_SET_CHILD_SUBREAPER = 36
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

# The same numbers on every architecture.
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK, TRUNCATE = 1 << 6, 1 << 11, 1 << 14
#: How many rights on files each version of Landlock knows.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
LATEST_FILE_RIGHTS = 16
CONNECTIONS = SCOPES = 3  # TCP: bind and connect; abstract sockets and signals

libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: Any, what: str, more: Any = 0) -> None:
    unused = ctypes.c_ulong(0)
    _checked(libc.prctl(option, value, more, unused, unused), what)


def become_nobody() -> None:
    r"""Be a user who owns nothing, for good. The kernel counts no threads of root's."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    _prctl(PR_SET_DUMPABLE, ctypes.c_ulong(1), "prctl DUMPABLE")  # /proc/self is ours again


def separate(scratch: str, megabytes: int) -> None:
    r"""Give the children of this process namespaces of their own, and an empty writable folder.

    The process itself moves too, except that it keeps its place among the processes: the next
    child is number 1 of the new ones. The caller must have a single thread.

    Parameters
    ----------
    scratch : str
        An existing folder, which the new one covers.
    megabytes : int
        How much fits into it.
    """
    user, group = os.getuid(), os.getgid()
    flags = CLONE_USER | CLONE_NS | CLONE_IPC | CLONE_UTS | CLONE_PID | CLONE_NET
    _checked(libc.unshare(flags), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", "/", None, MS_REC | MS_PRIVATE, None)
    _mount("tmpfs", scratch, "tmpfs", MS_NOEXEC, f"mode=700,size={megabytes}m,nr_inodes=1000")
    _mount("tmpfs", "/proc", "tmpfs", MS_NOEXEC, "mode=555,size=4k,nr_inodes=1")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    flags |= (MS_NOSUID | MS_NODEV) if kind else 0
    data = options.encode() if options else None
    _checked(libc.mount(*encoded, ctypes.c_ulong(flags), data), f"mount {target}")


def die_with_parent(signal: int) -> None:
    r"""Have the kernel send this signal when the parent is gone."""
    _prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal), "prctl PDEATHSIG")


def hide() -> None:
    r"""Keep other processes of the same user from looking into this one, and forbid core files."""
    _prctl(PR_SET_DUMPABLE, ctypes.c_ulong(0), "prctl DUMPABLE")


def drop_capabilities() -> None:
    r"""Give up every capability, for good."""
    _prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), "prctl NO_NEW_PRIVS")
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    _checked(libc.capset(header, bytes(24)), "capset")


def adopt_orphans() -> None:
    r"""Become the parent of every descendant whose own parent ends."""
    _prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), "prctl CHILD_SUBREAPER")


def children() -> list[int]:
    r"""Return the numbers of the children of this process, where `/proc` tells."""
    try:
        return [int(n) for n in Path("/proc/thread-self/children").read_text().split()]
    except FileNotFoundError:
        return []


def tasks() -> int:
    r"""Return how many threads the system runs now, of all users."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def close_files(keep: Iterable[int] = ()) -> None:
    r"""Close all file descriptors but these."""
    edges = [-1, *sorted(keep), 1 << 20]
    for before, after in itertools.pairwise(edges):
        if after - before > 1:  # an empty range would close everything
            os.closerange(before + 1, after)


def address_space() -> int:
    r"""Return how many bytes of address space this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit(
    *, address_space: int, file_size: int, open_files: int, processes: int, stack: int = 8 << 20
) -> None:
    r"""Set limits that can only be lowered. Sizes are in bytes; threads count as processes."""
    limits = {
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_STACK: stack,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (least, least))


def landlock_version() -> int:
    r"""Return the version of the kernel's Landlock interface, or 0 if it has none."""
    return max(0, int(libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def restrict_files(readable: Iterable[int], writable: Iterable[int] = ()) -> None:
    r"""Allow reading below some paths and writing below others, and nothing else.

    TCP, abstract sockets and signals to processes outside are forbidden too where the kernel
    knows how.

    Parameters
    ----------
    readable, writable : iterable of int
        Descriptors of files and folders, opened with `O_PATH`.
    """
    version = landlock_version()
    rights = (1 << FILE_RIGHTS.get(version, LATEST_FILE_RIGHTS)) - 1
    attributes = [rights]
    attributes += [CONNECTIONS] if version >= 4 else []
    attributes += [SCOPES] if version >= 6 else []
    data = struct.pack(f"={len(attributes)}Q", *attributes)
    create = libc.syscall(LANDLOCK_CREATE, data, ctypes.c_size_t(len(data)), 0)
    ruleset = _checked(create, "landlock_create_ruleset")
    for descriptor in readable:
        _add_rule(ruleset, descriptor, READ_FILE | READ_DIR | EXECUTE)
    for descriptor in writable:
        _add_rule(ruleset, descriptor, rights & ~(EXECUTE | MAKE_CHAR | MAKE_BLOCK))
    _prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), "prctl NO_NEW_PRIVS")
    _checked(libc.syscall(LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _add_rule(ruleset: int, descriptor: int, rights: int) -> None:
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
    rule = struct.pack("=Qi", rights, descriptor)
    _checked(libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), "landlock_add_rule")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def filter_calls(program: bytes) -> None:
    r"""Install a seccomp filter: BPF, as libseccomp exports it, for a process of any number."""
    own = program.replace(struct.pack("=I", OWN_PID), struct.pack("=I", os.getpid()))
    _prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), "prctl NO_NEW_PRIVS")
    structure = _Program(len(own) // 8, own)
    mode = ctypes.c_ulong(SECCOMP_MODE_FILTER)
    _prctl(PR_SET_SECCOMP, mode, "prctl SECCOMP", ctypes.byref(structure))
