"""A unit in a container with its own systemd, SSH and network: `make test-container`."""
