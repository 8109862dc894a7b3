"""A broker in Python, for a demo where Mosquitto is missing: run as a child process with its settings.

amqtt lets any client in and everyone read and write everything. So TLS 1.3 and the demand for a client
certificate are made here, and a plug-in applies the same access list as Mosquitto's, by the common name of
the certificate.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import sys
from pathlib import Path

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BaseContext, BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session
from paho.mqtt.client import topic_matches_sub

from edgeagent.alerts.topics import BENCH_PREFIX, FROM_UNIT, LIVE_PREFIX, TO_UNIT
from edgeagent.demo.mosquitto_conf import DESKS

_LISTENER = "tls"
_MQTT_311 = 4
_CONNECT_HEAD = 12  # the least a CONNECT packet can have up to and with its flags
_WRONG_PROTOCOL = b"\x20\x02\x00\x01"  # CONNACK: unacceptable protocol version


def allowed(name: str, topic: str, *, write: bool) -> bool:
    """Whether the holder of certificate `name` may write to `topic`, or read the topic or filter."""
    reads, writes = DESKS.get(name, (TO_UNIT, FROM_UNIT))
    who = "+" if name in DESKS else name
    kinds = writes if write else reads
    grants = [f"{prefix}/{who}/{kind}" for prefix in (LIVE_PREFIX, BENCH_PREFIX) for kind in kinds]
    return any(topic == grant or topic_matches_sub(grant, topic) for grant in grants)


def common_name(session: Session | None) -> str:
    """The common name in the session's client certificate, "" without one."""
    certificate = session.ssl_object.getpeercert() if session is not None and session.ssl_object else None
    pairs = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    return next((value for key, value in pairs if key == "commonName"), "")


class CertificateAuth(BaseAuthPlugin):  # type: ignore[misc] # amqtt is an optional extra
    """Lets in whoever TLS has let in, under the name in the certificate and no other."""

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)

    async def authenticate(self, *, session: Session) -> bool:
        """Accept a session whose client id is the name in its certificate, or begins with it and a dot."""
        name = common_name(session)
        return name != "" and re.fullmatch(rf"{re.escape(name)}(\.[0-9a-f]+)?", session.client_id) is not None


class AccessList(BaseTopicPlugin):  # type: ignore[misc]
    """Mosquitto's access list again."""

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Apply `allowed` to one publication, subscription or delivery."""
        return allowed(common_name(session), topic or "", write=action == Action.PUBLISH)


class _Replayed(StreamReaderAdapter):  # type: ignore[misc]
    """A reader that gives back the bytes which were looked at."""

    def __init__(self, reader: asyncio.StreamReader, head: bytes) -> None:
        super().__init__(reader)
        self._head = head

    async def read(self, n: int = -1) -> bytes:
        """Read `n` bytes (never -1 before the end of CONNECT's head)."""
        first, self._head = self._head[:n], self._head[n:]
        return first if len(first) == n else first + bytes(await super().read(n - len(first)))


def _level(head: bytes) -> int:
    """MQTT's protocol level in the first bytes of a CONNECT, -1 if it is none.

    amqtt would read the properties of a CONNECT of MQTT 5 as lengths and wait for bytes that never come,
    so the refusal that MQTT 3.1.1 prescribes is given here.
    """
    name = head.find(b"\x00\x04MQTT", 2, 11)
    return head[name + 6] if head[:1] == b"\x10" and name >= 0 else -1


async def serve(port: int, ca: Path, cert: Path, key: Path) -> None:
    """Serve on 127.0.0.1 until the process is stopped."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(cert, key)
    external = ListenerConfig(type=ListenerType.EXTERNAL)
    here = "edgeagent.demo.amqtt_child."
    broker = Broker(
        BrokerConfig(
            listeners={"default": external, _LISTENER: external},
            plugins={here + "CertificateAuth": {}, here + "AccessList": {}},
        )
    )
    await broker.start()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readexactly(_CONNECT_HEAD)
            if _level(head) == _MQTT_311:
                replayed = _Replayed(reader, head)
                await broker.external_connected(replayed, StreamWriterAdapter(writer), _LISTENER)
            else:
                writer.write(_WRONG_PROTOCOL)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a port probe, or a client that thought better of it
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(serve(int(sys.argv[1]), *(Path(name) for name in sys.argv[2:5])))
