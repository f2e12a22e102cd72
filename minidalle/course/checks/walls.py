r"""Walls: what keeps a student's process from harming the grader, as far as the system has it.

in -> out   a process -> the same with limits, or in a room of its own: everything can be read but
            what is hidden, and nothing can be written but one folder; no network, no other process
idea        Limits and an end for all descendants are had everywhere. The room is made of Linux
            namespaces: `unshare` opens them, build() closes the doors behind itself, and gives
            away every right to open them again. The fence is Landlock, which asks for no right
            at all, so it is had inside of most containers too; it also stands round the room.
left out    a container with a system of its own; what a process learns from what it may read

Only the standard library: `python walls.py '["unshare", {...}]'` tries what can be built here.
"""
import ctypes
import json
import multiprocessing
import os
import signal
import struct
import sys
import time
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path

MEMORY, FILE, MORE = 2 ** 33, 2 ** 28, 512     # bytes of addresses, of a file; processes
DUMPABLE, SUBREAPER, NO_NEW_RIGHTS, DROP = 4, 36, 38, 24       # <linux/prctl.h>
BIND, READ_ONLY, RECURSIVE, MOUNT_SETATTR = 4096, 1, 0x8000, 442
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446        # <linux/landlock.h>
READ, LIST = 1 | 4 | 8, 8      # run, read, list; write, truncate and the like for a single file:
ONE_FILE = 1 | 2 | 4 | 1 << 14 | 1 << 15
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys")
GPUS = tuple(f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")) \
    if os.path.isdir("/dev") else ()
UNSHARE = ("unshare", "-U", "-r", "-m", "-p", "-f", "-n", "-i", "--kill-child", "--mount-proc")


def prctl(option: int, value: int) -> bool:
    """Linux alone has it; False elsewhere."""
    call = getattr(ctypes.CDLL(None), "prctl", None)
    return call is not None and call(option, value, 0, 0, 0) == 0


# ---- limits and the end

def limit(cpu: int) -> None:
    """For this process and all that it starts."""
    import resource  # not on Windows, where this file is imported too

    most = {"RLIMIT_CPU": cpu, "RLIMIT_FSIZE": FILE, "RLIMIT_CORE": 0,
            "RLIMIT_NPROC": len(running()) + MORE}
    if not os.path.exists("/dev/nvidiactl"):   # a driver takes more addresses than memory
        most["RLIMIT_AS"] = MEMORY
    for name, value in most.items():
        with suppress(ValueError, OSError, AttributeError):
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))


def running() -> list[str]:
    """All threads of all processes, where the system shows them."""
    with suppress(OSError):
        return [task for pid in os.listdir("/proc") if pid.isdigit()
                for task in tasks(pid)]
    return []


def tasks(pid: str) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def parents() -> dict[int, int]:
    """Of each process that the system shows, the one that has started it."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        with suppress(OSError, ValueError, IndexError):
            # subtle: the second field is a name that may hold blanks and brackets
            found[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2]
                                   .split()[1])
    return found


def descendants(root: int) -> set[int]:
    """All processes that this one has started, and those that they have."""
    family = parents()
    found, new = set(), {root}
    while new:
        new = {pid for pid, parent in family.items() if parent in new} - found
        found |= new
    return found


def end_all(before: set[int], seconds: float = 5.0) -> None:
    """End all descendants of this process but those it had before, however they are hidden."""
    until = time.monotonic() + seconds
    while (left := descendants(os.getpid()) - before) and time.monotonic() < until:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def end_orphans() -> None:
    """End what processes of multiprocessing have left to us, with all that it has started."""
    known = {child.pid for child in multiprocessing.active_children()}
    known.add(getattr(resource_tracker._resource_tracker, "_pid", None))
    for pid in {pid for pid, parent in parents().items() if parent == os.getpid()} - known:
        for one in (*descendants(pid), pid):
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
        with suppress(OSError):
            os.waitpid(pid, 0)


# ---- the room

def build(scratch: str, hidden: list[str], kept: list[str]) -> None:
    """Once inside of unshare. OSError if some wall cannot be put up."""
    for path in hidden:
        hide(path, [scratch, *kept])
    if lost := [path for path in kept if not os.path.isdir(path)]:
        raise OSError(f"{lost[0]} is hidden, and needed")
    mount(scratch, scratch, BIND)
    attributes("/", READ_ONLY, 0, RECURSIVE)
    attributes(scratch, 0, READ_ONLY, 0)
    for right in range(64):
        prctl(DROP, right)
    if not prctl(NO_NEW_RIGHTS, 1):
        raise OSError("rights cannot be given away")
    none = (ctypes.c_uint32 * 6)()
    asked(ctypes.CDLL(None, use_errno=True).capset((ctypes.c_uint32 * 2)(0x20080522, 0), none),
          "capset")


def hide(path: str, kept: list[str]) -> None:
    """An empty folder in its place, with those inside of it that are needed."""
    inside = {one: os.open(one, os.O_PATH) for one in kept
              if one.startswith(path.rstrip("/") + "/") and os.path.exists(one)}
    mount("tmpfs", path, 0, "tmpfs")
    for one, number in inside.items():
        if os.path.exists(one):                # it lies in one that is there again
            continue
        os.makedirs(one)
        mount(f"/proc/self/fd/{number}", one, BIND | 16384)        # with what is mounted in it
        os.close(number)


def mount(source: str, target: str, flags: int, kind: str | None = None) -> None:
    call = ctypes.CDLL(None, use_errno=True).mount
    asked(call(source.encode(), target.encode(), kind and kind.encode(),
               ctypes.c_ulong(flags), None), target)


def attributes(path: str, add: int, remove: int, flags: int) -> None:
    """mount_setattr(2), which takes locked mounts as they are; Linux 5.12 has it."""
    wanted = (ctypes.c_uint64 * 4)(add, remove, 0, 0)
    asked(ctypes.CDLL(None, use_errno=True).syscall(
        MOUNT_SETATTR, -100, path.encode(), flags, ctypes.byref(wanted), 32), path)


def asked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


# ---- the fence

def landlock() -> int:
    """The version that the kernel has of it; 0 if none."""
    call = getattr(ctypes.CDLL(None), "syscall", None)
    return max(0, call(CREATE_RULESET, None, 0, 1)) if call and sys.platform == "linux" else 0


def fence(scratch: str, kept: list[str], listed: list[str], files: list[str]) -> None:
    """Landlock: from now on nothing is written but in scratch, nothing is read but what the system
    and Python need, no TCP goes out, no signal. OSError if the kernel has none of it."""
    version = landlock()
    whole = (1 << {0: 0, 1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    limits = (ctypes.c_uint64 * 3)(whole, 3, 3)        # files; TCP; abstract sockets and signals
    lib = ctypes.CDLL(None, use_errno=True)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = lib.syscall(CREATE_RULESET, limits, size, 0)
    asked(min(rules, 0), "Landlock")
    devices = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "shm")]
    for access, paths in ((whole, [scratch, *devices, *GPUS]), (READ, [*SYSTEM, *kept, *files]),
                          (LIST, listed)):
        for path in filter(os.path.exists, paths):
            allow(lib, rules, path, access & whole)
    if not prctl(NO_NEW_RIGHTS, 1):
        raise OSError("rights cannot be given away")
    asked(lib.syscall(RESTRICT_SELF, rules, 0), "Landlock")
    os.close(rules)


def allow(lib, rules: int, path: str, access: int) -> None:
    number = os.open(path, os.O_PATH)
    if not os.path.isdir(path):
        access &= ONE_FILE
    rule = struct.pack("=Qi", access, number)
    asked(lib.syscall(ADD_RULE, rules, 1, rule, 0), path)
    os.close(number)


if __name__ == "__main__":
    way, told = json.loads(sys.argv[1])
    if way == "unshare":
        build(told["scratch"], told["hidden"], told["kept"])
    if landlock() or way == "landlock":
        fence(told["scratch"], told["kept"], told["listed"], told["files"])
