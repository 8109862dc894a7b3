"""Trying the new release with the new configuration in the service's own sandbox, before the switch."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from unit.on_unit.keys import CREDENTIALS, refuse_lost_keys
from unit.on_unit.places import Places, UnitError, mode_of
from unit.on_unit.service import DAEMON, last_words, systemctl

CHECKER = "edgeagent-check.service"
OVERRIDE = """\
[Unit]
ConditionPathExists=
StartLimitIntervalSec=0
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
TimeoutStartSec=120
# The running daemon's; a check that ends must not take it away.
RuntimeDirectory=
ExecStart=
ExecStart={program} validate-config --json --config {config}
ExecStart=-{program} doctor --json --config {config}
StandardOutput=append:{output}
StandardError=append:{errors}
"""
TPM = Path("/dev/tpmrm0")
OF_ENROLMENT = ("certificate", "unit's key", "trust store")
MINDED = ("configuration", "storage", "models", *OF_ENROLMENT)
"""What a doctor's complaint must be about to refuse a switch; the rest is the street's fault. "models" is a
self-test with a known picture."""


def check(places: Places, release: str, config: str) -> dict[str, Any]:
    """Validate, self-test, examine; what was found, and which private keys are still to be made.

    Raises:
        UnitError: the configuration is refused, the self-test fails, or something that matters is wrong.
    """
    waiting = refuse_lost_keys(places, places.versions / config / "edgeagent.toml")
    view = _view(places, config)
    outputs = _write_unit(places, release, view)
    try:
        _clear_count(places, release)
        done = systemctl("start", CHECKER)
        answers = [json.loads(line) for line in outputs[0].read_text().splitlines() if line.strip()]
        if done.returncode != 0:
            raise _refusal(outputs[1].read_text(), len(answers))
        findings = answers[-1]
        _judge(findings, enrolled=not waiting)
    finally:
        _remove_unit(places)
    told = [finding for finding in findings if not (waiting and finding["subject"] in OF_ENROLMENT)]
    return {"findings": told, "keys_missing": sorted(waiting.values())}


def _view(places: Places, config: str) -> Path:
    """A folder as /etc/edgeagent will be: the new files, and links to what stays on the unit."""
    view = places.run / "view"
    shutil.rmtree(view, ignore_errors=True)
    shutil.copytree(places.versions / config, view)
    for path in places.etc.rglob("*"):
        name = path.relative_to(places.etc)
        ours = name.parts[0] in ("versions", "current", "credentials", "enrolment") or path.is_symlink()
        if path.is_file() and not ours and not (view / name).exists():
            (view / name).parent.mkdir(parents=True, exist_ok=True)
            (view / name).symlink_to(path)
    text = (view / "edgeagent.toml").read_text()
    (view / "edgeagent.toml").write_text(text.replace(f"{CREDENTIALS}/", f"/run/credentials/{CHECKER}/"))
    for path in (places.run, view, *view.rglob("*")):
        if not path.is_symlink():
            shutil.chown(path, "root", "edgeagent")
            path.chmod(mode_of(path))
    return view


def _write_unit(places: Places, release: str, view: Path) -> tuple[Path, Path]:
    """The new release's own service, with other commands in it; lives in memory only."""
    home = places.release(release)
    outputs = places.run / "check.out", places.run / "check.err"
    for output in outputs:
        output.write_bytes(b"")
    units = Path("/run/systemd/system")
    shutil.copyfile(home / "system/lib/systemd/system" / DAEMON, units / CHECKER)
    drop_in = units / f"{CHECKER}.d"
    drop_in.mkdir(parents=True, exist_ok=True)
    for file in sorted((places.systemd / f"{DAEMON}.d").glob("*.conf")):
        shutil.copyfile(file, drop_in / file.name)
    text = OVERRIDE.format(
        program=f"{home}/bin/python3 -I -m edgeagent",
        config=view / "edgeagent.toml",
        output=outputs[0],
        errors=outputs[1],
    )
    (drop_in / "90-check.conf").write_text(text)
    systemctl("daemon-reload", check=True)
    return outputs


def _clear_count(places: Places, release: str) -> None:
    """What edgeagent-tpm.service does before each start, for a unit that has no such service yet.

    Such a unit may be locked by now, and could not be brought a release that mends it. Whether it helped, the
    check itself shows.
    """
    sealed = places.sealed.is_dir() and any(places.sealed.iterdir())
    if not sealed or not TPM.exists():
        return
    program = [str(places.release(release) / "bin/python3"), "-I", "-m", "edgeagent.system.tpm"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired), TPM.open("r+b", buffering=0) as device:
        subprocess.run(program, stdin=device, capture_output=True, timeout=60, check=False)


def _remove_unit(places: Places) -> None:
    units = Path("/run/systemd/system")
    (units / CHECKER).unlink(missing_ok=True)
    shutil.rmtree(units / f"{CHECKER}.d", ignore_errors=True)
    shutil.rmtree(places.run / "view", ignore_errors=True)
    systemctl("daemon-reload")
    systemctl("reset-failed", CHECKER)


def _refusal(errors: str, passed: int) -> UnitError:
    """The program's own words, if it said any; else systemd's."""
    step = ("validate-config", "doctor")[min(passed, 1)]
    for line in reversed(errors.splitlines()):
        if line.startswith('{"error"'):
            said = json.loads(line)
            return UnitError(f"{step}: {said['what']}", where=said["where"], next_step=said["next_step"])
    words = (errors.strip().splitlines() or last_words(CHECKER) or ["said nothing"])[-1]
    return UnitError(
        f"{step} failed: {words}", where="the new version, on the unit", next_step="repair it at the desk"
    )


def _judge(findings: list[dict[str, str]], *, enrolled: bool) -> None:
    for finding in findings:
        early = finding["subject"] in OF_ENROLMENT and not enrolled
        if finding["state"] != "broken" or finding["subject"] not in MINDED or early:
            continue
        raise UnitError(
            f"doctor: {finding['text']}", where=finding["subject"], next_step=finding["next_step"]
        )


def check_firewall(places: Places, config: str) -> None:
    """The rendered packet filter is one that the kernel would take, and does not lock this connection out."""
    rules = places.versions / config / "nftables.conf"
    done = subprocess.run(["nft", "-c", "-f", str(rules)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnitError(
            f"nft refuses the packet filter: {(done.stderr.strip().splitlines() or ['?'])[0]}",
            where=str(rules),
            next_step="correct network.toml at the desk",
        )
