"""`edgeagent models`: make a model pack of one's own network, and say what a pack is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.options import FILE, FOLDER, json_option
from edgeagent.safeguards.model_use import Use
from edgeagent.system.modelpack import ModelEntry, ModelPack, default_pack_folder, load_pack
from edgeagent.system.packimport import import_pack, read_declaration
from edgeagent.system.selftest import self_test

USES: dict[Use, str] = {
    "any": "as far as the licences go, live and on a bench",
    "research-only": "FOR RESEARCH ONLY: on a bench; refused live (R28)",
}


@click.group()
def models() -> None:
    """Make a model pack of your own network; say what a pack is."""


@models.command("import")
@click.argument("declaration", type=FILE)
@click.option("--out", required=True, type=FOLDER, help="Folder to make; it must not exist yet.")
@click.option("--base", type=FOLDER, help="Pack to take the detectors from; the installed one if left out.")
@json_option
def import_model(declaration: Path, out: Path, base: Path | None, as_json: bool) -> None:
    """Make a model pack of an embedder (.tflite or .onnx) as a DECLARATION (TOML) describes it.

    docs/bring-your-own-model.md explains every key. The network is run before anything is written; OUT
    appears whole or not at all. Lists, authorities and certificates name the new pack's hash: make new ones.
    """
    pack = import_pack(read_declaration(declaration), base or default_pack_folder(), out)
    _print({"folder": str(out), **_said(pack)}, as_json)


@models.command()
@click.argument("folder", type=FOLDER, required=False)
@json_option
def inspect(folder: Path | None, as_json: bool) -> None:
    """Say what the pack in FOLDER is, after checking every file and running the self-test.

    Without FOLDER, the installed pack.
    """
    pack = load_pack(folder or default_pack_folder())
    tested = str(self_test(pack))
    _print({"folder": str(folder or default_pack_folder()), **_said(pack), "self_test": tested}, as_json)


def _said(pack: ModelPack) -> dict[str, Any]:
    return {
        "name": pack.manifest.name,
        "sha256": pack.sha256,
        "use": pack.use,
        "models": [_network(entry) for entry in pack.manifest.models],
    }


def _network(entry: ModelEntry) -> dict[str, Any]:
    names = ("file", "bytes", "licence", "use", "width", "height", "channels", "mean", "scale")
    said: dict[str, Any] = {"role": f"{entry.role} {entry.scene or ''}".strip()}
    said |= {name: getattr(entry, name) for name in names}
    if entry.role == "embedder":
        said |= {"dimension": entry.outputs["template"][1], "landmarks": entry.layout.landmarks}
        said["alike"] = entry.alike
    return said | {
        "origin": f"{entry.origin.project}; {entry.origin.member} of {entry.origin.package}",
        "precision": entry.quantisation,
    }


def _print(said: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(said))
        return
    networks = said.pop("models")
    for name, value in said.items():
        click.echo(f"{name:10} {f'{value}: {USES[value]}' if name == 'use' else value}")
    for network in networks:
        click.echo()
        for name, value in network.items():
            click.echo(f"{name:10} {_words(name, value)}")


def _words(name: str, value: Any) -> str:
    if name == "landmarks":
        return "  ".join(f"{x:.1f},{y:.1f}" for x, y in value)
    return ", ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
