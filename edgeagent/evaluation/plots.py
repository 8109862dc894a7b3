"""The report's plots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeagent.controlroom.svg import drawn
from edgeagent.evaluation.report_model import CurvePoint, Floor, Histogram, Identification, Verification

LEAST_POINTS = 2
DARK, BLUE, ORANGE, GREY = "#111111", "#0b4f9e", "#a34700", "#767676"
"""Each at least 4.5 to 1 on white; lines differ in dash and marker too, never in colour alone."""
STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.edgecolor": DARK,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}


def _draw(name: str, said: str, paint: Callable[[Any], None]) -> str:
    return drawn(name, said, paint, (7.2, 4.0), STYLE | {"svg.hashsalt": name})


def _percent(value: float, _: int | None = None) -> str:
    return f"{100 * value:g}\u202f%"


def det_plot(found: Verification) -> str:
    """FNMR over FMR, both axes logarithmic; empty if some threshold makes no error of either kind."""
    points = [point for point in found.det if point.fmr > 0 and point.fnmr > 0]
    if len(points) < LEAST_POINTS:
        return ""

    def paint(axes: Any) -> None:
        axes.plot([p.fmr for p in points], [p.fnmr for p in points], color=BLUE, linewidth=2)
        for rate, threshold in found.threshold_at_fmr.items():
            fnmr = 1 - found.tpr_at_fmr[rate]
            if fnmr > 0:
                axes.plot([float(rate)], [fnmr], "o", color=ORANGE)
                axes.annotate(
                    f"threshold {threshold:.2f}", (float(rate), fnmr), (6, 6), textcoords="offset points"
                )
        _log(axes.set_xscale, axes.xaxis)
        _log(axes.set_yscale, axes.yaxis)
        axes.set_xlabel("FMR: pairs of two people that match")
        axes.set_ylabel("FNMR: pairs of one person that do not")

    return _draw("det", "DET curve: false non-match rate over false match rate; values in the table", paint)


def _log(scale: Callable[[str], None], axis: Any) -> None:
    scale("log")
    axis.set_major_formatter(_percent)
    axis.set_minor_formatter(lambda *_: "")


def identification_plot(
    curve: tuple[CurvePoint, ...], results: list[Identification], least: float, doubtful: float
) -> str:
    """TPIR over FPIR; what the number of people or the labels cannot support is greyed.

    Args:
        least: lowest FPIR that the people not enrolled can show.
        doubtful: FPIR below which label errors make up the false positives.
    """
    points = [point for point in curve if point.fpir > 0]
    left = min((point.fpir for point in points), default=least) / 1.5

    def paint(axes: Any) -> None:
        axes.axvspan(left, least, color="#eeeeee", label="too few people to say")
        if doubtful > left:
            axes.axvline(
                doubtful, color=GREY, linestyle=":", linewidth=2, label="below: suspected label errors"
            )
        axes.plot([p.fpir for p in points], [p.tpir for p in points], color=BLUE, linewidth=2)
        low = [max(0.0, r.tpir - r.tpir_ci95_bootstrap[0]) for r in results]
        high = [max(0.0, r.tpir_ci95_bootstrap[1] - r.tpir) for r in results]
        axes.errorbar(
            [r.fpir for r in results],
            [r.tpir for r in results],
            yerr=[low, high],
            fmt="o",
            color=ORANGE,
            capsize=4,
            label="with 95 % interval",
        )
        _log(axes.set_xscale, axes.xaxis)
        axes.set_xlim(left, 1)
        axes.yaxis.set_major_formatter(_percent)
        axes.set_xlabel("FPIR: people not on the list who cause a false alert")
        axes.set_ylabel("TPIR: listed people found")
        axes.legend(loc="lower right")

    return _draw("tpir", "TPIR over FPIR for the main gallery; values in the table", paint)


def score_plot(histogram: Histogram, thresholds: list[tuple[str, float]]) -> str:
    """Shares of scores of pairs of one person and of two people."""
    edges = np.linspace(-1, 1, len(histogram.mated) + 1)

    def paint(axes: Any) -> None:
        axes.stairs(histogram.nonmated, edges, color=ORANGE, linewidth=2, hatch="////", label="two people")
        axes.stairs(histogram.mated, edges, color=BLUE, linewidth=2, linestyle="--", label="one person")
        for name, threshold in thresholds:
            axes.axvline(threshold, color=DARK, linewidth=1)
            axes.annotate(
                name, (threshold, 1), (3, -12), xycoords=("data", "axes fraction"), textcoords="offset points"
            )
        both = zip(histogram.mated, histogram.nonmated, strict=True)
        seen = [i for i, shares in enumerate(both) if max(shares) > 1e-5]
        axes.set_xlim(edges[seen[0]] - 0.02, edges[seen[-1] + 1] + 0.02)
        axes.yaxis.set_major_formatter(_percent)
        axes.set_xlabel("score (cosine)")
        axes.set_ylabel("share of pairs")
        axes.legend(loc="upper left")

    return _draw("scores", "Distribution of scores of pairs; values in the table", paint)


def floor_plot(floors: tuple[Floor, ...]) -> str:
    """Threshold over list size, one line for each false positive rate."""
    rates = sorted({floor.fpir for floor in floors})

    def paint(axes: Any) -> None:
        for rate, marker in zip(rates, "osD^v", strict=False):
            found = sorted((f.gallery_size, f.threshold) for f in floors if f.fpir == rate)
            axes.plot([s for s, _ in found], [t for _, t in found], marker=marker, color=DARK, linewidth=1)
            axes.annotate(f"FPIR {_percent(rate)}", found[-1], (8, -4), textcoords="offset points")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.margins(x=0.2)
        axes.set_xlabel("people on the list")
        axes.set_ylabel("threshold")

    return _draw("floors", "Threshold over list size; values in the table", paint)
