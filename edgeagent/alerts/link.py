"""The MQTT link: one thread that keeps a connection to the broker, and a bounded inbox.

Nothing is ever queued for sending: `publish` works while connected and raises otherwise. What must not be
lost is in the outbox; what arrives is handed over unread, since only the owner can verify it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from paho.mqtt.client import MQTTMessage, MQTTMessageInfo, topic_matches_sub
from paho.mqtt.enums import MQTTProtocolVersion

from edgeagent.alerts import link_faults
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.link_types import Incoming, LinkCounts, LinkSettings, Subscription, Will
from edgeagent.alerts.mqtt_session import MqttSession, Phase
from edgeagent.alerts.tls import tls_context
from edgeagent.errors import BrokerError, KeyFileError
from edgeagent.system.journal import Line, about

log = logging.getLogger("edgeagent")

_PUMP_S = 0.2
_FAILURE = 0x80
_NO_SUBSCRIBER = 0x10
_PROTOCOLS = {MQTTProtocolVersion.MQTTv5: "MQTT 5", MQTTProtocolVersion.MQTTv311: "MQTT 3.1.1"}
PATIENCE_MOST_S = 30.0
"""An attempt may take twice as long as the one before it, up to this. With one patience for ever, a
broker that cannot greet a whole fleet within it greets nobody: each has left when its turn comes. Measured.
"""
LET_IN_S = 120.0
"""A broker that has let us in may take so long to grant our subscriptions. Three nodes of RabbitMQ need half
a minute for those of 500 clients, and do it for all of them side by side: whoever leaves before the end
starts again at the beginning, and the nodes clear up after it first. Measured. It is a limit all the same: a
network that dies at this moment is noticed at its end only.
"""
WITHOUT_5_S = 3600.0
"""So long a broker that hung up on MQTT 5 and took 3.1.1 is not asked again: else each unit of a fleet that
comes back knocks twice. Not for ever: whoever cuts a connection at the right moment looks like such a broker.
"""


class MqttLink:
    """A connection that is made again whenever it is lost, until `close`.

    Attributes:
        inbox: `Incoming` messages for the owner to poll; when it is full, new ones are dropped and counted.
        last_error: why there is no connection, or why the last one ended; None before anything went wrong.
        broker_protocol: `"MQTT 5"` or `"MQTT 3.1.1"` of the present or last connection, else `""`.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        subscriptions: Sequence[Subscription],
        will: Will | None,
        on_connected: Callable[[], None],
        monotonic: Callable[[], float],
        rng: random.Random,
    ) -> None:
        """`on_connected` runs in the link's thread each time all subscriptions stand: publish birth there.

        It may raise `BrokerError` (the connection is then given up) and nothing else.
        """
        self.inbox: queue.Queue[Incoming] = queue.Queue(settings.inbox_size)
        self.last_error: BrokerError | None = None
        self.broker_protocol = ""
        self._settings = settings
        self._subscriptions = tuple(subscriptions)
        self._will = will
        self._on_connected = on_connected
        self._monotonic = monotonic
        self._rng = rng
        self._without_5_until = -math.inf
        self._backoff = Backoff(settings.retry_first_s, settings.retry_cap_s)
        first_s = settings.connect_timeout_s
        self._patience = Backoff(first_s, max(first_s, PATIENCE_MOST_S))
        self._session: MqttSession | None = None
        self._counts = LinkCounts()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._polite = True
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin connecting. Raises `KeyFileError` at once when the TLS files cannot be used."""
        self._tls()
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and every subscription, and has not been lost since."""
        session = self._session
        return session is not None and session.phase is Phase.READY

    @property
    def running(self) -> bool:
        """Whether the link's thread lives; False after `close` or a fault of the program."""
        return self._thread.is_alive()

    @property
    def counts(self) -> LinkCounts:
        """Totals so far."""
        return self._counts

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, expires_in_s: int | None = None
    ) -> None:
        """Send one message now, QoS 1, or raise `BrokerError`; never kept for later.

        `expires_in_s`: how long the broker may hold it for a subscriber (MQTT 5 only, otherwise ignored).
        """
        self._publish(topic, payload, retain, expires_in_s)

    def close(self, final: tuple[str, bytes, bool] | None, *, timeout_s: float) -> bool:
        """Publish `final` (topic, payload, retain), disconnect and end the thread within about `timeout_s`.

        Returns whether the broker took the final message. When it did not, we leave without saying
        goodbye, so that the broker publishes the will in its place.
        """
        told = final is None or self._tell(final, timeout_s / 2)
        self._polite = told
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s / 2)
        return told and final is not None

    def _tell(self, final: tuple[str, bytes, bool], timeout_s: float) -> bool:
        try:
            info = self._publish(final[0], final[1], final[2], None)
            info.wait_for_publish(timeout_s)
            return info.is_published()
        except (BrokerError, RuntimeError, ValueError):
            return False  # the connection is gone or going: the will speaks for us

    def _publish(self, topic: str, payload: bytes, retain: bool, expires_in_s: int | None) -> MQTTMessageInfo:
        session = self._session
        if session is None or session.phase is not Phase.READY:
            raise BrokerError(
                "not connected to the broker",
                where=f"{self._settings.host}:{self._settings.port}",
                next_step=self.last_error.next_step if self.last_error else "Wait for the connection.",
            )
        if len(payload) > self._settings.max_payload_bytes:
            raise BrokerError(
                f"a message of {len(payload)} bytes is over the limit of {self._settings.max_payload_bytes}",
                where=topic,
                next_step="Make the crop smaller or raise max_payload_bytes here and at the broker.",
            )
        info = session.publish(topic, payload, retain=retain, expires_in_s=expires_in_s)
        self._add(published=1)
        return info

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._stop.is_set():
                session = self._establish(self._patience.step_s(attempt))
                if session is not None and self._serve(session) > self._settings.keepalive_s:
                    attempt = 0  # only a connection that lasted counts as a success
                if not self._stop.is_set():
                    self._say(str(self.last_error))
                    self._stop.wait(self._backoff.delay_s(attempt, self._rng))
                attempt += 1
        finally:
            self._session = None

    def _establish(self, patience_s: float) -> MqttSession | None:
        """A ready session over MQTT 5, else over 3.1.1; None, with `last_error` set, over neither."""
        without_5 = self._monotonic() < self._without_5_until
        for protocol in list(_PROTOCOLS)[without_5:]:
            session = self._attempt(protocol, patience_s)
            if session.phase is Phase.READY:
                self.broker_protocol = _PROTOCOLS[protocol]
                if protocol is MQTTProtocolVersion.MQTTv311 and not without_5:
                    self._without_5_until = self._monotonic() + WITHOUT_5_S
                return session
            session.close(polite=False)
            if not session.wrong_protocol or self._stop.is_set():
                break
        self.last_error = session.fault
        return None

    def _attempt(self, protocol: MQTTProtocolVersion, patience_s: float) -> MqttSession:
        settings = replace(self._settings, connect_timeout_s=patience_s)
        session = MqttSession(
            settings, protocol, will=self._will, on_message=self._arrived, on_ack=self._acknowledged
        )
        try:
            session.connect(self._tls())  # read again each time: a renewed certificate needs no restart
        except KeyFileError as error:
            session.give_up(BrokerError(error.what, where=error.where, next_step=error.next_step))
        deadline = self._monotonic() + patience_s
        while session.pending and not self._stop.is_set():
            session.pump(_PUMP_S)
            if session.phase is Phase.ACCEPTED:
                session.subscribe(self._subscriptions)
                deadline = self._monotonic() + max(patience_s, LET_IN_S)
            if session.pending and self._monotonic() > deadline:
                session.give_up(None)
        return session

    def _serve(self, session: MqttSession) -> float:
        """Keep a ready session going until it ends or we stop; return the seconds that it lasted."""
        began = self._monotonic()
        self._session = session
        self._add(connections=1)
        self._say(f"connected over {self.broker_protocol}")
        try:
            self._on_connected()
            while session.phase is Phase.READY and not self._stop.is_set():
                session.pump(self._settings.look_s)
        except BrokerError as error:
            session.give_up(error)
        finally:
            self._session = None
            if session.phase is Phase.ENDED:
                self.last_error = session.fault
            # Anything but a finished farewell leaves the will to speak for us.
            session.close(polite=self._polite and self._stop.is_set())
        return self._monotonic() - began

    def _arrived(self, message: MQTTMessage) -> None:
        # Size first: nothing else is looked at in a message that is too large.
        if len(message.payload) > self._settings.max_payload_bytes:
            self._add(oversize=1)
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._add(malformed=1)
            return
        if message.retain and not self._accepts_retained(topic):
            self._add(retained_refused=1)  # R16: a stored lease proves nothing about officers now
            return
        incoming = Incoming(topic, bytes(message.payload), bool(message.retain))
        if self._accepts_retained(topic) and self.inbox.full():
            # R27: what is kept on the broker is said once; a flood of anything else must not drown it.
            with contextlib.suppress(queue.Empty):
                self.inbox.get_nowait()
                self._add(overflow=1)
        try:
            self.inbox.put_nowait(incoming)
        except queue.Full:
            self._add(overflow=1)
        else:
            self._add(received=1)

    def _accepts_retained(self, topic: str) -> bool:
        matching = [s for s in self._subscriptions if topic_matches_sub(s.topic_filter, topic)]
        return bool(matching) and all(s.accept_retained for s in matching)

    def _acknowledged(self, reason: int) -> None:
        if reason >= _FAILURE:
            self._add(forbidden=1)
            self.last_error = link_faults.from_reason(reason, f"{self._settings.host}:{self._settings.port}")
        else:
            self._add(acknowledged=1, unheard=int(reason == _NO_SUBSCRIBER))

    def _add(self, **amounts: int) -> None:
        with self._lock:
            now = {name: getattr(self._counts, name) + amount for name, amount in amounts.items()}
            self._counts = replace(self._counts, **now)

    def _say(self, text: str) -> None:
        """For the technician, once for each change: a unit in its sandbox is alone with its broker.

        Not a warning, which a program without a log would print into an operator's screen.
        """
        if text != self._said:
            log.info("broker: %s", text, extra=about(Line.BROKER))
        self._said = text

    def _tls(self) -> ssl.SSLContext:
        s = self._settings
        return tls_context(s.ca_file, s.cert_file, s.key_file, s.tls_minimum, s.host)
