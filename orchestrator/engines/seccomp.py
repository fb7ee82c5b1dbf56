"""Which calls of the kernel a worker's container may make: those that a framework needs.

The profile of Docker 20.10 lets containers speak to the hypervisor over AF_VSOCK. This one opens four families of
sockets, and is the same under each release of Docker. What it does not name has "no such call" as its answer, so that a
library falls back as on an older kernel; what is refused, and was refused by Docker's, has "not permitted".
Sources: syscalls(2), seccomp(2), https://docs.docker.com/engine/security/seccomp/.
"""

import errno
import json
from typing import Any

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
ARCHITECTURES |= {"amd64": ARCHITECTURES["x86_64"], "arm64": ARCHITECTURES["aarch64"]}  # as podman calls them
"""Where the list has been tried or holds; elsewhere Docker's own profile stands."""

_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_NAMESPACES = 0x7E020000
"""The flags of clone(2) that make a namespace, in which a process has all rights."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_FILES = """
access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr
fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioctl lchown
lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat newfstatat
open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat sync
sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev
"""

_MEMORY = """
brk get_thread_area madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock
munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages set_thread_area shmat shmctl shmdt shmget
"""

_PROCESSES = """
alarm arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv
futex_wake get_robust_list getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid getppid getpriority
getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
set_robust_list set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid
setresuid setreuid setrlimit setsid setuid sigaltstack tgkill tkill uname vfork wait4 waitid
"""

_TALK = """
accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
getpeername getsockname getsockopt listen mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink
msgctl msgget msgrcv msgsnd pipe pipe2 poll ppoll pselect6 recvfrom recvmmsg recvmsg select semctl semget semop
semtimedop sendmmsg sendmsg sendto setsockopt shutdown signalfd signalfd4 socketpair
"""

_TIME = """
clock_getres clock_gettime clock_nanosleep getcpu getrandom gettimeofday nanosleep sysinfo time timer_create
timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times
"""

_REFUSED = """
acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig fsmount
fsopen fspick get_mempolicy init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
migrate_pages mount mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree perf_event_open
pivot_root process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot request_key set_mempolicy
set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon syslog umount2 unshare userfaultfd
vhangup
"""


def profile(architecture: str) -> str | None:
    """The profile as JSON, for Docker's option `seccomp`; None for an architecture of which the calls are not known."""
    if architecture not in ARCHITECTURES:
        return None
    allowed = [name for group in (_FILES, _MEMORY, _PROCESSES, _TALK, _TIME) for name in group.split()]
    rules = [_allow(allowed), _refuse(_REFUSED.split(), errno.EPERM), _refuse(["clone3"], errno.ENOSYS)]
    rules += [_allow(["socket"], _argument(0, family)) for family in _FAMILIES.values()]
    rules += [_allow(["personality"], _argument(0, value)) for value in _PERSONALITIES]
    rules.append(_allow(["clone"], {"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}))
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": errno.ENOSYS,
            "archMap": [{"architecture": ARCHITECTURES[architecture], "subArchitectures": []}],
            "syscalls": rules,
        }
    )


def _allow(names: list[str], *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


def _refuse(names: list[str], number: int) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": []}


def _argument(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}
