"""Keys that sign updates. Only their certificate goes into an image.

For development a pair is made under build/, which no commit holds. A force makes its own, keeps it offline,
and builds with `UPDATE_KEYRING=its-certificate.pem`: docs/image.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from image_tools import need, run


@dataclass(frozen=True)
class UpdateKey:
    """One signer of updates: private key, and the certificate that units hold."""

    key: Path
    certificate: Path


def development_key(folder: Path, name: str = "development") -> UpdateKey:
    """The pair of that name, made at the first call."""
    need("openssl")
    pair = UpdateKey(folder / f"{name}.key", folder / f"{name}.pem")
    if pair.key.exists() and pair.certificate.exists():
        return pair
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    subject = f"/O=edgeagent/CN=updates ({name}: not for a live unit)"
    usage = ["-addext", "keyUsage=critical,digitalSignature", "-addext", "basicConstraints=critical,CA:FALSE"]
    mask = os.umask(0o077)
    try:
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509", "-days", "3650"]
        files: list[str | Path] = ["-keyout", pair.key, "-out", pair.certificate]
        run("openssl", "req", *kind, "-subj", subject, *usage, *files)
    finally:
        os.umask(mask)
    return pair
