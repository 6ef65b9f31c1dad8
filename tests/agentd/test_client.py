"""`RelayClient`, the public Python client, against a real relay."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_agentd.client import (
    AgentdError,
    AlreadyClaimed,
    Forbidden,
    Message,
    NotFound,
    RelayClient,
    RelayUnreachable,
    StaleInstance,
)
from tests.support.documents import blocks
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually


@pytest.fixture
def person(relay: RelayProcess) -> Iterator[RelayClient]:
    """A script without an agent: it speaks as the operator."""
    with RelayClient(url=relay.url) as client:
        yield client


def agent(relay: RelayProcess, agent_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{relay.url}/api/agents/{agent_id}", trust_env=False).json()
    return found


def an_id(tmp_path: Path) -> str:
    """The relay is shared by the tests of this module."""
    return f"bot-{tmp_path.name[-40:]}".replace("[", "-").replace("]", "-")


def test_an_agent_is_on_the_relay_inside_with_and_offline_after(
    relay: RelayProcess, tmp_path: Path
) -> None:
    name = an_id(tmp_path)
    with RelayClient(name, url=relay.url, label="Bot", tags=["demo"], capabilities=["x"]) as bot:
        seen = bot.agent()

        assert (seen.id, seen.label, seen.tags, seen.capabilities) == (
            name,
            "Bot",
            ("demo",),
            ("x",),
        )
        assert seen.is_online
        assert not seen.must_ask
        assert seen.last_seen_at is not None
        assert bot.set_status("busy", "counting").status_detail == "counting"
        assert bot.set_label(None).label is None

    assert agent(relay, name)["status"] == "offline"


def test_mail_comes_as_it_is_sent_and_is_answered_in_its_thread(
    relay: RelayProcess, person: RelayClient, tmp_path: Path
) -> None:
    name = an_id(tmp_path)
    with RelayClient(name, url=relay.url) as bot:
        listening = threading.Thread(target=_answer_two, args=(bot,))
        listening.start()

        first = person.send(name, "one", subject="count")
        person.send(name, "two")
        listening.join(20)

        assert [each.body for each in person.thread(first)] == ["one", "echo: one"]
        assert person.thread(first)[1].reply_to == first.id
        assert (first.subject, first.sender, first.recipients) == ("count", "operator", 1)
        assert bot.poll() == []


def _answer_two(bot: RelayClient) -> None:
    arriving = bot.messages()
    for _ in range(2):
        message = next(arriving)
        bot.reply(message, f"echo: {message.body}")
        bot.mark_read(message)
    arriving.close()  # type: ignore[attr-defined]


def test_a_message_whose_work_failed_is_offered_again(
    relay: RelayProcess, person: RelayClient, tmp_path: Path
) -> None:
    name = an_id(tmp_path)
    with RelayClient(name, url=relay.url) as bot:
        sent = person.send(name, "difficult")
        with pytest.raises(ZeroDivisionError):
            fail_at(bot.messages())

        again = next(bot.messages())

    assert again.id == sent.id


def fail_at(messages: Iterator[Message]) -> None:
    for message in messages:
        raise ZeroDivisionError(message)


def test_the_same_key_sends_once(relay: RelayProcess, person: RelayClient, tmp_path: Path) -> None:
    with RelayClient(an_id(tmp_path), url=relay.url) as bot:
        first = bot.send("operator", "hello", key=f"k-{bot.id}")
        second = bot.send("operator", "hello", key=f"k-{bot.id}")

    assert first.id == second.id
    assert person.message(first.id).body == "hello"


def test_work_is_for_one(relay: RelayProcess, person: RelayClient, tmp_path: Path) -> None:
    name = an_id(tmp_path)
    with (
        RelayClient(name, url=relay.url, tags=[name]) as one,
        RelayClient(f"{name}-2", url=relay.url, tags=[name]) as other,
    ):
        work = person.send(f"tag:{name}", "count to three", claimable=True)
        claimed = one.claim(work, lease=60)
        with pytest.raises(AlreadyClaimed) as refused:
            other.claim(work)
        one.release(work)
        other.claim(work)
        other.complete(work, "one, two, three")

    assert claimed.claim is not None
    assert claimed.claim.agent_id == name
    assert claimed.claim.expires_at > claimed.claim.claimed_at
    assert refused.value.claimed_by == name
    assert person.thread(work)[1].body == "one, two, three"


def test_a_task_is_reported_claimed_and_done(
    relay: RelayProcess, person: RelayClient, tmp_path: Path
) -> None:
    name = an_id(tmp_path)
    with RelayClient(name, url=relay.url) as bot:
        made = person.create_task("The disk is full", name, severity="high")
        offered = bot.poll(wait=10)[0]
        assert offered.task_id == made.id
        bot.claim_task(made.id)
        bot.update_task(made.id, "in_progress", progress=50)
        done = bot.update_task(made.id, "done", result="12 GB are free again")

    assert (done.status, done.result, done.claimed_by) == ("done", "12 GB are free again", name)
    assert person.task(made.id).status == "done"
    assert made.id in [task.id for task in person.tasks(target=name)]


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_person_is_asked_and_the_answer_waited_for(
    relay: RelayProcess, tmp_path: Path, decision: str
) -> None:
    def decide() -> None:
        pending = eventually(
            lambda: [
                each
                for each in relay_get(relay, "/api/approvals?status=pending")["approvals"]
                if each["agentId"] == name
            ]
        )
        path = f"{relay.url}/api/approvals/{(pending or [])[0]['id']}/decision"
        httpx.post(path, json={"decision": decision, "reason": "as you like"}, trust_env=False)

    name = an_id(tmp_path)
    deciding = threading.Thread(target=decide)
    with RelayClient(name, url=relay.url) as bot:
        deciding.start()
        answer = bot.ask("shell", "Delete the build folder", {"command": "rm -r build"})
        deciding.join()

    assert answer.allowed is (decision == "allow")
    assert answer.reason == "as you like"


def relay_get(relay: RelayProcess, path: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{relay.url}{path}", trust_env=False).json()
    return found


def test_a_question_that_nobody_waits_for_any_more_is_taken_back(
    relay: RelayProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = an_id(tmp_path)
    with RelayClient(name, url=relay.url) as bot:
        answers = iter([True])

        def interrupted(call: Any, first: Any = bot._http.request) -> Any:
            if "/api/approvals/" in call.path and call.method == "GET" and next(answers, None):
                raise KeyboardInterrupt
            return first(call)

        monkeypatch.setattr(bot._http, "request", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bot.ask("shell", "Delete the build folder")

        (asked,) = [
            each
            for each in relay_get(relay, "/api/approvals")["approvals"]
            if each["agentId"] == name
        ]
    assert asked["status"] == "canceled"


def test_a_newer_run_fences_the_older_one_off(relay: RelayProcess, tmp_path: Path) -> None:
    name = an_id(tmp_path)
    with RelayClient(name, url=relay.url) as old, RelayClient(name, url=relay.url):
        with pytest.raises(StaleInstance):
            old.heartbeat()
        old._registered = False  # it has nothing to say goodbye to


def test_refusals_have_names(relay: RelayProcess, person: RelayClient) -> None:
    with pytest.raises(NotFound, match="nobody-at-all"):
        person.send("nobody-at-all", "hello")
    with pytest.raises(AgentdError, match="has no agent"):
        person.poll()


def test_a_wrong_token_is_told_at_once(tmp_path: Path) -> None:
    with (
        RelayProcess(tmp_path, AGENT_RELAY_TOKEN="right") as relay,
        pytest.raises(Forbidden),
        RelayClient("bot", url=relay.url, token="wrong"),
    ):
        pass


def test_without_a_relay_it_gives_up_when_its_patience_ends() -> None:
    client = RelayClient("bot", url="http://127.0.0.1:9", patience=0.2)
    with pytest.raises(RelayUnreachable):
        client.register()
    client.close()


def test_a_relay_that_was_away_is_taken_up_again(own_relay: RelayProcess) -> None:
    with (
        RelayClient("bot", url=own_relay.url) as bot,
        RelayClient(url=own_relay.url) as person,
    ):
        arriving = bot.messages()
        person.send("bot", "before")
        assert next(arriving).body == "before"
        own_relay.kill()
        own_relay.start()
        person.send("bot", "after")

        assert next(arriving).body == "after"


def test_a_relay_that_has_forgotten_it_gets_to_know_it_again(own_relay: RelayProcess) -> None:
    with (
        RelayClient("bot", url=own_relay.url, heartbeat=0.1, label="Bot") as bot,
        RelayClient(url=own_relay.url) as person,
    ):
        own_relay.kill()
        own_relay.database.unlink()
        own_relay.start()

        eventually(lambda: [each for each in person.agents() if each.label == "Bot"], 20)
        person.send("bot", "do you know me?")
        assert next(bot.messages()).body == "do you know me?"


def test_where_the_relay_is_comes_from_the_settings(
    relay: RelayProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_RELAY_URL", relay.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with RelayClient(an_id(tmp_path)) as bot:
        assert bot.url == relay.url


def test_the_lines_of_its_page_are_python() -> None:
    lines = blocks("docs/client.md", "python")

    assert len(lines) >= 4
    for each in lines:
        compile(each, "docs/client.md", "exec")
