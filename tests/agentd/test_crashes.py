"""The daemon dies before or after any one of its writes: each message still enters the context
exactly once, and in order."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.adapters.base import Ask, Delivery
from relay_agentd.courier import Courier
from relay_agentd.delivery import MailState
from relay_agentd.store import Store
from relay_agentd.store.database import Database
from relay_server.wire import AgentStatus, ApprovalMode, Priority, Reachability
from tests.agentd.harness import KEY, until
from tests.support.memory_session import How, MemoryAdapter, MemorySession

AGENT = "box-memory-x-00000000"
MESSAGES = 5


class PowerCut(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class _Writes:
    """Counts the writes of a store and dies at one of them."""

    def __init__(self, dies_at: int | None, *, is_written: bool) -> None:
        self._left = dies_at
        self._is_written = is_written

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Database.write

        @contextmanager
        def write(database: Database) -> Iterator[None]:
            dies = self._dies()
            if dies and not self._is_written:
                raise PowerCut
            with real(database):
                yield
            if dies:
                raise PowerCut

        monkeypatch.setattr(Database, "write", write)

    def _dies(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0


class _Port:
    """The session as the supervisor would offer it, around one courier."""

    def __init__(self, folder: Path) -> None:
        self.key = KEY
        self.folder = folder
        self.cwd = folder
        self.courier: Courier | None = None

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Known."""

    def introduction(self) -> str:
        return ""

    @property
    def approval(self) -> ApprovalMode:
        return ApprovalMode.OPEN

    def asked(self, ask: Ask) -> None:
        raise AssertionError

    def settled(self, ask_id: str) -> None:
        raise AssertionError

    def troubled(self, problem: str | None) -> None:
        raise AssertionError

    def records(self, transcript: Path) -> None:
        raise AssertionError

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        """Nobody is told."""

    def reachable(self, reachability: Reachability) -> None:
        """Nobody is told."""

    def proved(self, delivery_id: str, *, via: str) -> None:
        assert self.courier is not None
        self.courier.proved(delivery_id, via)

    def lost(self, delivery_id: str) -> None:
        assert self.courier is not None
        self.courier.lost(delivery_id)

    def ready(self) -> None:
        assert self.courier is not None
        self.courier.ready()


def _message(number: int) -> dict[str, Any]:
    return {"id": number, "from": "operator", "to": AGENT, "body": f"text {number}"}


async def _live(folder: Path, session: MemorySession) -> None:
    """One life of the daemon: the relay offers all it has no receipt for, the courier carries."""
    store = Store(folder / "agentd.db")
    port = _Port(folder)
    adapter = MemoryAdapter(port, session)
    tasks: list[asyncio.Task[None]] = []
    try:
        courier = port.courier = Courier(
            KEY, adapter, store.mail, agent_id=lambda: AGENT, receipts_changed=lambda: None
        )
        tasks = [asyncio.create_task(courier.run()), asyncio.create_task(adapter.run())]
        for number in range(1, MESSAGES + 1):
            store.mail.receive(AGENT, _message(number), KEY, 0.0)
            courier.wake()
            await asyncio.sleep(0)
        if session.way == "bell":
            tasks.append(asyncio.create_task(_hear_bells(courier, adapter, session)))
        finished = asyncio.create_task(_all_proved(store))
        await asyncio.wait([finished, *tasks], return_when=asyncio.FIRST_COMPLETED)
        tasks.append(finished)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise PowerCut
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.close()


async def _all_proved(store: Store) -> None:
    def proved() -> bool:
        receipts = store.mail.unreported()
        return [r.state for r in receipts] == [MailState.IN_CONTEXT] * MESSAGES

    await until(proved)


async def _hear_bells(courier: Courier, adapter: MemoryAdapter, session: MemorySession) -> None:
    """The provider's hook: asks when the bell rang, and what it gets enters the context."""
    while True:
        await until(lambda: adapter.rings > 0)
        adapter.rings = 0
        text = await courier.answer_bell()
        if text is not None:
            numbers = [n for n in range(1, MESSAGES + 1) if f"[msg:{n}]" in text]
            session.enter(
                Delivery(
                    id="by-bell", message_ids=tuple(numbers), text=text, priority=Priority.NORMAL
                )
            )


WAYS: list[How] = ["at once", "breaks before", "breaks after", "bell"]


@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dies_at", range(14))
@pytest.mark.parametrize("way", WAYS)
def test_each_message_enters_the_context_once_whatever_write_was_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: How, dies_at: int, is_written: bool
) -> None:
    session = MemorySession(way=way)
    with monkeypatch.context() as patched:
        _Writes(dies_at + 1, is_written=is_written).install(patched)
        with suppress(PowerCut):
            asyncio.run(_live(tmp_path, session))

    asyncio.run(_live(tmp_path, session))

    assert session.message_ids == list(range(1, MESSAGES + 1))


def test_death_is_really_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _Writes(3, is_written=True).install(monkeypatch)

    with pytest.raises(PowerCut):
        asyncio.run(_live(tmp_path, MemorySession()))
