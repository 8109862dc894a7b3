"""The unit's ledger: what becomes of each alert in its outbox, noted from outside of it."""

from __future__ import annotations

from typing import Any

from edgeagent.alerts.outbox import Outbox
from tests.faults.clock import SteppedClock
from tests.faults.ledger import Ledger, begun, ids, read


def keep_books(outbox: Outbox, ledger: Ledger, clock: SteppedClock) -> None:
    """Note what happens to each alert: before it is let go, and after it was kept or given up."""
    add, release, expire = outbox.add, outbox.release, outbox.expire
    alive = _settle_the_past(outbox, ledger)

    def added(alert_id: str, *values: Any) -> Any:
        answer = add(alert_id, *values)
        ledger.write("kept", id=alert_id)
        alive.add(alert_id)
        if answer.displaced:
            ledger.write("displaced", ids=answer.displaced)
            alive.difference_update(answer.displaced)
        return answer

    def released(alert_id: str) -> bool:
        ledger.write("release", id=alert_id)
        done = release(alert_id)
        alive.discard(alert_id)
        return done

    def expired(now: float) -> tuple[str, ...]:
        at_ns = clock.now().monotonic_ns
        if gone := expire(now):
            ledger.write("expired", ids=sorted(gone), ns=at_ns)
            alive.difference_update(gone)
        return gone

    outbox.add, outbox.release, outbox.expire = added, released, expired  # type: ignore[method-assign, assignment]


def _settle_the_past(outbox: Outbox, ledger: Ledger) -> set[str]:
    """What the last start could not write: whether its last alert was kept, and what left without a line."""
    lines = read(ledger.path)
    known = {how: ids(lines, how) for how in ("kept", "refused", "unmade", "expired", "displaced", "release")}
    open_ends = set(begun(lines)) - known["kept"] - known["refused"] - known["unmade"]
    for alert in open_ends:
        ledger.write("kept" if outbox.holds(alert) else "unmade", id=alert)
    alive = known["kept"] | {alert for alert in open_ends if outbox.holds(alert)}
    gone = alive - known["release"] - known["expired"] - known["displaced"]
    vanished = {alert for alert in gone if not outbox.holds(alert)}
    if vanished:
        ledger.write("vanished", ids=sorted(vanished))
    return {alert for alert in alive if outbox.holds(alert)}
