"""What the virtual unit needs of the machine; who cannot run it is told what is missing."""

from __future__ import annotations

import os

from tests.container.needs import not_installed

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "swtpm": "swtpm",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
}


def missing() -> str:
    """What is missing, in words; empty if nothing is."""
    if os.geteuid() != 0:
        return "root: a Debian is unpacked, and a network namespace made"
    return not_installed(PROGRAMS)
