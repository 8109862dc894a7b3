"""The pictures of a dataset: one folder a person, labelled by whoever collected it and by nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeagent.errors import EdgeAgentError
from edgeagent.system.files import read_bounded
from edgeagent.vision.types import Float32Array

LIST_LIMIT = 64 * 1024 * 1024
PICTURES = frozenset({".jpeg", ".jpg", ".png", ".webp"})
"""By their names; other kinds are not read anywhere in this program."""

Index = npt.NDArray[np.int64]


class EvaluationError(EdgeAgentError):
    """A dataset, or a list about it, cannot be used for an evaluation."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture file; `name` is its place in the dataset, folders separated by `/`."""

    person: str
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """Pictures by person and name, both sorted.

    Attributes:
        excluded: names that an exclusion list took out.
        remarks: what was passed over, in words.
    """

    pictures: tuple[Picture, ...]
    excluded: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def people(self) -> int:
        """Number of people with at least one picture."""
        return len({picture.person for picture in self.pictures})


@dataclass(frozen=True, slots=True)
class Samples:
    """What was made of the pictures that gave a template; people and pictures are numbered from 0.

    Attributes:
        templates: (n, d) float32 of unit length.
        person: (n,) number of the person whom each shows.
        enrolable: (n,) bool, whether the picture is good enough for a watchlist.
        names: of the n pictures.
        people: the people's names, by number.
    """

    templates: Float32Array
    person: Index
    enrolable: npt.NDArray[np.bool_]
    names: tuple[str, ...]
    people: tuple[str, ...]


def open_dataset(folder: Path, excluded: frozenset[str]) -> Dataset:
    """List the pictures.

    Args:
        excluded: names, or their last parts, of pictures to leave out.

    Raises:
        EvaluationError: there is no such folder, or no picture in it.
    """
    people, loose = _folders(folder)
    found: list[Picture] = []
    taken: list[Picture] = []
    matched: set[str] = set()
    other = empty = 0
    for person in people:
        files = sorted(file for file in person.iterdir() if not file.name.startswith(".") and file.is_file())
        pictures = [file for file in files if file.suffix.lower() in PICTURES]
        other, empty = other + len(files) - len(pictures), empty + (not pictures)
        for path in pictures:
            picture = Picture(_text(person.name), f"{_text(person.name)}/{_text(path.name)}", path)
            hit = {picture.name, _text(path.name)} & excluded
            matched |= hit
            (taken if hit else found).append(picture)
    if not found:
        raise EvaluationError(
            "holds no picture",
            where=str(folder),
            next_step="give a folder that holds one folder of pictures for each person",
        )
    linked = sum(person.is_symlink() for person in people)
    remarks = _remarks(other, empty, loose, linked, sorted(excluded - matched))
    return Dataset(tuple(found), tuple(picture.name for picture in taken), remarks)


def _folders(folder: Path) -> tuple[list[Path], int]:
    """A folder for each person, and how many pictures lie beside them, in nobody's."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as cause:
        raise EvaluationError(
            f"cannot be read: {cause.strerror}", where=str(folder), next_step="give the dataset's folder"
        ) from cause
    people = [path for path in inside if path.is_dir()]
    return people, sum(path.suffix.lower() in PICTURES for path in inside) - sum(
        path.suffix.lower() in PICTURES for path in people
    )


def _text(name: str) -> str:
    """A file name as text that every report can hold; names of different bytes stay different people."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _remarks(other: int, empty: int, loose: int, linked: int, unknown: list[str]) -> tuple[str, ...]:
    said = []
    if other:
        said.append(f"Passed over, as they are not pictures by their names: {other} files.")
    if empty:
        said.append(f"Passed over, as they hold no picture: {empty} folders.")
    if loose:
        said.append(f"Passed over, as they are in no person's folder: {loose} pictures.")
    if linked:
        said.append(f"Symbolic links, counted as people of their own: {linked} folders.")
    if unknown:
        said.append(
            f"On the exclusion list but not in the dataset: {len(unknown)}, first {unknown[0][:200]!r}."
        )
    return tuple(said)


def read_exclusions(file: Path | None) -> frozenset[str]:
    """Names of pictures to leave out, one a line; empty lines and lines that start with # do not count.

    Raises:
        EvaluationError: the file cannot be read.
    """
    return frozenset() if file is None else frozenset(lines_of(file))


def lines_of(file: Path) -> list[str]:
    """The lines that say something, without space at their ends.

    Raises:
        EvaluationError: the file cannot be read or is not UTF-8.
    """
    try:
        text = read_bounded(file, LIST_LIMIT, EvaluationError).decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise EvaluationError("is not UTF-8 text", where=str(file), next_step="save it as UTF-8") from cause
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def number_people(names: Iterable[str]) -> tuple[tuple[str, ...], Index]:
    """The different names, sorted, and the number of each given one."""
    given = list(names)
    people = tuple(sorted(set(given)))
    number = {name: index for index, name in enumerate(people)}
    return people, np.array([number[name] for name in given], np.int64)
