"""One emulated board: QEMU's `virt` with U-Boot, the card as a disk, a serial log, SSH through a loopback
port."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

LOADER = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
MEMORY_MIB = 2048
POLL_S = 1.0


class GuestError(Exception):
    """The guest did not do what a test waits for; with the last lines of its serial console."""


@dataclass
class Guest:
    """A board whose card is a layer over `card`: the file itself is never written."""

    card: Path
    folder: Path
    ssh_key: Path
    port: int = field(default=0)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _seen: int = field(default=0, init=False)
    _line: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.layer = self.folder / "card.qcow2"
        self.serial = self.folder / "serial.log"
        self.serial.touch()
        self._seen = len(self.said())
        base = str(self.card.resolve())
        layer = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", str(self.layer)]
        if not self.layer.exists():
            subprocess.run(layer, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self) -> None:
        """Power on."""
        command = [
            "qemu-system-aarch64",
            "-M",
            "virt",
            "-cpu",
            "cortex-a72",
            "-smp",
            "2",
            "-m",
            str(MEMORY_MIB),
        ]
        command += [
            "-accel",
            "tcg,thread=multi",
            "-bios",
            str(LOADER),
            "-display",
            "none",
            "-monitor",
            "none",
        ]
        command += ["-drive", f"if=none,id=card,file={self.layer},format=qcow2,cache=unsafe"]
        command += ["-device", "virtio-blk-pci,drive=card", "-device", "virtio-rng-pci"]
        command += ["-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "i6300esb"]
        command += ["-chardev", f"file,id=serial,path={self.serial},append=on", "-serial", "chardev:serial"]
        self._process = subprocess.Popen(command)

    def power_off(self) -> None:
        """Pull the plug."""
        self.hang_up()
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def reboot(self) -> None:
        """Restart in order; the connection may end before the answer comes."""
        with contextlib.suppress(GuestError):
            self.run("systemctl --no-block reboot", check=False)
        self.hang_up()

    def said(self) -> str:
        """Everything on the serial console so far."""
        return self.serial.read_text(errors="replace").replace("\r", "")

    def expect(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until the console says it, counted from the last thing that was expected.

        Raises:
            GuestError: it did not in that time, or the emulator ended.
        """
        end = time.monotonic() + seconds
        while True:
            found = re.compile(pattern).search(self.said(), self._seen)
            if found:
                self._seen = found.end()
                return found
            if time.monotonic() > end:
                raise self._failed(f"nothing like {pattern!r} within {seconds:.0f} s")
            if self._process is not None and self._process.poll() is not None:
                raise self._failed("the emulator ended")
            time.sleep(POLL_S)

    def run(
        self, command: str, *, seconds: float = 300, check: bool = True, content: bytes | None = None
    ) -> str:
        """Run a command by SSH, as a technician would; what it printed.

        Raises:
            GuestError: it failed, or took longer.
        """
        try:
            done = subprocess.run(
                [*self._ssh(), "root@127.0.0.1", command],
                input=content or b"",
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise self._failed(f"{command[:80]!r} took longer than {seconds:.0f} s") from None
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if check and done.returncode:
            raise self._failed(f"{command[:80]!r} ended with {done.returncode}: {said[-600:]}")
        return said

    def _ssh(self) -> list[str]:
        """One connection serves all commands: its handshake takes an emulated board half a minute."""
        words = ["ssh", "-q", "-i", str(self.ssh_key), "-p", str(self.port), "-S", str(self.folder / "line")]
        options = ("BatchMode=yes", "UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no")
        return words + [word for option in (*options, "ConnectTimeout=120") for word in ("-o", option)]

    def hang_up(self) -> None:
        """End the connection, before the board does."""
        if self._line is not None:
            self._line.kill()
            self._line.wait(30)
            self._line = None
        (self.folder / "line").unlink(missing_ok=True)

    def reachable(self, seconds: float) -> None:
        """Wait until SSH answers."""
        end = time.monotonic() + seconds
        while True:
            self.hang_up()
            quiet = subprocess.DEVNULL
            self._line = subprocess.Popen(
                [*self._ssh(), "-M", "-N", "root@127.0.0.1"], stdin=quiet, stdout=quiet, stderr=quiet
            )
            while self._line.poll() is None and not (self.folder / "line").exists():
                time.sleep(POLL_S)
            try:
                self.run("true", seconds=180)
                return
            except GuestError:
                if time.monotonic() > end:
                    raise
                if "slots: trying" in self.said()[self._seen :]:
                    raise self._failed("the board restarted by itself") from None
                time.sleep(3)

    def until(self, command: str, wanted: str, seconds: float) -> str:
        """Ask again and again until the answer contains `wanted`; a board that is too slow to answer is asked
        again."""
        end = time.monotonic() + seconds
        while True:
            try:
                said = self.run(command, check=False)
            except GuestError as slow:
                said = str(slow).splitlines()[0]
            if wanted in said:
                return said
            if time.monotonic() > end:
                raise self._failed(f"{command!r} says {said[-300:]!r}, not {wanted!r}")
            time.sleep(3)

    def _failed(self, why: str) -> GuestError:
        return GuestError(f"{why}; the console's last lines:\n" + "\n".join(self.said().splitlines()[-25:]))
