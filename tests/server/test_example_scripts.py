"""The examples for outside systems, run as they are against a real relay; and their page."""

import hashlib
import hmac
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.documents import EXAMPLES, ROOT, blocks, run, run_shell
from tests.support.ports import free_port
from tests.support.relay_process import RelayProcess
from tests.support.wait import eventually

Json = dict[str, Any]
PATH = os.environ.get("PATH", "")
AWKWARD = 'He said "no" \\ and\nleft\t$(true) `x` \x01 \u2013 é 100 %'
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))


def settings_of(document: str) -> list[Json]:
    """The integrations that a page tells people to set up."""
    text = "\n".join(blocks(document, "json")) or _indented_json(document)
    return list(json.loads(text))


def _indented_json(document: str) -> str:
    """A block inside a numbered list."""
    found = re.search(
        r"^ +```json\n(.*?)^ +```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


class Outside:
    """A relay with integrations, and what an outside system sees of it."""

    def __init__(self, folder: Path, integrations: list[Json]) -> None:
        self.token = integrations[0]["token"]
        self.relay = RelayProcess(
            folder,
            AGENT_RELAY_TOKEN="own-token",
            AGENT_RELAY_INTEGRATIONS=json.dumps(integrations),
        ).start()
        self.client = httpx.Client(
            base_url=self.relay.url,
            headers={"Authorization": "Bearer own-token"},
            trust_env=False,
            timeout=20,
        )

    def environment(self, **more: str) -> dict[str, str]:
        known = {"AGENT_RELAY_URL": self.relay.url, "AGENT_RELAY_TOKEN": self.token}
        return {"PATH": PATH, **known, **more}

    def run(
        self, script: str, *words: str, text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        argv = ["sh", str(EXAMPLES / script), *words]
        return run(argv, self.environment(**environment), text)

    def tasks(self) -> list[Json]:
        found = self.client.get("/api/tasks").json()["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def close(self) -> None:
        self.client.close()
        self.relay.kill()


DESK = [
    {
        "name": "desk",
        "token": "desk-token",
        "scopes": ["tasks:create", "tasks:read"],
        "targets": ["tag:ops", "tag:support"],
    }
]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    found = Outside(tmp_path, DESK)
    yield found
    found.close()


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """One for all the calls that change nothing."""
    found = Outside(tmp_path_factory.mktemp("refusing"), DESK)
    yield found
    found.close()


# -- ops-alert.sh


def test_an_alert_fires_is_counted_and_ends(outside: Outside) -> None:
    said = [
        outside.run("ops-alert.sh", *words).stdout.strip()
        for words in (
            ("fire", "disk:/", "Disk is full", "99 %"),
            ("fire", "disk:/", "Disk is full", "99 %"),
            ("resolve", "disk:/", "Disk is full"),
            ("resolve", "disk:/", "Disk is full"),
        )
    ]

    assert said == [
        "a new task",
        "counted: its task is still open",
        "resolved",
        "nothing was open",
    ]
    (task,) = outside.tasks()
    assert (task["status"], task["occurrenceCount"], task["target"]) == ("done", 2, "tag:ops")


def test_any_text_arrives_as_it_was_given(outside: Outside) -> None:
    first = outside.run("ops-alert.sh", "fire", 'k "1"', 'Ti"t\\le', AWKWARD)
    second = outside.run("ops-alert.sh", "fire", "k2", "from stdin", "-", text=AWKWARD)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    one, two = outside.tasks()
    assert (one["dedupeKey"], one["title"], one["body"]) == ('k "1"', 'Ti"t\\le', AWKWARD)
    assert two["body"] == AWKWARD


def test_an_alert_goes_where_it_is_told(outside: Outside) -> None:
    done = outside.run(
        "ops-alert.sh",
        *("fire", "k", "t"),
        AGENT_RELAY_TARGET="tag:support",
        AGENT_RELAY_CHANNEL="night",
        AGENT_RELAY_SEVERITY="critical",
    )

    assert done.returncode == 0, done.stderr
    (task,) = outside.tasks()
    assert [task[name] for name in ("target", "channel", "severity")] == [
        "tag:support",
        "night",
        "critical",
    ]


@pytest.mark.parametrize(
    ("words", "environment", "status", "said"),
    [
        ((), {}, 2, "usage"),
        (("burn", "k", "t"), {}, 2, "neither fire nor resolve"),
        (("fire", "", "t"), {}, 2, "must not be empty"),
        (("fire", "k", "t"), {"AGENT_RELAY_TOKEN": ""}, 2, "AGENT_RELAY_TOKEN is not set"),
        (("fire", "k", "t"), {"AGENT_RELAY_TOKEN": "wrong"}, 4, "refused (401)"),
        (("fire", "k", "t"), {"AGENT_RELAY_TARGET": "tag:x"}, 4, "may not post to that target"),
        (("fire", "k", "t" * 201), {}, 4, "refused (422): title"),
    ],
)
def test_an_alert_that_cannot_be_told_says_why(
    refusing: Outside, words: tuple[str, ...], environment: dict[str, str], status: int, said: str
) -> None:
    done = refusing.run("ops-alert.sh", *words, **environment)

    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert refusing.token not in done.stderr
    assert refusing.tasks() == []


@pytest.mark.parametrize(
    ("script", "words"),
    [("ops-alert.sh", ("fire", "k", "t")), ("support-ticket.sh", ("1", "t"))],
)
def test_a_relay_that_is_not_there_is_said_to_be_so(
    outside: Outside, script: str, words: tuple[str, ...]
) -> None:
    outside.relay.kill()

    done = outside.run(script, *words)

    assert done.returncode == 3
    assert "is not reachable" in done.stderr


# -- support-ticket.sh


def ticket_that_ends(outside: Outside, **update: Any) -> tuple[int, str, str]:
    """Run the script, do its task, and what came of it: status, stdout, stderr."""
    outside.client.post("/api/agents", json={"id": "helper", "tags": ["support"]})
    process = subprocess.Popen(
        ["sh", str(EXAMPLES / "support-ticket.sh"), "T-7", "Cannot log in", AWKWARD],
        env=outside.environment(AGENT_RELAY_INTERVAL="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            (task,) = eventually(outside.tasks, 15)
            path = f"/api/tasks/{task['id']}"
            claimed = outside.client.post(f"{path}/claim", json={"agentId": "helper"})
            assert claimed.status_code == 200, claimed.text
            ended = outside.client.patch(f"{path}/status", json={"agentId": "helper", **update})
            assert ended.status_code == 200, ended.text
            said, complained = process.communicate(timeout=20)
        finally:
            process.kill()
    return process.returncode, said, complained


def test_a_ticket_waits_for_its_result(outside: Outside) -> None:
    status, said, _ = ticket_that_ends(outside, status="done", result=AWKWARD)

    assert (status, said) == (0, f"{AWKWARD}\n")
    (task,) = outside.tasks()
    assert (task["dedupeKey"], task["body"]) == ("ticket:T-7", AWKWARD)


def test_a_ticket_says_that_its_task_failed(outside: Outside) -> None:
    status, said, complained = ticket_that_ends(
        outside, status="failed", result={"why": "no such user"}
    )

    assert (status, said) == (5, "")
    assert 'ended as failed: {"why": "no such user"}' in complained


def test_a_ticket_says_when_nobody_was_done_in_time(outside: Outside) -> None:
    done = outside.run("support-ticket.sh", "T-8", "Slow", AGENT_RELAY_TIMEOUT="0")

    assert (done.returncode, done.stdout) == (1, "")
    assert "is open" in done.stderr


def test_a_ticket_asked_again_waits_for_the_same_task(outside: Outside) -> None:
    for _ in range(2):
        outside.run("support-ticket.sh", "T-9", "Twice", AGENT_RELAY_TIMEOUT="0")

    assert [task["occurrenceCount"] for task in outside.tasks()] == [2]


def test_a_ticket_needs_the_right_to_look(tmp_path: Path) -> None:
    found = Outside(tmp_path, [{"name": "d", "token": "t-1", "scopes": ["tasks:create"]}])
    try:
        done = found.run("support-ticket.sh", "T-1", "x")
    finally:
        found.close()

    assert done.returncode == 4
    assert "tasks:read" in done.stderr


# -- the pages


def test_the_integration_pages_lines_run_in_order(tmp_path: Path) -> None:
    found = Outside(tmp_path, settings_of("docs/integrations.md"))
    try:
        done = run_shell("\n".join(blocks("docs/integrations.md", "sh")), found.environment())
        (task,) = found.tasks()
    finally:
        found.close()

    assert done.returncode == 0, done.stdout + done.stderr
    assert (task["status"], task["occurrenceCount"], task["severity"]) == ("done", 2, "critical")


def test_the_github_pages_lines_make_a_task(tmp_path: Path) -> None:
    page = "scripts/examples/github-webhook.md"
    settings = settings_of(page)
    found = Outside(tmp_path, settings)
    try:
        environment = found.environment(SECRET=settings[0]["webhookSecret"])
        done = run_shell(blocks(page, "sh")[-1], environment)
        (task,) = found.tasks()
    finally:
        found.close()

    assert done.returncode == 0, done.stdout + done.stderr
    assert (task["source"], task["title"]) == ("github", "me/mine#1: Try it")


def test_the_alertmanager_examples_receiver_takes_a_real_payload(outside: Outside) -> None:
    url = re.search(r"url: http://localhost:4850(\S+)", (EXAMPLES / "alertmanager.yml").read_text())
    assert url is not None
    sent = (ROOT / "tests/data/connectors/alertmanager-firing.json").read_bytes()
    headers = {"Authorization": f"Bearer {outside.token}", "Content-Type": "application/json"}

    answer = outside.client.post(url[1], content=sent, headers=headers)

    assert answer.status_code == 200, answer.text
    assert [task["target"] for task in outside.tasks()] == ["tag:ops", "tag:ops"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_script_is_plain_shell_and_explains_itself(script: Path) -> None:
    text = script.read_text()

    assert text.startswith("#!/bin/sh\n# ")
    assert os.access(script, os.X_OK)
    assert [word for word in ("Needs ", "Environment ", "Ends with ") if word not in text] == []
    assert run(["sh", "-n", str(script)], {"PATH": PATH}).returncode == 0


# -- the receiver of callbacks


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The page's receiver in a process of its own, and its address."""
    (program,) = blocks("docs/integrations.md", "python")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PATH": PATH, "SECRET": "another-random-one", "PORT": str(port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually(lambda: _accepts(port), 15)
    with process:
        yield process, f"http://127.0.0.1:{port}/"
        process.kill()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_pages_receiver_takes_each_signed_delivery_once(
    receiver: tuple[subprocess.Popen[str], str],
) -> None:
    process, url = receiver
    task = {"id": 7, "status": "done"}
    body = json.dumps({"event": "task.status", "task": task}).encode()
    signature = hmac.new(b"another-random-one", body, hashlib.sha256).hexdigest()
    signed = {
        "X-Agent-Relay-Signature": f"sha256={signature}",
        "X-Agent-Relay-Delivery": "d-1",
    }

    with httpx.Client(trust_env=False, timeout=10) as client:
        answers = [
            client.post(url, content=sent, headers=headers).status_code
            for sent, headers in (
                (body, {}),
                (body + b" ", signed),
                (body, signed),
                (body, signed),
            )
        ]

    assert answers == [401, 401, 204, 204]
    process.kill()
    said, _ = process.communicate()
    assert said == "task.status 7 done\n"


def test_the_pages_receiver_hears_a_real_relay(
    tmp_path: Path, receiver: tuple[subprocess.Popen[str], str]
) -> None:
    process, url = receiver
    (settings,) = settings_of("docs/integrations.md")
    found = Outside(tmp_path, [{**settings, "callbackUrl": url}])
    try:
        found.run("ops-alert.sh", "fire", "k", "Disk is full")
        found.run("ops-alert.sh", "resolve", "k", "Disk is full")
        (task,) = found.tasks()
        path = f"/api/tasks/{task['id']}/callbacks"

        def are_delivered() -> bool:
            callbacks = found.client.get(path).json()["callbacks"]
            return [each["status"] for each in callbacks] == ["delivered", "delivered"]

        eventually(are_delivered, 20)
    finally:
        found.close()

    process.kill()
    said, _ = process.communicate()
    assert said == f"task.created {task['id']} open\ntask.status {task['id']} done\n"
