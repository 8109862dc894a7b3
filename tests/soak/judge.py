"""Whether a series grows. What counts as flat was written down before the first run, and is below.

A slope is Theil and Sen's: the median of the slopes between all pairs, which a saw-tooth or a few outliers
cannot pull far. Its interval is Sen's, from Kendall's rank statistic. Neighbouring samples of memory are
alike, which makes such an interval too narrow; so medians of `BLOCKS` stretches are compared. Such a slope
is blind to one late step, as of a table that doubles: so the end is compared with the beginning too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]

PEOPLE_AN_HOUR = 11_930
"""The Metropolitan Police's busiest hour."""
FRAMES_AN_HOUR = 36_000
"""Ten a second; a real crowd stays in the picture longer than the soak's, so this axis is stricter."""
WARM_UP = 0.1
"""Share of the run that is not judged: caches, arenas and first times."""
BLOCKS = 40
CONFIDENCE = 0.95
MOST_AN_HOUR = 0.5
"""MB of growth for the busiest hour's people that is still called flat: 6 MB in the longest deployment."""
MOST_A_FRAME_HOUR = 2.0
"""MB of growth for an hour's frames that would still be called flat: 24 MB in the longest deployment."""
MOST_MORE = {"fds": 0, "threads": 0, "mappings": 8}
"""By how much the median of the last tenth may exceed that of the first one after the warm-up."""


class Said(StrEnum):
    """The verdict about one series."""

    FLAT = "flat"
    GROWS = "GROWS"
    UNCLEAR = "UNCLEAR"


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth for one unit of the axis with its interval, and what is said of it.

    Attributes:
        risen: by how much the last tenth's median exceeds that of the first tenth after the warm-up.
        span: how much of the axis was judged.
        most: growth for one unit that would still be called flat.
    """

    per_unit: float
    low: float
    high: float
    risen: float
    span: float
    most: float

    @property
    def said(self) -> Said:
        """Flat only if the whole interval is below the limit (a wide one proves nothing), and the end is."""
        if self.high < self.most and self.risen < self.most * self.span:
            return Said.FLAT
        return Said.GROWS if self.low > 0 else Said.UNCLEAR


def after_warm_up(axis: Sequence[float], values: Sequence[float]) -> tuple[Series, Series]:
    """The part that is judged; `axis` rises."""
    x, y = np.asarray(axis, np.float64), np.asarray(values, np.float64)
    judged = x >= x[0] + WARM_UP * (x[-1] - x[0])
    return x[judged], y[judged]


def slope(axis: Sequence[float], values: Sequence[float], most: float) -> Slope:
    """How much `values` rise for 1 of `axis`; (n,) each.

    Raises:
        ValueError: too short a series to say anything.
    """
    judged = after_warm_up(axis, values)
    x, y = _blocks(*judged)
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    spread = _kendall(len(x))
    low = max(math.floor((len(slopes) - spread) / 2), 0)
    high = min(math.ceil((len(slopes) + spread) / 2), len(slopes) - 1)
    return Slope(
        per_unit=float(np.median(slopes)),
        low=float(slopes[low]),
        high=float(slopes[high]),
        risen=more(axis, values),
        span=float(judged[0][-1] - judged[0][0]),
        most=most,
    )


def _kendall(n: int) -> float:
    """Half-width of the interval, in ranks of slopes."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def _blocks(x: Series, y: Series) -> tuple[Series, Series]:
    edges = np.linspace(x[0], x[-1], BLOCKS + 1)
    where = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, BLOCKS - 1)
    filled = np.unique(where)
    if len(filled) < BLOCKS // 2:
        raise ValueError("too short a series")
    xs = np.array([np.median(x[where == block]) for block in filled])
    return xs, np.array([np.median(y[where == block]) for block in filled])


def more(axis: Sequence[float], values: Sequence[float]) -> float:
    """By how much the last tenth's median exceeds that of the first tenth after the warm-up."""
    x, y = after_warm_up(axis, values)
    tenth = (x[-1] - x[0]) / 10
    return float(np.median(y[x >= x[-1] - tenth]) - np.median(y[x <= x[0] + tenth]))
