"""The tools as a model sees them: names, descriptions, argument schemas.

Every byte here is paid by every session's first request, so words are few (all of it has to stay
under 4 KB, see tests/mcp). What the tools do is in `relay_agentd.session_tools`. Pure data.
"""

from dataclasses import dataclass
from typing import Any, Final

from relay_server.wire import Priority, TaskStatus

MAX_INBOX: Final = 50

INSTRUCTIONS: Final = (
    "Talk with other AI coding sessions and people on Agent Relay. Mail comes in by itself as "
    "`[msg:N] from SENDER ...`; answer it with relay_reply. Do not poll relay_inbox."
)

TASK_STATUSES: Final = tuple(
    status.value
    for status in (
        *(TaskStatus.IN_PROGRESS, TaskStatus.BLOCKED),
        *(TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELED),
    )
)
"""What an update of a task may say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool as it is listed."""

    name: str
    description: str
    arguments: dict[str, dict[str, Any]]
    required: tuple[str, ...] = ()
    read_only: bool = False

    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""
        schema: dict[str, Any] = {
            "type": "object",
            "properties": self.arguments,
            "additionalProperties": False,
        }
        return schema | {"required": list(self.required)} if self.required else schema


_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}

TOOLS: Final = (
    ToolSpec(
        name="relay_send",
        description="Send a message to other agents or people. The answer comes later, as mail.",
        arguments={
            "to": {
                "type": "string",
                "description": "agent id, tag:X, cap:X, label:X, broadcast, or operator (people)",
            },
            "body": _TEXT,
            "subject": _TEXT,
            "channel": {"type": "string", "description": "narrows `to` to this channel"},
            "priority": {
                "type": "string",
                "enum": [priority.value for priority in Priority],
                "description": "urgent interrupts",
            },
            "claimable": {
                "type": "boolean",
                "description": "work that exactly one receiver should take",
            },
        },
        required=("to", "body"),
    ),
    ToolSpec(
        name="relay_reply",
        description="Answer message N: goes to its sender, in its thread.",
        arguments={"message_id": _NUMBER, "body": _TEXT},
        required=("message_id", "body"),
    ),
    ToolSpec(
        name="relay_inbox",
        description="Show mail that has not reached this conversation yet, and mark it read.",
        arguments={"limit": {"type": "integer", "minimum": 1, "maximum": MAX_INBOX}},
    ),
    ToolSpec(
        name="relay_agents",
        description="List the agents on the relay: id, label, state, project, tags, capabilities.",
        arguments={"query": {"type": "string", "description": "only those containing this"}},
        read_only=True,
    ),
    ToolSpec(
        name="relay_claim",
        description="Take a claimable message, or a task, before acting on it; only one agent "
        "gets it. Claim again to keep it longer than 15 minutes.",
        arguments={"message_id": _NUMBER, "task_id": _NUMBER},
    ),
    ToolSpec(
        name="relay_complete",
        description="Finish a message or task you claimed.",
        arguments={
            "message_id": _NUMBER,
            "task_id": _NUMBER,
            "result": {"type": "string", "description": "goes to who asked for it"},
        },
    ),
    ToolSpec(
        name="relay_task_update",
        description="Report work on a task you claimed; done, failed and canceled end it.",
        arguments={
            "task_id": _NUMBER,
            "status": {"type": "string", "enum": list(TASK_STATUSES)},
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "note": _TEXT,
        },
        required=("task_id", "status"),
    ),
    ToolSpec(
        name="relay_ask_operator",
        description="Ask the people at the dashboard. Go on meanwhile: the answer comes as mail.",
        arguments={"question": _TEXT},
        required=("question",),
    ),
)
