"""Receives alerts: python subscriber.py settings.json desk.key trust.json

Each new alert is one line of JSON on standard output; why a message was refused is on standard error.
"""
# mypy: ignore-errors

import json
import sqlite3
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc import jws
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from verify import ed25519, octets, opened, trusted_units

given, mine, store = (json.loads(Path(file).read_text()) for file in sys.argv[1:])
units = trusted_units(store, given["root"])
sign_key = ed25519(mine["sign_x"], d=mine["sign_d"])
seal_key = X25519PrivateKey.from_private_bytes(octets(mine["seal_d"]))
kept = sqlite3.connect(given["received"])
kept.execute("CREATE TABLE IF NOT EXISTS received (unit TEXT, alert TEXT, PRIMARY KEY (unit, alert))")


def take(client, _, message):
    now = datetime.now(UTC)
    try:
        alert, jpeg = opened(message.topic, message.payload, units, seal_key, now)
    except Exception as why:  # noqa: BLE001 - whatever a stranger sends, the watch goes on
        print(f"refused: {why!r}", file=sys.stderr, flush=True)
        return
    with kept:  # on the disk when the block ends; if that fails there is no receipt, and the unit sends again
        if kept.execute("INSERT OR IGNORE INTO received VALUES (:unit, :alert)", alert).rowcount:
            print(json.dumps(alert | {"crop": b64encode(jpeg).decode()}), flush=True)
    client.publish(f"{given['topics']}/{alert['unit']}/receipt", receipt(alert, now.isoformat()), qos=1)


def receipt(alert, now):
    header = {"alg": "Ed25519", "typ": "edgeagent-receipt", "kid": sign_key.thumbprint()}
    body = json.dumps({"alert": alert["alert"], "unit": alert["unit"], "received_at": now})
    token = jws.serialize_compact(header, body, sign_key, algorithms=["Ed25519"])
    event = {"specversion": "1.0", "id": alert["alert"], "source": given["name"], "time": now, "data": token}
    return json.dumps(event | {"type": "edgeagent.receipt.v1", "datacontenttype": "application/jose"})


# Whoever knows a client id can throw us off; nobody can guess this one.
client = Client(CallbackAPIVersion.VERSION2, f"{given['name']}.{token_hex(16)}", protocol=MQTTv5)
client.tls_set(given["ca"], given["certificate"], given["key"])
client.on_connect = lambda *_: client.subscribe(f"{given['topics']}/+/alert", qos=1)
client.on_subscribe = lambda _1, _2, _3, reasons, _4: print(*reasons, file=sys.stderr, flush=True)
client.on_message = take
client.connect(given["host"], given["port"], keepalive=30)
client.loop_forever()
