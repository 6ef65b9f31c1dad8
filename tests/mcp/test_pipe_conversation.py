"""What the pipe remembers for the next daemon, and what it answers in a daemon's stead."""

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay_agentd.mcp_pipe import CALL_PATIENCE, REPLAY_ID, Conversation, encode


def heard(conversation: Conversation, message: dict[str, Any], now: float = 0.0) -> None:
    conversation.note_from_client(message, encode(message), now)


def a_request(number: int, method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


INITIALIZE = a_request(0, "initialize", protocolVersion="2025-06-18")
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def after_the_handshake() -> Conversation:
    conversation = Conversation()
    heard(conversation, INITIALIZE)
    conversation.wants({"id": 0, "result": {}})
    heard(conversation, INITIALIZED)
    return conversation


def test_an_answered_handshake_is_replayed_under_a_number_of_its_own() -> None:
    conversation = after_the_handshake()

    assert lines(conversation.greeting() or b"") == [{**INITIALIZE, "id": REPLAY_ID}]
    assert lines(conversation.resume()) == [INITIALIZED]
    assert not conversation.wants({"id": REPLAY_ID, "result": {}})


def test_an_unanswered_initialize_is_sent_again_as_it_was() -> None:
    conversation = Conversation()
    heard(conversation, INITIALIZE)

    assert conversation.greeting() is None
    assert lines(conversation.resume()) == [INITIALIZE]
    assert conversation.wants({"id": 0, "result": {}})


def test_unanswered_requests_are_sent_again_in_their_order() -> None:
    conversation = after_the_handshake()
    for number in (1, 2, 3):
        heard(conversation, a_request(number))
    conversation.wants({"id": 2, "result": {}})

    assert [message.get("id") for message in lines(conversation.resume())] == [None, 1, 3]


def test_a_second_answer_is_kept_from_the_client() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1))

    assert conversation.wants({"id": 1, "result": {}})
    assert not conversation.wants({"id": 1, "result": {}})


def test_a_request_of_the_daemon_s_does_not_answer_one_of_the_client_s() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1))

    assert conversation.wants({"id": 1, "method": "ping"})
    assert conversation.wants({"id": 1, "result": {}})


def test_numbers_and_strings_are_different_ids() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1))

    assert not conversation.wants({"id": "1", "result": {}})


def test_a_call_waits_and_is_then_told_that_nothing_was_done() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1), now=100.0)

    assert conversation.give_up(100.0 + CALL_PATIENCE - 1, "") == b""
    (answer,) = lines(conversation.give_up(100.0 + CALL_PATIENCE, "who are you?"))
    assert answer["id"] == 1
    assert answer["result"]["isError"] is True
    text = answer["result"]["content"][0]["text"]
    assert "nothing was done (who are you?)" in text
    assert not conversation.wants({"id": 1, "result": {}})


def test_a_call_the_daemon_had_is_told_that_it_may_have_been_done() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1), now=0.0)
    conversation.resume()
    conversation.interrupted(now=100.0)

    assert conversation.give_up(100.0 + CALL_PATIENCE - 1, "") == b""
    (answer,) = lines(conversation.give_up(100.0 + CALL_PATIENCE, ""))
    assert "may or may not have taken effect" in answer["result"]["content"][0]["text"]


def test_a_call_that_ends_every_daemon_is_given_up_in_the_end() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1), now=0.0)
    for second in range(60):
        conversation.resume()
        conversation.interrupted(now=float(second))

    assert lines(conversation.give_up(60.0, ""))


def test_other_requests_get_an_error_of_the_protocol() -> None:
    conversation = after_the_handshake()
    heard(conversation, a_request(1, "prompts/list"), now=0.0)

    (answer,) = lines(conversation.give_up(CALL_PATIENCE, ""))

    assert answer["error"]["code"] == -32000


class ConversationMachine(RuleBasedStateMachine):
    """A client that asks, and daemons that answer, die in between, and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = after_the_handshake()
        self.now = 0.0
        self.connected = False
        self.asked: list[int] = []
        self.heard: list[int] = []
        self.at_daemon: list[int] = []

    @rule(method=st.sampled_from(["tools/call", "tools/list", "ping"]))
    def ask(self, method: str) -> None:
        number = len(self.asked) + 1
        self.asked.append(number)
        heard(self.conversation, a_request(number, method), self.now)
        if self.connected:
            self.at_daemon.append(number)

    @rule()
    @precondition(lambda self: not self.connected)
    def connect(self) -> None:
        self.connected = True
        sent = lines(self.conversation.resume())
        self.at_daemon = [message["id"] for message in sent if "id" in message]

    @rule(data=st.data())
    @precondition(lambda self: self.at_daemon)
    def answer(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.at_daemon))
        if self.conversation.wants({"id": number, "result": {}}):
            self.heard.append(number)

    @rule()
    @precondition(lambda self: self.connected)
    def die(self) -> None:
        self.connected = False
        self.at_daemon = []
        self.conversation.interrupted(self.now)

    @rule(seconds=st.floats(0.1, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if not self.connected:
            answers = lines(self.conversation.give_up(self.now, ""))
            self.heard.extend(answer["id"] for answer in answers)

    @invariant()
    def nothing_is_answered_twice(self) -> None:
        assert len(self.heard) == len(set(self.heard))

    def teardown(self) -> None:
        if not self.connected:
            self.connect()
        for number in self.at_daemon:
            if self.conversation.wants({"id": number, "result": {}}):
                self.heard.append(number)
        assert sorted(self.heard) == self.asked


TestEveryRequestIsAnsweredExactlyOnce = ConversationMachine.TestCase
