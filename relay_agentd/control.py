"""The control socket: how launchers, hooks, MCP pipes and the command line speak to the daemon.

JSON lines, one object a line, as ARCHITECTURE.md lists them. A bad line gets one error line and
never more; whatever goes wrong inside an operation is answered too. A connection that opened a
session belongs to its launcher: its end is reported. Runs on the daemon's loop.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay_agentd.clock import timestamp
from relay_agentd.errors import AgentdError, ControlRefused, FolderUnsafe, RelayRefused
from relay_agentd.inspection import inspect
from relay_agentd.joining import described
from relay_agentd.paths import Paths
from relay_agentd.plain_codex import PROVIDER, TOOLS_PREFIX, PlainCodex
from relay_agentd.session import Session
from relay_agentd.session_request import OpenRequest
from relay_agentd.session_state import SessionState
from relay_agentd.session_tools import ToolBackend
from relay_agentd.store.sessions import SessionKind, SessionRow
from relay_agentd.supervisor import Supervisor
from relay_server.wire import AgentStatus

log = logging.getLogger(__name__)

LONGEST_LINE: Final = 1024 * 1024
# Within what a launcher waits for an answer; the tools take about a second, once a daemon.
_TOOLS_PATIENCE_SECONDS: Final = 3.0

Request = Mapping[str, Any]
Answer = dict[str, Any]
ServeMcp = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str, str], Awaitable[None]]


class _Connection:
    """One peer, and the session it opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session_key: str | None = None

    async def answer(self, answer: Answer) -> None:
        self.writer.write(json.dumps(answer).encode() + b"\n")
        await self.writer.drain()

    def own_session(self) -> str:
        if self.session_key is None:
            raise ControlRefused("no_session", "open or attach a session on this connection first")
        return self.session_key


Operation = Callable[[_Connection, Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the sessions' tools do, who serves a pipe to them, and when that can begin."""

    backend: ToolBackend
    serve: ServeMcp
    ready: Callable[[], Awaitable[object]]


class ControlServer:
    """See the module."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        ping: Callable[[], Answer],
        tools: Tools,
        default_rig: str | None,
        paths: Paths,
        plain_codex: PlainCodex,
    ) -> None:
        self._supervisor = supervisor
        self._ping = ping
        self._tools = tools
        self._default_rig = default_rig
        self._paths = paths
        self._plain_codex = plain_codex
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._operations: dict[str, Operation] = {
            "ping": self._on_ping,
            "session.open": self._on_open,
            "session.attach": self._on_attach,
            "session.join": self._on_join,
            "session.inspect": self._on_inspect,
            "session.send": self._on_send,
            "session.mail": self._on_mail,
            "session.start": self._on_start,
            "session.view": self._on_view,
            "session.plan": self._on_plan,
            "session.helper": self._on_helper,
            "session.provider": self._on_provider,
            "session.closed": self._on_closed,
            "hook": self._on_hook,
            "bell": self._on_bell,
            "ps": self._on_ps,
            "stop": self._on_stop,
        }

    async def start(self, path: Path) -> None:
        """Listen. The daemon's lock is held, so a socket that is there already is a dead one's.

        Raises: FolderUnsafe.
        """
        try:
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, path, limit=LONGEST_LINE)
            path.chmod(0o600)
        except OSError as error:
            raise FolderUnsafe(f"cannot listen on {path}: {error}") from error

    async def stop(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    # --- a connection ---

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(_Connection(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _talk(self, connection: _Connection) -> None:
        is_stopping = False
        try:
            while line := await self._line(connection):
                request = _parsed(line)
                if isinstance(request, Mapping) and request.get("op") == "mcp":
                    await self._on_mcp(connection, request)
                    break
                await connection.answer(await self._carry_out(connection, request))
        except OSError:
            pass  # The peer is gone; whatever it asked for was done.
        except asyncio.CancelledError:
            is_stopping = True
            raise
        finally:
            connection.writer.close()
            if connection.session_key is not None and not is_stopping:
                self._supervisor.hung_up(connection.session_key)

    async def _line(self, connection: _Connection) -> bytes:
        """The next line; empty at the end, which is also what a line without end gets."""
        try:
            line = await connection.reader.readline()
        except ValueError:
            refusal = ControlRefused("too_long", f"a line may have {LONGEST_LINE} bytes")
            await connection.answer(_error(refusal))
            return b""
        return line

    async def _carry_out(self, connection: _Connection, request: Any) -> Answer:
        try:
            operation = self._operation(request)
            return {"ok": True, **await operation(connection, request)}
        except AgentdError as error:
            return _error(error)
        except Exception:
            # Not the request: it may hold a person's environment.
            log.exception("control request %s failed", _op(request))
            return _error(ControlRefused("internal_error", "the daemon's log has the details"))

    def _operation(self, request: Any) -> Operation:
        if not isinstance(request, Mapping):
            raise ControlRefused("invalid_request", "a request is one JSON object a line")
        operation = self._operations.get(_op(request))
        if operation is None:
            raise ControlRefused("unknown_op", f"there is no op {request.get('op')!r}")
        return operation

    # --- operations ---

    async def _on_ping(self, _connection: _Connection, _request: Request) -> Answer:
        return self._ping()

    async def _on_open(self, connection: _Connection, request: Request) -> Answer:
        opening = OpenRequest.parse(request, self._default_rig)
        folder = self._supervisor.open(opening)
        connection.session_key = opening.key
        return {"folder": str(folder)}

    async def _on_attach(self, connection: _Connection, request: Request) -> Answer:
        opening = OpenRequest.parse(request, self._default_rig)
        folder = self._supervisor.attach(opening, request)
        connection.session_key = opening.key
        return {"folder": str(folder)}

    async def _on_join(self, _connection: _Connection, request: Request) -> Answer:
        if request.get("provider") == PROVIDER and "key" not in request:
            session = self._plain_codex.join(request)
            return {"folder": str(session.folder), "key": session.key}
        whole = described(request, self._paths)
        joining = OpenRequest.parse(whole, self._default_rig, SessionKind.JOINED)
        folder = self._supervisor.join(joining, _object(whole, "process"))
        return {"folder": str(folder)}

    async def _on_start(self, _connection: _Connection, request: Request) -> Answer:
        starting = OpenRequest.parse(request, self._default_rig, SessionKind.BACKGROUND)
        given = _object(request, "environment")
        environment = {str(name): str(value) for name, value in given.items()}
        self._supervisor.begin_background(starting, environment)
        session = await self._supervisor.background_started(starting.key)
        return {"key": session.key, "agentId": session.row.agent_id, "problem": session.row.problem}

    async def _on_view(self, _connection: _Connection, request: Request) -> Answer:
        row = self._supervisor.find_row(str(request.get("target")))
        return {
            "session": {
                **_described(row),
                "conversation": row.provider_session_id,
                "transcript": str(row.transcript) if row.transcript else None,
                "socket": str(row.helper_socket) if row.helper_socket else None,
                "arguments": list(row.arguments),
            }
        }

    async def _on_plan(self, connection: _Connection, request: Request) -> Answer:
        self._supervisor.plan(connection.own_session(), request)
        # A provider that starts sooner has its first turn without the relay's tools.
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOOLS_PATIENCE_SECONDS):
                await self._tools.ready()
        return {}

    async def _on_helper(self, connection: _Connection, request: Request) -> Answer:
        self._supervisor.helper(connection.own_session(), request)
        return {}

    async def _on_provider(self, connection: _Connection, request: Request) -> Answer:
        self._supervisor.provider(connection.own_session(), request)
        return {}

    async def _on_closed(self, connection: _Connection, request: Request) -> Answer:
        await self._supervisor.closed(connection.own_session(), request.get("exitStatus"))
        return {}

    async def _on_hook(self, connection: _Connection, request: Request) -> Answer:
        adapter = self._session(request).adapter
        if adapter is None:
            raise ControlRefused("not_ready", "this session has no adapter yet")
        event, payload = str(request.get("event")), _object(request, "payload")
        environment = {name: str(value) for name, value in _object(request, "environment").items()}
        work = asyncio.create_task(adapter.hook(event, payload, environment))
        # A hook may wait for a person; it says nothing more, so whatever comes is its end.
        gone = asyncio.create_task(connection.reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await adapter.hook("HungUp", payload, environment)
            return {"output": dict(await work)}
        finally:
            work.cancel()
            gone.cancel()
            # Not before it has let go of the reader may the next line be read.
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _on_bell(self, _connection: _Connection, request: Request) -> Answer:
        courier = self._session(request).courier
        return {"text": await courier.answer_bell() if courier is not None else None}

    async def _on_ps(self, _connection: _Connection, _request: Request) -> Answer:
        live = [_listed(session) for session in self._supervisor.sessions()]
        given_up = [_described(row) for row in self._supervisor.given_up()]
        return {"sessions": [*given_up, *live]}

    async def _on_send(self, _connection: _Connection, request: Request) -> Answer:
        key = self._session(request).key
        message, mark = _object(request, "message"), str(request.get("key"))
        try:
            return {"message": await self._tools.backend.submit(key, message, key=mark)}
        except RelayRefused as refusal:
            raise ControlRefused(refusal.code, str(refusal)) from refusal

    async def _on_mail(self, _connection: _Connection, request: Request) -> Answer:
        limit = request.get("limit")
        if type(limit) is not int or limit < 1:
            raise ControlRefused("invalid_request", "limit: a number from 1")
        mail = self._tools.backend.take_mail(
            self._session(request).key, limit, key=str(request.get("key"))
        )
        return {"messages": list(mail.messages), "left": mail.left}

    async def _on_inspect(self, _connection: _Connection, request: Request) -> Answer:
        return await inspect(self._supervisor.find_called(str(request.get("target"))))

    async def _on_stop(self, _connection: _Connection, request: Request) -> Answer:
        await self._supervisor.stop_session(
            str(request.get("target")), force=request.get("force") is True
        )
        return {}

    async def _on_mcp(self, connection: _Connection, request: Request) -> None:
        """From here on the connection is the pipe's."""
        key = str(request.get("session"))
        try:
            if "join" in request:
                self._join_by_pipe(request)
            # Those tools find their session with each call.
            elif not key.startswith(TOOLS_PREFIX):
                self._session(request)
        except ControlRefused as refusal:
            await connection.answer(_error(refusal))
            return
        await connection.answer({"ok": True})
        try:
            await self._tools.serve(
                connection.reader, connection.writer, key, str(request.get("instance"))
            )
        except Exception:
            log.exception("the tools of session %s failed", key)

    def _join_by_pipe(self, request: Request) -> None:
        """A pipe that is the session itself: again after each restart of ours."""
        told = {**_object(request, "join"), "key": request.get("session")}
        joining = OpenRequest.parse(told, self._default_rig, SessionKind.JOINED)
        self._supervisor.join(joining, _object(told, "process"))

    def _session(self, request: Request) -> Session:
        return self._supervisor.find(str(request.get("session")))


def _listed(session: Session) -> Answer:
    is_up = session.row.state is not SessionState.BACKOFF
    status = session.agent_status if is_up else AgentStatus.OFFLINE
    return {
        **_described(session.row),
        "status": status.value,
        "approval": session.approval.value,
    }


def _described(row: SessionRow) -> Answer:
    process = row.provider_process
    return {
        "key": row.key,
        "agentId": row.agent_id,
        "state": row.state.value,
        "status": AgentStatus.OFFLINE.value,
        "provider": row.provider,
        "providerVersion": row.provider_version,
        "approval": row.approval.value,
        "pid": process.pid if process else None,
        "cwd": str(row.cwd),
        "label": row.label,
        "kind": row.kind.value,
        "problem": row.problem,
        "restarts": row.restarts,
        "openedAt": timestamp(row.opened_at),
    }


def _op(request: Any) -> str:
    return str(request.get("op")) if isinstance(request, Mapping) else ""


def _parsed(line: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    return None


def _object(request: Request, name: str) -> Mapping[str, Any]:
    value = request.get(name) or {}
    if not isinstance(value, Mapping):
        raise ControlRefused("invalid_request", f"{name}: an object")
    return value


def _error(error: AgentdError) -> Answer:
    code = error.code if isinstance(error, ControlRefused) else "failed"
    return {"ok": False, "error": {"code": code, "detail": str(error)}}
