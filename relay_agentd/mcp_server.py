"""The MCP server of all sessions: the official SDK, once in the daemon, one `serve` a pipe.

Importing this module costs about a second and 40 MB (the SDK): nothing may import it at the
daemon's start. Warm it in a thread (`asyncio.to_thread(importlib.import_module, ...)`), which
leaves the loop free. It translates; what the tools do is in `relay_agentd.session_tools`.
Runs on the daemon's loop; owns nothing beyond one connection.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any, Final

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.shared.message import SessionMessage

from relay_agentd import __version__
from relay_agentd.session_tools import ToolBackend, call_tool, idempotency_key
from relay_agentd.tool_specs import INSTRUCTIONS, POLL_INSTRUCTIONS, TOOLS

CHUNK: Final = 65536
MAX_LINE: Final = 8 * 1024 * 1024

_LISTING: Final = types.ListToolsResult(
    tools=[
        types.Tool(
            name=spec.name,
            description=spec.description,
            input_schema=spec.schema(),
            # Nothing here destroys or leaves the relay; without these hints clients assume both.
            annotations=types.ToolAnnotations(
                read_only_hint=spec.read_only, destructive_hint=False, open_world_hint=False
            ),
        )
        for spec in TOOLS
    ]
)


async def serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    session_key: str,
    instance: str,
    backend: ToolBackend,
) -> None:
    """Serve one pipe until it closes its end. Leaves closing `writer` to the caller."""
    server = _build(session_key, instance, backend)
    # tools_changed: a pipe that had to start without us tells its client so.
    options = server.create_initialization_options(NotificationOptions(tools_changed=True))
    into, inbound = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbound, out_of = anyio.create_memory_object_stream[SessionMessage](0)
    with into, inbound, outbound, out_of:
        async with anyio.create_task_group() as tasks:
            heard = functools.partial(_introduce, backend, session_key)
            tasks.start_soon(_read, reader, into, heard)
            tasks.start_soon(_write, out_of, writer)
            await server.run(inbound, outbound, options)
            tasks.cancel_scope.cancel()


def _build(session_key: str, instance: str, backend: ToolBackend) -> Server[Any]:
    async def list_tools(
        _context: object, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return _LISTING

    async def on_call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        key = idempotency_key(instance, context.request_id)
        session = backend.session_of(session_key, dict(params.meta or {}))
        result = await call_tool(backend, session, params.name, params.arguments or {}, key=key)
        content = types.TextContent(type="text", text=result.text)
        return types.CallToolResult(content=[content], is_error=result.is_error)

    server: Server[Any] = Server(
        "agent-relay",
        version=__version__,
        instructions=INSTRUCTIONS if backend.unnoticed(session_key) is None else POLL_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=on_call,
    )
    server.middleware.clear()  # the SDK's tracing: we have no exporter
    return server


def _introduce(backend: ToolBackend, session_key: str, item: SessionMessage | Exception) -> None:
    """Before the SDK answers `initialize`, so that the session is known in its first call."""
    message = item.message if isinstance(item, SessionMessage) else None
    if isinstance(message, types.JSONRPCRequest) and message.method == "initialize":
        client = (message.params or {}).get("clientInfo")
        backend.introduced(session_key, client if isinstance(client, dict) else {})


async def _read(
    reader: asyncio.StreamReader,
    into: MemoryObjectSendStream[SessionMessage | Exception],
    heard: Callable[[SessionMessage | Exception], None],
) -> None:
    """Lines from the pipe to the SDK. Reads in chunks: readline would cap a message at the
    limit the daemon's other control connections need."""
    rest = b""
    async with into:
        with contextlib.suppress(ConnectionError, anyio.BrokenResourceError):
            while chunk := await reader.read(CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(bytes.strip, lines):
                    item = _parse(line)
                    heard(item)
                    await into.send(item)
                if len(rest) > MAX_LINE:
                    return


def _parse(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _write(
    out_of: MemoryObjectReceiveStream[SessionMessage], writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(ConnectionError):
        async for item in out_of:
            line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
            writer.write(line.encode() + b"\n")
            await writer.drain()
