"""Keys, trust store and configuration of one unit for the emulated board, made as the other tests make
them."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

from edgeagent.documents.keys import Role, save_identity
from edgeagent.system.certificates import issue, make_authority
from tests.bench_unit import UNIT, Office

CONFIG = """\
[unit]
name = "{unit}"
key = "unit.key"
[trust]
store = "trust.json"
root = "{root}"
[documents]
authority = "documents/authority.json"
watchlist = "documents/watchlist.edgelist"
[data]
folder = "/var/lib/edgeagent"
[camera]
source = "v4l2:/dev/video0"
[broker]
host = "192.0.2.10"
port = 8883
through = "/run/edgeagent-broker"
ca = "tls/ca.crt"
certificate = "tls/{unit}.crt"
key = "tls/{unit}.key"
"""
FILTER = """\
# Test network: the technician is the emulator's host.
include "/usr/share/edgeagent/nftables.conf"
add element inet edgeagent technicians { 10.0.2.2 }
add element inet edgeagent doors { 22 }
"""


def unit_papers(folder: Path) -> bytes:
    """A tar of /etc/edgeagent."""
    office = Office()
    tls = folder / "tls"
    tls.mkdir(parents=True)
    now = datetime.now(UTC)
    make_authority(tls, "test-authority", now=now)
    issue(tls, UNIT, server=False, hosts=(), days=30, now=now)
    (tls / "ca.key").unlink(missing_ok=True)
    save_identity(office[Role.UNIT], folder / "unit.key")
    (folder / "trust.json").write_bytes(office.trust_document())
    (folder / "edgeagent.toml").write_text(CONFIG.format(unit=UNIT, root=office.root))
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(folder, ".")
    return whole.getvalue()
