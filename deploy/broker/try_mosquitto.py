"""Mosquitto as in production, on loopback, until Ctrl-C: `make broker-mosquitto`."""

from __future__ import annotations

import os

from loopback import answers, child, free_port, make_certificates, options, serve, tidy, wait_until

from edgeagent.demo.broker import find_mosquitto
from edgeagent.demo.mosquitto_conf import access_list, on_loopback


def main() -> None:
    """Certificates, configuration, one process."""
    program = find_mosquitto()
    if program is None:
        raise SystemExit("mosquitto is not installed: apt install mosquitto")
    chosen = options(__doc__ or "")
    with tidy(chosen):
        make_certificates(chosen)
        folder, port = chosen.folder, free_port()
        (folder / "mosquitto.conf").write_text(on_loopback(folder, port, as_root=os.geteuid() == 0))
        (folder / "edgeagent.acl").write_text(access_list())
        (folder / "edgeagent.acl").chmod(0o600)
        with child([str(program), "-c", str(folder / "mosquitto.conf")], folder / "broker.log", {}) as broker:
            wait_until(lambda: answers(folder, port), [broker], 10)
            serve(chosen, [port], pids=[broker.pid])


if __name__ == "__main__":
    main()
