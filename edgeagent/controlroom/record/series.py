"""Counts for the plots, as coarse as they are published: quarters of an hour, bands of scores (R30)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from edgeagent.audit.events import Tally
from edgeagent.controlroom.record.model import Series
from edgeagent.controlroom.record.stretches import Stretch
from edgeagent.controlroom.record.verdicts import Case

QUARTER = timedelta(minutes=15)
BAND = 0.02
MOST_QUARTERS = 4 * 24 * 8
"""Eight days: beyond that a clock was wrong, and the plot would only show its jump."""


def quarter(at: datetime) -> datetime:
    """The quarter of an hour that a moment is in."""
    return datetime.fromtimestamp(at.timestamp() // QUARTER.total_seconds() * QUARTER.total_seconds(), UTC)


def faces_by_quarter(stretches: Iterable[Stretch]) -> Counter[datetime]:
    """People who walked past, by the quarter in which the tally that first counts them was written."""
    count: Counter[datetime] = Counter()
    for stretch in stretches:
        before = stretch.before.passed if stretch.before else 0
        for entry in stretch.entries:
            if isinstance(entry.body, Tally):
                count[quarter(entry.at)] += max(0, entry.body.passed - before)
                before = entry.body.passed
    return count


def series(stretches: Iterable[Stretch], cases: list[Case]) -> Series:
    """Everything that is plotted; test subjects' alerts are left out."""
    faces = faces_by_quarter(stretches)
    alerts = Counter(quarter(case.at) for case in cases)
    quarters = _all_between(sorted({*faces, *alerts}))
    bands = [math.floor(case.made.score / BAND + 1e-9) for case in cases]
    scores = list(range(min(bands), max(bands) + 1)) if bands else []
    kinds = Counter((band, _kind(case)) for band, case in zip(bands, cases, strict=True))
    return Series(
        quarters=tuple(quarters),
        faces=tuple(faces[each] for each in quarters),
        alerts=tuple(alerts[each] for each in quarters),
        band=BAND,
        scores=tuple(round(band * BAND, 4) for band in scores),
        true=tuple(kinds[band, "true"] for band in scores),
        false=tuple(kinds[band, "false"] for band in scores),
        open=tuple(kinds[band, "open"] for band in scores),
    )


def _kind(case: Case) -> str:
    kind = case.cell.split("_")[0]
    return kind if kind in ("true", "false") else "open"


def _all_between(moments: list[datetime]) -> list[datetime]:
    """Every quarter from the first to the last; only those given if they are absurdly far apart."""
    if not moments:
        return []
    count = round((moments[-1] - moments[0]) / QUARTER) + 1
    return [moments[0] + number * QUARTER for number in range(count)] if count <= MOST_QUARTERS else moments
