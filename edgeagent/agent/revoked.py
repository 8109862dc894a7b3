"""Which revocations this start of the daemon has carried out; its signed state shows the newest (R27)."""

from __future__ import annotations

from dataclasses import dataclass

MOST_SHOWN = 8


@dataclass(slots=True)
class CarriedOut:
    """In memory only: what was carried out is on the disk already, and whoever asks again is told again."""

    newest: tuple[str, ...] = ()

    def note(self, deployment: str) -> bool:
        """Note it; whether the state did not show it yet."""
        new = deployment not in self.newest
        others = tuple(name for name in self.newest if name != deployment)
        self.newest = (*others, deployment)[-MOST_SHOWN:]
        return new
