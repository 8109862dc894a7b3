"""The picture of `make bench-fleet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, ScalarFormatter

COLOURS = {"mosquitto": "#1f5fa8", "rabbitmq": "#c2571a"}
LABELS = {"mosquitto": "Mosquitto", "rabbitmq": "RabbitMQ, three nodes"}


def draw(result: dict[str, Any], target: Path) -> None:
    """Four panels over the number of units."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for name, colour in COLOURS.items():
        runs = [run for run in result["runs"] if run["broker"] == name]
        if runs:
            _delays(axes[0][0], runs, colour, LABELS[name])
            _storms(axes[0][1], runs, colour, LABELS[name])
            _memory(axes[1][0], runs, colour, LABELS[name])
            _rates(axes[1][1], runs, colour, LABELS[name])
    axes[0][0].axhline(250, color="0.5", linewidth=1, linestyle=":", label="target for one unit: 250 ms")
    titles = (
        ("Capture to the control room's receipt, steady (10 alerts/s in all)", "ms"),
        ("Storms: until everything is as before", "s"),
        ("Memory (PSS)", "MiB"),
        ("Alerts received a second while every unit has a hit", "alerts/s"),
    )
    for panel, (title, unit) in zip(axes.flat, titles, strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_ylabel(unit)
        panel.set_xlabel("units")
        panel.set_xscale("log")
        panel.set_xticks(sorted({run["units"] for run in result["runs"]}))
        panel.get_xaxis().set_major_formatter(ScalarFormatter())
        panel.minorticks_off()
        panel.set_ymargin(0.15)
        panel.grid(color="0.9")
        panel.legend(fontsize=8)
    for panel in (axes[0][0], axes[0][1], axes[1][0]):
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.minorticks_off()
    axes[1][1].set_ylim(0, 1.15 * max(axes[1][1].get_ylim()[1], 1.0))
    machine = result["machine"]
    figure.suptitle(
        f"edgeagent fleet bench, {machine['date']}: everything on one machine, {machine['cpus']} cores, "
        f"load before {machine['load_before']}",
        fontsize=11,
    )
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _delays(panel: Axes, runs: list[dict[str, Any]], colour: str, label: str) -> None:
    units = [run["units"] for run in runs]
    for share, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
        values = [run["steady"]["capture_to_receipt_ms"][share] for run in runs]
        panel.plot(units, values, style, marker="o", markersize=3, color=colour, label=f"{label} {share}")


def _storms(panel: Axes, runs: list[dict[str, Any]], colour: str, label: str) -> None:
    units = [run["units"] for run in runs]
    panel.plot(
        units,
        [run["all_at_once"]["all_received_s"] for run in runs],
        "-o",
        markersize=3,
        color=colour,
        label=f"{label}: all hit at once, last receipt",
    )
    panel.plot(
        units,
        [run["reconnect"]["all_back_s"] for run in runs],
        "--o",
        markersize=3,
        color=colour,
        label=f"{label}: all connections lost, last unit back",
    )


def _memory(panel: Axes, runs: list[dict[str, Any]], colour: str, label: str) -> None:
    units = [run["units"] for run in runs]
    panel.plot(
        units,
        [run["memory"]["broker_mb"] for run in runs],
        "-o",
        markersize=3,
        color=colour,
        label=f"{label}: broker",
    )
    panel.plot(
        units,
        [run["memory"]["desk_mb"] for run in runs],
        "--o",
        markersize=3,
        color=colour,
        label=f"{label}: control room",
    )


def _rates(panel: Axes, runs: list[dict[str, Any]], colour: str, label: str) -> None:
    units = [run["units"] for run in runs]
    panel.plot(
        units,
        [run["all_at_once"]["alerts_per_s"] for run in runs],
        "-o",
        markersize=3,
        color=colour,
        label=label,
    )
