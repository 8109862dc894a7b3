"""Every way of tampering with a unit's audit log, and how each is found: `python -m tests.audit_tampering`.

Each attack is tried twice: with nothing but the log at hand, and with one line that the unit had published.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeagent.audit.chain import Head, decode, digest, encode, read_token
from edgeagent.audit.events import AlertMade, Entry, LogRemoved, Sealed
from edgeagent.audit.log import FOLDER, NEWEST, Limits
from edgeagent.audit.segments import lines_of
from edgeagent.audit.verify import Published, Verdict, verify_log
from edgeagent.documents.keys import Identity, Role
from edgeagent.documents.table import CHECKPOINT
from edgeagent.documents.trust import TrustStore
from tests.audit_logs import DESK, Writer, day, log_files
from tests.desk import UNIT, identity, raw_document
from tests.tampering import changed, dropped, get, paths, put

Log = list[list[bytes]]
"""Lines by file."""

OLD_KEY = identity(Role.UNIT, UNIT, seed=5)
"""The unit had this one before; it was stolen, and is revoked."""
SEGMENTS = Limits(segment_octets=12_000)


def trust() -> TrustStore:
    """Both units, and the old key."""
    return DESK.trust_with(keys=(*DESK.keys, DESK.trusted(OLD_KEY, revoked=True)))


@dataclass(frozen=True)
class Attack:
    """What was done.

    Attributes:
        hidden: the log alone cannot show it, for the reason given.
        noted: no line can show it, but a note of the verdict says so much of the place.
    """

    what: str
    log: Log
    hidden: str = ""
    noted: str = ""

    def found(self, verdict: Verdict) -> bool:
        """Whether the verdict tells of it."""
        noted = bool(self.noted) and any(self.noted in note for note in verdict.notes)
        return verdict.fault is not None or noted


@dataclass(frozen=True)
class Outcome:
    """What the verification said of it without and with a published line."""

    attack: Attack
    alone: Verdict
    published: Verdict


def genuine(folder: Path, who: Identity | None = None) -> Log:
    """Four starts in several files; the last was cut off by a kill, some lines after its last checkpoint."""
    folder.mkdir(parents=True)
    writer = Writer(folder, who, SEGMENTS)
    for _ in range(4):
        writer.start()
        writer.run(day(minutes=3))
    return [list(lines_of(file)) for file in log_files(folder)]


def flat(log: Log) -> list[bytes]:
    return [line for lines in log for line in lines]


def reshaped(lines: list[bytes], like: Log) -> Log:
    """Lines in files again: as many in each as there were, the rest in the last."""
    made, rest = [], lines
    for old in like[:-1]:
        made.append(rest[: len(old)])
        rest = rest[len(old) :]
    return [part for part in [*made, rest] if part]


def compact(said: Any) -> bytes:
    """As a unit would write it, or, if it is nothing that a unit can write, as it is."""
    with contextlib.suppress(ValidationError):
        return encode(Entry.model_validate_json(json.dumps(said)))
    return raw(said)


def raw(said: Any) -> bytes:
    """As it is: a field that was dropped and has a usual value stays dropped."""
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def with_line(log: Log, index: int, *new: bytes) -> Log:
    """The line exchanged for others, everything after it as it was."""
    lines = flat(log)
    return reshaped([*lines[:index], *new, *lines[index + 1 :]], log)


def rehashed(log: Log, start: int, signer: Identity | None = None, *, renumber: bool = False) -> Log:
    """All hashes from a line on computed anew; checkpoints too, if there is a key to sign them with."""
    lines = flat(log)
    previous = next((digest(one) for one in reversed(lines[:start]) if is_checkpoint(one)), "0" * 64)
    for index in range(max(start, 1), len(lines)):
        said = json.loads(lines[index])
        said["before"] = digest(lines[index - 1])
        said["sequence"] = json.loads(lines[index - 1])["sequence"] + 1 if renumber else said["sequence"]
        if said["body"]["event"] == "checkpoint" and signer is not None:
            old = read_token(said["body"]["token"])
            where = {"sequence": said["sequence"] - 1, "sha256": said["before"], "previous": previous}
            body = old.model_copy(update=where).model_dump_json().encode()
            said["body"]["token"] = raw_document(CHECKPOINT, body, signer).decode()
        lines[index] = compact(said)
        previous = digest(lines[index]) if is_checkpoint(lines[index]) else previous
    return reshaped(lines, log)


def is_checkpoint(line: bytes) -> bool:
    return isinstance(decode(line).body, Sealed) if line.endswith(b"\n") else False


def checkpoints(log: Log) -> list[int]:
    return [index for index, line in enumerate(flat(log)) if is_checkpoint(line)]


# --- attacks ------------------------------------------------------------------------------------------------


def field_attacks(log: Log) -> Iterator[Attack]:
    """Each field of each kind of line altered or dropped; as it is, and with all hashes computed anew."""
    tried = set()
    last = checkpoints(log)[-1]
    for index, line in enumerate(flat(log)[:last]):
        said = json.loads(line)
        for path in paths(said):
            name = (said["body"]["event"], *path)
            if name in tried or path == ("body",):
                continue
            tried.add(name)
            where = f"{name[0]}: {'.'.join(str(key) for key in path)}"
            altered = with_line(log, index, compact(put(said, path, changed(get(said, path)))))
            yield Attack(f"{where} altered", altered)
            yield Attack(f"{where} dropped", with_line(log, index, raw(dropped(said, path))))
            if path != ("sequence",):
                yield Attack(f"{where} altered, all hashes anew", safely_rehashed(altered, index + 1, log))


def safely_rehashed(altered: Log, start: int, log: Log) -> Log:
    """As `rehashed`, over a line that may itself no longer be well-formed."""
    lines = flat(altered)
    for index in range(start, len(lines)):
        said = json.loads(lines[index])
        said["before"] = digest(lines[index - 1])
        lines[index] = compact(said)
    return reshaped(lines, log)


def line_attacks(log: Log) -> Iterator[Attack]:
    lines = flat(log)
    seals = checkpoints(log)
    middle = seals[len(seals) // 2] + 3
    drop = lines[:middle] + lines[middle + 1 :]
    swapped = [*lines[:middle], lines[middle + 1], lines[middle], *lines[middle + 2 :]]
    doubled = [*lines[:middle], lines[middle], *lines[middle:]]
    forged = decode(lines[middle]).model_copy(
        update={"sequence": middle + 2, "before": digest(lines[middle])}
    )
    added = [*lines[: middle + 1], encode(forged), *lines[middle + 1 :]]
    for what, made in (
        ("the first line dropped", lines[1:]),
        ("a line dropped", drop),
        ("two lines exchanged", swapped),
        ("a line doubled", doubled),
        ("a line added", added),
        ("a checkpoint dropped", lines[: seals[1]] + lines[seals[1] + 1 :]),
        ("all checkpoints dropped", [line for line in lines if not is_checkpoint(line)]),
        ("everything up to a checkpoint dropped", lines[seals[2] :]),
        ("a whole start of the daemon dropped", lines[: seals[1]] + lines[seals[-1] :]),
        ("an empty line added", [*lines[:middle], b"\n", *lines[middle:]]),
        ("a space added", [*lines[:middle], lines[middle][:-1] + b" \n", *lines[middle + 1 :]]),
    ):
        made_log = reshaped(made, log)
        yield Attack(what, made_log)
        if what in ("a line dropped", "two lines exchanged", "a line doubled", "a line added"):
            yield Attack(f"{what}, all numbers and hashes anew", rehashed(made_log, middle, renumber=True))
    yield Attack("all checkpoints dropped, all hashes anew", _unsealed(log))


def _unsealed(log: Log) -> Log:
    lines = [line for line in flat(log) if not is_checkpoint(line)]
    return rehashed([lines], 1, renumber=True)


def forgeries(log: Log) -> Iterator[Attack]:
    lines = flat(log)
    index = next(n for n, line in enumerate(lines) if isinstance(decode(line).body, AlertMade))
    said = json.loads(lines[index])
    altered = with_line(log, index, compact(put(said, ("body", "score"), 0.99)))
    for what, who in (
        ("a stranger's key", identity(Role.UNIT, UNIT, seed=99)),
        ("another unit's key", DESK.other_unit),
        ("the unit's revoked key", OLD_KEY),
        ("the control room's key", DESK[Role.CONTROL_ROOM]),
    ):
        yield Attack(f"altered, all anew, checkpoints signed with {what}", rehashed(altered, index + 1, who))
    seal = checkpoints(log)[3]
    entry = decode(lines[seal])
    assert isinstance(entry.body, Sealed)
    token = entry.body.token
    older = decode(lines[checkpoints(log)[2]]).body
    assert isinstance(older, Sealed)
    for what, text in (
        ("exchanged for an older one", older.token),
        ("with another last character", token[:-1] + ("A" if token[-1] != "A" else "B")),
        ("with an altered signature", token[:-20] + ("A" if token[-20] != "A" else "B") + token[-19:]),
    ):
        forged = encode(entry.model_copy(update={"body": Sealed(token=text)}))
        yield Attack(f"a checkpoint {what}", with_line(log, seal, forged))
    signed = raw_document(CHECKPOINT, read_token(token).model_dump_json().encode(), DESK.other_unit).decode()
    forged = encode(entry.model_copy(update={"body": Sealed(token=signed)}))
    yield Attack("a checkpoint by another unit", rehashed(with_line(log, seal, forged), seal + 1))


def splices(log: Log, other: Log) -> Iterator[Attack]:
    lines, others = flat(log), flat(other)
    seals, theirs = checkpoints(log), checkpoints(other)
    yield Attack("goes on with another unit's lines", [lines[: seals[2] + 1], others[theirs[2] + 1 :]])
    yield Attack("goes on with another unit's files", [log[0], *other[1:]])
    yield Attack("a start spliced out of the middle", [lines[: seals[1] + 1] + lines[seals[-2] :]])
    yield Attack("a start put in a second time", [lines[: seals[4] + 1] + lines[seals[2] :]])
    for what, made in (
        ("two files exchanged", [log[0], log[2], log[1], *log[3:]]),
        ("the first file dropped", log[1:]),
        ("a file in the middle dropped", [log[0], *log[2:]]),
        ("a file given twice", [log[0], log[1], log[1], *log[2:]]),
        ("a file emptied", [log[0], [], *log[2:]]),
        ("a file that ends in the middle of a line", [[*log[0][:-1], log[0][-1][:-30]], *log[1:]]),
    ):
        yield Attack(what, made)
    yield Attack("the first file dropped, its removal forged at the end", [*log[1:-1], _removal(log)])


def _removal(log: Log) -> list[bytes]:
    """The last file with a line after the last checkpoint that says what the unit never said."""
    last = decode(log[-1][-1])
    said = LogRemoved(sequence=decode(log[0][-1]).sequence, sha256=digest(log[0][-1]))
    where = {"sequence": last.sequence + 1, "before": digest(log[-1][-1]), "body": said}
    return [*log[-1], encode(last.model_copy(update=where))]


def cuts(log: Log) -> Iterator[Attack]:
    cut = "a shorter log is a good log too"
    lines, seals = flat(log), checkpoints(log)
    yield Attack("the last file dropped", log[:-1], cut)
    yield Attack("cut back to a checkpoint", reshaped(lines[: seals[-2] + 1], log), cut)
    yield Attack("cut back to any line", reshaped(lines[: seals[-2] + 4], log), cut)
    yield Attack(
        "the last line cut in half", reshaped([*lines[:-1], lines[-1][:-9]], log), "as by a power cut"
    )
    tail = len(lines) - 3
    assert tail > seals[-1]
    said = json.loads(lines[tail])
    altered = with_line(log, tail, compact(said | {"monotonic_ns": said["monotonic_ns"] + 1}))
    not_yet = "no checkpoint after it yet"
    yield Attack("altered after the last checkpoint, all hashes anew", rehashed(altered, tail + 1), not_yet)


def restarts(folder: Path) -> Iterator[Attack]:
    """The log is cut back or taken away, and the unit starts again."""
    for what, hidden, tamper in (
        ("cut back, then the unit went on", "", partial(_cut_back, newest=False)),
        ("taken away, then the unit began anew", "", partial(_take_away, newest=False)),
        (
            "cut back with the record of it, then it went on",
            "as if it had ended there",
            partial(_cut_back, newest=True),
        ),
        ("taken away with the record of it", "as if it were new", partial(_take_away, newest=True)),
    ):
        data = folder / what.replace(" ", "-")
        genuine(data)
        tamper(data)
        writer = Writer(data, None, SEGMENTS)
        writer.wait(50_000)
        writer.start()
        writer.run(day(minutes=1))
        yield Attack(what, [list(lines_of(file)) for file in log_files(data)], hidden)
    data = folder / "added"
    genuine(data)
    writer = Writer(data, None, SEGMENTS)
    _add(data)
    writer.wait(50_000)
    writer.start()
    made = [list(lines_of(file)) for file in log_files(data)]
    yield Attack("a line added while the unit was off, which then went on", made, noted="the next start did")


def _add(data: Path) -> None:
    file = log_files(data)[-1]
    line = list(lines_of(file))[-1]
    last = decode(line)
    forged = last.model_copy(update={"sequence": last.sequence + 1, "before": digest(line)})
    file.write_bytes(file.read_bytes() + encode(forged))


def _cut_back(data: Path, *, newest: bool) -> None:
    files = log_files(data)
    lines = list(lines_of(files[-2]))
    files[-2].write_bytes(b"".join(lines[:5]))
    files[-1].unlink()
    if newest:
        (data / NEWEST).unlink()


def _take_away(data: Path, *, newest: bool) -> None:
    for file in log_files(data):
        file.unlink()
    (data / FOLDER).rmdir()
    if newest:
        (data / NEWEST).unlink()


# --- all of it ----------------------------------------------------------------------------------------------


def attacks(folder: Path) -> Iterator[Attack]:
    log, other = genuine(folder / "one"), genuine(folder / "two", replace(DESK.other_unit))
    assert len(log) >= 4
    yield from line_attacks(log)
    yield from forgeries(log)
    yield from splices(log, other)
    yield from cuts(log)
    yield from restarts(folder / "restarts")
    yield from field_attacks(log)


def judged(log: Log, folder: Path, published: list[Published], store: TrustStore) -> Verdict:
    files = []
    for number, lines in enumerate(log):
        files.append(folder / f"audit-{number + 1:06}.jsonl")
        files[-1].write_bytes(b"".join(lines))
    return verify_log(files, store, published)


def outcomes(folder: Path) -> Iterator[Outcome]:
    log = genuine(folder / "genuine")
    lines = flat(log)
    last = decode(lines[-1])
    position = Published(Head(last.sequence, digest(lines[-1])), "a published state")
    place, store = folder / "judged", trust()
    place.mkdir()
    assert judged(log, place, [position], store).good, "else a refusal would show nothing"
    for attack in attacks(folder):
        yield Outcome(
            attack, judged(attack.log, place, [], store), judged(attack.log, place, [position], store)
        )


def text(attack: Attack, verdict: Verdict) -> str:
    if verdict.fault is None:
        return "note only: " + verdict.notes[-1] if attack.found(verdict) else "not found"
    fault = verdict.fault
    where = f"{Path(fault.file).stem[-2:]}:{fault.line}" if fault.line else "end"
    return f"{where:>6} {fault.why}"


def row(outcome: Outcome) -> str:
    attack = outcome.attack
    alone = text(attack, outcome.alone)
    reason = f" ({attack.hidden})" if attack.hidden else ""
    told = "FOUND" if outcome.published.fault else "NOTED" if attack.found(outcome.published) else "MISSED"
    return f"{attack.what:58.58} {told:6} {alone + reason:.110}"


def report(results: list[Outcome], out: Callable[[str], object]) -> int:
    """Print the table; 1 if anything was missed that could be found."""
    out(f"{'attack':58} {'with a published line; what the log alone shows (file:line, why)'}")
    for outcome in results:
        out(row(outcome))
    alone = [one for one in results if not one.attack.found(one.alone)]
    missed = [one for one in results if not one.attack.found(one.published)]
    unexpected = [one for one in alone if not one.attack.hidden]
    out(
        f"\n{len(results)} attacks: {len(results) - len(alone)} found by the log alone, "
        f"{len(results) - len(missed)} with one published line; {len(unexpected)} missed unexpectedly"
    )
    return 1 if unexpected or missed else 0


def main() -> int:
    """Try everything, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        return report(list(outcomes(Path(folder))), print)


if __name__ == "__main__":
    sys.exit(main())
