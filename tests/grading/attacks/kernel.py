"""Attacks on the walls: system calls that could undo the isolation, and ways around the filter.

The arguments are such that a call does no harm where it is let through: a call that is refused
by the filter fails with EPERM or ENOSYS before it looks at them, and another error means that
the kernel went to work.
"""

from __future__ import annotations

from grading.attacks.attack import Attack, table

__all__ = ["CALLS", "KERNEL"]

#: What nobody needs for arithmetic, with arguments that do no harm.
REFUSED = """
        "mount": (0, 0, 0, 0, 0),
        "umount2": (b"/nowhere", 0),
        "chroot": (b"/nowhere",),
        "pivot_root": (b"/nowhere", b"/nowhere"),
        "unshare": (0x10000000,),
        "setns": (-1, 0),
        "ptrace": (16, 0, 0, 0),
        "process_vm_readv": (0, 0, 0, 0, 0, 0),
        "process_vm_writev": (0, 0, 0, 0, 0, 0),
        "kcmp": (0, 0, 99, 0, 0),
        "bpf": (999, 0, 0),
        "perf_event_open": (0, 0, -1, -1, 0),
        "userfaultfd": (0xFFFF,),
        "io_uring_setup": (0, 0),
        "keyctl": (0, -3, 0, 0, 0),
        "add_key": (b"user", b"a", b"b", 1, -3),
        "request_key": (b"user", b"a", 0, 0),
        "open_by_handle_at": (-1, 0, 0),
        "name_to_handle_at": (-1, b"", 0, 0, 0),
        "fsopen": (b"tmpfs", 0),
        "open_tree": (-100, b"/", 1),
        "move_mount": (-1, b"", -1, b"", 0),
        "mount_setattr": (-1, b"", 0, 0, 0),
        "memfd_create": (b"a", 0),
        "execve": (b"/nowhere", 0, 0),
        "execveat": (-1, b"/nowhere", 0, 0, 0),
        "vfork": None,
        "socket": (16, 3, 0),
        "socketpair": (1, 1, 0, 0),
        "connect": (-1, 0, 0),
        "bind": (-1, 0, 0),
        "listen": (-1, 1),
        "accept": (-1, 0, 0),
        "reboot": (0, 0, 0, 0),
        "kexec_load": (0, 0, 0, 0xFFFF),
        "init_module": (0, 0, b""),
        "finit_module": (-1, b"", 0),
        "delete_module": (b"nothing", 0),
        "swapon": (b"/nowhere", 0),
        "syslog": (10, 0, 0),
        "sethostname": (0, -1),
        "setdomainname": (0, -1),
        "acct": (b"/nowhere",),
        "quotactl": (-1, 0, 0, 0),
        "settimeofday": (0, 0),
        "clock_settime": (99, 0),
        "adjtimex": (0,),
        "personality": (0x0400000,),
        "ioperm": (0, 0, 1),
        "iopl": (3,),
        "setuid": (0,),
        "setgid": (0,),
        "setresuid": (0, 0, 0),
        "setgroups": (0, 0),
        "capset": (0, 0),
        "mknod": (b"/nowhere/a", 0o20666, 0x101),
        "mknodat": (-1, b"a", 0o20666, 0x101),
        "fanotify_init": (0xFFFFFFFF, 0),
        "pidfd_getfd": (-1, 0, 0),
        "pidfd_open": (0, 0xFFFF),
        "lookup_dcookie": (0, 0, 0),
        "vhangup": None,
        "nfsservctl": None,
        "shmget": (0x5EC, 1, 0),
        "msgget": (0x5EC, 0),
        "semget": (0x5EC, 1, 0),
        "mq_open": (b"nothing", 0, 0, 0),
        "move_pages": (0, 0, 0, 0, 0, 0xFFFF),
        "migrate_pages": (0, 0, 0, 0),
        "process_madvise": (-1, 0, 0, 0, 0xFFFF),
        "pkey_alloc": (0xFFFF, 0),
        "seccomp": (0xFFFF, 0, 0),
        "sched_setscheduler": (0, 1, 0),
"""

OTHERS = "clone clone3 fork socket connect tkill tgkill rt_sigqueueinfo getpid"

#: Of these an attack is told the numbers.
CALLS = (*OTHERS.split(), *(line.split('"')[1] for line in REFUSED.strip().splitlines()))


KERNEL = table(
    Attack(
        "tries-every-dangerous-system-call",
        """
        import ctypes, errno

        TABLE = {"""
        + REFUSED
        + """        }

        def target(x):
            libc = ctypes.CDLL(None, use_errno=True)
            through = []
            for name, arguments in TABLE.items():
                if arguments is not None and CALLS.get(name, -1) >= 0:
                    ctypes.set_errno(0)
                    done = libc.syscall(
                        CALLS[name],
                        *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments),
                    )
                    error = ctypes.get_errno()
                    if done >= 0 or error not in (errno.EPERM, errno.ENOSYS, errno.EACCES):
                        through.append(f"{name}: {errno.errorcode.get(error, done)}")
            raise RuntimeError("let through: " + (", ".join(through) or "none"))
        """,
        says="let through: none",
    ),
    Attack(
        "enters-by-the-x32-door",
        """
        import ctypes, platform

        def target(x):
            if platform.machine() != "x86_64":
                raise RuntimeError("shut")
            number = ctypes.CDLL(None, use_errno=True).syscall(0x40000000 | 39)
            raise RuntimeError("open" if number > 0 else "shut")
        """,
        says="shut|crashed|killed|bad system call",
    ),
    Attack(
        "enters-by-the-32-bit-door",
        """
        import ctypes, mmap, platform

        def target(x):
            if platform.machine() != "x86_64":
                raise RuntimeError("shut")
            code = bytes.fromhex("53 b8 14 00 00 00 cd 80 5b c3")  # getpid by int 0x80
            page = mmap.mmap(-1, 4096, prot=7)
            page.write(code)
            begin = ctypes.addressof(ctypes.c_char.from_buffer(page))
            number = ctypes.CFUNCTYPE(ctypes.c_int)(begin)()
            raise RuntimeError("open" if number > 0 else "shut")
        """,
        says="shut|crashed|killed|bad system call|PermissionError|OSError",
    ),
    Attack(
        "opens-a-terminal",
        """
        import fcntl, os, termios

        def target(x):
            done = []
            for fd in range(8):
                try:
                    fcntl.ioctl(fd, termios.TIOCSTI, b"a")
                    done.append(fd)
                except OSError:
                    pass
            for path in ("/dev/tty", "/dev/ptmx", "/dev/console"):
                try:
                    os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))
                    done.append(path)
                except OSError:
                    pass
            raise RuntimeError(f"done {done}")
        """,
        says=r"done \[\]",
    ),
    Attack(
        "makes-itself-readable-to-others",
        """
        import ctypes

        def target(x):
            libc = ctypes.CDLL(None)
            done = []
            if libc.prctl(39, 0, 0, 0, 0) == 0:  # PR_GET_NO_NEW_PRIVS
                done.append("new privileges")
            for capability in range(64):
                if libc.prctl(47, 2, capability, 0, 0) == 0:
                    done.append(f"ambient {capability}")
            if libc.prctl(21, 0, 0, 0, 0) == 0:  # PR_GET_SECCOMP
                done.append("no filter")
            raise RuntimeError(f"done {done}")
        """,
        says=r"done \[\]",
    ),
    Attack(
        "looks-for-capabilities",
        """
        import ctypes

        def target(x):
            head = (ctypes.c_uint32 * 2)(0x20080522, 0)
            data = (ctypes.c_uint32 * 6)()
            known = ctypes.CDLL(None).capget(head, data) == 0
            raise RuntimeError("some" if known and any(data[i] for i in (0, 1, 3, 4)) else "none")
        """,
        says="none",
    ),
    Attack(
        "runs-a-program-of-root",
        """
        import os

        def target(x):
            for path in ("/bin/su", "/usr/bin/sudo", "/bin/mount", "/usr/bin/bwrap"):
                try:
                    os.execv(path, [path, "--version"])
                except OSError:
                    pass
            raise RuntimeError("none")
        """,
        says="none",
    ),
    Attack(
        "mounts-in-a-namespace-of-its-own",
        """
        import ctypes, os

        def target(x):
            libc = ctypes.CDLL(None)
            done = []
            for flag in (0x10000000, 0x10020000, 0x20000, 0x40000000, 0x20000000):
                if libc.unshare(flag) == 0:
                    done.append(hex(flag))
            if libc.mount(b"none", b"/", b"tmpfs", 0, None) == 0:
                done.append("mount")
            if libc.umount2(b"/proc", 2) == 0 or libc.umount2(b"/tmp", 2) == 0:
                done.append("umount")
            raise RuntimeError(f"done {done}")
        """,
        says=r"done \[\]",
    ),
    Attack(
        "leaves-through-proc",
        """
        import os

        def target(x):
            seen = []
            for process in ("self", "1"):
                for way in ("root/etc/passwd", "cwd/..", "ns/user", "fd/0", "exe", "mem"):
                    try:
                        os.close(os.open(f"/proc/{process}/{way}", os.O_RDONLY))
                        seen.append(way)
                    except OSError:
                        pass
            raise RuntimeError(f"seen {seen}")
        """,
        says=r"seen \[\]",
        differs={
            "landlock": {
                "says": r"seen \['ns/user', 'fd/0', 'exe'\]",
                "why": "/proc is there; these three name what may be read, and setns is refused",
            }
        },
    ),
)
