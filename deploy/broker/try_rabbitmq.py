"""A cluster of three RabbitMQ nodes as in production, on loopback, until Ctrl-C: `make broker-rabbitmq`.

Everything lies in one folder and runs as whoever calls it: own cookie, own epmd on a port of its own. What is
tried is the shipped configuration; only paths, ports and node names are put in place of production's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from loopback import (
    HOST,
    Options,
    answers,
    child,
    free_port,
    make_certificates,
    options,
    serve,
    tidy,
    wait_until,
)

HERE = Path(__file__).parent / "rabbitmq"
sys.path.insert(0, str(HERE))
from definitions import definitions  # noqa: E402 - lies beside the configuration that it belongs to

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
NODES = (1, 2, 3)
START_S = 150.0
PRODUCTION_HOME = "/etc/rabbitmq/edgeagent"
# Three virtual machines on one machine: no spinning, two threads each, and no port but loopback's.
QUIET = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


def main() -> None:
    """Certificates, configuration, epmd, three nodes."""
    if not (PROGRAMS / "rabbitmq-server").exists():
        raise SystemExit("rabbitmq-server is not installed: apt install rabbitmq-server")
    chosen = options((__doc__ or "").partition("\n")[0])
    with tidy(chosen):
        make_certificates(chosen)
        place_files(chosen)
        run(chosen)


def place_files(chosen: Options) -> None:
    """What goes to /etc/rabbitmq in production."""
    folder = chosen.folder
    (folder / "definitions.json").write_text(json.dumps(definitions(chosen.units)))
    place_crl(folder)
    advanced = (HERE / "advanced.config").read_text().replace(PRODUCTION_HOME, str(folder))
    (folder / "advanced.config").write_text(advanced)
    shutil.copy(HERE / "enabled_plugins", folder)


def place_crl(folder: Path) -> None:
    """The CRL under its issuer's hash, replaced in one step."""
    (folder / "crl").mkdir(exist_ok=True)
    asked = ["openssl", "crl", "-hash", "-noout", "-in", str(folder / "ca.crl")]
    name = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(folder / "ca.crl", folder / "crl" / ".new")
    (folder / "crl" / ".new").replace(folder / "crl" / f"{name}.r0")


def node_configuration(folder: Path, node: int, port: int) -> Path:
    """The shipped rabbitmq.conf for one node."""
    text = (HERE / "rabbitmq.conf").read_text()
    changes = {
        PRODUCTION_HOME: str(folder),
        "mqtt.listeners.ssl.1 = 8883": f"mqtt.listeners.ssl.1 = {HOST}:{port}",
        "disk_free_limit.absolute = 1GB": "disk_free_limit.absolute = 50MB",
    } | {f"rabbit@broker-{number}": f"rabbit{number}@localhost" for number in NODES}
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"rabbitmq.conf has no {old!r}")
        text = text.replace(old, new)
    path = folder / f"rabbitmq-{node}.conf"
    path.write_text(text)
    return path


def environment(folder: Path, epmd_port: int, node: int) -> dict[str, str]:
    """What makes a node, or rabbitmqctl for it, this cluster's and nobody else's."""
    data = folder / f"node-{node}"
    return {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": f"rabbit{node}@localhost",
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "generated"),
        "RABBITMQ_CONFIG_FILE": str(folder / f"rabbitmq-{node}.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": QUIET,
        "RUNNING_UNDER_SYSTEMD": "1",  # the script then becomes the node, with no shell in between
    }


def run(chosen: Options) -> None:
    """Start all, wait until every node answers and knows the other two, then serve."""
    folder, epmd_port = chosen.folder, free_port()
    ports = {node: free_port() for node in NODES}
    with contextlib.ExitStack() as stack:
        epmd = ["epmd", "-address", HOST, "-port", str(epmd_port)]
        stack.enter_context(child(epmd, folder / "epmd.log", {}))
        nodes = []
        for node, port in ports.items():
            node_configuration(folder, node, port)
            settings = environment(folder, epmd_port, node) | {"RABBITMQ_DIST_PORT": str(free_port())}
            server = child([str(PROGRAMS / "rabbitmq-server")], folder / f"node-{node}.log", settings)
            nodes.append(stack.enter_context(server))
            if node == 1:  # it makes the cluster, so that the others need not agree on who begins
                wait_until(lambda: answers(folder, ports[1]), nodes, START_S)
        wait_until(lambda: all(answers(folder, port) for port in ports.values()), nodes, START_S)
        control = {"program": str(PROGRAMS / "rabbitmqctl"), "environment": environment(folder, epmd_port, 1)}
        serve(chosen, list(ports.values()), pids=[node.pid for node in nodes], control=control)


if __name__ == "__main__":
    main()
