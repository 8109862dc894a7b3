"""What a run showed: figures, verdicts, and a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.soak.judge import (
    FRAMES_AN_HOUR,
    MOST_A_FRAME_HOUR,
    MOST_AN_HOUR,
    MOST_MORE,
    PEOPLE_AN_HOUR,
    WARM_UP,
    Said,
    Slope,
    more,
    slope,
)
from tests.soak.sample import Sample, Taken
from tests.soak.trial import Run

KIB_A_MB = 1e6 / 1024
MEMORY = ("rss", "anonymous")
AXES = {"people": (PEOPLE_AN_HOUR, MOST_AN_HOUR), "frames": (FRAMES_AN_HOUR, MOST_A_FRAME_HOUR)}
"""Of each count, how many make an hour, and how many MB an hour are still called flat."""

NAME_OCTETS = 113
"""What the bench's source of pictures keeps of each name once it has given the picture: the path as text, and
an entry in Python's table of names. Measured alone; no such code is loaded where there is a camera."""


@dataclass(frozen=True)
class Judged:
    """Everything that is said of a run.

    Attributes:
        slopes: MB an hour, by process, what is measured, and axis.
        grown: fds, threads and mappings of the unit: how many more at the end.
    """

    run: Run
    slopes: dict[tuple[str, str, str], Slope]
    grown: dict[str, float]

    @property
    def faults(self) -> list[str]:
        """What is not flat."""
        found = [f"stopped: {self.run.stopped}"] if self.run.stopped else []
        found += [
            f"{' '.join(what)}: {slope.said}"
            for what, slope in self.slopes.items()
            if slope.said != Said.FLAT
        ]
        return found + [f"{name}: {n:g} more" for name, n in self.grown.items() if n > MOST_MORE[name]]

    @property
    def good(self) -> bool:
        """Whether nothing grows."""
        return not self.faults


def judge(run: Run) -> Judged:
    """Judge the unit, and the capture process that was there longest.

    Raises:
        ValueError: too short a run to say anything.
    """
    slopes = {}
    for process, samples in (("unit", run.samples), ("capture", _longest(run.samples))):
        for what in MEMORY:
            values = [getattr(_of(sample, process), what) / KIB_A_MB for sample in samples]
            for axis, (an_hour, most) in AXES.items():
                names = an_hour * NAME_OCTETS / 1e6 if (process, axis) == ("capture", "frames") else 0.0
                hours = [getattr(sample, axis) / an_hour for sample in samples]
                slopes[process, what, axis] = slope(hours, values, most + names)
    people = [float(sample.people) for sample in run.samples]
    grown = {name: more(people, [getattr(s.unit, name) for s in run.samples]) for name in MOST_MORE}
    return Judged(run, slopes, grown)


def _of(sample: Sample, process: str) -> Taken:
    taken = sample.unit if process == "unit" else sample.capture
    assert taken is not None
    return taken


def _longest(samples: list[Sample]) -> list[Sample]:
    """Samples of the capture process that lived longest; a lapse of the lease starts a new one (R16)."""
    by_pid: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.capture is not None:
            by_pid.setdefault(sample.capture.pid, []).append(sample)
    return max(by_pid.values(), key=len)


def figures(judged: Judged) -> dict[str, Any]:
    """For a program."""
    run, last = judged.run, judged.run.samples[-1]
    hours = last.people / PEOPLE_AN_HOUR
    disk_hour = {kind: round(octets / hours) for kind, octets in last.disk.items()}
    return {
        "good": judged.good,
        "faults": judged.faults,
        "interrupted": run.interrupted,
        "simulated_hours": round(hours, 2),
        "wall_s": round(run.wall_s),
        "acceleration": round(hours * 3600 / run.wall_s, 1),
        "people": last.people,
        "detections": last.detections,
        "frames": last.frames,
        "alerts": last.alerts,
        "leases": run.leases,
        "verdicts": run.verdicts,
        "tally": run.tally,
        "closed_in_order": run.closed_in_order,
        "capture_processes": len({s.capture.pid for s in run.samples if s.capture is not None}),
        "at": {f"{round(part * 100)} %": asdict(at(run.samples, part)) for part in (WARM_UP, 0.5, 1.0)},
        "mb_an_hour": {" ".join(what): _said(slope) for what, slope in judged.slopes.items()},
        "more": judged.grown,
        "disk": last.disk,
        "disk_octets_an_hour": disk_hour,
    }


def at(samples: list[Sample], part: float) -> Sample:
    """The first sample when this part of all people had passed."""
    return next(sample for sample in samples if sample.people >= part * samples[-1].people)


def _said(slope: Slope) -> dict[str, Any]:
    return {
        "slope": round(slope.per_unit, 3),
        "low": round(slope.low, 3),
        "high": round(slope.high, 3),
        "risen": round(slope.risen, 3),
        "most": slope.most,
        "said": str(slope.said),
    }


def lines(judged: Judged) -> list[str]:
    """For people."""
    said, run = figures(judged), judged.run
    told = [
        f"{said['people']:,} people passed, the busiest hour {said['simulated_hours']:.2f} times over, "
        f"in {said['wall_s']} s: {said['acceleration']} times as fast",
        f"{said['detections']:,} faces in {said['frames']:,} frames, {said['alerts']} alerts, "
        f"{said['capture_processes']} capture process(es)",
        *([] if run.leases is None else [f"{run.leases} leases taken, {run.verdicts} verdicts sent"]),
        "",
        f"{'':8} {'RSS MB':>8} {'PSS MB':>8} {'anon. MB':>9} {'fds':>4} {'threads':>8} {'mappings':>9}",
    ]
    for part, sample in said["at"].items():
        for process in ("unit", "capture"):
            if sample[process] is not None:
                told.append(f"{process:8} {_row(sample[process])}  at {part}")
    told += ["", f"{'MB an hour of':28} {'slope':>8} {'95 % interval':>18} {'risen':>7}  flat below"]
    for (process, what, axis), found in judged.slopes.items():
        interval = f"{found.low:+.3f} to {found.high:+.3f} {found.risen:+7.2f}"
        name = f"{process} {what}, {axis}"
        told.append(f"{name:28} {found.per_unit:+8.3f} {interval:>26}  {found.most:<4.3g}  {found.said}")
    told.append(f"more at the end: {', '.join(f'{n:g} {name}' for name, n in judged.grown.items())}")
    told.append(f"on disk: {', '.join(f'{kind} {octets:,}' for kind, octets in said['disk'].items())} octets")
    told.append("PASS" if judged.good else f"FAIL: {'; '.join(judged.faults)}")
    return told


def _row(taken: dict[str, int]) -> str:
    rss, pss, anonymous = (taken[name] / KIB_A_MB for name in ("rss", "pss", "anonymous"))
    rest = f"{taken['fds']:>4} {taken['threads']:>8} {taken['mappings']:>9}"
    return f"{rss:8.1f} {pss:8.1f} {anonymous:9.1f} {rest}"


def plot(run: Run, file: Path) -> None:
    """Memory above, disk below, over people."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (memory, disk) = plt.subplots(2, 1, figsize=(9, 7), sharex=True, height_ratios=(2, 1))
    hours = [sample.people / PEOPLE_AN_HOUR for sample in run.samples]
    for process, samples in (("unit", run.samples), ("capture", _longest(run.samples))):
        along = [sample.people / PEOPLE_AN_HOUR for sample in samples]
        for what, style in (("rss", "-"), ("anonymous", ":")):
            values = [getattr(_of(sample, process), what) / KIB_A_MB for sample in samples]
            memory.plot(along, values, style, label=f"{process}, {what}", linewidth=1)
    memory.axvspan(0, hours[-1] * WARM_UP, alpha=0.15, color="grey", label="not judged")
    memory.set(ylabel="MB", ylim=(0, None), title=f"{run.samples[-1].people:,} people in {run.wall_s:.0f} s")
    memory.legend(fontsize=8, loc="center right")
    for kind in run.samples[-1].disk:
        disk.plot(hours, [sample.disk[kind] / 1000 for sample in run.samples], label=kind, linewidth=1)
    disk.set(ylabel="kB on disk", xlabel=f"simulated hours of {PEOPLE_AN_HOUR:,} people")
    disk.legend(fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)
