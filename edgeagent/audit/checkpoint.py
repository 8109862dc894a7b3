"""What a unit signs about its log from time to time: the log said exactly this, up to here (R25)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.documents.messages import Count
from edgeagent.safeguards.authority import Sha256, UnitName
from edgeagent.safeguards.profile import StrictModel

TYP = "edgeagent-checkpoint"


class Checkpoint(StrictModel):
    """The unit's signature under its audit log up to one line; it is itself the line after that.

    Every field of the checkpoint's own line follows from it, so that line cannot be altered either.

    Attributes:
        boot: random number of this start of the daemon.
        sequence: number of the line up to which it vouches.
        sha256: hash of that line, and so of every line before.
        previous: hash of the line of the checkpoint before, all zeros for the first.
        at: when, by the unit's clock.
        clock_trusted: somebody vouched for that clock.
        monotonic_ns: when, by the clock that is never set.
    """

    unit: UnitName
    boot: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sequence: Annotated[int, Field(ge=1, le=2**53)]
    sha256: Sha256
    previous: Sha256
    at: AwareDatetime
    clock_trusted: bool
    monotonic_ns: Count
