"""Names of the MQTT topics. Pure functions: no network, no state.

Live and bench messages live under two different first levels, so that no subscription to the one can
ever match the other (R33): a desk that listens to `lfr/v1/+/alert` cannot receive a bench alert, and an
access list that grants `lfr/…` grants nothing on the bench.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeagent.errors import ConfigError

LIVE_PREFIX = "lfr/v1"
BENCH_PREFIX = "lfr-bench/v1"
FROM_UNIT = ("alert", "state", "health")
TO_UNIT = ("receipt", "lease", "revocation", "verdict", "review")

_UNIT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_unit_name(name: str) -> str:
    """Return `name` if it can stand in a topic and in a certificate, else raise `ConfigError`.

    The alphabet has no `/`, `+`, `#` or `$`: a name cannot add a level, a wildcard or a system topic.
    """
    if _UNIT_NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{name[:80]!r} is not a unit name",
            where="unit",
            next_step="Use 1 to 63 lower-case letters, digits and hyphens, not beginning with a hyphen.",
        )
    return name


@dataclass(frozen=True)
class Topics:
    """The topics of one unit, either all live or all bench (R33).

    Raises `ConfigError` when `unit` is not a unit name.
    """

    unit: str
    bench: bool

    def __post_init__(self) -> None:
        check_unit_name(self.unit)

    def _name(self, last: str) -> str:
        return f"{_prefix(bench=self.bench)}/{self.unit}/{last}"

    @property
    def alert(self) -> str:
        """Unit to desk, never retained."""
        return self._name("alert")

    @property
    def state(self) -> str:
        """Unit to desk, retained, with the will."""
        return self._name("state")

    @property
    def health(self) -> str:
        """Unit to desk."""
        return self._name("health")

    @property
    def receipt(self) -> str:
        """Desk to unit, never retained."""
        return self._name("receipt")

    @property
    def lease(self) -> str:
        """Desk to unit, never retained (R16)."""
        return self._name("lease")

    @property
    def revocation(self) -> str:
        """Desk to unit (R27); may be retained, so that a unit which was away learns of it."""
        return self._name("revocation")

    @property
    def verdict(self) -> str:
        """Desk to unit, never retained; sent whenever the unit's state asks for it (R17, R29)."""
        return self._name("verdict")

    @property
    def review(self) -> str:
        """Desk to unit, never retained; sent while the unit's state says that it is suspended (R17)."""
        return self._name("review")


def every_unit(last: str, *, bench: bool) -> str:
    """Subscription filter of a desk for one kind of message from every unit, e.g. `lfr/v1/+/alert`."""
    if last not in FROM_UNIT + TO_UNIT:
        raise ValueError(f"no such kind of message: {last!r}")
    return f"{_prefix(bench=bench)}/+/{last}"


def split_topic(topic: str) -> tuple[Topics, str]:
    """Return the unit's topics and the kind of message of a topic name that arrived.

    Raises `ConfigError` when the name is not one of ours: the sender's unit is read from nowhere else.
    """
    for bench in (False, True):
        head, _, rest = topic.partition(_prefix(bench=bench) + "/")
        unit, _, last = rest.partition("/")
        if head == "" and last in FROM_UNIT + TO_UNIT:
            return Topics(unit, bench=bench), last
    raise ConfigError(
        "not a topic of edgeagent",
        where=topic[:120],
        next_step="Look for another program that publishes on this broker.",
    )


def _prefix(*, bench: bool) -> str:
    return BENCH_PREFIX if bench else LIVE_PREFIX
