"""Verification and identification figures of several embedders on the same photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDS, ROUNDS = 10, 10
FPIR = 0.01
_SEED = 20260303
Templates = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def compare(templates: Mapping[str, Templates], people: Sequence[str], reference: str) -> dict[str, Any]:
    """Print and return each embedder's figures and its difference to `reference`, in percent and points.

    Args:
        templates: (n, d) unit vectors of the n photographs, by embedder.
        people: who is in each photograph.
        reference: the embedder to compare the others with.
    """
    names = np.array(people)
    mated, others, folds = _pairs(names)
    accuracy = {name: _verify(vectors, mated, others, folds) for name, vectors in templates.items()}
    rates = {name: np.array(list(_identify(vectors, names))) for name, vectors in templates.items()}
    result: dict[str, Any] = {"mated_pairs": len(mated), "non_mated_pairs": len(others)}
    result |= dict(zip(("gallery", "mated_probes", "non_mated_probes"), _sizes(names), strict=True))
    print(", ".join(f"{value} {name.replace('_', ' ')}" for name, value in result.items()))
    for name in templates:
        figures = {}
        for label, values in (("verification", accuracy), ("tpir", rates)):
            change = 100 * (values[name] - values[reference])
            figures[label] = {
                "percent": 100 * float(values[name].mean()),
                "points": float(change.mean()),
                "points_95": 1.96 * float(change.std(ddof=1)) / np.sqrt(len(change)),
            }
        result[name] = figures
        print(f"{name:6}", *(_text(label, entry) for label, entry in figures.items()), flush=True)
    return result


def _text(label: str, entry: Mapping[str, float]) -> str:
    title = {"verification": "10-fold accuracy", "tpir": "TPIR at FPIR 1 %"}[label]
    change = f"to float {entry['points']:+.2f} ± {entry['points_95']:.2f} points"
    return f"  {title} {entry['percent']:.2f} %  {change}"


def _pairs(names: npt.NDArray[np.str_]) -> tuple[Indices, Indices, tuple[Indices, Indices]]:
    """All mated pairs (m, 2), as many non-mated ones, and the fold of each; no person is in two folds."""
    rng = np.random.default_rng(_SEED)
    unique, person = np.unique(names, return_inverse=True)
    fold_of_person = rng.permutation(len(unique)) % FOLDS
    fold = fold_of_person[person]
    first, second = np.triu_indices(len(names), 1)
    same = person[first] == person[second]
    mated = np.stack([first[same], second[same]], axis=1)
    strangers: list[Indices] = []
    for number in range(FOLDS):
        wanted = int((fold[mated[:, 0]] == number).sum())
        members = np.flatnonzero(fold == number)
        drawn = members[rng.integers(len(members), size=(4 * wanted + 8, 2))]
        strangers.append(drawn[person[drawn[:, 0]] != person[drawn[:, 1]]][:wanted])
    others = np.concatenate(strangers)
    return mated, others, (fold[mated[:, 0]], fold[others[:, 0]])


def _verify(
    vectors: Templates, mated: Indices, others: Indices, folds: tuple[Indices, Indices]
) -> npt.NDArray[np.float64]:
    """Accuracy on each fold at the threshold that is best on the other nine (FOLDS,)."""
    same, different = (np.sum(vectors[pair[:, 0]] * vectors[pair[:, 1]], axis=1) for pair in (mated, others))
    accuracy = []
    for number in range(FOLDS):
        test = folds[0] == number, folds[1] == number
        steps = np.sort(np.concatenate([same[~test[0]], different[~test[1]]]))
        right = -np.searchsorted(np.sort(same[~test[0]]), steps)
        right = right + np.searchsorted(np.sort(different[~test[1]]), steps)
        threshold = steps[int(right.argmax())]
        correct = (same[test[0]] >= threshold).sum() + (different[test[1]] < threshold).sum()
        accuracy.append(correct / (test[0].sum() + test[1].sum()))
    return np.array(accuracy)


def _sizes(names: npt.NDArray[np.str_]) -> tuple[int, int, int]:
    counts = np.unique(names, return_counts=True)[1]
    several, single = int((counts > 1).sum()), int((counts == 1).sum())
    return several + single // 4, several, single - single // 4


def _identify(vectors: Templates, names: npt.NDArray[np.str_]) -> list[float]:
    """TPIR (rank 1, above threshold) at FPIR 1 % in several draws of who is enrolled with which image.

    Everyone with several photographs is enrolled with one and sought with another; a quarter of those with
    one are enrolled too; the others are the non-mated probes.
    """
    rng = np.random.default_rng(_SEED + 1)
    unique, person = np.unique(names, return_inverse=True)
    own = [np.flatnonzero(person == number) for number in range(len(unique))]
    single = np.array([int(images[0]) for images in own if len(images) == 1])
    rates = []
    for _ in range(ROUNDS):
        drawn = np.array([rng.permutation(images)[:2] for images in own if len(images) > 1])
        alone = rng.permutation(single)
        enrolled, strangers = alone[: len(alone) // 4], alone[len(alone) // 4 :]
        gallery = vectors[np.concatenate([drawn[:, 0], enrolled])]
        best = np.sort((vectors[strangers] @ gallery.T).max(axis=1))
        allowed = int(FPIR * len(strangers))
        threshold = best[-allowed - 1]
        scores = vectors[drawn[:, 1]] @ gallery.T
        first = scores.argmax(axis=1) == np.arange(len(drawn))
        rates.append(float((first & (scores.max(axis=1) > threshold)).mean()))
    return rates
