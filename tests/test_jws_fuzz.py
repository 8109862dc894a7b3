"""Whatever bytes arrive: they are refused by a named error, or they say exactly what was signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeagent.alerts.envelope import unwrap, wrap
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.documents.jws import base64url, strict_json, unbase64url
from edgeagent.documents.keys import Role, load_identity, save_identity
from edgeagent.documents.table import typ_of, verify
from edgeagent.documents.trust import open_trust_store
from edgeagent.documents.watchlist_file import verify_watchlist
from edgeagent.errors import DocumentError, KeyFileError, SafeguardError
from tests.desk import NOW, UNIT, Desk, b64, one_time, raw_document
from tests.document_samples import SAMPLES

DESK = Desk()
DOCUMENTS = {typ: sample.document(DESK) for typ, sample in SAMPLES.items()}
WATCHLIST = DESK.watchlist()
TRUST = DESK.trust_document()
STATE = DESK.state_message()

TOKENS = [b"", b"\0", b"\xff", b"{", b"[", b'"', b".", b"=", b"-", b"NaN", b"\\ud800", b"1e999", b"9" * 60]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["payload", "signatures", "protected", "signature", "header", "alg", "kid", "typ"]
            )
            | st.text(max_size=9),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@st.composite
def mutations(draw: st.DrawFn, genuine: bytes) -> bytes:
    """The genuine bytes with a few places cut, doubled, flipped or overwritten."""
    octets = genuine
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(octets)))
        end = min(len(octets), start + draw(st.integers(0, 40)))
        middle = draw(
            st.sampled_from(TOKENS)
            | st.binary(max_size=20)
            | st.just(octets[start:end] * 2)
            | st.just(octets[start:end].swapcase())
        )
        octets = octets[:start] + middle + octets[end:]
    return octets


def anything(genuine: bytes) -> st.SearchStrategy[bytes]:
    """Mutations, JSON of the right words, and noise."""
    return st.one_of(
        mutations(genuine),
        JSON.map(lambda value: json.dumps(value).encode()),
        JSON.map(lambda value: f"{b64(json.dumps(value).encode())}.e30.AA".encode()),
        st.binary(max_size=300),
        st.text(alphabet='{}[]",:.AZaz09-_ \\u', max_size=200).map(str.encode),
    )


def refused_or_same(call: Callable[[], Any], same: Callable[[Any], bool]) -> None:
    """The call refuses by name, or returns what the genuine bytes would."""
    try:
        result = call()
    except DocumentError:
        return
    assert same(result)


@pytest.mark.parametrize("typ", list(SAMPLES))
@given(data=st.data())
def test_verify_takes_nothing_but_what_was_signed(typ: str, data: st.DataObject) -> None:
    sample = SAMPLES[typ]
    octets = data.draw(anything(DOCUMENTS[typ]))
    refused_or_same(
        lambda: verify(sample.kind, octets, DESK.trust, NOW), lambda verified: verified.body == sample.body
    )


@pytest.mark.parametrize("typ", list(SAMPLES))
@given(payload=JSON)
def test_a_signed_payload_of_any_shape_is_refused_by_name(typ: str, payload: Any) -> None:
    """The signer is genuine and hostile, or its software is broken."""
    sample = SAMPLES[typ]
    document = raw_document(sample.kind, json.dumps(payload).encode(), DESK[sample.first])
    refused_or_same(lambda: verify(sample.kind, document, DESK.trust, NOW), lambda _: False)


@pytest.mark.parametrize("typ", list(SAMPLES))
@given(field=st.integers(0, 40), value=JSON)
def test_a_signed_field_of_any_shape_is_refused_by_name_or_means_what_it_says(
    typ: str, field: int, value: Any
) -> None:
    sample = SAMPLES[typ]
    said = json.loads(sample.body.model_dump_json())
    name = list(said)[field % len(said)]
    document = raw_document(sample.kind, json.dumps(said | {name: value}).encode(), DESK[sample.first])

    def says_so(verified: Any) -> bool:
        return bool(json.loads(verified.body.model_dump_json())[name] == value) or isinstance(value, str)

    refused_or_same(lambda: verify(sample.kind, document, DESK.trust, NOW), says_so)


@given(data=st.data())
def test_a_watchlist_of_any_bytes_is_refused_by_name(data: st.DataObject) -> None:
    octets = data.draw(anything(WATCHLIST))
    refused_or_same(
        lambda: verify_watchlist(octets, DESK.trust, NOW).open(one_time()),
        lambda opened: len(opened[0]) == 8,
    )


@given(data=st.data())
def test_a_trust_store_of_any_bytes_is_refused_by_name(data: st.DataObject) -> None:
    octets = data.draw(anything(TRUST))
    refused_or_same(
        lambda: open_trust_store(octets, DESK[Role.ROOT].kid),
        lambda store: store.content == DESK.trust.content,
    )


@given(data=st.data())
def test_an_envelope_of_any_bytes_is_refused_by_name(data: st.DataObject) -> None:
    octets = data.draw(anything(STATE))
    refused_or_same(lambda: unwrap(octets, "state"), lambda token: isinstance(token, bytes))


@given(data=st.data(), topic=st.text(max_size=40) | st.just(f"lfr/v1/{UNIT}/state"))
def test_a_state_of_any_bytes_on_any_topic_is_refused_by_name(data: st.DataObject, topic: str) -> None:
    octets = data.draw(anything(STATE))
    refused_or_same(
        lambda: read_state(topic, octets, DESK.trust, NOW),
        lambda state: state == SAMPLES["edgeagent-state"].body,
    )


@given(data=st.data())
def test_the_type_of_any_bytes_is_refused_by_name(data: st.DataObject) -> None:
    octets = data.draw(anything(DOCUMENTS["edgeagent-authority"]))
    refused_or_same(lambda: typ_of(octets), lambda typ: isinstance(typ, str))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_key_file_of_any_bytes_is_refused_by_name(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "unit.key"
    path.unlink(missing_ok=True)
    save_identity(DESK.unit, path)
    genuine = path.read_bytes()
    private = [json.loads(genuine)[name] for name in ("sign_d", "seal_d")]
    path.write_bytes(data.draw(anything(genuine)) or b" ")
    said = ""
    try:
        taken = load_identity(path)
    except KeyFileError as refusal:
        said = str(refusal)
    else:
        assert taken.kid == DESK.unit.kid
        assert taken.seal_key == DESK.unit.seal_key
    assert not any(secret in said for secret in private)


@given(octets=st.binary(max_size=200))
def test_base64url_comes_back(octets: bytes) -> None:
    assert unbase64url(base64url(octets)) == octets
    assert base64url(octets) == b64(octets)


@given(text=st.text(max_size=60) | st.binary(max_size=60))
def test_base64url_of_anything_is_refused_by_name(text: str | bytes) -> None:
    refused_or_same(lambda: unbase64url(text), lambda octets: isinstance(octets, bytes))


@given(octets=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_json_of_anything_is_refused_by_name(octets: bytes) -> None:
    refused_or_same(lambda: strict_json(octets), lambda _: True)


@pytest.mark.parametrize(
    "octets",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"9" * 10_000,
        b"\xef\xbb\xbf\xff",
        b"",
        b"nul",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"\\u0062":2}}',
    ],
)
def test_json_that_breaks_parsers_is_refused_by_name(octets: bytes) -> None:
    with pytest.raises(DocumentError):
        strict_json(octets)


def test_an_envelope_is_bound_to_its_kind() -> None:
    message = wrap("lease", b"a.b.c", identifier="1", source="desk", time=NOW.wall)
    assert unwrap(message, "lease") == b"a.b.c"
    for other in ("alert", "state", "receipt", "revocation", "Lease"):
        with pytest.raises(DocumentError):
            unwrap(message, other)


def test_no_refusal_of_these_is_a_safeguards(desk: Desk) -> None:
    """A document that is no document breaks no rule: the two kinds of error stay apart."""
    assert not issubclass(DocumentError, SafeguardError)
    assert not issubclass(SafeguardError, DocumentError)
