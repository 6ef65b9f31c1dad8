"""The courier's decisions one by one: bell, urgent mail, batches, what is lost or late."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from relay_agentd.adapters.base import Delivery, Outcome
from relay_server.wire import Priority
from tests.agentd.harness import KEY, DaemonParts, Processes, until
from tests.support.memory_session import MemorySession

NOWHERE = "http://127.0.0.1:1"

Scenario = Callable[[DaemonParts, MemorySession], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, processes: Processes) -> Callable[[MemorySession, Scenario], None]:
    """Plays a scenario in a running session; the relay is away, mail is put into the inbox."""

    def _play(session: MemorySession, scenario: Scenario) -> None:
        async def main() -> None:
            async with DaemonParts(NOWHERE, tmp_path, session) as daemon:
                daemon.launch(processes.start(), processes.start())
                await until(lambda: daemon.supervisor.find(KEY).row.agent_id)
                await scenario(daemon, session)

        asyncio.run(main())

    return _play


def _mail(daemon: DaemonParts, *numbers: int, priority: Priority = Priority.NORMAL) -> None:
    agent_id = daemon.supervisor.find(KEY).row.agent_id
    assert agent_id is not None
    for number in numbers:
        message = {"id": number, "from": "operator", "to": agent_id, "body": f"text {number}"}
        daemon.supervisor.mail(agent_id, {**message, "priority": priority.value})


def _enter(session: MemorySession, text: str, *numbers: int) -> None:
    session.enter(Delivery(id="by-bell", message_ids=numbers, text=text, priority=Priority.NORMAL))


def test_mail_that_comes_while_a_delivery_is_unproved_travels_as_one_batch(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        _mail(daemon, 1)
        await until(lambda: session.context)
        _mail(daemon, 2, 3, 4)
        await asyncio.sleep(0)
        assert len(session.context) == 1

        session.proves = True
        assert session.adapter is not None
        session.adapter.changed.set()

        await until(lambda: len(session.context) == 2)
        assert [each.message_ids for each in session.context] == [(1,), (2, 3, 4)]

    play(MemorySession(proves=False), scenario)


def test_urgent_mail_overtakes_a_delivery_that_lacks_proof(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        _mail(daemon, 1)
        await until(lambda: session.context)
        _mail(daemon, 2)
        _mail(daemon, 3, priority=Priority.URGENT)

        await until(lambda: len(session.context) == 2)
        assert session.context[1].message_ids == (3,)
        assert session.context[1].priority is Priority.URGENT

    play(MemorySession(proves=False), scenario)


def test_bell_gets_all_that_waits_when_it_is_answered(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        courier = daemon.supervisor.find(KEY).courier
        assert courier is not None
        assert session.adapter is not None
        _mail(daemon, 1)
        await until(lambda: session.adapter and session.adapter.rings)
        _mail(daemon, 2)

        text = await courier.answer_bell()

        assert text is not None
        assert "[msg:1]" in text
        assert "[msg:2]" in text
        assert await courier.answer_bell() is None
        _enter(session, text, 1, 2)
        await until(lambda: not daemon.store.mail.open_deliveries(KEY))

    play(MemorySession(way="bell"), scenario)


def test_bell_that_rings_for_nothing_gets_nothing(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        courier = daemon.supervisor.find(KEY).courier
        assert courier is not None

        assert await courier.answer_bell() is None

    play(MemorySession(way="bell"), scenario)


def test_lost_delivery_is_offered_again(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        _mail(daemon, 1)
        await until(lambda: session.context)
        lost = session.context.pop()
        assert session.adapter is not None

        session.adapter.port.lost(lost.id)

        await until(lambda: session.context)
        assert session.context[0].id != lost.id
        assert session.message_ids == [1]

    play(MemorySession(proves=False), scenario)


def test_proof_of_a_delivery_that_was_never_made_changes_nothing(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        _mail(daemon, 1)
        await until(lambda: session.context)
        assert session.adapter is not None

        session.adapter.port.proved("d-0000000000000000", via="nothing")

        assert len(daemon.store.mail.open_deliveries(KEY)) == 1

    play(MemorySession(proves=False), scenario)


def test_push_that_raises_is_a_delivery_in_doubt_and_not_the_end(
    play: Callable[[MemorySession, Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        adapter = session.adapter
        assert adapter is not None
        real = adapter.push

        async def fail_once(delivery: Delivery) -> None:
            monkeypatch.setattr(adapter, "push", real)
            raise RuntimeError("a mistake")

        monkeypatch.setattr(adapter, "push", fail_once)
        _mail(daemon, 1)

        await until(lambda: session.message_ids == [1])

    play(MemorySession(), scenario)


def test_session_that_becomes_ready_while_it_refuses_is_tried_again_soon(
    play: Callable[[MemorySession, Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        adapter = session.adapter
        assert adapter is not None
        real = adapter.push

        async def refuse_once(delivery: Delivery) -> Outcome:
            monkeypatch.setattr(adapter, "push", real)
            adapter.port.ready()
            return Outcome.NOT_NOW

        monkeypatch.setattr(adapter, "push", refuse_once)
        _mail(daemon, 1)

        await until(lambda: session.message_ids == [1])

    play(MemorySession(), scenario)


def test_many_messages_travel_in_batches_of_bounded_size(
    play: Callable[[MemorySession, Scenario], None],
) -> None:
    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        _mail(daemon, *range(1, 101))

        await until(lambda: len(session.message_ids) == 100)
        assert session.message_ids == list(range(1, 101))
        assert max(len(each.message_ids) for each in session.context) <= 32

    play(MemorySession(), scenario)


def test_adapter_that_fails_is_started_again(
    play: Callable[[MemorySession, Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_agentd.session._RECOVERY_SECONDS", 0.01)

    async def scenario(daemon: DaemonParts, session: MemorySession) -> None:
        adapter = session.adapter
        assert adapter is not None

        def fail_once() -> None:
            monkeypatch.undo()
            raise RuntimeError("a mistake")

        monkeypatch.setattr(adapter, "_prove", fail_once)
        _mail(daemon, 1)

        await until(lambda: session.message_ids == [1])
        await until(lambda: not daemon.store.mail.open_deliveries(KEY))

    play(MemorySession(), scenario)
