"""What a person reads of the power cuts: a line each, and tables at the end."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tests.vm.books import Account
from tests.vm.checks import Checked
from tests.vm.cuts import Cut, When
from tests.vm.unit import Booted


def line(cut: Cut) -> str:
    """One cut in one line; what is wrong in lines below it."""
    damage = cut.damage
    words = [f"unit {cut.unit}, {cut.when.value}, {cut.after_s:5.1f} s after power on:"]
    words += [f"{damage.lost} of {damage.waiting} unsynced sectors lost;"]
    if cut.booted:
        words += [f"READY {cut.booted.ready_s:.1f} s, LIVE {cut.booted.live_s:.1f} s;"]
    if cut.look:
        totals = cut.look.totals
        words += [f"list {cut.look.watchlist.value}; repaired {cut.look.repaired};"]
        words += [f"made {totals['made']} received {totals['received']} pending {len(cut.look.pending)}"]
        words += [f"expired {totals['expired']};"]
    words += ["ok" if not cut.wrong else "BAD"]
    return "\n".join([" ".join(words), *(f"          BAD: {what}" for what in cut.wrong)])


def check_line(checked: Checked) -> str:
    """One check in one line."""
    return f"{'ok ' if checked.good else 'BAD'} {checked.name} ({checked.seconds:.0f} s): {checked.seen}"


def share(values: list[float], part: float) -> float:
    """The value that so large a part of them does not exceed (nearest rank)."""
    return sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]


@dataclass(frozen=True)
class Whole:
    """Everything that was seen."""

    seed: int
    package: str
    seconds: float
    good: bool
    cuts: list[Cut]
    boots: list[Booted]
    accounts: dict[int, Account]
    checked: list[Checked]

    def text(self) -> str:
        """The tables."""
        lines = [
            f"{self.package}, seed {self.seed}",
            "",
            *self._cuts(),
            "",
            *self._accounts(),
            "",
            *self._boots(),
        ]
        lines += ["", *(check_line(one) for one in self.checked)] if self.checked else []
        return "\n".join([*lines, "", f"{'PASS' if self.good else 'FAIL'} in {self.seconds:.0f} s"])

    def _cuts(self) -> list[str]:
        head = (
            f"| {'cut while':16} | cuts | lost something | READY again | clean | list whole | list absent |"
        )
        rows = [head, "|---|---|---|---|---|---|---|"]
        for when in When:
            mine = [cut for cut in self.cuts if cut.when is when]
            listed = [cut.look.watchlist.value for cut in mine if cut.look]
            figures = (
                len(mine),
                sum(cut.damage.lost > 0 for cut in mine),
                sum(cut.booted is not None for cut in mine),
                sum(not cut.wrong for cut in mine),
                listed.count("whole"),
                listed.count("absent"),
            )
            rows.append(f"| {when.value:16} | " + " | ".join(map(str, figures)) + " |")
        return rows

    def _accounts(self) -> list[str]:
        rows = [
            "| unit | made | received | repeats | expired | lost | never made |",
            "|---|---|---|---|---|---|---|",
        ]
        for number, one in self.accounts.items():
            figures = (number, one.made, one.received, one.repeats, one.gone, one.lost, one.unmade)
            rows.append("| " + " | ".join(map(str, figures)) + " |")
            rows += [f"BAD: {what}" for what in one.wrong]
        return rows

    def _boots(self) -> list[str]:
        if not self.boots:
            return []
        ready, live = [boot.ready_s for boot in self.boots], [boot.live_s for boot in self.boots]
        return [
            f"{what} after power on, {len(values)} clean boots: p50 {share(values, 0.5):.1f} s, "
            f"p95 {share(values, 0.95):.1f} s, longest {max(values):.1f} s"
            for what, values in (("READY", ready), ("LIVE", live))
        ]

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "seed": self.seed,
            "package": self.package,
            "seconds": round(self.seconds, 1),
            "good": self.good,
            "cuts": [cut.as_json() for cut in self.cuts],
            "accounts": {number: asdict(one) for number, one in self.accounts.items()},
            "boots": [{"ready_s": round(b.ready_s, 1), "live_s": round(b.live_s, 1)} for b in self.boots],
            "checks": [asdict(one) for one in self.checked],
        }
