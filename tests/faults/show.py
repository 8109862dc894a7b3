"""The table as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.account import Account
from tests.faults.camera import Closed
from tests.faults.run import Result

HEAD = (
    "fault",
    "by",
    "times",
    "made",
    "received",
    "repeats",
    "expired",
    "displaced",
    "lost",
    "late",
    "verdict",
)
LEGEND = """\
made: durable in the unit's outbox.   received: shown to somebody, each alert once.
repeats: further arrivals of those, known by their id.
expired, displaced: not shown, and counted by the unit.
made = received + expired + displaced + lost.   late: taken by the control room at or after their end."""


def table(results: Sequence[Result]) -> str:
    """All rows, their sum, and what is wrong with those that are."""
    lines = [_cells(result) for result in results]
    accounts = [result.account for result in results if result.account is not None]
    lines.append(("all", "", str(sum(r.happened for r in results)), *_figures(accounts), ""))
    widths = [max(len(line[column]) for line in [HEAD, *lines]) for column in range(len(HEAD))]
    shown = [_line(line, widths) for line in [HEAD, tuple("-" * width for width in widths), *lines]]
    bad = [f"{r.row.name}: {_why(r)}" for r in results if not r.good]
    notes = [_note(result) for result in results]
    return "\n".join([*shown, "", LEGEND, *filter(None, notes), *bad])


def _cells(result: Result) -> tuple[str, ...]:
    figures = _figures([result.account]) if result.account is not None else ("?",) * 7
    verdict = "ok" if result.good else "BAD"
    return (result.row.name, result.row.how, str(result.happened), *figures, verdict)


def _figures(accounts: Sequence[Account]) -> tuple[str, ...]:
    names = ("made", "shown", "repeats", "expired", "displaced", "lost", "late")
    return tuple(str(sum(getattr(account, name) for account in accounts)) for name in names)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    text = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*text, *numbers]).rstrip()


def _why(result: Result) -> str:
    wrong = "; ".join(result.account.wrong) if result.account is not None else ""
    return " ".join(part for part in (wrong, result.trouble) if part)


def _note(result: Result) -> str:
    """What the columns have no room for."""
    account = result.account
    if account is None:
        return ""
    parts = {
        "signed but never durable, as the unit was killed before": account.unmade,
        "refused, and said so": account.refused,
        "shown a second time as new": account.shown_again,
    }
    said = [f"{count} {what}" for what, count in parts.items() if count]
    return f"{result.row.name}: {', '.join(said)}" if said else ""


def camera_table(closed: Sequence[Closed]) -> str:
    """When the camera was closed."""
    lines = [
        f"camera, {one.fault}: closed {one.after_s:.2f} s after it"
        if one.after_s is not None
        else f"camera, {one.fault}: STILL OPEN"
        for one in closed
    ]
    return "\n".join(["", *lines]) if lines else ""
