"""Write a unit's card: write_card.py /dev/sdX --unit units/unit-07 --ssh-key key.pub

Refuses every disk that is not an unused card, asks once, examines the disk again, writes, reads everything
back. The partition table is written last: a card whose writing was interrupted has none, not even a backup of
an older one, starts no unit, and is said to be unfinished.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from card_disk import CardError, Disk, System, choose, still
from card_image import FOOT, HEAD, CardImage, for_unit
from card_unit import left, rendered

from edgeagent.documents.enrol_invitation import read_invitation
from edgeagent.errors import EdgeAgentError

Progress = Callable[[int], None]
FILES = {
    name: f"unit/{name}"
    for name in ("edgeagent.toml", "trust.json", "broker.env", "nftables.conf", "timesyncd.conf", "name")
} | {"80-wired.network": "unit/network/80-wired.network"}
"""What a unit takes from its card at its first boot (first_boot.py has the same list), by its name here."""
UNFINISHED = "THE CARD IS UNFINISHED: it starts no unit. Write it again from the beginning."


def write(card: CardImage, disk: Disk, device: int, progress: Progress) -> None:
    """Write everything to the disk, opened as `device`, and read it back; partition tables last.

    `progress` is told bytes.

    Raises:
        CardError: the disk does not hold what was written.
        OSError: it failed.
    """
    # No table of what was on it before may find half of this image: neither the first one nor a backup, which
    # lies at the end of the disk, or where a smaller image ended.
    for at in {0, card.size - FOOT, disk.size - FOOT}:
        _put(device, at, bytes(HEAD))
    os.fsync(device)
    for at, content in card.chunks():
        _put(device, at, content)
        os.fsync(device)  # or the progress would be this machine's memory, not the card
        progress(len(content))
    _forget(device)
    for at, content in card.chunks():
        _compare(device, at, content, disk)
        progress(len(content))
    for at, content in card.tables():
        _put(device, at, content)
        os.fsync(device)
        _forget(device)
        _compare(device, at, content, disk)


@contextmanager
def opened(disk: Disk) -> Iterator[int]:
    """With O_EXCL the kernel itself refuses a disk that is used, and lets nobody mount it from now on.

    Raises:
        CardError: it cannot be opened, or failed while it was.
    """
    try:
        device = os.open(disk.device, os.O_RDWR | os.O_EXCL)
    except OSError as refused:
        raise CardError(f"cannot be opened: {refused.strerror}", where=str(disk.device),
                        next_step="unmount it; writing to a disk needs root") from refused  # fmt: skip
    try:
        yield device
    except OSError as failed:
        raise CardError(f"failed: {failed.strerror}. {UNFINISHED}", where=str(disk.device),
                        next_step="take another card if it happens again") from failed  # fmt: skip
    finally:
        os.close(device)


def _put(device: int, at: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        done = os.pwrite(device, left, at)
        left, at = left[done:], at + done


def _forget(device: int) -> None:
    """Drop what the system remembers of the disk, or reading back would read memory."""
    os.posix_fadvise(device, 0, 0, os.POSIX_FADV_DONTNEED)


def _compare(device: int, at: int, content: bytes, disk: Disk) -> None:
    if os.pread(device, len(content), at) != content:
        raise CardError(
            f"holds something else than was written, at byte {at} or behind. {UNFINISHED}",
            where=str(disk.device),
            next_step="the card is worn out or a counterfeit: take another",
        )


def unit_files(enrolment: Path | None, ssh_key: Path | None, extra: tuple[Path, ...]) -> dict[str, Path]:
    """What goes beside the loader, from the name there to the file here; the invitation is checked.

    Raises:
        ConfigError: the invitation is not one.
        CardError: a private key was named, or a file that no unit takes.
    """
    for path in extra:
        if path.name not in FILES and path.suffix != ".key":
            advice = f"a unit takes {', '.join(sorted(FILES))}"
            raise CardError("would be left on the card", where=str(path), next_step=advice)
    files = {FILES.get(path.name, path.name): path for path in extra}
    if enrolment is not None:
        read_invitation(enrolment)
        files["enrolment.toml"] = enrolment
    if ssh_key is not None:
        files["unit/authorized_keys"] = ssh_key
    for path in files.values():
        if b"PRIVATE KEY" in path.read_bytes() or path.suffix == ".key":
            raise CardError("is a private key", where=str(path), next_step="a unit makes its own keys")
    return files


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)


@click.command(help=__doc__)
@click.argument("device", type=click.Path(path_type=Path))
@click.option("--image", type=_FILE, default=Path("build/image/raspberry-pi-5/edgeagent-raspberry-pi-5.img"))
@click.option(
    "--unit",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The unit's folder: its enrolment.toml, and packet filter, broker, clocks from its network.toml.",
)
@click.option("--enrolment", type=_FILE, help="What `edgeagent enrolment invite UNIT` made for this unit.")
@click.option("--ssh-key", type=_FILE, help="Public keys of technicians, as in authorized_keys.")
@click.option(
    "--file", "extra", type=_FILE, multiple=True, help="nftables.conf, broker.env, edgeagent.toml …"
)
@click.option(
    "--dry-run", is_flag=True, help="Examine the disk and say what would be written; write nothing."
)
@click.option("--yes", help="The device's name once more, instead of the question: for scripts.")
def command(
    device: Path,
    image: Path,
    unit: Path | None,
    enrolment: Path | None,
    ssh_key: Path | None,
    extra: tuple[Path, ...],
    dry_run: bool,
    yes: str | None,
) -> None:
    """Examine, ask, write, read back."""
    for name in left(unit) if unit else []:
        click.echo(f"not for the card, stays here: {name}")
    with tempfile.TemporaryDirectory() as work:
        files = (rendered(unit, Path(work)) if unit else {}) | unit_files(enrolment, ssh_key, extra)
        card = for_unit(image, files, Path(work))
        deploy(card, device, System(), dry_run=dry_run, yes=yes)


def deploy(card: CardImage, device: Path, system: System, *, dry_run: bool, yes: str | None) -> None:
    """The whole of it, on a system that a test may bring.

    Raises:
        CardError: refused, not confirmed, or unfinished.
    """
    disk = choose(device, card.size, system)
    click.echo(f"{disk}\nEverything on it will be lost. Image: {card.image.name}, {card.size / 1e9:.2f} GB")
    if dry_run:
        click.echo("dry run: nothing was written")
        return
    typed = (
        yes
        if yes is not None
        else click.prompt(f"Type {disk.device.name} to go on", default="", show_default=False)
    )
    if typed != disk.device.name:
        raise CardError("was not confirmed; nothing was written", where=str(disk.device))
    with opened(disk) as held:
        still(disk, held, card.size, system)
        length = 2 * (card.size - HEAD - FOOT)
        with click.progressbar(length=length, label="write, read back", file=sys.stderr) as bar:
            try:
                write(card, disk, held, bar.update)
            except KeyboardInterrupt:
                raise CardError(f"interrupted. {UNFINISHED}", where=str(disk.device)) from None
    click.echo(f"{disk.device}: written and read back; it may be taken out")


def main() -> int:
    """Run the command; a refusal is one line and ends with 2."""
    try:
        command(standalone_mode=False)
    except EdgeAgentError as refused:
        click.echo(f"{type(refused).__name__}: {refused}", err=True)
        return 2
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was written", err=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
