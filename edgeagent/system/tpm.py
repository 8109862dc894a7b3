"""What a TPM counts against the keys that it keeps, and how it is told to forget it.

A TPM counts wrong guesses of a key's password, and at its limit opens nothing for hours. A loss of power
after a key was used counts as a wrong guess too, since pulling the plug could otherwise hide one (TPM 2.0
Library, part 1, "Dictionary attack protection", on shutdowns that are not orderly). A unit's keys are sealed
to the state of its board and have no password, so there is nothing to guess; but systemd seals them without
the mark that excepts a key from the count, and a lamppost that loses its power often enough could not open
them again. So the count is cleared before each start of the daemon (`edgeagent-tpm.service`). Whoever can
send this command can open the keys as well, so they are as safe as before. What else the same TPM guards by a
password is not: a unit's TPM should guard nothing else.

Run as a module, it clears the count of the TPM at its standard input, opened for reading and writing.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeagent.errors import KeyFileError

TPM_DEVICE = Path("/dev/tpmrm0")
"""The kernel's resource manager: several programs may use the TPM through it at once."""
NEXT_STEP = "look at the TPM with: systemd-creds has-tpm2; docs/enrolment.md says what locks it"

# TPM 2.0 Library, part 2 (constants) and part 3 (commands): tag, size, command code; all big-endian.
_HEADER = struct.Struct(">HII")
_PROPERTY = struct.Struct(">II")
_CAPABILITY = struct.Struct(">BII")
_PLAIN, _WITH_PASSWORD = 0x8001, 0x8002
_GET_CAPABILITY, _PROPERTIES = 0x17A, 6
_PERMANENT, _COUNTER, _ALLOWED = 0x200, 0x20E, 0x20F
_PASSWORD_SET, _IN_LOCKOUT = 1 << 2, 1 << 9
_LOCK_RESET, _LOCKOUT, _PASSWORD_SESSION = 0x139, 0x4000000A, 0x40000009
_ASK = _HEADER.pack(_PLAIN, 22, _GET_CAPABILITY) + struct.pack(
    ">III", _PROPERTIES, _PERMANENT, _ALLOWED - _PERMANENT + 1
)
# An empty password, which the authority over lockouts has unless somebody gave it another.
_FORGET = _HEADER.pack(_WITH_PASSWORD, 27, _LOCK_RESET) + struct.pack(
    ">IIIHBH", _LOCKOUT, 9, _PASSWORD_SESSION, 0, 0, 0
)
_ANSWER_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Failures:
    """What the TPM has counted.

    Attributes:
        counted: failures, losses of power among them.
        allowed: at so many it opens no key that counts.
        locked: it has come to that.
        guarded: somebody gave the authority over lockouts a password, without which none can clear the count.
    """

    counted: int
    allowed: int
    locked: bool
    guarded: bool

    def __str__(self) -> str:
        return f"{self.counted} of {self.allowed} failures counted{', locked' if self.locked else ''}"


def failures(device: int) -> Failures:
    """Ask a TPM, by an open descriptor, what it has counted; that changes nothing in it.

    Raises:
        KeyFileError: it gives no answer, or one that cannot be read.
    """
    body = _answer(device, _ASK)
    try:
        _, _, count = _CAPABILITY.unpack_from(body)
        told = dict(_PROPERTY.iter_unpack(body[_CAPABILITY.size :][: count * _PROPERTY.size]))
        flags = told[_PERMANENT]
        return Failures(
            told[_COUNTER], told[_ALLOWED], bool(flags & _IN_LOCKOUT), bool(flags & _PASSWORD_SET)
        )
    except (struct.error, KeyError) as cause:
        raise _failed("does not say what it has counted") from cause


def forget(device: int) -> Failures:
    """Clear the count, if there is one; what it was.

    Raises:
        KeyFileError: the TPM gives no answer, or does not let us.
    """
    before = failures(device)
    if before.counted == 0:
        return before  # its memory wears, too
    if before.guarded:
        # Not tried: a wrong password would lock that authority itself.
        raise _failed(
            f"{before}, and only a password can clear that", "clear it with whoever set that password"
        )
    _answer(device, _FORGET)
    return before


def _answer(device: int, command: bytes) -> bytes:
    try:
        os.write(device, command)
        answer = os.read(device, _ANSWER_LIMIT)
    except OSError as cause:
        raise _failed(f"gives no answer: {cause.strerror}") from cause
    if len(answer) < _HEADER.size:
        raise _failed("gives no answer")
    _, size, code = _HEADER.unpack_from(answer)
    if code != 0 or size != len(answer):
        raise _failed(f"refuses with code {code:#x}")
    return answer[_HEADER.size :]


def _failed(what: str, next_step: str = NEXT_STEP) -> KeyFileError:
    return KeyFileError(what, where="TPM", next_step=next_step)


@contextlib.contextmanager
def opened(device: Path = TPM_DEVICE) -> Iterator[int]:
    """A descriptor of the TPM, for the functions above.

    Raises:
        KeyFileError: it is not there, or not for this user.
    """
    try:
        asked = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as cause:
        raise KeyFileError(
            f"cannot be opened: {cause.strerror}",
            where=str(device),
            next_step="run this as root, on a machine with a TPM",
        ) from cause
    try:
        yield asked
    finally:
        os.close(asked)


def clear(device: Path = TPM_DEVICE) -> Failures:
    """`forget` for the TPM at this path.

    Raises:
        KeyFileError: as for the functions above.
    """
    with opened(device) as asked:
        return forget(asked)


def main() -> int:
    """Clear what the TPM at the standard input has counted; what it was goes to the log."""
    try:
        found = forget(sys.stdin.fileno())
    except KeyFileError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"{found}{'; cleared' if found.counted else ''}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
