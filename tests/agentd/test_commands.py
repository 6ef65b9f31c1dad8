"""What the relay asks of a machine is done once, within its owner's limits, whoever dies when."""

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.clock import now
from relay_agentd.errors import ControlRefused
from relay_agentd.launch_rules import allowed_arguments, allowed_folder
from relay_agentd.session_state import SessionState
from relay_agentd.settings import Settings
from relay_agentd.store.commands import CommandState
from tests.agentd.harness import KEY, DaemonParts, until
from tests.agentd.host_bench import Bench, row_of
from tests.support.host_provider import MARKER

_numbers = count(1)
Json = dict[str, Any]


@pytest.fixture
def machine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A machine of its own at the relay, on which sessions may be started below its folder."""
    monkeypatch.setenv(MARKER, bench.mark)
    bench.machine = f"box-{next(_numbers)}"
    bench.settings = Settings(url=bench.url, launch_roots=(bench.folder,))
    return bench


async def _launch(daemon: DaemonParts, machine: Bench, **fields: Any) -> Json:
    """Asked of the relay, once it knows the machine; the command."""
    wanted = {"provider": "memory", "cwd": str(machine.folder), **fields}
    path = f"/api/machines/{machine.machine}/sessions"
    answer = await daemon.http.post(path, json=wanted)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def _ended(daemon: DaemonParts, command: Json) -> Json:
    """The command once it is over."""
    answer = await daemon.http.get(
        f"/api/commands/{command['id']}", params={"wait": 10}, timeout=15
    )
    ended: Json = answer.json()
    assert ended["status"] in ("done", "failed"), ended
    return ended


async def _connected(daemon: DaemonParts) -> None:
    await until(lambda: daemon.link.state == "connected")


# --- launches ---


def test_launch_starts_a_session_as_asked_for_and_reports_its_agent(machine: Bench) -> None:
    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await _connected(daemon)

            command = await _launch(
                daemon, machine, prompt="go on", approvalMode="guarded", label="far", tags=["t"],
                args=["--model", "big"],
            )  # fmt: skip

            ended = await _ended(daemon, command)
            agent = await daemon.agent(ended["agentId"])
            assert ended["status"] == "done"
            assert (agent["approvalMode"], agent["label"], agent["tags"]) == (
                "guarded", "far", ["t"],
            )  # fmt: skip
            await until(lambda: [each.text for each in machine.session.context] == ["go on"])
            assert machine.provider.plans[0][0].arguments == ("--model", "big")
            assert len(machine.hosts()) == 1

    asyncio.run(scenario())


def test_launch_that_cannot_run_fails_with_the_reason(machine: Bench) -> None:
    machine.provider.lives = "broken"

    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await _connected(daemon)
            ended = await _ended(daemon, await _launch(daemon, machine))
            assert ended["status"] == "failed"
            assert "the host has no mind to start" in ended["detail"]

    asyncio.run(scenario())


def test_folder_that_a_link_leads_out_of_the_roots_is_refused_here(machine: Bench) -> None:
    roots = machine.folder / "roots"
    roots.mkdir()
    (roots / "way-out").symlink_to(machine.folder / "r")
    machine.settings = Settings(url=machine.url, launch_roots=(roots,))

    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await _connected(daemon)
            command = await _launch(daemon, machine, cwd=str(roots / "way-out"))
            ended = await _ended(daemon, command)
            assert ended["status"] == "failed"
            assert "AGENT_RELAY_LAUNCH_ROOTS" in ended["detail"]
            assert machine.provider.plans == []

    asyncio.run(scenario())


def test_launch_that_was_asked_for_while_the_machine_was_away_happens_once(
    machine: Bench,
) -> None:
    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await _connected(daemon)
        async with machine.daemon() as daemon:
            # Not yet connected: the relay may keep it, or tell it at once, or both.
            command = await _launch(daemon, machine)
            ended = await _ended(daemon, command)
            assert ended["status"] == "done"
            assert len(machine.hosts()) == len(machine.provider.plans) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "died",
    ["heard", "accepted", "ours", "session written", "session runs", "done"],
)
def test_daemon_that_dies_between_two_writes_of_a_launch_neither_doubles_nor_loses_it(
    machine: Bench, died: str
) -> None:
    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await _connected(daemon)
            daemon.supervisor.on_command = lambda _: None
            command = await _launch(daemon, machine)
            path = f"/api/commands/{command['id']}"
            row = daemon.store.commands.hear(command, KEY, now())
            if died != "heard":
                accepted = {"status": "accepted", "detail": f"taken as {KEY}"}
                (await daemon.http.patch(path, json=accepted)).raise_for_status()
            if died not in ("heard", "accepted"):
                row = daemon.store.commands.change(row, state=CommandState.OURS)
            if died in ("session runs", "done"):
                await daemon.start_background()
            if died == "session written":
                starting = asyncio.create_task(daemon.start_background())
                await until(lambda: daemon.store.sessions.find(KEY))
                starting.cancel()
            if died == "done":
                agent_id = row_of(daemon).agent_id
                daemon.store.commands.change(row, state=CommandState.DONE, agent_id=agent_id)
        async with machine.daemon() as daemon:
            ended = await _ended(daemon, command)
            assert ended["status"] == "done"
            assert ended["agentId"] == row_of(daemon).agent_id
            assert len(daemon.supervisor.sessions()) == 1
            await until(lambda: row_of(daemon).state is SessionState.RUNNING)
            assert len(machine.hosts()) == 1

    asyncio.run(scenario())


def test_command_that_another_daemon_took_is_left_to_it(machine: Bench) -> None:
    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await _connected(daemon)
            daemon.supervisor.on_command = lambda _: None
            command = await _launch(daemon, machine)
            taken = {"status": "accepted", "detail": "taken as 00000000000000ff"}
            path = f"/api/commands/{command['id']}"
            (await daemon.http.patch(path, json=taken)).raise_for_status()

            daemon.commands.commanded(command)

            def state() -> CommandState | None:
                row = daemon.store.commands.find(command["id"])
                return row.state if row else None

            await until(lambda: state() is CommandState.FOREIGN)
            assert machine.provider.plans == []

    asyncio.run(scenario())


def test_command_of_a_relay_that_was_set_up_anew_is_another_one(machine: Bench) -> None:
    async def scenario() -> None:
        async with machine.daemon() as daemon:
            old = {"id": 7, "kind": "launch", "createdAt": "2026-01-01T00:00:00.000Z", "input": {}}
            row = daemon.store.commands.hear(old, KEY, now())
            daemon.store.commands.change(row, state=CommandState.DONE, is_reported=True)

            again = daemon.store.commands.hear(old, "other", now())
            new = daemon.store.commands.hear({**old, "createdAt": "2026-02-02"}, "new", now())

            assert (again.state, again.session_key) == (CommandState.DONE, KEY)
            assert (new.state, new.session_key) == (CommandState.HEARD, "new")

    asyncio.run(scenario())


# --- stop and logs ---


def test_stop_from_the_relay_ends_the_session_and_again_is_harmless(machine: Bench) -> None:
    async def scenario() -> None:
        async with machine.daemon() as daemon:
            await daemon.start_background()
            agent_id = await daemon.online()
            for force in (True, False):
                path = f"/api/agents/{agent_id}/stop"
                asked = await daemon.http.post(path, json={"force": force})
                assert (await _ended(daemon, asked.json()))["status"] == "done"
            assert row_of(daemon).state is SessionState.EXITED

    asyncio.run(scenario())


def test_logs_are_answered_from_the_record_fit_for_a_terminal_also_after_the_end(
    machine: Bench, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    record.write_text("one\ntwo\nthr\x1b[2Jee\n")

    async def scenario() -> None:
        async with machine.daemon() as daemon:
            session = await daemon.start_background()
            agent_id = await daemon.online()
            session.records(record)
            for is_over in (False, True):
                if is_over:
                    await daemon.supervisor.stop_session(KEY, force=True)
                path = f"/api/agents/{agent_id}/logs"
                answer = await daemon.http.get(path, params={"lines": 2}, timeout=10)
                assert answer.status_code == 200, answer.text
                lines = answer.json()["lines"]
                assert [line.split()[-1] for line in lines] == ["two", "thr<U+001B>[2Jee"]

    asyncio.run(scenario())


# --- the owner's limits ---


def test_arguments_from_the_relay_choose_a_model_and_nothing_else() -> None:
    assert allowed_arguments(["--model", "m", "--effort=low"]) == ["--model", "m", "--effort=low"]
    for forbidden in (
        ["--yolo"],
        ["-c", "approval_policy=never"],
        ["--dangerously-skip-permissions"],
        ["--model", "--yolo"],
        ["--model"],
        ["a prompt"],
        ["--model", "m", "--settings", "{}"],
    ):
        with pytest.raises(ControlRefused):
            allowed_arguments(forbidden)


def test_folders_are_allowed_below_a_root_and_nowhere_else(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-and-more"
    (root / "project").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file").write_text("")
    (tmp_path / "link-to-root").symlink_to(root)

    assert allowed_folder(str(root), [root]) == root
    assert allowed_folder(str(root / "project"), [root]) == root / "project"
    assert allowed_folder(str(root / "project"), [tmp_path / "link-to-root"]) == root / "project"
    for cwd in (
        outside,
        root / "link",
        root / ".." / "root-and-more",
        root / "gone",
        root / "file",
    ):
        with pytest.raises(ControlRefused):
            allowed_folder(str(cwd), [root])
    with pytest.raises(ControlRefused, match="AGENT_RELAY_LAUNCH_ROOTS"):
        allowed_folder(str(root), [])
