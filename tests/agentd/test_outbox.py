"""The outbox by itself, in time that the test moves: each message once, in order, or refused."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.errors import OutboxFull, RelayRefused
from relay_agentd.outbox import Outbox
from relay_agentd.store import Store
from tests.agentd.paper_relay import PaperRelay
from tests.agentd.virtual_time import VirtualTime

DAY = 86400.0


class Desk:
    """An outbox that lives and dies, and the relay on paper."""

    def __init__(self, time: VirtualTime, folder: Path) -> None:
        self.time = time
        self.relay = PaperRelay(time.true_time)
        self._folder = folder
        self.store: Store
        self.outbox: Outbox
        self._said = 0

    @asynccontextmanager
    async def life(self, **options: Any) -> Any:
        """One life of the daemon."""
        self.store = Store(self._folder / "agentd.db")
        async with self.relay.client() as client:
            self.outbox = Outbox(client, self.store.outbox, **options)
            running = asyncio.create_task(self.outbox.run())
            try:
                yield self.outbox
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                self.store.close()

    async def say(self, body: str, sender: str = "alice", **fields: Any) -> Any:
        self._said += 1
        message = {"from": sender, "to": "far", "body": body, **fields}
        return await self.outbox.submit(message, idempotency_key=f"key-{self._said}")

    async def sent_all(self) -> None:
        while self.store.outbox.count():
            await asyncio.sleep(0.1)

    def play(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await scenario()

        self.time.run(main())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """In time of its own."""
    with VirtualTime() as time:
        yield Desk(time, tmp_path)


def test_answer_that_was_lost_doubles_nothing(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.loses_answers = 2

            first = await desk.say("one")
            second = await desk.say("two")

            assert (first["id"], second["id"]) == (10, 20)
            assert desk.relay.bodies() == ["one", "two"]

    desk.play(scenario)


@pytest.mark.parametrize("restarts", [False, True])
def test_message_whose_key_the_relay_forgot_is_looked_for_before_it_is_sent_again(
    desk: Desk, restarts: bool
) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.loses_answers = 1
            desk.relay.is_away = False
            saying = asyncio.create_task(desk.say("once"))
            await asyncio.sleep(0.01)
            desk.relay.is_away = True
            assert await saying is None
            if not restarts:
                desk.time.suspend(1.1 * DAY)
                desk.relay.forget_keys()
                desk.relay.is_away = False
                await desk.sent_all()
        if restarts:
            desk.time.suspend(1.1 * DAY)
            desk.relay.forget_keys()
            desk.relay.is_away = False
            async with desk.life():
                await desk.sent_all()

        assert desk.relay.bodies() == ["once"]
        assert desk.relay.lookups == 1

    desk.play(scenario)


def test_message_that_never_got_out_is_sent_after_days(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.is_away = True
            assert await desk.say("patient") is None
            desk.time.suspend(3 * DAY)
            desk.relay.is_away = False
            await desk.sent_all()

        assert desk.relay.bodies() == ["patient"]

    desk.play(scenario)


def test_looking_for_a_message_goes_through_all_that_was_said_since(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.loses_answers = 1
            saying = asyncio.create_task(desk.say("needle"))
            await asyncio.sleep(0.01)
            desk.relay.is_away = True
            await saying
            for number in range(1200):
                desk.relay.post({"from": "alice", "to": "far", "body": f"hay {number}"})
            desk.time.suspend(1.1 * DAY)
            desk.relay.forget_keys()
            desk.relay.is_away = False
            await desk.sent_all()

        assert desk.relay.bodies().count("needle") == 1
        assert desk.relay.lookups == 3

    desk.play(scenario)


def test_refused_message_leaves_the_order_of_the_others_alone(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.is_away = True
            desk.relay.refuses = lambda message: bool(message["body"] == "two")
            for body in ("one", "two", "three"):
                await desk.say(body)
            desk.relay.is_away = False
            await desk.sent_all()

            with pytest.raises(RelayRefused):
                await desk.say("two")

        assert desk.relay.bodies() == ["one", "three"]

    desk.play(scenario)


def test_sender_whom_the_relay_slows_down_does_not_hold_up_others(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.is_away = True
            for number in range(2):
                await desk.say(f"busy {number}", "busy")
                await desk.say(f"calm {number}", "calm")
            desk.relay.slowed = {"busy"}
            desk.relay.is_away = False
            while len(desk.relay.messages) < 2:
                await asyncio.sleep(0.1)
            assert desk.relay.bodies() == ["calm 0", "calm 1"]

            desk.relay.slowed = set()
            await desk.sent_all()

        assert desk.relay.bodies("busy") == ["busy 0", "busy 1"]

    desk.play(scenario)


def test_sender_who_waits_is_told_that_he_sends_too_much(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.slowed = {"busy"}

            with pytest.raises(RelayRefused) as caught:
                await desk.say("too much", "busy")

            assert caught.value.problem["retryAfterSeconds"] == 30
            assert desk.store.outbox.count() == 0

    desk.play(scenario)


def test_expiry_counts_from_when_it_was_said(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.is_away = True
            await desk.say("short", expiresInSeconds=60)
            await desk.say("long", expiresInSeconds=600)
            await asyncio.sleep(300)
            desk.relay.is_away = False
            await desk.sent_all()

        [message] = desk.relay.messages
        assert message["body"] == "long"
        left = _seconds(message["expiresAt"]) - _seconds(message["createdAt"])
        assert 280 < left < 300

    desk.play(scenario)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_expiring_message_whose_answer_was_lost_is_recognised(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.loses_answers = 1
            saying = asyncio.create_task(desk.say("once", expiresInSeconds=600))
            await asyncio.sleep(0.01)
            desk.relay.is_away = True
            await saying
            await asyncio.sleep(60)
            desk.relay.is_away = False
            await desk.sent_all()

        assert desk.relay.bodies() == ["once"]

    desk.play(scenario)


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_wall_clock_that_jumps_expires_nothing_and_stalls_nothing(desk: Desk, jump: float) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.is_away = True
            await desk.say("kept", expiresInSeconds=600)
            desk.time.set_wall_clock(jump)
            await asyncio.sleep(60)
            desk.relay.is_away = False
            await asyncio.wait_for(desk.sent_all(), 30)

        assert desk.relay.bodies() == ["kept"]
        assert desk.relay.lookups == 0

    desk.play(scenario)


def test_time_of_a_suspended_machine_counts_for_what_expires(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life():
            desk.relay.is_away = True
            await desk.say("stale", expiresInSeconds=600)
            desk.time.suspend(3600)
            desk.relay.is_away = False
            await desk.sent_all()

        assert desk.relay.bodies() == []

    desk.play(scenario)


def test_full_outbox_refuses_and_keeps_what_it_has(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life(limit=2):
            desk.relay.is_away = True
            await desk.say("one")
            await desk.say("two")
            with pytest.raises(OutboxFull, match="2 messages wait for the relay already"):
                await desk.say("three")
            desk.relay.is_away = False
            await desk.sent_all()
            await desk.say("four")

        assert desk.relay.bodies() == ["one", "two", "four"]

    desk.play(scenario)


def test_call_that_is_made_again_long_after_is_answered_as_before(desk: Desk) -> None:
    async def scenario() -> None:
        async with desk.life() as outbox:
            message = {"from": "alice", "to": "far", "body": "once"}
            first = await outbox.submit(message, idempotency_key="call")
            desk.relay.forget_keys()
        async with desk.life() as outbox:
            assert await outbox.submit(message, idempotency_key="call") == first

        assert desk.relay.bodies() == ["once"]

    desk.play(scenario)
