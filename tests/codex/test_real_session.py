"""Which conversation is on the terminal of a real Codex, through everything a person does to it."""

import json

import pytest

from relay_agentd.adapters.base import Outcome
from relay_server.wire import AgentStatus, Reachability
from tests.codex.bench import a_delivery
from tests.codex.conftest import Stage
from tests.support.processes import expect_none
from tests.support.providers import READY
from tests.support.wait import eventually

pytestmark = pytest.mark.real_cli


def had_a_turn(stage: Stage) -> str:
    """A session that had a turn; its id. It still runs."""
    attached = stage.start()
    stage.terminal.submit("remember this")
    stage.terminal.wait_for_text("MOCK-ANSWER: remember this")
    eventually(lambda: attached.port.is_idle)
    return attached.port.opens[-1]


def test_a_new_daemon_finds_the_conversation_and_what_entered_it(stage: Stage) -> None:
    attached = stage.start()
    delivery = a_delivery(1, "before the restart")
    attached.push(delivery)
    stage.wait_shown(1)

    again = stage.reattach()
    again.outstanding(delivery, a_delivery(2, "never sent"))

    assert again.wait_opened() == attached.port.opens[-1]
    eventually(lambda: again.port.proofs == [delivery.id])
    assert again.find_evidence(delivery) is True
    assert again.find_evidence(a_delivery(2, "never sent")) is False


def test_a_new_daemon_finds_what_waits_in_the_queue(stage: Stage) -> None:
    attached = stage.start()
    stage.terminal.submit("work [[hold: turn]]")
    stage.model.wait_for(lambda request: "work" in request.texts[-1])
    delivery = a_delivery(3, "queued")
    attached.push(delivery)

    again = stage.reattach()
    again.outstanding(delivery)
    again.wait_opened()
    evidence = again.find_evidence(delivery)
    was_busy = eventually(lambda: again.port.is_busy)
    stage.model.release("turn")

    stage.wait_shown(3)
    eventually(lambda: again.port.proofs == [delivery.id])
    assert evidence is True
    assert was_busy


def test_a_new_daemon_delivers_to_a_session_that_had_no_turn(stage: Stage) -> None:
    stage.start()
    again = stage.reattach()
    eventually(lambda: again.port.times_ready, 20)

    again.push(a_delivery(4, "hello"))

    stage.wait_shown(4)
    eventually(lambda: again.port.proofs == ["d-0000000000000004"])


def test_an_adapter_that_is_not_connected_takes_nothing(stage: Stage) -> None:
    attached = stage.start()
    server = stage.servers[-1]
    server.kill()
    server.wait(10)
    eventually(lambda: attached.port.reachabilities[-1] is Reachability.NONE)

    assert attached.push(a_delivery(5, "too late")) == [Outcome.NOT_NOW]
    assert attached.find_evidence(a_delivery(5, "too late")) is None


def test_new_makes_another_conversation_of_the_same_terminal(stage: Stage) -> None:
    first = had_a_turn(stage)
    attached = stage.attached[-1]

    stage.terminal.submit("/new")

    second = attached.wait_opened(2)
    attached.deliver(a_delivery(6, "to the new one"))
    stage.wait_shown(6)
    assert second != first
    assert stage.model.user_texts() == ["[msg:6] from backend-agent: to the new one"]


def test_a_resumed_session_keeps_its_id_and_gets_messages(stage: Stage) -> None:
    first = had_a_turn(stage)
    stage.stop()

    attached = stage.start(arguments=["resume", first])

    assert attached.port.opens == [first]
    attached.push(a_delivery(7, "welcome back"))
    stage.wait_shown(7)
    eventually(lambda: attached.port.proofs == ["d-0000000000000007"])
    assert stage.model.user_texts()[0] == "remember this"


def test_the_last_session_can_be_resumed_without_its_id(stage: Stage) -> None:
    first = had_a_turn(stage)
    stage.stop()

    attached = stage.start(arguments=["resume", "--last"])

    attached.push(a_delivery(8, "welcome back"))
    stage.wait_shown(8)
    assert attached.port.opens == [first]


def test_a_fork_is_another_conversation_with_the_same_memory(stage: Stage) -> None:
    first = had_a_turn(stage)
    stage.stop()

    attached = stage.start(arguments=["fork", first])

    attached.push(a_delivery(9, "to the fork"))
    stage.wait_shown(9)
    assert attached.port.opens[-1] != first
    assert stage.model.user_texts()[0] == "remember this"


def test_a_conversation_resumed_inside_the_terminal_is_followed(stage: Stage) -> None:
    first = had_a_turn(stage)
    stage.stop()
    attached = stage.start(arguments=["resume", "--last"])
    stage.terminal.submit("/new")
    attached.wait_opened(2)

    stage.terminal.submit("/resume")
    stage.terminal.wait_for_text(r"(now|ago) +remember this")
    stage.terminal.press("Enter")

    eventually(lambda: attached.port.opens[-1] == first, 10, message=stage.terminal.screen)
    attached.deliver(a_delivery(10, "back again"))
    stage.wait_shown(10)
    assert stage.model.user_texts()[0] == "remember this"


def test_the_introduction_is_told_before_the_first_message_and_starts_no_turn(
    stage: Stage,
) -> None:
    stage.port.text = "You are agent box-codex-project-12345678 on the relay."
    attached = stage.start()
    requests_before = len(stage.model.main_requests)

    attached.push(a_delivery(11, "hello"))
    stage.wait_shown(11)

    told = json.dumps(stage.model.main_requests[-1].body["input"])
    assert requests_before == 0
    assert told.count(stage.port.text) == 1
    assert told.index(stage.port.text) < told.index("[msg:11]")
    assert stage.model.user_texts() == ["[msg:11] from backend-agent: hello"]


def test_another_daemon_does_not_introduce_the_session_again(stage: Stage) -> None:
    stage.port.text = "You are agent box-codex-project-12345678 on the relay."
    stage.start()
    again = stage.reattach()
    again.wait_opened()
    eventually(lambda: again.port.times_ready)

    again.push(a_delivery(12, "hello"))
    stage.wait_shown(12)

    told = json.dumps(stage.model.main_requests[-1].body["input"])
    assert told.count(stage.port.text) == 1


def test_a_terminal_quicker_than_the_daemon_is_introduced_all_the_same(stage: Stage) -> None:
    stage.port.text = "You are agent box-codex-project-12345678 on the relay."
    stage.start_server().close()
    assert stage.plan is not None
    stage.open_terminal(stage.plan.provider)
    stage.terminal.wait_for_text(READY["codex"])

    late = stage.attach()
    late.wait_opened()
    eventually(lambda: late.port.times_ready)
    late.push(a_delivery(13, "hello"))

    stage.wait_shown(13)
    told = json.dumps(stage.model.main_requests[-1].body["input"])
    assert told.count(stage.port.text) == 1


def test_busy_and_idle_are_reported_as_they_come(stage: Stage) -> None:
    attached = stage.start()
    del attached.port.statuses[:]

    stage.terminal.submit("work [[hold: turn]]")
    eventually(lambda: attached.port.is_busy)
    stage.model.release("turn")

    eventually(lambda: attached.port.is_idle)
    assert {status for status, _ in attached.port.statuses} == {AgentStatus.BUSY, AgentStatus.IDLE}


def test_nothing_is_left_after_the_terminal_ended(stage: Stage) -> None:
    stage.start()
    stage.terminal.submit("/quit")
    status = stage.terminal.exit_status()

    stage.stop()

    assert status == 0
    expect_none("AGENT_RELAY_SESSION", stage.port.key)
    assert list(stage.port.folder.iterdir()) == []
