"""Rollback: what was once superseded or closed on a unit never comes back, also over restarts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.errors import DocumentError
from tests.desk import Desk


def numbered(sequence: int, digest: str = "a", name: str = "authority x") -> Numbered:
    """A document by name, number and (the first character of) its hash."""
    return Numbered(name, sequence, digest * 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "seen.json"


def test_a_newer_document_is_taken_and_an_older_one_refused(file: Path) -> None:
    seen = HighWater(file)
    seen.accept(numbered(5))
    seen.accept(numbered(5))
    seen.accept(numbered(7, "b"))
    for reader in (seen, HighWater(file)):
        with pytest.raises(DocumentError, match="7 was seen before"):
            reader.accept(numbered(5))
        with pytest.raises(DocumentError, match="7 was seen before"):
            reader.check(numbered(6, "b"))
        reader.check(numbered(7, "b"))


def test_two_documents_with_one_number_are_refused(file: Path) -> None:
    seen = HighWater(file)
    seen.accept(numbered(5, "a"))
    for reader in (seen, HighWater(file)):
        with pytest.raises(DocumentError, match="differs from another"):
            reader.accept(numbered(5, "b"))


def test_names_are_counted_apart(file: Path) -> None:
    seen = HighWater(file)
    seen.accept(numbered(5, name="authority x"))
    seen.accept(numbered(1, name="authority y"))
    seen.accept(numbered(1, name="watchlist x"))


def test_a_check_remembers_nothing(file: Path) -> None:
    seen = HighWater(file)
    seen.check(numbered(9))
    assert not file.exists()
    seen.accept(numbered(1))


def test_a_closed_deployment_stays_closed(file: Path) -> None:
    seen = HighWater(file)
    assert not seen.is_closed("x")
    seen.close("x")
    seen.close("x")
    seen.accept(numbered(1))
    assert HighWater(file).is_closed("x")
    assert not HighWater(file).is_closed("y")


def test_the_file_is_its_owners_alone(file: Path) -> None:
    HighWater(file).close("x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["seen.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"seen":{},"closed":[],"more":1}',
        b'{"seen":{"x":{"sequence":0,"sha256":""}},"closed":[]}',
        b'{"seen":{},"seen":{},"closed":[]}',
        b'{"seen":{},"closed":[1]}',
        b"\xff",
        b" " * 1_000_001,
    ],
)
def test_a_damaged_file_is_refused_and_never_taken_for_an_empty_one(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(DocumentError) as refusal:
        HighWater(file)
    assert str(file) in str(refusal.value)


def test_a_write_that_fails_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = HighWater(file)
    seen.accept(numbered(5))
    before = file.read_bytes()

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space"):
            seen.accept(numbered(6, "b"))
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["seen.json"]
    with pytest.raises(DocumentError):  # in memory too, the newer one was not taken
        seen.accept(numbered(4))
    seen.check(numbered(5))


OFFERS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from("ab"), st.booleans()), max_size=25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offers=OFFERS)
def test_what_is_taken_never_goes_down(offers: list[tuple[int, str, bool]], file: Path) -> None:
    """Any order of offers and restarts: numbers taken rise, and one number means one document."""
    file.unlink(missing_ok=True)
    seen = HighWater(file)
    taken: list[tuple[int, str]] = []
    for sequence, digest, restarts in offers:
        if restarts:
            seen = HighWater(file)
        expected = not taken or sequence > taken[-1][0] or (sequence, digest) == taken[-1]
        try:
            seen.accept(numbered(sequence, digest))
        except DocumentError:
            assert not expected
        else:
            assert expected
            taken.append((sequence, digest))
    assert taken == sorted(taken, key=lambda offer: offer[0])


def test_an_older_trust_store_is_a_rollback(file: Path) -> None:
    """It could bring a revoked key back."""
    desk, seen = Desk(), HighWater(file)
    seen.accept(desk.trust_with(sequence=3).numbered)
    with pytest.raises(DocumentError, match="3 was seen before"):
        HighWater(file).accept(desk.trust_with(sequence=2).numbered)


def test_the_file_does_not_grow_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeagent.documents.sequence.MOST_NAMES", 5)
    seen = HighWater(file)
    for number in range(20):
        seen.accept(numbered(1, name=f"authority {number}"))
        seen.close(f"deployment-{number}")
    assert len(file.read_text()) < 2000
    assert seen.is_closed("deployment-19")
    with pytest.raises(DocumentError):
        seen.check(numbered(1, "b", name="authority 19"))
