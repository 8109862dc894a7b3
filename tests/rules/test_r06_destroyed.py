"""R6: when a deployment ends, whatever copy of its list is left opens for nobody, not even for the unit."""

from __future__ import annotations

import queue
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from edgeagent.agent.camera import Camera
from edgeagent.agent.custody import Custody
from edgeagent.agent.deployment import Deployment, load_deployment
from edgeagent.agent.loading import Loader
from edgeagent.agent.loop import Agent
from edgeagent.agent.recogniser import Recogniser
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.envelope import wrap
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.topics import Topics
from edgeagent.capture.camera import CaptureProcess
from edgeagent.documents.deployment_key import (
    DEPLOYMENT_KEY,
    OneTimeKey,
    kept_keys,
    key_file,
    load_key,
    new_key,
    save_key,
    sign_key,
    verify_key,
)
from edgeagent.documents.keys import Role, save_identity
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import REVOCATION, sign
from edgeagent.documents.watchlist_file import verify_watchlist
from edgeagent.errors import CaptureError, DocumentError, KeyFileError, SafeguardError
from edgeagent.safeguards.decide import Policy
from edgeagent.safeguards.instant import Instant
from tests.audit_logs import started_recorder
from tests.bench_unit import Bench, Officers, Watch
from tests.desk import (
    DEPLOYMENT,
    DIMENSION,
    END,
    NOW,
    UNIT,
    Desk,
    Folder,
    at,
    identity,
    one_time,
    raw_document,
    revocation,
    templates,
)
from tests.real_networks import eyes
from tests.rules.test_r01_recogniser import ScriptedVision, recogniser, stranger

pytest_plugins = ["tests.bench_fixtures"]
TO_END_S = (END - NOW.wall).total_seconds()


class SetClock:
    """A clock that stands where the test put it."""

    def __init__(self) -> None:
        self.reading = NOW

    def now(self) -> Instant:
        return self.reading


@dataclass
class Line:
    """A link to nowhere: what is put into the inbox has arrived."""

    inbox: queue.Queue[Incoming] = field(default_factory=queue.Queue)
    connected: bool = False


@dataclass
class Running:
    """The real loop over real files, turned by hand."""

    folder: Folder
    agent: Agent
    clock: SetClock
    line: Line

    @property
    def data(self) -> Path:
        return self.folder.path / "data"

    @property
    def key(self) -> Path:
        return key_file(self.data, DEPLOYMENT)

    @property
    def list_file(self) -> Path:
        return self.folder.path / "list.edgelist"

    def load(self) -> None:
        self.agent.turn()
        assert self.agent._deployment is not None

    def move(self, seconds: float) -> None:
        self.clock.reading = at(seconds)
        self.agent.turn()

    def revoke(self) -> None:
        token = sign(REVOCATION, revocation(), self.folder.desk[Role.AUTHORISING_OFFICER])
        message = wrap("revocation", token, identifier="r-1", source="test", time=NOW.wall)
        self.line.inbox.put(Incoming(Topics(UNIT, bench=False).revocation, message, retained=True))
        self.agent.turn()


def _no_camera(_until_ns: int) -> CaptureProcess:
    raise CaptureError("no test here opens a camera")


def _recogniser(deployment: Deployment) -> Recogniser:
    seeing = eyes()
    return Recogniser(seeing.detector, seeing.embedder, deployment.gallery, Policy(0.6, 0.05, 3), 10.0)


@pytest.fixture
def running(folder: Folder):
    data = folder.path / "data"
    data.mkdir(exist_ok=True)
    save_identity(folder.desk.unit, folder.path / "unit.key")
    backoff = Backoff(1.0, 15.0)
    with Outbox(
        data / "outbox.sqlite", capacity=10, in_flight_cap=4, retry=backoff, rng=random.Random(1)
    ) as outbox:
        clock, line = SetClock(), Line()
        unit, seen = folder.unit(), HighWater(data / "seen.json")
        recorder = started_recorder(data, unit.identity, clock)
        agent = Agent(
            unit,
            clock=clock,
            loader=Loader(unit, seen, _recogniser),
            custody=Custody(unit.config, seen, outbox, recorder),
            camera=Camera(_no_camera),
            topics=Topics(UNIT, bench=False),
            recorder=recorder,
            version="test",
        )
        agent.attach(cast(MqttLink, line))
        yield Running(folder, agent, clock, line)


def _end(running: Running) -> None:
    running.load()
    running.move(TO_END_S + 1)


def _revoked(running: Running) -> None:
    running.load()
    running.revoke()


def _while_off(running: Running) -> None:
    running.move(TO_END_S + 1)


def _revoked_before_it_was_loaded(running: Running) -> None:
    (running.folder.path / "authority.json").rename(running.folder.path / "later.json")
    running.revoke()


ENDS: dict[str, Callable[[Running], None]] = {
    "end": _end,
    "revoked": _revoked,
    "ended while off": _while_off,
    "revoked before the authority came": _revoked_before_it_was_loaded,
}


@pytest.mark.parametrize("ends", ENDS)
def test_afterwards_no_copy_of_the_list_opens(
    ends: str, running: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Somebody kept the list and everything else of the unit, but not its one-time key, before the close."""
    folder = running.folder
    folder.put()
    assert load_deployment(folder.unit(), HighWater(folder.path / "x.json"), NOW).entries  # it does open now
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(folder.path, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("deployment-keys"))
    ENDS[ends](running)
    assert not running.key.exists()
    assert kept_keys(running.data) == []
    shutil.copytree(folder.path / "data", kept / "data", dirs_exist_ok=True)  # and everything after it
    (kept / "data" / "seen.json").unlink()
    with pytest.raises(SafeguardError, match="no one-time key") as refusal:
        load_deployment(Folder(kept, folder.desk).unit(), HighWater(kept / "seen.json"), NOW)
    assert refusal.value.rule == "R6"
    sealed = verify_watchlist((kept / "list.edgelist").read_bytes(), folder.desk.trust, NOW)
    long_term = OneTimeKey(UNIT, DEPLOYMENT, folder.desk.unit.sealing, NOW.wall)
    for tried in (long_term, new_key(UNIT, DEPLOYMENT, NOW)):
        with pytest.raises(DocumentError, match="not sealed"):
            sealed.open(tried)


@pytest.mark.parametrize("ends", ["end", "revoked", "ended while off"])
def test_the_list_file_goes_too(ends: str, running: Running) -> None:
    running.folder.put()
    ENDS[ends](running)
    assert not running.list_file.exists()


def test_the_key_is_overwritten_before_it_is_removed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second name of the file shows what was in it at the end."""
    running.folder.put()
    shadow = running.data / "shadow"
    shadow.hardlink_to(running.key)
    _end(running)
    assert not running.key.exists()
    assert not any(shadow.read_bytes())


def test_a_key_that_a_power_cut_left_goes_at_the_next_start(
    folder: Folder, request: pytest.FixtureRequest
) -> None:
    folder.put()
    (folder.path / "data").mkdir(exist_ok=True)
    HighWater(folder.path / "data" / "seen.json").close(DEPLOYMENT)  # and then power failed
    running = request.getfixturevalue("running")
    save_key(one_time(deployment="next-street"), running.data)
    running.agent.turn()
    assert kept_keys(running.data) == ["next-street"]


def test_another_deployments_end_leaves_this_key(running: Running) -> None:
    running.folder.put()
    save_key(one_time(deployment="next-street"), running.data)
    _end(running)
    assert kept_keys(running.data) == ["next-street"]


def test_the_real_daemon_revoked_over_a_real_broker(bench: Bench) -> None:
    bench.put()
    key = key_file(bench.data, "bench-street")
    assert key.stat().st_mode & 0o777 == 0o600
    with Watch(bench) as watch, bench.unit(), Officers(bench):
        watch.until(lambda: any(state.state == "LIVE" for state in watch.states))
        assert key.exists()
        watch.link.publish(watch.topics.revocation, bench.revocation(), retain=True)
        watch.until(lambda: watch.last.state == "CLOSED")
    assert not key.exists()
    assert not bench.watchlist_file.exists()


# --- the key and its public half ----------------------------------------------------------------------------


def test_the_public_half_is_signed_by_the_unit_for_itself_and_one_deployment(desk: Desk) -> None:
    document = sign_key(one_time(), desk.unit)
    key = verify_key(document + b"\n", DEPLOYMENT, desk.trust, NOW)
    assert (key.unit, key.deployment, key.kid) == (UNIT, DEPLOYMENT, one_time().public.kid)
    with pytest.raises(DocumentError, match="is for deployment") as refusal:
        verify_key(document, "another-street", desk.trust, NOW)
    assert refusal.value.rule == "R6"
    with pytest.raises(DocumentError, match="signed by unit unit-2"):
        verify_key(sign_key(one_time(), desk.other_unit), DEPLOYMENT, desk.trust, NOW)
    with pytest.raises(DocumentError, match="future"):
        verify_key(document, DEPLOYMENT, desk.trust, at(-8 * 3600))
    with pytest.raises(DocumentError, match="not in the trust store"):
        verify_key(sign_key(one_time(), identity(Role.UNIT, UNIT, 9)), DEPLOYMENT, desk.trust, NOW)
    with pytest.raises(DocumentError, match="revoked"):
        verify_key(document, DEPLOYMENT, desk.trust_changing(Role.UNIT, revoked=True), NOW)


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.UNIT, Role.ROOT)])
def test_nobody_but_a_unit_signs_one(role: Role, desk: Desk) -> None:
    with pytest.raises(DocumentError, match="may not be signed"):
        sign_key(one_time(), desk[role])
    forged = raw_document(DEPLOYMENT_KEY, one_time().public.model_dump_json().encode(), desk[role])
    with pytest.raises(DocumentError, match="may not be signed"):
        verify_key(forged, DEPLOYMENT, desk.trust, NOW)


def test_the_kept_half_is_private_and_never_replaced(tmp_path: Path) -> None:
    save_key(one_time(), tmp_path)
    file = key_file(tmp_path, DEPLOYMENT)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    assert load_key(tmp_path, UNIT, DEPLOYMENT).public == one_time().public
    with pytest.raises(KeyFileError, match="exists already"):
        save_key(new_key(UNIT, DEPLOYMENT, NOW), tmp_path)
    file.chmod(0o640)
    with pytest.raises(DocumentError, match="can be read by others"):
        load_key(tmp_path, UNIT, DEPLOYMENT)


@pytest.mark.parametrize("content", [b"{}", b"\x00" * 80, b'{"seal_d": "secret"}'])
def test_a_spoilt_key_is_named_and_not_quoted(content: bytes, tmp_path: Path) -> None:
    save_key(one_time(), tmp_path)
    key_file(tmp_path, DEPLOYMENT).write_bytes(content)
    with pytest.raises(DocumentError, match="is not this unit's one-time key") as refusal:
        load_key(tmp_path, UNIT, DEPLOYMENT)
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_key_of_another_unit_or_deployment_is_refused(tmp_path: Path) -> None:
    save_key(one_time("unit-2"), tmp_path)
    with pytest.raises(DocumentError, match="is not this unit's"):
        load_key(tmp_path, UNIT, DEPLOYMENT)
    key_file(tmp_path, DEPLOYMENT).rename(key_file(tmp_path, "another-street"))
    with pytest.raises(DocumentError, match="is not this unit's"):
        load_key(tmp_path, "unit-2", "another-street")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", ".hidden", "x" * 65])
def test_a_deployments_name_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="deployment"):
        key_file(tmp_path, name)


def test_the_command_makes_one_key_and_gives_its_public_half_again(bench: Bench) -> None:
    options = ("keys", "deployment", "new-street", "--config", "unit.toml", "--out")
    told = bench.run_command(*options, "one.jws")
    assert told.returncode == 0, told.stderr
    assert bench.run_command(*options, "two.jws").returncode == 0
    assert (bench.path / "one.jws").read_bytes() == (bench.path / "two.jws").read_bytes()
    assert key_file(bench.data, "new-street").stat().st_mode & 0o777 == 0o600
    HighWater(bench.data / "seen.json").close("new-street")
    over = bench.run_command(*options, "three.jws")
    assert over.returncode == 2
    assert "is over on this unit [R6]" in over.stderr


def test_the_end_overwrites_the_list() -> None:
    """The templates in memory are zeros after the deployment."""
    rows = templates(8)
    vision = ScriptedVision(1, stranger())
    seeing = recogniser(vision, rows)
    seeing.wipe()
    assert rows.any()
    seeing.destroy()
    assert not rows.any()
    assert vision.scrubs == 4
    assert rows.shape == (8, DIMENSION)
