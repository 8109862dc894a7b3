"""`edgeagent watchlist ask` and `check-proof`: "was I on that list?", also when it is gone (R31)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgeagent.cli.options import FILE, json_option, open_trust, trust_options
from edgeagent.documents.commitments import COMMITMENTS_LIMIT, PROOF_LIMIT, SALT_LIMIT, Proof, answer, check
from edgeagent.documents.parse import parse
from edgeagent.documents.table import WATCHLIST
from edgeagent.system.clock import SystemClock
from edgeagent.system.files import read_bounded, write_atomic


@click.command()
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


@click.command("check-proof")
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
