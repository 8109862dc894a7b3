"""Enrolment: only the request whose code was read from the unit is approved, only its answer is installed."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.agent.build import load_trust
from edgeagent.agent.enrol import Pending, refuse_another_root, waiting
from edgeagent.agent.enrol_config import UNIT_KEY
from edgeagent.agent.enrol_finish import finish, read_files
from edgeagent.agent.enrol_state import (
    Place,
    Stage,
    read_state,
    refuse_before_enrolment,
    refuse_without_keys,
)
from edgeagent.config import load_config
from edgeagent.controlroom.enrol_decide import Approved, refuse
from edgeagent.controlroom.enrol_desk import examine
from edgeagent.controlroom.enrol_register import FILE, Because, Event, open_register
from edgeagent.documents import enrol_code
from edgeagent.documents.enrol_approval import ENROLMENT, ApprovalFiles, digest
from edgeagent.documents.enrol_code import ALPHABET, CODE_BITS, code_of, is_code_of
from edgeagent.documents.enrol_invitation import Invitation
from edgeagent.documents.enrol_request import (
    TYP,
    EnrolmentRequest,
    UnitKeys,
    make_request,
    open_request,
    seal_proof,
    token_proof,
)
from edgeagent.documents.jws import sign_general
from edgeagent.documents.keys import Role, load_identity
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.table import sign
from edgeagent.errors import AuditError, ConfigError, DocumentError, EdgeAgentError, KeyFileError
from edgeagent.system.certificates import issue, issue_for_request, make_authority
from edgeagent.system.pem import load_certificate
from edgeagent.system.revocation import list_issued
from tests.desk import NOW, OTHER_UNIT, UNIT, Desk, as_dict, identity, raw_document
from tests.enrol_samples import PASSPHRASE, Scene, asked, invitation, request, unit_keys
from tests.tampering import changed, get, paths, put

DESK = Desk()
SECRET = bytes(16)


@pytest.fixture(autouse=True)
def cheap_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the procedure; `test_the_code_costs_what_it_says` has the real cost."""
    monkeypatch.setattr(enrol_code, "_COST", 1 << 4)


@pytest.fixture
def scene(tmp_path: Path, desk: Desk) -> Scene:
    return Scene(tmp_path, desk)


def enrolled(scene: Scene, unit: str = UNIT) -> tuple[Pending, Approved]:
    """A unit that went all the way."""
    pending = scene.begin(scene.card(unit))
    made = scene.approve(pending.document, pending.code)
    finish(scene.place(unit), read_files(made.folder), scene.now)
    return pending, made


def events(scene: Scene) -> list[Event]:
    with open_register(scene.register) as book:
        return [line.event for line in book.lines]


# --- the way it should go -----------------------------------------------------------------------------------


def test_a_unit_is_enrolled_with_keys_that_never_left_it(scene: Scene) -> None:
    pending, made = enrolled(scene)
    place = scene.place()
    config = load_config(place.config)
    refuse_before_enrolment(place.config)
    refuse_without_keys(config)
    unit = load_identity(config.path(config.unit.key))
    assert (unit.role, unit.name, unit.kid) == (Role.UNIT, UNIT, pending.asked.kid)
    assert load_trust(config).numbered.sequence == 1
    context = ssl.create_default_context(cafile=config.path(config.broker.ca))
    context.load_cert_chain(config.path(config.broker.certificate), config.path(config.broker.key))
    assert events(scene) == [Event.INVITED, Event.APPROVING, Event.APPROVED]
    # The root's holder gets a line that the trust store takes, and then the unit's signature counts.
    line = json.loads(made.key.read_text())
    assert (line["role"], line["name"], line["sign_x"]) == ("unit", UNIT, pending.asked.sign_x)
    # Nothing private at the control room: no octets of the unit's key files are there.
    secrets = [json.loads((place.folder / UNIT_KEY).read_text())[name] for name in ("sign_d", "seal_d")]
    for file in (path for path in [*scene.register.rglob("*"), *scene.ca.rglob("*")] if path.is_file()):
        assert not [secret for secret in secrets if secret in file.read_text()], file
    assert not (scene.ca / f"{UNIT}.key").exists()


def test_private_keys_are_for_their_owner_and_kept_once(scene: Scene) -> None:
    enrolled(scene)
    place = scene.place()
    private = [place.folder / "unit.key", place.folder / "tls" / f"{UNIT}.key"]
    assert [path.stat().st_mode & 0o777 for path in private] == [0o600, 0o600]
    assert sorted(path.name for path in place.staging.iterdir()) == ["request.json", "state.json"]


def test_begin_again_and_again_shows_the_same_code_until_a_new_one_is_asked_for(scene: Scene) -> None:
    told = scene.card()
    first = scene.begin(told)
    assert first.made
    second = scene.begin(told)
    assert (second.made, second.document, second.code) == (False, first.document, first.code)
    third = scene.begin(told, again=True)
    assert third.made
    assert third.asked.number == 2
    assert {third.code, third.asked.kid} & {first.code, first.asked.kid} == set()
    with pytest.raises(ConfigError, match="answers another invitation"):
        scene.begin(scene.card())


def test_an_enrolled_unit_runs_on_while_it_asks_for_new_keys(scene: Scene) -> None:
    old, _ = enrolled(scene)
    place = scene.place()
    with pytest.raises(KeyFileError, match="enrolled already"):
        scene.begin(scene.card())
    pending = scene.begin(scene.card(), again=True)
    refuse_before_enrolment(place.config)
    assert load_identity(place.folder / UNIT_KEY).kid == old.asked.kid
    with pytest.raises(DocumentError, match="other keys"):
        scene.approve(pending.document, pending.code)
    made = scene.approve(pending.document, pending.code, replaces=True)
    assert [json.loads(path.read_text())["revoked"] for path in (made.key, *made.revoked)] == [False, True]
    states = {one.certificate.serial_number: one.revoked_at is not None for one in list_issued(scene.ca)}
    assert sorted(states.values()) == [False, True]
    finish(place, read_files(made.folder), scene.now)
    assert load_identity(place.folder / UNIT_KEY).kid == pending.asked.kid


# --- the code -----------------------------------------------------------------------------------------------


def test_the_code_costs_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the function would make units and desks of two versions strangers; so would fewer bits."""
    monkeypatch.undo()
    assert CODE_BITS == 60
    assert enrol_code._COST * enrol_code._BLOCK * 128 == 32 << 20  # octets of memory for each guess
    assert code_of(bytes(32)) == "HSNQ-DTR9-AHCK"


@given(st.binary(min_size=32, max_size=32))
def test_a_code_is_taken_as_people_type_it(transcript: bytes) -> None:
    code = code_of(transcript)
    assert len(code.replace("-", "")) * 5 == CODE_BITS
    assert set(code) <= {*ALPHABET, "-"}
    for typed in (code, code.lower(), code.replace("-", " "), code.replace("0", "o").replace("1", "l")):
        assert is_code_of(typed, transcript)
    other = ("1" if code[0] == "0" else "0") + code[1:]
    assert not is_code_of(other, transcript)


@pytest.mark.parametrize(
    "typed", ["", "ABCD", "ABCD-EFGH-JKM", "ABCD-EFGH-JKMU", "ABCD-EFGH-JKMN-P", "é" * 12]
)
def test_what_is_no_code_is_said_to_be_none(typed: str) -> None:
    with pytest.raises(DocumentError, match="is not a code"):
        is_code_of(typed, bytes(32))


# --- the request's parser -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def genuine() -> tuple[bytes, EnrolmentRequest]:
    document = request(DESK)
    return document, open_request(document)


@given(data=st.data())
def test_no_octet_of_a_request_can_be_altered(data: st.DataObject, genuine: Any) -> None:
    document, opened = genuine
    where = data.draw(st.integers(0, len(document) - 1))
    octets = bytearray(document)
    octets[where] = data.draw(st.integers(0, 255))
    try:
        taken = open_request(bytes(octets))
    except DocumentError:
        return
    assert taken == opened  # blanks between the members, or the same octet


@given(st.binary(max_size=200))
def test_junk_is_no_request(junk: bytes) -> None:
    with pytest.raises(DocumentError):
        open_request(junk)


def test_every_field_altered_and_signed_again_by_its_own_key_is_refused(genuine: Any) -> None:
    """Whoever has a unit's signing key alone cannot move the other proofs to another request."""
    keys, told = unit_keys(), invitation(DESK, token="a" * 26)
    genuine = make_request(keys, told, asked(keys, told))
    body = as_dict(open_request(genuine))
    _taken(json.dumps(body).encode(), keys)
    for path in paths(body):
        if path == ("asked",):
            continue
        forged = json.dumps(put(body, path, changed(get(body, path)))).encode()
        with pytest.raises(DocumentError):
            _taken(forged, keys)


def _taken(forged: bytes, keys: UnitKeys) -> None:
    """What a control room checks of a request, with its secrets, before the code."""
    opened = open_request(sign_general(forged, TYP, keys.identity.signing))
    room = DESK[Role.CONTROL_ROOM]
    if opened.seal_proof != seal_proof(opened.asked, room.sealing, opened.asked.seal_x):
        raise DocumentError("X25519 key not proven")
    if opened.token_proof != token_proof(opened.asked, SECRET):
        raise DocumentError("token not known")


def test_a_request_signed_by_two_or_by_another_key_is_refused() -> None:
    keys, told = unit_keys(), invitation(DESK)
    document = make_request(keys, told, asked(keys, told))
    payload = open_request(document).model_dump_json().encode()
    other = identity(Role.UNIT, UNIT, seed=9)
    for signers in ((other.signing,), (keys.identity.signing, other.signing)):
        with pytest.raises(DocumentError, match="not signed with the key"):
            open_request(sign_general(payload, TYP, *signers))


# --- attacks on the control room ----------------------------------------------------------------------------


class Attack:
    """One attempt to have something approved; `go` must raise."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.told = scene.card()
        self.honest = scene.begin(self.told)

    def forged(self, told: Invitation | None = None, seed: int = 99, **changes: Any) -> bytes:
        """A request with the attacker's keys under the honest unit's name."""
        keys, said = unit_keys(seed), told or self.told
        return make_request(keys, said, asked(keys, said, **changes))

    def stranger(self) -> Invitation:
        """An invitation that the attacker made up: the card's public lines without its token."""
        return self.told.model_copy(update={"token": "a" * 26})


def _exchanged(a: Attack) -> None:
    """The man in the middle has read the card too, so his request is perfect but for the code."""
    a.scene.approve(a.forged(), a.honest.code)


def _fake_unit(a: Attack) -> None:
    a.scene.approve(a.forged(a.stranger()), a.honest.code)


def _swapped(a: Attack) -> None:
    other = a.scene.begin(a.scene.card(OTHER_UNIT))
    a.scene.approve(other.document, a.honest.code)


def _token_of_another(a: Attack) -> None:
    theirs = a.scene.card(OTHER_UNIT).model_copy(update={"unit": UNIT})
    document = a.forged(theirs)
    a.scene.approve(document, code_of(open_request(document).asked.transcript))


def _replayed(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code)
    a.scene.approve(a.honest.document, a.honest.code)


def _token_twice(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code)
    second = a.forged()
    a.scene.approve(second, code_of(open_request(second).asked.transcript), replaces=True)


def _after_refusal(a: Attack) -> None:
    with open_register(a.scene.register) as book:
        refuse(book, a.scene.room(), a.honest.document, Because.CARD_LOST, a.scene.ca / "ca.crt")
    a.scene.approve(a.honest.document, a.honest.code)


def _superseded(a: Attack) -> None:
    a.scene.card()
    a.scene.approve(a.honest.document, a.honest.code)


def _expired(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code, now=a.scene.later(days=14))


def _pin(**changes: str) -> Callable[[Attack], None]:
    def go(a: Attack) -> None:
        """The card was changed before the first boot; the code is the unit's own."""
        document = a.forged(a.told.model_copy(update=changes))
        a.scene.approve(document, code_of(open_request(document).asked.transcript))

    return go


def _others_seal_key(a: Attack) -> None:
    """The attacker names the honest unit's X25519 key as his own."""
    keys = unit_keys(99)
    said = asked(keys, a.told, seal_x=a.honest.asked.seal_x)
    a.scene.approve(make_request(keys, a.told, said), code_of(said.transcript))


def _others_tls_key(a: Attack) -> None:
    """The attacker puts the honest unit's TLS request into his own."""
    keys = unit_keys(99)
    said = asked(keys, a.told, tls_sha256=a.honest.asked.tls_sha256)
    body = open_request(make_request(keys, a.told, asked(keys, a.told))).model_copy(
        update={"asked": said, "tls_request": open_request(a.honest.document).tls_request}
    )
    a.scene.approve(
        sign_general(body.model_dump_json().encode(), TYP, keys.identity.signing), code_of(said.transcript)
    )


def _unproven_tls_key(a: Attack) -> None:
    """The attacker names the honest unit's TLS key and proves another one."""
    keys = unit_keys(99)
    said = asked(keys, a.told, tls_sha256=a.honest.asked.tls_sha256)
    a.scene.approve(make_request(keys, a.told, said), code_of(said.transcript))


def _tls_request_with(change: Callable[[bytes], bytes]) -> Callable[[Attack], None]:
    def go(a: Attack) -> None:
        """A TLS request whose own signature does not hold; all else is signed anew."""
        keys = unit_keys(99)
        whole = open_request(make_request(keys, a.told, asked(keys, a.told)))
        der = change(x509.load_pem_x509_csr(whole.tls_request.encode()).public_bytes(Encoding.DER))
        text = base64.encodebytes(der).decode()
        pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
        payload = whole.model_copy(update={"tls_request": pem}).model_dump_json().encode()
        a.scene.approve(sign_general(payload, TYP, keys.identity.signing), code_of(whole.asked.transcript))

    return go


def _another_curve(a: Attack) -> None:
    keys = replace(unit_keys(99), tls=ec.generate_private_key(ec.SECP384R1()))
    said = asked(keys, a.told)
    a.scene.approve(make_request(keys, a.told, said), code_of(said.transcript))


def _nobody_invited(a: Attack) -> None:
    document = a.forged(a.told.model_copy(update={"unit": "unit-99"}))
    a.scene.approve(document, code_of(open_request(document).asked.transcript))


def _name_taken(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code)
    told = a.scene.card()
    document = a.forged(told)
    a.scene.approve(document, code_of(open_request(document).asked.transcript))


def _name_in_trust_store(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code, store=a.scene.desk.trust_document())


def _name_at_authority(a: Attack) -> None:
    issue(a.scene.ca, UNIT, server=False, hosts=(), days=9, now=a.scene.now.wall, passphrase=PASSPHRASE)
    a.scene.approve(a.honest.document, a.honest.code)


def _replaces_nobody(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code, replaces=True)


def _room_not_in_store(a: Attack) -> None:
    a.scene.approve(a.honest.document, a.honest.code, identity=identity(Role.CONTROL_ROOM, "desk", seed=9))


def _room_with_another_role(a: Attack) -> None:
    told = a.scene.card(room=a.scene.room(identity=a.scene.desk[Role.OPERATOR]))
    pending = a.scene.begin(told, again=True)
    a.scene.approve(pending.document, pending.code, identity=a.scene.desk[Role.OPERATOR])


ATTACKS: dict[str, tuple[Callable[[Attack], None], str]] = {
    "exchanged on the way, token known": (_exchanged, "its code is another"),
    "fake unit without the token": (_fake_unit, "does not know the token"),
    "two units' requests swapped": (_swapped, "its code is another"),
    "token of another unit": (_token_of_another, "does not know the token"),
    "the same request twice": (_replayed, "was approved already.*approved/unit-1-"),
    "another request with a used token": (_token_twice, "its token is used up"),
    "a request that was refused": (_after_refusal, "was refused already"),
    "an invitation before the newest": (_superseded, "does not know the token"),
    "an expired invitation": (_expired, "its invitation expired on 2031-05-20"),
    "card changed: another root": (_pin(root="B" * 42 + "A"), "told to trust another root"),
    "card changed: another authority": (_pin(control_room_ca="0" * 64), "another control_room_ca"),
    "card changed: another control room": (
        _pin(control_room_key=identity(Role.CONTROL_ROOM, "x", 9).seal_key.x),
        "another control_room_key",
    ),
    "another's X25519 key": (_others_seal_key, "does not prove its X25519 key"),
    "another's TLS key": (_others_tls_key, "TLS request of another request"),
    "a TLS key that is not proven": (_unproven_tls_key, "does not prove its TLS key"),
    "a TLS request whose signature is altered": (
        _tls_request_with(lambda der: der[:-1] + bytes([der[-1] ^ 1])),
        "does not prove its TLS key",
    ),
    "a TLS request cut short": (_tls_request_with(lambda der: der[:-20]), "no TLS request that can be read"),
    "a TLS key of another curve": (_another_curve, "not EC P-256"),
    "a unit that nobody invited": (_nobody_invited, "nobody invited a unit unit-99"),
    "a name that is taken": (_name_taken, "there is a unit unit-1 with other keys"),
    "a name that the trust store has": (_name_in_trust_store, "there is a unit unit-1 with other keys"),
    "a name that has a certificate": (_name_at_authority, "there is a unit unit-1 with other keys"),
    "takes the place of nobody": (_replaces_nobody, "there is no unit unit-1 yet"),
    "control room nobody trusts": (_room_not_in_store, "not in the trust store"),
    "signed by another role": (_room_with_another_role, "may not be signed by a operator key"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_control_room_refuses(name: str, scene: Scene) -> None:
    go, message = ATTACKS[name]
    attack = Attack(scene)
    with pytest.raises(DocumentError, match=message) as caught:
        go(attack)
    assert caught.value.next_step
    approvals = [event for event in events(scene) if event is Event.APPROVED]
    assert len(approvals) == (1 if name in _APPROVED_ONCE else 0)


_APPROVED_ONCE = {"the same request twice", "another request with a used token", "a name that is taken"}


def test_a_code_that_differed_stands_in_the_register_and_spends_nothing(scene: Scene) -> None:
    attack = Attack(scene)
    with pytest.raises(DocumentError, match="its code is another"):
        _exchanged(attack)
    assert events(scene) == [Event.INVITED, Event.CODE_DIFFERED]
    scene.approve(attack.honest.document, attack.honest.code)


def test_a_strangers_request_cannot_be_refused_so_it_spends_nobodys_token(scene: Scene) -> None:
    attack = Attack(scene)
    with open_register(scene.register) as book, pytest.raises(DocumentError, match="does not know the token"):
        refuse(book, scene.room(), attack.forged(attack.stranger()), Because.MISTAKE, scene.ca / "ca.crt")
    scene.approve(attack.honest.document, attack.honest.code)


def test_looking_at_a_request_changes_nothing(scene: Scene) -> None:
    attack = Attack(scene)
    before = (scene.register / FILE).read_bytes()
    with open_register(scene.register) as book:
        checked, _ = examine(book, scene.room(), attack.honest.document, scene.ca / "ca.crt")
    assert checked.asked == attack.honest.asked
    assert (scene.register / FILE).read_bytes() == before


def test_the_register_shows_when_it_was_altered_and_forgets_half_a_line(scene: Scene) -> None:
    enrolled(scene)
    file = scene.register / FILE
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"sequence":4')
    assert len(events(scene)) == 3
    assert file.read_bytes() == whole
    lines = whole.splitlines(keepends=True)
    for altered in (lines[1:], [lines[0], lines[2]], [lines[0].replace(b"unit-1", b"unit-2"), *lines[1:]]):
        file.write_bytes(b"".join(altered))
        with pytest.raises(AuditError):
            events(scene)


# --- attacks on the unit ------------------------------------------------------------------------------------


class Answered:
    """A unit that has asked, the files that answer it, and how to change them."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.place = scene, scene.place()
        self.pending = scene.begin(scene.card())
        self.made = scene.approve(self.pending.document, self.pending.code)
        self.files = read_files(self.made.folder)
        self.now = scene.now

    def approval(self, signer: Role = Role.CONTROL_ROOM, **changes: Any) -> bytes:
        """The approval with something changed, signed again by the right or a wrong role."""
        with_fields = self.said() | changes
        payload = ENROLMENT.model.model_validate_json(json.dumps(with_fields)).model_dump_json().encode()
        return raw_document(ENROLMENT, payload, self.scene.desk[signer])

    def said(self) -> dict[str, Any]:
        payload = json.loads(self.files.approval)["payload"]
        said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return said


def _of_another_unit(a: Answered) -> ApprovalFiles:
    other = a.scene.begin(a.scene.card(OTHER_UNIT))
    return read_files(a.scene.approve(other.document, other.code).folder)


def _of_an_earlier_request(a: Answered) -> ApprovalFiles:
    a.scene.begin(a.scene.card(), again=True)
    return a.files


def _by_role(role: Role) -> Callable[[Answered], ApprovalFiles]:
    return lambda a: replace(a.files, approval=a.approval(signer=role))


def _by_another_root(a: Answered) -> ApprovalFiles:
    theirs = Desk(seed=9)
    said = ENROLMENT.model.model_validate_json(json.dumps(a.said()))
    return replace(
        a.files,
        trust_store=theirs.trust_document(),
        approval=sign(ENROLMENT, said, theirs[Role.CONTROL_ROOM]),
    )


def _another_store(a: Answered) -> ApprovalFiles:
    return replace(a.files, trust_store=a.scene.desk.trust_document(sequence=2))


def _another_authority(a: Answered) -> ApprovalFiles:
    """The control room itself, or a thief of its key, names another authority than the code covered."""
    theirs = a.scene.path / "theirs"
    theirs.mkdir()
    make_authority(theirs, "test-authority", now=NOW.wall)
    request_ = open_request(a.pending.document).tls_request.encode()
    made = issue_for_request(theirs, UNIT, request_, days=9, now=NOW.wall, passphrase=None)
    named: dict[str, Any] = {
        "authority_sha256": digest(load_certificate(theirs / "ca.crt")),
        "certificate_sha256": digest(load_certificate(made)),
    }
    return ApprovalFiles(
        a.approval(**named), a.files.trust_store, made.read_bytes(), (theirs / "ca.crt").read_bytes()
    )


def _certificate_of_another_key(a: Answered) -> ApprovalFiles:
    other = a.scene.begin(a.scene.card(OTHER_UNIT))
    theirs = a.scene.approve(other.document, other.code).folder / "unit.crt"
    approval = a.approval(certificate_sha256=digest(load_certificate(theirs)))
    return replace(a.files, approval=approval, certificate=theirs.read_bytes())


def _certified(a: Answered, folder: Path, name: str, passphrase: bytes | None) -> ApprovalFiles:
    """A certificate that names this unit's own key, in an approval that a stolen control room key signed."""
    csr = open_request(a.pending.document).tls_request.encode()
    made = issue_for_request(folder, name, csr, days=9, now=NOW.wall, passphrase=passphrase)
    approval = a.approval(certificate_sha256=digest(load_certificate(made)))
    return replace(a.files, approval=approval, certificate=made.read_bytes())


def _certified_by_another(a: Answered) -> ApprovalFiles:
    theirs = a.scene.path / "theirs"
    theirs.mkdir()
    make_authority(theirs, "test-authority", now=NOW.wall)
    return _certified(a, theirs, UNIT, None)


def _certified_as_another(a: Answered) -> ApprovalFiles:
    return _certified(a, a.scene.ca, OTHER_UNIT, PASSPHRASE)


def _not_the_certificate(a: Answered) -> ApprovalFiles:
    return replace(a.files, certificate=a.files.authority)


def _no_certificate(a: Answered) -> ApprovalFiles:
    return replace(a.files, certificate=b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")


def _clock_wrong(a: Answered) -> ApprovalFiles:
    a.now = a.scene.later(days=-3000)
    return a.files


def _certificate_over(a: Answered) -> ApprovalFiles:
    a.now = a.scene.later(days=365, hours=1)
    return a.files


def _own_key_revoked(a: Answered) -> ApprovalFiles:
    keys = [key for key in a.scene.desk.keys if key.role is not Role.UNIT]
    own = json.loads(a.made.key.read_text()) | {"revoked": True}
    line = type(keys[0]).model_validate_json(json.dumps(own))
    store = a.scene.desk.trust_document(keys=(*keys, line))
    return replace(
        a.files,
        trust_store=store,
        approval=a.approval(trust_store_sha256=hashlib.sha256(store).hexdigest()),
    )


def _older_than_installed(a: Answered) -> ApprovalFiles:
    a.place.folder.mkdir(exist_ok=True)
    (a.place.folder / "trust.json").write_bytes(a.scene.desk.trust_document(sequence=2))
    return a.files


def _older_store(a: Answered) -> ApprovalFiles:
    a.place.data.mkdir(parents=True)
    HighWater(a.place.data / "seen.json").accept(Numbered("trust store", 7, "ab" * 32))
    return a.files


def _keys_exchanged(a: Answered) -> ApprovalFiles:
    a.scene.begin(a.scene.card(OTHER_UNIT))
    theirs = a.scene.place(OTHER_UNIT).staging / UNIT_KEY
    (a.place.staging / UNIT_KEY).write_bytes(theirs.read_bytes())
    return a.files


def _keys_gone(a: Answered) -> ApprovalFiles:
    (a.place.staging / UNIT_KEY).unlink()
    return a.files


def _request_exchanged(a: Answered) -> ApprovalFiles:
    a.place.request.write_bytes(request(a.scene.desk))
    return a.files


def _other_configuration(a: Answered) -> ApprovalFiles:
    other = a.scene.begin(a.scene.card(OTHER_UNIT))
    made = a.scene.approve(other.document, other.code)
    finish(a.scene.place(OTHER_UNIT), read_files(made.folder), a.scene.now)
    a.place.config.write_bytes(a.scene.place(OTHER_UNIT).config.read_bytes())
    return a.files


ANSWERS: dict[str, tuple[Callable[[Answered], ApprovalFiles], str]] = {
    "two units' answers swapped": (_of_another_unit, "is for unit unit-2; this is unit-1"),
    "answer to an earlier request": (_of_an_earlier_request, "answers another request"),
    "signed by an operator": (_by_role(Role.OPERATOR), "may not be signed by a operator key"),
    "signed by the root": (_by_role(Role.ROOT), "not in the trust store"),
    "another root's trust store": (_by_another_root, "not signed by the root key"),
    "another trust store of the root": (_another_store, "trust.json: is not the file that was approved"),
    "another authority": (_another_authority, "not the authority that this unit was told"),
    "another unit's certificate": (_certificate_of_another_key, "is for another key"),
    "certified by another authority": (_certified_by_another, "was not issued by that authority"),
    "certified under another name": (_certified_as_another, "unit.crt: is for another unit"),
    "not the certificate": (_not_the_certificate, "unit.crt: is not the file that was approved"),
    "no certificate": (_no_certificate, "unit.crt: is not a certificate"),
    "a clock of another year": (_clock_wrong, "which is not valid now"),
    "a certificate that is over": (_certificate_over, "not valid now"),
    "own key revoked": (_own_key_revoked, "this unit's key as revoked"),
    "an older trust store": (_older_store, "has sequence 1; 7 was seen before"),
    "an older trust store than is installed": (_older_than_installed, "has sequence 1; 2 is installed"),
    "keys exchanged": (_keys_exchanged, "are not the keys of this request"),
    "keys gone": (_keys_gone, "unit.key: cannot be read"),
    "request exchanged": (_request_exchanged, "is not the request of this enrolment"),
    "another configuration there": (_other_configuration, "unit.name: is not what this enrolment installs"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_unit_refuses(name: str, scene: Scene) -> None:
    change, message = ANSWERS[name]
    answered = Answered(scene)
    files = change(answered)
    with pytest.raises(EdgeAgentError, match=message) as caught:
        finish(answered.place, files, answered.now)
    assert caught.value.next_step
    assert not (answered.place.folder / "tls").exists()
    state = read_state(answered.place.staging)
    assert state is not None
    assert state.stage is Stage.REQUESTED


def test_the_genuine_answer_is_taken_and_taking_it_again_changes_nothing(scene: Scene) -> None:
    answered = Answered(scene)
    assert finish(answered.place, answered.files, answered.now)
    assert finish(answered.place, answered.files, answered.now) == []


def test_an_enrolled_unit_believes_no_other_root(scene: Scene) -> None:
    answered = Answered(scene)
    root = waiting(answered.place, read_state(answered.place.staging) or pytest.fail("no state")).asked.root
    refuse_another_root(answered.place.config, "A" * 43)  # not enrolled yet: nothing is pinned
    assert finish(answered.place, answered.files, answered.now)
    refuse_another_root(answered.place.config, root)
    with pytest.raises(ConfigError, match="not the root with which this unit was enrolled"):
        refuse_another_root(answered.place.config, "A" * 43)
    answered.place.request.unlink()
    with pytest.raises(EdgeAgentError):
        refuse_another_root(answered.place.config, root)


def test_a_unit_that_asked_for_nothing_takes_nothing(scene: Scene) -> None:
    answered = Answered(scene)
    empty = Place(scene.path / "empty", scene.path / "data", scene.path / "drop-ins", None)
    with pytest.raises(KeyFileError, match="asked for nothing"):
        finish(empty, answered.files, answered.now)


# --- the daemon ---------------------------------------------------------------------------------------------


def test_the_daemon_says_how_to_go_on_at_every_stage(scene: Scene) -> None:
    place = scene.place()
    with pytest.raises(ConfigError, match="edgeagent enrol status"):
        refuse_before_enrolment(place.config)
    answered = Answered(scene)
    with pytest.raises(ConfigError, match="edgeagent enrol status"):
        refuse_before_enrolment(place.config)
    finish(place, answered.files, answered.now)
    refuse_before_enrolment(place.config)
    config = load_config(place.config)
    (place.folder / "trust.json").unlink()
    with pytest.raises(KeyFileError, match=r"is not enrolled.*edgeagent enrol status"):
        refuse_without_keys(config)
