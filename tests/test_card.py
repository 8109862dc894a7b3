"""Writing a unit's card: which disks are refused, what is written, what an interruption leaves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeagent.documents.enrol_invitation import Invitation, invitation_text, new_token
from edgeagent.documents.keys import Role
from tests import desk

ROOT = Path(__file__).parents[1]
ON_UNIT = ROOT / "deploy" / "image" / "root" / "usr" / "lib" / "edgeagent-image"
sys.path[:0] = [str(ROOT / "deploy" / "image"), str(ON_UNIT)]

import card_unit  # noqa: E402
import first_boot  # noqa: E402
import write_card  # noqa: E402
from card_disk import SECTOR, CardError, Disk, System, choose, still  # noqa: E402
from card_image import FOOT, HEAD, CardImage, Part, for_unit, partition  # noqa: E402

MIB = 1 << 20
BOOT = Part(MIB, 2 * MIB)
IMAGE_SIZE = 5 * MIB
CARD_SIZE = IMAGE_SIZE + 3 * MIB
MAGIC = b"EFI PART"


def gpt(boot: Part) -> bytes:
    """A partition table with one named partition, as its first 34 sectors."""
    first, last = boot.start // SECTOR, (boot.start + boot.size) // SECTOR - 1
    entry = bytes(32) + struct.pack("<QQQ", first, last, 0) + "boot".encode("utf-16-le").ljust(72, b"\0")
    header = MAGIC + struct.pack("<II", 0x10000, 92) + bytes(4 + 4 + 68)
    header = header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]
    return bytes(SECTOR) + header.ljust(SECTOR, b"\0") + entry.ljust(32 * SECTOR, b"\0")


def backup(table: bytes) -> bytes:
    """As the last 33 sectors of a disk hold it."""
    return table[2 * SECTOR :] + table[SECTOR : 2 * SECTOR]


def with_backup(content: bytes) -> bytes:
    """A disk with a backup of a partition table at its end."""
    end = backup(gpt(BOOT))
    return content[: -len(end)] + end


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small card image whose boot partition is a real FAT."""
    for tool in ("mkfs.vfat", "mcopy"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"needs {tool} (Debian: dosfstools, mtools)")
    fat = tmp_path / "fat"
    fat.write_bytes(bytes(BOOT.size))
    subprocess.run(["/usr/sbin/mkfs.vfat", str(fat)], check=True, stdout=subprocess.DEVNULL)
    file = tmp_path / "card.img"
    body = gpt(BOOT).ljust(HEAD, b"\0") + fat.read_bytes()
    file.write_bytes(with_backup(body + os.urandom(IMAGE_SIZE - len(body))))
    return file


@dataclass
class Reader:
    """A card reader whose card is a file, and the kernel's folders about it."""

    path: Path

    def __post_init__(self) -> None:
        self.device = self.path / "sdx"
        self.device.write_bytes(b"\xff" * CARD_SIZE)
        self.folder = self.path / "sys" / "class" / "block" / "sdx"
        (self.folder / "device").mkdir(parents=True)
        (self.folder / "sdx1" / "holders").mkdir(parents=True)
        self.says("ro", 0, "removable", 1, "size", CARD_SIZE // SECTOR, "dev", "8:32", "diskseq", 9)
        self.says("device/model", "CARD READER", "sdx1/partition", 1, "sdx1/dev", "8:33")
        (self.path / "mounts").write_text("22 1 0:21 / /proc rw - proc proc rw\n")
        (self.path / "swaps").write_text("Filename Type Size Used Priority\n")
        self.system = System(self.path / "sys", self.path / "mounts", self.path / "swaps", files=True)

    def says(self, *words: Any) -> None:
        for name, value in zip(words[::2], words[1::2], strict=True):
            (self.folder / name).write_text(f"{value}\n")


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_a_card_in_a_reader_and_one_in_a_boards_own_slot_are_taken(reader: Reader) -> None:
    assert choose(reader.device, IMAGE_SIZE, reader.system).size == CARD_SIZE
    reader.says("removable", 0, "device/type", "SD")
    assert choose(reader.device, IMAGE_SIZE, reader.system).model == "CARD READER"


REFUSED = {
    "fixed": (("removable", 0), "fixed disk"),
    "eMMC soldered on": (("removable", 0, "device/type", "MMC"), "fixed disk"),
    "write-protected": (("ro", 1), "write-protected"),
    "too small": (("size", IMAGE_SIZE // SECTOR - 1), "too small"),
    "empty reader": (("size", 0), "too small"),
    "a data disk": (("size", 10**12 // SECTOR), "too large"),
    "one partition": (("partition", 1), "part of a disk"),
}


@pytest.mark.parametrize(("words", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_card_is_refused(reader: Reader, words: tuple[Any, ...], why: str) -> None:
    reader.says(*words)
    with pytest.raises(CardError, match=why):
        choose(reader.device, IMAGE_SIZE, reader.system)


def test_a_disk_in_use_is_refused_and_the_use_is_named(reader: Reader) -> None:
    reader.system.mounts.write_text("30 1 8:33 / /media/card rw - vfat /dev/sdx1 rw\n")
    with pytest.raises(CardError, match="sdx1 is mounted on /media/card"):
        choose(reader.device, IMAGE_SIZE, reader.system)
    reader.system.mounts.write_text("30 1 8:32 / / rw - ext4 /dev/sdx rw\n")
    with pytest.raises(CardError, match="sdx is mounted on /"):
        choose(reader.device, IMAGE_SIZE, reader.system)
    reader.system.mounts.write_text("")
    reader.system.swaps.write_text("Filename Type\n/dev/sdx1 partition\n")
    with pytest.raises(CardError, match="swap space"):
        choose(reader.device, IMAGE_SIZE, reader.system)
    reader.system.swaps.write_text("Filename Type\n")
    (reader.folder / "sdx1" / "holders" / "dm-0").mkdir()
    with pytest.raises(CardError, match="held by dm-0"):
        choose(reader.device, IMAGE_SIZE, reader.system)


def test_the_command_takes_no_file_and_no_missing_device(tmp_path: Path) -> None:
    file = tmp_path / "sdx"
    file.touch()
    with pytest.raises(CardError, match="is no disk"):
        choose(file, 1, System())
    with pytest.raises(CardError, match="does not exist"):
        choose(tmp_path / "sdz", 1, System())


def listed(device: Path, *words: str) -> bytes:
    offset = f"{device}@@{BOOT.start}"
    return subprocess.run(["mtype", "-i", offset, *words], check=True, capture_output=True).stdout


def test_a_card_holds_the_image_and_the_units_own_files(image: Path, reader: Reader, tmp_path: Path) -> None:
    invitation = Invitation(
        unit="unit-07",
        broker="192.0.2.10:8883",
        token=new_token(),
        root=desk.identity(Role.ROOT, "root", 0).kid,
        control_room_ca="ab" * 32,
        control_room_key=desk.identity(Role.CONTROL_ROOM, "room", 0).seal_key.x,
    )
    told, key = tmp_path / "enrolment.toml", tmp_path / "key.pub"
    told.write_bytes(invitation_text(invitation))
    key.write_text("ssh-ed25519 AAAA technician\n")
    card = for_unit(image, write_card.unit_files(told, key, ()), tmp_path)
    write_card.deploy(card, reader.device, reader.system, dry_run=False, yes="sdx")
    assert listed(reader.device, "::enrolment.toml") == told.read_bytes()
    assert listed(reader.device, "::unit/authorized_keys") == key.read_bytes()
    behind = BOOT.start + BOOT.size
    written, wanted = reader.device.read_bytes(), image.read_bytes()
    assert written[:HEAD] == wanted[:HEAD]
    assert written[behind:IMAGE_SIZE] == wanted[behind:]
    assert written[IMAGE_SIZE:-FOOT] == b"\xff" * (CARD_SIZE - IMAGE_SIZE - FOOT)
    assert written[-FOOT:] == bytes(FOOT)
    assert partition(reader.device, "boot") == BOOT


@pytest.mark.parametrize("typed", ["", "sdy", "yes"])
def test_nothing_is_written_unless_the_device_is_named(
    image: Path, reader: Reader, tmp_path: Path, typed: str
) -> None:
    card = for_unit(image, {}, tmp_path)
    before = reader.device.read_bytes()
    with pytest.raises(CardError, match="nothing was written"):
        write_card.deploy(card, reader.device, reader.system, dry_run=False, yes=typed)
    assert reader.device.read_bytes() == before


def test_a_dry_run_examines_and_writes_nothing(image: Path, reader: Reader, tmp_path: Path) -> None:
    card, before = for_unit(image, {}, tmp_path), reader.device.read_bytes()
    write_card.deploy(card, reader.device, reader.system, dry_run=True, yes=None)
    assert reader.device.read_bytes() == before
    reader.says("removable", 0)
    with pytest.raises(CardError, match="fixed"):
        write_card.deploy(card, reader.device, reader.system, dry_run=True, yes=None)


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tools!r}]
import write_card
from card_disk import Disk
from card_image import CardImage, Part
card = CardImage(Path({image!r}), Part({start}, {size}), Path({boot!r}))
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
def told(done):
    print("going", flush=True)
    signal.pause()
disk = Disk(Path({device!r}), os.path.getsize({device!r}), "", ())
with write_card.opened(disk) as device:
    write_card.write(card, disk, device, told)
"""


@pytest.mark.parametrize("larger", [0, 3 * MIB], ids=["card as large as the image", "larger card"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_card_has_no_partition_table(
    image: Path, reader: Reader, tmp_path: Path, number: signal.Signals, larger: int
) -> None:
    card = for_unit(image, {}, tmp_path)
    # A card that held a whole image before, and whose table somebody's tool had copied to its very end.
    reader.device.write_bytes(with_backup(image.read_bytes() + bytes(larger)))
    assert MAGIC in reader.device.read_bytes()[-SECTOR:]
    program = INTERRUPTED.format(
        tools=str(ROOT / "deploy" / "image"),
        image=str(image),
        start=BOOT.start,
        size=BOOT.size,
        boot=str(card.boot),
        device=str(reader.device),
    )
    writing = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    assert writing.stdout is not None
    writing.stdout.readline()
    time.sleep(0.1)  # into the pause
    writing.send_signal(number)
    assert writing.wait(60) != 0
    writing.stdout.close()
    with pytest.raises(CardError, match="no image of a card"):
        partition(reader.device, "boot")
    assert MAGIC not in reader.device.read_bytes()


SWAPPED = {
    "another card in the same reader": ("diskseq", 10),
    "another card, on a kernel that does not count": ("device/cid", "0353445341"),
    "another disk under the name": ("dev", "8:48"),
    "a larger card": ("size", 2 * CARD_SIZE // SECTOR),
}


@pytest.mark.parametrize("words", SWAPPED.values(), ids=SWAPPED)
def test_a_card_that_was_swapped_at_the_question_is_not_written(
    image: Path, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, Any]
) -> None:
    card, before = for_unit(image, {}, tmp_path), reader.device.read_bytes()

    def answer(*_: object, **__: object) -> str:
        reader.says(*words)
        return "sdx"

    monkeypatch.setattr("click.prompt", answer)
    with pytest.raises(CardError, match="nothing was written"):
        write_card.deploy(card, reader.device, reader.system, dry_run=False, yes=None)
    assert reader.device.read_bytes() == before


def test_a_card_that_was_mounted_at_the_question_is_not_written(
    image: Path, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, before = for_unit(image, {}, tmp_path), reader.device.read_bytes()

    def answer(*_: object, **__: object) -> str:
        reader.system.mounts.write_text("30 1 8:33 / /media/card rw - vfat /dev/sdx1 rw\n")
        return "sdx"

    monkeypatch.setattr("click.prompt", answer)
    with pytest.raises(CardError, match="sdx1 is mounted"):
        write_card.deploy(card, reader.device, reader.system, dry_run=False, yes=None)
    assert reader.device.read_bytes() == before


class Loop:
    """A real block device over a file, with the kernel's real folder but for the word `removable`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "first"
        self.file.write_bytes(bytes(CARD_SIZE))
        done = subprocess.run(["losetup", "--show", "-f", str(self.file)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("needs a loop device: " + done.stderr.decode().strip())
        self.device = Path(done.stdout.decode().strip())
        real = Path("/sys/class/block") / self.device.name
        folder = path / "sys" / "class" / "block" / self.device.name
        folder.mkdir(parents=True)
        for name in ("dev", "diskseq", "size", "ro", "holders"):
            if (real / name).exists():
                (folder / name).symlink_to((real / name).resolve())
        (folder / "removable").write_text("1\n")
        self.system = System(sysfs=path / "sys")

    def swap(self) -> None:
        """Take the card out, and put another of the same size in."""
        self.file = self.path / "second"
        self.file.write_bytes(b"\xff" * CARD_SIZE)
        self.remove()
        subprocess.run(["losetup", str(self.device), str(self.file)], check=True)

    def remove(self) -> None:
        subprocess.run(["losetup", "-d", str(self.device)], check=True)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("needs root and losetup for a loop device")
    made = Loop(tmp_path)
    yield made
    made.remove()


def test_a_real_device_is_written_and_read_back(image: Path, loop: Loop, tmp_path: Path) -> None:
    card = for_unit(image, {}, tmp_path)
    write_card.deploy(card, loop.device, loop.system, dry_run=False, yes=loop.device.name)
    assert loop.file.read_bytes()[:IMAGE_SIZE] == image.read_bytes()
    assert partition(loop.device, "boot") == BOOT


def test_a_real_device_that_was_swapped_at_the_question_is_not_written(
    image: Path, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (loop.system.sysfs / "class/block" / loop.device.name / "diskseq").exists():
        pytest.skip("needs Linux 5.15, which counts the media that are put in")

    def answer(*_: object, **__: object) -> str:
        loop.swap()
        return loop.device.name

    monkeypatch.setattr("click.prompt", answer)
    with pytest.raises(CardError, match="nothing was written"):
        write_card.deploy(for_unit(image, {}, tmp_path), loop.device, loop.system, dry_run=False, yes=None)
    assert loop.file.read_bytes() == b"\xff" * CARD_SIZE


def test_what_was_opened_is_what_was_examined(loop: Loop, reader: Reader) -> None:
    disk = choose(loop.device, IMAGE_SIZE, loop.system)
    with write_card.opened(disk) as held:
        still(disk, held, IMAGE_SIZE, loop.system)
    with reader.device.open("rb") as other, pytest.raises(CardError, match="not the card any more"):
        still(disk, other.fileno(), IMAGE_SIZE, loop.system)


def test_ctrl_c_says_that_the_card_is_unfinished(
    image: Path, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write_card, "write", interrupted)
    card = for_unit(image, {}, tmp_path)
    with pytest.raises(CardError, match="THE CARD IS UNFINISHED"):
        write_card.deploy(card, reader.device, reader.system, dry_run=False, yes="sdx")


def test_a_card_that_does_not_hold_what_was_written_is_found(
    image: Path, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_card._forget

    def worn(device: int) -> None:
        os.pwrite(device, b"?", 3 * MIB + 17)
        real(device)

    monkeypatch.setattr(write_card, "_forget", worn)
    card = for_unit(image, {}, tmp_path)
    with pytest.raises(CardError, match="counterfeit"):
        write_card.deploy(card, reader.device, reader.system, dry_run=False, yes="sdx")
    with pytest.raises(CardError, match="no image of a card"):
        partition(reader.device, "boot")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_takes_no_more_is_said_to_be_unfinished(image: Path, tmp_path: Path) -> None:
    card = for_unit(image, {}, tmp_path)
    disk = Disk(Path("/dev/full"), card.size, "", ())
    with pytest.raises(CardError, match="UNFINISHED"), write_card.opened(disk) as device:
        write_card.write(card, disk, device, lambda _: None)


def test_private_keys_and_false_invitations_stay_off_the_card(tmp_path: Path) -> None:
    key = tmp_path / "unit.key"
    key.write_text("secret")
    with pytest.raises(CardError, match="private key"):
        write_card.unit_files(None, None, (key,))
    pem = tmp_path / "id"
    pem.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(CardError, match="private key"):
        write_card.unit_files(None, pem, ())
    told = tmp_path / "enrolment.toml"
    told.write_text("unit = 'unit-07'\n")
    result = CliRunner().invoke(
        write_card.command, [str(tmp_path / "sdx"), "--image", str(told), "--enrolment", str(told)]
    )
    assert "enrolment" in str(result.exception)


def test_only_files_that_a_unit_takes_are_written(tmp_path: Path) -> None:
    for name, place in write_card.FILES.items():
        file = tmp_path / name
        file.write_text("x")
        assert write_card.unit_files(None, None, (file,)) == {place: file}
    own = {"enrolment.toml", "unit/authorized_keys"}
    assert set(first_boot.WANTED) == set(write_card.FILES.values()) | own
    other = tmp_path / "notes.txt"
    other.write_text("x")
    with pytest.raises(CardError, match="left on the card"):
        write_card.unit_files(None, None, (other,))


INVITED = Invitation(
    unit="unit-07",
    broker="192.0.2.10:8883",
    token=new_token(),
    root="A" * 43,
    control_room_ca="0" * 64,
    control_room_key="A" * 43,
)


def unit_folder(folder: Path, *, broker: str, network: str) -> Path:
    """A unit's folder at the desk, as a technician has it before the first boot."""
    folder.mkdir()
    invitation = INVITED.model_copy(update={"broker": broker})
    (folder / "enrolment.toml").write_bytes(invitation_text(invitation))
    (folder / "network.toml").write_text(network)
    return folder


def test_a_units_folder_becomes_all_that_its_first_boot_needs(tmp_path: Path) -> None:
    network = 'technicians = ["198.51.100.0/24"]\nclocks = ["192.0.2.5", "192.0.2.6"]\n'
    folder = unit_folder(tmp_path / "unit-07", broker="192.0.2.10:8884", network=network)
    (folder / "80-wired.network").write_text("[Match]\n")
    work = tmp_path / "work"
    work.mkdir()
    files = card_unit.rendered(folder, work)
    assert set(files) < set(first_boot.WANTED)
    text = {name: file.read_text() for name, file in files.items()}
    rules = text["unit/nftables.conf"]
    for name, member in (
        ("broker", "192.0.2.10 . 8884"),
        ("technicians", "198.51.100.0/24"),
        ("clocks", "192.0.2.5, 192.0.2.6"),
        ("doors", "22"),
    ):
        assert re.search(rf"set {name} {{ elements = {{ {re.escape(member)} }}", rules), name
    assert text["unit/broker.env"].splitlines()[-1] == "BROKER=192.0.2.10:8884"
    assert "NTP=192.0.2.5 192.0.2.6\nFallbackNTP=\n" in text["unit/timesyncd.conf"]
    assert text["unit/name"] == "unit-07\n"
    assert text["enrolment.toml"] == (folder / "enrolment.toml").read_text()
    assert files["unit/network/80-wired.network"] == folder / "80-wired.network"


def test_a_broker_that_only_the_van_knows_is_asked_for_by_its_address(tmp_path: Path) -> None:
    """A unit may ask no name server: with a name in its rules it would reach nothing."""
    network = 'technicians = ["198.51.100.0/24"]\n'
    folder = unit_folder(tmp_path / "unit-07", broker="broker.van.invalid:8883", network=network)
    with pytest.raises(CardError, match=r"cannot look up the broker, broker\.van\.invalid") as refused:
        card_unit.rendered(folder, tmp_path)
    assert "broker = [" in refused.value.next_step
    (folder / "network.toml").write_text(network + 'broker = ["192.0.2.11"]\n')
    made = card_unit.rendered(folder, tmp_path)
    assert "BROKER=192.0.2.11:8883" in made["unit/broker.env"].read_text()


@pytest.mark.parametrize("gone", ["enrolment.toml", "network.toml"])
def test_a_units_folder_that_lacks_something_is_named(
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    gone: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = unit_folder(
        tmp_path / "unit-07", broker="192.0.2.10:8883", network='technicians = ["192.0.2.0/24"]\n'
    )
    (folder / gone).unlink()
    words = ["write_card.py", str(tmp_path / "sdx"), "--image", str(image), "--unit", str(folder)]
    monkeypatch.setattr(sys, "argv", words)
    assert write_card.main() == 2
    assert gone in capsys.readouterr().err


def test_an_image_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "card.img"
    file.write_bytes(bytes(2 * MIB))
    with pytest.raises(CardError, match="make image"):
        for_unit(file, {}, tmp_path)
    assert CardImage(file, BOOT, file).size == 2 * MIB
