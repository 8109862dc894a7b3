"""R27: an independent second signature can be required, and a revocation ends everything at once."""

from __future__ import annotations

import pytest

from edgeagent.agent.deployment import load_deployment
from edgeagent.documents.keys import Role
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import AUTHORITY, REVOCATION, sign, verify
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.gate import (
    Action,
    AuthorityAccepted,
    ClockConfirmed,
    Event,
    Gate,
    LeaseAccepted,
    Revoked,
    RuleBroken,
    State,
    Tick,
    Why,
    step,
)
from edgeagent.safeguards.lease import HeldLease
from tests.desk import NOW, START, Desk, Folder, at, grant, profile, revocation

BOTH = (Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER)
REVOKED = Revoked(Why("R27", "revoked: officers called away"))


@pytest.fixture
def strict(desk: Desk) -> Desk:
    """A force whose profile requires the independent signature."""
    return Desk(profile=profile(independent_approval=True))


def load(folder: Folder, desk: Desk) -> None:
    load_deployment(folder.unit(trust=desk.trust), HighWater(folder.path / "seen.json"), NOW)


def test_the_second_signature_is_required_where_the_profile_says_so(folder: Folder, strict: Desk) -> None:
    folder.put()
    with pytest.raises(SafeguardError, match="independent approver") as refusal:
        load(folder, strict)
    assert refusal.value.rule == "R27"
    folder.put(signers=BOTH)
    load(folder, strict)


def test_the_second_signature_is_taken_where_it_is_not_required(folder: Folder, desk: Desk) -> None:
    folder.put(signers=BOTH)
    load(folder, desk)


def test_one_person_under_two_spellings_does_not_approve_alone(folder: Folder, strict: Desk) -> None:
    officer = strict[Role.AUTHORISING_OFFICER].name
    folder.put(signers=BOTH)
    trust = strict.trust_changing(Role.INDEPENDENT_APPROVER, name=f" {officer.upper()}\u200b")
    with pytest.raises(SafeguardError, match="approved by the person who") as refusal:
        load_deployment(folder.unit(trust=trust), HighWater(folder.path / "seen.json"), NOW)
    assert refusal.value.rule == "R27"


def test_the_approver_alone_authorises_nothing(folder: Folder, desk: Desk) -> None:
    with pytest.raises(DocumentError, match="lacks the signature"):
        sign(AUTHORITY, desk.authority(), desk[Role.INDEPENDENT_APPROVER])


def test_an_approver_whose_key_was_revoked_does_not_count(folder: Folder, strict: Desk) -> None:
    folder.put(signers=BOTH)
    trust = strict.trust_changing(Role.INDEPENDENT_APPROVER, revoked=True)
    with pytest.raises(DocumentError, match="revoked key"):
        load_deployment(folder.unit(trust=trust), HighWater(folder.path / "seen.json"), NOW)


# --- revocation ---------------------------------------------------------------------------------------------


def _gates() -> dict[str, Gate]:
    locked = Gate.locked(NOW)
    standby, _ = step(locked, AuthorityAccepted(grant()), NOW)
    live, _ = step(standby, LeaseAccepted(HeldLease(1, at(6).monotonic_ns, 4)), NOW)
    broken, _ = step(live, RuleBroken(Why("R1", "the ledger does not balance")), NOW)
    return {"locked": locked, "standby": standby, "live": live, "broken": broken}


@pytest.mark.parametrize("name", ["locked", "standby", "live", "broken"])
def test_a_revocation_wipes_everything_at_once(name: str) -> None:
    gate, actions = step(_gates()[name], REVOKED, NOW)
    assert gate.state is State.CLOSED
    assert gate.why.rule == "R27"
    assert actions[:3] == (Action.CLOSE_CAMERA, Action.WIPE_BUFFERS, Action.DESTROY_KEYS)


def test_nothing_undoes_a_revocation() -> None:
    gate, _ = step(_gates()["live"], REVOKED, NOW)
    events: list[Event] = [
        AuthorityAccepted(grant()),
        ClockConfirmed(),
        LeaseAccepted(HeldLease(9, at(6).monotonic_ns, 4)),
        Revoked(Why("R6", "another reason")),
        Tick(),
    ]
    for event in events:
        gate, actions = step(gate, event, NOW)
        assert gate.state is State.CLOSED
        assert gate.why.text == "revoked: officers called away"
        assert actions == ()


@pytest.mark.parametrize("role", [role for role in Role if role not in (*BOTH, Role.CONTROL_ROOM)])
def test_a_revocation_needs_somebody_who_may(role: Role, desk: Desk) -> None:
    with pytest.raises(DocumentError, match="may not be signed"):
        sign(REVOCATION, revocation(), desk[role])


def test_a_revoked_officer_cannot_revoke(desk: Desk) -> None:
    document = sign(REVOCATION, revocation(), desk[Role.AUTHORISING_OFFICER])
    with pytest.raises(DocumentError, match="revoked key"):
        verify(REVOCATION, document, desk.trust_changing(Role.AUTHORISING_OFFICER, revoked=True), NOW)
    assert verify(REVOCATION, document, desk.trust, NOW).body.issued_at >= START


def test_nobody_approves_what_he_authorised(folder: Folder, desk: Desk) -> None:
    """Two keys of one person are one person."""
    folder.put(signers=BOTH)
    namesake = desk.trust_changing(Role.INDEPENDENT_APPROVER, name=desk[Role.AUTHORISING_OFFICER].name)
    with pytest.raises(SafeguardError, match="by the person who authorised it"):
        load_deployment(folder.unit(trust=namesake), HighWater(folder.path / "seen.json"), NOW)
