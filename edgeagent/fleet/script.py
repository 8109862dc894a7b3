"""Who has a hit when, and which process is killed: from the seed alone. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from edgeagent.fleet.settings import Scenario


@dataclass(frozen=True, slots=True, order=True)
class ScriptedHit:
    """`at_s` after the start, unit number `unit` of the fleet sees its test subject."""

    at_s: float
    unit: int


def script(scenario: Scenario) -> tuple[ScriptedHit, ...]:
    """Every hit of the run in order of time: each unit at random times (Poisson), and all at once."""
    made = [ScriptedHit(at_s, unit) for at_s in scenario.all_at for unit in range(scenario.units)]
    if scenario.hits_per_minute > 0:
        for unit in range(scenario.units):
            made += [ScriptedHit(at_s, unit) for at_s in _times(scenario, unit)]
    return tuple(sorted(made))


def victims(scenario: Scenario) -> tuple[tuple[float, int], ...]:
    """When which process is killed."""
    rng = random.Random(f"{scenario.seed}/kills")  # noqa: S311 - a script, not a secret
    return tuple((at_s, rng.randrange(scenario.processes)) for at_s in sorted(scenario.kills))


def _times(scenario: Scenario, unit: int) -> list[float]:
    rng = random.Random(f"{scenario.seed}/{unit}")  # noqa: S311
    times: list[float] = []
    at_s = rng.expovariate(scenario.hits_per_minute / 60.0)
    while at_s < scenario.seconds:
        times.append(round(at_s, 4))
        at_s += rng.expovariate(scenario.hits_per_minute / 60.0)
    return times
