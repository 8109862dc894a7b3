"""What the machine says of itself, as findings: heat, power, clock, storage, memory."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeagent.agent.doctor_clock import battery_clock, clock
from edgeagent.agent.doctor_finding import CannotTellError, Finding, WorthALookError, attempt, line_of
from edgeagent.errors import EdgeAgentError, OutboxError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.board import Board
from edgeagent.system.process import SWAPS, swap_is_on

LOOK_BELOW_LIMIT_C = 10.0
RASPBERRY_LIMIT_C = 85.0
"""There a Raspberry Pi's firmware holds processor and graphics back; it begins at 80."""
UNKNOWN_LIMIT_C = 90.0
WORN_PERCENT = 80
WORN_OUT_PERCENT = 100
NAMES = {"frequency-capped": "frequency capped", "soft-temperature-limit": "soft temperature limit"}


def board_findings(board: Board, root: Path, now: Instant) -> list[Finding]:
    """Findings about the machine, whose files are below `root`; opens no device."""
    return [
        attempt("board", lambda: _board(board)),
        attempt("clock", lambda: clock(now)),
        attempt("battery clock", lambda: battery_clock(root, now)),
        attempt("temperature", lambda: _temperature(board)),
        attempt("throttling", lambda: _throttling(board)),
        attempt("power", lambda: _power(board)),
        attempt("storage wear", lambda: _wear(board)),
        attempt("swap", lambda: _swap(root)),
        attempt("core dumps", lambda: _core_dumps(root)),
    ]


def _board(board: Board) -> str:
    parts = [
        board.model or "model unknown",
        f"{board.cpu_count} processors" if board.cpu_count else "",
        board.os_name or "system unknown",
        f"Linux {board.kernel}" if board.kernel else "",
        f"Python {sys.version.split()[0]}",
    ]
    return ", ".join(filter(None, parts))


def _temperature(board: Board) -> str:
    if board.temperature_c is None:
        raise CannotTellError("no sensor can be read")
    limit = _limit_c(board)
    said = f"{board.temperature_c:.0f} °C, limit {limit:.0f} °C"
    if board.temperature_c >= limit:
        raise EdgeAgentError(
            said, next_step="cut the sun off it or switch it off; then fan, filter, heat sink"
        )
    if board.temperature_c >= limit - LOOK_BELOW_LIMIT_C:
        raise WorthALookError(said, next_step="see that the fan turns and the vents are free")
    return said


def _limit_c(board: Board) -> float:
    if board.throttled is not None:
        return RASPBERRY_LIMIT_C
    return board.critical_c - LOOK_BELOW_LIMIT_C if board.critical_c else UNKNOWN_LIMIT_C


def _throttling(board: Board) -> str:
    flags = board.throttled
    now = [NAMES.get(flag, flag) for flag in flags.now if flag != "undervoltage"] if flags else []
    if board.frequency_limited:
        now.append("processor held back because of heat")
    if now:
        raise EdgeAgentError(
            f"now: {', '.join(now)}", next_step="cool it and check its supply; it misses faces meanwhile"
        )
    before = [NAMES.get(flag, flag) for flag in flags.ever if flag != "undervoltage"] if flags else []
    if before:
        raise WorthALookError(
            f"since it was switched on: {', '.join(before)}",
            next_step="look at temperature and power below full load",
        )
    if flags is None and board.frequency_limited is None:
        raise CannotTellError("this board does not say")
    return "none"


def _power(board: Board) -> str:
    if board.undervoltage:
        raise EdgeAgentError(
            "the supply is too weak now",
            next_step="use the maker's supply (5 V, 5 A for a Pi 5) and short cable",
        )
    if board.throttled is not None and "undervoltage" in board.throttled.ever:
        raise WorthALookError(
            "the supply was too weak since it was switched on",
            next_step="change supply or cable; unplug what else draws from it",
        )
    if board.over_current_events:
        raise WorthALookError(
            f"{board.over_current_events} over-current events since it was switched on",
            next_step="choose a lower power mode (nvpmodel), check the supply",
        )
    if board.undervoltage is None and board.over_current_events is None:
        raise CannotTellError("this board does not say")
    return "no undervoltage" if board.undervoltage is not None else "no over-current events"


def _wear(board: Board) -> str:
    worn, errors = board.storage_wear_percent, board.file_system_errors
    if board.storage_warning or (worn is not None and worn >= WORN_OUT_PERCENT):
        raise OutboxError(
            "storage is at the end of its life", next_step="change it before the next deployment"
        )
    if errors:
        raise WorthALookError(
            f"{errors} file system errors were counted",
            next_step="restart, so that it is checked; if they come back, change the card",
        )
    if worn is not None and worn >= WORN_PERCENT:
        raise WorthALookError(f"up to {worn} % used", next_step="change it at the next visit")
    said = "no file system errors" if errors == 0 else ""
    if worn is None:
        raise CannotTellError(", ".join(filter(None, ("it does not say (SD cards never do)", said))))
    return ", ".join(filter(None, (f"up to {worn} % used", said)))


def _swap(root: Path) -> str:
    """R1: what the daemon holds must not reach a disk; it also locks its memory, where it may."""
    if swap_is_on(root / SWAPS.relative_to("/")):
        raise WorthALookError(
            "memory may be swapped out",
            rule="R1",
            next_step="swapoff -a, and remove it: zram, rpi-swap, dphys-swapfile, nvzramconfig, fstab",
        )
    return "there is none"


def _core_dumps(root: Path) -> str:
    """R1: the daemon forbids its own; this is about every other program that saw a frame's memory."""
    pattern = line_of(root / "proc/sys/kernel/core_pattern")
    if not pattern:
        raise CannotTellError("the kernel does not say")
    if pattern.startswith("|") and not pattern.startswith(("|/bin/false", "|/bin/true")):
        handler = pattern[1:].split()[0]
        raise WorthALookError(
            f"kept by {handler} (the daemon forbids its own)",
            rule="R1",
            next_step="remove systemd-coredump or apport; firmware-config has the setting",
        )
    return "not kept" if pattern.startswith("|") else "by limit only; the daemon forbids its own"
