"""What differs from board to board: one TOML file each, in boards/."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from image_tools import HERE, MEBIBYTE, SECTOR, ImageError, lines
from pydantic import Field

from edgeagent.safeguards.profile import StrictModel

Size = Annotated[int, Field(ge=1, le=8192)]


class Sizes(StrictModel):
    """Partitions in MiB. A slot's kernel is at `kernel_at` and has `kernel_most`; the initrd is next."""

    boot: Size
    state: Size
    slot: Size
    kernel_at: Size
    kernel_most: Size
    initrd_most: Size
    data: Size

    @property
    def pieces(self) -> dict[str, tuple[int, int]]:
        """What the loader starts: where each begins in a slot, and the most that it may take, in MiB."""
        return {
            "kernel": (self.kernel_at, self.kernel_most),
            "ramdisk": (self.kernel_at + self.kernel_most, self.initrd_most),
        }

    @property
    def total(self) -> int:
        """Bytes of the whole image: a MiB before and one behind for the partition tables."""
        return (self.boot + self.state + 2 * self.slot + self.data + 2) * MEBIBYTE


class Board(StrictModel):
    """One board."""

    board: str
    suite: str
    components: list[str]
    python: str
    packages: list[str]
    loader: Literal["u-boot"]
    disk: str
    kernel_address: int
    read_address: int
    console: str
    sizes: Sizes
    backports: bool = False
    initrd_modules: list[str] = Field(default_factory=list)
    needed_modules: list[str] = Field(default_factory=list)
    device_tree: str = "${fdtcontroladdr}"
    boot_files: dict[str, str] = Field(default_factory=dict)

    @property
    def own_boot_files(self) -> list[Path]:
        """Files beside this board's that go onto the loader's partition as they are."""
        folder = HERE / "boards" / f"{self.board}.boot"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    @property
    def all_packages(self) -> list[str]:
        """Debian packages of its root."""
        return sorted({*lines(HERE / "packages.txt"), *self.packages})

    @property
    def all_needed_modules(self) -> list[str]:
        """Drivers without which it is no unit."""
        return sorted({*lines(HERE / "kernel-modules-needed.txt"), *self.needed_modules})

    def address(self, kind: str) -> int:
        """Where the loader has read a piece of a slot to."""
        at, _ = self.sizes.pieces[kind]
        return self.read_address + (at - self.sizes.kernel_at) * MEBIBYTE

    def words(self) -> dict[str, object]:
        """What the loader's templates are filled with."""
        return {
            "BOARD": self.board,
            "DISK": self.disk,
            "CONSOLE": self.console,
            "DEVICE_TREE": self.device_tree,
            "READ_COMMAND": f"{self.disk.split()[0]} read",
            "READ_ADDRESS": hex(self.read_address),
            "KERNEL_ADDRESS": hex(self.kernel_address),
            "KERNEL_AT_SECTORS": hex(self.sizes.kernel_at * MEBIBYTE // SECTOR),
            "KERNEL_SECTORS": hex(sum(most for _, most in self.sizes.pieces.values()) * MEBIBYTE // SECTOR),
            "INITRD_ADDRESS": hex(self.address("ramdisk")),
        }


def load_board(name: str) -> Board:
    """The board of that name.

    Raises:
        ImageError: there is none.
    """
    file = HERE / "boards" / f"{name}.toml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.toml")))
        raise ImageError("is no board", where=name, next_step=f"take one of {known}")
    return Board.model_validate(tomllib.loads(file.read_text()))
