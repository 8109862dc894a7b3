"""Capped, jittered exponential back-off. Pure: the random source is an argument."""

from __future__ import annotations

import random
from dataclasses import dataclass

_LARGEST_EXPONENT = 62


@dataclass(frozen=True)
class Backoff:
    """Delays that double from `first_s` to `cap_s` seconds.

    Each is drawn between half and the whole of its step: units that lost one broker together must not
    come back together, and no delay is ever so short that a retry turns into a loop.
    """

    first_s: float
    cap_s: float

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.cap_s:
            raise ValueError(f"need 0 < first_s <= cap_s, got {self.first_s} and {self.cap_s}")

    def step_s(self, attempt: int) -> float:
        """The whole step of attempt number `attempt`, counted from 0."""
        return min(self.cap_s, self.first_s * 2.0 ** min(max(attempt, 0), _LARGEST_EXPONENT))

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after failed attempt number `attempt`, counted from 0."""
        return self.step_s(attempt) * rng.uniform(0.5, 1.0)
