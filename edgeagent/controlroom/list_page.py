"""The page that a supervisor reads before a list is signed: one HTML file that needs nothing else (R9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from statistics import median_low

from edgeagent.controlroom.enrolment_csv import Row
from edgeagent.controlroom.workshop import Refusal
from edgeagent.documents.words import plain
from edgeagent.safeguards.categories import APPROVAL_NEEDED, Category
from edgeagent.safeguards.certificate import Certificate, group_findings
from edgeagent.safeguards.watchlist import expected_false_alerts, under_18

PASSERS_BY = 10_000
NOTHING_OF_GROUPS = "unknown: no evaluation certificate was given"
STYLE = """
body{font:16px/1.45 system-ui,sans-serif;color:#111;background:#fff}
body{max-width:50rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0}
th{font-weight:600;white-space:nowrap}tr{border-bottom:1px solid #bbb}td.n,th.n{text-align:right;width:7rem}
.stop{border:3px solid #a00;padding:.6rem 1rem;margin:1rem 0}.test{border:3px solid #333;padding:.4rem 1rem}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}
"""


@dataclass(frozen=True, slots=True)
class FalseAlerts:
    """How many false alerts to expect at most of 10,000 passers-by, or why nobody can say.

    Attributes:
        most: the bound; None if unknown.
        text: the same in words, with what it rests on.
        groups: what the certificate says of groups of people (R28).
    """

    most: float | None
    text: str
    groups: str = NOTHING_OF_GROUPS


def false_alerts(certificate: Certificate | None, threshold: float | None, entries: int) -> FalseAlerts:
    """The expected false alerts; never a made-up figure (R9)."""
    if certificate is None:
        return FalseAlerts(None, "unknown: no evaluation certificate was given")
    groups = "; ".join(plain(finding) for finding in group_findings(certificate))
    if threshold is None:
        return FalseAlerts(None, "unknown: no threshold was given", groups)
    most = expected_false_alerts(certificate, entries=entries, threshold=threshold, passers_by=PASSERS_BY)
    if most is None:
        covers = f"the certificate covers no list of {entries} entries at threshold {threshold:g}"
        return FalseAlerts(None, f"unknown: {covers}", groups)
    return FalseAlerts(
        most, f"{_at_most(most)}, at threshold {threshold:g}; {_rests_on(certificate)}", groups
    )


def _at_most(most: float) -> str:
    return f"at most {_plain(most)} for each {PASSERS_BY:,} people who pass and are not on the list"


def _plain(number: float) -> str:
    """Whole from 100 on, else with three figures that count."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _rests_on(certificate: Certificate) -> str:
    """What the figure is worth: of few people, or of others, it promises less than it seems."""
    said = (
        f"by the certificate of {certificate.issued_at:%Y-%m-%d}, measured on {certificate.people:,} people"
    )
    return f"{said} ({plain(certificate.dataset)}), not on those who will pass"


@dataclass(frozen=True, slots=True)
class About:
    """What the page says of the list as a whole.

    Attributes:
        cap: most entries that the profile allows.
        today: the day by which ages are reckoned.
    """

    deployment: str
    sequence: int
    units: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    cap: int
    profile: str
    model_pack_sha256: str
    today: date


def render(about: About, rows: list[Row], refusals: tuple[Refusal, ...], expected: FalseAlerts) -> str:
    """The page. `rows` are all rows of the CSV, n ≥ 1, also those that were refused."""
    test = sum(row.category is Category.TEST_SUBJECT for row in rows)
    parts = [
        f"<h1>Watchlist for {escape(about.deployment)}</h1>",
        "<p>To be read before it is signed. Not signed yet, and no proof of anything.</p>",
        _refused(refusals),
        '<p class="test">Test subjects only: fit for a bench.</p>' if test == len(rows) else "",
        _figures(about, rows, test, expected),
        _counted("By category", Counter(str(row.category) for row in rows)),
        _counted("By basis of the image", Counter(str(row.image_basis) for row in rows)),
        _minors(about, rows),
        "<h2>What signing says</h2><p>Every image is lawfully held and may be used for this. Every listing "
        "is necessary and proportionate. The list is for this deployment only and is destroyed after it.</p>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>Watchlist for {escape(about.deployment)}</title>'
        f"<style>{STYLE}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _figures(about: About, rows: list[Row], test: int, expected: FalseAlerts) -> str:
    days = sorted(row.image_taken_on for row in rows)
    said = {
        "Entries": f"{len(rows)} of at most {about.cap} (profile {about.profile})",
        "People": f"{len({row.person for row in rows})}; entries of consenting test subjects: {test}",
        "Expected false alerts": expected.text,
        "Groups of people": expected.groups,
        "Oldest image": _age(days[0], about.today),
        "Median image": _age(median_low(days), about.today),
        "Under 18": str(len(_young(about, rows))),
        "Second signature": _second_signature(about, rows),
        "Valid": f"{about.not_before:%Y-%m-%d %H:%M} to {about.not_after:%Y-%m-%d %H:%M} UTC",
        "Units that can open it": ", ".join(about.units),
        "Sequence": str(about.sequence),
        "Model pack": about.model_pack_sha256[:16] + "…",
    }
    return _table((name, value) for name, value in said.items())


def _second_signature(about: About, rows: list[Row]) -> str:
    """R8, R10."""
    because = sorted({str(row.category) for row in rows if row.category in APPROVAL_NEEDED})
    because += ["under 18"] if _young(about, rows) else []
    return f"an independent approver must sign too ({', '.join(because)})" if because else "not needed"


def _age(day: date, today: date) -> str:
    return f"{day.isoformat()} ({(today - day).days / 365.25:.1f} years ago)"


def _young(about: About, rows: list[Row]) -> list[Row]:
    return [row for row in rows if under_18(row.date_of_birth, about.today)]


def _minors(about: About, rows: list[Row]) -> str:
    young = _young(about, rows)
    if not young:
        return ""
    head = "<h2>Under 18: recorded risk of significant harm (R10)</h2>"
    return head + _table((row.entry, row.under_18_rationale or "none recorded") for row in young)


def _refused(refusals: tuple[Refusal, ...]) -> str:
    if not refusals:
        return ""
    table = _table((refusal.entry, refusal.reason) for refusal in refusals)
    head = f"<h2>Rows refused: {len(refusals)}. This list cannot be signed</h2>"
    return f'<div class="stop">{head}{table}</div>'


def _counted(title: str, counts: Counter[str]) -> str:
    lines = (
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th><td class="n">{count}</td></tr>'
        for name, count in counts.most_common()
    )
    return f"<h2>{escape(title)}</h2><table>{''.join(lines)}</table>"


def _table(lines: Iterable[tuple[str, str]]) -> str:
    made = (f'<tr><th scope="row">{escape(a)}</th><td>{escape(b)}</td></tr>' for a, b in lines)
    return f"<table>{''.join(made)}</table>"
