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


def test_mail_that_waited_for_the_session_arrives_right_after_its_start(stage: Stage) -> None:
    delivery = stage.bench.deliver(stage.bench.mail(1, "good morning [[say: morning]]"))

    terminal = stage.start()

    eventually(lambda: delivery in stage.bench.proofs, 15, message=terminal.screen)
    eventually(lambda: stage.model.message_ids() == [1])
    assert stage.bench.losses == []


def test_typed_text_stays_in_the_prompt_when_mail_arrives(stage: Stage) -> None:
    terminal = stage.start()
    terminal.write("half a sentence")
    terminal.wait_for_text("half a sentence")

    delivery = stage.bench.deliver(stage.bench.mail(1, "knock knock [[say: come in]]"))

    eventually(lambda: delivery in stage.bench.proofs, 15)
    terminal.wait_for_text("● come in")
    terminal.wait_for_text(r"^.\s*half a sentence$")


def test_a_restarted_daemon_delivers_to_the_session_it_finds(stage: Stage) -> None:
    terminal = stage.start()
    terminal.submit("hello [[say: hello you]]")
    terminal.wait_for_text("● hello you")

    stage.restart_daemon()
    delivery = stage.bench.deliver(stage.bench.mail(1, "still there? [[say: yes]]"))

    eventually(lambda: delivery in stage.bench.proofs, 15)
    eventually(lambda: stage.model.message_ids() == [1])
