"""Certificates, keys, trust store, authority: what this unit was given. The list stays closed (R1)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from edgeagent.agent.build import load_trust, load_unit
from edgeagent.agent.deployment import Unit, examine_deployment
from edgeagent.agent.doctor_finding import CannotTellError, WorthALookError
from edgeagent.agent.enrol_config import CREDENTIALS
from edgeagent.agent.enrol_state import FOLDER, Stage, read_state, refuse_without_keys
from edgeagent.config import Config
from edgeagent.documents.deployment_key import load_key
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import BrokerError, DocumentError, KeyFileError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.certificates import WARNING_DAYS, expires_in_days
from edgeagent.system.modelpack import ModelPack

SEEN = "seen.json"


def enrolment(config_file: Path) -> str:
    """How far this unit came with the control room's approval."""
    folder = config_file.parent / FOLDER
    state = read_state(folder)
    if state is None:
        if config_file.exists():
            return "none was begun here; its keys came by hand"
        raise WorthALookError("was not begun", next_step="edgeagent enrol begin")
    match state.stage:
        case Stage.ENROLLED:
            return f"enrolled, request {state.number}, keys kept by {state.kept}"
        case Stage.INSTALLING:
            raise KeyFileError(
                "was interrupted while its files were installed",
                where=str(folder),
                next_step="run edgeagent enrol finish again, with the same files",
            )
        case Stage.REQUESTED:
            advice = "edgeagent enrol status shows the code to read out"
            raise WorthALookError("waits for the control room's approval", next_step=advice)
    raise WorthALookError("a request was begun and cut short", next_step="edgeagent enrol begin")


def keys_are_open(config: Config) -> None:
    """Sealed keys are in memory while the service runs, and nowhere else.

    Raises:
        CannotTellError: they are sealed, and the service does not run.
    """
    for name in (config.unit.key, config.broker.key):
        if Path(name).is_relative_to(CREDENTIALS) and not Path(name).exists():
            raise CannotTellError(
                "the private keys are sealed: only the running service has them",
                next_step="systemctl start edgeagent, then ask again",
            )


def certificates(config: Config, now: Instant) -> str:
    """When this unit's TLS certificate and the authority that it trusts end."""
    own = _days("certificate", config.path(config.broker.certificate), now)
    authority = _days("authority", config.path(config.broker.ca), now)
    return f"valid for {own:.0f} days; its authority for {authority:.0f}"


def _days(what: str, file: Path, now: Instant) -> float:
    days = expires_in_days(file, now=now.wall)
    if days <= 0:
        raise BrokerError(
            f"{what} expired {-days:.0f} days ago", where=str(file), next_step="renew it at the desk now"
        )
    if days < WARNING_DAYS:
        raise WorthALookError(
            f"{what} expires in {days:.0f} days", where=str(file), next_step="renew it at the desk"
        )
    return days


def keys(config: Config, pack: ModelPack, now: Instant) -> str:
    """This unit's private key, and what the trust store says of it."""
    keys_are_open(config)
    refuse_without_keys(config)
    _reached(config)
    unit = load_unit(config, pack)
    held = unit.trust.by_kid.get(unit.identity.kid)
    store = str(config.path(config.trust.store))
    if held is None:
        raise DocumentError(
            "this unit's key is not in the trust store",
            where=store,
            next_step="ask the desk for the store that was signed after the unit was approved; put it there",
        )
    if held.revoked:
        raise DocumentError(
            "this unit's key is revoked",
            where=store,
            next_step="enrol the unit again, then install the new trust store",
        )
    left = (held.not_after - now.wall) / timedelta(days=1)
    if not held.not_before <= now.wall < held.not_after:
        raise DocumentError(
            "this unit's key does not count now",
            where="trust store",
            next_step="check the clock; enrol it again",
        )
    if left < WARNING_DAYS:
        raise WorthALookError(
            f"this unit's key ends in {left:.0f} days", where="trust store", next_step="enrol the unit again"
        )
    return f"{unit.identity.name}, its key counts for {left:.0f} days"


def trust(config: Config) -> str:
    """Whom this unit trusts."""
    store = load_trust(config)
    HighWater(config.data_folder / SEEN).check(store.numbered)
    return f"number {store.content.sequence}, {len(store.by_kid)} keys, profile {store.profile.name}"


def deployment(config: Config, pack: ModelPack, now: Instant) -> str:
    """Every check that the daemon makes of a deployment's documents, but that of the list's closed body."""
    keys_are_open(config)
    _reached(config)
    try:
        unit = load_unit(config, pack)
    except KeyFileError as without:
        raise CannotTellError("it depends on the unit's key") from without
    found = examine_deployment(unit, HighWater(config.data_folder / SEEN), now)
    authority, manifest = found.authorised.body, found.sealed.manifest
    # The one key that opens the list is here.
    _sealed_to_us(unit, authority.deployment, (key.kid for key in manifest.sealed_keys))
    until = f"{authority.end:%Y-%m-%d %H:%M %Z}"
    return f"{authority.kind} {authority.deployment}, {manifest.entries} entries, until {until}"


def _reached(config: Config) -> None:
    """One fault is one finding: what rests on the trust store cannot be told without it."""
    try:
        load_trust(config)
    except (KeyFileError, DocumentError) as without:
        raise CannotTellError("it depends on the trust store") from without


def _sealed_to_us(unit: Unit, deployment: str, kids: Iterable[str]) -> None:
    own = load_key(unit.config.data_folder, unit.identity.name, deployment)
    if own.public.kid not in kids:
        raise DocumentError(
            "is not sealed to this unit's key for this deployment",
            where="watchlist",
            next_step=f"build it with the --unit-key that {unit.identity.name} made",
        )
