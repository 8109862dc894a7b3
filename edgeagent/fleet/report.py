"""What a run comes to: the account of every alert, delays, memory and processor time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgeagent.fleet.ledger import Ledger
from edgeagent.fleet.run import Fleet
from edgeagent.fleet.usage import Usage, spread


def account(fleet: Fleet) -> dict[str, Any]:
    """What became of every alert. Call it when the processes have ended.

    `lost` are those, counted by id, that a unit kept, that it has neither pending nor given up, and that
    the control room does not have.
    """
    ledger, desk = fleet.ledger, fleet.ledger.desk
    return {
        **ledger.totals.model_dump(),
        "at_control_room": fleet.kept(),
        "lost": len(fleet.lost()),
        "arrived_again": desk.repeated if desk else 0,
        "refused": desk.refused if desk else {},
        "control_room_overflow": desk.overflow if desk else 0,
        "states": desk.states if desk else 0,
    }


def delays(ledger: Ledger, begin_s: float, end_s: float) -> dict[str, Any]:
    """In ms, of the hits of this time: to the receipt as it is sent, and to its arrival at the unit."""
    received = [ms for at_s, ms in ledger.received if begin_s <= at_s < end_s]
    released = [ms for at_s, ms in ledger.released if begin_s <= at_s < end_s]
    return {"capture_to_receipt_ms": spread(received), "capture_to_release_ms": spread(released)}


def costs(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, Any]:
    """Memory now, and processor time since `before`, by part."""
    return {
        name: {
            **{key: round(value, 1) for key, value in asdict(now).items()},
            "cpu_s": round(now.cpu_s - before[name].cpu_s, 2),
        }
        for name, now in after.items()
    }
