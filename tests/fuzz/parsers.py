"""Every parser that reads what others wrote, with genuine input for each and what must hold of its answer.

A call may raise the named errors and nothing else; if it returns, the octets must mean what a genuine
document says, which the call itself asserts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from edgeagent.agent.checks import Place
from edgeagent.agent.explain import explain
from edgeagent.alerts.envelope import unwrap, wrap
from edgeagent.alerts.topics import FROM_UNIT, TO_UNIT, split_topic
from edgeagent.audit.verify import verify_log
from edgeagent.capture.protocol import Reply, Status
from edgeagent.config import load_config, load_desk_config
from edgeagent.controlroom.enrolment_csv import Row, read_rows
from edgeagent.documents.deployment_key import key_file, load_key, save_key
from edgeagent.documents.enrol_invitation import invitation_text, read_invitation
from edgeagent.documents.enrol_request import open_request
from edgeagent.documents.jws import strict_json
from edgeagent.documents.keys import Role, load_identity, save_identity
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.table import DocumentType, typ_of, verify
from edgeagent.documents.watchlist_file import verify_watchlist
from edgeagent.errors import AuditError
from edgeagent.evaluation.certify import Order, certify
from edgeagent.safeguards.binomial import clopper_pearson
from edgeagent.safeguards.model_use import research_only
from edgeagent.safeguards.sources import parse_source
from edgeagent.system.onnx_file import picture_inputs
from edgeagent.system.packimport import read_declaration
from tests.audit_logs import make_log
from tests.desk import DEPLOYMENT, NOW, UNIT, Desk, one_time, raw_document
from tests.enrol_samples import invitation, request
from tests.evaluation_reports import report
from tests.tampering import Subject, encoded, subjects
from tests.tiny_onnx import average_pool

DECLARATION = Path(__file__).parents[2] / "deploy/models/second.toml"
DESK = Desk()
ROOT = DESK[Role.ROOT].kid
SHARED = f"""
[trust]
store = "trust.json"
root = "{ROOT}"
[broker]
host = "broker.test"
port = 8883
ca = "ca.pem"
certificate = "c.pem"
key = "k.pem"
"""
UNIT_TOML = f"""{SHARED}
[unit]
name = "unit-1"
key = "unit.key"
[documents]
authority = "authority.json"
watchlist = "list.edgelist"
[data]
folder = "data"
[camera]
source = "v4l2:/dev/video0"
width = 1280
"""
DESK_TOML = f"""{SHARED}
[desk]
name = "desk"
key = "desk.key"
data = "data"
"""
ROW = "e1,p1,a.png,wanted_on_warrant,custody_convicted,2030-01-01,ref/1,1990-02-03,yes,"


@dataclass(frozen=True)
class Parser:
    """One parser; `call` raises a named error, ValueError if `plain`, or returns."""

    name: str
    genuine: tuple[bytes, ...]
    call: Callable[[bytes], object]
    plain: bool = False


def parsers(folder: Path) -> list[Parser]:
    """All of them; `folder` holds the files of those that read files."""
    return [*_documents(), *_files(folder), *_texts()]


def _documents() -> Iterator[Parser]:
    for subject in subjects():
        genuine, short = subject.signed(subject.body), subject.kind.typ.removeprefix("edgeagent-")
        yield Parser(f"document {short}", (genuine,), partial(_as_signed, subject))
        yield Parser(f"payload {short}", (encoded(subject.body),), partial(_hostile_signer, subject))
        if short in FROM_UNIT + TO_UNIT:
            message = wrap(short, genuine, identifier="1", source="s", time=NOW.wall)
            yield Parser(f"envelope {short}", (message,), partial(_envelope, subject, short))
    yield Parser("watchlist file", (DESK.watchlist(),), _watchlist)
    files = tuple(subject.signed(subject.body) for subject in subjects())
    yield Parser("explain", (*files, _LIST, _ALERT.message), _explain)
    asked = request(DESK)
    yield Parser("enrolment request", (asked,), partial(_request, open_request(asked)))
    yield Parser("typ_of", files[:1], lambda octets: _is_text(typ_of(octets)))


def _as_signed(subject: Subject, octets: bytes) -> None:
    taken: Any = subject.check(octets)
    body = taken.content if hasattr(taken, "content") else taken.body
    assert json.loads(body.model_dump_json()) == subject.body


def _hostile_signer(subject: Subject, payload: bytes) -> None:
    """Signed by the right key: whatever is taken has the model's fields, and comes back the same."""
    kind: DocumentType[Any] = subject.kind
    taken: Any = subject.check(raw_document(kind, payload, subject.signer))
    body = taken.content if hasattr(taken, "content") else taken.body
    assert set(strict_json(payload)) == set(kind.model.model_fields)
    assert kind.model.model_validate_json(body.model_dump_json()) == body


def _envelope(subject: Subject, short: str, octets: bytes) -> None:
    taken: Any = verify(subject.kind, unwrap(octets, short), DESK.trust, NOW)
    assert json.loads(taken.body.model_dump_json()) == subject.body


def _watchlist(octets: bytes) -> None:
    entries, templates = verify_watchlist(octets, DESK.trust, NOW).open(one_time())
    assert len(entries) == len(templates) == 8


_PLACE = Place(ROOT, DESK.trust, NOW)
_LIST, _ALERT = DESK.watchlist(), DESK.alert()
_SAID = [
    *(subject.body for subject in subjects()),
    json.loads(_ALERT.alert.model_dump_json()),
    json.loads(verify_watchlist(_LIST, DESK.trust, NOW).manifest.model_dump_json()),
]


def _explain(octets: bytes) -> None:
    explanation = explain(octets, _PLACE)
    assert explanation.checks
    assert all(text.isprintable() for _, text in [*explanation.says, *explanation.signers])
    if explanation.genuine:
        assert explanation.body is not None
        assert json.loads(explanation.body.model_dump_json()) in _SAID


def _request(genuine: object, octets: bytes) -> None:
    """Whoever alters a request has its key, so whatever is taken is the genuine one."""
    assert open_request(octets) == genuine


def _is_text(value: object) -> None:
    assert isinstance(value, str)


# --- files --------------------------------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[Parser]:
    file, data = folder / "file", folder / "data"
    key = one_time()
    held = key_file(data, DEPLOYMENT)
    identity_file = folder / "identity"
    save_identity(DESK.unit, identity_file)
    save_key(key, data)
    seen = folder / "seen.json"
    HighWater(seen).accept(Numbered("trust store", 3, "ab" * 32))
    header = ",".join(Row.model_fields)

    def reading(target: Path, call: Callable[[], object]) -> Callable[[bytes], object]:
        def run(octets: bytes) -> object:
            target.write_bytes(octets)
            target.chmod(0o600)
            return call()

        return run

    def config() -> None:
        assert str(load_config(file).source.target).startswith("/")  # R24

    def rows() -> None:
        assert all(row.lawful_retention == "yes" for row in read_rows(file))  # R11

    table = f"{header}\n{ROW}\n{ROW.replace('e1', 'e2')}\n".encode()
    yield Parser("enrolment CSV", (table, b"\xef\xbb\xbf" + table), reading(file, rows))
    yield Parser("configuration", (UNIT_TOML.encode(),), reading(file, config))
    yield Parser("desk configuration", (DESK_TOML.encode(),), reading(file, lambda: load_desk_config(file)))
    told = invitation_text(invitation(DESK))
    yield Parser("enrolment.toml", (told,), reading(file, lambda: read_invitation(file)))
    declaration = DECLARATION.read_bytes()
    yield Parser("model declaration", (declaration,), reading(file, lambda: _declared(file)))
    genuine = identity_file.read_bytes()
    yield Parser("key file", (genuine,), reading(identity_file, lambda: load_identity(identity_file)))
    one_time_file = held.read_bytes()
    yield Parser(
        "one-time key file", (one_time_file,), reading(held, lambda: load_key(data, UNIT, DEPLOYMENT))
    )
    yield Parser("sequence numbers", (seen.read_bytes(),), reading(seen, lambda: HighWater(seen)))
    yield _audit_log(folder / "unit")


def _audit_log(data: Path) -> Parser:
    log = make_log(data, starts=1, minutes=1)[0]
    genuine = log.read_bytes()

    def read(octets: bytes) -> None:
        log.write_bytes(octets)
        fault = verify_log([log], DESK.trust).fault
        if fault is not None:
            raise AuditError(fault.why)
        # Whole lines of the genuine one, and perhaps a half one.
        assert genuine.startswith(octets[: octets.rfind(b"\n") + 1])

    return Parser("audit log", (genuine,), read)


# --- short texts --------------------------------------------------------------------------------------------


def _texts() -> Iterator[Parser]:
    reply = Reply(Status.FRAME, 720, 1280, 7, 123_456_789).pack()
    yield Parser("capture reply", (reply,), _reply, plain=True)
    topics = (b"lfr/v1/unit-1/lease", b"lfr-bench/v1/unit-1/alert")
    yield Parser("topic", topics, _topic)
    sources = (b"v4l2:/dev/video0", b"scene:/srv/street.toml", b"pictures:/srv/faces")
    yield Parser("camera source", sources, _source)
    yield Parser("ONNX input", (average_pool(96), average_pool(16, channels=1)), _onnx_input, plain=True)
    yield Parser("evaluation report", (report().model_dump_json().encode(),), _report)


_ORDER = Order(0.001, "made for a test", True, NOW.wall, timedelta(days=1))


def _report(octets: bytes) -> None:
    """Whatever a report says, what is made of it promises no more than its counts support (R18)."""
    made = certify(octets, _ORDER, "report.json").certificate
    for floor in made.floors:
        assert clopper_pearson(floor.falsely_matched, floor.people, 0.95).high <= 0.001 + 1e-9


def _declared(file: Path) -> None:
    """Whatever is declared, a licence that is known not to allow it is not declared for any use (R28)."""
    said = read_declaration(file).said
    assert said.use == "research-only" or not research_only(said.licence, said.name, said.project)


def _onnx_input(octets: bytes) -> None:
    shapes = picture_inputs(octets)
    assert all(side is None or side >= 0 for shape in shapes for side in shape)


def _reply(octets: bytes) -> None:
    reply = Reply.unpack(octets)
    assert Reply.unpack(reply.pack()) == reply


def _topic(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    topics, last = split_topic(text)
    assert getattr(topics, last) == text
    assert topics.bench == text.startswith("lfr-bench/")  # R33


def _source(octets: bytes) -> None:
    spec = parse_source(os.fsdecode(octets))
    assert spec.target.startswith("/")  # R24
    assert "//" not in spec.target
