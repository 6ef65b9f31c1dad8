"""What is known of the ways into a Claude Code session, with real files and sockets."""

import asyncio
from pathlib import Path

import pytest

from relay_agentd.adapters.base import Outcome, WayState
from tests.claude.test_adapter import MAIL, impatient, listening
from tests.claude.world import World, running

pytestmark = pytest.mark.anyio

__all__ = ["impatient"]

SOCKET, BELL = "messaging socket", "doorbell hook"


@pytest.fixture
def anyio_backend() -> str:
    """The daemon's loop is asyncio's."""
    return "asyncio"


def states(world: World) -> dict[str, WayState]:
    return {way.name: way.state for way in world.adapter.ways()}


async def with_socket(tmp_path: Path) -> tuple[World, Path]:
    world, socket = World(tmp_path), tmp_path / "m.sock"
    world.environment["CLAUDE_CODE_MESSAGING_SOCKET"] = str(socket)
    await world.hook("SessionStart", source="startup")
    return world, socket


async def test_before_the_session_reports_there_is_no_way(tmp_path: Path) -> None:
    assert states(World(tmp_path)) == {SOCKET: WayState.ABSENT, BELL: WayState.ABSENT}


async def test_a_version_without_a_socket_has_only_the_bell(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.hook("SessionStart", source="startup")

    assert states(world) == {SOCKET: WayState.ABSENT, BELL: WayState.UNTRIED}


async def test_a_way_is_proved_by_what_came_through_it(tmp_path: Path) -> None:
    world, socket = await with_socket(tmp_path)
    assert states(world) == {SOCKET: WayState.UNTRIED, BELL: WayState.UNTRIED}

    async with listening(socket):
        assert await world.adapter.push(MAIL) is Outcome.HANDED
    await world.hook("UserPromptSubmit", prompt=MAIL.text)

    assert states(world) == {SOCKET: WayState.PROVED, BELL: WayState.UNTRIED}
    assert world.adapter.ways()[0].proved_at is not None


@pytest.mark.usefixtures("impatient")
async def test_a_way_without_proof_has_failed_until_another_conversation(tmp_path: Path) -> None:
    world, socket = await with_socket(tmp_path)
    async with running(world.adapter), listening(socket):
        await world.adapter.push(MAIL)
        world.adapter.outstanding([MAIL])
        await world.told("lost")
        assert states(world)[SOCKET] is WayState.FAILED

        assert await world.adapter.push(MAIL) is Outcome.RINGING
        world.adapter.outstanding([MAIL])
        await world.hook("UserPromptSubmit", prompt=MAIL.text)
        assert states(world) == {SOCKET: WayState.FAILED, BELL: WayState.PROVED}

        await world.hook("SessionStart", source="clear")
        assert states(world)[SOCKET] is WayState.UNTRIED


async def test_probing_opens_the_socket_and_writes_nothing(tmp_path: Path) -> None:
    world, socket = await with_socket(tmp_path)
    world.register(status="idle")
    async with listening(socket) as written:
        found = {each.name: each.ok for each in await world.adapter.probe()}
        while not written:
            await asyncio.sleep(0.01)

    assert found == {SOCKET: True, BELL: True, "registry": True, "transcript": False}
    assert written == [b""]
    assert not (world.folder / "bell").exists()
    assert {each.name: each.ok for each in await world.adapter.probe()}[SOCKET] is False
