"""The few pieces of HTML that the page is made of; every text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

Row = Iterable[str]


def table(caption: str, head: Row, rows: Iterable[Row], *, words: int = 1) -> str:
    """A table whose first `words` columns are text and whose others are numbers; empty without rows."""
    lines = [list(row) for row in rows]
    if not lines:
        return ""

    def kind(column: int) -> str:
        if column >= words:
            return ' class="n"'
        return ' class="f"' if words > 1 else ""

    top = "".join(f'<th scope="col"{kind(i)}>{escape(cell)}</th>' for i, cell in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(i)}>{escape(cell)}</td>" for i, cell in enumerate(line)) + "</tr>"
        for line in lines
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph, of a class if one is given."""
    return f"<p{f' class={kind!r}' if kind else ''}>{escape(text)}</p>"
