"""Reports of evaluations that were never made: strict models with one thing changed a test."""

from __future__ import annotations

from typing import Any

from edgeagent.evaluation.report_model import (
    Dataset,
    Failures,
    Floor,
    Group,
    GroupRate,
    Groups,
    GroupTest,
    Identification,
    LabelErrors,
    Report,
    Runtime,
)

PACK_SHA256 = "ab" * 32


def row(size: int, threshold: float, errors: int, people: int, **changes: Any) -> Floor:
    """A row of the report: so many people falsely matched at the threshold."""
    said: dict[str, Any] = {
        "gallery_size": size,
        "fpir": 0.001,
        "threshold": threshold,
        "threshold_ci95": (threshold, threshold),
        "fpir_measured": errors / people,
        "probes_nonmated": people,
    }
    return Floor(**(said | changes))


def searched(size: int, threshold: float, tpir: float) -> Identification:
    """Mated searches of the same gallery."""
    return Identification(
        gallery_size=size,
        probes_mated=100,
        probes_nonmated=4000,
        rounds=1,
        searches_mated=100,
        searches_nonmated=100,
        fpir=0.001,
        threshold=threshold,
        fpir_measured=0.0,
        fpir_ci95=(0.0, 0.1),
        tpir=tpir,
        tpir_ci95=(0.0, 1.0),
        tpir_ci95_bootstrap=(0.0, 1.0),
        rank_one=1.0,
    )


def rate(errors: int, people: int) -> GroupRate:
    """A group's rate, one search a person."""
    share = errors / people
    return GroupRate(rate=share, ci95=(0.0, 1.0), events=errors, trials=people, units=people)


def group(label: str, people: int = 500, errors: int = 0, tpir: float = 0.9, **changes: Any) -> Group:
    """A group with so many people, of whom so many were falsely matched."""
    found = round(tpir * people)
    said: dict[str, Any] = {
        "label": label,
        "people": people,
        "images": people,
        "enough": True,
        "failure_to_acquire": rate(0, people),
        "fnmr": None,
        "fmr": None,
        "tpir": rate(found, people),
        "fpir": rate(errors, people),
    }
    return Group(**(said | changes))


def compared(*groups: Group, threshold: float = 0.5, significant: tuple[str, ...] = ()) -> Groups:
    """Groups, compared in what a certificate asks for."""
    labels = tuple(group.label for group in groups if group.enough)
    tests = [
        GroupTest.model_validate(
            {
                "rate": name,
                "groups": labels,
                "permutations": 1000,
                "p_value": 0.001 if name in significant else 0.5,
                "p_holm": 0.002 if name in significant else 1.0,
                "significant": name in significant,
            }
        )
        for name in ("failure_to_acquire", "tpir", "fpir")
    ]
    return Groups(
        threshold=threshold,
        fpir=0.001,
        least_people=30,
        unlabelled=0,
        groups=groups,
        tests=tuple(tests) if len(labels) > 1 else (),
    )


def report(**changes: Any) -> Report:
    """A report that supports FPIR 0.001 on lists of 100 and 1,000, for two groups without a difference."""
    none_failed = Failures(tried=9000, failed=0, rate=0.0, ci95=(0.0, 0.001), by_reason={}, listed=())
    said: dict[str, Any] = {
        "format": "edgeagent-evaluation/1",
        "software_version": "0.1.0",
        "made_at": "2031-01-01T00:00:00Z",
        "seed": 1,
        "model_pack_sha256": PACK_SHA256,
        "model_pack_name": "a pack",
        "runtime": Runtime(
            library="a runtime",
            version="1.0",
            machine="x86_64",
            precision={"detector": "int8", "embedder": "int8"},
            detector_input=(640, 384),
            scene="near",
            threads=2,
        ),
        "dataset": Dataset(
            people=9000,
            chosen=0,
            images=18_000,
            used=18_000,
            people_used=9000,
            people_with_pairs=9000,
            sha256="cd" * 32,
        ),
        "excluded": (),
        "failure_to_acquire": none_failed,
        "failure_to_enrol": none_failed,
        "verification": None,
        "main_gallery": 1000,
        "identification": (searched(100, 0.5, 0.95), searched(1000, 0.6, 0.9)),
        "floors": (row(100, 0.5, 0, 4000), row(1000, 0.6, 0, 4000)),
        "identification_curve": (),
        "label_errors": LabelErrors(
            nonmated_at_least=1.0,
            mated_below=-1.0,
            same_face_two_names=(),
            two_faces_one_name=(),
            dominate_below_fpir=0.0,
        ),
        "groups": compared(group("group a"), group("group b")),
        "left_out": (),
    }
    return Report(**(said | changes))
