"""One container with systemd as process 1, and two network namespaces: the unit's, and the desk's."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.container.root import unpack

DESK, UNIT, ELSEWHERE = "10.177.7.1", "10.177.7.2", "10.177.8.1"
BOOT_S = 180.0
LOCK = Path("/run/lock/edgeagent-container-test")
POLL_S = 0.1
DONE = ("running", "degraded")


def wait_until(condition: Callable[[], Any], seconds: float = BOOT_S, what: str = "") -> Any:
    """Poll with a generous end."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(POLL_S)


class NoContainerError(Exception):
    """A plain Debian does not boot here: for want of a privilege, or of control groups."""


class Machine:
    """A container; `boot`, `cut_power`, `run`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.root = folder / "root"
        self.name = name
        self.desk_net, self.unit_net = f"{name}-d", f"{name}-u"
        self.log = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def make(self) -> None:
        """The root, and both namespaces with a cable between them."""
        unpack(self.root)
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/hostname").write_text("unit-01\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost unit-01\n{DESK} broker.test\n")
        for net in (self.desk_net, self.unit_net):
            ip("netns", "add", net)
        ip(
            "link",
            "add",
            "eth0",
            "netns",
            self.unit_net,
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            self.desk_net,
        )
        for net, address in ((self.desk_net, DESK), (self.unit_net, UNIT)):
            ip("-n", net, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", net, "link", "set", "eth0", "up")
            ip("-n", net, "link", "set", "lo", "up")
        ip("-n", self.desk_net, "addr", "add", f"{ELSEWHERE}/24", "dev", "eth0")
        ip("-n", self.unit_net, "route", "add", f"{ELSEWHERE}/32", "dev", "eth0")

    def first_boot(self) -> None:
        """Start for the first time: only Debian's own programs are in it.

        Raises:
            NoContainerError: this machine cannot run a container with systemd.
        """
        try:
            self.boot()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise NoContainerError(str(error)) from error

    def boot(self, *extra: str) -> None:
        """Start, and wait until the system is up."""
        options = [
            "-q",
            "-D",
            str(self.root),
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--capability=CAP_NET_ADMIN",
            "--system-call-filter=adjtimex clock_adjtime",  # as on a board: the sandbox decides
            *extra,
        ]
        options += [f"--network-namespace-path=/run/netns/{self.unit_net}", "--timezone=off", "-b"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["systemd-nspawn", *options, "systemd.log_level=warning"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._leader = wait_until(self._child, what="the container's first process")
        wait_until(self._is_up, what=f"the container is up; see {self.log}")

    def _child(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended: {self.log.read_text(errors='replace')[-600:]}")
        found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(found[0]) if found else 0

    def _is_up(self) -> bool:
        # Asked each time: its first child for a moment is a helper, and not yet the system's first process.
        self._leader = self._child()
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in DONE

    def run(
        self, *command: str, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """A command in the container, as root."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", "env", "-i"]
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*enter, path, *command], capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}: {done.stdout[-800:]} {done.stderr[-800:]}")
        return done

    def shown(self, unit: str, prop: str) -> str:
        """One property of a unit of systemd."""
        return self.run("systemctl", "show", unit, f"--property={prop}", "--value").stdout.strip()

    def cut_power(self) -> None:
        """Every process is gone at once; nobody is told."""
        assert self._process is not None
        pid = self._process.pid
        os.kill(self._leader, signal.SIGKILL)
        self._process.wait(120)
        self._process = None
        # The machine's own kernel keeps what was written; what was not synced is not lost here (a VM's test).
        assert not Path(f"/proc/{pid}").exists()

    def close(self) -> None:
        """Nothing is left: processes, namespaces, files."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self._leader or self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait(120)
        for net in (self.unit_net, self.desk_net):
            ip("netns", "del", net, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


def ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A container that is up, and gone afterwards.

    Raises:
        NoContainerError: this machine cannot run one, or another one runs on it.
    """
    made = Machine(folder, f"edge{os.getpid()}{os.urandom(2).hex()}")
    with _alone():
        try:
            made.make()
            made.first_boot()
            yield made
        finally:
            made.close()


@contextmanager
def _alone() -> Iterator[None]:
    """Without a systemd on the host, two containers would share one control group and end each other."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        until = time.monotonic() + BOOT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise NoContainerError(f"another test's container runs here ({LOCK} is held)") from None
                time.sleep(1)
            else:
                break
        yield
