"""A Mosquitto of the trial's own: production's directives, a store on disk, an address to choose."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from edgeagent.demo.broker import CERTIFICATE_DAYS, HOST, RunningBroker, _free_port, find_mosquitto
from edgeagent.demo.mosquitto_conf import Place, access_list, render
from edgeagent.errors import BrokerError
from edgeagent.system.certificates import issue, make_authority

STORE = "mosquitto.db"


class Station:
    """A broker that can be killed and robbed of its store. It ends with the thread that made it."""

    def __init__(self, folder: Path, host: str = HOST) -> None:
        program = find_mosquitto()
        if program is None:
            raise BrokerError("mosquitto is not installed", next_step="apt install mosquitto")
        folder.mkdir(mode=0o700)
        now = datetime.now(UTC)
        make_authority(folder, "edgeagent-faults", now=now)
        server = issue(
            folder, "broker", server=True, hosts=("localhost", host), days=CERTIFICATE_DAYS, now=now
        )
        acl, conf, port = folder / "acl", folder / "mosquitto.conf", _free_port()
        user = "root" if os.geteuid() == 0 else ""
        conf.write_text(render(Place(host, port, server, acl, 262_144, None, folder, user)))
        acl.write_text(access_list())
        acl.chmod(0o600)
        command = [str(program), "-c", str(conf)]
        self._folder = folder
        self.running = RunningBroker("mosquitto", "mosquitto", folder, port, command)
        self.running.host = host
        self.running.start()

    def kill_and_wipe(self) -> None:
        """As a broker's disk that died with it."""
        self.running.kill()
        (self._folder / STORE).unlink(missing_ok=True)
