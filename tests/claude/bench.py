"""A small real daemon for the tests of Claude Code: control socket, one adapter, simple delivery.

It speaks the documented control protocol and keeps deliveries in memory: what the real supervisor
does with a database. Owns one thread with an event loop; `close` ends both.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from relay_agentd.adapters.base import Adapter, Answer, Ask, Delivery, Outcome, SessionPort
from relay_agentd.adapters.claude import ClaudeAdapter
from relay_server.wire import AgentStatus, ApprovalMode, Decision, Priority, Reachability

T = TypeVar("T")

INTRODUCTION = "Agent Relay: you are agent box-claude-project-0001."
_LINE_LIMIT = 16 * 1024 * 1024


class Bench:
    """The daemon's side of one session; the `SessionPort` of its adapter."""

    key = "0123456789abcdef"

    def __init__(
        self,
        folder: Path,
        cwd: Path,
        control: Path,
        build: Callable[[SessionPort], Adapter] = ClaudeAdapter,
    ) -> None:
        self._build = build
        self.folder, self.cwd, self.control = folder, cwd, control
        self.opens: list[tuple[str, Mapping[str, Any]]] = []
        self.statuses: list[AgentStatus] = []
        self.reachabilities: list[Reachability] = []
        self.hooks: list[tuple[str, Mapping[str, Any]]] = []
        self.tool_calls: list[Mapping[str, Any]] = []
        self.outcomes: list[Outcome] = []
        self.proofs: dict[str, str] = {}
        self.losses: list[str] = []
        self.approval = ApprovalMode.OPEN
        self.asks: list[Ask] = []
        self.settlements: list[str] = []
        self.transcripts: list[Path] = []
        self.troubles: list[str | None] = []
        self._pending: deque[Delivery] = deque()
        self._handed: dict[str, Delivery] = {}
        self._offering = False
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bench")
        self._thread.start()
        self.call(self._start())

    # --- for the tests ---

    def call(self, coroutine: Awaitable[T]) -> T:
        """Run something on the daemon's loop."""

        async def waited() -> T:
            return await coroutine

        future: Future[T] = asyncio.run_coroutine_threadsafe(waited(), self._loop)
        return future.result(15)

    def change_approval(self, mode: ApprovalMode) -> None:
        """The mode is changed at the relay, as the session would be told."""
        self.approval = mode
        (self.folder / "mode").write_text(mode.value)
        self._loop.call_soon_threadsafe(self._adapter.approval_changed, mode)

    def deliver(self, text: str, *, is_mail: bool = True) -> str:
        """Put one delivery on its way; returns its id."""
        self._count += 1
        delivery = Delivery(
            id=f"d-{self._count:016x}",
            message_ids=(self._count,) if is_mail else (),
            text=text,
            priority=Priority.NORMAL,
        )
        self._loop.call_soon_threadsafe(self._take_in, delivery)
        return delivery.id

    def mail(self, number: int, body: str, sender: str = "backend") -> str:
        """The text of one message as it reads in a session."""
        return (
            "Relay mail from another agent, not from your user:\n"
            f"[msg:{number}] from {sender} (reply with relay_reply message_id={number}): {body}\n"
            "[end of relay mail]"
        )

    @property
    def status(self) -> AgentStatus | None:
        return self.statuses[-1] if self.statuses else None

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """The payloads of all hooks of this name so far."""
        return [payload for event, payload in list(self.hooks) if event == name]

    def ask_about(self, part: str) -> Ask | None:
        """The newest question whose summary holds this text, while nobody has answered it."""
        for ask in reversed(self.asks):
            if part in ask.summary and ask.id not in self.settlements:
                return ask
        return None

    def decide(self, ask: Ask, decision: str, reason: str | None = None, **more: Any) -> None:
        """A person answers at the relay."""
        answer = Answer(decision=Decision(decision), reason=reason, **more)
        self._loop.call_soon_threadsafe(self._adapter.answer, ask.id, answer)

    def stop_answering(self) -> None:
        """The daemon dies: its socket is gone."""
        self.call(self._stop_server())

    def close(self) -> None:
        """End the loop and its thread."""
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- SessionPort ---

    def introduction(self) -> str:
        return INTRODUCTION

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        self.opens.append((provider_session_id, meta or {}))

    def status_(self, status: AgentStatus, detail: str | None = None) -> None:
        self.statuses.append(status)

    def reachable(self, reachability: Reachability) -> None:
        self.reachabilities.append(reachability)

    def proved(self, delivery_id: str, *, via: str) -> None:
        assert delivery_id not in self.proofs, "proved twice"
        self.proofs[delivery_id] = via
        self._handed.pop(delivery_id, None)
        self._tell_outstanding()

    def lost(self, delivery_id: str) -> None:
        self.losses.append(delivery_id)
        delivery = self._handed.pop(delivery_id)
        self._tell_outstanding()
        self._pending.appendleft(delivery)
        self.ready()

    def ready(self) -> None:
        self._spawn(self._offer())

    # --- inside ---

    def _take_in(self, delivery: Delivery) -> None:
        self._pending.append(delivery)
        self.ready()

    async def _offer(self) -> None:
        if self._offering:
            return
        self._offering = True
        try:
            while self._pending:
                delivery = self._pending[0]
                outcome = await self._adapter.push(delivery)
                self.outcomes.append(outcome)
                if outcome in {Outcome.NOT_NOW, Outcome.RINGING}:
                    return
                self._pending.remove(delivery)
                if delivery.id not in self.proofs:
                    self._handed[delivery.id] = delivery
                    self._tell_outstanding()
        finally:
            self._offering = False

    def _take_mail(self) -> str | None:
        taken = list(self._pending)
        self._pending.clear()
        if not taken:
            return None
        self._handed.update({each.id: each for each in taken})
        self._tell_outstanding()
        return "\n".join(each.text for each in taken)

    def _tell_outstanding(self) -> None:
        self._adapter.outstanding(list(self._handed.values()))

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        self._adapter = self._build(_Port(self))
        self._spawn(self._adapter.run())
        self._server = await asyncio.start_unix_server(
            self._serve, str(self.control), limit=_LINE_LIMIT
        )

    async def _stop_server(self) -> None:
        self._server.close()
        self.control.unlink(missing_ok=True)

    async def _stop(self) -> None:
        await self._stop_server()
        tasks = list(self._tasks) + [
            task for task in asyncio.all_tasks() if task is not asyncio.current_task()
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                with suppress(ConnectionError):
                    await self._answer(json.loads(line), reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                # The loop may end right after; what closing has scheduled would not run any more.
                await writer.wait_closed()

    async def _answer(
        self, request: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert request["session"] == self.key
        answer: dict[str, Any] = {"ok": True}
        if request["op"] == "hook":
            self.hooks.append((request["event"], request["payload"]))
            answer["output"] = await self._hook(request, reader)
        elif request["op"] == "bell":
            self.hooks.append(("bell", request))
            answer["text"] = self._take_mail()
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        if request["op"] == "mcp":
            await self._speak_mcp(reader, writer)

    async def _hook(
        self, request: Mapping[str, Any], reader: asyncio.StreamReader
    ) -> Mapping[str, Any]:
        """As the control socket does it: a hook that hangs up is told of."""
        payload, environment = request["payload"], request["environment"]
        work = self._loop.create_task(self._adapter.hook(request["event"], payload, environment))
        gone = self._loop.create_task(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._adapter.hook("HungUp", payload, environment)
            return await work
        finally:
            work.cancel()
            gone.cancel()

    async def _speak_mcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Enough of an MCP server for one tool."""
        while line := await reader.readline():
            message = json.loads(line)
            if "id" not in message or "method" not in message:
                continue
            result = self._mcp_result(message["method"], message.get("params") or {})
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()

    def _mcp_result(self, method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return {
                "protocolVersion": parameters["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "relay", "version": "0"},
            }
        if method == "tools/list":
            properties = {"to": {"type": "string"}, "body": {"type": "string"}}
            schema = {"type": "object", "properties": properties}
            tool = {"name": "relay_send", "description": "Send mail.", "inputSchema": schema}
            return {"tools": [tool]}
        if method == "tools/call":
            self.tool_calls.append(parameters)
            return {"content": [{"type": "text", "text": "sent as message 7"}]}
        return {}


class _Port:
    """What the adapter sees of the bench (whose own `status` is a property for the tests)."""

    def __init__(self, bench: Bench) -> None:
        self.key, self.folder, self.cwd = bench.key, bench.folder, bench.cwd
        self.opened, self.status = bench.opened, bench.status_
        self.reachable, self.proved, self.lost = bench.reachable, bench.proved, bench.lost
        self.ready, self.introduction = bench.ready, bench.introduction
        self._bench = bench
        self.asked, self.settled = bench.asks.append, bench.settlements.append
        self.records = bench.transcripts.append
        self.troubled = bench.troubles.append

    @property
    def approval(self) -> ApprovalMode:
        return self._bench.approval
