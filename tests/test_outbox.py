from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edgeagent.alerts.backoff import Backoff
from edgeagent.alerts.outbox import Outbox
from edgeagent.errors import OutboxError

T0 = 1_800_000_000.0
RETRY = Backoff(first_s=4.0, cap_s=60.0)


def open_outbox(
    path: Path, *, capacity: int = 100, in_flight_cap: int = 16, retry: Backoff = RETRY
) -> Outbox:
    return Outbox(path, capacity=capacity, in_flight_cap=in_flight_cap, retry=retry, rng=random.Random(7))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def test_an_alert_waits_until_its_receipt(path: Path) -> None:
    with open_outbox(path) as outbox:
        assert outbox.add("a", b"message", T0 + 60, T0).new
        (row,) = outbox.due(T0, 10)
        assert (row.alert_id, row.message, row.expires_at, row.attempts) == ("a", b"message", T0 + 60, 0)
        assert outbox.attempted("a", T0)
        assert outbox.due(T0 + 1, 10) == []
        (again,) = outbox.due(T0 + 5, 10)
        assert again.attempts == 1
        assert outbox.release("a")
        assert outbox.due(T0 + 50, 10) == []
        counts = outbox.counts()
        assert (counts.pending, counts.made, counts.received) == (0, 1, 1)


def test_nothing_is_offered_from_the_instant_of_its_expiry(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.add("a", b"m", T0 + 10, T0)
        assert [row.alert_id for row in outbox.due(T0 + 9.999, 10)] == ["a"]
        assert outbox.due(T0 + 10, 10) == []
        assert outbox.expire(T0 + 9.999) == ()
        assert len(outbox.expire(T0 + 10)) == 1
        assert not outbox.release("a")
        assert (outbox.counts().expired, outbox.counts().received) == (1, 0)


def test_everything_survives_reopening(path: Path) -> None:
    with open_outbox(path) as outbox:
        for number in range(3):
            outbox.add(f"a{number}", b"m", T0 + 60, T0)
        outbox.attempted("a0", T0)
        outbox.release("a2")
        before = outbox.counts()
    with open_outbox(path) as outbox:
        assert outbox.counts() == before
        assert [row.alert_id for row in outbox.due(T0 + 1, 10)] == ["a1"]
        assert [(row.alert_id, row.attempts) for row in outbox.due(T0 + 5, 10)] == [("a1", 0), ("a0", 1)]


def test_same_alert_again_changes_nothing_and_another_with_its_id_is_refused(path: Path) -> None:
    with open_outbox(path) as outbox:
        assert outbox.add("a", b"m", T0 + 60, T0).new
        assert not outbox.add("a", b"m", T0 + 60, T0).new
        with pytest.raises(OutboxError, match="another alert with this id"):
            outbox.add("a", b"other", T0 + 60, T0)
        assert outbox.counts().made == 1
        assert outbox.due(T0, 10)[0].message == b"m"


def test_an_alert_that_expires_before_it_is_made_is_refused(path: Path) -> None:
    with open_outbox(path) as outbox, pytest.raises(OutboxError, match="expires before"):
        outbox.add("a", b"m", T0, T0)


def test_a_full_outbox_gives_up_what_expires_soonest_and_says_so(path: Path) -> None:
    with open_outbox(path, capacity=2) as outbox:
        outbox.add("late", b"m", T0 + 90, T0)
        outbox.add("soon", b"m", T0 + 30, T0)
        assert outbox.add("new", b"m", T0 + 60, T0).displaced == ("soon",)
        assert {row.alert_id for row in outbox.due(T0, 10)} == {"late", "new"}
        assert outbox.counts().displaced == 1


def test_a_smaller_capacity_after_a_restart_displaces_and_counts(path: Path) -> None:
    with open_outbox(path) as outbox:
        for number in range(5):
            outbox.add(f"a{number}", b"m", T0 + 60 + number, T0)
    with open_outbox(path, capacity=3) as outbox:
        assert outbox.add("new", b"m", T0 + 99, T0).displaced == ("a0", "a1", "a2")
        assert outbox.counts().balanced


def test_attempts_for_one_alert_grow_apart_up_to_the_cap(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.add("a", b"m", T0 + 10_000, T0)
        now, gaps = T0, []
        for _ in range(9):
            outbox.attempted("a", now)
            start = now
            while not outbox.due(now, 1):
                now += 0.5
            gaps.append(now - start)
    for step, gap in zip([4, 8, 16, 32, 60, 60, 60, 60, 60], gaps, strict=True):
        assert step / 2 <= gap <= step + 0.5
    assert len(set(gaps[4:])) > 1, "without jitter all units would come back together"


def test_no_more_than_the_cap_is_on_its_way_without_a_receipt(path: Path) -> None:
    with open_outbox(path, in_flight_cap=3) as outbox:
        for number in range(5):
            outbox.add(f"a{number}", b"m", T0 + 60, T0)
        first = outbox.due(T0, 10)
        assert len(first) == 3
        assert len(outbox.due(T0, 2)) == 2
        for row in first:
            outbox.attempted(row.alert_id, T0)
        assert outbox.due(T0, 10) == []
        outbox.release(first[0].alert_id)
        assert len(outbox.due(T0, 10)) == 1


def test_alerts_that_nobody_acknowledges_do_not_hold_up_a_fresh_one(path: Path) -> None:
    with open_outbox(path, in_flight_cap=2) as outbox:
        outbox.add("old1", b"m", T0 + 600, T0)
        outbox.add("old2", b"m", T0 + 600, T0)
        now = T0
        for _ in range(20):
            for row in outbox.due(now, 10):
                outbox.attempted(row.alert_id, now)
            now += 5
        outbox.add("fresh", b"m", now + 600, now)
        assert outbox.due(now + RETRY.first_s, 1)[0].alert_id == "fresh"


def test_a_clock_set_back_does_not_strand_an_alert(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.add("a", b"m", T0 + 60, T0)
        outbox.attempted("a", T0)
        assert [row.alert_id for row in outbox.due(T0 - 3600, 10)] == ["a"]


def test_an_alert_made_by_a_clock_that_was_ahead_goes_before_it_could_look_new(path: Path) -> None:
    """An hour later it would be within its time again, by every clock, and an hour old (R3)."""
    with open_outbox(path) as outbox:
        outbox.add("an hour ahead", b"m", T0 + 3660, T0 + 3600)
        outbox.add("now", b"m", T0 + 60, T0)
        assert len(outbox.expire(T0 - 5)) == 1, "a clock set back a little costs nothing"
        assert [row.alert_id for row in outbox.due(T0, 10)] == ["now"]
        counts = outbox.counts()
        assert (counts.expired, counts.balanced) == (1, True)


def test_a_revocation_removes_everything_also_from_the_disk(path: Path) -> None:  # R3, R27
    secret = b"sealed-crop-canary" * 50
    with open_outbox(path) as outbox:
        for number in range(4):
            outbox.add(f"a{number}", secret + bytes([number]), T0 + 60, T0)
        assert outbox.discard_all() == 4
        for file in path.parent.iterdir():
            assert b"sealed-crop-canary" not in file.read_bytes(), file.name
        assert outbox.counts().discarded == 4
        assert outbox.due(T0, 10) == []


def test_a_receipt_removes_the_message_from_the_disk(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.add("a", b"sealed-crop-canary", T0 + 60, T0)
        outbox.release("a")
        assert not any(b"sealed-crop-canary" in file.read_bytes() for file in path.parent.iterdir())


def test_files_are_for_their_owner_only_and_rows_hide_their_message(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.add("a", b"sealed-crop-canary", T0 + 60, T0)
        assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}
        assert "canary" not in repr(outbox.due(T0, 1))


def test_threads_may_share_one_outbox(path: Path) -> None:
    with open_outbox(path) as outbox:

        def add(first: int) -> None:
            for number in range(first, first + 20):
                outbox.add(str(number), b"m", T0 + 60, T0)

        threads = [threading.Thread(target=add, args=(100 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outbox.counts().pending == 80


def _junk(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 100)


def _other_layout(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def _somebody_elses(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()


def _cooked_totals(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.add("a", b"m", T0 + 60, T0)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM pending")
    db.close()


def _damaged_page(path: Path) -> None:
    with open_outbox(path) as outbox:
        for number in range(200):
            outbox.add(f"a{number}", b"m" * 500, T0 + 60, T0)
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 8 * 4096] = b"\xff" * (3 * 4096)
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [_junk, _other_layout, _somebody_elses, _cooked_totals, _damaged_page])
def test_a_file_that_is_not_a_sound_outbox_is_refused_with_advice(path: Path, spoil) -> None:
    spoil(path)
    with pytest.raises(OutboxError, match="move it aside") as caught:
        open_outbox(path, capacity=1000)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("where", ["missing/outbox.db", "folder", "file/outbox.db"])
def test_a_place_that_cannot_be_written_is_refused_with_advice(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="exists and is writable"):
        open_outbox(tmp_path / where)


def test_a_second_agent_on_the_same_outbox_is_refused(path: Path) -> None:
    with open_outbox(path), pytest.raises(OutboxError, match="locked"):
        open_outbox(path)


def _child(code: str, path: Path) -> subprocess.Popen[str]:
    script = (
        "import random, resource, signal, sys\nfrom pathlib import Path\n"
        "from edgeagent.alerts.backoff import Backoff\nfrom edgeagent.alerts.outbox import Outbox\n"
        "from edgeagent.errors import OutboxError\n"
        "outbox = Outbox(Path(sys.argv[1]), capacity=10**6, in_flight_cap=9, retry=Backoff(4, 60),"
        " rng=random.Random(1))\n" + code
    )
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    )


def test_what_add_returned_for_survives_kill_9(path: Path) -> None:
    loop = (
        "n = 0\nwhile True:\n"
        f"    outbox.add(str(n), b'm' * 8000, {T0 + 60}, {T0})\n"
        "    print(n, flush=True)\n    n += 1\n"
    )
    with _child(loop, path) as child:
        assert child.stdout is not None
        printed = [child.stdout.readline().strip() for _ in range(100)]
        child.send_signal(signal.SIGKILL)
        printed += child.stdout.read().split()
    with open_outbox(path, capacity=10**6, in_flight_cap=10**6) as outbox:
        kept = {row.alert_id for row in outbox.due(T0, 10**6)}
        assert set(printed) <= kept
        assert len(printed) >= 100
        assert outbox.counts().balanced


def test_a_full_disk_is_a_named_error_and_loses_nothing(path: Path) -> None:
    fill = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\nn = 0\n"
        "try:\n    while True:\n"
        f"        outbox.add(str(n), b'm' * 8000, {T0 + 60}, {T0})\n        n += 1\n"
        "except OutboxError as error:\n    print(n)\n    print(error)\n"
    )
    with _child(fill, path) as child:
        assert child.stdout is not None
        added, message = child.stdout.read().splitlines()
    assert "Check free space" in message
    with open_outbox(path, capacity=10**6) as outbox:
        assert outbox.counts().pending == int(added) > 0


class OutboxMachine(RuleBasedStateMachine):
    """Any sequence of calls, restarts included, against a plain model."""

    @initialize(capacity=st.integers(1, 5), cap=st.integers(1, 4))
    def begin(self, capacity: int, cap: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.capacity, self.cap = capacity, cap
        self.now, self.made = T0, 0
        self.alive: dict[str, float] = {}
        self.sent: list[tuple[float, str]] = []
        self.gone: set[str] = set()
        self.open()

    def open(self) -> None:
        self.outbox = open_outbox(self.path, capacity=self.capacity, in_flight_cap=self.cap)

    @rule(lifetime=st.floats(0.5, 120))
    def add(self, lifetime: float) -> None:
        name = f"alert-{self.made}"
        added = self.outbox.add(name, b"m" + name.encode(), self.now + lifetime, self.now)
        self.made += 1
        for displaced in added.displaced:
            assert self.alive.pop(displaced) <= min(self.alive.values(), default=float("inf"))
            self.gone.add(displaced)
        self.alive[name] = self.now + lifetime

    @rule(limit=st.integers(0, 6))
    def send(self, limit: int) -> None:
        rows = self.outbox.due(self.now, limit)
        assert len(rows) <= limit
        for row in rows:
            assert self.now < row.expires_at == self.alive[row.alert_id], "sent after expiry"
            assert row.message == b"m" + row.alert_id.encode()
            assert self.outbox.attempted(row.alert_id, self.now)
            self.sent.append((self.now, row.alert_id))
        recent = {name for when, name in self.sent if when > self.now - RETRY.first_s and name in self.alive}
        assert len(recent) <= self.cap

    @rule(data=st.data())
    def receipt(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*self.alive, *sorted(self.gone), "never-made"]))
        assert self.outbox.release(name) == (name in self.alive)
        if self.alive.pop(name, None) is not None:
            self.gone.add(name)

    @rule(seconds=st.floats(0.1, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        late = {name for name, expires in self.alive.items() if expires <= self.now}
        assert set(self.outbox.expire(self.now)) == late
        self.gone |= late
        self.alive = {name: expires for name, expires in self.alive.items() if name not in late}

    @rule()
    def revoke(self) -> None:
        assert self.outbox.discard_all() == len(self.alive)
        self.gone |= set(self.alive)
        self.alive = {}

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.open()

    @invariant()
    def every_alert_is_accounted_for(self) -> None:
        if hasattr(self, "outbox"):
            counts = self.outbox.counts()
            assert counts.balanced
            assert (counts.made, counts.pending) == (self.made, len(self.alive))
            assert counts.pending <= self.capacity

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize(("first", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_a_backoff_without_sense_is_refused(first: float, cap: float) -> None:
    with pytest.raises(ValueError, match="first_s"):
        Backoff(first, cap)


def test_backoff_never_overflows_and_never_exceeds_its_cap() -> None:
    rng = random.Random(1)
    assert all(5.0 <= Backoff(1, 10).delay_s(attempt, rng) <= 10.0 for attempt in (4, 63, 10**9))
