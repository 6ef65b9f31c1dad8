"""Transcripts read as a conversation, as recorded from both real versions without a terminal."""

import json
from pathlib import Path

import pytest

from relay_launchers.base import LogEntry
from relay_launchers.claude.plan import ClaudeProvider

DATA = Path(__file__).parent / "data"
VERSIONS = ["2.1.197", "2.1.330"]


def recorded(version: str) -> list[str]:
    return (DATA / f"background-{version}.jsonl").read_text().splitlines()


def read(*lines: str) -> list[LogEntry]:
    return ClaudeProvider().read_log(lines)


def line(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})


def told(kind: str, content: object, **fields: object) -> list[tuple[str, str]]:
    """What one message of a transcript reads as."""
    return [
        (each.kind, each.text) for each in read(line(kind, message={"content": content}, **fields))
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_conversation_reads_as_it_went(version: str) -> None:
    entries = read(*recorded(version))

    assert [(each.kind, each.text[:40]) for each in entries][:19] == [
        ("user", "look around [[shell: cat note.txt]] [[sa"),
        ("tool", "Bash: cat note.txt"),
        ("result", "the note"),
        ("agent", "There is a note."),
        ("user", "go [[shell: touch no]] [[patch: made.txt"),
        ("tool", "Bash: touch no"),
        ("result", "failed: relay human said no"),
        ("tool", "Write: made.txt"),
        ("result", "File created successfully at: made.txt ("),
        ("agent", "One was refused."),
        ("user", "work [[shell: mkdir d && sleep 2]] [[say"),
        ("tool", "Bash: mkdir d && sleep 2"),
        ("result", "(Bash completed with no output)"),
        ("user", "Relay mail\n[msg:2] from bob: two\n[end of"),
        ("agent", "Worked."),
        ("user", "sleep [[shell: mkdir e && sleep 9]]"),
        ("tool", "Bash: mkdir e && sleep 9"),
        ("result", "failed: The user doesn't want to proceed"),
        ("notice", "[Request interrupted by user for tool us"),
    ]
    assert all(each.at is not None and each.at.startswith("2026-11-24T") for each in entries)


@pytest.mark.parametrize("version", VERSIONS)
def test_lines_cut_at_both_ends_cost_no_more_than_themselves(version: str) -> None:
    lines = recorded(version)
    whole = read(*lines)
    first = next(at for at, each in enumerate(lines) if read(each))

    cut = read(lines[first][50:], *lines[first + 1 :], '{"type": "user", "message": {"cont')

    assert cut == whole[1:]


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "null",
        "[]",
        "[" * 100_000,
        line("user"),
        line("user", message=None),
        line("user", message={"content": [None, 1, {"type": "image"}, {"type": "tool_result"}]}),
        line("assistant", message={"content": [{"type": "tool_use", "name": None, "input": 3}]}),
        line("assistant", message={"content": {"type": "text"}}),
        line("attachment", attachment=[]),
        line("system", subtype=[], content={}),
        line("what-comes-next", message={"content": "hello"}),
        line("user", timestamp=7, message={"content": "hello"}),
    ],
)
def test_an_odd_line_is_read_without_harm(odd: str) -> None:
    entries = read(odd, line("user", message={"content": "next"}))

    assert entries[-1] == LogEntry(at=None, kind="user", text="next")


def test_what_claude_code_and_its_sub_agents_note_for_themselves_is_left_out() -> None:
    thinking = {"type": "thinking", "thinking": "hm"}

    assert told("assistant", [thinking, {"type": "text", "text": "done"}]) == [("agent", "done")]
    assert told("user", "a reminder", isMeta=True) == []
    assert told("user", "all of it again", isCompactSummary=True) == []
    assert told("user", "count", isSidechain=True) == []
    assert told("assistant", [{"type": "text", "text": "three"}], isSidechain=True) == []


def test_mail_by_the_messaging_socket_is_told_though_it_is_marked_as_meta() -> None:
    assert told("user", "mail", isMeta=True, origin={"kind": "peer"}) == [("user", "mail")]


def test_of_what_is_no_text_its_kind_is_told() -> None:
    image = {"type": "image", "source": {"data": "AAAA"}}

    result = {"type": "tool_result", "content": [{"type": "text", "text": "see"}, image]}

    assert told("user", [result]) == [("result", "see\n[image]")]


def test_an_error_of_the_model_is_a_notice() -> None:
    content = [{"type": "text", "text": "API Error: 529"}]

    assert told("assistant", content, isApiErrorMessage=True) == [("notice", "API Error: 529")]
