"""`edgeagent lease hold`: the signed word that officers are on the ground, until interrupted."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from pathlib import Path

import click

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming, Subscription
from edgeagent.alerts.topics import every_unit
from edgeagent.cli.desk_link import desk_link
from edgeagent.cli.interruption import Interruption
from edgeagent.cli.options import config_option, configured_trust, desk_identity, json_option
from edgeagent.config import DeskConfig, load_desk_config
from edgeagent.controlroom.lease_holder import LeaseHolder
from edgeagent.controlroom.revocations import Revocations
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.system.clock import SystemClock

RELEASE_S = 3.0
"""After an interruption units are told for this long that the lease is over; a unit asks every 2 s."""


@click.group()
def lease() -> None:
    """Hold the officers-on-the-ground lease without which no camera opens."""


@lease.command()
@config_option("desk.toml")
@click.option("--deployment", required=True, help="Deployment identifier, as in the authority.")
@click.option(
    "--officers", required=True, type=click.IntRange(1, 1000), help="Engaging officers on the ground."
)
@click.option(
    "--seconds", default=6.0, show_default=True, type=click.FloatRange(2, 30), help="Length of each lease."
)
@click.option("--bench", is_flag=True, help="Answer units on a bench rather than live ones.")
@json_option
def hold(config: Path, deployment: str, officers: int, seconds: float, bench: bool, as_json: bool) -> None:
    """Answer every unit of the deployment until interrupted (Ctrl-C), then release the cameras.

    Run it only while officers are in place to engage: it is a signed statement that they are.
    """
    desk = load_desk_config(config)
    trust = configured_trust(desk.trust, desk.file)
    kept = Revocations(desk.path(desk.desk.data), trust)
    with kept:
        holder = LeaseHolder(desk_identity(desk), trust, deployment, officers, seconds, kept)
        _hold(desk, holder, bench, as_json)


def _hold(desk: DeskConfig, holder: LeaseHolder, bench: bool, as_json: bool) -> None:
    link = desk_link(desk, [Subscription(every_unit("state", bench=bench), accept_retained=True)])
    click.echo(
        f"holding the lease of {holder.deployment}, {holder.officers} officers; Ctrl-C releases", err=True
    )
    told: dict[str, str] = {}
    try:
        with Interruption() as end:
            for message in messages(link, end):
                _answer(holder, link, message, told, as_json)
    except KeyboardInterrupt:
        click.echo("releasing", err=True)
        holder.duration_s = 0.0
        for message in messages(link):
            _answer(holder, link, message, told, as_json)
    finally:
        link.close(None, timeout_s=2.0)


def messages(link: MqttLink, end: Interruption | None = None) -> Iterator[Incoming]:
    """Messages as they come, until `end` or for RELEASE_S without one; says when the broker is lost."""
    until, said = time.monotonic() + RELEASE_S, ""
    while end is not None or time.monotonic() < until:
        if end is not None:
            end.step()
        problem = "" if link.connected or link.last_error is None else str(link.last_error)
        if problem != said:
            click.echo(f"broker: {problem or 'connected'}", err=True)
            said = problem
        try:
            yield link.inbox.get(timeout=0.2)
        except queue.Empty:
            continue


def _answer(
    holder: LeaseHolder, link: MqttLink, message: Incoming, told: dict[str, str], as_json: bool
) -> None:
    now = SystemClock().now()
    try:
        answer = holder.answer(message.topic, message.payload, now)
        while holder.others:
            unit, other = holder.others.popitem()
            if told.get(unit) != other:
                click.echo(
                    f"{unit} is in deployment {other}, not {holder.deployment}: no lease for it", err=True
                )
            told[unit] = other
        for unit in holder.revoked - told.keys():
            told[unit] = "revoked"
            click.echo(f"{holder.deployment} is revoked on {unit}: no lease for it [R27]", err=True)
        if answer is None:
            return
        link.publish(answer.topic, answer.message)
    except (DocumentError, BrokerError) as refusal:
        click.echo(f"{message.topic}: {refusal}", err=True)
        return
    state = answer.state
    if as_json:
        said = {
            "unit": state.unit,
            "state": state.state,
            "camera": state.camera,
            "seconds": holder.duration_s,
        }
        click.echo(json.dumps({"at": now.wall.isoformat(), **said}))
    else:
        click.echo(
            f"{now.wall:%H:%M:%S} {state.unit}: {state.state}, camera {state.camera}; "
            f"lease of {holder.duration_s:g} s"
        )
