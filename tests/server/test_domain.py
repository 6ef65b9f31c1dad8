"""The pure rules: receipts, leases, routing, limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.domain import lease
from relay_server.domain.agent import default_name
from relay_server.domain.lease import Lease
from relay_server.domain.limits import SENDER_WINDOW_MS, SenderLimit, runs_in_circles
from relay_server.domain.receipt import RANK, REPORTABLE, Receipt, advance, has_reached
from relay_server.domain.routing import (
    Card,
    MalformedTarget,
    addresses_of,
    matches,
    parse_target,
)
from relay_server.errors import Conflict
from relay_server.wire import ReceiptState

_STATES = st.sampled_from(REPORTABLE)


# -- receipts


@given(st.lists(_STATES))
def test_a_receipt_never_goes_back(states: list[ReceiptState]) -> None:
    receipt = Receipt(1, "a")

    for at, state in enumerate(states):
        after = advance(receipt, state, at)
        assert RANK[after.state] >= RANK[receipt.state]
        receipt = after


@given(st.lists(_STATES))
def test_repeating_reports_changes_nothing(states: list[ReceiptState]) -> None:
    receipt = Receipt(1, "a")
    for state in states:
        receipt = advance(receipt, state, 1)
        assert advance(receipt, state, 2) is receipt


@pytest.mark.parametrize(
    ("state", "implied", "open_still"),
    [
        (ReceiptState.HANDED, ["routed_at"], ["in_context_at", "read_at", "replied_at"]),
        (ReceiptState.IN_CONTEXT, ["routed_at", "handed_at"], ["read_at", "replied_at"]),
        (ReceiptState.READ, ["routed_at", "handed_at"], ["in_context_at", "replied_at"]),
        (ReceiptState.REPLIED, ["routed_at", "handed_at", "read_at"], ["in_context_at"]),
    ],
)
def test_a_state_implies_the_ones_before_it_but_never_the_proof(
    state: ReceiptState, implied: list[str], open_still: list[str]
) -> None:
    receipt = advance(Receipt(1, "a"), state, 7)

    assert {getattr(receipt, name) for name in implied} == {7}
    assert {getattr(receipt, name) for name in open_still} == {None}


@given(st.permutations([s for s in REPORTABLE if s is not ReceiptState.FAILED]))
def test_in_whatever_order_reports_come_the_farthest_one_stands(
    states: list[ReceiptState],
) -> None:
    receipt = Receipt(1, "a")

    for state in states:
        receipt = advance(receipt, state, 1)

    assert receipt.state is ReceiptState.REPLIED


@given(_STATES, _STATES)
def test_having_reached_a_state_means_being_as_far_or_farther(
    state: ReceiptState, wanted: ReceiptState
) -> None:
    failed = ReceiptState.FAILED
    expected = state is wanted if failed in (state, wanted) else RANK[state] >= RANK[wanted]

    assert has_reached(state, wanted) is expected


# -- leases

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "release", "complete"]),
        st.sampled_from("abc"),
        st.integers(0, 50),
        st.integers(1, 40),
    )
)


@given(_STEPS)
def test_there_are_never_two_holders(steps: list[tuple[str, str, int, int]]) -> None:
    held: Lease | None = None
    now = 0
    for verb, agent, pause, length in steps:
        now += pause
        holder = held.agent_id if held and held.is_active(now) else None
        try:
            if verb == "claim":
                held = lease.claim(held, agent, now, length)
            elif verb == "release":
                lease.require_owner(held, agent, now)
                held = None
            else:
                held = lease.complete(held, agent, now)
        except Conflict:
            assert holder != agent or (held and held.completed_at is not None)
        else:
            assert holder in (None, agent)
            assert verb == "claim" or holder == agent


@given(_STEPS)
def test_what_is_completed_stays_completed(steps: list[tuple[str, str, int, int]]) -> None:
    done = lease.complete(lease.claim(None, "owner", 0, 10), "owner", 5)

    for _, agent, pause, length in steps:
        with pytest.raises(Conflict):
            lease.claim(done, agent, 5 + pause, length)
    assert lease.complete(done, "owner", 10**9) is done


# -- routing


@pytest.mark.parametrize(
    ("text", "address", "agent_id"),
    [
        ("box-claude-shop-1", "box-claude-shop-1", "box-claude-shop-1"),
        ("operator", "operator", "operator"),
        ("broadcast", "broadcast", None),
        ("tag:web/api", "tag:web/api", None),
        ("cap:chat", "cap:chat", None),
        ("label:Große Straße", "label:grosse strasse", None),
    ],
)
def test_targets(text: str, address: str, agent_id: str | None) -> None:
    target = parse_target(text)

    assert (target.address, target.agent_id) == (address, agent_id)


@given(st.text(max_size=100))
def test_any_text_is_a_target_or_malformed(text: str) -> None:
    try:
        target = parse_target(text)
    except MalformedTarget:
        return
    assert target.agent_id in (None, text)


def _card(**fields: object) -> Card:
    given: dict[str, object] = {
        "agent_id": "a",
        "addresses": addresses_of("a", ["t"], [], "L"),
        "channels": frozenset(),
        "inbox_start": 0,
        "built_in": False,
    }
    return Card(**(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "sender", "target", "channel", "expected"),
    [
        (_card(), "x", "a", None, True),
        (_card(), "x", "broadcast", "ops", True),
        (_card(), "x", "label:l", None, True),
        (_card(), "a", "tag:t", None, False),
        (_card(), "x", "tag:other", None, False),
        (_card(channels=frozenset({"ops"})), "x", "tag:t", "web", False),
        (_card(channels=frozenset({"ops"})), "x", "tag:t", None, True),
        (_card(built_in=True), "x", "broadcast", None, False),
        (_card(built_in=True), "x", "a", None, True),
    ],
)
def test_who_matches(
    card: Card, sender: str, target: str, channel: str | None, expected: bool
) -> None:
    assert matches(card, sender=sender, target=target, channel=channel) is expected


@pytest.mark.parametrize(
    ("project", "rig", "machine", "name"),
    [
        ("shop", "codex", "box", "shop (codex @ box)"),
        ("shop", None, "box", "shop (box)"),
        ("shop", None, None, "shop"),
        (None, "codex", "box", "the-id"),
    ],
)
def test_default_names(
    project: str | None, rig: str | None, machine: str | None, name: str
) -> None:
    assert default_name("the-id", project, rig, machine) == name


# -- limits


@given(st.lists(st.integers(0, 30_000), max_size=60), st.integers(1, 5))
def test_no_minute_has_more_messages_of_a_sender_than_allowed(
    pauses: list[int], limit: int
) -> None:
    guard = SenderLimit(limit)
    accepted: list[int] = []
    now = 0
    for pause in pauses:
        now += pause
        if guard.wait_ms("a", now) == 0:
            guard.count("a", now)
            accepted.append(now)

    for start in accepted:
        assert len([at for at in accepted if start <= at < start + SENDER_WINDOW_MS]) <= limit


def test_waiting_as_long_as_told_is_enough() -> None:
    guard = SenderLimit(2)
    guard.count("a", 1000)
    guard.count("a", 2000)

    wait = guard.wait_ms("a", 3000)

    assert wait == 1000 + SENDER_WINDOW_MS - 3000
    assert guard.wait_ms("a", 3000 + wait) == 0
    assert guard.wait_ms("b", 3000) == 0


@pytest.mark.parametrize(
    ("newest", "limit", "expected"),
    [
        ([("a", 999_000), ("b", 999_000)], 2, True),
        ([("a", 999_000)], 2, False),
        ([("a", 999_000), ("operator", 999_000)], 2, False),
        ([("a", 999_000), ("b", 399_000)], 2, False),
        ([], 0, False),
    ],
)
def test_running_in_circles(newest: list[tuple[str, int]], limit: int, expected: bool) -> None:
    assert runs_in_circles(newest, limit, 1_000_000) is expected
