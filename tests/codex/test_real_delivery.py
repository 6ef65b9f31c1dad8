"""Messages into a real Codex session: from idle, during a turn, in bursts, exactly once."""

import pytest

from relay_agentd.adapters.base import Outcome
from relay_server.wire import Priority, Reachability
from tests.codex.bench import a_delivery
from tests.codex.conftest import Stage
from tests.support.wait import eventually

pytestmark = pytest.mark.real_cli


def test_a_session_is_known_before_its_first_turn(stage: Stage) -> None:
    attached = stage.start()

    assert attached.port.opens
    assert attached.port.folders == [stage.home.project]
    assert attached.port.reachabilities[-1] is Reachability.PUSH
    assert attached.port.is_idle


def test_a_message_wakes_a_session_that_had_no_turn_yet(stage: Stage) -> None:
    attached = stage.start()

    outcomes = attached.push(a_delivery(1, "hello"))

    stage.wait_shown(1)
    stage.terminal.wait_for_text(r"\[msg:1\] from backend-agent: hello")
    eventually(lambda: attached.port.proofs == ["d-0000000000000001"])
    assert outcomes == [Outcome.HANDED]


def test_a_message_wakes_an_idle_session_after_a_turn(stage: Stage) -> None:
    attached = stage.start()
    stage.terminal.submit("typed by a person")
    stage.terminal.wait_for_text("MOCK-ANSWER: typed by a person")
    eventually(lambda: attached.port.is_idle)

    attached.push(a_delivery(2, "woken"))

    stage.wait_shown(2)
    eventually(lambda: attached.port.proofs == ["d-0000000000000002"])


def test_a_message_to_a_busy_session_becomes_its_next_turn(stage: Stage) -> None:
    attached = stage.start()
    stage.terminal.submit("work [[hold: turn]] [[say: finished]]")
    stage.model.wait_for(lambda request: "work [[hold: turn]]" in request.texts[-1])
    eventually(lambda: attached.port.is_busy)

    outcomes = attached.push(a_delivery(3, "later"))
    queued = attached.find_evidence(a_delivery(3, "later"))
    proofs_during_the_turn = list(attached.port.proofs)
    stage.model.release("turn")

    stage.wait_shown(3)
    eventually(lambda: attached.port.proofs == ["d-0000000000000003"])
    assert outcomes == [Outcome.HANDED]
    assert queued is True
    assert proofs_during_the_turn == []
    # A turn of its own: the model had given its final answer before.
    assert stage.model.user_texts()[-1].startswith("[msg:3]")
    assert stage.model.message_ids() == [3]


def test_an_urgent_message_steers_the_running_turn(stage: Stage) -> None:
    attached = stage.start()
    stage.terminal.submit("work [[slow: 30]] [[say: one two three four five six]]")
    stage.terminal.wait_for_text("one")
    eventually(lambda: attached.port.is_busy)

    outcomes = attached.push(a_delivery(4, "stop that [[say: ok]]", Priority.URGENT))

    stage.wait_shown(4)
    eventually(lambda: attached.port.proofs == ["d-0000000000000004"])
    assert outcomes == [Outcome.HANDED]


def test_a_burst_arrives_in_order_and_each_message_once(stage: Stage) -> None:
    attached = stage.start()
    burst = [a_delivery(number, f"number {number}") for number in range(1, 21)]

    outcomes = attached.push(*burst)

    eventually(lambda: len(attached.port.proofs) == 20, 40)
    eventually(lambda: attached.port.is_idle)
    assert outcomes == [Outcome.HANDED] * 20
    assert stage.model.message_ids() == list(range(1, 21))
    assert attached.port.proofs == [delivery.id for delivery in burst]


def test_after_an_interrupt_the_queue_goes_on(stage: Stage) -> None:
    attached = stage.start()
    attached.push(a_delivery(5, "long [[slow: 30]] [[say: a b c d e f]]"), a_delivery(6, "next"))
    stage.terminal.wait_for_text(r"\[msg:5\]")
    eventually(lambda: attached.port.is_busy)

    stage.terminal.press("Escape")

    stage.wait_shown(6)
    eventually(lambda: "d-0000000000000006" in attached.port.proofs)


def test_a_message_that_comes_after_an_interrupt_still_wakes(stage: Stage) -> None:
    attached = stage.start()
    stage.terminal.submit("long [[slow: 30]] [[say: a b c d e f]]")
    stage.terminal.wait_for_text("esc to interrupt")
    eventually(lambda: attached.port.is_busy)
    stage.terminal.press("Escape")
    stage.terminal.wait_for_text("Conversation interrupted")
    eventually(lambda: attached.port.is_idle)

    attached.push(a_delivery(7, "and now"))

    stage.wait_shown(7)
    eventually(lambda: attached.port.proofs == ["d-0000000000000007"])
