"""The account of one trial: what became of every alert, from three independent books. Pure.

The unit's ledger says what was made, the outbox's own totals what it says became of it, the control room's
ledger what people were shown. An alert counts as lost unless it was shown, or the outbox counted it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgeagent.alerts.outbox import OutboxCounts
from tests.faults.ledger import Line, begun, ids

SLACK_NS = 20_000_000
"""Two readings of two clocks do not happen at one instant: 20 ms."""


@dataclass(frozen=True, slots=True)
class Books:
    """What is known at the end of a trial.

    Attributes:
        unit, desk: lines of the ledgers.
        totals: of the outbox's file, read after its unit had ended.
        kept_by_desk: ids in the control room's database, and in those that were put away.
        early: alerts may be given up before their time, for the trial sets a clock forward.
        again: alerts may be shown twice, for the control room is killed or forgets.
    """

    unit: list[Line]
    desk: list[Line]
    totals: OutboxCounts
    kept_by_desk: frozenset[str]
    early: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """The figures of one row; `wrong` lists what does not add up.

    Attributes:
        made: durable in the outbox.
        refused: the unit said that it could not keep them. None of them is in the outbox.
        unmade: signed, but the process died before it was durable; none of them is in the outbox either.
        shown: to an operator, each counted once.
        repeats: further arrivals of those, resolved by the alert's id.
        expired, displaced: never shown, and counted so by the outbox.
    """

    made: int
    refused: int
    unmade: int
    shown: int
    repeats: int
    shown_again: int
    expired: int
    displaced: int
    lost: int
    late: int
    wrong: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Nothing lost, nothing late, everything adds up."""
        return self.lost == 0 and self.late == 0 and not self.wrong


def account(books: Books) -> Account:
    """What became of every alert."""
    made = ids(books.unit, "kept")
    shown = ids(books.desk, "shown")
    gone = {how: ids(books.unit, how) for how in ("expired", "displaced", "vanished")}
    missing = made - shown
    named = missing & (gone["expired"] | gone["displaced"] | gone["vanished"])
    counted = books.totals.expired + books.totals.displaced + books.totals.discarded
    displaced = len(missing & gone["displaced"])
    unnamed = max(len(named) - counted, 0)
    return Account(
        made=len(made),
        refused=len(ids(books.unit, "refused") - made),
        unmade=len(ids(books.unit, "unmade") - made),
        shown=len(made & shown),
        repeats=max(sum(line["e"] == "accepted" for line in books.desk) - len(shown), 0),
        shown_again=_again(books.desk),
        expired=len(named) - displaced - unnamed,
        displaced=displaced,
        lost=max(len(missing - named) + unnamed - books.totals.pending, 0),
        late=_late(books),
        wrong=tuple(_wrong(books, made, shown)),
    )


def _again(desk: list[Line]) -> int:
    """How often somebody was shown an alert as new that had been shown before."""
    first = Counter(line["id"] for line in desk if line["e"] == "accepted" and line["first"])
    return sum(times - 1 for times in first.values())


def _late(books: Books) -> int:
    """Alerts that the control room took after their end, by a clock that nobody stepped."""
    ends = {name: one.until_ns for name, one in begun(books.unit).items()}
    taken = [line for line in books.desk if line["e"] == "accepted"]
    return len({line["id"] for line in taken if line["ns"] > ends.get(line["id"], 0) + SLACK_NS})


def _wrong(books: Books, made: set[str], shown: set[str]) -> list[str]:
    totals, released = books.totals, ids(books.unit, "release")
    checks = {
        f"{totals.pending} alerts are still pending": totals.pending == 0,
        "the outbox's totals do not add up": totals.balanced,
        f"the outbox counted {totals.made} as made, the unit {len(made)}": totals.made == len(made),
        "an alert was let go without the control room having it": released <= books.kept_by_desk,
        "an alert was let go that nobody was shown": released <= shown,
        "the control room has an alert that the unit never kept": books.kept_by_desk | shown <= made,
        "an alert was shown that was never committed": shown <= books.kept_by_desk,
        "an alert was given up before its end": books.early or not _given_up_early(books),
        "an alert was shown twice": books.again or _again(books.desk) == 0,
        "nobody was shown anything, so this proves nothing": bool(shown),
        "a unit or control room ended by itself": not ids(books.unit + books.desk, "crashed"),
    }
    return [what for what, good in checks.items() if not good]


def _given_up_early(books: Books) -> bool:
    ends = {name: one.until_ns for name, one in begun(books.unit).items()}
    return any(
        line["ns"] < ends[name] - SLACK_NS
        for line in books.unit
        if line["e"] == "expired"
        for name in line["ids"]
    )
