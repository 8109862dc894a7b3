"""A signed update: RAUC's verity bundle of one slot.

python deploy/image/update_bundle.py --slot slot.img --version 7 --board virt --out update.raucb
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from image_keys import UpdateKey, development_key
from image_tools import REPOSITORY, need, run

MANIFEST = """\
[update]
compatible=edgeagent-{board}
version={version}

[bundle]
format=verity

[image.rootfs]
filename=slot.img
"""


def bundle(board: str, slot: Path, version: int, signer: UpdateKey, out: Path) -> Path:
    """Sign `slot` as version `version` for units of `board`. An older file of that name is replaced."""
    need("rauc", "mksquashfs")
    with tempfile.TemporaryDirectory(dir=slot.parent) as name:
        folder = Path(name)
        os.link(slot, folder / "slot.img")
        (folder / "manifest.raucm").write_text(MANIFEST.format(board=board, version=version))
        unfinished = out.with_name(f"unfinished-{out.name}")
        unfinished.unlink(missing_ok=True)
        signing = [f"--cert={signer.certificate}", f"--key={signer.key}"]
        fast = "--mksquashfs-args=-comp zstd -Xcompression-level 3 -processors 2"
        run("rauc", "bundle", *signing, fast, folder, unfinished)
        unfinished.rename(out)
    return out


def main() -> None:
    """Make one bundle, by default with the development key."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slot", type=Path, required=True)
    parser.add_argument("--board", required=True)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if asked.key and asked.certificate:
        signer = UpdateKey(asked.key, asked.certificate)
    else:
        signer = development_key(REPOSITORY / "build" / "image-keys")
    print(bundle(asked.board, asked.slot, asked.version, signer, asked.out))


if __name__ == "__main__":
    main()
