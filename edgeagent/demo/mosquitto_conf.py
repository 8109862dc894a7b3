"""Text of the configuration and access list of an embedded Mosquitto. Pure."""

from __future__ import annotations

from pathlib import Path

from edgeagent.alerts.topics import BENCH_PREFIX, FROM_UNIT, LIVE_PREFIX, TO_UNIT
from edgeagent.system.certificates import Certificate

CONTROL_ROOM = "control-room"
LEASE_DESK = "lease-desk"
"""Who holds the officers' lease; apart from the control room, so that neither can do the other's work."""
REVOCATION_DESK = "revocation-desk"
"""Who revokes; with a name of its own, since the broker admits each name once and the others are in use."""
DESKS = {
    CONTROL_ROOM: (("alert", "state", "health"), ("receipt", "revocation")),
    LEASE_DESK: (("state",), ("lease",)),
    REVOCATION_DESK: (("state",), ("revocation",)),
}
"""What each desk may read, and write, of every unit."""


def configuration(port: int, server: Certificate, acl_file: Path, *, max_message: int, as_root: bool) -> str:
    """A Mosquitto 2 configuration: loopback, TLS 1.3, client certificates, nothing kept on disk."""
    lines = [
        "per_listener_settings true",
        "persistence false",
        f"message_size_limit {max_message}",
        "max_inflight_messages 20",
        "max_queued_messages 1000",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        f"listener {port} 127.0.0.1",
        f"cafile {server.authority}",
        f"certfile {server.cert}",
        f"keyfile {server.key}",
        "tls_version tlsv1.3",
        "require_certificate true",
        "use_identity_as_username true",
        # Below `listener`, or it is ignored. Nobody can throw another client out by taking its name.
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"acl_file {acl_file}",
    ]
    if as_root:
        # Mosquitto would become the user `mosquitto`, who cannot read the keys of this folder. It listens
        # on loopback only and lives as long as a demo or a test; a real broker has a user of its own.
        lines.insert(0, "user root")
    return "\n".join(lines) + "\n"


def access_list() -> str:
    """Each unit speaks and listens under its own name only; the two desks do their part for all units."""
    lines: list[str] = []
    for desk, (reads, writes) in DESKS.items():
        lines.append(f"user {desk}")
        for prefix in (LIVE_PREFIX, BENCH_PREFIX):
            lines += [f"topic read {prefix}/+/{last}" for last in reads]
            lines += [f"topic write {prefix}/+/{last}" for last in writes]
    for prefix in (LIVE_PREFIX, BENCH_PREFIX):
        lines += [f"pattern write {prefix}/%u/{last}" for last in FROM_UNIT]
        lines += [f"pattern read {prefix}/%u/{last}" for last in TO_UNIT]
    return "\n".join(lines) + "\n"
