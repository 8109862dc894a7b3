"""`edgeagent documents verify`: every kind is explained, and the verdict is the daemon's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeagent.agent.checks import Outcome, Place
from edgeagent.agent.deployment import load_deployment, numbered_certificate
from edgeagent.agent.explain import Explanation, explain
from edgeagent.alerts.envelope import unwrap, wrap
from edgeagent.cli.main import main
from edgeagent.documents.deployment_key import DEPLOYMENT_KEY
from edgeagent.documents.explain import NAMES, recognise
from edgeagent.documents.keys import Role
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.table import LEASE, RECEIPT, REVOCATION, sign
from edgeagent.documents.trust import TYP
from edgeagent.documents.words import span
from edgeagent.errors import DocumentError, EdgeAgentError
from edgeagent.safeguards.instant import Instant
from tests.desk import (
    NOW,
    OTHER_UNIT,
    PACK_SHA256,
    Desk,
    Folder,
    as_dict,
    at,
    b64,
    certificate,
    entry,
    lease,
    one_time,
    profile,
    raw_document,
    receipt,
    revocation,
    test_subject,
)
from tests.document_samples import SAMPLES

NO_PAYLOAD = json.dumps({"signatures": [{"protected": b64(b'{"typ":"edgeagent-lease","kid":""}')}]}).encode()
FILES = sorted({*SAMPLES, TYP, DEPLOYMENT_KEY.typ})


def place(
    desk: Desk, folder: Folder | None = None, now: Instant = NOW, source: str = "v4l2:/dev/video0"
) -> Place:
    """The desk's view, or the unit's."""
    root = desk[Role.ROOT].kid
    if folder is None:
        return Place(root, desk.trust, now)
    seen = HighWater(folder.path / "seen.json")
    return Place(root, desk.trust, now, folder.config(source), seen, PACK_SHA256)


def genuine(typ: str, desk: Desk) -> bytes:
    """A genuine file of a kind; the watchlist with its body."""
    if typ == TYP:
        return desk.trust_document()
    if typ == DEPLOYMENT_KEY.typ:
        return sign(DEPLOYMENT_KEY, one_time().public, desk.unit)
    return desk.watchlist() if typ == "edgeagent-watchlist" else SAMPLES[typ].document(desk)


def refusals(explanation: Explanation) -> list[str]:
    """Rule, or subject, of each refused check."""
    refused = [check for check in explanation.checks if check.outcome is Outcome.REFUSED]
    return [check.rule or check.subject for check in refused]


@pytest.mark.parametrize("typ", FILES)
def test_every_kind_is_named_explained_and_accepted_at_the_desk(typ: str, desk: Desk) -> None:
    explanation = explain(genuine(typ, desk), place(desk))
    assert explanation.typ == typ
    assert explanation.accepted
    assert explanation.genuine
    assert len(explanation.says) > 2
    assert explanation.signers
    assert "unknown" not in dict(explanation.signers)


@pytest.mark.parametrize("kind", ["alert", "state", "lease", "receipt", "revocation"])
def test_a_message_is_taken_out_of_its_envelope(kind: str, desk: Desk) -> None:
    token = SAMPLES[f"edgeagent-{kind}"].document(desk)
    message = wrap(kind, token, identifier="1", source="s", time=NOW.wall)
    explanation = explain(message, place(desk))
    assert explanation.envelope
    assert explanation.accepted
    assert explain(token + b"\n", place(desk)).accepted  # as an editor saves it


@pytest.mark.parametrize("typ", FILES)
def test_an_altered_one_is_explained_but_not_relied_on(typ: str, desk: Desk) -> None:
    document = genuine(typ, desk)
    inner = recognise(document, unwrap).document
    last = document.rindex(inner[-40:-30])
    other = b"B" if document[last : last + 1] != b"B" else b"C"
    explanation = explain(document[:last] + other + document[last + 1 :], place(desk))
    assert not explanation.genuine
    assert not explanation.accepted
    assert explanation.says


def test_an_authority_on_its_unit_passes_every_check(desk: Desk, folder: Folder) -> None:
    folder.put()
    explanation = explain((folder.path / "authority.json").read_bytes(), place(desk, folder))
    assert {check.outcome for check in explanation.checks} == {Outcome.GOOD}
    assert not (folder.path / "seen.json").exists()  # nothing is remembered


CASES: dict[str, tuple[Callable[[Folder], None], str, Instant]] = {
    "protest": (lambda folder: folder.put(is_assembly_or_protest=True), "R13", NOW),
    "no signs": (lambda folder: folder.put(signage_confirmed=False), "R22", NOW),
    "another unit": (lambda folder: folder.put(units=(OTHER_UNIT,)), "R12", NOW),
    "over": (lambda folder: folder.put(), "R6", at(86_400)),
    "other pack": (lambda folder: folder.put(model_pack_sha256="ff" * 32), "R18", NOW),
    "other list": (lambda folder: folder.put(watchlist_sha256="ff" * 32), "R12", NOW),
    "below the floor": (lambda folder: folder.put(threshold=0.45), "R18", NOW),
    "bench with a camera": (lambda folder: folder.put(bench=True, entries=[test_subject(1)]), "R33", NOW),
    "bench with others": (lambda folder: folder.put(bench=True, entries=[entry(1)]), "R33", NOW),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_the_daemons(case: str, desk: Desk, folder: Folder) -> None:
    prepare, rule, now = CASES[case]
    prepare(folder)
    explanation = explain((folder.path / "authority.json").read_bytes(), place(desk, folder, now))
    assert rule in refusals(explanation)
    with pytest.raises(EdgeAgentError) as refusal:
        load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), now)
    assert refusal.value.rule in refusals(explanation)


def test_the_independent_approval_is_looked_for(folder: Folder) -> None:
    strict = Desk(profile=profile(independent_approval=True))
    folder.put()
    explanation = explain((folder.path / "authority.json").read_bytes(), place(strict))
    assert refusals(explanation) == ["R27"]


def test_a_rollback_is_seen_and_nothing_is_written(desk: Desk, folder: Folder) -> None:
    folder.put()
    seen = HighWater(folder.path / "seen.json")
    seen.accept(Numbered("trust store", 9, "ab" * 32))
    seen.accept(Numbered(f"authority {desk.authority().deployment}", 9, "ab" * 32))
    before = (folder.path / "seen.json").read_bytes()
    for file in (desk.trust_document(), (folder.path / "authority.json").read_bytes()):
        assert refusals(explain(file, place(desk, folder))) == ["newest that this unit has seen"]
    assert (folder.path / "seen.json").read_bytes() == before


def test_a_watchlist_is_held_against_the_installed_authority(desk: Desk, folder: Folder) -> None:
    folder.put()
    installed = (folder.path / "list.edgelist").read_bytes()
    assert explain(installed, place(desk, folder)).accepted
    another = desk.watchlist([entry(99)])
    assert refusals(explain(another, place(desk, folder))) == ["R12"]
    elsewhere = desk.watchlist(units=[desk.other_unit])
    assert "sealed to this unit" in refusals(explain(elsewhere, place(desk, folder)))


@pytest.mark.parametrize(
    ("document", "refused"),
    [
        (lambda desk: sign(LEASE, lease(), desk[Role.CONTROL_ROOM]), []),
        (lambda desk: sign(LEASE, lease(unit=OTHER_UNIT), desk[Role.CONTROL_ROOM]), ["R16"]),
        (lambda desk: sign(LEASE, lease(duration_s=60.0), desk[Role.CONTROL_ROOM]), ["R16"]),
        (lambda desk: sign(RECEIPT, receipt(), desk[Role.CONTROL_ROOM]), []),
        (lambda desk: sign(RECEIPT, receipt(unit=OTHER_UNIT), desk[Role.CONTROL_ROOM]), ["for this unit"]),
        (lambda desk: sign(REVOCATION, revocation(), desk[Role.CONTROL_ROOM]), []),
        (
            lambda desk: sign(REVOCATION, revocation(units=(OTHER_UNIT,)), desk[Role.CONTROL_ROOM]),
            ["for this unit"],
        ),
    ],
)
def test_a_message_on_the_unit(
    document: Callable[[Desk], bytes], refused: list[str], desk: Desk, folder: Folder
) -> None:
    folder.put()
    assert refusals(explain(document(desk), place(desk, folder))) == refused


def test_a_certificate_is_held_against_authority_and_list(desk: Desk, folder: Folder) -> None:
    folder.put()
    genuine_one = (folder.path / "certificate.json").read_bytes()
    assert explain(genuine_one, place(desk, folder)).accepted
    folder.put(threshold=0.45)
    assert refusals(explain(genuine_one, place(desk, folder))) == ["R18"]


def test_a_certificate_of_another_processor_is_no_refusal_but_is_said(desk: Desk, folder: Folder) -> None:
    folder.put(certificate_of=certificate(machine="another"))
    found = explain((folder.path / "certificate.json").read_bytes(), place(desk, folder))
    (check,) = [check for check in found.checks if check.subject == "measured on such a processor"]
    assert (check.outcome, found.accepted) == (Outcome.UNCHECKED, True)
    assert "it was measured on another, this is " in check.text


def test_an_older_certificate_than_the_unit_has_seen_is_refused(desk: Desk, folder: Folder) -> None:
    folder.put()
    here = place(desk, folder)
    assert here.seen is not None
    here.seen.accept(numbered_certificate(certificate(issued_at=NOW.wall), "11" * 32))
    found = explain((folder.path / "certificate.json").read_bytes(), here)
    assert refusals(found) == ["newest that this unit has seen"]


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"{}",
        b"[]",
        b"a.b.c",
        b"e30.e30.AA",
        b'{"specversion":"1.0"}',
        b"EDGELIST1\n",
        b"[" * 900_000,
    ],
)
def test_what_is_no_document_is_refused_by_name(content: bytes, desk: Desk) -> None:
    with pytest.raises(DocumentError):
        explain(content, place(desk))


def test_text_of_a_sender_cannot_move_the_cursor(desk: Desk) -> None:
    body = as_dict(revocation()) | {"reason": "gone\x1b[2J\r\u202eaway"}
    document = raw_document(REVOCATION, json.dumps(body).encode(), desk[Role.CONTROL_ROOM])
    assert dict(explain(document, place(desk)).says)["reason"] == "gone?[2J??away"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.25 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3661, "1 h 1 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_lengths_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def _command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["documents", "verify", *arguments])
    return int(end.value.code or 0)


def test_the_command(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust, file, junk = tmp_path / "trust.json", tmp_path / "authority.json", tmp_path / "junk"
    trust.write_bytes(desk.trust_document())
    file.write_bytes(SAMPLES["edgeagent-authority"].document(desk))
    junk.write_bytes(b"junk")
    options = ["--trust", str(trust), "--root", desk[Role.ROOT].kid, "--as-of", NOW.wall.isoformat()]
    assert _command(str(file), *options) == 0
    said = capsys.readouterr().out
    assert "High Street" in said
    assert "ACCEPTED at this time, as far as it could be checked here" in said
    assert _command(str(file), *options, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accepted"]
    assert report["body"]["site"] == "High Street, north end"
    assert _command(str(file), *options[:4], "--as-of", "2031-05-08T00:00:00Z") == 1
    assert "REFUSED" in capsys.readouterr().out
    assert _command(str(junk), *options) == 2
    assert _command(str(trust), *options[2:]) == 0  # a trust store speaks for itself
    assert _command(str(file), "--root", "x", "--config", "y") == 2
    assert _command(str(file), *options[:4], "--as-of", "2031-05-08T00:00:00") == 2


def test_every_kind_has_a_name() -> None:
    assert set(NAMES) == set(FILES)
