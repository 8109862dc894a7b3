"""The record's figures in plain English."""

from __future__ import annotations

from datetime import datetime

from edgeagent.controlroom.record.model import DeploymentRecord, Rate


def duration(seconds: float) -> str:
    """A length of time as people say it: `5 h 34 min`, `12 min`, `40 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def span_words(start: datetime, end: datetime) -> str:
    """How long from one moment to another; a clock that went back makes it unknown."""
    seconds = (end - start).total_seconds()
    return duration(seconds) if seconds >= 0 else "an unknown time"


def percent(share: float) -> str:
    """A share with three significant figures."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{float(f'{share * 100:.3g}'):.10f}".rstrip("0").rstrip(".") + " %"


def once_in(rate: Rate) -> str:
    """`1 in 8,000`; only for a rate above 0."""
    return f"1 in {round(rate.trials / rate.events):,}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 alert`, `2 alerts`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def lead(record: DeploymentRecord) -> str:
    """What happened, in three or four sentences."""
    said, alerts = record.published, record.published.alerts
    if record.kind == "bench":
        return (
            f"A test. For {duration(said.camera_open_s)} the program looked at pictures and compared the "
            f"faces in them with {plural(record.blue_list.listed, 'entry', 'entries')} of consenting test "
            "subjects. "
            "No camera looked at a public place, and nothing here is about anybody else."
        )
    if said.first_opened is None:
        return "A deployment was authorised, but the camera was never open. Nobody's face was compared."
    parts = [
        f"For {duration(said.camera_open_s)}, a camera compared the faces of {said.faces_seen:,} "
        f"people who walked past with a list of {plural(said.watchlist_size, 'entry', 'entries')}."
    ]
    if alerts.total == 0:
        parts.append("There were no alerts.")
    else:
        parts.append(f"There {'was' if alerts.total == 1 else 'were'} {plural(alerts.total, 'alert')}.")
        parts.append(_what_they_were(record))
    if record.faces.balanced and record.verified:
        parts.append("The faces of everybody else were deleted.")
    return " ".join(parts)


def _what_they_were(record: DeploymentRecord) -> str:
    alerts, said = record.published.alerts, []
    if alerts.true:
        sure = f" ({alerts.true_confirmed} confirmed by an officer)" if alerts.true_unconfirmed else ""
        said.append(f"{_was(alerts.true)} held to be of the listed person{sure}")
    if alerts.false:
        said.append(f"{_was(alerts.false)} held to be of somebody else")
    if alerts.open:
        said.append(f"{_was(alerts.open)} never decided")
    arrests = record.published.arrests
    followed = f"{plural(arrests, 'arrest')} followed." if arrests else "Nobody was arrested."
    return f"Of these, {'; '.join(said)}. {followed}"


def _was(count: int) -> str:
    return f"{count} {'was' if count == 1 else 'were'}"
