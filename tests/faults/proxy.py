"""A wire for machines without namespaces: a TCP proxy on loopback that can be cut, slow, or hang up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536


class Proxy:
    """Forwards to a port of this machine. While it is cut nothing passes and nobody is told."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.port = 0
        self.up = True
        self.delay_s, self.jitter_s = 0.0, 0.0
        self._to = port
        self._rng = rng
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._meet, HOST, 0), self._loop
        ).result(20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hang_up(self) -> None:
        """Close every connection, as a router that restarts does."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._passing()
            with contextlib.suppress(OSError):
                onward = await asyncio.open_connection(HOST, self._to)
                self._writers.add(onward[1])
                await self._both(reader, writer, *onward)
        except asyncio.CancelledError:
            return  # the trial is over
        finally:
            for one in list(self._writers):
                if one is writer or one.transport.is_closing():
                    self._writers.discard(one)
            writer.transport.abort()
            if task is not None:
                self._tasks.discard(task)

    async def _both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Octets in one direction, each held back; like a real line it takes more while it holds some."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send(line, writer))
        try:
            with contextlib.suppress(OSError):
                while octets := await reader.read(CHUNK):
                    late_s = self.delay_s + self._rng.random() * self.jitter_s
                    line.put_nowait((self._loop.time() + late_s, octets))
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, octets = await line.get()
                await asyncio.sleep(max(due - self._loop.time(), 0))
                await self._passing()
                writer.write(octets)
                await writer.drain()

    async def _passing(self) -> None:
        while not self.up:
            await asyncio.sleep(0.02)
