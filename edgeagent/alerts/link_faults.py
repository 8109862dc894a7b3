"""Names for what can go wrong between here and the broker, each with the next step."""

from __future__ import annotations

import socket
import ssl

from edgeagent.errors import BrokerError

CLOSED = "the connection was closed"
SILENT = "the broker does not answer"

_LOOK_AT_BROKER = "Look at the broker's log."
_CHECK_CERTIFICATES = (
    "Check that this unit's certificate and the broker's come from the same authority, are in date, "
    "and that the clock is right."
)

# MQTT 5 reason codes; those of 3.1.1 are translated to them by paho.
_REASONS: dict[int, tuple[str, str]] = {
    0x84: ("the broker speaks neither MQTT 5 nor 3.1.1", "Use a broker that does."),
    0x85: ("the broker refuses this client name", "Give the unit another name."),
    0x86: ("the broker refuses the certificate's name", "Add the unit to the broker's access list."),
    0x87: ("the broker does not authorise this unit", "Add the unit to the broker's access list."),
    0x88: ("the broker is not available", "Wait, or look at the broker's log."),
    0x89: ("the broker is busy", "Wait, or look at the broker's load."),
    0x8B: ("the broker is shutting down", "Wait until it is back."),
    0x8D: ("the broker heard nothing from us in time", "Check the network."),
    0x8E: (
        "another client uses this unit's name",
        "Find the second device with this name.",
    ),
    0x95: ("a message was too large for the broker", "Raise the broker's message size limit."),
}


def from_reason(code: int, where: str) -> BrokerError:
    """The error for a reason code in CONNACK, SUBACK or DISCONNECT."""
    what, next_step = _REASONS.get(code, (f"the broker refused with reason 0x{code:02X}", _LOOK_AT_BROKER))
    return BrokerError(what, where=where, next_step=next_step)


def from_os_error(error: OSError, where: str) -> BrokerError:
    """The error for a failed TCP connection or TLS handshake."""
    what, next_step = _describe(error)
    return BrokerError(what, where=where, next_step=next_step)


def from_log(text: str | None, where: str) -> BrokerError:
    """The error for a connection that closed; `text` is what paho last logged about its socket.

    With TLS 1.3 a broker refuses a client certificate only after the handshake, as an alert that paho
    reports nowhere but in its log.
    """
    if text is not None and "SSL" in text and "alert" in text.lower():
        return BrokerError(
            "TLS: the broker refuses our certificate", where=where, next_step=_CHECK_CERTIFICATES
        )
    return closed(where)


def closed(where: str) -> BrokerError:
    """The connection ended without a reason. Mosquitto 2.0 gives none over TLS when a name is taken twice."""
    return BrokerError(
        CLOSED, where=where, next_step="Look at the broker's log, and for a second device with this name."
    )


def silent(where: str) -> BrokerError:
    """The broker did not answer in time."""
    return BrokerError(SILENT, where=where, next_step="Check the network and whether the broker hangs.")


def ungranted(where: str) -> BrokerError:
    """The broker let us in, and then did not grant our subscriptions in time."""
    return BrokerError(
        "the broker let us in and did not grant our subscriptions",
        where=where,
        next_step="Look at the broker's load: a whole fleet may be coming back.",
    )


def _describe(error: OSError) -> tuple[str, str]:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"TLS: the broker's certificate is not accepted ({error.verify_message})",
                _CHECK_CERTIFICATES,
            )
        case ssl.SSLError():
            return (
                f"TLS failed ({error.reason})",
                "Check that the port speaks TLS, and the versions it offers.",
            )
        case socket.gaierror():
            return "the broker's name cannot be resolved", "Check the host name and the name server."
        case FileNotFoundError():
            return "the local socket is not there", "Start it: systemctl start edgeagent-broker.socket"
        case ConnectionRefusedError():
            return "nothing listens there", "Start the broker, or check host and port."
        case TimeoutError():
            return SILENT, "Check the network and whether the broker hangs."
        case ConnectionError():
            return CLOSED, _LOOK_AT_BROKER
    return (
        f"no route to the broker ({error.strerror or type(error).__name__})",
        "Check cable, radio and routes.",
    )
