"""PEM files of keys and certificates: read with named errors, written whole and never over another."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeagent.errors import KeyFileError
from edgeagent.system.files import sync_folder

_OPEN_STEP = "Give the passphrase of this authority, or find the right file."


def refuse_existing(*paths: Path) -> None:
    """Raise `KeyFileError` naming the first path that is taken."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise KeyFileError(
                "exists already and is not overwritten",
                where=str(path),
                next_step="Choose another folder or name, or remove the file if nothing uses it any more.",
            )


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    """Write a private key for its owner only; encrypted when there is a passphrase."""
    encryption = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase)
    )
    content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_new(path, content, 0o600)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that appears whole, durable and only if the name is free."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a rename, this fails if somebody took the name meanwhile
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise unreadable(path, error) from error


def load_certificate(path: Path) -> x509.Certificate:
    """A PEM certificate; `KeyFileError` when it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def load_key(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """A PEM private key; `KeyFileError` when missing, damaged, of another kind, or locked."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=passphrase)
    except TypeError as error:
        what = "is encrypted and needs its passphrase" if passphrase is None else "is not encrypted"
        raise KeyFileError(what, where=str(path), next_step=_OPEN_STEP) from error
    except ValueError as error:
        what = "cannot be opened: a wrong passphrase, or damaged" if passphrase else "is not a PEM key"
        raise KeyFileError(what, where=str(path), next_step=_OPEN_STEP) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError("is not an elliptic-curve key", where=str(path), next_step="Make a new authority.")
    return key


def unreadable(path: Path, error: Exception) -> KeyFileError:
    """The named error for a file that cannot be read or written."""
    # The text of a parser's error could quote the file, and the file may be a private key.
    reason = error.strerror if isinstance(error, OSError) else "not a valid PEM file of its kind"
    return KeyFileError(
        f"cannot be read or written ({reason})",
        where=str(path),
        next_step="Check the path, its owner and mode, and that it holds what its name says.",
    )
