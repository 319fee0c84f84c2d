"""A TCP proxy that can be cut, stalled and slowed: the network between two parts of the system."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"


async def _turns() -> None:
    """Let what is on its way in the loop happen: accepting takes four of its turns."""
    for _ in range(8):
        await asyncio.sleep(0)


class TcpProxy:
    """Forwards one port of 127.0.0.1 to another, in a thread of its own.

    `cut()` drops every connection and refuses new ones, `stall()` keeps them open and lets nothing
    through, `slow()` holds every piece of data back for a while, `restore()` ends all of it. The
    proxy's own port never changes.

    Args:
        target_port: Where to forward to; may be set until the first connection comes.
        port: Its own; 0 takes a free one.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.target_port = target_port
        self.port = port
        self.connections_made = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._delay_seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Drop every connection and refuse new ones, as when the other machine is off."""
        self._run(self._close())

    def stall(self) -> None:
        """Hold everything back without closing anything, as behind a dead switch."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def slow(self, seconds: float) -> None:
        """Hold every piece of data back that long, each way, as a crowded or distant line does."""
        self._delay_seconds = seconds

    def restore(self) -> None:
        """Forward again at once, on the same port."""
        self._delay_seconds = 0.0
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            # A closed server leaves whom it accepted in the last moment half made: so it first
            # accepts nobody, and some turns later those stand among the open ones.
            for listener in server.sockets:
                self._loop.remove_reader(listener.fileno())
            await _turns()
            server.close()
        open_now = list(self._open)
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        # What is aborted is closed in the loop's next turn.
        await _turns()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections_made += 1
        onward = None
        # A cut cancels this task; swallowing that here is its normal end, the loop lives on.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                far_reader, onward = await asyncio.open_connection(HOST, self.target_port)
                ways = [self._pump(reader, onward), self._pump(far_reader, writer)]
                pumps = [asyncio.ensure_future(way) for way in ways]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                for side in (writer, onward):
                    if side is not None:
                        side.transport.abort()
        self._open.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
