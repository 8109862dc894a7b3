"""Whether two names are one person's, wherever two people must differ (R20, R21, R27).

Protects against: one person twice in the trust store under spellings that a reader takes for one. Does not
protect against: two different names for one person, or letters of another alphabet that look alike; the
root's holder signs the names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import combinations


def same_person(a: str, b: str) -> bool:
    """Whether the names have the same letters and digits; case, blanks, marks and invisible ones aside."""
    return _letters(a) == _letters(b)


def all_differ(names: Iterable[str]) -> bool:
    """Whether no two of the names are one person's."""
    return not any(same_person(a, b) for a, b in combinations(tuple(names), 2))


def _letters(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(letter for letter in folded if letter.isalnum())
