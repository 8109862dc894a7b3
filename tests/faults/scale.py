"""How large a trial is, how long it may take, and how it may end before its time."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_S = 120.0
"""How long anything that must happen may take while neither unit nor control room does anything at all."""
PATIENCE_IN_ALL_S = 3600.0
POLL_S = 0.02


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """Somebody wants the whole run to end."""


class Stuck(Exception):  # noqa: N818
    """What must happen did not."""


@dataclass(frozen=True)
class Scale:
    """How large a trial is.

    Attributes:
        alerts: to be made.
        pace: a second.
        outage_s: how long something that comes back stays away.
        times: how often something is killed.
        ttl_s: how long an alert counts, where the row does not say.
    """

    alerts: int
    pace: float
    outage_s: float
    times: int
    ttl_s: float = 60.0
