"""firmware-config: every file is read by the linter that exists for it, or by a small strict reader.

None of this replaces a board: it finds what is misspelt, forbidden, unexplained or contradicts a rule.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker_tools import wait_for

FOLDER = Path(__file__).parents[1] / "firmware-config"
COMMON, PI, JETSON = (FOLDER / name for name in ("common", "raspberry-pi-5", "jetson-orin"))
README = (FOLDER / "README.md").read_text()
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.name != "README.md")
ROOTS = [COMMON / "root", PI / "root", JETSON / "root"]


def tool(name: str) -> str:
    """Where a linter is; the test is skipped, saying which one is missing, where it is not."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is missing")
    return found


def run(*command: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)


def settings(file: Path, comment: str = "#") -> list[str]:
    """Lines that are neither empty nor a comment."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith(comment)]


# --- all of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_every_file_says_why_and_the_readme_knows_it(file: Path) -> None:
    text = file.read_text()
    assert file.name in README, "the README's table does not have it"
    assert "\t" not in text or file.suffix == ".dts"
    assert max(map(len, text.splitlines())) <= 260
    if file.name != "cmdline.txt":  # one line, in which no comment may stand; the README explains each word
        comments = [line for line in text.splitlines() if re.match(r"\s*(#|/\*|\*)", line)]
        assert comments, "nothing is explained"


# --- Raspberry Pi: config.txt, cmdline.txt, bootloader.conf -------------------------------------------------

# Documented keys that are used here, and what they may be. An unknown one is an error: the firmware would
# ignore it in silence.
CONFIG_TXT = {
    "auto_initramfs": "1",
    "disable_splash": "1",
    "display_auto_detect": "0",
    "camera_auto_detect": "0",
    "kernel_watchdog_timeout": r"[1-9]\d{1,2}",
    "enable_uart": "0",
}
DTPARAM = {
    "rtc_bbat_vchg": "3000000",
    "watchdog": "on",
    "audio": "off",
    **{f"fan_temp{n}": r"[4-8]\d000" for n in range(4)},
    **{f"fan_temp{n}_hyst": r"([1-9]|10)000" for n in range(4)},
    **{f"fan_temp{n}_speed": r"\d{2,3}" for n in range(4)},
}
DTOVERLAY = {
    "disable-wifi-pi5": set[str](),
    "disable-bt-pi5": set[str](),
    "edgeagent-camera-light": {"gpio"},
}
FIRMWARE_LINE_MOST = 98


def config_txt_faults(text: str) -> list[str]:
    """What is wrong with a config.txt, as far as it can be said without a board."""
    faults, explained = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            explained = line.startswith("#") or explained
            continue
        faults += [f"line {number}: {fault}" for fault in _line_faults(line)]
        if not explained:
            faults.append(f"line {number}: no comment says why")
        explained = False
    return faults


def _line_faults(line: str) -> Iterator[str]:
    if len(line) > FIRMWARE_LINE_MOST:
        yield "longer than the firmware reads"
    key, sign, value = line.partition("=")
    if not sign or line != line.strip():
        yield "is not key=value"
    elif key == "dtparam":
        for one in value.split(","):
            name, _, said = one.partition("=")
            if not re.fullmatch(DTPARAM.get(name, "(?!)"), said):
                yield f"dtparam {one}"
    elif key == "dtoverlay":
        name, *parameters = value.split(",")
        unknown = {one.partition("=")[0] for one in parameters} - DTOVERLAY.get(name, set())
        if name not in DTOVERLAY or unknown:
            yield f"dtoverlay {value}"
    elif not re.fullmatch(CONFIG_TXT.get(key, "(?!)"), value):
        yield f"{key}={value}"


def test_config_txt() -> None:
    assert config_txt_faults((PI / "boot/firmware/config.txt").read_text()) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("enable_uart=1", "enable_uart=1"),
        ("enable_urat=0", "enable_urat=0"),
        ("dtparam=rtc_bbat_vchg=4400000", "dtparam rtc_bbat_vchg=4400000"),  # would cook the battery
        ("dtparam=fan_temp0=95000", "dtparam fan_temp0=95000"),
        ("dtoverlay=disable-wifi", "dtoverlay disable-wifi"),  # of another board
        ("dtoverlay=edgeagent-camera-light,pin=4", "dtoverlay edgeagent-camera-light,pin=4"),
        ("dtparam=audio=off # no sound", "dtparam audio=off # no sound"),  # comments end no line there
        ("camera_auto_detect", "is not key=value"),
        (f"dtparam={',watchdog=on' * 9}", "longer than the firmware reads"),
    ],
)
def test_the_reader_of_config_txt_finds(line: str, fault: str) -> None:
    assert f"line 2: {fault}" in config_txt_faults(f"# why\n{line}\n")


def test_a_line_without_a_reason_is_a_fault() -> None:
    assert config_txt_faults("disable_splash=1\n") == ["line 1: no comment says why"]


def test_parameters_of_the_board_stand_before_the_first_overlay() -> None:
    """After a `dtoverlay` line a `dtparam` belongs to that overlay, and may be lost."""
    keys = [line.partition("=")[0] for line in settings(PI / "boot/firmware/config.txt")]
    assert "dtparam" not in keys[keys.index("dtoverlay") :]


def test_the_fan_turns_faster_when_it_is_hotter_and_at_full_speed_before_the_firmware_slows_down() -> None:
    text = (PI / "boot/firmware/config.txt").read_text()
    levels = [
        [int(re.search(rf"fan_temp{n}{what}=(\d+)", text)[1]) for n in range(4)]  # type: ignore[index]
        for what in ("", "_speed")
    ]
    assert all(values == sorted(set(values)) for values in levels), levels
    assert levels[0][-1] < 80_000
    assert levels[1][-1] == 255


def test_cmdline_is_one_line_and_each_word_is_explained() -> None:
    text = (PI / "boot/firmware/cmdline.txt").read_text()
    assert text.count("\n") == 1
    section = README.split("## cmdline.txt")[1].split("\n## ")[0]
    explained = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    assert set(text.split()) == explained


@pytest.mark.parametrize(
    "word",
    ["overlayroot=tmpfs:recurse=0", "systemd.swap=0", "systemd.zram=0", "init_on_free=1", "panic=10"],
)
def test_what_the_command_line_must_have(word: str) -> None:
    words = (PI / "boot/firmware/cmdline.txt").read_text().split()
    assert word in words
    assert not [one for one in words if re.match(r"console=(serial|ttyAMA|ttyS)", one)], "a serial console"


def test_the_boot_loader_starts_from_the_card_alone() -> None:
    said = dict(line.split("=", 1) for line in settings(PI / "bootloader.conf") if line != "[all]")
    assert set(said) == {
        "BOOT_ORDER",
        "WAIT_FOR_POWER_BUTTON",
        "POWER_OFF_ON_HALT",
        "BOOT_WATCHDOG_TIMEOUT",
        "BOOT_UART",
        "DISABLE_HDMI",
        "NET_INSTALL_ENABLED",
        "NET_INSTALL_AT_POWER_ON",
    }
    assert said["BOOT_ORDER"] == "0xf1"
    assert said["WAIT_FOR_POWER_BUTTON"] == "0", "it must come back with the power"


# --- device tree --------------------------------------------------------------------------------------------

BASE = """/dts-v1/;
/ {
    compatible = "raspberrypi,5-model-b", "brcm,bcm2712";
    __symbols__ { gpio = "/gpio"; };
    gpio { phandle = <1>; gpio-controller; #gpio-cells = <2>; };
};
"""


def test_the_overlay_compiles_and_the_light_is_on_from_the_start(tmp_path: Path) -> None:
    dtc, fdtoverlay, fdtget = tool("dtc"), tool("fdtoverlay"), tool("fdtget")
    source = PI / "overlays/edgeagent-camera-light.dts"
    overlay, base, both = (tmp_path / name for name in ("light.dtbo", "base.dtb", "both.dtb"))
    # The one warning that every overlay for a Raspberry Pi gives: its parameters look like GPIOs.
    quiet = ["-W", "no-gpios_property"]
    done = run(dtc, "-@", *quiet, "-I", "dts", "-O", "dtb", "-o", overlay, source)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "base.dts").write_text(BASE)
    assert run(dtc, "-I", "dts", "-O", "dtb", "-o", base, tmp_path / "base.dts").returncode == 0
    assert run(fdtoverlay, "-i", base, "-o", both, overlay).returncode == 0
    light = "/edgeagent-lights/led-camera"
    assert run(fdtget, both, light, "default-state").stdout == "on\n"
    assert run(fdtget, both, light, "gpios").stdout == "1 17 0\n"
    label = run(fdtget, both, light, "label").stdout.strip()
    service = COMMON / "root/usr/lib/systemd/system/edgeagent-camera-light.service"
    assert f"/sys/class/leds/{label}/" in service.read_text()


# --- systemd, udev, kernel ----------------------------------------------------------------------------------


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    text = (COMMON / "root/usr/lib/systemd/system/edgeagent-camera-light.service").read_text()
    script = COMMON / "root/usr/lib/edgeagent/camera-light"
    service = tmp_path / "edgeagent-camera-light.service"
    service.write_text(text.replace("/usr/lib/edgeagent/camera-light", str(script)))
    done = run(analyze, "verify", "--man=no", service)
    if re.search("Failed to|No such file or directory", done.stderr) and "camera-light" not in done.stderr:
        pytest.skip(f"systemd-analyze verify cannot run here: {done.stderr.splitlines()[0]}")
    assert (done.returncode, done.stderr) == (0, "")


UDEV_KEY = r"(ACTION|SUBSYSTEM|KERNEL|GROUP|MODE|ENV\{DEVTYPE\}|ATTR\{[A-Za-z/]+\})"
MATCH, ASSIGN = rf'{UDEV_KEY}=="[^"]*"', rf'{UDEV_KEY}="[^"]*"'
RULES = sorted(rules for root in ROOTS for rules in root.rglob("*.rules"))


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
def test_udev_rules_read(rules: Path) -> None:
    for line in settings(rules):
        parts = re.split(r",\s+", line)
        matches = [part for part in parts if re.fullmatch(MATCH, part)]
        assigns = [part for part in parts if re.fullmatch(ASSIGN, part)]
        assert len(matches) + len(assigns) == len(parts), f"{rules.name}: {line}"
        assert matches, "a rule for everything"
        assert len(assigns) == 1, "a rule that does nothing, or two things"


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.name)
def test_udev_itself_takes_the_rules(rules: Path) -> None:
    udevadm = tool("udevadm")
    version = int(run(udevadm, "--version").stdout.split()[0])
    if version < 254:
        pytest.skip(f"udevadm verify is missing (systemd {version}, 254 has it)")
    done = run(udevadm, "verify", "--resolve-names=never", rules)
    assert done.returncode == 0, done.stderr


def test_no_camera_is_kept_out_and_what_carries_data_or_sound_is() -> None:
    classes = re.findall(r'bInterfaceClass\}=="(..)"', RULES[0].read_text())
    assert {"08", "03", "01"} <= set(classes)
    assert "0e" not in classes
    refused = re.findall(r"^install (\S+) /bin/false$", _text("modprobe.d/edgeagent.conf"), re.MULTILINE)
    assert {"usb-storage", "uas", "snd-usb-audio", "v4l2loopback", "zram", "bluetooth"} <= set(refused)
    assert len(settings(COMMON / "root/etc/modprobe.d/edgeagent.conf")) == len(refused)
    assert "uvcvideo" not in refused


def test_kernel_settings_exist_and_keep_memory_off_the_disk() -> None:
    said = {}
    for line in settings(COMMON / "root/etc/sysctl.d/60-edgeagent.conf"):
        key, _, value = (part.strip() for part in line.partition("="))
        said[key.removeprefix("-")] = value
        known = Path("/proc/sys") / key.removeprefix("-").replace(".", "/")
        # A container may have no network of its own; a sandbox may have no settings at all.
        if not key.startswith(("-", "net.")) and Path("/proc/sys/kernel/core_pattern").exists():
            assert known.exists(), f"{key} is no setting of this kernel; misspelt, or write -{key}"
    assert said["kernel.core_pattern"].startswith("|/bin/false")
    assert said["fs.suid_dumpable"] == "0"
    assert said["kernel.kexec_load_disabled"] == "1"


@pytest.mark.parametrize("board", [PI, JETSON], ids=lambda board: board.name)
def test_the_hardware_watchdog(board: Path) -> None:
    file = board / "root/etc/systemd/system.conf.d/50-edgeagent.conf"
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(file.read_text())
    assert parsed.sections() == ["Manager"]
    assert set(parsed["Manager"]) == {"RuntimeWatchdogSec", "RebootWatchdogSec", "DefaultLimitCORE"}
    assert parsed["Manager"]["DefaultLimitCORE"] == "0"
    seconds = int(parsed["Manager"]["RuntimeWatchdogSec"].removesuffix("s"))
    assert seconds < 15 if board is PI else seconds < 120, "more than the counter holds"


PRESET_LINE = re.compile(r"(enable|disable) [A-Za-z0-9@_.-]+\.(service|socket|timer)")


@pytest.mark.parametrize("preset", sorted(FOLDER.rglob("*.preset")), ids=lambda preset: preset.name)
def test_presets_read_and_never_switch_the_agent_off(preset: Path) -> None:
    for line in settings(preset):
        assert PRESET_LINE.fullmatch(line), line
        assert not line.startswith("disable edgeagent")


# --- file systems -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", [PI, JETSON], ids=lambda board: board.name)
def test_fstab(board: Path) -> None:
    fstab = board / "root/etc/fstab"
    done = run(tool("findmnt"), "--verify", "--tab-file", fstab)
    assert "0 parse errors" in done.stdout + done.stderr
    faults = re.findall(r"\[[EW]\] (.*)", done.stdout)
    # The board's disks and folders are not here.
    elsewhere = ("unreachable on boot required", "unreachable source", "your fstab has been modified")
    assert [fault for fault in faults if not fault.startswith(elsewhere)] == []
    rows = [line.split() for line in settings(fstab)]
    assert all(len(row) == 6 for row in rows)
    assert not [row for row in rows if row[2] == "swap"], "R1"
    options = {row[1]: row[3].split(",") for row in rows}
    assert {"nodev", "nosuid", "noexec", "nofail", "errors=remount-ro"} <= set(options["/data"])
    lasting = {"/var/lib/edgeagent", "/etc/edgeagent", "/var/lib/systemd"}
    assert lasting <= {row[1] for row in rows if row[0].startswith("/data/")}
    if board is JETSON:
        assert "/" not in options, "it would win over the boot entry `maintenance`"


# --- Jetson: extlinux.conf, fan -----------------------------------------------------------------------------

EXTLINUX = """TIMEOUT 30
DEFAULT JetsonIO

MENU TITLE boot options

LABEL primary
      MENU LABEL primary kernel
      LINUX /boot/Image
      INITRD /boot/initrd
      APPEND ${cbootargs} root=PARTUUID=0f48-69 rw rootwait console=ttyTCU0,115200 console=tty0 nv-auto-config

# LABEL backup
#    APPEND ${cbootargs}

LABEL JetsonIO
    MENU LABEL header pins
    LINUX /boot/Image
    FDT /boot/dtb/board.dtb
    INITRD /boot/initrd
    APPEND ${cbootargs} root=PARTUUID=0f48-69 rw rootwait console=ttyTCU0,115200 console=tty0 efi=runtime
    OVERLAYS /boot/pins.dtbo
"""
"""In the form that JetPack writes, with the entry that its tool for header pins adds."""


@pytest.fixture
def extlinux(tmp_path: Path) -> Path:
    file = tmp_path / "extlinux.conf"
    file.write_text(EXTLINUX)
    return file


def entry(file: Path, label: str) -> str:
    text = file.read_text()
    return text[text.index(f"LABEL {label}\n") :].split("\n\n")[0]


def test_the_boot_entries_are_made_of_the_one_that_the_board_starts(extlinux: Path) -> None:
    shown = run(JETSON / "boot_entries.py", extlinux)
    assert extlinux.read_text() == EXTLINUX, "without --write it only shows"
    done = run(JETSON / "boot_entries.py", "--write", extlinux)
    assert (done.returncode, extlinux.read_text()) == (0, shown.stdout), done.stderr
    assert extlinux.with_name("extlinux.conf.before-edgeagent").read_text() == EXTLINUX
    assert "\nDEFAULT unit\n" in extlinux.read_text()
    for label, writable in (("unit", "ro"), ("maintenance", "rw")):
        lines = entry(extlinux, label).splitlines()
        append = next(line for line in lines if "APPEND" in line).split()
        assert append[1:4] == ["${cbootargs}", "root=PARTUUID=0f48-69", writable]
        assert {"rootwait", "console=tty0", "efi=runtime"} <= set(append), "what the board needs stays"
        assert {"init_on_free=1", "systemd.swap=0", "panic=10"} <= set(append)
        assert not [word for word in append if "ttyTCU" in word], "a serial console"
        assert {"FDT /boot/dtb/board.dtb", "OVERLAYS /boot/pins.dtbo"} <= {line.strip() for line in lines}
    for label in ("primary", "JetsonIO"):  # to go back to
        assert entry(extlinux, label) in EXTLINUX


def test_the_boot_entries_are_made_once_however_often_it_is_run(extlinux: Path) -> None:
    run(JETSON / "boot_entries.py", "--write", extlinux)
    once = extlinux.read_text()
    run(JETSON / "boot_entries.py", "--write", extlinux)
    assert extlinux.read_text() == once
    extlinux.write_text(once.replace("DEFAULT unit", "DEFAULT maintenance"))
    run(JETSON / "boot_entries.py", "--write", extlinux)
    assert extlinux.read_text() == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no line DEFAULT above its entries"),
        (EXTLINUX.replace("DEFAULT JetsonIO\n", "") + "DEFAULT primary\n", "has no line DEFAULT above"),
        (EXTLINUX.replace("JetsonIO", "unit"), "unit was not made by this program"),
        (EXTLINUX.replace("LABEL JetsonIO", "LABEL other"), "has no entry JetsonIO"),
        (EXTLINUX.replace("    APPEND ${cbootargs} root", "    APPEND ${cbootargs} toor"), "names no root="),
        (EXTLINUX.replace("    FDT", "    APPEND x\n    FDT"), "has no single line APPEND"),
    ],
)
def test_a_boot_configuration_that_is_not_understood_is_left_alone(
    extlinux: Path, text: str, words: str
) -> None:
    extlinux.write_text(text)
    refused = run(JETSON / "boot_entries.py", "--write", extlinux)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert "it is unchanged" in refused.stderr
    assert extlinux.read_text() == text


NVFANCONTROL = """POLLING_INTERVAL 2
<FAN 1>
\tFAN_GOVERNOR cont {
\t\tSTEP_SIZE 10
\t}
\tFAN_PROFILE quiet {
\t\t0 0 0 0
\t}
\tFAN_PROFILE cool {
\t\t0 0 0 0
\t}
\tFAN_DEFAULT_CONTROL close_loop
\tFAN_DEFAULT_PROFILE quiet
\tFAN_DEFAULT_GOVERNOR cont
"""


def test_the_fans_profile_is_chosen_only_if_it_exists(tmp_path: Path) -> None:
    file, status = tmp_path / "nvfancontrol.conf", tmp_path / "status"
    file.write_text(NVFANCONTROL)
    status.touch()
    refused = run(JETSON / "set-fan-profile", "loud", file, status)
    assert refused.returncode == 1
    assert "has no profile loud; it is unchanged" in refused.stderr
    assert (file.read_text(), status.exists()) == (NVFANCONTROL, True)
    done = run(JETSON / "set-fan-profile", "cool", file, status)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == NVFANCONTROL.replace("DEFAULT_PROFILE quiet", "DEFAULT_PROFILE cool")
    assert not status.exists(), "nvfancontrol would read the old profile there"


# --- the light that shows that the camera is in use ---------------------------------------------------------


class Machine:
    """A /sys with a light, a decoder of the board, and as many USB cameras as wanted."""

    def __init__(self, folder: Path, *cameras: str) -> None:
        self.sys, self.light = folder / "sys", folder / "light"
        self.light.mkdir()
        (self.light / "brightness").write_text("1\n")
        (self.sys / "class/video4linux").mkdir(parents=True)
        self._node("video19", folder / "sys/devices/platform/decoder")
        self.states = [self._camera(number, state) for number, state in enumerate(cameras)]

    def _camera(self, number: int, state: str) -> Path:
        device = self.sys / f"devices/usb1/1-{number}"
        interface = device / f"1-{number}:1.0"
        interface.mkdir(parents=True)
        (interface / "bInterfaceClass").write_text("0e\n")
        (device / "power").mkdir()
        (device / "power/runtime_status").write_text(f"{state}\n")
        self._node(f"video{number}", interface)
        return device / "power/runtime_status"

    def _node(self, name: str, parent: Path) -> None:
        node = self.sys / "class/video4linux" / name
        node.mkdir()
        parent.mkdir(parents=True, exist_ok=True)
        (node / "device").symlink_to(parent)

    def shows(self, wanted: str) -> bool:
        return wait_for(lambda: (self.light / "brightness").read_text().strip() == wanted, 60)


@pytest.fixture
def watch() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(machine: Machine, watch: list[subprocess.Popen[bytes]]) -> None:
    script = COMMON / "root/usr/lib/edgeagent/camera-light"
    watch.append(subprocess.Popen([script, machine.light, machine.sys]))


def test_the_light_follows_the_camera(tmp_path: Path, watch: list[subprocess.Popen[bytes]]) -> None:
    machine = Machine(tmp_path, "suspended", "suspended")
    start(machine, watch)
    assert machine.shows("0")
    machine.states[1].write_text("active\n")
    assert machine.shows("1")
    machine.states[1].write_text("suspended\n")
    assert machine.shows("0")
    (machine.light / "brightness").write_text("1\n")  # whatever else wrote it
    assert machine.shows("0")


@pytest.mark.parametrize("state", ["active", "suspending", "resuming", "error", "unsupported", ""])
def test_only_a_sleeping_camera_is_dark(
    state: str, tmp_path: Path, watch: list[subprocess.Popen[bytes]]
) -> None:
    machine = Machine(tmp_path, "suspended", state)
    (machine.light / "brightness").write_text("0\n")
    start(machine, watch)
    assert machine.shows("1")


def test_what_cannot_be_read_is_taken_for_use(tmp_path: Path, watch: list[subprocess.Popen[bytes]]) -> None:
    machine = Machine(tmp_path, "suspended")
    machine.states[0].unlink()
    (machine.light / "brightness").write_text("0\n")
    start(machine, watch)
    assert machine.shows("1")


def test_no_camera_no_light(tmp_path: Path, watch: list[subprocess.Popen[bytes]]) -> None:
    machine = Machine(tmp_path)
    start(machine, watch)
    assert machine.shows("0")


def test_the_service_lights_it_when_it_stops_and_can_open_no_camera() -> None:
    text = (COMMON / "root/usr/lib/systemd/system/edgeagent-camera-light.service").read_text()
    assert "ExecStopPost=/bin/sh -c 'echo 1 >" in text
    assert "Restart=always" in text
    assert "PrivateDevices=yes" in text


def _text(name: str) -> str:
    return (COMMON / "root/etc" / name).read_text()
