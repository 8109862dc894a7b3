"""Sealing to a public key: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM.

`info` binds what is sealed to its place, so that a sealed value moved elsewhere does not open.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from edgeagent.errors import DocumentError


def _suite() -> Suite:
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal(plain: bytes, to: X25519PublicKey, info: bytes) -> bytes:
    """Encapsulated key and ciphertext.

    Raises:
        DocumentError: the key is one that anybody could open for.
    """
    try:
        return _suite().encrypt(plain, to, info)
    except ValueError as cause:
        raise DocumentError("cannot be sealed to this key", next_step="have a new key made") from cause


def unseal(sealed: bytes, key: X25519PrivateKey, info: bytes) -> bytes:
    """What was sealed.

    Raises:
        DocumentError: another key, another place, or altered.
    """
    try:
        return _suite().decrypt(sealed, key, info)
    except (InvalidTag, ValueError) as cause:
        raise DocumentError(
            "cannot be opened with this key", next_step="check that it was sealed for this holder"
        ) from cause


def crop_info(unit: str, alert: str) -> bytes:
    """Binds an alert's crop to its unit and alert."""
    return f"edgeagent alert crop 1\0{unit}\0{alert}".encode()


def watchlist_info(deployment: str, unit: str) -> bytes:
    """Binds a watchlist's content key to its deployment and unit."""
    return f"edgeagent watchlist 1\0{deployment}\0{unit}".encode()
