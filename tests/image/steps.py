"""The steps of `make test-image`. Each returns what it saw, in one line, or raises GuestError."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from card_image import partition

from tests.image.guest import Guest, GuestError
from tests.image.office import UNIT, ControlRoom
from tests.image.variants import ROOT

DONE, REFUSED, ROLLED_BACK = 0, 1, 4
"""Exit codes of `make update` (deploy/README.md)."""
BOOT_S = 900.0
"""Generous: an emulated board on a shared machine."""
SLOTS = "/usr/lib/edgeagent-image/slots.py show"
SHOW = "systemctl show edgeagent.service --property="
KEPT = "is kept"


@dataclass
class Trial:
    """The board, the version that its card holds, and the updates by name."""

    guest: Guest
    version: int
    bundles: dict[str, Path]
    folder: Path
    room: ControlRoom
    boots: list[float] = field(default_factory=list)


def first_boot(trial: Trial) -> str:
    """Blank unit: loader, slot A, take over of the card's files, the self-test alone decides that A is
    kept."""
    begin = time.monotonic()
    trial.guest.start()
    trial.guest.expect(r"slots: trying A, 2 left", BOOT_S)
    loader = time.monotonic() - begin
    trial.guest.expect(r"Starting kernel", BOOT_S)
    trial.guest.reachable(BOOT_S)
    said = trial.guest.until("journalctl -o cat -u edgeagent-commit", KEPT, BOOT_S)
    tested = re.search(r"self-test: (.*)", said)
    if tested is None:
        raise GuestError(f"the commit rested on no self-test: {said}")
    _slots(trial, "running A", "BOOT_A_LEFT=3")
    return f"U-Boot after {loader:.0f} s; {tested[1]}; slot A is kept"


def taken_over(trial: Trial) -> str:
    """What was on the loader's partition is on the unit, and no longer on the card."""
    place = "/run/edgeagent-boot"
    left = trial.guest.run(f"mount -o ro PARTLABEL=boot {place} && find {place} -type f; umount {place}")
    if "enrolment.toml" in left or "authorized_keys" in left or "boot.scr" not in left:
        raise GuestError(f"the loader's partition holds {left}")
    there = trial.guest.run(
        "stat -c %a /etc/edgeagent/enrolment.toml; cat /etc/edgeagent/broker.env; hostname"
    )
    if not re.fullmatch(rf"600\n#[^\n]*\nBROKER=192\.0\.2\.10:8883\n{UNIT}", there):
        raise GuestError(f"not as the card said: {there}")
    loaded = "systemctl is-active edgeagent-firewall.service; nft list table inet edgeagent"
    if "192.0.2.10 . 8883" not in (said := trial.guest.run(loaded)) or not said.startswith("active"):
        raise GuestError(f"the packet filter is not loaded: {said}")
    return (
        "invitation, technician's key, filter, broker and name moved to the data partition; the card has none"
    )


def enrolled(trial: Trial) -> str:
    """The code on the unit's console is typed at the desk; the answer is installed; READY by inference."""
    guest = trial.guest
    shown = json.loads(guest.until("edgeagent enrol status --json", '"code"', BOOT_S))
    if shown["code"] not in guest.said():
        raise GuestError(f"the console never showed the code {shown['code']}")
    answer = trial.room.answer(guest.run(f"cat {shown['request']}"), shown["code"])
    guest.run("mkdir /run/answer && tar -C /run/answer -xf -", content=_tar(answer))
    guest.run("edgeagent enrol finish /run/answer", seconds=BOOT_S)
    begin = time.monotonic()
    guest.run("systemctl restart edgeagent.service", seconds=BOOT_S)
    took = time.monotonic() - begin
    return f"the console showed the code; READY {took:.0f} s after its start; {_stands(trial)}"


def _tar(folder: Path) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(folder, ".")
    return whole.getvalue()


def appliance(trial: Trial) -> str:
    """Read-only, verified root; no swap, no core, no shell on the console, a fed watchdog, a camera's
    driver."""
    guest = trial.guest
    wanted = {
        "touch /usr/x 2>&1": "Read-only file system",
        "veritysetup status root": "verified",
        "wc -l </proc/swaps": "1",
        "cat /proc/sys/kernel/core_pattern": "|/bin/false",
        "cat /proc/sys/kernel/kexec_load_disabled": "1",
        "cat /proc/sys/kernel/yama/ptrace_scope": "3",
        # The camera's driver and what it rests on; there is no camera to wake it here.
        "modprobe uvcvideo && grep -c -E '^(uvcvideo|videobuf2_v4l2) ' /proc/modules": "2",
        "modprobe bluetooth 2>&1; echo code $?": "code 1",
        "cat /run/systemd/timesyncd.conf.d/edgeagent.conf": "NTP=10.0.2.2",
        "systemctl show --property=RuntimeWatchdogUSec": "RuntimeWatchdogUSec=15min",
        "journalctl -b -o cat --grep 'hardware watchdog'": "watchdog",
        "systemctl is-enabled getty@tty1.service serial-getty@ttyAMA0.service": "masked",
        "ls /etc/ssh/ssh_host* 2>&1": "No such file",
        "systemd-analyze security --no-pager edgeagent.service | tail -n 1": "SAFE",
    }
    seen = []
    for command, word in wanted.items():
        said = guest.run(command, check=False)
        (trial.folder / "appliance.txt").open("a").write(f"# {command}\n{said}\n\n")
        if word not in said:
            raise GuestError(f"{command!r} says {said!r}, not {word!r}")
        seen.append(word)
    told = guest.run("COLUMNS=80 edgeagent doctor 2>&1", check=False, seconds=BOOT_S)
    (trial.folder / "doctor.txt").write_text(told + "\n")
    if not re.search(r"^ok +models .*pack", told, re.MULTILINE):
        raise GuestError(f"doctor says {told}")
    return "; ".join(word for word in seen if word not in {"1", "2", "3", "No such file"})


def cold_boot(trial: Trial) -> str:
    """Plug pulled, plug in: READY again, by itself, with what it was given."""
    trial.guest.power_off()
    began = time.monotonic()
    trial.guest.start()
    trial.guest.expect(r"slots: trying A", BOOT_S)
    trial.guest.reachable(BOOT_S)
    return f"{_ready_again(trial)}; {time.monotonic() - began:.0f} s after the plug"


def slot_a_zeroed(trial: Trial) -> str:
    """The card lost slot A: the loader says so and starts B."""
    guest = trial.guest
    guest.power_off()
    for offset_mib, size_mib in _slot_a(guest.card):
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", f"write -z {offset_mib}M {size_mib}M", str(guest.layer)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    guest.start()
    guest.expect(r"slots: A cannot be started", BOOT_S)
    guest.expect(r"slots: trying B", BOOT_S)
    guest.reachable(BOOT_S)
    _slots(trial, "running B")
    return f"'A cannot be started', B runs; {_ready_again(trial)}"


def refused(name: str, word: str) -> Callable[[Trial], str]:
    """A step: this bundle is refused, and nothing is written."""

    def step(trial: Trial) -> str:
        # Found healthy and kept: nothing else changes the state.
        _slots(trial, f"BOOT_{_running(trial)}_LEFT=3")
        before = trial.guest.run(SLOTS)
        said = _update(trial, name, REFUSED)
        line = next((line for line in said.splitlines() if word in line), "")
        if not line:
            raise GuestError(f"the bundle was not refused for {word!r}: {said[-500:]}")
        after = trial.guest.run(SLOTS)
        if after != before:
            raise GuestError(f"a refused bundle changed the slots' state: {before!r}, then {after!r}")
        return line.strip()[-160:]

    return step


def good_update(trial: Trial) -> str:
    """Installed into the slot that does not run, started, found healthy, kept."""
    other = _other(trial)
    said = _update(trial, "good", DONE)
    trial.guest.expect(rf"slots: trying {other}, 2 left", BOOT_S)
    _slots(trial, f"BOOT_{other}_GOOD=1")
    running = trial.guest.run("cat /usr/lib/edgeagent-image/version")
    if running != str(trial.version + 1) or f"slot {other}, kept" not in said:
        raise GuestError(f"version {running} runs; {said[-500:]}")
    return f"{said.splitlines()[-1]}; version {running} in slot {other} is kept; {_ready_again(trial)}"


def bad_update(trial: Trial) -> str:
    """An agent that cannot start: tried once, left, and the unit is back without anybody."""
    running, other = _running(trial), _other(trial)
    said = _update(trial, "bad", ROLLED_BACK)
    trial.guest.expect(rf"slots: trying {other}, 2 left", BOOT_S)
    trial.guest.expect(rf"slots: trying {running}", BOOT_S)
    _slots(trial, f"running {running}", f"BOOT_{other}_GOOD=0", f"BOOT_{other}_LEFT=0")
    return f"{said.splitlines()[-1].strip()}; {running} runs, {_ready_again(trial)}"


def _running(trial: Trial) -> str:
    return trial.guest.run(SLOTS).split()[1]


def _other(trial: Trial) -> str:
    return "B" if _running(trial) == "A" else "A"


def _update(trial: Trial, name: str, code: int) -> str:
    """`make update`'s program, as a technician runs it; what it said is kept."""
    known = trial.folder / "known-hosts"
    key = trial.guest.run("cat /data/etc/ssh/ssh_host_ed25519_key.pub")
    known.write_text(f"[127.0.0.1]:{trial.guest.port} {key}\n")
    call = [sys.executable, "-m", "unit", "update", "--host", "127.0.0.1", "--port", str(trial.guest.port)]
    call += ["--key", str(trial.guest.ssh_key), "--known-hosts", str(known), "--wait", str(3 * BOOT_S)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'deploy'}:{ROOT}"}
    call += ["--bundle", str(trial.bundles[name])]
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    (trial.folder / f"update-{name}.txt").write_text(said)
    if done.returncode != code:
        raise GuestError(f"make update ended with {done.returncode}, not {code}: {said[-800:]}")
    return said


def _stands(trial: Trial) -> str:
    """The service is active, did not restart, and says what it does."""
    said = trial.guest.until(f"{SHOW}ActiveState,NRestarts,StatusText", "ActiveState=active", BOOT_S)
    if "NRestarts=0" not in said:
        raise GuestError(f"the service restarted: {said}")
    status = re.search(r"StatusText=(.*)", said)
    return f"'{status[1] if status else ''}'"


def _ready_again(trial: Trial) -> str:
    status = _stands(trial)
    micros = re.search(r"=(\d+)", trial.guest.run(f"{SHOW}ActiveEnterTimestampMonotonic"))
    seconds = int(micros[1]) / 1e6 if micros else float("nan")
    trial.boots.append(seconds)
    return f"READY {seconds:.0f} s after the kernel began, {status}"


def _slots(trial: Trial, *wanted: str) -> None:
    for word in wanted:
        trial.guest.until(SLOTS, word, BOOT_S)


def _slot_a(card: Path) -> list[tuple[int, int]]:
    part = partition(card, "root-a")
    return [(part.start >> 20, part.size >> 20)]


STEPS: list[tuple[str, Callable[[Trial], str]]] = [
    ("first boot through U-Boot, self-test", first_boot),
    ("files of the card taken over, blanked there", taken_over),
    ("enrolled by a real desk: agent READY", enrolled),
    ("read-only, verified, no swap, no core, camera's driver", appliance),
    ("plug pulled: READY again", cold_boot),
    ("slot A zeroed: B starts", slot_a_zeroed),
    ("update by a stranger refused", refused("stranger", "signature verification failed")),
    ("older update refused", refused("older", "is older than")),
    ("update for another board refused", refused("other-board", "Compatible mismatch")),
    ("good update: new slot, kept", good_update),
    ("bad update: back by itself", bad_update),
]
