"""What becomes of background sessions when the daemon ends, the machine, or somebody stops them."""

import asyncio
import os
import shutil
import signal
import socket

import pytest

from relay_agentd.background import HostFailed, Patience
from relay_agentd.clock import now
from relay_agentd.process import ProcessId
from relay_agentd.session_request import OpenRequest
from relay_agentd.session_state import SessionState
from relay_agentd.spawn import spawn_detached
from relay_agentd.store.sessions import SessionKind, SessionRow
from relay_launchers.base import SESSION_VARIABLE
from tests.agentd.harness import KEY, until
from tests.agentd.host_bench import QUICK, Bench, pid_of, row_of, until_state
from tests.support.host_provider import MARKER
from tests.support.processes import end_all, expect_none


def test_host_outlives_the_daemon_and_the_next_one_takes_it_over(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
            host = pid_of(daemon)
        async with bench.daemon() as daemon:
            assert await daemon.online() == agent_id
            message = await daemon.send(agent_id, "still there?")
            await until(lambda: bench.session.message_ids == [message])
            assert bench.hosts() == [host] == [pid_of(daemon)]
            # What only the host knew of the person's environment is there at the next start.
            os.kill(host, signal.SIGKILL)
            await until(lambda: len(bench.provider.plans) == 2)
            await until_state(daemon, SessionState.RUNNING)
            assert bench.hosts() == [pid_of(daemon)]

    asyncio.run(scenario())


def test_reboot_goes_on_with_the_same_conversation_under_the_same_id(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the environment of the daemon's service would hold.
    monkeypatch.setenv(MARKER, bench.mark)

    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
        end_all(MARKER, bench.mark)
        expect_none(MARKER, bench.mark)
        shutil.rmtree(bench.folder / "r")
        async with bench.daemon() as daemon:
            assert await daemon.online() == agent_id
            await until_state(daemon, SessionState.RUNNING)
            assert bench.hosts() == [pid_of(daemon)]
            assert [resume for _, resume in bench.provider.plans] == [None, bench.session.id]
            assert row_of(daemon).restarts == 0

    asyncio.run(scenario())


def test_host_that_nobody_wrote_down_is_ended_before_another_is_started(bench: Bench) -> None:
    """The daemon died between the start and the row."""

    async def scenario() -> None:
        async with bench.daemon() as daemon:
            described = {
                "key": KEY, "provider": "memory", "cwd": str(bench.folder), "approval": "open",
            }  # fmt: skip
            request = OpenRequest.parse(described, None, SessionKind.BACKGROUND)
            daemon.store.sessions.add(request.row(now()))
            folder = daemon.paths.session_folder(KEY)
            folder.mkdir(mode=0o700)
        stray = spawn_detached(
            ("sh", "-c", f": {folder}/h.sock; sleep 60; true"),
            {**os.environ, **bench.environment, SESSION_VARIABLE: KEY},
            folder / "host.log",
        )
        stray_id = ProcessId.of(stray.pid)
        assert stray_id is not None
        async with bench.daemon() as daemon:
            await until_state(daemon, SessionState.RUNNING)
            await daemon.online()
            assert not stray_id.is_alive()
            assert len(bench.provider.plans) == 1
            await daemon.supervisor.stop_session(KEY, force=True)

    asyncio.run(scenario())


# --- the end ---


@pytest.mark.parametrize("force", [False, True])
def test_stop_ends_a_running_session_for_good(bench: Bench, force: bool) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()

            await daemon.supervisor.stop_session(agent_id, force=force)

            assert row_of(daemon).state is SessionState.EXITED
            assert (await daemon.agent(agent_id))["status"] == "offline"
            assert not daemon.paths.session_folder(KEY).exists()
            assert len(bench.provider.plans) == 1
        async with bench.daemon() as daemon:
            assert not daemon.supervisor.sessions()
        expect_none(MARKER, bench.mark)

    asyncio.run(scenario())


def test_stop_ends_a_session_that_waits_for_its_next_start(bench: Bench) -> None:
    patience = Patience(first_pause=60.0)

    async def scenario() -> None:
        async with bench.daemon(patience) as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
            os.kill(pid_of(daemon), signal.SIGKILL)
            await until_state(daemon, SessionState.BACKOFF)

            await daemon.supervisor.stop_session(agent_id, force=False)

            assert row_of(daemon).state is SessionState.EXITED
            assert len(bench.provider.plans) == 1

    asyncio.run(scenario())


def test_stop_ends_a_session_that_is_being_started(bench: Bench) -> None:
    bench.provider.lives = "deaf"

    async def scenario() -> None:
        async with bench.daemon(Patience(ready=30.0)) as daemon:
            starting = asyncio.create_task(daemon.start_background(environment=bench.environment))
            await until(bench.hosts)

            await daemon.supervisor.stop_session(KEY, force=False)

            with pytest.raises(HostFailed, match="stopped"):
                await starting
            assert row_of(daemon).state is SessionState.EXITED
        expect_none(MARKER, bench.mark)

    asyncio.run(scenario())


def test_daemon_that_dies_in_a_pause_goes_on_with_it(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon(Patience(first_pause=60.0)) as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
            os.kill(pid_of(daemon), signal.SIGKILL)
            await until_state(daemon, SessionState.BACKOFF)
        # The clock may have jumped meanwhile: no pause is longer than the longest.
        async with bench.daemon(QUICK) as daemon:
            assert await daemon.online() == agent_id
            await until_state(daemon, SessionState.RUNNING)
            await daemon.supervisor.stop_session(agent_id, force=False)

    asyncio.run(scenario())


def test_socket_of_a_host_can_be_reached(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            session = await daemon.start_background(environment=bench.environment)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(session.row.helper_socket))

    asyncio.run(scenario())


def test_environment_is_known_as_soon_as_the_session_is_written_down(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            written: list[SessionRow] = []
            add = daemon.store.sessions.add

            def add_and_keep(row: SessionRow) -> None:
                add(row)
                written.append(row)

            daemon.store.sessions.add = add_and_keep  # type: ignore[method-assign]
            await daemon.start_background(environment={**bench.environment, "CODEX_HOME": "/c"})

            assert [row.environment["CODEX_HOME"] for row in written] == ["/c"]

    asyncio.run(scenario())
