"""The tables: session life, deliveries, batches, back-off. Properties over all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relay_agentd import delivery, session_state
from relay_agentd.backoff import Backoff
from relay_agentd.delivery import (
    DeliveryEvent,
    DeliveryState,
    MailState,
    OnTheWay,
    Waiting,
    mail_state,
    next_batch,
)
from relay_agentd.session_state import SessionEvent, SessionState, WrongTransition
from relay_server.wire import Priority

PRIORITIES = st.sampled_from(list(Priority))
MAIL = st.lists(
    st.builds(Waiting, st.integers(1, 500), PRIORITIES, st.integers(1, 70_000)),
    unique_by=lambda mail: mail.message_id,
    max_size=60,
)
OPEN_STATES = [s for s in DeliveryState if s not in delivery.ENDED]


# --- sessions ---


@given(st.lists(st.sampled_from(list(SessionEvent)), max_size=30))
def test_ended_session_never_comes_back(events: list[SessionEvent]) -> None:
    state = SessionState.STARTING
    for event in events:
        try:
            following = session_state.advance(state, event)
        except WrongTransition:
            following = state
        if state in (SessionState.EXITED, SessionState.FATAL):
            assert following is state
        state = following


@pytest.mark.parametrize("state", sorted(session_state.LIVE))
def test_every_live_session_can_end(state: SessionState) -> None:
    ending = session_state.advance(state, SessionEvent.ENDING)

    assert session_state.advance(ending, SessionEvent.ENDED) is SessionState.EXITED


# --- deliveries ---


class OneDelivery(RuleBasedStateMachine):
    """Whatever is reported in whatever order: proof is final, and only proof says in context."""

    def __init__(self) -> None:
        super().__init__()
        self.state = DeliveryState.OFFERED
        self.is_proved = False

    @initialize()
    def cut(self) -> None:
        self.state = DeliveryState.OFFERED

    @rule(event=st.sampled_from(list(DeliveryEvent)))
    def report(self, event: DeliveryEvent) -> None:
        following = delivery.advance(self.state, event)
        if following is not None:
            self.is_proved = self.is_proved or event is DeliveryEvent.PROVED
            self.state = following

    @invariant()
    def in_context_means_proved(self) -> None:
        assert (self.state is DeliveryState.IN_CONTEXT) == self.is_proved

    @invariant()
    def unproved_messages_can_be_offered_again_only_after_withdrawal(self) -> None:
        waits = mail_state(self.state) is MailState.RECEIVED
        assert waits == (self.state is DeliveryState.WITHDRAWN)


TestOneDelivery = OneDelivery.TestCase


@pytest.mark.parametrize("state", OPEN_STATES)
def test_every_open_delivery_ends_by_proof_or_loss(state: DeliveryState) -> None:
    assert delivery.advance(state, DeliveryEvent.PROVED) is DeliveryState.IN_CONTEXT
    assert delivery.advance(state, DeliveryEvent.LOST) is DeliveryState.WITHDRAWN


# --- batches ---


@given(MAIL)
def test_batch_is_ordered_bounded_and_takes_the_oldest(waiting: list[Waiting]) -> None:
    batch = next_batch(waiting, [], now=0.0)

    sizes = {mail.message_id: mail.size for mail in waiting}
    urgent = [mail.message_id for mail in waiting if mail.priority is Priority.URGENT]
    oldest = urgent or list(sizes)
    assert list(batch) == oldest[: len(batch)]
    assert bool(batch) == bool(waiting)
    assert len(batch) <= delivery.LARGEST_BATCH
    assert len(batch) <= 1 or sum(sizes[m] for m in batch) <= delivery.LARGEST_TEXT


@given(MAIL, st.sampled_from(OPEN_STATES), st.floats(0, 119))
def test_nothing_but_urgent_mail_overtakes_a_delivery_on_its_way(
    waiting: list[Waiting], state: DeliveryState, age: float
) -> None:
    batch = next_batch(waiting, [OnTheWay(state, urgent=False, since=1000.0)], now=1000.0 + age)

    by_id = {mail.message_id: mail for mail in waiting}
    assert all(by_id[message_id].priority is Priority.URGENT for message_id in batch)


def test_urgent_mail_does_not_overtake_urgent_mail() -> None:
    waiting = [Waiting(2, Priority.URGENT, 10)]

    assert next_batch(waiting, [OnTheWay(DeliveryState.HANDED, urgent=True, since=0)], 1) == ()


def test_delivery_without_any_news_does_not_hold_up_mail_for_ever() -> None:
    waiting = [Waiting(2, Priority.NORMAL, 10)]
    stuck = OnTheWay(DeliveryState.UNSURE, urgent=False, since=0.0)

    assert next_batch(waiting, [stuck], now=119.0) == ()
    assert next_batch(waiting, [stuck], now=121.0) == (2,)


@given(st.sampled_from(OPEN_STATES), st.integers(0, 50))
def test_checks_grow_apart_and_never_go_back(state: DeliveryState, checks: int) -> None:
    due = delivery.check_at(state, 100.0, checks)
    later = delivery.check_at(state, 100.0, checks + 1)

    if due is None:
        assert state is DeliveryState.OFFERED
    elif state is not DeliveryState.RUNG:
        assert later is not None
        assert 100.0 <= due < later <= due + 30.0


# --- back-off ---


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_delays_stay_between_half_the_first_and_the_cap(shares: list[float]) -> None:
    backoff = Backoff(0.1, 5.0)

    delays = [backoff.next_delay(share) for share in shares]

    assert delays[0] <= 0.1
    assert all(0.05 <= delay <= 5.0 for delay in delays)


def test_success_makes_the_next_delay_short_again() -> None:
    backoff = Backoff(0.1, 5.0)
    for _ in range(2000):
        backoff.next_delay(1.0)

    backoff.reset()

    assert backoff.next_delay(1.0) == pytest.approx(0.1)
