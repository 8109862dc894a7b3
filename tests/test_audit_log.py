"""The unit's side of the audit log: power cuts at every octet, full disks, rotation, what is durable when."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest

from edgeagent.audit.chain import LINE_LIMIT, MOST_UNSEALED, Head, decode, digest
from edgeagent.audit.events import (
    CameraMoved,
    Event,
    LogLost,
    LogRemoved,
    Refused,
    Repaired,
    Sealed,
    Stopped,
)
from edgeagent.audit.log import FOLDER, NEWEST, USUAL, Journal, Limits
from edgeagent.audit.newest import save_newest
from edgeagent.audit.segments import lines_of
from edgeagent.audit.verify import Verdict, verify_log
from edgeagent.documents.messages import CameraState
from edgeagent.errors import AuditError
from edgeagent.safeguards.instant import Instant
from tests.audit_logs import DESK, Writer, alert_made, day, log_files, make_log, started, tally

SMALL = Limits(segment_octets=800)


def lines(data: Path) -> list[bytes]:
    return [line for file in log_files(data) for line in lines_of(file)]


def events(data: Path) -> list[Event]:
    return [decode(line).body for line in lines(data)]


def checked(data: Path) -> Verdict:
    verdict = verify_log(log_files(data), DESK.trust)
    assert verdict.good, verdict.fault
    return verdict


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A journal that has been started."""
    made = Writer(tmp_path / "unit")
    made.data.mkdir()
    made.start()
    return made


# --- power cuts ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_a_power_cut_in_any_write_loses_at_most_the_line_that_was_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk as it is after an octet, over a rotation; the next start goes on, and says what it cut."""
    for name in ("fsync", "fdatasync"):  # what is durable is played here, thousands of times
        monkeypatch.setattr(os, name, lambda _: None)
    whole = Writer(tmp_path / "whole", limits=SMALL)
    whole.data.mkdir()
    whole.start()
    whole.run(islice(day(1), 1))
    whole.write(alert_made(1))
    files = [file.read_bytes() for file in log_files(whole.data)]
    assert len(files) >= 2
    tried = 0
    for number, content in enumerate(files):
        for cut in _cuts(content):
            before = b"".join(files[:number]) + content[:cut]
            data = _as_cut(tmp_path / "cut", files, number, cut)
            _goes_on(data, kept=before.count(b"\n"), cut_octets=len(before) - before.rfind(b"\n") - 1)
            shutil.rmtree(data)
            tried += 1
    assert tried > 400


def _cuts(content: bytes) -> list[int]:
    """After every octet about the lines' ends, and after every seventh; all of them give the same, slowly."""
    ends = [at + 1 for at, octet in enumerate(content) if octet == ord("\n")]
    about = {end + beside for end in (0, *ends) for beside in range(-3, 4)}
    return sorted({*range(0, len(content), 7)} | {cut for cut in about if 0 <= cut <= len(content)})


def _as_cut(data: Path, files: list[bytes], number: int, cut: int) -> Path:
    """A data folder as it was at that moment; the newest checkpoint that is durable is remembered."""
    (data / FOLDER).mkdir(parents=True)
    for index, content in enumerate(files[: number + 1]):
        octets = content[:cut] if index == number else content
        (data / FOLDER / f"audit-{index + 1:06}.jsonl").write_bytes(octets)
    sealed = [line for line in lines(data) if line.endswith(b"\n") and isinstance(decode(line).body, Sealed)]
    if sealed:
        save_newest(data / NEWEST, Head(decode(sealed[-1]).sequence, digest(sealed[-1])))
    return data


def _goes_on(data: Path, *, kept: int, cut_octets: int) -> None:
    again = Writer(data, limits=SMALL)
    again.wait(10_000)
    again.journal.start(started(9), again.now, clock_trusted=True)
    verdict = checked(data)
    after = events(data)[kept:]
    assert [event.cut_octets for event in after if isinstance(event, Repaired)] == (
        [cut_octets] if cut_octets else []
    )
    assert not [event for event in after if isinstance(event, LogLost)]
    assert verdict.entries == kept + len(after)
    assert verdict.sealed == verdict.last


def test_octets_that_the_disk_made_up_after_the_last_line_are_cut_off_too(writer: Writer) -> None:
    file = log_files(writer.data)[0]
    with file.open("ab") as disk:
        disk.write(bytes(40_000))
    writer.start()
    assert Repaired(cut_octets=40_000) in events(writer.data)
    checked(writer.data)


@pytest.mark.parametrize("at", [0, 1, -2])
def test_a_whole_line_that_does_not_fit_is_evidence_and_stays(at: int, writer: Writer) -> None:
    writer.run(day(1))
    file = log_files(writer.data)[0]
    altered = list(lines_of(file))
    altered[at] = altered[at].replace(b'"clock_trusted":true', b'"clock_trusted":false')
    file.write_bytes(b"".join(altered))
    with pytest.raises(AuditError, match="move the folder away") as refusal:
        writer.start()
    assert refusal.value.rule == "R25"
    assert file.read_bytes() == b"".join(altered)


# --- a log that was cut back or taken away ------------------------------------------------------------------


def test_a_log_that_was_cut_back_to_an_earlier_line_is_noticed_at_the_next_start(writer: Writer) -> None:
    writer.run(day(1))
    file = log_files(writer.data)[0]
    newest = [line for line in lines_of(file) if isinstance(decode(line).body, Sealed)][-1]
    for keep in (1, 2, 3):
        file.write_bytes(b"".join(islice(lines_of(file), keep)))
        writer.start()
        assert events(writer.data)[keep:][1] == LogLost(
            sequence=decode(newest).sequence, sha256=digest(newest)
        )
        verdict = verify_log([file], DESK.trust)
        assert verdict.fault is not None
        assert "the unit says here that lines of its log" in verdict.fault.why
        newest = lines(writer.data)[-1]


def test_a_log_that_was_taken_away_is_noticed_and_a_new_one_says_so(writer: Writer) -> None:
    shutil.rmtree(writer.data / FOLDER)
    writer.start()
    kinds = [type(event).__name__ for event in events(writer.data)]
    assert kinds == ["Started", "LogLost", "Sealed"]


# --- a disk that fails --------------------------------------------------------------------------------------


@contextmanager
def file_limit(octets: int) -> Iterator[None]:
    """No file may grow beyond this."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_write_that_the_disk_takes_in_part_leaves_whole_lines_and_no_more_is_written(
    writer: Writer,
) -> None:
    size = log_files(writer.data)[0].stat().st_size
    with file_limit(size + 100), pytest.raises(AuditError, match="cannot be written: File too large") as full:
        writer.write(alert_made(1))
    assert (full.value.rule, full.value.where) == ("R25", str(writer.data / FOLDER))
    assert log_files(writer.data)[0].stat().st_size == size
    with pytest.raises(AuditError):  # there is room again, but nobody knows what became of the disk
        writer.write(alert_made(2))
    writer.start()
    writer.write(alert_made(3))
    assert checked(writer.data).notes == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("missing: the right to mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_a_named_error_and_what_is_on_it_stays_good(small_disk: Path) -> None:
    writer = Writer(small_disk)
    writer.start()
    with pytest.raises(AuditError, match="No space left on device"):
        writer.run(day(100))
    assert verify_log(log_files(small_disk), DESK.trust).good


def test_a_log_that_cannot_be_opened_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("not a folder")
    writer = Writer(tmp_path)
    with pytest.raises(AuditError, match="cannot be written") as refusal:
        writer.start()
    assert refusal.value.rule == "R25"
    with pytest.raises(AuditError):
        writer.write(Stopped())


def test_a_damaged_record_of_the_newest_checkpoint_is_a_named_error(writer: Writer) -> None:
    (writer.data / NEWEST).write_text("{}")
    with pytest.raises(AuditError):
        writer.start()


# --- what is durable when -----------------------------------------------------------------------------------


def test_all_but_tallies_and_refusals_are_durable_before_the_act_goes_on(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for event, expected in (
        (alert_made(1), 1),
        (tally(1), 0),
        (Refused(what="a lease", rule="R16"), 0),
        (CameraMoved(state=CameraState.OPEN), 1),
    ):
        synced.clear()
        writer.write(event)
        assert len(synced) == expected, event
        last = decode(lines(writer.data)[-1])
        assert (writer.journal.head.sequence == last.sequence) == bool(expected)


def test_checkpoints_come_at_start_stop_camera_close_and_after_so_many_lines_or_minutes(
    writer: Writer,
) -> None:
    def sealed() -> bool:
        return isinstance(events(writer.data)[-1], Sealed)

    assert sealed()
    writer.write(CameraMoved(state=CameraState.OPEN))
    assert not sealed()
    writer.write(CameraMoved(state=CameraState.CLOSED))
    assert sealed()
    for number in range(USUAL.seal_lines):
        assert sealed() == (number == 0)
        writer.write(tally(number))
    assert sealed()
    writer.write(tally(1))
    writer.wait(299)
    writer.journal.tick(writer.now, clock_trusted=True)
    assert not sealed()
    writer.wait(1)
    writer.journal.tick(writer.now, clock_trusted=True)
    assert sealed()
    size = len(lines(writer.data))
    writer.wait(3_600)
    writer.journal.tick(writer.now, clock_trusted=True)
    assert len(lines(writer.data)) == size, "an idle unit writes nothing"
    writer.write(Stopped())
    assert sealed()


def test_no_line_can_be_longer_than_a_reader_takes() -> None:
    with pytest.raises(AuditError, match="longer"):
        decode(b" " * LINE_LIMIT + b"\n")
    with pytest.raises(ValueError, match="seal_lines"):
        Limits(seal_lines=MOST_UNSEALED)


# --- rotation -----------------------------------------------------------------------------------------------


def test_files_are_begun_with_a_checkpoint_and_the_chain_goes_on(tmp_path: Path) -> None:
    files = make_log(tmp_path, limits=Limits(segment_octets=4_000))
    assert len(files) > 8
    for file in files[1:]:
        assert isinstance(decode(next(lines_of(file))).body, Sealed)
    assert max(file.stat().st_size for file in files) < 4_000 + 2_000
    assert verify_log(files, DESK.trust).good


ROTATING = Limits(segment_octets=4_000, cap_octets=16_000, most_octets=200_000, keep=timedelta(minutes=30))


def _days(data: Path, limits: Limits, days: int = 10) -> Writer:
    data.mkdir(exist_ok=True)
    writer = Writer(data, limits=limits)
    for _ in range(days):
        writer.start()
        writer.run(day(2))
        writer.wait(1_800)
    return writer


def test_the_oldest_files_go_when_they_are_old_and_the_log_says_so_first(tmp_path: Path) -> None:
    _days(tmp_path, ROTATING)
    files = log_files(tmp_path)
    assert files[0].name != "audit-000001.jsonl"
    assert sum(file.stat().st_size for file in files) < 30_000
    verdict = checked(tmp_path)
    gone = verdict.first - 1
    removed = [event for event in events(tmp_path) if isinstance(event, LogRemoved)]
    assert removed[-1].sequence == gone
    assert f"lines 1 to {gone} were removed by the unit" in verdict.notes[-1]
    # One more than the unit removed: somebody else took it.
    fault = verify_log(files[1:], DESK.trust).fault
    assert fault is not None
    assert "the log does not say who removed them" in fault.why


def test_young_files_and_files_of_an_untrusted_clock_stay_until_the_log_is_full(tmp_path: Path) -> None:
    young = replace(ROTATING, keep=timedelta(days=183))
    _days(tmp_path / "young", young)
    assert log_files(tmp_path / "young")[0].name == "audit-000001.jsonl"
    full = replace(young, most_octets=50_000)
    with pytest.raises(AuditError, match="is full"):
        _days(tmp_path / "full", full, days=30)
    assert verify_log(log_files(tmp_path / "full"), DESK.trust).good
    with pytest.raises(AuditError, match="is full"):
        Writer(tmp_path / "full", limits=full).start()


def test_a_file_is_never_removed_by_a_clock_that_nobody_vouches_for(tmp_path: Path) -> None:
    writer = _days(tmp_path, replace(ROTATING, keep=timedelta(days=1)), days=5)
    later = Instant(writer.now.monotonic_ns, writer.now.wall + timedelta(days=9), synchronised=False)
    before = len(log_files(tmp_path))
    for number in range(60):
        writer.journal.write(tally(number), later, clock_trusted=False)
    assert len(log_files(tmp_path)) > before
    assert log_files(tmp_path)[0].name == "audit-000001.jsonl"


def test_two_starts_at_once_are_not_the_journals_business_but_a_second_start_goes_on(tmp_path: Path) -> None:
    """The outbox is held exclusively, so there is one daemon; a journal that is not closed loses nothing."""
    first = Writer(tmp_path)
    first.start()
    first.write(alert_made(1))
    second = Journal(tmp_path, DESK.unit)
    second.start(started(2), first.now, clock_trusted=True)
    assert checked(tmp_path).starts == 2
