"""`make break`: take each safeguard out of a copy of the program, one at a time; its tests must fail.

python -m tests.breaking [--rule N] [--json FILE]

The working copy is not touched. Ends with 1 if a break goes unnoticed, or after Ctrl-C, with what was found.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from tests.breaking.bench import Bench, Break, Noticed, breaks


@contextmanager
def _bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="edgeagent-break-") as folder:
        yield Bench(Path(folder))


def _line(number: int, of: int, one: Break, noticed: Noticed) -> str:
    by = noticed.by or "NOBODY"
    return f"{number:>3}/{of}  R{one.rule:<3} {one.what:<62} {by}"


@click.command()
@click.option("--rule", type=int, help="Only the breaks of this rule.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write results here.")
def main(rule: int | None, report: Path | None) -> None:
    """Break each safeguard in a copy of the program and say which test noticed."""
    chosen = [one for one in breaks() if rule in (None, one.rule)]
    if not chosen:
        raise click.UsageError(f"no break of R{rule}")
    found: list[tuple[Break, Noticed]] = []
    try:
        with _bench() as bench:
            for number, one in enumerate(chosen, 1):
                found.append((one, bench.tried(one)))
                click.echo(_line(number, len(chosen), *found[-1]))
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
    unnoticed = [one for one, noticed in found if not noticed.by]
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(
            json.dumps([asdict(one) | asdict(noticed) for one, noticed in found], indent=1) + "\n"
        )
    whole = len(found) == len(chosen)
    click.echo(
        f"{len(found) - len(unnoticed)} of {len(chosen)} breaks noticed" + ("" if whole else ", not ended")
    )
    sys.exit(bool(unnoticed) or not whole)


main()
