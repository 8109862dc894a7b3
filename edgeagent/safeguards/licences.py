"""Licences as SPDX expressions, as far as a model pack needs them."""

from __future__ import annotations

import re

KNOWN = frozenset(
    {
        "0BSD",
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-ND-4.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "EPL-2.0",
        "GPL-2.0-only",
        "GPL-2.0-or-later",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "ISC",
        "LGPL-3.0-only",
        "LGPL-3.0-or-later",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""Identifiers under which models are published; any other licence is a `LicenseRef-` of one's own."""

_OWN = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,80}")


def licence_fault(expression: str) -> str | None:
    """Why this is no licence that can be stated for a model, None if it is one.

    Identifiers joined by AND and OR; no brackets and no exceptions, which models have not needed.
    """
    words = expression.split(" ")
    names, joints = words[::2], words[1::2]
    if len(words) % 2 == 0 or any(joint not in ("AND", "OR") for joint in joints):
        return f"{expression!r} is not SPDX identifiers joined by AND or OR"
    for name in names:
        if name not in KNOWN and not _OWN.fullmatch(name):
            return f"{name!r} is not a known SPDX identifier; for another licence say LicenseRef-ITS-NAME"
    return None
