"""Every failure that edgeagent reports by name.

Each error says what happened, where, and what to do next, in words that a technician can act on.
Texts never carry pixels, templates or anything else that could identify a person (R1).
"""

from __future__ import annotations


class EdgeAgentError(Exception):
    """Base of all named errors.

    Attributes:
        what: what happened, one clause.
        where: the file, key, device, host or field concerned; empty when there is none.
        next_step: what a person should do now, one imperative sentence.
        rule: number of the safeguard in the rules list that refused (`"R16"`), or None.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "", rule: str | None = None) -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        self.rule = rule
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        rule = f" [{self.rule}]" if self.rule else ""
        tail = f" — {self.next_step}" if self.next_step else ""
        return f"{head}{rule}{tail}"


class ConfigError(EdgeAgentError):
    """The configuration file is missing, malformed, or has an unknown or impossible key."""


class KeyFileError(EdgeAgentError):
    """A private key, certificate or the trust store cannot be read or is not what it should be."""


class DocumentError(EdgeAgentError):
    """A signed document is malformed, altered, expired, replayed, or signed by the wrong role."""


class SafeguardError(EdgeAgentError):
    """A rule refuses; `rule` is always set."""


class ModelError(EdgeAgentError):
    """The model pack is missing, altered, or fails its self-test."""


class EnrolmentError(EdgeAgentError):
    """A watchlist image or row cannot be enrolled."""


class CaptureError(EdgeAgentError):
    """The camera is absent, busy, stalled or gone."""


class BrokerError(EdgeAgentError):
    """The broker is absent, refuses, or went away."""


class OutboxError(EdgeAgentError):
    """The outbox cannot be opened or written."""


class AuditError(EdgeAgentError):
    """The audit log cannot be written, or a line of it cannot stand where it stands."""


class ClockError(EdgeAgentError):
    """The wall clock is unsynchronised or was stepped."""
