"""A unit in a virtual machine: a real package, systemd, TPM, watchdog, and power cuts (`make test-vm`)."""
