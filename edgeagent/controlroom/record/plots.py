"""The page's plots as inline SVG: the same record gives the same octets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from edgeagent.controlroom.record.model import Series
from edgeagent.controlroom.svg import drawn

DARK, LIGHT, RED, INK = "#1d4f7c", "#9dbad3", "#b3261e", "#222222"
STYLE: dict[str, Any] = {
    "svg.hashsalt": "edgeagent record",
    "font.size": 10,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
}


def plots(series: Series, threshold: float, zone: tzinfo, number: int) -> list[tuple[str, str]]:
    """Caption and SVG of each plot for which there is something to draw. `number` keeps ids apart.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    drawn: list[tuple[str, str]] = []
    if any(series.faces):
        drawn.append(_bars("faces", "People who walked past, by quarter of an hour", series, zone, number))
    if any(series.alerts):
        drawn.append(_bars("alerts", "Alerts, by quarter of an hour", series, zone, number))
    if series.scores:
        drawn.append(_scores(series, threshold, number))
    return drawn


def _drawn(name: str, number: int, label: str, paint: Callable[[Any], None], height: float = 2.1) -> str:
    return drawn(f"{name}{number}", label, paint, (7.4, height), STYLE)


def _bars(what: str, caption: str, series: Series, zone: tzinfo, number: int) -> tuple[str, str]:
    counts = series.faces if what == "faces" else series.alerts
    times = [f"{each.astimezone(zone):%H:%M}" for each in series.quarters]

    def draw(axes: Any) -> None:
        axes.bar(range(len(counts)), counts, width=0.9, align="edge", color=DARK)
        step = max(1, -(-len(times) // 12))
        axes.set_xticks(range(0, len(times), step), times[::step])
        axes.set_xlim(-0.2, len(times) + 0.1)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("people" if what == "faces" else "alerts")
        axes.set_xlabel(f"time of day ({_zone_name(series.quarters[0], zone)})")

    most = max(counts)
    label = f"{caption}: {sum(counts)} in all, at most {most} in one quarter, from {times[0]}."
    return caption, _drawn(what, number, label, draw)


def _zone_name(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).tzname() or "UTC"


def _scores(series: Series, threshold: float, number: int) -> tuple[str, str]:
    kinds = (
        ("held to be the listed person", series.true, DARK, ""),
        ("held to be somebody else", series.false, RED, "////"),
        ("not decided", series.open, LIGHT, ".."),
    )

    def draw(axes: Any) -> None:
        below = [0] * len(series.scores)
        for label, counts, colour, hatch in kinds:
            if any(counts):
                axes.bar(
                    series.scores,
                    counts,
                    width=series.band * 0.9,
                    align="edge",
                    bottom=below,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0,
                    label=label,
                )
            below = [a + b for a, b in zip(below, counts, strict=True)]
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label=f"threshold {threshold:g}")
        axes.set_xlim(min(threshold, series.scores[0]) - series.band, series.scores[-1] + 2 * series.band)
        axes.set_ylim(0, max(below) * 1.15)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("alerts")
        axes.set_xlabel("similarity of the face to the picture on the list (cosine)")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    sums = ", ".join(f"{sum(counts)} {label}" for label, counts, *_ in kinds)
    return (
        "Scores of the alerts against the threshold",
        _drawn("scores", number, f"Scores of alerts: {sums}; threshold {threshold:g}.", draw, 2.3),
    )
