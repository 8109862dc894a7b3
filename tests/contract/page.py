"""Puts the subscribers' source into docs/integrators.md: python -m tests.contract.page docs"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = {".py": "python", ".mjs": "javascript"}
BLOCK = re.compile(r"<!-- (tests/contract/[a-z]+(\.py|\.mjs)) -->\n.*?<!-- end -->", re.DOTALL)


def _shown(block: re.Match[str]) -> str:
    source = (ROOT / block[1]).read_text()
    return f"<!-- {block[1]} -->\n```{LANGUAGES[block[2]]}\n{source}```\n<!-- end -->"


def filled(page: str) -> str:
    """The page with each file as it is now."""
    return BLOCK.sub(_shown, page)


if __name__ == "__main__":
    file = Path(sys.argv[1]) / "integrators.md"
    file.write_text(filled(file.read_text()))
