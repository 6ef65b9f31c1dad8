"""Sessions of one machine go on talking while the relay is away; nobody hears anything twice."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.session_tools import ToolResult, call_tool
from relay_agentd.store import Store
from tests.agentd.harness import KEY, OTHER_KEY, DaemonParts, Processes, until, until_async
from tests.support.memory_session import MemorySession
from tests.support.relay_process import RelayProcess


class Pair:
    """Two sessions of one machine, and what each of them says and hears."""

    def __init__(self, daemon: DaemonParts, alice: MemorySession, bob: MemorySession) -> None:
        self.daemon = daemon
        self.alice, self.bob = alice, bob
        self.calls = 0

    @property
    def alice_id(self) -> str:
        return str(self.daemon.supervisor.find(KEY).row.agent_id)

    @property
    def bob_id(self) -> str:
        return str(self.daemon.supervisor.find(OTHER_KEY).row.agent_id)

    async def says(self, key: str, name: str, **arguments: Any) -> ToolResult:
        self.calls += 1
        return await call_tool(
            self.daemon.backend, key, name, arguments, key=f"call-{key}-{self.calls}"
        )

    async def to_bob(self, body: str, **fields: Any) -> str:
        fields.setdefault("to", self.bob_id)
        result = await self.says(KEY, "relay_send", body=body, **fields)
        assert not result.is_error, result.text
        return result.text

    async def at_relay(self, **filters: str) -> list[dict[str, Any]]:
        answer = await self.daemon.http.get("/api/messages", params=filters)
        messages: list[dict[str, Any]] = answer.json()["messages"]
        return messages[::-1]

    async def proved(self, message_id: int, agent_id: str) -> None:
        async def is_proved() -> bool:
            return bool((await self.daemon.receipt(message_id, agent_id))["inContextAt"])

        await until_async(is_proved)

    async def sent_all(self) -> None:
        await until(lambda: self.daemon.store.outbox.count() == 0)


Scenario = Callable[[Pair], Awaitable[None]]
Play = Callable[[RelayProcess, Scenario], None]


@pytest.fixture
def play(tmp_path: Path, processes: Processes) -> Play:
    """Plays a scenario with two sessions that are on the relay."""

    def _play(relay: RelayProcess, scenario: Scenario) -> None:
        async def main() -> None:
            alice, bob = MemorySession(id="alice"), MemorySession(id="bob")
            async with DaemonParts(relay.url, tmp_path, alice, bob=bob) as daemon:
                daemon.launch(processes.start(), processes.start(), label="Alice")
                daemon.launch(
                    processes.start(),
                    processes.start(),
                    key=OTHER_KEY,
                    provider="bob",
                    label="Bob",
                    tags=["reviewers"],
                )
                await daemon.online()
                await daemon.online(OTHER_KEY)
                await scenario(Pair(daemon, alice, bob))

        asyncio.run(main())

    return _play


def test_message_for_an_agent_here_arrives_at_once_and_once(
    play: Play, own_relay: RelayProcess
) -> None:
    async def scenario(pair: Pair) -> None:
        await asyncio.to_thread(own_relay.kill)

        told = await pair.to_bob("while it is away")

        await until(lambda: pair.bob.message_ids == [-1])
        assert told.startswith(f"Delivered as message -1 to {pair.bob_id} on this machine")
        assert "[msg:-1]" in pair.bob.context[0].text
        assert "reply with relay_reply message_id=-1" in pair.bob.context[0].text

        await asyncio.to_thread(own_relay.start)
        await pair.sent_all()
        [stored] = await pair.at_relay(to=pair.bob_id)
        await pair.proved(stored["id"], pair.bob_id)
        await pair.to_bob("when it is back")
        await until(lambda: len(pair.bob.message_ids) > 1)
        assert pair.bob.message_ids == [-1, stored["id"] + 1]

    play(own_relay, scenario)


def test_conversation_of_two_in_an_outage_is_one_thread_at_the_relay(
    play: Play, own_relay: RelayProcess
) -> None:
    async def scenario(pair: Pair) -> None:
        await pair.to_bob("before")
        await until(lambda: pair.bob.message_ids)
        await asyncio.to_thread(own_relay.kill)
        before = pair.bob.message_ids[0]

        await pair.says(OTHER_KEY, "relay_reply", message_id=before, body="to the relay's number")
        await until(lambda: pair.alice.message_ids == [-2])
        await pair.says(KEY, "relay_reply", message_id=-2, body="to a number of ours")
        await until(lambda: pair.bob.message_ids == [before, -3])
        assert f"(thread {before}, answers msg -2," in pair.bob.context[1].text

        await asyncio.to_thread(own_relay.start)
        await pair.sent_all()
        late = await pair.says(OTHER_KEY, "relay_reply", message_id=-3, body="later still")
        assert not late.is_error, late.text
        stored = await pair.at_relay(thread=str(before))
        bodies = ["before", "to the relay's number", "to a number of ours", "later still"]
        assert [message["body"] for message in stored] == bodies
        ids = [message["id"] for message in stored]
        assert [message["replyTo"] for message in stored] == [None, *ids[:-1]]

    play(own_relay, scenario)


def test_work_offered_in_an_outage_is_claimed_when_the_relay_is_back(
    play: Play, own_relay: RelayProcess
) -> None:
    async def scenario(pair: Pair) -> None:
        await asyncio.to_thread(own_relay.kill)
        await pair.to_bob("some work", claimable=True)
        await until(lambda: pair.bob.message_ids == [-1])

        early = await pair.says(OTHER_KEY, "relay_claim", message_id=-1)
        assert early.is_error
        assert "cannot be reached now" in early.text
        wrong = await pair.says(OTHER_KEY, "relay_claim", message_id=-9)
        assert wrong.text == "There is no message -9."

        await asyncio.to_thread(own_relay.start)
        await pair.sent_all()
        claimed = await pair.says(OTHER_KEY, "relay_claim", message_id="[msg:-1]")
        done = await pair.says(OTHER_KEY, "relay_complete", message_id=-1, result="done")

        assert not claimed.is_error, claimed.text
        assert not done.is_error, done.text
        await until(lambda: len(pair.alice.context) == 1)
        assert "done" in pair.alice.context[0].text

    play(own_relay, scenario)


@pytest.mark.parametrize("target", ["label:bob", "tag:reviewers", "cap:chat", "broadcast"])
def test_whoever_here_matches_gets_it_at_once(
    play: Play, own_relay: RelayProcess, target: str
) -> None:
    async def scenario(pair: Pair) -> None:
        await asyncio.to_thread(own_relay.kill)

        told = await pair.to_bob("to some", to=target)
        await until(lambda: pair.bob.message_ids == [-1])
        assert f"to 1 of {target} on this machine" in told

        await asyncio.to_thread(own_relay.start)
        await pair.sent_all()
        [stored] = await pair.at_relay(q="some")
        await pair.proved(stored["id"], pair.bob_id)
        assert pair.bob.message_ids == [-1]
        assert pair.alice.message_ids == []

    play(own_relay, scenario)


def test_message_for_elsewhere_waits(play: Play, own_relay: RelayProcess) -> None:
    async def scenario(pair: Pair) -> None:
        await asyncio.to_thread(own_relay.kill)

        result = await pair.says(KEY, "relay_send", to="operator", body="people")

        assert result.text.startswith("Queued:")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("relay_agentd.outbox._PATIENCE_SECONDS", 0.2)
        play(own_relay, scenario)


def test_sender_who_only_repeats_himself_to_a_neighbour_is_slowed_down(
    play: Play, own_relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_agentd.outbox._LOCAL_LIMIT", 2)
    monkeypatch.setattr("relay_agentd.outbox._PATIENCE_SECONDS", 0.2)

    async def scenario(pair: Pair) -> None:
        await asyncio.to_thread(own_relay.kill)
        told = [await pair.to_bob(f"text {number}") for number in range(3)]

        assert told[2].startswith("Queued:")
        await until(lambda: pair.bob.message_ids == [-1, -2])

        await asyncio.to_thread(own_relay.start)
        await until(lambda: len(pair.bob.message_ids) == 3)
        assert pair.bob.message_ids == [-1, -2, 3]

    play(own_relay, scenario)


def test_daemon_that_dies_in_an_outage_has_lost_and_doubled_nothing(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    alice, bob = MemorySession(id="alice"), MemorySession(id="bob", way="not now")

    async def first_life() -> None:
        async with DaemonParts(own_relay.url, tmp_path, alice, bob=bob) as daemon:
            daemon.launch(processes.start(), processes.start())
            daemon.launch(processes.start(), processes.start(), key=OTHER_KEY, provider="bob")
            await daemon.online()
            await daemon.online(OTHER_KEY)
            await asyncio.to_thread(own_relay.kill)
            pair = Pair(daemon, alice, bob)
            for number in range(3):
                await pair.to_bob(f"text {number}")

    async def second_life() -> None:
        bob.way = "at once"
        async with DaemonParts(own_relay.url, tmp_path, alice, bob=bob) as daemon:
            pair = Pair(daemon, alice, bob)
            await until(lambda: bob.message_ids == [-1, -2, -3])
            await asyncio.to_thread(own_relay.start)
            await pair.sent_all()
            stored = await pair.at_relay(to=pair.bob_id)
            assert [message["body"] for message in stored] == ["text 0", "text 1", "text 2"]
            await pair.proved(stored[-1]["id"], pair.bob_id)
            assert bob.message_ids == [-1, -2, -3]

    asyncio.run(first_life())
    asyncio.run(second_life())


# --- the store: what the relay brings back ---

BOB = "box-memory-x-00000000"
SAID = {"from": "alice", "to": BOB, "body": "text"}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """An open store with one message said."""
    opened = Store(tmp_path / "agentd.db")
    opened.outbox.add(SAID, "key", 0.0)
    yield opened
    opened.close()


def _deliver(store: Store) -> None:
    row = store.outbox.first()
    assert row is not None
    store.outbox.deliver(row, row.message, [(BOB, KEY)], 0.0)


def _as_relay(number: int, **fields: Any) -> dict[str, Any]:
    return {**SAID, "id": number, "payload": {"agentRelay": {"key": "key"}}, **fields}


def _numbers(store: Store) -> list[int]:
    return [mail.message_id for mail in store.mail.waiting(KEY, 1.0)]


def test_stream_that_is_faster_than_the_answer_brings_nothing_new(store: Store) -> None:
    _deliver(store)

    assert not store.mail.receive(BOB, _as_relay(7), KEY, 0.0)

    assert store.outbox.count() == 0
    assert _numbers(store) == [-1]
    assert store.mail.find(BOB, -1) is not None
    assert (store.mail.find(BOB, -1) or ({}, None))[1] == 7


def test_answer_that_is_faster_than_the_stream_names_the_message_too(store: Store) -> None:
    _deliver(store)
    store.outbox.sent(1, _as_relay(7))

    assert not store.mail.receive(BOB, _as_relay(7), KEY, 0.0)

    assert _numbers(store) == [-1]


def test_message_the_relay_brought_before_anybody_delivered_it_here_keeps_its_number(
    store: Store,
) -> None:
    assert store.mail.receive(BOB, _as_relay(7), KEY, 0.0)

    assert store.outbox.count() == 0
    [row] = store.outbox.undelivered()
    store.outbox.deliver(row, row.message, [(BOB, KEY)], 0.0)
    assert _numbers(store) == [7]


def test_somebody_who_copies_the_mark_takes_nobodys_place(store: Store) -> None:
    _deliver(store)

    assert store.mail.receive(BOB, _as_relay(6, **{"from": "mallory"}), KEY, 0.0)

    assert store.outbox.count() == 1
    assert not store.mail.receive(BOB, _as_relay(7), KEY, 0.0)
    assert _numbers(store) == [-1, 6]


def test_mail_is_kept_in_the_order_in_which_it_came(store: Store) -> None:
    store.mail.receive(BOB, {"id": 5, "from": "x", "to": BOB, "body": "older"}, KEY, 0.0)
    _deliver(store)
    store.mail.receive(BOB, {"id": 9, "from": "x", "to": BOB, "body": "newer"}, KEY, 0.0)

    assert _numbers(store) == [5, -1, 9]
    assert [m["id"] for m in store.mail.messages(KEY, [-1, 5, 9])] == [5, -1, 9]
    assert [m["id"] for m in store.mail.take(KEY, 9, "call", 1.0)] == [5, -1, 9]


def test_message_that_the_relay_holds_back_is_for_nobody_here(store: Store) -> None:
    store.outbox.sent(1, _as_relay(7, held={"reason": "loop_guard"}))

    assert store.outbox.undelivered() == []


def test_receipts_wait_until_the_relay_knows_the_message(store: Store) -> None:
    _deliver(store)
    store.mail.take(KEY, 1, "call", 1.0)
    assert store.mail.unreported() == []

    store.outbox.sent(1, _as_relay(7))

    assert [receipt.message_id for receipt in store.mail.unreported()] == [7]
    store.mail.reported(store.mail.unreported())
    assert store.mail.unreported() == []


def test_what_the_relay_still_lacks_is_not_forgotten_here(store: Store) -> None:
    _deliver(store)
    store.mail.take(KEY, 1, "call", 1.0)

    store.mail.prune(before=1e12)
    store.outbox.prune(before=1e12)

    assert store.outbox.count() == 1
    assert not store.mail.receive(BOB, _as_relay(7), KEY, 0.0)


def test_refused_message_is_remembered_as_long_as_somebody_here_has_it(store: Store) -> None:
    _deliver(store)
    store.outbox.add(SAID, "other", 0.0)

    store.outbox.refused(1)
    store.outbox.refused(2)

    assert store.outbox.numbered(-1) is not None
    assert store.outbox.numbered(-2) is None
    assert store.outbox.count() == 0
