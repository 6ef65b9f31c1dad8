"""Reads a rollout, Codex's own record of a conversation: JSON lines, for `logs` and `attach`.

Only the response items are read, which are what the model saw and said: their shape is the model's
interface and lasts, while Codex's own events change with its releases. Pure.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

from relay_launchers.base import LogEntry

_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "web_search_call"})
# What Codex itself adds in the user's name.
_ADDED = re.compile(r"<(\w+)>.*</\1>\s*$|# AGENTS\.md instructions", re.DOTALL)
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})


def read_rollout(lines: Sequence[str]) -> list[LogEntry]:
    """The entries of these lines; a line that is cut, or unknown, is none."""
    entries = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            entry = _entry(json.loads(line))
            if entry is not None:
                entries.append(entry)
    return entries


def _entry(record: Mapping[str, Any]) -> LogEntry | None:
    payload = record["payload"]
    at, kind = record.get("timestamp"), payload.get("type")
    match record["type"], kind:
        case "response_item", "message":
            return _message(at, payload["role"], _output(payload["content"]))
        case "event_msg", "error" | "turn_aborted":
            text = payload.get("message") or payload.get("reason") or kind
            return LogEntry(at=at, kind="notice", text=str(text))
        case "response_item", _ if kind in _CALLS:
            return LogEntry(at=at, kind="tool", text=_call(payload))
        case "response_item", _ if kind in _RESULTS:
            return LogEntry(at=at, kind="result", text=_output(payload.get("output")))
    return None


def _message(at: str | None, role: str, text: str) -> LogEntry | None:
    if role == "assistant":
        return LogEntry(at=at, kind="agent", text=text)
    if role != "user" or _ADDED.match(text):
        return None
    return LogEntry(at=at, kind="user", text=text)


def _call(payload: Mapping[str, Any]) -> str:
    name = payload.get("name") or payload["type"]
    given = payload.get("arguments") or payload.get("input") or payload.get("action") or ""
    with suppress(ValueError, TypeError):
        given = json.loads(given)
    if isinstance(given, Mapping):
        command = given.get("cmd") or given.get("command")
        if isinstance(command, list):
            command = " ".join(map(str, command))
        given = command or json.dumps(given, ensure_ascii=False)
    return f"{name} {given}".strip()


def _output(output: Any) -> str:
    if isinstance(output, str):
        with suppress(ValueError):
            output = json.loads(output)
    if isinstance(output, Mapping):
        output = output.get("output", output)
    if isinstance(output, list):
        texts = [part.get("text") for part in output if isinstance(part, Mapping)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


class TurnSign(StrEnum):
    """What the record says about turns."""

    STARTED = "started"
    ENDED = "ended"


_SIGNS = {
    "task_started": TurnSign.STARTED,
    "task_complete": TurnSign.ENDED,
    "turn_aborted": TurnSign.ENDED,
}


def read_signs(lines: Sequence[str]) -> list[TurnSign]:
    """The turns that began and ended in these lines."""
    events = (record["payload"].get("type") for record in _records(lines, "event_msg"))
    return [_SIGNS[event] for event in events if event in _SIGNS]


def user_texts(lines: Sequence[str]) -> list[str]:
    """What entered the conversation as the user's word, as the model got it."""
    return [
        part["text"]
        for record in _records(lines, "response_item")
        if record["payload"].get("role") == "user"
        for part in record["payload"].get("content") or ()
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    ]


def _records(lines: Sequence[str], kind: str) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if (
                isinstance(record, dict)
                and record.get("type") == kind
                and isinstance(record.get("payload"), dict)
            ):
                yield record
