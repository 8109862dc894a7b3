"""The first screen of the page: what a chief officer must know, and what to beware of."""

from __future__ import annotations

from html import escape

from edgeagent.evaluation.page_html import paragraph, table
from edgeagent.evaluation.rates import RULE_OF_THREE
from edgeagent.evaluation.report_model import Report
from edgeagent.evaluation.words import (
    FALSE_ALERTS_ALLOWED,
    LISTED,
    PASSERS_BY,
    false_alerts,
    main_results,
    missed,
    percent,
    plain_rate,
    spoken_of,
)


def made(report: Report) -> str:
    """What was measured, when, by what."""
    data = report.dataset
    return paragraph(
        f"Model pack {report.model_pack_name} ({report.model_pack_sha256[:16]}…), measured "
        f"{report.made_at[:10]} on {data.used:,} pictures of {data.people_used:,} people with edgeagent "
        f"{report.software_version}.",
        "small",
    )


def in_short(report: Report) -> str:
    """The first screen: how many are missed, how many are bothered."""
    found = spoken_of(report)
    if found is None:
        return (
            '<div class="warn">'
            + paragraph("No figures for a watchlist could be measured. Why is said below.")
            + "</div>"
        )
    miss, false = missed(found), false_alerts(found)
    return (
        paragraph(
            f"With a list of {found.gallery_size:,} people, one picture of each, and the threshold at "
            f"{found.threshold:.4f}:"
        )
        + '<div class="figures">'
        + _figure(f"Of {LISTED:,} listed people who pass and whose face is seen, about", miss, "are missed.")
        + _figure(f"Of {PASSERS_BY:,} people not on the list, about", false, "cause a false alert.")
        + "</div>"
        + paragraph(
            "This is what one comparison of one picture does. A unit asks several pictures of a person to "
            "agree before it alerts, and officers decide; a street is harder than these pictures. So the "
            "figures compare model packs and thresholds. They do not foretell a deployment."
        )
    )


def _figure(before: str, numbers: tuple[str, str, str], after: str) -> str:
    best, low, high = numbers
    return (
        f'<div class="figure">{escape(before)} <b>{best}</b> {escape(after)}<br>'
        f'<span class="small">95 % interval: {low} to {high}</span></div>'
    )


def choices(report: Report) -> str:
    """What another threshold would change."""
    rows = [
        (
            f"{found.threshold:.4f}",
            *("{} ({} to {})".format(*numbers) for numbers in (missed(found), false_alerts(found))),
        )
        for found in main_results(report)
    ]
    head = ("Threshold", f"Missed of {LISTED:,} listed", f"False alerts of {PASSERS_BY:,} others")
    caption = "A higher threshold gives fewer false alerts and misses more (95 % intervals in brackets)"
    return table(caption, head, rows)


def beware(report: Report) -> str:
    """What the reader must know before relying on any of it."""
    said = []
    found = spoken_of(report)
    if found is not None and found.fpir > FALSE_ALERTS_ALLOWED:
        said.append(
            "The limit of one false alert in 1,000 people (R17) cannot be shown with "
            f"{found.probes_nonmated:,} people outside the list; {RULE_OF_THREE * 1000:,} are needed. The "
            f"figures above are for {plain_rate(found.fpir)}."
        )
    if report.groups is None:
        said.append(
            "Nothing is known about differences between groups of people: no labels from volunteers were "
            "given. No certificate for live use can rest on this report (R28)."
        )
    elif any(test.significant for test in report.groups.tests):
        said.append("Error rates differ between groups of people; see the table of groups.")
    errors = report.label_errors
    if errors.same_face_two_names:
        said.append(
            f"{len(errors.same_face_two_names)} pairs of pictures with two names look like one face; they "
            "are listed below and were not left out." + _dominated(errors.dominate_below_fpir)
        )
    lost = report.failure_to_acquire
    if lost.failed:
        said.append(
            f"{lost.failed:,} of {lost.tried:,} pictures ({percent(lost.rate)}) gave no face to compare and "
            "are in none of the other figures."
        )
    said += [text for text in report.left_out if report.groups or not text.startswith("Groups:")]
    items = "".join(f"<li>{escape(text)}</li>" for text in said)
    return f'<div class="warn"><h3>Before you rely on this</h3><ul>{items}</ul></div>' if said else ""


def _dominated(rate: float) -> str:
    if not rate:
        return ""
    return (
        " If they are mistakes of the dataset, they and not the model decide what is measured below an FPIR "
        f"of about {percent(rate)} with the longest list."
    )
