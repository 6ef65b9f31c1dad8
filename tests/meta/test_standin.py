"""The stand-in model servers, without a provider."""

import threading
import time

import httpx
import pytest

from tests.support.script import Say, Step
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI


def _ask_openai(stand_in: StandInOpenAI, text: str) -> str:
    body = {"input": text, "tools": [{"type": "function", "name": "exec_command"}]}
    return httpx.post(f"{stand_in.url}/responses", json=body, trust_env=False).text


def _ask_anthropic(stand_in: StandInAnthropic, text: str) -> str:
    tools = [{"name": "Bash"}, {"name": "mcp__plugin_relay_relay__relay_send"}]
    body = {"messages": [{"role": "user", "content": text}], "tools": tools}
    return httpx.post(f"{stand_in.url}/v1/messages", json=body, trust_env=False).text


def test_an_answer_ends_the_stream_with_the_text(openai: StandInOpenAI) -> None:
    answer = _ask_openai(openai, "[[say: good morning]]")

    assert "good morning" in answer
    assert "response.completed" in answer


def test_a_plugin_tool_is_called_by_its_offered_name(anthropic: StandInAnthropic) -> None:
    answer = _ask_anthropic(anthropic, '[[mcp: relay relay_send {"to": "b"}]]')

    assert '"mcp__plugin_relay_relay__relay_send"' in answer


def test_queued_steps_go_before_the_script(openai: StandInOpenAI) -> None:
    openai.queue(Step(Say("queued")))

    first, second = _ask_openai(openai, "[[say: a]]"), _ask_openai(openai, "[[say: b]]")

    assert "queued" in first
    assert '"b"' in second


def test_requests_are_recorded_with_time_and_texts(anthropic: StandInAnthropic) -> None:
    before = time.monotonic()
    _ask_anthropic(anthropic, "[msg:5] from x: hello")

    recorded = anthropic.wait_for(lambda request: 5 in request.message_ids(), within=1)

    assert before <= recorded.received_at <= time.monotonic()
    assert anthropic.message_ids() == [5]


def test_waiting_for_a_request_that_does_not_come_says_what_came(openai: StandInOpenAI) -> None:
    _ask_openai(openai, "something else")

    with pytest.raises(AssertionError, match="something else"):
        openai.wait_for(lambda request: False, within=0.01)


def test_a_held_answer_waits_for_its_release(openai: StandInOpenAI) -> None:
    answers: list[str] = []
    asking = threading.Thread(
        target=lambda: answers.append(_ask_openai(openai, "[[hold: gate]] [[say: released]]"))
    )
    asking.start()
    openai.wait_for(lambda request: request.step.hold == "gate")
    assert answers == []

    openai.release("gate")
    asking.join(5)

    assert "released" in answers[0]


def test_closing_does_not_wait_for_a_held_answer() -> None:
    failures: list[Exception] = []

    def ask(stand_in: StandInOpenAI) -> None:
        try:
            _ask_openai(stand_in, "[[delay: 50]]")
        except httpx.HTTPError as error:
            failures.append(error)

    with StandInOpenAI() as stand_in:
        asking = threading.Thread(target=ask, args=(stand_in,))
        asking.start()
        stand_in.wait_for(lambda request: True)
    asking.join(5)

    assert not asking.is_alive()
