"""What goes into and comes out of the MQTT link."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeagent.errors import ConfigError


@dataclass(frozen=True)
class LinkSettings:
    """Where the broker is and how to talk to it. There is no way to switch a TLS check off.

    Raises `ConfigError` naming the field that is out of range.
    """

    host: str
    port: int
    client_id: str = field(repr=False)
    """Best from `edgeagent.alerts.settings.new_client_id`: whoever knows it can end the connection."""
    ca_file: Path
    cert_file: Path
    key_file: Path
    through: Path | None = None
    """A local socket that something forwards to the broker; it sees TLS only. None: connect by TCP."""
    tls_minimum: Literal["1.2", "1.3"] = "1.3"
    keepalive_s: int = 5
    connect_timeout_s: float = 5.0
    max_payload_bytes: int = 262_144
    max_in_flight: int = 16
    inbox_size: int = 256
    retry_first_s: float = 0.5
    retry_cap_s: float = 30.0
    look_s: float = 0.2
    """Between two looks at the keep-alive and at whether to stop; what is sent or arrives waits for none."""

    def __post_init__(self) -> None:
        # 268,435,455 bytes is the most that an MQTT packet can hold.
        self._within("port", 1, 65_535)
        self._within("keepalive_s", 1, 65_535)
        self._within("connect_timeout_s", 0.1, 300)
        self._within("max_payload_bytes", 1, 200_000_000)
        self._within("max_in_flight", 1, 65_535)
        self._within("inbox_size", 1, 100_000)
        self._within("retry_first_s", 0.01, 3600)
        self._within("retry_cap_s", self.retry_first_s, 3600)
        self._within("look_s", 0.01, self.keepalive_s / 4)
        if not self.host or not self.client_id or self.tls_minimum not in ("1.2", "1.3"):
            raise ConfigError(
                "host and client_id must not be empty, and tls_minimum is 1.2 or 1.3",
                where="broker",
                next_step="Complete the [broker] section.",
            )

    def _within(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise ConfigError(
                f"{value} is not between {low} and {high}",
                where=f"broker.{name}",
                next_step="Correct the value.",
            )


@dataclass(frozen=True)
class Will:
    """What the broker says in our name when it loses us. QoS 1."""

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = True


@dataclass(frozen=True)
class Subscription:
    """One topic filter. A retained message is refused unless `accept_retained`: a retained lease or
    receipt would be a stale one (R16).
    """

    topic_filter: str
    accept_retained: bool = False


@dataclass(frozen=True)
class Incoming:
    """One message from the broker: opaque bytes, within the size limit, nothing verified yet."""

    topic: str
    payload: bytes = field(repr=False)
    retained: bool


@dataclass(frozen=True)
class LinkCounts:
    """Totals since the link was made.

    Attributes:
        connections: times that the broker accepted us and all subscriptions.
        published: messages handed to a live connection.
        acknowledged: of these, taken by the broker. Says nothing about the desk.
        unheard: of the acknowledged, those that nobody was subscribed to (MQTT 5 only).
        forbidden: messages that the broker refused, for instance by its access list (MQTT 5 only).
        received: messages put into the inbox.
        oversize: messages dropped for their size. With MQTT 5 the broker withholds much larger ones itself;
            with 3.1.1 they are read, up to the 256 MB of the protocol, before they can be dropped.
        retained_refused: messages dropped because they were retained.
        overflow: messages dropped because the inbox was full.
        malformed: messages dropped because topic or packet could not be read.
    """

    connections: int = 0
    published: int = 0
    acknowledged: int = 0
    unheard: int = 0
    forbidden: int = 0
    received: int = 0
    oversize: int = 0
    retained_refused: int = 0
    overflow: int = 0
    malformed: int = 0
