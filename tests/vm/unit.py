"""One virtual unit with everything around it: card, emulator, TPM, control room."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgeagent.documents.messages import CameraState, Presence, UnitState
from tests.image.guest import GuestError
from tests.vm.books import Look, Told
from tests.vm.card import Card, Damage
from tests.vm.guest import Guest
from tests.vm.remains import Papers, look
from tests.vm.room import Room
from tests.vm.root import Base

LIVE_S = 600.0
ENROL = """\
set -e
tar -x -f /dev/vdb -C / --no-same-owner --no-overwrite-dir
cd /etc/edgeagent
mkdir -p -m 700 credentials
for name in unit tls; do
    systemd-creds encrypt --with-key=tpm2 --name=$name.key /root/$name.key credentials/$name.key
    rm /root/$name.key
done
chown -R root:edgeagent /etc/edgeagent /root/live/etc/edgeagent
chown -R edgeagent:edgeagent /var/lib/edgeagent /root/live/var/lib/edgeagent
chmod 750 /etc/edgeagent scene tls models; chmod 770 documents
chmod 700 /var/lib/edgeagent /var/lib/edgeagent/bench credentials
find /root/live/var/lib/edgeagent /var/lib/edgeagent -type d -exec chmod 700 {} +
find /root/live/var/lib/edgeagent /var/lib/edgeagent -type f -exec chmod 600 {} +
cat >/etc/systemd/system/edgeagent.service.d/50-enrolment.conf <<'END'
[Service]
LoadCredentialEncrypted=unit.key:/etc/edgeagent/credentials/unit.key
LoadCredentialEncrypted=tls.key:/etc/edgeagent/credentials/tls.key
END
ln -sf /lib/systemd/system/edgeagent-firewall.service /etc/systemd/system/multi-user.target.wants/
sync
"""
HEALTHY = """\
systemctl show edgeagent.service -p ActiveState -p NRestarts | tr '\\n' ' '
cat /sys/fs/ext4/vda/errors_count
findmnt -no OPTIONS / | cut -d, -f1
"""


@dataclass(frozen=True, slots=True)
class Booted:
    """A boot that came up: seconds from power on to systemd having READY, and to LIVE by the control room."""

    ready_s: float
    live_s: float


class VirtualUnit:
    """A unit and its control room in a folder of their own. Use one from one thread."""

    def __init__(self, base: Base, models: Path, folder: Path) -> None:
        """Make card, TPM and control room; nothing is switched on."""
        folder.mkdir(parents=True)
        self.folder = folder
        file = folder / "card"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(base.card), str(file)], check=True)
        self.card = Card(file, folder / "card.nbd")
        self.room = Room(folder / "room", models)
        self.guest = Guest(base, folder, self.card.address)
        bench = self.room.bench
        self.papers = Papers(bench.path / "trust.json", bench.office.root, self.room.list_sha256)
        self.before = ""
        """`boot` of the newest state that was taken for this one's."""

    def close(self) -> None:
        """Switch off, and leave nothing running."""
        self.guest.kill()
        self.card.close()
        self.room.close()
        (self.folder / "card").unlink(missing_ok=True)

    def enrol(self) -> None:
        """The first boot: a technician brings the files, and the unit's TPM seals its keys."""
        papers = self.folder / "papers.tar"
        content = self.room.papers()
        papers.write_bytes(content + bytes(-len(content) % 512))
        self.guest.papers = papers
        self.guest.start()
        self.guest.run(ENROL)
        self.guest.power_off()
        self.card.settle()
        self.guest.papers = None
        papers.unlink()

    def boot(self) -> Booted:
        """Power on, and wait until officers could rely on it: READY, the lease taken, the camera open.

        Raises:
            GuestError: it did not come up.
        """
        self.guest.start()
        ready_s = self.guest.ready()
        self.live()
        return Booted(ready_s, self.guest.on_s)

    def alert(self) -> None:
        """Wait until the unit has made one more alert than the newest state says.

        Raises:
            GuestError: nobody is met.
        """
        made = self.live().alerts.made
        if self.room.witness.until(lambda said: said.alerts.made > made, LIVE_S) is None:
            raise GuestError(f"no alert within {LIVE_S:.0f} s: {self.room.witness.last}")

    def live(self) -> UnitState:
        """Wait until this boot is LIVE."""
        state = self.room.witness.until(
            lambda said: said.state is Presence.LIVE and said.camera is CameraState.OPEN,
            LIVE_S,
            after=self.before,
        )
        if state is None:
            raise GuestError(f"not LIVE within {LIVE_S:.0f} s: {self.room.witness.last}")
        return state

    def healthy(self) -> list[str]:
        """What the unit itself says is wrong after a boot."""
        said = self.guest.run(HEALTHY).split()
        wanted = ["ActiveState=active", "0", "rw"]
        found = [word for word in said if not word.startswith("NRestarts")]
        restarts = next((word for word in said if word.startswith("NRestarts")), "NRestarts=?")
        wrong = [] if found == wanted else [f"active, ext4 errors, mount: {' '.join(found)}"]
        return wrong + ([] if restarts == "NRestarts=0" else [f"the daemon was restarted: {restarts}"])

    def cut(self, rng: random.Random) -> tuple[float, Damage, Told, str]:
        """Pull the plug: how long it was on, what the card lost, and what had been published by then."""
        on_s = self.guest.kill()
        damage = self.card.cut(rng)
        state = self.room.witness.last
        if state is None:
            return on_s, damage, Told(), ""
        self.before = state.boot
        return on_s, damage, Told(state.audit_sequence, state.alerts.made), _line(state)

    def look(self, *, published: str = "", verify: bool) -> Look:
        """What is on the card now."""
        return look(self.card, self.folder, self.papers, published=published, verify=verify)


def _line(state: UnitState) -> str:
    return f"{state.audit_sequence}:{state.audit_sha256}" if state.audit_sequence else ""
