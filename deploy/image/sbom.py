"""Bill of materials of an image, CycloneDX 1.5 in JSON: Debian packages, Python packages, model files.

What is written is what lies in the root: `dpkg`'s own list, each wheel's own metadata. Hashes are those by
which the parts were fetched: the archive's for a Debian package, the lock file's for a wheel.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from image_board import Board
from image_tools import REPOSITORY
from image_tree import Root

LOCK = REPOSITORY / "deploy" / "package" / "requirements.lock"
NAMESPACE = uuid.UUID("e0000000-0000-4000-8000-0000000000bb")
LICENCES_MOST = 30


def write_sbom(root: Root, board: Board, version: int, epoch: int, out: Path) -> Path:
    """Write the bill of a root to `out`; the same bytes for the same root."""
    tree = root.tree
    parts = [
        *debian(tree, archive_hashes(root.lists)),
        *python(tree, wheel_hashes(LOCK.read_text())),
        *models(tree),
    ]
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps([board.board, version, parts]))}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "component": {
                "type": "firmware",
                "bom-ref": "image",
                "name": f"edgeagent-{board.board}",
                "version": str(version),
            },
        },
        "components": parts,
    }
    out.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return out


def debian(tree: Path, archive: dict[tuple[str, str, str], str]) -> Iterator[dict[str, Any]]:
    """Each installed Debian package; `archive` is what the archive's lists say."""
    for text in (tree / "var/lib/dpkg/status").read_text().strip().split("\n\n"):
        fields = HeaderParser().parsestr(text)
        if fields["Status"] != "install ok installed":
            continue
        name, version, arch = (str(fields[key]) for key in ("Package", "Version", "Architecture"))
        digest = archive.get((name, version, arch))
        part: dict[str, Any] = {
            "type": "application" if name == "edgeagent" else "library",
            "bom-ref": f"deb/{name}",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch={arch}",
        }
        if digest:
            part["hashes"] = [{"alg": "SHA-256", "content": digest}]
        if fields["Source"]:
            part["properties"] = [{"name": "debian:source", "value": str(fields["Source"])}]
        yield _licensed(part, copyright_names(tree / "usr/share/doc" / name / "copyright"))


def archive_hashes(lists: Path) -> dict[tuple[str, str, str], str]:
    """SHA-256 of the files of the archive, by package, version and architecture."""
    found = {}
    for file in sorted(lists.glob("*_Packages")):
        for text in file.read_text().split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|Architecture|SHA256): (.*)$", text, re.MULTILINE))
            if "SHA256" in fields:
                found[fields["Package"], fields["Version"], fields["Architecture"]] = fields["SHA256"]
    return found


def copyright_names(file: Path) -> list[str]:
    """Licences that a machine-readable copyright file names; none of an older, free text."""
    if not file.is_file():
        return []
    text = file.read_text(errors="replace")
    if "copyright-format" not in text[:400]:
        return []
    return sorted({name.strip()[:120] for name in re.findall(r"^License: *(\S.*)$", text, re.MULTILINE)})


def python(tree: Path, locked: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    """Each wheel of the agent's environment."""
    for metadata in sorted(tree.glob("opt/edgeagent*/lib/python*/site-packages/*.dist-info/METADATA")):
        if metadata.relative_to(tree).parts[1] == "edgeagent" and (tree / "opt/edgeagent").is_symlink():
            continue
        fields = HeaderParser().parsestr(metadata.read_text(errors="replace"))
        name, version = str(fields["Name"]), str(fields["Version"])
        part: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"pypi/{_normal(name)}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{_normal(name)}@{version}",
        }
        digests = locked.get(_normal(name), [])
        if len(digests) == 1:
            part["hashes"] = [{"alg": "SHA-256", "content": digests[0]}]
        else:
            part["properties"] = [{"name": "lock:sha256", "value": digest} for digest in digests]
        yield _licensed(part, _python_licences(fields))


def _python_licences(fields: Any) -> list[str]:
    said = fields["License-Expression"]
    if said:
        return [str(said)]
    classified = [
        str(value).rsplit(" :: ", 1)[-1]
        for value in fields.get_all("Classifier", [])
        if str(value).startswith("License ::")
    ]
    written = str(fields["License"] or "").splitlines()
    return sorted(classified) or [line[:120] for line in written[:1]]


def wheel_hashes(lock: str) -> dict[str, list[str]]:
    """SHA-256 of every file that the lock allows, by package: one of them was installed."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lock.splitlines():
        if match := re.match(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", line):
            name = _normal(match[1])
        found.setdefault(name, []).extend(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def models(tree: Path) -> Iterator[dict[str, Any]]:
    """Each network of the installed model pack."""
    seen = set()
    for file in sorted(tree.glob("opt/edgeagent*/lib/python*/site-packages/edgeagent/models/*.tflite")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if file.name in seen:
            continue
        seen.add(file.name)
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model/{file.name}",
            "name": file.name,
            "version": digest[:12],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def _licensed(part: dict[str, Any], names: list[str]) -> dict[str, Any]:
    if names:
        part["licenses"] = [{"license": {"name": name}} for name in names[:LICENCES_MOST]]
    return part
