"""What an interrupted build of the Debian base leaves behind: nothing, and nothing mounted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import image_base
import pytest
from compare_image import versions
from image_board import load_board
from image_modules import require, thin
from image_tools import ImageError, progress, run
from image_tree import _newest

ROOT = Path(__file__).parents[2]
SLOW_DEBIAN = """\
#!/bin/sh
# As mmdebstrap does: a root under TMPDIR with something mounted in it, the tar under its last argument.
for last; do :; done
mkdir "$TMPDIR/root" && mount -t tmpfs tmpfs "$TMPDIR/root"
echo half >"$last"
sh -c 'exec sleep 600' &
echo $! >"$PIDS"
echo "I: installing"
wait
"""
BUILD = """
import signal, sys
from pathlib import Path
sys.path[:0] = [{tools!r}]
import image_base, image_tools
image_base.BINFMT, image_base.need = Path("/"), lambda *_: None
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)
image_tools.interruptible()
image_base.build(["mmdebstrap", "bookworm"], Path({tar!r}), lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_base_leaves_nothing_mounted_and_nothing_half_made(
    tmp_path: Path, number: signal.Signals
) -> None:
    can = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(can, capture_output=True, check=False).returncode:
        pytest.skip("needs root and a mount namespace")
    program, cache = tmp_path / "bin" / "mmdebstrap", tmp_path / "cache"
    program.parent.mkdir()
    program.write_text(SLOW_DEBIAN)
    program.chmod(0o755)
    pids = tmp_path / "pids"
    words = BUILD.format(tools=str(ROOT / "deploy" / "image"), tar=str(cache / "base.tar"))
    building = subprocess.Popen(
        [sys.executable, "-c", words],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PIDS": str(pids)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert building.stdout is not None
    while b"I: installing" not in (line := building.stdout.readline()):
        assert line, "the build ended before it began"
    building.send_signal(number)
    assert building.wait(60) != 0
    building.stdout.close()
    assert str(cache) not in Path("/proc/self/mounts").read_text()
    if number == signal.SIGKILL:  # nobody is left to tidy; the next build does
        os.kill(int(pids.read_text()), signal.SIGTERM)
        assert not (cache / "base.tar").exists()
    else:
        assert [path.name for path in cache.iterdir()] == ["base.log"]
        assert _gone(int(pids.read_text()))


def _gone(pid: int) -> bool:
    """Whether the process ended; its parent may be late to say so."""
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_a_base_that_fails_says_where_its_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root and a mount namespace")
    monkeypatch.setattr(image_base, "BINFMT", tmp_path)
    monkeypatch.setattr(image_base, "need", lambda *_: None)
    tar = tmp_path / "cache" / "base.tar"
    with pytest.raises(ImageError, match="failed with 5") as failed:
        image_base.build(["sh", "-c", "seq 100; exit 5"], tar, lambda _: None)
    log = tar.with_suffix(".log")
    assert str(log) in failed.value.next_step
    assert log.read_text().splitlines()[:2] == ["1", "2"]
    assert list(tar.parent.iterdir()) == [log]


def test_packages_that_became_newer_between_two_builds_are_named(tmp_path: Path) -> None:
    bills = [tmp_path / "first", tmp_path / "second"]
    for bill, libc, more in zip(bills, ("2.36-9", "2.36-10"), (["deb/zstd"], []), strict=True):
        parts = [{"bom-ref": "deb/libc6", "version": libc}, {"bom-ref": "deb/dash", "version": "0.5"}]
        parts += [{"bom-ref": name, "version": "1"} for name in more]
        bill.write_text(json.dumps({"components": parts}))
    assert list(versions(*bills)) == ["deb/libc6 2.36-9 → 2.36-10", "deb/zstd 1 → absent"]


def test_the_initrd_of_a_board_gets_the_boards_own_modules(tmp_path: Path) -> None:
    board = load_board("raspberry-pi-5")
    hooks = [word.split("=", 1)[1] for word in image_base._command(board) if "printf" in word]
    (tmp_path / "etc/initramfs-tools").mkdir(parents=True)
    for hook in hooks:
        subprocess.run(["sh", "-c", hook, "hook", str(tmp_path)], check=True)
    listed = (tmp_path / "etc/initramfs-tools/modules").read_text().split()
    assert listed == board.initrd_modules != []


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A kernel's drivers as Debian installs them: a camera's, which rests on another, and a radio's."""
    rests = {
        "drivers/media/usb/uvc/uvcvideo.ko.xz": ["drivers/media/common/videobuf2/videobuf2-v4l2.ko.xz"],
        "drivers/media/common/videobuf2/videobuf2-v4l2.ko.xz": [],
        "drivers/media/common/siano/smsmdtv.ko.xz": ["drivers/media/rc/rc-core.ko.xz"],
        "drivers/media/rc/rc-core.ko.xz": [],
        "net/bluetooth/bluetooth.ko.xz": [],
        "drivers/bluetooth/btusb.ko.xz": ["net/bluetooth/bluetooth.ko.xz"],
    }
    for name in rests:
        file = tmp_path / "kernel" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    lines = (f"kernel/{name}:{''.join(f' kernel/{other}' for other in on)}\n" for name, on in rests.items())
    (tmp_path / "modules.dep").write_text("".join(lines))
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/drivers/md/dm-verity.ko\n")
    return tmp_path


def test_what_rests_on_a_driver_that_goes_goes_with_it(modules: Path) -> None:
    thin(modules, ["drivers/media/rc", "net/bluetooth"])
    left = {path.name for path in modules.rglob("*.ko.xz")}
    assert left == {"uvcvideo.ko.xz", "videobuf2-v4l2.ko.xz"}
    require(modules, ["uvcvideo", "ext4", "dm_verity"])


def test_a_root_whose_camera_has_no_driver_is_not_built(modules: Path) -> None:
    """It was, once: uvcvideo stood there, and what it rests on lay in a folder that was removed."""
    thin(modules, ["drivers/media/common"])
    with pytest.raises(ImageError, match="has no uvcvideo"):
        require(modules, ["uvcvideo"])


@pytest.mark.parametrize("board", ["virt", "raspberry-pi-5"])
def test_no_board_does_without_the_cameras_driver(board: str) -> None:
    assert {"uvcvideo", "dm_verity", "nf_tables"} <= set(load_board(board).all_needed_modules)


def test_what_debian_no_longer_has_where_it_was_is_named(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for name in ("a-1", "a-2"):
        (tmp_path / "new" / name).touch()
    assert _newest(tmp_path, "old/a-*", "new/a-*").name == "a-2"
    with pytest.raises(ImageError, match=r"has no old/a-\*"):
        _newest(tmp_path, "old/a-*")


def test_a_failed_program_is_named_with_its_last_words() -> None:
    with pytest.raises(ImageError, match="failed with 3: first \\| last"):
        run("sh", "-c", "echo first; echo last >&2; exit 3")


def test_a_long_step_says_that_it_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    seen = ""
    with progress("slot", every_s=0.01) as told:
        told("squashfs")
        for _ in range(600):
            seen += capfd.readouterr().err
            if "s … squashfs" in seen:
                break
            time.sleep(0.1)
    assert "s … squashfs" in seen
    assert "slot" in capfd.readouterr().out
