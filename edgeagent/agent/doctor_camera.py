"""The camera from outside: is it there, who may open it. It is never opened: that needs a lease (R16)."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from edgeagent.agent.doctor_finding import WorthALookError, line_of
from edgeagent.agent.doctor_service import USER, Service
from edgeagent.config import Config
from edgeagent.errors import CaptureError
from edgeagent.safeguards.sources import SourceKind


def camera(config: Config, root: Path, service: Service | None) -> str:
    """Whether the camera is there and who may open it; asks the file system only (R16)."""
    source = config.source
    if source.kind is not SourceKind.CAMERA:
        return f"{source.kind} {source.target}, no camera (a bench)"
    device = root / source.target.lstrip("/")
    try:
        found = device.stat()
    except OSError as cause:
        raise CaptureError(
            "is not there", where=source.target, next_step="plug the camera in; try its other port"
        ) from cause
    if not stat.S_ISCHR(found.st_mode):
        raise CaptureError("is no device", where=source.target, next_step="correct camera.source")
    name = _camera_name(device.resolve().name, source.target, root)
    return f"{source.target}: {name}; {_who_opens(found, source.target, service)} (not opened now)"


def _camera_name(node: str, target: str, root: Path) -> str:
    entry = root / "sys/class/video4linux" / node
    if not entry.exists():
        raise CaptureError(
            "the kernel does not list it as a camera", where=target, next_step="correct camera.source"
        )
    if "virtual" in entry.resolve().parts:
        raise CaptureError(
            "is a virtual device, fed by a program", where=target, rule="R24", next_step="use a camera"
        )
    if line_of(entry / "index") not in ("", "0"):
        raise CaptureError(
            "is the camera's node for metadata, not for pictures",
            where=target,
            next_step="use the node before it, or /dev/v4l/by-id/…-video-index0",
        )
    return line_of(entry / "name") or "camera without a name"


def _who_opens(found: os.stat_result, target: str, service: Service | None) -> str:
    """R4: the daemon's group and nobody else."""
    user = service.user if service else USER
    mode = f"{stat.S_IMODE(found.st_mode):04o}"
    if found.st_mode & 0o006:
        raise WorthALookError(
            f"anybody may open it ({mode})",
            where=target,
            rule="R4",
            next_step="install 60-edgeagent.rules, then udevadm trigger",
        )
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise WorthALookError(
            f"there is no user {user} here to open it", where=target, next_step="install the unit's package"
        ) from None
    groups = os.getgrouplist(user, account.pw_gid)
    if account.pw_uid not in (0, found.st_uid) and not (found.st_mode & 0o060 and found.st_gid in groups):
        raise CaptureError(
            f"may not be opened by {user} ({mode}, group {found.st_gid})",
            where=target,
            next_step="install 60-edgeagent.rules, then udevadm trigger",
        )
    return f"{user} may open it"
