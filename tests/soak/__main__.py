"""`make soak`: six hours at the busiest hour's pace, as fast as the machine can, and whether memory grows.

python -m tests.soak [--hours 6] [--json] [--plot FILE] [--samples FILE] [--judge FILE]

The real daemon with a real broker, real keys, a lease and a desk that answers. Ctrl-C ends it early, and
what there is is judged. Ends with 1 if anything grows or it cannot be said. Needs root, to look into a
process that lets nobody else look.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click

from tests.soak.judge import PEOPLE_AN_HOUR
from tests.soak.report import KIB_A_MB, figures, judge, lines, plot
from tests.soak.sample import Sample, Taken
from tests.soak.trial import Run, soak


class Progress:
    """One line on the terminal that says how far it is; samples to a file as they come."""

    def __init__(self, people: int, kept: TextIO | None) -> None:
        self._people = people
        self._kept = kept

    def __call__(self, sample: Sample) -> None:
        if self._kept is not None:
            self._kept.write(json.dumps(asdict(sample)) + "\n")
            self._kept.flush()
        left_s = sample.t_s * (self._people / max(sample.people, 1) - 1)
        text = (
            f"\r{sample.people:>7,} of {self._people:,} people, unit {sample.unit.rss / KIB_A_MB:.1f} MB, "
            f"{sample.alerts} alerts, about {max(left_s, 0) / 60:.1f} min left "
        )
        click.echo(text, err=True, nl=False)


def anew(people: int, samples: Path | None) -> Run:
    """A run of the real thing."""
    if os.geteuid() != 0:
        click.echo("this needs root: the unit lets nobody else look into it (sudo make soak)", err=True)
        sys.exit(2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it was started in the background
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = None if samples is None else stack.enter_context(samples.open("w"))
        run = soak(folder, people, Progress(people, file))
    click.echo("", err=True)
    return run


def again(kept: TextIO) -> Run:
    """A run whose samples were kept."""
    found = [json.loads(line) for line in kept]
    samples = [
        Sample(
            **told | {"unit": Taken(**told["unit"]), "capture": told["capture"] and Taken(**told["capture"])}
        )
        for told in found
    ]
    return Run(samples, wall_s=samples[-1].t_s)


@click.command()
@click.option("--hours", type=click.FloatRange(0.02, 24), default=6.0, show_default=True, help="To simulate.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.option(
    "--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw it here (PNG)."
)
@click.option(
    "--samples", type=click.Path(dir_okay=False, path_type=Path), help="Keep every sample (a line each)."
)
@click.option("--judge", "kept", type=click.File(), help="Run nothing; judge the samples of this file.")
def main(
    hours: float, as_json: bool, picture: Path | None, samples: Path | None, kept: TextIO | None
) -> None:
    """Whether the unit's memory grows."""
    run = again(kept) if kept is not None else anew(round(hours * PEOPLE_AN_HOUR), samples)
    if picture is not None and run.samples:
        plot(run, picture)
    try:
        judged = judge(run)
    except ValueError as short:
        click.echo(f"nothing can be said: {short}", err=True)
        sys.exit(1)
    click.echo(json.dumps(figures(judged), indent=1) if as_json else "\n".join(lines(judged)))
    sys.exit(0 if judged.good else 1)


if __name__ == "__main__":
    main()
