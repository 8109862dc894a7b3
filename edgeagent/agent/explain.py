"""Whether a document would be accepted on this unit now: the daemon's own rules, one line a check.

Nothing is remembered, opened or written: sequence numbers are compared, never accepted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edgeagent.agent.checks import (
    Check,
    Outcome,
    Place,
    Run,
    no_rollback,
)
from edgeagent.agent.document_checks import check_authority, check_message_or_certificate, check_watchlist
from edgeagent.alerts.envelope import unwrap
from edgeagent.documents.explain import NAMES, Found, recognise
from edgeagent.documents.parse import parse
from edgeagent.documents.table import (
    AUTHORITY,
    BENCH_AUTHORITY,
    WATCHLIST,
)
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TYP, TrustedKey, open_trust_store
from edgeagent.documents.watchlist_file import FILE_LIMIT, MAGIC
from edgeagent.documents.words import Lines, plain, says
from edgeagent.errors import DocumentError
from edgeagent.safeguards.profile import StrictModel


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a file is, says, who signed it, and every check.

    Attributes:
        body: None if it could not be read.
        signers: label and text, a line a signature.
    """

    typ: str
    envelope: bool
    sha256: str
    body: StrictModel | None
    says: Lines
    signers: Lines
    checks: tuple[Check, ...]

    @property
    def accepted(self) -> bool:
        """No check refused; some may not have been made."""
        return all(check.outcome is not Outcome.REFUSED for check in self.checks)

    @property
    def genuine(self) -> bool:
        """Its signatures hold; if not, nothing that it says may be relied on."""
        return self.checks[0].outcome is Outcome.GOOD


def explain(content: bytes, place: Place) -> Explanation:
    """Explain one file.

    Raises:
        DocumentError: no document of this program, or too long for one.
    """
    if len(content) > (FILE_LIMIT if content.startswith(MAGIC) else TRUST_STORE_LIMIT):
        raise DocumentError("is too long for any document", next_step="check that it is the right file")
    found = recognise(content, unwrap)
    body = _readable(found)
    run = Run()
    _examine(found, content, place, run)
    return Explanation(
        found.typ,
        found.envelope,
        hashlib.sha256(content).hexdigest(),
        body,
        [] if body is None else says(body, place.now.wall),
        _signers(found, place),
        tuple(run.checks),
    )


def _readable(found: Found) -> StrictModel | None:
    try:
        return parse(found.model, found.payload, NAMES[found.typ])
    except DocumentError:
        return None  # the check of its signatures and fields says why


def _signers(found: Found, place: Place) -> Lines:
    return [_signer(kid, place) for kid in found.kids]


def _signer(kid: str, place: Place) -> tuple[str, str]:
    if kid == place.root:
        return ("root", f"key {plain(kid[:12])}…, the root key that is pinned")
    known = None if place.trust is None else place.trust.by_kid.get(kid)
    if place.trust is None or known is None:
        return ("unknown", f"key {plain(kid[:12])}…, which nobody here is known by")
    return (known.role.replace("_", " "), f"{plain(known.name)}, key {kid[:12]}…, {_validity(known, place)}")


def _validity(key: TrustedKey, place: Place) -> str:
    period = f"{key.not_before:%d %B %Y} to {key.not_after:%d %B %Y}"
    if key.revoked:
        return "REVOKED"
    if not key.not_before <= place.now.wall < key.not_after:
        return f"valid {period}: NOT NOW"
    return f"valid {period}"


def _examine(found: Found, content: bytes, place: Place, run: Run) -> None:
    if found.typ == TYP:
        _trust_store(content, place, run)
        return
    if place.trust is None:
        raise DocumentError(
            "cannot be checked without a trust store", next_step="give --trust and --root, or --config"
        )
    if found.typ in (AUTHORITY.typ, BENCH_AUTHORITY.typ):
        check_authority(content, found, place, place.trust, run)
    elif found.typ == WATCHLIST.typ:
        check_watchlist(content, place, place.trust, run)
    else:
        check_message_or_certificate(found, place, place.trust, run)


def _trust_store(content: bytes, place: Place, run: Run) -> None:
    store = run.attempt("signed by the pinned root", lambda: open_trust_store(content, place.root))
    no_rollback(run, place, None if store is None else store.numbered)
