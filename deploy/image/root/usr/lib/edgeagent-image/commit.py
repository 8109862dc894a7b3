#!/usr/bin/python3
"""Keep the slot that runs, if the agent is healthy in it; leave it, if it is an update that is not.

Healthy: `edgeagent.service` told systemd READY (its self-test computed a real inference, keys and trust store
were read, the loop turns) and has stood for a while without a restart. A unit that is not set up yet has no
service to wait for: there the self-test alone decides.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import slots

CONFIG = Path("/etc/edgeagent/edgeagent.toml")
PYTHON = "/opt/edgeagent/bin/python3"
SELF_TEST = (
    "from edgeagent.system.modelpack import default_pack_folder, load_pack\n"
    "from edgeagent.system.selftest import self_test\n"
    "print('self-test:', self_test(load_pack(default_pack_folder())))"
)
POLL_S = 2.0


@dataclass(frozen=True)
class Sight:
    """What systemd says of the agent's service."""

    active: bool
    failed: bool
    restarts: str


def service() -> Sight:
    """One look."""
    names = "--property=ActiveState,NRestarts"
    told = subprocess.run(
        ["systemctl", "show", names, "edgeagent.service"], check=True, capture_output=True, text=True
    ).stdout
    facts = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    state = facts.get("ActiveState", "")
    return Sight(state == "active", state == "failed", facts.get("NRestarts", ""))


def stands(within_s: float, steady_s: float) -> bool:
    """Whether the service became active in time and stayed so, without a restart in between."""
    end = time.monotonic() + within_s
    since, restarts = None, ""
    while time.monotonic() < end:
        sight = service()
        if sight.failed:
            return False
        if not sight.active or sight.restarts != restarts:
            since, restarts = None, sight.restarts
        if sight.active and since is None:
            since = time.monotonic()
        if since is not None and time.monotonic() - since >= steady_s:
            return True
        time.sleep(POLL_S)
    return False


def computes(within_s: float) -> bool:
    """Whether the installed program loads its models and infers what it should."""
    try:
        return subprocess.run([PYTHON, "-I", "-c", SELF_TEST], check=False, timeout=within_s).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Judge, then keep or leave."""
    within_s = float(os.environ.get("WITHIN_S", "180"))
    steady_s = float(os.environ.get("STEADY_S", "30"))
    slot = slots.current(Path("/proc/cmdline").read_text())
    if slot not in slots.SLOTS:
        print("not started by the slots' loader: nothing to keep")
        return 0
    healthy = stands(within_s, steady_s) if CONFIG.is_file() else computes(within_s)
    try:
        state = slots.read(slots.FOLDER)
    except slots.StateError as lost:
        print(f"{lost}; it is written anew")
        state = slots.NEW
    if healthy:
        slots.change(slots.FOLDER, slots.with_state(state, slot, good=True))
        print(f"slot {slot} is kept")
        return 0
    if not slots.on_trial(state, slot):
        # It has worked before, so the fault is likely elsewhere; a restart would only hide what is wrong.
        print(f"slot {slot}: the agent is not healthy; see `edgeagent doctor` and `journalctl -u edgeagent`")
        return 1
    print(f"slot {slot} is an update in which the agent is not healthy: back to the other slot")
    slots.change(slots.FOLDER, slots.with_state(state, slot, good=False))
    subprocess.run(["systemctl", "reboot"], check=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
