"""One check of a document after another, as lines that a person can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from edgeagent.config import Config
from edgeagent.documents.sequence import HighWater, Numbered
from edgeagent.documents.trust import TrustStore
from edgeagent.documents.words import plain
from edgeagent.errors import EdgeAgentError
from edgeagent.safeguards.instant import Instant
from edgeagent.safeguards.model_use import Use

Result = TypeVar("Result")


class Outcome(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    REFUSED = "REFUSED"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and how it ended; `rule` as in the rules list, empty when none refused."""

    subject: str
    outcome: Outcome
    text: str = ""
    where: str = ""
    rule: str = ""
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What a document is checked against.

    Attributes:
        root: pinned thumbprint of the root key.
        trust: None only where a trust store is looked at by itself.
        config, seen, model_pack_sha256: of the unit; None without a configuration.
        model_use: what the unit's model pack may be used for.
    """

    root: str
    trust: TrustStore | None
    now: Instant
    config: Config | None = None
    seen: HighWater | None = None
    model_pack_sha256: str | None = None
    model_use: Use = "any"


@dataclass(slots=True)
class Run:
    """Checks as they are made."""

    checks: list[Check] = field(default_factory=list)

    def attempt(self, subject: str, call: Callable[[], Result], good: str = "") -> Result | None:
        """Make one check; a named refusal becomes a line."""
        try:
            result = call()
        except EdgeAgentError as refusal:
            said = (refusal.what, refusal.where, refusal.rule or "", refusal.next_step)
            self.checks.append(Check(subject, Outcome.REFUSED, *map(plain, said)))
            return None
        self.checks.append(Check(subject, Outcome.GOOD, good))
        return result

    def skip(self, why: str, *subjects: str) -> None:
        """Say which checks were not made, and why."""
        self.checks.extend(Check(subject, Outcome.UNCHECKED, why) for subject in subjects)


NO_UNIT = "it depends on the unit; give --config"
NOT_GENUINE = "its signatures do not hold"
INSIDE_DAEMON = "only the running daemon knows"


def no_rollback(run: Run, place: Place, numbered: Numbered | None) -> None:
    """Compare a sequence number with what the unit has seen; nothing is remembered."""
    subject, seen = "newest that this unit has seen", place.seen
    if numbered is None:
        run.skip(NOT_GENUINE, subject)
    elif seen is None:
        run.skip(NO_UNIT, subject)
    else:
        run.attempt(subject, lambda: seen.check(numbered), f"number {numbered.sequence}")
