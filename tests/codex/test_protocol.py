"""What the relay reads out of recordings of real app-servers, and out of nonsense."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_launchers.codex import protocol
from relay_launchers.codex.protocol import (
    Event,
    StatusChanged,
    ThreadClosed,
    ThreadOpened,
    ThreadStarted,
    ThreadStatus,
    TurnCompleted,
    UserMessage,
)
from relay_launchers.codex.questions import JsonObject

DATA = Path(__file__).with_name("data")
RECORDINGS = ["codex-0.144.4.jsonl", "codex-0.169.0.jsonl"]


def events_of(recording: str) -> list[Event]:
    lines = [json.loads(line) for line in (DATA / recording).read_text().splitlines()]
    events = [protocol.parse_notification(line["method"], line["params"]) for line in lines]
    return [event for event in events if event is not None]


@pytest.fixture(params=RECORDINGS)
def events(request: pytest.FixtureRequest) -> list[Event]:
    """A session: two turns, one broken off at its approval, one failed, /new."""
    return events_of(request.param)


def test_a_conversation_is_told_from_codexs_own_threads(events: list[Event]) -> None:
    threads = [event.thread for event in events if isinstance(event, ThreadStarted)]

    conversations = [thread for thread in threads if thread.is_conversation]

    assert len({thread.id for thread in conversations}) == 2
    assert {thread.cwd for thread in conversations} == {"/home/me/proj"}
    assert all(thread.recency > 1_700_000_000 for thread in threads)


def test_helper_threads_for_titles_are_no_conversations() -> None:
    threads = [
        event.thread
        for event in events_of("codex-0.169.0.jsonl")
        if isinstance(event, ThreadStarted)
    ]

    assert [thread.is_conversation for thread in threads] == [True, False, False, True]


def test_statuses_are_read_in_the_order_they_came(events: list[Event]) -> None:
    first = next(event.thread.id for event in events if isinstance(event, ThreadStarted))

    states = [
        event.status.state
        for event in events
        if isinstance(event, StatusChanged) and event.thread_id == first
    ]

    turn_with_approval = ["busy", "waiting", "busy", "idle"]
    assert states == ["busy", "idle", "busy", "idle", *turn_with_approval, "busy", "idle"]


def test_each_message_is_recognised_by_its_senders_id(events: list[Event]) -> None:
    ids = [event.client_id for event in events if isinstance(event, UserMessage)]

    # Each is told when it starts and when it is complete; the first before we had subscribed.
    assert ids == [f"d-{number:016x}" for number in (2, 2, 3, 3, 4, 4)]


def test_the_ends_of_turns_are_told_apart(events: list[Event]) -> None:
    ends = [event.end for event in events if isinstance(event, TurnCompleted)]

    assert ends == ["completed", "interrupted", "failed"]


def test_a_failed_turn_leaves_the_session_idle_and_says_so(events: list[Event]) -> None:
    details = [event.status.detail for event in events if isinstance(event, StatusChanged)]

    assert "the last turn failed" in details


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"type": "idle"}, ThreadStatus(state="idle")),
        ({"type": "active", "activeFlags": []}, ThreadStatus(state="busy")),
        (
            {"type": "active", "activeFlags": ["waitingOnUserInput"]},
            ThreadStatus(state="waiting", detail="waiting for an answer in the terminal"),
        ),
        ({"type": "notLoaded"}, ThreadStatus(state="gone")),
        ({"type": "fromTheFuture"}, ThreadStatus(state="idle")),
    ],
)
def test_a_status_is_read(status: dict[str, object], expected: ThreadStatus) -> None:
    assert protocol.parse_status(status) == expected


def test_closing_and_opening_are_read() -> None:
    closed = protocol.parse_notification("thread/closed", {"threadId": "t"})
    opened = protocol.parse_notification("thread/goal/cleared", {"threadId": "t"})

    assert closed == ThreadClosed(thread_id="t")
    assert opened == ThreadOpened(thread_id="t")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("thread/started", {}),
        ("thread/started", {"thread": None}),
        ("thread/status/changed", {"threadId": "t", "status": "idle"}),
        ("turn/completed", {"threadId": "t", "turn": {"status": "inProgress"}}),
        ("item/started", {"threadId": "t", "item": {"type": "userMessage", "clientId": None}}),
        ("item/started", {"threadId": "t", "item": {"type": "agentMessage"}}),
        ("thread/closed", {"threadId": ["t"]}),
        ("thread/started", {"thread": {"id": {}, "cwd": "/", "status": {"type": "idle"}}}),
        ("method/from/the/future", {"anything": 1}),
    ],
)
def test_what_is_unknown_or_malformed_is_ignored(method: str, params: dict[str, object]) -> None:
    assert protocol.parse_notification(method, params) is None


@pytest.mark.parametrize("time", ["yesterday", float("inf"), [1], None])
def test_a_time_that_is_none_counts_as_long_ago(time: object) -> None:
    thread = {"id": "t", "cwd": "/", "status": {"type": "idle"}, "createdAt": time, "updatedAt": 5}

    event = protocol.parse_notification("thread/started", {"thread": thread})

    assert isinstance(event, ThreadStarted)
    assert event.thread.recency == 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
METHODS = ["thread/started", "thread/status/changed", "turn/completed", "item/started"]
# Objects with the right names and wrong values: else each would fail at the first name it lacks.
STATUS = JSON | st.fixed_dictionaries({"type": st.just("active") | JSON, "activeFlags": JSON})
THREAD = JSON | st.fixed_dictionaries(
    {"id": JSON, "cwd": JSON, "status": STATUS},
    optional={"createdAt": JSON, "updatedAt": JSON, "threadSource": JSON, "ephemeral": JSON},
)
ITEM = JSON | st.fixed_dictionaries({"type": st.just("userMessage") | JSON, "clientId": JSON})
TURN = JSON | st.fixed_dictionaries({"status": st.just("failed") | JSON})
PARAMS = st.fixed_dictionaries(
    {}, optional={"thread": THREAD, "threadId": JSON, "turn": TURN, "item": ITEM, "status": STATUS}
)


@given(method=st.sampled_from(METHODS), params=PARAMS)
def test_no_notification_breaks_the_reader(method: str, params: dict[str, object]) -> None:
    protocol.parse_notification(method, params)


def test_client_ids_are_collected_from_turns() -> None:
    turns: list[JsonObject] = [
        {"items": [{"type": "userMessage", "clientId": "d-1"}, {"type": "agentMessage"}]},
        {"items": [{"type": "userMessage", "clientId": None}]},
        {"items": None},
    ]

    assert protocol.client_ids(turns) == {"d-1"}


def test_an_older_servers_error_is_told_from_a_refusal() -> None:
    older = "Invalid request: unknown variant `thread/queue/add`, expected one of `initialize`"

    assert protocol.is_unknown_method(older)
    assert not protocol.is_unknown_method("thread already has an active or pending turn")
