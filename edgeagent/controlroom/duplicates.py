"""One face under two persons' names: looked for before a list is signed, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeagent.safeguards.watchlist import Entry
from edgeagent.system.modelpack import USUAL_ALIKE
from edgeagent.vision.types import Float32Array

DUPLICATE_COSINE = USUAL_ALIKE
"""Templates of two persons at least this alike are taken for one face, unless the model pack says otherwise.

With the present model pack no two of 943 people of Labelled Faces in the Wild were (1.6 million pairs), and
46 % of the pairs of one person were: it finds about half of the mistakes. Two people whom the model takes for
one could not be told apart in the street either, so there is no switch to let them pass.
"""

BLOCK = 256
"""Rows compared at once: 256 × 20,000 scores are 20 MB."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two entries of different persons with one face; `first` comes first in the list."""

    first: str
    second: str
    cosine: float


def find_duplicates(
    entries: tuple[Entry, ...], templates: Float32Array, alike: float = DUPLICATE_COSINE
) -> tuple[Duplicate, ...]:
    """For each entry the earlier entry of another person that is most like it, if it is too much like it.

    Args:
        entries: n entries.
        templates: (n, d) float32, unit rows.
        alike: least cosine of two persons who are taken for one; it depends on the model.
    """
    number = {name: index for index, name in enumerate(sorted({entry.person for entry in entries}))}
    persons = np.array([number[entry.person] for entry in entries])
    scores = np.empty((BLOCK, len(entries)), np.float32)
    found: list[Duplicate] = []
    for start in range(0, len(entries), BLOCK):
        end = min(start + BLOCK, len(entries))
        block = scores[: end - start, :end]
        np.matmul(templates[start:end], templates[:end].T, out=block)
        block[persons[start:end, None] == persons[None, :end]] = -1.0  # another image of the same person
        block[np.arange(end)[None, :] > np.arange(start, end)[:, None]] = -1.0  # each pair once
        nearest = block.argmax(axis=1)
        for row, column in enumerate(nearest):
            cosine = float(block[row, column])
            if cosine >= alike:
                found.append(Duplicate(entries[column].entry, entries[start + row].entry, cosine))
    scores.fill(0)
    return tuple(found)
