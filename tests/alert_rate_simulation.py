"""How well the guard of the false alert rate works (R17), by simulation: `make alert-rate`.

    python -m tests.alert_rate_simulation [--out FOLDER] [--deployments N] [--seed N]

Deployments of the median length, at the median and at the busiest hourly number of faces that the published
records give. Everybody who passes is falsely matched with the same small probability; true alerts come at
the published rate; a verdict takes some minutes, or never comes and counts as false at the deadline. The
counts at which the guard suspends are taken from the guard itself.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from edgeagent.cli.keys import read_profile
from edgeagent.safeguards.alert_rate import AlertRate, MadeAlert, Standing, guarded
from edgeagent.safeguards.binomial import Interval, clopper_pearson
from edgeagent.safeguards.profile import Profile
from tests.desk import NOW

EXAMPLE = Path(__file__).resolve().parents[1] / "deploy" / "profile-example.toml"
HOURS = 5 + 34 / 60
MEDIAN, BUSIEST = 1279, 11_930
TRUE_ALERTS = (1276 - 27) / 902_146
"""True alerts a face, Metropolitan Police 2024."""
VERDICT_MINUTES = 3.0
"""Median time from alert to verdict; log-normal. An assumption: nobody publishes it."""
VERDICT_SPREAD = 0.8
MOST_PEOPLE = 1_000_000
"""More than pass in any deployment."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One kind of deployment; rates are probabilities for each person who passes."""

    people_an_hour: float
    false_rate: float
    lost_verdicts: float
    limits: Profile


@dataclass(frozen=True)
class Outcome:
    """What became of the deployments of one setting; times and counts are of those that were stopped."""

    deployments: int
    stopped: int
    hours: Floats
    false_alerts: npt.NDArray[np.int64]

    @property
    def share(self) -> Interval:
        """95 % interval of the share that was stopped."""
        return clopper_pearson(self.stopped, self.deployments, 0.95)


@functools.cache
def suspending(limits: Profile) -> npt.NDArray[np.int64]:
    """For 1, 2, 3 … false alerts the largest number of people at which so many suspend."""
    return np.array([_most_people(limits, false) for false in range(1, limits.false_alerts_most + 2)])


def _most_people(limits: Profile, false: int) -> int:
    """By the guard itself, so that the simulation cannot differ from it."""
    low, high = false, MOST_PEOPLE
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _suspends(limits, false, middle) else (low, middle)
    return low


def _suspends(limits: Profile, false: int, people: int) -> bool:
    made = MadeAlert(alert="0" * 32, made_at=NOW.wall, standing=Standing.FALSE)
    rate = AlertRate(deployment="simulation", passed=people, alerts=(made,) * false)
    return bool(guarded(rate, limits, "0" * 32).suspended)


def simulate(setting: Setting, deployments: int, rng: np.random.Generator) -> Outcome:
    """Run so many deployments."""
    limits = setting.limits
    table = suspending(limits)
    hours, false_alerts = [], []
    for people in rng.poisson(setting.people_an_hour * HOURS, deployments):
        times, overdue = _counted_false(setting, int(people), rng)
        passed = np.minimum(people, times / HOURS * people).astype(np.int64)
        over = passed[: len(table)] <= table[: len(passed)]
        over |= np.cumsum(overdue)[: len(table)] > limits.overdue_alerts_most
        crossed = np.flatnonzero(over)
        if len(crossed):
            first = int(crossed[0])
            hours.append(times[first])
            false_alerts.append(first + 1)
    return Outcome(deployments, len(hours), np.array(hours), np.array(false_alerts, dtype=np.int64))


def _counted_false(
    setting: Setting, people: int, rng: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """When alerts come to count as false, in hours since the start, in order, and which for being late."""
    false = rng.binomial(people, setting.false_rate)
    true = rng.binomial(people, TRUE_ALERTS)
    made = rng.uniform(0, HOURS, false + true)
    lost = rng.random(false + true) < setting.lost_verdicts
    answered = made + rng.lognormal(np.log(VERDICT_MINUTES / 60), VERDICT_SPREAD, false + true)
    overdue = made + setting.limits.verdict_within_s / 3600
    is_false = np.arange(false + true) < false
    late = lost | (answered > overdue)
    counted = np.where(late, overdue, answered)
    chosen = np.flatnonzero((is_false | late) & (counted < HOURS))
    order = chosen[np.argsort(counted[chosen])]
    return counted[order], late[order]


# --- the settings -------------------------------------------------------------------------------------------

RATES = (1e-5, 1e-4, 2.5e-4, 5e-4, 7.5e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 1e-2)
CONFIDENCES = (0.95, 0.99, 0.995, 0.999)
LOST = (0.0, 0.1, 0.25, 0.5, 1.0)
BUSY = {"median": MEDIAN, "busiest": BUSIEST}
HEAD = (
    f"{'people/h':>9} {'confidence':>10} {'false alerts':>12} {'lost':>5}   {'stopped (95 % interval)':>26}"
)
HEAD += f"   {'hours to the stop':>18}   {'false alerts by then':>20}"


def line(setting: Setting, outcome: Outcome) -> str:
    """One row of the table; times and counts as median and 90th percentile."""
    share = outcome.share
    row = (
        f"{setting.people_an_hour:9,.0f} {setting.limits.false_alert_confidence:10.3f} "
        f"{f'1 in {1 / setting.false_rate:,.0f}':>12} {setting.lost_verdicts:5.0%}   "
        f"{outcome.stopped / outcome.deployments:8.2%} ({share.low:7.2%} to {share.high:7.2%})"
    )
    if outcome.stopped < 20:
        return row
    hours, false = (np.percentile(values, [50, 90]) for values in (outcome.hours, outcome.false_alerts))
    return f"{row}   {hours[0]:7.2f}, {hours[1]:8.2f}   {false[0]:10.0f}, {false[1]:8.0f}"


def settings() -> list[Setting]:
    """First the choice of the confidence, then the rates with every verdict, then lost verdicts."""
    usual = read_profile(EXAMPLE)
    base = Setting(MEDIAN, usual.false_alert_limit / 2, 0.0, usual)
    made = [
        replace(
            base,
            people_an_hour=people,
            false_rate=rate,
            limits=usual.model_copy(update={"false_alert_confidence": sure}),
        )
        for people in BUSY.values()
        for sure in CONFIDENCES
        for rate in RATES
    ]
    made += [
        replace(base, people_an_hour=people, false_rate=1e-5, lost_verdicts=lost)
        for people in BUSY.values()
        for lost in LOST[1:]
    ]
    return made


def plot(done: list[tuple[Setting, Outcome]], file: Path) -> None:
    """Share of deployments stopped, and false alerts until the stop, over the true rate."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(11, 7.5), sharex=True, sharey="row")
    for column, (word, people) in enumerate(BUSY.items()):
        for sure in CONFIDENCES:
            chosen = [
                (setting.false_rate, outcome)
                for setting, outcome in done
                if (setting.people_an_hour, setting.limits.false_alert_confidence) == (people, sure)
                and setting.lost_verdicts == 0
            ]
            rates = [rate for rate, _ in chosen]
            shares = [outcome.stopped / outcome.deployments for _, outcome in chosen]
            ends = [(outcome.share.low, outcome.share.high) for _, outcome in chosen]
            (drawn,) = panels[0, column].plot(rates, shares, marker="o", ms=3.5, label=f"{sure:.1%}")
            panels[0, column].fill_between(rates, *np.array(ends).T, color=drawn.get_color(), alpha=0.2)
            known = [(rate, outcome) for rate, outcome in chosen if outcome.stopped >= 20]
            panels[1, column].plot(
                [rate for rate, _ in known],
                [np.median(outcome.hours) * 60 for _, outcome in known],
                marker="o",
                ms=3.5,
            )
        panels[0, column].set_title(f"{word} hour: {people:,} people")
        for row in range(2):
            panels[row, column].axvline(1e-3, color="black", lw=1, ls=":")
            panels[row, column].grid(alpha=0.3)
        panels[1, column].set_xlabel("true false alert rate (dotted: the limit)")
    panels[0, 0].set(xscale="log", ylabel="share of deployments suspended")
    panels[0, 0].legend(title="confidence", loc="upper left")
    panels[1, 0].set(yscale="log", ylabel="median minutes to the suspension\n(of those suspended)")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


@click.command()
@click.option("--out", default="build/alert-rate", type=click.Path(file_okay=False, path_type=Path))
@click.option("--deployments", default=20_000, show_default=True, type=click.IntRange(100))
@click.option("--seed", default=17, show_default=True)
def main(out: Path, deployments: int, seed: int) -> None:
    """Print the table and draw the picture."""
    done: list[tuple[Setting, Outcome]] = []
    out.mkdir(parents=True, exist_ok=True)
    click.echo(f"{deployments:,} deployments of {HOURS:.2f} h a row, seed {seed}; median, 90th percentile")
    click.echo(HEAD)
    bar: Any = click.progressbar(list(enumerate(settings())), file=sys.stderr)
    with bar as every:
        for number, setting in every:
            rng = np.random.default_rng([seed, number])
            done.append((setting, simulate(setting, deployments, rng)))
    for setting, outcome in done:
        click.echo(line(setting, outcome))
    plot(done, out / "alert-rate.png")
    click.echo(f"picture: {out / 'alert-rate.png'}")


if __name__ == "__main__":
    main()
