"""`edgeagent rate`: the signed review without which suspended matching does not go on (R17)."""

from __future__ import annotations

from pathlib import Path

import click

from edgeagent.cli.options import FILE, config_option, identity_with_role, out_option, trust_options
from edgeagent.cli.options import open_trust as _open_trust
from edgeagent.cli.verdicts import desk_verdicts
from edgeagent.documents.jws import add_signatures, strict_json, unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.table import REVIEW, sign, verify
from edgeagent.documents.words import says
from edgeagent.errors import DocumentError
from edgeagent.safeguards.alert_rate import RateReview
from edgeagent.safeguards.people import same_person
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic


@click.group()
def rate() -> None:
    """Review a suspension for too many false alerts, so that matching may go on."""


@rate.command()
@click.option("--unit", required=True, help="Unit that is suspended.")
@click.option("--deployment", required=True, help="Deployment identifier, as in the authority.")
@click.option(
    "--alerts",
    required=True,
    type=click.IntRange(1),
    help="How many it made, as its state says; all of them.",
)
@click.option("--suspension", required=True, help="Which one, 32 hex digits, as the unit's state says.")
@click.option("--reason", required=True, help="What was found and changed, for the record.")
@click.option("--key", "key_file", required=True, type=FILE, help="Authorising officer's key.")
@out_option
def review(
    unit: str, deployment: str, alerts: int, suspension: str, reason: str, key_file: Path, out: Path
) -> None:
    """Sign that the suspension of UNIT was looked into: every alert, and why they were wrong."""
    said = RateReview(
        unit=unit,
        deployment=deployment,
        alerts=alerts,
        suspension=suspension,
        reviewed_at=SystemClock().now().wall,
        reason=reason,
    )
    officer = identity_with_role(key_file, Role.AUTHORISING_OFFICER)
    write_atomic(out, sign(REVIEW, said, officer))
    click.echo(f"{out}: review of {unit} in {deployment}, signed by {officer.name}")


@rate.command()
@click.argument("file", type=FILE)
@click.option("--key", "key_file", required=True, type=FILE, help="Independent approver's key.")
@trust_options
@out_option
def approve(file: Path, key_file: Path, trust_file: Path, root: str, out: Path) -> None:
    """Add the independent approver's signature to a review FILE that was read and agreed with (R27)."""
    approver = identity_with_role(key_file, Role.INDEPENDENT_APPROVER)
    document = read_bounded(file, REVIEW.limit)
    now = SystemClock().now()
    read = verify(REVIEW, document, _open_trust(trust_file, root), now)
    if any(same_person(approver.name, key.name) for key in read.signers):
        raise DocumentError(
            "was signed by the same person", where=str(file), next_step="have somebody else approve it"
        )
    for label, text in says(read.body, now.wall):
        click.echo(f"{label:12} {text}", err=True)
    payload = unbase64url(strict_json(document)["payload"])
    write_atomic(out, add_signatures(document, payload, REVIEW.typ, approver.signing))
    click.echo(f"{out}: approved by {approver.name}")


@rate.command()
@click.argument("file", type=FILE)
@config_option("desk.toml")
def submit(file: Path, config: Path) -> None:
    """Hand a signed review FILE to the desk; `alerts watch` sends it to the unit when that asks for it."""
    with desk_verdicts(config) as verdicts:
        said = verdicts.submit(read_bounded(file, REVIEW.limit), SystemClock().now()).body
    click.echo(f"{said.unit}: review of {said.alerts} alerts in {said.deployment} will be sent")
