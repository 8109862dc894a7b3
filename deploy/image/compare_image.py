"""Build an image twice and say whether the bytes are the same.

python deploy/image/compare_image.py --board virt --package build/edgeagent_….deb [--same-base]

The first build takes the Debian base that `make image` kept, the second fetches its own: where the two
differ, Debian has published newer packages since, or the building itself is not repeatable. What is said
tells which.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from image_board import load_board
from image_keys import development_key
from image_tools import REPOSITORY, commit_time, ending, fresh, run, sha256
from make_image import build

SHOWN = 40
COMPARED = ("slot.img", "sbom.cdx.json")


def main() -> int:
    """Build into two folders; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="virt")
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument(
        "--same-base", action="store_true", help="the kept Debian base for both: minutes less"
    )
    asked = parser.parse_args()
    return ending(lambda: _twice(asked), "nothing was compared")


def _twice(asked: argparse.Namespace) -> int:
    board = load_board(asked.board)
    keyring = development_key(REPOSITORY / "build" / "image-keys").certificate
    epoch = commit_time()  # once: the next commit may come while this goes on
    kept, place = REPOSITORY / "build" / "image-cache", fresh(REPOSITORY / "build" / "image-twice")
    images = []
    for name, cache in (("first", kept), ("second", kept if asked.same_base else place / "cache")):
        print(f"--- {name} build", flush=True)
        images.append(build(board, asked.package, keyring, epoch, epoch, cache, place / name))
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
        newer = list(versions(*(image.with_name("sbom.cdx.json") for image in (first, second))))
        print(f"  Debian's packages: {', '.join(newer) or 'the same versions in both'}")
        _roots(first.parent / "work", second.parent / "work")
    return 1 if differing else 0


def versions(first: Path, second: Path) -> Iterator[str]:
    """Packages whose versions differ between two bills of materials."""
    bills = [
        {part["bom-ref"]: part["version"] for part in json.loads(bill.read_text())["components"]}
        for bill in (first, second)
    ]
    for name in sorted({name for bill in bills for name in bill}):
        one, other = (bill.get(name, "absent") for bill in bills)
        if one != other:
            yield f"{name} {one} → {other}"


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
