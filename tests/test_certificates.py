from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgeagent.errors import KeyFileError
from edgeagent.system.certificates import expires_in_days, issue, make_authority

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def handshake(server_ctx: ssl.SSLContext, client_ctx: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """A TLS handshake in memory; returns the server's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_ctx.wrap_bio(to_server, to_client, server_side=True)
    client = client_ctx.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert server.version() == "TLSv1.3"
    return server


def test_broker_and_unit_know_each_other_by_certificate(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    make_authority(tmp_path, "test-authority", now=now)
    broker = issue(tmp_path, "broker", server=True, hosts=("localhost", "127.0.0.1"), days=2, now=now)
    unit = issue(tmp_path, "unit-a", server=False, hosts=(), days=2, now=now)
    server_ctx = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=broker.authority)
    server_ctx.verify_mode = ssl.CERT_REQUIRED
    server_ctx.load_cert_chain(broker.cert, broker.key)
    client_ctx = ssl.create_default_context(cafile=unit.authority)
    client_ctx.load_cert_chain(unit.cert, unit.key)
    for host in ("localhost", "127.0.0.1"):
        peer = handshake(server_ctx, client_ctx, host).getpeercert()
        assert peer is not None
        assert peer["subject"] == ((("commonName", "unit-a"),),)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_ctx, client_ctx, "elsewhere")


def test_a_unit_cannot_pass_for_the_broker(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    make_authority(tmp_path, "test-authority", now=now)
    unit = issue(tmp_path, "unit-a", server=False, hosts=(), days=2, now=now)
    server_ctx = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_ctx.load_cert_chain(unit.cert, unit.key)
    client_ctx = ssl.create_default_context(cafile=unit.authority)
    client_ctx.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(server_ctx, client_ctx, "localhost")


def test_keys_are_for_their_owner_only_and_no_drafts_remain(tmp_path: Path) -> None:
    authority = make_authority(tmp_path, "test-authority", now=NOW)
    unit = issue(tmp_path, "unit-a", server=False, hosts=(), days=30, now=NOW)
    assert {path.stat().st_mode & 0o777 for path in (authority.key, unit.key)} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca.crt",
        "ca.key",
        "issued",
        "unit-a.crt",
        "unit-a.key",
    ]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    authority = make_authority(tmp_path, "test-authority", now=NOW)
    unit = issue(tmp_path, "unit-a", server=False, hosts=(), days=30, now=NOW)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(KeyFileError, match="not overwritten"):
        make_authority(tmp_path, "test-authority", now=NOW)
    unit.cert.unlink()
    with pytest.raises(KeyFileError, match="not overwritten"):
        issue(tmp_path, "unit-a", server=False, hosts=(), days=30, now=NOW)
    assert authority.key.read_bytes() == before[authority.key]
    assert unit.key.read_bytes() == before[unit.key]


@pytest.mark.parametrize(
    "name", ["", "Unit", "unit/a", "unit+a", "#", "../ca", "unit a", "-a", "a" * 64, "a\n"]
)
def test_a_name_that_could_be_a_path_or_a_wildcard_is_refused(tmp_path: Path, name: str) -> None:
    make_authority(tmp_path, "test-authority", now=NOW)
    with pytest.raises(KeyFileError, match="common name"):
        issue(tmp_path, name, server=False, hosts=(), days=30, now=NOW)


@pytest.mark.parametrize(("later_days", "left"), [(0, 30), (29, 1), (31, -1)])
def test_days_until_expiry(tmp_path: Path, later_days: int, left: float) -> None:
    make_authority(tmp_path, "test-authority", now=NOW)
    unit = issue(tmp_path, "unit-a", server=False, hosts=(), days=30, now=NOW)
    assert expires_in_days(unit.cert, now=NOW + timedelta(days=later_days)) == pytest.approx(left)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"ca\.crt"):
        issue(tmp_path, "unit-a", server=False, hosts=(), days=30, now=NOW)
    (tmp_path / "bad.crt").write_text("not a certificate")
    with pytest.raises(KeyFileError, match=r"bad\.crt.*not a valid PEM"):
        expires_in_days(tmp_path / "bad.crt", now=NOW)
