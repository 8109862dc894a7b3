"""One evaluation from pictures to report: extract once, then count. Templates stay in memory, then go."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeagent.evaluation.dataset import (
    Dataset,
    EvaluationError,
    Picture,
    Samples,
    number_people,
)
from edgeagent.evaluation.extract import Extractor, Seen
from edgeagent.evaluation.groups import by_group, gather
from edgeagent.evaluation.identification import Searches, curve, identify, search, unsupported
from edgeagent.evaluation.label_errors import label_errors
from edgeagent.evaluation.pairs import Pairs, all_pairs, check_pairs, known_keys, read_pairs
from edgeagent.evaluation.rates import interval
from edgeagent.evaluation.report_model import (
    CurvePoint,
    Failure,
    Failures,
    Floor,
    Groups,
    Identification,
    Report,
)
from edgeagent.evaluation.report_model import Dataset as DatasetFigures
from edgeagent.evaluation.rounds import Parts, cast, largest, main_size, sizes
from edgeagent.evaluation.verification import compare, verify
from edgeagent.system.modelpack import ModelPack
from edgeagent.vision.types import Float32Array

GROUPS_AT_FPIR = 0.01


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure.

    Attributes:
        gallery: size of the main gallery; None to choose it.
        pairs: list of pairs, or None for all.
        groups: group of each labelled person.
        seed: of every random choice.
        made_at: UTC, `2026-03-01T12:00:00Z`.
    """

    gallery: int | None
    pairs: Path | None
    groups: dict[str, str]
    seed: int
    software_version: str
    made_at: str


@dataclass(frozen=True, slots=True)
class Extracted:
    """Templates, (n, d), in the order of `taken`, and what became of every picture."""

    templates: Float32Array
    taken: tuple[Picture, ...]
    seen: dict[str, Seen]

    def wipe(self) -> None:
        """Overwrite the templates."""
        self.templates.fill(0)


def check_order(dataset: Dataset, order: Order) -> None:
    """Refuse what this dataset cannot give however its pictures turn out, before they are looked at.

    Raises:
        EvaluationError: the gallery is too large, or the list of pairs is of no use.
    """
    most = largest(dataset.people)
    if order.gallery is not None and order.gallery > most:
        raise _too_large(order.gallery, dataset.people, most)
    if order.pairs is not None:
        check_pairs(order.pairs, known_keys([picture.name for picture in dataset.pictures]))


def _too_large(gallery: int, people: int, most: int) -> EvaluationError:
    return EvaluationError(
        f"a gallery of {gallery} cannot be made of {people} people",
        where="--gallery",
        next_step=f"order at most {max(most, 0)}: some people must stay outside it",
    )


def extract_all(dataset: Dataset, extractor: Extractor, on_picture: Callable[[], None]) -> Extracted:
    """Make every template; one picture at a time is in memory. `on_picture` is called after each."""
    rows = np.zeros((len(dataset.pictures), extractor.dimensions), np.float32)
    taken: list[Picture] = []
    seen: dict[str, Seen] = {}
    try:
        for picture in dataset.pictures:
            seen[picture.name] = extractor.extract(picture.path, rows[len(taken)])
            if not seen[picture.name].failure:
                taken.append(picture)
            on_picture()
    except BaseException:
        rows.fill(0)
        raise
    finally:
        extractor.close()
    return Extracted(rows[: len(taken)], tuple(taken), seen)


def evaluate(
    dataset: Dataset, extracted: Extracted, extractor: Extractor, pack: ModelPack, order: Order
) -> Report:
    """Every figure that the pictures can give.

    Raises:
        EvaluationError: they can give none, or not what was ordered.
    """
    _refuse_nothing(extracted)
    names = known_keys([picture.name for picture in dataset.pictures])
    dataset, unique = _without_copies(dataset, extracted)
    try:
        return _measure(dataset, names, unique, extractor, pack, order)
    finally:
        if unique is not extracted:  # R1: the caller wipes only what it knows of
            unique.wipe()


def _measure(
    dataset: Dataset,
    names: frozenset[str],
    extracted: Extracted,
    extractor: Extractor,
    pack: ModelPack,
    order: Order,
) -> Report:
    samples = _samples(extracted)
    left_out = list(dataset.remarks)
    streams = np.random.default_rng(order.seed).spawn(5)  # so that one part's draws do not move another's
    pairs = _pairs(names, samples, order, streams[0])
    compared = compare(samples, pairs)
    verification, unsaid = verify(compared, pairs, streams[1])
    left_out += unsaid
    parts = cast(samples, streams[2])
    found = _identify(samples, parts, order.gallery, streams[3], left_out)
    if verification is None and not found.floors:
        raise EvaluationError(
            "gives nothing to measure: " + " ".join(left_out),
            where=f"{len(samples.people)} people, {len(samples.person)} pictures with one face",
            next_step="use more people, several of them with two pictures or more",
        )
    mated = np.flatnonzero(compared.mated)
    named = list(zip(pairs.first[mated].tolist(), pairs.second[mated].tolist(), strict=True))
    return Report(
        format="edgeagent-evaluation/1",
        software_version=order.software_version,
        made_at=order.made_at,
        seed=order.seed,
        model_pack_sha256=pack.sha256,
        model_pack_name=pack.manifest.name,
        runtime=extractor.runtime(),
        dataset=_figures(dataset, extracted, samples),
        excluded=dataset.excluded,
        failure_to_acquire=_not_acquired(extracted.seen),
        failure_to_enrol=_not_enrolable(extracted.seen),
        verification=verification,
        main_gallery=found.main.size if found.main else None,
        identification=tuple(found.identification),
        floors=tuple(found.floors),
        identification_curve=tuple(found.curve),
        label_errors=label_errors(samples, compared, named, found.largest),
        groups=_groups(dataset, samples, found, order.groups, streams[4], left_out),
        left_out=tuple(left_out),
    )


def _refuse_nothing(extracted: Extracted) -> None:
    if extracted.taken:
        return
    name, first = next(iter(extracted.seen.items()), ("", Seen("")))
    tried = len(extracted.seen)
    raise EvaluationError(
        f"{tried} of {tried} pictures gave no template",
        where=f"{name}: {first.failure}",
        next_step="use pictures that show one face each",
    )


def _without_copies(dataset: Dataset, extracted: Extracted) -> tuple[Dataset, Extracted]:
    """Leave out what is, octet by octet, an earlier picture of its person: it would find itself.

    One file under two people's names stays, among the suspected label errors: nobody here knows who it shows.
    """
    people: dict[str, set[str]] = {}
    copies: set[str] = set()
    for picture in dataset.pictures:
        owners = people.setdefault(extracted.seen[picture.name].sha256 or picture.name, set())
        if picture.person in owners:
            copies.add(picture.name)
        owners.add(picture.person)
    remarks = list(dataset.remarks)
    if copies:
        remarks.append(
            f"Copies of another file of the same person: {len(copies)}, first {min(copies)[:200]!r}."
        )
    shared = sum(len(owners) > 1 for owners in people.values())
    if shared:
        remarks.append(f"Files that lie under more than one person: {shared}; see suspected label errors.")
    pictures = tuple(picture for picture in dataset.pictures if picture.name not in copies)
    dataset = replace(dataset, pictures=pictures, remarks=tuple(remarks))
    if not copies:
        return dataset, extracted
    kept = [number for number, picture in enumerate(extracted.taken) if picture.name not in copies]
    taken = tuple(extracted.taken[number] for number in kept)
    seen = {name: one for name, one in extracted.seen.items() if name not in copies}
    return dataset, Extracted(extracted.templates[kept], taken, seen)


def _samples(extracted: Extracted) -> Samples:
    people, person = number_people(picture.person for picture in extracted.taken)
    enrolable = np.array([not extracted.seen[picture.name].faults for picture in extracted.taken], bool)
    names = tuple(picture.name for picture in extracted.taken)
    return Samples(extracted.templates, person, enrolable, names, people)


def _pairs(names: frozenset[str], samples: Samples, order: Order, rng: np.random.Generator) -> Pairs:
    if order.pairs is None:
        return all_pairs(samples, rng)
    return read_pairs(order.pairs, samples, names)


@dataclass(frozen=True, slots=True)
class _Found:
    main: Searches | None
    largest: list[Searches]
    identification: list[Identification]
    floors: list[Floor]
    curve: list[CurvePoint]


def _identify(
    samples: Samples, parts: Parts, ordered: int | None, rng: np.random.Generator, left_out: list[str]
) -> _Found:
    main = main_size(parts) if ordered is None else ordered
    if not 1 <= main <= parts.most:
        if ordered is not None:
            raise _too_large(ordered, parts.people, parts.most)
        left_out.append("Identification: too few people to enrol some and to search for others.")
        return _Found(None, [], [], [], [])
    if not len(parts.mated):
        left_out.append("TPIR: nobody has a picture that can be enrolled and another one to search for.")
    found = _Found(search(samples, parts, main), [], [], [], [])
    tried: list[Searches] = []
    for size in sizes(parts, main):
        searches = found.main if size == main and found.main else search(samples, parts, size)
        identification, floors = identify(searches, rng)
        found.identification.extend(identification)
        found.floors.extend(floors)
        if size == main:
            found.curve.extend(curve(searches))
        tried.append(searches)
    found.largest.extend(tried[-1:])
    left_out += unsupported(found.floors, tried)
    return found


def _figures(dataset: Dataset, extracted: Extracted, samples: Samples) -> DatasetFigures:
    digests = sorted(extracted.seen[picture.name].sha256 for picture in extracted.taken)
    counts = Counter(samples.person.tolist())
    return DatasetFigures(
        people=dataset.people,
        images=len(dataset.pictures) + len(dataset.excluded),
        used=len(extracted.taken),
        chosen=sum(extracted.seen[picture.name].chosen for picture in extracted.taken),
        people_used=len(samples.people),
        people_with_pairs=sum(count > 1 for count in counts.values()),
        sha256=hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest(),
    )


def _not_acquired(seen: dict[str, Seen]) -> Failures:
    listed = [(name, one.failure, one.detail) for name, one in seen.items() if one.failure]
    return _failures(listed, len(seen))


def _not_enrolable(seen: dict[str, Seen]) -> Failures:
    acquired = {name: one for name, one in seen.items() if not one.failure}
    listed = [
        (name, one.faults[0].partition(" (")[0], "; ".join(one.faults))
        for name, one in acquired.items()
        if one.faults
    ]
    return _failures(listed, len(acquired))


def _failures(listed: list[tuple[str, str, str]], tried: int) -> Failures:
    rate = len(listed) / tried if tried else 0.0
    return Failures(
        tried=tried,
        failed=len(listed),
        rate=rate,
        ci95=interval(rate, tried) if tried else (0.0, 1.0),
        by_reason=dict(Counter(kind for _, kind, _ in listed).most_common()),
        listed=tuple(Failure(file=name, reason=f"{kind}: {detail}") for name, kind, detail in listed),
    )


def _groups(
    dataset: Dataset,
    samples: Samples,
    found: _Found,
    labelled: dict[str, str],
    rng: np.random.Generator,
    left_out: list[str],
) -> Groups | None:
    """Rates per group at the threshold of the main gallery whose false positive rate is nearest 1 %."""
    if not labelled:
        left_out.append("Groups: no labels were given, so nothing is known of any group of people.")
        return None
    floors = [floor for floor in found.floors if found.main and floor.gallery_size == found.main.size]
    if found.main is None or not floors:
        left_out.append("Groups: no threshold is known at which they could be compared.")
        return None
    if not set(labelled) & {picture.person for picture in dataset.pictures}:
        left_out.append("Groups: none of the labelled people is in the dataset.")
        return None
    floor = min(floors, key=lambda floor: abs(floor.fpir - GROUPS_AT_FPIR))
    evidence = gather(samples, found.main, floor.threshold, labelled, _acquisition(dataset, samples), rng)
    groups = by_group(evidence, floor, rng)
    small = [group.label for group in groups.groups if not group.enough]
    missing = sorted(set(labelled.values()) - {group.label for group in groups.groups})
    if small:
        left_out.append(
            f"Groups too small to be compared (fewer than {groups.least_people} people): {', '.join(small)}."
        )
    if missing:
        left_out.append(f"Groups with nobody in the dataset: {', '.join(missing)}.")
    return groups


def _acquisition(dataset: Dataset, samples: Samples) -> dict[str, tuple[int, int]]:
    """Of each person, the pictures that gave no template and the pictures tried."""
    tried = Counter(picture.person for picture in dataset.pictures)
    used = Counter(samples.people[person] for person in samples.person)
    return {person: (count - used[person], count) for person, count in tried.items()}
