"""The tools over the daemon's real supervisor, store, outbox and link, and a real relay."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_agentd.adapters.base import AdapterDefaults, Delivery, Outcome, SessionPort
from relay_agentd.adapters.registry import Connection, Transport
from relay_agentd.approval_desk import ApprovalDesk
from relay_agentd.outbox import Outbox
from relay_agentd.paths import Paths
from relay_agentd.plain_codex import PlainCodex
from relay_agentd.process import ProcessId
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_link import RelayLink
from relay_agentd.session import Machine
from relay_agentd.session_backend import SessionBackend
from relay_agentd.session_request import OpenRequest
from relay_agentd.session_tools import ToolResult, call_tool
from relay_agentd.store import Store
from relay_agentd.supervisor import Supervisor
from relay_server.wire import Reachability
from tests.mcp.support import SESSION
from tests.support.relay_process import RelayProcess


class DeafAdapter(AdapterDefaults):
    """A provider that never takes mail: what arrives waits for `relay_inbox`."""

    def __init__(self, port: SessionPort, _connection: Connection) -> None:
        self._port = port

    async def run(self) -> None:
        self._port.opened("a-conversation", cwd=self._port.cwd)
        self._port.reachable(Reachability.POLL)

    async def push(self, delivery: Delivery) -> Outcome:
        return Outcome.NOT_NOW

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        return False


class DaemonParts:
    """A daemon without its socket, one session in it, and other agents' plain HTTP."""

    def __init__(self, relay: RelayProcess, folder: Path) -> None:
        self.relay = relay
        self.cwd = folder
        self.store = Store(folder / "agentd.db")
        self.client = AsyncRelayClient(relay.url)
        self.outbox = Outbox(self.client, self.store.outbox)
        self.link = RelayLink(
            self.client,
            self.store.mail,
            machine="box",
            facts=lambda: {"hostname": "box"},
            heartbeat_seconds=30,
        )
        paths = Paths(config=folder, data=folder, state=folder, runtime=folder / "r")
        self.supervisor = Supervisor(
            Machine(
                "box", relay.url, self.store, self.link, ApprovalDesk(self.client, self.link.has)
            ),
            paths,
            transports=lambda _: Transport(DeafAdapter, needs_helper=False),
        )
        self.backend = SessionBackend(
            self.supervisor,
            self.outbox,
            self.store.mail,
            self.client,
            self.link,
            PlainCodex(self.supervisor, paths, None),
        )
        self.calls = 0

    @property
    def own_id(self) -> str:
        agent_id = self.backend.agent_id(SESSION)
        assert agent_id is not None
        return agent_id

    # --- for the tests ---

    def open_session(self) -> None:
        this_process = ProcessId.of(os.getpid())
        assert this_process is not None
        request = {
            "key": SESSION,
            "provider": "deaf",
            "providerVersion": "1",
            "cwd": str(self.cwd),
            "approval": "open",
            "capabilities": ["chat"],
            "launcher": asdict(this_process),
        }
        self.supervisor.open(OpenRequest.parse(request, None))
        self.supervisor.plan(SESSION, {})

    async def tool(self, name: str, *, key: str | None = None, **arguments: Any) -> ToolResult:
        self.calls += 1
        key = key or f"key-{self.calls}"
        return await call_tool(self.backend, SESSION, name, arguments, key=key)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self.relay.url, trust_env=False) as http:
            response = await http.post(path, json=body)
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
            return answer

    async def get(self, path: str) -> Any:
        async with httpx.AsyncClient(base_url=self.relay.url, trust_env=False) as http:
            return (await http.get(path)).json()

    async def send(self, **message: Any) -> int:
        sent = await self.post("/api/messages", **message)
        return int(sent["id"])

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(10):
            while not await condition():
                await asyncio.sleep(0.01)

    async def receipt_is(self, number: int, state: str) -> None:
        async def has_state() -> bool:
            (receipt,) = (await self.get(f"/api/messages/{number}"))["receipts"]
            return bool(receipt["state"] == state)

        await self.until(has_state)

    async def arrived(self, number: int) -> None:
        async def is_here() -> bool:
            return any(mail.message_id == number for mail in self.store.mail.waiting(SESSION, 0.0))

        await self.until(is_here)


@asynccontextmanager
async def a_daemon(relay: RelayProcess, folder: Path) -> AsyncIterator[DaemonParts]:
    daemon = DaemonParts(relay, folder)
    await daemon.supervisor.start()
    daemon.open_session()
    tasks = [
        asyncio.create_task(daemon.link.run(daemon.supervisor, daemon.outbox.retry)),
        asyncio.create_task(daemon.outbox.run()),
    ]
    try:

        async def is_registered() -> bool:
            agent = daemon.backend.agent_id(SESSION)
            return agent is not None and "id" in await daemon.get(f"/api/agents/{agent}")

        await daemon.until(is_registered)
        await daemon.post("/api/agents", id="backend", status="idle", reachability="push")
        yield daemon
    finally:
        await daemon.supervisor.stop()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await daemon.client.close()
        daemon.store.close()


Scenario = Callable[[DaemonParts], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on a daemon with a relay of its own."""

    async def on_a_daemon(scenario: Scenario, relay: RelayProcess) -> None:
        async with a_daemon(relay, tmp_path) as daemon:
            await scenario(daemon)

    def run(scenario: Scenario) -> None:
        with RelayProcess(tmp_path) as relay:
            asyncio.run(on_a_daemon(scenario, relay))

    return run


def test_a_message_reaches_the_relay_in_the_session_s_name(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        result = await daemon.tool("relay_send", to="backend", body="hello", priority="high")

        (message,) = (await daemon.get("/api/messages?to=backend"))["messages"]
        assert (message["from"], message["body"], message["priority"]) == (
            daemon.own_id,
            "hello",
            "high",
        )
        assert result.text == f"Sent as message {message['id']} to backend (idle, push)."

    play(scenario)


def test_the_same_call_twice_is_one_message(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        first = await daemon.tool("relay_send", key="k", to="backend", body="hello")
        second = await daemon.tool("relay_send", key="k", to="backend", body="hello")

        assert first == second
        assert len((await daemon.get("/api/messages?to=backend"))["messages"]) == 1

    play(scenario)


def test_an_unknown_receiver_is_refused_with_suggestions(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        result = await daemon.tool("relay_send", to="backnd", body="hello")

        assert result.is_error
        assert result.text == "No agent backnd on the relay. Did you mean backend?"
        assert daemon.store.outbox.count() == 0

    play(scenario)


def test_mail_is_read_once_and_answered_in_its_thread(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        number = await daemon.send(**{"from": "backend", "to": daemon.own_id, "body": "question"})
        await daemon.arrived(number)
        shown = await daemon.tool("relay_inbox", key="k")
        again = await daemon.tool("relay_inbox", key="k")
        empty = await daemon.tool("relay_inbox")
        await daemon.receipt_is(number, "read")
        await daemon.tool("relay_reply", message_id=number, body="answer")
        await daemon.receipt_is(number, "replied")

        assert f"[msg:{number}] from backend" in shown.text
        assert again == shown
        assert empty.text.startswith("No unread mail")
        thread = (await daemon.get(f"/api/messages/{number}/thread"))["messages"]
        assert [(m["from"], m["to"], m["body"]) for m in thread] == [
            ("backend", daemon.own_id, "question"),
            (daemon.own_id, "backend", "answer"),
        ]

    play(scenario)


def test_work_is_claimed_by_one_and_its_result_goes_to_the_sender(
    play: Callable[..., None],
) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        work = {"from": "backend", "to": "cap:chat", "body": "do it", "claimable": True}
        number, taken = await daemon.send(**work), await daemon.send(**work)
        await daemon.post("/api/agents", id="other", capabilities=["chat"])
        await daemon.post(f"/api/messages/{taken}/claim", agentId="other")
        claimed = await daemon.tool("relay_claim", message_id=number)
        too_late = await daemon.tool("relay_claim", message_id=taken)
        not_mine = await daemon.tool("relay_complete", message_id=taken)
        completed = await daemon.tool("relay_complete", message_id=number, result="done")

        assert claimed.text.startswith(f"Message {number} is yours until 20")
        assert too_late.text == (f"Message {taken} is already claimed by other: leave it to them.")
        assert not_mine.text == (
            f"Message {taken} is not claimed by you (any more): relay_claim it first."
        )
        assert completed.text == f"Message {number} is completed, and its sender gets your result."
        thread = (await daemon.get(f"/api/messages/{number}/thread"))["messages"]
        assert [(m["from"], m["to"], m["body"]) for m in thread[1:]] == [
            (daemon.own_id, "backend", "done")
        ]

    play(scenario)


def test_a_task_is_claimed_reported_and_done(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        task = await daemon.post(
            "/api/tasks", title="Disk is full", target="cap:chat", **{"from": "operator"}
        )
        number = task["id"]
        early = await daemon.tool("relay_task_update", task_id=number, status="in_progress")
        claimed = await daemon.tool("relay_claim", message_id=task["messageId"])
        update = {"task_id": number, "status": "in_progress", "progress": 50, "note": "cleaning"}
        half = await daemon.tool("relay_task_update", **update)
        # A restarted daemon gets the call once more.
        await daemon.tool("relay_complete", key="k", task_id=number, result="freed 3 GB")
        done = await daemon.tool("relay_complete", key="k", task_id=number, result="freed 3 GB")
        late = await daemon.tool("relay_task_update", **update)
        nothing = await daemon.tool("relay_claim", task_id=999)

        assert early.text == (
            f"Task {number} is not claimed by you (any more): relay_claim it first."
        )
        assert f"relay_complete task_id={number}" in claimed.text
        assert half.text == f"Task {number} is in_progress, 50 %."
        assert done == ToolResult(f"Task {number} is done.")
        assert late.is_error
        assert "is done" in late.text
        assert nothing == ToolResult("There is no task 999.", is_error=True)
        ended = await daemon.get(f"/api/tasks/{number}")
        assert (ended["status"], ended["result"]) == ("done", "freed 3 GB")
        assert ended["claimedBy"] == daemon.own_id

    play(scenario)


def test_a_question_reaches_the_people_once(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        await daemon.tool("relay_ask_operator", key="k", question="Drop it?")
        asked = await daemon.tool("relay_ask_operator", key="k", question="Drop it?")

        assert asked.text.startswith("Asked, as message")
        mail = (await daemon.get("/api/messages?for=operator&since=0"))["messages"]
        assert [(m["from"], m["body"]) for m in mail] == [(daemon.own_id, "Drop it?")]

    play(scenario)


def test_agents_are_listed_and_found(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        everyone = (await daemon.tool("relay_agents")).text
        found = (await daemon.tool("relay_agents", query="back")).text

        assert f"{daemon.own_id} (you): idle, sees mail when it looks" in everyone
        assert [line.split(":")[0] for line in found.splitlines()] == ["backend"]

    play(scenario)


@pytest.mark.timeout(60)
def test_without_a_relay_messages_wait_and_go_out_once_in_order(
    play: Callable[..., None],
) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        daemon.relay.kill()
        queued = await asyncio.gather(
            *(daemon.tool("relay_send", to="backend", body=f"body {n}") for n in range(3))
        )
        failed = await daemon.tool("relay_claim", message_id=1)
        await asyncio.to_thread(daemon.relay.start)

        async def is_empty() -> bool:
            return daemon.store.outbox.count() == 0

        await daemon.until(is_empty)

        assert [result.text[:7] for result in queued] == ["Queued:"] * 3
        assert failed.is_error
        assert "cannot be reached" in failed.text
        sent = (await daemon.get("/api/messages?to=backend"))["messages"]
        assert [m["body"] for m in sent] == ["body 2", "body 1", "body 0"]

    play(scenario)


def test_a_session_that_another_one_replaced_claims_nothing(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        work = {"from": "backend", "to": "cap:chat", "body": "do it", "claimable": True}
        number = await daemon.send(**work)
        await daemon.post("/api/agents", id=daemon.own_id, instanceId="a-newer-one")

        result = await daemon.tool("relay_claim", message_id=number)

        assert result.is_error
        assert "(stale_instance)" in result.text
        assert (await daemon.get(f"/api/messages/{number}"))["claim"] is None

    play(scenario)


def test_an_ended_session_speaks_no_more(play: Callable[..., None]) -> None:
    async def scenario(daemon: DaemonParts) -> None:
        await daemon.supervisor.closed(SESSION, 0)

        result = await daemon.tool("relay_send", to="backend", body="hello")

        assert result == ToolResult(
            "This session is not on the relay yet: try again soon.", is_error=True
        )

    play(scenario)
