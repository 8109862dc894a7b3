"""`edgeagent watchlist`: build a list for one deployment, and read one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.interruption import progress
from edgeagent.cli.options import (
    FILE,
    FOLDER,
    identity_with_role,
    json_option,
    open_trust,
    out_option,
    trust_options,
)
from edgeagent.cli.watchlist_proof import ask, check_proof
from edgeagent.controlroom.commitments import ListFiles
from edgeagent.controlroom.enrolment_csv import Row, read_rows
from edgeagent.controlroom.list_page import About, FalseAlerts, false_alerts, render
from edgeagent.controlroom.work_file import WorkFile
from edgeagent.controlroom.workshop import Enrolled, Work, enrol
from edgeagent.documents.commitments import commit_all
from edgeagent.documents.deployment_key import DEPLOYMENT_KEY, DeploymentKey, verify_key
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.table import CERTIFICATE, verify
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.watchlist_file import FILE_LIMIT, pack, verify_watchlist
from edgeagent.errors import DocumentError, EnrolmentError, SafeguardError
from edgeagent.safeguards.certificate import Certificate
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.watchlist import Terms, needs_approval
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic
from edgeagent.system.modelpack import default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.quality import Limits

REFUSALS_SHOWN = 20


@click.group()
def watchlist() -> None:
    """Build and read the watchlist of one deployment."""


@watchlist.command()
@click.option("--images", required=True, type=FOLDER, help="Folder of images, one face each.")
@click.option("--csv", "csv_file", required=True, type=FILE, help="One row an image; all columns mandatory.")
@click.option("--deployment", required=True, help="Deployment identifier, as in the authority.")
@click.option(
    "--unit-key",
    "unit_keys",
    multiple=True,
    required=True,
    type=FILE,
    help="What `keys deployment` wrote on a unit that may open it; repeat for each.",
)
@click.option(
    "--key", "key_file", type=FILE, help="Watchlist officer's private key; not needed with --check."
)
@click.option("--approver-key", type=FILE, help="Independent approver's key, where a category needs it.")
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    help="How long the list is valid from now; the profile's longest deployment if left out.",
)
@click.option(
    "--sequence",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="One more than the deployment's last list.",
)
@click.option("--page", type=FILE, help="Write a page to read before signing (HTML).")
@click.option("--certificate", type=FILE, help="Evaluation certificate, for the expected false alerts.")
@click.option("--models", "models_folder", type=FOLDER, help="Model pack; the installed one if left out.")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Threshold that the authority will name.")
@click.option("--check", "only_check", is_flag=True, help="Enrol and write the page; sign and seal nothing.")
@trust_options
@out_option
@json_option
def build(
    images: Path,
    csv_file: Path,
    unit_keys: tuple[Path, ...],
    key_file: Path | None,
    approver_key: Path | None,
    page: Path | None,
    certificate: Path | None,
    models_folder: Path | None,
    threshold: float | None,
    only_check: bool,
    trust_file: Path,
    root: str,
    out: Path,
    as_json: bool,
    **order: Any,
) -> None:
    """Build, sign and seal a list. Any row that cannot be enrolled refuses the whole list (R7).

    Signing says: every image is lawfully held and every listing is necessary. An interrupted build goes on
    where it was when the same command is given again; until then OUT.work holds templates.
    """
    trust, now, files = open_trust(trust_file, root), SystemClock().now(), ListFiles(out)
    files.refuse_existing()
    order["hours"] = _hours(order["hours"], trust)
    keys = _unit_keys(unit_keys, order["deployment"], trust, now)
    signers = [] if only_check else _signers(key_file, approver_key)
    rows = _rows(csv_file, trust)
    models = load_pack(models_folder or default_pack_folder())
    proof = _certificate(certificate, models.sha256, trust, now)
    expected = false_alerts(proof, threshold, len(rows))
    detector, embedder = detector_of(models), embedder_of(models)
    with WorkFile(files.work, embedder.dimensions) as work:
        alike = models.model("embedder").alike
        enrolled = _enrol(rows, images, detector, embedder, Work(work, models.sha256), now, alike)
        try:
            about = _about(order, keys, trust, models.sha256, now)
            if page is not None:
                text = render(about, rows, enrolled.refusals, expected)
                write_atomic(page, text.encode(), mode=0o600)
            _refuse_defects(enrolled, len(rows), csv_file)
            terms = _describe(enrolled, about)
            click.echo(f"expected false alerts: {expected.text}", err=True)  # R9: before signing
            said = _summary(terms, expected)
            if only_check:
                said["work_file"] = f"{files.work} holds templates until the list is built; else delete it"
            else:
                said |= _seal(enrolled, terms, keys, signers, files)
                work.destroy()
        finally:
            enrolled.templates.fill(0)
    width = max(map(len, said))
    table = "\n".join(f"{name:{width}} {value}" for name, value in said.items())
    click.echo(json.dumps(said) if as_json else table)


def _hours(wanted: float | None, trust: TrustStore) -> float:
    """How long the list is valid; units refuse more than the profile's longest deployment (R6)."""
    most = trust.profile.deployment_max_h
    if wanted is not None and not wanted <= most:  # so that nan is refused too
        raise SafeguardError(
            f"{wanted:g} h is longer than the profile's {most:g} h (deployment_max_h); units would refuse it",
            where="--hours",
            next_step=f"give {most:g} or less, or leave it out",
            rule="R6",
        )
    return most if wanted is None else wanted


def _signers(key_file: Path | None, approver_key: Path | None) -> list[Identity]:
    if key_file is None:
        raise click.UsageError("Missing option '--key' (or use --check).")
    signers = [identity_with_role(key_file, Role.WATCHLIST_OFFICER)]
    if approver_key is not None:
        signers.append(identity_with_role(approver_key, Role.INDEPENDENT_APPROVER))
    return signers


def _certificate(file: Path | None, pack_sha256: str, trust: TrustStore, now: Instant) -> Certificate | None:
    if file is None:
        return None
    certificate = verify(CERTIFICATE, read_bounded(file, CERTIFICATE.limit), trust, now).body
    if certificate.model_pack_sha256 != pack_sha256:
        raise SafeguardError(
            "is for another model pack",
            where=str(file),
            next_step="use the certificate of the installed model pack",
            rule="R28",
        )
    return certificate


def _seal(
    enrolled: Enrolled, terms: Terms, keys: list[DeploymentKey], signers: list[Identity], files: ListFiles
) -> dict[str, Any]:
    _check_approval(terms, signers)
    committed = commit_all(terms.deployment, {entry.person for entry in enrolled.entries})
    content = pack(
        terms, enrolled.entries, enrolled.templates, keys, *signers, commitments_sha256=committed.sha256
    )
    files.write(content, committed)
    salt = f"{files.salt} (give it to the salt holder, never to a unit)"
    return {"file": str(files.out), "sha256": hashlib.sha256(content).hexdigest(), "salt": salt}


def _summary(terms: Terms, expected: FalseAlerts) -> dict[str, Any]:
    return {
        "deployment": terms.deployment,
        "entries": terms.entries,
        "counts": {str(category): count for category, count in terms.counts.items()},
        "valid_until": terms.not_after.isoformat(),
        "false_alerts_per_10000": expected.most,
        "false_alerts": expected.text,
    }


def _unit_keys(
    files: tuple[Path, ...], deployment: str, trust: TrustStore, now: Instant
) -> list[DeploymentKey]:
    """The verified one-time keys, one a unit (R6)."""
    keys: list[DeploymentKey] = []
    for file in files:
        key = verify_key(read_bounded(file, DEPLOYMENT_KEY.limit), deployment, trust, now)
        if key.unit in {other.unit for other in keys}:
            raise DocumentError(
                f"is a second key of {key.unit}", where=str(file), next_step="give one key a unit"
            )
        keys.append(key)
    return keys


def _rows(csv_file: Path, trust: TrustStore) -> list[Row]:
    rows = read_rows(csv_file)
    if len(rows) > trust.profile.watchlist_max_entries:
        raise SafeguardError(
            f"{len(rows)} rows, cap {trust.profile.watchlist_max_entries}",
            where=str(csv_file),
            next_step="list fewer people",
            rule="R9",
        )
    return rows


def _enrol(
    rows: list[Row],
    images: Path,
    detector: Detector,
    embedder: Embedder,
    work: Work,
    now: Instant,
    alike: float,
) -> Enrolled:
    if len(work.file):
        click.echo(f"going on: {len(work.file)} images were enrolled before ({work.file.path})", err=True)
    try:
        with progress(len(rows), "enrolling") as done:
            return enrol(
                rows,
                images,
                detector,
                embedder,
                limits=Limits(),
                today=now.wall.date(),
                on_row=lambda: done(1),
                work=work,
                alike=alike,
            )
    except KeyboardInterrupt:
        kept = f"{len(work.file)} of {len(rows)} are kept in {work.file.path}"
        click.echo(f"\n{kept}; the same command goes on", err=True)
        raise


def _refuse_defects(enrolled: Enrolled, rows: int, csv_file: Path) -> None:
    if not enrolled.refusals:
        return
    for refusal in enrolled.refusals[:REFUSALS_SHOWN]:
        click.echo(f"entry {refusal.entry}: {refusal.reason}", err=True)
    raise EnrolmentError(
        f"{len(enrolled.refusals)} of {rows} rows cannot be enrolled",
        where=str(csv_file),
        next_step="replace those images, or take the rows out; no list was written",
        rule="R7",
    )


def _about(
    order: dict[str, Any], keys: list[DeploymentKey], trust: TrustStore, pack_sha256: str, now: Instant
) -> About:
    return About(
        deployment=order["deployment"],
        sequence=order["sequence"],
        units=tuple(key.unit for key in keys),
        not_before=now.wall,
        not_after=now.wall + timedelta(hours=order["hours"]),
        cap=trust.profile.watchlist_max_entries,
        profile=trust.profile.name,
        model_pack_sha256=pack_sha256,
        today=now.wall.date(),
    )


def _describe(enrolled: Enrolled, about: About) -> Terms:
    return Terms(
        deployment=about.deployment,
        sequence=about.sequence,
        created_at=about.not_before,
        not_before=about.not_before,
        not_after=about.not_after,
        model_pack_sha256=about.model_pack_sha256,
        entries=len(enrolled.entries),
        dimension=enrolled.templates.shape[1],
        counts=dict(Counter(entry.category for entry in enrolled.entries)),
        under_18=sum(entry.under_18 for entry in enrolled.entries),
        lawful_retention_attested=True,
    )


def _check_approval(terms: Terms, signers: list[Identity]) -> None:
    if needs_approval(terms) and len(signers) < 2:
        raise SafeguardError(
            "under-18s, associates, witnesses and victims need an independent approver's signature",
            where="watchlist",
            next_step="sign it with --approver-key too",
            rule="R10" if terms.under_18 else "R8",
        )


@watchlist.command()
@click.argument("file", type=FILE)
@trust_options
@json_option
def inspect(file: Path, trust_file: Path, root: str, as_json: bool) -> None:
    """Verify FILE and print its manifest; the entries stay closed."""
    sealed = verify_watchlist(
        read_bounded(file, FILE_LIMIT), open_trust(trust_file, root), SystemClock().now()
    )
    said = sealed.manifest.model_dump(mode="json", exclude={"sealed_keys"})
    said["units"] = [key.unit for key in sealed.manifest.sealed_keys]
    said["approved"] = sealed.approved
    said["sha256"] = sealed.sha256
    click.echo(
        json.dumps(said) if as_json else "\n".join(f"{name:26} {value}" for name, value in said.items())
    )


watchlist.add_command(ask)
watchlist.add_command(check_proof)
