"""The units' network, which can be cut: local sockets forwarded to the broker (`edgeagent.fleet.cable`).

Only octets of TLS pass here; it can neither read nor alter them. It is there only while outages are scripted.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from pathlib import Path

from edgeagent.fleet.wire import CableReport, CableTask, Order, first_line, orders, say

PIECE = 65_536
LOOK_S = 0.02


class Cable:
    """Forwards while it is whole; cutting it resets what stands and leaves nothing to connect to."""

    def __init__(self, task: CableTask) -> None:
        """Nothing is opened before `mend`."""
        self._sockets = task.sockets
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        """Let units through."""
        for path, host, port in self._sockets:
            Path(path).unlink(missing_ok=True)
            self._servers.append(await self._serve(path, host, port))
        say(CableReport(whole=True))

    def cut(self) -> None:
        """Reset every connection; the sockets are gone."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path, _, _ in self._sockets:
            Path(path).unlink(missing_ok=True)
        for writer in tuple(self._writers):
            writer.transport.abort()
        say(CableReport(whole=False))

    async def _serve(self, path: str, host: str, port: int) -> asyncio.Server:
        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                far_reader, far_writer = await asyncio.open_connection(host, port)
            except OSError:
                self._drop(writer)
                return
            self._writers.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

        return await asyncio.start_unix_server(forward, path, backlog=1024)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.read(PIECE):
                writer.write(octets)
                await writer.drain()
        except OSError:
            pass  # cut, or the other side went: both sides are closed below and by the other pump
        finally:
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()


async def serve(cable: Cable, coming: queue.Queue[Order]) -> None:
    """Until the order to stop."""
    await cable.mend()
    while True:
        await asyncio.sleep(LOOK_S)
        with contextlib.suppress(queue.Empty):
            order = coming.get_nowait().order
            if order == "stop":
                cable.cut()
                return
            if order == "cut":
                cable.cut()
            elif order == "mend":
                await cable.mend()


def main() -> None:
    """Read the task, do it."""
    task = first_line(CableTask)
    asyncio.run(serve(Cable(task), orders()))


if __name__ == "__main__":
    main()
