"""How mail gets into a real Claude Code session, and what proves that it did."""

import psutil
import pytest

from relay_server.wire import AgentStatus
from tests.claude.bench import INTRODUCTION
from tests.claude.conftest import Stage
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]


def test_a_session_registers_under_the_id_of_its_plan_and_learns_who_it_is(stage: Stage) -> None:
    terminal = stage.start()

    terminal.submit("hello [[say: hello]]")
    request = stage.model.wait_for(lambda each: each.main)

    session_id, meta = stage.bench.opens[0]
    assert session_id in psutil.Process(terminal.pid).cmdline()
    assert meta["source"] == "startup"
    assert any(INTRODUCTION in text for text in request.texts)


def test_mail_wakes_an_idle_session_and_is_proved(stage: Stage) -> None:
    stage.start()
    mail = stage.bench.mail(1, "is the build green? [[say: it is]]")

    delivery = stage.bench.deliver(mail)

    request = stage.model.wait_for(lambda each: each.main)
    assert sum(mail in text for text in request.texts) == 1
    eventually(lambda: delivery in stage.bench.proofs)
    eventually(lambda: stage.bench.status is AgentStatus.IDLE)


def test_mail_enters_a_running_turn_between_tool_calls_exactly_once(stage: Stage) -> None:
    terminal = stage.start()
    terminal.submit("go [[shell: sleep 3; echo slept]] [[say: done]]")
    stage.model.wait_for(lambda each: each.main)
    mail = stage.bench.mail(2, "while you work")

    delivery = stage.bench.deliver(mail)

    eventually(lambda: delivery in stage.bench.proofs, 15)
    eventually(lambda: len(stage.model.main_requests) == 2)
    eventually(lambda: stage.bench.status is AgentStatus.IDLE)
    assert sum(text.count("[msg:2]") for text in stage.model.user_texts()) == 1


def test_twenty_messages_in_a_burst_arrive_once_each_and_in_order(stage: Stage) -> None:
    stage.start()

    deliveries = [
        stage.bench.deliver(stage.bench.mail(number, f"number {number}")) for number in range(1, 21)
    ]

    eventually(lambda: stage.bench.proofs.keys() >= set(deliveries), 60)
    eventually(lambda: stage.model.message_ids() == list(range(1, 21)), 20)
    assert stage.bench.losses == []
