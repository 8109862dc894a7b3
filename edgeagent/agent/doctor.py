"""What a technician is asked on the phone, as a list with what to do next."""

from __future__ import annotations

import platform
import shutil
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgeagent.agent.build import load_unit
from edgeagent.agent.deployment import load_deployment
from edgeagent.alerts.tls import tls_context
from edgeagent.config import Config, load_config
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import BrokerError, CaptureError, EdgeAgentError, OutboxError
from edgeagent.safeguards.sources import SourceKind
from edgeagent.system.certificates import WARNING_DAYS, expires_in_days
from edgeagent.system.clock import Clock
from edgeagent.system.modelpack import ModelPack, default_pack_folder, load_pack
from edgeagent.system.process import Exposure, may_lock_all, swap_is_on
from edgeagent.system.selftest import self_test

ENOUGH_FREE = 256 * 1024 * 1024
BROKER_WAIT_S = 3.0
CERTIFICATE_WAIT_S = 0.7
TLS_MINIMUM = "1.3"
MODEL_FILE = Path("/proc/device-tree/model")


class _WorthKnowingError(EdgeAgentError):
    """Not wrong yet; shown as a note."""


class Verdict(StrEnum):
    """What a check found."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    subject: str
    verdict: Verdict
    text: str
    next_step: str = ""


def examine(config_file: Path, clock: Clock) -> list[Finding]:
    """Every check, in the order in which a technician would look; a failed one does not end the rest."""
    findings = [_board(), _clock(clock), _try("memory", _memory)]
    configs: list[Config] = []
    configured = _try("configuration", lambda: _configuration(config_file, configs))
    folder = configs[0].models_folder if configs else default_pack_folder()
    pack: list[ModelPack] = []
    findings += [_try("models", lambda: _models(folder, pack)), configured]
    if not configs:
        return findings
    config = configs[0]
    findings += [
        _try("storage", lambda: _storage(config)),
        _try("camera", lambda: _camera(config)),
        _try("certificate", lambda: _certificate(config, clock)),
        _try("broker", lambda: _broker(config)),
    ]
    if pack:
        findings.append(_try("keys and trust", lambda: _trust(config, pack[0])))
        findings.append(_try("authority and list", lambda: _deployment(config, pack[0], clock)))
    return findings


def _try(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, Verdict.GOOD, check())
    except EdgeAgentError as error:
        plain = type(error)(error.what, where=error.where, rule=error.rule)
        noted = isinstance(error, _WorthKnowingError)
        return Finding(subject, Verdict.NOTE if noted else Verdict.BAD, str(plain), error.next_step)


def _board() -> Finding:
    board = MODEL_FILE.read_text().strip("\0\n") if MODEL_FILE.exists() else platform.machine()
    return Finding("board", Verdict.GOOD, f"{board}, Python {sys.version.split()[0]}, {platform.release()}")


def _clock(clock: Clock) -> Finding:
    now = clock.now()
    if now.synchronised:
        return Finding("clock", Verdict.GOOD, f"{now.wall:%Y-%m-%d %H:%M:%S} UTC, synchronised")
    text = f"{now.wall:%Y-%m-%d %H:%M:%S} UTC, not synchronised"
    return Finding(
        "clock",
        Verdict.NOTE,
        text,
        "compare with your watch; the gate stays locked until time is synchronised or the control room's "
        "signed time agrees",
    )


def _memory() -> str:
    """Whether the system would let a daemon of this user keep faces out of swap (R1)."""
    problem = Exposure(dumps=False, swaps=swap_is_on() and not may_lock_all()).problem
    if problem:
        raise _WorthKnowingError(problem, next_step="try as the service does; docs/deletion.md says why")
    return "all of it can be locked" if may_lock_all() else "cannot be locked, but there is no swap"


def _models(folder: Path, found: list[ModelPack]) -> str:
    pack = load_pack(folder)
    report = self_test(pack)
    found.append(pack)
    restricted = "" if pack.use == "any" else ", FOR RESEARCH ONLY: bench, never live (R28)"
    return f"pack {pack.sha256[:12]}…{restricted}, {report}"


def _configuration(file: Path, found: list[Config]) -> str:
    config = load_config(file)
    found.append(config)
    return f"unit {config.unit.name}, source {config.camera.source}"


def _storage(config: Config) -> str:
    folder = config.data_folder
    base = config.path(config.data.folder)
    there = next((place for place in (folder, base) if place.exists()), base.parent)
    if not there.exists():
        raise OutboxError(
            "does not exist", where=str(folder), next_step="make the folder, owned by the service"
        )
    free = shutil.disk_usage(there).free
    if free < ENOUGH_FREE:
        raise OutboxError(f"only {free >> 20} MiB free", where=str(there), next_step="free some space")
    return f"{free >> 20} MiB free at {there}"


def _camera(config: Config) -> str:
    source = config.source
    if source.kind is SourceKind.CAMERA and not Path(source.target).exists():
        raise CaptureError(
            "is not there", where=source.target, next_step="plug the camera in; try its other port"
        )
    return f"{source.kind} {source.target} (opened only under authority and lease)"


def _certificate(config: Config, clock: Clock) -> str:
    file = config.path(config.broker.certificate)
    days = expires_in_days(file, now=clock.now().wall)
    if days <= 0:
        raise BrokerError(
            f"expired {-days:.0f} days ago", where=str(file), next_step="renew it at the desk now"
        )
    if days < WARNING_DAYS:
        raise _WorthKnowingError(
            f"expires in {days:.0f} days", where=str(file), next_step="renew it at the desk"
        )
    return f"valid for {days:.0f} days"


def _broker(config: Config) -> str:
    """Reach it as the daemon would: by name, with TLS, showing our certificate; says nothing to it."""
    broker = config.broker
    where = f"{broker.host}:{broker.port}"
    ca, certificate, key = (config.path(name) for name in (broker.ca, broker.certificate, broker.key))
    context = tls_context(ca, certificate, key, TLS_MINIMUM, broker.host)
    try:
        with (
            _connected(config) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as wrapped,
        ):
            wrapped.settimeout(CERTIFICATE_WAIT_S)
            _hear_refusal(wrapped)
            return f"{where} answers with {wrapped.version()} and accepts our certificate"
    except OSError as cause:
        raise BrokerError(
            f"cannot be reached with TLS: {cause.strerror or cause}",
            where=where,
            next_step="check cable, modem, broker, and that its certificate and ours are of one authority",
        ) from cause


def _connected(config: Config) -> socket.socket:
    broker = config.broker
    if broker.through is None:
        return socket.create_connection((broker.host, broker.port), BROKER_WAIT_S)
    local = socket.socket(socket.AF_UNIX)
    local.settimeout(BROKER_WAIT_S)
    local.connect(str(config.path(broker.through)))
    return local


def _hear_refusal(wrapped: ssl.SSLSocket) -> None:
    """In TLS 1.3 a broker refuses a client's certificate only after the handshake; silence is consent."""
    try:
        if wrapped.recv(1) == b"":
            raise ConnectionAbortedError("the broker hung up on our certificate")
    except TimeoutError:
        return


def _trust(config: Config, pack: ModelPack) -> str:
    unit = load_unit(config, pack)
    return f"{unit.identity.name}, {len(unit.trust.by_kid)} keys, profile {unit.trust.profile.name}"


def _deployment(config: Config, pack: ModelPack, clock: Clock) -> str:
    seen = HighWater(config.data_folder / "seen.json")
    deployment = load_deployment(load_unit(config, pack), seen, clock.now())
    authority = deployment.authority
    deployment.gallery.wipe()
    return (
        f"{authority.kind} {authority.deployment}, {len(deployment.entries)} entries, until {authority.end}"
    )
