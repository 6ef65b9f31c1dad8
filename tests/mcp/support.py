"""A daemon's `mcp` end over an in-memory relay, and a client that speaks raw JSON-RPC."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from relay_agentd import mcp_server
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.session_tools import Mail, ToolBackend

PIPE = Path(mcp_server.__file__).with_name("mcp_pipe.py")
SESSION = "0123456789abcdef"


class MemoryRelay:
    """A `ToolBackend` whose outbox and inbox are lists. Idempotent like the real one."""

    def __init__(self) -> None:
        self.own_id: str | None = "me"
        self.reachable = True
        self.sent: dict[str, dict[str, Any]] = {}
        self.inbox: list[dict[str, Any]] = []
        self.on_the_way = 0
        self.waiting_unnoticed: int | None = None
        self.client: Mapping[str, Any] = {}
        self.taken: dict[str, list[dict[str, Any]]] = {}
        self.completed: list[tuple[int, str | None]] = []
        self.task_updates: list[tuple[int, Mapping[str, Any]]] = []
        self.known: dict[str, dict[str, Any]] = {
            "me": {"id": "me", "status": "busy", "reachability": "push"},
            "backend": {
                "id": "backend",
                "label": "The backend",
                "status": "idle",
                "reachability": "push",
                "project": "shop",
                "machine": "box",
                "tags": ["be"],
                "capabilities": ["chat"],
                "channels": [],
            },
        }
        self.refusal: RelayRefused | None = None
        self.before_submit: Callable[[], Awaitable[None]] | None = None

    def session_of(self, session_key: str, call: Mapping[str, Any]) -> str:
        return session_key

    def agent_id(self, session_key: str) -> str | None:
        return self.own_id if session_key == SESSION else None

    async def submit(
        self, session_key: str, message: Mapping[str, Any], *, key: str
    ) -> Mapping[str, Any] | None:
        self._answer_or_raise(offline_is_fine=True)
        first_time = key not in self.sent
        to = message.get("to", "backend")
        self.sent.setdefault(
            key, {"id": 41 + len(self.sent) + 1, "to": to, "recipients": 1, **message}
        )
        if self.before_submit is not None and first_time:
            await self.before_submit()
        return self.sent[key] if self.reachable else None

    async def claim(self, session_key: str, message_id: int, *, key: str) -> Mapping[str, Any]:
        self._answer_or_raise()
        return {"id": message_id, "claim": {"expiresAt": "2026-11-23T06:00:00.000Z"}}

    async def complete(
        self, session_key: str, message_id: int, result: str | None, *, key: str
    ) -> Mapping[str, Any]:
        self._answer_or_raise()
        self.completed.append((message_id, result))
        return {"id": message_id}

    async def claim_task(self, session_key: str, task_id: int) -> Mapping[str, Any]:
        self._answer_or_raise()
        return {"id": task_id, "leaseExpiresAt": "2026-11-23T06:00:00.000Z"}

    async def update_task(
        self, session_key: str, task_id: int, fields: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        self._answer_or_raise()
        self.task_updates.append((task_id, fields))
        return {"id": task_id, "progress": None, **fields}

    async def agents(self, query: str | None) -> Sequence[Mapping[str, Any]]:
        self._answer_or_raise()
        return [agent for name, agent in self.known.items() if (query or "") in name]

    async def agent(self, agent_id: str) -> Mapping[str, Any] | None:
        return self.known.get(agent_id)

    def unnoticed(self, session_key: str) -> int | None:
        return self.waiting_unnoticed

    def introduced(self, session_key: str, client: Mapping[str, Any]) -> None:
        self.client = client

    def take_mail(self, session_key: str, limit: int, *, key: str) -> Mail:
        if key not in self.taken:
            self.taken[key], self.inbox = self.inbox[:limit], self.inbox[limit:]
        return Mail(messages=self.taken[key], left=len(self.inbox), on_the_way=self.on_the_way)

    def _answer_or_raise(self, *, offline_is_fine: bool = False) -> None:
        if self.refusal is not None:
            raise self.refusal
        if not self.reachable and not offline_is_fine:
            raise RelayUnreachable("http://localhost:4850", "refused")


class DaemonEnd:
    """The control socket's `mcp` op. `kill` drops every connection, as a SIGKILL would."""

    def __init__(self, path: Path, backend: ToolBackend) -> None:
        self.path = path
        self.backend = backend
        self.hellos: list[dict[str, Any]] = []
        self.refuse: dict[str, Any] | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        connections, self._connections = self._connections, {}
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        # Python 3.11 logs a cancelled handler of a stream server as if it had failed.
        with contextlib.suppress(asyncio.CancelledError):
            await self._speak(reader, writer)
        self._connections.pop(task, None)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = json.loads(await reader.readline())
            self.hellos.append(hello)
            writer.write(json.dumps(self.refuse or {"ok": True}).encode() + b"\n")
            if self.refuse is None:
                await mcp_server.serve(
                    reader,
                    writer,
                    session_key=hello["session"],
                    instance=hello["instance"],
                    backend=self.backend,
                )
        finally:
            writer.close()


@asynccontextmanager
async def daemon_end(path: Path, backend: ToolBackend) -> AsyncIterator[DaemonEnd]:
    """A started `DaemonEnd`."""
    end = DaemonEnd(path, backend)
    await end.start()
    try:
        yield end
    finally:
        await end.kill()


def pipe_environment(control: Path) -> dict[str, str]:
    return {"AGENT_RELAY_SESSION": SESSION, "AGENT_RELAY_CONTROL": str(control)}


class RawClient:
    """The pipe as a subprocess, spoken to line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._next_id = 0
        self.notifications: list[dict[str, Any]] = []

    def say(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> None:
        """A notification, or with `id` a request."""
        message = {"jsonrpc": "2.0", "method": method, **more}
        self.write(message | ({} if params is None else {"params": params}))

    def write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request; `answer` waits for what comes back."""
        self._next_id += 1
        self.say(method, params, id=self._next_id)
        return self._next_id

    async def hear(self, within: float = 20) -> dict[str, Any]:
        """The next line, whatever it is."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), within)
        assert line, "the pipe closed its output"
        message: dict[str, Any] = json.loads(line)
        return message

    async def answer(self, request_id: int, within: float = 20) -> dict[str, Any]:
        """The answer to one request; notifications before it are kept aside."""
        message = await self.hear(within)
        while "method" in message:
            self.notifications.append(message)
            message = await self.hear(within)
        assert message["id"] == request_id, message
        return message

    async def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask and wait for the result."""
        answer = await self.answer(self.ask(method, params))
        result: dict[str, Any] = answer["result"]
        return result

    async def tool(self, name: str, **arguments: Any) -> tuple[str, bool]:
        """Call a tool; its text and whether it is an error."""
        return tool_result(await self.call("tools/call", {"name": name, "arguments": arguments}))

    async def shake_hands(self, version: str = "2025-06-18") -> dict[str, Any]:
        """What every client starts with."""
        result = await self.call(
            "initialize",
            {
                "protocolVersion": version,
                "capabilities": {"roots": {}, "elicitation": {}},
                "clientInfo": {"name": "raw", "version": "1"},
            },
        )
        self.say("notifications/initialized")
        return result

    async def leave(self, within: float = 5) -> int:
        """Close the pipe's input and wait for its end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return await asyncio.wait_for(self.process.wait(), within)


def tool_result(result: Mapping[str, Any]) -> tuple[str, bool]:
    """Text and error flag of a tools/call result."""
    (content,) = result["content"]
    return content["text"], bool(result.get("isError", False))


@asynccontextmanager
async def raw_client(control: Path) -> AsyncIterator[RawClient]:
    """A running pipe, ended by closing its input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(PIPE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
        env=os.environ | pipe_environment(control),
    )
    client = RawClient(process)
    try:
        yield client
    finally:
        await client.leave()
