"""What a person reads of a real app-server's questions, and what each answer becomes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_launchers.codex.questions import Question, changes_of, parse_question, with_changes

RECORDING = Path(__file__).with_name("data") / "questions-0.169.0.jsonl"
REQUESTS = [json.loads(line) for line in RECORDING.read_text().splitlines()]
TURN = "01a20e8c-f496-7cc0-a8b8-a86df0b0401f"
PATCH = {
    "type": "fileChange",
    "id": "call_10",
    "changes": [
        {"path": "/home/me/proj/new.txt", "kind": {"type": "add"}, "diff": "hello\n"},
        {"path": "/etc/hosts", "kind": {"type": "update"}, "diff": "@@ -1 +1 @@\n-a\n+b\n"},
    ],
}


def question(number: int, **changes: Any) -> Question:
    request = REQUESTS[number]
    read = parse_question(request["id"], request["method"], {**request["params"], **changes})
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("number", "tool", "summary"),
    [
        (0, "shell", "echo hi > made.txt"),
        (1, "shell", r"write_stdin --session-id 32760 'echo stdin > stdin.txt\n'"),
        (2, "apply_patch", "change files"),
        (3, "request_permissions", "write /srv/data"),
        (4, "mcp__alpha__plain", "alpha: plain to=bob"),
        (5, "mcp__beta__reader", "beta: reader"),
    ],
)
def test_a_question_is_one_line_for_people(number: int, tool: str, summary: str) -> None:
    assert (question(number).tool, question(number).summary) == (tool, summary)


def test_a_command_is_shown_whole_with_its_folder_and_reason() -> None:
    assert question(0).input == {
        "command": "/bin/bash -lc 'echo hi > made.txt'",
        "cwd": "/home/me/proj",
        "kind": "command",
        "reason": "scripted",
    }


def test_a_patch_is_shown_with_its_changes() -> None:
    found = changes_of(PATCH)
    assert found is not None

    shown = with_changes(question(2), found[1], "/home/me/proj")

    assert question(2).wants_changes
    assert found[0] == question(2).item_id
    assert shown.summary == "add new.txt, update /etc/hosts"
    assert shown.input["changes"][0] == {
        "kind": "add",
        "path": "/home/me/proj/new.txt",
        "diff": "hello\n",
    }


def test_a_patch_whose_changes_nobody_knows_is_asked_about_all_the_same() -> None:
    assert with_changes(question(2), (), "/home/me/proj").summary == "change files"


def test_an_endless_diff_is_cut() -> None:
    changes = [{"path": "a", "kind": {"type": "add"}, "diff": "x" * 1_000_000}]

    (shown,) = with_changes(question(2), changes, "/").input["changes"]

    assert len(shown["diff"]) < 21_000
    assert shown["diff"].endswith("[980000 characters more]")


@pytest.mark.parametrize(
    ("number", "allow", "for_session", "deny"),
    [
        (0, {"decision": "accept"}, {"decision": "acceptForSession"}, {"decision": "decline"}),
        (2, {"decision": "accept"}, {"decision": "acceptForSession"}, {"decision": "decline"}),
        (
            4,
            {"action": "accept", "content": {}},
            {"action": "accept", "content": {}, "_meta": {"persist": "session"}},
            {"action": "decline"},
        ),
        (
            # This one Codex did not offer to remember.
            5,
            {"action": "accept", "content": {}},
            {"action": "accept", "content": {}},
            {"action": "decline"},
        ),
    ],
)
def test_each_answer_is_in_the_servers_words(
    number: int, allow: dict[str, Any], for_session: dict[str, Any], deny: dict[str, Any]
) -> None:
    asked = question(number)

    assert (asked.allow, asked.allow_for_session, asked.deny) == (allow, for_session, deny)


def test_access_is_granted_as_it_was_asked_for_or_not_at_all() -> None:
    wanted = {"fileSystem": REQUESTS[3]["params"]["permissions"]["fileSystem"]}

    assert question(3).allow == {"permissions": wanted, "scope": "turn"}
    assert question(3).allow_for_session == {"permissions": wanted, "scope": "session"}
    assert question(3).deny == {"permissions": {}, "scope": "turn"}


def test_the_same_question_has_the_same_id_and_no_other_has_it() -> None:
    ids = [question(number).id for number in range(len(REQUESTS))]

    assert ids[0] == f"{TURN}/call_1/0"
    assert len(set(ids)) == len(REQUESTS)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/bin/zsh -lc ls", "ls"),
        ("./bash -lc ls", "./bash -lc ls"),
        ("/tmp/bash -lc ls", "/tmp/bash -lc ls"),
        ("python3 -c ls", "python3 -c ls"),
        ("git push", "git push"),
        ("bash -lc 'echo a\nrm -r b'", r"echo a\nrm -r b"),
        ("echo 'unfinished", "echo 'unfinished"),
        ("bash -lc 'echo \u202egnp.exe \x1b[2K'", r"echo \u202egnp.exe \x1b[2K"),
        ("", "a command"),
    ],
)
def test_nothing_in_a_command_is_hidden(command: str, shown: str) -> None:
    assert question(0, command=command).summary == shown


def test_a_connection_that_is_asked_for_is_named() -> None:
    asked = question(0, networkApprovalContext={"host": "example.org", "protocol": "https"})

    assert asked.summary == "reach https://example.org echo hi > made.txt"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("item/tool/requestUserInput", {"threadId": "t", "turnId": "u", "itemId": "i"}),
        ("item/tool/call", {"threadId": "t", "turnId": "u"}),
        ("mcpServer/elicitation/request", {"threadId": "t", "serverName": "s", "mode": "form"}),
        ("account/chatgptAuthTokens/refresh", {}),
        ("item/commandExecution/requestApproval", {}),
    ],
)
def test_what_is_no_question_of_ours_is_none(method: str, params: dict[str, Any]) -> None:
    assert parse_question(1, method, params) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = sorted({name for request in REQUESTS for name in request["params"]})
PARAMS = st.dictionaries(st.sampled_from(NAMES), ANYTHING)


@given(method=st.sampled_from([each["method"] for each in REQUESTS]), params=PARAMS)
def test_no_request_breaks_the_reader(method: str, params: dict[str, Any]) -> None:
    asked = parse_question(1, method, params)

    if asked is not None and asked.wants_changes:
        with_changes(asked, [params], "/")
