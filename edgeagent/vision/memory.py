"""The one owner of memory that holds faces: lent for a while, then overwritten and read back (R1).

Frames, canvases, chips, landmarks, templates and the networks' results lie in such memory and nowhere else.
It is mapped once, kept out of core dumps and of child processes, and locked against swapping where the
system allows it; `locked` says whether it did.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeagent.errors import SafeguardError

Take = Callable[[tuple[int, ...], type[np.generic]], npt.NDArray[Any]]
"""Gives an array of a shape and type, with anything in it: `np.empty`, or `BiometricMemory.take`."""

_ALIGN = 64
_LIBC = ctypes.CDLL(None, use_errno=True)


def room(*arrays: tuple[tuple[int, ...], type[np.generic]]) -> int:
    """Octets that hold these arrays."""
    return sum(_rounded(math.prod(shape) * np.dtype(dtype).itemsize) for shape, dtype in arrays)


class BiometricMemory:
    """A stack of borrowed arrays over one mapping.

    What is taken inside `with memory.loan()` is overwritten when that block ends. The outermost block also
    checks that nobody kept an array: such memory is lent to nobody again, so it reads as zeros for ever.

    Attributes:
        locked: the system keeps this memory out of swap.
        kept: how often somebody kept an array beyond the outermost loan.
    """

    def __init__(self, octets: int, fd: int = -1) -> None:
        """Map memory of this size: the process's own, or that of the file `fd`.

        Raises:
            OSError: there is no such memory.
        """
        self._octets = _rounded(octets)
        self._fd = fd
        self._used = 0
        self.kept = 0
        self._map()

    def take(self, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
        """Borrow an array until the current loan ends; outside a loan, for ever.

        Raises:
            SafeguardError: R1, there is no room, so the caller would have to use other memory.
        """
        octets = math.prod(shape) * np.dtype(dtype).itemsize
        if self._used + octets > self._octets:
            raise SafeguardError(
                "there is no room for what a face needs",
                where="biometric memory",
                next_step="report this with the log",
                rule="R1",
            )
        array = self._whole[self._used : self._used + octets].view(dtype).reshape(shape)
        self._used += _rounded(octets)
        return array

    @contextmanager
    def loan(self) -> Iterator[None]:
        """Overwrite what was taken inside the block when it ends, however it ends.

        Names live as long as their function, so let one of its own do what is done with borrowed arrays.
        """
        mark = self._used
        try:
            yield
        except BaseException:
            self._end(mark)  # its traceback may well hold arrays, of zeros by now
            raise
        if self._end(mark):
            self.kept += 1

    def wipe(self) -> None:
        """Overwrite everything; arrays that were taken outside a loan stay usable."""
        self._whole.fill(0)

    @property
    def wiped(self) -> bool:
        """Whether every octet is zero, as read back, and nobody ever kept an array beyond its loan."""
        return self.kept == 0 and not self._whole.view(np.uint64).any()

    def _map(self) -> None:
        kind = mmap.MAP_SHARED if self._fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._memory = mmap.mmap(self._fd, self._octets, flags=kind)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        self._memory.madvise(mmap.MADV_DONTFORK)
        self._whole: npt.NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        start, size = ctypes.c_void_p(self._whole.ctypes.data), ctypes.c_size_t(self._octets)
        self.locked: bool = _LIBC.mlock(start, size) == 0

    def _end(self, mark: int) -> bool:
        """Overwrite and take back everything above `mark`; whether somebody kept an array of it."""
        self._whole[mark : self._used].fill(0)
        self._used = mark
        if mark > 0 or not self._is_kept():
            return False
        self._map()  # what was kept reads as zeros for ever, as its memory is lent to nobody again
        return True

    def _is_kept(self) -> bool:
        """Whether any array over this memory is alive: each of them holds the whole one."""
        whole = weakref.ref(self._whole)
        del self._whole
        kept = whole() is not None
        self._whole = np.frombuffer(self._memory, np.uint8)
        return kept


def _rounded(octets: int) -> int:
    return -(-octets // _ALIGN) * _ALIGN
