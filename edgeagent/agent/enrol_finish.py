"""`edgeagent enrol finish` on the unit: check what the control room sent, then install it, all or nothing.

"All or nothing" is the daemon's view: from the first file to the last the state is `installing`, in which the
daemon does not start, and running the command again goes on where a power cut ended it.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgeagent.agent.enrol import check_keys, replace_stage, waiting
from edgeagent.agent.enrol_config import (
    TLS_KEY,
    UNIT_KEY,
    Names,
    Terms,
    check_config,
    config_text,
    drop_in_text,
    names_of,
)
from edgeagent.agent.enrol_state import Place, Stage, State, one_at_a_time, read_state, write_state
from edgeagent.documents.enrol_approval import ApprovalFiles, check_approval
from edgeagent.documents.enrol_request import Asked
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TrustStore, open_trust_store
from edgeagent.errors import DocumentError, KeyFileError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.enrol_keys import Keeper, Kept, give_to
from edgeagent.system.files import destroy, read_bounded, sync_folder, write_atomic

BROKER_ENV = "broker.env"
"""Read by the service that forwards the daemon's local socket to the broker."""
DROP_IN = "50-enrolment.conf"
IMAGE_DROP_INS = "service.d"
"""In the configuration's folder: from there an image lays it over its read-only root at each start."""
SEALED = "credentials"
KEEP = -1
"""To chown: leave as it is."""
APPROVAL_LIMIT = 4096
CERTIFICATE_LIMIT = 8192


def read_files(folder: Path) -> ApprovalFiles:
    """The four files as the control room hands them over.

    Raises:
        DocumentError: one is missing or too long.
    """
    return ApprovalFiles(
        approval=read_bounded(folder / "approval.json", APPROVAL_LIMIT),
        trust_store=read_bounded(folder / "trust.json", TRUST_STORE_LIMIT),
        certificate=read_bounded(folder / "unit.crt", CERTIFICATE_LIMIT),
        authority=read_bounded(folder / "ca.crt", CERTIFICATE_LIMIT),
    )


def finish(place: Place, files: ApprovalFiles, now: Instant) -> list[Path]:
    """Verify and install; returns what was written. Run again after it succeeded, it changes nothing.

    Raises:
        KeyFileError: there is no request, its keys are not there, or the service cannot be told of them.
        DocumentError: the files are not the answer to this unit's request, or older than what it has seen.
        ConfigError: there is a configuration that says something else.
    """
    with one_at_a_time(place.staging):
        return _finish(place, files, now)


def _finish(place: Place, files: ApprovalFiles, now: Instant) -> list[Path]:
    state = read_state(place.staging)
    if state is None or state.stage is Stage.DRAFTING:
        raise KeyFileError(
            "this unit has asked for nothing", where="enrolment", next_step="edgeagent enrol begin"
        )
    asked = waiting(place, state).asked
    # 1. Everything is checked before the first file is written.
    trust = check_approval(files, asked, now)
    _check_newest(place, trust, asked)
    if state.stage is Stage.ENROLLED:
        return []
    terms = Terms(asked.unit, state.broker, asked.root, state.kept)
    check_config(place, terms)
    _check_drop_ins(place, state.kept)
    if state.stage is Stage.REQUESTED:
        check_keys(Keeper(place.staging, state.kept, state.tpm_device), asked)
    # 2. From here on the daemon does not start until the last step is done.
    write_state(place.staging, replace_stage(state, Stage.INSTALLING, state.request))
    written = _install(place, state, files, terms)
    write_state(place.staging, replace_stage(state, Stage.ENROLLED, state.request))
    return written


def _check_drop_ins(place: Place, kept: Kept) -> None:
    """An image's root is read only; found out later, the unit would be left half enrolled."""
    there = next(path for path in (place.drop_ins, *place.drop_ins.parents) if path.exists())
    if kept is not Kept.FILE and os.statvfs(there).f_flag & os.ST_RDONLY:
        raise KeyFileError(
            "is read only, as on an image, so the service could not be told of its sealed keys",
            where=str(place.drop_ins),
            next_step=f"run it with --drop-ins {place.folder / IMAGE_DROP_INS}, then restart the unit",
        )


def _check_newest(place: Place, trust: TrustStore, asked: Asked) -> None:
    """An older trust store than is installed, or was ever used, could bring a revoked key back."""
    HighWater(place.data / "seen.json").check(trust.numbered)
    installed = place.folder / "trust.json"
    if installed.exists():
        there = open_trust_store(read_bounded(installed, TRUST_STORE_LIMIT), asked.root)
        if there.content.sequence > trust.content.sequence:
            raise DocumentError(
                f"has sequence {trust.content.sequence}; {there.content.sequence} is installed",
                where="trust.json",
                next_step="have the request approved where the newest trust store is",
            )


def _install(place: Place, state: State, files: ApprovalFiles, terms: Terms) -> list[Path]:
    names = names_of(terms.unit, terms.kept)
    tls = place.folder / "tls"
    tls.mkdir(mode=0o750, exist_ok=True)
    if place.owner is not None:
        give_to(tls, (KEEP, place.owner[1]))
    public = {
        names.trust: files.trust_store,
        names.authority: files.authority,
        names.certificate: files.certificate,
    }
    written = []
    for name, content in public.items():
        file = place.folder / name
        if not file.exists() or file.read_bytes() != content:
            write_atomic(file, content)
            written.append(file)
    written += _keys(place, state, names_of(terms.unit, Kept.FILE))
    first = {place.folder / BROKER_ENV: f"BROKER={terms.broker}\n".encode()}
    first[place.config] = config_text(terms)
    for file, content in first.items():
        if not file.exists():
            write_atomic(file, content)
            written.append(file)
    return written


def _keys(place: Place, state: State, in_files: Names) -> list[Path]:
    """Moved, never copied: a copy of a private key on flash would stay there."""
    plain = {UNIT_KEY: place.folder / UNIT_KEY, TLS_KEY: place.folder / in_files.tls_key}
    sealed = {name: place.folder / SEALED / name for name in (UNIT_KEY, TLS_KEY)}
    drop_in = place.drop_ins / DROP_IN
    targets, others = (plain, sealed) if state.kept is Kept.FILE else (sealed, plain)
    if state.kept is not Kept.FILE:
        (place.folder / SEALED).mkdir(mode=0o700, exist_ok=True)
        place.drop_ins.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomic(drop_in, drop_in_text(sealed))
    for name, target in targets.items():
        staged = place.staging / name
        if staged.exists():
            if state.kept is Kept.FILE:
                give_to(staged, place.owner)
            staged.replace(target)
            sync_folder(target.parent)
    for other in (*others.values(), *([drop_in] if state.kept is Kept.FILE else [])):
        destroy(other)  # of an enrolment before this one, if its keys were kept in the other way
    return [*targets.values(), *([] if state.kept is Kept.FILE else [drop_in])]
