"""`edgeagent doctor` on boards that are held in a folder: a Raspberry Pi 5, a Jetson Orin, a PC."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.agent import doctor_camera
from edgeagent.agent.doctor import examine
from edgeagent.agent.doctor_board import board_findings
from edgeagent.agent.doctor_finding import Finding, State, attempt, broken
from edgeagent.agent.doctor_service import Service, ask_service, service_findings
from edgeagent.agent.doctor_unit import accelerator
from edgeagent.cli.doctor import table
from edgeagent.config import Config, load_config
from edgeagent.safeguards.instant import Instant
from edgeagent.system.board import read_board
from edgeagent.system.clock import SystemClock
from edgeagent.system.selftest import SelfTestReport

NOW = SystemClock().now()
PI_5 = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    "proc/sys/kernel/osrelease": "6.12.47+rpt-rpi-2712\n",
    "proc/sys/kernel/core_pattern": "|/bin/false\n",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "58200\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
    "sys/class/rtc/rtc0/name": "rpi-rtc soc@107c000000:rpi_rtc\n",
    "sys/class/rtc/rtc0/battery_voltage": "3006000\n",
    "sys/class/rtc/rtc0/charging_voltage": "3000000\n",
    "sys/fs/ext4/mmcblk0p3/errors_count": "0\n",
}
JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    "proc/sys/kernel/core_pattern": "|/usr/share/apport/apport -p%p\n",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 635456 0 5\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "104500\n",
    "sys/class/hwmon/hwmon1/oc1_event_cnt": "0\n",
    "dev/nvmap": "",
}
PC = {
    "sys/class/dmi/id/product_name": "OptiPlex\n",
    "proc/sys/kernel/core_pattern": "core\n",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "sys/class/rtc/rtc0/name": "rtc_cmos\n",
}
THROTTLED = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
HEAT = "sys/class/thermal/thermal_zone0/temp"


def at_now(synchronised: bool = True) -> Instant:
    return Instant(NOW.monotonic_ns, NOW.wall, synchronised)


def board(folder: Path, files: dict[str, str], **changed: str) -> Path:
    wanted = files | {"sys/class/rtc/rtc0/since_epoch": f"{NOW.wall.timestamp():.0f}\n"} | changed
    for name, content in wanted.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def found(root: Path, synchronised: bool = True) -> dict[str, Finding]:
    findings = board_findings(read_board(root), root, at_now(synchronised))
    return {finding.subject: finding for finding in findings}


def test_a_healthy_raspberry_pi(tmp_path: Path) -> None:
    findings = found(board(tmp_path, PI_5))
    states = {name: finding.state for name, finding in findings.items()}
    assert states.pop("storage wear") == State.UNKNOWN  # an SD card never says
    assert set(states.values()) == {State.OK}, findings
    assert findings["board"].text.startswith("Raspberry Pi 5 Model B Rev 1.0, Debian GNU/Linux 13 (trixie)")
    assert findings["temperature"].text == "58 °C, limit 85 °C"
    assert findings["battery clock"].text.endswith("battery 3.0 V, 0 s off")


@pytest.mark.parametrize(
    ("file", "content", "subject", "state", "said"),
    [
        (HEAT, "74000", "temperature", State.OK, "74 °C"),
        (HEAT, "76000", "temperature", State.LOOK, "76 °C"),
        (HEAT, "85200", "temperature", State.BROKEN, "85 °C, limit 85 °C"),
        (THROTTLED, "4", "throttling", State.BROKEN, "now: throttled"),
        (THROTTLED, "e0008", "throttling", State.BROKEN, "now: soft temperature limit"),
        (THROTTLED, "60000", "throttling", State.LOOK, "since it was switched on: frequency capped"),
        (THROTTLED, "50001", "power", State.BROKEN, "too weak now"),
        (THROTTLED, "50000", "power", State.LOOK, "was too weak since"),
        ("sys/class/rtc/rtc0/battery_voltage", "12000", "battery clock", State.LOOK, "0.0 V, empty or not"),
        ("sys/class/rtc/rtc0/charging_voltage", "0", "battery clock", State.LOOK, "not charged"),
        ("sys/class/rtc/rtc0/since_epoch", "86400", "battery clock", State.LOOK, "1970-01-02 00:00:00 UTC"),
        ("sys/class/rtc/rtc0/since_epoch", "9" * 30, "battery clock", State.LOOK, "none that can be read"),
        ("sys/fs/ext4/mmcblk0p3/errors_count", "7", "storage wear", State.LOOK, "7 file system errors"),
        ("sys/block/mmcblk0/device/life_time", "0x01 0x02", "storage wear", State.OK, "up to 20 %"),
        ("sys/block/mmcblk0/device/life_time", "0x09 0x02", "storage wear", State.LOOK, "up to 90 %"),
        ("sys/block/mmcblk0/device/life_time", "0x0b 0x01", "storage wear", State.BROKEN, "end of its life"),
        ("sys/block/mmcblk0/device/pre_eol_info", "0x03", "storage wear", State.BROKEN, "end of its life"),
        ("proc/swaps", "Filename\n/dev/zram0 partition\n", "swap", State.LOOK, "swapped out [R1]"),
        ("proc/sys/kernel/core_pattern", "|/lib/systemd/systemd-coredump %P", "core dumps", State.LOOK, "R1"),
        ("proc/sys/kernel/core_pattern", "core", "core dumps", State.OK, "by limit only"),
    ],
)
def test_what_can_be_wrong_with_it(
    file: str, content: str, subject: str, state: State, said: str, tmp_path: Path
) -> None:
    finding = found(board(tmp_path, PI_5, **{file: content}))[subject]
    assert finding.state == state, finding
    assert said in finding.text
    assert bool(finding.next_step) == (state in (State.LOOK, State.BROKEN)), "what to do next"


def test_a_jetson_as_it_is_delivered(tmp_path: Path) -> None:
    findings = found(board(tmp_path, JETSON))
    assert findings["power"].text == "no over-current events"
    assert findings["temperature"].text == "51 °C, limit 94 °C"
    assert findings["swap"].state == State.LOOK, "JetPack swaps to compressed memory"
    assert findings["core dumps"].text == "kept by /usr/share/apport/apport (the daemon forbids its own) [R1]"
    assert findings["throttling"].state == State.UNKNOWN


def test_a_jetson_that_is_hot_and_underpowered(tmp_path: Path) -> None:
    oc, cooling = "sys/class/hwmon/hwmon1/oc1_event_cnt", "sys/class/thermal/cooling_device0/"
    changed = {HEAT: "95100", oc: "3", f"{cooling}type": "cpufreq-cpu0", f"{cooling}cur_state": "2"}
    findings = found(board(tmp_path, JETSON, **changed))
    assert findings["temperature"].state == State.BROKEN
    assert findings["power"].state == State.LOOK
    assert findings["power"].text.startswith("3 over-current events")
    assert findings["throttling"].text == "now: processor held back because of heat"


def test_a_pc_says_little_and_nothing_is_guessed(tmp_path: Path) -> None:
    findings = found(board(tmp_path, PC))
    for subject in ("temperature", "throttling", "power", "storage wear"):
        assert findings[subject].state == State.UNKNOWN, findings[subject]
    assert findings["battery clock"].state == State.OK


def test_an_empty_machine_breaks_nothing(tmp_path: Path) -> None:
    findings = found(tmp_path)
    assert not broken(findings.values())
    assert findings["battery clock"].state == State.LOOK
    assert findings["swap"].state == State.LOOK, "if nobody can say, there is swap"


def test_the_clocks(tmp_path: Path) -> None:
    root = board(tmp_path, PI_5, **{"sys/class/rtc/rtc0/since_epoch": "86400"})
    findings = found(root, synchronised=False)
    assert findings["clock"].state == State.LOOK
    assert "compare with your watch" in findings["clock"].next_step
    assert findings["battery clock"].state == State.OK, "against which clock should it be wrong?"


# --- camera -------------------------------------------------------------------------------------------------

UNIT = """
unit = {name = "unit-07", key = "unit.key"}
trust = {store = "trust.json", root = "%s"}
documents = {authority = "a", watchlist = "w"}
data = {folder = "."}
camera = {source = "v4l2:/dev/video0"}
broker = {host = "broker.example", ca = "ca", certificate = "c", key = "k"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "unit.toml"
    file.write_text(UNIT % ("A" * 43))
    return load_config(file)


def with_camera(root: Path, device: str = "/dev/null", index: str = "0", *, virtual: bool = False) -> Path:
    (root / "dev").mkdir(parents=True)
    (root / "dev/video0").symlink_to(device)
    entry = root / "sys/class/video4linux" / Path(device).name
    real = root / "sys/devices" / ("virtual" if virtual else "usb1") / entry.name
    real.mkdir(parents=True)
    entry.parent.mkdir(parents=True)
    entry.symlink_to(real)
    (real / "index").write_text(index)
    (real / "name").write_text("HD Webcam C920\n")
    return root


def camera_of(config: Config, root: Path, user: str = "root") -> Finding:
    return attempt("camera", lambda: doctor_camera.camera(config, root, Service(user=user)))


def test_a_camera_that_is_not_there(config: Config, tmp_path: Path) -> None:
    finding = camera_of(config, tmp_path)
    assert (finding.state, finding.text) == (State.BROKEN, "/dev/video0: is not there")
    assert finding.next_step == "plug the camera in; try its other port"


def test_a_file_is_no_camera(config: Config, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    assert camera_of(config, tmp_path).text == "/dev/video0: is no device"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"virtual": True}, "is a virtual device, fed by a program [R24]"),
        ({"index": "1"}, "is the camera's node for metadata, not for pictures"),
        # /dev/null may be opened by everybody
        ({}, "anybody may open it (0666) [R4]"),
    ],
)
def test_which_devices_will_not_do(
    options: dict[str, bool | str], said: str, config: Config, tmp_path: Path
) -> None:
    finding = camera_of(config, with_camera(tmp_path, **options))  # type: ignore[arg-type]
    assert finding.text == f"/dev/video0: {said}"
    assert finding.next_step


def test_a_cameras_name_moves_no_cursor(config: Config, tmp_path: Path) -> None:
    """Whoever plugs something in chooses what it is called."""
    root = with_camera(tmp_path)
    (root / "sys/class/video4linux/null/name").write_text("\x1b[2J\x1b[1;1Hall well\u202e")
    finding = attempt("camera", lambda: doctor_camera._camera_name("null", "/dev/video0", root))
    assert finding.text == "?[2J?[1;1Hall well?"


@pytest.mark.parametrize(
    ("mode", "user", "state", "said"),
    [
        (0o660, "root", State.OK, "HD Webcam C920; root may open it (not opened now)"),
        (0o660, "daemon", State.BROKEN, "may not be opened by daemon (0660, group 54321)"),
        (0o660, "nobody-of-this-name", State.LOOK, "there is no user nobody-of-this-name here"),
    ],
)
def test_who_may_open_it(
    mode: int,
    user: str,
    state: State,
    said: str,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = with_camera(tmp_path)
    real = Path.stat

    def stat_of(path: Path, *arguments: object, **named: object) -> object:
        if path != root / "dev/video0":
            return real(path, *arguments, **named)  # type: ignore[arg-type]
        fields = list(real(path))
        fields[0], fields[4], fields[5] = stat.S_IFCHR | mode, 0, 54321
        return type(real(path))(fields)

    monkeypatch.setattr(Path, "stat", stat_of)
    finding = camera_of(config, root, user)
    assert finding.state == state, finding
    assert said in finding.text


# --- the daemon, asked through the service manager ----------------------------------------------------------

RUNS = Service("loaded", "active", "running", "success", 0, "STANDBY [R16]", "edgeagent", "0")


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        ("LIVE [R16]", State.OK, "held: LIVE, camera open [R16]"),
        ("STANDBY [R16]", State.OK, "none: STANDBY, camera closed, no officers on the ground [R16]"),
        ("STANDBY [R17]", State.LOOK, "STANDBY, camera closed [R17]"),
        ("LOCKED [R12]", State.LOOK, "none: LOCKED, camera closed [R12]"),
        ("CLOSED [R6]", State.LOOK, "none: the deployment is over [R6]"),
        ("", State.UNKNOWN, "only the running daemon knows"),
        ("something else", State.UNKNOWN, "only the running daemon knows"),
    ],
)
def test_the_lease_as_the_daemon_says_it(status: str, state: State, said: str) -> None:
    lease = service_findings(replace(RUNS, status=status))[0]
    assert (lease.subject, lease.state) == ("lease", state)
    assert said in lease.text


@pytest.mark.parametrize(
    ("service", "state", "said"),
    [
        (RUNS, State.OK, "active (running)"),
        (replace(RUNS, restarts=3), State.LOOK, "started again 3 times"),
        (replace(RUNS, core_limit="infinity"), State.LOOK, "core dumps [R1]"),
        (replace(RUNS, active="failed", result="watchdog"), State.BROKEN, "failed (watchdog)"),
        (
            replace(RUNS, active="activating", sub="auto-restart", result="exit-code"),
            State.BROKEN,
            "exit-code",
        ),
        (replace(RUNS, active="activating", sub="start"), State.LOOK, "is starting"),
        (replace(RUNS, active="inactive", sub="dead"), State.BROKEN, "inactive (dead)"),
        (replace(RUNS, load="not-found"), State.UNKNOWN, "is not installed here"),
        (None, State.UNKNOWN, "no service manager answers here"),
    ],
)
def test_the_service(service: Service | None, state: State, said: str) -> None:
    finding = service_findings(service)[1]
    assert (finding.subject, finding.state) == ("service", state)
    assert said in finding.text
    assert state != State.BROKEN or "journalctl -u edgeagent.service" in finding.next_step


# What systemd 257 printed of a service that runs, that was killed, and that is not installed.
SHOWN = {
    "runs": "StatusText=LIVE [R16]|Result=success|NRestarts=0|LimitCORE=0|User=edgeagent|LoadState=loaded|"
    "ActiveState=active|SubState=running",
    "killed": "StatusText=LIVE [R16]|Result=signal|NRestarts=0|LimitCORE=0|User=edgeagent|LoadState=loaded|"
    "ActiveState=failed|SubState=failed",
    "absent": "StatusText=LIVE [R16]|Result=success|NRestarts=0|LimitCORE=infinity|User=|LoadState=not-found|"
    "ActiveState=inactive|SubState=dead",
}


@pytest.mark.parametrize(
    ("shown", "lease", "service"),
    [
        ("runs", State.OK, State.OK),
        ("killed", State.UNKNOWN, State.BROKEN),
        ("absent", State.UNKNOWN, State.UNKNOWN),
    ],
)
def test_what_the_service_manager_prints_is_understood(
    shown: str, lease: State, service: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho '{SHOWN[shown]}' | tr '|' '\\n'\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked = ask_service()
    assert asked is not None
    assert asked.user == "edgeagent"
    assert [finding.state for finding in service_findings(asked)] == [lease, service]


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", None])
def test_where_there_is_no_service_manager(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        (tmp_path / "systemctl").write_text(script)
        (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_service() is None


def test_a_dead_daemons_last_word_is_no_lease() -> None:
    lease = service_findings(replace(RUNS, active="failed", status="LIVE [R16]"))[0]
    assert lease.state == State.UNKNOWN


# --- the whole, and its looks -------------------------------------------------------------------------------


def test_accelerators_that_are_there_and_not_used_are_named(tmp_path: Path) -> None:
    report = SelfTestReport("ai-edge-litert", {"detector near": 84, "embedder": 133}, {})
    root = board(tmp_path, JETSON)
    assert accelerator(report, root) == ("XNNPACK on the processor, 217 operators; not used: Jetson graphics")


@pytest.mark.parametrize(("user", "told"), [(1000, True), (0, False)])
def test_whoever_may_not_read_is_told_to_be_root(
    user: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> str:
        raise PermissionError(13, "Permission denied", "/var/lib/edgeagent/bench")

    finding = attempt("storage", refused)
    assert finding.state == State.BROKEN  # for the service's own user it is
    assert finding.next_step == "correct owner and mode, or run this as root"
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert ("sudo edgeagent doctor" in "\n".join(table([finding]))) is told


def test_a_failing_disk_is_a_finding() -> None:
    def failed() -> str:
        raise OSError(5, "Input/output error", "/var/lib/edgeagent/seen.json")

    finding = attempt("trust store", failed)
    assert finding.state == State.BROKEN
    assert finding.text == "/var/lib/edgeagent/seen.json: Input/output error"


@pytest.mark.parametrize("width", [60, 80, 132])
def test_the_table_fits_the_terminal(width: int, tmp_path: Path) -> None:
    root = board(tmp_path / "pi", PI_5, **{HEAT: "86000", THROTTLED: "50001"})
    findings = examine(tmp_path / "none.toml", SystemClock(), root=root, ask=lambda: RUNS)
    lines = table(findings, width)
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert max(map(len, plain)) <= width, [line for line in plain if len(line) > width]
    assert plain[-1].startswith("3 broken, ")
    text = "\n".join(plain)
    for finding in findings:
        assert finding.subject in text
    assert "→ use the maker's supply" in text
