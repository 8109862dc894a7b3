"""What the processes of a run have said so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeagent.fleet.wire import CableReport, DeskReport, Totals, UnitsReport


@dataclass(frozen=True, slots=True)
class Moment:
    """The fleet as last reported, `at_s` after the start."""

    at_s: float
    connected: int
    totals: Totals


@dataclass
class Ledger:
    """What the processes said so far.

    Attributes:
        received: (seconds of the hit after the start, ms from there to the receipt at the control room), once
            for each alert.
        released: the same to the verified receipt at the unit.
    """

    units: dict[str, UnitsReport] = field(default_factory=dict)
    desk: DeskReport | None = None
    cable_whole: bool | None = None
    received: list[tuple[float, float]] = field(default_factory=list)
    released: list[tuple[float, float]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    zero: float = 0.0
    zero_epoch: float = 0.0

    @property
    def connected(self) -> int:
        """Units that are connected."""
        return sum(report.connected for report in self.units.values())

    @property
    def totals(self) -> Totals:
        """What became of all alerts."""
        said = [report.totals for report in self.units.values()]
        return Totals(**{name: sum(getattr(one, name) for one in said) for name in Totals.model_fields})

    @property
    def late_ms(self) -> float:
        """How late a scripted hit was at most, because the simulation itself was busy."""
        return max((report.late for report in self.units.values()), default=0.0)

    def take(self, name: str, report: UnitsReport | DeskReport | CableReport) -> None:
        """Add what one process said."""
        match report:
            case UnitsReport():
                self.units[name] = report
                self.released += report.released
                if self.zero:
                    self.moments.append(Moment(report.at - self.zero, self.connected, self.totals))
            case DeskReport():
                self.desk = report
                self.received += [(at - self.zero_epoch, ms) for at, ms in report.received]
            case CableReport():
                self.cable_whole = report.whole
