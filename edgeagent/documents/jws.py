"""Signatures: compact JWS for messages, general JSON JWS for files that may carry several.

One algorithm (Ed25519), one `typ` per kind of document, one `kid`; no other header is accepted. A general
JSON JWS is checked signature by signature, each put into compact form, so there is one verifying path.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from edgeagent.errors import DocumentError

ALGORITHM = "Ed25519"  # RFC 9864
MAX_SIGNATURES = 4
_COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADER = frozenset({"alg", "typ", "kid"})

KeyOf = Callable[[str], OKPKey]
"""Finds the public key of a `kid`, or raises DocumentError."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified JWS: its payload bytes and the kids that signed it."""

    payload: bytes
    kids: tuple[str, ...]


def unbase64url(text: str | bytes) -> bytes:
    """Decode unpadded base64url strictly.

    Raises:
        DocumentError: not base64url.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as cause:
        raise DocumentError("is not base64url", next_step="copy the document again") from cause


def base64url(raw: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def strict_json(text: bytes) -> Any:
    """Parse JSON, refusing a key that appears twice (two readers could take different ones).

    Raises:
        DocumentError: not JSON, too deep, or a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise DocumentError("has a key twice", next_step="have it made again with edgeagent")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as cause:
        raise DocumentError(
            "is not JSON", next_step="copy the document again; it may be cut short"
        ) from cause


def sign_compact(payload: bytes, typ: str, key: OKPKey) -> bytes:
    """The payload as a compact JWS."""
    header = {"alg": ALGORITHM, "typ": typ, "kid": key.thumbprint()}
    return jws.serialize_compact(header, payload, key, algorithms=[ALGORITHM]).encode()


def verify_compact(token: bytes, typ: str, key_of: KeyOf, *, limit: int) -> Signed:
    """Verify a compact JWS of at most `limit` bytes.

    Raises:
        DocumentError: too long, malformed, wrong type, unknown key or wrong signature.
    """
    if len(token) > limit:
        raise DocumentError(f"is longer than {limit} bytes", next_step="refuse it and find out who sent it")
    if not _COMPACT.fullmatch(token):
        raise DocumentError("is not a compact JWS", next_step="copy the document again; it may be cut short")
    header = strict_json(unbase64url(token.split(b".", 1)[0]))
    if not isinstance(header, dict) or set(header) != _HEADER or header["alg"] != ALGORITHM:
        raise DocumentError("has a header that is not accepted", next_step="have it signed with edgeagent")
    if header["typ"] != typ:
        raise DocumentError(f"is not a {typ} document", next_step="check that it is the right file")
    kid = header["kid"]
    if not isinstance(kid, str) or len(kid) != 43:
        raise DocumentError("names no key", next_step="have it signed with edgeagent")
    try:
        verified = jws.deserialize_compact(token, key_of(kid), registry=_registry(limit))
    except (JoseError, ValueError) as cause:
        raise DocumentError(
            "was altered, or signed with another key", next_step="ask for the document again"
        ) from cause
    return Signed(verified.payload, (kid,))


def _registry(limit: int) -> jws.JWSRegistry:
    """The one algorithm; the library's own limit (128 kB) would refuse a large trust store as altered."""
    registry = jws.JWSRegistry(algorithms=[ALGORITHM])
    registry.max_payload_length = limit
    return registry


def sign_general(payload: bytes, typ: str, *keys: OKPKey) -> bytes:
    """The payload as a general JSON JWS with one signature a key."""
    return add_signatures(None, payload, typ, *keys)


def add_signatures(document: bytes | None, payload: bytes, typ: str, *keys: OKPKey) -> bytes:
    """A general JSON JWS with the document's signatures, if any, and those of the keys."""
    signatures = [] if document is None else list(strict_json(document)["signatures"])
    for key in keys:
        protected, _, signature = sign_compact(payload, typ, key).decode().split(".")
        signatures.append({"protected": protected, "signature": signature})
    return json.dumps({"payload": base64url(payload), "signatures": signatures}, indent=1).encode() + b"\n"


def verify_general(document: bytes, typ: str, key_of: KeyOf, *, limit: int) -> Signed:
    """Verify every signature of a general JSON JWS; one that fails refuses the whole.

    Raises:
        DocumentError: as for `verify_compact`; also signed twice with one key.
    """
    if len(document) > limit:
        raise DocumentError(f"is longer than {limit} bytes", next_step="check that it is the right file")
    whole = strict_json(document)
    if not isinstance(whole, dict) or set(whole) != {"payload", "signatures"}:
        raise DocumentError("is not a signed document", next_step="check that it is the right file")
    payload, signatures = whole["payload"], whole["signatures"]
    if not isinstance(payload, str) or not isinstance(signatures, list) or not signatures:
        raise DocumentError("is not signed", next_step="have it signed")
    if len(signatures) > MAX_SIGNATURES:
        raise DocumentError(f"has more than {MAX_SIGNATURES} signatures", next_step="have it signed anew")
    verified = [_verify_one(payload, entry, typ, key_of, limit) for entry in signatures]
    kids = tuple(kid for signed in verified for kid in signed.kids)
    if len(set(kids)) != len(kids):
        raise DocumentError("is signed twice with one key", next_step="have another person sign")
    return Signed(verified[0].payload, kids)


def _verify_one(payload: str, entry: Any, typ: str, key_of: KeyOf, limit: int) -> Signed:
    if not isinstance(entry, dict) or set(entry) != {"protected", "signature"}:
        raise DocumentError("has a signature that is not accepted", next_step="have it signed with edgeagent")
    protected, signature = entry["protected"], entry["signature"]
    if not isinstance(protected, str) or not isinstance(signature, str):
        raise DocumentError("has a signature that is not text", next_step="have it signed with edgeagent")
    try:
        token = f"{protected}.{payload}.{signature}".encode("ascii")
    except UnicodeEncodeError as cause:
        raise DocumentError("is not base64url", next_step="copy the document again") from cause
    return verify_compact(token, typ, key_of, limit=limit)
