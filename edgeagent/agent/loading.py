"""Taking a deployment into use, and judging its documents again when the clock can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeagent.agent.deployment import Deployment, Unit, judge, load_deployment
from edgeagent.agent.recogniser import Recogniser
from edgeagent.documents.sequence import HighWater
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.gate import Gate, State, Why
from edgeagent.safeguards.instant import SECOND, Instant, stepped

LOAD_EVERY_NS = 5 * SECOND
WHY_CHARACTERS = 300

MakeRecogniser = Callable[[Deployment], Recogniser]


@dataclass(slots=True)
class Loader:
    """Tries now and then, so that documents may be put in place while the daemon runs."""

    unit: Unit
    seen: HighWater
    make_recogniser: MakeRecogniser
    _next_ns: int = 0
    _judged: bool = False

    def due(self, now: Instant) -> bool:
        """Whether it is time to try again; the next time is set."""
        if now.monotonic_ns < self._next_ns:
            return False
        self._next_ns = now.monotonic_ns + LOAD_EVERY_NS
        return True

    def load(self, now: Instant) -> tuple[Deployment, Recogniser]:
        """The installed deployment, remembered against rollback.

        Raises:
            DocumentError, SafeguardError: the first check that fails; nothing was taken into use.
        """
        deployment = load_deployment(self.unit, self.seen, now)
        recogniser = self.make_recogniser(deployment)
        for document in deployment.numbered:
            self.seen.accept(document)
        self.seen.started(deployment.authority.deployment, deployment.grant.end)
        self._judged = now.synchronised
        return deployment, recogniser

    def judge_again(self, deployment: Deployment, before: Gate, gate: Gate, now: Instant) -> Why | None:
        """Judge documents again by the right clock if they were read by one that nobody vouched for.

        Called between the event that vouches for the clock and any lease, so before the camera can open.

        Returns:
            The rule that they break; None if none, or if there is no trusted clock to judge them by yet.
        """
        if gate.state is State.CLOSED:
            return None
        trusted = now.synchronised or gate.clock_confirmed
        if not trusted or stepped(before.seen, now, deployment.grant.clock_step_s):
            self._judged = False
        if self._judged or not trusted:
            return None
        self._judged = True
        try:
            judge(deployment.papers, self.unit, now)
        except (DocumentError, SafeguardError) as refusal:
            return Why(refusal.rule or "R12", str(refusal)[:WHY_CHARACTERS])
        return None
