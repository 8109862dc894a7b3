"""Models, accelerator and storage of this unit, as findings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgeagent.agent.doctor_finding import CannotTellError, WorthALookError
from edgeagent.config import Config
from edgeagent.errors import KeyFileError, OutboxError
from edgeagent.system.modelpack import ModelPack
from edgeagent.system.selftest import SelfTestReport
from edgeagent.system.tpm import TPM_DEVICE, Failures, failures, opened

ENOUGH_FREE = 256 * 1024 * 1024
NOT_USED = {"Coral": "dev/apex_0", "Hailo": "dev/hailo0", "Jetson graphics": "dev/nvmap"}
"""Accelerators that a board may have and this program does not use."""


def models(pack: ModelPack, report: SelfTestReport) -> str:
    """The pack in use and how fast its networks were just now."""
    restricted = "" if pack.use == "any" else ", FOR RESEARCH ONLY: bench, never live (R28)"
    return f"pack {pack.sha256[:12]}…{restricted}, {report}"


def accelerator(report: SelfTestReport, root: Path) -> str:
    """Which part of the machine computes, and which it has that is not used."""
    idle = [name for name, device in NOT_USED.items() if (root / device).exists()]
    unused = f"; not used: {', '.join(idle)}" if idle else ""
    operators = sum(report.delegated.values())
    return f"XNNPACK on the processor, {operators} operators{unused}"


def tpm(root: Path, sealed: Path) -> str:
    """What the TPM, if there is one, counted against the keys that it keeps.

    Args:
        sealed: the folder of this unit's sealed keys.

    Raises:
        CannotTellError: this user may not ask it, or not see what it keeps.
    """
    device = root / TPM_DEVICE.relative_to("/")
    if not device.exists():
        return "none"
    if not os.access(device, os.R_OK | os.W_OK) or (sealed.is_dir() and not os.access(sealed, os.R_OK)):
        raise CannotTellError("only root may ask it", next_step="sudo edgeagent doctor")
    with opened(device) as asked:
        found = failures(asked)
    if not sealed.is_dir() or not any(sealed.iterdir()):
        return f"{found}; it keeps no key of this unit"
    return counted(found)


def counted(found: Failures) -> str:
    """In words.

    Raises:
        KeyFileError: it may open no key now.
        WorthALookError: power cuts may bring it there.
    """
    if found.guarded:
        error = KeyFileError if found.locked else WorthALookError
        raise error(
            f"{found}; only a password can clear that, and each power cut may count",
            next_step="have that password taken away by whoever set it, or enrol again with --keep file",
        )
    if found.locked:
        raise KeyFileError(
            str(found),
            next_step="journalctl -u edgeagent-tpm says why that was not cleared; then: "
            "systemctl reset-failed edgeagent; systemctl restart edgeagent",
        )
    return str(found)


def data_folder(config: Config) -> Path:
    """The nearest folder to the unit's data that exists.

    Raises:
        OutboxError: not even the one above it.
    """
    folder, base = config.data_folder, config.path(config.data.folder)
    there = next((place for place in (folder, base, base.parent) if place.exists()), None)
    if there is None:
        raise OutboxError(
            "does not exist", where=str(folder), next_step="make the folder, owned by the service"
        )
    return there


def storage(config: Config) -> str:
    """Whether the unit's data can be kept."""
    there = data_folder(config)
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        raise OutboxError(
            "is read-only", where=str(there), next_step="restart; if it is again, check the data partition"
        )
    free = shutil.disk_usage(there).free
    if free < ENOUGH_FREE:
        raise OutboxError(f"only {free >> 20} MiB free", where=str(there), next_step="free some space")
    return f"{free >> 20} MiB free at {there}"
