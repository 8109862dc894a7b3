"""Withholding small counts, so that a record of many tells nothing of one (disclosure control).

"One victim was on the list" tells everybody who knows of a victim who it was. So a count from 1 to 4 is
withheld. The list's size is published, and this program too, so a reader may ask which counts would have been
shown like this. There is always more than one answer: the withheld counts differ among themselves, and the
same ones in any other order would have been shown alike. All look alike, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

WITHHELD_BELOW = 5
LEAST_TOGETHER = 2 * WITHHELD_BELOW
"""What the withheld counts add up to at least, as far as there are others to withhold."""


def small(count: int) -> bool:
    """Whether a count may point at somebody."""
    return 0 < count < WITHHELD_BELOW


def withhold(counts: Mapping[str, int]) -> dict[str, int | None]:
    """The counts, None where withheld; their sum is taken to be known to the reader.

    The next to be withheld are the smallest that are not 0, and all that equal them, so that the order of
    the categories decides nothing; zeros come last. It ends when those withheld differ and are many enough.
    """
    hidden = {count for count in counts.values() if small(count)}
    rest = sorted(set(counts.values()) - hidden, key=lambda count: (count == 0, count))
    # More than the categories are many: 1 in each of them must not be the only list of that length.
    least = max(LEAST_TOGETHER, len(counts) + 1)
    for count in rest:
        if not hidden or (
            len(hidden) > 1 and sum(each for each in counts.values() if each in hidden) >= least
        ):
            break
        hidden.add(count)
    return {name: None if count in hidden else count for name, count in counts.items()}
