"""Messages as the API gives them, and what their heads look like in a frame."""

import re
from typing import Any

HEAD = re.compile(r"^\[msg:(\d+)\] from ", re.MULTILINE)


def a_message(number: int = 42, **changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": number,
        "from": "backend-agent",
        "to": "me",
        "body": "is the migration clean?",
        "subject": None,
        "channel": None,
        "replyTo": None,
        "threadId": number,
        "priority": "normal",
        "claimable": False,
        "claim": None,
    }
    return message | changes


def a_task_message(source: str, **changes: Any) -> dict[str, Any]:
    """As the relay offers what an integration reported."""
    return a_message(
        **{
            "from": "system",
            "to": "cap:ops",
            "kind": "task",
            "claimable": True,
            "payload": {"taskId": 7, "source": source, "external": True},
            "subject": "Disk is full",
            "body": "Disk is full\n\non db1",
            **changes,
        }
    )
