"""The image as it is for one unit: as built, with the unit's own files in the loader's partition.

The files come by mtools, so that nothing is mounted on the technician's laptop.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from card_disk import SECTOR, CardError

CHUNK = 4 << 20
HEAD = FOOT = 1 << 20
"""Before the first partition and behind the last one: the partition table and its backup. They are written
last, so a card is whole or has none."""


@dataclass(frozen=True)
class Part:
    """One partition: bytes from, and how many."""

    start: int
    size: int


@dataclass(frozen=True)
class CardImage:
    """What is written: `image`, but from `part` on the file `boot`."""

    image: Path
    part: Part
    boot: Path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.image.stat().st_size

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Place and content of everything between the partition table and its backup, in order."""
        at, last = HEAD, self.size - FOOT
        while at < last:
            end = self.part.start + self.part.size
            inside = self.part.start <= at < end
            stop = end if inside else (self.part.start if at < self.part.start else last)
            content = _piece(self.boot if inside else self.image, at - (self.part.start if inside else 0),
                             min(CHUNK, stop - at))  # fmt: skip
            yield at, content
            at += len(content)

    def tables(self) -> Iterator[tuple[int, bytes]]:
        """Place and content of the partition table, after its backup."""
        at = self.size - FOOT
        yield at, _piece(self.image, at, FOOT)
        yield 0, _piece(self.image, 0, HEAD)


def _piece(file: Path, at: int, size: int) -> bytes:
    with file.open("rb") as reading:
        reading.seek(at)
        content = reading.read(size)
    if len(content) != size:
        raise CardError("ends too early", where=str(file), next_step="build the image again")
    return content


def partition(image: Path, name: str) -> Part:
    """A partition of the image, by its name in the GPT.

    Raises:
        CardError: no GPT, a damaged one, or no such partition.
    """
    table = _piece(image, 0, 34 * SECTOR)
    header = table[SECTOR : SECTOR + 92]
    without_sum = header[:16] + bytes(4) + header[20:]
    if header[:8] != b"EFI PART" or zlib.crc32(without_sum) != struct.unpack_from("<I", header, 16)[0]:
        raise CardError("is no image of a card", where=str(image), next_step="build it with: make image")
    for at in range(2 * SECTOR, 34 * SECTOR, 128):
        first, last = struct.unpack_from("<QQ", table, at + 32)
        if table[at + 56 : at + 128].decode("utf-16-le").rstrip("\0") == name:
            return Part(first * SECTOR, (last - first + 1) * SECTOR)
    raise CardError(f"has no partition {name}", where=str(image), next_step="build it with: make image")


def for_unit(image: Path, files: dict[str, Path], work: Path) -> CardImage:
    """The image with these files on the loader's partition; `files` from name there to file here.

    Raises:
        CardError: mtools is missing, or a file does not fit.
    """
    part = partition(image, "boot")
    boot = work / "boot.img"
    with boot.open("wb") as writing:
        for at in range(0, part.size, CHUNK):
            writing.write(_piece(image, part.start + at, min(CHUNK, part.size - at)))
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    for folder in folders:
        _mtools(boot, "mmd", f"::{folder}")
    for name, file in sorted(files.items()):
        _mtools(boot, "mcopy", str(file), f"::{name}")
    return CardImage(image, part, boot)


def _mtools(boot: Path, program: str, *words: str) -> None:
    if shutil.which(program) is None:
        raise CardError("needs mtools", where="make deploy", next_step="sudo apt install mtools")
    done = subprocess.run([program, "-i", str(boot), *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CardError(
            f"cannot take {words[-1]}: {done.stderr.strip()[:200]}",
            where=str(boot),
            next_step="is there room on the boot partition?",
        )
