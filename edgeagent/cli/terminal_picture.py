"""A crop in the terminal, so that looking at it needs no file (R3)."""

from __future__ import annotations

import cv2
import numpy as np

COLUMNS = 56


def terminal_picture(jpeg: bytes) -> str:
    """The picture in 24-bit colour, two pixels a character; empty if it cannot be decoded."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return ""
    small = cv2.resize(picture, (COLUMNS, COLUMNS), interpolation=cv2.INTER_AREA)
    lines = []
    for above, below in zip(small[0::2], small[1::2], strict=True):
        cells = [
            f"\x1b[38;2;{r};{g};{b}m\x1b[48;2;{r2};{g2};{b2}m▀"
            for (b, g, r), (b2, g2, r2) in zip(above, below, strict=True)
        ]
        lines.append("  " + "".join(cells) + "\x1b[0m")
    return "\n".join(lines)
