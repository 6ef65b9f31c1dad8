"""What an inbox shows when routing changes, when work is old, and when a reader jumps about."""

import pytest

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """One agent with a tag, one without."""
    relay_server.agent("a")
    relay_server.agent("b", tags=["t"])
    return relay_server


def _patch(relay: RunningRelay, **given: object) -> int:
    answer = relay.client.patch("/api/agents/a", json=given)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["cursor"])


@pytest.mark.parametrize(
    ("to", "given"),
    [
        ("tag:new", {"tags": ["new"]}),
        ("cap:new", {"capabilities": ["new"]}),
        ("label:New", {"label": "new"}),
    ],
)
def test_a_new_address_shows_what_came_for_it_before_and_was_not_handed(
    relay: RunningRelay, to: str, given: dict[str, object]
) -> None:
    """Routing is resolved when a message is read, and nothing un-handed is before the cursor."""
    first = relay.send("operator", "a")["id"]
    old = relay.send("operator", to)["id"]
    last = relay.send("operator", "a")["id"]
    for message in (first, last):
        relay.ack("a", message, "handed")
    assert relay.inbox("a") == []

    cursor = _patch(relay, **given)

    assert cursor == old - 1
    assert relay.inbox("a") == [old]
    assert relay.ack("a", old, "handed")["cursor"] == last


def test_registering_again_with_a_new_tag_does_so_too(relay: RunningRelay) -> None:
    old = relay.send("operator", "tag:new")["id"]
    direct = relay.send("operator", "a")["id"]
    relay.ack("a", direct, "handed")

    again = relay.agent("a", tags=["new"])

    assert again["cursor"] == old - 1
    assert relay.inbox("a") == [old]


def test_fewer_channels_hide_and_more_show_again(relay: RunningRelay) -> None:
    relay.agent("a", channels=["m"])
    hidden = relay.send("operator", "a", channel="n")["id"]
    shown = relay.send("operator", "a", channel="m")["id"]
    assert relay.ack("a", shown, "handed")["cursor"] == shown

    assert _patch(relay, channels=["m", "n"]) == hidden - 1
    assert relay.inbox("a") == [hidden]
    relay.ack("a", hidden, "handed")
    assert _patch(relay, channels=[]) == shown


def test_an_open_stream_gets_what_a_new_tag_shows(relay: RunningRelay) -> None:
    old = relay.send("operator", "tag:new")["id"]
    direct = relay.send("operator", "a")["id"]
    relay.ack("a", direct, "handed")
    with relay.stream("/api/stream?agent=a") as stream:
        mark = relay.send("operator", "a")["id"]
        stream.messages(1)

        _patch(relay, tags=["new"])

        assert ("a", old) in stream.messages(2)
        assert stream.messages(1) == [("a", mark)]


def test_older_open_work_is_shown_also_to_who_reads_from_the_beginning(
    relay: RunningRelay,
) -> None:
    plain = relay.send("operator", "broadcast")["id"]
    work = relay.send("operator", "broadcast", claimable=True)["id"]
    relay.agent("newcomer")
    later = relay.send("operator", "newcomer")["id"]

    assert relay.inbox("newcomer", since=0) == [work, later]
    assert relay.inbox("newcomer", since=0, unread="true") == [work, later]
    assert relay.inbox("newcomer", since=work) == [later]
    relay.client.post(f"/api/messages/{work}/claim", json={"agentId": "a"})
    assert relay.inbox("newcomer", since=0) == [later]
    assert plain in relay.inbox("a", since=0)


def test_old_work_of_other_channels_does_not_hide_that_of_the_one_asked_for(
    relay: RunningRelay,
) -> None:
    for _ in range(5):
        relay.send("operator", "broadcast", claimable=True, channel="m")
    wanted = relay.send("operator", "broadcast", claimable=True, channel="n")["id"]
    relay.agent("newcomer")

    assert relay.inbox("newcomer", channel="n", limit=2) == [wanted]


# -- receipts


def test_who_is_no_receiver_reports_nothing(relay: RunningRelay) -> None:
    """A stranger's receipt would hold up whoever waits for every receiver."""
    message = relay.send("operator", "a")["id"]

    acked = relay.ack("b", message, "routed")
    read = relay.client.post(f"/api/messages/{message}/read", json={"agentId": "b"})
    own = relay.send("b", "broadcast")["id"]

    assert acked["unknown"] == [message]
    assert (read.status_code, read.json()["code"]) == (404, "message_not_found")
    assert relay.ack("b", own, "handed")["unknown"] == [own]
    receipts = relay.client.get(f"/api/messages/{message}").json()["receipts"]
    assert [receipt["agentId"] for receipt in receipts] == ["a"]


def test_who_was_shown_a_message_reports_on_it_whatever_his_tags_are_now(
    relay: RunningRelay,
) -> None:
    message = relay.send("operator", "tag:t")["id"]
    assert relay.inbox("b") == [message]
    relay.agent("b", tags=[])

    assert relay.ack("b", message, "in_context")["unknown"] == []
    assert relay.receipt(message, "b")["state"] == "in_context"


def _held(start_relay: StartRelay) -> tuple[RunningRelay, int]:
    """A message to tag:t that the loop guard stopped."""
    relay = start_relay(AGENT_RELAY_LOOP_LIMIT="1")
    for agent_id in ("a", "b"):
        relay.agent(agent_id, tags=["t"])
    first = relay.send("a", "b")["id"]
    held = relay.send("b", "tag:t", replyTo=first)
    assert held["held"] is not None
    return relay, held["id"]


def test_nobody_reports_on_a_message_that_is_held(start_relay: StartRelay) -> None:
    relay, held = _held(start_relay)

    assert relay.ack("a", held, "handed")["unknown"] == [held]
    relay.client.post(f"/api/messages/{held}/deliver")
    assert relay.inbox("a") == [held]


def test_a_message_that_is_let_through_does_not_reach_who_came_after_it(
    start_relay: StartRelay,
) -> None:
    relay, held = _held(start_relay)
    relay.agent("newcomer", tags=["t"])
    with relay.stream("/api/stream?agent=newcomer&agent=a") as stream:
        mark = relay.send("operator", "newcomer")["id"]
        stream.messages(1)
        relay.client.post(f"/api/messages/{held}/deliver")
        last = relay.send("operator", "newcomer")["id"]

        assert stream.messages(3) == [("newcomer", mark), ("a", held), ("newcomer", last)]
    assert relay.inbox("newcomer") == [mark, last]


def test_a_key_outlives_its_message(relay: RunningRelay) -> None:
    """Else a retry would send again what an operator has dropped."""
    body = {"from": "a", "to": "b", "body": "x", "idempotencyKey": "k"}
    first = relay.client.post("/api/messages", json=body)
    assert relay.client.delete(f"/api/messages/{first.json()['id']}").status_code == 204

    again = relay.client.post("/api/messages", json=body)
    other = relay.client.post("/api/messages", json={**body, "body": "y"})

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.json()["code"] == "idempotency_mismatch"
    assert relay.inbox("b") == []


# -- zombies


def test_an_old_instance_beats_for_nobody_in_a_machines_call_either(
    start_relay: StartRelay,
) -> None:
    relay = start_relay()
    for agent_id, instance in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        relay.agent(agent_id, instanceId=instance)

    def beat(*ids: str, instance: str) -> int:
        body = {"agents": [{"id": agent_id} for agent_id in ids]}
        headers = {"X-Agent-Instance": instance}
        return relay.client.post("/api/heartbeats", json=body, headers=headers).status_code

    assert beat("a", "b", instance="a1") == 409
    assert beat("a", "b", instance="a2") == 200
    assert beat("a", "b", instance="the daemon's own") == 200


def test_an_instance_in_the_header_is_held_to_what_one_in_the_body_is(
    relay: RunningRelay,
) -> None:
    headers = {"X-Agent-Instance": "x" * 129}
    answer = relay.client.post("/api/agents", json={"id": "c"}, headers=headers)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "X-Agent-Instance")


def test_an_empty_number_is_none(relay: RunningRelay) -> None:
    """A script whose variable is empty must hear of it, not get some default."""
    for name in ("limit", "before", "after"):
        answer = relay.client.get(f"/api/messages?{name}=")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name)


def test_an_empty_name_is_nobodys_inbox(relay: RunningRelay) -> None:
    answer = relay.client.get("/api/messages?for=&limit=5")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "for")


def test_the_operators_inbox_and_receipts_agree_on_what_is_for_people(relay: RunningRelay) -> None:
    """Only what is sent to them directly, whatever tags somebody gives them."""
    relay.client.patch("/api/agents/operator", json={"tags": ["t"], "label": "Boss"})
    for to in ("broadcast", "tag:t", "label:boss"):
        relay.send("a", to)
    direct = relay.send("a", "operator")["id"]

    assert relay.inbox("operator", since=0) == [direct]
    assert relay.client.get("/api/agents/operator").json()["unread"] == 1
