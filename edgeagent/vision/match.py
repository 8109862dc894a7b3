"""Comparison of one probe with the gallery of the open watchlist."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeagent.vision.types import Candidate, Float32Array, Template


class Gallery:
    """The watchlist's templates in memory. Call `wipe` when the deployment closes (R6)."""

    def __init__(self, templates: Float32Array, persons: npt.NDArray[np.int64]) -> None:
        """Take ownership of the templates.

        Args:
            templates: (n, d) float32, unit rows, n ≥ 1.
            persons: (n,) int; rows with the same number are images of one person.
        """
        if templates.ndim != 2 or not len(templates) or persons.shape != (len(templates),):
            raise ValueError(f"Gallery: expected (n, d) and (n,), got {templates.shape} and {persons.shape}")
        self._templates = templates
        self._persons = persons
        self._scores = np.empty(len(templates), np.float32)

    def __len__(self) -> int:
        return len(self._templates)

    @property
    def dimension(self) -> int:
        """Length of a template."""
        return int(self._templates.shape[1])

    @property
    def persons(self) -> npt.NDArray[np.int64]:
        """Whose image each row is, (n,)."""
        return self._persons

    def nearest(self, probe: Template) -> Candidate:
        """The entry with the highest cosine similarity, and the best of anybody else's."""
        scores = np.dot(self._templates, probe.vector, out=self._scores)
        entry = int(np.argmax(scores))
        score = float(scores[entry])
        person = int(self._persons[entry])
        scores[self._persons == person] = -1.0
        runner_up = float(scores.max())
        scores.fill(0)  # R1: scores against the list say something about the person who passed
        return Candidate(entry, person, score, runner_up)

    def wipe(self) -> None:
        """Overwrite every template."""
        self._templates.fill(0)
        self._scores.fill(0)
