"""An app-server that does as it is told, for what a real one does only by chance or no more.

A WebSocket on a unix socket in a thread of its own. It answers by a table, records what it was
asked, and can hang up or speak at any moment.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.server import Server, ServerConnection, unix_serve

from tests.support.wait import eventually

Answer = Callable[[dict[str, Any]], dict[str, Any]]
THREAD = {
    "id": "thread-1",
    "cwd": "/home/me/project",
    "status": {"type": "idle"},
    "ephemeral": False,
    "threadSource": "user",
    "createdAt": 1_795_000_000,
}


class ServerError(Exception):
    """Answered as an error."""


class HangUp(Exception):
    """The connection ends instead of an answer."""


class ScriptedServer:
    """One app-server; `answers` maps methods to what they return for their parameters."""

    def __init__(self, socket: Path) -> None:
        self.answers: dict[str, Answer] = {
            "thread/loaded/list": lambda _: {"data": []},
            "thread/read": lambda _: {"thread": THREAD},
        }
        self.received: list[dict[str, Any]] = []
        self.connections: list[ServerConnection] = []
        self._server: Server = unix_serve(self._serve, str(socket))
        self._thread = threading.Thread(target=self._server.serve_forever, name="app-server")
        self._thread.start()

    def asked(self, method: str) -> list[dict[str, Any]]:
        """The parameters of each request for a method, in order."""
        return [each["params"] for each in list(self.received) if each.get("method") == method]

    def wait_asked(self, method: str, times: int = 1) -> list[dict[str, Any]]:
        eventually(lambda: len(self.asked(method)) >= times, message=lambda: f"{self.received}")
        return self.asked(method)

    def tell(self, method: str, **params: Any) -> None:
        """A notification to the newest client."""
        self.connections[-1].send(json.dumps({"method": method, "params": params}))

    def ask(self, method: str, *, request_id: int = 0, **params: Any) -> None:
        """A request of the server's own to the newest client."""
        request = {"id": request_id, "method": method, "params": params}
        self.connections[-1].send(json.dumps(request))

    def answered(self) -> list[dict[str, Any]]:
        """What clients answered to requests of the server's own, in order."""
        return [each for each in list(self.received) if "method" not in each]

    def wait_answered(self, times: int = 1) -> list[dict[str, Any]]:
        eventually(lambda: len(self.answered()) >= times, message=lambda: f"{self.received}")
        return self.answered()

    def hang_up(self) -> None:
        """End the newest connection as a crash would."""
        self.connections[-1].socket.shutdown(2)

    def open_thread(self, thread_id: str = "thread-1", **changes: Any) -> None:
        """The terminal begins a conversation."""
        self.tell("thread/started", thread={**THREAD, "id": thread_id, **changes})

    def set_status(self, kind: str, thread_id: str = "thread-1") -> None:
        self.tell("thread/status/changed", threadId=thread_id, status={"type": kind})

    def close(self) -> None:
        self._server.shutdown()
        for connection in self.connections:
            connection.close()
        self._thread.join()

    def _serve(self, connection: ServerConnection) -> None:
        for text in connection:
            message = json.loads(text)
            self.received.append(message)
            if message.get("method") == "initialized":
                self.connections.append(connection)
            if "id" not in message or "method" not in message:
                continue
            answer = self.answers.get(message["method"], lambda _: {})
            try:
                reply = {"result": answer(message["params"])}
            except ServerError as error:
                reply = {"error": {"code": -32600, "message": str(error)}}
            except HangUp:
                connection.socket.shutdown(2)
                return
            connection.send(json.dumps({"id": message["id"], **reply}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
