"""Check a bill of materials against CycloneDX's own schema, with CycloneDX's own library.

.venv-sbom/bin/python deploy/image/check_sbom.py build/image/virt/sbom.cdx.json
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> int:
    """Say what is wrong, or how much of what is in it."""
    file = Path(sys.argv[1])
    if not file.is_file():
        print(f"{file}: is missing; build it with: make image", file=sys.stderr)
        return 2
    text = file.read_text()
    # By name: the library lives in an environment of its own, which no other program of this tree needs.
    version = importlib.import_module("cyclonedx.schema").SchemaVersion.V1_5
    wrong = (
        importlib.import_module("cyclonedx.validation.json").JsonStrictValidator(version).validate_str(text)
    )
    if wrong is not None:
        print(f"{file}: {wrong}", file=sys.stderr)
        return 1
    parts = json.loads(text)["components"]
    hashed = sum("hashes" in part or "properties" in part for part in parts)
    licensed = sum("licenses" in part for part in parts)
    for kind in ("deb", "pypi", "model"):
        print(f"{kind:6} {sum(part['bom-ref'].startswith(f'{kind}/') for part in parts):4}")
    print(f"{file}: CycloneDX 1.5, valid; {len(parts)} parts, {licensed} with licences, {hashed} with hashes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
