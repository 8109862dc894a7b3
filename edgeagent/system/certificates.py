"""Certificates of a small authority for the broker's TLS: for the demo, the tests and `edgeagent keys ca`.

Keys are EC P-256: OpenSSL, Mosquitto, RabbitMQ, Python and every hardware key store take it, which is not
yet true of Ed25519. A certificate's common name is the identity by which the broker's access list decides,
so it is held to an alphabet without wildcards; a client's has no dot either, since RabbitMQ compares it
inside a regular expression.

Every certificate is also kept in `issued/`, named by its serial number: that is the register from which
`edgeagent.system.revocation` renews and revokes.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeagent.errors import KeyFileError
from edgeagent.system.files import write_atomic
from edgeagent.system.pem import (
    load_certificate,
    load_key,
    pem,
    refuse_existing,
    unreadable,
    write_key,
    write_new,
)

AUTHORITY_DAYS = 3650
WARNING_DAYS = 30
"""From so many days before its end, a certificate is spoken of: time enough to visit every unit."""
ISSUED = "issued"
_CLOCK_TOLERANCE = timedelta(hours=1)
_COMMON_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_RESERVED = frozenset({"ca"})
_CLIENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Certificate:
    """Paths of one certificate, its private key and the authority that signed it (all PEM)."""

    cert: Path
    key: Path
    authority: Path


def make_authority(folder: Path, name: str, *, now: datetime, passphrase: bytes | None = None) -> Certificate:
    """Make `ca.crt` and `ca.key` in `folder`, self-signed, valid for ten years.

    `passphrase` encrypts the key; only an authority that lives as long as a demo or a test does without.
    Raises `KeyFileError` when either exists or cannot be written.
    """
    _check_name(name, _COMMON_NAME)
    target = Certificate(cert=folder / "ca.crt", key=folder / "ca.key", authority=folder / "ca.crt")
    refuse_existing(target.cert, target.key)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    write_key(target.key, key, passphrase)  # first: a certificate without its key would look finished
    write_new(target.cert, pem(builder.sign(key, hashes.SHA256())), 0o644)
    return target


def issue(
    folder: Path,
    common_name: str,
    *,
    server: bool,
    hosts: tuple[str, ...],
    days: int,
    now: datetime,
    passphrase: bytes | None = None,
) -> Certificate:
    """Make `<common_name>.crt` and `.key` in `folder`, signed by the authority that lies there.

    `server`: for the broker, valid for `hosts` (names or IP addresses); otherwise for a client, whose
    identity is `common_name`. Raises `KeyFileError` when a file exists, is missing or cannot be written,
    or when the certificate would outlive the authority.
    """
    _check_leaf(common_name, server, hosts)
    target = _target(folder, common_name)
    refuse_existing(target.cert, target.key)
    signer = load_signer(folder, passphrase)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = signer.leaf(common_name, key.public_key(), server, hosts, days, now)
    write_key(target.key, key, None)
    _keep(folder, certificate)
    write_new(target.cert, pem(certificate), 0o644)
    return target


def issue_for_request(
    folder: Path, common_name: str, request: bytes, *, days: int, now: datetime, passphrase: bytes | None
) -> Path:
    """Make a client's `<common_name>.crt` for the key of a PEM certificate request; the key stays there.

    Nothing but the key is taken from the request, not even its name. Raises `KeyFileError` as `issue` does,
    and when the request is not one, is not signed by its own key, or its key is not EC P-256.
    """
    _check_leaf(common_name, server=False, hosts=())
    target = _target(folder, common_name)
    refuse_existing(target.cert, target.key)
    certificate = load_signer(folder, passphrase).leaf(
        common_name, _key_of_request(request), server=False, hosts=(), days=days, now=now
    )
    _keep(folder, certificate)
    write_new(target.cert, pem(certificate), 0o644)
    return target.cert


def expires_in_days(path: Path, *, now: datetime) -> float:
    """Days until the certificate in `path` expires, negative when it has; `KeyFileError` if unreadable."""
    return (load_certificate(path).not_valid_after_utc - now) / timedelta(days=1)


def certificate_warning(certificate: x509.Certificate, now: datetime) -> str:
    """What to tell people about a certificate's end; empty while there is time enough. Pure."""
    name, end = common_name_of(certificate), certificate.not_valid_after_utc
    days = (end - now) / timedelta(days=1)
    if days > WARNING_DAYS:
        return ""
    if days <= 0:
        return f"the TLS certificate of {name} expired on {end:%Y-%m-%d}; renew it at the desk now"
    return (
        f"the TLS certificate of {name} expires on {end:%Y-%m-%d}, in {days:.0f} days; renew it at the desk"
    )


@dataclass(frozen=True)
class Signer:
    """An authority that can sign: its certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def leaf(
        self,
        common_name: str,
        key: ec.EllipticCurvePublicKey,
        server: bool,
        hosts: tuple[str, ...],
        days: int,
        now: datetime,
    ) -> x509.Certificate:
        """A signed certificate; `KeyFileError` when it would outlive the authority."""
        end = self.certificate.not_valid_after_utc
        if now + timedelta(days=days) > end:
            raise KeyFileError(
                f"would be valid for longer than its authority, which ends on {end:%Y-%m-%d}",
                where=common_name,
                next_step="Ask for fewer days, or make a new authority.",
            )
        builder = _builder(_subject(common_name), self.certificate.subject, key, now, days)
        for extension, critical in _leaf_extensions(self.key, server, hosts):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())


def load_signer(folder: Path, passphrase: bytes | None) -> Signer:
    """The authority in `folder`; `KeyFileError` when it is missing, damaged, or the passphrase is wrong."""
    signer = Signer(load_certificate(folder / "ca.crt"), load_key(folder / "ca.key", passphrase))
    if signer.key.public_key() != signer.certificate.public_key():
        raise KeyFileError(
            "does not belong to ca.crt", where=str(folder / "ca.key"), next_step="Find the right pair."
        )
    return signer


def common_name_of(certificate: x509.Certificate) -> str:
    """The identity that a certificate speaks for; `KeyFileError` when it has none, or several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise KeyFileError("has no single common name", where="certificate", next_step="Make it anew.")
    return str(names[0].value)


def replace_certificate(folder: Path, certificate: x509.Certificate) -> Path:
    """Keep it in the register, then put it in place of the one of the same name, all or nothing."""
    _keep(folder, certificate)
    path = _target(folder, common_name_of(certificate)).cert
    try:
        write_atomic(path, pem(certificate))
    except OSError as error:
        raise unreadable(path, error) from error
    return path


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


def _check_leaf(common_name: str, server: bool, hosts: tuple[str, ...]) -> None:
    _check_name(common_name, _COMMON_NAME if server else _CLIENT_NAME)
    if server != bool(hosts):
        raise ValueError("a server certificate needs hosts, a client certificate has none")


def _check_name(name: str, allowed: re.Pattern[str]) -> None:
    if allowed.fullmatch(name) is None or name in _RESERVED:
        raise KeyFileError(
            f"{name[:80]!r} cannot be the common name of a certificate",
            next_step="Use 1 to 63 lower-case letters, digits and hyphens; dots for a broker only; not 'ca'.",
        )


def _target(folder: Path, name: str) -> Certificate:
    return Certificate(cert=folder / f"{name}.crt", key=folder / f"{name}.key", authority=folder / "ca.crt")


def _key_of_request(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        parsed = x509.load_pem_x509_csr(request)
        key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise unreadable(Path("certificate request"), ValueError()) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP256R1.name:
        raise KeyFileError(
            "is not for an EC P-256 key", where="certificate request", next_step="Make the key anew."
        )
    if not parsed.is_signature_valid:
        raise KeyFileError(
            "is not signed by its own key", where="certificate request", next_step="Make the request anew."
        )
    return key


def _keep(folder: Path, certificate: x509.Certificate) -> None:
    """Into the register before anybody gets it: what is not there could not be revoked."""
    register = folder / ISSUED
    register.mkdir(mode=0o755, exist_ok=True)
    write_new(register / f"{certificate.serial_number:040x}.crt", pem(certificate), 0o644)
