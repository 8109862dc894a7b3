"""`edgeagent keys ca`: the authority's life, by its commands and by its library."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from edgeagent.cli.main import edgeagent
from edgeagent.errors import KeyFileError
from edgeagent.system.certificates import (
    certificate_warning,
    issue,
    issue_for_request,
    load_signer,
    make_authority,
)
from edgeagent.system.pem import load_certificate
from edgeagent.system.revocation import CRL, crl_warning, list_issued, renew, revoke, write_crl

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECRET = b"correct horse battery staple"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An authority with one client."""
    made = tmp_path / "authority"
    made.mkdir()
    make_authority(made, "test-authority", now=NOW, passphrase=SECRET)
    client(made, "unit-01")
    return made


def client(folder: Path, name: str, days: int = 365, now: datetime = NOW) -> None:
    issue(folder, name, server=False, hosts=(), days=days, now=now, passphrase=SECRET)


def revoked_serials(folder: Path) -> set[int]:
    crl = x509.load_pem_x509_crl((folder / CRL).read_bytes())
    assert crl.is_signature_valid(load_signer(folder, SECRET).key.public_key())
    return {entry.serial_number for entry in crl}


def request(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lease-desk")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


# --- the key ------------------------------------------------------------------------------------------------


def test_the_authoritys_key_opens_only_with_its_passphrase(folder: Path) -> None:
    assert b"ENCRYPTED" in (folder / "ca.key").read_bytes()
    with pytest.raises(KeyFileError, match="needs its passphrase"):
        load_signer(folder, None)
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        load_signer(folder, b"wrong")
    for path in folder.glob("*.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_of_another_authority_is_not_used(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_authority(other, "test-authority", now=NOW, passphrase=SECRET)
    (other / "ca.key").replace(folder / "ca.key")
    with pytest.raises(KeyFileError, match=r"does not belong to ca\.crt"):
        client(folder, "unit-02")


def test_nothing_outlives_its_authority(folder: Path) -> None:
    later = NOW + timedelta(days=3600)
    with pytest.raises(KeyFileError, match="longer than its authority"):
        client(folder, "unit-02", 365, later)
    assert not (folder / "unit-02.key").exists()


# --- requests -----------------------------------------------------------------------------------------------


def test_a_request_gives_its_key_and_nothing_else(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = issue_for_request(folder, "unit-02", request(key), days=30, now=NOW, passphrase=SECRET)
    made = load_certificate(path)
    assert made.public_key() == key.public_key()
    assert [str(name.value) for name in made.subject] == ["unit-02"]  # it asked to be the lease desk
    assert not (folder / "unit-02.key").exists()


def tampered_request() -> bytes:
    """The key of a request changed for another, so that its signature is another's."""
    key = ec.generate_private_key(ec.SECP256R1())
    octets = bytearray(x509.load_pem_x509_csr(request(key)).public_bytes(serialization.Encoding.DER))
    octets[-1] ^= 1
    changed = x509.load_der_x509_csr(bytes(octets))
    return changed.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"nothing of the kind", "not a valid PEM"),
        (request(rsa.generate_private_key(65537, 2048)), "not for an EC P-256 key"),
        (request(ec.generate_private_key(ec.SECP384R1())), "not for an EC P-256 key"),
        (tampered_request(), "not signed by its own key"),
    ],
    ids=["no request", "RSA", "P-384", "another's signature"],
)
def test_other_requests_are_refused(folder: Path, content: bytes, what: str) -> None:
    with pytest.raises(KeyFileError, match=what):
        issue_for_request(folder, "unit-02", content, days=30, now=NOW, passphrase=SECRET)
    assert not (folder / "unit-02.crt").exists()


# --- renewal and revocation ---------------------------------------------------------------------------------


def test_renewal_keeps_key_name_and_hosts(folder: Path) -> None:
    broker = issue(
        folder, "broker", server=True, hosts=("b.example", "10.0.0.1"), days=30, now=NOW, passphrase=SECRET
    )
    before, later = load_certificate(broker.cert), NOW + timedelta(days=20)
    after = load_certificate(renew(folder, "broker", days=365, now=later, passphrase=SECRET))
    assert after.public_key() == before.public_key()
    assert after.serial_number != before.serial_number
    assert after.not_valid_after_utc == later + timedelta(days=365)
    assert {one.hosts for one in list_issued(folder) if one.name == "broker"} == {("b.example", "10.0.0.1")}


def test_revocation_takes_every_certificate_of_the_name_and_frees_it(folder: Path) -> None:
    renew(folder, "unit-01", days=365, now=NOW + timedelta(days=1), passphrase=SECRET)
    client(folder, "unit-02")
    serials = {one.certificate.serial_number for one in list_issued(folder) if one.name == "unit-01"}
    assert len(serials) == 2
    at = NOW + timedelta(days=2)
    revoke(folder, "unit-01", reason="key-compromise", crl_days=30, now=at, passphrase=SECRET)
    assert revoked_serials(folder) == serials
    assert not (folder / "unit-01.key").exists()
    with pytest.raises(KeyFileError, match="or it was revoked"):
        renew(folder, "unit-01", days=365, now=at, passphrase=SECRET)
    client(folder, "unit-01", 10, at)  # the name is free; the new one counts and can be renewed
    renew(folder, "unit-01", days=365, now=at, passphrase=SECRET)
    assert revoked_serials(folder) == serials


def test_a_lost_crl_loses_no_revocation(folder: Path) -> None:
    revoke(folder, "unit-01", reason="superseded", crl_days=30, now=NOW, passphrase=SECRET)
    before = revoked_serials(folder)
    (folder / CRL).unlink()
    write_crl(folder, days=30, now=NOW + timedelta(days=5), passphrase=SECRET)
    assert revoked_serials(folder) == before != set()


def test_with_a_wrong_passphrase_nothing_is_revoked(folder: Path) -> None:
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        revoke(folder, "unit-01", reason="superseded", crl_days=30, now=NOW, passphrase=b"wrong")
    assert all(one.revoked_at is None for one in list_issued(folder))
    assert (folder / "unit-01.key").exists()


# --- warnings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later_days", "said"),
    [
        (0, ""),
        (334, ""),
        (335.5, r"unit-01 expires on 2028-02-29, in 30 days; renew"),
        (364, "in 1 days"),
        (365, "expired on 2028-02-29"),
        (400, "expired"),
    ],
)
def test_people_are_warned_thirty_days_ahead(folder: Path, later_days: float, said: str) -> None:
    warning = certificate_warning(load_certificate(folder / "unit-01.crt"), NOW + timedelta(days=later_days))
    assert said in warning
    assert bool(said) == bool(warning)


def test_the_end_of_the_crl_is_warned_of_too(folder: Path) -> None:
    assert crl_warning(folder, NOW) == ""
    write_crl(folder, days=90, now=NOW, passphrase=SECRET)
    assert crl_warning(folder, NOW + timedelta(days=59)) == ""
    assert "refuses everybody" in crl_warning(folder, NOW + timedelta(days=61))


# --- commands -----------------------------------------------------------------------------------------------


class Commands:
    """`edgeagent keys ca …` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "authority"
        self.secret = folder / "secret"
        self.secret.write_bytes(SECRET + b"\n")
        self.secret.chmod(0o600)

    def __call__(self, *arguments: str) -> dict[str, Any]:
        common = ("--folder", str(self.folder), "--json")
        secret = () if arguments[0] == "list" else ("--passphrase-file", str(self.secret))
        done = CliRunner().invoke(edgeagent, ["keys", "ca", *arguments, *common, *secret])
        if done.exception is not None:
            raise done.exception
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture
def command(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def test_a_life_by_commands(command: Commands) -> None:
    command("init")
    command("issue", "broker", "--host", "localhost")
    command("issue", "unit-01", "--days", "20")
    warned = {row["name"]: row["warning"] for row in command("list")["certificates"]}
    assert "renew it at the desk" in warned["unit-01"]
    assert warned["broker"] == ""
    command("renew", "unit-01")
    assert not any(row["warning"] for row in command("list")["certificates"])
    assert len(command("revoke", "unit-01", "--reason", "cessation-of-operation")["revoked"]) == 2
    states = [(row["name"], row["state"]) for row in command("list")["certificates"]]
    assert states == [("broker", "valid"), ("unit-01", "revoked"), ("unit-01", "revoked")]
    assert command.folder.stat().st_mode & 0o777 == 0o700


def test_a_passphrase_that_others_can_read_or_guess_is_refused(command: Commands) -> None:
    command.secret.chmod(0o640)
    with pytest.raises(KeyFileError, match="may be read by others"):
        command("init")
    command.secret.chmod(0o600)
    command.secret.write_text("short")
    with pytest.raises(KeyFileError, match="shorter than 16"):
        command("init")
    assert not command.folder.exists()


@pytest.mark.parametrize("name", ["ca", "Unit", "unit.1", "../x", "unit+", "a" * 64])
def test_names_that_mean_something_to_a_broker_are_refused(command: Commands, name: str) -> None:
    command("init")
    with pytest.raises(KeyFileError, match="common name"):
        command("issue", name)


def test_openssl_agrees(command: Commands) -> None:
    command("init")
    command("issue", "unit-01")
    command("issue", "unit-02")
    command("revoke", "unit-02")
    check = [
        "openssl",
        "verify",
        "-crl_check",
        "-CAfile",
        "ca.crt",
        "-CRLfile",
        "ca.crl",
        "-purpose",
        "sslclient",
    ]
    good = subprocess.run(
        [*check, "unit-01.crt"], cwd=command.folder, capture_output=True, text=True, check=False
    )
    assert good.stdout.strip() == "unit-01.crt: OK"
    gone = next(p for p in (command.folder / "issued").glob("*.crt") if p.with_suffix(".revoked").exists())
    bad = subprocess.run([*check, str(gone)], cwd=command.folder, capture_output=True, text=True, check=False)
    assert "certificate revoked" in bad.stderr


def test_it_hangs_below_keys() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeagent", "keys", "ca", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f"\n  {name} " in done.stdout for name in ("init", "issue", "renew", "revoke", "crl", "list"))
