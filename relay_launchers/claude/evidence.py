"""Reading what a Claude Code session leaves on disk: its transcript and its registry file.

Pure parsers of undocumented files, as found in 2.1.197 and 2.1.330. Whatever does not look as
known is ignored: a wrong guess here would double a message or lose one.

A message's way through a transcript (both files are JSON, the transcript one object a line):

    idle       queue-operation enqueue -> dequeue -> user message with the text
    mid-turn   queue-operation enqueue -> remove  -> attachment queued_command with the text
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal


class Sighting(StrEnum):
    """What one line of a transcript says about a delivery's text."""

    QUEUED = "queued"
    """Waits to enter; a turn that runs takes it up between two tool calls."""
    DROPPED = "dropped"
    """Left the queue for another reason than entering the conversation."""
    IN_CONTEXT = "in_context"
    """Part of the conversation: the proof."""


def sightings(transcript: bytes, text: str) -> Iterator[Sighting]:
    """Each line of a transcript (or a part of whole lines) that holds exactly this text."""
    # Claude Code writes JSON as JavaScript does, which for our text is what Python does; so whole
    # megabytes of other lines are passed over without parsing them.
    needle = json.dumps(text.strip(), ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    at = transcript.find(needle)
    while at >= 0:
        start = transcript.rfind(b"\n", 0, at) + 1
        end = transcript.find(b"\n", at)
        end = len(transcript) if end < 0 else end
        sighting = _sighting(transcript[start:end], text.strip())
        if sighting is not None:
            yield sighting
        at = transcript.find(needle, end)


def _sighting(line: bytes, text: str) -> Sighting | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    match entry.get("type"):
        case "user":
            return Sighting.IN_CONTEXT if text in _user_text(entry.get("message")) else None
        case "attachment":
            return Sighting.IN_CONTEXT if text in _queued_prompt(entry.get("attachment")) else None
        case "queue-operation" if text in str(entry.get("content")):
            return _queue_sighting(entry)
        case _:
            return None


def _user_text(message: Any) -> str:
    """The text of a user's message, without what tools answered in it."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(
        str(block.get("text"))
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "text"
    )


def _queued_prompt(attachment: Any) -> str:
    if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
        return ""
    return _user_text({"content": attachment.get("prompt")})


def _queue_sighting(entry: dict[str, Any]) -> Sighting | None:
    if entry.get("operation") == "enqueue":
        return Sighting.QUEUED
    # 2.1.330 says why; "absorbed" ones follow as an attachment. 2.1.197 has no content here.
    if entry.get("operation") == "remove" and "absorbed" not in str(entry.get("reason")):
        return Sighting.DROPPED
    return None


_STATUSES: Final[dict[str, Literal["busy", "idle", "waiting"]]] = {
    "busy": "busy",
    "idle": "idle",
    # At rest, while a command runs in the background.
    "shell": "idle",
    "waiting": "waiting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A session's own entry in ``$CLAUDE_CONFIG_DIR/sessions/<pid>.json``."""

    session_id: str
    status: Literal["busy", "idle", "waiting"] | None
    """None where the session does not say (``-p`` of 2.1.197)."""
    status_at_ms: int
    waiting_for: str | None
    messaging_socket: str | None


def parse_registered(content: str | bytes) -> Registered | None:
    """A registry file's content; None when it is not one, or half written."""
    try:
        entry = json.loads(content)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("sessionId"), str):
        return None
    at = entry.get("statusUpdatedAt")
    return Registered(
        session_id=entry["sessionId"],
        status=_STATUSES.get(str(entry.get("status"))),
        status_at_ms=at if isinstance(at, int) else 0,
        waiting_for=_text(entry.get("waitingFor")),
        messaging_socket=_text(entry.get("messagingSocketPath")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
