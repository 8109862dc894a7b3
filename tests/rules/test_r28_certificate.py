"""R28: no model is used live without a signed evaluation of itself, per group of volunteers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from edgeagent.agent.deployment import load_deployment
from edgeagent.documents.keys import Role
from edgeagent.documents.sequence import HighWater
from edgeagent.documents.table import CERTIFICATE
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.certificate import threshold_allowed
from tests.desk import (
    END,
    NOW,
    Desk,
    Folder,
    certificate,
    difference,
    group,
    profile,
    raw_document,
    test_subject,
)


def test_no_certificate_no_live_use(desk: Desk) -> None:
    with pytest.raises(SafeguardError, match="no evaluation certificate") as refusal:
        threshold_allowed(desk.authority(), None, profile(), entries=8)
    assert refusal.value.rule == "R28"
    threshold_allowed(desk.bench_authority(), None, profile(), entries=8)  # how else would one be made


@pytest.mark.parametrize("bench", [False, True])
def test_a_certificate_of_another_model_counts_for_nothing(bench: bool, desk: Desk) -> None:
    authority = desk.bench_authority() if bench else desk.authority()
    with pytest.raises(SafeguardError, match="another model pack") as refusal:
        threshold_allowed(authority, certificate(model_pack_sha256="00" * 32), profile(), entries=8)
    assert refusal.value.rule == "R28"


def test_an_evaluation_without_groups_is_not_enough_for_live_use(desk: Desk) -> None:
    untested = certificate(groups_tested=())
    with pytest.raises(SafeguardError, match="no group") as refusal:
        threshold_allowed(desk.authority(), untested, profile(), entries=8)
    assert refusal.value.rule == "R28"
    threshold_allowed(desk.bench_authority(), untested, profile(), entries=8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"volunteers_attested": False}, "not attested as volunteers"),
        ({"groups_tested": (group("alone"),)}, "only one group"),
        ({"differences": (difference(),)}, "the FPIR differs between groups, to the burden of group b"),
        (
            {"differences": (difference(rate="failure_to_acquire"),)},
            "the failure to acquire differs between groups, to the burden of group b",
        ),
        ({"expires_at": END - timedelta(seconds=1)}, "before the deployment ends"),
    ],
)
def test_what_live_use_refuses_without_exception(changes: dict[str, Any], says: str, desk: Desk) -> None:
    threshold_allowed(desk.authority(), certificate(), profile(), entries=8)
    with pytest.raises(SafeguardError, match=says) as refusal:
        threshold_allowed(desk.authority(), certificate(**changes), profile(), entries=8)
    assert refusal.value.rule == "R28"
    if "expires_at" not in changes:  # an expired one counts for nothing anywhere
        threshold_allowed(desk.bench_authority(), certificate(**changes), profile(), entries=8)


def test_a_certificate_may_end_with_the_deployment_but_not_before(desk: Desk) -> None:
    threshold_allowed(desk.authority(), certificate(expires_at=END), profile(), entries=8)
    with pytest.raises(SafeguardError, match="before the deployment ends"):
        threshold_allowed(
            desk.bench_authority(), certificate(expires_at=END - timedelta(seconds=1)), profile(), entries=8
        )


@pytest.mark.parametrize("label", ["", " ", "x" * 81])
def test_a_group_has_a_name(label: str) -> None:
    with pytest.raises(ValidationError, match="label"):
        group(label)


@pytest.mark.parametrize("changes", [{"floors": ()}, {"model_pack_sha256": "x"}, {"report_sha256": ""}])
def test_a_certificate_says_everything(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        certificate(**changes)


def _load(folder: Folder) -> None:
    load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), NOW)


def test_a_live_deployment_loads_only_with_its_certificate(folder: Folder) -> None:
    folder.put()
    _load(folder)
    for wrong in (certificate(model_pack_sha256="00" * 32), certificate(groups_tested=())):
        folder.put(certificate_of=wrong)
        with pytest.raises(SafeguardError):
            _load(folder)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.EVALUATOR])
def test_nobody_but_an_evaluator_certifies(role: Role, folder: Folder, desk: Desk) -> None:
    folder.put()
    payload = certificate().model_dump_json().encode()
    (folder.path / "certificate.json").write_bytes(raw_document(CERTIFICATE, payload, desk[role]))
    with pytest.raises(DocumentError):
        _load(folder)


def test_a_bench_needs_none_but_must_not_have_a_wrong_one(folder: Folder) -> None:
    folder.put(entries=[test_subject(n) for n in range(3)], bench=True)
    unit = folder.unit(source="scene:/srv/scene.toml")
    load_deployment(unit, HighWater(folder.path / "seen.json"), NOW)
    folder.put(
        entries=[test_subject(n) for n in range(3)],
        bench=True,
        certificate_of=certificate(model_pack_sha256="00" * 32),
    )
    with pytest.raises(SafeguardError, match="another model pack"):
        load_deployment(unit, HighWater(folder.path / "seen.json"), NOW)


def test_a_certificate_signed_in_the_future_is_refused(folder: Folder) -> None:
    folder.put(certificate_of=certificate(issued_at=NOW.wall + timedelta(hours=1)))
    with pytest.raises(DocumentError, match="signed in the future"):
        load_deployment(folder.unit(), HighWater(folder.path / "seen.json"), NOW)
