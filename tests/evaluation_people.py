"""Made-up people for evaluations: templates drawn from a seed; no picture and no network is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeagent.evaluation.dataset import Dataset, Picture, Samples, number_people
from edgeagent.evaluation.evaluate import Extracted, Order, evaluate
from edgeagent.evaluation.extract import Extractor, Seen
from edgeagent.evaluation.report_model import Report
from edgeagent.vision.types import Float32Array
from tests.real_networks import model_pack

DIMENSIONS = 32


@dataclass
class People:
    """So many people with so many pictures each.

    Attributes:
        counts: pictures of each person.
        noise: how unlike one person's pictures are; by person, or of all.
        unfit: numbers of the pictures that may not be enrolled.
    """

    counts: list[int]
    seed: int = 1
    noise: float | list[float] = 0.12
    unfit: frozenset[int] = field(default_factory=frozenset)

    def names(self) -> list[str]:
        return [f"p{person:04d}" for person, count in enumerate(self.counts) for _ in range(count)]

    def templates(self) -> Float32Array:
        rng = np.random.default_rng(self.seed)
        noise = self.noise if isinstance(self.noise, list) else [self.noise] * len(self.counts)
        rows = []
        for count, spread in zip(self.counts, noise, strict=True):
            face = rng.normal(size=DIMENSIONS)
            rows += [face + rng.normal(size=DIMENSIONS) * spread * np.sqrt(DIMENSIONS) for _ in range(count)]
        found = np.array(rows)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def pictures(self) -> tuple[Picture, ...]:
        seen: dict[str, int] = {}
        found = []
        for person in self.names():
            seen[person] = seen.get(person, 0) + 1
            name = f"{person}/{person}_{seen[person]:04d}.jpg"
            found.append(Picture(person, name, Path("nowhere") / name))
        return tuple(found)

    def samples(self) -> Samples:
        people, person = number_people(self.names())
        fit = np.array([number not in self.unfit for number in range(len(person))])
        names = tuple(picture.name for picture in self.pictures())
        return Samples(self.templates(), person, fit, names, people)

    def extracted(self) -> Extracted:
        pictures = self.pictures()
        seen = {
            picture.name: Seen(
                f"{number:064x}", faults=("blurred (sharpness 0.001)",) * (number in self.unfit)
            )
            for number, picture in enumerate(pictures)
        }
        return Extracted(self.templates(), pictures, seen)


@cache
def extractor() -> Extractor:
    """Of the installed pack; only asked what it runs on."""
    return Extractor(model_pack(), "near")


def order(**changes: object) -> Order:
    """An order with the usual values."""
    said: dict[str, Any] = {
        "gallery": None,
        "pairs": None,
        "groups": {},
        "seed": 7,
        "software_version": "0.0",
        "made_at": "2026-03-01T12:00:00Z",
    }
    return Order(**(said | changes))


def report_of(people: People, **changes: object) -> Report:
    """A whole evaluation of made-up people."""
    dataset = Dataset(people.pictures(), (), ())
    return evaluate(dataset, people.extracted(), extractor(), model_pack(), order(**changes))
