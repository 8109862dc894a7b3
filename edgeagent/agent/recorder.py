"""What the daemon does, as lines of its audit log (R25, R26): each change once, in one place.

Two ways of writing. `write` is for what must not go on unless it is on the disk: opening the camera, taking
a list into use, making an alert. `note` is for what has happened, or must happen whatever the disk does:
closing the camera, destroying a key. Once the log has failed, `check` says so, and the gate locks.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeagent.audit.chain import Head
from edgeagent.audit.events import (
    CameraMoved,
    Erased,
    Event,
    GateMoved,
    Refused,
    Started,
    Tally,
)
from edgeagent.audit.log import Journal
from edgeagent.documents.messages import CameraState
from edgeagent.errors import AuditError, EdgeAgentError
from edgeagent.safeguards.gate import Gate, State
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.clock import Clock

TALLY_EVERY_NS = 60 * SECOND
REFUSALS_APART_NS = 10 * SECOND
SAME_REFUSAL_APART_NS = 600 * SECOND
TEXT_CHARACTERS = 300


class Recorder:
    """The daemon's hand on its log; one thread."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        """Nothing is written before `start`."""
        self._journal = journal
        self._clock = clock
        self.clock_confirmed = False
        """Whether the control room vouches for the wall clock, as the gate says."""
        self._failure: AuditError | None = None
        self._gate = State.LOCKED
        self._camera = CameraState.CLOSED
        self._lapse_ms: float | None = None
        self._tally_at_ns = 0
        self._refused: tuple[str, int] = ("", -SAME_REFUSAL_APART_NS)
        self._unwritten = 0

    @property
    def head(self) -> Head:
        """The newest durable line."""
        return self._journal.head

    @property
    def failed(self) -> bool:
        """Whether nothing is written any more."""
        return self._failure is not None

    def start(self, started: Started) -> None:
        """Open the log and note the start; a failure is told by `check`."""
        now = self._clock.now()
        self._guard(lambda: self._journal.start(started, now, clock_trusted=self._trusted(now)))

    def write(self, event: Event) -> None:
        """Write what must not go on unless it is written.

        Raises:
            AuditError: R25, it is not.
        """
        self.note(event)
        self.check()

    def note(self, event: Event) -> None:
        """Write what has happened; a failure is told by `check`."""
        now = self._clock.now()
        self._guard(lambda: self._journal.write(event, now, clock_trusted=self._trusted(now)))

    def check(self) -> None:
        """Say whether the log has failed.

        Raises:
            AuditError: R25, since it failed nothing has been written.
        """
        if self._failure is not None:
            raise self._failure

    # --- changes ------------------------------------------------------------------------------------------

    def gate(self, gate: Gate) -> None:
        """The gate stands here; written if it has moved. To be called before a camera is opened by it."""
        before, self._gate = self._gate, gate.state
        if before is gate.state:
            return
        # A revocation's reason is somebody's words; the log has no room for any.
        why = "revoked" if gate.ended is not None and gate.why.rule == "R27" else _text(gate.why.text)
        moved = GateMoved(before=before, after=gate.state, rule=gate.why.rule, why=why)
        if gate.state is State.LIVE:
            self.write(moved)
        else:
            self.note(moved)

    def camera(
        self,
        state: CameraState,
        tally: Tally,
        *,
        wiped: bool,
        lapse_ms: float | None,
        deployment: str | None,
    ) -> None:
        """The camera is this; written if it has changed, with what was seen and erased while it was open."""
        before, self._camera = self._camera, state
        if before is state:
            return
        if before is CameraState.OPEN:
            self.note(tally)
        if state is CameraState.OPEN:
            self._tally_at_ns = self._clock.now().monotonic_ns + TALLY_EVERY_NS
        if wiped and state is CameraState.CLOSED:
            self.note(Erased(what="frames", deployment=deployment, why="R1"))
        lapse, self._lapse_ms = (None if lapse_ms == self._lapse_ms else lapse_ms), lapse_ms
        self.note(CameraMoved(state=state, lapse_to_closed_ms=lapse))

    def tick(self, tally: Callable[[], Tally]) -> None:
        """Once a turn: a tally each minute while the camera is open, and checkpoints."""
        now = self._clock.now()
        if self._camera is CameraState.OPEN and now.monotonic_ns >= self._tally_at_ns:
            self._tally_at_ns = now.monotonic_ns + TALLY_EVERY_NS
            self.note(tally())
        self._guard(lambda: self._journal.tick(now, clock_trusted=self._trusted(now)))

    def refused(self, refusal: EdgeAgentError) -> None:
        """A document or message was refused. Spaced out: nobody can fill the log by sending nonsense."""
        now_ns = self._clock.now().monotonic_ns
        text = f"{refusal.where}: {refusal.what}" if refusal.where else refusal.what
        same, at_ns = text == self._refused[0], self._refused[1]
        if now_ns - at_ns < (SAME_REFUSAL_APART_NS if same else REFUSALS_APART_NS):
            self._unwritten += 1
            return
        self.note(Refused(what=_text(text), rule=refusal.rule or "", unwritten=self._unwritten))
        self._refused, self._unwritten = (text, now_ns), 0

    def _trusted(self, now: Instant) -> bool:
        return now.synchronised or self.clock_confirmed

    def _guard(self, act: Callable[[], None]) -> None:
        if self._failure is not None:
            return
        try:
            act()
        except AuditError as failed:
            self._failure = failed


def _text(text: str) -> str:
    """As much as a line takes; what no encoding has (a sender chose it, perhaps) is exchanged."""
    return text[:TEXT_CHARACTERS].encode(errors="replace").decode()
