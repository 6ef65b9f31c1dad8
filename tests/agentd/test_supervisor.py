"""Sessions with real processes and a real relay: whatever dies, the rest goes; a daemon may."""

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relay_agentd.errors import ControlRefused
from relay_agentd.relay_stream import LinkState
from relay_agentd.session_state import SessionState
from relay_agentd.store.sessions import SessionRow
from relay_launchers.base import SESSION_VARIABLE
from relay_server.wire import ApprovalMode
from tests.agentd.harness import (
    KEY,
    OTHER_KEY,
    DaemonParts,
    Processes,
    identity,
    until,
    until_async,
)
from tests.support.memory_session import MemorySession
from tests.support.relay_process import RelayProcess


async def _ended(daemon: DaemonParts, agent_id: str) -> None:
    """The session is gone, here and at the relay."""

    def is_closed() -> bool:
        row = daemon.store.sessions.find(KEY)
        return row is not None and row.state is SessionState.EXITED

    await until(is_closed, within=5.0)
    assert not daemon.paths.session_folder(KEY).exists()
    assert not daemon.supervisor.sessions()
    assert (await daemon.agent(agent_id))["status"] == "offline"


@pytest.mark.parametrize("victim", ["launcher", "provider", "helper"])
def test_death_of_any_process_ends_the_session(
    relay: RelayProcess, processes: Processes, tmp_path: Path, victim: str
) -> None:
    async def scenario() -> None:
        session = MemorySession(id=f"dies-{victim}")
        parts = {role: processes.start() for role in ("launcher", "helper", "provider")}
        async with DaemonParts(relay.url, tmp_path, session, needs_helper=True) as daemon:
            daemon.launch(parts["launcher"], parts["provider"], parts["helper"])
            agent_id = await daemon.online()
            assert (await daemon.agent(agent_id))["status"] == "idle"

            parts[victim].kill()

            await _ended(daemon, agent_id)
        assert parts["provider"].wait(1) != 0
        assert parts["helper"].wait(1) != 0
        if victim != "launcher":
            assert parts["launcher"].poll() is None

    asyncio.run(scenario())


def test_launcher_that_closes_the_session_waits_until_all_is_gone(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="closes")) as daemon:
            provider = processes.start()
            daemon.launch(processes.start(), provider)
            agent_id = await daemon.online()
            provider.terminate()
            provider.wait()

            await daemon.supervisor.closed(KEY, 143)

            await _ended(daemon, agent_id)
            row = daemon.store.sessions.find(KEY)
            assert row is not None

    asyncio.run(scenario())


STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_conversation_that_becomes_known_while_its_session_ends_does_not_join(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="too-late")
        async with DaemonParts(relay.url, tmp_path, session, needs_helper=True) as daemon:
            launcher = processes.start()
            ready = tmp_path / "ready"
            provider = processes.start(sys.executable, "-c", STUBBORN, str(ready))
            ending = daemon.launch(launcher, provider)
            await until(lambda: ready.exists() and daemon.link.state is LinkState.CONNECTED)

            launcher.kill()
            await until(lambda: ending.row.state is SessionState.STOPPING)
            ending.opened("too-late", cwd=tmp_path)
            await until(lambda: ending.row.state is SessionState.EXITED)

            agents = (await daemon.http.get("/api/agents")).json()["agents"]
            assert [agent for agent in agents if agent["sessionId"] == "too-late"] == []

    asyncio.run(scenario())


def test_provider_that_ignores_term_is_gone_within_five_seconds(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="stubborn")) as daemon:
            launcher = processes.start()
            ready = tmp_path / "ready"
            daemon.launch(launcher, processes.start(sys.executable, "-c", STUBBORN, str(ready)))
            agent_id = await daemon.online()
            await until(ready.exists)

            launcher.kill()

            await _ended(daemon, agent_id)

    asyncio.run(scenario())


def test_pipe_that_a_dead_session_left_is_ended_and_a_persons_own_program_is_not(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    pipe = tmp_path / "mcp_pipe.py"
    pipe.write_text("import time\ntime.sleep(60)\n")

    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="leaves")) as daemon:
            provider = processes.start()
            left = processes.start(sys.executable, str(pipe), **{SESSION_VARIABLE: KEY})
            own = processes.start(**{SESSION_VARIABLE: KEY})
            daemon.launch(processes.start(), provider)
            agent_id = await daemon.online()

            provider.kill()

            await _ended(daemon, agent_id)
            assert left.wait(1) != 0
            assert own.poll() is None

    asyncio.run(scenario())


def test_launcher_that_hangs_up_before_it_started_anything_ends_the_session(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession()) as daemon:
            folder = daemon.supervisor.open(daemon.request(processes.start()))
            assert folder.is_dir()

            daemon.supervisor.hung_up(KEY)

            await until(lambda: not daemon.supervisor.sessions(), within=5.0)
            assert not folder.exists()

    asyncio.run(scenario())


def test_restarted_daemon_takes_a_running_session_over_and_delivers_to_it(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="taken-over")
        launcher, provider = processes.start(), processes.start()
        async with DaemonParts(relay.url, tmp_path, session) as first:
            first.launch(launcher, provider)
            agent_id = await first.online()
        message_id = await _send_without_daemon(relay, agent_id)

        async with DaemonParts(relay.url, tmp_path, session) as second:
            request = second.request(launcher)
            told = {"sessionId": None, "providerProcess": identity(provider)}
            second.supervisor.attach(request, told)

            await until(lambda: session.message_ids == [message_id])
            assert second.supervisor.find(KEY).row.state is SessionState.RUNNING
            assert provider.poll() is None

    asyncio.run(scenario())


async def _send_without_daemon(relay: RelayProcess, agent_id: str) -> int:
    import httpx

    async with httpx.AsyncClient(base_url=relay.url, trust_env=False) as http:
        message = {"from": "operator", "to": agent_id, "body": "while you were away"}
        return int((await http.post("/api/messages", json=message)).json()["id"])


def test_session_that_died_while_no_daemon_ran_is_finished_by_the_next(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="dies-alone")
        launcher, provider = processes.start(), processes.start()
        async with DaemonParts(relay.url, tmp_path, session) as first:
            first.launch(launcher, provider)
            agent_id = await first.online()
        launcher.kill()
        launcher.wait()

        async with DaemonParts(relay.url, tmp_path, session) as second:
            await _ended(second, agent_id)
        assert provider.wait(1) != 0

    asyncio.run(scenario())


def test_folder_that_belongs_to_no_session_is_removed_at_start(
    relay: RelayProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        daemon = DaemonParts(relay.url, tmp_path, MemorySession())
        orphan = daemon.paths.session_folder(OTHER_KEY)
        orphan.mkdir(parents=True)
        (orphan / "x").write_text("x")
        async with daemon:
            assert not orphan.exists()

    asyncio.run(scenario())


def test_new_conversation_takes_over_label_tags_and_undelivered_mail(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="before-clear", way="not now")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            before = await daemon.online()
            message_id = await daemon.send(before, "for whoever comes")
            await until(lambda: daemon.store.mail.waiting(KEY, 1.0))

            session.id, session.way = "after-clear", "at once"
            assert session.adapter is not None
            session.adapter.open()

            after = await daemon.online()
            assert after != before
            await until(lambda: session.message_ids == [message_id])
            told = await daemon.agent(after)
            assert (told["label"], told["tags"]) == ("tester", ["team"])

            async def is_offline() -> bool:
                return bool((await daemon.agent(before))["status"] == "offline")

            await until_async(is_offline)

            async def is_proved() -> bool:
                return bool((await daemon.receipt(message_id, before))["inContextAt"])

            await until_async(is_proved)

    asyncio.run(scenario())


def test_mail_that_a_session_did_not_see_waits_for_its_resume_under_the_same_id(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="resumed", way="not now")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            first_id = await daemon.online()
            message_id = await daemon.send(first_id, "later then")
            await until(lambda: daemon.store.mail.waiting(KEY, 1.0))
            await daemon.supervisor.closed(KEY, 0)

            session.way = "at once"
            daemon.launch(processes.start(), processes.start(), key=OTHER_KEY)

            assert await daemon.online(OTHER_KEY) == first_id
            await until(lambda: session.message_ids == [message_id])

    asyncio.run(scenario())


def test_mode_tightened_at_the_relay_reaches_the_sessions_gate(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="gated")) as daemon:
            daemon.launch(processes.start(), processes.start(), approval="guarded")
            agent_id = await daemon.online()
            mode = daemon.paths.session_folder(KEY) / "mode"

            await daemon.http.patch(f"/api/agents/{agent_id}", json={"approvalMode": "read-only"})
            await until(lambda: mode.exists() and mode.read_text() == "read-only")

            # Looser than the launch asked for is for the person at the terminal alone.
            await daemon.http.patch(f"/api/agents/{agent_id}", json={"approvalMode": "open"})
            await until(lambda: mode.read_text() == "guarded")

    asyncio.run(scenario())


def test_session_is_stopped_by_its_label(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="stopped")) as daemon:
            provider = processes.start()
            daemon.launch(processes.start(), provider)
            agent_id = await daemon.online()

            with pytest.raises(ControlRefused, match="nobody"):
                await daemon.supervisor.stop_session("nobody", force=False)
            await daemon.supervisor.stop_session("Tester", force=False)

            await _ended(daemon, agent_id)
            assert provider.wait(1) == -15

    asyncio.run(scenario())


def test_session_is_told_who_it_is(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="told")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            daemon.launch(processes.start(), processes.start())
            agent_id = await daemon.online()

        assert agent_id in session.introduction
        assert relay.url in session.introduction

    asyncio.run(scenario())


def test_joined_session_is_never_half_written_down(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="joined")
        daemon = DaemonParts(relay.url, tmp_path, session)
        await daemon.supervisor.start()
        person = processes.start()
        watched: list[SessionRow | None] = []
        add = daemon.store.sessions.add

        def add_and_look(row: SessionRow) -> None:
            add(row)
            watched.append(daemon.store.sessions.find(row.key))

        daemon.store.sessions.add = add_and_look  # type: ignore[method-assign]
        daemon.join(person)
        await daemon.die()

        (first,) = watched
        assert first is not None
        assert first.state is SessionState.RUNNING
        assert first.provider_process is not None
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            agent_id = await daemon.online()
            person.kill()
            await _ended(daemon, agent_id)

    asyncio.run(scenario())


def test_mode_that_was_tightened_as_the_daemon_died_is_the_gates_too(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="tightened")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            tightened = daemon.launch(processes.start(), processes.start())
            await daemon.online()
            # Written down, and not yet told to the gate.
            tightened.change(relay_approval=ApprovalMode.READ_ONLY)
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            assert (daemon.supervisor.find(KEY).folder / "mode").read_text() == "read-only"

    asyncio.run(scenario())


def test_session_whose_folder_cannot_be_made_keeps_no_daemon_from_starting(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        session = MemorySession(id="no-folder")
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            folder = daemon.launch(processes.start(), processes.start()).folder
            await daemon.online()
        shutil.rmtree(folder)
        folder.touch()
        async with DaemonParts(relay.url, tmp_path, session) as daemon:
            agent_id = await daemon.online()
            message = await daemon.send(agent_id, "still there?")
            await until(lambda: session.message_ids == [message])

    asyncio.run(scenario())


def test_name_of_two_sessions_stops_neither(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with DaemonParts(relay.url, tmp_path, MemorySession(id="named")) as daemon:
            given_up = replace(
                daemon.request(processes.start(), key=OTHER_KEY).row(1.0), state=SessionState.FATAL
            )
            daemon.store.sessions.add(given_up)
            daemon.launch(processes.start(), processes.start())

            with pytest.raises(ControlRefused, match="several sessions are called 'Tester'"):
                await daemon.supervisor.stop_session("Tester", force=False)

            await daemon.supervisor.stop_session(OTHER_KEY, force=False)
            assert daemon.supervisor.given_up() == []
            assert len(daemon.supervisor.sessions()) == 1

    asyncio.run(scenario())
