"""R1, R4: of a passer-by who is on no list nothing is left in memory, files or messages; no frame is written.

The real daemon, a real broker, a search that is shown to work; `make prove-deletion` is the longer version.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeagent.demo.scene import SUBJECT
from tests.bench_unit import HEIGHT, WIDTH
from tests.deletion.snapshot import may_read_memory
from tests.deletion.trial import CANARY, Trial
from tests.prove_deletion import IN_USE, Verdict, prove, total

REPLY = 64
"""More octets than the capture process answers for one frame."""

pytestmark = [
    pytest.mark.skipif(not may_read_memory(), reason="needs root, to read another process's memory"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """Both runs: once with every overwriting replaced by nothing, once as it is; a listed one passes too."""
    return prove(tmp_path_factory.mktemp("bench"), (CANARY, SUBJECT), lambda _: None)


def test_the_search_finds_every_form_when_nothing_is_overwritten(verdict: Verdict) -> None:
    assert set(total(verdict.kept.searches)) >= IN_USE
    assert verdict.missed == set()


def test_nothing_is_found_between_two_frames_nor_afterwards(verdict: Verdict) -> None:
    assert verdict.left == {}
    whens = [search.when for search in verdict.real.searches]
    assert [when.split()[0] for when in whens] == [CANARY, SUBJECT, "everybody,", "everybody,"]


def test_the_search_looked_into_everything(verdict: Verdict) -> None:
    while_live, _, closed, rest = verdict.real.searches
    assert while_live.octets["memory of the unit"] > 50e6
    assert while_live.octets["memory of the capture process"] > 20e6
    assert while_live.octets["open files"] > WIDTH * HEIGHT * 3  # the frame slot has no name
    assert closed.octets["memory of the unit"] > 50e6
    assert rest.octets["files"] > 10_000
    assert rest.octets["messages"] > 10_000


# --- R4: no video is recorded -----------------------------------------------------------------------------


def test_only_known_files_are_opened_for_writing(verdict: Verdict) -> None:
    """By the interpreter's own audit of every frame, and by the system's list of open files."""
    trial = verdict.real
    assert {Path(name).name for name in trial.writable if known(name, trial)} >= {"outbox.sqlite"}
    assert [name for name in trial.writable if not known(name, trial)] == []
    opened = {name for frame in trial.frames() for name in frame.written}
    assert [name for name in opened if not known(name, trial)] == []


def known(name: str, trial: Trial) -> bool:
    """The data folder's few files, the frame slot in memory, and what the test itself opened."""
    data = re.escape(str(trial.bench.data))
    own = (trial.unit.log, trial.bench.path / "observed-real.jsonl")
    patterns = (
        rf"{data}/outbox\.sqlite(-wal|-shm)?",
        rf"{data}/\.?(seen|audit-newest)\.json[.\w]*",
        rf"{data}/\.?health\.prom[.\w]*",
        rf"{data}/(audit|alert-rate)(/[.\w-]+)*",
        r"/memfd:edgeagent-frame \(deleted\)",
        r"/dev/null|\d+",  # a pipe's number
        *(re.escape(str(file)) for file in own),
    )
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def test_what_is_written_is_far_less_than_a_picture(verdict: Verdict) -> None:
    """All files, pipes and sockets together, as the system counts; messages are sealed alerts and states."""
    frames = len(verdict.real.frames())
    assert frames > 10
    assert verdict.real.written["capture process"] < 4096 + REPLY * frames
    assert verdict.real.written["unit"] / frames < WIDTH * HEIGHT * 3 / 20
