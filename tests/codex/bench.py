"""A daemon's worth of surroundings for one Codex adapter: a port that records, a loop to run on.

`Attached` owns one event loop in a thread, as the daemon has one, and the adapter that runs on it.
"""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay_agentd.adapters.base import Answer, Ask, Delivery, Outcome
from relay_agentd.adapters.codex import CodexAdapter
from relay_server.wire import AgentStatus, ApprovalMode, Decision, Priority, Reachability
from tests.support.wait import eventually


@dataclass
class RecordingPort:
    """What the adapter told its supervisor, in order."""

    key: str
    folder: Path
    cwd: Path
    text: str = ""
    opens: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    statuses: list[tuple[AgentStatus, str | None]] = field(default_factory=list)
    reachabilities: list[Reachability] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    times_ready: int = 0
    approval: ApprovalMode = ApprovalMode.OPEN
    asks: list[Ask] = field(default_factory=list)
    settlements: list[str] = field(default_factory=list)
    transcripts: list[Path] = field(default_factory=list)
    troubles: list[str | None] = field(default_factory=list)

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        self.opens.append(provider_session_id)
        self.folders.append(cwd)

    def introduction(self) -> str:
        return self.text

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        self.statuses.append((status, detail))

    def reachable(self, reachability: Reachability) -> None:
        self.reachabilities.append(reachability)

    def proved(self, delivery_id: str, *, via: str) -> None:
        self.proofs.append(delivery_id)

    def lost(self, delivery_id: str) -> None:
        self.losses.append(delivery_id)

    def ready(self) -> None:
        self.times_ready += 1

    def asked(self, ask: Ask) -> None:
        self.asks.append(ask)

    def settled(self, ask_id: str) -> None:
        self.settlements.append(ask_id)

    def troubled(self, problem: str | None) -> None:
        self.troubles.append(problem)

    def records(self, transcript: Path) -> None:
        self.transcripts.append(transcript)

    @property
    def is_idle(self) -> bool:
        return bool(self.statuses) and self.statuses[-1][0] is AgentStatus.IDLE

    @property
    def is_busy(self) -> bool:
        return bool(self.statuses) and self.statuses[-1][0] is AgentStatus.BUSY


def a_delivery(number: int, text: str, priority: Priority = Priority.NORMAL) -> Delivery:
    """A delivery of one message, as the supervisor cuts it."""
    head = f"[msg:{number}] from backend-agent: {text}"
    return Delivery(id=f"d-{number:016x}", message_ids=(number,), text=head, priority=priority)


class Attached:
    """An adapter that runs, from its connection to the end of the `with` block."""

    def __init__(self, port: RecordingPort, socket: Path) -> None:
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="adapter's loop")
        self._thread.start()
        self.adapter = CodexAdapter(port, socket)
        self._running = asyncio.run_coroutine_threadsafe(self.adapter.run(), self._loop)

    def wait_opened(self, count: int = 1) -> str:
        """Waits for the terminal's thread; its id."""
        eventually(lambda: len(self.port.opens) >= count, 20)
        return self.port.opens[-1]

    def push(self, *deliveries: Delivery) -> list[Outcome]:
        """Pushes all at once, as a burst."""

        async def all_of_them() -> list[Outcome]:
            return await asyncio.gather(*(self.adapter.push(each) for each in deliveries))

        return asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result(30)

    def deliver(self, delivery: Delivery) -> None:
        """Pushes until it is taken, as the courier does."""
        eventually(lambda: self.push(delivery) == [Outcome.HANDED], 20)

    def find_evidence(self, delivery: Delivery) -> bool | None:
        found = self.adapter.find_evidence(delivery)
        return asyncio.run_coroutine_threadsafe(found, self._loop).result(30)

    def outstanding(self, *deliveries: Delivery) -> None:
        self._loop.call_soon_threadsafe(self.adapter.outstanding, list(deliveries))

    def answer(self, ask_id: str, decision: Decision, **more: Any) -> None:
        """A person's word, as the supervisor passes it on."""
        answer = Answer(decision=decision, **more)
        self._loop.call_soon_threadsafe(self.adapter.answer, ask_id, answer)

    def tighten(self, mode: ApprovalMode) -> None:
        """The mode in force changes at the relay."""
        self.port.approval = mode
        self._loop.call_soon_threadsafe(self.adapter.approval_changed, mode)

    def wait_asked(self, count: int = 1) -> Ask:
        """Waits for a question to a person; the newest."""
        eventually(lambda: len(self.port.asks) >= count, 20)
        return self.port.asks[-1]

    def wait_settled(self, *ask_ids: str) -> None:
        """Waits until exactly these questions are over."""
        eventually(
            lambda: self.port.settlements == list(ask_ids),
            message=lambda: f"{self.port.settlements}",
        )

    def close(self) -> None:
        """Ends the adapter as the daemon's end would."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
