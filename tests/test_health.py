"""A unit's health: true numbers of the machine, none of a person, and never a fault of the unit's own."""

from __future__ import annotations

import random
import re
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.agent.camera import Camera
from edgeagent.agent.health import EVERY_NS, HealthReporter, Pace, made, of_board
from edgeagent.agent.health_prom import textfile, write_textfile
from edgeagent.agent.sight import Sight
from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.envelope import OVERHEAD
from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import LinkCounts
from edgeagent.alerts.outbox import Outbox
from edgeagent.alerts.topics import Topics
from edgeagent.controlroom.concerns import concerns_of
from edgeagent.controlroom.from_unit import from_unit
from edgeagent.documents.health import Health
from edgeagent.documents.messages import CameraState, Presence
from edgeagent.documents.table import HEALTH
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.deletion import FaceLedger
from edgeagent.system.board import Board, read_board
from edgeagent.system.certificates import issue
from edgeagent.system.sensors import TRUE_FOR_S, Sensors
from tests import desk as builders
from tests.bench_unit import UNIT, Bench, Officers, Watch
from tests.board_folders import PI_4, write_board
from tests.broker_tools import wait_for
from tests.desk import Desk, at

pytest_plugins = ["tests.bench_fixtures"]

TOPIC = Topics(builders.UNIT, bench=False).health
BOOT = "0123456789abcdef"
SAMPLE = re.compile(r'edgeagent_([a-z0-9_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)+\})? (-?[0-9.e+-]+|nan)')


class RecordingLink(MqttLink):
    """A link that is connected to a list."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.up = True
        self.told = LinkCounts(connections=3, oversize=1, overflow=2, malformed=3, retained_refused=4)

    @property
    def connected(self) -> bool:
        return self.up

    @property
    def counts(self) -> LinkCounts:
        return self.told

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, expires_in_s: int | None = None
    ) -> None:
        if not self.up:
            raise BrokerError("not connected", where="broker")
        self.sent.append((topic, payload, retain))


@pytest.fixture
def link() -> RecordingLink:
    return RecordingLink()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    retry = Backoff(1.0, 15.0)
    with Outbox(
        tmp_path / "outbox.sqlite", capacity=10, in_flight_cap=4, retry=retry, rng=random.Random(1)
    ) as made:
        yield made


@pytest.fixture
def reporter(tmp_path: Path, desk: Desk, outbox: Outbox, link: RecordingLink) -> HealthReporter:
    """Of a Raspberry Pi 4 in a folder."""
    board = write_board(tmp_path / "board", PI_4)
    sensors = Sensors(lambda: read_board(board, tmp_path))
    sensors.start()
    wait_for(lambda: sensors.board.model is not None)
    return HealthReporter(
        desk.unit,
        Kind.LIVE,
        "0.1.0",
        "cd" * 32,
        tmp_path / "health.prom",
        tmp_path / "none.crt",
        outbox,
        link,
        TOPIC,
        sensors,
        root=board,
    )


def sight(frames: int = 0, captured_s: float = 0.0) -> Sight:
    """What the daemon sees with, after so many frames."""

    def never(_: int) -> Any:
        raise AssertionError("the camera is not opened")

    captured_ns = at(captured_s).monotonic_ns
    return Sight(Camera(never), FaceLedger.carried(0), frames=frames, captured_ns=captured_ns)


def heard(link: RecordingLink, office: Desk) -> Health:
    """The last message, as the control room takes it."""
    topic, message, retained = link.sent[-1]
    assert not retained
    return from_unit(HEALTH, topic, message, office.trust, at(0))[0]


# --- what is sent, and when ---------------------------------------------------------------------------------


def test_every_half_minute_from_the_first_connection_on(
    reporter: HealthReporter, link: RecordingLink, desk: Desk
) -> None:
    link.up = False
    reporter.turn(sight(), BOOT, at(0), trusted=False)
    assert not reporter.textfile.exists()
    link.up = True
    reporter.turn(sight(), BOOT, at(1), trusted=False)
    assert heard(link, desk).sequence == 1
    for second in range(2, 31):
        reporter.turn(sight(), BOOT, at(second), trusted=False)
    assert len(link.sent) == 1
    reporter.turn(sight(), BOOT, at(1 + EVERY_NS / 1e9), trusted=True)
    assert (heard(link, desk).sequence, heard(link, desk).clock_trusted) == (2, True)


def test_the_numbers_are_the_machines_and_the_programs(
    reporter: HealthReporter, link: RecordingLink, outbox: Outbox, desk: Desk
) -> None:
    outbox.add("ab" * 16, b"an alert", at(600).epoch_s, at(0).epoch_s)
    reporter.turn(sight(), BOOT, at(10), trusted=True)
    health = heard(link, desk)
    assert health.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert (health.temperature_c, health.undervoltage) == (71.326, True)
    assert health.throttled_now == ("undervoltage", "throttled")
    assert (health.outbox_pending, health.oldest_alert_age_s) == (1, 10.0)
    assert (health.connections, health.messages_dropped) == (3, 10)
    assert health.certificate_days is None  # there is no certificate; the state says so
    assert health.frames_per_s is None  # the camera is closed
    assert health.disk_free_bytes


def test_a_sensor_whose_driver_hangs_costs_its_numbers_and_nothing_else(
    reporter: HealthReporter, link: RecordingLink, desk: Desk
) -> None:
    answer, asked, seconds = threading.Event(), threading.Event(), [0.0]

    def read() -> Board:
        asked.set()
        answer.wait()
        return Board(temperature_c=50.0)

    reporter.sensors = Sensors(read, lambda: seconds[0])
    reporter.sensors.start()
    assert asked.wait(60)
    reporter.turn(sight(), BOOT, at(0), trusted=True)  # returns, though the driver does not
    assert (heard(link, desk).temperature_c, heard(link, desk).outbox_pending) == (None, 0)
    answer.set()
    assert wait_for(lambda: reporter.sensors.board.temperature_c == 50.0, 60)
    answer.clear()
    seconds[0] = TRUE_FOR_S
    reporter.turn(sight(), BOOT, at(30), trusted=True)
    assert heard(link, desk).temperature_c == 50.0
    seconds[0] += 1
    reporter.turn(sight(), BOOT, at(60), trusted=True)
    assert heard(link, desk).temperature_c is None, "what was read long ago says nothing of now"
    answer.set()


def test_frames_are_timed_from_capture_to_the_end_of_the_work(
    reporter: HealthReporter, link: RecordingLink, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Camera, "state", property(lambda _: CameraState.OPEN))
    reporter.turn(sight(), BOOT, at(0), trusted=True)
    for number in range(1, 21):
        seen = sight(number, captured_s=number)
        reporter.turn(seen, BOOT, at(number + 0.05 + number / 1000), trusted=True)
        reporter.turn(seen, BOOT, at(number + 0.5), trusted=True)  # a turn without a new frame
    reporter.turn(sight(20), BOOT, at(30), trusted=True)
    health = heard(link, desk)
    assert health.frames_per_s == pytest.approx(20 / 30, abs=0.01)
    assert health.frame_age_p50_ms == pytest.approx(61, abs=0.2)
    assert health.frame_age_p95_ms == pytest.approx(70, abs=0.2)
    reporter.turn(sight(20), BOOT, at(60), trusted=True)
    assert (heard(link, desk).frames_per_s, heard(link, desk).frame_age_p50_ms) == (0.0, None)


@given(st.lists(st.integers(0, 10**10), max_size=50), st.integers(0, 99))
def test_percentiles_are_ages_that_were_measured(ages: list[int], percent: int) -> None:
    pace = Pace()
    pace.ages_ns.extend(ages)
    found = pace.percentile_ms(percent)
    assert found is None if not ages else found in {round(age / 1e6, 1) for age in ages}


def test_nobody_but_the_unit_says_how_it_is(
    reporter: HealthReporter, link: RecordingLink, desk: Desk
) -> None:
    reporter.turn(sight(), BOOT, at(0), trusted=True)
    message = link.sent[0][1]
    for topic in (Topics(builders.OTHER_UNIT, bench=False).health, Topics(builders.UNIT, bench=True).health):
        with pytest.raises(DocumentError):
            from_unit(HEALTH, topic, message, desk.trust, at(0))


# --- what it must not be ------------------------------------------------------------------------------------


def test_it_counts_no_person() -> None:
    """R1, R23: faces and alerts are counted in the state, once; here only what waits in the outbox is."""
    words = re.compile(r"face|person|people|passed|match|score|hit|entry|watchlist|track|avoid|crowd")
    assert not [name for name in Health.model_fields if words.search(name)]


def test_it_says_no_serial_number(tmp_path: Path) -> None:
    number = "10000000abcdef01"
    places = ("proc/device-tree/serial-number", "sys/class/dmi/id/product_serial", "etc/machine-id")
    files = PI_4 | dict.fromkeys(places, number) | {"proc/cpuinfo": f"Serial\t\t: {number}\n"}
    assert number not in repr(read_board(write_board(tmp_path, files)))


def test_it_is_small() -> None:
    longest: dict[str, Any] = {
        name: "x" * 120 if isinstance(value, str) and name in ("board", "os", "kernel", "version") else value
        for name, value in builders.health().model_dump().items()
    }
    assert len(Health(**longest).model_dump_json()) < 2_600
    assert HEALTH.limit + OVERHEAD < 6_000


def test_what_no_sensor_can_mean_is_left_out_and_the_rest_is_said(
    reporter: HealthReporter, link: RecordingLink, desk: Desk
) -> None:
    zone = reporter.root / "sys/class/thermal/thermal_zone0/temp"
    zone.write_text("2147483647\n")
    (reporter.root / "sys/class/hwmon/hwmon1/oc1_event_cnt").write_text("-5\n")
    reporter.sensors.ask()
    assert wait_for(lambda: reporter.sensors.board.over_current_events == -5, 60)
    reporter.turn(sight(), BOOT, at(0), trusted=True)
    health = heard(link, desk)
    assert (health.temperature_c, health.over_current_events) == (None, None)
    assert health.undervoltage is True


NUMBER = st.none() | st.integers() | st.floats() | st.just(10**400)
BOARD = st.fixed_dictionaries(
    {
        name: NUMBER
        for name in Board.__dataclass_fields__
        if name not in ("model", "os_name", "kernel", "zones", "throttled")
    }
)


@given(BOARD)
def test_whatever_a_board_says_a_message_comes_of_it(numbers: dict[str, Any]) -> None:
    health = made(builders.health().model_dump() | of_board(Board(**numbers)))
    assert len(health.model_dump_json()) < HEALTH.limit / 4 * 3 - 500
    assert samples(textfile(health))


def test_a_field_that_must_be_there_is_never_left_out() -> None:
    said = builders.health().model_dump()
    with pytest.raises(ValueError, match="unit"):
        made(said | {"unit": "No Unit"})


@pytest.mark.parametrize("place", ["gone/health.prom", "board"])
def test_a_file_that_cannot_be_written_is_said_once_and_harms_nothing(
    reporter: HealthReporter,
    link: RecordingLink,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    place: str,
) -> None:
    reporter.textfile = tmp_path / place
    for second in (0, 30, 60):
        reporter.turn(sight(), BOOT, at(second), trusted=True)
    assert len(link.sent) == 3
    assert caplog.text.count("cannot be written") == 1
    assert not list(tmp_path.glob(".board*"))


# --- the collector's file -----------------------------------------------------------------------------------


def samples(text: str) -> dict[str, float]:
    """Name and labels of each sample, read as the format says; every line is one or a comment."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith(("# HELP edgeagent_", "# TYPE edgeagent_")):
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert found.setdefault(line.rpartition(" ")[0], float(sample[3])) == float(sample[3])
    return found


def test_it_has_every_number_of_the_message() -> None:
    health = builders.health(over_current_events=2, storage_wear_percent=30, storage_warning=False)
    found = samples(textfile(health))
    assert found["edgeagent_temperature_celsius"] == 71.3
    assert found["edgeagent_clock_synchronised"] == 1
    assert found['edgeagent_throttled_ever{flag="undervoltage"}'] == 1
    assert found['edgeagent_throttled_now{flag="undervoltage"}'] == 0
    assert found['edgeagent_frame_age_seconds{quantile="0.95"}'] == pytest.approx(0.0705)
    assert found["edgeagent_disk_free_bytes"] == 21_474_836_480
    numbers = [n for n, v in health.model_dump().items() if isinstance(v, int | float)]
    in_others = {"sequence", "frame_age_p50_ms", "frame_age_p95_ms"}
    for_the_control_room_alone = {"outbox_pending", "oldest_alert_age_s"}  # a collector learns of no match
    plain = [name for name in found if "{" not in name and name != "edgeagent_health_time_seconds"]
    assert len(plain) == len(set(numbers) - in_others - for_the_control_room_alone)
    assert not [name for name in plain if "alert" in name or "outbox" in name]


def test_what_the_machine_does_not_say_is_absent_rather_than_nought() -> None:
    said = builders.health().model_dump()
    kinds = ("temperature_c", "throttled", "frame")
    silent = Health(**(said | {name: None for name in said if name.startswith(kinds)}))
    text = textfile(silent)
    assert samples(text)
    assert not re.search("temperature_celsius|throttled|frame", text)


@given(st.text(max_size=60))
def test_a_name_with_anything_in_it_stays_one_label(name: str) -> None:
    found = textfile(builders.health(board=name))
    line = next(line for line in found.split("\n") if line.startswith("edgeagent_info{"))
    quoted = line.partition('board="')[2].partition('",os="')[0]
    assert re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), quoted) == name
    assert line.endswith("} 1")


def test_it_is_replaced_in_one_step_and_readable_for_the_collector(tmp_path: Path) -> None:
    file = tmp_path / "health.prom"
    for health in (builders.health(), builders.health(temperature_c=20.0)):
        write_textfile(file, health)
        assert file.read_text() == textfile(health)
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["health.prom"]


# --- what a person is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"temperature_c": 88.0}, ["88 °C"]),
        ({"temperature_c": 81.0, "critical_c": 90.0}, ["81 °C"]),
        ({"undervoltage": True}, ["its power supply is too weak"]),
        ({"throttled_now": ("throttled",)}, ["held back by heat or power (throttled)"]),
        ({"frequency_limited": True}, ["held back by heat or power (processor frequency)"]),
        ({"disk_free_bytes": 200 << 20}, ["200 MiB of disk left"]),
        ({"disk_read_only": True}, ["its disk cannot be written to"]),
        ({"file_system_errors": 3}, ["3 file system errors"]),
        ({"storage_wear_percent": 90}, ["its flash memory is nearly worn out"]),
        ({"memory_available_bytes": 100 << 20}, ["100 MiB of memory left"]),
        ({"oldest_alert_age_s": 31.0}, ["an alert has waited 31 s for its receipt"]),
        ({"publications_forbidden": 1}, ["the broker's access list refused it something"]),
        (
            {
                name: None
                for name, value in builders.health().model_dump().items()
                if name.endswith(("_c", "_bytes"))
            },
            [],
        ),
    ],
)
def test_somebody_is_told_what_to_look_after(changes: dict[str, Any], said: list[str]) -> None:
    assert concerns_of(builders.health(**changes)) == said


# --- the real daemon ----------------------------------------------------------------------------------------


def test_a_unit_tells_its_health_and_warns_of_its_certificate_thirty_days_ahead(bench: Bench) -> None:
    tls = bench.broker.certificate(UNIT)
    for file in (tls.cert, tls.key):
        file.unlink()
    folder, now = tls.authority.parent, datetime.now(UTC)
    issue(folder, UNIT, server=False, hosts=(), days=29, now=now)
    bench.put()
    bench.config.write_text(bench.config.read_text() + '[health]\ntextfile = "collector/edgeagent.prom"\n')
    (bench.path / "collector").mkdir()
    with Watch(bench) as watch, bench.unit(), Officers(bench):
        watch.until(lambda: watch.healths, 60)
        watch.state(Presence.LIVE, 60)
        # A lease vouches for the clock; only then the end of a certificate is spoken of.
        watch.until(lambda: "TLS certificate of unit-01 expires on" in watch.last.problem, 60)
        health = watch.healths[0]
        assert health.kind == Kind.BENCH
        assert health.boot == watch.last.boot
        assert health.certificate_days == pytest.approx(29, abs=0.1)
        assert (health.process_bytes or 0) > 1_000_000
        found = samples((bench.path / "collector" / "edgeagent.prom").read_text())
        assert found["edgeagent_certificate_days_left"] == health.certificate_days
