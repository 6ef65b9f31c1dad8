"""What docs/providers.md promises: its lines and its example agent, against a real relay."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.documents import EXAMPLES, ROOT, blocks, run, run_shell
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

Json = dict[str, Any]
TOKEN = "the-servers-own"
PATH = os.environ.get("PATH", "")


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    process = RelayProcess(tmp_path, AGENT_RELAY_TOKEN=TOKEN)
    yield process.start()
    process.kill()


@pytest.fixture
def client(relay: RelayProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=relay.url, headers=headers, trust_env=False, timeout=20) as found:
        yield found


def environment(relay: RelayProcess) -> dict[str, str]:
    home = str(relay.folder)
    relay_at = {"AGENT_RELAY_URL": relay.url, "AGENT_RELAY_TOKEN": TOKEN}
    return {"PATH": PATH, "HOME": home, "PYTHONPATH": str(ROOT), **relay_at}


def message(client: httpx.Client, number: int) -> Json:
    return dict(client.get(f"/api/messages/{number}").json())


def send(client: httpx.Client, to: str, body: str, **fields: Any) -> int:
    given = {"from": "operator", "to": to, "body": body, **fields}
    answer = client.post("/api/messages", json=given)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


# -- the lines


def test_the_pages_lines_run_in_order(relay: RelayProcess, client: httpx.Client) -> None:
    steps = blocks("docs/providers.md", "sh")

    done = run_shell("\n".join(steps), environment(relay))

    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "event: hello" in done.stdout
    assert "event: message" in done.stdout
    assert '"code":"stale_instance"' in done.stdout
    agent = client.get("/api/agents/curl-agent").json()
    assert (agent["status"], agent["epoch"]) == ("offline", 2)
    asked, answer, work, result, offer = sorted(
        client.get("/api/messages").json()["messages"], key=lambda each: int(each["id"])
    )
    assert message(client, asked["id"])["receipts"][0]["state"] == "replied"
    assert (answer["replyTo"], answer["to"], answer["body"]) == (asked["id"], "operator", "Yes.")
    assert work["claim"]["completedAt"] is not None
    assert (result["replyTo"], result["body"]) == (work["id"], "one, two, three")
    (task,) = client.get("/api/tasks").json()["tasks"]
    assert (task["status"], task["result"]) == ("done", "12 GB are free again")
    assert offer["claim"]["completedAt"] is not None
    (approval,) = client.get("/api/approvals").json()["approvals"]
    assert (approval["status"], approval["decision"]) == ("allowed", "allow")


def test_the_pages_lines_run_without_a_token_too(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        lines = "\n".join(blocks("docs/providers.md", "sh"))
        done = run_shell(lines, {"PATH": PATH, "AGENT_RELAY_URL": relay.url})

    assert done.returncode == 0, done.stdout + done.stderr


# -- the agent


@pytest.fixture
def start_agent(relay: RelayProcess) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the example agent; whatever still runs is ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(agent_id: str = "echo", token: str = TOKEN) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "echo_agent.py"), agent_id],
            env={**environment(relay), "AGENT_RELAY_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def has_joined(client: httpx.Client, agent_id: str = "echo", epoch: int = 1) -> bool:
    answer = client.get(f"/api/agents/{agent_id}")
    return answer.status_code == 200 and answer.json()["epoch"] == epoch


def answers_to(client: httpx.Client, number: int) -> list[str]:
    thread = client.get(f"/api/messages/{number}/thread").json()["messages"]
    return [each["body"] for each in thread if each["replyTo"] == number]


def test_the_agent_joins_answers_once_and_leaves(
    client: httpx.Client, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_agent()
    eventually(lambda: has_joined(client), 15)

    number = send(client, "echo", 'a "b"\nc')

    eventually(lambda: message(client, number)["receipts"][0]["state"] == "replied", 15)
    assert answers_to(client, number) == ['echo: a "b"\nc']
    eventually(lambda: client.get("/api/agents/echo").json()["unread"] == 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0
    assert client.get("/api/agents/echo").json()["status"] == "offline"


def test_an_agents_token_is_enough_for_it(
    relay: RelayProcess, client: httpx.Client, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    words = ["token", "create", "echo", "--scope", "agent", "--db", str(relay.database)]
    made = run([sys.executable, "-m", "relay_server", *words], relay.environment())
    assert made.returncode == 0, made.stderr

    process = start_agent(token=made.stdout.split()[-1])
    eventually(lambda: has_joined(client), 15)
    mail, work = send(client, "echo", "a"), send(client, "cap:echo", "b", claimable=True)

    eventually(
        lambda: answers_to(client, mail) + answers_to(client, work) == ["echo: a", "echo: b"], 15
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0


def test_two_agents_share_the_work_without_doing_any_twice(
    client: httpx.Client, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    for agent_id in ("echo-1", "echo-2"):
        start_agent(agent_id)
    eventually(lambda: has_joined(client, "echo-1") and has_joined(client, "echo-2"), 15)

    work = [send(client, "cap:echo", f"job {number}", claimable=True) for number in range(6)]

    def is_done() -> bool:
        return all((message(client, each)["claim"] or {}).get("completedAt") for each in work)

    eventually(is_done, 20)
    assert [answers_to(client, each) for each in work] == [
        [f"echo: job {number}"] for number in range(6)
    ]


def test_an_agent_that_was_killed_before_it_acknowledged_answers_once_all_the_same(
    client: httpx.Client, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    first = start_agent()
    eventually(lambda: has_joined(client), 15)
    first.kill()
    first.wait()
    numbers = [send(client, "echo", f"mail {number}") for number in range(3)]
    # What the killed run had answered, but not acknowledged.
    answer = {"from": "echo", "replyTo": numbers[0], "body": "echo: mail 0"}
    key = {"Idempotency-Key": f"answer-{numbers[0]}"}
    assert client.post("/api/messages", json=answer, headers=key).status_code == 201

    start_agent()

    eventually(lambda: all(answers_to(client, number) for number in numbers), 15)
    assert [answers_to(client, number) for number in numbers] == [
        [f"echo: mail {number}"] for number in range(3)
    ]


def test_an_agent_ends_when_a_newer_run_takes_its_id(
    client: httpx.Client, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    old = start_agent()
    eventually(lambda: has_joined(client), 15)

    start_agent()
    eventually(lambda: has_joined(client, epoch=2), 15)

    # The old run waits for messages; the next thing it says is refused.
    send(client, "echo", "hello")
    assert old.wait(timeout=30) == 1
    assert old.stdout is not None
    assert "stale_instance" in old.stdout.read()
    assert client.get("/api/agents/echo").json()["status"] == "idle"


def test_an_agent_comes_back_after_the_relay_was_killed(
    relay: RelayProcess, client: httpx.Client, start_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    start_agent()
    eventually(lambda: has_joined(client), 15)

    relay.kill()
    relay.start()
    number = send(client, "echo", "again")

    eventually(lambda: answers_to(client, number) == ["echo: again"], 20)


def test_an_agent_with_a_wrong_token_says_so_and_ends(relay: RelayProcess) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "echo_agent.py"), "echo"],
        env={**environment(relay), "AGENT_RELAY_TOKEN": "wrong"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 1
    assert "unauthorized" in done.stderr
