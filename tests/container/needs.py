"""What container tests need of the machine; a test that cannot run says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess

PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dpkg-deb": "dpkg",
}


def missing() -> str:
    """What is missing, in words; empty if nothing is."""
    if os.geteuid() != 0:
        return "containers need root"
    return not_installed(PROGRAMS) or _no_namespaces()


def not_installed(programs: dict[str, str]) -> str:
    """Which packages are missing, of these by the program that is wanted of each; empty if none is."""
    gone = sorted({package for program, package in programs.items() if shutil.which(program) is None})
    return f"not installed: {', '.join(gone)}" if gone else ""


def _no_namespaces() -> str:
    """A network namespace with a pair of linked devices, as a container gets; made and removed."""
    name = f"edge-try-{os.getpid()}"
    device = f"et{os.getpid()}"
    steps = (["ip", "netns", "add", name], ["ip", "link", "add", device, "netns", name, "type", "veth"])
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return f"no privilege for {' '.join(step[:3])}: {done.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return ""
