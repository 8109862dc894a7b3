"""The books of a unit whose power is cut: what a look at its card found, and whether it adds up. Pure.

A look is taken from outside, of the card's content at one instant: after a cut, after the clean boot that
follows, and at the end. What the unit published before the cut, and what the control room committed, are
books that no cut of the unit's power can reach; the card is judged by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

GONE = ("expired", "displaced", "discarded")
EARLY_S = 1.0
"""Two clocks of one machine, read by guest and host."""


class Listed(StrEnum):
    """The watchlist file on the card."""

    WHOLE = "whole"
    ABSENT = "absent"
    TORN = "TORN"


class Made(NamedTuple):
    """A line of the audit log: an alert was made, in which start of the daemon, at what wall time."""

    alert: str
    start: int
    at: float


@dataclass(frozen=True, slots=True)
class Look:
    """What is on a card at one instant.

    Attributes:
        at: wall time of the look, epoch seconds.
        file_system, database: empty if good, else what the checking program said.
        watchlist: the list's file.
        made: alerts in the audit log, in its order.
        lines: of the audit log; `hashes` of them by number, for those that were published.
        repaired: lines that say that a half-written one was cut off.
        log: what `edgeagent audit verify` has against the log; empty if nothing. None if it was not asked.
        pending: alerts in the outbox, and when each expires.
        totals: the outbox's own.
    """

    at: float
    file_system: str
    database: str
    watchlist: Listed
    made: tuple[Made, ...]
    starts: int
    repaired: int
    log: str | None
    pending: dict[str, float]
    totals: dict[str, int]

    @property
    def gone(self) -> int:
        """Alerts that left undelivered and were counted."""
        return sum(self.totals[how] for how in GONE)


@dataclass(frozen=True, slots=True)
class Told:
    """What the unit had published before a cut: a number of durable lines, and of durable alerts."""

    audit_sequence: int = 0
    made: int = 0


def faults_of_card(look: Look) -> list[str]:
    """What is wrong with a card by itself."""
    totals = look.totals
    accounted = len(look.pending) + totals["received"] + look.gone
    found = {
        f"file system: {look.file_system}": not look.file_system,
        f"database: {look.database}": not look.database,
        f"audit log: {look.log}": not look.log,
        "the watchlist is torn": look.watchlist is not Listed.TORN,
        f"the outbox made {totals['made']}, and accounts for {accounted}": totals["made"] == accounted,
        "an alert has two lines in the audit log": len({one.alert for one in look.made}) == len(look.made),
        f"the outbox counts {totals['made']} alerts, the log {len(look.made)}": totals["made"]
        <= len(look.made),
    }
    return [what for what, good in found.items() if not good]


def faults_since(before: Look, after: Look, received: frozenset[str]) -> list[str]:
    """What went missing between two looks at one card; `received` is what the control room has by now."""
    known, kept = {one.alert for one in before.made}, {one.alert for one in after.made}
    ended = {name for name, until in before.pending.items() if until <= after.at + EARLY_S}
    lost = before.pending.keys() - after.pending.keys() - received - ended
    fewer = [name for name, many in before.totals.items() if after.totals[name] < many]
    found = {
        f"lines of {len(known - kept)} alerts are gone from the log": known <= kept,
        f"{len(lost)} alerts are gone from the outbox before their time, unreceived": not lost,
        f"the outbox counts fewer {', '.join(fewer)} than before": not fewer,
        "the watchlist came back": not (
            before.watchlist is Listed.ABSENT and after.watchlist is not Listed.ABSENT
        ),
    }
    return [what for what, good in found.items() if not good]


def faults_against(told: Told, look: Look, received: frozenset[str]) -> list[str]:
    """What a card lacks of what others know that it had."""
    logged = {one.alert for one in look.made}
    durable = look.totals["made"]
    found = {
        f"{len(received - logged)} received alerts are not in the log": received <= logged,
        f"the unit had published {told.made} alerts, the card has {durable}": told.made <= durable,
    }
    return [what for what, good in found.items() if not good]


@dataclass(frozen=True, slots=True)
class Account:
    """What became of every alert of one card, each counted once.

    Attributes:
        made: durable in the outbox.
        unmade: in the audit log only: the cut came between that line and the outbox; nobody ever sent them.
        received: committed by the control room.
        repeats: further arrivals, known by their id.
        gone: never received, and counted by the outbox as expired, displaced or discarded.
        lost: neither.
    """

    made: int
    unmade: int
    received: int
    repeats: int
    gone: int
    lost: int
    wrong: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Nothing lost, and everything adds up."""
        return self.lost == 0 and not self.wrong


def account(cuts: list[Look], end: Look, received: frozenset[str], arrivals: int, ttl_s: float) -> Account:
    """What became of every alert of a card; `cuts` are the looks right after each cut."""
    logged = {one.alert: one for one in end.made}
    unmade = {name for look in cuts for name in _unmade(look, received, ttl_s)}
    missing = logged.keys() - unmade - received - end.pending.keys()
    early = {name for name in missing if logged[name].at + ttl_s > end.at + EARLY_S}
    gone = min(len(missing - early), end.gone)
    lost = len(missing) - gone
    durable = end.totals["made"]
    found = {
        f"{len(end.pending)} alerts are still pending": not end.pending,
        f"the outbox made {durable}, the log {len(logged)} less {len(unmade)} that never got there": durable
        == len(logged) - len(unmade),
        f"{len(received - logged.keys())} alerts were received that the log does not have": received
        <= logged.keys(),
        f"made {durable} is not received {len(received)} + gone {gone} + lost {lost}": durable
        == len(received) + gone + lost,
        "nobody received anything, so this proves nothing": bool(received),
    }
    return Account(
        made=durable,
        unmade=len(unmade),
        received=len(received),
        repeats=arrivals - len(received),
        gone=gone,
        lost=lost,
        wrong=tuple(what for what, good in found.items() if not good),
    )


def _unmade(look: Look, received: frozenset[str], ttl_s: float) -> set[str]:
    """The last alert of the log, if the cut came before it was durable in the outbox: at most one a cut.

    Its line is written first (docs/audit.md); what is not in the outbox then, and could not have left it,
    never was.
    """
    if not look.made or len(look.made) == look.totals["made"]:
        return set()
    last = look.made[-1]
    might_have_ended = last.at + ttl_s <= look.at + EARLY_S
    if last.start != look.starts or last.alert in look.pending or last.alert in received or might_have_ended:
        return set()
    return {last.alert}
