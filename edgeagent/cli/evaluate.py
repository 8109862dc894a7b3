"""`edgeagent evaluate`: how well a model pack recognises, measured on labelled pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import cv2

from edgeagent import __version__
from edgeagent.cli.interruption import progress
from edgeagent.cli.options import FILE, FOLDER, json_option
from edgeagent.evaluation.dataset import Dataset, EvaluationError, open_dataset, read_exclusions
from edgeagent.evaluation.evaluate import Extracted, Order, check_order, extract_all
from edgeagent.evaluation.evaluate import evaluate as measure
from edgeagent.evaluation.extract import Extractor
from edgeagent.evaluation.groups import read_groups
from edgeagent.evaluation.page import render
from edgeagent.evaluation.report_model import Report
from edgeagent.evaluation.words import summary
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import write_atomic
from edgeagent.system.modelpack import SCENES, Scene, default_pack_folder, load_pack
from edgeagent.system.networks import THREADS

FILES = ("report.json", "report.html")


@click.command()
@click.argument("dataset", type=FOLDER)
@click.option("--gallery", type=click.IntRange(min=1), help="People enrolled at a time, one picture each.")
@click.option(
    "--pairs", type=FILE, help="Pairs to compare: LFW's format, or a CSV with columns first,second."
)
@click.option("--groups", "group_file", type=FILE, help="CSV with columns person,group, from the volunteers.")
@click.option("--exclude", type=FILE, help="Pictures to leave out, one a line; the report lists them.")
@click.option("--report", "folder", type=FOLDER, help="Folder to write report.json and report.html to.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of every draw."
)
@click.option("--models", type=FOLDER, help="Model pack; the installed one if left out.")
@click.option("--scene", type=click.Choice(SCENES), default="near", show_default=True, help="Detector.")
@json_option
def evaluate(
    dataset: Path,
    group_file: Path | None,
    exclude: Path | None,
    folder: Path | None,
    models: Path | None,
    scene: Scene,
    as_json: bool,
    **order: Any,
) -> None:
    """Measure a model pack on DATASET, one folder of pictures for each person.

    Says how many listed people would be missed and how many others would cause a false alert, with what
    uncertainty; docs/evaluation.md explains every figure. Templates are in memory only: an interrupted run
    leaves nothing behind, and starts anew.
    """
    cv2.setNumThreads(THREADS)
    if folder is not None:
        _prepare(folder)
    pictures = open_dataset(dataset, read_exclusions(exclude))
    wanted = Order(
        groups=read_groups(group_file) if group_file else {},
        software_version=__version__,
        made_at=SystemClock().now().wall.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **order,
    )
    check_order(pictures, wanted)
    pack = load_pack(models or default_pack_folder())
    extractor = Extractor(pack, scene)
    extracted = _extract(pictures, extractor)
    try:
        report = measure(pictures, extracted, extractor, pack, wanted)
    finally:
        extracted.wipe()
    said = summary(report) | (_write(report, folder) if folder is not None else {})
    width = max(map(len, said))
    click.echo(json.dumps(said) if as_json else "\n".join(f"{k:{width}} {v}" for k, v in said.items()))


def _prepare(folder: Path) -> None:
    """Find out before the work, not after it, that the report cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (folder / name).exists():
            raise EvaluationError(
                "exists already", where=str(folder / name), next_step="name another folder for the report"
            )


def _extract(pictures: Dataset, extractor: Extractor) -> Extracted:
    with progress(len(pictures.pictures), "looking at pictures") as done:
        return extract_all(pictures, extractor, lambda: done(1))


def _write(report: Report, folder: Path) -> dict[str, str]:
    page, content = render(report).encode(), report.model_dump_json(indent=1).encode() + b"\n"
    written = {}
    for name, data in zip(FILES, (content, page), strict=True):
        write_atomic(folder / name, data)
        written[name.replace(".", "_")] = str(folder / name)
    return {"report": written["report_json"], "page": written["report_html"]}
