"""What the figures rest on: pictures not used, suspicious ones, how to repeat it, and the words."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from edgeagent.evaluation.page_html import Row, paragraph, table
from edgeagent.evaluation.report_model import DoubtfulPair, Failures, Report
from edgeagent.evaluation.words import percent, span


def not_acquired(report: Report) -> str:
    """Pictures that gave no template, and pictures that may not be enrolled."""
    said = "<h2>Failure to acquire and to enrol</h2>"
    chosen = report.dataset.chosen
    if chosen:
        said += paragraph(
            f"{chosen:,} pictures show several faces; of these the one over the picture's middle was taken, "
            "as pictures of a dataset are cut out around the person whose name they bear."
        )
    for name, found in (
        ("no face to compare (failure to acquire)", report.failure_to_acquire),
        ("not good enough for a watchlist (failure to enrol; used as probes)", report.failure_to_enrol),
    ):
        said += f"<h3>{found.failed:,} of {found.tried:,} pictures: {escape(name)}</h3>" + _failures(found)
    return said


def _failures(found: Failures) -> str:
    if not found.failed:
        return paragraph("None.")
    kinds = table("", ("Reason", "Pictures"), ((kind, f"{n:,}") for kind, n in found.by_reason.items()))
    rate = paragraph(f"{percent(found.rate)} (95 %: {span(found.ci95, 2)})")
    rows = ((failure.file, failure.reason) for failure in found.listed)
    return rate + kinds + table("Each of them", ("Picture", "Reason"), rows, words=2)


def suspicions(report: Report) -> str:
    """Suspected label errors, by name of the files."""
    errors = report.label_errors
    head = ("Picture", "Picture", "Score")

    def rows(found: tuple[DoubtfulPair, ...]) -> Iterable[Row]:
        return ((pair.first, pair.second, f"{pair.score:.3f}") for pair in found)

    alike = table(
        "Two names, one face? As alike as half the pairs of one person (from "
        f"{errors.nonmated_at_least:.3f})",
        head,
        rows(errors.same_face_two_names),
        words=2,
    )
    unlike = table(
        f"One name, two faces? One in ten pairs of strangers is more alike (below {errors.mated_below:g})",
        head,
        rows(errors.two_faces_one_name),
        words=2,
    )
    if not alike and not unlike:
        return ""
    about = paragraph(
        "To be looked at by a person. The program leaves none of them out: that would flatter the model, "
        "since a pair that it gets wrong looks the same. Pictures whose names are wrong can be given to "
        "--exclude; the report then lists them."
    )
    return f"<h2>Suspected mistakes of the dataset</h2>{about}{alike}{unlike}"


def excluded(report: Report) -> str:
    """Pictures that somebody left out."""
    if not report.excluded:
        return ""
    rows = ((name,) for name in report.excluded)
    return f"<h2>Left out by order: {len(report.excluded):,} pictures</h2>" + table("", ("Picture",), rows)


def provenance(report: Report) -> str:
    """What another person needs to repeat it."""
    runtime, data = report.runtime, report.dataset
    rows = [
        ("Model pack, SHA-256", report.model_pack_sha256),
        ("Runtime", f"{runtime.library} {runtime.version} on {runtime.machine}, {runtime.threads} threads"),
        (
            "Detector",
            f"{runtime.detector_input[0]} × {runtime.detector_input[1]} ({runtime.scene}); "
            f"{runtime.precision['detector']}",
        ),
        ("Embedder", runtime.precision["embedder"]),
        (
            "Dataset",
            f"{data.images:,} pictures of {data.people:,} people; {data.used:,} of {data.people_used:,} used",
        ),
        ("People with two pictures or more", f"{data.people_with_pairs:,}"),
        ("Dataset used, SHA-256", data.sha256),
        ("Software", f"edgeagent {report.software_version}"),
        ("Seed", str(report.seed)),
        ("Measured", report.made_at),
    ]
    return "<h2>How to repeat it</h2>" + table("", ("What", "Value"), rows, words=2)


def terms() -> str:
    """The words that the page uses, in plain language."""
    words = [
        ("FMR, false match rate", "of pairs of two people, the share that is taken for one"),
        (
            "FNMR, false non-match rate",
            "of pairs of one person, the share that is taken for two; 1 − true match rate",
        ),
        (
            "FPIR, false positive identification rate",
            "of people not on the list, the share that causes an alert",
        ),
        (
            "TPIR, true positive identification rate",
            "of people on the list, the share that is found; 1 − FNIR",
        ),
        ("Threshold", "the score at or above which an alert is given"),
        ("95 % interval", "where the rate lies, if these people are like those to come"),
    ]
    return (
        "<h2>Words</h2>"
        + table("", ("Word", "Meaning"), words, words=2)
        + paragraph("After ISO/IEC 2382-37 and ISO/IEC 19795-1.", "small")
    )
