"""What a model's licence lets it be used for, and that a live deployment is not research (R28)."""

from __future__ import annotations

import re
from typing import Literal

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.authority import Authority, Kind

Use = Literal["any", "research-only"]

_RESEARCH_ONLY = (
    r"\bCC[ -]BY[ -]NC\b",
    r"non[- ]?commercial",
    r"research[- _]?(only|use|purposes)",
    r"academic[- _]?(only|use|purposes)",
    r"insight[-_ ]?face",
    r"\bbuffalo_(l|m|s|sc)\b",
    r"\bantelopev2\b",
    r"(?<![a-z0-9])w600k_",
    r"(?<![a-z0-9])glint360k_",
    r"\bms1mv[123]_",
    r"\bvgg[-_ ]?face",
)
"""Licences, and names of published networks, whose terms allow research only. No such list is ever complete:
it catches a slip of whoever declares a licence, not a wish to deceive."""


def research_only(*names: str) -> str | None:
    """The part of a licence's or network's names that is known to be for research only; None if none is."""
    for name in names:
        for pattern in _RESEARCH_ONLY:
            found = re.search(pattern, name, re.IGNORECASE)
            if found:
                return found.group()
    return None


def use_allowed(authority: Authority, use: Use) -> None:
    """Refuse a live deployment with networks that were licensed for research; a bench may use them (R33).

    Raises:
        SafeguardError: R28, as nothing that may not be used can lawfully have been evaluated for use.
    """
    if authority.kind is Kind.LIVE and use == "research-only":
        raise SafeguardError(
            "is licensed for research only: it may not be used live",
            where="model pack",
            next_step="use it on a bench, or install a pack whose licence allows this use",
            rule="R28",
        )
