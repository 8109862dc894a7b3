"""Which kind of signed document a file is: bare, in an envelope, or with a list behind it. Unverified."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeagent.documents.deployment_key import DEPLOYMENT_KEY
from edgeagent.documents.deployment_return import DEPLOYMENT_RETURN
from edgeagent.documents.enrol_approval import ENROLMENT
from edgeagent.documents.jws import strict_json, unbase64url
from edgeagent.documents.table import (
    ALERT,
    AUTHORITY,
    BENCH_AUTHORITY,
    CERTIFICATE,
    CHECKPOINT,
    DECISION,
    HEALTH,
    LEASE,
    RECEIPT,
    REVIEW,
    REVOCATION,
    STATE,
    VERDICT,
    WATCHLIST,
    DocumentType,
    typ_of,
)
from edgeagent.documents.trust import TYP as TRUST_STORE
from edgeagent.documents.trust import TrustStoreContent
from edgeagent.documents.watchlist_file import MAGIC, split
from edgeagent.errors import DocumentError
from edgeagent.safeguards.profile import StrictModel

KINDS: dict[str, DocumentType[Any]] = {
    kind.typ: kind
    for kind in (
        AUTHORITY,
        BENCH_AUTHORITY,
        WATCHLIST,
        CERTIFICATE,
        REVOCATION,
        LEASE,
        RECEIPT,
        ALERT,
        STATE,
        HEALTH,
        DECISION,
        VERDICT,
        REVIEW,
        CHECKPOINT,
        DEPLOYMENT_KEY,
        DEPLOYMENT_RETURN,
        ENROLMENT,
    )
}
NAMES = {
    TRUST_STORE: "trust store: whose keys count, and the limits in force",
    AUTHORITY.typ: "authority for a live deployment",
    BENCH_AUTHORITY.typ: "authority for a bench: a test on pictures of test subjects",
    WATCHLIST.typ: "watchlist of one deployment",
    CERTIFICATE.typ: "evaluation certificate of a model pack",
    REVOCATION.typ: "revocation: the end of a deployment",
    LEASE.typ: "lease: officers are on the ground",
    RECEIPT.typ: "receipt: the control room has committed an alert",
    ALERT.typ: "alert: a possible match, for an operator to decide",
    STATE.typ: "state: what a unit says of itself",
    HEALTH.typ: "health: how a unit's machine and program are",
    DECISION.typ: "decision: what an operator made of an alert",
    VERDICT.typ: "verdict: what became of an alert, by two people",
    REVIEW.typ: "review: matching may go on after too many false alerts",
    CHECKPOINT.typ: "checkpoint: the unit's signature under its audit log up to one line",
    DEPLOYMENT_KEY.typ: "one-time key of a unit: a deployment's watchlist is sealed to it",
    DEPLOYMENT_RETURN.typ: "return: what the control room alone knows of a deployment",
    ENROLMENT.typ: "enrolment: a unit's own keys are approved",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a file turned out to be; nothing is verified.

    Attributes:
        typ: one of `NAMES`.
        document: the signed document itself, taken out of its envelope or watchlist file.
        envelope: it came as an MQTT message.
    """

    typ: str
    document: bytes
    envelope: bool = False

    @property
    def payload(self) -> bytes:
        """The octets that were signed.

        Raises:
            DocumentError: malformed.
        """
        if self.compact:
            return unbase64url(self.document.split(b".")[1])
        return unbase64url(strict_json(self.document)["payload"])

    @property
    def compact(self) -> bool:
        """A message rather than a file."""
        return self.typ in KINDS and KINDS[self.typ].compact

    @property
    def model(self) -> type[StrictModel]:
        """What the payload must be."""
        return TrustStoreContent if self.typ == TRUST_STORE else KINDS[self.typ].model

    @property
    def kids(self) -> tuple[str, ...]:
        """The keys that it says it is signed with.

        Raises:
            DocumentError: malformed.
        """
        if self.compact:
            return (_header(self.document.split(b".")[0])["kid"],)
        try:
            entries = strict_json(self.document)["signatures"]
            return tuple(_header(entry["protected"])["kid"] for entry in entries)
        except (KeyError, TypeError) as cause:
            raise _unreadable() from cause


_TOKEN = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def recognise(content: bytes, unwrap: Callable[[bytes, str], bytes]) -> Found:
    """Which kind of document a file holds.

    Args:
        content: the file, at most as long as its kind allows.
        unwrap: takes a token out of its MQTT envelope.

    Raises:
        DocumentError: no document of this program.
    """
    if content.startswith(MAGIC):
        return _known(Found(WATCHLIST.typ, split(content)[0]))
    text = content.strip()
    if _TOKEN.fullmatch(text):
        return _known(Found(str(_header(text.split(b".")[0]).get("typ")), text))
    whole = strict_json(text)
    if isinstance(whole, dict) and "specversion" in whole:
        kind = str(whole.get("type")).removeprefix("edgeagent.").removesuffix(".v1")
        return _known(Found(f"edgeagent-{kind}", unwrap(text, kind), envelope=True))
    return _known(Found(typ_of(content), content))


def _known(found: Found) -> Found:
    """Refuse what has not even the form of its kind, so that the rest may take the form for granted."""
    if found.typ not in NAMES:
        raise _unreadable()
    if found.compact != (_TOKEN.fullmatch(found.document) is not None):
        raise DocumentError(f"has not the form of a {found.typ}", next_step="find out who sent it")
    if not found.compact:
        whole = strict_json(found.document)
        if not isinstance(whole, dict) or not isinstance(whole.get("payload"), str):
            raise _unreadable()
    return found


def _header(protected: Any) -> dict[str, Any]:
    if not isinstance(protected, str | bytes):
        raise _unreadable()
    header = strict_json(unbase64url(protected))
    if not isinstance(header, dict) or not isinstance(header.get("kid"), str):
        raise _unreadable()
    return header


def _unreadable() -> DocumentError:
    return DocumentError("is no document of edgeagent", next_step="check that it is the right file")
