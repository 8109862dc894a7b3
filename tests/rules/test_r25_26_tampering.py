"""Verifying and reading a log: every tampering is found, any altered octet is, and the commands say so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeagent.audit.chain import Head, decode, digest, encode
from edgeagent.audit.events import CameraMoved, LogRemoved, Stopped
from edgeagent.audit.log import Journal, Limits
from edgeagent.audit.segments import lines_of
from edgeagent.audit.verify import Published, Verdict, published_line, verify_log
from edgeagent.cli.main import edgeagent
from edgeagent.documents.keys import Role
from edgeagent.documents.messages import CameraState
from edgeagent.documents.table import STATE, sign
from edgeagent.errors import DocumentError
from tests.audit_logs import DESK, Writer, alert_made, day, log_files, make_log, started
from tests.audit_tampering import Outcome, is_checkpoint, outcomes, report, row
from tests.desk import OTHER_UNIT, UNIT, at, state

# --- the matrix ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Every attack on a log, with and without a published line."""
    return list(outcomes(tmp_path_factory.mktemp("attacks")))


def test_with_one_published_line_every_attack_is_found(results: list[Outcome]) -> None:
    assert len(results) > 300
    assert [row(one) for one in results if not one.attack.found(one.published)] == []


def test_the_log_alone_shows_every_attack_but_those_that_leave_a_good_log(results: list[Outcome]) -> None:
    hidden = {one.attack.what for one in results if not one.attack.found(one.alone)}
    assert hidden == {one.attack.what for one in results if one.attack.hidden}
    assert len(hidden) == 7


def test_the_place_of_the_first_bad_line_is_told(results: list[Outcome]) -> None:
    told = {one.attack.what: one.alone.fault for one in results}
    doubled = told["a line doubled"]
    assert doubled is not None
    assert doubled.line > 0
    assert "must follow" in doubled.why
    for who in ("a stranger's key", "the control room's key"):
        fault = told[f"altered, all anew, checkpoints signed with {who}"]
        assert fault is not None
        assert "has a checkpoint that" in fault.why
    other = told["altered, all anew, checkpoints signed with another unit's key"]
    assert other is not None
    assert other.why == "has a checkpoint that is signed by unit-2, not by unit-1"
    old = told["altered, all anew, checkpoints signed with the unit's revoked key"]
    assert old is not None
    assert "revoked" in old.why


def test_the_table_ends_with_the_count(results: list[Outcome]) -> None:
    said: list[str] = []
    assert report(results, said.append) == 0
    assert said[-1].endswith("0 missed unexpectedly")


# --- any octet ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two files; the last line of all is a checkpoint."""
    folder = tmp_path_factory.mktemp("small")
    writer = Writer(folder, limits=Limits(segment_octets=5_000))
    writer.start()
    writer.run(day(1))
    writer.journal.seal(writer.now, clock_trusted=True)
    files = [file.read_bytes() for file in log_files(folder)]
    assert len(files) >= 2
    assert is_checkpoint(files[-1].splitlines(keepends=True)[-1])
    return files


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_altered_octet_before_the_last_checkpoints_end_is_found(
    data: st.DataObject, small: list[bytes], tmp_path: Path
) -> None:
    """All but the last line feed, without which the last line counts as half written and for nothing."""
    which = data.draw(st.integers(0, len(small) - 1))
    last = which == len(small) - 1
    place = data.draw(st.integers(0, len(small[which]) - (2 if last else 1)))
    octet = data.draw(st.integers(1, 255))
    files = []
    for number, content in enumerate(small):
        altered = bytearray(content)
        if number == which:
            altered[place] ^= octet
        files.append(tmp_path / f"audit-{number + 1:06}.jsonl")
        files[-1].write_bytes(altered)
    verdict = verify_log(files, DESK.trust)
    assert not verdict.good
    assert verdict.fault is not None
    assert verdict.fault.file == str(files[which]) or verdict.fault.line == 1


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400))
def test_no_file_makes_it_fail_in_another_way(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "audit-000001.jsonl"
    file.write_bytes(content)
    verdict = verify_log([file], DESK.trust)
    assert not verdict.good


# --- what the verdict says ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A good log in several files."""
    return make_log(tmp_path / "unit", limits=Limits(segment_octets=20_000))


def test_a_good_log(files: list[Path]) -> None:
    taken: list[int] = []
    verdict = verify_log(files, DESK.trust, take=lambda entry: taken.append(entry.sequence))
    assert verdict.good
    assert (verdict.unit, verdict.starts, verdict.first) == (UNIT, 3, 1)
    assert taken == list(range(1, verdict.last + 1))
    assert verdict.sealed == verdict.last, "it was ended in order"
    assert verdict.began is not None
    assert verdict.ended is not None
    assert verdict.began < verdict.ended


def test_without_a_trust_store_it_is_never_called_good(files: list[Path]) -> None:
    verdict = verify_log(files, None)
    assert verdict.fault is None
    assert not verdict.good


def test_a_key_that_is_over_by_now_still_vouches_and_a_revoked_one_never_does(files: list[Path]) -> None:
    over = DESK.trust_changing(Role.UNIT, not_after=DESK.keys[0].not_before.replace(year=2031, month=1))
    assert verify_log(files, over).good
    revoked = verify_log(files, DESK.trust_changing(Role.UNIT, revoked=True))
    assert revoked.fault is not None
    assert "revoked key" in revoked.fault.why


def test_a_half_written_last_line_is_told_and_is_not_a_tampering(files: list[Path]) -> None:
    files[-1].write_bytes(files[-1].read_bytes()[:-40])
    verdict = verify_log(files, DESK.trust)
    assert verdict.good
    assert "half written" in verdict.notes[-1]


def test_a_state_names_the_line_that_must_be_there(files: list[Path]) -> None:
    line = [line for file in files for line in lines_of(file)][-1]
    head = Head(decode(line).sequence, digest(line))
    genuine = sign(STATE, state(audit_sequence=head.sequence, audit_sha256=head.sha256), DESK.unit)
    unit, published = published_line(genuine, DESK.trust, "state.json")
    assert verify_log(files, DESK.trust, [published], unit=unit).good
    later = sign(STATE, state(audit_sequence=head.sequence + 1, audit_sha256="ab" * 32), DESK.unit)
    _, missing = published_line(later, DESK.trust, "state.json")
    fault = verify_log(files, DESK.trust, [missing]).fault
    assert fault is not None
    assert "lines are missing at the end" in fault.why
    foreign = sign(STATE, state(), replace(DESK.other_unit, name=UNIT))
    with pytest.raises(DocumentError, match="not of the unit that signed it"):
        published_line(foreign, DESK.trust, "state.json")
    wrong = verify_log(files, DESK.trust, unit=OTHER_UNIT).fault
    assert wrong is not None
    assert wrong.why == f"is of unit {UNIT}, not of {OTHER_UNIT}"


def test_a_published_line_of_another_content_is_named(files: list[Path]) -> None:
    verdict = verify_log(files, DESK.trust, [Published(Head(7, "ab" * 32), "a letter")])
    assert verdict.fault is not None
    assert (verdict.fault.line, verdict.entries) == (7, 6)
    assert "is not the line 7 that was published (a letter)" in verdict.fault.why


# --- the commands -------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    """Options that name the trust store."""
    file = tmp_path / "trust.json"
    file.write_bytes(DESK.trust_document())
    return ["--trust", str(file), "--root", DESK[Role.ROOT].kid]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(edgeagent, ["audit", *map(str, arguments)])


def test_verify_says_good_and_exits_0(files: list[Path], store: list[str]) -> None:
    done = run("verify", files[0].parent, *store)
    assert done.exit_code == 0, done.output
    assert "GOOD  nothing is altered or missing up to line" in done.stdout
    assert f"unit         {UNIT}" in done.stdout


def test_verify_names_file_and_line_and_exits_1(files: list[Path], store: list[str]) -> None:
    content = files[1].read_bytes()
    files[1].write_bytes(content.replace(b'"score":0.71', b'"score":0.99', 1))
    done = run("verify", *files, *store)
    assert done.exit_code == 1
    assert f"BAD  {files[1]}, line " in done.stdout
    said = json.loads(run("verify", *files, *store, "--json").stdout)
    assert said["good"] is False
    assert said["fault"]["file"] == str(files[1])


def test_verify_compares_a_published_state_and_a_known_line(
    files: list[Path], store: list[str], tmp_path: Path
) -> None:
    line = [line for file in files for line in lines_of(file)][-1]
    known = f"{decode(line).sequence}:{digest(line)}"
    message = tmp_path / "state.json"
    said: dict[str, Any] = {"audit_sequence": decode(line).sequence, "audit_sha256": digest(line)}
    message.write_bytes(DESK.state_message(**said))
    assert run("verify", *files, *store, "--state", message, "--at-least", known).exit_code == 0
    cut = run("verify", *files[:-1], *store, "--state", message)
    assert cut.exit_code == 1
    assert "lines are missing at the end" in cut.stdout
    assert run("verify", *files[:-1], *store).exit_code == 0
    assert run("verify", *files, *store, "--at-least", "12").exit_code == 2
    assert run("verify", *files, "--state", message).exit_code == 2


def test_verify_without_a_store_says_that_nobody_signed_and_exits_3(files: list[Path]) -> None:
    done = run("verify", *files)
    assert done.exit_code == 3
    assert "UNSIGNED" in done.stdout


def test_show_prints_one_line_an_event_and_only_the_act_that_is_asked_for(files: list[Path]) -> None:
    everything = run("show", *files).stdout.splitlines()
    assert len(everything) == sum(1 for file in files for _ in lines_of(file))
    disclosed = run("show", *files, "--act", "disclosure").stdout.splitlines()
    assert len(disclosed) == 3 * 2 * 4
    assert all("alert_received" in line for line in disclosed)
    objects = [json.loads(line) for line in run("show", *files, "--json").stdout.splitlines()]
    assert objects[0]["body"]["event"] == "started"


def test_show_stops_at_what_it_cannot_read(files: list[Path]) -> None:
    files[0].write_bytes(files[0].read_bytes().replace(b'"alert_made"', b'"alert_seen"', 1))
    done = run("show", *files)
    assert done.exception is not None
    assert "audit verify" in str(done.exception)


def test_a_folder_without_a_log_is_a_usage_error(tmp_path: Path) -> None:
    assert run("verify", tmp_path).exit_code == 2


def _verdict_of(writer: Writer) -> Verdict:
    return verify_log(log_files(writer.data), DESK.trust)


def test_lines_after_the_last_checkpoint_are_told_to_be_unsigned(tmp_path: Path, store: list[str]) -> None:
    writer = Writer(tmp_path / "unit")
    writer.data.mkdir()
    writer.start()
    writer.write(alert_made(1))
    verdict = _verdict_of(writer)
    assert (verdict.last, verdict.sealed) == (3, 2)
    assert "1 line(s) after it not signed yet" in run("verify", *log_files(writer.data), *store).stdout


def test_a_removal_that_somebody_noted_while_the_unit_was_off_is_nobodys_word(tmp_path: Path) -> None:
    """The next start signs whatever lies unsigned on the disk; a removal among it is not the unit's."""
    unit = DESK[Role.UNIT]
    journal = Journal(tmp_path, unit)
    journal.start(started(1), at(0), clock_trusted=True)
    for number in range(3):
        journal.write(alert_made(number), at(1 + number), clock_trusted=True)
    journal.write(CameraMoved(state=CameraState.CLOSED), at(9), clock_trusted=True)  # which is signed
    (file,) = log_files(tmp_path)
    lines = list(lines_of(file))
    last = decode(lines[-1])
    said = LogRemoved(sequence=last.sequence - 1, sha256=last.before)
    where = {"sequence": last.sequence + 1, "before": digest(lines[-1]), "body": said}
    file.write_bytes(b"".join([*lines, encode(last.model_copy(update=where))]))

    journal = Journal(tmp_path, unit)
    journal.start(started(2), at(100), clock_trusted=True)
    journal.write(Stopped(), at(101), clock_trusted=True)
    file.write_bytes(b"".join(list(lines_of(file))[len(lines) - 1 :]))
    verdict = verify_log([file], DESK.trust, [], unit=last.unit)
    assert not verdict.good
    assert verdict.fault is not None
    assert "the log does not say who removed them" in str(verdict.fault)
