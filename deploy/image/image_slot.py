"""One slot as one file: squashfs, its dm-verity tree, and at a fixed place the kernel and initrd that
belong to it.

The slot's root hash is in its initrd, and U-Boot checks the initrd's and the kernel's checksum: a slot that
was written half, or has lost a bit, is not started, or ends in a restart that the loader counts.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

from image_board import Board
from image_kernel import wrap
from image_tools import HERE, MEBIBYTE, ImageError, fresh, need, run
from image_tree import Root

UUID = "e0000000-0000-4000-8000-000000000001"
BLOCK = 4096
NEWC = "070701"


def slot_image(
    board: Board, root: Root, epoch: int, out: Path, told: Callable[[str], None] = lambda _: None
) -> Path:
    """Write the slot's image to `out`; the same bytes for the same root and epoch. `told` gets what is done.

    Raises:
        ImageError: it does not fit into the slot.
    """
    need("mksquashfs", "veritysetup", "mkimage")
    told("squashfs")
    squash(root.tree, epoch, out)
    offset = out.stat().st_size
    _fits("root with its verity tree", offset + offset // 64, board.sizes.kernel_at)
    told("dm-verity")
    root_hash = _verity(out, offset)
    told("kernel and initrd")
    wrapped = _wrapped(board, root, _slots_part(root_hash, offset, epoch), epoch, out.parent)
    with out.open("r+b") as writing:
        for kind, (at, most) in board.sizes.pieces.items():
            _fits(kind, len(wrapped[kind]), most)
            writing.seek(at * MEBIBYTE)
            writing.write(wrapped[kind])
        _fits("slot", writing.tell(), board.sizes.slot)
        writing.truncate(-(-writing.tell() // MEBIBYTE) * MEBIBYTE)
    return out


def squash(tree: Path, epoch: int, out: Path) -> None:
    """A squashfs that does not depend on who builds it, and when."""
    out.unlink(missing_ok=True)
    options = ["-noappend", "-no-progress", "-comp", "zstd", "-Xcompression-level", "5", "-b", "256K"]
    stable = ["-all-time", str(epoch), "-mkfs-time", str(epoch), "-reproducible", "-processors", "2"]
    run("mksquashfs", tree, out, *options, *stable)


def _verity(image: Path, offset: int) -> str:
    """Append the hash tree; the salt follows from nothing secret, so that two builds agree."""
    salt = hashlib.sha256(UUID.encode()).hexdigest()
    words = [
        f"--hash-offset={offset}",
        f"--salt={salt}",
        f"--uuid={UUID}",
        f"--data-blocks={offset // BLOCK}",
    ]
    said = run("veritysetup", "format", image, image, *words)
    return next(line.split()[-1] for line in said.splitlines() if line.startswith("Root hash:"))


def _slots_part(root_hash: str, offset: int, epoch: int) -> bytes:
    """What this slot adds to Debian's initrd: its root hash, and the script that mounts it."""
    said = f"VERITY_HASH={root_hash}\nVERITY_OFFSET={offset}\n".encode()
    script = (HERE / "initramfs" / "scripts" / "edgeagent").read_bytes()
    return cpio([("edgeagent", None), ("edgeagent/verity", said), ("scripts/edgeagent", script)], epoch)


def cpio(entries: list[tuple[str, bytes | None]], epoch: int) -> bytes:
    """A newc archive of folders (None) and files, for the kernel to unpack after the initrd proper."""
    out = b""
    for number, (name, content) in enumerate([*entries, ("TRAILER!!!", b"")], start=1):
        mode = 0o040755 if content is None else 0o100644
        body = content or b""
        fields = (number, mode, 0, 0, 1, epoch, len(body), 0, 0, 0, 0, len(name) + 1, 0)
        head = NEWC + "".join(f"{field:08x}" for field in fields)
        out += _padded(head.encode() + name.encode() + b"\0", 4) + _padded(body, 4)
    return _padded(out, 512)


def _padded(content: bytes, to: int) -> bytes:
    return content + bytes(-len(content) % to)


def _wrapped(board: Board, root: Root, added: bytes, epoch: int, work: Path) -> dict[str, bytes]:
    folder = fresh(work / "kernel")
    (folder / "Image.gz").write_bytes(gzip.compress(root.kernel.read_bytes(), 9, mtime=0))
    (folder / "initrd.img").write_bytes(_padded(root.initrd.read_bytes(), 4) + added)
    contents = {"kernel": folder / "Image.gz", "ramdisk": folder / "initrd.img"}
    return {kind: wrap(board, kind, file, folder / f"{kind}.uimg", epoch) for kind, file in contents.items()}


def _fits(what: str, size: int, most_mib: int) -> None:
    if size > most_mib * MEBIBYTE:
        raise ImageError(
            f"{what} needs {size / MEBIBYTE:.0f} MiB, there are {most_mib}",
            where="slot",
            next_step="remove packages, or enlarge the sizes in boards/",
        )
