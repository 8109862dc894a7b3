"""Whether the broker can be reached as the daemon would reach it: by name, with TLS, with our certificate."""

from __future__ import annotations

import socket
import ssl
from datetime import timedelta

from edgeagent.agent.doctor_finding import WorthALookError
from edgeagent.agent.doctor_papers import keys_are_open
from edgeagent.alerts.tls import tls_context
from edgeagent.config import Config
from edgeagent.errors import BrokerError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.certificates import WARNING_DAYS

BROKER_WAIT_S = 3.0
CERTIFICATE_WAIT_S = 0.7
TLS_MINIMUM = "1.3"


def broker(config: Config, now: Instant) -> str:
    """Shake hands and say nothing: a message would end the daemon's own session."""
    keys_are_open(config)
    chosen = config.broker
    where = f"{chosen.host}:{chosen.port}"
    ca, certificate, key = (config.path(name) for name in (chosen.ca, chosen.certificate, chosen.key))
    context = tls_context(ca, certificate, key, TLS_MINIMUM, chosen.host)
    try:
        with (
            _connected(config) as plain,
            context.wrap_socket(plain, server_hostname=chosen.host) as wrapped,
        ):
            wrapped.settimeout(CERTIFICATE_WAIT_S)
            _hear_refusal(wrapped)
            days, version = _its_days(wrapped, now), wrapped.version()
    except OSError as cause:
        raise BrokerError(
            f"cannot be reached with TLS: {cause.strerror or cause}",
            where=where,
            next_step="check cable, modem, broker, and that its certificate and ours are of one authority",
        ) from cause
    if days < WARNING_DAYS:
        raise WorthALookError(
            f"answers with {version}, but its certificate ends in {days:.0f} days",
            where=where,
            next_step="tell the desk: the broker's certificate must be renewed",
        )
    return f"{where} answers with {version} and accepts our certificate; its own lasts {days:.0f} days"


def _connected(config: Config) -> socket.socket:
    chosen = config.broker
    if chosen.through is None:
        return socket.create_connection((chosen.host, chosen.port), BROKER_WAIT_S)
    local = socket.socket(socket.AF_UNIX)
    local.settimeout(BROKER_WAIT_S)
    local.connect(str(config.path(chosen.through)))
    return local


def _hear_refusal(wrapped: ssl.SSLSocket) -> None:
    """In TLS 1.3 a broker refuses a client's certificate only after the handshake; silence is consent."""
    try:
        if wrapped.recv(1) == b"":
            raise ConnectionAbortedError("the broker hung up on our certificate")
    except TimeoutError:
        return


def _its_days(wrapped: ssl.SSLSocket, now: Instant) -> float:
    shown = wrapped.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    return (ends - now.wall.timestamp()) / timedelta(days=1).total_seconds()
