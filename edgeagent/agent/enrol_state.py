"""How far a unit's enrolment has got: one small file, written whole before each step is taken."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edgeagent.config import Config
from edgeagent.documents.enrol_invitation import Invitation
from edgeagent.documents.parse import parse
from edgeagent.errors import ConfigError, KeyFileError
from edgeagent.safeguards.authority import Sha256
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.enrol_keys import Kept
from edgeagent.system.files import read_bounded, write_atomic

FOLDER = "enrolment"
"""Inside the configuration's folder."""
_LIMIT = 4096


class Stage(StrEnum):
    """Each is on disk before what it names is begun."""

    DRAFTING = "drafting"
    REQUESTED = "requested"
    INSTALLING = "installing"
    ENROLLED = "enrolled"


class State(StrictModel):
    """What must survive a power cut. No secret is in it: the daemon's user reads it too.

    Attributes:
        number: of the newest request.
        token_id: names the invitation that it answers.
        broker: as the invitation says.
        request: the newest request's transcript; None while it is drafted.
        tpm_device: as `Keeper` takes it.
    """

    stage: Stage
    number: Annotated[int, Field(ge=1, le=2**53)]
    token_id: Sha256
    broker: str
    kept: Kept
    request: Sha256 | None
    tpm_device: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit's enrolment happens.

    Attributes:
        folder: the configuration's folder, e.g. `/etc/edgeagent`.
        data: the daemon's data folder.
        drop_ins: the folder of the service's drop-in files.
        owner: user and group id that the daemon runs as; None to leave files to whoever runs this.
    """

    folder: Path
    data: Path
    drop_ins: Path
    owner: tuple[int, int] | None

    @property
    def staging(self) -> Path:
        """State, request and, until `finish`, the private keys."""
        return self.folder / FOLDER

    @property
    def request(self) -> Path:
        """The request's file."""
        return self.staging / "request.json"

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "edgeagent.toml"


@contextmanager
def one_at_a_time(staging: Path) -> Iterator[None]:
    """Two commands at once, e.g. the first boot's and a technician's, must not mix their keys."""
    staging.mkdir(mode=0o755, parents=True, exist_ok=True)
    staging.chmod(0o755)  # whatever the umask was: the daemon's user reads the state
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_state(staging: Path) -> State | None:
    """The state; None if this unit never began an enrolment.

    Raises:
        DocumentError: the file is damaged.
    """
    file = staging / "state.json"
    return parse(State, read_bounded(file, _LIMIT), str(file)) if file.exists() else None


def write_state(staging: Path, state: State) -> None:
    """Make the state durable."""
    content = json.dumps(state.model_dump(mode="json"), indent=1).encode() + b"\n"
    write_atomic(staging / "state.json", content)


def drafted(invitation: Invitation, kept: Kept, number: int, tpm_device: str) -> State:
    """The state before any key is made."""
    return State(
        stage=Stage.DRAFTING,
        number=number,
        token_id=invitation.token_id,
        broker=invitation.broker,
        kept=kept,
        request=None,
        tpm_device=tpm_device,
    )


# --- what the daemon asks before it starts ------------------------------------------------------------------


def refuse_before_enrolment(config_file: Path) -> None:
    """A unit without a configuration, or in the middle of being given one, does not start.

    Raises:
        ConfigError, KeyFileError: naming the command to go on with.
    """
    state = read_state(config_file.parent / FOLDER)
    if state is not None and state.stage is Stage.INSTALLING:
        raise KeyFileError(
            "this unit's enrolment was interrupted while its files were installed",
            where=str(config_file.parent / FOLDER),
            next_step="run edgeagent enrol finish again, with the same files",
        )
    if not config_file.exists():
        raise ConfigError(
            "cannot be read: there is none, as on a unit that is not enrolled",
            where=str(config_file),
            next_step="put the file there, or see: edgeagent enrol status",
        )


def refuse_without_keys(config: Config) -> None:
    """A configuration alone enrols nobody.

    Raises:
        KeyFileError: the key or the trust store that it names is not there.
    """
    for name in (config.unit.key, config.trust.store):
        file = config.path(name)
        if not file.exists():
            raise KeyFileError(
                "is not there: this unit is not enrolled",
                where=str(file),
                next_step="edgeagent enrol status says what to do next",
            )
