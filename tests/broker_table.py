"""Who refuses what, at both brokers: `make broker-table`, or `python -m tests.broker_table rabbitmq`.

Ends with 1 if anything was not refused.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgeagent.demo.broker import find_mosquitto
from tests.broker_duty import Duty
from tests.broker_trials import KINDS, Door, Kind, NotRefusedError, Refusal, TopicTrials, TriedBroker, tried

DOOR: dict[str, Callable[[Door], Refusal]] = {
    "no certificate": Door.no_certificate,
    "certificate of a rogue authority": Door.rogue_authority,
    "expired certificate": Door.expired,
    "revoked certificate": Door.revoked,
    "TLS 1.2": Door.tls_1_2,
    "user and password": Door.password,
    "a plain port": Door.plain,
    "websockets": Door.websocket,
}
TOPICS: dict[str, Callable[[TopicTrials], Refusal]] = {
    "publish another unit's alert": TopicTrials.publish_for_another,
    "publish another unit's bench alert": TopicTrials.publish_bench_for_another,
    "a unit publishes a lease": TopicTrials.give_a_lease_as_unit,
    "the control room publishes a lease": TopicTrials.give_a_lease_as_control_room,
    "listen to another unit's lease": TopicTrials.listen_to_another,
    "the same on the bench": TopicTrials.listen_to_another_on_bench,
    "listen to lfr/v1/+/lease": TopicTrials.listen_with_wildcard,
    "listen to #": TopicTrials.listen_to_all,
    "listen to $SYS/#": TopicTrials.listen_to_system,
    "listen as control room by password": TopicTrials.listen_by_password,
    "speak under another's client id": TopicTrials.speak_under_anothers_client_id,
    "listen under another's client id": TopicTrials.listen_under_anothers_client_id,
    "throw another off by its client id": TopicTrials.throw_off_by_client_id,
    "a message of 1 MB": TopicTrials.oversize,
    "the lease desk listens to alerts": TopicTrials.listen_to_alerts_as_lease_desk,
}
DUTY: dict[str, Callable[[Duty], Refusal]] = {
    "forged lease": Duty.forged_lease,
    "forged receipt": Duty.forged_receipt,
    "replayed receipt": Duty.replayed_receipt,
    "replayed lease": Duty.replayed_lease,
    "forged alert": Duty.forged_alert,
    "alert signed by another unit": Duty.alert_of_another_unit,
    "bench alert on a live topic": Duty.bench_alert_on_live_topic,
    "replayed alert": Duty.replayed_alert,
}
ROWS = (*DOOR, *TOPICS, *DUTY)
Results = dict[str, Refusal | NotRefusedError]


def attack(kind: Kind, folder: Path) -> Results:
    """Every row against one broker, started for it and ended afterwards."""
    results: Results = {}
    with tried(kind, folder / "broker") as place:
        broker = TriedBroker(place)
        try:
            door = Door(broker)
            results |= {row: _try(partial(DOOR[row], door)) for row in DOOR}
            topics = TopicTrials(broker)
            results |= {row: _try(partial(TOPICS[row], topics)) for row in TOPICS}
            broker.close_links()
            with Duty(broker, folder) as duty:
                results |= {row: _try(partial(DUTY[row], duty)) for row in DUTY}
        finally:
            broker.close_links()
    return results


def _try(attempt: Callable[[], Refusal]) -> Refusal | NotRefusedError:
    try:
        return attempt()
    except NotRefusedError as gap:
        return gap


def unexpected(results: Results) -> list[str]:
    """Rows that were not refused."""
    return [row for row, result in results.items() if isinstance(result, NotRefusedError)]


def missing(kind: Kind) -> str:
    """What is not installed; empty when the broker can be tried."""
    if kind == "mosquitto":
        return "" if find_mosquitto() else "mosquitto"
    found = Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() and shutil.which("openssl")
    return "" if found else "rabbitmq-server or openssl"


def _print(kind: Kind, results: Results) -> None:
    print(f"\n{kind}\n{'attempt':<36} {'refused by':<13} how")
    for row, result in results.items():
        if isinstance(result, Refusal):
            print(f"{row:<36} {result.by:<13} {result.how}")
        else:
            print(f"{row:<36} {'NOT REFUSED':<13} {result}")


def main(kinds: tuple[Kind, ...]) -> int:
    """Print one table a broker; 1 if a row was not refused, or a broker is not installed."""
    failed = 0
    for kind in kinds:
        absent = missing(kind)
        if absent:
            print(f"{absent} is not installed: apt install {absent}", file=sys.stderr)
            failed = 1
            continue
        with tempfile.TemporaryDirectory(prefix="edgeagent-table-") as folder:
            results = attack(kind, Path(folder))
        _print(kind, results)
        bad = unexpected(results)
        refused = len(results) - len(bad)
        print(f"{kind}: {refused} of {len(ROWS)} refused, {len(bad)} not refused", flush=True)
        failed |= bool(bad)
    return int(failed)


if __name__ == "__main__":
    chosen = tuple(kind for kind in KINDS if kind in sys.argv[1:])
    sys.exit(main(chosen or KINDS))
