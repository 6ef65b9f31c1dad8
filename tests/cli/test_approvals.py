"""What sessions ask, and a person's answer, typed."""

import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from relay_agentd import relay_calls as calls
from relay_agentd.relay_client import RelayClient
from tests.cli.machine import Machine
from tests.support.terminal import Terminal
from tests.support.wait import eventually

AGENT = "box-claude-shop-1a2b3c4d"
COMMAND = {
    "tool": "Bash",
    "summary": "rm -rf build",
    "input": {"command": "rm -rf build &&\n  make \x1b[2J\u202e", "description": "Clean up"},
}
EDIT = {
    "tool": "Edit",
    "summary": "Edit shop.py",
    "input": {"file_path": "shop.py", "old_string": "a\nb", "new_string": "a\nB"},
}


@pytest.fixture
def client(running: Machine) -> Iterator[RelayClient]:
    """Of the relay, with an agent that asks."""
    with RelayClient(running.url) as client:
        client.request(calls.register({"id": AGENT, "label": "backend"}))
        yield client
        for approval in client.request(calls.approvals(status="pending"))["approvals"]:
            client.request(calls.cancel_approval(approval["id"]))


def ask(client: RelayClient, fields: dict[str, Any], **more: Any) -> int:
    """The id of a new question."""
    key = f"ask-{len(client.request(calls.approvals(limit=500))['approvals'])}"
    call = calls.ask(AGENT, {**fields, **more}, idempotency_key=key)
    return int(client.request(call)["id"])


def window(machine: Machine, *arguments: str, cols: int = 80) -> Terminal:
    return Terminal(machine.argv(*arguments), machine.environment(), machine.home.project, 60, cols)


def test_a_person_reads_who_asks_and_exactly_what_would_be_done(
    running: Machine, client: RelayClient
) -> None:
    number, change = ask(client, COMMAND), ask(client, EDIT)

    with window(running, "approvals") as terminal:
        screen = terminal.wait_for_text(rf"#{change}  [\s\S]*\+B")

    lines = screen.splitlines()
    start = lines.index(f"#{number}  {AGENT} (backend)")
    assert re.fullmatch(r"    Bash, asked (now|\d+ s ago), expires in 9 min", lines[start + 1])
    assert lines[start + 2 : start + 5] == [
        "    $ rm -rf build &&",
        "        make <U+001B>[2J<U+202E>",
        "    description: Clean up",
    ]
    assert lines[start + 7 : start + 12] == [
        *("    Edit shop.py", "    shop.py", "    @@ -1,2 +1,2 @@", "     a", "    -b"),
    ]


def test_a_long_question_is_cut_in_the_list_and_whole_by_its_id(
    running: Machine, client: RelayClient
) -> None:
    text = "\n".join(f"line {number}" for number in range(30))
    number = ask(client, {"tool": "Write", "summary": "Write a", "input": {"content": text}})

    with window(running, "approvals") as terminal:
        terminal.wait_for_text(rf"more lines: relay-agentd approvals {number}")
    with window(running, "approvals", str(number)) as terminal:
        terminal.wait_for_text(r"^ +line 29$")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"command": ["git", "push", "my fork"]}, "$ git push 'my fork'"),
        ({"changes": [{"path": "a.py", "kind": {"type": "add"}, "diff": "x"}]}, "add a.py"),
        ({"changes": {"a.py": {"kind": "update", "diff": "@@\n-x"}}}, "update a.py"),
        ({"file_path": "n", "edits": [{"old_string": "x", "new_string": "y"}]}, r"\+y"),
        ({"file_path": "n", "content": "new"}, r"\+new"),
        ({"url": "http://x", "nested": {"a": [1]}}, r'nested: {"a": \[1\]}'),
        ({"path": "only.py"}, "file: only.py"),
        ({"edits": "no list"}, "edits: no list"),
    ],
)
def test_every_shape_of_a_tool_s_input_is_shown(
    running: Machine, client: RelayClient, given: dict[str, Any], shown: str
) -> None:
    number = ask(client, {"tool": "tool", "summary": "what", "input": given})

    with window(running, "approvals", str(number)) as terminal:
        terminal.wait_for_text(shown.replace("$", r"\$"))


def test_in_a_pipe_a_question_is_a_line_of_fields(running: Machine, client: RelayClient) -> None:
    number = ask(client, COMMAND)

    lines = running.run("approvals", "--agent", AGENT).stdout.splitlines()

    fields = next(line.split("\t") for line in lines if line.startswith(f"{number}\t"))
    assert fields[1:5] == [AGENT, "backend", "Bash", "pending"]
    assert fields[7] == "rm -rf build"
    listed = running.json("approvals")["approvals"]
    assert number in [approval["id"] for approval in listed]


def test_approving_says_what_was_decided_and_holds(running: Machine, client: RelayClient) -> None:
    number = ask(client, COMMAND)

    with window(running, "approve", str(number), "--session") as terminal:
        terminal.wait_for_text(
            rf"#{number} allowed, and again in this session: rm -rf build  \({AGENT}\)"
        )
        assert terminal.exit_status() == 0

    approval = client.request(calls.approval(number))
    assert (approval["status"], approval["remember"]) == ("allowed", "session")
    assert str(number) not in running.run("approvals").stdout.split("\t")[0]


def test_denying_takes_a_reason_and_json_is_the_approval(
    running: Machine, client: RelayClient
) -> None:
    number = ask(client, COMMAND)

    approval = running.json("deny", str(number), "--reason", "not on Fridays")

    assert approval["id"] == number
    assert (approval["status"], approval["reason"]) == ("denied", "not on Fridays")


def test_a_second_answer_is_told_who_gave_the_first(running: Machine, client: RelayClient) -> None:
    number = ask(client, COMMAND)
    running.run("approve", str(number))

    done = running.run("deny", str(number))

    assert done.returncode == 4
    assert re.fullmatch(
        rf"relay-agentd: approval {number} is allowed already, by operator at [\d:]+\.\n",
        done.stderr,
    )


def test_an_answer_nobody_waits_for_any_more_is_refused(
    running: Machine, client: RelayClient
) -> None:
    gone = ask(client, COMMAND)
    client.request(calls.cancel_approval(gone))

    assert "answered at the session's own terminal" in running.run("approve", str(gone)).stderr


def test_an_answer_to_nothing_says_where_to_look(running: Machine) -> None:
    done = running.run("approve", "99999")

    assert done.returncode == 4
    assert "There is no approval 99999. `relay-agentd approvals` lists" in done.stderr


def test_watching_shows_what_waits_then_each_new_question_and_answer(
    running: Machine, client: RelayClient
) -> None:
    first = ask(client, COMMAND)
    with window(running, "approvals", "--watch") as terminal:
        terminal.wait_for_text(rf"^#{first}  {AGENT}")
        second = ask(client, EDIT)
        terminal.wait_for_text(rf"^#{second}  {AGENT}")
        running.run("approve", str(second))
        screen = terminal.wait_for_text(rf"^#{second}  allowed by operator at ")
        terminal.press("C-c")

        assert terminal.exit_status() == 130
        assert screen.count(f"#{first}  {AGENT}") == 1


def test_a_watch_in_a_pipe_is_a_line_of_json_an_event(
    running: Machine, client: RelayClient
) -> None:
    watching = running.start("approvals", "--watch", "--json")
    number = ask(client, COMMAND)
    assert watching.stdout is not None
    line = eventually(watching.stdout.readline, 20.0) or ""
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=10)

    assert '"type": "approval.requested"' in line
    assert f'"id": {number}' in line
    assert (watching.returncode, said) == (130, "")
