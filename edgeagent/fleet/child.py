"""A process of the simulation, from the outside: its task goes in, its reports come out, it can be killed."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from edgeagent.errors import EdgeAgentError
from edgeagent.fleet.wire import CableReport, DeskReport, Failure, Order, UnitsReport
from edgeagent.safeguards.profile import StrictModel

Report = UnitsReport | DeskReport | CableReport | Failure
_REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])
STOP_S = 20.0


class Child:
    """One running process; a thread of ours reads what it says."""

    def __init__(
        self, module: str, name: str, task: StrictModel, log: Path, reports: queue.Queue[Told]
    ) -> None:
        """Start it; its reports go to `reports` under its name.

        Raises:
            EdgeAgentError: it cannot be started.
        """
        self.name = name
        try:
            with log.open("ab") as errors:
                # A session of its own: Ctrl-C reaches the simulation only, which then stops it in order. If
                # the simulation dies, its input ends, and so does it.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
        except OSError as cause:
            raise EdgeAgentError(
                f"cannot be started ({cause.strerror})", where=name, next_step="check memory and processes"
            ) from cause
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._input: IO[bytes] = self._process.stdin
        self._reader = threading.Thread(
            target=_read, args=(self._process.stdout, self, reports), name=f"read-{name}", daemon=True
        )
        self._reader.start()
        self._write(task)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def heard_out(self) -> None:
        """Of one that has ended: wait until its last line is among the reports."""
        self._reader.join(STOP_S)

    def order(self, order: Order) -> None:
        """Tell it; one that has ended is told nothing."""
        self._write(order)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.wait()
        self._close()

    def finish(self) -> None:
        """Wait for one that was told to stop, then make it."""
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _write(self, line: StrictModel) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: that is noticed where reports are read
            self._input.write(line.model_dump_json().encode() + b"\n")
            self._input.flush()

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._input.close()


Told = tuple[Child, Report]


def _read(stream: IO[bytes], child: Child, reports: queue.Queue[Told]) -> None:
    with stream:
        for line in stream:
            try:
                reports.put((child, _REPORT.validate_json(line)))
            except ValidationError:
                continue  # the last line of a killed process, cut short
