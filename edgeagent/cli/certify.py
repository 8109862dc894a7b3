"""`edgeagent certify`: an evaluator signs what a report supports (R18, R28)."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.options import FILE, identity_with_role, json_option, out_option
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.table import CERTIFICATE, sign
from edgeagent.documents.words import plain
from edgeagent.errors import SafeguardError
from edgeagent.evaluation.certify import Certified, Order, read_and_certify
from edgeagent.safeguards.certificate import Certificate, fit_for_live, group_findings, promise_allowed
from edgeagent.safeguards.profile import MOST_CERTIFIED_FPIR
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import write_atomic

LONGEST_DAYS = 1096


@click.command()
@click.argument("report", type=FILE)
@click.option("--evaluator", "key_file", required=True, type=FILE, help="Evaluator's private key.")
@out_option
@click.option(
    "--floor-fpir",
    default=0.001,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="No larger share of people not on the list may give an alert.",
)
@click.option(
    "--valid-days",
    default=365,
    show_default=True,
    type=click.IntRange(1, LONGEST_DAYS),
    help="No deployment may end later.",
)
@click.option("--dataset", default="not named", show_default=True, help="Whose pictures these are, in words.")
@click.option(
    "--volunteers",
    is_flag=True,
    help="Attest that everybody measured consented and said themselves to which group they belong.",
)
@json_option
def certify(
    report: Path,
    key_file: Path,
    out: Path,
    floor_fpir: float,
    valid_days: int,
    dataset: str,
    volunteers: bool,
    as_json: bool,
) -> None:
    """Sign an evaluation certificate from REPORT, the report.json of an evaluation.

    For every list size of the report, the lowest threshold whose false positive identification rate is shown
    to be at most --floor-fpir: the upper end of its 95 % interval, counted in people, not in pictures. Longer
    lists are not covered. Without --volunteers the certificate is for benches only (R28).
    """
    identity = identity_with_role(key_file, Role.EVALUATOR)
    order = Order(
        floor_fpir=floor_fpir,
        dataset=dataset,
        volunteers_attested=volunteers,
        issued_at=SystemClock().now().wall,
        valid=timedelta(days=valid_days),
    )
    certified = read_and_certify(report, order)
    document = sign(CERTIFICATE, certified.certificate, identity)
    write_atomic(out, document)
    if as_json:
        click.echo(json.dumps(_for_program(out, document, certified)))
    else:
        _print(out, certified, identity)


def _not_live(certificate: Certificate) -> str:
    """Why a live unit would refuse it whatever the deployment; empty if it would not."""
    try:
        fit_for_live(certificate)
        promise_allowed(certificate.floors[0], MOST_CERTIFIED_FPIR)
    except SafeguardError as refusal:
        return f"{refusal.what} [{refusal.rule}]"
    return ""


def _for_program(out: Path, document: bytes, certified: Certified) -> dict[str, Any]:
    certificate = certified.certificate
    return {
        "file": str(out),
        "sha256": hashlib.sha256(document).hexdigest(),
        "not_covered": list(certified.not_covered),
        "not_for_live_use": _not_live(certificate) or None,
        **certificate.model_dump(mode="json"),
    }


def _print(out: Path, certified: Certified, identity: Identity) -> None:
    certificate = certified.certificate
    pack, until = certificate.model_pack_sha256[:16], certificate.expires_at
    click.echo(f"{out}: certificate of model pack {pack}… until {until:%Y-%m-%d}, signed by {identity.name}")
    for floor in certificate.floors:
        tpir = "not measured" if floor.tpir is None else f"{floor.tpir:.1%} of {floor.sought:,}"
        click.echo(
            f"  lists up to {floor.entries}: threshold at least {floor.threshold:g}, "
            f"FPIR at most {floor.fpir:g} ({floor.falsely_matched:,} of {floor.people:,} people), TPIR {tpir}"
        )
    for line in certified.not_covered:
        click.echo(f"  not covered: {line}")
    left = certificate.excluded
    click.echo(
        f"  left out by hand: {left.pictures:,} pictures of {left.people:,} people; seed {certificate.seed}"
    )
    for line in group_findings(certificate):
        click.echo(f"  groups: {plain(line)}")
    why = _not_live(certificate)
    click.echo(f"  live use: {f'REFUSED: {plain(why)}' if why else 'allowed at or above these thresholds'}")
