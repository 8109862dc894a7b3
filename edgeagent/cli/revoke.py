"""`edgeagent authority revoke`: the end of a deployment, repeated until every unit shows it (R27)."""

from __future__ import annotations

import contextlib
import queue
import time
from pathlib import Path

import click

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Subscription
from edgeagent.alerts.topics import Topics, every_unit
from edgeagent.cli.desk_link import desk_link
from edgeagent.cli.interruption import Interruption
from edgeagent.cli.options import config_option, configured_trust, desk_identity
from edgeagent.config import load_desk_config
from edgeagent.controlroom.desk_file import revocation_message
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.controlroom.revocations import Revocations
from edgeagent.documents.messages import Revocation
from edgeagent.documents.table import REVOCATION, sign
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock

CONNECT_S = 5.0
LOOK_S = 0.2
KEPT = "it is kept: `edgeagent alerts watch` with this desk's data repeats it until the unit shows it"


@click.command()
@config_option("desk.toml")
@click.option("--deployment", required=True, help="Deployment identifier, as in the authority.")
@click.option("--unit", "units", multiple=True, required=True, help="Unit that must close; repeat for each.")
@click.option("--reason", required=True, help="Why; published in the unit's state.")
@click.option("--bench", is_flag=True, help="Revoke on bench units rather than live ones.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=None,
    help="Seconds to wait for the units; until all have shown it if not given.",
)
def revoke(
    config: Path, deployment: str, units: tuple[str, ...], reason: str, bench: bool, wait: float | None
) -> None:
    """Revoke a deployment at once and for good: cameras close, keys and lists are destroyed (R27).

    Signed by the control room's key of the configuration, kept in the desk's data, and repeated until each
    unit's signed state shows that it was carried out: here until Ctrl-C, and by `edgeagent alerts watch`. A
    lease desk with the same data gives no lease under it from now on. There is no way to take a revocation
    back.
    """
    desk = load_desk_config(config)
    trust, clock = configured_trust(desk.trust, desk.file), SystemClock()
    now = clock.now()
    body = Revocation(deployment=deployment, units=units, issued_at=now.wall, reason=reason)
    token = sign(REVOCATION, body, desk_identity(desk))
    with Revocations(desk.path(desk.desk.data), trust) as kept, Interruption() as end:
        kept.keep(token, bench=bench, now=now)
        left = list(units)
        link = desk_link(desk, [Subscription(every_unit("state", bench=bench), accept_retained=True)])
        try:
            _wait_until_connected(link)
            _publish(link, body, token, desk.desk.name, bench=bench, now=now)
            until = None if wait is None else time.monotonic() + wait
            while (left := kept.missing(deployment, bench=bench, now=clock.now())) and _time_left(until):
                end.step()
                _hear(link, kept, deployment, bench=bench, clock=clock)
        except KeyboardInterrupt:
            click.echo(f"not shown yet by {', '.join(left)}; {KEPT}", err=True)
            raise
        finally:
            link.close(None, timeout_s=CONNECT_S)
    if left:
        what = f"{', '.join(left)} did not show the revocation of {deployment} yet"
        raise BrokerError(what, where="broker", next_step=KEPT, rule="R27")


def _time_left(until: float | None) -> bool:
    return until is None or time.monotonic() < until


def _wait_until_connected(link: MqttLink) -> None:
    until = time.monotonic() + CONNECT_S
    while not link.connected:
        if time.monotonic() > until:
            click.echo(KEPT, err=True)
            raise link.last_error or BrokerError("cannot be reached", where="broker", next_step=KEPT)
        time.sleep(CONNECT_S / 100)


def _publish(
    link: MqttLink, body: Revocation, token: bytes, source: str, *, bench: bool, now: Instant
) -> None:
    """Retained: where the broker still has it, a unit hears of it before anybody answers its state."""
    for unit in body.units:
        message = revocation_message(unit, body.deployment, token.decode(), now, source)
        link.publish(Topics(unit, bench=bench).revocation, message, retain=True)
        click.echo(f"{unit}: revocation of {body.deployment} published")


def _hear(link: MqttLink, kept: Revocations, deployment: str, *, bench: bool, clock: SystemClock) -> None:
    """One state of a unit, if one comes, and what it lacks."""
    with contextlib.suppress(queue.Empty, BrokerError, DocumentError):
        message = link.inbox.get(timeout=LOOK_S)
        now = clock.now()
        state = read_state(message.topic, message.payload, kept.trust, now)
        before = kept.missing(deployment, bench=bench, now=now)
        answers = kept.answers(state, bench=bench, now=now)
        if state.unit in before and state.unit not in kept.missing(deployment, bench=bench, now=now):
            click.echo(f"{state.unit}: carried out; {state.state}, camera {state.camera}")
        for topic, answer in answers:
            link.publish(topic, answer)
