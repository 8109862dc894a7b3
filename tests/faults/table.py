"""The rows of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import acts
from tests.faults.hooks import STEPS
from tests.faults.trial import Trial

HOUR_S = 3600.0


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        how: what does it, in few words.
        needs_root: cannot be tried by everybody.
        ttl_s: how long alerts count; None: as usual.
        network: what lies between unit and broker: nothing, a `proxy` or a `namespace` with a wire.
        early: the unit may give alerts up before their end, for its clock is set forward.
        again: an alert may be shown twice, for the control room dies between showing and noting it.
    """

    name: str
    how: str
    play: Callable[[Trial], None]
    needs_root: bool = False
    ttl_s: float | None = None
    network: str = ""
    early: bool = False
    again: bool = False


ROWS: tuple[Row, ...] = (
    Row("no fault", "to compare with", acts.nothing),
    *(Row(f"unit killed {step}", "SIGKILL at this step", acts.dies(step)) for step in STEPS),
    Row("unit killed at any moment", "SIGKILL", acts.dies_anytime),
    Row("unit loses power", "recorded writes; unsynced ones lost or torn", acts.power_model),
    Row("unit loses power, ext4", "copy of the disk after SIGKILL", acts.power_ext4, needs_root=True),
    Row("unit's disk full", "tmpfs", acts.disk_full, needs_root=True),
    Row("unit's files at a limit", "RLIMIT_FSIZE", acts.file_limit),
    Row("outbox full", "a quarter of its alerts fit", acts.outbox_full),
    Row("broker killed, store wiped", "SIGKILL", acts.broker_wiped),
    Row("broker frozen", "SIGSTOP", acts.broker_frozen),
    Row("network cut", "TCP proxy", acts.network_cut, network="proxy"),
    Row("network delayed", "TCP proxy", acts.network_slow, network="proxy", ttl_s=acts.SHORT_S),
    Row("network cut, IP", "namespaces", acts.network_cut, True, network="namespace"),
    Row("network delayed, IP", "namespaces", acts.network_slow, True, acts.SHORT_S, network="namespace"),
    Row("network loses 20 %, IP", "namespaces", acts.network_lossy, True, network="namespace"),
    Row("control room dead", "SIGKILL", acts.desk_dead, again=True),
    Row("control room dead too long", "SIGKILL", acts.desk_dead_long, ttl_s=acts.SHORT_S, again=True),
    Row("control room frozen", "SIGSTOP", acts.desk_frozen),
    Row("control room killed after commit", "SIGKILL at this step", acts.desk_dies, again=True),
    Row("control room's files at a limit", "RLIMIT_FSIZE", acts.desk_disk_full, again=True),
    Row("receipts lost", "every other one", acts.receipts_lost, ttl_s=15.0),
    Row("old database restored", "files put back", acts.restored, ttl_s=15.0, again=True),
    Row("unit's clock +1 h", "stepped there and back", acts.step("unit", HOUR_S), early=True),
    Row("unit's clock -1 h", "stepped there and back", acts.step("unit", -HOUR_S), early=True),
    Row(
        "unit's clock +1 h, no control room",
        "stepped there and back",
        acts.step("unit", HOUR_S, desk_away=True),
        ttl_s=acts.SHORT_S,
        early=True,
        again=True,
    ),
    Row("control room's clock +1 h", "stepped there and back", acts.step("desk", HOUR_S)),
    Row("control room's clock -1 h", "stepped there and back", acts.step("desk", -HOUR_S)),
)
