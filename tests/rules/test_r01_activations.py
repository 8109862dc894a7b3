"""R1: after a scrub, what the networks hold between their layers does not depend on who was seen.

That memory belongs to the runtime, so it is compared from outside: one process sees a picture and is
scrubbed, then another picture and is scrubbed. Where its memory differed between the pictures, it must not
differ between the scrubs. One thread, and without its stack: which thread computes what, and so what lies on
the stacks, varies from run to run by a few thousand octets, also between two looks at one picture.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.broker_tools import wait_for
from tests.deletion.search import UInt8
from tests.deletion.snapshot import may_read_memory, memory

pytestmark = pytest.mark.skipif(not may_read_memory(), reason="needs root, to read another process's memory")

PROGRAM = """
import os, signal
import numpy as np
from edgeagent.vision.runtime import Network
from edgeagent.system.networks import network_of
from tests.real_networks import model_pack

spec = network_of(model_pack(), {role!r}).spec
network = Network(model_pack().files[spec.name], spec, num_threads=1)
pictures = np.random.default_rng(0).integers(0, 256, (2, spec.height, spec.width, 3), np.uint8)
for picture in (*pictures, *pictures):
    network.run(picture)
    os.kill(os.getpid(), signal.SIGSTOP)
    network.{clean}()
    os.kill(os.getpid(), signal.SIGSTOP)
"""
NOISE = 256
"""Octets that differ for other reasons: counters, addresses, reference counts."""


def copies(role: str, clean: str) -> list[dict[int, UInt8]]:
    """Memory by address: first face, cleaned, second face, cleaned; twice, as the first time allocates."""
    found = []
    with subprocess.Popen([sys.executable, "-c", PROGRAM.format(role=role, clean=clean)]) as process:
        try:
            for _ in range(8):
                assert wait_for(lambda: stopped(process.pid), 30)
                found.append(by_address(process.pid))
                process.send_signal(signal.SIGCONT)
        finally:
            process.kill()
    return found[4:]


def stopped(pid: int) -> bool:
    state = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
    return state is not None and state.si_status == signal.SIGSTOP


def by_address(pid: int) -> dict[int, UInt8]:
    """Pages that can be written to."""
    regions = [region for region in memory(pid) if region.writable and region.name != "[stack]"]
    return {region.start: region.octets for region in regions}


def differing(one: dict[int, UInt8], other: dict[int, UInt8]) -> dict[int, UInt8]:
    """Where two copies differ, in the stretches that both have."""
    both = [start for start in one if start in other and len(one[start]) == len(other[start])]
    return {start: one[start] != other[start] for start in both}


@pytest.mark.parametrize("role", ["detector", "embedder"])
@pytest.mark.parametrize("clean", ["wipe", "scrub"])
def test_only_a_scrub_leaves_nothing_between_the_layers(role: str, clean: str) -> None:
    first, first_cleaned, second, second_cleaned = copies(role, clean)
    of_faces = differing(first, second)
    left = differing(first_cleaned, second_cleaned)
    held = sum(int(where.sum()) for where in of_faces.values())
    remains = sum(int((where & left[start]).sum()) for start, where in of_faces.items() if start in left)
    print(role, clean, held, remains)
    assert held > 100_000, "the comparison does not see the layers"
    if clean == "scrub":
        assert remains < NOISE
    else:
        assert remains > 10_000, "so `wipe` alone would not do"
