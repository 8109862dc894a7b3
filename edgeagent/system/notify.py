"""Telling systemd how the daemon fares (sd_notify): a datagram to the socket that it names, or nothing.

systemd-python does the same, but is a C extension that a unit would need for these few lines.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

STATUS_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Notifier:
    """Where to tell it; an empty address tells nobody."""

    address: str

    @staticmethod
    def from_environment() -> Notifier:
        """The service manager that started this process, if one did."""
        return Notifier(os.environ.get("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """Everything that can be checked before a deployment was checked; the loop runs."""
        self._tell("READY=1")

    def alive(self, status: str) -> None:
        """Progress was made: feeds the watchdog, and `systemctl status` shows the line."""
        self._tell(f"WATCHDOG=1\nSTATUS={' '.join(status.split())[:STATUS_CHARACTERS]}")

    def stopping(self) -> None:
        """The daemon ends in order."""
        self._tell("STOPPING=1")

    def _tell(self, message: str) -> None:
        if not self.address:
            return
        # An abstract socket is written with @ and named with a zero octet.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.sendto(message.encode(), address)
