"""Everything that people would sign for a real deployment, signed here for a bench, by the real commands."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgeagent.demo.broker import RunningBroker
from edgeagent.demo.mosquitto_conf import CONTROL_ROOM, LEASE_DESK
from edgeagent.demo.scene import ASSETS, ENROLLED, HEIGHT, WIDTH
from edgeagent.errors import EdgeAgentError
from edgeagent.system.files import write_atomic
from edgeagent.system.modelpack import default_pack_folder, load_pack

UNIT = "unit-01"
DEPLOYMENT = "demo-bench"
COMMAND_S = 120
REPORT = ASSETS / "bench-report.json"
DATASET = "generated views of stand-ins for volunteers, from public-domain portraits"
BENCH_FPIR = 0.75
"""The least that three people can show who are not on the list: 1 - 0.025^(1/3) is 71 % (R18)."""

PROFILE = """
name = "demonstration"
watchlist_max_age_h = 24
watchlist_max_entries = 2000
deployment_max_h = 12
urgent_max_h = 24
lease_max_s = 6.0
clock_step_s = 2.0
clock_skew_s = 2.0
retention_max_h = 24.0
threshold_min = 0.4
threshold_usual = 0.5
certified_fpir_max = 0.001
alert_ttl_max_s = 60.0
independent_approval = true
false_alert_limit = 0.001
false_alert_confidence = 0.99
false_alerts_most = 50
overdue_alerts_most = 5
verdict_within_s = 1800.0
"""

TERMS = """
kind = "bench"
deployment = "{deployment}"
sequence = 1
units = ["{unit}"]
site = "a generated street"
use_case = "event"
necessity = "A demonstration on generated pictures: nothing less than a run shows that it works."
proportionality = "Nobody is filmed: the people are stand-ins made from public-domain portraits."
is_assembly_or_protest = false
signage_confirmed = true
urgent = false
start = {start}
end = {end}
threshold = {threshold}
margin = 0.05
agreeing_frames = 4
alert_ttl_s = 30.0
realert_s = 10.0
retention_h = 1.0
lease_max_s = 6.0
"""

UNIT_TOML = """
[unit]
name = "{unit}"
key = "unit.key"
[trust]
store = "trust.json"
root = "{root}"
[documents]
authority = "authority.json"
watchlist = "watchlist.edgelist"
[data]
folder = "data"
[camera]
source = "scene:{scene}"
width = {width}
height = {height}
[broker]
host = "{host}"
port = {port}
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"
"""

CERTIFIED_UNIT_TOML = UNIT_TOML.replace("[documents]", '[documents]\ncertificate = "certificate.json"')

DESK_TOML = """
[desk]
name = "{name}"
key = "desk.key"
data = "received.sqlite"
[trust]
store = "trust.json"
root = "{root}"
[broker]
host = "{host}"
port = {port}
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"
"""

ROLES = {
    "root.key": ("root", "root"),
    "unit.key": ("unit", UNIT),
    "desk.key": ("control_room", "control room"),
    "list.key": ("watchlist_officer", "watchlist officer"),
    "bench.key": ("bench", "bench"),
    "evaluator.key": ("evaluator", "the demo's evaluator"),
}


@dataclass(frozen=True, slots=True)
class Papers:
    """Files of the demo's folder."""

    unit: Path
    alerts_desk: Path
    lease_desk: Path


def edgeagent(folder: Path, *arguments: str) -> str:
    """Run a real `edgeagent` command in the folder; its output.

    Raises:
        EdgeAgentError: the command failed; with its own words.
    """
    command = [sys.executable, "-m", "edgeagent", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise EdgeAgentError(said[-1] if said else "failed", where=f"edgeagent {' '.join(arguments[:2])}")
    return done.stdout


def make_keys(folder: Path) -> str:
    """Private keys of everybody, and the trust store; the root's thumbprint."""
    write_atomic(folder / "profile.toml", PROFILE.encode())
    public = []
    for file, (role, name) in ROLES.items():
        edgeagent(folder, "keys", "new", role, name, "--out", file)
        if role != "root":
            public.append(file.replace(".key", ".pub"))
            edgeagent(folder, "keys", "public", file, "--out", public[-1])
    options = ["--root", "root.key", "--profile", "profile.toml", "--sequence", "1", "--out", "trust.json"]
    return edgeagent(folder, "keys", "trust", *options, *public).strip().splitlines()[-1]


def make_certificate(folder: Path) -> dict[str, object]:
    """A certificate of the installed model pack, from a report on four stand-ins: it says how little it says.

    Raises:
        EdgeAgentError: the report that comes with the demo is of another model pack.
    """
    report = json.loads(REPORT.read_bytes())
    if report["model_pack_sha256"] != load_pack(default_pack_folder()).sha256:
        raise EdgeAgentError("is of another model pack", where=str(REPORT), next_step="make demo-report")
    options = ["--evaluator", "evaluator.key", "--floor-fpir", str(BENCH_FPIR), "--valid-days", "1"]
    options += ["--dataset", DATASET, "--out", "certificate.json", "--json"]
    return dict(json.loads(edgeagent(folder, "certify", str(REPORT), *options)))


def make_watchlist(folder: Path, root: str, threshold: float) -> dict[str, object]:
    """A list of one test subject (R32), built from one photograph and its mandatory fields."""
    (folder / "images").mkdir()
    shutil.copyfile(ENROLLED, folder / "images" / ENROLLED.name)
    row = {
        "entry": "blue-0001",
        "person": "blue-0001",
        "image": ENROLLED.name,
        "category": "test_subject",
        "image_basis": "consented",
        "image_taken_on": "2012-12-06",
        "image_reference": "public-domain portrait, stand-in for a volunteer",
        "date_of_birth": "1961-08-04",
        "lawful_retention": "yes",
        "under_18_rationale": "",
    }
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row))
    writer.writeheader()
    writer.writerow(row)
    write_atomic(folder / "list.csv", text.getvalue().encode())
    _make_deployment_key(folder, root)
    options = ["--images", "images", "--csv", "list.csv", "--deployment", DEPLOYMENT]
    options += ["--unit-key", "unit-deployment.jws"]
    options += ["--key", "list.key", "--trust", "trust.json", "--root", root, "--hours", "12"]
    options += ["--certificate", "certificate.json", "--threshold", str(threshold)]
    said = edgeagent(folder, "watchlist", "build", *options, "--out", "watchlist.edgelist", "--json")
    return dict(json.loads(said))


def _make_deployment_key(folder: Path, root: str) -> None:
    """On the unit, before it is told of its broker: the one-time key that alone opens the list (R6)."""
    places = {"host": "127.0.0.1", "port": 8883, "ca": "ca.crt", "certificate": "unit.crt", "key": "unit.tls"}
    text = CERTIFIED_UNIT_TOML.format(
        unit=UNIT, root=root, scene=folder / "scene.json", width=WIDTH, height=HEIGHT, **places
    )
    write_atomic(folder / "unit.toml", text.encode())
    edgeagent(
        folder, "keys", "deployment", DEPLOYMENT, "--config", "unit.toml", "--out", "unit-deployment.jws"
    )


def make_authority(folder: Path, threshold: float) -> None:
    """A bench authority for the next hour."""
    now = datetime.now(UTC)
    start, end = now + timedelta(seconds=4), now + timedelta(hours=1)
    terms = TERMS.format(
        deployment=DEPLOYMENT, unit=UNIT, start=start.isoformat(), end=end.isoformat(), threshold=threshold
    )
    write_atomic(folder / "authority.toml", terms.encode())
    options = ["--key", "bench.key", "--from", "authority.toml", "--watchlist", "watchlist.edgelist"]
    edgeagent(folder, "authority", "sign", *options, "--alert-key", "desk.pub", "--out", "authority.json")


def make_configuration(folder: Path, root: str, broker: RunningBroker, scene: Path) -> Papers:
    """Configuration of the unit and of the two desks, each with a TLS certificate of its own."""
    papers = Papers(folder / "unit.toml", folder / "alerts.toml", folder / "lease.toml")
    for file, name, template in (
        (papers.unit, UNIT, CERTIFIED_UNIT_TOML),
        (papers.alerts_desk, CONTROL_ROOM, DESK_TOML),
        (papers.lease_desk, LEASE_DESK, DESK_TOML),
    ):
        tls = broker.issue_client(name, now=datetime.now(UTC))
        text = template.format(
            unit=UNIT,
            name=name,
            root=root,
            scene=scene,
            width=WIDTH,
            height=HEIGHT,
            host=broker.host,
            port=broker.port,
            ca=broker.ca_file,
            certificate=tls.cert,
            key=tls.key,
        )
        write_atomic(file, text.encode())
    return papers
