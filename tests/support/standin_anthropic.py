"""A stand-in for the Anthropic Messages API, enough for Claude Code.

`python -m tests.support.standin_anthropic`. The texts a model is given decide what it answers: see
`tests/support/script.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from tests.support.command import run
from tests.support.script import Call, Conversation, Say, Step, arguments_of
from tests.support.standin import StandIn

INTERRUPTED = "[Request interrupted by user"


class StandInAnthropic(StandIn):
    """Claude Code's model."""

    name: ClassVar[str] = "anthropic"

    def is_model_path(self, path: str) -> bool:
        return path == "/v1/messages"

    def is_main(self, headers: Mapping[str, str], body: dict[str, Any]) -> bool:
        # The request that finds a title for the session is offered no tools.
        return bool(body.get("tools"))

    def conversation(self, body: dict[str, Any]) -> Conversation:
        messages = body.get("messages", [])
        start = max((at + 1 for at, each in enumerate(messages) if _ends_turn(each)), default=0)
        recent = [*_said_after_breaking_off(messages[start - 1 : start]), *messages[start:]]
        calls = sum(block.get("type") == "tool_use" for each in recent for block in _blocks(each))
        return Conversation(list(_from_people(recent)), calls, list(_outputs(recent)))

    def texts(self, body: dict[str, Any]) -> Iterator[str]:
        return _from_people(body.get("messages", []))

    def events(self, body: dict[str, Any], step: Step, number: int) -> Iterator[dict[str, Any]]:
        message: dict[str, Any] = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 100,
                "output_tokens": 1,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }
        yield {"type": "message_start", "message": message}
        if isinstance(step.action, Call):
            reason = "tool_use"
            yield from _call(body, step.action, f"toolu_{number}")
        else:
            reason = "end_turn"
            yield from self._text(step.action if isinstance(step.action, Say) else Say(""))
        yield {"type": "content_block_stop", "index": 0}
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 12}}
        yield {"type": "message_stop"}

    def _text(self, say: Say) -> Iterator[dict[str, Any]]:
        block = {"type": "text", "text": ""}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        words = re.findall(r"\s*\S+", say.text) or [say.text]
        for word in words:
            delta = {"type": "text_delta", "text": word}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
            self.pause(say.seconds / len(words))


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or [])


def _ends_turn(message: dict[str, Any]) -> bool:
    """Whether a message is a final answer, or says that the person broke the turn off."""
    kinds = {block.get("type") for block in _blocks(message)}
    if message.get("role") == "assistant":
        return "tool_use" not in kinds
    return any(block.get("text", "").startswith(INTERRUPTED) for block in _blocks(message))


def _said_after_breaking_off(message: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What 2.1.197 has in one message with the word that the turn before was broken off."""
    blocks = _blocks(message[0]) if message and message[0].get("role") == "user" else []
    at = [n for n, each in enumerate(blocks) if each.get("text", "").startswith(INTERRUPTED)]
    return [{"role": "user", "content": blocks[at[-1] + 1 :]}] if at else []


def _from_people(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Each text of people, messages and reminders; mid-turn they come in the role of the system."""
    for message in messages:
        if message.get("role") in {"user", "system"}:
            for block in _blocks(message):
                if block.get("type") == "text":
                    yield block.get("text", "")


def _outputs(messages: list[dict[str, Any]]) -> Iterator[str]:
    """What tools answered, as text."""
    for block in (block for message in messages for block in _blocks(message)):
        if block.get("type") == "tool_result":
            parts = _blocks(block)
            yield "\n".join(part.get("text", "") for part in parts)


def _call(body: dict[str, Any], call: Call, identifier: str) -> Iterator[dict[str, Any]]:
    """The events of one tool call, by the name Claude Code offered."""
    name, arguments = _tool(body, call)
    block = {"type": "tool_use", "id": identifier, "name": name, "input": {}}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}


def _tool(body: dict[str, Any], call: Call) -> tuple[str, dict[str, Any]]:
    if call.kind in {"shell", "shellesc"}:
        return "Bash", {"command": call.argument, "description": "scripted"}
    if call.kind == "patch":
        path, _, text = (part.strip() for part in call.argument.partition("|"))
        return "Write", {"file_path": path, "content": text}
    name, arguments = arguments_of(call)
    if call.kind == "tool":
        return name, arguments
    server, _, tool = name.partition(" ")
    offered = [str(each.get("name")) for each in body.get("tools", [])]
    # Offered as mcp__plugin_PLUGIN_SERVER__TOOL when a plugin brings the server, else without the
    # plugin's part.
    fitting = re.compile(rf"mcp__(\w+_)?{re.escape(server)}__{re.escape(tool)}")
    found = next((each for each in offered if fitting.fullmatch(each)), None)
    # Not offered: called all the same, so that the refusal shows in the conversation.
    return found or f"mcp__{server}__{tool}", arguments


if __name__ == "__main__":
    run(StandInAnthropic)
