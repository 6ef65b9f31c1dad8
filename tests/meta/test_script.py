"""What texts make a stand-in model do."""

import pytest

from tests.support.script import (
    Call,
    Conversation,
    Fail,
    Say,
    arguments_of,
    directives,
    message_ids,
    next_step,
)


def test_calls_come_in_order_and_the_final_answer_last() -> None:
    text = "[[shell: ls]] then [[tool: ns/a {}]] and [[say: done]]"

    steps = [next_step(Conversation([text], made)).action for made in range(3)]

    assert steps == [Call("shell", "ls"), Call("tool", "ns/a {}"), Say("done")]


def test_a_text_that_joins_during_a_turn_adds_its_calls_behind_the_others() -> None:
    conversation = Conversation(["[[shell: one]]", "[[shell: two]]"], calls_made=1)

    assert next_step(conversation).action == Call("shell", "two")


def test_waiting_belongs_to_the_next_answer_only() -> None:
    text = "[[delay: 2]] [[shell: a]] [[hold: gate]] [[shell: b]]"

    first, second = (next_step(Conversation([text], made)) for made in range(2))

    assert (first.delay, first.hold, second.delay, second.hold) == (2.0, None, 0.0, "gate")


def test_without_directives_the_answer_repeats_the_texts_and_outputs() -> None:
    step = next_step(Conversation(["hello"], 1, ["hi"]))

    assert step.action == Say("MOCK-ANSWER: hello || OUTPUTS: hi")


def test_a_failure_ends_with_the_next_text() -> None:
    assert next_step(Conversation(["[[http: 500]]"])).action == Fail(500)
    assert isinstance(next_step(Conversation(["[[http: 500]]", "again"])).action, Say)


def test_a_message_directive_gets_the_id_of_its_message() -> None:
    text = '[msg:7] from a: x\n[msg:8] from b: [[mcp: relay relay_reply {"message_id": %N%}]]'

    call = next_step(Conversation([text])).action

    assert isinstance(call, Call)
    assert arguments_of(call) == ("relay relay_reply", {"message_id": 8})


def test_nested_directives_stay_for_the_receiver() -> None:
    inner = '[[mcp: relay relay_reply {\\"message_id\\": %N%}]]'
    text = f'[msg:7] from a: [[mcp: relay relay_send {{"to": "b", "body": "{inner}"}}]]'

    call = next_step(Conversation([text])).action

    assert isinstance(call, Call)
    body = arguments_of(call)[1]["body"]
    assert list(directives(body)) == [("mcp", 'relay relay_reply {"message_id": %N%}')]


def test_a_rule_answers_each_message() -> None:
    conversation = Conversation(["[msg:3] from a: one\n[msg:4] from a: two"], calls_made=1)

    call = next_step(conversation, on_message='[[tool: reply {"to": %N%}]]').action

    assert call == Call("tool", 'reply {"to": 4}')


def test_escaped_quotes_of_an_envelope_are_understood() -> None:
    assert arguments_of(Call("tool", "x {&quot;a&quot;: 1}")) == ("x", {"a": 1})


@pytest.mark.parametrize("text", ["[[shell: never closed", "[shell: x]", "no directive"])
def test_what_is_no_directive_is_ignored(text: str) -> None:
    assert list(directives(text)) == []


def test_message_ids_are_listed_in_order_with_repeats() -> None:
    assert message_ids(["[msg:2] from a: x [msg:1] from b: y", "[msg:2] from a"]) == [2, 1, 2]
