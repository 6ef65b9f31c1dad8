"""A stand-in for the OpenAI Responses API, enough for Codex.

`python -m tests.support.standin_openai`. The texts a model is given decide what it answers: see
`tests/support/script.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from tests.support.command import run
from tests.support.script import Call, Conversation, Say, Step, arguments_of
from tests.support.standin import StandIn

# What Codex adds to a conversation in the user's name.
NOT_FROM_PEOPLE = (
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md",
    "<permissions",
    "<hook_prompt",
)
INTERRUPTED = "<turn_aborted>"


class StandInOpenAI(StandIn):
    """Codex's model."""

    name: ClassVar[str] = "openai"
    base_path: ClassVar[str] = "/v1"

    def is_model_path(self, path: str) -> bool:
        return path.endswith("/responses")

    def is_main(self, headers: Mapping[str, str], body: dict[str, Any]) -> bool:
        return _thread_source(headers) == "user"

    def is_scripted(self, headers: Mapping[str, str], body: dict[str, Any]) -> bool:
        return _thread_source(headers) in {"user", "subagent"}

    def conversation(self, body: dict[str, Any]) -> Conversation:
        items = _items(body)
        start = max((at + 1 for at, item in enumerate(items) if _ends_turn(item)), default=0)
        recent = items[start:]
        outputs = [_output(item) for item in recent if _kind(item).endswith("_call_output")]
        return Conversation(list(_from_people(recent)), len(outputs), outputs)

    def texts(self, body: dict[str, Any]) -> Iterator[str]:
        return _from_people(_items(body))

    def events(self, body: dict[str, Any], step: Step, number: int) -> Iterator[dict[str, Any]]:
        answer = {"id": f"resp_{number}", "object": "response"}
        yield {"type": "response.created", "response": {**answer, "status": "in_progress"}}
        if isinstance(step.action, Call):
            item = _call(body, step.action, f"call_{number}")
            yield {"type": "response.output_item.added", "output_index": 0, "item": item}
            yield {"type": "response.output_item.done", "output_index": 0, "item": item}
        elif isinstance(step.action, Say):
            yield from self._message(step.action, f"msg_{number}")
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        }
        finished = {**answer, "status": "completed", "output": [], "usage": usage}
        yield {"type": "response.completed", "response": finished}

    def _message(self, say: Say, identifier: str) -> Iterator[dict[str, Any]]:
        item: dict[str, Any] = {"type": "message", "id": identifier, "role": "assistant"}
        opened = {**item, "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": opened}
        words = re.findall(r"\s*\S+", say.text) or [say.text]
        for word in words:
            yield {
                "type": "response.output_text.delta",
                "item_id": identifier,
                "output_index": 0,
                "content_index": 0,
                "delta": word,
            }
            self.pause(say.seconds / len(words))
        content = [{"type": "output_text", "text": say.text, "annotations": []}]
        done = {**item, "status": "completed", "content": content}
        yield {"type": "response.output_item.done", "output_index": 0, "item": done}


def _thread_source(headers: Mapping[str, str]) -> str:
    metadata = json.loads(headers.get("x-codex-turn-metadata", "{}"))
    return str(metadata.get("thread_source", "user"))


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversation's items, whichever form the request gave them."""
    items = body.get("input") or []
    if isinstance(items, str):
        return [{"type": "message", "role": "user", "content": items}]
    return list(items)


def _kind(item: dict[str, Any]) -> str:
    return str(item.get("type", "message"))


def _ends_turn(item: dict[str, Any]) -> bool:
    """Whether an item is a final answer, or says that the person broke the turn off."""
    if _kind(item) != "message":
        return False
    return item.get("role") == "assistant" or _text(item).lstrip().startswith(INTERRUPTED)


def _from_people(items: list[dict[str, Any]]) -> Iterator[str]:
    """The texts of user messages that Codex did not write itself."""
    for item in items:
        if _kind(item) == "message" and item.get("role") == "user":
            text = _text(item)
            if not text.lstrip().startswith((*NOT_FROM_PEOPLE, INTERRUPTED)):
                yield text


def _text(item: dict[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [])


def _output(item: dict[str, Any]) -> str:
    """What a tool answered, as text."""
    output = item.get("output")
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "\n".join(part.get("text", "") for part in output)
    return json.dumps(output)


def _call(body: dict[str, Any], call: Call, identifier: str) -> dict[str, Any]:
    """The tool call as an item of the answer, by the names Codex offered."""
    if call.kind in {"shell", "shellesc"}:
        return _function(identifier, *_shell(body, call))
    if call.kind == "patch":
        return _patch(body, call, identifier)
    name, arguments = arguments_of(call)
    if call.kind == "mcp":
        return _function(identifier, *_mcp(body, name), arguments)
    namespace, _, base = name.rpartition("/")
    return _function(identifier, base, namespace or None, arguments)


def _function(
    identifier: str, name: str, namespace: str | None, arguments: dict[str, Any]
) -> dict[str, Any]:
    item = {
        "type": "function_call",
        "id": f"fc_{identifier}",
        "call_id": identifier,
        "name": name,
        "arguments": json.dumps(arguments),
        "status": "completed",
    }
    return {**item, "namespace": namespace} if namespace else item


def _shell(body: dict[str, Any], call: Call) -> tuple[str, None, dict[str, Any]]:
    """Whichever shell tool is offered, called its way."""
    offered = {tool.get("name") for tool in body.get("tools", [])}
    escape: dict[str, Any] = {}
    if call.kind == "shellesc":
        escape = {"sandbox_permissions": "require_escalated", "justification": "scripted"}
    if "exec_command" in offered:
        return "exec_command", None, {"cmd": call.argument, **escape}
    if "shell_command" in offered:
        return "shell_command", None, {"command": call.argument, **escape}
    return "shell", None, {"command": ["bash", "-lc", call.argument], **escape}


def _patch(body: dict[str, Any], call: Call, identifier: str) -> dict[str, Any]:
    path, _, text = (part.strip() for part in call.argument.partition("|"))
    patch = f"*** Begin Patch\n*** Add File: {path}\n+{text}\n*** End Patch"
    offered = {tool.get("name"): tool.get("type") for tool in body.get("tools", [])}
    if offered.get("apply_patch") == "function":
        return _function(identifier, "apply_patch", None, {"input": patch})
    return {
        "type": "custom_tool_call",
        "id": f"ctc_{identifier}",
        "call_id": identifier,
        "name": "apply_patch",
        "input": patch,
        "status": "completed",
    }


def _mcp(body: dict[str, Any], name: str) -> tuple[str, str | None]:
    """The name and namespace under which Codex offers a server's tool."""
    server, _, tool = name.partition(" ")
    for offer in body.get("tools", []):
        if offer.get("type") == "namespace" and server in offer.get("name", ""):
            if any(each.get("name") == tool for each in offer.get("tools", [])):
                return tool, offer["name"]
        elif server in offer.get("name", "") and offer.get("name", "").endswith(tool):
            return offer["name"], None
    # Not offered: called all the same, so that the refusal shows in the conversation.
    return f"mcp__{server}__{tool}", None


if __name__ == "__main__":
    run(StandInOpenAI)
