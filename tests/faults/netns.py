"""A unit in a network namespace of its own, behind a wire that can be cut, slow and lossy (root only).

Two TUN devices, one in the unit's namespace, one outside, and this process between them: every IP packet
passes through `Wire`, which may drop it or hold it back. The kernel's own TCP deals with the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1500
_numbers = itertools.count(os.getpid() % 50 * 4)


def enter(namespace: str) -> None:
    """Move this thread, and those that it starts, into a network namespace; empty: stay."""
    if not namespace:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def missing() -> str:
    """What this machine lacks for a wire between namespaces; empty when nothing."""
    try:
        with Wire(random.Random(0)):
            return ""
    except (OSError, subprocess.CalledProcessError) as cause:
        return f"network namespaces with TUN devices ({cause})"


class Wire:
    """A namespace `name`, in which `outside` is an address of this machine, reached by this wire only."""

    def __init__(self, rng: random.Random) -> None:
        number = next(_numbers) % 200 + 20
        self.name = f"edgeagent-faults-{os.getpid()}-{number}"
        self.outside, self.inside = f"10.213.{number}.1", f"10.213.{number}.2"
        self.up = True
        self.delay_s, self.jitter_s, self.loss = 0.0, 0.0, 0.0
        self._rng = rng
        self._tuns: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="wire", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for tun in self._tuns:
            os.close(tun)
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _ip("netns", "del", self.name)

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")  # paho wakes its own thread through it
        tag = self.name.rsplit("-", 1)[1]
        for end in ("a", "b"):
            self._tuns.append(_open_tun(f"eaf{tag}{end}"))
        _ip("link", "set", f"eaf{tag}b", "netns", self.name)
        for device, own, other, place in (
            (f"eaf{tag}a", self.outside, self.inside, ()),
            (f"eaf{tag}b", self.inside, self.outside, ("-n", self.name)),
        ):
            _ip(*place, "addr", "add", own, "peer", other, "dev", device)
            _ip(*place, "link", "set", device, "up")

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        across = {self._tuns[0]: self._tuns[1], self._tuns[1]: self._tuns[0]}
        while not self._stop.is_set():
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, to, packet = heapq.heappop(waiting)
                with contextlib.suppress(OSError):
                    os.write(to, packet)
            wait = min(0.05, max(waiting[0][0] - now, 0.0)) if waiting else 0.05
            for tun in select.select(self._tuns, [], [], wait)[0]:
                packet = os.read(tun, MTU + 64)
                if self.up and self._rng.random() >= self.loss:
                    due = now + self.delay_s + self._rng.random() * self.jitter_s
                    heapq.heappush(waiting, (due, next(order), across[tun], packet))


def _open_tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)
