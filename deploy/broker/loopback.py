"""What both `try_*.py` share: certificates by `edgeagent keys ca`, ports, children, waiting for Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeagent.cli.ca import ca
from edgeagent.demo.mosquitto_conf import DESKS
from edgeagent.demo.tied import tied

HOST = "127.0.0.1"
STOP_S = 20.0
STOPS = {signal.SIGINT, signal.SIGTERM}
TEMPORARY = "edgeagent-broker-"


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    folder: Path
    units: tuple[str, ...]
    as_json: bool


def options(what: str) -> Options:
    """Read the command line; without --folder everything lies in a new folder, removed at the end."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--folder", type=Path, help="keep everything here")
    parser.add_argument("--json", action="store_true", help="one line of JSON when it is ready")
    parser.add_argument("units", nargs="*", default=["unit-01", "unit-02"])
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix=TEMPORARY))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Options(folder.resolve(), tuple(given.units), given.json)


def make_certificates(chosen: Options) -> None:
    """An authority in the folder, the broker's certificate, and one for every unit and desk."""
    passphrase = chosen.folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_hex(16))
    command(chosen.folder, "init")
    command(chosen.folder, "issue", "broker", "--host", "localhost", "--host", HOST)
    for name in (*DESKS, *chosen.units):
        command(chosen.folder, "issue", name)


def command(folder: Path, *arguments: str) -> None:
    """One `edgeagent keys ca` command, in this process."""
    common = ["--folder", str(folder), "--passphrase-file", str(folder / "passphrase"), "--json"]
    with contextlib.redirect_stdout(None):
        ca.main([*arguments, *common], standalone_mode=False)


def free_port() -> int:
    """A port below the range from which the system takes the far ends of connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


@contextlib.contextmanager
def child(
    command_line: list[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that Ctrl-C does not reach, that ends when we leave, and that dies if we are killed."""
    program = shutil.which(command_line[0]) or command_line[0]
    with log.open("ab") as output:
        process = subprocess.Popen(
            tied([program, *command_line[1:]]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(folder: Path, port: int) -> bool:
    """Whether somebody with our broker's certificate listens there."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    try:
        with (
            socket.create_connection((HOST, port), 1.0) as plain,
            context.wrap_socket(plain, server_hostname=HOST),
        ):
            return True
    except OSError:
        return False


def wait_until(ready: Callable[[], bool], children: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Wait for `ready`; ends the program when a child ends or time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline or any(process.poll() is not None for process in children):
            raise SystemExit("the broker does not start; read the log files in its folder")
        time.sleep(0.2)


def serve(chosen: Options, ports: list[int], **more: Any) -> None:
    """Say where it is, then wait for Ctrl-C or SIGTERM."""
    if chosen.as_json:
        print(json.dumps({"host": HOST, "ports": ports, "folder": str(chosen.folder), **more}), flush=True)
    else:
        where = " and ".join(f"{HOST}:{port}" for port in ports)
        print(
            f"listening on {where}; certificates of {', '.join((*DESKS, *chosen.units))} in {chosen.folder}"
        )
        print(
            "put host, port, ca.crt and a pair of certificate and key into a [broker] section; Ctrl-C ends it"
        )
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    signal.sigwait(STOPS)


@contextlib.contextmanager
def tidy(chosen: Options) -> Iterator[None]:
    """End in order on Ctrl-C or SIGTERM at any time; remove a folder that nobody asked for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if chosen.folder.name.startswith(TEMPORARY):
            shutil.rmtree(chosen.folder, ignore_errors=True)
