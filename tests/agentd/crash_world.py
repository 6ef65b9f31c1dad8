"""Two sessions of one machine, a relay on paper, and a daemon that can die before or after any of
its writes: the world of `test_crash_machine`, which plays with it.

The daemon here is its real store, couriers and outbox; link and pipe are as much of them as
matters: the relay offers what has no receipt, receipts are acknowledged or the answer is lost, and
a call whose answer nobody got is made again under the same key, as the pipe does.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from relay_agentd.adapters.base import Ask, Delivery
from relay_agentd.courier import Courier
from relay_agentd.outbox import Outbox
from relay_agentd.store import Store
from relay_agentd.store.database import Database
from relay_server.wire import AgentStatus, ApprovalMode, Priority, Reachability
from tests.agentd.paper_relay import PaperRelay
from tests.agentd.virtual_time import VirtualTime
from tests.support.memory_session import MemoryAdapter, MemorySession

NAMES: Final = ("alice", "bob")
OUTSIDERS: Final = ("operator", "far")


class PowerCut(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class Power:
    """Fails before or after a write that the test chooses; afterwards nothing is written."""

    def __init__(self, patches: pytest.MonkeyPatch) -> None:
        self.is_off = False
        self._left: int | None = None
        self._is_written = False
        real = Database.write
        power = self

        @contextmanager
        def write(database: Database) -> Iterator[None]:
            power.check()
            dies = power.counts_down()
            if dies and not power._is_written:
                power.is_off = True
            power.check()
            with real(database):
                yield
            if dies:
                power.is_off = True
            power.check()

        patches.setattr(Database, "write", write)

    def cut_at(self, writes: int, *, is_written: bool) -> None:
        """Fail at the so-manieth write from now."""
        self._left, self._is_written = writes, is_written

    def back(self) -> None:
        """The machine starts again."""
        self.is_off, self._left = False, None

    def check(self) -> None:
        """Nothing happens without power. Raises: PowerCut."""
        if self.is_off:
            raise PowerCut

    def counts_down(self) -> bool:
        """Is it this one?"""
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0


class _Session(MemorySession):
    """Takes nothing from a daemon that is dead."""

    power: Power

    def enter(self, delivery: Delivery) -> None:
        self.power.check()
        super().enter(delivery)


class _Port:
    """The session as the supervisor would offer it, around one courier."""

    approval = ApprovalMode.OPEN

    def __init__(self, name: str, folder: Path) -> None:
        self.key = f"key-of-{name}"
        self.folder = self.cwd = folder
        self.courier: Courier

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Known."""

    def introduction(self) -> str:
        return ""

    def asked(self, ask: Ask) -> None:
        raise AssertionError

    def settled(self, ask_id: str) -> None:
        raise AssertionError

    def records(self, transcript: Path) -> None:
        raise AssertionError

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        """Nobody is told."""

    def reachable(self, reachability: Reachability) -> None:
        """Nobody is told."""

    def proved(self, delivery_id: str, *, via: str) -> None:
        self.courier.proved(delivery_id, via)

    def lost(self, delivery_id: str) -> None:
        self.courier.lost(delivery_id)

    def ready(self) -> None:
        self.courier.ready()

    def troubled(self, problem: str | None) -> None:
        raise AssertionError(problem)


class World:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        self._patches = pytest.MonkeyPatch()
        self.power = Power(self._patches)
        self.time = VirtualTime()
        self.time.__enter__()
        self.relay = PaperRelay(self.time.true_time)
        self.relay.guard = self.power.check
        self.sessions = {name: _Session(id=name) for name in NAMES}
        for session in self.sessions.values():
            session.power = self.power
        self.taken: dict[str, list[str]] = {name: [] for name in NAMES}
        """What a session pulled with the tool."""
        self.receipts: dict[tuple[str, int], str] = {}
        """As the relay knows them."""
        self.said: list[str] = []
        self._folder = folder
        self._calls: dict[str, dict[str, Any]] = {}
        self._takes: dict[str, str] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._start()

    def close(self) -> None:
        """The end of all."""
        self._die()
        self.time.__exit__()
        self._patches.undo()

    # --- the daemon's lives ---

    def _start(self) -> None:
        self.power.back()
        self.time.run(self._begin())

    async def _begin(self) -> None:
        self.store = Store(self._folder / "agentd.db")
        self._client = self.relay.client()
        self.outbox = Outbox(self._client, self.store.outbox, neighbours=self)
        self._tasks = [asyncio.create_task(self.outbox.run())]
        self.couriers: dict[str, Courier] = {}
        for name, session in self.sessions.items():
            port = _Port(name, self._folder)
            adapter = MemoryAdapter(port, session)
            self.couriers[name] = port.courier = Courier(
                port.key,
                adapter,
                self.store.mail,
                agent_id=lambda name=name: name,  # type: ignore[misc]
                receipts_changed=lambda: None,
                relay_time=self._client.relay_time,
            )
            self._tasks += [
                asyncio.create_task(port.courier.run()),
                asyncio.create_task(adapter.run()),
            ]
        for key in self._calls:
            self._call(key)
        for call in list(self._takes):
            self._take(call)

    def _die(self) -> None:
        async def end() -> None:
            self.power.is_off = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._client.close()

        self.time.run(end())
        self.store.close()

    def restart(self) -> None:
        """SIGKILL, and a new daemon."""
        self._die()
        self._start()

    def pass_time(self, seconds: float) -> None:
        """Let everybody work; a daemon that dies meanwhile is started again."""
        self.time.run(asyncio.sleep(seconds))
        if self.power.is_off:
            self.restart()

    @contextmanager
    def powered(self) -> Iterator[None]:
        """Something the daemon does at once, and may die of."""
        with suppress(PowerCut):
            yield
        self.pass_time(0.01)

    # --- the neighbours ---

    def receivers(self, message: Mapping[str, Any]) -> list[tuple[str, str]]:
        """By the routing that this world needs."""
        return [
            (name, f"key-of-{name}")
            for name in NAMES
            if message["to"] in (name, "broadcast") and message["from"] != name
        ]

    def arrived(self, session_key: str) -> None:
        """There is mail."""
        self.couriers[session_key.removeprefix("key-of-")].wake()

    def known_to_relay(self) -> None:
        """Receipts are reported when the test says so."""

    # --- what happens ---

    def say(self, sender: str, to: str) -> None:
        """A session says something; `far` is a session elsewhere."""
        text = f"{sender}-{len(self.said)}."
        self.said.append(text)
        key = f"call-{len(self.said)}"
        self._calls[key] = {"from": sender, "to": to, "body": text}
        self._call(key)
        self.pass_time(0.0)

    def _call(self, key: str) -> None:
        async def call() -> None:
            await self.outbox.submit(self._calls[key], idempotency_key=key)
            self.power.check()
            del self._calls[key]

        task = self.time.loop.create_task(call())
        self._tasks.append(task)

    def post(self, to: str) -> None:
        """Somebody elsewhere says something; the relay has it at once."""
        text = f"operator-{len(self.said)}."
        self.said.append(text)
        self.relay.post({"from": "operator", "to": to, "body": text})

    def offer(self, name: str) -> None:
        """The relay's stream brings all it has no receipt for."""
        if self.relay.is_away:
            return
        with self.powered():
            for message in self.relay.messages:
                is_for = message["to"] in (name, "broadcast") and message["from"] != name
                if is_for and (name, message["id"]) not in self.receipts:
                    key = f"key-of-{name}"
                    if not self.store.mail.receive(name, message, key, self.time.time()):
                        self.store.mail.report_again(name, message["id"])
                    self.couriers[name].wake()

    def report(self, *, is_answer_lost: bool) -> None:
        """Receipts go to the relay."""
        if self.relay.is_away:
            return
        with self.powered():
            receipts = self.store.mail.unreported()
            for receipt in receipts:
                self.receipts[receipt.agent_id, receipt.message_id] = receipt.state.value
            if not is_answer_lost:
                self.store.mail.reported(receipts)

    def answer_bell(self, name: str) -> None:
        """The provider's hook asks, and what it gets enters the context."""

        async def ask() -> None:
            text = await self.couriers[name].answer_bell()
            if text is not None:
                self.sessions[name].enter(
                    Delivery(id="bell", message_ids=(), text=text, priority=Priority.NORMAL)
                )

        with self.powered():
            self.time.run(ask())

    def take(self, name: str, call: str) -> None:
        """The session asks for its mail with the tool; it gets the same for the same call."""
        self._takes[call] = name
        with self.powered():
            self._take(call)

    def _take(self, call: str) -> None:
        name = self._takes[call]
        key, now = f"key-of-{name}", self._client.relay_time()
        taken = self.store.mail.take(key, 5, call, now)
        self.power.check()
        self.taken[name] += [message["body"] for message in taken]
        del self._takes[call]

    def end_turn(self, name: str) -> None:
        """What is in the context is read."""
        with self.powered():
            self.store.mail.mark_read(f"key-of-{name}")

    # --- how it stands ---

    def pushed(self, name: str) -> list[str]:
        """What came into a context by itself, in order."""
        texts = (delivery.text for delivery in self.sessions[name].context)
        return [found for text in texts for found in re.findall(r"\w+-\d+\.", text)]

    def seen(self, name: str) -> Counter[str]:
        """How often a session got each message, in whatever way."""
        return Counter(self.pushed(name)) + Counter(self.taken[name])

    def heal(self) -> None:
        """All goes well from now on, for long enough."""
        self.relay.is_away, self.relay.loses_answers = False, 0
        for session in self.sessions.values():
            session.way = "at once"
        self.power.back()
        self.restart()
        self.outbox.retry()
        for _ in range(4):
            self.pass_time(15.0)
            for name in NAMES:
                self.couriers[name].ready()
                self.offer(name)
            self.pass_time(15.0)
            self.report(is_answer_lost=False)
