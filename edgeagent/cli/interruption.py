"""Ctrl-C between two steps of a long command, never in the middle of one.

Python raises KeyboardInterrupt in whatever line is running. If that line is inside a library that turns
every exception into its own (a serialiser, a callback from C), it arrives as an error of that library.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import click

MOST_DRAWN = 1000
"""A bar is drawn anew so many times at the most."""


class Interruption:
    """While it is open, the first Ctrl-C is remembered until `step`, and a second one ends at once."""

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Interruption:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        if kind is None:
            self.step()

    def step(self) -> None:
        """Say that nothing is half done.

        Raises:
            KeyboardInterrupt: somebody asked for the end.
        """
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the handler's signature
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal's error output, and the function that moves it by so many steps done.

    Raises:
        KeyboardInterrupt: from that function, after a step, if somebody pressed Ctrl-C.
    """
    bar = click.progressbar(
        length=length, label=label, file=sys.stderr, update_min_steps=max(1, length // MOST_DRAWN)
    )
    with Interruption() as end, bar:

        def done(steps: int) -> None:
            bar.update(steps)
            end.step()

        yield done
        bar.update_min_steps = 1
        bar.update(0)
