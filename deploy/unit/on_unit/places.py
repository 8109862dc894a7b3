"""Where everything of a unit lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class UnitError(Exception):
    """A step on the unit failed; a person can act on `next_step`."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what, self.where, self.next_step = what, where, next_step
        super().__init__(what)


INVITATION = "enrolment.toml"
"""Its token is for root, who enrols the unit, and not for the daemon."""


def mode_of(path: Path) -> int:
    """Of what belongs to root and the daemon's group: which of them may read it."""
    if path.is_dir():
        return 0o750
    return 0o600 if path.name == INVITATION else 0o640


@dataclass(frozen=True)
class Places:
    """Every path, below `root` ("/" but in tests)."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """Releases of the program stand here side by side, as edgeagent-<release>."""
        return self.root / "opt"

    @property
    def program(self) -> Path:
        """The link to the release that runs."""
        return self.opt / "edgeagent"

    @property
    def etc(self) -> Path:
        """What the daemon reads."""
        return self.root / "etc/edgeagent"

    @property
    def versions(self) -> Path:
        """Configurations stand here side by side, named by their hash."""
        return self.etc / "versions"

    @property
    def current(self) -> Path:
        """The link to the configuration that is used; every file of it is linked from `etc`."""
        return self.etc / "current"

    @property
    def sealed(self) -> Path:
        """Private keys that the service manager opens for the daemon; `edgeagent enrol` puts them here."""
        return self.etc / "credentials"

    @property
    def staging(self) -> Path:
        """How far the unit's enrolment is and, until it is finished, its new keys."""
        return self.etc / "enrolment"

    @property
    def data(self) -> Path:
        """The daemon's: audit log, outbox, keys of deployments."""
        return self.root / "var/lib/edgeagent"

    @property
    def state(self) -> Path:
        """What a deployment must find again after a power cut."""
        return self.root / "var/lib/edgeagent-deploy"

    @property
    def pending(self) -> Path:
        """There from before the switch until the new version has proved itself; found at boot: go back."""
        return self.state / "pending.json"

    @property
    def tool(self) -> Path:
        """This program, kept for the boot after a power cut."""
        return self.state / "tool.pyz"

    @property
    def incoming(self) -> Path:
        """What was copied here and is not unpacked yet."""
        return self.state / "incoming"

    @property
    def image(self) -> Path:
        """Programs and version of the image, on a unit that runs one."""
        return self.root / "usr/lib/edgeagent-image"

    @property
    def updates(self) -> Path:
        """Where such a unit takes an update in; nothing else of it can be written."""
        return self.root / "data/updates"

    @property
    def run(self) -> Path:
        """Gone at the next boot: progress, the view for checks."""
        return self.root / "run/edgeagent-deploy"

    @property
    def systemd(self) -> Path:
        """The administrator's units, which win over the package's."""
        return self.root / "etc/systemd/system"

    def release(self, name: str) -> Path:
        """The folder of a release."""
        return self.opt / f"edgeagent-{name}"
