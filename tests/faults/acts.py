"""What each row does to a running unit, broker and control room."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults import clock, netns, volume
from tests.faults.crash_disk import Disk, files_of, operations, put_back
from tests.faults.trial import Trial

SHORT_S = 3.0
"""How long an alert counts in the rows in which some must expire."""
MEMORY_OCTETS = 6 << 20


def begin(trial: Trial) -> None:
    trial.desk()
    trial.unit()
    trial.until_made(1 / 4)
    trial.until(lambda: trial.told("shown", "desk") or trial.done, "an alert to be shown")


def nothing(trial: Trial) -> None:
    begin(trial)


# --- the unit -------------------------------------------------------------------------------------------


def dies(step: str) -> Callable[[Trial], None]:
    def play(trial: Trial) -> None:
        trial.desk()
        share = trial.scale.alerts // (trial.scale.times + 2)
        for _ in range(trial.scale.times):
            trial.unit(die=(step, trial.rng.randint(1, max(share, 1))))
            if not trial.unit_died():
                break
        trial.unit()

    return play


def dies_anytime(trial: Trial) -> None:
    trial.desk()
    for number in range(trial.scale.times):
        trial.unit()
        trial.until_made((number + 1) / (trial.scale.times + 2))
        trial.wait(trial.rng.uniform(0, 0.2))
        trial.kill_unit()
    trial.unit()


def power_model(trial: Trial) -> None:
    record = trial.folder / "record"
    trial.desk()
    before: dict[str, bytes] = {}
    for number in range(trial.scale.times):
        trial.unit(record=record)
        trial.until_made((number + 1) / (trial.scale.times + 2))
        trial.wait(trial.rng.uniform(0, 0.2))
        trial.kill_unit()
        disk = Disk(before)
        for operation in operations(record.read_bytes()):
            disk.play(operation)
        record.unlink()
        put_back(trial.outbox, disk.cut(trial.rng))
        before = files_of(trial.outbox)
    trial.unit()


def power_ext4(trial: Trial) -> None:
    disk = trial.enter(volume.Ext4(trial.folder / "disk", trial.folder / "data"))
    trial.desk()
    for number in range(trial.scale.times):
        trial.unit()
        trial.until_made((number + 1) / (trial.scale.times + 2))
        trial.wait(trial.rng.uniform(0, 0.2))
        trial.kill_unit()
        disk.cut()
    trial.unit()


def disk_full(trial: Trial) -> None:
    memory = trial.enter(volume.Memory(trial.folder / "data", MEMORY_OCTETS))
    begin(trial)
    memory.fill()
    trial.until(trial.storage_failed, "the unit to say that storage failed")
    trial.outage()
    memory.clear()
    trial.stop_unit()
    trial.unit()


def file_limit(trial: Trial) -> None:
    trial.unit(file_limit=100_000 + trial.scale.alerts * 2000)
    trial.until(trial.storage_failed, "the unit to say that storage failed")
    trial.outage()
    trial.stop_unit()
    trial.desk()
    trial.unit()


def outbox_full(trial: Trial) -> None:
    trial.unit(capacity=max(trial.scale.alerts // 4, 1))
    trial.until_made(1)
    trial.happened += 1
    trial.desk()


# --- the broker and the network ---------------------------------------------------------------------------


def broker_wiped(trial: Trial) -> None:
    begin(trial)
    for _ in range(2):
        trial.broker.kill_and_wipe()
        trial.outage()
        trial.broker.running.start()
        trial.wait(trial.scale.outage_s)


def broker_frozen(trial: Trial) -> None:
    begin(trial)
    trial.broker.running.freeze()
    trial.outage()
    trial.broker.running.thaw()


def network_cut(trial: Trial) -> None:
    begin(trial)
    assert trial.wire is not None
    for _ in range(2):
        trial.wire.up = False
        trial.outage()
        trial.wire.up = True
        trial.wait(trial.scale.outage_s)


def network_slow(trial: Trial) -> None:
    """Slow enough that what is sent near its end arrives after it."""
    begin(trial)
    assert trial.wire is not None
    trial.wire.delay_s, trial.wire.jitter_s = SHORT_S / 4, SHORT_S / 2
    trial.outage()
    trial.until_made(1)
    trial.wait(SHORT_S)
    trial.wire.delay_s = trial.wire.jitter_s = 0.0


def network_lossy(trial: Trial) -> None:
    begin(trial)
    assert isinstance(trial.wire, netns.Wire)
    trial.wire.loss, trial.wire.jitter_s = 0.2, 0.1  # the jitter also puts packets out of order
    trial.happened += 1
    trial.until_made(1)
    trial.wait(trial.scale.outage_s)
    trial.wire.loss = trial.wire.jitter_s = 0.0


# --- the control room -------------------------------------------------------------------------------------


def desk_dead(trial: Trial) -> None:
    begin(trial)
    for _ in range(2):
        trial.kill_desk()
        trial.wait(trial.scale.outage_s)
        trial.desk()
        trial.wait(trial.scale.outage_s)


def desk_dead_long(trial: Trial) -> None:
    begin(trial)
    trial.kill_desk()
    trial.wait(SHORT_S + trial.scale.outage_s)
    trial.desk()


def desk_frozen(trial: Trial) -> None:
    begin(trial)
    trial.freeze_desk()


def desk_dies(trial: Trial) -> None:
    """After it has committed an alert, before anybody sees it."""
    trial.unit()
    share = trial.scale.alerts // (trial.scale.times + 2)
    for _ in range(trial.scale.times):
        trial.desk(die_after=trial.rng.randint(1, max(share, 1)))
        trial.desk_ended()
    trial.desk()


def desk_disk_full(trial: Trial) -> None:
    trial.desk(file_limit=100_000 + trial.scale.alerts * 500)
    trial.unit()
    trial.desk_ended()
    trial.wait(trial.scale.outage_s)
    trial.desk()


def receipts_lost(trial: Trial) -> None:
    trial.desk(receipts_lost=0.5)
    trial.happened += 1
    trial.unit()


def restored(trial: Trial) -> None:
    """A third of the receipts are lost, so that units repeat what the old database has never heard of."""
    trial.desk(receipts_lost=0.3)
    trial.unit()
    trial.until_made(1 / 3)
    trial.kill_desk()
    backup = trial.put_database_away()
    trial.desk(receipts_lost=0.3)
    trial.until_made(2 / 3)
    trial.kill_desk()
    trial.restore_database(backup)
    trial.desk()


# --- clocks -------------------------------------------------------------------------------------------------


def step(who: str, seconds: float, *, desk_away: bool = False) -> Callable[[Trial], None]:
    def play(trial: Trial) -> None:
        begin(trial)
        if desk_away:
            trial.kill_desk()
        clock.step(trial.folder / f"clock-{who}", seconds)
        trial.outage()
        clock.step(trial.folder / f"clock-{who}", 0.0)
        if desk_away:
            trial.wait(trial.ttl_s)
            trial.desk()

    return play
