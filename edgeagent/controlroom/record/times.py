"""Periods of use (R26): when cameras were open, and how long officers were there.

Lengths are by the monotonic clock, so a wall clock that was wrong or stepped does not change them. Only where
the periods of several units are laid over each other does the wall clock count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from edgeagent.audit.events import CameraMoved, Entry, GateMoved, LeaseHeld, Stopped
from edgeagent.controlroom.record.model import Period
from edgeagent.controlroom.record.stretches import Stretch
from edgeagent.documents.messages import CameraState
from edgeagent.safeguards.gate import State
from edgeagent.safeguards.instant import SECOND


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time with a weight: officers, or 1."""

    start: datetime
    seconds: float
    weight: int = 1

    @property
    def end(self) -> datetime:
        """When it was over."""
        return self.start + timedelta(seconds=self.seconds)


def _seconds(begin: Entry, end: Entry) -> float:
    return max(0.0, (end.monotonic_ns - begin.monotonic_ns) / SECOND)


def camera_periods(stretch: Stretch) -> list[Period]:
    """When the camera was open; a period without an end lasts until the log's last word."""
    found: list[Period] = []
    begin: Entry | None = None

    def end(at: Entry, how: str) -> None:
        if begin is not None:
            found.append(
                Period.model_validate(
                    {
                        "unit": stretch.unit,
                        "start": begin.at,
                        "seconds": _seconds(begin, at),
                        "ended": how,
                        "clock_trusted": begin.clock_trusted,
                    }
                )
            )

    for entry in stretch.entries:
        if not isinstance(entry.body, CameraMoved):
            continue
        if entry.body.state is CameraState.OPEN:
            begin = begin or entry
        else:
            end(entry, "closed" if entry.body.state is CameraState.CLOSED else "lost")
            begin = None
    if begin is not None:
        end(stretch.entries[-1], "unknown")
    return found


def lease_spans(stretch: Stretch) -> list[Span]:
    """When officers held a lease, and how many said to be there; the gate leaving LIVE ends it."""
    found: list[Span] = []
    begin: Entry | None = None
    for entry in stretch.entries:
        body = entry.body
        ends = isinstance(body, Stopped | LeaseHeld) or (
            isinstance(body, GateMoved) and body.before is State.LIVE and body.after is not State.LIVE
        )
        if begin is not None and (ends or entry is stretch.entries[-1]):
            held = begin.body
            officers = held.officers if isinstance(held, LeaseHeld) else 0
            found.append(Span(begin.at, _seconds(begin, entry), officers))
            begin = None
        if isinstance(body, LeaseHeld):
            begin = entry
    return found


def overlaid(spans: Iterable[Span]) -> float:
    """Seconds times the greatest weight at each moment: who served two cameras at once counts once."""
    held = [span for span in spans if span.seconds > 0]
    moments = sorted({moment for span in held for moment in (span.start, span.end)})
    total = 0.0
    for begin, end in pairwise(moments):
        there = [span.weight for span in held if span.start <= begin and end <= span.end]
        total += max(there, default=0) * (end - begin).total_seconds()
    return total


def open_seconds(periods: Iterable[Period]) -> float:
    """How long at least one camera was open."""
    return overlaid(Span(period.start, period.seconds) for period in periods)


def longest_lapse_ms(entries: Iterable[Entry]) -> float | None:
    """The longest time from a lapse to the camera being closed (R16)."""
    said = (entry.body.lapse_to_closed_ms for entry in entries if isinstance(entry.body, CameraMoved))
    return max((lapse for lapse in said if lapse is not None), default=None)
