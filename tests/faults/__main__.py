"""`make faults`: the whole table, with a seed."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import crash_vfs, netns, volume
from tests.faults.camera import Closed, closes
from tests.faults.run import Result, play_all, shares
from tests.faults.scale import Scale, Stopped
from tests.faults.show import camera_table, table
from tests.faults.table import ROWS, Row

AT_ONCE = 5
NEWNS = 0x00020000
SCALE = Scale(alerts=0, pace=40.0, outage_s=6.0, times=6)


def main() -> int:
    """Play every row that this machine can; 0 if all went well."""
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _own_mounts()
    stop = threading.Event()
    folder = Path(tempfile.mkdtemp(prefix="edgeagent-faults-")).resolve()
    code = 1
    try:
        rows, left_out = _possible(given.only, folder)
        if not rows:
            _say("no row has such a name that this machine can play")
            code = 2
        else:
            code = _run(given, rows, left_out, folder, stop)
    except (KeyboardInterrupt, Stopped):
        stop.set()
        _say("interrupted: nothing of it is left running, and there is no verdict")
        code = 130
    finally:
        if code != 1:  # else its files may tell why
            shutil.rmtree(folder, ignore_errors=True)
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alerts", type=int, default=10_000, help="over all rows, at least")
    parser.add_argument("--only", action="append", default=[], help="rows whose name contains this")
    parser.add_argument("--no-camera", action="store_true", help="leave the camera's table out")
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"))
    return parser.parse_args()


def _own_mounts() -> None:
    """As root, a mount namespace of our own: disks that we mount vanish with us, however we end."""
    if os.geteuid() == 0 and ctypes.CDLL(None).unshare(NEWNS) == 0:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)


def _possible(only: Sequence[str], folder: Path) -> tuple[list[Row], dict[str, str]]:
    """The rows to play, and those that this machine cannot, with what it lacks."""
    chosen = [row for row in ROWS if not only or any(part in row.name for part in only)]
    lacks = {
        "namespaces": netns.missing(),
        "copy of the disk after SIGKILL": volume.missing(folder / "probe"),
        "tmpfs": "" if os.geteuid() == 0 else "root",
        "recorded writes; unsynced ones lost or torn": (
            "" if crash_vfs.library() else "SQLite as a shared library"
        ),
    }
    left_out = {row.name: lacks[row.how] for row in chosen if lacks.get(row.how)}
    return [row for row in chosen if row.name not in left_out], left_out


def _run(
    given: argparse.Namespace, rows: list[Row], left_out: dict[str, str], folder: Path, stop: threading.Event
) -> int:
    began = time.monotonic()

    def progress(what: str, good: bool) -> None:
        _say(f"[{time.monotonic() - began:5.0f} s] {'ok ' if good else 'BAD'} {what}")

    results: list[Result] = []
    scale = shares(rows, given.alerts, SCALE)
    for number, result in enumerate(play_all(rows, folder, given.seed, scale, stop, AT_ONCE), 1):
        results.append(result)
        progress(f"{number:2} of {len(rows)}: {result.row.name}", result.good)
    results.sort(key=lambda result: rows.index(result.row))
    cameras: list[Closed] = []
    for closed in () if given.no_camera else closes(folder / "camera"):
        cameras.append(closed)
        progress(f"camera, {closed.fault}", closed.good)
    print(table(results))
    print(camera_table(cameras))
    for name, lack in left_out.items():
        print(f"not tried: {name}: this machine lacks {lack}")
    good = all(result.good for result in results) and all(closed.good for closed in cameras)
    _write(given, results, cameras, left_out, good, time.monotonic() - began)
    print("PASS" if good else "FAIL", f"in {time.monotonic() - began:.0f} s; seed {given.seed}; {given.out}")
    return 0 if good else 1


def _write(
    given: argparse.Namespace,
    results: list[Result],
    cameras: list[Closed],
    left_out: dict[str, str],
    good: bool,
    seconds: float,
) -> None:
    given.out.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "seed": given.seed,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "seconds": round(seconds, 1),
        "good": good,
        "rows": [result.as_json() for result in results],
        "camera": [{"fault": c.fault, "closed_after_s": c.after_s, "good": c.good} for c in cameras],
        "not_tried": left_out,
    }
    given.out.write_text(json.dumps(said, indent=1) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
