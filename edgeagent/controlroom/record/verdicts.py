"""What became of each alert, and what follows from it: cells, rates, times to decide, outcomes (R30, R32)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from edgeagent.audit.events import AlertMade, Judged
from edgeagent.controlroom.record.model import Cells, Decisions, Rate
from edgeagent.safeguards.binomial import clopper_pearson
from edgeagent.safeguards.categories import Category
from edgeagent.safeguards.verdict import SPOKEN_TO, Choice, Finding, Result, classify

CONFIDENCE = 0.95
NO_WORD = "none"


@dataclass(frozen=True, slots=True)
class Case:
    """One alert and the last word on it."""

    at: datetime
    made: AlertMade
    judged: Judged | None

    @property
    def test_subject(self) -> bool:
        """Of an entry that a consenting test subject has on the list (R32)."""
        return self.made.category is Category.TEST_SUBJECT

    @property
    def cell(self) -> str:
        """The one field of `Cells` in which it is counted."""
        judged = self.judged
        if judged is None:
            return "not_judged"
        finding = Finding(judged.officer)
        if judged.operator == "no_decision":
            return classify(Choice.ENGAGE, finding).value if finding in SPOKEN_TO else "undecided"
        return classify(Choice(judged.operator), finding).value

    @property
    def false(self) -> bool:
        """Held to be somebody else."""
        return self.cell.startswith("false")


def cells(cases: Iterable[Case]) -> Cells:
    """How many alerts are in each cell."""
    count = Counter(case.cell for case in cases)
    return Cells(**{name: count[name] for name in Cells.model_fields})


def rate(events: int, trials: int) -> Rate | None:
    """Events in trials with their interval; None where there is nothing to divide by, or more than all."""
    if not 0 <= events <= trials or trials == 0:
        return None
    interval = clopper_pearson(events, trials, CONFIDENCE)
    return Rate(events=events, trials=trials, rate=events / trials, low=interval.low, high=interval.high)


def decisions(cases: Iterable[Case]) -> Decisions:
    """What operators decided, and how fast."""
    judged = [case.judged for case in cases if case.judged is not None]
    count = Counter(each.operator for each in judged)
    times = sorted(each.decision_s for each in judged if each.decision_s is not None)
    return Decisions(
        engaged=count["engage"],
        rejected=count["reject"],
        no_decision=count["no_decision"],
        timed=len(times),
        median_s=median(times) if times else None,
        p95_s=nearest_rank(times, 0.95),
    )


def nearest_rank(ordered: list[float], share: float) -> float | None:
    """The smallest value that at least this share does not exceed; None of nothing."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def outcomes(cases: Iterable[Case]) -> dict[str, int]:
    """Outcomes by the word that the officer chose, in alphabetical order; no word at all is `none`."""
    count = Counter(case.judged.outcome or NO_WORD for case in cases if case.judged is not None)
    return dict(sorted(count.items()))


def disposals(counted: Mapping[str, int]) -> tuple[int, int, int]:
    """Arrests, other disposals, no action: the three columns that are published."""
    arrests = counted.get(Result.ARREST, 0)
    nothing = counted.get(Result.NO_ACTION, 0) + counted.get(NO_WORD, 0)
    return arrests, sum(counted.values()) - arrests - nothing, nothing
