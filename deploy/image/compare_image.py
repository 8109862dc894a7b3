"""Build an image twice, the Debian base too unless told otherwise, and say whether the bytes are the same.

python deploy/image/compare_image.py --board virt --package build/edgeagent_….deb [--same-base]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from image_board import load_board
from image_keys import development_key
from image_tools import REPOSITORY, commit_time, fresh, run, sha256
from make_image import build

SHOWN = 40
COMPARED = ("slot.img", "sbom.cdx.json")


def main() -> int:
    """Build into two folders; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="virt")
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--same-base", action="store_true", help="one Debian base for both: minutes less")
    asked = parser.parse_args()
    board = load_board(asked.board)
    keyring = development_key(REPOSITORY / "build" / "image-keys").certificate
    place = fresh(REPOSITORY / "build" / "image-twice")
    images = []
    for name in ("first", "second"):
        cache = REPOSITORY / "build" / "image-cache" if asked.same_base else place / f"{name}-cache"
        images.append(build(board, asked.package, keyring, commit_time(), cache, place / name))
    return compare(*images)


def compare(first: Path, second: Path) -> int:
    """Say which files are equal; of roots that differ, which of their files."""
    differing = 0
    for name in (first.name, *COMPARED):
        one, other = first.with_name(name), second.with_name(name)
        equal = sha256(one) == sha256(other)
        differing += not equal
        print(
            f"{name:24} {'equal' if equal else 'DIFFERS'}  sha256 {sha256(one)[:16]}… {sha256(other)[:16]}…"
        )
    if differing:
        _roots(first.parent / "work", second.parent / "work")
    return 1 if differing else 0


def _roots(one: Path, other: Path) -> None:
    said = run("sh", "-c", f"diff -rq --no-dereference '{one}/root' '{other}/root' || true").splitlines()
    said += [
        f"{name} differs" for name in ("Image", "initrd.debian") if sha256(one / name) != sha256(other / name)
    ]
    for line in said[:SHOWN]:
        print(f"  {line.replace(str(one), 'first').replace(str(other), 'second')}")
    if len(said) > SHOWN:
        print(f"  and {len(said) - SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
