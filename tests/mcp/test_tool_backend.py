"""The tools over the daemon's real store, outbox and link, and a real relay."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_agentd.clock import now
from relay_agentd.outbox import Outbox
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_link import RelayLink
from relay_agentd.session_state import SessionState
from relay_agentd.session_tools import ToolResult, call_tool
from relay_agentd.store import Store
from relay_agentd.store.sessions import SessionRow
from relay_agentd.tool_backend import DaemonToolBackend
from relay_server.wire import ApprovalMode
from tests.mcp.support import SESSION
from tests.support.relay_process import RelayProcess


class Machine:
    """One session's agent `me` on a real link, and the other agents' plain HTTP."""

    def __init__(self, relay: RelayProcess, folder: Path) -> None:
        self.relay = relay
        self.store = Store(folder / "agentd.db")
        self.client = AsyncRelayClient(relay.url)
        self.outbox = Outbox(self.client, self.store.outbox)
        self.link = RelayLink(
            self.client,
            self.store.mail,
            machine="box",
            facts=lambda: {"hostname": "box"},
            listener=self,
            heartbeat_seconds=30,
        )
        self.backend = DaemonToolBackend(
            client=self.client, outbox=self.outbox, store=self.store, link=self.link
        )
        self.calls = 0

    # --- what the link tells ---

    def mail(self, agent_id: str, message: Mapping[str, Any]) -> None:
        self.store.mail.receive(agent_id, message, SESSION, now())

    def agent_changed(self, agent_id: str, agent: Mapping[str, Any]) -> None:
        """Of no interest here."""

    def superseded(self, agent_id: str) -> None:
        raise AssertionError(agent_id)

    # --- for the tests ---

    def open_session(self) -> None:
        self.store.sessions.add(
            SessionRow(
                key=SESSION,
                state=SessionState.RUNNING,
                provider="claude",
                provider_version="2.1.330",
                cwd=Path("/"),
                rig="claude",
                approval=ApprovalMode.OPEN,
                label=None,
                tags=(),
                capabilities=("chat",),
                channels=(),
                arguments=(),
                agent_id="me",
                opened_at=now(),
            )
        )
        description = {
            "id": "me",
            "status": "idle",
            "instanceId": SESSION,
            "reachability": "push",
            "capabilities": ["chat"],
        }
        self.link.join(description, instance=SESSION, is_known=False)

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
            return any(mail.message_id == number for mail in self.store.mail.waiting(SESSION))

        await self.until(is_here)


@asynccontextmanager
async def a_machine(relay: RelayProcess, folder: Path) -> AsyncIterator[Machine]:
    machine = Machine(relay, folder)
    machine.open_session()
    tasks = [asyncio.create_task(machine.link.run()), asyncio.create_task(machine.outbox.run())]
    try:

        async def is_registered() -> bool:
            return "id" in await machine.get("/api/agents/me")

        await machine.until(is_registered)
        await machine.post("/api/agents", id="backend", status="idle", reachability="push")
        yield machine
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await machine.client.close()
        machine.store.close()


Scenario = Callable[[Machine], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on a machine with a relay of its own."""

    async def on_a_machine(scenario: Scenario, relay: RelayProcess) -> None:
        async with a_machine(relay, tmp_path) as machine:
            await scenario(machine)

    def run(scenario: Scenario) -> None:
        with RelayProcess(tmp_path) as relay:
            asyncio.run(on_a_machine(scenario, relay))

    return run


def test_a_message_reaches_the_relay_in_the_session_s_name(play: Callable[..., None]) -> None:
    async def scenario(machine: Machine) -> None:
        result = await machine.tool("relay_send", to="backend", body="hello", priority="high")

        (message,) = (await machine.get("/api/messages?to=backend"))["messages"]
        assert (message["from"], message["body"], message["priority"]) == ("me", "hello", "high")
        assert result.text == f"Sent as message {message['id']} to backend (idle, push)."

    play(scenario)


def test_the_same_call_twice_is_one_message(play: Callable[..., None]) -> None:
    async def scenario(machine: Machine) -> None:
        first = await machine.tool("relay_send", key="k", to="backend", body="hello")
        second = await machine.tool("relay_send", key="k", to="backend", body="hello")

        assert first == second
        assert len((await machine.get("/api/messages?to=backend"))["messages"]) == 1

    play(scenario)


def test_an_unknown_receiver_is_refused_with_suggestions(play: Callable[..., None]) -> None:
    async def scenario(machine: Machine) -> None:
        result = await machine.tool("relay_send", to="backnd", body="hello")

        assert result.is_error
        assert result.text == "No agent backnd on the relay. Did you mean backend?"
        assert machine.store.outbox.count() == 0

    play(scenario)


def test_mail_is_read_once_and_answered_in_its_thread(play: Callable[..., None]) -> None:
    async def scenario(machine: Machine) -> None:
        number = await machine.send(**{"from": "backend", "to": "me", "body": "question"})
        await machine.arrived(number)
        shown = await machine.tool("relay_inbox", key="k")
        again = await machine.tool("relay_inbox", key="k")
        empty = await machine.tool("relay_inbox")
        await machine.receipt_is(number, "read")
        await machine.tool("relay_reply", message_id=number, body="answer")
        await machine.receipt_is(number, "replied")

        assert f"[msg:{number}] from backend" in shown.text
        assert again == shown
        assert empty.text.startswith("No unread mail")
        thread = (await machine.get(f"/api/messages/{number}/thread"))["messages"]
        assert [(m["from"], m["to"], m["body"]) for m in thread] == [
            ("backend", "me", "question"),
            ("me", "backend", "answer"),
        ]

    play(scenario)


def test_work_is_claimed_by_one_and_its_result_goes_to_the_sender(
    play: Callable[..., None],
) -> None:
    async def scenario(machine: Machine) -> None:
        work = {"from": "backend", "to": "cap:chat", "body": "do it", "claimable": True}
        number, taken = await machine.send(**work), await machine.send(**work)
        await machine.post("/api/agents", id="other", capabilities=["chat"])
        await machine.post(f"/api/messages/{taken}/claim", agentId="other")
        claimed = await machine.tool("relay_claim", message_id=number)
        too_late = await machine.tool("relay_claim", message_id=taken)
        not_mine = await machine.tool("relay_complete", message_id=taken)
        completed = await machine.tool("relay_complete", message_id=number, result="done")

        assert claimed.text.startswith(f"Message {number} is yours until 20")
        assert too_late.text == (f"Message {taken} is already claimed by other: leave it to them.")
        assert not_mine.text == (
            f"Message {taken} is not claimed by you (any more): relay_claim it first."
        )
        assert completed.text == f"Message {number} is completed, and its sender gets your result."
        thread = (await machine.get(f"/api/messages/{number}/thread"))["messages"]
        assert [(m["from"], m["to"], m["body"]) for m in thread[1:]] == [("me", "backend", "done")]

    play(scenario)


def test_agents_are_listed_and_found(play: Callable[..., None]) -> None:
    async def scenario(machine: Machine) -> None:
        everyone = (await machine.tool("relay_agents")).text
        found = (await machine.tool("relay_agents", query="back")).text

        assert "me (you): idle, push" in everyone
        assert [line.split(":")[0] for line in found.splitlines()] == ["backend"]

    play(scenario)


@pytest.mark.timeout(60)
def test_without_a_relay_messages_wait_and_go_out_once_in_order(
    play: Callable[..., None],
) -> None:
    async def scenario(machine: Machine) -> None:
        machine.relay.kill()
        queued = await asyncio.gather(
            *(machine.tool("relay_send", to="backend", body=f"body {n}") for n in range(3))
        )
        failed = await machine.tool("relay_claim", message_id=1)
        await asyncio.to_thread(machine.relay.start)

        async def is_empty() -> bool:
            return machine.store.outbox.count() == 0

        await machine.until(is_empty)

        assert [result.text[:7] for result in queued] == ["Queued:"] * 3
        assert failed.is_error
        assert "cannot be reached" in failed.text
        sent = (await machine.get("/api/messages?to=backend"))["messages"]
        assert [m["body"] for m in sent] == ["body 2", "body 1", "body 0"]

    play(scenario)


def test_an_ended_session_speaks_no_more(play: Callable[..., None]) -> None:
    async def scenario(machine: Machine) -> None:
        row = machine.store.sessions.find(SESSION)
        assert row is not None
        machine.store.sessions.change(row, state=SessionState.EXITED)

        result = await machine.tool("relay_send", to="backend", body="hello")

        assert result == ToolResult(
            "This session is not on the relay yet: try again soon.", is_error=True
        )

    play(scenario)
