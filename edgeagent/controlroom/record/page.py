"""The record as one HTML file that needs nothing else: plain words first, then every figure (R30)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from html import escape

from edgeagent.controlroom.record.model import DeploymentRecord, Rate, Record, Suspension
from edgeagent.controlroom.record.page_style import STYLE, TEST_STYLE
from edgeagent.controlroom.record.plots import plots
from edgeagent.controlroom.record.words import duration, lead, once_in, percent, span_words
from edgeagent.documents.words import plain

Lines = Iterable[tuple[str, str]]


def render(record: Record, zone: tzinfo) -> str:
    """The page; times of day are shown in `zone`."""
    bodies = [_Page(one, zone, number).html() for number, one in enumerate(record.deployments)]
    first = record.deployments[0]
    where = first.published.location if len(bodies) == 1 else f"{len(bodies)} deployments"
    title = f"{'TEST: ' if record.test else ''}Live facial recognition: {where}"
    kind = " ".join(name for name, so in (("bench", record.test), ("void", not record.verified)) if so)
    style = STYLE + (TEST_STYLE if record.test else "")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n"
        f'<body class="{kind}">\n' + "\n".join(bodies) + "\n</body></html>\n"
    )


def text(value: str) -> str:
    """Text of others, harmless in HTML and on a screen."""
    return escape(plain(value))


class _Page:
    """One deployment's part."""

    def __init__(self, record: DeploymentRecord, zone: tzinfo, number: int) -> None:
        self.one = record
        self.zone = zone
        self.number = number
        self.test = record.kind == "bench"

    def html(self) -> str:
        parts = [
            self._banners(),
            self._first_screen(),
            self._published(),
            self._plots(),
            self._blue_list(),
            self._people(),
            self._list(),
            self._camera(),
            self._machine(),
            self._unknown(),
            self._check(),
        ]
        made = "<main>\n" + "\n".join(part for part in parts if part) + "\n</main>"
        if not self.test:
            return made
        return made.replace("<h1>", "<h1>TEST · ").replace("<h2>", "<h2>TEST · ")  # R33, copied text too

    # --- what must not be missed ----------------------------------------------------------------------------

    def _banners(self) -> str:
        made = []
        if self.test:
            made.append(
                '<div class="test" role="note"><strong>TEST. This is not a deployment.</strong> A bench '
                "showed generated or recorded pictures of consenting test subjects to the program. "
                "Nobody was filmed.</div>"
            )
        for log in self.one.logs:
            if not log.verified:
                made.append(
                    '<div class="stop" role="alert"><strong>Do not rely on this page.</strong> The log of '
                    f"{text(log.unit)} could not be verified: {text(log.verdict)}</div>"
                )
        if self.one.contradictions:
            items = "".join(f"<li>{text(each)}</li>" for each in self.one.contradictions)
            made.append(
                '<div class="stop"><strong>These figures contradict each other.</strong>'
                f"<ul>{items}</ul></div>"
            )
        return "\n".join(made)

    def _first_screen(self) -> str:
        said, one = self.one.published, self.one
        word = "Test of live facial recognition" if self.test else "Live facial recognition"
        day = datetime.fromisoformat(said.date)
        when = f"{day:%A} {day.day} {day:%B %Y}"
        tiles = (
            (f"{said.faces_seen:,}", "people walked past"),
            (f"{said.watchlist_size:,}", "entries on the list"),
            (str(said.alerts.total), "alerts"),
            (str(said.alerts.false), "false alerts"),
            (str(said.arrests), "arrests"),
            (duration(said.camera_open_s), "camera open"),
        )
        if self.test:
            blue = one.blue_list
            tiles = (
                (f"{said.faces_seen:,}", "faces walked past"),
                (str(blue.listed), "test subjects listed"),
                (str(blue.alerts), "alerts of test subjects"),
                (str(blue.false_alerts), "false alerts"),
                ("not known" if blue.tpir is None else percent(blue.tpir.rate), "of passes alerted"),
                (duration(said.camera_open_s), "source open"),
            )
        shown = "".join(f"<div><dt>{text(label)}</dt><dd>{text(value)}</dd></div>" for value, label in tiles)
        return (
            f'<header><p class="kicker">{word}</p><h1>{text(said.location)}</h1>'
            f'<p class="when">{when}</p></header>'
            f'<p class="lead">{text(lead(one))}</p><dl class="tiles">{shown}</dl>'
        )

    # --- published elsewhere too ----------------------------------------------------------------------------

    def _published(self) -> str:
        said, a = self.one.published, self.one.published.alerts
        lines = [
            ("Location", text(said.location)),
            ("Date", said.date),
            ("Camera first opened, last closed", self._between(said.first_opened, said.last_closed)),
            ("Duration (camera open)", duration(said.camera_open_s)),
            ("Use case", text(said.use_case.replace("_", " "))),
            ("Watchlist size", f"{said.watchlist_size:,}"),
            ("Threshold", f"{said.threshold:g}"),
            (
                "Faces seen",
                f"{said.faces_seen:,}: people who walked past, as tracked; who passes twice counts twice",
            ),
            ("Total alerts", str(a.total)),
            ("False alert rate", self._rate(said.false_alert_rate, "faces")),
        ]
        most = said.false_alert_rate_at_most
        if a.open and most:
            lines.append(("… if all undecided were false", self._rate(most, "faces")))
        lines += [
            ("Outcomes", f"{said.arrests} arrests, {said.other_disposals} other, {said.no_action} no action")
        ]
        head = "<h2>The figures that forces publish</h2>"
        return f"<section>{head}{_table(lines)}{self._cells()}{self._outcomes()}</section>"

    def _cells(self) -> str:
        a = self.one.published.alerts
        rows = (
            ("True", a.true_confirmed, a.true_unconfirmed),
            ("False", a.false_confirmed, a.false_unconfirmed),
        )
        body = "".join(
            f'<tr><th scope="row">{name}</th><td class="n">{yes}</td><td class="n">{no}</td>'
            f'<td class="n">{yes + no}</td></tr>'
            for name, yes, no in rows
        )
        body += (
            '<tr><th scope="row">Not decided</th><td class="n">–</td><td class="n">–</td>'
            f'<td class="n">{a.open}</td></tr>'
            '<tr class="sum"><th scope="row">All</th>'
            f'<td class="n">{a.true_confirmed + a.false_confirmed}</td>'
            f'<td class="n">{a.true_unconfirmed + a.false_unconfirmed}</td><td class="n">{a.total}</td></tr>'
        )
        return (
            '<table class="grid"><caption>Alerts: right or wrong, and whether that was established</caption>'
            '<thead><tr><th scope="col">Alert was</th><th scope="col" class="n">confirmed</th>'
            f'<th scope="col" class="n">not confirmed</th><th scope="col" class="n">all</th></tr></thead>'
            f"<tbody>{body}</tbody></table>"
        )

    def _outcomes(self) -> str:
        if not self.one.outcomes:
            return ""
        said = ", ".join(f"{text(word.replace('_', ' '))} {n}" for word, n in self.one.outcomes.items())
        return f'<p class="note">Outcomes in the officers’ own words: {said}.</p>'

    def _plots(self) -> str:
        drawn = plots(self.one.series, self.one.published.threshold, self.zone, self.number)
        figures = "".join(
            f"<figure><figcaption>{text(caption)}</figcaption>{svg}</figure>" for caption, svg in drawn
        )
        head = "<h2>Over time, and how sure the system was</h2>"
        return f'<section class="plots">{head}{figures}</section>' if drawn else ""

    # --- not published elsewhere ----------------------------------------------------------------------------

    def _blue_list(self) -> str:
        blue = self.one.blue_list
        hits = blue.alerts - blue.false_alerts
        lines = [
            ("Test subjects on the list", str(blue.listed)),
            ("Times that they walked past", "not known" if blue.passes is None else str(blue.passes)),
            ("Alerts of them", f"{hits}" + (f", and {blue.false_alerts} false" if blue.false_alerts else "")),
            ("Found (TPIR)", self._rate(blue.tpir, "passes", shares=True)),
        ]
        if blue.subjects is not None:
            lines.insert(1, ("Test subjects who walked past", str(blue.subjects)))
        note = "Consenting people walk past on purpose, to see how often the system misses a listed person. "
        left = "Neither their alerts nor their passes are in the published figures above."
        if blue.passes is None:
            left = "Their alerts are not in the published figures above; their passes, being unknown, are."
        return (
            f'<section><h2>How often it misses</h2><p class="note">{note}{left}</p>{_table(lines)}</section>'
        )

    def _people(self) -> str:
        done, one = self.one.decisions, self.one
        slow = (
            "not known"
            if done.p95_s is None
            else f"median {done.median_s:.0f} s; 19 of 20 within {done.p95_s:.0f} s"
        )
        source = (
            "by the control room’s return" if one.officer_hours_from == "return" else "by the signed leases"
        )
        lines = [
            ("Alerts that the operator put to officers", str(done.engaged)),
            ("Alerts that the operator rejected", str(done.rejected)),
            ("Alerts without a decision", str(done.no_decision)),
            ("Time to decide", slow + (f" (of {done.timed})" if done.timed else "")),
            ("Officer hours on the ground", f"{one.officer_hours:.1f} h, {source}"),
        ]
        signed = "; ".join(
            f"{text(each.role.replace('_', ' '))} (key {text(each.key)}…)"
            for each in one.authorised.signatures
        )
        urgent = "urgent; " if one.authorised.urgent else ""
        between = self._between(one.authorised.start, one.authorised.end)
        lines += [("Authorised by", signed or "not known"), ("Authorised for", urgent + between)]
        lines.append(("Alerts kept at most", f"{one.authorised.retention_h:g} h"))
        return f"<section><h2>Who decided, and who authorised</h2>{_table(lines)}</section>"

    def _list(self) -> str:
        listed = self.one.composition
        lines = [
            (name.replace("_", " ").capitalize(), "withheld" if count is None else f"{count:,}")
            for name, count in listed.categories.items()
            if count != 0
        ]
        young = f"1 to {listed.withheld_below - 1}" if listed.under_18 is None else str(listed.under_18)
        lines.append(("Of them under 18", young))
        note = (
            f"Counts from 1 to {listed.withheld_below - 1} are withheld, and others from which they "
            "could be reckoned. Categories that are not named had no entries."
        )
        head = "<h2>Who was on the list, by category</h2>"
        return f'<section>{head}{_table(lines)}<p class="note">{note}</p></section>'

    def _camera(self) -> str:
        rows = "".join(
            f"<tr><td>{text(each.unit)}</td>"
            f"<td>{self._time(each.start)}{'' if each.clock_trusted else ' (clock not vouched for)'}"
            f'</td><td class="n">{duration(each.seconds)}</td><td>{_ENDED[each.ended]}</td></tr>'
            for each in self.one.camera
        )
        lapse = self.one.longest_lapse_to_closed_ms
        lines = [
            (
                "Longest from officers’ lease lapsing to camera closed",
                "none" if lapse is None else f"{lapse:.0f} ms",
            )
        ]
        lines += [
            (f"{gap.unit} stopped without a word", self._gap(gap.last_word, gap.back, gap.camera_was_open))
            for gap in self.one.gaps
        ]
        table = (
            '<table class="grid"><thead><tr><th scope="col">Unit</th><th scope="col">Camera opened</th>'
            '<th scope="col" class="n">for</th><th scope="col">then</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>"
        )
        never = '<p class="note">The camera was never open.</p>'
        return (
            f"<section><h2>When the camera was open</h2>{table if rows else never}{_table(lines)}</section>"
        )

    def _gap(self, last: datetime, back: datetime | None, was_open: bool) -> str:
        camera = "camera open at its last word" if was_open else "camera closed"
        after = "its log ends there" if back is None else f"back after {span_words(last, back)}"
        return f"{self._time(last)}, {camera}; {after}"

    def _machine(self) -> str:
        faces, system, one = self.one.faces, self.one.system, self.one
        balance = (
            "all accounted for" if faces.balanced else '<strong class="bad">NOT all accounted for</strong>'
        )
        refused = ", ".join(f"{text(rule)}: {count}" for rule, count in one.refused.items())
        lines = [
            (
                "Faces detected in pictures",
                f"{faces.detected:,} = {faces.deleted:,} deleted + {faces.in_alerts:,} in alerts: {balance}",
            ),
            ("Comparisons with the list", f"{faces.comparisons:,}"),
            ("Alerts never delivered", str(one.undelivered_alerts)),
            ("Documents and messages refused, by rule", refused or "none"),
            ("Matching suspended (R17)", "; ".join(map(self._suspension, one.suspensions)) or "never"),
            ("Agreement needed", " or ".join(f"{n} pictures" for n in system.agreeing_frames)),
            ("Program version", text(", ".join(system.versions)) or "not known"),
            ("Model pack", _hashes(system.model_packs)),
            ("Evaluation certificate", _hashes(system.certificates)),
            ("Authority", _hashes(system.authorities)),
            ("Watchlist", _hashes(system.watchlists)),
        ]
        return f"<section><h2>What the machine did</h2>{_table(lines)}</section>"

    def _suspension(self, each: Suspension) -> str:
        roles = " and ".join(role.replace("_", " ") for role in each.reviewed_by)
        after = f"review by {roles} at {self._time(each.reviewed_at)}" if each.reviewed_at else "no review"
        return f"{self._time(each.at)}, {each.false_alerts} false of {each.faces:,} faces; {text(after)}"

    def _unknown(self) -> str:
        items = "".join(f"<li>{text(each)}</li>" for each in self.one.not_known)
        return f"<section><h2>What this record cannot say</h2><ul>{items}</ul></section>"

    def _check(self) -> str:
        lines = [
            (f"Log of {text(log.unit)}", f"{log.entries:,} lines; {text(log.verdict)}")
            for log in self.one.logs
        ]
        return (
            f"<section><h2>How to check this page</h2>{_table(lines)}"
            '<p class="note">Every figure follows from the units’ signed audit logs, and from the control '
            "room’s signed return where it says so. Whoever is given both can make this page anew. "
            f"Deployment {text(self.one.deployment)}. Times of day: {text(self._zone())}.</p></section>"
        )

    # --- words ----------------------------------------------------------------------------------------------

    def _zone(self) -> str:
        return self.one.authorised.start.astimezone(self.zone).tzname() or "UTC"

    def _time(self, at: datetime | None) -> str:
        return "never" if at is None else f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    def _between(self, start: datetime | None, end: datetime | None) -> str:
        if start is None or end is None:
            return "never"
        first, last = start.astimezone(self.zone), end.astimezone(self.zone)
        day = "" if first.date() == last.date() else f"{last:%Y-%m-%d} "
        return f"{first:%Y-%m-%d %H:%M} to {day}{last:%H:%M}"

    def _rate(self, rate: Rate | None, of: str, *, shares: bool = False) -> str:
        if rate is None:
            return "not known"
        said = percent(rate.rate) if shares or not rate.events else f"{once_in(rate)}, {percent(rate.rate)}"
        return (
            f"{said} ({rate.events} of {rate.trials:,} {of}; "
            f"95 % interval {percent(rate.low)} to {percent(rate.high)})"
        )


_ENDED = {
    "closed": "closed",
    "lost": "the device failed",
    "unknown": "not known: the log stops here",
}


def _hashes(values: tuple[str, ...]) -> str:
    return "<br>".join(f"<code>{text(value)}</code>" for value in values) or "none"


def _table(lines: Lines) -> str:
    """Two columns; the texts are HTML already, the labels too."""
    made = (f'<tr><th scope="row">{label}</th><td>{said}</td></tr>' for label, said in lines)
    return f"<table>{''.join(made)}</table>"
