"""How long a long list takes: `python -m tests.bench_watchlist 10000`. No test; it prints what it measured.

Every image is another file: a stand-in's portrait turned, scaled and lit anew. The same few people come again
and again under their own identifiers, as a person with several images does; the search for duplicates still
compares every pair.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edgeagent.demo.scene import ASSETS, ENROLLED, SUBJECT, WALKERS
from edgeagent.documents.deployment_key import new_key, sign_key
from edgeagent.documents.keys import Role, save_identity
from edgeagent.system.clock import SystemClock
from edgeagent.vision.types import UInt8Image
from tests.bench_unit import DEPLOYMENT, UNIT, Office
from tests.real_networks import GREY, portrait

MOST = 20_000


def view(picture: UInt8Image, rng: np.random.Generator) -> UInt8Image:
    """(H, W, 3) another view: up to 6° turned, 85 to 100 % of the size, a little brighter or darker."""
    height, width = picture.shape[:2]
    turn, scale = float(rng.uniform(-6, 6)), float(rng.uniform(0.85, 1.0))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
    turned = cv2.warpAffine(picture, matrix, (width, height), borderValue=(GREY, GREY, GREY))
    return np.asarray(np.clip(turned * rng.uniform(0.9, 1.1), 0, 255), np.uint8)


def prepare(folder: Path, entries: int) -> Office:
    """Images, CSV, keys and trust store."""
    rng, office = np.random.default_rng(1), Office(profile={"watchlist_max_entries": MOST})
    portraits = {picture: portrait(ASSETS / picture) for picture in sorted(set(WALKERS.values()))}
    portraits[WALKERS[SUBJECT]] = portrait(ENROLLED)  # the same person's other photograph
    people = list(portraits.items())
    (folder / "images").mkdir()
    columns = "entry person image category image_basis image_taken_on image_reference date_of_birth"
    with (folder / "list.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*columns.split(), "lawful_retention", "under_18_rationale"])
        for number in range(entries):
            person, picture = people[number % len(people)]
            assert cv2.imwrite(str(folder / "images" / f"{number}.jpg"), view(picture, rng))
            line = [f"e{number}", person, f"{number}.jpg", "test_subject", "consented"]
            writer.writerow([*line, "2012-12-06", "stand-in", "1961-08-04", "yes", ""])
    save_identity(office[Role.WATCHLIST_OFFICER], folder / "list.key")
    (folder / "trust.json").write_bytes(office.trust_document())
    key = new_key(UNIT, DEPLOYMENT, SystemClock().now())
    (folder / "unit.jws").write_bytes(sign_key(key, office[Role.UNIT]))
    return office


def main(entries: int) -> None:
    """Build once in a process of its own and print the figures as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        office = prepare(folder, entries)
        options = "--images images --csv list.csv --trust trust.json --unit-key unit.jws --key list.key"
        command = [sys.executable, "-m", "edgeagent", "watchlist", "build", *options.split()]
        command += ["--deployment", DEPLOYMENT, "--root", office.root, "--out", "l.edgelist", "--json"]
        began = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            raise SystemExit(1)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = {
            "entries": json.loads(done.stdout)["entries"],
            "seconds": round(took, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
            "rows_per_second": round(entries / took, 1),
            "peak_rss_mib": used.ru_maxrss // 1024,
            "list_bytes": (folder / "l.edgelist").stat().st_size,
            "images_bytes": sum(file.stat().st_size for file in (folder / "images").iterdir()),
            "load_average": round(os.getloadavg()[0], 1),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
