"""Power cuts at random moments of one virtual unit, each followed by a clean boot and a look at the card.

Half of the cuts fall into a boot, between power on and a little after READY; half while alerts flow, and in
half of those the control room is away, so that alerts wait in the outbox when the power goes.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.image.guest import GuestError
from tests.vm.books import Account, Look, Told, account, faults_against, faults_of_card, faults_since
from tests.vm.card import Damage
from tests.vm.room import TTL_S
from tests.vm.unit import Booted, VirtualUnit

FLOW_S = (0.0, 15.0)
"""After the first alert of this boot."""
AFTER_READY = 1.15
"""Cuts of a boot fall evenly between power on and this many times the last boot's time to READY."""
QUIET_S = 120.0
SETTLE_S = 1.0


class When(StrEnum):
    """Into what a cut falls."""

    BOOT = "in boot"
    FLOW = "alerts flow"
    ALONE = "nobody receives"


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut and what followed; `wrong` is empty if it may count as good."""

    unit: int
    when: When
    after_s: float
    damage: Damage
    booted: Booted | None
    look: Look | None
    wrong: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        said: dict[str, Any] = {
            "unit": self.unit,
            "when": self.when.value,
            "after_s": round(self.after_s, 2),
            "unsynced_sectors": self.damage.waiting,
            "lost_sectors": self.damage.lost,
            "ready_s": round(self.booted.ready_s, 1) if self.booted else None,
            "live_s": round(self.booted.live_s, 1) if self.booted else None,
        }
        books: dict[str, Any] = {}
        if self.look is not None:
            books["watchlist"] = self.look.watchlist.value
            books["repaired_lines"] = self.look.repaired
            books["outbox"] = {**self.look.totals, "pending": len(self.look.pending)}
        return said | books | {"wrong": list(self.wrong)}


@dataclass
class Series:
    """The cuts of one unit; `looks` are those right after each cut."""

    unit: VirtualUnit
    number: int
    rng: random.Random
    looks: list[Look] = field(default_factory=list)
    boots: list[Booted] = field(default_factory=list)
    last: Look | None = None

    def begin(self) -> None:
        """The first boots: the technician's, then one into service."""
        self.unit.enrol()
        self.unit.room.receive(True)
        self.unit.room.hold()
        self.boots.append(self.unit.boot())

    def plan(self, cuts: int) -> list[When]:
        """What the cuts fall into, in random order."""
        whens = [
            When.BOOT if number % 2 else (When.FLOW, When.ALONE)[number // 2 % 2] for number in range(cuts)
        ]
        self.rng.shuffle(whens)
        return whens

    def play(self, when: When) -> Cut:
        """One cut, the clean boot after it, and the judgement."""
        after_s, damage, told, published = self._cut(when)
        wrong: list[str] = []
        cut_look = self.unit.look(verify=False)
        wrong += self._judge(cut_look, told, "after the cut")
        self.looks.append(cut_look)
        booted, look = None, None
        try:
            self.unit.room.receive(True)
            booted = self.unit.boot()
            self.boots.append(booted)
            wrong += self.unit.healthy()
            look = self.unit.look(published=published, verify=True)
            wrong += self._judge(look, told, "after the boot")
        except GuestError as failed:
            wrong.append(str(failed))
        return Cut(self.number, when, after_s, damage, booted, look, tuple(wrong))

    def _cut(self, when: When) -> tuple[float, Damage, Told, str]:
        if when is When.BOOT:
            self.unit.guest.power_off()
            self.unit.card.settle()
            self.unit.guest.start()
            time.sleep(self.rng.uniform(0.0, AFTER_READY * self.boots[-1].ready_s))
        else:
            if when is When.ALONE:
                self.unit.room.receive(False)
            self.unit.alert()
            time.sleep(self.rng.uniform(*FLOW_S))
        return self.unit.cut(self.rng)

    def _judge(self, look: Look, told: Told, at: str) -> list[str]:
        received = self.unit.room.received()
        found = faults_of_card(look) + faults_against(told, look, received)
        found += faults_since(self.last, look, received) if self.last else []
        self.last = look
        return [f"{at}: {what}" for what in found]

    def end(self) -> Account:
        """The officers leave; what is pending is delivered; the unit is switched off; the account."""
        room = self.unit.room
        room.release()
        end = time.monotonic() + QUIET_S
        while time.monotonic() < end:
            state = room.witness.last
            if state is not None and state.state == "STANDBY" and state.alerts.pending == 0:
                break
            time.sleep(SETTLE_S)
        self.unit.guest.power_off()
        self.unit.card.settle()
        look = self.unit.look(verify=True)
        self.last = look
        return account(self.looks, look, room.received(), room.shown().lines, TTL_S)


Tell = Callable[[Cut], None]


@contextlib.contextmanager
def series(unit: VirtualUnit, number: int, seed: int) -> Iterator[Series]:
    """A series on a unit that is closed afterwards, however it ends."""
    try:
        made = Series(unit, number, random.Random(f"{seed}/{number}"))
        made.begin()
        yield made
    finally:
        unit.close()
