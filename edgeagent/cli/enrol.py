"""`edgeagent enrol`: on a new unit, from its own keys to the control room's approval."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import click

from edgeagent.agent.enrol import Pending, begin, waiting
from edgeagent.agent.enrol_config import keeping
from edgeagent.agent.enrol_finish import DROP_IN, finish, read_files
from edgeagent.agent.enrol_state import Place, Stage, read_state
from edgeagent.cli.options import FILE, FOLDER, json_option
from edgeagent.config import load_config
from edgeagent.documents.enrol_invitation import read_invitation
from edgeagent.errors import ConfigError, KeyFileError
from edgeagent.system.clock import SystemClock
from edgeagent.system.enrol_keys import Kept
from edgeagent.system.files import write_atomic

ETC = "/etc/edgeagent"
DATA = Path("/var/lib/edgeagent")
DROP_INS = "/etc/systemd/system/edgeagent.service.d"
CARD = (Path("/boot/firmware/enrolment.toml"), Path("/boot/enrolment.toml"))
"""Where the boot partition of a card is seen from the unit: Debian's and older systems' place."""

_folder = click.option(
    "--folder", type=FOLDER, default=ETC, show_default=True, help="The configuration's folder."
)


@click.group()
def enrol() -> None:
    """On a new unit: make its keys, show its code, and take the control room's approval.

    begin makes the keys and a request, and shows a code. Somebody at the control room types that code, read
    from this unit, into edgeagent enrolment approve. finish checks what comes back and installs it. Private
    keys never leave the unit.
    """
    # The daemon, another user, reads what is public here; private keys are given mode 0600 whatever this is.
    os.umask(0o022)


@enrol.command("begin")
@_folder
@click.option("--enrolment", type=FILE, help="The card's enrolment.toml; usually found by itself.")
@click.option("--out", type=FILE, help="Write the request here too, e.g. to a stick.")
@click.option("--again", is_flag=True, help="New keys and a new request: an earlier code counts no more.")
@click.option(
    "--keep",
    type=click.Choice([*(str(kept) for kept in Kept), "best"]),
    default="best",
    show_default=True,
    help="How private keys are kept; best: by the TPM if there is one, else as the configuration says.",
)
@click.option("--tpm-device", default="", help="As systemd-creds takes it; else the machine's own.")
@json_option
def begin_command(
    folder: Path,
    enrolment: Path | None,
    out: Path | None,
    again: bool,
    keep: str,
    tpm_device: str,
    as_json: bool,
) -> None:
    """Make this unit's keys and its request, and show its code; run again, show the same ones."""
    place = Place(folder, DATA, Path(DROP_INS), None)
    invitation = read_invitation(enrolment or _card(folder))
    state = read_state(place.staging)
    if state and state.stage is Stage.ENROLLED and state.token_id == invitation.token_id and not again:
        _show_stage(state.stage, as_json)  # at every boot after the first
        return
    kept = keeping(place) if keep == "best" else Kept(keep)
    pending = begin(place, invitation, kept, again=again, tpm_device=tpm_device)
    if out is not None:
        write_atomic(out, pending.document)
    _show(pending, place, as_json)


@enrol.command()
@_folder
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Say how far this unit is, and show its code while it waits."""
    place = Place(folder, DATA, Path(DROP_INS), None)
    state = read_state(place.staging)
    if state is not None and state.stage is Stage.REQUESTED:
        _show(waiting(place, state), place, as_json)
        return
    _show_stage(None if state is None else state.stage, as_json)


@enrol.command("finish")
@click.argument("answer", type=FOLDER)
@_folder
@click.option(
    "--owner", default="edgeagent", show_default=True, help="User of the daemon; '' leaves files as they are."
)
@click.option(
    "--drop-ins",
    type=FOLDER,
    default=DROP_INS,
    show_default=True,
    help="Of the service; for sealed keys. On an image: /etc/edgeagent/service.d",
)
@json_option
def finish_command(answer: Path, folder: Path, owner: str, drop_ins: Path, as_json: bool) -> None:
    """Check what the control room sent (the folder ANSWER) and install it; a power cut is no harm."""
    config = folder / "edgeagent.toml"
    data = load_config(config).data_folder if config.exists() else DATA
    place = Place(folder, data, drop_ins, _user(owner))
    written = finish(place, read_files(answer), SystemClock().now())
    if as_json:
        click.echo(json.dumps({"stage": Stage.ENROLLED, "written": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(f"installed {path}")
    told = any(path.name == DROP_IN for path in written)
    reload = "systemctl daemon-reload && " if told else ""
    advice = f"{reload}systemctl restart edgeagent"
    if told and drop_ins != Path(DROP_INS):
        advice = f"restart the unit (systemctl reboot), which takes over what was put into {drop_ins}"
    click.echo(f"this unit is enrolled\n→ {advice}; then: edgeagent doctor")


_ADVICE: dict[Stage | None, tuple[str, str]] = {
    None: ("this unit has not begun to enrol", "edgeagent enrol begin"),
    Stage.DRAFTING: ("a request was begun and cut short; nobody was shown a code", "edgeagent enrol begin"),
    Stage.INSTALLING: (
        "the answer is half installed",
        "run edgeagent enrol finish again, with the same files",
    ),
    Stage.ENROLLED: ("this unit is enrolled", "edgeagent doctor"),
}


def _show_stage(stage: Stage | None, as_json: bool) -> None:
    said, advice = _ADVICE[stage]
    if as_json:
        click.echo(json.dumps({"stage": stage, "next_step": advice}))
    else:
        click.echo(f"{said}\n→ {advice}")


def _show(pending: Pending, place: Place, as_json: bool) -> None:
    asked = pending.asked
    if as_json:
        said = {
            "stage": Stage.REQUESTED,
            "unit": asked.unit,
            "number": asked.number,
            "code": pending.code,
            "new": pending.made,
            "request": str(place.request),
            "kept": asked.kept,
        }
        click.echo(json.dumps(said))
        return
    counts = ", and an earlier code counts no more" if pending.made and asked.number > 1 else ""
    click.echo(f"unit     {asked.unit}, request {asked.number}{counts}")
    click.echo(f"code     {pending.code}")
    click.echo(f"request  {place.request}")
    click.echo(f"keys     {_KEPT[asked.kept]}")
    click.echo(
        "→ take the request to the control room; read the code out to them, never send the two together"
    )


_KEPT = {
    Kept.TPM2: "sealed by this machine's TPM",
    Kept.HOST: "sealed by a key that lies on the same disk: no help if the card is taken",
    Kept.FILE: "plain files: whoever takes the card has them, so report a lost card at once",
}


def _card(folder: Path) -> Path:
    for place in (folder / "enrolment.toml", *CARD):
        if place.exists():
            return place
    raise ConfigError(
        "there is none, neither in its folder nor on this card",
        where="enrolment.toml",
        next_step="put the enrolment.toml there that edgeagent enrolment invite made, or give --enrolment",
    )


def _user(name: str) -> tuple[int, int] | None:
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError as cause:
        raise KeyFileError(
            f"there is no user {name[:40]!r} here", where="--owner", next_step="install the package first"
        ) from cause
    return entry.pw_uid, entry.pw_gid
