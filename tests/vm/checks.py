"""What a container cannot show of a unit: its TPM, a real camera device, a limit of memory, the watchdog."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeagent.documents.messages import CameraState, Presence, UnitState
from tests.image.guest import GuestError
from tests.vm.guest import READY
from tests.vm.unit import VirtualUnit

CAMERA_S = 300.0
WATCHDOG_S = 60.0
"""RuntimeWatchdogSec of the unit's systemd."""
GO_LIVE = """\
set -e
cp -a /root/live/etc/edgeagent/. /etc/edgeagent/
cp -a /root/live/var/lib/edgeagent/. /var/lib/edgeagent/
systemctl restart edgeagent.service
if lsmod | grep -q vivid; then echo 'the camera was there before'; exit 1; fi
modprobe vivid
udevadm settle
ls -l /dev/video0
"""
"""The camera is plugged in for the first time when the service runs already."""
STARTED = "Started edgeagent.s"
UNPLUG = "echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind"
PLUG = "echo vivid.0 >/sys/bus/platform/drivers/vivid/bind"
COUNTED = "failures counted(, locked)?(; cleared)?$"
HOG = """\
group=/sys/fs/cgroup/system.slice/edgeagent.service
echo limit $(cat $group/memory.max)
( echo $BASHPID >$group/cgroup.procs; exec python3 -c 'whole = bytearray(b"1") * (1100 << 20)' ) || true
for i in $(seq 120); do
    [ "$(systemctl show edgeagent.service -p NRestarts --value)" = 0 ] || break; sleep 1
done
echo restarts $(systemctl show edgeagent.service -p NRestarts --value)
journalctl -b --no-pager -o cat -u edgeagent.service | grep -i -m 1 oom-kill
"""
SYNCHRONISED = """\
python3 -c "
import ctypes, struct
ADJ_MAXERROR, ADJ_STATUS = 0x0004, 0x0010
timex = ctypes.create_string_buffer(512)
struct.pack_into('<I', timex, 0, ADJ_MAXERROR | ADJ_STATUS)  # no STA_UNSYNC: as a time service says
print('kernel', ctypes.CDLL(None).adjtimex(timex))
"
said() { grep '^edgeagent_clock_synchronised' /run/edgeagent/health.prom; }
for i in $(seq 150); do said | grep -q ' 1$' && break; sleep 1; done
said
"""
REFUSED = """\
timeout 20 bash -c 'exec 3<>/dev/tcp/10.0.2.2/{port}' 2>&1 || true
nft list chain inet edgeagent output | grep -c reject
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """One check: what was seen, and whether it is as it must be."""

    name: str
    good: bool
    seen: str
    seconds: float


def checks(unit: VirtualUnit) -> list[tuple[str, Callable[[], str]]]:
    """By name; each raises GuestError, or says what was seen. The unit is up; the watchdog comes last."""
    return [
        ("packet filter: no other port of the host", lambda: _filter(unit)),
        ("clock: the daemon in its sandbox hears of it", lambda: _clock(unit)),
        ("memory limit: a gigabyte, enforced", lambda: _memory(unit)),
        ("camera: a V4L2 device, unplugged, plugged", lambda: _camera(unit)),
        ("TPM: keys open on this board", lambda: _tpm(unit)),
        ("watchdog: PID 1 hangs", lambda: _watchdog(unit, "kill -SEGV 1")),
        ("watchdog: the kernel crashes", lambda: _watchdog(unit, "echo c >/proc/sysrq-trigger")),
        ("TPM: the card in another board", lambda: _other_board(unit)),
    ]


def check(name: str, act: Callable[[], str]) -> Checked:
    """Do one check."""
    began = time.monotonic()
    try:
        seen, good = act(), True
    except GuestError as failed:
        seen, good = str(failed), False
    return Checked(name, good, seen, time.monotonic() - began)


def _filter(unit: VirtualUnit) -> str:
    said = unit.guest.run(REFUSED.format(port=unit.room.station.running.port + 1))
    first, *_, rules = said.splitlines()
    if "No route to host" not in first or rules != "1":
        raise GuestError(f"not rejected by the filter: {said}")
    return first.rpartition(": ")[2]


def _memory(unit: VirtualUnit) -> str:
    before = unit.room.witness.last
    said = unit.guest.run(HOG, seconds=400)
    if "limit 1073741824" not in said or "restarts 1" not in said or "oom-kill" not in said:
        raise GuestError(f"the limit did not end it: {said}")
    unit.before = before.boot if before else ""
    unit.live()
    return "; ".join(said.splitlines()) + "; LIVE again"


def _camera(unit: VirtualUnit) -> str:
    room = unit.room
    room.release()
    state = room.witness.last
    unit.before = state.boot if state else ""
    unit.guest.run(GO_LIVE)
    room.hold(bench=False)
    opened = _until(unit, "the camera open", lambda s: s.camera is CameraState.OPEN and s.frames > 0)
    unit.guest.run(UNPLUG)
    lost = _until(unit, "the camera lost, by name", lambda s: "/dev/video0" in s.problem)
    unit.guest.run(PLUG)
    _until(unit, "the camera open again", lambda s: s.camera is CameraState.OPEN and s.frames > lost.frames)
    room.release()
    closed = _until(unit, "the camera closed", lambda s: s.state is Presence.STANDBY and s.camera == "closed")
    return (
        f"{opened.kind}, frames {opened.frames}; unplugged: {lost.camera}, {lost.problem!r}; "
        f"plugged: open again; officers gone: {closed.camera}, wiped {closed.buffers_wiped}"
    )


def _until(unit: VirtualUnit, what: str, condition: Callable[[UnitState], bool]) -> UnitState:
    state = unit.room.witness.until(condition, CAMERA_S, after=unit.before)
    if state is None:
        raise GuestError(f"not within {CAMERA_S:.0f} s: {what}; last: {unit.room.witness.last}")
    return state


def _clock(unit: VirtualUnit) -> str:
    """A unit whose time service has the time must not need the control room for it."""
    said = unit.guest.run(SYNCHRONISED, check=False)
    if not said.rstrip().endswith(" 1"):
        raise GuestError(said)
    return said.splitlines()[-1]


def _tpm(unit: VirtualUnit) -> str:
    """That the daemon runs shows that PID 1 opened both keys with the TPM; here, that nothing else can."""
    has = unit.guest.run("systemd-creds has-tpm2 | head -n 1; ls /dev/tpmrm0", check=False)
    sealed = unit.guest.run(
        "ls /etc/edgeagent/credentials; ls /var/lib/systemd/credential.secret 2>&1", check=False
    )
    counted = unit.guest.run(
        f"journalctl -b -q -o cat -u edgeagent-tpm.service | grep -m 1 -E '{COUNTED}'",
        check=False,
    )
    if "/dev/tpmrm0" not in has or "No such file" not in sealed or not counted:
        raise GuestError(f"{has}; {sealed}; {counted}")
    return f"{' '.join(has.split())}; no key of the host on the card; {counted}"


def _watchdog(unit: VirtualUnit, crash: str) -> str:
    events = unit.guest.watchdog_events()
    ready = unit.guest.said().count(STARTED)
    unit.guest.run(f"(sleep 1; {crash}) >/dev/null 2>&1 &")
    began = time.monotonic()
    try:
        if not events.wait("WATCHDOG", WATCHDOG_S * 4):
            raise GuestError("the hardware watchdog did nothing")
    finally:
        events.close()
    reset_s = time.monotonic() - began
    unit.guest.rebooted()
    unit.guest.expect(READY, times=ready + 1)
    return f"reset after {reset_s:.0f} s, READY {time.monotonic() - began - reset_s:.0f} s later"


def _other_board(unit: VirtualUnit) -> str:
    """The same card beside a TPM that has never seen it: the keys must stay closed, and the daemon down."""
    unit.guest.power_off()
    unit.guest.start(tpm="another-tpm")
    unit.guest.expect(r"Failed to start edgeagent")
    said = unit.guest.run("systemctl show edgeagent.service -p Result -p ExecMainStatus | tr '\\n' ' '")
    unit.guest.power_off()
    return said
