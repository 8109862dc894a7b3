"""The report's main figures in the words and numbers that both the command and the page use."""

from __future__ import annotations

from typing import Any

from edgeagent.evaluation.rates import supports
from edgeagent.evaluation.report_model import Identification, Report

FALSE_ALERTS_ALLOWED = 0.001
"""R17: a live system may give one false alert in 1,000 faces, so the first page speaks of that if it can."""
LISTED, PASSERS_BY = 1_000, 10_000
NARROW = "\u202f"
"""A narrow space at which no line is broken."""


def main_results(report: Report) -> list[Identification]:
    """Of the main gallery, by falling false positive rate."""
    return [found for found in report.identification if found.gallery_size == report.main_gallery]


def spoken_of(report: Report) -> Identification | None:
    """The result of the first page: at the lowest rate, not below R17's, that can be told from none."""
    told = (found for found in main_results(report) if supports(found.probes_nonmated, found.fpir))
    return min(
        (found for found in told if found.fpir >= FALSE_ALERTS_ALLOWED),
        key=lambda found: found.fpir,
        default=None,
    )


def per(number: int, rate: float) -> str:
    """A rate as so many of a number: in whole people, or with one place below one."""
    count = rate * number
    return f"{count:.1f}".removesuffix(".0") if count < 0.95 else f"{count:,.0f}"


def missed(found: Identification) -> tuple[str, str, str]:
    """Of 1,000 listed people how many are missed: best estimate, lowest, highest."""
    low, high = found.tpir_ci95
    return per(LISTED, 1 - found.tpir), per(LISTED, 1 - high), per(LISTED, 1 - low)


def false_alerts(found: Identification) -> tuple[str, str, str]:
    """Of 10,000 others how many cause a false alert: best estimate, lowest, highest."""
    low, high = found.fpir_ci95
    return per(PASSERS_BY, found.fpir_measured), per(PASSERS_BY, low), per(PASSERS_BY, high)


def percent(rate: float, places: int = 2) -> str:
    """A share as a percentage."""
    return f"{100 * rate:.{places}f}{NARROW}%"


def span(ci: tuple[float, float], places: int = 1) -> str:
    """An interval of shares as percentages."""
    return f"{100 * ci[0]:.{places}f} to {100 * ci[1]:.{places}f}{NARROW}%"


def plain_rate(rate: float) -> str:
    """A given rate as a percentage without needless zeros."""
    return f"{100 * rate:g}{NARROW}%"


def summary(report: Report) -> dict[str, Any]:
    """What the command prints: figures of a person's or a program's first interest."""
    said: dict[str, Any] = {
        "model_pack": report.model_pack_sha256,
        "people": report.dataset.people_used,
        "images": report.dataset.images,
        "used": report.dataset.used,
        "failure_to_acquire": round(report.failure_to_acquire.rate, 5),
    }
    if report.verification is not None:
        said["accuracy_mean"] = round(report.verification.accuracy_mean, 5)
        said["accuracy_sd"] = round(report.verification.accuracy_sd, 5)
        said["tpr_at_fmr"] = {key: round(value, 5) for key, value in report.verification.tpr_at_fmr.items()}
    for found in report.identification:
        key = f"tpir_gallery_{found.gallery_size}_at_fpir_{found.fpir:g}"
        said[key] = round(found.tpir, 5)
    spoken = spoken_of(report)
    if spoken is not None:
        said["threshold"] = spoken.threshold
        (miss, *_), (false, *_) = missed(spoken), false_alerts(spoken)
        said["in_short"] = (
            f"list of {spoken.gallery_size:,}, threshold {spoken.threshold:g}: of {LISTED:,} listed people "
            f"who pass and whose face is seen about {miss} are missed; "
            f"of {PASSERS_BY:,} others about {false} cause a false alert"
        )
    errors = report.label_errors
    said["suspected_label_errors"] = len(errors.same_face_two_names) + len(errors.two_faces_one_name)
    said["left_out"] = list(report.left_out)
    return said
