"""What a technician reads: steps, what changed, how a unit stands. Names of keys, never what is in a file."""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unit.on_unit.image import emptied, other
from unit.on_unit.image import kept as is_kept

STEPS = 8
MEBI = 1 << 20


class Steps:
    """Numbered lines with the time since the start; a bar for the copy on a terminal."""

    def __init__(self, of: int = STEPS) -> None:
        self._of = of
        self._began = time.monotonic()
        self._number = 0

    def step(self, text: str) -> None:
        """The next step begins."""
        self._number += 1
        print(f"[{self._number}/{self._of} {time.monotonic() - self._began:5.1f} s] {text}", flush=True)

    def note(self, text: str) -> None:
        """A line below the step."""
        print(f"      {text}", flush=True)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    @contextmanager
    def bar(self, whole: int) -> Iterator[Any]:
        """Told of octets; draws only for eyes."""
        sent = 0

        def told(octets: int) -> None:
            nonlocal sent
            sent += octets
            if sys.stderr.isatty():
                print(f"\r      {sent // MEBI} of {whole // MEBI} MiB ", end="", file=sys.stderr, flush=True)

        yield told
        if sys.stderr.isatty():
            print(file=sys.stderr)


def changed_keys(before: str | None, after: bytes) -> list[str]:
    """Keys of a TOML file that are new, gone, or have another value; the values are not said."""
    old, new = _flat(before), _flat(after.decode(errors="replace"))
    marks = []
    for key in sorted(old.keys() | new.keys()):
        if key not in old:
            marks.append(f"+{key}")
        elif key not in new:
            marks.append(f"-{key}")
        elif old[key] != new[key]:
            marks.append(f"~{key}")
    return marks


def _flat(text: str | None) -> dict[str, Any]:
    try:
        table = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError:
        return {}
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def differences(facts: dict[str, Any], release: str, config: str, files: dict[str, bytes]) -> list[str]:
    """What a switch changes, a line each; nothing if it would change nothing."""
    said = []
    if facts["release"] != release:
        said.append(f"program: {facts['release'] or 'none'} → {release}")
    if facts["config"] != config:
        said.append(f"configuration: {facts['config'] or 'none'} → {config}")
        for name in ("edgeagent.toml", "network.toml"):
            keys = changed_keys(facts["files"].get(name), files[name])
            if keys:
                said.append(f"  {name}: {' '.join(keys)}")
    return said


def table(facts: dict[str, Any], offset: float, image: dict[str, Any] | None) -> list[str]:
    """How a unit stands, for `make status`."""
    service = facts["service"]
    kept = ", ".join(f"{name} ({how})" for name, how in facts["keys"].items()) or "none: not enrolled"
    rows = {
        "board": f"{facts['board']}, {facts['os']}, {facts['arch']}, Python {facts['python']}",
        "clock": f"{'' if facts['synchronised'] else 'not '}synchronised, {offset:+.1f} s from ours",
        "free": ", ".join(f"{path} {free // MEBI} MiB" for path, free in facts["free"].items()),
        "program": facts["release"] or "none",
        "configuration": facts["config"] or "none",
        "keys": kept,
        "packet filter": "loaded" if facts["firewall"] else "not loaded",
        "service": f"{service.get('ActiveState', '?')} ({service.get('SubState', '?')}), "
        f"{service.get('NRestarts', '?')} restarts",
        "says": service.get("StatusText") or "nothing",
    }
    if image is not None:
        running, beside = image["running"], other(image)
        how = "kept" if is_kept(image, running) else "on trial"
        rows["image"] = (
            f"version {image['version']} in slot {running}, {how}; slot {beside}: {_of_slot(image, beside)}"
        )
    if facts["pending"]:
        rows["switch"] = (
            "under way, or cut off: the unit goes back by itself, at its next start at the latest"
        )
    return [f"{name:>14}  {text}" for name, text in rows.items()]


def _of_slot(image: dict[str, Any], slot: str) -> str:
    if emptied(image, slot):
        return "nothing to go back to"
    return "works" if is_kept(image, slot) else "an update that the next start tries"


def left_behind(host: str, stays: dict[str, Any]) -> list[str]:
    """What `make undeploy` leaves on a unit, and how it goes when the unit will not come back."""
    keys, folders = stays["keys"], stays["folders"]
    if not keys and not folders:
        return ["no file of edgeagent's is left on it"]
    said = ["still on the unit:"]
    said += [f"  private key  {path} ({kind})" for path, kind in keys.items()]
    said += [f"  {what:<11}  {path}" for what, path in folders.items()]
    said += ["Keep them if the unit is deployed to again. If it will not come back, in this order:"]
    steps = []
    if "audit log" in folders:
        steps.append(f"read the audit log: scp -r root@{host}:{folders['audit log']} . (docs/audit.md)")
    if keys:
        steps.append("revoke its certificate and its signing key: they count until then (docs/enrolment.md)")
    places = " ".join(sorted(set(folders.values()) - {folders.get("audit log")}))
    steps.append(f"on the unit: find {places} -type f -exec shred -u {{}} + && rm -r {places}")
    if keys:
        steps.append("flash keeps old blocks: destroy the card too, unless a TPM sealed the keys")
    return said + [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
