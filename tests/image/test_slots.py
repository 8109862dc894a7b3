"""What decides between the slots, without an emulator: state, judgement, take-over, refusal of older
updates."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
ON_UNIT = ROOT / "deploy" / "image" / "root" / "usr" / "lib" / "edgeagent-image"
sys.path[:0] = [str(ON_UNIT), str(ROOT / "deploy" / "image")]

import commit  # noqa: E402
import first_boot  # noqa: E402
import slots  # noqa: E402
from image_board import load_board  # noqa: E402
from image_slot import cpio  # noqa: E402
from image_tools import fill  # noqa: E402
from sbom import copyright_names, wheel_hashes  # noqa: E402

TRIAL = slots.with_primary(slots.NEW, "B")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    slots.write(tmp_path, TRIAL)
    assert slots.read(tmp_path) == TRIAL
    assert (tmp_path / "slots-0.env").read_bytes() == (tmp_path / "slots-1.env").read_bytes()


@given(cut=st.integers(0, 2 * slots.SIZE), rubbish=st.binary(min_size=1, max_size=40))
def test_a_power_cut_at_any_byte_leaves_the_old_state_or_the_new(cut: int, rubbish: bytes) -> None:
    old, new = slots.encode(slots.NEW), slots.encode(TRIAL)
    done = {"slots-1.env": min(cut, slots.SIZE), "slots-0.env": max(cut - slots.SIZE, 0)}
    found = []
    for name in slots.COPIES:
        torn = new[: done[name]] + rubbish * (0 < done[name] < slots.SIZE) + old[done[name] :]
        state = slots.decode(torn[: slots.SIZE])
        if state is not None:
            found.append(state)
    assert found
    assert all(state in (slots.NEW, TRIAL) for state in found)


def test_two_damaged_copies_are_said(tmp_path: Path) -> None:
    slots.write(tmp_path, TRIAL)
    for name in slots.COPIES:
        (tmp_path / name).write_bytes(bytes(slots.SIZE))
    with pytest.raises(slots.StateError, match="neither copy"):
        slots.read(tmp_path)


@pytest.mark.skipif(shutil.which("mkenvimage") is None, reason="needs mkenvimage (Debian: u-boot-tools)")
def test_u_boot_tools_make_the_same_bytes(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("".join(f"{name}={value}\n" for name, value in sorted(TRIAL.items())))
    made = tmp_path / "made"
    subprocess.run(["mkenvimage", "-p", "0", "-s", hex(slots.SIZE), "-o", str(made), str(text)], check=True)
    assert slots.decode(made.read_bytes()) == TRIAL
    assert made.read_bytes() == slots.encode(TRIAL)


def test_an_update_is_on_trial_until_it_is_kept() -> None:
    assert slots.primary(TRIAL) == "B"
    assert slots.on_trial(TRIAL, "B")
    kept = slots.with_state(TRIAL, "B", good=True)
    assert not slots.on_trial(kept, "B")
    left = slots.with_state(TRIAL, "B", good=False)
    assert slots.primary(left) == "A"
    assert slots.primary(slots.with_state(left, "A", good=True)) == "A"


def test_keeping_the_running_slot_does_not_cancel_an_update_that_waits() -> None:
    assert slots.primary(slots.with_state(TRIAL, "A", good=True)) == "B"


SIGHTS = {
    "steady": ([(True, False, "0")] * 9, True),
    "slow start": ([(False, False, "0")] * 3 + [(True, False, "0")] * 9, True),
    "failed": ([(False, True, "5")], False),
    "crash loop": (
        [(True, False, "1"), (False, False, "2"), (True, False, "3"), (False, False, "4")] * 9,
        False,
    ),
    "restarts while it looks active": ([(True, False, str(number)) for number in range(40)], False),
    "never": ([(False, False, "0")] * 40, False),
}


@pytest.mark.parametrize(("seen", "healthy"), SIGHTS.values(), ids=SIGHTS)
def test_only_an_agent_that_stands_keeps_a_slot(
    seen: list[tuple[bool, bool, str]], healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sights = [0.0], iter(seen)
    monkeypatch.setattr(commit, "service", lambda: commit.Sight(*next(sights)))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    assert commit.stands(within_s=30, steady_s=6) is healthy


def test_files_of_the_card_are_taken_over_and_blanked(tmp_path: Path) -> None:
    card, unit = tmp_path / "card", tmp_path / "unit"
    (card / "unit").mkdir(parents=True)
    (card / "enrolment.toml").write_text("token")
    (card / "unit" / "large").write_bytes(bytes(first_boot.LIMIT + 1))
    (card / "boot.scr").write_text("loader")
    wanted = {
        "enrolment.toml": (unit / "enrolment.toml", 0o600),
        "unit/large": (unit / "large", 0o644),
        "unit/absent": (unit / "absent", 0o644),
    }
    taken = first_boot.take(card, wanted)
    assert [path.name for path in taken] == ["enrolment.toml"]
    assert (unit / "enrolment.toml").read_text() == "token"
    assert (unit / "enrolment.toml").stat().st_mode & 0o777 == 0o600
    first_boot.blank(taken)
    assert sorted(path.name for path in card.rglob("*") if path.is_file()) == ["boot.scr", "large"]


def test_an_enrolled_unit_takes_nothing_from_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "enrolment" / "state.json"
    state.parent.mkdir()
    monkeypatch.setattr(first_boot, "ETC", tmp_path)
    monkeypatch.setattr(first_boot, "PARTITION", tmp_path / "no such partition")
    for stage, code in (("requested", 1), ("enrolled", 0)):  # 1: it goes on, to look for the partition
        state.write_text(json.dumps({"stage": stage}))
        assert first_boot.main() == code
    assert "is enrolled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("offered", "running", "taken"),
    [
        ("8", "7", True),
        ("7", "7", True),
        ("6", "7", False),
        ("", "7", False),
        ("7b", "7", False),
        ("-9", "7", False),
    ],
)
def test_an_older_update_is_refused(tmp_path: Path, offered: str, running: str, taken: bool) -> None:
    (tmp_path / "manifest.raucm").write_text(f"[update]\ncompatible=x\nversion={offered}\n")
    (tmp_path / "version").write_text(f"{running}\n")
    script = tmp_path / "refuse"
    text = (ON_UNIT / "refuse-older").read_text()
    script.write_text(text.replace("/usr/lib/edgeagent-image/version", str(tmp_path / "version")))
    done = subprocess.run(
        ["sh", str(script)],
        env={**os.environ, "RAUC_UPDATE_SOURCE": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode == 0) is taken


@pytest.mark.parametrize("board", ["virt", "raspberry-pi-5"])
def test_the_loaders_script_and_the_units_program_name_the_same_variables(board: str) -> None:
    script = fill((ROOT / "deploy/image/boot/boot.cmd").read_text(), load_board(board).words())
    assert not re.findall(r"@[A-Z_]+@", script)
    kept = re.search(r"setenv keep_state '(.*)'", script)
    assert kept is not None
    assert set(re.findall(r"BOOT_\w+", kept[1])) == set(slots.NEW)
    assert kept[1].index("slots-1.env") < kept[1].index("slots-0.env")
    assert script.index("run keep_state") < script.index("run boot_slot")


def test_no_private_key_and_no_login_is_in_the_images_own_files() -> None:
    for file in (ROOT / "deploy" / "image").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".py":
            assert b"PRIVATE KEY" not in file.read_bytes(), file


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio")
def test_the_kernels_archive_is_one_that_cpio_reads() -> None:
    listed = subprocess.run(
        ["cpio", "-t", "--quiet"],
        input=cpio([("a", None), ("a/b", b"c")], 1),
        capture_output=True,
        check=True,
    )
    assert listed.stdout.split() == [b"a", b"a/b"]


def test_hashes_and_licences_of_the_bill(tmp_path: Path) -> None:
    lock = f"Some_Wheel[x]==1.0 \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
    assert wheel_hashes(lock)["some-wheel"] == ["a" * 64, "b" * 64]
    file = tmp_path / "copyright"
    file.write_text(
        "Format: https://example.org/copyright-format/1.0\nLicense: MIT\n text\n\nLicense: GPL-2+\n"
    )
    assert copyright_names(file) == ["GPL-2+", "MIT"]
    file.write_text("free text\nLicense: none\n")
    assert copyright_names(file) == []
