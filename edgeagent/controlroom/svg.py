"""A plot as an SVG element for a page: no script, nothing from outside, the same figures the same octets.

Matplotlib is an extra of the desk and is imported only when something is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from edgeagent.errors import ConfigError

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def drawn(
    prefix: str, label: str, paint: Callable[[Any], None], size: tuple[float, float], style: dict[str, Any]
) -> str:
    """One SVG element, as wide as the page.

    Args:
        prefix: makes the identifiers within it differ from those of other plots on the page.
        label: what it shows, for who cannot see it.
        paint: draws on matplotlib's axes.
        size: width and height in inches of text at its nominal size.
        style: settings beside or instead of `STYLE`; `svg.hashsalt` among them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise ConfigError(
            "is not installed, so the page cannot be drawn",
            where="matplotlib",
            next_step="install edgeagent[controlroom], or ask for JSON",
        ) from cause
    with rc_context(STYLE | style):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=NO_METADATA)
    return _inline(written.getvalue(), prefix, label)


def _inline(svg: str, prefix: str, label: str) -> str:
    """Without prologue and metadata, with ids of its own, and with a name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    head = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", head)
    rest = rest.replace("xlink:href", "href")  # a page's parser knows the namespaces
    return f'{head} role="img" aria-label="{escape(label, quote=True)}">{rest.strip()}'
