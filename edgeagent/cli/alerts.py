"""`edgeagent alerts watch`: what the control room sees."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from edgeagent.alerts.link import MqttLink
from edgeagent.alerts.link_types import Incoming, Subscription
from edgeagent.alerts.topics import every_unit
from edgeagent.cli.desk_link import desk_link
from edgeagent.cli.interruption import Interruption
from edgeagent.cli.lease import messages
from edgeagent.cli.options import config_option, configured_trust, desk_identity, json_option
from edgeagent.cli.terminal_picture import terminal_picture
from edgeagent.cli.verdicts import decide, open_, outcome
from edgeagent.config import load_desk_config
from edgeagent.controlroom.concerns import concerns_of
from edgeagent.controlroom.from_unit import from_unit
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.controlroom.receiver import Arrival, Receiver
from edgeagent.controlroom.revocations import Revocations
from edgeagent.controlroom.verdicts import Verdicts
from edgeagent.documents.messages import Presence, UnitState
from edgeagent.documents.table import HEALTH
from edgeagent.errors import BrokerError, DocumentError
from edgeagent.safeguards.instant import Instant
from edgeagent.system.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Show:
    """How to show an alert."""

    as_json: bool
    crops: bool


@click.group()
def alerts() -> None:
    """Receive alerts in the control room, and decide about them: an operator first, then an officer."""


for command in (open_, decide, outcome):
    alerts.add_command(command)


@alerts.command()
@config_option("desk.toml")
@click.option("--bench", is_flag=True, help="Watch bench units rather than live ones.")
@click.option("--crops", is_flag=True, help="With --json, the opened crops too (JPEG, base64).")
@json_option
def watch(config: Path, bench: bool, crops: bool, as_json: bool) -> None:
    """Verify, open and show each alert, commit it, and send its receipt, until interrupted (Ctrl-C).

    A match is a reason to look, never to act: an operator decides, then an officer decides again.
    """
    desk = load_desk_config(config)
    trust, identity = configured_trust(desk.trust, desk.file), desk_identity(desk)
    subscriptions = [
        Subscription(every_unit("alert", bench=bench)),
        Subscription(every_unit("state", bench=bench), accept_retained=True),
        Subscription(every_unit("revocation", bench=bench), accept_retained=True),
        Subscription(every_unit("health", bench=bench)),
    ]
    data = desk.path(desk.desk.data)
    with (
        Receiver(data, identity, trust) as receiver,
        Verdicts(data, trust) as verdicts,
        Revocations(data, trust) as revocations,
    ):
        link = desk_link(desk, subscriptions)
        click.echo(f"watching {'bench' if bench else 'live'} units; Ctrl-C ends", err=True)
        try:
            room = _Room(receiver, verdicts, revocations, link, bench, Show(as_json, crops))
            with Interruption() as end:
                for message in messages(link, end):
                    room.take(message)
        finally:
            link.close(None, timeout_s=2.0)


@dataclass(slots=True)
class _Room:
    """What the control room has, and what it has heard of each unit."""

    receiver: Receiver
    verdicts: Verdicts
    revocations: Revocations
    link: MqttLink
    bench: bool
    show: Show
    seen: dict[str, str] = field(default_factory=dict)
    last: dict[str, UnitState] = field(default_factory=dict)
    concerns: dict[str, str] = field(default_factory=dict)

    def take(self, message: Incoming) -> None:
        """Whatever arrives; what is refused is said, and the watch goes on."""
        now = SystemClock().now()
        try:
            match message.topic.rpartition("/")[2]:
                case "state":
                    self._state(message, now)
                case "revocation":
                    self.revocations.hear(message.topic, message.payload, now)  # R27: repeated from here too
                case "health":
                    self._health(message, now)
                case _:
                    self._alert(message, now)
        except (DocumentError, BrokerError) as refusal:
            click.echo(f"{message.topic}: {refusal}", err=True)

    def _state(self, message: Incoming, now: Instant) -> None:
        state = read_state(message.topic, message.payload, self.verdicts.trust, now)
        if not _newer(state, self.last):
            click.echo(f"{message.topic}: an old state was shown again by the broker; dropped", err=True)
            return
        _show_state(state, self.seen, self.show.as_json)
        revocations = self.revocations.answers(state, bench=self.bench, now=now)  # first: R27
        for topic, answer in (*revocations, *self.verdicts.answers(state, now)):
            self.link.publish(topic, answer)

    def _health(self, message: Incoming, now: Instant) -> None:
        """Every message as JSON; for a person only what somebody should look after, when it changes."""
        health, _ = from_unit(HEALTH, message.topic, message.payload, self.verdicts.trust, now)
        concerns = "; ".join(concerns_of(health))
        if self.show.as_json:
            click.echo(json.dumps({"event": "health", **health.model_dump(mode="json")}))
            sys.stdout.flush()
        elif concerns != self.concerns.get(health.unit, ""):
            click.echo(f"{health.at:%H:%M:%S} {health.unit}: health: {concerns or 'nothing of concern'}")
            sys.stdout.flush()
        self.concerns[health.unit] = concerns

    def _alert(self, message: Incoming, now: Instant) -> None:
        arrival = self.receiver.take(message.topic, message.payload, now)
        # Shown before its receipt is sent; if this process dies before, the repetition is shown.
        _show_alert(arrival, now, self.show)
        self.receiver.shown(arrival.alert)
        self.link.publish(arrival.receipt_topic, arrival.receipt)


def _show_state(state: UnitState, seen: dict[str, str], as_json: bool) -> None:
    said = state.model_dump(mode="json", exclude={"challenge"})
    shown = (
        f"{state.unit}: {state.state}, camera {state.camera}; {state.reason} [{state.rule}] {state.problem}"
    )
    if as_json:
        click.echo(json.dumps({"event": "state", **said}))
    elif seen.get(state.unit) != shown:
        click.echo(f"{state.at:%H:%M:%S} {shown}")
    seen[state.unit] = shown
    sys.stdout.flush()


def _newer(state: UnitState, last: dict[str, UnitState]) -> bool:
    """Whether a state is news: a broker could show an old one, genuine as it is, in place of the present."""
    before = last.get(state.unit)
    if before is not None and state.state is not Presence.LOST:
        same_boot = state.boot == before.boot
        if (same_boot and state.sequence <= before.sequence) or (not same_boot and state.at <= before.at):
            return False
    last[state.unit] = state
    return True


def _show_alert(arrival: Arrival, now: Instant, show: Show) -> None:
    alert = arrival.alert
    delay_ms = (now.wall - alert.captured_at).total_seconds() * 1000
    if show.as_json:
        said: dict[str, Any] = alert.model_dump(mode="json", exclude={"crop"})
        extra: dict[str, Any] = {
            "event": "alert",
            "first": arrival.first,
            "capture_to_alert_ms": round(delay_ms, 1),
        }
        if show.crops:
            extra["crop_jpeg"] = base64.b64encode(arrival.crop).decode()
        click.echo(json.dumps({**extra, **said}))
    elif arrival.first:
        mark = "BENCH TEST, NOT A PERSON OF INTEREST  " if alert.kind == "bench" else ""
        click.secho(
            f"{mark}ALERT {alert.unit} entry {alert.entry} ({alert.category})", bold=True, fg="yellow"
        )
        click.echo(
            f"  score {alert.score:.3f} to {alert.best_score:.3f} over {alert.agreeing_frames} frames, "
            f"threshold {alert.threshold:.3f}; lease {alert.lease_sequence}; "
            f"{delay_ms:.0f} ms after capture\n"
            "  Look at both pictures. Decide yourself; then the officer decides."
        )
        if sys.stdout.isatty():
            click.echo(terminal_picture(arrival.crop))
    sys.stdout.flush()
