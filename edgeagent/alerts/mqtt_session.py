"""One connection to the broker, from TCP to its end; never reused.

paho keeps unacknowledged messages in memory and sends them again on its own after a reconnection, which
would send alerts past their expiry. A client that lives for one connection cannot: what was not
acknowledged dies with it and is sent again, or not, by the outbox.
"""

from __future__ import annotations

import enum
import socket
import ssl
import struct
from collections.abc import Callable, Sequence

from paho.mqtt import MQTTException
from paho.mqtt.client import (
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
    MQTTMessageInfo,
    time_func,
)
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeagent.alerts import link_faults
from edgeagent.alerts.link_types import LinkSettings, Subscription, Will
from edgeagent.errors import BrokerError

_PACKET_OVERHEAD = 2048  # topic, properties and header around a payload
_FAILURE = 0x80
_UNSUPPORTED_PROTOCOL = 0x84
_UNREADABLE = (ValueError, IndexError, KeyError, TypeError, struct.error, MQTTException)


class Phase(enum.Enum):
    """How far the connection has come."""

    CONNECTING = "connecting"
    ACCEPTED = "accepted"
    SUBSCRIBING = "subscribing"
    READY = "ready"
    ENDED = "ended"


class MqttSession:
    """A paho client, driven by one thread; only `publish` may be called from another."""

    def __init__(
        self,
        settings: LinkSettings,
        protocol: MQTTProtocolVersion,
        *,
        will: Will | None,
        on_message: Callable[[MQTTMessage], None],
        on_ack: Callable[[int], None],
    ) -> None:
        """`on_message` and `on_ack` (with a reason code) run in the driving thread; they must be short."""
        self.phase = Phase.CONNECTING
        self.fault: BrokerError | None = None
        self.wrong_protocol = False
        self._settings = settings
        self._where = f"{settings.host}:{settings.port}"
        if settings.through is not None:
            self._where += f" through {settings.through}"
        self._v5 = protocol is MQTTProtocolVersion.MQTTv5
        self._sent = False
        self._socket_log: str | None = None
        self._on_ack = on_ack
        self._client = self._make_client(protocol, on_message)
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=will.retain)

    @property
    def pending(self) -> bool:
        """Whether the broker has neither granted everything yet nor gone."""
        return self.phase not in (Phase.READY, Phase.ENDED)

    def connect(self, context: ssl.SSLContext) -> None:
        """TCP and TLS, then send CONNECT; the session has ended, with its fault, when that fails."""
        self._client.tls_set_context(context)
        host, port, keepalive = self._settings.host, self._settings.port, self._settings.keepalive_s
        if self._settings.through is not None:
            host = str(self._settings.through)
        try:
            if self._v5:
                limits = _properties(PacketTypes.CONNECT)
                limits.MaximumPacketSize = self._settings.max_payload_bytes + _PACKET_OVERHEAD
                self._client.connect(host, port, keepalive, clean_start=True, properties=limits)
            else:
                self._client.connect(host, port, keepalive)
        except OSError as error:
            self._end(link_faults.from_os_error(error, self._where))
        else:
            self._sent = True
            self._wake_by_unix_sockets()

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Ask for all filters at once; the session is ready when the broker grants every one."""
        if not subscriptions:
            self.phase = Phase.READY
            return
        self.phase = Phase.SUBSCRIBING
        if self._v5:
            # "Retain as published" keeps the mark on a message that was retained while we listen.
            options = [
                (s.topic_filter, SubscribeOptions(qos=1, retainAsPublished=True)) for s in subscriptions
            ]
            self._client.subscribe(options)
        else:
            self._client.subscribe([(s.topic_filter, 1) for s in subscriptions])

    def pump(self, timeout_s: float) -> None:
        """Read and write for at most `timeout_s`; afterwards look at `phase`."""
        if self.phase is Phase.ENDED:
            return
        if self.pending:
            self._be_patient()
        try:
            result = self._client.loop(timeout_s)
        except OSError as error:
            self._end(link_faults.from_os_error(error, self._where))
        except _UNREADABLE:
            self._end(BrokerError("sent something that is not MQTT", where=self._where))
        else:
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._end(link_faults.from_log(self._socket_log, self._where))

    def publish(
        self, topic: str, payload: bytes, *, retain: bool, expires_in_s: int | None
    ) -> MQTTMessageInfo:
        """Hand one message to the connection, QoS 1. Raises `BrokerError` instead of queueing it."""
        properties = None
        if self._v5 and expires_in_s is not None:
            properties = _properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = expires_in_s
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise BrokerError(
                "too many messages wait for the broker's acknowledgement",
                where=self._where,
                next_step="Nothing to do: the message is offered again.",
            )
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise link_faults.closed(self._where)
        return info

    def close(self, *, polite: bool) -> None:
        """Close the socket. `polite` says DISCONNECT first, which makes the broker drop the will."""
        if polite and self.phase is not Phase.ENDED:
            self._client.disconnect()
            self.pump(0.5)
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        self._end(link_faults.closed(self._where))
        self._let_go()

    def give_up(self, fault: BrokerError | None) -> None:
        """End the session for a reason of the caller's, or because the broker let its time pass."""
        ungranted = self.phase is Phase.SUBSCRIBING
        self._end(fault or (link_faults.ungranted if ungranted else link_faults.silent)(self._where))

    def _make_client(
        self, protocol: MQTTProtocolVersion, on_message: Callable[[MQTTMessage], None]
    ) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            # No stored session: a lease or receipt that the broker kept for us would be a stale one.
            clean_session=None if self._v5 else True,
            protocol=protocol,
            transport="tcp" if self._settings.through is None else "unix",
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._settings.connect_timeout_s
        # Equal limits leave paho nothing to queue: the message after the last slot is refused.
        client.max_inflight_messages_set(self._settings.max_in_flight)
        client.max_queued_messages_set(self._settings.max_in_flight)
        client.on_socket_open = _send_at_once
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_publish = self._acknowledged
        client.on_log = self._logged
        client.on_message = lambda _client, _data, message: on_message(message)
        # With this set, publish() from another thread only wakes our loop and never writes by itself.
        client.on_socket_register_write = lambda _client, _data, _socket: None
        return client

    def _wake_by_unix_sockets(self) -> None:
        """The pair by which `publish` wakes our loop. paho would make its own in AF_INET, which the service
        may not use (`RestrictAddressFamilies=AF_UNIX`): a unit in its sandbox would never reach its broker.
        """
        client, (reader, writer) = self._client, socket.socketpair(socket.AF_UNIX)
        reader.setblocking(False)
        writer.setblocking(False)
        client._sockpairR, client._sockpairW = reader, writer  # closed by paho with the rest

    def _be_patient(self) -> None:
        """Until the session is ready, silence ends it by `give_up` alone. paho would take the broker for dead
        after one silent keep-alive before its welcome, counted from before the handshake, and after two while
        it grants subscriptions; also one that has a whole fleet to welcome. Whoever leaves then loses its
        place, and what it leaves behind is more work for the broker. Measured. Pings are sent once it may.
        """
        client = self._client
        client._last_bytes_received, client._ping_t = time_func(), 0.0
        if self.phase is Phase.CONNECTING:
            client._last_msg_out = client._last_bytes_received  # paho would close: it may not ping yet

    def _let_go(self) -> None:
        # The callbacks tie us and the client into a ring, which would keep its sockets and messages until
        # the garbage collector came by; a device that loses its broker often must not grow meanwhile.
        client = self._client
        client.on_connect = client.on_disconnect = client.on_subscribe = client.on_publish = None
        client.on_log = client.on_message = client.on_socket_register_write = None

    def _end(self, fault: BrokerError) -> None:
        if self.phase is Phase.CONNECTING and self._v5 and self._sent:
            # Brokers of MQTT 3.1.1 answer a CONNECT of MQTT 5 with a refusal, or hang up, or, as amqtt
            # does when there is a will, with nothing at all.
            self.wrong_protocol = fault.what in (link_faults.CLOSED, link_faults.SILENT)
        self.fault = self.fault or fault
        self.phase = Phase.ENDED

    def _connected(
        self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _p: object
    ) -> None:
        if not reason.is_failure:
            self.phase = Phase.ACCEPTED
            return
        self._end(link_faults.from_reason(reason.value, self._where))
        self.wrong_protocol = self._v5 and reason.value == _UNSUPPORTED_PROTOCOL

    def _subscribed(
        self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _p: object
    ) -> None:
        refused = [reason.value for reason in reasons if reason.value >= _FAILURE]
        if refused:
            self._end(link_faults.from_reason(refused[0], self._where))
        elif self.phase is Phase.SUBSCRIBING:
            self.phase = Phase.READY

    def _disconnected(
        self,
        _client: Client,
        _data: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _p: object,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(link_faults.from_reason(reason.value, self._where))
        elif reason.getName() == "Keep alive timeout":
            self._end(link_faults.silent(self._where))
        else:
            self._end(link_faults.from_log(self._socket_log, self._where))

    def _acknowledged(
        self, _client: Client, _data: object, _mid: int, reason: ReasonCode, _p: object
    ) -> None:
        self._on_ack(reason.value)

    def _logged(self, _client: Client, _data: object, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._socket_log = text


def _send_at_once(_client: Client, _data: object, opened: object) -> None:
    """Without this a receipt or a lease that follows an acknowledgement waits for 40 ms: Nagle's algorithm
    holds it back until the broker's kernel has confirmed the acknowledgement, which that puts off. Measured.
    """
    if isinstance(opened, socket.socket) and opened.family != socket.AF_UNIX:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]
