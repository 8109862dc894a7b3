"""Memory and processor time of processes, from /proc; and percentiles."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

KIB = 1024.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, or of several together.

    Attributes:
        pss_mb: proportional set size: pages that several processes share count in part. MiB.
        rss_mb: resident set size, MiB.
        cpu_s: processor time so far, in user and system mode.
    """

    pss_mb: float = 0.0
    rss_mb: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.pss_mb + other.pss_mb, self.rss_mb + other.rss_mb, self.cpu_s + other.cpu_s)


def usage(pids: Iterable[int]) -> Usage:
    """Of those processes that still run and may be looked at."""
    total = Usage()
    for pid in pids:
        with contextlib.suppress(OSError):
            total += _of(pid)
    return total


def _of(pid: int) -> Usage:
    sizes = {"Pss:": 0.0, "Rss:": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        if name in sizes:
            sizes[name] = int(size) / KIB
    return Usage(sizes["Pss:"], sizes["Rss:"], cpu_s(pid))


def private_mb(pid: int) -> float:
    """What no other process shares, MiB: what the machine gets back when this one ends.

    Raises:
        OSError: it has ended.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / KIB


def cpu_s(pid: int) -> float:
    """Processor time of one process so far, in seconds.

    Raises:
        OSError: it has ended.
    """
    # The second field is the program's name in brackets, and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed; None of nothing."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(share * len(values)) - 1)], 1)


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Number, p50, p95, p99 and the largest."""
    return {
        "count": len(values),
        "p50": percentile(values, 0.50),
        "p95": percentile(values, 0.95),
        "p99": percentile(values, 0.99),
        "most": percentile(values, 1.0),
    }
