"""Real sessions of both vendors talk over the relay; after the first prompt no key is pressed."""

from collections.abc import Callable

import pytest

from tests.e2e.stack import Session, Stack, tool
from tests.support.providers import CliName
from tests.support.script import Call
from tests.support.standin import Recorded
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

CLAUDES: list[CliName] = ["claude-2.1.197", "claude-2.1.330"]
ANSWER = "the migration is clean"
QUESTION = "is it clean? " + tool("relay_reply", message_id="%N%", body=ANSWER).replace(
    '"%N%"', "%N%"
)


def _sees_mail_with(text: str, sender: str) -> Callable[[Recorded], bool]:
    """Whether a request's newest texts hold a message of the sender with this text."""

    def sees(request: Recorded) -> bool:
        heads = [each for each in request.texts if f"] from {sender} " in each]
        return request.main and any(text in each for each in heads)

    return sees


@pytest.mark.parametrize("claude_version", CLAUDES)
def test_claude_asks_codex_answers_and_claude_is_woken_by_the_answer(
    stack: Stack, claude_version: CliName
) -> None:
    codex = stack.session("codex")
    claude = stack.session(claude_version)

    claude.terminal.submit(tool("relay_send", to=codex.id, body=QUESTION) + " [[say: asked]]")

    question = codex.model.wait_for(_sees_mail_with("is it clean?", claude.id))
    answer = claude.model.wait_for(_sees_mail_with(ANSWER, codex.id), within=40)
    assert isinstance(question.step.action, Call)
    assert len(question.message_ids()) == 1
    assert len(answer.message_ids()) == 1


@pytest.mark.parametrize("claude_version", CLAUDES)
def test_codex_in_a_long_turn_answers_when_the_turn_is_over(
    stack: Stack, claude_version: CliName
) -> None:
    codex = stack.session("codex")
    claude = stack.session(claude_version)
    codex.terminal.submit("[[hold: long turn]] [[say: at last]]")
    codex.model.wait_for(lambda request: request.step.hold == "long turn")
    eventually(lambda: stack.agent(codex.id)["status"] == "busy", 10)

    claude.terminal.submit(tool("relay_send", to=codex.id, body=QUESTION) + " [[say: asked]]")
    claude.model.wait_for(lambda request: "messageId" in str(request.body) or request.number > 1)
    codex.model.release("long turn")

    codex.model.wait_for(_sees_mail_with("is it clean?", claude.id), within=40)
    claude.model.wait_for(_sees_mail_with(ANSWER, codex.id), within=40)


@pytest.mark.parametrize("name", ["codex", *CLAUDES])
def test_a_plain_http_request_wakes_an_idle_session(stack: Stack, name: CliName) -> None:
    session = stack.session(name)

    number = stack.send(session.id, "hello from curl")

    session.model.wait_for(_sees_mail_with("hello from curl", "operator"))
    stack.wait_until_in_context(number)
    assert session.model.message_ids() == [number]


@pytest.mark.parametrize("name", ["codex", *CLAUDES])
def test_twenty_messages_in_a_burst_arrive_once_each_and_in_order(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name)

    numbers = [stack.send(session.id, f"number {count}") for count in range(20)]

    stack.wait_until_in_context(numbers[-1], within=60)
    _expect_exactly(session, numbers)


@pytest.mark.parametrize("name", ["codex", *CLAUDES])
def test_a_relay_that_is_killed_in_a_burst_loses_and_repeats_nothing(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name)
    numbers = [stack.send(session.id, f"number {count}") for count in range(10)]

    stack.relay().kill()
    eventually(lambda: not stack.is_up())
    stack.relay_agentd("up")
    numbers += [stack.send(session.id, f"number {count}") for count in range(10, 20)]

    stack.wait_until_in_context(numbers[-1], within=60)
    _expect_exactly(session, numbers)


@pytest.mark.parametrize("name", ["codex", *CLAUDES])
def test_a_daemon_that_is_killed_in_a_burst_loses_and_repeats_nothing(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name)
    numbers = [stack.send(session.id, f"number {count}") for count in range(10)]

    daemon = stack.daemon()
    daemon.kill()
    daemon.wait(5)
    numbers += [stack.send(session.id, f"number {count}") for count in range(10, 20)]

    stack.wait_until_in_context(numbers[-1], within=60)
    _expect_exactly(session, numbers)


def _expect_exactly(session: Session, numbers: list[int]) -> None:
    """The model's context ends up with these messages, once each, in this order."""
    eventually(
        lambda: session.model.message_ids() == numbers,
        within=60,
        message=lambda: f"expected {numbers}, in context: {session.model.message_ids()}",
    )
