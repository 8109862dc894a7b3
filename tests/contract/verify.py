"""What an alert must be before anything of it is believed: octets in, alert and picture out, or an error."""

import json
from base64 import urlsafe_b64decode
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from joserfc import jws
from joserfc.jwk import OKPKey


def octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def ed25519(x: str, **private: str) -> OKPKey:
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x, **private})


def refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise ValueError(why)


def said(token: str, typ: str, key: OKPKey) -> Any:
    """What a token says, if this key signed it as this type of document."""
    verified = jws.deserialize_compact(token, key, algorithms=["Ed25519"])
    refuse(verified.headers() != {"alg": "Ed25519", "typ": typ, "kid": key.thumbprint()}, "wrong header")
    return json.loads(verified.payload)


def trusted_units(store: Any, root: str) -> dict[str, Any]:
    """The units' lines of the trust store, by thumbprint; `root` is the one that you were told by voice."""
    key = ed25519(json.loads(octets(store["payload"]))["root_x"])
    refuse(key.thumbprint() != root or len(store["signatures"]) != 1, "a trust store of another root")
    token = "{protected}.{payload}.{signature}".format(payload=store["payload"], **store["signatures"][0])
    keys = said(token, "edgeagent-trust-store", key)["keys"]
    return {ed25519(k["sign_x"]).thumbprint(): k for k in keys if k["role"] == "unit" and not k["revoked"]}


def opened(topic: str, message: bytes, units: Any, key: X25519PrivateKey, now: datetime) -> tuple[Any, bytes]:
    """The alert in a message, and the picture in the alert (JPEG)."""
    token, time = json.loads(message)["data"], datetime.fromisoformat
    unit = units[json.loads(octets(token.split(".")[0]))["kid"]]
    alert = said(token, "edgeagent-alert", ed25519(unit["sign_x"]))
    root = "lfr-bench" if alert["kind"] == "bench" else "lfr"
    refuse(alert["unit"] != unit["name"], "signed by another unit")
    refuse(topic != f"{root}/v1/{unit['name']}/alert", "on another unit's topic, or a bench's on a live one")
    refuse(not time(unit["not_before"]) <= now < time(unit["not_after"]), "signed with a key not valid now")
    refuse(now >= time(alert["expires_at"]), "expired")
    info = f"edgeagent alert crop 1\0{alert['unit']}\0{alert['alert']}".encode()
    hpke = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return alert, hpke.decrypt(octets(alert["crop"]), key, info)
