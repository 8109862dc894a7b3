"""Finding pieces of known octets in large memory, fast, whatever their place and however little is left.

Every word of eight octets of every trace is a key, at each place where a copy could be cut. Memory is read in
aligned words; one that is a key is compared octet by octet to both sides. So any piece of a trace of at least
`least` octets, 15 or more, is found, wherever it starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
WORD = 8
SIDE = 64
"""How far a piece is followed to each side of a word."""
TABLE_BITS = 25
ODD = np.uint64(0x9E3779B97F4A7C15)
SAME_KEY = 4
DISTINCT = 4
"""A word with fewer different octets is no evidence: flat walls and counters are full of such."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Octets that would identify somebody.

    Attributes:
        what: which encoding of what, for the report.
        octets: one run of them as it would lie in memory, such as a row of pixels.
        step: a copy starts at a multiple of this many octets of the run.
        least: shorter pieces do not count.
    """

    what: str
    octets: bytes
    step: int = 1
    least: int = 32


@dataclass(frozen=True, slots=True)
class Found:
    """Pieces of one encoding: how many words of eight octets, and the longest piece in octets (capped)."""

    words: int
    longest: int

    def __add__(self, other: Found) -> Found:
        return Found(self.words + other.words, max(self.longest, other.longest))


class Index:
    """All traces that one search looks for."""

    def __init__(self, traces: Iterable[Trace]) -> None:
        kept = [trace for trace in traces if len(trace.octets) >= trace.least]
        self.names = sorted({trace.what for trace in kept})
        rng = np.random.default_rng(0)
        parts, keys, places, names, least, at = [rng.bytes(SIDE)], [], [], [], [], SIDE
        for trace in kept:
            octets = np.frombuffer(trace.octets, np.uint8)
            words, offsets = _words(octets, trace.step)
            keys.append(words)
            places.append(offsets + at)
            names.append(np.full(len(words), self.names.index(trace.what), np.int16))
            least.append(np.full(len(words), trace.least, np.int16))
            # Noise between traces, so that no piece seems to go on into the next one.
            parts += [trace.octets, rng.bytes(SIDE)]
            at += len(trace.octets) + SIDE
        order = np.argsort(all_keys := np.concatenate(keys), kind="stable")
        self._keys, self._places = all_keys[order], np.concatenate(places)[order]
        self._names, self._least = np.concatenate(names)[order], np.concatenate(least)[order]
        self._blob = np.frombuffer(b"".join(parts), np.uint8)
        self._table = np.zeros(1 << TABLE_BITS, bool)
        self._table[_hash(self._keys)] = True

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, memory: bytes | bytearray | memoryview | UInt8) -> dict[str, Found]:
        """What of the traces is in this memory, whose first octet is aligned as it was in the process."""
        octets = np.frombuffer(memory, np.uint8)
        words = octets[: len(octets) // WORD * WORD].view(np.uint64)
        places = np.flatnonzero(self._table[_hash(words)])
        places = places[self._keys[self._at(words[places])] == words[places]]
        found: dict[str, Found] = {}
        for first in range(0, len(places), 1 << 16):
            self._follow(octets, words, places[first : first + (1 << 16)], found)
        return found

    def _at(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        return np.minimum(np.searchsorted(self._keys, words), len(self._keys) - 1)

    def _follow(
        self,
        octets: UInt8,
        words: npt.NDArray[np.uint64],
        places: npt.NDArray[np.intp],
        found: dict[str, Found],
    ) -> None:
        first = self._at(words[places])
        for other in range(SAME_KEY):
            keys = np.minimum(first + other, len(self._keys) - 1)
            same = self._keys[keys] == words[places]
            lengths = _piece(octets, places[same] * WORD, self._blob, self._places[keys[same]])
            enough = lengths >= self._least[keys[same]]
            names = self._names[keys[same]][enough]
            for name in np.unique(names):
                longest = int(lengths[enough][names == name].max())
                more = Found(int((names == name).sum()), longest)
                found[self.names[name]] = found.get(self.names[name], Found(0, 0)) + more


def _words(octets: UInt8, step: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    windows = np.lib.stride_tricks.sliding_window_view(octets, WORD)[::step]
    ordered = np.sort(windows, axis=1)
    telling = (np.diff(ordered, axis=1) != 0).sum(axis=1) + 1 >= DISTINCT
    words = np.ascontiguousarray(windows[telling]).view(np.uint64)[:, 0]
    return words, np.flatnonzero(telling) * step


def _hash(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    return ((words * ODD) >> np.uint64(64 - TABLE_BITS)).astype(np.intp)


def _piece(
    octets: UInt8, at: npt.NDArray[np.intp], blob: UInt8, there: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """How many octets agree around each word, (n,)."""
    lengths = np.full(len(at), WORD)
    for offsets in (np.arange(WORD, SIDE), -1 - np.arange(SIDE - WORD)):
        mine, known = at[:, None] + offsets, there[:, None] + offsets
        inside = (mine >= 0) & (mine < len(octets)) & (known >= 0) & (known < len(blob))
        same = inside & (octets.take(mine, mode="clip") == blob.take(known, mode="clip"))
        lengths += np.where(same.all(axis=1), len(offsets), same.argmin(axis=1))
    return lengths
