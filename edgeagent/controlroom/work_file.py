"""What an interrupted build has done so far: appended records of fixed length, so that a torn one is noticed.

    header: b"EDGEWORK1\\n" · dimension (4 octets)
    record: key (32 octets) · template (dimension × float32) · SHA-256 of both (32 octets)

The key is a hash of row, image, limits and model pack: whatever changes is done again. The file holds
templates, so it is for its owner only and is overwritten when the list is written.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Self

import numpy as np

from edgeagent.errors import EnrolmentError
from edgeagent.system.files import destroy
from edgeagent.vision.types import Float32Array

MAGIC = b"EDGEWORK1\n"
KEY_BYTES = 32
SUM_BYTES = 32


class WorkFile:
    """Templates by key. Use as a context manager; `destroy` it when it is needed no more."""

    def __init__(self, path: Path, dimension: int) -> None:
        """Open or begin the file; what is torn or of another model's shape is thrown away.

        Raises:
            EnrolmentError: something else has that name, others may read it, or another build has it open.
        """
        self.path = path
        self._dimension = dimension
        self._record = KEY_BYTES + 4 * dimension + SUM_BYTES
        self._header = MAGIC + dimension.to_bytes(4, "big")
        self._offsets: dict[bytes, int] = {}
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return len(self._offsets)

    def _read(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise self._refuse("is in use by another build", "wait until that has ended") from cause
        if os.fstat(self._descriptor).st_mode & 0o077:
            raise self._refuse("can be read by others", f"remove {self.path} and begin again")
        head = os.pread(self._descriptor, len(self._header), 0)
        if head and not head.startswith(MAGIC[: len(head)]):
            raise self._refuse("is not a work file", "choose another --out, or move that file away")
        if head != self._header:  # new, torn at its beginning, or of another model
            self._cut(0)
            os.pwrite(self._descriptor, self._header, 0)
        self._end = len(self._header)
        while (record := os.pread(self._descriptor, self._record, self._end)) and self._whole(record):
            self._offsets[record[:KEY_BYTES]] = self._end
            self._end += self._record
        self._cut(self._end)

    def _refuse(self, what: str, next_step: str) -> EnrolmentError:
        return EnrolmentError(what, where=str(self.path), next_step=next_step)

    def _cut(self, length: int) -> None:
        """Overwrite what comes after, since it may be a template, and cut it off."""
        size = os.fstat(self._descriptor).st_size
        if size > length:
            os.pwrite(self._descriptor, bytes(size - length), length)
        os.ftruncate(self._descriptor, length)

    def _whole(self, record: bytes) -> bool:
        body, digest = record[:-SUM_BYTES], record[-SUM_BYTES:]
        return len(record) == self._record and hashlib.sha256(body).digest() == digest

    def get(self, key: bytes, out: Float32Array) -> bool:
        """Copy the template of this key into `out`, (d,) float32; whether there was one."""
        offset = self._offsets.get(key)
        if offset is None:
            return False
        octets = os.pread(self._descriptor, 4 * self._dimension, offset + KEY_BYTES)
        out[:] = np.frombuffer(octets, "<f4")
        return True

    def put(self, key: bytes, template: Float32Array) -> None:
        """Append a template, (d,) float32; it survives this process being killed."""
        body = key + template.astype("<f4").tobytes()
        os.pwrite(self._descriptor, body + hashlib.sha256(body).digest(), self._end)
        self._offsets[key] = self._end
        self._end += self._record

    def destroy(self) -> None:
        """Overwrite and remove the file; this object may only be closed afterwards."""
        destroy(self.path)
        self._offsets.clear()
