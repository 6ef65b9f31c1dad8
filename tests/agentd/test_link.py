"""The link and the outbox over a real relay: registration, receipts, restarts, once, in order."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.clock import monotonic
from relay_agentd.errors import RelayRefused
from relay_agentd.relay_stream import LinkState
from relay_server.wire import AgentStatus
from tests.agentd.harness import KEY, DaemonParts, Processes, until, until_async
from tests.support.memory_session import MemorySession
from tests.support.relay_process import RelayProcess


async def _proved(daemon: DaemonParts, agent_id: str, *message_ids: int) -> None:
    async def all_proved() -> bool:
        receipts = [await daemon.receipt(number, agent_id) for number in message_ids]
        return all(receipt["inContextAt"] for receipt in receipts)

    await until_async(all_proved)


async def _is_read(daemon: DaemonParts, agent_id: str, message_id: int) -> bool:
    return bool((await daemon.receipt(message_id, agent_id))["state"] == "read")


def test_session_is_registered_with_all_that_is_known_of_it(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="described")) as daemon:
            provider = processes.start()
            daemon.launch(processes.start(), provider, approval="guarded", channels=["ops"])
            agent_id = await daemon.online()

            async def is_complete() -> bool:
                return bool((await daemon.agent(agent_id))["pid"] == provider.pid)

            await until_async(is_complete)
            agent = await daemon.agent(agent_id)
        expected: dict[str, Any] = {
            "machine": "box",
            "provider": "memory",
            "rig": "memory",
            "label": "tester",
            "tags": ["team"],
            "capabilities": ["chat"],
            "channels": ["ops"],
            "status": "idle",
            "approvalMode": "guarded",
            "reachability": "push",
            "instanceId": KEY,
            "sessionId": "described",
            "cwd": str(tmp_path),
        }
        assert {name: agent[name] for name in expected} == expected

    asyncio.run(scenario())


def test_message_reaches_the_context_and_the_relay_gets_proof(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="proves")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()

            message_id = await daemon.send(agent_id, "hello")

            await _proved(daemon, agent_id, message_id)
            receipt = await daemon.receipt(message_id, agent_id)
            assert receipt["via"] == "memory"
            assert session.message_ids == [message_id]
            assert "hello" in session.context[0].text
            assert (await daemon.agent(agent_id))["lastProofAt"] is not None

    asyncio.run(scenario())


def test_message_counts_as_read_when_its_turn_is_over_and_not_before(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="reads")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            port = daemon.supervisor.find(KEY)
            port.status(AgentStatus.BUSY)
            message_id = await daemon.send(agent_id, "hello")

            await _proved(daemon, agent_id, message_id)
            receipt = await daemon.receipt(message_id, agent_id)
            assert (receipt["state"], receipt["readAt"]) == ("in_context", None)
            assert (await daemon.agent(agent_id))["unread"] == 1

            port.status(AgentStatus.IDLE)
            await until_async(lambda: _is_read(daemon, agent_id, message_id))
            receipt = await daemon.receipt(message_id, agent_id)
            assert receipt["inContextAt"] is not None
            assert (await daemon.agent(agent_id))["unread"] == 0

    asyncio.run(scenario())


def test_burst_with_the_relay_killed_in_it_arrives_once_and_in_order(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="burst")
        async with DaemonParts(own_relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()

            sent = [await daemon.send(agent_id, f"text {number}") for number in range(10)]
            await asyncio.to_thread(own_relay.kill)
            await asyncio.to_thread(own_relay.start)
            sent += [await daemon.send(agent_id, f"text {number}") for number in range(10, 20)]

            await _proved(daemon, agent_id, *sent)
            assert session.message_ids == sent

    asyncio.run(scenario())


def test_agent_that_the_relay_forgot_is_registered_again(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="forgotten")) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()

            await daemon.http.delete(f"/api/agents/{agent_id}")

            async def is_back() -> bool:
                return (await daemon.agent(agent_id)).get("label") == "tester"

            await until_async(is_back)

    asyncio.run(scenario())


def test_relay_without_a_free_stream_is_polled(tmp_path: Path, processes: Processes) -> None:
    folder = tmp_path / "relay"
    folder.mkdir()

    async def scenario(relay: RelayProcess) -> None:
        session = MemorySession(id="polls")
        async with DaemonParts(relay.url, tmp_path / "other", MemorySession()) as other:
            await until(lambda: other.link.state is LinkState.CONNECTED)
            async with DaemonParts(relay.url, tmp_path, session) as daemon:
                daemon.launch(processes.start(), processes.start())
                await until(lambda: daemon.link.state is LinkState.POLLING)
                agent_id = await until(lambda: daemon.supervisor.find(KEY).row.agent_id)
                await until(lambda: daemon.link.serves(agent_id or ""))

                message_id = await daemon.send(str(agent_id), "without a stream")

                await _proved(daemon, str(agent_id), message_id)
                assert session.message_ids == [message_id]

    (tmp_path / "other").mkdir()
    with RelayProcess(folder, AGENT_RELAY_MAX_STREAMS="1") as relay:
        asyncio.run(scenario(relay))


def test_messages_wait_for_the_relay_and_go_out_once_and_in_order(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_agentd.outbox._PATIENCE_SECONDS", 0.2)

    async def scenario() -> None:
        async with DaemonParts(own_relay.url, tmp_path, MemorySession(id="sends")) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            await asyncio.to_thread(own_relay.kill)
            for number in range(5):
                message = {"from": agent_id, "to": "operator", "body": f"text {number}"}
                sent = await daemon.outbox.submit(message, idempotency_key=f"key-{number}")
                assert sent is None
            assert daemon.store.outbox.count() == 5

            await asyncio.to_thread(own_relay.start)

            await until(lambda: daemon.store.outbox.count() == 0)
            answer = await daemon.http.get("/api/messages", params={"from": agent_id})
            bodies = [message["body"] for message in answer.json()["messages"]]
            assert bodies == [f"text {number}" for number in (4, 3, 2, 1, 0)]

    asyncio.run(scenario())


def test_queued_message_outlasts_a_relay_that_does_not_know_our_token(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_agentd.outbox._PATIENCE_SECONDS", 0.2)
    folder = tmp_path / "relay"
    folder.mkdir()
    open_relay = RelayProcess(folder)
    closed_relay = RelayProcess(folder, AGENT_RELAY_TOKEN="not-ours")
    closed_relay.port, closed_relay.url = open_relay.port, open_relay.url

    async def scenario() -> None:
        async with DaemonParts(open_relay.url, tmp_path, MemorySession(id="locked")) as daemon:
            daemon.launch(processes.start(), processes.start())
            message = {"from": await daemon.online(), "to": "operator", "body": "keep me"}
            await asyncio.to_thread(open_relay.kill)
            assert await daemon.outbox.submit(message, idempotency_key="kept") is None

            await asyncio.to_thread(closed_relay.start)
            await until(lambda: (row := daemon.store.outbox.first()) and row.attempts > 0)
            await asyncio.to_thread(closed_relay.kill)
            await asyncio.to_thread(open_relay.start)

            await until(lambda: daemon.store.outbox.count() == 0)
            answer = await daemon.http.get("/api/messages", params={"to": "operator"})
            assert [each["body"] for each in answer.json()["messages"]] == ["keep me"]

    with open_relay:
        try:
            asyncio.run(scenario())
        finally:
            closed_relay.kill()


def test_message_submitted_twice_under_one_key_is_sent_once(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="twice")) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            message = {"from": agent_id, "to": "operator", "body": "once"}

            first, second = await asyncio.gather(
                daemon.outbox.submit(message, idempotency_key="twice"),
                daemon.outbox.submit(message, idempotency_key="twice"),
            )
            third = await daemon.outbox.submit(message, idempotency_key="twice")

            assert first is not None
            assert first == second == third

    asyncio.run(scenario())


def test_refused_message_leaves_the_outbox_and_the_sender_learns_why(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="refused")) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            message = {"from": agent_id, "to": "nobody-of-that-name", "body": "x"}

            with pytest.raises(RelayRefused) as caught:
                await daemon.outbox.submit(message, idempotency_key="refused")

            assert caught.value.code == "agent_not_found"
            assert daemon.store.outbox.count() == 0

    asyncio.run(scenario())


def test_receipts_that_could_not_be_reported_are_reported_after_a_restart(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="late-receipts", way="not now")
        async with DaemonParts(own_relay.url, tmp_path, session) as first:
            first.launch(processes.start(), processes.start())
            agent_id = await first.online()
            message_id = await first.send(agent_id, "hello")
            await until(lambda: first.store.mail.waiting(KEY, 1.0))
            await asyncio.to_thread(own_relay.kill)
            session.way = "at once"
            assert session.adapter is not None
            session.adapter.port.ready()
            await until(lambda: session.message_ids == [message_id])
            await until(first.store.mail.unreported)
        await asyncio.to_thread(own_relay.start)

        async with DaemonParts(own_relay.url, tmp_path, session) as second:
            await _proved(second, agent_id, message_id)
            assert session.message_ids == [message_id]

    asyncio.run(scenario())


def test_machine_that_was_suspended_connects_anew_within_seconds(
    relay: RelayProcess, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = 0.0

    async def scenario() -> None:
        nonlocal slept
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="sleeper")) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            lost_before = daemon.link.problem

            slept = 3600.0
            await until(lambda: daemon.link.state is LinkState.CONNECTING)

            assert await daemon.online() == agent_id
            assert lost_before is None
            message_id = await daemon.send(agent_id, "good morning")
            await _proved(daemon, agent_id, message_id)

    monkeypatch.setattr("relay_agentd.relay_link._SLEEP_CHECK_SECONDS", 0.05)
    monkeypatch.setattr("relay_agentd.relay_link.boottime", lambda: monotonic() + slept)
    asyncio.run(scenario())
