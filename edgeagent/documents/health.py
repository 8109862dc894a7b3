"""What a unit says of its machine: numbers for whoever keeps a fleet running; none is about people."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.safeguards.alert_rate import Count
from edgeagent.safeguards.authority import Kind, Sha256, UnitName
from edgeagent.safeguards.profile import StrictModel
from edgeagent.system.board import Throttling

Celsius = Annotated[float, Field(ge=-100, le=300)]
Positive = Annotated[float, Field(ge=0)]
Percent = Annotated[int, Field(ge=0, le=100)]
SAID_CHARACTERS = 120
Said = Annotated[str, Field(max_length=SAID_CHARACTERS)]
Flags = Annotated[tuple[Throttling, ...], Field(max_length=8)]


class Health(StrictModel):
    """A unit's machine and its program, sent every half minute; null where the machine does not say.

    Faces, people and alerts are counted in the state; nothing here adds to that (R1, R23).

    Attributes:
        boot: random number of this start of the daemon, as in its state.
        running_s: how long this start of the daemon has lasted.
        version: of the program. model_pack_sha256: of what it recognises with.
        board, os, kernel: as the machine names them; no serial number.
        uptime_s: how long the machine is on.
        clock_synchronised: the kernel says so. clock_trusted: it, or the control room's signed time.
        temperature_c: of the hottest sensor. critical_c: where the kernel switches the machine off.
        throttled_now, throttled_ever: what a Raspberry Pi's firmware holds back, now and since it is on.
        undervoltage: the supply is too weak, now.
        frequency_limited: the kernel holds a processor back because of heat, now.
        over_current_events: a Jetson's, since it is on.
        memory_total_bytes, memory_available_bytes: of the machine.
        process_bytes: of the daemon, in RAM; not of its capture process.
        disk_total_bytes, disk_free_bytes, disk_read_only: of the file system with the unit's data.
        storage_wear_percent: upper end of what an eMMC says is used of its life.
        storage_warning: an eMMC's reserve blocks run out.
        file_system_errors: counted by ext4.
        load_1m, cpu_count: processes that wanted a processor, last minute; how many processors there are.
        frames_per_s: looked at since the message before; null while the camera is closed.
        frame_age_p50_ms, frame_age_p95_ms: from a frame's capture to the end of all work on it.
        outbox_pending: alerts that wait for their receipt. oldest_alert_age_s: of the oldest of them.
        connections: times that the broker was reached in this start.
        messages_dropped: that came too large, too many, malformed or retained where nothing may be.
        publications_forbidden: refused by the broker's access list (MQTT 5 only).
        certificate_days: until the TLS certificate ends; negative when it has.
    """

    unit: UnitName
    kind: Kind
    boot: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sequence: Count
    at: AwareDatetime
    running_s: Positive
    version: Said
    model_pack_sha256: Sha256
    board: Said | None
    os: Said | None
    kernel: Said | None
    uptime_s: Positive | None
    clock_synchronised: bool
    clock_trusted: bool
    temperature_c: Celsius | None
    critical_c: Celsius | None
    throttled_now: Flags | None
    throttled_ever: Flags | None
    undervoltage: bool | None
    frequency_limited: bool | None
    over_current_events: Count | None
    memory_total_bytes: Count | None
    memory_available_bytes: Count | None
    process_bytes: Count | None
    disk_total_bytes: Count | None
    disk_free_bytes: Count | None
    disk_read_only: bool | None
    storage_wear_percent: Percent | None
    storage_warning: bool | None
    file_system_errors: Count | None
    load_1m: Positive | None
    cpu_count: Count | None
    frames_per_s: Positive | None
    frame_age_p50_ms: Positive | None
    frame_age_p95_ms: Positive | None
    outbox_pending: Count | None
    oldest_alert_age_s: Positive | None
    connections: Count
    messages_dropped: Count
    publications_forbidden: Count
    certificate_days: float | None
