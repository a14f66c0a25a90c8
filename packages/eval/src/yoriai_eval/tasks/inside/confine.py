"""Shutting a process in: namespaces of Linux, resource limits, no privileges.

Sources: namespaces(7), user_namespaces(7), pivot_root(2), mount_setattr(2), capabilities(7),
prctl(2). Linux 5.12 or later, for read-only mounts with all that is mounted below them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BROKEN = 125  # exit status: could not be shut in
KILLED = 9  # exit status: what was inside was ended by a signal
_NOBODY = 65534
_INSIDE_ID = 1  # never 0, to which execve would give capabilities
_CLONE = {
    "mount": 0x00020000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_RDONLY = 2, 4, 32, 1
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH, _AT_RECURSIVE = 2, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2
# keyctl(2), by machine; uses one number on those that came later (asm-generic/unistd.h).
_SYS_KEYCTL = {
    "x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "ppc64le": 271, "s390x": 280,
}  # fmt: skip
_JOIN_SESSION_KEYRING = 1
_SYS_MOUNT_SETATTR = 442  # the same on all architectures
_PDEATHSIG, _SET_DUMPABLE, _CAPBSET_DROP, _CHILD_SUBREAPER, _NO_NEW_PRIVS = 1, 4, 24, 36, 38
_CAPABILITY_VERSION_3 = 0x20080522


def shut_in(limits: Mapping[str, Any], folder: str) -> None:
    """Go on in a child that is shut in; the caller's process waits for it, then exits.

    ``limits`` has ``isolation`` (``namespaces`` or ``none``), ``cpu_seconds``, ``memory``,
    ``file`` and ``folder`` in bytes, ``processes``. ``folder`` is empty; in namespaces something
    else is mounted there. The caller ends with BROKEN if this is not possible, with KILLED if the
    child was ended by a signal, else with 0. SIGTERM ends the child and all that it started.
    """
    spaces = limits["isolation"] == "namespaces"
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if spaces:
        assert library is not None
        _enter(library)
        _hide(library, Path(folder), limits)
    elif library is not None:
        library.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
    if library is not None:
        library.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    ready, told = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = os.fork()
    if child:
        _wait(child, spaces, ready, told)
    os.close(ready)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if spaces:
        assert library is not None
        _drop(library)
        os.chdir("/tmp")
    else:
        os.setsid()
        os.chdir(folder)
    if library is not None:
        _leave_keys(library, must=spaces)
        _checked(library.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(library.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        library.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    _limit(limits)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.write(told, b"1")
    os.close(told)


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _enter(library: ctypes.CDLL) -> None:
    """Enter new namespaces; as root, also hold an account that owns nothing."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        os.setgroups([])
    mine = os.getpid()
    ready, done = os.pipe(), os.pipe()
    helper = os.fork() if user == 0 else 0
    if helper == 0 and user == 0:  # only a process outside may give a second account
        failed = 1
        try:
            os.close(ready[1])
            if os.read(ready[0], 1):
                for name in ("uid_map", "gid_map"):
                    lines = f"0 0 1\n{_INSIDE_ID} {_NOBODY} 1\n"
                    Path(f"/proc/{mine}/{name}").write_text(lines)
                failed = 0
        finally:
            os._exit(failed)
    _checked(library.unshare(sum(_CLONE.values())))
    if helper:
        os.write(ready[1], b"1")
        _, status = os.waitpid(helper, 0)
    for descriptor in (*ready, *done):
        os.close(descriptor)
    if not helper or status:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_INSIDE_ID} {user} 1\n")
        Path("/proc/self/gid_map").write_text(f"{_INSIDE_ID} {group} 1\n")


def _hide(library: ctypes.CDLL, root: Path, limits: Mapping[str, Any]) -> None:
    """A root folder with Python and its libraries, read only, and an empty ``/tmp``."""

    def mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
        words = (source.encode(), bytes(target), kind.encode())
        _checked(library.mount(*words, ctypes.c_ulong(flags), options.encode()))

    # No further namespaces, so no new mounts; no shared memory outside the address space.
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    with contextlib.suppress(OSError):
        Path("/proc/sys/kernel/shmall").write_text("0")
    mount("none", Path("/"), "", _MS_REC | _MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for source in _sources():
        target = root / str(source).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
            continue
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mount(str(source), target, "", _MS_BIND | _MS_REC)
        attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0)
        _checked(
            library.syscall(_SYS_MOUNT_SETATTR, -100, bytes(target), _AT_RECURSIVE, attributes, 32)
        )
    place = root / "tmp"
    place.mkdir()
    options = f"size={limits['folder']},nr_inodes=1000,mode=1777"
    mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    mount("none", root, "", flags)
    os.chdir(root)
    _checked(library.pivot_root(b".", b"."))
    _checked(library.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def _sources() -> list[Path]:
    """What Python needs of the file system, outermost first."""
    wanted = {Path(sys.base_prefix), Path(sys.base_exec_prefix), Path("/dev/null")}
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
    wanted |= {place for name in system if (place := Path(name)).exists()}
    wanted |= {place.resolve() for place in wanted if place != Path("/dev/null")}
    found: list[Path] = []
    for place in sorted(wanted):
        if place == Path("/"):
            raise OSError("Python is installed at the root of the file system")
        if not any(parent in found for parent in place.parents):
            found.append(place)
    return found


def _drop(library: ctypes.CDLL) -> None:
    """Give up every capability, also those that a program could be given by execve."""
    capability = 0
    while library.prctl(_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    os.setresgid(_INSIDE_ID, _INSIDE_ID, _INSIDE_ID)
    os.setresuid(_INSIDE_ID, _INSIDE_ID, _INSIDE_ID)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(library.capset(header, (ctypes.c_uint32 * 6)()))


def _leave_keys(library: ctypes.CDLL, *, must: bool) -> None:
    """Take a keyring of its own: that of the person's session is shared by all namespaces.

    Raises OSError where it cannot, if it ``must``: a program that is not shut in reads more.
    """
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is None and not must:
        return
    if number is None:
        raise OSError(errno.ENOSYS, f"the keyrings of {os.uname().machine} are not known here")
    joined = library.syscall(number, _JOIN_SESSION_KEYRING, None) >= 0
    # Where the call is not there or not allowed, the program has it no more than we.
    if must and not joined and (error := ctypes.get_errno()) not in (errno.ENOSYS, errno.EPERM):
        raise OSError(error, os.strerror(error))


def _limit(limits: Mapping[str, Any]) -> None:
    import resource

    wanted = {
        "CPU": limits["cpu_seconds"],
        "AS": limits["memory"],
        "FSIZE": limits["file"],
        "NPROC": limits["processes"],
        "NOFILE": 64,
        "CORE": 0,
    }
    for name, limit in wanted.items():
        try:
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
        except (AttributeError, ValueError, OSError):
            if limits["isolation"] == "namespaces":
                raise  # macOS does not limit the address space


def _wait(child: int, spaces: bool, ready: int, told: int) -> None:
    """Wait for the child, end all that it started, exit."""
    os.close(told)

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    stands = os.read(ready, 1)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    if not spaces:  # in namespaces all end with the first process
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    if not spaces:
        _reap()
    os._exit(BROKEN if not stands else KILLED if os.WIFSIGNALED(status) else 0)


def _reap() -> None:
    """End what left its process group: it became a child of this process, the subreaper."""
    place = Path(f"/proc/self/task/{os.getpid()}/children")
    while place.exists() and (left := place.read_text().split()):
        for name in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(name), signal.SIGKILL)
        for name in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(name), 0)
