"""Where a new unit's private keys lie: sealed by its TPM, sealed by a key of its system, or in plain files.

What each is worth against whoever takes the card, the board or a backup is in docs/enrolment.md. Sealing is
`systemd-creds`, since the service manager opens the same files for the daemon (`LoadCredentialEncrypted=`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgeagent.errors import KeyFileError
from edgeagent.system.files import destroy, read_bounded, write_atomic
from edgeagent.system.tpm import TPM_DEVICE, clear

CREDS = "systemd-creds"
SEALED_LIMIT = 65_536
_PLAIN_LIMIT = 4096
_WAIT_S = 60.0  # a TPM on a slow bus takes seconds


class Kept(StrEnum):
    """How private keys are kept; `file` is the fallback where there is no TPM."""

    TPM2 = "tpm2"
    HOST = "host"
    FILE = "file"


def best_keeping() -> Kept:
    """What this machine can do: its TPM if it has one, otherwise plain files.

    Never `host`: its key lies on the same card, so it would look safer than it is.
    """
    return Kept.TPM2 if TPM_DEVICE.exists() else Kept.FILE


@dataclass(frozen=True, slots=True)
class Keeper:
    """Private keys in one folder, each under a name.

    Attributes:
        tpm_device: as `systemd-creds --tpm2-device=` takes it; empty for the machine's own.
    """

    folder: Path
    kept: Kept
    tpm_device: str = ""

    def path(self, name: str) -> Path:
        """Where the key of this name lies, sealed or not."""
        return self.folder / name

    def put(self, name: str, secret: bytes) -> None:
        """Keep a secret of at most 4,096 octets; when this returns it has been read back.

        Raises:
            KeyFileError: it cannot be sealed, or does not open again.
        """
        # The plain key reaches the sealing program through a pipe and never a disk.
        if self.kept is Kept.TPM2 and not self.tpm_device and TPM_DEVICE.exists():
            with contextlib.suppress(KeyFileError):  # it may seal nevertheless; if not, that says why
                clear()  # a board whose plug was pulled often seals nothing either
        content = secret if self.kept is Kept.FILE else self._creds("encrypt", self._with_key(), name, secret)
        write_atomic(self.path(name), content, mode=0o600)
        if self.get(name) != secret:
            raise KeyFileError(
                "does not open to what was sealed", where=str(self.path(name)), next_step=_NEXT_STEP
            )

    def get(self, name: str) -> bytes:
        """The secret.

        Raises:
            KeyFileError: missing, or sealed by another machine or under another name.
        """
        limit = _PLAIN_LIMIT if self.kept is Kept.FILE else SEALED_LIMIT
        content = read_bounded(self.path(name), limit, KeyFileError)
        return content if self.kept is Kept.FILE else self._creds("decrypt", (), name, content)

    def destroy(self, name: str) -> bool:
        """Overwrite and remove; whether there was one."""
        return destroy(self.path(name))

    def _with_key(self) -> Sequence[str]:
        return (f"--with-key={self.kept}",)

    def _creds(self, verb: str, options: Sequence[str], name: str, content: bytes) -> bytes:
        program = shutil.which(CREDS)
        if program is None:
            raise self._failed(name, f"{CREDS} is not installed")
        device = (f"--tpm2-device={self.tpm_device}",) if self.tpm_device else ()
        # The name is inside what is sealed, so one credential cannot be put in the place of another.
        command = [program, verb, *options, *device, f"--name={name}", "-", "-"]
        try:
            done = subprocess.run(command, input=content, capture_output=True, timeout=_WAIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as cause:
            raise self._failed(name, f"{CREDS} gave no answer") from cause
        if done.returncode != 0 or not done.stdout:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise self._failed(name, said[-1][:200] if said else f"{CREDS} failed")
        return done.stdout

    def _failed(self, name: str, why: str) -> KeyFileError:
        what = f"cannot be sealed or opened with {self.kept}: {why}"
        return KeyFileError(what, where=str(self.path(name)), next_step=_NEXT_STEP)


_NEXT_STEP = (
    "look at the TPM with: systemd-creds has-tpm2; or begin with --keep file and read docs/enrolment.md"
)


def give_to(path: Path, owner: tuple[int, int] | None) -> None:
    """Make user and group the owner of a file; nothing where there is none to make."""
    if owner is not None:
        os.chown(path, *owner)
