"""One emulated unit: QEMU's q35 with a card, a TPM, a hardware watchdog, a console and a shell line."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from edgeagent.demo.tied import tied
from tests.image.guest import GuestError
from tests.vm.root import Base

MEMORY_MIB = 1536
CORES = 2
POLL_S = 0.1
READY = r"Started edgeagent\.s"
CPU = "max,la57=off,avx=off,avx2=off,fma=off,f16c=off"
"""Its wide instructions are emulated by far slower than the old ones."""
KERNEL = (
    "console=ttyS0 quiet loglevel=3 net.ifnames=0 mitigations=off no5lvl tsc=reliable panic=0 "
    "systemd.show_status=1 random.trust_cpu=on"
)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bM|\r")
WAIT_S = 900.0
"""For a machine that has much other work."""


@dataclass
class Guest:
    """A unit that is switched on and off; `card` is served by somebody else."""

    base: Base
    folder: Path
    card: Path
    papers: Path | None = None
    """A tar that a technician brings along, as a second disk."""
    boots: int = field(default=0, init=False)
    halted: bool = field(default=False, init=False)
    """Set from another thread when all is to end: it is not switched on again."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _tpm: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _line: socket.socket | None = field(default=None, init=False)
    _there: bool = field(default=False, init=False)
    _asked: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)

    @property
    def console(self) -> Path:
        """What this boot said on its console."""
        return self.folder / f"console-{self.boots:03}.log"

    def start(self, *, tpm: str = "tpm") -> None:
        """Power on, with a cold TPM whose memory is in the folder of that name."""
        if self.halted:
            raise GuestError("halted")
        self.boots += 1
        self._asked = 0
        self._start_tpm(self.folder / tpm)
        for name in ("shell", "qmp"):
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / "qemu.log").open("ab") as log:
            self._process = _start(self._command(), log)
        self._began = time.monotonic()
        self.rebooted()
        self._dial()

    def _command(self) -> list[str]:
        here = self.folder
        command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU]
        command += ["-smp", str(CORES), "-m", str(MEMORY_MIB), "-display", "none", "-monitor", "none"]
        command += ["-kernel", str(self.base.kernel), "-initrd", str(self.base.initrd), "-append", KERNEL]
        # The card's own cache is what a cut loses; the emulator must keep none of its own beside it.
        disk = f"file.driver=nbd,file.server.type=unix,file.server.path={self.card},format=raw,cache=none"
        command += ["-drive", f"if=none,id=card,{disk}", "-device", "virtio-blk-pci,drive=card"]
        if self.papers is not None:
            command += ["-drive", f"if=none,id=papers,format=raw,readonly=on,file={self.papers}"]
            command += ["-device", "virtio-blk-pci,drive=papers"]
        command += ["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]
        command += ["-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset"]
        command += ["-chardev", f"socket,id=tpm,path={here / 'tpm.ctrl'}"]
        command += ["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]
        command += ["-serial", f"file:{self.console}"]
        command += ["-serial", f"unix:{here / 'shell'},server=on,wait=off"]
        return [*command, "-qmp", f"unix:{here / 'qmp'},server=on,wait=off"]

    def _start_tpm(self, memory: Path) -> None:
        memory.mkdir(mode=0o700, exist_ok=True)
        control = self.folder / "tpm.ctrl"
        control.unlink(missing_ok=True)
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={memory}", "--ctrl"]
        with (self.folder / "tpm.log").open("ab") as log:
            self._tpm = _start([*command, f"type=unixio,path={control}"], log)
        end = time.monotonic() + WAIT_S
        while not control.exists():
            if time.monotonic() > end or self._tpm.poll() is not None:
                raise GuestError(f"swtpm does not start; see {self.folder / 'tpm.log'}")
            time.sleep(POLL_S)

    def kill(self) -> float:
        """Pull the plug: SIGKILL. How long it was on, in seconds."""
        on_s = time.monotonic() - self._began
        for process in (self._process, self._tpm):
            if process is not None:
                process.kill()
                process.wait(30)
        if self._line is not None:
            self._line.close()
        self._process = self._tpm = self._line = None
        return on_s

    @property
    def on_s(self) -> float:
        """How long it has been on."""
        return time.monotonic() - self._began

    def said(self) -> str:
        """Everything that this boot said on its console so far."""
        if not self.console.exists():
            return ""
        return ESCAPES.sub("", self.console.read_text(errors="replace"))

    def expect(self, pattern: str, seconds: float = WAIT_S, times: int = 1) -> float:
        """Wait until the console says it so many times; how long the unit has been on by then.

        Raises:
            GuestError: it did not in that time, or the emulator ended.
        """
        end = time.monotonic() + seconds
        while len(re.findall(pattern, self.said())) < times:
            self._alive()
            if time.monotonic() > end:
                raise self._failed(f"nothing like {pattern!r} within {seconds:.0f} s")
            time.sleep(POLL_S)
        return self.on_s

    def ready(self, seconds: float = WAIT_S) -> float:
        """Wait until systemd has the daemon's READY; seconds since power on."""
        return self.expect(READY, seconds)

    def run(self, command: str, *, seconds: float = WAIT_S, check: bool = True) -> str:
        """Run a command as root in the unit; what it printed.

        Raises:
            GuestError: it failed, took longer, or the unit is gone.
        """
        number = self._ask(command)
        pattern = re.compile(rf"\n{number} (\d+) ([A-Za-z0-9+/=]*)\.")
        end, said = time.monotonic() + seconds, ""
        while (found := pattern.search(said)) is None:
            if time.monotonic() > end:
                raise self._failed(f"{command[:80]!r} took longer than {seconds:.0f} s")
            said += self._hear()
        text = base64.b64decode(found[2]).decode(errors="replace").strip()
        if check and found[1] != "0":
            raise self._failed(f"{command[:80]!r} ended with {found[1]}: {text[-600:]}")
        return text

    def _ask(self, command: str) -> str:
        self._shell()
        assert self._line is not None
        self._asked += 1
        number = f"{self.boots:03}{self._asked:04}"
        self._line.sendall(f"\n{number} {base64.b64encode(command.encode()).decode()}\n".encode())
        return number

    def _dial(self) -> None:
        """The line to the shell; nothing that it says is missed, since it is there before the kernel is."""
        end = time.monotonic() + WAIT_S
        while not (self.folder / "shell").exists():
            self._alive()
            if time.monotonic() > end:
                raise self._failed("no line to the shell")
            time.sleep(POLL_S)
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(self.folder / "shell"))
        self._line.settimeout(1.0)

    def _shell(self) -> None:
        """Wait until the shell of this boot has said that it is there."""
        end, said = time.monotonic() + WAIT_S, ""
        while not self._there:
            if time.monotonic() > end:
                raise self._failed("no shell")
            said += self._hear()
            self._there = "shell ready" in said

    def _hear(self) -> str:
        assert self._line is not None
        self._alive()
        try:
            return self._line.recv(65536).decode(errors="replace").replace("\r", "")
        except TimeoutError:
            return ""

    def power_off(self, seconds: float = WAIT_S) -> None:
        """Switch off in order, as a technician does."""
        assert self._process is not None
        self._ask("systemctl --no-block poweroff")
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._failed(f"not off after {seconds:.0f} s") from None
        self.kill()

    def rebooted(self) -> None:
        """The unit has restarted: its shell is another one."""
        self._there = False

    def watchdog_events(self) -> QmpEvents:
        """What the emulator says of its watchdog and of resets."""
        return QmpEvents(self.folder / "qmp")

    def _alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise self._failed("the emulator ended")

    def _failed(self, why: str) -> GuestError:
        lines = [line for line in self.said().splitlines() if line.strip() and "] Job " not in line]
        last = "\n".join(lines[-15:])
        return GuestError(f"{why}; {self.console} ends with:\n{last}")


class QmpEvents:
    """The emulator's own word about what happened to its hardware."""

    def __init__(self, address: Path) -> None:
        """Connect and listen."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(address))
        self._socket.settimeout(1.0)
        self._socket.sendall(b'{"execute": "qmp_capabilities"}\n')
        self._rest = b""

    def wait(self, name: str, seconds: float) -> bool:
        """Whether an event of this name came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                self._rest += self._socket.recv(65536)
            *lines, self._rest = self._rest.split(b"\n")
            if any(json.loads(line).get("event") == name for line in lines if line.strip()):
                return True
        return False

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _start(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process that dies with the thread that started it."""
    program = shutil.which(command[0])
    if program is None:
        raise GuestError(f"{command[0]} is not installed")
    return subprocess.Popen(
        tied([program, *command[1:]]),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "TMPDIR": "/tmp"},
    )
