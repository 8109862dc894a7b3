"""One SSH connection to a unit, shared by every step; the unit must be known and the key must be right."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unit.faults import ConnectionLostError, FolderError

CONNECT_S = 10
LINGER_S = 20
"""How long the shared connection outlives a desk that was killed."""
SSH_FAILED = 255
STRICT = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "ConnectTimeout": str(CONNECT_S),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
}
# Neither may begin with a dash: ssh would take it for an option.
HOST = re.compile(r"^[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]{0,252}$")
USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")

KNOWN = (
    (
        "Permission denied",
        "the unit refuses the key",
        "KEY= must be the key whose public half is on the unit",
    ),
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "this is not the machine that had this name before",
        "stop: was the card replaced? Compare its fingerprint with the delivery note, then ssh-keygen -R",
    ),
    (
        "Host key verification failed",
        "this machine is not known",
        "compare the fingerprint that ssh shows with the delivery note: ssh HOST, once, by hand",
    ),
    ("Could not resolve hostname", "nobody knows this name", "give the unit's address as HOST="),
    ("Connection refused", "is there, but has no SSH", "wait a minute if it is starting; else check PORT="),
    ("No route to host", "is not there", "check cable and power"),
    (
        "timed out",
        "does not answer",
        "check cable, power and your own address; its packet filter may not know you",
    ),
    ("Identity file", "the key file cannot be read", "check KEY="),
)


@dataclass(frozen=True)
class Target:
    """Whom to speak to; checked, since all of it goes onto a command line."""

    host: str
    user: str = "root"
    port: int = 22
    key: Path | None = None
    known_hosts: Path | None = None

    def __post_init__(self) -> None:
        for name, value, pattern in (("HOST", self.host, HOST), ("USER", self.user, USER)):
            if not pattern.match(value):
                raise FolderError(
                    "is not a name", where=f"{name}={value!r}", next_step="letters, digits, dots"
                )
        for name, file in (("KEY", self.key), ("KNOWN_HOSTS", self.known_hosts)):
            if file is not None and not file.is_file():
                raise FolderError(
                    "there is no such file", where=f"{name}={file}", next_step="correct the path"
                )

    def options(self) -> list[str]:
        """ssh's options."""
        said = [f"-o{name}={value}" for name, value in STRICT.items()] + [
            "-p",
            str(self.port),
            "-l",
            self.user,
        ]
        if self.key is not None:
            said += ["-i", str(self.key), "-oIdentitiesOnly=yes"]
        if self.known_hosts is not None:
            said += [f"-oUserKnownHostsFile={self.known_hosts}", "-oGlobalKnownHostsFile=/dev/null"]
        return said


@dataclass(frozen=True)
class Link:
    """A connection that stands."""

    target: Target
    socket: Path

    def popen(self, command: list[str], stdin: int | IO[bytes] | None) -> subprocess.Popen[bytes]:
        """Start a command on the unit, as root."""
        return subprocess.Popen(
            self._call(["-S", str(self.socket)], command),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, command: list[str], content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command on the unit, as root.

        Raises:
            ConnectionLostError: the connection is gone.
        """
        done = subprocess.run(
            self._call(["-S", str(self.socket)], command), input=content, capture_output=True, check=False
        )
        if done.returncode == SSH_FAILED:
            raise lost(self.target, done.stderr.decode(errors="replace"))
        return done

    def run_anew(self, command: list[str]) -> bool:
        """Run a command over a connection of its own; whether that came through."""
        call = self._call(["-oControlMaster=no", "-oControlPath=none"], command)
        return (
            subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
        )

    def _call(self, how: list[str], command: list[str]) -> list[str]:
        root = [] if self.target.user == "root" else ["sudo", "-n"]
        line = shlex.join([*root, *command])
        return ["ssh", *how, *self.target.options(), "--", self.target.host, line]


@contextmanager
def connected(target: Target) -> Iterator[Link]:
    """Log in once.

    Raises:
        ConnectionLostError: with the reason, and what to do.
    """
    with tempfile.TemporaryDirectory(prefix="edgeagent-") as folder:
        socket, errors = Path(folder) / "ssh", Path(folder) / "errors"
        master = ["-f", "-N", "-M", "-S", str(socket), f"-oControlPersist={LINGER_S}"]
        with errors.open("wb") as file:
            call = ["ssh", *master, *target.options(), "--", target.host]
            code = subprocess.run(
                call, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
            ).returncode
        if code != 0:
            raise lost(target, errors.read_text(errors="replace"))
        try:
            yield Link(target, socket)
        finally:
            leave = ["ssh", "-q", "-S", str(socket), "-O", "exit", "--", target.host]
            subprocess.run(leave, capture_output=True, check=False)


def lost(target: Target, said: str) -> ConnectionLostError:
    """ssh's words as a named fault."""
    for words, what, next_step in KNOWN:
        if words in said:
            return ConnectionLostError(
                what, where=target.host, next_step=next_step.replace("HOST", target.host, 1)
            )
    last = (said.strip().splitlines() or ["the connection broke"])[-1]
    return ConnectionLostError(
        f"connection lost: {last}", where=target.host, next_step="look how it stands: make status"
    )


def send(
    link: Link, command: list[str], file: IO[bytes], told: Callable[[int], None], piece: int = 1 << 20
) -> subprocess.CompletedProcess[bytes]:
    """Pour a file into a command on the unit; `told` hears how many octets went each time."""
    process = link.popen(command, subprocess.PIPE)
    assert process.stdin is not None
    try:
        while block := file.read(piece):
            process.stdin.write(block)
            told(len(block))
    except BrokenPipeError:
        pass  # what it says on standard output is the reason
    out, err = process.communicate()
    if process.returncode == SSH_FAILED:
        raise lost(link.target, err.decode(errors="replace"))
    return subprocess.CompletedProcess(command, process.returncode, out, err)
