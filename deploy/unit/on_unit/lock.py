"""One at a time: a lock that ends with whoever holds it, however that ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unit.on_unit.places import UnitError


@contextmanager
def alone(file: Path, busy: str, next_step: str) -> Iterator[None]:
    """Nobody else holds this file's lock meanwhile.

    Raises:
        UnitError: `busy`, somebody does.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnitError(busy, where=str(file), next_step=next_step) from None
        yield
