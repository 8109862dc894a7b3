"""A small certificate authority for the broker's TLS: for the demo, the tests and `edgeagent keys ca`.

Keys are EC P-256: OpenSSL, Mosquitto, Python and every hardware key store take it, which is not yet true
of Ed25519. A certificate's common name is the identity by which the broker's access list decides, so it is
held to an alphabet without wildcards.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeagent.errors import KeyFileError

AUTHORITY_DAYS = 3650
_CLOCK_TOLERANCE = timedelta(hours=1)
_COMMON_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


@dataclass(frozen=True)
class Certificate:
    """Paths of one certificate, its private key and the authority that signed it (all PEM)."""

    cert: Path
    key: Path
    authority: Path


def make_authority(folder: Path, name: str, *, now: datetime) -> Certificate:
    """Make `ca.crt` and `ca.key` in `folder`, self-signed, valid for ten years.

    Raises `KeyFileError` when either exists or cannot be written.
    """
    _check_name(name)
    target = Certificate(cert=folder / "ca.crt", key=folder / "ca.key", authority=folder / "ca.crt")
    _refuse_existing(target)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    _write_pair(target, builder.sign(key, hashes.SHA256()), key)
    return target


def issue(
    folder: Path, common_name: str, *, server: bool, hosts: tuple[str, ...], days: int, now: datetime
) -> Certificate:
    """Make `<common_name>.crt` and `.key` in `folder`, signed by the authority that lies there.

    `server`: for the broker, valid for `hosts` (names or IP addresses); otherwise for a client, whose
    identity is `common_name`. Raises `KeyFileError` when a file exists, is missing or cannot be written.
    """
    _check_name(common_name)
    if server != bool(hosts):
        raise ValueError("a server certificate needs hosts, a client certificate has none")
    target = Certificate(
        cert=folder / f"{common_name}.crt", key=folder / f"{common_name}.key", authority=folder / "ca.crt"
    )
    _refuse_existing(target)
    signer, signer_key = _load_certificate(folder / "ca.crt"), _load_key(folder / "ca.key")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(common_name), signer.subject, key.public_key(), now, days)
    for extension, critical in _leaf_extensions(signer_key, server, hosts):
        builder = builder.add_extension(extension, critical=critical)
    _write_pair(target, builder.sign(signer_key, hashes.SHA256()), key)
    return target


def expires_in_days(path: Path, *, now: datetime) -> float:
    """Days until the certificate in `path` expires, negative when it has; `KeyFileError` if unreadable."""
    return (_load_certificate(path).not_valid_after_utc - now) / timedelta(days=1)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    # Devices without a clock chip may lag a little at boot.
    builder = builder.not_valid_before(now - _CLOCK_TOLERANCE).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _leaf_extensions(
    signer_key: ec.EllipticCurvePrivateKey, server: bool, hosts: tuple[str, ...]
) -> list[tuple[x509.ExtensionType, bool]]:
    # A unit's certificate must not pass for the broker's, nor the other way round.
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), False),
    ]
    if hosts:
        extensions.append((x509.SubjectAlternativeName([_host(host) for host in hosts]), False))
    return extensions


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _check_name(name: str) -> None:
    if _COMMON_NAME.fullmatch(name) is None:
        raise KeyFileError(
            f"{name[:80]!r} cannot be the common name of a certificate",
            next_step="Use 1 to 63 lower-case letters, digits, dots and hyphens.",
        )


def _refuse_existing(target: Certificate) -> None:
    for path in (target.cert, target.key):
        if path.exists() or path.is_symlink():
            raise KeyFileError(
                "exists already and is not overwritten",
                where=str(path),
                next_step="Choose another folder or name, or remove the file if nothing uses it any more.",
            )


def _write_pair(target: Certificate, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key first: a certificate without its key would look finished.
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_new(target.key, private, 0o600)
    _write_new(target.cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write_new(path: Path, content: bytes, mode: int) -> None:
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
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unreadable(path, error) from error


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError("is not an elliptic-curve key", where=str(path), next_step="Make a new authority.")
    return key


def _unreadable(path: Path, error: Exception) -> KeyFileError:
    # The text of a parser's error could quote the file, and the file may be a private key.
    reason = error.strerror if isinstance(error, OSError) else "not a valid PEM file of its kind"
    return KeyFileError(
        f"cannot be read or written ({reason})",
        where=str(path),
        next_step="Check the path, its owner and mode, and that it holds what its name says.",
    )
