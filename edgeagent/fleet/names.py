"""What simulated units and their control room are called. Pure."""

from __future__ import annotations

CONTROL_ROOM = "control-room"
PREFIX = "fleet-"
"""Every simulated unit is called so, and no other name is ever signed (R33)."""


def unit_name(number: int) -> str:
    """Name of a simulated unit, counted from 0; its certificate is `<name>.crt`."""
    return f"{PREFIX}{number + 1:05}"
