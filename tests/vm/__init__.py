"""A unit in a virtual machine: a real package, systemd, TPM, watchdog, and power cuts (`make test-vm`)."""

from tests import image  # noqa: F401 - makes the programs that build images importable
