"""The daemon's parts in the test's own event loop, over a real relay, and real processes.

`die` is what SIGKILL would be: nothing is said to anybody and nothing more is written.
"""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from relay_agentd.approval_desk import ApprovalDesk
from relay_agentd.background import PATIENCE, Patience
from relay_agentd.clock import monotonic
from relay_agentd.commands import Commands
from relay_agentd.launch_rules import LaunchDefaults
from relay_agentd.neighbours import LocalAgents
from relay_agentd.outbox import Outbox
from relay_agentd.paths import Paths, make_private
from relay_agentd.plain_codex import PlainCodex
from relay_agentd.process import ProcessId
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_link import RelayLink
from relay_agentd.relay_stream import LinkState
from relay_agentd.session import Machine, Session
from relay_agentd.session_backend import SessionBackend
from relay_agentd.session_request import OpenRequest
from relay_agentd.settings import Settings
from relay_agentd.store import Store
from relay_agentd.store.sessions import SessionKind
from relay_agentd.supervisor import Supervisor
from tests.support.host_provider import HostProvider
from tests.support.memory_session import MemorySession

T = TypeVar("T")

# Of this process alone: whoever ends a session looks through the whole process table for its key.
KEY = f"{os.getpid():08x}000000aa"
OTHER_KEY = f"{os.getpid():08x}000000bb"


async def until(predicate: Callable[[], T | None], within: float = 10.0) -> T:
    """The predicate's first true value; an AssertionError when there is none in time."""
    deadline = monotonic() + within
    while True:
        result = predicate()
        if result:
            return result
        if monotonic() > deadline:
            raise AssertionError(f"not true within {within} s: {result!r}")
        await asyncio.sleep(0.01)


async def until_async(predicate: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    """The same for a predicate that has to ask somebody."""
    deadline = monotonic() + within
    while not await predicate():
        if monotonic() > deadline:
            raise AssertionError(f"not true within {within} s")
        await asyncio.sleep(0.02)


class Processes:
    """Real processes that stand for launcher, helper and provider."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *argv: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Run something for a minute."""
        child = subprocess.Popen(argv or ("sleep", "60"), env={**os.environ, **environment})
        self._children.append(child)
        return child

    def end(self) -> None:
        """Kill and reap all."""
        for child in self._children:
            child.kill()
            child.wait()


def identity(child: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """A process in the control socket's form."""
    process = ProcessId.of(child.pid)
    assert process is not None
    return asdict(process)


class DaemonParts:
    """Everything of a daemon but its socket and its lock."""

    def __init__(
        self,
        url: str,
        folder: Path,
        session: MemorySession,
        *,
        needs_helper: bool = False,
        hosts: HostProvider | None = None,
        patience: Patience = PATIENCE,
        settings: Settings | None = None,
        machine: str = "box",
        **others: MemorySession,
    ) -> None:
        """`others`: further sessions, by the name of their provider."""
        self.url = url
        self.cwd = folder
        self.paths = Paths(folder / "c", folder / "d", folder / "s", folder / "r")
        make_private(self.paths.state)
        self.store = Store(self.paths.database)
        self.client = AsyncRelayClient(url)
        self.link = RelayLink(
            self.client,
            self.store.mail,
            machine=machine,
            facts=lambda: {
                "hostname": machine,
                "launchRoots": [str(root) for root in self.settings.launch_roots],
            },
            heartbeat_seconds=0.5,
        )
        self.desk = ApprovalDesk(self.client, self.link.has)
        transport = session.transport(needs_helper=needs_helper)
        by_name = {name: other.transport() for name, other in others.items()}
        provider = hosts or HostProvider()

        def providers(_: str) -> HostProvider:
            return provider

        self.supervisor = Supervisor(
            Machine(machine, url, self.store, self.link, self.desk),
            self.paths,
            transports=lambda name: by_name.get(name, transport),
            providers=providers,
            patience=patience,
        )
        neighbours = LocalAgents(self.supervisor, self.link)
        self.outbox = Outbox(self.client, self.store.outbox, neighbours=neighbours)
        self.backend = SessionBackend(
            self.supervisor,
            self.outbox,
            self.store.mail,
            self.client,
            self.link,
            PlainCodex(self.supervisor, self.paths, None),
        )
        self.settings = settings or Settings(url=url)
        self.commands = Commands(
            machine,
            self.store,
            self.client,
            self.supervisor,
            self._launch_defaults(),
            providers=providers,
        )
        self.supervisor.on_command = self.commands.commanded
        self.http = httpx.AsyncClient(base_url=url, trust_env=False)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.supervisor.start()
        self._tasks = [
            asyncio.create_task(self.link.run(self.supervisor, self._connected)),
            asyncio.create_task(self.outbox.run()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    def _connected(self) -> None:
        self.outbox.retry()
        self.desk.connected()
        self.commands.connected()

    async def die(self) -> None:
        """Stop everything where it stands."""
        await self.commands.stop()
        await self.desk.stop()
        await self.supervisor.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.client.close()
        await self.http.aclose()
        self.store.close()

    def _launch_defaults(self) -> LaunchDefaults:
        return LaunchDefaults(roots=self.settings.launch_roots, settings=self.settings)

    # --- a session ---

    async def start_background(self, key: str = KEY, **fields: Any) -> Session:
        """A background session that runs, and is on the relay if it can be."""
        environment = fields.pop("environment", {})
        described = {
            "key": key,
            "provider": "memory",
            "cwd": str(self.cwd),
            "approval": "open",
            **fields,
        }
        request = OpenRequest.parse(described, None, SessionKind.BACKGROUND)
        self.supervisor.begin_background(request, {**os.environ, **environment})
        return await self.supervisor.background_started(key)

    def request(self, launcher: "subprocess.Popen[bytes]", **fields: Any) -> OpenRequest:
        """What a launcher would say."""
        described = {
            "key": KEY,
            "provider": "memory",
            "providerVersion": "1",
            "cwd": str(self.cwd),
            "approval": "open",
            "label": "tester",
            "tags": ["team"],
            "capabilities": ["chat"],
            "channels": [],
            "arguments": [],
            "launcher": identity(launcher),
            **fields,
        }
        return OpenRequest.parse(described, None)

    def join(self, person: "subprocess.Popen[bytes]") -> None:
        """A session that a person started himself."""
        described = {
            "key": KEY,
            "provider": "memory",
            "providerVersion": "1",
            "cwd": str(self.cwd),
            "approval": "open",
        }
        request = OpenRequest.parse(described, None, SessionKind.JOINED)
        self.supervisor.join(request, identity(person))

    def launch(
        self,
        launcher: "subprocess.Popen[bytes]",
        provider: "subprocess.Popen[bytes]",
        /,
        helper: "subprocess.Popen[bytes] | None" = None,
        **fields: Any,
    ) -> Session:
        """A session up to its running provider."""
        request = self.request(launcher, **fields)
        self.supervisor.open(request)
        self.supervisor.plan(request.key, {"sessionId": None, "approvalOverrides": []})
        if helper is not None:
            told = {"process": identity(helper), "socket": str(self.cwd / "h.sock")}
            self.supervisor.helper(request.key, told)
        self.supervisor.provider(request.key, {"process": identity(provider)})
        return self.supervisor.find(request.key)

    async def online(self, key: str = KEY) -> str:
        """The session's agent id, once the relay would send it mail."""
        await until(lambda: self.link.state is LinkState.CONNECTED)
        session = self.supervisor.find(key)
        agent_id = await until(lambda: session.row.agent_id)
        await until(lambda: self.link.serves(agent_id))
        return agent_id

    # --- the relay, as others see it ---

    async def send(self, to: str, body: str, **fields: Any) -> int:
        """A message from the operator; its id."""
        message = {"from": "operator", "to": to, "body": body, **fields}
        response = await self.http.post("/api/messages", json=message)
        response.raise_for_status()
        return int(response.json()["id"])

    async def agent(self, agent_id: str) -> dict[str, Any]:
        """An agent as the relay shows it."""
        response = await self.http.get(f"/api/agents/{agent_id}")
        answer: dict[str, Any] = response.json()
        return answer

    async def receipt(self, message_id: int, agent_id: str) -> dict[str, Any]:
        """How far a message got."""
        receipts = (await self.http.get(f"/api/messages/{message_id}")).json()["receipts"]
        found: dict[str, Any] = next(
            (each for each in receipts if each["agentId"] == agent_id),
            {"state": None, "inContextAt": None},
        )
        return found
