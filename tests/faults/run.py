"""Playing rows, several at a time, and what came of each."""

from __future__ import annotations

import shutil
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.faults.account import Account
from tests.faults.scale import Scale, Stopped, Stuck
from tests.faults.table import Row
from tests.faults.trial import Trial

TAIL = 300
"""Octets of a process's last words that are told of a row that went wrong."""
MAKING_S = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """One row that was played.

    Attributes:
        happened: how often the fault was inflicted.
        account: None where it could not be drawn up.
        trouble: why the row counts as bad although, or because, there is no account.
    """

    row: Row
    happened: int
    seconds: float
    account: Account | None
    trouble: str = ""

    @property
    def good(self) -> bool:
        """Nothing lost, nothing late, all adds up, and the fault did happen."""
        return self.account is not None and self.account.good and not self.trouble

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        figures = asdict(self.account) if self.account is not None else None
        said = {"fault": self.row.name, "how": self.row.how, "happened": self.happened}
        return {**said, "seconds": round(self.seconds, 1), "good": self.good, "trouble": self.trouble} | {
            "alerts": figures
        }


def play(row: Row, folder: Path, seed: int, scale: Scale, stop: threading.Event) -> Result:
    """One row; its files are removed if it went well. Raises `Stopped`."""
    own = zlib.crc32(f"{seed}/{row.name}".encode())
    began, trouble, account = time.monotonic(), "", None
    place = folder / f"{own:08x}"
    trial = Trial(place, own, scale, stop, row.ttl_s or scale.ttl_s, row.network, row.early, row.again)
    with trial:
        try:
            row.play(trial)
            trial.settle()
        except Stuck as stuck:
            trouble = str(stuck)
        account = trial.account()
        if not account.good or trouble:
            trouble = f"{trouble} {_last_words(place)}".strip()
    if not trial.happened and row.name != "no fault":
        trouble = trouble or "the fault never happened"
    result = Result(row, trial.happened, time.monotonic() - began, account, trouble)
    if result.good:
        shutil.rmtree(place)
    return result


def _last_words(place: Path) -> str:
    logs = [path for path in (place / "unit.log", place / "desk.log") if path.exists()]
    return f"(files in {place}) " + " | ".join(log.read_text(errors="replace")[-TAIL:] for log in logs)


def play_all(
    rows: Sequence[Row], folder: Path, seed: int, scale: Scale, stop: threading.Event, at_once: int
) -> Iterator[Result]:
    """Every row, as they end. On the way out, however that comes about, nothing of them is left running.

    Raises:
        Exception: whatever a row died of that is a fault of the table and not of the product.
    """
    with ThreadPoolExecutor(at_once, "row") as pool:
        left: set[Future[Result]] = {pool.submit(_played, row, folder, seed, scale, stop) for row in rows}
        try:
            while left:
                done, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        finally:
            stop.set()
            for one in left:
                one.cancel()


def _played(row: Row, folder: Path, seed: int, scale: Scale, stop: threading.Event) -> Result:
    # The broker ends with the thread that starts it, so each row has a thread of its own.
    answer: list[Result | BaseException] = []

    def work() -> None:
        try:
            answer.append(play(row, folder, seed, scale, stop))
        except Stopped as stopped:
            answer.append(stopped)
        except Exception as fault:  # noqa: BLE001 - told as the row's result, whatever it is
            answer.append(Result(row, 0, 0.0, None, f"{type(fault).__name__}: {fault}"))

    thread = threading.Thread(target=work, name=row.name)
    thread.start()
    thread.join()
    (result,) = answer
    if isinstance(result, BaseException):
        raise result
    return result


def shares(rows: Sequence[Row], alerts: int, scale: Scale) -> Scale:
    """The scale with an equal share of all alerts for each row, rounded up, made over `MAKING_S`."""
    each = -(-alerts // len(rows))
    return replace(scale, alerts=each, pace=max(each / MAKING_S, 1.0))
