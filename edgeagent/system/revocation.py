"""The life of issued certificates: renewed, revoked, listed, and the list of revoked ones (CRL).

The register is `issued/` in the authority's folder: one certificate a file, named by its serial number, and
beside it a `.revoked` file once it is revoked. The CRL is made from these files each time, so that a lost or
old CRL loses no revocation.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from edgeagent.errors import KeyFileError
from edgeagent.system.certificates import (
    ISSUED,
    WARNING_DAYS,
    Signer,
    certificate_warning,
    common_name_of,
    load_signer,
    replace_certificate,
)
from edgeagent.system.files import destroy, write_atomic
from edgeagent.system.pem import load_certificate, unreadable, write_new

CRL = "ca.crl"
REASONS = {
    "key-compromise": x509.ReasonFlags.key_compromise,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
    "superseded": x509.ReasonFlags.superseded,
}
_CLOCK_TOLERANCE = timedelta(hours=1)


@dataclass(frozen=True)
class Issued:
    """One certificate of the register.

    Attributes:
        revoked_at, reason: None while it counts.
    """

    certificate: x509.Certificate
    revoked_at: datetime | None
    reason: str | None

    @property
    def name(self) -> str:
        """Common name: the identity at the broker."""
        return common_name_of(self.certificate)

    @property
    def serial(self) -> str:
        """Serial number, 40 hexadecimal digits."""
        return f"{self.certificate.serial_number:040x}"

    @property
    def server(self) -> bool:
        """Whether it is a broker's."""
        usage = self.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return ExtendedKeyUsageOID.SERVER_AUTH in usage

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names and addresses of the broker; empty for a client."""
        try:
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
        return (*names.get_values_for_type(x509.DNSName), *addresses)

    def counts(self, now: datetime) -> bool:
        """Whether a broker with the newest CRL admits it."""
        return self.revoked_at is None and self.certificate.not_valid_after_utc > now

    def warning(self, now: datetime) -> str:
        """What to say about its end; empty for a revoked one."""
        return certificate_warning(self.certificate, now) if self.revoked_at is None else ""


def list_issued(folder: Path) -> list[Issued]:
    """Every certificate ever issued here, by name, the newest last; `KeyFileError` if one is unreadable."""
    issued = [_read(path) for path in (folder / ISSUED).glob("*.crt")]
    return sorted(issued, key=lambda one: (one.name, one.certificate.not_valid_after_utc, one.serial))


def renew(folder: Path, name: str, *, days: int, now: datetime, passphrase: bytes | None) -> Path:
    """A new certificate for the same key, name and hosts, in place of `<name>.crt`.

    The private key does not change, so nothing secret travels, and a unit that reads its files at the wrong
    moment still finds a pair. Raises `KeyFileError` when there is none to renew that was not revoked.
    """
    with _one_at_a_time(folder):
        known = [one for one in list_issued(folder) if one.name == name and one.revoked_at is None]
        if not known:
            raise _unknown(folder, name)
        last = known[-1]
        key = last.certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise KeyFileError("has no elliptic-curve key", where=name, next_step="Issue a new one.")
        signer = load_signer(folder, passphrase)
        return replace_certificate(folder, signer.leaf(name, key, last.server, last.hosts, days, now))


def revoke(
    folder: Path, name: str, *, reason: str, crl_days: int, now: datetime, passphrase: bytes | None
) -> list[Issued]:
    """Revoke every certificate of `name` that still counts, write the CRL, and free the name.

    A renewed certificate's predecessors are valid until their own end, so they are revoked with it. What
    lies here of its certificate and key is removed: neither is good for anything any more.
    """
    with _one_at_a_time(folder):
        signer = load_signer(folder, passphrase)  # before anything is changed
        chosen = [one for one in list_issued(folder) if one.name == name and one.counts(now)]
        if not chosen:
            raise _unknown(folder, name)
        for one in chosen:
            record = f"{now.isoformat()} {reason}\n".encode()
            write_new(folder / ISSUED / f"{one.serial}.revoked", record, 0o644)
        _write_crl(folder, signer, crl_days, now)
        for suffix in ("crt", "key"):
            destroy(folder / f"{name}.{suffix}")
    return chosen


def write_crl(folder: Path, *, days: int, now: datetime, passphrase: bytes | None) -> Path:
    """Write `ca.crl` anew, valid for `days`; once that is over a broker refuses everybody."""
    with _one_at_a_time(folder):
        return _write_crl(folder, load_signer(folder, passphrase), days, now)


def crl_warning(folder: Path, now: datetime) -> str:
    """What to say about the CRL's end; empty while there is time enough, or when there is no CRL."""
    path = folder / CRL
    if not path.exists():
        return ""
    try:
        end = x509.load_pem_x509_crl(path.read_bytes()).next_update_utc
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if end is None or end - now > timedelta(days=WARNING_DAYS):
        return ""
    return f"the CRL ends on {end:%Y-%m-%d}: from then on the broker refuses everybody; write it anew"


def _write_crl(folder: Path, signer: Signer, days: int, now: datetime) -> Path:
    builder = x509.CertificateRevocationListBuilder().issuer_name(signer.certificate.subject)
    builder = builder.last_update(now - _CLOCK_TOLERANCE).next_update(now + timedelta(days=days))
    number = x509.CRLNumber(int(now.timestamp() * 1000))  # rises without anything to remember
    builder = builder.add_extension(number, critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    for one in list_issued(folder):
        if one.revoked_at is not None:
            builder = builder.add_revoked_certificate(_entry(one, one.revoked_at))
    path = folder / CRL
    try:
        write_atomic(path, builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise unreadable(path, error) from error
    return path


def _entry(one: Issued, at: datetime) -> x509.RevokedCertificate:
    entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(at)
    if one.reason in REASONS:
        entry = entry.add_extension(x509.CRLReason(REASONS[one.reason]), critical=False)
    return entry.build()


def _read(path: Path) -> Issued:
    certificate = load_certificate(path)
    mark = path.with_suffix(".revoked")
    try:
        at, _, reason = mark.read_text().strip().partition(" ")
        return Issued(certificate, datetime.fromisoformat(at), reason)
    except FileNotFoundError:
        return Issued(certificate, None, None)
    except (OSError, ValueError) as error:
        raise unreadable(mark, error) from error


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two commands at once must not write two CRLs of which the later lacks a revocation."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unknown(folder: Path, name: str) -> KeyFileError:
    return KeyFileError(
        f"no certificate of {name[:80]!r} was issued here, or it was revoked",
        where=str(folder / ISSUED),
        next_step="See the names with: edgeagent keys ca list",
    )
