"""A card with a volatile cache, as real ones have: what was not flushed may be gone or torn after a cut.

The emulator reads and writes it over the network block device protocol, on a local socket. A write is durable
only after the guest's next flush (or if it asks for that at once): until then it is held back here. SIGKILL
of the emulator alone would lose nothing that the guest's kernel had handed over, since the host's page cache
lives on; so it is this card that loses.

At a cut each sector of 512 octets written since the last flush is there or not, independently, with one share
drawn for the cut: nothing of it, a part, or all. An order that no real card keeps is not kept here either.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
ACCEPT_S = 0.2
# The protocol's numbers, by their names in its description.
MAGIC, OPTION_MAGIC, OPTION_REPLY = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST, REPLY = 0x25609513, 0x67446698
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
OPTION_ABORT, OPTION_GO = 2, 7
REP_ACK, REP_INFO, REP_UNSUPPORTED = 1, 3, 0x80000001
READ, WRITE, HANG_UP, FLUSH = range(4)
FORCE_UNIT_ACCESS = 1
INVALID = 22


@dataclass(frozen=True, slots=True)
class Damage:
    """What a cut did: sectors that were not durable yet, and how many of them were lost."""

    waiting: int
    lost: int


class Card:
    """A card in a file of its own; one emulator at a time reads and writes it through `address`."""

    def __init__(self, file: Path, address: Path) -> None:
        """Serve `file` on the local socket `address`, in a thread, until `close`."""
        self.address = address
        self._file = os.open(file, os.O_RDWR)
        self._path = file
        self._size = file.stat().st_size
        self._waiting: list[tuple[int, bytes]] = []
        self._newest: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.flushes = 0
        address.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen(1)
        self._listener.settimeout(ACCEPT_S)
        self._thread = threading.Thread(target=self._serve, name="card")
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
            knock.connect(str(self.address))  # so that it need not wait for its time to look
        self._thread.join(10)
        self._listener.close()
        os.close(self._file)
        self.address.unlink(missing_ok=True)

    # --- what a test does with it -----------------------------------------------------------------------

    def cut(self, rng: random.Random) -> Damage:
        """The power is gone: lose a share of what was not flushed. The emulator must be dead by now."""
        with self._lock:
            share, lost, sectors = rng.choice(SHARES), 0, 0
            for offset, data in self._waiting:
                for at in range(0, len(data), SECTOR):
                    sectors += 1
                    if rng.random() < share:
                        os.pwrite(self._file, data[at : at + SECTOR], offset + at)
                    else:
                        lost += 1
            self._forget()
        return Damage(sectors, lost)

    def settle(self) -> None:
        """Nobody cut the power: everything that was written is there."""
        with self._lock:
            self._write_out()

    def picture(self, target: Path) -> None:
        """A copy of the card as its guest sees it at this instant."""
        with self._lock:
            target.unlink(missing_ok=True)
            subprocess.run(
                ["cp", "--sparse=always", "--reflink=auto", str(self._path), str(target)], check=True
            )
            descriptor = os.open(target, os.O_WRONLY)
            try:
                for offset, data in self._waiting:
                    os.pwrite(descriptor, data, offset)
            finally:
                os.close(descriptor)

    # --- the disk ---------------------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> bytes:
        """What its guest reads."""
        with self._lock:
            data = bytearray(os.pread(self._file, length, offset))
            first, end = offset // SECTOR, (offset + length) // SECTOR
            wanted = range(first, end)
            mine = wanted if len(wanted) < len(self._newest) else [s for s in self._newest if s in wanted]
            for sector in mine:
                if (content := self._newest.get(sector)) is not None:
                    at = sector * SECTOR - offset
                    data[at : at + SECTOR] = content
        return bytes(data)

    def write(self, offset: int, data: bytes, *, durable: bool) -> None:
        """Take a write; durable at once only if that was asked for."""
        with self._lock:
            self._waiting.append((offset, data))
            for at in range(0, len(data), SECTOR):
                self._newest[(offset + at) // SECTOR] = data[at : at + SECTOR]
            if durable:  # a card that is asked to make one write durable may as well do it with all
                self._write_out()

    def flush(self) -> None:
        """Make durable what was written."""
        with self._lock:
            self.flushes += 1
            self._write_out()

    def _write_out(self) -> None:
        for offset, data in self._waiting:
            os.pwrite(self._file, data, offset)
        self._forget()

    def _forget(self) -> None:
        self._waiting.clear()
        self._newest.clear()

    # --- the protocol -----------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:  # nobody came for a while, or it was closed
                continue
            with line, contextlib.suppress(ConnectionError, EOFError):
                line.settimeout(ACCEPT_S)
                self._greet(line)
                while not self._closed.is_set():
                    if not self._answer(line):
                        break

    def _greet(self, line: socket.socket) -> None:
        line.sendall(MAGIC + OPTION_MAGIC + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES))
        self._take(line, 4)
        while True:
            magic, option, length = struct.unpack(">8sII", self._take(line, 16))
            self._take(line, length)
            if magic != OPTION_MAGIC or option == OPTION_ABORT:
                raise EOFError
            if option != OPTION_GO:
                line.sendall(struct.pack(">QIII", OPTION_REPLY, option, REP_UNSUPPORTED, 0))
                continue
            about = struct.pack(">HQH", 0, self._size, HAS_FLAGS | SEND_FLUSH | SEND_FUA)
            line.sendall(struct.pack(">QIII", OPTION_REPLY, option, REP_INFO, len(about)) + about)
            line.sendall(struct.pack(">QIII", OPTION_REPLY, option, REP_ACK, 0))
            return

    def _answer(self, line: socket.socket) -> bool:
        """One request; False when the emulator has hung up."""
        magic, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", self._take(line, 28))
        if magic != REQUEST or kind == HANG_UP:
            return False
        fault, answer = 0, b""
        if kind == WRITE:
            data = self._take(line, length)
        if kind in (READ, WRITE) and (offset % SECTOR or length % SECTOR or offset + length > self._size):
            fault = INVALID
        elif kind == READ:
            answer = self.read(offset, length)
        elif kind == WRITE:
            self.write(offset, data, durable=bool(flags & FORCE_UNIT_ACCESS))
        elif kind == FLUSH:
            self.flush()
        else:
            fault = INVALID
        line.settimeout(None)  # a slow guest takes its time, a dead one hangs up
        line.sendall(struct.pack(">IIQ", REPLY, fault, handle) + answer)
        line.settimeout(ACCEPT_S)
        return True

    def _take(self, line: socket.socket, length: int) -> bytes:
        whole = bytearray()
        while len(whole) < length:
            try:
                part = line.recv(length - len(whole))
            except TimeoutError:
                if self._closed.is_set():
                    raise EOFError from None
                continue
            if not part:
                raise EOFError
            whole += part
        return bytes(whole)
