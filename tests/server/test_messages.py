"""/api/messages: sending, all ways of addressing, inboxes, searching, threads."""

import threading
import time

import pytest

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay
from tests.support.wait import eventually


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """A sender, and two receivers that differ in everything."""
    relay_server.agent("sender")
    relay_server.agent("a", tags=["web"], capabilities=["chat"], label="Front End")
    relay_server.agent("b", tags=["db"], channels=["ops"])
    return relay_server


def test_a_message_has_every_field_of_the_contract(relay: RunningRelay) -> None:
    message = relay.send("sender", "a")

    assert set(message) == {
        *("id", "from", "to", "body", "subject", "channel", "replyTo", "threadId", "kind"),
        *("priority", "claimable", "claim", "payload", "recipients", "held", "createdAt"),
        "expiresAt",
    }


@pytest.mark.parametrize(
    ("to", "receivers"),
    [
        ("a", ["a"]),
        ("tag:web", ["a"]),
        ("cap:chat", ["a"]),
        ("label:front end", ["a"]),
        ("label:FRONT END", ["a"]),
        ("broadcast", ["a", "b"]),
        ("tag:nobody", []),
        ("operator", []),
    ],
)
def test_every_kind_of_target_reaches_who_it_names(
    relay: RunningRelay, to: str, receivers: list[str]
) -> None:
    message = relay.send("sender", to)

    reached = [agent for agent in ("sender", "a", "b") if relay.inbox(agent)]
    assert reached == receivers
    assert message["recipients"] == len(receivers)


def test_a_channel_narrows_to_its_subscribers_and_those_without_channels(
    relay: RunningRelay,
) -> None:
    ops = relay.send("sender", "broadcast", channel="ops")
    web = relay.send("sender", "broadcast", channel="web")

    assert relay.inbox("a") == [ops["id"], web["id"]]
    assert relay.inbox("b") == [ops["id"]]
    assert (ops["recipients"], web["recipients"]) == (2, 1)


def test_routing_is_resolved_when_a_message_is_read(relay: RunningRelay) -> None:
    message = relay.send("sender", "tag:later")["id"]

    relay.client.patch("/api/agents/a", json={"tags": ["later"]})

    assert relay.inbox("a") == [message]


def test_the_operator_and_the_system_can_send_and_the_operator_receives(
    relay: RunningRelay,
) -> None:
    from_system = relay.send("system", "operator")["id"]
    from_operator = relay.send("operator", "a")["id"]

    assert relay.inbox("operator") == [from_system]
    assert relay.inbox("a") == [from_operator]


def test_an_offline_receiver_is_accepted_and_waits(relay: RunningRelay) -> None:
    relay.client.patch("/api/agents/a/status", json={"status": "offline"})

    message = relay.send("sender", "a")

    assert message["recipients"] == 1
    assert relay.inbox("a") == [message["id"]]


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"from": "ghost", "to": "a"}, 404, "agent_not_found"),
        ({"from": "sender", "to": "ghost"}, 404, "agent_not_found"),
        ({"from": "sender", "to": "a", "replyTo": 999}, 404, "message_not_found"),
        ({"from": "sender", "to": "tag:"}, 422, "invalid_request"),
        ({"from": "sender", "to": "team:x"}, 422, "invalid_request"),
        ({"from": "sender", "to": "two words"}, 422, "invalid_request"),
        ({"from": "sender"}, 422, "invalid_request"),
        ({"to": "a"}, 422, "invalid_request"),
        ({"from": "sender", "to": "a", "priority": "asap"}, 422, "invalid_request"),
        ({"from": "sender", "to": "a", "surprise": 1}, 422, "invalid_request"),
        ({"from": "sender", "to": "a", "expiresInSeconds": 0}, 422, "invalid_request"),
        ({"from": "sender", "to": "a", "claimable": "yes"}, 422, "invalid_request"),
        ({"from": "sender", "to": "a", "payload": [1]}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_sent(
    relay: RunningRelay, given: dict[str, object], status: int, code: str
) -> None:
    answer = relay.client.post("/api/messages", json={"body": "x", **given})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_removed_receiver_is_refused_with_suggestions(relay: RunningRelay) -> None:
    relay.agent("backend-1")
    relay.agent("backend-2")
    relay.client.delete("/api/agents/backend-1")

    given = {"from": "sender", "to": "backend-1", "body": "x"}
    answer = relay.client.post("/api/messages", json=given)

    assert (answer.status_code, answer.json()["suggestions"]) == (404, ["backend-2"])


def test_the_body_may_have_64_kib_and_no_more(relay: RunningRelay) -> None:
    fits = {"from": "sender", "to": "a", "body": "é" * (32 * 1024)}
    too_long = {"from": "sender", "to": "a", "body": "é" * (32 * 1024) + "x"}

    assert relay.client.post("/api/messages", json=fits).status_code == 201
    assert relay.client.post("/api/messages", json=too_long).status_code == 422


def test_a_payload_is_kept_verbatim(relay: RunningRelay) -> None:
    payload = {"z": [1, 2.5, None, True], "a": {"ünï": "\U0001f600", "big": 10**30}, "__": ""}

    message = relay.send("sender", "a", payload=payload)
    read = relay.client.get(f"/api/messages/{message['id']}").json()

    assert message["payload"] == payload
    assert list(read["payload"].items()) == list(payload.items())


# -- inbox


def test_an_inbox_is_read_by_cursor_oldest_first(relay: RunningRelay) -> None:
    ids = [relay.send("sender", "a")["id"] for _ in range(5)]

    first = relay.client.get("/api/messages?for=a&since=0&limit=2").json()
    rest = relay.client.get(f"/api/messages?for=a&since={first['cursor']}&limit=3").json()

    assert [m["id"] for m in first["messages"]] == ids[:2]
    assert (first["cursor"], first["more"]) == (ids[1], True)
    assert [m["id"] for m in rest["messages"]] == ids[2:]
    assert (rest["cursor"], rest["more"]) == (ids[4], False)
    assert relay.inbox("a", sinceId=ids[3]) == [ids[4]]


def test_without_since_everything_not_yet_handed_comes_again(relay: RunningRelay) -> None:
    ids = [relay.send("sender", "a")["id"] for _ in range(3)]

    relay.ack("a", ids[1], "handed")

    assert relay.inbox("a") == [ids[0], ids[2]]
    assert relay.inbox("a") == [ids[0], ids[2]]


def test_unread_leaves_out_what_was_read(relay: RunningRelay) -> None:
    ids = [relay.send("sender", "a")["id"] for _ in range(3)]

    relay.client.post(f"/api/messages/{ids[1]}/read", json={"agentId": "a"})

    assert relay.inbox("a", since=0, unread="true") == [ids[0], ids[2]]


def test_an_inbox_can_be_narrowed_to_a_channel(relay: RunningRelay) -> None:
    relay.send("sender", "a")
    ops = relay.send("sender", "a", channel="ops")["id"]

    assert relay.inbox("a", channel="ops") == [ops]


def test_the_inbox_of_an_unknown_agent_is_404(relay: RunningRelay) -> None:
    answer = relay.client.get("/api/messages?for=ghost")

    assert (answer.status_code, answer.json()["code"]) == (404, "agent_not_found")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "wait=61", "since=-1", "unread=maybe", "nope=1"]
)
def test_wrong_query_parameters_are_422(relay: RunningRelay, query: str) -> None:
    answer = relay.client.get(f"/api/messages?for=a&{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_a_long_poll_ends_as_soon_as_something_arrives(relay: RunningRelay) -> None:
    found: list[int] = []
    poll = threading.Thread(target=lambda: found.extend(relay.inbox("a", wait=30)))
    poll.start()
    eventually(lambda: relay.relay.core.slots.parked == 1)

    message = relay.send("sender", "tag:web")["id"]
    poll.join(timeout=5)

    assert found == [message]


def test_a_long_poll_without_news_ends_after_its_time(relay: RunningRelay) -> None:
    started = time.monotonic()

    answer = relay.client.get("/api/messages?for=a&since=7&wait=0.3").json()

    assert answer == {"messages": [], "cursor": 7, "more": False}
    assert time.monotonic() - started >= 0.3


def test_an_expired_message_is_not_delivered_any_more(relay: RunningRelay) -> None:
    message = relay.send("sender", "a", expiresInSeconds=1)

    assert relay.inbox("a") == [message["id"]]
    eventually(lambda: relay.inbox("a") == [])
    assert relay.receipt(message["id"], "a")["state"] == "expired"


# -- everyone's


@pytest.mark.parametrize(
    ("query", "bodies"),
    [
        ({}, ["third: 50% done", "second", "first"]),
        ({"from": "operator"}, ["third: 50% done"]),
        ({"to": "tag:web"}, ["second"]),
        ({"to": "label:FRONT end"}, ["third: 50% done"]),
        ({"channel": "ops"}, ["first"]),
        ({"claimable": "true"}, ["second"]),
        ({"q": "50%"}, ["third: 50% done"]),
        ({"q": "SECOND"}, ["second"]),
        ({"q": "done third"}, ["third: 50% done"]),
        ({"limit": 1}, ["third: 50% done"]),
    ],
)
def test_everyones_messages_newest_first(
    relay: RunningRelay, query: dict[str, str], bodies: list[str]
) -> None:
    relay.send("sender", "a", "first", channel="ops")
    relay.send("sender", "tag:web", "second", claimable=True)
    relay.send("operator", "label:Front End", "third: 50% done")

    messages = relay.client.get("/api/messages", params=query).json()["messages"]

    assert [message["body"] for message in messages] == bodies


def test_pages_by_before_and_after(relay: RunningRelay) -> None:
    ids = [relay.send("sender", "a")["id"] for _ in range(5)]

    page = relay.client.get(f"/api/messages?before={ids[4]}&limit=2").json()
    newer = relay.client.get(f"/api/messages?after={ids[2]}").json()

    assert [m["id"] for m in page["messages"]] == [ids[3], ids[2]]
    assert page["more"] is True
    assert [m["id"] for m in newer["messages"]] == [ids[4], ids[3]]


# -- threads


def test_a_reply_joins_the_thread_and_goes_back_to_the_sender(relay: RunningRelay) -> None:
    question = relay.send("sender", "a")
    given = {"from": "a", "body": "answer", "replyTo": question["id"]}
    answer = relay.client.post("/api/messages", json=given).json()
    again = relay.send("sender", "a", replyTo=answer["id"])

    assert (answer["to"], answer["threadId"]) == ("sender", question["id"])
    for message in (question, answer, again):
        thread = relay.client.get(f"/api/messages/{message['id']}/thread").json()["messages"]
        assert [m["id"] for m in thread] == [question["id"], answer["id"], again["id"]]
    assert relay.receipt(question["id"], "a")["state"] == "replied"


def test_deleting_a_message_takes_it_away(relay: RunningRelay) -> None:
    message = relay.send("sender", "a")["id"]

    deleted = relay.client.delete(f"/api/messages/{message}")

    assert deleted.status_code == 204
    assert relay.client.get(f"/api/messages/{message}").json()["code"] == "message_not_found"
    assert relay.inbox("a") == []
    assert relay.send("sender", "a")["id"] > message


@pytest.mark.parametrize("number", ["0", "999", "x", "-1", "99999999999999999999"])
def test_a_message_that_does_not_exist_is_404_everywhere(relay: RunningRelay, number: str) -> None:
    base, body = f"/api/messages/{number}", {"agentId": "a"}
    answers = [
        relay.client.get(base),
        relay.client.delete(base),
        *(relay.client.get(f"{base}/{part}") for part in ("explain", "thread")),
        *(relay.client.post(f"{base}/{v}", json=body) for v in ("claim", "release", "read")),
        relay.client.post(f"{base}/complete", json=body),
        relay.client.post(f"{base}/deliver"),
    ]

    assert {(a.status_code, a.json()["code"]) for a in answers} == {(404, "message_not_found")}


# -- idempotency


def test_the_same_key_gives_the_first_answer_again(relay: RunningRelay) -> None:
    given = {"from": "sender", "to": "a", "body": "once"}
    first = relay.client.post("/api/messages", json=given, headers={"Idempotency-Key": "k1"})
    again = relay.client.post("/api/messages", json={**given, "idempotencyKey": "k1"})

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len(relay.inbox("a")) == 1


def test_the_same_key_with_another_body_is_a_mismatch(relay: RunningRelay) -> None:
    relay.send("sender", "a", "one", idempotencyKey="k1")

    given = {"from": "sender", "to": "a", "body": "two", "idempotencyKey": "k1"}
    answer = relay.client.post("/api/messages", json=given)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


def test_keys_of_different_senders_do_not_meet(relay: RunningRelay) -> None:
    one = relay.send("sender", "broadcast", idempotencyKey="k1")
    two = relay.send("b", "broadcast", idempotencyKey="k1")

    assert one["id"] != two["id"]


def test_many_at_once_with_one_key_make_one_message(relay: RunningRelay) -> None:
    given = {"from": "sender", "to": "a", "body": "once", "idempotencyKey": "k"}
    ids: list[int] = []

    def post() -> None:
        ids.append(relay.client.post("/api/messages", json=given).json()["id"])

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 1
    assert relay.inbox("a") == ids[:1]


def test_registering_with_a_key_repeats_its_first_answer(relay: RunningRelay) -> None:
    headers = {"Idempotency-Key": "reg"}
    first = relay.client.post("/api/agents", json={"id": "new"}, headers=headers)
    again = relay.client.post("/api/agents", json={"id": "new"}, headers=headers)
    other = relay.client.post("/api/agents", json={"id": "new", "pid": 1}, headers=headers)

    assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
    assert other.json()["code"] == "idempotency_mismatch"


# -- guards


def test_one_sender_is_slowed_down_but_never_the_operator(start_relay: StartRelay) -> None:
    relay = start_relay(AGENT_RELAY_SENDER_LIMIT="3")
    relay.agent("a")
    for _ in range(3):
        relay.send("a", "operator")

    refused = relay.client.post("/api/messages", json={"from": "a", "to": "operator", "body": "x"})
    for _ in range(5):
        relay.send("operator", "a")

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_a_thread_that_runs_in_circles_is_held_until_an_operator_lets_it_through(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(AGENT_RELAY_LOOP_LIMIT="3")
    relay.agent("a")
    relay.agent("b")
    root = relay.send("a", "b")["id"]
    for _ in range(2):
        relay.send("a", "b", replyTo=root)

    held = relay.send("a", "b", replyTo=root)
    seen_before = relay.inbox("b", since=0)
    state_before = relay.receipt(held["id"], "b")["state"]
    delivered = relay.client.post(f"/api/messages/{held['id']}/deliver")

    assert held["held"] == {"reason": "loop_guard"}
    assert held["id"] not in seen_before
    assert state_before == "held"
    assert (delivered.status_code, delivered.json()["held"]) == (200, None)
    assert relay.inbox("b")[-1] == held["id"]
    assert relay.client.post(f"/api/messages/{held['id']}/deliver").status_code == 409


def test_a_held_message_let_through_reaches_an_agent_that_is_further_already(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(AGENT_RELAY_LOOP_LIMIT="1")
    relay.agent("a")
    relay.agent("b")
    root = relay.send("a", "b")["id"]
    held = relay.send("a", "b", replyTo=root)["id"]
    later = relay.send("a", "b")["id"]
    relay.ack("b", root, "handed")
    assert relay.ack("b", later, "handed")["cursor"] == later

    relay.client.post(f"/api/messages/{held}/deliver")

    assert relay.inbox("b") == [held]


def test_a_word_of_the_operator_frees_a_thread(start_relay: StartRelay) -> None:
    relay = start_relay(AGENT_RELAY_LOOP_LIMIT="3")
    relay.agent("a")
    relay.agent("b")
    root = relay.send("a", "b")["id"]
    relay.send("b", "a", replyTo=root)
    relay.send("operator", "a", replyTo=root)

    assert relay.send("b", "a", replyTo=root)["held"] is None
