"""The folder of one unit at the desk: what of it travels, and what must not."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeagent.config import Config, load_config
from edgeagent.errors import EdgeAgentError
from unit.faults import FolderError
from unit.on_unit.places import INVITATION

THROUGH = "/run/edgeagent-broker"
DATA = "/var/lib/edgeagent"
LIMIT = 200 * 1024 * 1024
PRIVATE = (b"PRIVATE KEY-----", b'"sign_d"', b'"seal_d"')
NETWORK = "network.toml"


@dataclass(frozen=True)
class UnitFolder:
    """What a unit is to be configured with: names in /etc/edgeagent, and bytes."""

    config: Config
    network: dict[str, Any]
    files: dict[str, bytes] = field(repr=False)
    left: list[str] = field(default_factory=list)


def read_folder(folder: Path) -> UnitFolder:
    """Read and check; takes edgeagent.toml, network.toml, an invitation, and what edgeagent.toml names.

    Raises:
        FolderError: something is missing, cannot work on a unit, is a private key, or is a linked folder.
    """
    if not (folder / "edgeagent.toml").is_file():
        raise FolderError(
            "there is no edgeagent.toml", where=str(folder), next_step="UNIT= must be the folder of this unit"
        )
    _no_linked_folders(folder)
    try:
        config = load_config(folder / "edgeagent.toml")
    except EdgeAgentError as error:
        raise FolderError(error.what, where=error.where, next_step=error.next_step) from None
    _fit_for_a_unit(config)
    names = ["edgeagent.toml", NETWORK, INVITATION, *_named(config, folder)]
    files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    network = read_network(folder / NETWORK)
    _no_private_keys(folder, files)
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return UnitFolder(config, network, files, sorted(present - set(files)))


def _named(config: Config, folder: Path) -> list[str]:
    """Relative names in the configuration; absolute ones, keys and a deployment's papers stay on the unit."""
    names = [
        config.trust.store,
        config.broker.ca,
        config.broker.certificate,
        config.documents.certificate or "",
    ]
    if config.models.folder:
        pack = folder / config.models.folder
        names += [str(path.relative_to(folder)) for path in sorted(pack.rglob("*")) if path.is_file()]
    return [name for name in names if name and not Path(name).is_absolute() and ".." not in Path(name).parts]


def _fit_for_a_unit(config: Config) -> None:
    wanted = (
        ("broker.through", config.broker.through, THROUGH, "the service has no network but this socket"),
        ("data.folder", config.data.folder, DATA, "the service may write nowhere else"),
    )
    for key, value, right, why in wanted:
        if value != right:
            raise FolderError(
                f"must be {right!r}: {why}", where=f"{config.file}: {key}", next_step="correct it"
            )


def _no_linked_folders(folder: Path) -> None:
    """What is behind one would not be looked at for private keys, or would be somebody's whole home."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and path.is_dir():
            raise FolderError(
                "is a link to a folder; what is behind it is not looked at for private keys",
                where=str(path),
                next_step="copy what the unit needs into a plain folder of this name",
            )


def _no_private_keys(folder: Path, files: dict[str, bytes]) -> None:
    """Private keys are made on the unit and never leave it; one made elsewhere must not become one."""
    found = [folder / name for name, content in files.items() if _is_private(content)]
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= 1 << 20 and _is_private(path.read_bytes()):
            found.append(path)
    for path in found:
        raise FolderError(
            "is a private key; a unit's keys are made on the unit and never leave it",
            where=str(path),
            next_step="remove it from this folder, and make the unit's keys on the unit",
        )
    if sum(map(len, files.values())) > LIMIT:
        raise FolderError("is too big", where=str(folder), next_step="a model pack has some megabytes")


def _is_private(content: bytes) -> bool:
    return any(mark in content for mark in PRIVATE)


def read_network(file: Path) -> dict[str, Any]:
    """Whom a unit may speak to, beside its broker.

    Raises:
        FolderError: it is not there, or something in it is wrong.
    """
    if not file.is_file():
        raise FolderError(
            "is missing", where=str(file), next_step="deploy/unit-example/network.toml shows one"
        )
    try:
        table = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise FolderError(f"is not TOML: {cause}", where=str(file), next_step="correct that line") from None
    unknown = set(table) - {"clocks", "technicians", "broker"}
    if unknown or not isinstance(table.get("technicians"), list):
        what = f"unknown key {min(unknown)}" if unknown else "technicians is missing"
        raise FolderError(what, where=str(file), next_step="known: technicians, clocks, broker (lists)")
    return table


def archive(files: dict[str, bytes]) -> tuple[bytes, str]:
    """A tar of the files, and the configuration's name: the hash that the unit computes again."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    ordered = sorted(files.items(), key=lambda item: Path(item[0]))
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in ordered)
    return whole.getvalue(), hashlib.sha256(lines.encode()).hexdigest()[:12]
