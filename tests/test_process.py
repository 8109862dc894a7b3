"""What the daemon's process gives up, and what it says where the system does not let it (R1)."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgeagent.system.process import Exposure, swap_is_on

PROTECTED = """
import json, re, resource
from pathlib import Path
{before}
from edgeagent.system.process import protect_memory
exposure = protect_memory()
status = Path("/proc/self/status").read_text()
locked = int(re.search(r"VmLck:\\s+(\\d+)", status)[1])
print(json.dumps([exposure.dumps, exposure.swaps, resource.getrlimit(resource.RLIMIT_CORE)[1], locked]))
"""
WITHOUT_RIGHT = """
import ctypes
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
ctypes.CDLL(None).prctl(24, 14, 0, 0, 0)  # drops CAP_IPC_LOCK from what a new program may have
import os, sys
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
"""


def protected(before: str = "") -> tuple[bool, bool, int, int]:
    program = PROTECTED.format(before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    dumps, swaps, core, locked = done.stdout.strip().strip("[]").split(",")
    return dumps.strip() == "true", swaps.strip() == "true", int(core), int(locked)


def test_no_dumps_and_as_much_locked_as_allowed() -> None:
    dumps, swaps, core, locked = protected()
    assert not dumps
    assert core == 0
    assert locked > 0 or swaps or not swap_is_on()


def test_with_a_limit_nothing_is_locked_rather_than_running_out_of_memory_later() -> None:
    dumps, swaps, _, locked = protected(WITHOUT_RIGHT)
    assert not dumps
    assert locked == 0
    assert swaps is swap_is_on()


HEAD = "Filename\tType\tSize\tUsed\tPriority\n"


@pytest.mark.parametrize(
    ("said", "on"), [(HEAD, False), (HEAD + "/dev/zram0 partition 1 0 100\n", True), (None, True)]
)
def test_swap(said: str | None, on: bool, tmp_path: Path) -> None:
    """Compressed memory counts; and if nobody can say, there is some."""
    file = tmp_path / "swaps"
    if said is not None:
        file.write_text(said)
    assert swap_is_on(file) is on


@pytest.mark.parametrize(
    ("dumps", "swaps", "words"),
    [
        (False, False, ()),
        (True, False, ("dumped", "R1")),
        (False, True, ("swap", "LimitMEMLOCK", "R1")),
        (True, True, ("dumped", "swap")),
    ],
)
def test_what_people_are_told(dumps: bool, swaps: bool, words: tuple[str, ...]) -> None:
    problem = Exposure(dumps=dumps, swaps=swaps).problem
    assert bool(problem) is bool(words)
    assert all(word in problem for word in words)


FREED = """
import ctypes
{before}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
place, guard = libc.malloc(5000), libc.malloc(5000)
ctypes.memset(place, ord("f"), 5000)
libc.free(ctypes.c_void_p(place))
print(ctypes.string_at(place, 5000).count(b"f"))
"""
OVERWRITE = "from edgeagent.system.process import overwrite_what_is_freed; overwrite_what_is_freed()"


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="needs glibc, which can overwrite what is freed"
)
@pytest.mark.parametrize(("before", "least", "most"), [("", 4000, 5000), (OVERWRITE, 0, 10)])
def test_what_a_library_frees_is_overwritten(before: str, least: int, most: int) -> None:
    program = [sys.executable, "-c", FREED.format(before=before)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most
