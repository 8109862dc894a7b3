"""Which pictures are compared with which: a list that somebody wrote, or every pair that there is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeagent.evaluation.dataset import EvaluationError, Index, Samples, lines_of

MOST_PAIRS = 1_000_000
"""Of more pairs of one kind a sample of this many is drawn, so that memory stays bounded."""
COLUMNS = ["first", "second"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of sample numbers, (n,) each.

    Attributes:
        fold: (n,) fold that the list puts each pair in, or None where people decide.
        left_out: pairs of a list that cannot be compared, since a picture gave no template.
        protocol: which pairs these are, in words.
    """

    first: Index
    second: Index
    fold: Index | None
    left_out: int
    protocol: str


def all_pairs(samples: Samples, rng: np.random.Generator, most: int = MOST_PAIRS) -> Pairs:
    """Every mated and every non-mated pair, or a sample without repetition of either kind."""
    mated = _mated(samples.person)
    if len(mated) > most:
        mated = mated[np.sort(rng.choice(len(mated), most, replace=False))]
    nonmated, sampled = _nonmated(samples.person, rng, most)
    both = np.concatenate([mated, nonmated])
    which = f"a random sample of {len(nonmated):,}" if sampled else "all"
    protocol = f"every mated pair of pictures (at most {most:,}), and {which} of the non-mated pairs"
    return Pairs(both[:, 0], both[:, 1], None, 0, protocol)


def _mated(person: Index) -> Index:
    """(n, 2) pairs of pictures of one person."""
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.diff(person[order], prepend=-1))
    found = [np.empty((0, 2), np.int64)]
    for members in np.split(order, starts[1:]):
        left, right = np.triu_indices(len(members), 1)
        found.append(np.stack([members[left], members[right]], axis=1))
    return np.concatenate(found)


def _nonmated(person: Index, rng: np.random.Generator, most: int) -> tuple[Index, bool]:
    """(n, 2) pairs of pictures of two people, and whether there would be more."""
    count = len(person)
    sizes = np.bincount(person)
    total = (count**2 - int((sizes**2).sum())) // 2
    if total <= most:
        left, right = np.triu_indices(count, 1)
        differ = person[left] != person[right]
        return np.stack([left[differ], right[differ]], axis=1), False
    drawn = np.empty(0, np.int64)
    while len(drawn) < most:
        pair = np.sort(rng.integers(count, size=(2 * most, 2)), axis=1)
        pair = pair[person[pair[:, 0]] != person[pair[:, 1]]]
        drawn = np.unique(np.concatenate([drawn, pair[:, 0] * count + pair[:, 1]]))
    drawn = np.sort(rng.choice(drawn, most, replace=False))
    return np.stack(np.divmod(drawn, count), axis=1), True


def read_pairs(file: Path, samples: Samples, known: frozenset[str]) -> Pairs:
    """Pairs of a list.

    Either the format of Labeled Faces in the Wild: a first line with the number of folds and of pairs of
    each kind in a fold (or that number alone), then `person n1 n2` or `personA n1 personB n2`, where number
    n of a person is the picture `person_000n`. Or a CSV with columns `first,second`: places of pictures in
    the dataset.

    Args:
        known: names of all pictures of the dataset, also of those that gave no template.

    Raises:
        EvaluationError: a line is malformed, or no pair can be compared.
    """
    wanted, fold = _wanted(file)
    number = {_key(name): index for index, name in enumerate(samples.names)}
    pairs = np.array([[number.get(name, -1) for name in pair] for pair in wanted], np.int64).reshape(-1, 2)
    usable = (pairs >= 0).all(axis=1)
    if not usable.any():
        raise _unusable(file)
    strange = sum(name not in known for pair in wanted for name in pair)
    said = f"the {len(wanted):,} pairs of {file.name}" + (
        f"; it names {strange} pictures that the dataset does not hold" if strange else ""
    )
    chosen = None if fold is None else fold[usable]
    return Pairs(pairs[usable, 0], pairs[usable, 1], chosen, int((~usable).sum()), said)


def check_pairs(file: Path, known: frozenset[str]) -> None:
    """Find out before any picture is looked at that a list is of no use.

    Raises:
        EvaluationError: a line is malformed, or no pair is of pictures of the dataset.
    """
    wanted, _ = _wanted(file)
    if not any(known.issuperset(pair) for pair in wanted):
        raise _unusable(file)


def _wanted(file: Path) -> tuple[list[list[str]], Index | None]:
    lines = lines_of(file)
    if not lines:
        raise EvaluationError("names no pair", where=str(file), next_step="list pairs, or leave --pairs out")
    if [cell.strip() for cell in lines[0].split(",")] == COLUMNS:
        return _from_csv(lines, file), None
    return _from_lfw(lines, file)


def _unusable(file: Path) -> EvaluationError:
    return EvaluationError(
        "names no pair of pictures that could be used",
        where=str(file),
        next_step="check that the list is for this dataset",
    )


def _key(name: str) -> str:
    """A picture's place without its suffix."""
    head, dot, _ = name.rpartition(".")
    return head if dot else name


def known_keys(names: list[str]) -> frozenset[str]:
    """Keys by which `read_pairs` knows pictures."""
    return frozenset(_key(name) for name in names)


def _from_csv(lines: list[str], file: Path) -> list[list[str]]:
    rows = list(csv.reader(lines[1:]))
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise _malformed(file, number)
    return [[_key(cell.strip()) for cell in row] for row in rows]


def _from_lfw(lines: list[str], file: Path) -> tuple[list[list[str]], Index | None]:
    header = lines[0].split()
    if len(header) not in (1, 2) or not all(_is_number(word) for word in header):
        raise _malformed(file, 1)
    wanted = []
    for number, line in enumerate(lines[1:], start=2):
        words = line.split("\t") if "\t" in line else line.split()
        wanted.append(_lfw_pair(words, file, number))
    folds = int(header[0]) if len(header) == 2 else 1
    if folds < 2 or len(wanted) != folds * 2 * int(header[1]):
        return wanted, None
    return wanted, np.repeat(np.arange(folds), 2 * int(header[1]))


def _lfw_pair(words: list[str], file: Path, number: int) -> list[str]:
    numbers = words[1:] if len(words) == 3 else words[1::2]
    if len(words) not in (3, 4) or not all(_is_number(word) for word in numbers):
        raise _malformed(file, number)
    people = [words[0], words[-2] if len(words) == 4 else words[0]]
    return [f"{name}/{name}_{int(n):04d}" for name, n in zip(people, numbers, strict=True)]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 9


def _malformed(file: Path, number: int) -> EvaluationError:
    return EvaluationError(
        "is not a pair",
        where=f"{file}, line {number}",
        next_step="write `person n1 n2` or `personA n1 personB n2` below a line with a number, or a CSV "
        "with the columns first,second",
    )


def scores_of(samples: Samples, pairs: Pairs, block: int = 65_536) -> npt.NDArray[np.float64]:
    """(n,) cosine of each pair."""
    scores = np.empty(len(pairs.first), np.float64)
    for start in range(0, len(scores), block):
        rows = slice(start, start + block)
        left, right = samples.templates[pairs.first[rows]], samples.templates[pairs.second[rows]]
        scores[rows] = np.einsum("nd,nd->n", left, right)
    return scores
