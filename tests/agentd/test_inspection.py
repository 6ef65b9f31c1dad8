"""`session.inspect`: all that is known of one session, over the daemon's real parts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.errors import ControlRefused
from relay_agentd.inspection import inspect
from tests.agentd.harness import DaemonParts, Processes, until, until_async
from tests.support.memory_session import MemorySession
from tests.support.relay_process import RelayProcess


async def inspected(daemon: DaemonParts, target: str) -> dict[str, Any]:
    return await inspect(daemon.supervisor.find_called(target))


def test_a_session_is_shown_with_its_processes_mail_and_proof(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="looked-at")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            provider = processes.start()
            daemon.launch(processes.start(), provider, approval="guarded")
            agent_id = await daemon.online()
            assert (await inspected(daemon, agent_id))["delivery"]["lastProof"] is None

            await daemon.send(agent_id, "hello")
            await until(lambda: session.message_ids)
            await until(lambda: daemon.store.mail.last_proof(daemon.supervisor.sessions()[0].key))
            found = await inspected(daemon, "tester")

            assert found["session"]["agentId"] == agent_id
            assert found["session"]["state"] == "RUNNING"
            roles = {each["role"]: each["alive"] for each in found["processes"]}
            assert roles == {"launcher": True, "provider": True}
            assert found["approval"]["mode"] == "guarded"
            assert found["delivery"]["reachability"] == "push"
            assert (found["delivery"]["waiting"], found["delivery"]["onTheWay"]) == (0, 0)
            assert found["delivery"]["lastProof"]["via"] == "memory"
            assert found["relay"] == {"state": "connected", "problem": None, "serves": True}

    asyncio.run(scenario())


def test_proof_reaches_the_relay_and_registering_again_does_not_take_it_away(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="proved")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            assert (await daemon.agent(agent_id))["lastProofAt"] is None
            await daemon.send(agent_id, "hello")

            async def is_proved() -> bool:
                return (await daemon.agent(agent_id))["lastProofAt"] is not None

            await until_async(is_proved)
            proof = (await daemon.agent(agent_id))["lastProofAt"]
            daemon.link.describe(agent_id, instance=daemon.supervisor.sessions()[0].key, pid=7)

            async def is_described() -> bool:
                return bool((await daemon.agent(agent_id))["pid"] == 7)

            await until_async(is_described)
            assert (await daemon.agent(agent_id))["lastProofAt"] == proof
            assert (await daemon.agent(agent_id))["reachability"] == "push"

    asyncio.run(scenario())


def test_mail_that_cannot_get_in_is_counted(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="deaf", way="not now")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()
            await daemon.send(agent_id, "hello")
            key = daemon.supervisor.sessions()[0].key
            await until(lambda: daemon.store.mail.unseen(key) == 1)

            assert (await inspected(daemon, agent_id))["delivery"]["waiting"] == 1

    asyncio.run(scenario())


def test_an_unknown_session_is_refused(relay: RelayProcess, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession()) as daemon:
            with pytest.raises(ControlRefused, match="no session here is called 'nobody'"):
                await inspected(daemon, "nobody")

    asyncio.run(scenario())
