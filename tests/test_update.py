"""`make update`: what is refused before anything is written; what is said of an update that was not kept."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.test_deploy import _deploy_on_path, unit  # noqa: F401 - a fixture

ORDER = {"dry": False, "wait_s": 1.0}
KEPT = {
    "running": "A",
    "marks": {"A_GOOD": "1", "B_GOOD": "1"},
    "version": "7",
    "boot": "first",
    "free": 1 << 30,
}
FACTS = {"time": 0.0, "service": {"ActiveState": "active", "StatusText": "LOCKED [R12]"}}


@dataclass
class Unit:
    """A unit at the other end of the connection: what it says of its image, look after look."""

    looks: list[dict[str, Any] | Exception | None]
    facts: dict[str, Any] = field(default_factory=lambda: dict(FACTS))
    done: list[str] = field(default_factory=list)
    refuses: str = ""

    def ask(self, *step: str, content: bytes = b"") -> Any:
        if step[0] == "image":
            look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
            if isinstance(look, Exception):
                raise look
            return look
        self.done.append(step[0])
        if self.refuses and step[0] == "install-update":
            raise unit("faults").DeployError(self.refuses, where="the unit", next_step="x")
        return None

    def give(self, name: str, file: Path, sha256: str, told: Any, step: str) -> None:
        self.done.append(step)
        told(file.stat().st_size)

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    file = tmp_path / "update.raucb"
    file.write_bytes(b"hsqs" + bytes(1000))
    return file


def run(there: Unit, bundle: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> int:
    update = unit("update")

    @contextmanager
    def connected(_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(update, "connected", connected)
    monkeypatch.setattr(update, "install", lambda _: there)
    monkeypatch.setattr(update, "look", lambda _: (there.facts, there.facts["time"]))
    monkeypatch.setattr(update, "POLL_S", 0.01)
    target = unit("link").Target("unit-07")
    return int(update.update(update.Order(target, bundle, **{**ORDER, **changes})))


def with_(there: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**there, **changes}


ON_TRIAL = with_(KEPT, running="B", version="8", boot="second", marks={"A_GOOD": "1", "B_GOOD": "0"})
TAKEN = with_(ON_TRIAL, marks={"A_GOOD": "1", "B_GOOD": "1"})
BACK = with_(KEPT, boot="third", marks={"A_GOOD": "1", "B_GOOD": "0"})


def test_an_update_that_is_kept(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Unit([KEPT, KEPT, ON_TRIAL, TAKEN])
    assert run(there, bundle, monkeypatch) == 0
    assert there.done == ["receive-update", "install-update", "restart"]
    said = capsys.readouterr().out
    assert "version: 7 → 8, slot B, kept" in said
    assert "LOCKED [R12]" in said


def test_an_update_that_does_not_prove_itself(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(unit("faults").RolledBackError, match="version 7 runs again"):
        run(Unit([KEPT, ON_TRIAL, ON_TRIAL, BACK]), bundle, monkeypatch)


def test_a_unit_that_does_not_come_back_is_named_with_the_last_that_was_heard(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(unit("faults").ConnectionLostError, match=r"has not decided .*: slot B runs"):
        run(Unit([KEPT, ON_TRIAL]), bundle, monkeypatch, wait_s=0.1)
    with pytest.raises(unit("faults").ConnectionLostError, match=r"has not decided .*has not restarted yet"):
        run(Unit([KEPT]), bundle, monkeypatch, wait_s=0.1)
    strange = unit("faults").ConnectionLostError("the unit refuses the key", where="unit-07")
    with pytest.raises(unit("faults").ConnectionLostError, match=r"has not decided .*refuses the key"):
        run(Unit([KEPT, strange]), bundle, monkeypatch, wait_s=0.1)


def test_a_unit_that_is_stopping_or_starting_is_waited_for(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = unit("faults").ConnectionLostError("connection lost: closed", where="unit-07")
    half = unit("faults").DeployError("step image broke off: it said nothing", where="unit-07")
    assert run(Unit([KEPT, half, lost, lost, ON_TRIAL, TAKEN]), bundle, monkeypatch) == 0


def test_a_kept_update_of_a_unit_that_is_not_enrolled_is_no_ready_one(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"time": 0.0, "service": {"ActiveState": "inactive", "StatusText": ""}}
    assert run(Unit([KEPT, TAKEN], facts), bundle, monkeypatch) == unit("faults").NOT_ENROLLED


@pytest.mark.parametrize(
    ("looks", "facts", "words"),
    [
        ([None], {}, "no image"),
        ([KEPT], {"service": {"ActiveState": "active", "StatusText": "LIVE [R16]"}}, "is LIVE"),
        ([KEPT], {"time": 3600.0}, "clock that is"),
        ([ON_TRIAL], {}, "has not kept the version yet"),
        ([with_(KEPT, free=1000)], {}, "disk is full"),
    ],
)
def test_a_unit_that_is_not_fit_gets_nothing(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    looks: list[dict[str, Any] | Exception | None],
    facts: dict[str, Any],
    words: str,
) -> None:
    there = Unit(looks, {**FACTS, **facts})
    with pytest.raises(unit("faults").DeployError, match=words):
        run(there, bundle, monkeypatch)
    assert there.done == []


def test_a_dry_run_and_a_refused_update_restart_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Unit([KEPT])
    assert run(there, bundle, monkeypatch, dry=True) == 0
    assert there.done == []
    assert "nothing was changed" in capsys.readouterr().out
    there = Unit([KEPT], refuses="refuses it: signature verification failed")
    with pytest.raises(unit("faults").DeployError, match="signature verification failed"):
        run(there, bundle, monkeypatch)
    assert "restart" not in there.done


def test_a_file_that_is_no_update_is_refused_before_the_unit_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "card.img"
    other.write_bytes(bytes(1000))
    for file, words in ((other, "no signed update"), (tmp_path / "none", "no such file")):
        with pytest.raises(unit("faults").FolderError, match=words):
            run(Unit([KEPT]), file, monkeypatch)


# --- the unit's side ----------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A unit's root with the image's program and a received update, and RAUC and systemd that are asked."""
    made = unit("on_unit.places").Places(tmp_path / "root")
    made.run.mkdir(parents=True)
    made.image.mkdir(parents=True)
    made.updates.mkdir(parents=True)
    (made.updates / "update.raucb").write_bytes(b"hsqs")
    (made.image / "version").write_text("7\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    show = "running B BOOT_A_GOOD=0 BOOT_A_LEFT=$A_LEFT BOOT_B_GOOD=1 BOOT_B_LEFT=3 BOOT_ORDER=B A"
    for file, text in (
        (made.image / "slots.py", f'echo "{show}"'),
        (programs / "rauc", "echo 'LastError: signature verification failed: self-signed'; exit $RAUC"),
        (programs / "journalctl", 'echo "$JOURNAL"'),
        (programs / "systemctl", 'echo ActiveState=active; echo "StatusText=$STATUS"'),
    ):
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name, value in (("RAUC", "0"), ("JOURNAL", ""), ("STATUS", "LOCKED"), ("A_LEFT", "3")):
        monkeypatch.setenv(name, value)
    return made


def test_the_unit_says_which_slot_runs_and_what_is_kept(places: Any) -> None:
    found = unit("on_unit.image").image(places)
    assert (found["running"], found["version"]) == ("B", "7")
    assert found["marks"] == {"A_GOOD": "0", "A_LEFT": "3", "B_GOOD": "1", "B_LEFT": "3"}
    (places.updates / ".update.raucb").touch()
    os.truncate(places.updates / ".update.raucb", 1 << 30)
    more = unit("on_unit.image").image(places)["free"] - shutil.disk_usage(places.updates).free
    assert more >= 1 << 30, "what an attempt left makes room for the next one"
    shutil.rmtree(places.image)
    assert unit("on_unit.image").image(places) is None


def test_a_board_that_the_loader_did_not_start_is_named(places: Any) -> None:
    (places.image / "slots.py").write_text("#!/bin/sh\necho running  BOOT_A_GOOD=1\n")
    with pytest.raises(unit("on_unit.places").UnitError, match="not started by the slots' loader"):
        unit("on_unit.image").image(places)


def test_a_refused_update_says_if_the_other_slot_was_emptied(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAUC", "1")
    for left, words in (("3", "nothing was changed"), ("0", "slot A holds nothing to go back to")):
        monkeypatch.setenv("A_LEFT", left)
        with pytest.raises(unit("on_unit.places").UnitError) as refused:
            unit("on_unit.image").install(places)
        assert words in refused.value.next_step


def test_two_updates_at_once_do_not_mix(places: Any) -> None:
    with (places.run / "installing").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for step, more in (("install", ()), ("receive", (4, ""))):
            with pytest.raises(unit("on_unit.places").UnitError, match="still being installed"):
                getattr(unit("on_unit.image"), step)(places, *more)
    assert (places.updates / "update.raucb").exists()


@pytest.mark.parametrize(
    ("journal", "words"),
    [
        ("", "signature verification failed: self-signed"),
        (
            "pre-install: the bundle's version 5 is older than the running 7",
            "version 5 is older",
        ),
    ],
)
def test_the_reason_of_a_refusal_is_told_and_the_file_goes(
    places: Any, monkeypatch: pytest.MonkeyPatch, journal: str, words: str
) -> None:
    monkeypatch.setenv("RAUC", "1")
    monkeypatch.setenv("JOURNAL", journal)
    with pytest.raises(unit("on_unit.places").UnitError, match=words):
        unit("on_unit.image").install(places)
    assert list(places.updates.iterdir()) == []


def test_a_unit_that_went_live_meanwhile_is_left_alone(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS", "LIVE [R16]")
    called: list[list[str]] = []
    genuine = subprocess.run

    def run(call: list[str], **how: Any) -> Any:
        called.append(call)
        return genuine(call, check=False, **{key: value for key, value in how.items() if key != "check"})

    monkeypatch.setattr(subprocess, "run", run)
    image, error = unit("on_unit.image"), unit("on_unit.places").UnitError
    with pytest.raises(error, match="is LIVE"):
        image.install(places)
    with pytest.raises(error, match=r"is LIVE.* is installed and will be tried at the next start"):
        image.restart()
    assert {call[0] for call in called} == {"systemctl"}
