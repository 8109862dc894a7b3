"""R18, R28 end to end: the daemon takes no live deployment without a certificate that covers all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edgeagent.documents.jws import strict_json, unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.table import CERTIFICATE
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from tests.bench_unit import Bench, Office, Watch, make_bench, subject
from tests.desk import difference, floor, group, raw_document

CAMERA = "v4l2:/dev/video99"  # no such device, and it is never looked for
STRANGERS = Office(seed=5)
WANTED = subject(2, Category.WANTED_ON_WARRANT)
Make = Callable[[Office], bytes]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A unit with a live authority for threshold 0.5 and a list of two; only its certificate changes."""
    for bench in make_bench(tmp_path_factory.mktemp("live"), source=CAMERA, certificate=True):
        bench.put(kind=Kind.LIVE, entries=(subject(), WANTED))
        yield bench


def changed(**changes: Any) -> Make:
    return lambda office: office.certificate(**changes)


def altered(office: Office) -> bytes:
    """The threshold of the floor lowered under the old signature."""
    document = office.certificate(floors=(floor(100, 0.6),))
    return document[:200] + bytes([document[200] ^ 1]) + document[201:]


def signed_raw(role: Role, **floor_changes: Any) -> Make:
    """Genuinely signed by whoever has the role, whatever the product would say of it."""

    def make(office: Office) -> bytes:
        said = json.loads(unbase64url(strict_json(office.certificate())["payload"]))
        said["floors"][0] |= floor_changes
        return raw_document(CERTIFICATE, json.dumps(said).encode(), office[role])

    return make


NOW = datetime.now(UTC)
CASES: dict[str, tuple[Make, str]] = {
    "another model pack": (changed(model_pack_sha256="00" * 32), r"is for another model pack \[R28\]"),
    "altered": (altered, r"edgeagent-certificate: "),
    "a stranger's": (lambda _: STRANGERS.certificate(), r"edgeagent-certificate: .*key"),
    "no groups": (
        changed(groups_tested=(), groups_threshold=None, groups_fpir=None),
        r"no group of volunteers was tested \[R28\]",
    ),
    "one group": (changed(groups_tested=(group("a"),)), r"only one group of volunteers was tested \[R28\]"),
    "a difference": (changed(differences=(difference(),)), r"the FPIR differs between groups.*\[R28\]"),
    "no volunteers": (changed(volunteers_attested=False), r"not attested as volunteers \[R28\]"),
    "below the floor": (
        changed(floors=(floor(100, 0.51),)),
        r"threshold 0\.5 is below the certified floor 0\.51 \[R18\]",
    ),
    "list too long": (changed(floors=(floor(1, 0.45),)), r"covers no list of 2 entries \[R18\]"),
    "from the future": (
        changed(issued_at=NOW + timedelta(hours=1), expires_at=NOW + timedelta(days=1)),
        r"was signed in the future",
    ),
    "expired": (
        changed(issued_at=NOW - timedelta(days=2), expires_at=NOW - timedelta(days=1)),
        r"expires at .*, before the deployment ends \[R28\]",
    ),
    "expires before the end": (
        changed(expires_at=NOW + timedelta(hours=1)),
        r"expires at .*, before the deployment ends \[R28\]",
    ),
    "an officer's": (signed_raw(Role.AUTHORISING_OFFICER), r"may not be signed by a authorising_officer key"),
    "promises more than it shows": (
        signed_raw(Role.EVALUATOR, people=3688, fpir=0.0001),
        r"floor for 100 entries promises more than its counts support",
    ),
}


@pytest.mark.parametrize(("make", "pattern"), CASES.values(), ids=CASES)
def test_the_daemon_refuses(make: Make, pattern: str, live: Bench) -> None:
    (live.path / "certificate.json").write_bytes(make(live.office))
    with Watch(live, bench_topics=False) as watch, live.unit() as unit:
        watch.problem(pattern)
        assert unit.capture_children() == []


def test_the_daemon_refuses_without_one(live: Bench) -> None:
    usual = live.config.read_text()
    live.config.write_text(usual.replace('certificate = "certificate.json"\n', ""))
    try:
        with Watch(live, bench_topics=False) as watch, live.unit():
            watch.problem(r"no evaluation certificate: the model may not be used live \[R28\]")
    finally:
        live.config.write_text(usual)


def test_the_daemon_takes_what_fits_and_then_nothing_older(live: Bench) -> None:
    """R19: what shows that the refusals above were for the reason they gave."""
    (live.path / "certificate.json").write_bytes(live.office.certificate())
    with Watch(live, bench_topics=False) as watch, live.unit():
        assert watch.ready().kind is Kind.LIVE
    older = live.office.certificate(issued_at=NOW - timedelta(days=3), floors=(floor(100, 0.45),))
    (live.path / "certificate.json").write_bytes(older)
    with Watch(live, bench_topics=False) as watch, live.unit():
        watch.problem(r"certificate of model pack .*: has sequence \d+; \d+ was seen before")
