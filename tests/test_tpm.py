"""A TPM counts every loss of power against the keys that it keeps; a start of the daemon clears that."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import socket, socketpair
from threading import Thread

import pytest

from edgeagent.agent.doctor_finding import State, attempt
from edgeagent.agent.doctor_unit import counted, tpm
from edgeagent.errors import KeyFileError
from edgeagent.system.enrol_keys import Keeper, Kept
from edgeagent.system.tpm import Failures, failures, forget
from tests.software_tpm import SoftwareTpm, software_tpm

SECRET = b"a key of thirty-two octets, say."
TOO_MANY = 40
"""More losses of power than any TPM allows; swtpm allows three."""
PERMANENT, COUNTER, ALLOWED = 0x200, 0x20E, 0x20F
GUARDED, LOCKED = 4, 512


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[SoftwareTpm]:
    with software_tpm(tmp_path / "tpm") as made:
        yield made


def _until_locked(chip: SoftwareTpm, keeper: Keeper) -> int:
    for lost in range(TOO_MANY):
        try:
            assert keeper.get("unit.key") == SECRET
        except KeyFileError:
            return lost
        chip.lose_power()
        chip.power_on()
    raise AssertionError("nothing to mend: it does not lock")


def test_power_cuts_lock_the_keys_and_one_command_opens_them_again(chip: SoftwareTpm, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, Kept.TPM2, chip.name)
    keeper.put("unit.key", SECRET)
    lost = _until_locked(chip, keeper)
    with chip.opened() as device:
        found = failures(device)
        assert (found.counted, found.locked, found.guarded) == (lost, True, False)
        assert found.allowed == lost
        assert forget(device) == found
        assert failures(device) == Failures(0, lost, locked=False, guarded=False)
    assert keeper.get("unit.key") == SECRET


def test_with_the_command_before_each_start_no_number_of_cuts_locks_them(
    chip: SoftwareTpm, tmp_path: Path
) -> None:
    keeper = Keeper(tmp_path, Kept.TPM2, chip.name)
    keeper.put("unit.key", SECRET)
    for _ in range(12):
        chip.lose_power()
        chip.power_on()
        with chip.opened() as device:
            assert forget(device).counted <= 1
        assert keeper.get("unit.key") == SECRET


class Chip:
    """Answers that software does not give here: a TPM of which somebody has set the password."""

    def __init__(self, *, told: dict[int, int], code: int = 0, cut: int = 0) -> None:
        self.asked: list[bytes] = []
        ours, self._theirs = socketpair()
        self.ours: socket = ours
        rows = b"".join(key.to_bytes(4) + value.to_bytes(4) for key, value in told.items())
        body = b"\0" + (6).to_bytes(4) + len(told).to_bytes(4) + rows if not code else b""
        whole = b"\x80\x01" + (10 + len(body)).to_bytes(4) + code.to_bytes(4) + body
        self._answer = whole[: len(whole) - cut]
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while command := self._theirs.recv(4096):
            self.asked.append(command)
            self._theirs.sendall(self._answer)

    def close(self) -> None:
        """Hang up; all that was asked is in `asked`."""
        self.ours.close()
        self._thread.join()
        self._theirs.close()


def test_a_count_behind_a_password_is_not_tried_which_would_lock_that_too() -> None:
    said = "TPM: 3 of 32 failures counted, locked, and only a password"
    told = {PERMANENT: GUARDED | LOCKED, COUNTER: 3, ALLOWED: 32}
    with closing(Chip(told=told)) as chip, pytest.raises(KeyFileError, match=said):
        forget(chip.ours.fileno())
    assert len(chip.asked) == 1


def test_a_count_of_nothing_is_not_written() -> None:
    """Behind a password or not; the memory of a TPM wears."""
    for flags in (0, GUARDED):
        with closing(Chip(told={PERMANENT: flags, COUNTER: 0, ALLOWED: 32})) as chip:
            assert forget(chip.ours.fileno()).counted == 0
        assert len(chip.asked) == 1


@pytest.mark.parametrize(
    ("chip", "said"),
    [
        ({"told": {PERMANENT: 0, COUNTER: 1}}, "does not say what it has counted"),
        ({"told": {}, "code": 0x921}, "refuses with code 0x921"),
        ({"told": {PERMANENT: 0, COUNTER: 1, ALLOWED: 3}, "cut": 4}, "refuses with code 0x0"),
        ({"told": {}, "cut": 12}, "gives no answer"),
    ],
)
def test_an_answer_that_cannot_be_read_is_named(chip: dict[str, object], said: str) -> None:
    with closing(Chip(**chip)) as made, pytest.raises(KeyFileError, match=said):  # type: ignore[arg-type]
        failures(made.ours.fileno())


def _program(device: int) -> tuple[int, str]:
    command = [sys.executable, "-I", "-m", "edgeagent.system.tpm"]
    done = subprocess.run(command, stdin=device, stdout=device, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


def test_the_program_of_the_service_says_what_it_did(chip: SoftwareTpm, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, Kept.TPM2, chip.name)
    keeper.put("unit.key", SECRET)
    lost = _until_locked(chip, keeper)
    with chip.opened() as device:
        assert _program(device) == (0, f"{lost} of {lost} failures counted, locked; cleared\n")
        assert _program(device) == (0, f"0 of {lost} failures counted\n")
    assert keeper.get("unit.key") == SECRET


def test_the_program_of_the_service_names_what_is_no_tpm() -> None:
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        code, said = _program(nothing.fileno())
    assert code == 1
    assert said.startswith("TPM: gives no answer — look at the TPM with")


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (Failures(1, 32, locked=False, guarded=False), State.OK, "1 of 32 failures counted"),
        (Failures(32, 32, locked=True, guarded=False), State.BROKEN, "systemctl restart edgeagent"),
        (Failures(0, 32, locked=False, guarded=True), State.LOOK, "only a password can clear that"),
        (Failures(32, 32, locked=True, guarded=True), State.BROKEN, "only a password can clear that"),
    ],
)
def test_the_doctor_says_what_to_do(found: Failures, state: State, said: str) -> None:
    finding = attempt("TPM", lambda: counted(found))
    assert finding.state is state
    assert said in f"{finding.text} {finding.next_step}"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A root whose TPM answers nothing, and a folder with a sealed key."""
    device = tmp_path / "dev" / "tpmrm0"
    device.parent.mkdir()
    device.symlink_to(os.devnull)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/unit.key").write_text("sealed")
    return tmp_path


def test_the_doctor_of_a_board_without_a_tpm(tmp_path: Path) -> None:
    assert tpm(tmp_path, tmp_path / "credentials") == "none"


def test_the_doctor_of_a_dead_one(board: Path) -> None:
    finding = attempt("TPM", lambda: tpm(board, board / "credentials"))
    assert (finding.state, finding.text) == (State.BROKEN, "TPM: gives no answer")


def test_the_doctor_of_a_unit_whose_keys_are_files(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the TPM has counted is none of this unit's business then."""
    locked = Failures(32, 32, locked=True, guarded=True)
    monkeypatch.setattr("edgeagent.agent.doctor_unit.failures", lambda _: locked)
    (board / "credentials/unit.key").unlink()
    finding = attempt("TPM", lambda: tpm(board, board / "credentials"))
    assert finding.state is State.OK
    assert finding.text.endswith("it keeps no key of this unit")


def test_the_doctor_that_is_not_root_says_that_it_may_not_ask(board: Path) -> None:
    """`make deploy` asks as the daemon's user, and must not tell a technician that the TPM is broken."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    (board / "dev/tpmrm0").unlink()
    (board / "dev/tpmrm0").touch(mode=0o600)
    for folder in (board, *board.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    ask = (
        "import sys, pathlib; from edgeagent.agent.doctor_finding import attempt; "
        "from edgeagent.agent.doctor_unit import tpm; root = pathlib.Path(sys.argv[1]); "
        "print(attempt('TPM', lambda: tpm(root, root / 'credentials')).state)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, str(board)], capture_output=True, text=True, user=65534, group=65534
    )
    assert done.stdout == "cannot tell here\n", done.stderr
