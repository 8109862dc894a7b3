"""Pictures whose scores contradict their labels: for a person to look at; the program leaves none out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgeagent.controlroom.duplicates import DUPLICATE_COSINE
from edgeagent.evaluation.dataset import Samples
from edgeagent.evaluation.identification import Searches
from edgeagent.evaluation.rates import lowest_threshold, share_reaching
from edgeagent.evaluation.report_model import DoubtfulPair, LabelErrors
from edgeagent.evaluation.verification import Compared

ALIKE_AS_STRANGERS = 0.1
"""Two pictures of one person that are less alike than this share of pairs of strangers are suspicious."""
SAME_FILE = 0.999
"""One file under two names scores as much, however alike the pictures of one person are."""
LISTED = 200
BLOCK = 256


def label_errors(
    samples: Samples, compared: Compared, mated_pairs: list[tuple[int, int]], searches: list[Searches]
) -> LabelErrors:
    """Find them.

    Args:
        mated_pairs: sample numbers of the mated pairs of `compared`, in their order.
        searches: of the largest gallery, if there is one.
    """
    nonmated = compared.score[~compared.mated]
    below = lowest_threshold(nonmated, ALIKE_AS_STRANGERS) if len(nonmated) else -1.0
    mated = compared.score[compared.mated]
    at_least = min(SAME_FILE, float(np.median(mated))) if len(mated) else DUPLICATE_COSINE
    low = [
        (*mated_pairs[at], float(mated[at])) for at in np.argsort(mated, kind="stable") if mated[at] < below
    ]
    share = share_reaching(searches[0].nonmated_score, at_least) if searches else 0.0
    return LabelErrors(
        nonmated_at_least=round(at_least, 4),
        mated_below=below,
        same_face_two_names=_named(samples, _same_face(samples, at_least)),
        two_faces_one_name=_named(samples, low),
        dominate_below_fpir=share,
    )


def _named(samples: Samples, found: Iterable[tuple[int, int, float]]) -> tuple[DoubtfulPair, ...]:
    named = [
        DoubtfulPair(first=samples.names[a], second=samples.names[b], score=round(score, 4))
        for a, b, score in found
    ]
    return tuple(named[:LISTED])


def _same_face(samples: Samples, at_least: float) -> list[tuple[int, int, float]]:
    """Every pair of pictures of two people that score as one face does, highest first; in bounded memory."""
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(samples.person), BLOCK):
        rows = slice(start, start + BLOCK)
        scores = samples.templates[rows] @ samples.templates[start:].T
        left, right = np.nonzero(scores >= at_least)
        for a, b in zip(left + start, right + start, strict=True):
            if a < b and samples.person[a] != samples.person[b]:
                found.append((int(a), int(b), float(scores[a - start, b - start])))
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))
