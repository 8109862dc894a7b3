"""How long the control room can read alerts, and the end of that: the life of a deployment's alert key (R3).

Every alert's crop is sealed to one key that the deployment's authority names. While its private half exists,
any copy of a sealed alert can be opened; afterwards none can, wherever it is kept. The key's time has come
when the deployment's end and the authority's retention are both past: by then every alert is older than that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from edgeagent.documents.keys import KEY_FILE_LIMIT, Identity, KeyFile
from edgeagent.documents.table import AUTHORITY, BENCH_AUTHORITY, DocumentType, typ_of, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.errors import DocumentError, OutboxError
from edgeagent.safeguards.authority import Authority
from edgeagent.safeguards.instant import Instant

SQLITE = b"SQLite format 3\0"
# An authority must not stop counting, and so keep its key alive, because its signer's key ran out since.
_KINDS: dict[str, DocumentType[Authority]] = {
    kind.typ: replace(kind, timeless=True) for kind in (AUTHORITY, BENCH_AUTHORITY)
}


def new_alert_key(desk: Identity) -> Identity:
    """The desk's identity with a sealing key of its own for one deployment, so that one can end alone.

    It signs receipts with the desk's signing key, so the trust store need not be signed anew.
    """
    return replace(desk, sealing=X25519PrivateKey.generate())


def due(authority: Authority, most_h: float) -> datetime:
    """When the alert key has to be gone: the authority's retention, at most the profile's, after the end."""
    return authority.end + timedelta(hours=min(authority.retention_h, most_h))


@dataclass(frozen=True, slots=True)
class Kept:
    """What the desk keeps of one deployment.

    Attributes:
        due: when its key has to be gone.
        keys: files with the private half of an alert key that any of its authorities named.
        held: those of them to which another deployment's alerts are sealed too, and which is not due yet.
        shared: these other deployments.
        stores: files of received alerts, with the rows of this deployment.
    """

    deployment: str
    ended: datetime
    due: datetime
    keys: tuple[Path, ...]
    held: frozenset[Path]
    shared: tuple[str, ...]
    stores: dict[Path, int]

    @property
    def readable(self) -> bool:
        """Alerts of this deployment can still be opened, or rows about them be read."""
        return bool(self.keys or self.stores)

    def overdue(self, now: Instant) -> bool:
        """R3: something is still readable whose time has come."""
        return self.readable and now.wall >= self.due


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything found.

    Attributes:
        problems: authorities that cannot be relied on, so that their keys do not end by themselves.
        orphans: private keys to which no authority here seals alerts, so that they do not end by themselves.
        links: links to what was not looked at, which may be a key.
    """

    kept: tuple[Kept, ...]
    problems: tuple[str, ...]
    orphans: tuple[Path, ...]
    links: tuple[Path, ...]

    @property
    def doubtful(self) -> bool:
        """R3: there is something here whose end nobody can vouch for."""
        return bool(self.problems or self.orphans or self.links)


@dataclass(slots=True)
class _Found:
    authorities: dict[str, Authority] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)
    """By deployment, the alert keys of all its authorities: what was sealed to an earlier one stays so."""
    keys: dict[str, list[Path]] = field(default_factory=dict)
    rows: dict[str, dict[Path, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def survey(folders: Iterable[Path], trust: TrustStore, now: Instant) -> Holdings:
    """Look through folders for authorities, alert keys and received alerts; links are shown, not followed.

    Raises:
        OSError: a folder or file cannot be read.
        OutboxError: a file of received alerts cannot be read.
    """
    found = _Found()
    looked, links = _files(folders)
    for path in looked:
        _look(path, found, trust, now)
    most_h = trust.profile.retention_max_h
    ends = {name: due(authority, most_h) for name, authority in found.authorities.items()}
    kept = [_kept(authority, ends, found, now) for authority in found.authorities.values()]
    used = set().union(*found.named.values())
    orphans = [path for x, paths in found.keys.items() if x not in used for path in paths]
    return Holdings(
        tuple(sorted(kept, key=lambda one: (one.due, one.deployment))),
        tuple(found.problems),
        tuple(orphans),
        links,
    )


def _files(folders: Iterable[Path]) -> tuple[list[Path], tuple[Path, ...]]:
    """Files, each once; and links to anything else."""
    files: dict[Path, Path] = {}
    links: list[Path] = []
    for path in chain.from_iterable(sorted(folder.rglob("*")) for folder in folders):
        if path.is_symlink():
            links.append(path)
        elif path.is_file():
            files.setdefault(path.resolve(), path)
    return list(files.values()), tuple(path for path in links if _leads_elsewhere(path, files))


def _leads_elsewhere(link: Path, files: Container[Path]) -> bool:
    try:
        return link.resolve(strict=True) not in files
    except FileNotFoundError:
        return False  # to nothing
    except (OSError, RuntimeError):  # Python 3.11 raises the latter for a circle of links
        return True


def _look(path: Path, found: _Found, trust: TrustStore, now: Instant) -> None:
    with path.open("rb") as file:
        content = file.read(AUTHORITY.limit + 1)
    if content.startswith(SQLITE):
        for deployment, rows in _rows(path).items():
            found.rows.setdefault(deployment, {})[path] = rows
    elif content.lstrip()[:1] == b"{" and len(content) <= AUTHORITY.limit:
        x = _sealing_key(content)
        if x is not None:
            found.keys.setdefault(x, []).append(path)
        else:
            _look_at_document(path, content, found, trust, now)


def _sealing_key(content: bytes) -> str | None:
    """The public half of the sealing key of a private key file, however its rights are set."""
    if len(content) > KEY_FILE_LIMIT:
        return None
    try:
        return KeyFile.model_validate_json(content).seal_x
    except ValidationError:
        return None


def _look_at_document(path: Path, content: bytes, found: _Found, trust: TrustStore, now: Instant) -> None:
    try:
        kind = _KINDS.get(typ_of(content))
    except DocumentError:
        return  # no signed document
    if kind is None:
        return
    try:
        authority = verify(kind, content, trust, now).body
    except DocumentError as refusal:
        found.problems.append(f"{path}: {refusal}")
        return
    found.named.setdefault(authority.deployment, set()).add(authority.alert_key.x)
    before = found.authorities.get(authority.deployment)
    if before is None or before.sequence <= authority.sequence:
        found.authorities[authority.deployment] = authority


def _kept(authority: Authority, ends: dict[str, datetime], found: _Found, now: Instant) -> Kept:
    mine = found.named[authority.deployment]
    shared = {
        name: found.named[name] & mine
        for name, end in ends.items()
        if name != authority.deployment and found.named[name] & mine and now.wall < end
    }
    keys = {x: found.keys.get(x, []) for x in sorted(mine)}
    return Kept(
        deployment=authority.deployment,
        ended=authority.end,
        due=ends[authority.deployment],
        keys=tuple(chain.from_iterable(keys.values())),
        held=frozenset(path for common in shared.values() for x in common for path in keys[x]),
        shared=tuple(sorted(shared)),
        stores=found.rows.get(authority.deployment, {}),
    )


# --- received alerts ----------------------------------------------------------------------------------------


def _rows(store: Path) -> dict[str, int]:
    """Rows by deployment; none if it is another database."""
    try:
        with closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True)) as database:
            there = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'received'").fetchone()
            if there is None:
                return {}
            return dict(
                database.execute("SELECT deployment, count(*) FROM received GROUP BY deployment").fetchall()
            )
    except sqlite3.Error as cause:
        raise _store_failed(store, cause) from cause


def erase_rows(store: Path, deployment: str) -> int:
    """Remove what is kept of received alerts of a deployment, overwriting it in the file; how many alerts.

    What was decided about them goes with them: nothing asks for it once the deployment is over.

    Raises:
        OutboxError: the file cannot be written; what is removed is removed.
    """
    try:
        with closing(sqlite3.connect(store, isolation_level=None, timeout=10)) as database:
            database.execute("PRAGMA secure_delete=ON")
            tables = database.execute("SELECT name FROM sqlite_master WHERE name IN ('received', 'verdicts')")
            gone = {
                name: database.execute(f"DELETE FROM {name} WHERE deployment = ?", (deployment,)).rowcount  # noqa: S608
                for (name,) in tables.fetchall()
            }
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return gone.get("received", 0)
    except sqlite3.Error as cause:
        raise _store_failed(store, cause) from cause


def _store_failed(store: Path, cause: sqlite3.Error) -> OutboxError:
    return OutboxError(f"cannot be used: {cause}", where=str(store), next_step="check disk and rights")
