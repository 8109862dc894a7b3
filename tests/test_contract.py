"""The contract for integrators says what is so, by the program itself and by other people's tools."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError

from edgeagent.alerts.contract import CHANNELS, UNIT_NAME, Channel, document, envelope_schema, text
from edgeagent.alerts.received import received
from edgeagent.alerts.topics import FROM_UNIT, TO_UNIT, Topics
from edgeagent.documents.explain import KINDS
from edgeagent.documents.jws import unbase64url
from edgeagent.documents.keys import Role
from edgeagent.documents.messages import Alert
from edgeagent.documents.schemas import schema
from edgeagent.documents.seal import crop_info, unseal
from edgeagent.documents.table import REVOCATION
from edgeagent.documents.trust import open_trust_store
from edgeagent.errors import DocumentError
from edgeagent.safeguards.authority import Kind, UnitName
from tests.bench_unit import CLOCK
from tests.contract.desk_process import NODE, require_node
from tests.contract.examples import NOW, PEOPLE, keys, said, trust_store
from tests.contract.page import filled
from tests.desk import Desk

ROOT = Path(__file__).parents[1]
DOCS, CONTRACT = ROOT / "docs", ROOT / "tests" / "contract"
PAGE = DOCS / "integrators.md"
MOST_LINES = 30
EACH = pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
TRUST = open_trust_store(trust_store(), PEOPLE[Role.ROOT].kid)


def example(name: str) -> Any:
    """A file of docs/examples."""
    return json.loads((DOCS / "examples" / f"{name}.json").read_text())


def message(channel: Channel) -> bytes:
    """The example as it is on the wire."""
    return (DOCS / "examples" / f"{channel.name}.json").read_bytes()


# --- the AsyncAPI document ----------------------------------------------------------------------------------


def test_it_is_up_to_date() -> None:
    assert (DOCS / "asyncapi.json").read_text() == text(DOCS), "run: make schemas"


def test_it_has_every_topic_that_anything_is_published_on() -> None:
    published = set(FROM_UNIT + TO_UNIT)
    assert {channel.name for channel in CHANNELS} == published
    assert {channel.name for channel in CHANNELS if channel.from_unit} == published & set(FROM_UNIT)
    assert {channel.name for channel in CHANNELS if channel.retained} == {"state", "revocation"}


@pytest.mark.parametrize("bench", [False, True])
@EACH
def test_its_addresses_are_the_programs(channel: Channel, bench: bool) -> None:
    made = document({channel.name: None for channel in CHANNELS})["channels"][channel.name]
    live, test = made["parameters"]["root"]["enum"]
    address = made["address"].format(root=test if bench else live, unit="unit-01")
    assert address == getattr(Topics("unit-01", bench=bench), channel.name)


def test_its_unit_names_are_the_programs() -> None:
    assert UNIT_NAME in str(UnitName)


def by_the_parser(file: Path) -> subprocess.CompletedProcess[str]:
    require_node()
    return subprocess.run(
        [NODE, CONTRACT / "check_asyncapi.mjs", file], capture_output=True, text=True, timeout=60, check=False
    )


def test_asyncapis_own_parser_takes_it_and_cloudevents_takes_its_examples() -> None:
    checked = by_the_parser(DOCS / "asyncapi.json")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == f"{len(CHANNELS)} channels, {len(CHANNELS)} examples\n"


@pytest.mark.parametrize(
    "path",
    [
        ("info", "title"),
        ("operations", "alert", "action"),
        ("components", "messages", "lease"),
        ("components", "messages", "alert", "examples", 0, "payload", "source"),
    ],
    ids=str,
)
def test_a_document_with_a_part_missing_is_refused(path: tuple[str | int, ...], tmp_path: Path) -> None:
    whole = json.loads((DOCS / "asyncapi.json").read_text())
    part = whole
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    (tmp_path / "asyncapi.json").write_text(json.dumps(whole))
    assert by_the_parser(tmp_path / "asyncapi.json").returncode != 0


# --- the examples -------------------------------------------------------------------------------------------


@EACH
def test_an_example_fits_its_schemas_and_an_altered_one_does_not(channel: Channel) -> None:
    envelope, check = example(channel.name), Draft7Validator(envelope_schema(channel))
    check.validate(envelope)
    for name in envelope:
        for altered in ({key: envelope[key] for key in envelope if key != name}, envelope | {name: 1}):
            with pytest.raises(ValidationError):
                check.validate(altered)
    with pytest.raises(ValidationError):
        check.validate(envelope | {"type": "edgeagent.other.v1"})
    with pytest.raises(ValidationError):
        check.validate(envelope | {"extra": 1})


@EACH
def test_what_an_example_says_fits_both_copies_of_its_schema(channel: Channel) -> None:
    content = said(channel.kind, message(channel))
    assert content == example(f"{channel.name}.said")
    inlined = envelope_schema(channel)["properties"]["data"]["contentSchema"]
    assert "$ref" not in json.dumps(inlined)
    for one in (inlined, schema(channel.kind.typ)):
        Draft202012Validator.check_schema(one)
        Draft202012Validator(one).validate(content)
        with pytest.raises(ValidationError):
            Draft202012Validator(one).validate(content | {"extra": 1})


@EACH
def test_an_example_verifies_and_has_every_field(channel: Channel) -> None:
    verified = received(channel.kind, message(channel), TRUST, NOW)
    assert set(example(f"{channel.name}.said")) == set(channel.kind.model.model_fields)
    assert getattr(verified.body, "kind", Kind.BENCH) is Kind.BENCH  # no example is a live one


def test_the_verdict_holds_a_decision_that_verifies() -> None:
    decision = example("verdict.said")["decision"].encode()
    kind = KINDS["edgeagent-decision"]
    assert example("alert.said")["alert"] in unbase64url(decision.split(b".")[1]).decode()
    assert len(decision) <= kind.limit


def test_the_alerts_picture_opens_with_the_example_key() -> None:
    alert = received(CHANNELS[0].kind, message(CHANNELS[0]), TRUST, NOW).body
    assert isinstance(alert, Alert)
    info = crop_info(alert.unit, alert.alert)
    jpeg = unseal(unbase64url(alert.crop), PEOPLE[Role.CONTROL_ROOM].sealing, info)
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (112, 112, 3)


def test_the_example_keys_and_trust_store_are_those_of_the_code() -> None:
    assert example("keys") == json.loads(json.dumps(keys()))
    assert "EXAMPLE ONLY" in example("keys")["warning"]
    assert example("trust-store") == json.loads(trust_store())


@EACH
def test_nobody_can_come_to_trust_an_example(channel: Channel, desk: Desk) -> None:
    with pytest.raises(DocumentError, match="not in the trust store"):
        received(channel.kind, message(channel), desk.trust, NOW)
    if channel.kind is not REVOCATION:  # counts whatever the clock says, and ends a deployment that never was
        with pytest.raises(DocumentError, match="not valid now"):
            received(channel.kind, message(channel), TRUST, CLOCK.now())


def test_no_configuration_pins_the_examples_root() -> None:
    root = PEOPLE[Role.ROOT].kid
    files = [f for d in ("edgeagent", "deploy") for f in (ROOT / d).rglob("*") if f.is_file()]
    assert files
    assert not [file.name for file in files if root.encode() in file.read_bytes()]


# --- the page and its programs ------------------------------------------------------------------------------


def test_the_page_shows_the_programs_that_are_tested() -> None:
    page = PAGE.read_text()
    assert page == filled(page), "run: make schemas"
    assert page.count("<!-- end -->") == 4


def test_the_page_names_every_channel() -> None:
    page = PAGE.read_text()
    for channel in CHANNELS:
        assert f"\n| `{channel.name}` |" in page


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()))))
def test_every_link_of_the_page_leads_somewhere(path: str) -> None:
    assert (DOCS / path).exists()


def code_lines(file: Path) -> int:
    """Lines that are neither blank nor comment nor import."""
    source = file.read_text()
    if file.suffix == ".mjs":
        return len(
            [one for one in source.splitlines() if one.strip() and not re.match(r"\s*//|import ", one)]
        )
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and (is_text or isinstance(node, ast.Import | ast.ImportFrom)):
            left_out |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), 1)
    return len([n for n, one in lines if n not in left_out and one.strip() and not one.startswith("#")])


@pytest.mark.parametrize("name", ["verify.py", "subscriber.py", "verify.mjs", "subscriber.mjs"])
def test_each_program_is_short_and_takes_nothing_from_edgeagent(name: str) -> None:
    assert code_lines(CONTRACT / name) <= MOST_LINES
    assert not re.search(r"(from|import) .*edgeagent", (CONTRACT / name).read_text())


def test_the_packages_are_pinned_by_hash_and_no_registry_is_named() -> None:
    lock = json.loads((CONTRACT / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert not [name for name, one in packages.items() if "resolved" in one or "integrity" not in one]
    wanted = json.loads((CONTRACT / "package.json").read_text())
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert packages[f"node_modules/{name}"]["version"] == version
