"""`edgeagent watchlist`: build a list for one deployment, and read one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import click

from edgeagent.cli.options import (
    FILE,
    FOLDER,
    identity_with_role,
    json_option,
    open_trust,
    out_option,
    trust_options,
)
from edgeagent.controlroom.commitments import ListFiles
from edgeagent.controlroom.enrolment_csv import read_rows
from edgeagent.controlroom.workshop import Enrolled, enrol
from edgeagent.documents.commitments import (
    COMMITMENTS_LIMIT,
    PROOF_LIMIT,
    SALT_LIMIT,
    Proof,
    answer,
    check,
    commit_all,
)
from edgeagent.documents.deployment_key import DEPLOYMENT_KEY, DeploymentKey, verify_key
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.parse import parse
from edgeagent.documents.table import WATCHLIST
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.watchlist_file import FILE_LIMIT, pack, verify_watchlist
from edgeagent.errors import DocumentError, EnrolmentError, SafeguardError
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.watchlist import Terms, needs_approval
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic
from edgeagent.system.modelpack import default_pack_folder, load_pack
from edgeagent.system.networks import detector_of, embedder_of
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
@click.option("--key", "key_file", required=True, type=FILE, help="Watchlist officer's private key.")
@click.option("--approver-key", type=FILE, help="Independent approver's key, where a category needs it.")
@click.option(
    "--hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0, 168, min_open=True),
    help="How long the list is valid from now.",
)
@click.option(
    "--sequence",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="One more than the deployment's last list.",
)
@trust_options
@out_option
@json_option
def build(
    images: Path,
    csv_file: Path,
    deployment: str,
    unit_keys: tuple[Path, ...],
    key_file: Path,
    approver_key: Path | None,
    hours: float,
    sequence: int,
    trust_file: Path,
    root: str,
    out: Path,
    as_json: bool,
) -> None:
    """Build, sign and seal a list. Any row that cannot be enrolled refuses the whole list (R7).

    Signing says: every image is lawfully held and every listing is necessary.
    """
    trust, now, files = open_trust(trust_file, root), SystemClock().now(), ListFiles(out)
    files.refuse_existing()
    keys = _unit_keys(unit_keys, deployment, trust, now)
    signers = [identity_with_role(key_file, Role.WATCHLIST_OFFICER)]
    if approver_key is not None:
        signers.append(identity_with_role(approver_key, Role.INDEPENDENT_APPROVER))
    enrolled, pack_sha256 = _enrol(images, csv_file, trust, now)
    _refuse_defects(enrolled, csv_file)
    terms = _describe(enrolled, deployment, sequence, hours, pack_sha256, now)
    _check_approval(terms, signers)
    committed = commit_all(deployment, {entry.person for entry in enrolled.entries})
    content = pack(
        terms, enrolled.entries, enrolled.templates, keys, *signers, commitments_sha256=committed.sha256
    )
    enrolled.templates.fill(0)
    files.write(content, committed)
    said = {
        "file": str(out),
        "sha256": hashlib.sha256(content).hexdigest(),
        "deployment": deployment,
        "entries": terms.entries,
        "counts": {str(category): count for category, count in terms.counts.items()},
        "valid_until": terms.not_after.isoformat(),
    }
    click.echo(
        json.dumps(said) if as_json else "\n".join(f"{name:12} {value}" for name, value in said.items())
    )


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


def _enrol(images: Path, csv_file: Path, trust: TrustStore, now: Instant) -> tuple[Enrolled, str]:
    rows = read_rows(csv_file)
    if len(rows) > trust.profile.watchlist_max_entries:
        raise SafeguardError(
            f"{len(rows)} rows, cap {trust.profile.watchlist_max_entries}",
            where=str(csv_file),
            next_step="list fewer people",
            rule="R9",
        )
    models = load_pack(default_pack_folder())
    detector, embedder = detector_of(models), embedder_of(models)
    with click.progressbar(length=len(rows), label="enrolling", file=sys.stderr) as bar:
        enrolled = enrol(
            rows,
            images,
            detector,
            embedder,
            limits=Limits(),
            today=now.wall.date(),
            on_row=lambda: bar.update(1),
        )
    return enrolled, models.sha256


def _refuse_defects(enrolled: Enrolled, csv_file: Path) -> None:
    if not enrolled.refusals:
        return
    for refusal in enrolled.refusals[:REFUSALS_SHOWN]:
        click.echo(f"entry {refusal.entry}: {refusal.reason}", err=True)
    rows = len(enrolled.refusals) + len(enrolled.entries)
    raise EnrolmentError(
        f"{len(enrolled.refusals)} of {rows} rows cannot be enrolled",
        where=str(csv_file),
        next_step="replace those images, or take the rows out; nothing was written",
        rule="R7",
    )


def _describe(
    enrolled: Enrolled, deployment: str, sequence: int, hours: float, pack_sha256: str, now: Instant
) -> Terms:
    return Terms(
        deployment=deployment,
        sequence=sequence,
        created_at=now.wall,
        not_before=now.wall,
        not_after=now.wall + timedelta(hours=hours),
        model_pack_sha256=pack_sha256,
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


@watchlist.command()
@click.argument("person")
@click.option("--manifest", required=True, type=FILE, help="The list's signed manifest.")
@click.option("--commitments", required=True, type=FILE, help="The list's commitments.")
@click.option("--salt", required=True, type=FILE, help="The list's salt, from whoever holds it.")
@click.option("--proof", type=FILE, default=None, help="Write the proof here; it holds the salt.")
@trust_options
@json_option
def ask(
    person: str,
    manifest: Path,
    commitments: Path,
    salt: Path,
    proof: Path | None,
    trust_file: Path,
    root: str,
    as_json: bool,
) -> None:
    """Say whether PERSON was on a list, also when the list is gone (R31).

    A proof shows the list's salt, with which its reader can ask about others too: give it to a court or an
    inspector, not to the public.
    """
    given = answer(
        person,
        read_bounded(manifest, WATCHLIST.limit),
        read_bounded(commitments, COMMITMENTS_LIMIT),
        read_bounded(salt, SALT_LIMIT),
        open_trust(trust_file, root),
        SystemClock().now(),
    )
    if proof is not None:
        write_atomic(proof, given.model_dump_json().encode() + b"\n", mode=0o600)
    click.echo(json.dumps(_answer(given)) if as_json else _sentence(given))


@watchlist.command("check-proof")
@click.argument("file", type=FILE)
@trust_options
@json_option
def check_proof(file: Path, trust_file: Path, root: str, as_json: bool) -> None:
    """Verify a proof FILE that somebody else made with `watchlist ask`; exit 2 if it proves nothing."""
    given = parse(Proof, read_bounded(file, PROOF_LIMIT), str(file))
    manifest = check(given, open_trust(trust_file, root), SystemClock().now())
    said = _answer(given) | {"sequence": manifest.sequence, "created_at": manifest.created_at.isoformat()}
    click.echo(json.dumps(said) if as_json else f"proved: {_sentence(given)}")


def _answer(proof: Proof) -> dict[str, str | int]:
    return {"person": proof.person, "deployment": proof.deployment, "present": proof.present}


def _sentence(proof: Proof) -> str:
    was = "was" if proof.present else "was NOT"
    return f"{proof.person} {was} on this list of deployment {proof.deployment}"
