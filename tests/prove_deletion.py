"""`make prove-deletion`: a real unit, a passer-by who is on no list, and a search of everything for the face.

python -m tests.prove_deletion [--short] [--json]

Two runs of the real daemon with a real broker. In the first one this test replaces every overwriting by
nothing: the search must find the face in every form that the data path uses, or it proves nothing. The second
one is the program as it is: nothing may be found. Ends with 1 otherwise. Needs root, to read the memory of
another process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from edgeagent.demo.scene import SUBJECT
from tests.bench_unit import make_bench
from tests.deletion.search import Found, Index, Trace
from tests.deletion.snapshot import may_read_memory
from tests.deletion.trial import STOPS, Search, Street, Trial, run, write_scene

IN_USE = frozenset(
    {
        "frame, BGR 8 bit",
        "detector's picture, BGR 8 bit",
        "detector's picture, pixel - 128",
        "chip, BGR 8 bit",
        "mirrored chip, pixel - 128",
        "landmarks in frame, float32",
        "template, float32",
        "half a template before scaling, float32",
        "half a template, float32",
        "half a template, int8 of the network",
    }
)
"""Forms that exist while a face is looked at; a search that misses one in the control run proves nothing."""
IN_ALERT = "alert crop, JPEG"
"""Exists only while an alert is made, of somebody on the list."""


@dataclass(frozen=True)
class Verdict:
    """What both runs found, by form."""

    kept: Trial
    real: Trial
    planted: dict[str, Found]

    @property
    def missed(self) -> set[str]:
        """Forms that the search ought to find and does not."""
        wanted = set(IN_USE) | (
            {IN_ALERT} if any(SUBJECT in search.when for search in self.kept.searches) else set()
        )
        unseen = {name for name, found in self.planted.items() if not found.words}
        return (wanted - set(total(self.kept.searches))) | unseen

    @property
    def left(self) -> dict[str, Found]:
        """Forms that were found where nothing may be."""
        return total(self.real.searches)

    @property
    def good(self) -> bool:
        """Whether the search works and found nothing."""
        return not self.missed and not self.left


def total(searches: Sequence[Search]) -> dict[str, Found]:
    """All that was found in several searches."""
    found: dict[str, Found] = {}
    for search in searches:
        for what, more in search.found.items():
            found[what] = found.get(what, Found(0, 0)) + more
    return found


def planted(traces: Sequence[Trace]) -> dict[str, Found]:
    """Plant the middle of one trace of every form, as short as it may be, at odd places, and search."""
    index, rng, memory = Index(traces), np.random.default_rng(1), bytearray()
    for trace in {trace.what: trace for trace in traces if len(trace.octets) >= trace.least}.values():
        start = (len(trace.octets) - trace.least) // 2 // trace.step * trace.step
        memory += rng.bytes(4096 + trace.step * int(rng.integers(8)))
        memory += bytes(-len(memory) % trace.step) + trace.octets[start : start + trace.least]
    found = index.search(bytes(memory) + rng.bytes(64))
    return {name: found.get(name, Found(0, 0)) for name in index.names}


def prove(folder: Path, stops: Sequence[str], say: Callable[[str], None]) -> Verdict:
    """Both runs on one bench."""
    benches = make_bench(folder)
    bench = next(benches)
    street = Street(write_scene(folder / "scene"))
    bench.put()
    known = planted(street.traces(street.frames(stops[0])[3:4]))
    say(
        f"a piece of each of {len(known)} forms was planted; {sum(f.words > 0 for f in known.values())} found"
    )
    say("control run: the test replaces every overwriting by nothing")
    kept = run(bench, "kept", sorted({stops[0], stops[-1]}), street, say)
    say("real run: the program as it is")
    real = run(bench, "real", stops, street, say)
    for _ in benches:
        raise AssertionError("one bench only")
    return Verdict(kept, real, known)


def table(verdict: Verdict) -> list[str]:
    """A line for each form."""
    kept, left = total(verdict.kept.searches), verdict.left
    lines = [f"{'form':36} {'planted':>8} {'control run':>22}  real run"]
    for name in sorted(verdict.planted, key=lambda name: (name not in kept, name)):
        control = f"{kept[name].words} words, {kept[name].longest} octets" if name in kept else "not used"
        now = f"FOUND {left[name].words} words" if name in left else "nothing"
        mark = "found" if verdict.planted[name].words else "MISSED"
        lines.append(f"{name:36} {mark:>8} {control:>22}  {now}")
    return lines


def times(trial: Trial) -> dict[str, float]:
    """Milliseconds from a frame's capture to its end: when a search finds nothing of it any more."""
    searched = [search.ms for search in trial.searches if search.ms is not None]
    all_ms = [frame.ms for frame in trial.frames() if frame.seen]
    return {
        "searched_max_ms": max(searched),
        "frames_p50_ms": float(np.percentile(all_ms, 50)),
        "frames_p95_ms": float(np.percentile(all_ms, 95)),
        "frames": len(all_ms),
    }


@click.command()
@click.option("--short", is_flag=True, help="One look in place of four.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def main(short: bool, as_json: bool) -> None:
    """Prove that nothing of a passer-by is left."""
    if not may_read_memory():
        click.echo(
            "this needs root: the unit lets nobody else read its memory (sudo make prove-deletion)", err=True
        )
        sys.exit(2)
    began = time.monotonic()

    def say(text: str) -> None:
        if not as_json:
            click.echo(f"[{time.monotonic() - began:6.1f} s] {text}")

    with tempfile.TemporaryDirectory() as folder:
        verdict = prove(Path(folder), STOPS[:1] if short else STOPS, say)
        took = times(verdict.real)
    if as_json:
        found = {name: {"words": f.words, "longest": f.longest} for name, f in verdict.left.items()}
        click.echo(
            json.dumps({"good": verdict.good, "left": found, "missed": sorted(verdict.missed), **took})
        )
    else:
        click.echo("\n".join(["", *table(verdict), ""]))
        for search in verdict.real.searches:
            for what, where in search.places.items():
                click.echo(f"{search.when}: {what} in {', '.join(sorted(where))}")
        click.echo(
            f"capture to nothing left: {took['searched_max_ms']:.0f} ms at most where it was searched; "
            f"p50 {took['frames_p50_ms']:.0f} ms, p95 {took['frames_p95_ms']:.0f} ms "
            f"of {took['frames']} frames with faces"
        )
        click.echo(
            "PASS" if verdict.good else f"FAIL: left {sorted(verdict.left)}, missed {sorted(verdict.missed)}"
        )
    sys.exit(0 if verdict.good else 1)


if __name__ == "__main__":
    main()
