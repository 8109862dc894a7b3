"""Who is enrolled and who is not: galleries of a given size, turned round so that few people serve well.

Everybody has one part at a time. Of a person with two pictures or more one is enrolled and another is the
probe, always the same two. A person with one picture fills up the gallery, or is a probe while not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeagent.evaluation.dataset import Index, Samples

MOST_ROUNDS = 60
HELD_OUT = 0.2
"""Share of the people that stay out of the main gallery, at least."""
LEAST_HELD_OUT = 0.02
"""The same of the largest gallery that is tried."""
SAYS_MORE = 1.1
SIZES = (100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)


@dataclass(frozen=True, slots=True)
class Parts:
    """What each person can be, by number of the person.

    Attributes:
        enrol: (p,) sample to be enrolled, or -1.
        probe: (p,) sample to search for.
        mated: people with both, in the order in which they are enrolled.
        fill: people with one picture that may be enrolled, in that order.
    """

    enrol: Index
    probe: Index
    mated: Index
    fill: Index

    @property
    def people(self) -> int:
        """How many there are."""
        return len(self.enrol)

    @property
    def most(self) -> int:
        """The largest gallery that leaves some people out of it."""
        return min(len(self.mated) + len(self.fill), largest(self.people))


def largest(people: int) -> int:
    """No gallery of so many people is larger, whatever their pictures: some must stay outside it."""
    return people - max(1, int(np.ceil(LEAST_HELD_OUT * people)))


def cast(samples: Samples, rng: np.random.Generator) -> Parts:
    """Draw each person's part and pictures."""
    people = len(samples.people)
    enrol, probe = np.full(people, -1, np.int64), np.empty(people, np.int64)
    order = rng.permutation(len(samples.person))
    for sample in order[np.argsort(samples.person[order], kind="stable")]:
        person = samples.person[sample]
        if samples.enrolable[sample] and enrol[person] < 0:
            enrol[person] = sample
        else:
            probe[person] = sample
    counts = np.bincount(samples.person, minlength=people)
    alone = counts == 1
    only = np.flatnonzero(alone & (enrol >= 0))
    probe[only] = enrol[only]
    mated = rng.permutation(np.flatnonzero(~alone & (enrol >= 0)))
    return Parts(enrol, probe, mated, rng.permutation(only))


def main_size(parts: Parts) -> int:
    """The gallery that the report speaks of first: people with two pictures, enough others left outside."""
    out = int(np.ceil(HELD_OUT * parts.people))
    enrolable = len(parts.mated) or len(parts.fill)
    return max(0, min(enrolable, parts.people - out, parts.most))


def sizes(parts: Parts, main: int) -> tuple[int, ...]:
    """Gallery sizes to be tried, rising: round numbers, the main one, and the largest if it says more."""
    found = {size for size in (*SIZES, main) if 1 <= size <= parts.most}
    if parts.most > SAYS_MORE * max(found, default=0):
        found.add(parts.most)
    return tuple(sorted(found))


def galleries(parts: Parts, size: int) -> Iterator[npt.NDArray[np.bool_]]:
    """For each round who is enrolled, (p,) bool with `size` true.

    People with two pictures are enrolled first. The gallery moves along the row of candidates by as much as
    lets everybody in the row be inside it once and outside it once, in at most `MOST_ROUNDS` rounds.
    """
    always, row = (parts.mated[:0], parts.mated) if size <= len(parts.mated) else (parts.mated, parts.fill)
    window = size - len(always)
    outside = len(row) - window
    step = min(window, outside) if outside else window
    if len(always):
        step = outside or window  # whom fills up the gallery is never searched for there
    for round_ in range(min(MOST_ROUNDS, -(-len(row) // step))):
        enrolled = np.zeros(parts.people, bool)
        enrolled[always] = True
        enrolled[row[(round_ * step + np.arange(window)) % len(row)]] = True
        yield enrolled
