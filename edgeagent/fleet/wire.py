"""What the simulation and its processes tell each other: one JSON line each, on standard input and output."""

from __future__ import annotations

import queue
import sys
import threading
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from edgeagent.errors import EdgeAgentError
from edgeagent.fleet.office import Holder
from edgeagent.safeguards.profile import StrictModel

Line = TypeVar("Line", bound=StrictModel)
Pair = tuple[float, float]


class Endpoint(StrictModel):
    """How one client reaches the broker."""

    host: str
    port: int
    through: str | None
    ca: str
    certificate: str
    key: str


class Seat(StrictModel):
    """One unit of a process: its number in the fleet, its keys, its way to the broker, its authority."""

    number: int
    holder: Holder
    endpoint: Endpoint
    authority: str
    hits: tuple[float, ...]


class WorkerTask(StrictModel):
    """What a process of units is to do."""

    root: str
    trust: str
    folder: str
    seats: tuple[Seat, ...]
    seed: int
    state_every_s: float
    connect_gap_s: float


class DeskTask(StrictModel):
    """What the control room's process is to do."""

    root: str
    trust: str
    folder: str
    holder: Holder
    endpoint: Endpoint


class CableTask(StrictModel):
    """Local sockets, and the host and port that each is forwarded to."""

    sockets: tuple[tuple[str, str, int], ...]


class Order(StrictModel):
    """From the simulation: begin (with the moment that counts as 0 on CLOCK_MONOTONIC), cut, mend, stop."""

    order: Literal["begin", "cut", "mend", "stop"]
    zero: float = 0.0


class Totals(StrictModel):
    """What became of every alert of a process's units, since their files were made."""

    made: int = 0
    pending: int = 0
    received: int = 0
    expired: int = 0
    displaced: int = 0
    discarded: int = 0


class UnitsReport(StrictModel):
    """From a process of units, four times a second.

    Attributes:
        at: when it was said, CLOCK_MONOTONIC.
        released: (seconds of the hit after the start, ms from the hit to the verified receipt at the unit).
        late: longest time in ms by which a scripted hit was late, as this process was busy.
    """

    kind: Literal["units"] = "units"
    at: float
    connected: int
    totals: Totals
    released: tuple[Pair, ...]
    late: float
    connections: int
    published: int
    overflow: int
    last: bool = False


class DeskReport(StrictModel):
    """From the control room's process, four times a second.

    Attributes:
        received: (epoch seconds of the capture, ms from the capture to the receipt handed to the broker).
        repeated: arrivals of an alert that had been committed before.
        refused: arrivals that were refused, by reason.
        overflow: messages that the inbox had no room for; their units send them again.
        live_unit: a live unit that was heard; the run ends at once (R33).
    """

    kind: Literal["desk"] = "desk"
    connected: bool
    received: tuple[Pair, ...]
    repeated: int
    refused: Annotated[dict[str, int], Field(max_length=50)]
    states: int
    overflow: int
    problem: str
    live_unit: str = ""
    last: bool = False


class CableReport(StrictModel):
    """From the cable: whether it lets anything through."""

    kind: Literal["cable"] = "cable"
    whole: bool


class Failure(StrictModel):
    """A named error that ended a process."""

    kind: Literal["failure"] = "failure"
    error: str
    what: str
    where: str
    next_step: str
    rule: str | None


def failure(error: EdgeAgentError) -> Failure:
    """The error, for the other side of the pipe."""
    return Failure(
        error=type(error).__name__,
        what=error.what,
        where=error.where,
        next_step=error.next_step,
        rule=error.rule,
    )


def say(report: StrictModel) -> None:
    """One line to the simulation."""
    sys.stdout.write(report.model_dump_json() + "\n")
    sys.stdout.flush()


def first_line(model: type[Line]) -> Line:
    """The task.

    Raises:
        EdgeAgentError: the line is no task, or there is none.
    """
    try:
        return model.model_validate_json(sys.stdin.readline())
    except ValidationError:  # its text could quote a key
        raise EdgeAgentError(
            "was given no task", where="fleet process", next_step="start it by `edgeagent fleet simulate`"
        ) from None


def orders() -> queue.Queue[Order]:
    """Orders as they come; the end of the input, as when the simulation dies, is the order to stop."""
    coming: queue.Queue[Order] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            coming.put(Order.model_validate_json(line))
        coming.put(Order(order="stop"))

    threading.Thread(target=read, name="orders", daemon=True).start()
    return coming
