"""The real server in a thread, on a port of its own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import uvloop

from api.app import create_app, make_server
from connectors.settings import Settings


@contextmanager
def serving(settings: Settings, port: int = 0, redis_answer_seconds: float = 2.0) -> Iterator[str]:
    """Serve the application; gives its base URL.

    Args:
        redis_answer_seconds: More than the product waits. Its patience is shorter than what a busy
            machine may hold a process up for, and without Redis answers are others.
    """
    with patch("api.app.REDIS_ANSWER_SECONDS", redis_answer_seconds):
        yield from _serving(settings, port)


def _serving(settings: Settings, port: int) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", port))
    app = create_app(settings)
    server = make_server(app, settings)
    started, failed, loops = threading.Event(), [], []

    def run() -> None:
        async def body() -> None:
            loops.append(asyncio.get_running_loop())
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not task.done():  # noqa: ASYNC110 - it tells no other way
                await asyncio.sleep(0.01)
            started.set()
            await task
            # Uvicorn leaves the transports of ended connections to the loop's next turns.
            await asyncio.sleep(0)

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(body())
        except BaseException as error:
            failed.append(error)
            started.set()
            raise

    thread = threading.Thread(target=run, name="api")
    thread.start()
    try:
        assert started.wait(15)
        assert not failed, failed
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        loops[0].call_soon_threadsafe(app.state.services.feed.stop_streams)
        server.should_exit = True
        thread.join(15)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"
