"""`make test-vm`: power cuts of two virtual units, and what else only a machine of its own can show."""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from image_tools import interruptible

from tests.container.packages import built
from tests.image.guest import GuestError
from tests.vm import show
from tests.vm.books import Account
from tests.vm.checks import Checked, check, checks
from tests.vm.cuts import Cut, Series, series
from tests.vm.needs import missing
from tests.vm.pack import small_pack, use
from tests.vm.root import Base, base
from tests.vm.unit import Booted, VirtualUnit

NEWNET = 0x40000000
INTERRUPTED = 130
LACKING = 2


@dataclass
class Result:
    """What one unit went through; `fault` if its series broke off."""

    number: int
    cuts: list[Cut] = field(default_factory=list)
    boots: list[Booted] = field(default_factory=list)
    account: Account | None = None
    checked: list[Checked] = field(default_factory=list)
    fault: str = ""

    @property
    def good(self) -> bool:
        """Whether everything that was asked for was seen, and was as it must be."""
        parts = [not cut.wrong for cut in self.cuts] + [check.good for check in self.checked]
        return not self.fault and all(parts) and (self.account is None or self.account.good)


class Run:
    """All units at once, each in a thread of its own."""

    def __init__(self, given: argparse.Namespace, base: Base, models: Path, folder: Path) -> None:
        self._given = given
        self._base = base
        self._models = models
        self._folder = folder
        self._began = time.monotonic()
        self._said = threading.Lock()
        self._done = 0
        self.stop = threading.Event()
        self._units: list[VirtualUnit] = []

    def all(self) -> list[Result]:
        """Play everything; Ctrl-C ends it with nothing left running."""
        units = min(self._given.units, max(self._given.cuts, 1))
        with ThreadPoolExecutor(units) as pool:
            futures: list[Future[Result]] = [pool.submit(self._one, number, units) for number in range(units)]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._halt(futures)
                raise
            return [future.result() for future in futures]

    def _halt(self, futures: list[Future[Result]]) -> None:
        self.stop.set()
        for unit in self._units:
            unit.guest.halted = True
            unit.guest.kill()
        wait(futures)

    def _one(self, number: int, units: int) -> Result:
        result = Result(number)
        share = len(range(number, self._given.cuts, units))
        unit = VirtualUnit(self._base, self._models, self._folder / f"unit-{number}")
        self._units.append(unit)
        try:
            with series(unit, number, self._given.seed) as made:
                self._say(f"unit {number}: enrolled; first READY after {made.boots[0].ready_s:.1f} s")
                self._cuts(made, share, result)
                if share and not result.fault:
                    result.account = made.end()
                if number == 0 and self._given.checks and not result.fault:
                    self._checks(unit, result, off=bool(share))
                result.boots = made.boots
        except GuestError as failed:
            result.fault = str(failed)
            self._say(f"unit {number}: broke off: {failed}")
        return result

    def _cuts(self, made: Series, share: int, result: Result) -> None:
        for when in made.plan(share):
            if self.stop.is_set():
                return
            cut = made.play(when)
            result.cuts.append(cut)
            with self._said:
                self._done += 1
                place = f"{self._done:3}/{self._given.cuts}"
            self._say(f"{place} {show.line(cut)}")
            if cut.booted is None:
                result.fault = "it did not come up again"
                return

    def _checks(self, unit: VirtualUnit, result: Result, *, off: bool) -> None:
        if off:
            unit.before = unit.room.witness.last.boot if unit.room.witness.last else ""
            unit.room.hold()
            unit.boot()
        for name, act in checks(unit):
            if self.stop.is_set():
                return
            result.checked.append(check(name, act))
            self._say(show.check_line(result.checked[-1]))

    def _say(self, text: str) -> None:
        with self._said:
            print(f"[{time.monotonic() - self._began:6.0f} s] {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run; 0 if nothing was lost and everything was clean."""
    given = _arguments()
    interruptible()
    lacks = missing()
    if lacks:
        print(f"make test-vm needs: {lacks}", file=sys.stderr)
        return LACKING
    package = given.package or built()
    print(
        f"{package.name}; the card's base is built if it is not there (minutes)", file=sys.stderr, flush=True
    )
    made, models = base(package), small_pack()
    use(models)
    _own_network()
    folder = Path(tempfile.mkdtemp(prefix="edgeagent-vm-", dir=given.folder)).resolve()
    began, code = time.monotonic(), 1
    try:
        results = Run(given, made, models, folder).all()
        good = all(result.good for result in results)
        _report(given, results, good, time.monotonic() - began, package.name)
        code = 0 if good else 1
    except KeyboardInterrupt:
        print("interrupted: nothing of it is left running, and there is no verdict", file=sys.stderr)
        code = INTERRUPTED
    finally:
        if code != 1:  # else its files may tell why
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"consoles and logs are in {folder}", file=sys.stderr)
    return code


def _report(
    given: argparse.Namespace, results: list[Result], good: bool, seconds: float, package: str
) -> None:
    cuts = [cut for result in results for cut in result.cuts]
    boots = [boot for result in results for boot in result.boots]
    accounts = {result.number: result.account for result in results if result.account}
    checked = [check for result in results for check in result.checked]
    whole = show.Whole(given.seed, package, seconds, good, cuts, boots, accounts, checked)
    print(json.dumps(whole.as_json(), indent=1) if given.json else whole.text())
    for result in results:
        if result.fault:
            print(f"unit {result.number} broke off: {result.fault}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--units", type=int, default=2, help="at once; each takes a core")
    parser.add_argument("--json", action="store_true", help="the result for a program, on standard output")
    parser.add_argument("--no-checks", dest="checks", action="store_false", help="power cuts only")
    parser.add_argument("--package", type=Path, help="the unit's package, instead of this tree's")
    parser.add_argument("--folder", type=Path, help="where cards and logs lie meanwhile; 3 GiB")
    return parser.parse_args()


def _own_network() -> None:
    """A network of our own with nothing but its loopback: neither guest nor host can reach anything else."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEWNET) != 0:
        raise SystemExit("make test-vm needs the privilege of a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


if __name__ == "__main__":
    sys.exit(main())
