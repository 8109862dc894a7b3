"""Withholding small counts, so that a record of many tells nothing of one (disclosure control).

"One victim was on the list" tells everybody who knows of a victim who it was. So a count from 1 to 4 is
withheld. The list's size is published, so a single withheld count would follow by subtraction: more are
withheld until there are two, which together are not small either. All look alike, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

WITHHELD_BELOW = 5


def small(count: int) -> bool:
    """Whether a count may point at somebody."""
    return 0 < count < WITHHELD_BELOW


def withhold(counts: Mapping[str, int]) -> dict[str, int | None]:
    """The counts, None where withheld; their sum is taken to be known to the reader.

    The next to be withheld is the smallest that is not 0; zeros come last, in the order given.
    """
    hidden = {name for name, count in counts.items() if small(count)}
    rest = [name for name in counts if name not in hidden]
    rest.sort(key=lambda name: (counts[name] == 0, counts[name]))
    for name in rest:
        if not hidden or (len(hidden) > 1 and sum(counts[each] for each in hidden) >= WITHHELD_BELOW):
            break
        hidden.add(name)
    return {name: None if name in hidden else count for name, count in counts.items()}
