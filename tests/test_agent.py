"""The daemon as a process: bad documents, a broker that is away, receipts, a camera that disappears."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import edgeagent
from edgeagent.agent.build import load_unit
from edgeagent.agent.deployment import load_deployment
from edgeagent.config import load_config
from edgeagent.documents.keys import Identity, Role, save_identity
from edgeagent.documents.messages import CameraState, Presence, Receipt
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import BENCH_AUTHORITY, RECEIPT
from edgeagent.errors import DocumentError, SafeguardError
from tests.bench_unit import (
    CLOCK,
    STRANGE_SEED,
    UNIT,
    Bench,
    Office,
    Officers,
    Watch,
    capture_processes,
    make_bench,
    model_pack,
    wrapped,
    write_scene,
)
from tests.broker_tools import wait_for
from tests.desk import raw_document

pytest_plugins = ["tests.bench_fixtures"]

STRANGERS = Office(seed=STRANGE_SEED)


# --- bad documents ------------------------------------------------------------------------------------------


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _alter(file: Path, at: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 1
    file.write_bytes(content)


def _signed_by(bench: Bench, role: Role, office: Office | None = None) -> None:
    body = bench.office.authority(bench.watchlist_file.read_bytes())
    signer = (office or bench.office)[role]
    document = raw_document(BENCH_AUTHORITY, body.model_dump_json().encode(), signer)
    bench.authority_file.write_bytes(document)


BAD: dict[str, tuple[Callable[[Bench], object], str]] = {
    "no authority": (lambda b: b.authority_file.unlink(), r"authority\.json: cannot be read.*put the file"),
    "empty authority": (lambda b: b.authority_file.write_bytes(b""), r"authority\.json: is empty.*again"),
    "authority cut short": (lambda b: _cut(b.authority_file), r"JSON|signed document"),
    "authority altered": (lambda b: _alter(b.authority_file, 0.5), r"authority.*—"),
    "authority by the watchlist officer": (
        lambda b: _signed_by(b, Role.WATCHLIST_OFFICER),
        r"authority: may not be signed by a watchlist_officer key",
    ),
    "bench authority by the authorising officer": (
        lambda b: _signed_by(b, Role.AUTHORISING_OFFICER),
        r"authority: may not be signed by a authorising_officer key",
    ),
    "authority by a stranger": (
        lambda b: _signed_by(b, Role.BENCH, STRANGERS),
        r"authority: is signed by a key that is not in the trust store",
    ),
    "authority for another unit": (lambda b: b.put(units=("unit-02",)), r"authority field units.*\[R12\]"),
    "protest": (
        lambda b: b.put(is_assembly_or_protest=True),
        r"authority field is_assembly_or_protest.*\[R13\]",
    ),
    "no signs": (lambda b: b.put(signage_confirmed=False), r"authority field signage_confirmed.*\[R22\]"),
    "another model pack": (
        lambda b: b.put(model_pack_sha256="ab" * 32),
        r"authority field model_pack_sha256.*\[R18\]",
    ),
    "lease too long": (lambda b: b.put(lease_max_s=29.0), r"authority field lease_max_s.*\[R16\]"),
    "threshold too low": (lambda b: b.put(threshold=0.39), r"authority field threshold.*\[R18\]"),
    "no watchlist": (lambda b: b.watchlist_file.unlink(), r"watchlist\.edgelist: cannot be read.*put the"),
    "watchlist cut short": (lambda b: _cut(b.watchlist_file), r"watchlist\.edgelist: is not the list.*copy"),
    "watchlist altered": (lambda b: _alter(b.watchlist_file, 0.9), r"watchlist\.edgelist: is not the list"),
    "watchlist for another unit": (
        lambda b: b.put(watchlist=b.office.watchlist(units=[b.office.other_unit])),
        r"watchlist: is not sealed to this unit.* — build it with",
    ),
    "watchlist by strangers": (
        lambda b: b.put(watchlist=STRANGERS.watchlist()),
        r"watchlist: is signed by a key that is not in the trust store",
    ),
    "rubbish as a watchlist": (
        lambda b: b.put(watchlist=b"\x89PNG" * 100),
        r"watchlist: is not a watchlist file",
    ),
}


@pytest.fixture(scope="module")
def one_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from make_bench(tmp_path_factory.mktemp("documents"))


def _break(bench: Bench, case: str) -> str:
    shutil.rmtree(bench.path / "data", ignore_errors=True)
    bench.put()
    break_it, pattern = BAD[case]
    break_it(bench)
    return pattern


@pytest.mark.parametrize("case", BAD)
def test_every_bad_document_is_refused_with_its_place_and_the_next_step(case: str, one_bench: Bench) -> None:
    pattern = _break(one_bench, case)
    unit = load_unit(load_config(one_bench.config), model_pack())
    with pytest.raises((DocumentError, SafeguardError)) as refusal:
        load_deployment(unit, HighWater(one_bench.path / "seen.json"), CLOCK.now())
    assert re.search(pattern, str(refusal.value)), refusal.value
    assert " — " in str(refusal.value), "no next step"
    assert not (one_bench.path / "seen.json").exists(), "a refused document was remembered"


@pytest.mark.parametrize(
    "case", ["authority altered", "authority by a stranger", "no watchlist", "watchlist for another unit"]
)
def test_a_unit_that_starts_with_bad_documents_says_so_and_stays_locked(case: str, one_bench: Bench) -> None:
    pattern = _break(one_bench, case)
    with Watch(one_bench) as watch, one_bench.unit() as unit, Officers(one_bench):
        told = watch.problem(pattern)
        assert " — " in told.problem, "no next step"
        assert unit.capture_children() == []
        assert unit.code is None


def test_documents_put_in_place_later_are_taken_up_without_a_restart(bench: Bench) -> None:
    """Bad ones are told within 6 s, good ones open the gate within 6 s, for the officers who wait."""
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench):
        watch.problem(r"authority\.json: cannot be read")
        bench.put(signage_confirmed=False)
        watch.problem(r"signage_confirmed", 6.5)
        assert unit.capture_children() == []
        bench.put(sequence=2)
        watch.state(Presence.LIVE, 6.5, camera=CameraState.OPEN, problem="")
        assert wait_for(lambda: len(unit.capture_children()) == 1, 60)


def test_an_older_authority_is_a_rollback(bench: Bench) -> None:
    with Watch(bench) as watch:
        bench.put(sequence=2)
        with bench.unit():
            watch.ready()
        bench.put(sequence=1)
        with bench.unit():
            watch.problem(r"authority bench-street: has sequence 1; 2 was seen before")


# --- what ends the program ----------------------------------------------------------------------------------


def _refuses_to_start(bench: Bench, pattern: str) -> None:
    done = bench.run_command("run", "--config", "unit.toml")
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("INFO: Created")]
    assert len(said) == 1, done.stderr
    assert re.search(pattern, said[0]), said
    assert " — " in said[0], "no next step"
    assert not (bench.path / "data").exists(), "something was opened before the refusal"


def test_a_strangers_trust_store(bench: Bench) -> None:
    (bench.path / "trust.json").write_bytes(STRANGERS.trust_document())
    _refuses_to_start(bench, r"DocumentError: trust.*not signed by the root key that the configuration pins")


def test_another_units_key(bench: Bench) -> None:
    bench.path.joinpath("unit.key").unlink()
    save_identity(bench.office.other_unit, bench.path / "unit.key")
    _refuses_to_start(bench, r"KeyFileError: .*unit\.key: is the unit key of unit-02, not of unit unit-01")


def test_a_key_that_others_can_read(bench: Bench) -> None:
    (bench.path / "unit.key").chmod(0o644)
    _refuses_to_start(bench, r"KeyFileError: .*unit\.key: can be read by others — chmod 600")


def test_an_altered_model(bench: Bench) -> None:
    package = Path(edgeagent.__file__).parent
    shutil.copytree(package, bench.path / "edgeagent", ignore=shutil.ignore_patterns("__pycache__"))
    _alter(bench.path / "edgeagent" / "models" / "embedder.tflite", 0.5)
    _refuses_to_start(bench, r"ModelError: .*embedder\.tflite: was altered or cut short")


def test_a_second_daemon_on_the_same_data(bench: Bench) -> None:
    bench.put()
    with Watch(bench) as watch, bench.unit():
        watch.ready()
        done = bench.run_command("run", "--config", "unit.toml")
        assert done.returncode == 2, done.stderr
        assert "OutboxError" in done.stderr
        assert "Traceback" not in done.stderr


# --- a broker that is away ----------------------------------------------------------------------------------


def test_a_broker_that_is_absent_at_start_is_tried_again(bench: Bench) -> None:
    bench.put()
    bench.broker.running.stop()
    with bench.unit() as unit:
        time.sleep(2.5)
        assert unit.code is None
        assert unit.capture_children() == []
        bench.broker.running.start()
        with Watch(bench) as watch:
            watch._old.clear()  # the unit may have been back before the desk
            watch.ready(45)  # pauses between attempts grow to half a minute
        assert "Traceback" not in unit.said()


def test_an_alert_made_while_the_broker_is_down_arrives_once_when_it_is_back(bench: Bench) -> None:
    bench.put(lease_max_s=6.0, realert_s=3600.0)
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench, seconds=6.0):
        watch.state(Presence.LIVE)
        bench.broker.running.kill()
        assert wait_for(lambda: "hit: alert" in unit.said(), 6), "no hit while the lease lasted"
        assert watch.alerts == []
        time.sleep(1.0)
        bench.broker.running.start()
        watch.until(lambda: watch.alerts)
        watch.until(lambda: watch.last.alerts.received == 1)
        firsts = [arrival for arrival in watch.alerts if arrival.first]
        assert len(firsts) == 1
        assert watch.last.alerts.made == 1
        assert watch.last.alerts.pending == 0


def test_an_alert_that_expires_meanwhile_is_counted_and_not_sent(bench: Bench) -> None:
    """Stale alerts after an outage make officers stop the wrong person."""
    bench.put(lease_max_s=6.0, realert_s=3600.0, alert_ttl_s=2.0)
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench, seconds=6.0):
        watch.state(Presence.LIVE)
        bench.broker.running.kill()
        assert wait_for(lambda: "hit: alert" in unit.said(), 6)
        time.sleep(2.5)
        bench.broker.running.start()
        watch.until(lambda: watch.states and watch.last.alerts.expired == 1)
        assert watch.alerts == []
        assert watch.last.faces.in_live_alerts == 0


# --- receipts -----------------------------------------------------------------------------------------------


def test_only_a_genuine_receipt_releases_an_alert_and_until_then_it_is_repeated(bench: Bench) -> None:
    bench.put(realert_s=3600.0)
    office = bench.office
    with Watch(bench, receipts=False) as watch, bench.unit() as unit:
        with Officers(bench):
            watch.state(Presence.LIVE)
            watch.until(lambda: watch.alerts)
        alert = watch.alerts[0].alert.alert
        forgers = [office[role] for role in Role if role not in (Role.CONTROL_ROOM, Role.ROOT)]
        forgers += [STRANGERS[Role.CONTROL_ROOM], office.other_unit]
        genuine = bench.receipt(alert)
        refused = unit.said().count("refused ")
        for forged in (*(_forged(alert, who) for who in forgers), genuine[:-30], b"", b"[]"):
            watch.link.publish(watch.topics.receipt, forged)
        watch.link.publish(watch.topics.receipt, genuine, retain=True)  # a stored receipt proves nothing new
        assert wait_for(lambda: unit.said().count("refused ") >= refused + len(forgers) + 2, 60), unit.said()
        watch.link.publish(watch.topics.receipt, b"", retain=True)
        watch.until(lambda: len(watch.alerts) >= 2)
        assert [arrival.first for arrival in watch.alerts[:2]] == [True, False]
        assert {arrival.alert.alert for arrival in watch.alerts} == {alert}
    # The process was killed; the alert is on the disk and the receipt is made anew for its repetition.
    assert _pending(bench) == [alert]
    with Watch(bench) as watch, bench.unit():
        watch.until(lambda: watch.states and watch.last.alerts.received >= 1)
        assert watch.last.alerts.pending == 0


def _forged(alert: str, who: Identity) -> bytes:
    body = Receipt(alert=alert, unit=UNIT, received_at=datetime.now(UTC))
    return wrapped("receipt", raw_document(RECEIPT, body.model_dump_json().encode(), who))


def _pending(bench: Bench) -> list[str]:
    db = sqlite3.connect(bench.data / "outbox.sqlite")
    try:
        return [row[0] for row in db.execute("SELECT alert_id FROM pending")]
    finally:
        db.close()


# --- a camera that disappears -------------------------------------------------------------------------------


def test_a_camera_that_ends_and_disappears_is_tried_again_with_pauses(bench: Bench) -> None:
    """Degraded, told, tried again; never a restart of the daemon, and no spinning."""
    bench.put()
    scene = write_scene(bench.path / "scene", 2.0)
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench):
        watch.state(Presence.LIVE, camera=CameraState.OPEN)
        ended = watch.state(Presence.LIVE, 8, camera=CameraState.DEGRADED)
        assert "street.json: has ended — start it again" in ended.problem
        scene.unlink()
        watch.until(lambda: "is not there — plug the camera in" in watch.last.problem)
        children, until = set[int](), time.monotonic() + 4.0
        while time.monotonic() < until:
            children |= set(unit.capture_children())
            watch.take(0.02)
            assert watch.last.state is Presence.LIVE
            assert watch.last.camera is CameraState.DEGRADED
        assert 1 <= len(children) <= 3, "tried after 1, 2, 4 s and no oftener"
        write_scene(bench.path / "scene", 60.0)
        back = watch.state(Presence.LIVE, 12, camera=CameraState.OPEN, problem="")
        assert back.boot == ended.boot
        assert unit.code is None
        unit.signal(signal.SIGTERM)
        assert unit.wait(60) == 0
    assert [pid for pid, parent in capture_processes() if parent == unit.pid] == []


def test_a_capture_process_that_is_killed_is_made_again(bench: Bench) -> None:
    bench.put()
    with Watch(bench) as watch, bench.unit() as unit, Officers(bench):
        watch.state(Presence.LIVE, camera=CameraState.OPEN)
        assert wait_for(lambda: unit.capture_children())
        (child,) = unit.capture_children()
        os.kill(child, signal.SIGKILL)
        degraded = watch.state(Presence.LIVE, 5, camera=CameraState.DEGRADED)
        assert "the capture process ended" in degraded.problem
        watch.state(Presence.LIVE, 8, camera=CameraState.OPEN, problem="")
        assert unit.capture_children() != [child]


def test_a_capture_process_that_hangs_does_not_hold_up_the_lapse(bench: Bench) -> None:
    """A driver that blocks: the device is closed by killing the process, within the same second."""
    bench.put()
    with Watch(bench) as watch, bench.unit() as unit:
        with Officers(bench):
            watch.state(Presence.LIVE, camera=CameraState.OPEN)
            assert wait_for(lambda: unit.capture_children())
            os.kill(unit.capture_children()[0], signal.SIGSTOP)
        closed = watch.state(Presence.STANDBY, 4, camera=CameraState.CLOSED)
        assert unit.capture_children() == []
        assert closed.lapse_to_closed_ms is not None
        assert closed.lapse_to_closed_ms <= 1000
