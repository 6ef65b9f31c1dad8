"""One connection to a Codex app-server: requests and answers over a WebSocket on a unix socket.

Owns the socket and the requests that wait for their answers; runs on the daemon's event loop.
Requests of the server (approvals, questions) are handed on and never answered of itself: the
terminal may answer them, and even an error from us would count as a denial.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from relay_launchers.codex.protocol import Request
from relay_launchers.codex.questions import JsonObject

# A busy machine answers in a second at most; a server that hangs must not hang the deliveries.
ANSWER_SECONDS = 15.0
CONNECT_SECONDS = 10.0

Listener = Callable[[str, JsonObject], None]
RequestListener = Callable[[int | str, str, JsonObject], None]

log = logging.getLogger(__name__)


class Refused(Exception):
    """The server answered with an error, so it did nothing."""


class Lost(Exception):
    """No answer came: whether the server did it is unknown."""


class CodexConnection:
    """JSON-RPC without the version field; `listener` gets each notification and `asked` each
    request of the server, in the order they came."""

    def __init__(
        self, websocket: ClientConnection, listener: Listener, asked: RequestListener
    ) -> None:
        self._websocket = websocket
        self._listener = listener
        self._asked = asked
        self._waiting: dict[int, asyncio.Future[JsonObject]] = {}
        self._last_id = 0

    async def call(self, request: Request) -> JsonObject:
        """Ask and wait for the answer. Raises Refused, Lost."""
        method, params = request
        self._last_id += 1
        request_id = self._last_id
        answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            await self._send({"id": request_id, "method": method, "params": params})
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await answer
        except TimeoutError as error:
            raise Lost(f"{method}: no answer within {ANSWER_SECONDS:.0f} s") from error
        finally:
            self._waiting.pop(request_id, None)
        if "error" in reply:
            raise Refused(str(reply["error"].get("message", reply["error"])))
        result = reply.get("result")
        return result if isinstance(result, dict) else {}

    async def announce(self, method: str) -> None:
        """Send a notification. Raises Lost."""
        await self._send({"method": method})

    async def respond(self, request_id: int | str, result: JsonObject) -> None:
        """Answer a request of the server. Raises Lost."""
        await self._send({"id": request_id, "result": result})

    async def receive(self) -> None:
        """Hand out what comes in until the connection ends."""
        try:
            async for text in self._websocket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(Lost("the connection ended"))

    async def _send(self, message: JsonObject) -> None:
        try:
            await self._websocket.send(json.dumps(message))
        except ConnectionClosed as error:
            raise Lost("the connection ended") from error

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if "method" not in message:
            answer = self._waiting.get(message.get("id", -1))
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif "id" not in message:
            self._listener(message["method"], message.get("params") or {})
        else:
            self._asked(message["id"], message["method"], message.get("params") or {})


@asynccontextmanager
async def connect(
    socket: Path, listener: Listener, asked: RequestListener
) -> AsyncIterator[CodexConnection]:
    """An open connection. Raises OSError, WebSocketException or TimeoutError when there is none.

    Compression would cost more than it saves on a local socket, and a thread's history may be
    larger than any limit.
    """
    async with unix_connect(
        str(socket),
        "ws://localhost/",
        compression=None,
        max_size=None,
        open_timeout=CONNECT_SECONDS,
        # The server lives and dies with its socket; a ping it is too busy to answer would only
        # tear a good connection.
        ping_interval=None,
    ) as websocket:
        yield CodexConnection(websocket, listener, asked)
