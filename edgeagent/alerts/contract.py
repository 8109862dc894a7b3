"""The AsyncAPI 3 document of everything that is said over MQTT, made from the program itself.

    python -m edgeagent.alerts.contract docs

An integrator needs this file and docs/integrators.md, and nothing of the program. The examples in it
are those of docs/examples, which are made apart from it: what is sealed anew is different each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeagent.alerts.envelope import Envelope
from edgeagent.alerts.received import message_name
from edgeagent.alerts.topics import BENCH_PREFIX, LIVE_PREFIX
from edgeagent.documents import table
from edgeagent.documents.explain import NAMES
from edgeagent.documents.schemas import schema
from edgeagent.documents.table import DocumentType

ASYNCAPI = "3.0.0"
EXAMPLE = (
    "Signed with the keys of docs/examples, which everybody has, which nobody trusts, and which end in 2020."
)
VERSION = "1.0.0"
UNIT_NAME = "^[a-z0-9][a-z0-9-]{0,62}$"


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of message and how it travels; `detail` is what a receiver must know beside the schema."""

    kind: DocumentType[Any]
    from_unit: bool
    retained: bool
    summary: str
    detail: str = ""

    @property
    def name(self) -> str:
        """Last level of the topic."""
        return message_name(self.kind)


CROP = (
    "`crop` is base64url of a sealed JPEG of 112×112 pixels: HPKE (RFC 9180), mode base, DHKEM(X25519, "
    "HKDF-SHA256), HKDF-SHA256, AES-256-GCM, single shot, no associated data. The first 32 octets are the "
    "encapsulated key, the rest is the ciphertext with its tag. `info` is the text `edgeagent alert crop 1`, "
    "a zero octet, `unit`, a zero octet, `alert`. The recipient's key is the authority's `alert_key`."
)
SIGNED = (
    "A token's protected header has just three members: `alg`, that is `Ed25519` (RFC 9864); `typ`; `kid`, "
    "the RFC 7638 thumbprint of the signing key. Whose keys count, in which role and until when, is in the "
    "trust store, a file that the root key signs; pin the root's thumbprint. A member that occurs twice in a "
    "JSON object makes the message invalid."
)

CHANNELS = (
    Channel(
        table.ALERT,
        True,
        False,
        "A hit. Sent again until the control room's signed receipt, or until `expires_at`; so it may arrive "
        "more than once, and `alert` says whether it is the same one. It carries no instruction (R20).",
        CROP,
    ),
    Channel(
        table.STATE,
        True,
        True,
        "What the unit is doing; about every two seconds, and at every change. `challenge` is what a lease "
        "must answer. The will has state `LOST`: signed before, so it vouches for nothing but the silence.",
    ),
    Channel(
        table.HEALTH,
        True,
        False,
        "How the machine and the program are; every 30 seconds, and at the first connection of each start. "
        "Not retained: an old temperature helps nobody, and the state says whether the unit is there.",
        "null where the machine does not say. Nothing in it is about people.",
    ),
    Channel(
        table.LEASE,
        False,
        False,
        "Officers are on the ground: answers one challenge, lasts a few seconds, opens the camera (R16).",
    ),
    Channel(
        table.RECEIPT,
        False,
        False,
        "The alert was committed by the control room. Nothing else releases it; a broker's PUBACK does not.",
    ),
    Channel(
        table.VERDICT,
        False,
        False,
        "What an operator, then an officer, made of an alert (R20, R21). The state asks for those it lacks.",
        "`decision` is the operator's own token (`typ` edgeagent-decision), whole.",
    ),
    Channel(
        table.REVIEW,
        False,
        False,
        "Lets matching go on after the false alert rate suspended it (R17).",
        "Unlike the others, a JWS in general JSON serialisation, as text: it may need two signatures.",
    ),
    Channel(
        table.REVOCATION,
        False,
        True,
        "Ends a deployment at once (R27). Retained, but nothing may depend on it: a broker keeps one for "
        "each unit, on one node, and may lose it. The state's `revoked` shows what was carried out.",
        "Whoever revokes keeps the revocation, and sends it again whenever a state of the unit arrives whose "
        "`revoked` has never shown its deployment. The control room does so for what others publish, too.",
    ),
)


def document(examples: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document; `examples` has one message for each channel."""
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "edgeagent",
            "version": VERSION,
            "license": {"name": "Apache-2.0"},
            "description": "Messages between units of a live facial recognition deployment and its control "
            "room. Every payload is a CloudEvents 1.0 JSON envelope around a signed token (JWS, Ed25519). "
            "The envelope is for routing only; verify the token, then believe what it says. "
            f"{SIGNED} "
            f"Live topics begin with {LIVE_PREFIX}, a test's with {BENCH_PREFIX}; no subscription may cover "
            "both (R33).",
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {
            "broker": {
                "host": "broker.example:8883",
                "protocol": "mqtts",
                "protocolVersion": "5.0",
                "description": "MQTT 5, or 3.1.1 where the broker has no more; TLS 1.3 with a certificate of "
                "its own for each client, whose common name is the user; the MQTT client id is that name, a "
                "dot and a secret of 32 hexadecimal digits, so that nobody else can end the connection.",
                "security": [{"$ref": "#/components/securitySchemes/certificate"}],
            }
        },
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {channel.name: _operation(channel) for channel in CHANNELS},
        "components": {
            "securitySchemes": {"certificate": {"type": "X509"}},
            "messages": {channel.name: _message(channel, examples[channel.name]) for channel in CHANNELS},
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "address": "{root}/v1/{unit}/" + channel.name,
        "summary": channel.summary,
        **({"description": channel.detail} if channel.detail else {}),
        "parameters": {
            "root": {"enum": [LIVE_PREFIX.split("/")[0], BENCH_PREFIX.split("/")[0]], "default": "lfr"},
            "unit": {"description": f"The unit's name, matching {UNIT_NAME}."},
        },
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    """As the unit does it: AsyncAPI describes an application, and here that is the unit."""
    return {
        "action": "send" if channel.from_unit else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary,
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retained, "bindingVersion": "0.2.0"}},
    }


def envelope_schema(channel: Channel) -> dict[str, Any]:
    """JSON Schema (draft 7, which AsyncAPI's tools read) of the message as it is on the wire.

    `contentSchema` inside it is the JSON Schema 2020-12 of what the token says.
    """
    typ = channel.kind.typ
    made = Envelope.model_json_schema()
    made["properties"]["type"] = {"const": f"edgeagent.{channel.name}.v1"}
    made["properties"]["data"] |= {
        "contentMediaType": "application/jose" if channel.kind.compact else "application/jose+json",
        "description": f"Token with `typ` {typ}, at most {channel.kind.limit} octets; its payload is "
        f"described by contentSchema, and by docs/schemas/{typ}.json.",
        "contentSchema": _inlined(schema(typ)),
    }
    return {key: value for key, value in made.items() if key not in ("title", "description")}


def _message(channel: Channel, example: Any) -> dict[str, Any]:
    typ = channel.kind.typ
    return {
        "name": channel.name,
        "title": NAMES[typ],
        "contentType": "application/cloudevents+json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-07",
            "schema": envelope_schema(channel),
        },
        "examples": [{"name": "example", "summary": EXAMPLE, "payload": example}],
    }


def _inlined(body: dict[str, Any]) -> dict[str, Any]:
    """The schema with every local reference replaced: inside another document it would point elsewhere."""
    definitions = body.get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                name = part["$ref"].removeprefix("#/$defs/")
                return resolve({**definitions[name], **{k: v for k, v in part.items() if k != "$ref"}})
            return {key: resolve(value) for key, value in part.items()}
        return [resolve(one) for one in part] if isinstance(part, list) else part

    kept = {key: value for key, value in body.items() if key not in ("$defs", "$schema", "$id")}
    inlined: dict[str, Any] = resolve(kept)
    return inlined


def text(docs: Path) -> str:
    """What docs/asyncapi.json is to hold, with the examples that are there now."""
    folder = docs / "examples"
    examples = {c.name: json.loads((folder / f"{c.name}.json").read_text()) for c in CHANNELS}
    return json.dumps(document(examples), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "asyncapi.json").write_text(text(folder))
