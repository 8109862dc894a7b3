"""Feeding the service manager's watchdog: by progress only, never by a timer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.notify import Notifier

TELL_EVERY_NS = 1 * SECOND


@dataclass(slots=True)
class Progress:
    """Told after each whole turn of the loop: messages taken, frame looked at, alerts sent, state made.

    One thread does all of these, so a turn that ends is progress of each; a camera that gives no frames is
    closed by its own process within seconds, and the state says `degraded`. The link to the broker has a
    thread of its own: if that is gone, nothing is fed.
    """

    notifier: Notifier
    link_lives: Callable[[], bool]
    _ready: bool = False
    _next_ns: int = 0

    def turned(self, status: str, now: Instant) -> None:
        """A turn was made; `status` is what `systemctl status` shows."""
        if not self._ready:
            self._ready = True
            self.notifier.ready()
        if now.monotonic_ns >= self._next_ns and self.link_lives():
            self._next_ns = now.monotonic_ns + TELL_EVERY_NS
            self.notifier.alive(status)

    def ends(self) -> None:
        """The daemon ends in order."""
        self.notifier.stopping()
