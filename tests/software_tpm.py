"""A software TPM (swtpm) on loopback, whose plug can be pulled."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.system.enrol_keys import CREDS

WAIT_S = 60.0


class SoftwareTpm:
    """Its memory is in a folder and outlives its process, as a chip's outlives the power."""

    def __init__(self, folder: Path) -> None:
        """Make one, switched off."""
        folder.mkdir()
        self._folder = folder
        self._port = _two_free_ports()
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """As systemd-creds is told of it."""
        return f"swtpm:host=127.0.0.1,port={self._port}"

    def power_on(self) -> None:
        """Start it, as the firmware of a board does."""
        command = [
            "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            f"dir={self._folder}",
            "--flags",
            "startup-clear",
        ]
        command += ["--server", f"type=tcp,port={self._port},bindaddr=127.0.0.1"]
        command += ["--ctrl", f"type=tcp,port={self._port + 1},bindaddr=127.0.0.1"]
        self._running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for port in (self._port + 1, self._port):  # the second one listens a moment later
            _wait_for(port)

    def lose_power(self) -> None:
        """Without a word before."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor that takes commands, as the kernel's device does."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=WAIT_S) as line:
            line.settimeout(None)  # else the descriptor would not wait for an answer
            yield line.fileno()


@contextlib.contextmanager
def software_tpm(folder: Path) -> Iterator[SoftwareTpm]:
    """One that is switched on; skips where there is none, or systemd-creds cannot speak to it."""
    if shutil.which("swtpm") is None or shutil.which(CREDS) is None:
        pytest.skip("swtpm or systemd-creds is not installed")
    made = SoftwareTpm(folder)
    try:
        made.power_on()
        tried = subprocess.run(
            [CREDS, "encrypt", "--with-key=tpm2", f"--tpm2-device={made.name}", "--name=try", "-", "-"],
            input=b"x",
            capture_output=True,
        )
        if tried.returncode != 0:
            pytest.skip(f"systemd-creds cannot speak to swtpm (libtss2-tcti-swtpm?): {tried.stderr!r}")
        yield made
    finally:
        made.lose_power()


def _two_free_ports() -> int:
    """The library finds the control port at the next number."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
        return port
    raise AssertionError("no two neighbouring ports are free")


def _wait_for(port: int) -> None:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("swtpm does not listen")
