"""What is wrong for longer: said in every state, as long as there is nothing more urgent to say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeagent.errors import KeyFileError
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.certificates import certificate_warning
from edgeagent.system.pem import load_certificate
from edgeagent.system.process import Exposure

LOOK_EVERY_NS = 3600 * SECOND


@dataclass(slots=True)
class Standing:
    """How exposed the daemon's memory is (R1), and a TLS certificate that is about to end."""

    exposure: Exposure
    certificate: Path
    _of_certificate: str = ""
    _next_ns: int = 0

    def said(self, now: Instant, *, clock_trusted: bool) -> str:
        """What to say; the certificate is looked at now and then, by a clock that can be trusted."""
        if clock_trusted and now.monotonic_ns >= self._next_ns:
            self._next_ns = now.monotonic_ns + LOOK_EVERY_NS
            self._of_certificate = self._look(now)
        return "; ".join(filter(None, (self.exposure.problem, self._of_certificate)))

    def _look(self, now: Instant) -> str:
        try:
            return certificate_warning(load_certificate(self.certificate), now.wall)
        except KeyFileError as unreadable:
            return str(unreadable)
