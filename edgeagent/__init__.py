"""edgeagent: live facial recognition on a camera appliance; every safeguard an invariant of the program."""

__version__ = "0.1.0"
