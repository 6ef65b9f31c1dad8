"""One adapter with real files around it but no Claude Code: its port and a session's hooks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from relay_agentd.adapters.base import Ask
from relay_agentd.adapters.claude import ClaudeAdapter
from relay_server.wire import AgentStatus, ApprovalMode, Reachability


class Port:
    """A `SessionPort` that writes down what it is told."""

    key = "0123456789abcdef"

    def __init__(self, folder: Path) -> None:
        self.folder, self.cwd = folder, folder
        self.told: list[tuple[Any, ...]] = []
        self.approval = ApprovalMode.OPEN

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        self.told.append(("opened", provider_session_id, str(cwd)))

    def introduction(self) -> str:
        return "you are an agent"

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        self.told.append(("status", status, detail))

    def reachable(self, reachability: Reachability) -> None:
        self.told.append(("reachable", reachability))

    def proved(self, delivery_id: str, *, via: str) -> None:
        self.told.append(("proved", delivery_id, via))

    def lost(self, delivery_id: str) -> None:
        self.told.append(("lost", delivery_id))

    def ready(self) -> None:
        self.told.append(("ready",))

    def asked(self, ask: Ask) -> None:
        self.told.append(("asked", ask.id, ask.tool))

    def settled(self, ask_id: str) -> None:
        self.told.append(("settled", ask_id))

    def troubled(self, problem: str | None) -> None:
        self.told.append(("troubled", problem))

    def records(self, transcript: Path) -> None:
        self.told.append(("records", transcript))

    def names(self) -> list[str]:
        return [each[0] for each in self.told]


class World:
    """One adapter, its port, and a session's files; `hook` speaks for the session."""

    def __init__(self, root: Path) -> None:
        self.config = root / "config"
        (self.config / "sessions").mkdir(parents=True)
        self.transcript = root / "transcript.jsonl"
        self.folder = root / "session"
        self.folder.mkdir()
        self.port = Port(self.folder)
        self.adapter = ClaudeAdapter(self.port)
        self.environment = {"CLAUDE_PID": "4242", "CLAUDE_CONFIG_DIR": str(self.config)}

    async def hook(self, event: str, **payload: Any) -> Mapping[str, Any]:
        told = {
            "session_id": "s-1",
            "cwd": "/home/me/shop",
            "transcript_path": str(self.transcript),
            **payload,
        }
        return await self.adapter.hook(event, told, self.environment)

    def register(self, **changes: Any) -> None:
        entry = {"sessionId": "s-1", "status": "idle", "statusUpdatedAt": 4_000_000_000_000}
        (self.config / "sessions" / "4242.json").write_text(json.dumps({**entry, **changes}))

    def write(self, **entry: Any) -> None:
        with self.transcript.open("a") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    async def told(self, name: str) -> tuple[Any, ...]:
        """Wait until the port was told so."""
        async with asyncio.timeout(5):
            while name not in self.port.names():
                await asyncio.sleep(0.01)
        return next(each for each in self.port.told if each[0] == name)


@asynccontextmanager
async def running(adapter: ClaudeAdapter) -> AsyncIterator[None]:
    task = asyncio.create_task(adapter.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
