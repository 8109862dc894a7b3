"""Text of Mosquitto's configuration and access list, for the demo, the tests and production alike. Pure.

`python -m edgeagent.demo.mosquitto_conf FOLDER` writes the files of `deploy/broker/mosquitto`. A test
compares those with what this module says, so that the broker on duty is configured as the one under test.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from edgeagent.alerts.topics import BENCH_PREFIX, FROM_UNIT, LIVE_PREFIX, TO_UNIT
from edgeagent.system.certificates import Certificate

CONTROL_ROOM = "control-room"
LEASE_DESK = "lease-desk"
"""Who holds the officers' lease; apart from the control room, so that neither can do the other's work."""
REVOCATION_DESK = "revocation-desk"
"""Who revokes; with a name of its own, since the broker admits each name once and the others are in use."""
DESKS = {
    CONTROL_ROOM: (
        ("alert", "state", "health", "revocation"),
        ("receipt", "revocation", "verdict", "review"),
    ),
    LEASE_DESK: (("state",), ("lease",)),
    REVOCATION_DESK: (("state",), ("revocation",)),
}
"""What each desk may read, and write, of every unit."""

PACKET_OVERHEAD = 2048
"""Topic, properties and header around a payload."""

Line = tuple[str, str]
"""A directive, and why it is there."""


@dataclass(frozen=True)
class Place:
    """What differs from one broker to the next.

    Attributes:
        listen: address of the network card; empty for all of them.
        crl: revoked certificates; None only for a demo, which revokes nobody.
        store: folder that survives a restart; None keeps nothing.
        user: account to become when started by root; empty leaves that to Mosquitto.
    """

    listen: str
    port: int
    server: Certificate
    acl: Path
    max_message: int
    crl: Path | None
    store: Path | None
    user: str


_HOME = Path("/etc/mosquitto/edgeagent")
PRODUCTION = Place(
    listen="",
    port=8883,
    server=Certificate(_HOME / "broker.crt", _HOME / "broker.key", _HOME / "ca.crt"),
    acl=_HOME / "edgeagent.acl",
    max_message=262_144,
    crl=_HOME / "ca.crl",
    store=Path("/var/lib/mosquitto"),
    user="mosquitto",
)


def configuration(port: int, server: Certificate, acl_file: Path, *, max_message: int, as_root: bool) -> str:
    """A demo's: loopback, TLS 1.3, client certificates, nothing kept on disk."""
    # As root Mosquitto would become the user `mosquitto`, who cannot read the keys of this folder. It listens
    # on loopback only and lives as long as a demo or a test; a real broker has a user of its own.
    user = "root" if as_root else ""
    return render(Place("127.0.0.1", port, server, acl_file, max_message, None, None, user))


def render(place: Place) -> str:
    """The whole file, each directive below its reason."""
    lines = [*_process(place), *_storage(place), *_limits(place), *_listener(place)]
    return "\n".join(f"# {why}\n{directive}" for directive, why in lines) + "\n"


def _process(place: Place) -> list[Line]:
    user = [(f"user {place.user}", "Root opens the files, then becomes this account.")] if place.user else []
    return [
        *user,
        ("per_listener_settings true", "What is said below a listener holds for that listener alone."),
        (
            "log_dest stderr",
            "The service manager keeps the log; nobody's name is in it but units' and desks'.",
        ),
        ("log_type error", "What went wrong,"),
        ("log_type warning", "what looks wrong,"),
        ("log_type notice", "and who came and went. Topics and payloads are not logged."),
        ("set_tcp_nodelay true", "A receipt or lease leaves at once, not 40 ms later (Nagle's algorithm)."),
        ("sys_interval 0", "No $SYS topics: a unit needs no figures about the others."),
    ]


def _storage(place: Place) -> list[Line]:
    if place.store is None:
        return [("persistence false", "Nothing outlives this broker: units say again what matters.")]
    return [
        (
            "persistence true",
            "Retained states and revocations survive a restart (R27); alerts rely on receipts.",
        ),
        (f"persistence_location {place.store}/", "A folder of this account alone, mode 0700."),
        ("autosave_interval 30", "A power cut may lose 30 s of it. Never rely on more: see docs/brokers.md."),
    ]


def _limits(place: Place) -> list[Line]:
    return [
        (f"message_size_limit {place.max_message}", "Largest payload in bytes; an alert has about 60,000."),
        (
            f"max_packet_size {place.max_message + PACKET_OVERHEAD}",
            "Whoever sends a longer packet is cut off before it is read.",
        ),
        ("max_inflight_messages 20", "To one client, unacknowledged, at a time."),
        (
            "max_queued_messages 1000",
            "For one slow client; what is beyond is dropped and sent again by its unit.",
        ),
        ("max_queued_bytes 67108864", "The same in bytes (64 MiB): no slow desk can eat the memory."),
        ("max_keepalive 60", "MQTT 5: a silent client is lost, and its will published, within 90 s."),
        (
            "persistent_client_expiration 1h",
            "A session that somebody kept open on purpose ends; ours are clean.",
        ),
    ]


def _listener(place: Place) -> list[Line]:
    tls = place.server
    crl = (
        []
        if place.crl is None
        else [(f"crlfile {place.crl}", "Revoked certificates; after its end, everybody.")]
    )
    return [
        (f"listener {place.port} {place.listen}".strip(), "The only port: no plain one, no websockets."),
        ("protocol mqtt", "Mosquitto 2.0's websockets ignore the CRL and the TLS version."),
        ("socket_domain ipv4", "One family; say ipv6, or leave it out, where the network has it."),
        ("max_connections 1000", "Units and desks together."),
        (f"cafile {tls.authority}", "Whose certificates count: this authority and no other."),
        (f"certfile {tls.cert}", "Who we are. Read again on SIGHUP, like key, CRL and access list."),
        (f"keyfile {tls.key}", "Mode 0600, of this account."),
        *crl,
        ("tls_version tlsv1.3", "Nothing older."),
        ("require_certificate true", "Without a certificate nobody says a word."),
        (
            "use_identity_as_username true",
            "The certificate's common name is the user; passwords do not exist.",
        ),
        (
            "use_username_as_clientid true",
            "Nobody throws another off by taking its name. Below `listener`, or it is ignored.",
        ),
        ("allow_anonymous false", "A certificate without a name is nobody."),
        (f"acl_file {place.acl}", "Who may read and write what; whatever is not granted there is refused."),
    ]


def access_list() -> str:
    """Each unit speaks and listens under its own name only; the desks do their part for all units."""
    lines = ["# Desks, by the name in their certificate: their part for every unit, live and bench."]
    for desk, (reads, writes) in DESKS.items():
        lines.append(f"user {desk}")
        for prefix in (LIVE_PREFIX, BENCH_PREFIX):
            lines += [f"topic read {prefix}/+/{last}" for last in reads]
            lines += [f"topic write {prefix}/+/{last}" for last in writes]
    lines.append("# Units: %u is the name in the certificate, so each has its own topics and no other's.")
    for prefix in (LIVE_PREFIX, BENCH_PREFIX):
        lines += [f"pattern write {prefix}/%u/{last}" for last in FROM_UNIT]
        lines += [f"pattern read {prefix}/%u/{last}" for last in TO_UNIT]
    return "\n".join(lines) + "\n"


def on_loopback(folder: Path, port: int, *, as_root: bool) -> str:
    """The production file with this folder's certificates, on loopback: what may be tried and attacked."""
    server = Certificate(folder / "broker.crt", folder / "broker.key", folder / "ca.crt")
    return render(
        replace(
            PRODUCTION,
            listen="127.0.0.1",
            port=port,
            server=server,
            acl=folder / "edgeagent.acl",
            crl=folder / "ca.crl",
            store=folder,
            user="root" if as_root else "",
        )
    )


def write_files(folder: Path) -> None:
    """Write the production files."""
    (folder / "mosquitto.conf").write_text(render(PRODUCTION))
    (folder / "edgeagent.acl").write_text(access_list())


if __name__ == "__main__":
    write_files(Path(sys.argv[1]))
