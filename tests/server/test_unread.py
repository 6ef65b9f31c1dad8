"""How many messages agents have not read: quick for thousands, and the same as counting."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay_server.domain.agent import Agent
from relay_server.domain.receipt import TAKEN, Receipt
from relay_server.domain.routing import matches
from relay_server.store import agents, inbox, receipts, unread
from relay_server.store.database import Database
from relay_server.wire import ReceiptState
from tests.server.history import add_messages
from tests.server.running import RunningRelay

_NOW = 1000
_AGENTS = [
    Agent(id="a", name="a", tags=("x",)),
    Agent(id="b", name="b", tags=("x", "y"), channels=("ops",), inbox_start=3, cursor=3),
    Agent(id="c", name="c", label="Cee", capabilities=("x",), inbox_start=6, cursor=6),
]
_MESSAGE = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(["a", "b", "operator"]),
        "target": st.sampled_from(
            ["a", "b", "c", "tag:x", "tag:y", "cap:x", "label:cee", "broadcast", "gone"]
        ),
        "channel": st.sampled_from([None, None, "ops", "ci"]),
        "held_reason": st.sampled_from([None, None, None, "loop_guard"]),
        "expires_at": st.sampled_from([None, None, _NOW, _NOW + 1]),
    }
)
_REPORT = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.integers(1, 30), st.sampled_from(list(ReceiptState))
)


@given(
    rows=st.lists(_MESSAGE, max_size=30),
    reports=st.lists(_REPORT, max_size=40),
    let_through=st.sets(st.integers(1, 30), max_size=5),
)
@settings(max_examples=80, deadline=None)
def test_the_count_is_what_counting_one_by_one_gives(
    rows: list[dict[str, Any]],
    reports: list[tuple[str, int, ReceiptState]],
    let_through: set[int],
) -> None:
    with TemporaryDirectory() as folder:
        database = Database(Path(folder) / "relay.db")
        for agent in _AGENTS:
            with database.write() as transaction:
                agents.save(transaction, agent)
        add_messages(database, [{"id": n, **row} for n, row in enumerate(rows, 1)])
        states: dict[tuple[str, int], ReceiptState] = {}
        for agent_id, message_id, state in reports:
            if message_id <= len(rows):
                states[agent_id, message_id] = state
        with database.write() as transaction:
            receipts.save(transaction, [Receipt(m, a, s) for (a, m), s in states.items()])
            # As after each report of a session: before anything is let through.
            for agent in _AGENTS:
                cursor = inbox.advanced_cursor(transaction, agent.card, agent.cursor, now=_NOW)
                agents.set_cursor(transaction, agent.id, cursor)
            for message_id in let_through:
                transaction.run(
                    "UPDATE messages SET released_at = 5 WHERE id = ? AND held_reason NOT NULL",
                    (message_id,),
                )
        with database.read() as reader:
            everyone = [each for each in agents.all_agents(reader) if not each.built_in]
            counted = unread.counts(reader, everyone, now=_NOW)
            alone = {
                agent.id: unread.counts(reader, [agent], now=_NOW)[agent.id] for agent in everyone
            }
        database.close()

    expected = {agent.id: _one_by_one(agent, rows, states, let_through) for agent in _AGENTS}
    assert counted == expected
    assert alone == expected


def _one_by_one(
    agent: Agent,
    rows: list[dict[str, Any]],
    states: dict[tuple[str, int], ReceiptState],
    let_through: set[int],
) -> int:
    count = 0
    for number, row in enumerate(rows, 1):
        is_held = row["held_reason"] is not None and number not in let_through
        is_expired = row["expires_at"] is not None and row["expires_at"] <= _NOW
        is_read = states.get((agent.id, number)) in (ReceiptState.READ, ReceiptState.REPLIED)
        is_mine = number > agent.inbox_start and matches(
            agent.card, sender=row["sender"], target=row["target"], channel=row["channel"]
        )
        count += is_mine and not (is_held or is_expired or is_read)
    return count


def test_a_taken_state_is_known_to_the_index_of_what_is_unread() -> None:
    """The schema spells the two that are taken but not read."""
    unread_ones = set(TAKEN) - {ReceiptState.READ, ReceiptState.REPLIED}

    assert unread_ones == {ReceiptState.HANDED, ReceiptState.IN_CONTEXT}


def test_counting_stops_at_a_thousand(tmp_path: Path) -> None:
    database = Database(tmp_path / "relay.db")
    agent = Agent(id="a", name="a", tags=("x",))
    with database.write() as transaction:
        agents.save(transaction, agent)
    targets = ("a", "tag:x")
    add_messages(database, [{"id": n, "target": targets[n % 2]} for n in range(1, 2101)])

    with database.read() as reader:
        counted = unread.counts(reader, [agent], now=_NOW)
    database.close()

    assert counted == {"a": unread.MOST}


def test_the_list_and_one_agent_tell_the_same_count(relay_server: RunningRelay) -> None:
    relay = relay_server
    for agent in ("a", "b"):
        relay.agent(agent, tags=["t"])
    first = relay.send("operator", "a")["id"]
    relay.send("a", "tag:t")
    second = relay.send("operator", "broadcast")["id"]
    relay.ack("a", first, "in_context")
    relay.ack("a", second, "read")

    listed = {
        each["id"]: each["unread"] for each in relay.client.get("/api/agents").json()["agents"]
    }
    alone = {each: relay.client.get(f"/api/agents/{each}").json()["unread"] for each in listed}
    beaten = relay.client.post("/api/agents/b/heartbeat").json()["unread"]

    assert (listed["a"], listed["b"], beaten) == (1, 2, 2)
    assert alone == listed


def test_agents_are_listed_by_id_with_every_filter_and_limit(relay_server: RunningRelay) -> None:
    relay = relay_server
    relay.agent("b", machine="m1", label="Éva", tags=["Blue"], project="shop")
    relay.agent("a", machine="m1", status="busy", project="shop")
    relay.agent("c", machine="m2", capabilities=["chat"])

    def found(**query: Any) -> list[str]:
        answer = relay.client.get("/api/agents", params=query)
        assert answer.status_code == 200, answer.text
        return [agent["id"] for agent in answer.json()["agents"]]

    assert found() == ["a", "b", "c", "operator", "system"]
    assert found(limit=2) == ["a", "b"]
    assert found(machine="m1") == ["a", "b"]
    assert found(machine="m1", limit=1) == ["a"]
    assert found(status="busy") == ["a"]
    assert found(q="éVA") == ["b"]
    assert found(q="blue") == ["b"]
    assert found(q="shop", limit=1) == ["a"]
    assert found(q="shop", machine="m1", tag="Blue") == ["b"]
    assert found(capability="chat") == ["c"]
    assert found(q="nothing") == []
