"""Every document: genuine ones are taken, and whatever is altered, swapped, mis-signed or cut is refused."""

from __future__ import annotations

import json
import re
import stat
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgeagent.documents.deployment_key import OneTimeKey
from edgeagent.documents.explain import KINDS as KINDS_OF_THE_PRODUCT
from edgeagent.documents.jws import MAX_SIGNATURES
from edgeagent.documents.keys import (
    KEY_FILE_LIMIT,
    Role,
    load_identity,
    new_identity,
    save_identity,
)
from edgeagent.documents.messages import Alert
from edgeagent.documents.seal import crop_info, seal, unseal, watchlist_info
from edgeagent.documents.table import AUTHORITY, HEALTH, LEASE, REVOCATION, STATE, sign, typ_of, verify
from edgeagent.documents.trust import TYP, TrustedKey, open_trust_store
from edgeagent.documents.watchlist_file import MAGIC, split, verify_watchlist
from edgeagent.errors import DocumentError, KeyFileError, SafeguardError
from edgeagent.safeguards.authority import SealKey
from edgeagent.safeguards.instant import Instant
from tests.desk import (
    NOW,
    START,
    Desk,
    as_dict,
    at,
    b64,
    entry,
    identity,
    manifest,
    one_time,
    raw_document,
    raw_signature,
    revocation,
    templates,
)
from tests.document_samples import SAMPLES, Sample

KINDS = pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))


def refused(sample: Sample, document: bytes, desk: Desk, now: Instant = NOW) -> DocumentError:
    """The refusal; it names the kind of document and a next step."""
    with pytest.raises(DocumentError) as refusal:
        verify(sample.kind, document, desk.trust, now)
    assert refusal.value.where
    assert refusal.value.next_step
    return refusal.value


# --- genuine ------------------------------------------------------------------------------------------------


@KINDS
def test_a_genuine_document_is_taken_and_says_who_signed(sample: Sample, desk: Desk) -> None:
    verified = verify(sample.kind, sample.document(desk), desk.trust, NOW)
    assert verified.body == sample.body
    assert [key.role for key in verified.signers] == [sample.first]
    assert verified.signed_by(sample.first)
    assert not verified.signed_by(Role.ROOT)


@KINDS
def test_the_products_own_signature_is_taken_and_is_repeatable(sample: Sample, desk: Desk) -> None:
    document = sign(sample.kind, sample.body, desk[sample.first])
    assert document == sign(sample.kind, sample.body, desk[sample.first])
    assert verify(sample.kind, document, desk.trust, NOW).body == sample.body


def test_no_two_kinds_share_a_type() -> None:
    assert set(SAMPLES) <= set(KINDS_OF_THE_PRODUCT)
    assert len(SAMPLES) >= len(KINDS_OF_THE_PRODUCT) - 1  # the one-time key's is in test_tampering
    assert TYP not in SAMPLES


# --- altered ------------------------------------------------------------------------------------------------


def _replace_character(document: bytes, position: int) -> bytes:
    other = b"B" if document[position : position + 1] != b"B" else b"C"
    return document[:position] + other + document[position + 1 :]


@KINDS
def test_each_altered_character_is_refused(sample: Sample, desk: Desk) -> None:
    """Of payload, header and signature; a file's JSON around them may be laid out anew."""
    document = sample.document(desk)
    spans = [m.span() for m in re.finditer(rb"[A-Za-z0-9_-]{20,}", document)]
    positions = [p for start, end in spans for p in range(start, end)]
    step = max(1, len(positions) // 200)
    tail = [end - 1 for _, end in spans]  # the last characters carry bits that a careless decoder ignores
    for position in {*positions[::step], *tail}:
        refused(sample, _replace_character(document, position), desk)


@KINDS
def test_ignored_bits_of_the_last_character_are_refused(sample: Sample, desk: Desk) -> None:
    """Unpadded base64url has several spellings of the same octets; only one may be taken."""
    document = sample.document(desk)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    end = [m.end() for m in re.finditer(rb"[A-Za-z0-9_-]{86}(?![A-Za-z0-9_-])", document)][-1] - 1
    last = alphabet.index(document[end])
    for bit in (1, 2, 4, 8):
        refused(sample, document[:end] + bytes([alphabet[last ^ bit]]) + document[end + 1 :], desk)


@KINDS
def test_every_truncation_is_refused(sample: Sample, desk: Desk) -> None:
    document = sample.document(desk)
    step = max(1, len(document) // 150)
    for length in {*range(0, len(document), step), *range(len(document) - 5, len(document))}:
        refused(sample, document[:length], desk)


@KINDS
def test_anything_after_the_end_is_refused(sample: Sample, desk: Desk) -> None:
    for extra in (b"A", b".", b"\0", b"{}", b"="):
        refused(sample, sample.document(desk) + extra, desk)


@KINDS
def test_a_document_over_the_limit_is_refused_before_it_is_parsed(sample: Sample, desk: Desk) -> None:
    assert "longer than" in refused(sample, b"[" * (sample.kind.limit + 1), desk).what
    padded = sample.document(desk) + b" " * sample.kind.limit
    assert "longer than" in refused(sample, padded, desk).what


@KINDS
def test_a_payload_swapped_between_documents_is_refused(sample: Sample, desk: Desk) -> None:
    payload = sample.body.model_dump_json().encode()
    genuine, twin = sample.document(desk), raw_document(sample.kind, payload + b" ", desk[sample.first])
    swapped = genuine.replace(b64(payload).encode(), b64(payload + b" ").encode())
    assert swapped not in (genuine, twin)
    refused(sample, swapped, desk)


@pytest.mark.parametrize("other", list(SAMPLES))
@KINDS
def test_one_kind_never_passes_for_another(sample: Sample, other: str, desk: Desk) -> None:
    if SAMPLES[other].kind is sample.kind:
        return
    refused(sample, SAMPLES[other].document(desk), desk)
    # Nor with the right keys and the right payload, if the type in the header is another's.
    payload = sample.body.model_dump_json().encode()
    refused(sample, raw_document(sample.kind, payload, desk[sample.first], header={"typ": other}), desk)


# --- headers ------------------------------------------------------------------------------------------------

HEADERS: dict[str, dict[str, Any]] = {
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "alg HS256": {"alg": "HS256"},
    "alg EdDSA (the older name)": {"alg": "EdDSA"},
    "alg Ed448": {"alg": "Ed448"},
    "alg ES256": {"alg": "ES256"},
    "alg null": {"alg": None},
    "alg list": {"alg": ["Ed25519"]},
    "typ of another case": {"typ": "EDGEAGENT-LEASE"},
    "typ JWT": {"typ": "JWT"},
    "typ with application/": {"typ": "application/edgeagent-lease"},
    "typ null": {"typ": None},
    "kid null": {"kid": None},
    "kid number": {"kid": 1},
    "kid empty": {"kid": ""},
    "kid list": {"kid": ["A" * 43]},
    "kid unknown": {"kid": "A" * 43},
    "kid surrogate": {"kid": "\ud800" * 43},
    "crit": {"crit": ["exp"], "exp": 1},
    "crit empty": {"crit": []},
    "b64 false": {"b64": False, "crit": ["b64"]},
    "jwk": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}},
    "jku": {"jku": "https://keys.test/"},
    "x5c": {"x5c": []},
    "cty": {"cty": "json"},
    "unknown": {"x": 1},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
@KINDS
def test_a_header_that_says_anything_else_is_refused(
    sample: Sample, header: dict[str, Any], desk: Desk
) -> None:
    payload = sample.body.model_dump_json().encode()
    refused(sample, raw_document(sample.kind, payload, desk[sample.first], header=header), desk)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"NaN",
        b"[" * 5000,
        b'{"alg":' * 5000,
        b"\xff\xfe{",
        b"9" * 5000,
        b'{"alg":"Ed25519","typ":"%s"}',
        b'{"alg":"Ed25519","alg":"Ed25519","typ":"%s","kid":"%k"}',
        b'{"alg":"none","al\\u0067":"Ed25519","typ":"%s","kid":"%k"}',
        b'{"alg":"Ed25519","typ":"%s","kid":"%k","kid":"%k"}',
    ],
)
@KINDS
def test_a_header_that_is_no_plain_object_is_refused(sample: Sample, header: bytes, desk: Desk) -> None:
    filled = header.replace(b"%s", sample.kind.typ.encode()).replace(b"%k", desk[sample.first].kid.encode())
    payload = sample.body.model_dump_json().encode()
    refused(sample, raw_document(sample.kind, payload, desk[sample.first], header=filled), desk)


def test_the_secret_of_hs256_is_not_the_public_key(desk: Desk) -> None:
    import hashlib
    import hmac

    officer = desk[Role.CONTROL_ROOM]
    public = str(officer.signing.as_dict(private=False)["x"])
    head = json.dumps({"alg": "HS256", "typ": LEASE.typ, "kid": officer.kid}).encode()
    signed = f"{b64(head)}.{b64(SAMPLES[LEASE.typ].body.model_dump_json().encode())}"
    for secret in (public.encode(), bytes.fromhex("00" * 32)):
        mac = b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())
        refused(SAMPLES[LEASE.typ], f"{signed}.{mac}".encode(), desk)


@pytest.mark.parametrize("signature", ["", "AA", "A" * 86, "A" * 85, "A" * 2000])
@KINDS
def test_no_signature_worth_the_name_is_refused(sample: Sample, signature: str, desk: Desk) -> None:
    genuine = re.findall(rb"[A-Za-z0-9_-]{86}(?![A-Za-z0-9_-])", sample.document(desk))[-1]
    refused(sample, sample.document(desk).replace(genuine, signature.encode()), desk)


# --- signatures and roles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
@KINDS
def test_a_key_signs_only_what_its_role_allows(sample: Sample, role: Role, desk: Desk) -> None:
    payload = sample.body.model_dump_json().encode()
    document = raw_document(sample.kind, payload, desk[role])
    if role in sample.alone:
        assert verify(sample.kind, document, desk.trust, NOW).body == sample.body
        return
    refused(sample, document, desk)
    with pytest.raises(DocumentError):
        sign(sample.kind, sample.body, desk[role])


FILES = pytest.mark.parametrize(
    "sample",
    [sample for sample in SAMPLES.values() if not sample.kind.compact],
    ids=[typ for typ, sample in SAMPLES.items() if not sample.kind.compact],
)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ROOT])
@FILES
def test_a_second_signature_counts_only_from_a_role_that_may(sample: Sample, role: Role, desk: Desk) -> None:
    second = identity(role, "somebody else", 0)
    trust = desk.trust_with(keys=(*desk.keys, desk.trusted(second)))
    payload = sample.body.model_dump_json().encode()
    for signers in ((desk[sample.first], second), (second, desk[sample.first])):
        document = raw_document(sample.kind, payload, *signers)
        if role in sample.may or role is sample.first:
            assert verify(sample.kind, document, trust, NOW).signed_by(role)
        else:
            with pytest.raises(DocumentError, match="may not be signed"):
                verify(sample.kind, document, trust, NOW)


@FILES
def test_two_signatures_with_one_key_are_refused(sample: Sample, desk: Desk) -> None:
    payload = sample.body.model_dump_json().encode()
    document = raw_document(sample.kind, payload, desk[sample.first], desk[sample.first])
    assert "twice with one key" in refused(sample, document, desk).what


@FILES
def test_one_bad_signature_spoils_the_document(sample: Sample, desk: Desk) -> None:
    whole = json.loads(sample.document(desk))
    stranger = identity(Role.INDEPENDENT_APPROVER, "stranger", 9)
    head = json.dumps({"alg": "Ed25519", "typ": sample.kind.typ, "kid": stranger.kid}).encode()
    payload = sample.body.model_dump_json().encode()
    bad = {"protected": b64(head), "signature": raw_signature(head, payload, stranger.signing)}
    for signatures in ([*whole["signatures"], bad], [bad, *whole["signatures"]], [bad]):
        refused(sample, json.dumps(whole | {"signatures": signatures}).encode(), desk)


@FILES
def test_the_file_around_the_signatures_is_closed(sample: Sample, desk: Desk) -> None:
    whole = json.loads(sample.document(desk))
    one = whole["signatures"][0]
    many = {"signatures": [one] * (MAX_SIGNATURES + 1)}
    cases: list[Any] = [
        [],
        "",
        None,
        1,
        {},
        [whole],
        whole | {"header": {}},
        whole | {"signatures": []},
        whole | {"signatures": {}},
        whole | {"signatures": [one | {"header": {"kid": "x"}}]},
        whole | {"signatures": [{"protected": one["protected"]}]},
        whole | {"signatures": [None]},
        whole | {"signatures": [[]]},
        whole | {"signatures": [one | {"protected": 1}]},
        whole | {"signatures": [one | {"signature": None}]},
        whole | {"signatures": [one | {"protected": "\ud800"}]},
        whole | {"signatures": [one | {"protected": "é" + one["protected"]}]},
        whole | {"payload": None},
        whole | {"payload": ""},
        whole | {"payload": "\ud800"},
        whole | {"payload": whole["payload"] + "="},
        {"payload": whole["payload"], **one},
        whole | many,
    ]
    for case in cases:
        refused(sample, json.dumps(case).encode(), desk)
    text = sample.document(desk)
    for twice in (b'{"payload":"AA",', b'{"signatures":[],', b'{"p\\u0061yload":"AA",'):
        refused(sample, twice + text[1:], desk)


@KINDS
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"revoked": True}, "revoked"),
        ({"not_after": NOW.wall}, "not valid now"),
        ({"not_before": NOW.wall + timedelta(seconds=1)}, "not valid now"),
    ],
)
def test_a_key_counts_only_while_it_is_good(
    sample: Sample, changes: dict[str, Any], what: str, desk: Desk
) -> None:
    trust = desk.trust_changing(sample.first, **changes)
    if sample.kind.timeless and "revoked" not in changes:
        # R27: what stops a deployment counts whatever the unit's clock says.
        assert sample.kind.typ == "edgeagent-revocation"
        verify(sample.kind, sample.document(desk), trust, NOW)
        return
    with pytest.raises(DocumentError, match=what):
        verify(sample.kind, sample.document(desk), trust, NOW)


@KINDS
def test_a_key_counts_from_its_first_instant_to_before_its_last(sample: Sample, desk: Desk) -> None:
    trust = desk.trust_changing(
        sample.first, not_before=NOW.wall, not_after=NOW.wall + timedelta(microseconds=1)
    )
    assert verify(sample.kind, sample.document(desk), trust, NOW).body == sample.body


@KINDS
def test_a_key_that_the_store_does_not_list_is_refused(sample: Sample, desk: Desk) -> None:
    stranger = Desk(seed=1)
    assert "not in the trust store" in refused(sample, sample.document(stranger), desk).what


# --- fields -------------------------------------------------------------------------------------------------

ODD: list[Any] = [None, {"x": 1}, [[]], True, -1, 1.5, 2**70, "", "\0", "x\n", "A" * 70_000]


@KINDS
def test_each_missing_field_is_refused_by_name(sample: Sample, desk: Desk) -> None:
    said = as_dict(sample.body)
    for name in said:
        left = {key: value for key, value in said.items() if key != name}
        document = raw_document(sample.kind, json.dumps(left).encode(), desk[sample.first])
        assert f"field {name}" in refused(sample, document, desk).what


@KINDS
def test_an_unknown_field_is_refused_and_its_name_not_repeated(sample: Sample, desk: Desk) -> None:
    """R25: refusals go into a log that has no room for what a sender likes to say."""
    said = as_dict(sample.body) | {"JOHN SMITH WAS HERE": 1}
    document = raw_document(sample.kind, json.dumps(said).encode(), desk[sample.first])
    refusal = refused(sample, document, desk)
    assert "field (unknown)" in refusal.what
    assert "JOHN" not in str(refusal)


@KINDS
def test_each_field_of_another_type_is_refused(sample: Sample, desk: Desk) -> None:
    """Each odd value is refused, or it is one that the field may hold: then it comes out as it went in."""
    said = as_dict(sample.body)
    for name in said:
        for odd in ODD:
            if sample.kind.limit < 100_000 and odd == ODD[-1]:
                continue
            document = raw_document(sample.kind, json.dumps(said | {name: odd}).encode(), desk[sample.first])
            try:
                taken = verify(sample.kind, document, desk.trust, NOW)
            except DocumentError:
                continue
            assert as_dict(taken.body)[name] == odd
            nullable = name in NULLABLE or (sample.kind is HEALTH and name not in HEALTH_ALWAYS_SAYS)
            assert odd is not None or said[name] is None or nullable


NULLABLE = {"kind", "deployment", "authority_sha256", "lapse_to_closed_ms", "rate", "officer_hours"}
"""Fields of a unit's state that are null while there is no deployment; hours that nobody returned."""
HEALTH_ALWAYS_SAYS = {
    *("unit", "kind", "boot", "sequence", "at", "running_s", "version", "model_pack_sha256"),
    *("clock_synchronised", "clock_trusted", "connections", "messages_dropped", "publications_forbidden"),
}
"""The rest of a unit's health is null where its machine does not say."""


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400, "1" + "0" * 5000])
@KINDS
def test_numbers_that_are_none_are_refused_in_every_field(sample: Sample, odd: str, desk: Desk) -> None:
    said = as_dict(sample.body)
    for name in said:
        text = json.dumps(said | {name: "@@"}).replace('"@@"', odd).encode()
        refused(sample, raw_document(sample.kind, text, desk[sample.first]), desk)


@pytest.mark.parametrize("odd", ['"\\ud800"', '"\\udfff\\ud800"', '"\xff"', '"\n"', '"\\x"'])
@KINDS
def test_text_that_is_none_is_refused_in_every_field(sample: Sample, odd: str, desk: Desk) -> None:
    said = as_dict(sample.body)
    for name in said:
        text = json.dumps(said | {name: "@@"}).replace('"@@"', odd).encode("latin-1")
        refused(sample, raw_document(sample.kind, text, desk[sample.first]), desk)


@KINDS
def test_a_field_that_comes_twice_is_refused(sample: Sample, desk: Desk) -> None:
    text = json.dumps(as_dict(sample.body))
    for name, value in as_dict(sample.body).items():
        twice = f'{{"{name}": {json.dumps(value)}, {text[1:]}'.encode()
        assert "twice" in refused(sample, raw_document(sample.kind, twice, desk[sample.first]), desk).what


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"[" * 3000, b'{"a":' * 600, b"\xff\xfe\0{", b"{}x"]
)
@KINDS
def test_a_payload_that_is_no_object_is_refused(sample: Sample, payload: bytes, desk: Desk) -> None:
    refused(sample, raw_document(sample.kind, payload, desk[sample.first]), desk)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@KINDS
def test_a_payload_in_another_encoding_is_refused(sample: Sample, encoding: str, desk: Desk) -> None:
    payload = sample.body.model_dump_json().encode(encoding)
    refused(sample, raw_document(sample.kind, payload, desk[sample.first]), desk)


@KINDS
def test_times_without_a_zone_are_refused(sample: Sample, desk: Desk) -> None:
    said = as_dict(sample.body)
    times = [name for name, value in said.items() if re.match(r"\d{4}-\d\d-\d\dT", str(value))]
    for name in times:
        naive = said | {name: "2031-05-06T12:00:00"}
        document = raw_document(sample.kind, json.dumps(naive).encode(), desk[sample.first])
        assert f"field {name}" in refused(sample, document, desk).what


def test_a_field_name_in_a_message_is_short_and_printable(desk: Desk) -> None:
    """Whoever sends an unknown field chooses its name; it must not write into a terminal or flood a log."""
    said = as_dict(SAMPLES[LEASE.typ].body) | {"\x1b[2J\n" + "x" * 1500: 1}
    document = raw_document(LEASE, json.dumps(said).encode(), desk[Role.CONTROL_ROOM])
    text = str(refused(SAMPLES[LEASE.typ], document, desk))
    assert text.isprintable()
    assert len(text) < 400


def test_a_message_never_quotes_a_value(desk: Desk) -> None:
    for name in as_dict(SAMPLES[LEASE.typ].body):
        said = as_dict(SAMPLES[LEASE.typ].body) | {name: {"sekret": "sekret"}}
        document = raw_document(LEASE, json.dumps(said).encode(), desk[Role.CONTROL_ROOM])
        refusal = refused(SAMPLES[LEASE.typ], document, desk)
        assert "sekret" not in "".join(traceback.format_exception(refusal))


# --- type, before anything is verified ----------------------------------------------------------------------


@FILES
def test_the_type_of_a_file_is_read(sample: Sample, desk: Desk) -> None:
    assert typ_of(sample.document(desk)) == sample.kind.typ


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"signatures":1}',
        b'{"signatures":[]}',
        b'{"signatures":{"0":1}}',
        b'{"signatures":[{"protected":1}]}',
        b'{"signatures":[{"protected":[]}]}',
        b'{"signatures":[{"protected":{}}]}',
        b'{"signatures":[{"protected":null}]}',
        b'{"signatures":[{"protected":"\\ud800"}]}',
        b'{"signatures":[{"protected":"A"}]}',
        b'{"signatures":[{"protected":"bnVsbA"}]}',
        b'{"signatures":[{"protected":"W10"}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_the_type_of_anything_else_is_refused(document: bytes) -> None:
    with pytest.raises(DocumentError):
        typ_of(document)


# --- the trust store ----------------------------------------------------------------------------------------


def test_a_trust_store_is_taken_from_the_pinned_root_only(desk: Desk) -> None:
    document = desk.trust_document()
    assert open_trust_store(document, desk[Role.ROOT].kid).profile == desk.profile
    for pinned in (Desk(seed=1)[Role.ROOT].kid, desk[Role.AUTHORISING_OFFICER].kid, "A" * 43, ""):
        with pytest.raises(DocumentError):
            open_trust_store(document, pinned)


def test_another_root_cannot_pass_for_the_pinned_one(desk: Desk) -> None:
    """It may name the pinned key in the content, in the header, or in both: the signature then is not its."""
    true, false = desk[Role.ROOT], Desk(seed=1)[Role.ROOT]
    for root_x in (true, false):
        content = desk.trust_content(root_x=str(root_x.signing.as_dict(private=False)["x"]))
        payload = content.model_dump_json().encode()
        for kid in (true.kid, false.kid):
            head = json.dumps({"alg": "Ed25519", "typ": TYP, "kid": kid}).encode()
            entry_ = {"protected": b64(head), "signature": raw_signature(head, payload, false.signing)}
            document = json.dumps({"payload": b64(payload), "signatures": [entry_]}).encode()
            with pytest.raises(DocumentError):
                open_trust_store(document, true.kid)


def test_each_altered_character_of_a_trust_store_is_refused(desk: Desk) -> None:
    document = desk.trust_document()
    positions = [p for m in re.finditer(rb"[A-Za-z0-9_-]{20,}", document) for p in range(*m.span())]
    for position in positions[:: len(positions) // 100]:
        with pytest.raises(DocumentError):
            open_trust_store(_replace_character(document, position), desk[Role.ROOT].kid)


def test_one_key_cannot_have_two_roles(desk: Desk) -> None:
    officer = desk.trusted(desk[Role.AUTHORISING_OFFICER])
    doubled = TrustedKey(**(dict(officer) | {"role": Role.INDEPENDENT_APPROVER, "name": "two hats"}))
    with pytest.raises(DocumentError, match="twice"):
        desk.trust_with(keys=(*desk.keys, doubled))
    root = desk.trusted(desk[Role.ROOT], role=Role.AUTHORISING_OFFICER)
    with pytest.raises(DocumentError, match="twice"):
        desk.trust_with(keys=(*desk.keys, root))


def test_one_key_cannot_be_spelt_in_two_ways(desk: Desk) -> None:
    """The last of 43 characters carries four bits; another spelling would be another thumbprint."""
    said = as_dict(desk.trust_content())
    x = said["keys"][0]["sign_x"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = x[:-1] + alphabet[alphabet.index(x[-1]) ^ 1]
    for place in ("keys", "root_x"):
        changed = json.loads(json.dumps(said))
        if place == "keys":
            changed["keys"][0]["sign_x"] = other
        else:
            changed["root_x"] = other
        head = json.dumps({"alg": "Ed25519", "typ": TYP, "kid": desk[Role.ROOT].kid}).encode()
        payload = json.dumps(changed).encode()
        signature = raw_signature(head, payload, desk[Role.ROOT].signing)
        signatures = [{"protected": b64(head), "signature": signature}]
        document = json.dumps({"payload": b64(payload), "signatures": signatures}).encode()
        with pytest.raises(DocumentError):
            open_trust_store(document, desk[Role.ROOT].kid)


def test_a_trust_store_of_a_large_force_is_taken(desk: Desk) -> None:
    """The signature library's own limit of 128 kB must not refuse what edgeagent's limit allows."""
    line = desk.trusted(desk.unit)
    keys = tuple(
        TrustedKey(**(dict(line) | {"name": f"unit-{n}", "sign_x": b64(n.to_bytes(32, "big"))}))
        for n in range(2, 802)
    )
    document = desk.trust_document(keys=keys)
    assert len(document) > 200_000
    assert len(open_trust_store(document, desk[Role.ROOT].kid).by_kid) == 800


def test_a_unit_is_found_by_name_unless_revoked(desk: Desk) -> None:
    assert desk.trust.unit("unit-1").kid == desk.unit.kid
    with pytest.raises(DocumentError, match="no unit"):
        desk.trust.unit("unit-9")
    with pytest.raises(DocumentError, match="no unit"):
        desk.trust.unit(str(Role.CONTROL_ROOM))
    with pytest.raises(DocumentError, match="no unit"):
        desk.trust_changing(Role.UNIT, revoked=True).unit("unit-1")


@pytest.mark.parametrize(
    ("limit", "beyond"),
    [
        ("watchlist_max_age_h", 24.1),
        ("urgent_max_h", 24.1),
        ("lease_max_s", 30.1),
        ("clock_step_s", 5.1),
        ("clock_skew_s", 5.1),
        ("retention_max_h", 744.1),
        ("threshold_min", 0.29),
        ("watchlist_max_entries", 20_001),
        ("alert_ttl_max_s", 601.0),
    ],
)
def test_no_signed_profile_goes_beyond_the_law(limit: str, beyond: float, desk: Desk) -> None:
    said = as_dict(desk.trust_content())
    said["profile"][limit] = beyond
    head = json.dumps({"alg": "Ed25519", "typ": TYP, "kid": desk[Role.ROOT].kid}).encode()
    payload = json.dumps(said).encode()
    signature = raw_signature(head, payload, desk[Role.ROOT].signing)
    signatures = [{"protected": b64(head), "signature": signature}]
    with pytest.raises(DocumentError, match=f"profile.{limit}"):
        open_trust_store(
            json.dumps({"payload": b64(payload), "signatures": signatures}).encode(), desk[Role.ROOT].kid
        )


# --- key files ----------------------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path, desk: Desk) -> Path:
    path = tmp_path / "unit.key"
    save_identity(desk.unit, path)
    return path


def _private_text(path: Path) -> list[str]:
    said = json.loads(path.read_text())
    return [said["sign_d"], said["seal_d"]]


def _refused_file(path: Path) -> str:
    with pytest.raises(KeyFileError) as refusal:
        load_identity(path)
    assert str(path) in str(refusal.value)
    return "".join(traceback.format_exception(refusal.value))


def test_a_key_file_is_read_back_and_is_for_its_owner_only(key_file: Path, desk: Desk) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    again = load_identity(key_file)
    assert (again.role, again.name, again.kid) == (desk.unit.role, desk.unit.name, desk.unit.kid)
    assert again.sealing.private_bytes_raw() == desk.unit.sealing.private_bytes_raw()
    assert [file.name for file in key_file.parent.iterdir()] == ["unit.key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610, 0o601, 0o777])
def test_a_key_file_that_others_can_touch_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert "chmod 600" in _refused_file(key_file)


def test_an_existing_key_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(KeyFileError, match="exists"):
        save_identity(new_identity(Role.UNIT, "unit-1"), key_file)
    assert key_file.read_bytes() == before


def test_a_truncated_key_file_is_refused_without_quoting_it(key_file: Path) -> None:
    whole, private = key_file.read_bytes(), _private_text(key_file)
    for length in range(len(whole) - 1):
        key_file.write_bytes(whole[:length])
        text = _refused_file(key_file)
        assert not any(secret[:12] in text for secret in private)


@pytest.mark.parametrize("name", ["sign_x", "sign_d", "seal_x", "seal_d"])
def test_halves_that_do_not_belong_together_are_refused(key_file: Path, name: str, desk: Desk) -> None:
    other = key_file.parent / "other.key"
    save_identity(desk.other_unit, other)
    said = json.loads(key_file.read_text())
    said[name] = json.loads(other.read_text())[name]
    key_file.write_text(json.dumps(said))
    assert "halves differ" in _refused_file(key_file)


@pytest.mark.parametrize(("one", "two"), [("sign_x", "sign_d"), ("seal_x", "seal_d"), ("sign_d", "seal_d")])
def test_swapped_halves_are_refused_without_quoting_them(key_file: Path, one: str, two: str) -> None:
    private = _private_text(key_file)
    said = json.loads(key_file.read_text())
    said[one], said[two] = said[two], said[one]
    key_file.write_text(json.dumps(said))
    text = _refused_file(key_file)
    assert not any(secret in text for secret in private)


@pytest.mark.parametrize("name", ["role", "name", "sign_x", "sign_d", "seal_x", "seal_d"])
@pytest.mark.parametrize("odd", [None, 1, "", "root ", "A" * 42, "A" * 44, "é" * 43, "A" * 42 + "B", [], {}])
def test_a_key_file_with_an_odd_value_is_refused(key_file: Path, name: str, odd: Any) -> None:
    if name == "name" and isinstance(odd, str) and odd:
        return
    private = _private_text(key_file)
    key_file.write_text(json.dumps(json.loads(key_file.read_text()) | {name: odd}))
    text = _refused_file(key_file)
    assert not any(secret in text for secret in private)


def test_a_key_file_missing_empty_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "unit.key"
    _refused_file(path)
    path.write_bytes(b"")
    _refused_file(path)
    path.write_bytes(b" " * (KEY_FILE_LIMIT + 1))
    assert "longer than" in _refused_file(path)


def test_an_identity_does_not_show_its_private_keys(key_file: Path) -> None:
    loaded = load_identity(key_file)
    assert not any(secret in repr(loaded) + str(loaded) for secret in _private_text(key_file))


# --- sealing ------------------------------------------------------------------------------------------------


def _sealed(desk: Desk) -> bytes:
    return seal(b"secret", desk.unit.sealing.public_key(), watchlist_info("d", "u"))


def test_what_is_sealed_opens_for_its_holder_in_its_place_only(desk: Desk) -> None:
    sealed = _sealed(desk)
    assert unseal(sealed, desk.unit.sealing, watchlist_info("d", "u")) == b"secret"
    elsewhere = [
        (desk.other_unit, watchlist_info("d", "u")),
        (desk.unit, watchlist_info("d2", "u")),
        (desk.unit, watchlist_info("d", "u2")),
        (desk.unit, crop_info("d", "u")),
        (desk.unit, b""),
    ]
    for who, info in elsewhere:
        with pytest.raises(DocumentError):
            unseal(sealed, who.sealing, info)


def test_places_cannot_run_into_each_other() -> None:
    assert watchlist_info("a", "b-c") != watchlist_info("a-b", "c")
    assert crop_info("a", "bc") != crop_info("ab", "c")


def test_sealed_octets_cut_or_altered_are_refused(desk: Desk) -> None:
    sealed = _sealed(desk)
    for n in range(len(sealed)):
        for changed in (sealed[:n], sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :]):
            with pytest.raises(DocumentError):
                unseal(changed, desk.unit.sealing, watchlist_info("d", "u"))


def test_a_key_for_which_anybody_could_open_is_refused(desk: Desk) -> None:
    from edgeagent.documents.keys import public_sealing_key

    weak = public_sealing_key(SealKey(kty="OKP", crv="X25519", x="A" * 43))
    with pytest.raises(DocumentError, match="cannot be sealed"):
        seal(b"secret", weak, b"")


# --- the watchlist file -------------------------------------------------------------------------------------


def test_a_watchlist_opens_for_each_unit_that_it_names_and_no_other(desk: Desk) -> None:
    content = desk.watchlist(units=[desk.unit, desk.other_unit])
    sealed = verify_watchlist(content, desk.trust, NOW)
    for unit in (desk.unit, desk.other_unit):
        entries, rows = sealed.open(one_time(unit.name))
        assert [row.entry for row in entries] == [f"e{n}" for n in range(8)]
        assert rows.tobytes() == templates(8).tobytes()
        assert rows.flags.writeable  # so that it can be overwritten
    alone = verify_watchlist(desk.watchlist(), desk.trust, NOW)
    strangers = (one_time("unit-2"), one_time(deployment="another-street"), one_time(seed=1))
    long_term = OneTimeKey("unit-1", one_time().deployment, desk.unit.sealing, NOW.wall)
    for stranger in (*strangers, long_term):
        with pytest.raises(DocumentError, match="not sealed to this unit"):
            alone.open(stranger)


def test_a_content_key_sealed_to_another_under_this_ones_name_does_not_open(desk: Desk) -> None:
    head, _ = split(desk.watchlist())
    taken = verify(SAMPLES["edgeagent-watchlist"].kind, head, desk.trust, NOW).body
    (sealed,) = as_dict(taken)["sealed_keys"]
    moved = _repack(desk, sealed_keys=[sealed | {"kid": one_time("unit-2").public.kid}])
    with pytest.raises(DocumentError, match="cannot be opened"):
        verify_watchlist(moved, desk.trust, NOW).open(one_time("unit-2"))


def test_nothing_of_the_list_is_readable_in_the_file(desk: Desk) -> None:
    content = desk.watchlist()
    assert templates(8)[0].tobytes() not in content
    _, body = split(content)
    assert b"wanted_on_warrant" not in body


def test_each_altered_octet_of_a_watchlist_is_refused(desk: Desk) -> None:
    content = desk.watchlist()
    head, body = split(content)
    body_start = len(content) - len(body)
    magic = range(len(MAGIC) + 4)
    positions = {*magic, *range(body_start, len(content), len(body) // 60), len(content) - 1}
    for position in positions:
        changed = content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :]
        with pytest.raises(DocumentError):
            verify_watchlist(changed, desk.trust, NOW)
    for changed in (content + b"\0", content[:-1], content[:body_start], MAGIC, b"", head, body):
        with pytest.raises(DocumentError):
            verify_watchlist(changed, desk.trust, NOW)


def test_every_truncation_of_a_watchlist_is_refused(desk: Desk) -> None:
    content = desk.watchlist()
    for length in range(0, len(content), 37):
        with pytest.raises(DocumentError):
            verify_watchlist(content[:length], desk.trust, NOW)


def test_the_manifest_of_one_list_does_not_fit_the_body_of_another(desk: Desk) -> None:
    (one, _), (_, two) = split(desk.watchlist()), split(desk.watchlist())
    with pytest.raises(DocumentError, match="body"):
        verify_watchlist(MAGIC + len(one).to_bytes(4, "big") + one + two, desk.trust, NOW)


Wrong = Callable[[Desk], bytes]


def _repack(desk: Desk, **said: Any) -> bytes:
    """A list whose officer signs something else than what is inside."""
    head, body = split(desk.watchlist())
    taken = verify(SAMPLES["edgeagent-watchlist"].kind, head, desk.trust, NOW).body
    payload = json.dumps(as_dict(taken) | said).encode()
    signed = raw_document(SAMPLES["edgeagent-watchlist"].kind, payload, desk[Role.WATCHLIST_OFFICER])
    return MAGIC + len(signed).to_bytes(4, "big") + signed + body


@pytest.mark.parametrize(
    "said",
    [
        {"entries": 7},
        {"entries": 9},
        {"dimension": 128},
        {"under_18": 1},
        {"counts": {"wanted_on_warrant": 7, "test_subject": 1}},
        {"counts": {"test_subject": 8}},
        {"counts": {"wanted_on_warrant": 9}},
        {"deployment": "another-deployment"},
        {"sealed_keys": [{"unit": "unit-1", "kid": "A" * 43, "sealed": "AA"}]},
    ],
)
def test_a_manifest_that_says_other_than_the_body_is_refused(said: dict[str, Any], desk: Desk) -> None:
    sealed = verify_watchlist(_repack(desk, **said), desk.trust, NOW)
    with pytest.raises((DocumentError, SafeguardError)):
        sealed.open(one_time())


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 3e38, 2.0])
def test_templates_that_are_not_of_unit_length_are_refused(value: float, desk: Desk) -> None:
    rows = templates(8)
    rows[3] = value
    sealed = verify_watchlist(desk.watchlist(rows=rows), desk.trust, NOW)
    with pytest.raises(DocumentError, match="templates of another length"):
        sealed.open(one_time())


def test_an_entry_that_comes_twice_is_refused_when_the_list_is_made(desk: Desk) -> None:
    with pytest.raises(SafeguardError, match="R7"):
        desk.watchlist([entry(1), entry(1)])


@pytest.mark.parametrize("signer", [role for role in Role if role is not Role.WATCHLIST_OFFICER])
def test_nobody_but_the_watchlist_officer_makes_a_list(signer: Role, desk: Desk) -> None:
    with pytest.raises(DocumentError):
        desk.watchlist(signers=(signer,))
    payload = manifest().model_dump_json().encode()
    signed = raw_document(SAMPLES["edgeagent-watchlist"].kind, payload, desk[signer])
    with pytest.raises(DocumentError):
        verify_watchlist(MAGIC + len(signed).to_bytes(4, "big") + signed + bytes(64), desk.trust, NOW)


def test_approval_is_read_from_the_signatures(desk: Desk) -> None:
    approved = desk.watchlist(signers=(Role.WATCHLIST_OFFICER, Role.INDEPENDENT_APPROVER))
    assert verify_watchlist(approved, desk.trust, NOW).approved
    assert not verify_watchlist(desk.watchlist(), desk.trust, NOW).approved


# --- revocation and the rest --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.AUTHORISING_OFFICER, Role.INDEPENDENT_APPROVER, Role.CONTROL_ROOM])
def test_each_of_three_roles_may_revoke_alone(role: Role, desk: Desk) -> None:
    """R27: ending is easier than starting."""
    document = sign(REVOCATION, revocation(), desk[role])
    assert verify(REVOCATION, document, desk.trust, at(3600)).body.deployment == revocation().deployment


def test_an_alert_has_no_field_that_instructs() -> None:
    """R20: nobody acts on a score alone, so an alert says what was seen and nothing else."""
    assert not {name for name in Alert.model_fields if re.search("action|engage|arrest|stop|instruct", name)}


def test_a_document_outlives_neither_its_key_nor_the_clock(desk: Desk) -> None:
    document = SAMPLES[AUTHORITY.typ].document(desk)
    long_after = Instant(NOW.monotonic_ns, START.replace(year=9999), synchronised=True)
    long_before = Instant(NOW.monotonic_ns, START.replace(year=1970), synchronised=True)
    for now in (long_after, long_before):
        with pytest.raises(DocumentError, match="not valid now"):
            verify(AUTHORITY, document, desk.trust, now)


def test_states_are_bound_to_their_kind_by_the_header_alone(desk: Desk) -> None:
    """A lease made out of a state's octets, with a role that signs leases, still is no lease."""
    payload = SAMPLES[STATE.typ].body.model_dump_json().encode()
    document = raw_document(LEASE, payload, desk[Role.CONTROL_ROOM])
    assert "field" in refused(SAMPLES[LEASE.typ], document, desk).what
