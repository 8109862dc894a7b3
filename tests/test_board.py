"""What boards say of themselves is read as it is meant, and nothing else is made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.system.board import Board, Throttled, Zone, own_memory_bytes, read_board
from tests.board_folders import CM4, JETSON, PI_4, PI_5, write_board

KIB = 1024


def test_a_raspberry_pi_4_that_is_starved_of_power(tmp_path: Path) -> None:
    board = read_board(write_board(tmp_path, PI_4))
    assert board.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert board.os_name == "Debian GNU/Linux 12 (bookworm)"
    assert (board.temperature_c, board.critical_c) == (71.326, 110.0)
    assert board.throttled == Throttled(("undervoltage", "throttled"), ("undervoltage", "throttled"))
    assert board.undervoltage is True
    assert board.frequency_limited is False
    assert (board.memory_total_bytes, board.memory_available_bytes) == (8_052_620 * KIB, 6_938_592 * KIB)
    assert (board.uptime_s, board.load_1m, board.cpu_count) == (512.6, 1.7, 4)
    assert board.storage_wear_percent is None  # an SD card does not say
    assert board.over_current_events is None
    assert own_memory_bytes(tmp_path) == 179_200 * KIB


def test_a_raspberry_pi_5_has_its_flags_elsewhere(tmp_path: Path) -> None:
    flags = read_board(write_board(tmp_path, PI_5)).throttled
    assert flags is not None
    assert "throttled" in flags.now


@pytest.mark.parametrize(
    ("hexadecimal", "now", "ever"),
    [
        ("0", (), ()),
        ("1", ("undervoltage",), ()),
        ("50000", (), ("undervoltage", "throttled")),
        ("80008", ("soft-temperature-limit",), ("soft-temperature-limit",)),
        ("20002", ("frequency-capped",), ("frequency-capped",)),
        ("e0000", (), ("frequency-capped", "throttled", "soft-temperature-limit")),
    ],
)
def test_flags(tmp_path: Path, hexadecimal: str, now: tuple[str, ...], ever: tuple[str, ...]) -> None:
    place = "sys/devices/platform/soc/soc:firmware/get_throttled"
    flags = read_board(write_board(tmp_path, PI_4 | {place: hexadecimal})).throttled
    assert flags is not None
    assert (flags.now, flags.ever) == (now, ever)


def test_without_flags_the_voltage_sensors_alarm_counts(tmp_path: Path) -> None:
    files = {name: text for name, text in PI_4.items() if "get_throttled" not in name}
    alarm = "sys/class/hwmon/hwmon1/in0_lcrit_alarm"
    assert read_board(write_board(tmp_path / "good", files)).undervoltage is False
    assert read_board(write_board(tmp_path / "bad", files | {alarm: "1\n"})).undervoltage is True


def test_an_emmc_says_how_worn_it_is(tmp_path: Path) -> None:
    board = read_board(write_board(tmp_path, CM4))
    assert (board.storage_wear_percent, board.storage_warning) == (30, False)
    assert board.throttled == Throttled((), ())


def test_a_jetson(tmp_path: Path) -> None:
    board = read_board(write_board(tmp_path, JETSON))
    assert board.zones == (Zone("cpu-thermal", 54.25),)  # not a part that is off, not the constant
    assert board.throttled is None
    assert board.frequency_limited is True
    assert board.over_current_events == 4
    assert (board.storage_wear_percent, board.storage_warning) == (100, True)


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    board = read_board(tmp_path)
    assert board.disk_free_bytes is not None
    said = {name for name in Board.__dataclass_fields__ if getattr(board, name) not in (None, ())}
    assert said == {"disk_total_bytes", "disk_free_bytes", "disk_read_only"}
    assert own_memory_bytes(tmp_path) is None


def test_the_asked_file_system_is_looked_at(tmp_path: Path) -> None:
    stat = os.statvfs("/proc")
    assert read_board(tmp_path, Path("/proc")).disk_total_bytes == stat.f_blocks * stat.f_frsize
    assert read_board(tmp_path, tmp_path / "gone").disk_free_bytes is None


def test_this_machine_can_be_read() -> None:
    assert read_board().kernel
    assert (own_memory_bytes() or 0) > 1_000_000


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(PI_4 | JETSON)), st.text(max_size=40), max_size=12))
def test_nonsense_is_not_taken_for_anything(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    """A sensor may say anything at all; reading goes on."""
    root = tmp_path_factory.mktemp("board")
    for name, text in (PI_4 | JETSON | files).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode(errors="surrogatepass"))
    assert isinstance(read_board(root), Board)
