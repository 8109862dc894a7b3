"""What a client that takes no care costs: bare paho, QoS 1; no outbox, audit log, signature or sealing.

`python -m tests.bench_fleet_bare FOLDER HOST PORT OCTETS RATE SECONDS` prints one JSON line. The unit's
process publishes a payload as long as an alert, the desk's process answers each; both over TLS with
certificates, as the real ones.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgeagent.alerts.topics import Topics, every_unit
from edgeagent.fleet.names import CONTROL_ROOM, unit_name
from edgeagent.fleet.usage import cpu_s, percentile

RECEIPT_OCTETS = 700
STAMP = 32


def client(folder: Path, name: str, host: str, port: int) -> Client:
    made = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv311)
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    made.tls_set_context(context)
    made.connect(host, port, 5)
    return made


def desk(folder: Path, host: str, port: int) -> None:
    """Answers everything, until its input ends."""
    mine = client(folder, CONTROL_ROOM, host, port)

    def answer(_client: Client, _data: Any, message: MQTTMessage) -> None:
        arrived = f"{time.time():.6f}".encode().ljust(STAMP)
        body = message.payload[:STAMP] + arrived + b"r" * (RECEIPT_OCTETS - 2 * STAMP)
        mine.publish(message.topic.removesuffix("alert") + "receipt", body, qos=1)

    mine.on_message = answer
    mine.on_subscribe = lambda *_: print("ready", flush=True)
    mine.subscribe(every_unit("alert", bench=True), qos=1)
    mine.loop_start()
    sys.stdin.read()


def unit(folder: Path, host: str, port: int, octets: int, rate: float, seconds: float, desk_pid: int) -> None:
    name = unit_name(0)
    topics = Topics(name, bench=True)
    there: list[float] = []
    back: list[float] = []

    def receipt(_client: Client, _data: Any, message: MQTTMessage) -> None:
        now = time.time()
        made = float(message.payload[:STAMP])
        there.append((float(message.payload[STAMP : 2 * STAMP]) - made) * 1000)
        back.append((now - made) * 1000)

    mine = client(folder, name, host, port)
    mine.on_message = receipt
    mine.subscribe(topics.receipt, qos=1)
    mine.loop_start()
    time.sleep(1.0)
    before = cpu_s(os.getpid()), cpu_s(desk_pid)
    sent, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        stamp = f"{time.time():.6f}".encode().ljust(STAMP)
        mine.publish(topics.alert, stamp + b"a" * (octets - STAMP), qos=1)
        sent += 1
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    time.sleep(1.0)
    cost = [
        1000 * (now - then) / sent
        for now, then in zip((cpu_s(os.getpid()), cpu_s(desk_pid)), before, strict=True)
    ]
    result = {
        "sent": sent,
        "answered": len(back),
        "to_desk_ms": {"p50": percentile(there, 0.5), "p95": percentile(there, 0.95)},
        "and_back_ms": {"p50": percentile(back, 0.5), "p95": percentile(back, 0.95)},
        "unit_cpu_ms_each": round(cost[0], 2),
        "desk_cpu_ms_each": round(cost[1], 2),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    folder, host, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if sys.argv[4] == "desk":
        desk(folder, host, port)
        return
    octets, rate, seconds = int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6])
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.bench_fleet_bare", *sys.argv[1:4], "desk"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdin is not None
    other.stdout.readline()
    try:
        unit(folder, host, port, octets, rate, seconds, other.pid)
    finally:
        other.stdin.close()
        other.wait(10)


if __name__ == "__main__":
    main()
