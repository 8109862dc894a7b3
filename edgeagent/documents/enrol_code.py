"""The short code that a person reads from the unit and types at the control room.

60 bits of scrypt over all that the request says. A request in other people's hands can be ground against, so
the code must be long enough without a commitment: see docs/enrolment.md for the arithmetic.
"""

from __future__ import annotations

import hashlib
import hmac

from edgeagent.errors import DocumentError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U: nothing that is heard or read in two ways
CHARACTERS = 12
CODE_BITS = 5 * CHARACTERS
GROUP = 4
_MEANT = str.maketrans("OIL", "011", "- ")
_COST, _BLOCK = 1 << 15, 8
_MEMORY = 256 * _COST * _BLOCK  # scrypt itself needs half of it
_SALT = b"edgeagent enrolment code 1"


def code_of(transcript: bytes) -> str:
    """The code of a request's transcript (32 octets): `K7QX-2M9D-TR4W`. Takes 32 MiB for a moment."""
    raw = hashlib.scrypt(transcript, salt=_SALT, n=_COST, r=_BLOCK, p=1, maxmem=_MEMORY, dklen=8)
    number = int.from_bytes(raw, "big") >> (64 - CODE_BITS)
    text = "".join(ALPHABET[number >> shift & 31] for shift in range(CODE_BITS - 5, -1, -5))
    return "-".join(text[start : start + GROUP] for start in range(0, CHARACTERS, GROUP))


def is_code_of(typed: str, transcript: bytes) -> bool:
    """Whether what a person typed is the code; hyphens, blanks, case and O for 0 do not matter.

    Raises:
        DocumentError: not twelve of its characters.
    """
    meant = typed.upper().translate(_MEANT)
    if len(meant) != CHARACTERS or not set(meant) <= set(ALPHABET):
        raise DocumentError(
            f"is not a code of {CHARACTERS} characters",
            where="--code",
            next_step="read it from the unit: edgeagent enrol status",
        )
    return hmac.compare_digest(meant, code_of(transcript).replace("-", ""))
