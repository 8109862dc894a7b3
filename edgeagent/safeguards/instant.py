"""One reading of both clocks, handed to every rule so that all rules of a step see the same time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

NANOSECOND = 1
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Instant:
    """One reading of the clocks.

    Attributes:
        monotonic_ns: nanoseconds since an arbitrary start; never goes back, counts suspended time.
        wall: aware UTC date and time; may be wrong or stepped.
        synchronised: whether the system itself vouches for `wall` (time synchronisation is running and has
            converged).
    """

    monotonic_ns: int
    wall: datetime
    synchronised: bool

    def __post_init__(self) -> None:
        if self.wall.utcoffset() != timedelta(0):
            raise ValueError("Instant.wall must be in UTC")

    @property
    def epoch_s(self) -> float:
        """Wall clock as seconds since 1970."""
        return self.wall.timestamp()

    @staticmethod
    def of(monotonic_ns: int, epoch_s: float, *, synchronised: bool) -> Instant:
        """An instant from plain numbers."""
        return Instant(monotonic_ns, datetime.fromtimestamp(epoch_s, UTC), synchronised)


def stepped(before: Instant, now: Instant, tolerance_s: float) -> bool:
    """Whether the wall clock moved other than the monotonic clock did, by more than the tolerance.

    A monotonic clock that went back means that `before` belongs to another boot: also a step.
    """
    elapsed_ns = now.monotonic_ns - before.monotonic_ns
    if elapsed_ns < 0:
        return True
    wall_s = (now.wall - before.wall).total_seconds()
    return abs(wall_s - elapsed_ns / SECOND) > tolerance_s
