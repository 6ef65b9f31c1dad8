"""Background sessions: real hosts, a real relay; whatever dies, the conversation goes on once."""

import asyncio
import os
import signal
from typing import Any

import pytest

from relay_agentd.background import HostFailed, Patience
from relay_agentd.errors import ControlRefused
from relay_agentd.session_state import SessionState
from relay_launchers.base import CONTROL_VARIABLE, FOLDER_VARIABLE, SESSION_VARIABLE
from tests.agentd.harness import KEY, until, until_async
from tests.agentd.host_bench import QUICK, Bench, pid_of, row_of, until_state
from tests.support.host_provider import MARKER, TIRED
from tests.support.memory_session import How
from tests.support.processes import expect_none, marked

# --- the start ---


def test_background_session_runs_in_its_folder_and_is_on_the_relay(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            session = await daemon.start_background(environment=bench.environment, label="bg")
            agent_id = await daemon.online()

            agent = await daemon.agent(agent_id)
            assert agent["status"] == "idle"
            assert agent["pid"] == pid_of(daemon)
            assert bench.hosts() == [pid_of(daemon)]
            assert session.row.provider_version == "7"
            assert (session.folder / "plan.txt").read_text() == "open"
            assert os.getsid(pid_of(daemon)) == pid_of(daemon)

    asyncio.run(scenario())


def test_the_same_key_again_is_the_same_session(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            first, second = await asyncio.gather(
                daemon.start_background(environment=bench.environment),
                daemon.start_background(environment=bench.environment),
            )

            assert first is second
            assert len(bench.hosts()) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"lives": "broken"}, "the host has no mind to start"),
        ({"lives": "deaf"}, "was not ready in time"),
        ({"is_missing": True}, "install it"),
        ({"arguments": ["--nonsense"]}, "makes no sense"),
        ({"cwd": "/nowhere/at/all"}, "there is no folder /nowhere/at/all"),
    ],
)
def test_session_that_cannot_be_started_says_why_and_leaves_nothing(
    bench: Bench, spoil: dict[str, Any], said: str
) -> None:
    fields = {name: spoil.pop(name) for name in ("arguments", "cwd") if name in spoil}
    for name, value in spoil.items():
        setattr(bench.provider, name, value)
    # Who waits for a host that never listens waits all of it.
    patience = Patience(ready=1.0) if bench.provider.lives == "deaf" else QUICK

    async def scenario() -> None:
        async with bench.daemon(patience) as daemon:
            with pytest.raises(HostFailed, match=said):
                await daemon.start_background(environment=bench.environment, **fields)

            await until_state(daemon, SessionState.EXITED)
            assert said in (row_of(daemon).problem or "")
            assert not daemon.paths.session_folder(KEY).exists()
            assert not daemon.supervisor.sessions()
            with pytest.raises(ControlRefused, match=said):
                await daemon.start_background(environment=bench.environment, **fields)
        expect_none(MARKER, bench.mark)

    asyncio.run(scenario())


def test_host_gets_the_users_environment_and_no_secret_of_ours_and_nothing_is_written_down(
    bench: Bench,
) -> None:
    secret = "sk-the-persons-own-key"
    given = {
        **bench.environment,
        "PROVIDER_KEY": secret,
        "AGENT_RELAY_TOKEN": "relay-token-of-the-daemon",
        SESSION_VARIABLE: "another",
        "CODEX_HOME": "/somewhere",
    }

    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=given)

            environ = marked(MARKER, bench.mark)[0].environ()
            assert environ["PROVIDER_KEY"] == secret
            assert environ[SESSION_VARIABLE] == KEY
            assert environ[FOLDER_VARIABLE] == str(daemon.paths.session_folder(KEY))
            assert CONTROL_VARIABLE in environ
            assert "AGENT_RELAY_TOKEN" not in environ
            assert row_of(daemon).environment["CODEX_HOME"] == "/somewhere"

    asyncio.run(scenario())
    written = [file for file in bench.folder.rglob("*") if file.is_file()]
    assert written
    for file in written:
        assert secret.encode() not in file.read_bytes(), file
        assert b"relay-token-of-the-daemon" not in file.read_bytes(), file


# --- the first prompt ---


@pytest.mark.parametrize("way", ["at once", "not now", "breaks before", "breaks after"])
def test_first_prompt_enters_once_as_the_user_wrote_it_and_before_any_mail(
    bench: Bench, way: How
) -> None:
    bench.session.way = way

    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment, prompt="fix the build")
            agent_id = await daemon.online()
            message = await daemon.send(agent_id, "and now?")
            bench.session.way = "at once" if way == "not now" else bench.session.way
            if way == "not now":
                assert bench.session.adapter is not None
                bench.session.adapter.port.ready()

            await until(lambda: bench.session.message_ids == [message])
            await until(lambda: row_of(daemon).prompt is None)
            texts = [each.text for each in bench.session.context]
            assert texts[0] == "fix the build"
            assert [text for text in texts if "fix the build" in text] == ["fix the build"]
            assert bench.session.context[0].id == f"p-{KEY}"

    asyncio.run(scenario())


@pytest.mark.parametrize("is_in_context", [False, True])
def test_first_prompt_survives_the_death_of_the_daemon_while_it_is_handed_over(
    bench: Bench, is_in_context: bool
) -> None:
    bench.session.proves = False
    bench.session.way = "breaks after" if is_in_context else "not now"

    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment, prompt="once, please")
            await until(lambda: daemon.store.mail.find_delivery(f"p-{KEY}"))
            if is_in_context:
                await until(lambda: bench.session.context)
        bench.session.proves, bench.session.way = True, "at once"
        async with bench.daemon() as daemon:
            await until(lambda: row_of(daemon).prompt is None)
            agent_id = await daemon.online()
            message = await daemon.send(agent_id, "later")
            await until(lambda: bench.session.message_ids == [message])
            texts = [each.text for each in bench.session.context]
            assert texts.count("once, please") == 1

    asyncio.run(scenario())


# --- deaths ---


def test_killed_host_is_offline_at_once(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon(Patience(first_pause=60.0)) as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()

            os.kill(pid_of(daemon), signal.SIGKILL)
            await until_state(daemon, SessionState.BACKOFF)

            async def is_offline() -> bool:
                return bool((await daemon.agent(agent_id))["status"] == "offline")

            await until_async(is_offline, within=5.0)
            assert "ended" in (row_of(daemon).problem or "")
            await daemon.supervisor.stop_session(agent_id, force=False)

    asyncio.run(scenario())


def test_killed_host_goes_on_with_the_same_conversation_under_the_same_id(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
            before = pid_of(daemon)

            os.kill(before, signal.SIGKILL)
            await until(lambda: row_of(daemon).restarts == 1)
            message = await daemon.send(agent_id, "while you were away")
            await until(lambda: bench.session.message_ids == [message])

            assert await daemon.online() == agent_id
            assert bench.hosts() == [pid_of(daemon)] != [before]
            assert [resume for _, resume in bench.provider.plans] == [None, bench.session.id]
            assert (row_of(daemon).restarts, row_of(daemon).problem) == (1, None)
            assert (await daemon.agent(agent_id))["epoch"] == 1

    asyncio.run(scenario())


def test_host_that_dies_again_and_again_is_given_up_and_listed_until_it_is_stopped(
    bench: Bench,
) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
            for starts in range(1, QUICK.quick_deaths + 2):
                while len(bench.provider.plans) < starts:
                    await asyncio.sleep(0.01)
                await until_state(daemon, SessionState.RUNNING)
                os.kill(pid_of(daemon), TIRED)

            await until_state(daemon, SessionState.FATAL)

            assert len(bench.provider.plans) == QUICK.quick_deaths + 1
            assert "the host is tired" in (row_of(daemon).problem or "")
            assert [row.key for row in daemon.supervisor.given_up()] == [KEY]
            assert not daemon.paths.session_folder(KEY).exists()
            assert (await daemon.agent(agent_id))["status"] == "offline"
        async with bench.daemon() as daemon:
            assert [row.key for row in daemon.supervisor.given_up()] == [KEY]
            await daemon.supervisor.stop_session(agent_id, force=False)
            assert daemon.supervisor.given_up() == []
        expect_none(MARKER, bench.mark)

    asyncio.run(scenario())


def test_good_run_makes_earlier_deaths_forgotten(bench: Bench) -> None:
    patience = Patience(first_pause=0.05, quick_deaths=3, good_run=0.3)

    async def scenario() -> None:
        async with bench.daemon(patience) as daemon:
            await daemon.start_background(environment=bench.environment)
            await daemon.online()
            os.kill(pid_of(daemon), signal.SIGKILL)
            await until(lambda: row_of(daemon).restarts == 1)

            await until(lambda: row_of(daemon).restarts == 0)

            assert row_of(daemon).state is SessionState.RUNNING

    asyncio.run(scenario())


def test_start_after_a_death_is_as_strict_as_the_relay_made_it(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.daemon() as daemon:
            session = await daemon.start_background(environment=bench.environment)
            agent_id = await daemon.online()
            change = await daemon.http.patch(
                f"/api/agents/{agent_id}", json={"approvalMode": "read-only"}
            )
            change.raise_for_status()
            await until(lambda: session.approval == "read-only")

            os.kill(pid_of(daemon), signal.SIGKILL)

            await until(lambda: len(bench.provider.plans) == 2)
            assert [request.approval for request, _ in bench.provider.plans] == [
                "open",
                "read-only",
            ]

    asyncio.run(scenario())
