r"""Which system calls a submission may make: a list of what computing needs, and nothing else.

Files can be read and written as far as the other fences let them; their owners, rights and times
cannot be changed, because Landlock does not guard these. There is a socket already, the line to
the grader; no other can be made. Threads can be started, processes cannot. What is forbidden
fails with "operation not permitted" and what is not known here with "not implemented", for which
the C library has a way out; nothing kills.
"""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from functools import cache

from coursepkg.grading.worker.confine import OWN_PID

__all__ = ["FORBIDDEN", "PERMITTED", "program"]

#: Permitted with any arguments.
PERMITTED: dict[str, str] = {
    "files": """
        open openat creat close close_range read write pread64 pwrite64 readv writev preadv pwritev
        lseek stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat
        getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat
        rename renameat renameat2 link linkat symlink symlinkat truncate ftruncate
        fsync fdatasync dup dup2 dup3 pipe pipe2 sendfile copy_file_range umask statfs fstatfs""",
    "line": "sendto recvfrom getsockname getpeername getsockopt shutdown",
    "waiting": """
        poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
        eventfd2 wait4 waitid pause restart_syscall""",
    "memory": "brk mmap munmap mremap mprotect madvise mincore msync membarrier get_mempolicy",
    "threads": """
        futex set_robust_list get_robust_list set_tid_address rseq gettid sched_yield
        sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
        sched_get_priority_min exit exit_group arch_prctl""",
    "signals": """
        rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait
        sigaltstack""",
    "time": """
        clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
        getitimer setitimer alarm getrusage""",
    "facts": """
        getpid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid
        getgroups getrlimit uname sysinfo getcpu getrandom getpriority capget""",
}

#: Refused, whatever the arguments; what is not named anywhere is "not implemented".
FORBIDDEN: dict[str, str] = {
    "processes": "fork vfork execve execveat ptrace process_vm_readv process_vm_writev kcmp",
    "others": """
        tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_getfd pidfd_send_signal setpgid
        setsid setpriority sched_setaffinity sched_setparam sched_setscheduler sched_setattr
        ioprio_set process_madvise process_mrelease setrlimit""",
    "sockets": """
        socket socketpair connect bind listen accept accept4 sendmsg sendmmsg recvmsg recvmmsg
        setsockopt""",
    "attributes": """
        chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
        utime utimes futimesat utimensat setxattr lsetxattr fsetxattr
        removexattr lremovexattr fremovexattr flock mknod mknodat""",
    "shared memory": """
        memfd_create memfd_secret shmget shmat shmctl shmdt semget semop semctl semtimedop
        msgget msgsnd msgrcv msgctl mq_open mq_unlink mlock mlock2 mlockall""",
    "identity": """
        setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset
        personality""",
    "mounts": """
        mount umount2 pivot_root chroot unshare setns fsopen fsconfig fsmount fspick move_mount
        open_tree mount_setattr name_to_handle_at open_by_handle_at""",
    "kernel": """
        bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl
        add_key request_key seccomp landlock_create_ruleset landlock_add_rule
        landlock_restrict_self init_module finit_module delete_module kexec_load kexec_file_load
        reboot swapon swapoff syslog acct quotactl settimeofday clock_settime clock_adjtime
        adjtimex sethostname setdomainname iopl ioperm vhangup inotify_init inotify_init1
        fanotify_init""",
}

CLONE_THREAD = 0x10000
#: Every flag that asks for a namespace.
CLONE_NEW = 0x7E020080
PR_SET_NAME, PR_GET_NAME, PR_SET_VMA = 15, 16, 0x53564D41
COMMANDS = {
    "fcntl": (
        fcntl.F_DUPFD,
        fcntl.F_DUPFD_CLOEXEC,
        fcntl.F_GETFD,
        fcntl.F_SETFD,
        fcntl.F_GETFL,
        fcntl.F_SETFL,
    ),
    "ioctl": (termios.FIONBIO, termios.FIOCLEX, termios.FIONCLEX, termios.FIONREAD, termios.TCGETS),
    "prctl": (PR_SET_NAME, PR_GET_NAME, PR_SET_VMA),
}


@cache
def program() -> bytes:
    r"""Return the filter, in the form that the kernel takes.

    Raises
    ------
    ImportError, RuntimeError
        Without pyseccomp, or without the library under it.
    """
    import pyseccomp as seccomp

    def allow(name: str, *conditions: seccomp.Arg) -> None:
        rules.add_rule(seccomp.ALLOW, name, *conditions)

    def refuse(name: str, *conditions: seccomp.Arg) -> None:
        rules.add_rule(seccomp.ERRNO(errno.EPERM), name, *conditions)

    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    rules.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    here = seccomp.system_arch()

    def known(table: dict[str, str]) -> list[str]:
        names = " ".join(table.values()).split()
        return [name for name in names if seccomp.resolve_syscall(here, name) >= 0]

    for name in known(PERMITTED):
        allow(name)
    for name in known(FORBIDDEN):
        refuse(name)
    allow("clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD | CLONE_NEW, CLONE_THREAD))
    refuse("clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    for name in ("kill", "tgkill"):
        allow(name, seccomp.Arg(0, seccomp.EQ, OWN_PID))
    allow("prlimit64", seccomp.Arg(0, seccomp.EQ, 0))
    for name, position in (("fcntl", 1), ("ioctl", 1), ("prctl", 0)):
        for command in COMMANDS[name]:
            allow(name, seccomp.Arg(position, seccomp.EQ, command))
    descriptor = os.memfd_create("filter")
    with os.fdopen(descriptor, "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
