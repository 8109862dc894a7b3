"""Every way of tampering with every field of every document, and how each is refused: `make tampering`.

A field that is altered and signed again *by the role that may sign it* is no tampering but a new document,
for which its signer answers; whether it may be used is for the rules. So where the right role signs again
here, the document is malformed, dated wrongly, untrue, or used a second time. An envelope's `id`, `source`
and `time` are not tried: nothing is believed of them.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from joserfc.jwk import OKPKey
from pydantic import ValidationError

from edgeagent.agent.leases import LeaseDesk
from edgeagent.alerts.envelope import wrap
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.controlroom.receiver import Receiver
from edgeagent.documents.deployment_key import DEPLOYMENT_KEY, verify_key
from edgeagent.documents.explain import KINDS
from edgeagent.documents.jws import strict_json
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.table import ALERT, LEASE, STATE, WATCHLIST, DocumentType, sign, verify
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TYP, TrustStoreContent, open_trust_store
from edgeagent.documents.watchlist_file import MAGIC, verify_watchlist
from edgeagent.errors import EdgeAgentError, SafeguardError
from edgeagent.safeguards.authority import authority_allows
from edgeagent.safeguards.gate import LeaseAccepted
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.lease import Challenge
from edgeagent.safeguards.watchlist import body_matches, watchlist_allows
from tests.desk import (
    NOW,
    OTHER_UNIT,
    START,
    UNIT,
    Desk,
    as_dict,
    at,
    b64,
    entry,
    grant,
    identity,
    manifest,
    one_time,
    raw_document,
    raw_signature,
)
from tests.desk import lease as lease_body
from tests.document_samples import SAMPLES

Path_ = tuple[str | int, ...]
Body = dict[str, Any]
DESK = Desk()
TRUST_STORE: DocumentType[Any] = DocumentType(TYP, TrustStoreContent, TRUST_STORE_LIMIT)


@dataclass(frozen=True)
class Tampering:
    """One attempt: `call` returns if the tampered document is accepted."""

    kind: str
    field: str
    how: str
    call: Callable[[], object]


@dataclass(frozen=True)
class Result:
    """How an attempt ended; `refusal` is empty if it was accepted."""

    attempt: Tampering
    refusal: str
    rule: str = ""
    message: str = ""


@dataclass(frozen=True)
class Subject:
    """A kind of document, a genuine body, and another genuine one that differs in every field that it can."""

    kind: DocumentType[Any]
    body: Body
    signer: Identity
    allowed: frozenset[Role]

    @property
    def twin(self) -> Body:
        """Another genuine body."""
        said = self.body
        for path in paths(self.body):
            if path == ("root_x",):  # pinned: another one is never genuine
                continue
            candidate = put(said, path, changed(get(said, path)))
            try:
                self.kind.model.model_validate_json(json.dumps(candidate))
            except ValidationError:
                continue
            said = candidate
        return said

    def signed(self, said: Body | bytes, *signers: Identity, header: Body | None = None) -> bytes:
        """Genuinely signed, whatever it says."""
        payload = said if isinstance(said, bytes) else encoded(said)
        return raw_document(self.kind, payload, *(signers or (self.signer,)), header=header)

    def check(self, document: bytes, now: Instant = NOW) -> object:
        """What a receiver does first."""
        if self.kind is TRUST_STORE:
            return open_trust_store(document, DESK[Role.ROOT].kid)
        return verify(self.kind, document, DESK.trust, now)

    def attempt(self, field: str, how: str, document: bytes, now: Instant = NOW) -> Tampering:
        """The document is shown to the receiver."""
        return Tampering(self.kind.typ, field, how, lambda: self.check(document, now))


def subjects() -> list[Subject]:
    """Every kind."""
    made = [Subject(s.kind, as_dict(s.body), DESK[s.first], s.alone | s.may) for s in SAMPLES.values()]
    store = as_dict(DESK.trust_content(keys=DESK.keys[:2]))
    made.append(Subject(TRUST_STORE, store, DESK[Role.ROOT], frozenset({Role.ROOT})))
    if DEPLOYMENT_KEY.typ not in SAMPLES:
        key = as_dict(one_time().public)
        made.append(Subject(DEPLOYMENT_KEY, key, DESK.unit, frozenset({Role.UNIT})))
    assert {subject.kind.typ for subject in made} == {*KINDS, TYP}
    return made


# --- fields -------------------------------------------------------------------------------------------------


def encoded(said: Any) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode()


def paths(value: Any, here: Path_ = ()) -> Iterator[Path_]:
    """Every field, those inside others too; of a list, itself and its first item."""
    inner: list[tuple[str | int, Any]] = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        inner = [(0, value[0])] if value and isinstance(value[0], dict) else []
    for key, item in inner:
        if not isinstance(key, int):
            yield (*here, key)
        yield from paths(item, (*here, key))


def get(said: Any, path: Path_) -> Any:
    for key in path:
        said = said[key]
    return said


def put(said: Body, path: Path_, value: Any) -> Body:
    """A copy in which one field is another."""
    made = copy.deepcopy(said)
    get(made, path[:-1])[path[-1]] = value
    return made


def dropped(said: Body, path: Path_) -> Body:
    """A copy without one field."""
    made = copy.deepcopy(said)
    del get(made, path[:-1])[path[-1]]
    return made


def doubled(said: Body, path: Path_) -> bytes:
    """JSON in which one field comes twice, first altered and then as it was."""
    mark = "\0field"
    name, value = path[-1], get(said, path)
    made = dropped(said, path)
    get(made, path[:-1])[mark] = 0
    twice = f"{json.dumps(name)}: {json.dumps(changed(value))}, {json.dumps(name)}: {json.dumps(value)}"
    return json.dumps(made).replace(f"{json.dumps(mark)}: 0", twice).encode()


_OTHERS = {
    "live": "bench",
    "bench": "live",
    "hotspot": "event",
    "wanted_on_warrant": "victim",
    "STANDBY": "LIVE",
    "closed": "open",
    "authorising_officer": "control_room",
    "independent_approver": "bench",
}


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else round(value * 0.9 + 0.01, 6)
    if isinstance(value, list):
        return value[:-1] if len(value) > 1 else [changed(value[0])] if value else ["added"]
    if isinstance(value, dict):
        return {key: changed(item) for key, item in value.items()}
    return _other_text(value) if isinstance(value, str) else 1.0


def _other_text(value: str) -> str:
    if value in _OTHERS:
        return _OTHERS[value]
    try:
        return (datetime.fromisoformat(value) + timedelta(minutes=7)).isoformat()
    except ValueError:
        return ("b" if value[:1] == "a" else "a") + value[1:]


def field_tamperings(subject: Subject) -> Iterator[Tampering]:
    """Each field altered, dropped, doubled and swapped in under the old signature, and re-signed wrongly."""
    genuine, twin = subject.signed(subject.body), subject.twin
    for path in paths(subject.body):
        field = ".".join(str(key) for key in path)
        altered = put(subject.body, path, changed(get(subject.body, path)))
        forged = {
            "altered": encoded(altered),
            "dropped": encoded(dropped(subject.body, path)),
            "duplicated": doubled(subject.body, path),
        }
        if get(twin, path) != get(subject.body, path):
            forged["swapped in from another"] = encoded(put(subject.body, path, get(twin, path)))
        for how, payload in forged.items():
            yield subject.attempt(field, how, with_payload(genuine, payload))
        # Of a map with free keys a shorter one is well-formed: `_list_bodies` tries that it is untrue.
        optional = path[:-1] == ("counts",)
        for how in ("duplicated",) if optional else ("dropped", "duplicated"):
            yield subject.attempt(field, f"{how}, re-signed by the right role", subject.signed(forged[how]))
        for how, who in wrong_signers(subject):
            yield subject.attempt(field, f"altered, re-signed by {how}", subject.signed(altered, who))


def wrong_signers(subject: Subject) -> Iterator[tuple[str, Identity]]:
    """Everybody who may not sign this, and a stranger who claims the right role."""
    for role in Role:
        if role not in subject.allowed:
            yield f"{role} key", DESK[role]
    yield "a stranger's key", identity(subject.signer.role, subject.signer.name, seed=99)
    imposter = identity(subject.signer.role, subject.signer.name, seed=99)
    # The stranger's signature under the right person's kid.
    yield (
        "a stranger under the right kid",
        replace(imposter, signing=cast(OKPKey, _Claiming(imposter, subject.signer))),
    )


class _Claiming:
    """A stranger's key that gives out another's thumbprint."""

    def __init__(self, stranger: Identity, claimed: Identity) -> None:
        self.private_key = stranger.signing.private_key
        self._kid = claimed.kid

    def thumbprint(self) -> str:
        return self._kid


def with_payload(document: bytes, payload: bytes) -> bytes:
    """The document's signatures over another payload."""
    return with_parts(document, payload=b64(payload))


def with_parts(document: bytes, **parts: str) -> bytes:
    """A JWS with its first signature's parts exchanged: `protected`, `payload`, `signature`."""
    if document.lstrip()[:1] != b"{":
        names = ("protected", "payload", "signature")
        old = dict(zip(names, document.decode().split("."), strict=True))
        return ".".join((old | parts)[name] for name in names).encode()
    whole = strict_json(document)
    whole["payload"] = parts.get("payload", whole["payload"])
    whole["signatures"][0] |= {name: parts[name] for name in ("protected", "signature") if name in parts}
    return json.dumps(whole).encode()


# --- parts of the signature ---------------------------------------------------------------------------------

HEADERS: dict[str, Body] = {
    "alg none": {"alg": "none"},
    "alg HS256": {"alg": "HS256"},
    "alg EdDSA": {"alg": "EdDSA"},
    "kid of nobody": {"kid": "A" * 43},
    "kid not text": {"kid": 1},
    "own key in jwk": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}},
    "critical extension": {"crit": ["b64"], "b64": False},
}


def part_tamperings(subject: Subject) -> Iterator[Tampering]:
    """Header, payload and signature altered, dropped, doubled, swapped; another typ."""
    genuine, other = subject.signed(subject.body), subject.signed(subject.twin)
    usual = {"alg": "Ed25519", "typ": subject.kind.typ, "kid": subject.signer.kid}
    for how, change in HEADERS.items():
        head = b64(encoded(usual | change))
        yield subject.attempt("(header)", f"{how}, old signature", with_parts(genuine, protected=head))
        yield subject.attempt("(header)", f"{how}, re-signed", subject.signed(subject.body, header=change))
    for name in usual:
        head_without = encoded({key: value for key, value in usual.items() if key != name})
        twice = encoded(usual)[:-1] + f', "{name}": {json.dumps(usual[name])}}}'.encode()
        for how, head_bytes in (
            (f"{name} dropped, re-signed", head_without),
            (f"{name} doubled, re-signed", twice),
        ):
            signature = raw_signature(head_bytes, encoded(subject.body), subject.signer.signing)
            document = with_parts(genuine, protected=b64(head_bytes), signature=signature)
            yield subject.attempt("(header)", how, document)
    theirs = _parts(other)
    for part in ("payload", "signature"):
        old = _parts(genuine)[part]
        flipped = ("B" if old[0] == "A" else "A") + old[1:]
        for how, text in (
            ("altered", flipped),
            ("dropped", ""),
            ("swapped in", theirs[part]),
            ("cut", old[:-4]),
        ):
            yield subject.attempt(f"({part})", how, with_parts(genuine, **{part: text}))
    yield from _more_signatures(subject, genuine)
    for other_typ in sorted({*KINDS, TYP} - {subject.kind.typ}):
        other_head = encoded(usual | {"typ": other_typ})
        yield subject.attempt(
            "typ", f"changed to {other_typ}", with_parts(genuine, protected=b64(other_head))
        )
        resigned = subject.signed(subject.body, header={"typ": other_typ})
        yield subject.attempt("typ", f"re-signed as {other_typ}", resigned)
        if other_typ in KINDS:
            kind = KINDS[other_typ]
            yield Tampering(
                subject.kind.typ,
                "typ",
                f"shown as {other_typ}",
                partial(verify, kind, genuine, DESK.trust, NOW),
            )


def _parts(document: bytes) -> dict[str, str]:
    if document.lstrip()[:1] != b"{":
        return dict(zip(("protected", "payload", "signature"), document.decode().split("."), strict=True))
    whole = strict_json(document)
    return {"payload": whole["payload"], **whole["signatures"][0]}


def _more_signatures(subject: Subject, genuine: bytes) -> Iterator[Tampering]:
    if subject.kind.compact:
        yield subject.attempt("(signature)", "a fourth part", genuine + b".AA")
        return
    whole = strict_json(genuine)
    doubled_ = whole | {"signatures": whole["signatures"] * 2}
    yield subject.attempt("(signature)", "doubled", encoded(doubled_))
    yield subject.attempt("(signature)", "all removed", encoded(whole | {"signatures": []}))
    entry_ = whole["signatures"][0] | {"header": {"kid": subject.signer.kid}}
    yield subject.attempt("(signature)", "unprotected header", encoded(whole | {"signatures": [entry_]}))
    for how, who in wrong_signers(subject):
        both = subject.signed(subject.body, subject.signer, who)
        yield subject.attempt("(signature)", f"another beside it by {how}", both)


# --- time ---------------------------------------------------------------------------------------------------


def time_tamperings(subject: Subject) -> Iterator[Tampering]:
    """Signed with a key before or after the time in which it counts; a revocation counts at any time."""
    if subject.kind.timeless or subject.kind is TRUST_STORE:
        return
    genuine = subject.signed(subject.body)
    for how, days in (
        ("pre-dated: signer's key not valid yet", -400),
        ("post-dated: signer's key over", 800),
    ):
        yield subject.attempt("(time)", how, genuine, at(days * 86_400))


def dated_tamperings() -> Iterator[Tampering]:
    """Dates that the right role signed and that no unit takes."""
    hour, day = timedelta(hours=1), timedelta(days=1)
    authority: dict[tuple[str, str], Body] = {
        ("issued_at", "post-dated"): {"issued_at": NOW.wall + hour},
        ("issued_at", "signed after its start"): {"issued_at": START + timedelta(minutes=5)},
        ("end", "pre-dated: over"): {"start": START - day, "end": START - hour, "issued_at": START - 2 * day},
        ("end", "too long"): {"end": START + 2 * day},
        ("end", "before its start"): {"end": START - hour},
    }
    for (field, how), changes in authority.items():
        body = DESK.authority(**changes)
        yield Tampering(
            "edgeagent-authority",
            field,
            f"{how}, signed by the right role",
            partial(authority_allows, body, DESK.profile, unit=UNIT, now=NOW),
        )
    lists: dict[tuple[str, str], Body] = {
        ("created_at", "post-dated"): {"created_at": NOW.wall + hour},
        ("created_at", "pre-dated: too old"): {"created_at": START - 2 * day},
        ("not_before", "post-dated"): {"not_before": NOW.wall + hour},
        ("not_after", "pre-dated: over"): {"not_after": NOW.wall},
        ("not_after", "too long"): {"not_after": START + 2 * day},
    }
    for (field, how), changes in lists.items():
        said = manifest(**changes)
        yield Tampering(
            WATCHLIST.typ,
            field,
            f"{how}, signed by the right role",
            partial(watchlist_allows, said, DESK.authority(), DESK.profile, approved=True, now=NOW),
        )


# --- replay -------------------------------------------------------------------------------------------------


def replay_tamperings(folder: Path) -> Iterator[Tampering]:
    """A genuine document once more, or where it does not belong."""
    for number, (typ, name) in enumerate(
        (("edgeagent-authority", "authority d"), (WATCHLIST.typ, "watchlist d"), (TYP, "trust store"))
    ):
        seen = HighWater(folder / f"seen-{number}.json")
        seen.accept(Numbered(name, 5, "ab" * 32))
        for how, one in (
            ("replayed: an older number", Numbered(name, 4, "cd" * 32)),
            ("same number, other content", Numbered(name, 5, "cd" * 32)),
        ):
            yield Tampering(typ, "sequence", how, partial(seen.check, one))
    yield from _lease_replays()
    yield from _message_replays(folder)
    yield from _list_bodies()


def _lease_replays() -> Iterator[Tampering]:
    challenge = Challenge("C" * 22, NOW.monotonic_ns)

    def take(desk: LeaseDesk, now: Instant = NOW, **changes: Any) -> None:
        events = desk.take(lease_body(challenge="C" * 22, **changes), grant(), now)
        if not any(isinstance(event, LeaseAccepted) for event in events):
            raise SafeguardError("contradicts the unit's clock", where="lease", next_step="", rule="R16")

    def fresh(*open_: Challenge) -> LeaseDesk:
        return LeaseDesk(UNIT, open_ or (challenge,))

    def twice() -> None:
        desk = fresh()
        take(desk)
        take(desk)

    def older() -> None:
        desk = fresh()
        desk.last_sequence = 7
        take(desk)

    tries: dict[tuple[str, str], Callable[[], None]] = {
        ("challenge", "replayed in the same boot"): twice,
        ("challenge", "replayed in another boot"): lambda: take(LeaseDesk(UNIT)),
        ("challenge", "answers another challenge"): lambda: take(
            fresh(Challenge("D" * 22, NOW.monotonic_ns))
        ),
        ("challenge", "kept back until it lapsed"): lambda: take(fresh(), at(7)),
        ("sequence", "an older number"): older,
        ("issued_at", "post-dated"): lambda: take(fresh(), issued_at=NOW.wall + timedelta(hours=1)),
        ("issued_at", "pre-dated"): lambda: take(fresh(), issued_at=NOW.wall - timedelta(hours=1)),
        ("unit", "another unit's"): lambda: take(fresh(), unit=OTHER_UNIT),
        ("deployment", "another deployment's"): lambda: take(fresh(), deployment="another-one"),
        ("duration_s", "longer than granted"): lambda: take(fresh(), duration_s=60.0),
    }
    for (field, how), call in tries.items():
        yield Tampering(LEASE.typ, field, how, call)


def _message_replays(folder: Path) -> Iterator[Tampering]:
    room = DESK[Role.CONTROL_ROOM]
    message = DESK.alert().message

    def receive(topic: str, octets: bytes, now: Instant = NOW) -> None:
        with Receiver(folder / "received.sqlite", room, DESK.trust) as receiver:
            receiver.take(topic, octets, now)

    yield Tampering(
        ALERT.typ, "unit", "on another unit's topic", lambda: receive("lfr/v1/unit-2/alert", message)
    )
    yield Tampering(
        ALERT.typ,
        "kind",
        "a live one on a bench topic",
        lambda: receive("lfr-bench/v1/unit-1/alert", message),
    )
    yield Tampering(
        ALERT.typ,
        "expires_at",
        "replayed after it expired",
        lambda: receive("lfr/v1/unit-1/alert", message, at(120)),
    )
    foreign = DESK.alert(signer=replace(DESK.other_unit, name=UNIT)).message
    yield Tampering(
        ALERT.typ, "unit", "says unit-1, signed by unit-2", lambda: receive("lfr/v1/unit-1/alert", foreign)
    )
    elsewhere = DESK.alert(alert_key=DESK[Role.BENCH].seal_key).message
    yield Tampering(
        ALERT.typ, "crop", "sealed to another key", lambda: receive("lfr/v1/unit-1/alert", elsewhere)
    )
    state = DESK.state_message()
    yield Tampering(
        STATE.typ,
        "unit",
        "on another unit's topic",
        lambda: read_state("lfr/v1/unit-2/state", state, DESK.trust, NOW),
    )
    forged = DESK.state_message(signer=DESK.other_unit)
    yield Tampering(
        STATE.typ,
        "unit",
        "says unit-1, signed by unit-2",
        lambda: read_state("lfr/v1/unit-1/state", forged, DESK.trust, NOW),
    )
    token = SAMPLES[LEASE.typ].document(DESK)
    as_state = wrap("state", token, identifier="1", source=UNIT, time=NOW.wall)
    yield Tampering(
        STATE.typ,
        "(envelope)",
        "a lease in a state's envelope",
        lambda: read_state("lfr/v1/unit-1/state", as_state, DESK.trust, NOW),
    )
    as_lease = wrap("lease", token, identifier="1", source=UNIT, time=NOW.wall)
    yield Tampering(
        STATE.typ,
        "(envelope)",
        "type of another kind",
        lambda: read_state("lfr/v1/unit-1/state", as_lease, DESK.trust, NOW),
    )
    key = one_time()
    for how, document, deployment in (
        ("for another deployment", sign(DEPLOYMENT_KEY, key.public, DESK.unit), "another-one"),
        ("signed by another unit", sign(DEPLOYMENT_KEY, key.public, DESK.other_unit), key.deployment),
        (
            "made in the future",
            sign(DEPLOYMENT_KEY, replace(key, made_at=NOW.wall + timedelta(hours=1)).public, DESK.unit),
            key.deployment,
        ),
    ):
        yield Tampering(
            DEPLOYMENT_KEY.typ,
            "(rule)",
            how,
            partial(verify_key, document, deployment, DESK.trust, NOW),
        )


def _list_bodies() -> Iterator[Tampering]:
    file, other = DESK.watchlist(), DESK.watchlist([entry(90), entry(91)])
    start = len(MAGIC) + 4
    head = start + int.from_bytes(file[len(MAGIC) : start], "big")
    other_head = start + int.from_bytes(other[len(MAGIC) : start], "big")
    files = {
        "altered": file[:-1] + bytes([file[-1] ^ 1]),
        "cut": file[:-1],
        "dropped": file[:head],
        "something after it": file + b"\0",
        "swapped in from another list": file[:head] + other[other_head:],
        "another length of the manifest": file[: start - 1] + bytes([file[start - 1] ^ 1]) + file[start:],
        "another magic": b"X" + file[1:],
    }
    for how, content in files.items():
        yield Tampering(WATCHLIST.typ, "(body)", how, partial(verify_watchlist, content, DESK.trust, NOW))
    rows = tuple(entry(number) for number in range(8))
    untrue: dict[str, Body] = {
        "counts": {"counts": {}},
        "entries": {"entries": 7},
        "under_18": {"under_18": 1},
    }
    for field, changes in untrue.items():
        said = manifest(rows, **changes)
        how = "not what is inside, signed by the right role"
        yield Tampering(WATCHLIST.typ, field, how, partial(body_matches, said, rows))


# --- all of it ----------------------------------------------------------------------------------------------


def tamperings(folder: Path) -> Iterator[Tampering]:
    """Every attempt; `folder` is for what the receivers remember."""
    for subject in subjects():
        yield from field_tamperings(subject)
        yield from part_tamperings(subject)
        yield from time_tamperings(subject)
    yield from _trust_store_roots()
    yield from dated_tamperings()
    yield from replay_tamperings(folder)


def _trust_store_roots() -> Iterator[Tampering]:
    """A whole store by somebody who made a root key of their own."""
    own = identity(Role.ROOT, "root", seed=99)
    x = str(own.signing.as_dict(private=False)["x"])
    store = next(subject for subject in subjects() if subject.kind is TRUST_STORE)
    yield store.attempt("root_x", "another root, signed by it", store.signed(store.body | {"root_x": x}, own))


def attempt(one: Tampering) -> Result:
    """Try one; only a named refusal counts as one, and anything else is an error of the program."""
    try:
        one.call()
    except EdgeAgentError as refusal:
        return Result(one, type(refusal).__name__, refusal.rule or "", refusal.what)
    return Result(one, "")


def line(result: Result) -> str:
    """One row of the table."""
    one = result.attempt
    kind = one.kind.removeprefix("edgeagent-")
    refusal = f"{result.refusal} {result.rule}".strip() or "ACCEPTED"
    return f"{kind:15} {one.field:34.34} {one.how:50.50} {refusal:19} {result.message[:70]}"


def main() -> int:
    """Print the table; 1 if anything was accepted."""
    with tempfile.TemporaryDirectory() as folder:
        results = [attempt(one) for one in tamperings(Path(folder))]
    accepted = [result for result in results if not result.refusal]
    print("\n".join(map(line, results)))
    print("\nA field altered and signed again by the right role is a new document, not a tampering.")
    print(f"{len(results)} tamperings, {len(results) - len(accepted)} refused, {len(accepted)} accepted")
    return 1 if accepted else 0


if __name__ == "__main__":
    sys.exit(main())
