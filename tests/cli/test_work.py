"""Tasks, claims and labels, typed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from relay_agentd import relay_calls as calls
from relay_agentd.relay_client import RelayClient
from tests.cli.machine import Machine
from tests.support.terminal import Terminal

AGENT = "box-claude-shop-0a0b0c0d"
TOKEN = "an-integration-of-the-test-0123"


@pytest.fixture(scope="module")
def running() -> Iterator[Machine]:
    """A machine whose relay knows an integration."""
    integration = {"name": "ops-alerts", "token": TOKEN, "scopes": ["tasks:create"]}
    with Machine() as machine:
        up = machine.run("up", AGENT_RELAY_INTEGRATIONS=json.dumps([integration]))
        assert up.returncode == 0, up.stderr
        yield machine


@pytest.fixture
def client(running: Machine) -> Iterator[RelayClient]:
    """Of the relay, with one agent."""
    with RelayClient(running.url) as client:
        agent = {"id": AGENT, "label": "backend", "capabilities": ["ops"]}
        client.request(calls.register(agent))
        client.request(calls.set_status(AGENT, "idle"))
        yield client


def report(client: RelayClient, **fields: Any) -> dict[str, Any]:
    """A new task."""
    given = {"title": "Disk is full", "target": "cap:ops", "from": "operator", **fields}
    task: dict[str, Any] = client.request(calls.Call(method="POST", path="/api/tasks", body=given))
    return task


def external(machine: Machine, title: str) -> dict[str, Any]:
    """A new task of the integration."""
    with RelayClient(machine.url, TOKEN) as client:
        event = {"title": title, "target": "cap:ops"}
        call = calls.Call(method="POST", path="/api/integrations/events", body=event)
        task: dict[str, Any] = client.request(call)["task"]
        return task


def rows(text: str) -> dict[int, list[str]]:
    """The lines of a listing by their first field."""
    fields = [line.split("\t") for line in text.splitlines()]
    return {int(each[0]): each for each in fields}


def test_tasks_lists_what_has_not_ended(running: Machine, client: RelayClient) -> None:
    task, ended = report(client, severity="critical"), report(client)
    client.request(calls.set_task_status(ended["id"], "operator", {"status": "done"}))

    listed = rows(running.run("tasks").stdout)

    assert listed[task["id"]][:7] == [
        *(str(task["id"]), "open", "Disk is full", "", "cap:ops", "critical", "operator"),
    ]
    assert ended["id"] not in listed
    assert ended["id"] in rows(running.run("tasks", "--all").stdout)
    assert list(rows(running.run("tasks", "--status", "done").stdout)) == [ended["id"]]


def test_tasks_can_be_filtered(running: Machine, client: RelayClient) -> None:
    mine = report(client, title="Index the archive", channel="db")
    theirs = external(running, "CPU is hot")

    assert list(rows(running.run("tasks", "-q", "archive").stdout)) == [mine["id"]]
    assert list(rows(running.run("tasks", "--channel", "db").stdout)) == [mine["id"]]
    assert theirs["id"] in rows(running.run("tasks", "--source", "ops-alerts").stdout)
    assert mine["id"] not in rows(running.run("tasks", "--source", "ops-alerts").stdout)
    assert [task["id"] for task in running.json("tasks", "-n", "1")["tasks"]] == [theirs["id"]]


def test_a_task_is_shown_whole_with_its_history(running: Machine, client: RelayClient) -> None:
    task = report(client, body="df says\n\x1b[31m100 %", externalUrl="https://mon.example.com/1")

    with running.terminal("task", str(task["id"])) as terminal:
        screen = terminal.wait_for_text(r"created  open  operator")

    assert f"task {task['id']}  Disk is full  open" in screen
    assert "see: https://mon.example.com/1" in screen
    assert "<U+001B>[31m100 %" in screen
    assert running.json("task", str(task["id"]))["events"][0]["type"] == "task.created"
    assert running.run("task", str(task["id"])).stdout.split("\t")[3] == ""


def test_a_task_is_claimed_by_its_number_and_nobody_else_gets_it(
    running: Machine, client: RelayClient
) -> None:
    number = str(report(client)["id"])

    claimed = running.run("claim", "--task", number, "--for", "backend")
    again = running.run("claim", "--task", number)

    assert claimed.stdout.split("\t")[:3] == [number, "claimed", AGENT]
    assert again.returncode == 4
    assert again.stderr == f"relay-agentd: It was claimed by {AGENT}.\n"
    assert rows(running.run("tasks", "--claimed-by", AGENT).stdout)[int(number)][3] == AGENT


def test_a_message_is_claimed_by_its_number_and_given_back(
    running: Machine, client: RelayClient
) -> None:
    task = report(client)
    message = str(task["messageId"])

    assert running.run("claim", message).stdout.split("\t")[1:3] == ["claimed", "operator"]
    assert running.json("task", str(task["id"]))["claimedBy"] == "operator"
    with running.terminal("claim", message, "--release") as terminal:
        terminal.wait_for_text(rf"#{message} is open again\.")
    assert running.json("task", str(task["id"]))["status"] == "open"


def test_claiming_nothing_is_told_that_tasks_have_other_numbers(running: Machine) -> None:
    done = running.run("claim", "99999")

    assert done.returncode == 4
    assert "relay-agentd tasks" in done.stderr
    assert "There is no task 99999" in running.run("claim", "--task", "99999").stderr


def test_what_comes_from_outside_is_marked_for_people_too(
    running: Machine, client: RelayClient
) -> None:
    task = external(running, "CPU is very hot")

    with running.terminal("thread", str(task["messageId"])) as terminal:
        screen = terminal.wait_for_text("CPU is very hot")

    assert f"external:ops-alerts → cap:ops" in screen  # noqa: F541
    assert f"task {task['id']}" in screen
    assert screen.count("CPU is very hot") == 1


def test_a_session_is_labelled_by_id_or_label_and_cleared(
    running: Machine, client: RelayClient
) -> None:
    assert running.run("label", "the backend", "--agent", AGENT).stdout == f"{AGENT}\tthe backend\n"
    assert running.json("label", "--clear", "--agent", "The Backend")["label"] is None


@pytest.mark.parametrize("arguments", [(), ("x",), ("x", "--clear", "--agent", AGENT)])
def test_a_label_needs_a_name_and_a_session(running: Machine, arguments: tuple[str, ...]) -> None:
    assert running.run("label", *arguments).returncode == 2


def test_a_command_inside_a_session_speaks_of_that_session(running: Machine) -> None:
    with running.terminal("run", "stand-in") as window:
        window.wait_for_text("READY")
        session = running.a_session()
        inside = {"AGENT_RELAY_SESSION": session["key"]}

        named = running.run("label", "here", **inside)
        running.run("stop", session["key"])
        window.exit_status()

    assert named.stdout == f"{session['agentId']}\there\n"


def test_a_table_fits_a_narrow_window_and_cuts_no_id(running: Machine, client: RelayClient) -> None:
    report(client, title="A long title of many words " * 4)
    running.run("claim", "--task", str(report(client)["id"]), "--for", AGENT)

    with Terminal(
        running.argv("tasks"), running.environment(), running.home.project, 60, 72
    ) as terminal:
        screen = terminal.wait_for_text(r"a wider window or --json also shows .*SEEN")

    assert AGENT in screen
    heading = next(line for line in screen.splitlines() if line.startswith("TASK"))
    assert heading.split()[:3] == ["TASK", "STATUS", "TITLE"]
