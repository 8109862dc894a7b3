"""Kill an enrolment at every step that it makes durable, run it again, and look.

    python -m tests.enrol_power_cuts [EVERY]

With EVERY=2 only every second step is tried, as in the tests.
A step is a call of fsync: before each, in a process of its own, SIGKILL. That leaves files before and after
every rename, as a power cut does; what a disk does with blocks that were never synchronised is not tried.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from edgeagent.agent.enrol import Pending, check_keys
from edgeagent.agent.enrol_config import TLS_KEY, UNIT_KEY
from edgeagent.agent.enrol_finish import finish, read_files
from edgeagent.agent.enrol_state import Stage, read_state, refuse_before_enrolment, refuse_without_keys
from edgeagent.config import load_config
from edgeagent.controlroom.enrol_register import Event, open_register
from edgeagent.documents import enrol_code
from edgeagent.documents.keys import load_identity
from edgeagent.errors import EdgeAgentError
from edgeagent.system.enrol_keys import Keeper, Kept
from edgeagent.system.revocation import list_issued
from tests.desk import UNIT, Desk
from tests.enrol_samples import Scene

MOST_STEPS = 200
DESK = Desk()


@dataclass(frozen=True)
class Procedure:
    """What is cut: `prepare` makes the scene, `step` is killed and then run again, `check` looks."""

    name: str
    prepare: Callable[[Scene], Any]
    step: Callable[[Scene, Any], Any]
    after_cut: Callable[[Scene, Any], None]
    check: Callable[[Scene, Any, Any], None]


def killed_at(number: int, call: Callable[[], object]) -> bool:
    """Whether the call was killed before its fsync of this number; False if it made fewer."""
    child = os.fork()
    if child == 0:
        genuine, seen = os.fsync, 0

        def counting(fd: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            genuine(fd)

        os.fsync = counting
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the call failed by itself"
    return False


def starts(scene: Scene) -> bool:
    """Whether the daemon would start."""
    place = scene.place()
    try:
        refuse_before_enrolment(place.config)
        refuse_without_keys(load_config(place.config))
    except EdgeAgentError as refusal:
        if "edgeagent enrol" not in refusal.next_step:
            raise
        return False
    return True


# --- begin --------------------------------------------------------------------------------------------------


def _shown(scene: Scene) -> str | None:
    """The request that somebody may have been shown."""
    state = read_state(scene.place().staging)
    return state.request if state is not None and state.stage is Stage.REQUESTED else None


def _begin_cut(scene: Scene, told: Any) -> None:
    assert not starts(scene)
    (scene.path / "shown").write_text(_shown(scene) or "")


def _begun(scene: Scene, told: Any, pending: Pending) -> None:
    shown = (scene.path / "shown").read_text()
    assert shown in ("", pending.asked.transcript.hex()), "a request that was shown was replaced"
    staging = scene.place().staging
    check_keys(Keeper(staging, Kept.FILE), pending.asked)
    if pending.made:
        names = sorted(path.name for path in staging.iterdir() if ".key" in path.name)
        assert names == [TLS_KEY, UNIT_KEY], names


BEGIN = Procedure(
    "begin", lambda scene: scene.card(), lambda scene, told: scene.begin(told), _begin_cut, _begun
)


# --- approve ------------------------------------------------------------------------------------------------


def _requested(scene: Scene) -> Pending:
    return scene.begin(scene.card())


def _approve(scene: Scene, pending: Pending, replaces: bool = False) -> Any:
    return scene.approve(pending.document, pending.code, replaces=replaces)


def _approved(scene: Scene, pending: Pending, made: Any) -> None:
    if made is None:  # cut after the last line: the files are there
        made = next((scene.register / "approved").glob(f"*{pending.asked.transcript.hex()[:12]}"))
    else:
        made = made.folder
    finish(scene.place(), read_files(made), scene.now)
    with open_register(scene.register) as book:
        mine = [line.event for line in book.lines if line.request == pending.asked.transcript.hex()]
    assert mine == [Event.APPROVING, Event.APPROVED], mine
    counting = [one for one in list_issued(scene.ca) if one.counts(scene.now.wall)]
    assert len(counting) == 1, "more than one certificate counts"
    crl = x509.load_pem_x509_crl((scene.ca / "ca.crl").read_bytes())
    gone = {one.certificate.serial_number for one in list_issued(scene.ca) if one.revoked_at}
    assert {entry.serial_number for entry in crl} == gone, "the CRL lacks a revocation"
    assert starts(scene)


def _run_or_done(scene: Scene, pending: Pending, replaces: bool) -> Any:
    try:
        return _approve(scene, pending, replaces)
    except EdgeAgentError as refusal:
        if "was approved already" not in refusal.what:
            raise
        return None


def _nothing(scene: Scene, prepared: Any) -> None:
    return None


APPROVE = Procedure(
    "approve",
    _requested,
    lambda scene, pending: _run_or_done(scene, pending, replaces=False),
    _nothing,
    _approved,
)


def _second(scene: Scene) -> Pending:
    """An enrolled unit that asks for new keys."""
    _finish_ready(scene, _requested(scene))
    return scene.begin(scene.card(), again=True)


def _invited_again(scene: Scene) -> Any:
    _finish_ready(scene, _requested(scene))
    return scene.card()


def _finish_ready(scene: Scene, pending: Pending) -> None:
    finish(scene.place(), read_files(_approve(scene, pending).folder), scene.now)


REPLACE = Procedure(
    "approve --replaces",
    _second,
    lambda scene, pending: _run_or_done(scene, pending, replaces=True),
    lambda scene, pending: _old_runs(scene),
    _approved,
)


def _old_runs(scene: Scene) -> None:
    assert starts(scene), "an enrolled unit is held up by a request"


AGAIN = Procedure(
    "begin --again",
    _invited_again,
    lambda scene, told: scene.begin(told, again=True),
    lambda scene, told: _old_runs(scene),
    lambda scene, told, pending: check_keys(Keeper(scene.place().staging, Kept.FILE), pending.asked),
)


# --- finish -------------------------------------------------------------------------------------------------


def _answered(scene: Scene) -> tuple[Pending, Path]:
    pending = _requested(scene)
    return pending, _approve(scene, pending).folder


def _answered_again(scene: Scene) -> tuple[Pending, Path]:
    pending = _second(scene)
    return pending, _approve(scene, pending, replaces=True).folder


def _finish(scene: Scene, prepared: tuple[Pending, Path]) -> object:
    return finish(scene.place(), read_files(prepared[1]), scene.now)


def _finish_cut(scene: Scene, prepared: tuple[Pending, Path]) -> None:
    """Whenever the daemon starts, it has one set of keys that belong together."""
    state = read_state(scene.place().staging)
    assert state is not None
    if not starts(scene):
        assert state.stage is not Stage.ENROLLED
        return
    place = scene.place()
    config = load_config(place.config)
    kid = load_identity(config.path(config.unit.key)).kid
    assert (kid == prepared[0].asked.kid) == (state.stage is Stage.ENROLLED)


def _finished(scene: Scene, prepared: tuple[Pending, Path], _: object) -> None:
    place = scene.place()
    assert starts(scene)
    assert load_identity(place.folder / UNIT_KEY).kid == prepared[0].asked.kid
    keys = sorted(path.name for path in place.folder.rglob("*.key"))
    assert keys == [f"{UNIT}.key", UNIT_KEY], keys


FINISH = Procedure("finish", _answered, _finish, _finish_cut, _finished)
FINISH_AGAIN = Procedure("finish, with new keys", _answered_again, _finish, _finish_cut, _finished)

PROCEDURES = (BEGIN, AGAIN, APPROVE, REPLACE, FINISH, FINISH_AGAIN)


# --- all of it ----------------------------------------------------------------------------------------------


def cuts(procedure: Procedure, folder: Path, every: int) -> int:
    """Cut at every step, or every second one; returns how many were tried."""
    for tried, number in enumerate(range(1, MOST_STEPS, every)):
        path = folder / f"{procedure.name}-{number}".replace(" ", "-")
        path.mkdir()
        scene = Scene(path, DESK)
        prepared = procedure.prepare(scene)
        if not killed_at(number, lambda scene=scene, prepared=prepared: procedure.step(scene, prepared)):  # type: ignore[misc]
            return tried
        procedure.after_cut(scene, prepared)
        procedure.check(scene, prepared, procedure.step(scene, prepared))
    raise AssertionError("does not end")


def main(every: int) -> int:
    """Print a line a procedure."""
    enrol_code._COST = 1 << 4  # what the code costs is tried elsewhere
    memory = Path("/dev/shm")  # a disk would only be slower: SIGKILL loses no page that was written
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for procedure in PROCEDURES:
            number = cuts(procedure, Path(folder), every)
            print(json.dumps({"procedure": procedure.name, "cuts": number, "clean": number}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
