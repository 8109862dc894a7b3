"""Attempts to break out, run inside the daemon's sandbox; prints one line of JSON: attempt, and how it ended.

It runs in the place of the daemon, with every property of its service. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, SYS_FINIT_MODULE = 16, 313 if os.uname().machine == "x86_64" else 273
PROT_ALL = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
CLONE_NEWUSER = 0x10000000
ADJ_SETOFFSET = 0x0100


def call(name: str, *arguments: object) -> None:
    """A call of the C library that must not succeed."""
    if getattr(LIBC, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: str) -> None:
    """Opening is what is refused. Nothing is written: outside the sandbox this succeeds on the real file."""
    with Path(path).open("ab"):
        pass


def read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def strange_processes() -> None:
    """Another user's process must not be seen."""
    mine = f"Uid:\t{os.getuid()}\t"
    statuses = Path("/proc").glob("[0-9]*/status")
    seen = [status for status in statuses if mine not in status.read_text()]
    if not seen:
        raise PermissionError("none is seen")


def executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=PROT_ALL)


def become_root() -> None:
    os.setuid(0)


def set_user_id_file() -> None:
    Path("/tmp/suid").write_bytes(b"x")
    Path("/tmp/suid").chmod(0o4755)


def open_socket(family: int, kind: int) -> Callable[[], None]:
    def attempt() -> None:
        socket.socket(family, kind).close()

    return attempt


def call_the_broker() -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("/run/edgeagent-broker")


def kernels_clock(modes: int) -> None:
    """Ask for its state (no modes), or change it by nothing."""
    timex = modes.to_bytes(4, sys.byteorder) + bytes(508)
    call("adjtimex", ctypes.create_string_buffer(timex, len(timex)))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write /etc": lambda: write("/etc/probe"),
    "write /usr": lambda: write("/usr/bin/probe"),
    "write the program": lambda: write("/opt/edgeagent/bin/probe"),
    "write its configuration": lambda: write("/etc/edgeagent/edgeagent.toml"),
    "read /home": lambda: read("/home/technician/secret"),
    "read /root": lambda: read("/root/secret"),
    "read the sealed keys": lambda: read("/etc/edgeagent/credentials/unit.key"),
    "read the machine's own key": lambda: read("/var/lib/systemd/credential.secret"),
    "read /etc/shadow": lambda: read("/etc/shadow"),
    "read /dev/mem": lambda: read("/dev/mem"),
    "read /dev/sda": lambda: read("/dev/sda"),
    "make a device": lambda: os.mknod("/tmp/sda", 0o60666, os.makedev(8, 0)),
    "internet socket": open_socket(socket.AF_INET, socket.SOCK_STREAM),
    "internet socket, version 6": open_socket(socket.AF_INET6, socket.SOCK_STREAM),
    "raw socket": open_socket(socket.AF_INET, socket.SOCK_RAW),
    "packet socket": open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "netlink socket": open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "ptrace": lambda: call("ptrace", PTRACE_ATTACH, 1, 0, 0),
    "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "load a module": lambda: call("syscall", SYS_FINIT_MODULE, -1, b"", 0),
    "new namespace": lambda: call("unshare", CLONE_NEWUSER),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "turn the clock": lambda: kernels_clock(ADJ_SETOFFSET),
    "set the host's name": lambda: socket.sethostname("mine"),
    "become root": become_root,
    "make a set-user-id file": set_user_id_file,
    "other processes": strange_processes,
    "memory that is written and run": executable_memory,
    "real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    "keys of the kernel": lambda: call("syscall", 250 if os.uname().machine == "x86_64" else 219, 0, -3),
    "reboot": lambda: call("reboot", 0),
    "kernel's log": lambda: call("klogctl", 3, None, 0),
    "swap": lambda: call("swapon", b"/tmp/swap", 0),
}
ALLOWED: dict[str, Callable[[], object]] = {
    "write its data": lambda: write("/var/lib/edgeagent/probe"),
    "read its configuration": lambda: read("/etc/edgeagent/edgeagent.toml"),
    "read its opened key": lambda: read(os.environ["CREDENTIALS_DIRECTORY"] + "/unit.key"),
    "talk to the broker's socket": call_the_broker,
    "ask whether the clock is synchronised": lambda: kernels_clock(0),
}


def ended(attempt: Callable[[], object]) -> str:
    """How an attempt ended, made by a child, so that one that succeeds changes nothing for the next."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, tried(attempt).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answer = said.read()
    os.wait()
    return answer or "ended by a signal"


def tried(attempt: Callable[[], object]) -> str:
    """ "done", or the system's refusal."""
    try:
        attempt()
    except OSError as error:
        return error.strerror or str(error)
    return "done"


def main(only: list[str]) -> None:
    attempts = ATTEMPTS | ALLOWED
    found = {name: ended(attempts[name]) for name in only or attempts}
    print("PROBE " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
