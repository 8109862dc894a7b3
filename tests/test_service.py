"""What the service manager hears: ready, alive by progress only, stopping; and what is said for longer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgeagent.agent.progress import Progress
from edgeagent.agent.standing import Standing
from edgeagent.safeguards.instant import SECOND, Instant
from edgeagent.system.certificates import issue, make_authority
from edgeagent.system.notify import Notifier
from edgeagent.system.process import Exposure

NOW = datetime(2031, 5, 6, 12, 0, tzinfo=UTC)


def at(seconds: float) -> Instant:
    return Instant(int(seconds * SECOND) + SECOND, NOW + timedelta(seconds=seconds), synchronised=True)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0.2)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(manager.recv(4096).decode())
    except TimeoutError:
        return found


def test_ready_comes_with_the_first_turn_and_the_watchdog_is_fed_once_a_second(
    manager: socket.socket, tmp_path: Path
) -> None:
    progress = Progress(Notifier(str(tmp_path / "notify")), lambda: True)
    assert heard(manager) == []
    for tenth in range(25):
        progress.turned("STANDBY [R16]", at(tenth / 10))
    progress.ends()
    fed = "WATCHDOG=1\nSTATUS=STANDBY [R16]"
    assert heard(manager) == ["READY=1", fed, fed, fed, "STOPPING=1"]


def test_a_loop_that_stands_still_feeds_nothing_and_neither_does_one_whose_link_is_gone(
    manager: socket.socket, tmp_path: Path
) -> None:
    lives = True
    progress = Progress(Notifier(str(tmp_path / "notify")), lambda: lives)
    progress.turned("", at(0))
    lives = False
    for second in range(1, 10):
        progress.turned("", at(second))
    assert heard(manager) == ["READY=1", "WATCHDOG=1\nSTATUS="]


def test_a_status_cannot_smuggle_another_line_in(manager: socket.socket, tmp_path: Path) -> None:
    Notifier(str(tmp_path / "notify")).alive("LIVE\nMAINPID=1")
    assert heard(manager) == ["WATCHDOG=1\nSTATUS=LIVE MAINPID=1"]


def test_an_abstract_socket_and_none_at_all() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0edgeagent-test")
        listening.settimeout(1)
        Notifier("@edgeagent-test").ready()
        assert listening.recv(100) == b"READY=1"
    Notifier("").ready()


def test_a_certificate_is_warned_of_thirty_days_ahead_by_a_trusted_clock(tmp_path: Path) -> None:
    make_authority(tmp_path, "test-authority", now=NOW)
    made = issue(tmp_path, "unit-a", server=False, hosts=(), days=31, now=NOW)
    standing = Standing(Exposure(dumps=False, swaps=False), made.cert)
    assert standing.said(at(0), clock_trusted=True) == ""
    later = at(3 * 86_400)
    assert standing.said(later, clock_trusted=False) == ""
    assert "unit-a expires on 2031-06-06, in 28 days" in standing.said(later, clock_trusted=True)
    made.cert.unlink()
    assert "unit-a" in standing.said(at(3 * 86_400 + 60), clock_trusted=True)  # looked at once an hour
    assert "cannot be read" in standing.said(at(4 * 86_400), clock_trusted=True)


def test_exposed_memory_is_said_all_the_time(tmp_path: Path) -> None:
    standing = Standing(Exposure(dumps=True, swaps=False), tmp_path / "none.crt")
    assert "[R1]" in standing.said(at(0), clock_trusted=False)
