"""Dispatch of one step; the answer is one line of JSON on standard output."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from typing import Any

from unit.on_unit import check, facts, image, parcel, pending, remove, stage, switch
from unit.on_unit.lock import alone
from unit.on_unit.places import Places, UnitError

PYTHON = "/usr/bin/python3"
SWITCHER = "edgeagent-switch.service"


def main(arguments: list[str]) -> int:
    """Run one step; 0 and its answer, or 1 and a named error."""
    os.umask(0o022)
    places = Places()
    try:
        answer = _step(places, arguments[0], arguments[1:])
    except UnitError as error:
        return _failed(error.what, error.where, error.next_step)
    except subprocess.CalledProcessError as error:
        words = (error.stderr or b"").strip()
        said = words.decode(errors="replace") if isinstance(words, bytes) else words
        return _failed(f"failed: {said[-200:]}", " ".join(error.cmd), "run it by hand on the unit")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "disk is full" if full else error.strerror or type(error).__name__
        return _failed(what, str(error.filename or "/var or /opt"), stage.FULL if full else "check the card")
    print(json.dumps(answer), flush=True)
    return 0


def _failed(what: str, where: str, next_step: str) -> int:
    print(json.dumps({"error": {"what": what, "where": where, "next_step": next_step}}), flush=True)
    return 1


def _step(places: Places, name: str, given: list[str]) -> Any:
    match name, given:
        case "facts", [resolve]:
            return facts.facts(places, resolve)
        case "hold", []:
            return _hold(places)
        case "receive", [file, size, sha256]:
            return stage.receive(places.incoming, file, int(size), sha256)
        case "image", []:
            return image.image(places)
        case "receive-update", [_, size, sha256]:
            return image.receive(places, int(size), sha256)
        case "install-update", []:
            return image.install(places)
        case "restart", []:
            return image.restart()
        case "lacks", []:
            return parcel.lacks(places, sys.stdin.buffer.read())
        case "unpack", [package, release, archive, config]:
            return _unpack(places, package, release, archive, config)
        case "check", [release, config]:
            check.check_firewall(places, config)
            return check.check(places, release, config)
        case "switch", [release, config, transaction]:
            return _launch(release, config, transaction)
        case "run-switch", [release, config, transaction]:
            return switch.switch(places, release, config, transaction)
        case "confirm", [transaction]:
            return switch.confirm(places, transaction)
        case "progress", []:
            return json.loads((places.run / "progress.json").read_bytes())
        case "recover", [*how]:
            return pending.recover(places, booting=not how)
        case "remove", []:
            return remove.remove(places)
        case "stays", []:
            return remove.stays(places)
    raise UnitError("is no step", where=name, next_step="use the same version of deploy/ throughout")


def _unpack(places: Places, package: str, release: str, archive: str, config: str) -> None:
    if places.pending.exists():
        raise UnitError(
            "a switch is under way", where=str(places.pending), next_step="wait a minute, then deploy again"
        )
    stage.prune(places, {f"edgeagent-{release}", f"versions/{config}"})
    stage.unpack_program(places, package, release)
    stage.add_user(places.release(release))
    stage.unpack_config(places, archive, config)
    shutil.rmtree(places.incoming)


def _launch(release: str, config: str, transaction: str) -> None:
    """As a service of its own; if it is killed, systemd itself goes back."""
    tool = f"{Places().run}/tool.pyz"
    back = f"ExecStopPost={PYTHON} -I {tool} recover now"
    options = ["--quiet", "--collect", "--no-block", f"--unit={SWITCHER}", f"--property={back}"]
    call = [PYTHON, "-I", tool, "run-switch", release, config, transaction]
    done = subprocess.run(["systemd-run", *options, "--", *call], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnitError(
            "another switch is under way: " + done.stderr.strip()[-160:],
            where=SWITCHER,
            next_step="wait a minute and look: make status",
        )


def _hold(places: Places) -> None:
    """Hold the one lock until the desk hangs up."""
    with alone(
        places.run / "lock",
        "somebody else is deploying to this unit",
        "wait until they are done, then look: make status",
    ):
        print(json.dumps("held"), flush=True)
        sys.stdin.buffer.read()
