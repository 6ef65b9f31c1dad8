"""What goes through the pipes of a Claude Code without a terminal (``--input-format stream-json``).

Pure: makes lines, reads questions, finds a message of ours in a transcript. As seen in 2.1.197 and
2.1.330.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any


def delivery_uuid(delivery_id: str) -> str:
    """The uuid under which a delivery is a user message. Version 4, as Claude Code's own are: it
    treats some others specially."""
    digest = hashlib.sha256(f"agent-relay {delivery_id}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def user_line(identifier: str, text: str, *, is_mail: bool) -> dict[str, Any]:
    """A user message. Of mail the last line, which is the frame's, is a block of its own: in the
    last block Claude Code takes ``/`` for a command and replaces ``@path`` by the file."""
    content: str | list[dict[str, str]] = text
    body, _, end = text.rpartition("\n")
    if is_mail and body:
        content = [{"type": "text", "text": body}, {"type": "text", "text": end}]
    message = {"role": "user", "content": content}
    return {"type": "user", "message": message, "uuid": identifier}


def is_in_transcript(transcript: bytes, identifier: str) -> bool:
    """Whether a user message with this uuid is part of the recorded conversation."""
    needle = identifier.encode()
    at = transcript.find(needle)
    while at >= 0:
        start = transcript.rfind(b"\n", 0, at) + 1
        end = transcript.find(b"\n", at)
        end = len(transcript) if end < 0 else end
        if _is_message(transcript[start:end], identifier):
            return True
        at = transcript.find(needle, end)
    return False


def _is_message(line: bytes, identifier: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    if not isinstance(entry, dict):
        return False
    if entry.get("type") == "user":
        return bool(entry.get("uuid") == identifier)
    # Taken up by a turn that ran.
    attachment = entry.get("attachment")
    return (
        isinstance(attachment, dict)
        and attachment.get("type") == "queued_command"
        and attachment.get("source_uuid") == identifier
    )


def allow_line(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer that lets a step pass as it was asked."""
    asked = request.get("request")
    tool_input = asked.get("input") if isinstance(asked, Mapping) else None
    return _response(request, {"behavior": "allow", "updatedInput": tool_input or {}})


def deny_line(request: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The answer that stops a step; the model reads the reason."""
    return _response(request, {"behavior": "deny", "message": reason})


def refuse_line(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request we do not know; without one, Claude Code would wait for ever."""
    refusal = {
        "subtype": "error",
        "request_id": request.get("request_id"),
        "error": "Agent Relay does not know this request",
    }
    return {"type": "control_response", "response": refusal}


def mode_line(identifier: str, mode: str) -> dict[str, Any]:
    """Change the permission mode of the running session."""
    request = {"subtype": "set_permission_mode", "mode": mode}
    return {"type": "control_request", "request_id": identifier, "request": request}


def _response(request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    response = {
        "subtype": "success",
        "request_id": request.get("request_id"),
        "response": answer,
    }
    return {"type": "control_response", "response": response}
