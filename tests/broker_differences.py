"""In what the two brokers differ, measured: `python -m tests.broker_differences [mosquitto] [rabbitmq]`.

Nothing here is a safeguard; docs/brokers.md has the answers and what follows from them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Subscription, Will
from edgeagent.alerts.received import received
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.revocations import Revocations
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM, REVOCATION_DESK
from edgeagent.documents.keys import Role
from edgeagent.documents.table import REVOCATION, STATE, sign
from edgeagent.safeguards.authority import Kind as Use
from edgeagent.system.revocation import revoke, write_crl
from tests.bench_unit import CLOCK, Bench, Process, wrapped
from tests.broker_table import missing
from tests.broker_tools import wait_for
from tests.broker_trials import (
    KINDS,
    OTHER,
    REVOKED,
    UNIT,
    Kind,
    Tried,
    TriedBroker,
    connect_packet,
    drain,
    over_tls,
    tried,
)
from tests.desk import state

LIVE, BENCH = Topics(UNIT, bench=False), Topics(UNIT, bench=True)
AWAY_S = 30.0
bench_state = partial(state, unit=UNIT, kind=Use.BENCH)
STATES = "lfr/v1/+/state"
SOON_S = 3.0


def protocol(broker: TriedBroker) -> str:
    """What our client ends up speaking."""
    link = broker.connected_link(OTHER)
    link.close(None, timeout_s=1.0)
    return link.broker_protocol


def expiry(broker: TriedBroker) -> str:
    """A retained message with an expiry of 1 s, looked for after 3 s."""
    desk = broker.connected_link(REVOCATION_DESK)
    desk.publish(LIVE.revocation, b"old", retain=True, expires_in_s=1)
    time.sleep(3.0)
    unit = broker.connected_link(UNIT, Subscription(LIVE.revocation, accept_retained=True))
    found = drain(unit, SOON_S, b"old")
    for link in (desk, unit):
        link.close(None, timeout_s=1.0)
    return "still delivered" if found else "gone"


def retained(broker: TriedBroker) -> str:
    """A retained state, looked for by its name and by a filter, at the node that took it and at another."""
    unit = broker.connected_link(UNIT)
    unit.publish(LIVE.state, b"state", retain=True)
    time.sleep(1.0)
    said = []
    for port in dict.fromkeys((broker.tried.ports[0], broker.tried.ports[-1])):
        room = broker.connected_link(CONTROL_ROOM, Subscription(STATES, accept_retained=True), port=port)
        said.append(f"{STATES} at node {broker.tried.ports.index(port) + 1}: {_seen(room)}")
    unit.close(None, timeout_s=1.0)
    desk = broker.connected_link(REVOCATION_DESK)
    desk.publish(LIVE.revocation, b"revoked", retain=True)
    time.sleep(1.0)
    for port in dict.fromkeys((broker.tried.ports[0], broker.tried.ports[-1])):
        unit = broker.connected_link(UNIT, Subscription(LIVE.revocation, accept_retained=True), port=port)
        said.append(f"own revocation at node {broker.tried.ports.index(port) + 1}: {_seen(unit)}")
    desk.close(None, timeout_s=1.0)
    return "; ".join(said)


def _seen(link: MqttLink) -> str:
    found = drain(link, SOON_S / 2)
    link.close(None, timeout_s=1.0)
    return "seen" if found else "not seen"


def revoked_while_away(broker: TriedBroker) -> str:
    """Two revocations; the unit comes back at another node; a real `alerts watch` with both in its data."""
    folder = broker.tried.folder / "bench"
    folder.mkdir()
    bench = Bench(folder, broker)
    bench.write()
    streets = {"first-street", "second-street"}
    with Revocations(folder / "received.sqlite", bench.office.trust()) as kept:
        for street in sorted(streets):
            kept.hear(BENCH.revocation, bench.revocation(deployment=street), CLOCK.now())
    watch = bench.command("alerts", "watch", "--config", "alerts.toml", "--bench")
    unit = broker.connected_link(UNIT, BENCH.revocation, port=broker.tried.ports[-1])
    began, heard = time.monotonic(), set[str]()
    with Process(watch, folder, "room.log"):
        while heard != streets and time.monotonic() - began < AWAY_S:
            said = bench_state(sequence=int(time.monotonic() * 1000), at=datetime.now(UTC))
            unit.publish(
                BENCH.state, wrapped("state", sign(STATE, said, bench.office[Role.UNIT])), retain=True
            )
            for heard_now in drain(unit, 1.0):
                verified = received(REVOCATION, heard_now, bench.office.trust(), CLOCK.now())
                heard.add(verified.body.deployment)
    unit.close(None, timeout_s=1.0)
    return f"{len(heard)} of 2 reach it"


def will(broker: TriedBroker) -> str:
    """How long until the desk hears that a unit is frozen, with a keep-alive of 5 s."""
    desk = broker.connected_link(CONTROL_ROOM, STATES)
    program = "import sys; from tests.broker_differences import silent_unit; silent_unit(*sys.argv[1:])"
    place = broker.tried
    command = [sys.executable, "-c", program, str(place.folder), str(place.port)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    assert drain(desk, 15.0, b"born")
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    heard = drain(desk, 30.0, b"lost")
    lasted = time.monotonic() - began
    process.kill()
    process.wait()
    desk.close(None, timeout_s=1.0)
    return f"after {lasted:.1f} s" if b"lost" in heard else "not within 30 s"


def silent_unit(folder: str, port: str) -> None:
    """In a process of its own: connects with a will, says that it is born, and waits to be frozen."""
    broker = TriedBroker(Tried("mosquitto", "127.0.0.1", (int(port),), (), Path(folder)))
    unit = broker.connected_link(UNIT, will=Will(LIVE.state, b"lost", retain=False))
    unit.publish(LIVE.state, b"born")
    time.sleep(60)


def live_after_revocation(broker: TriedBroker) -> str:
    """A unit whose certificate is revoked while it is connected."""
    place, said = broker.tried, []
    unit = broker.connected_link(REVOKED, retry_first_s=60.0, retry_cap_s=60.0)
    secret = place.passphrase
    kept = place.folder / "kept"
    kept.mkdir()
    for suffix in ("crt", "key"):
        shutil.copy(place.folder / f"{REVOKED}.{suffix}", kept)
    revoke(
        place.folder, REVOKED, reason="key-compromise", crl_days=30, now=datetime.now(UTC), passphrase=secret
    )
    place.spread_crl()
    time.sleep(8.0)
    said.append(f"8 s after the new CRL: {'still connected' if unit.connected else 'cut off'}")
    if place.kind == "rabbitmq":
        place.rabbitmqctl("delete_user", REVOKED)
        cut = wait_for(lambda: not unit.connected, SOON_S)
        said.append(f"after delete_user: {'cut off' if cut else 'still connected'}")
    unit.close(None, timeout_s=1.0)
    return "; ".join(said)


def copies(broker: TriedBroker) -> str:
    """Three devices with copies of one certificate, each with a client id of its own."""
    links = [
        broker.link(OTHER, client_id=f"{OTHER}.{number}", retry_first_s=60.0, retry_cap_s=60.0)
        for number in range(3)
    ]
    time.sleep(4.0)
    connected = sum(link.connected for link in links)
    for link in links:
        link.close(None, timeout_s=1.0)
    return f"{connected} connected"


def node_lost(broker: TriedBroker) -> str:
    """The node of a unit is killed; another node takes it in, and a message crosses the cluster."""
    place = broker.tried
    if len(place.ports) == 1:
        return "there is one node"
    desk = broker.connected_link(CONTROL_ROOM, "lfr/v1/+/alert", port=place.ports[0])
    os.kill(place.pids[2], signal.SIGKILL)
    began = time.monotonic()
    unit = broker.connected_link(UNIT, port=place.ports[1])
    while not drain(desk, 0.2, b"alert"):
        unit.publish(LIVE.alert, b"alert")
    lasted = time.monotonic() - began
    for link in (desk, unit):
        link.close(None, timeout_s=1.0)
    return f"through another node after {lasted:.1f} s"


def minority(broker: TriedBroker) -> str:
    """With two of three nodes dead, the third must pause; runs after `node_lost`."""
    place = broker.tried
    if len(place.ports) == 1:
        return "there is one node"
    os.kill(place.pids[1], signal.SIGKILL)
    paused = wait_for(lambda: over_tls(place, broker.certificate(OTHER), connect_packet(OTHER)) != "", 90.0)
    return "pauses: refuses connections" if paused else "goes on alone"


def crl_past_its_end(broker: TriedBroker) -> str:
    """A CRL whose next update lies behind us, the only one after a restart."""
    place = broker.tried
    then = datetime.now(UTC) - timedelta(days=10)
    write_crl(place.folder, days=1, now=then, passphrase=place.passphrase)
    place.spread_crl()
    time.sleep(1.0)
    reason = over_tls(place, broker.certificate(OTHER), connect_packet(OTHER))
    write_crl(place.folder, days=30, now=datetime.now(UTC), passphrase=place.passphrase)
    place.spread_crl()
    time.sleep(1.0)
    again = over_tls(place, broker.certificate(OTHER), connect_packet(OTHER))
    return f"{reason or 'admitted'}; with a new one: {again or 'admitted'}"


QUESTIONS: dict[str, Callable[[TriedBroker], str]] = {
    "protocol": protocol,
    "message expiry of 1 s, after 3 s": expiry,
    "retained": retained,
    "two revocations, unit was away": revoked_while_away,
    "will of a frozen unit": will,
    "three copies of one certificate": copies,
    "revoked while connected": live_after_revocation,
    "CRL past its end": crl_past_its_end,
    "a node killed": node_lost,
    "two of three nodes killed": minority,
}


def main(kinds: tuple[Kind, ...]) -> None:
    """Print what each broker does."""
    for kind in kinds:
        if missing(kind):
            print(f"{missing(kind)} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder, tried(kind, Path(folder) / "broker") as place:
            broker = TriedBroker(place)
            print(kind, flush=True)
            for question, ask in QUESTIONS.items():
                print(f"  {question:<34} {ask(broker)}", flush=True)
            broker.close_links()


if __name__ == "__main__":
    main(tuple(kind for kind in KINDS if kind in sys.argv[1:]) or KINDS)
